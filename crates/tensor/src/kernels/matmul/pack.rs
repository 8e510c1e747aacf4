//! Packing: both factors of a product in the order in which the micro-kernel reads them.

use std::ops::Range;

use ndarray::{ArrayView2, s};
use num_traits::Zero;

use super::Element;
use super::vector::{Vector, panel_width};

/// Writes `b [K, N]` with N up to NR as a panel `[K, NR]`, with zeros behind its columns.
///
/// The callers have checked that the machine has the instruction set of `V`.
///
/// # Panics
/// `b` is wider, or the panel too short.
pub(super) fn pack_panel<V: Vector>(b: ArrayView2<'_, V::Element>, panel: &mut [V::Element]) {
    let nr = panel_width::<V>();
    let (depth, columns) = b.dim();
    assert!(columns <= nr, "{columns} columns are no panel of {nr}");
    let panel = &mut panel[..depth * nr];
    if columns < nr {
        panel.chunks_exact_mut(nr).for_each(|row| row[columns..].fill(V::Element::zero()));
    }
    // What is left for one number after the other: rows, and of the others columns, from here on.
    let (mut row, mut column) = (0, 0);
    if b.strides()[1] == 1 && columns == nr {
        // SAFETY: the instruction set is there; so many rows of NR numbers are in `b`, where those
        // of a row stand side by side, and in the panel.
        unsafe { V::copy_rows(depth, b.as_ptr(), b.strides()[0], panel.as_mut_ptr()) };
        row = depth;
        column = columns;
    } else if b.strides()[0] == 1 {
        let squares = depth / V::LANES;
        row = squares * V::LANES;
        column = columns - columns % V::LANES;
        for j in (0..column).step_by(V::LANES) {
            let from = b.slice(s![.., j..]).as_ptr();
            let to = panel[j..].as_mut_ptr();
            // SAFETY: the instruction set is there; so many squares are in `b`, where the numbers
            // of a column stand side by side, and in the panel.
            unsafe { V::transpose(squares, from, b.strides()[1], to, nr) };
        }
    }
    for (k, packed) in panel.chunks_exact_mut(nr).enumerate() {
        for j in if k < row { column } else { 0 }..columns {
            packed[j] = b[[k, j]];
        }
    }
}

/// Writes `a [M, K]` as strips, one behind the other: the rows of a tile each, as `[K, rows]`.
///
/// `tiles` gives the heights of all tiles.
pub(super) fn pack_strips<T: Element>(
    a: ArrayView2<'_, T>,
    tiles: impl Iterator<Item = Range<usize>> + Clone,
    strips: &mut [T],
) {
    /// So many numbers of a row are packed before those of the next strip: where the numbers of a
    /// column stand side by side, whole lines of the cache are read while they are there.
    const STEPS: usize = 16;
    let (depth, row, step) = (a.ncols(), a.strides()[0], a.strides()[1]);
    assert!(tiles.clone().all(|rows| rows.end <= a.nrows()), "a has no such rows");
    for first in (0..depth).step_by(STEPS) {
        let count = STEPS.min(depth - first);
        for rows in tiles.clone() {
            let strip = &mut strips[rows.start * depth + first * rows.len()..];
            let strip = &mut strip[..count * rows.len()];
            let start = rows.start as isize * row + first as isize * step;
            let from = Columns { start: a.as_ptr().wrapping_offset(start), row, step };
            // SAFETY: `a` has these rows, and so many columns from `first` on.
            unsafe {
                match rows.len() {
                    8 => pack_strip::<T, 8>(from, strip),
                    7 => pack_strip::<T, 7>(from, strip),
                    6 => pack_strip::<T, 6>(from, strip),
                    5 => pack_strip::<T, 5>(from, strip),
                    4 => pack_strip::<T, 4>(from, strip),
                    3 => pack_strip::<T, 3>(from, strip),
                    2 => pack_strip::<T, 2>(from, strip),
                    _ => pack_strip::<T, 1>(from, strip),
                }
            }
        }
    }
}

/// Where some numbers stand: `a[i, k]` at `start + i·row + k·step`.
#[derive(Clone, Copy)]
struct Columns<T> {
    start: *const T,
    row: isize,
    step: isize,
}

/// Writes `a [ROWS, K]` as `[K, ROWS]`.
///
/// # Safety
/// ROWS rows and as many columns as the strip has can be read.
unsafe fn pack_strip<T: Element, const ROWS: usize>(a: Columns<T>, strip: &mut [T]) {
    let (strip, _) = strip.as_chunks_mut::<ROWS>();
    for (k, packed) in strip.iter_mut().enumerate() {
        let column = a.start.wrapping_offset(k as isize * a.step);
        // SAFETY: column k has ROWS numbers, `row` after each other.
        *packed = unsafe {
            match a.row {
                1 => column.cast::<[T; ROWS]>().read(),
                row => std::array::from_fn(|i| *column.offset(i as isize * row)),
            }
        };
    }
}
