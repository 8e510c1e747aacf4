//! The loops around the micro-kernel, for any vector.
//!
//! Names are those of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
//! (2008), and of BLIS: the depth is cut into blocks of `KC`, the rows into blocks of `MC`, so that a
//! panel of `b` stays in the first cache while the block of `a`, in the second one, goes by.

use std::cell::Cell;
use std::marker::PhantomData;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use num_traits::Zero;

use super::packed::{PackedView, aligned, aligned_len};
use super::tile::{self, Tile, micro_kernel};
use super::vector::Vector;
use super::{Element, MatmulKernel};

/// The depth of a block: 48 columns of `f32` are 36 kB then.
const KC: usize = 192;
/// The rows of a block.
const MC: usize = 512;
/// The columns of `b` that are packed at a time, when it did not come packed.
const NC: usize = 768;
/// The depth of a block of a `b` that is read where it is: so many rows, each on a page of its own,
/// are read side by side.
const KC_IN_PLACE: usize = 32;

/// The product by packed panels and a micro-kernel of vectors `V`.
#[derive(Debug)]
pub(super) struct Blocked<V>(PhantomData<V>);

impl<V> Blocked<V> {
    pub(super) const fn new() -> Self {
        Blocked(PhantomData)
    }
}

impl<V: Vector> Blocked<V> {
    /// The columns of a panel: those of a tile.
    const NR: usize = V::LANES * V::TILE_VECTORS;

    fn assert_supported() {
        assert!(V::is_supported(), "this machine has no {}", V::NAME);
    }
}

impl<V: Vector> MatmulKernel<V::Element> for Blocked<V> {
    fn name(&self) -> &str {
        V::NAME
    }

    fn is_supported(&self) -> bool {
        V::is_supported()
    }

    fn panel_width(&self) -> usize {
        Self::NR
    }

    fn tile_rows(&self) -> usize {
        V::TILE_ROWS
    }

    fn pack_panel(&self, b: ArrayView2<'_, V::Element>, panel: &mut [V::Element]) {
        Self::assert_supported();
        pack_panel::<V>(b, panel);
    }

    fn product(
        &self,
        a: ArrayView2<'_, V::Element>,
        b: PackedView<'_, V::Element>,
        accumulate: bool,
        mut c: ArrayViewMut2<'_, V::Element>,
    ) {
        Self::assert_supported();
        assert_eq!((a.ncols(), b.panel_width()), (b.rows(), Self::NR));
        assert_eq!(c.dim(), (a.nrows(), b.columns()));
        if c.is_empty() || a.ncols() == 0 {
            return if !accumulate {
                c.fill(V::Element::zero())
            };
        }
        let panel = Self::NR * b.rows();
        let numbers = b.numbers();
        assert!(numbers.len() >= b.columns().div_ceil(Self::NR) * panel);
        for k in (0..a.ncols()).step_by(KC) {
            let depth = KC.min(a.ncols() - k);
            let panels = Panels {
                start: numbers[k * Self::NR..].as_ptr(),
                row: Self::NR as isize,
                panel: panel as isize,
            };
            let a = a.slice(s![.., k..k + depth]);
            // SAFETY: the instruction set is there, the shapes fit, and there are all panels of
            // `b`, each with `depth` rows from row k on.
            unsafe { rows::<V>(a, panels, accumulate || k > 0, c.view_mut()) };
        }
    }

    fn product_unpacked(
        &self,
        a: ArrayView2<'_, V::Element>,
        b: ArrayView2<'_, V::Element>,
        accumulate: bool,
        mut c: ArrayViewMut2<'_, V::Element>,
    ) {
        Self::assert_supported();
        assert_eq!((a.ncols(), c.nrows(), c.ncols()), (b.nrows(), a.nrows(), b.ncols()));
        // cᵀ = bᵀ·aᵀ, with the same bits: when rows of c stand in columns, or b is as thin as one.
        let is_upright =
            |rows, columns, strides: &[isize]| strides[0] == 1 && rows > 1 && columns > 1;
        if is_upright(c.nrows(), c.ncols(), c.strides()) || 4 * c.ncols() < V::LANES.min(c.nrows())
        {
            return multiply::<V>(b.t(), a.t(), accumulate, c.reversed_axes());
        }
        multiply::<V>(a, b, accumulate, c.view_mut());
    }
}

/// `c (+)= a·b`, with `b` read in place or packed block by block.
fn multiply<V: Vector>(
    a: ArrayView2<'_, V::Element>,
    b: ArrayView2<'_, V::Element>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, V::Element>,
) {
    if c.is_empty() || a.ncols() == 0 {
        return if !accumulate {
            c.fill(V::Element::zero())
        };
    }
    let nr = Blocked::<V>::NR;
    if a.nrows() <= V::TILE_ROWS && (b.strides()[1] == 1 || b.ncols() == 1) {
        for k in (0..a.ncols()).step_by(KC_IN_PLACE) {
            let block = k..a.ncols().min(k + KC_IN_PLACE);
            let (a, b) = (a.slice(s![.., block.clone()]), b.slice(s![block, ..]));
            let panels = Panels { start: b.as_ptr(), row: b.strides()[0], panel: nr as isize };
            // SAFETY: the callers have checked instruction set and shapes; the columns of `b`
            // stand side by side, so panel p begins with column p·NR.
            unsafe { rows::<V>(a, panels, accumulate || k > 0, c.view_mut()) };
        }
        return;
    }
    let columns = NC.min(b.ncols()).next_multiple_of(nr);
    with_scratch(Scratch::B, KC.min(b.nrows()) * columns, |scratch| {
        for (b, mut c) in
            b.axis_chunks_iter(Axis(1), columns).zip(c.axis_chunks_iter_mut(Axis(1), columns))
        {
            for k in (0..a.ncols()).step_by(KC) {
                let block = k..a.ncols().min(k + KC);
                let (a, b) = (a.slice(s![.., block.clone()]), b.slice(s![block, ..]));
                let panel = b.nrows() * nr;
                for (b, panel) in b.axis_chunks_iter(Axis(1), nr).zip(scratch.chunks_mut(panel)) {
                    pack_panel::<V>(b, panel);
                }
                let panels =
                    Panels { start: scratch.as_ptr(), row: nr as isize, panel: panel as isize };
                // SAFETY: the callers have checked instruction set and shapes; the scratch has
                // room for all panels, which were just written.
                unsafe { rows::<V>(a, panels, accumulate || k > 0, c.view_mut()) };
            }
        }
    });
}

/// A block of the depth of `b`, in panels of NR columns.
#[derive(Clone, Copy, Debug)]
struct Panels<T> {
    /// `b[k, p·NR + j]` is at `start + k·row + p·panel + j`.
    start: *const T,
    row: isize,
    panel: isize,
}

/// One block of the depth: all rows of `a`, packed block by block when the numbers of a row do not
/// stand side by side.
///
/// # Safety
/// The instruction set of `V` is there; `a [M, depth]`, `b` and `c [M, N]` fit, and all panels of
/// `b` can be read.
unsafe fn rows<V: Vector>(
    a: ArrayView2<'_, V::Element>,
    b: Panels<V::Element>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, V::Element>,
) {
    let depth = a.ncols();
    let in_place = a.strides()[1] == 1 || c.ncols() <= Blocked::<V>::NR;
    for (a, mut c) in a.axis_chunks_iter(Axis(0), MC).zip(c.axis_chunks_iter_mut(Axis(0), MC)) {
        if in_place {
            let (row, step) = (a.strides()[0], a.strides()[1]);
            let tile =
                |first: usize, _| (a.as_ptr().wrapping_offset(first as isize * row), row, step);
            // SAFETY: the caller keeps our contract; these are the places of `a`'s rows.
            unsafe { block::<V>(depth, tile, b, accumulate, c.view_mut()) };
        } else {
            with_scratch(Scratch::A, a.len(), |scratch| {
                let mut rest = &mut scratch[..];
                for rows in tiles::<V>(a.nrows()) {
                    let strip;
                    (strip, rest) = rest.split_at_mut(rows.len() * depth);
                    pack_strip(a.slice(s![rows, ..]), strip);
                }
                let tile = |first: usize, rows: usize| {
                    (scratch[first * depth..].as_ptr(), 1, rows as isize)
                };
                // SAFETY: the caller keeps our contract; tiles of rows stand one behind the other,
                // in each of them the rows of a column side by side.
                unsafe { block::<V>(depth, tile, b, accumulate, c.view_mut()) };
            });
        }
    }
}

/// All tiles of a block: panel by panel, which stays in the first cache.
///
/// # Safety
/// The instruction set of `V` is there; `a(first, count)` says where the rows of a tile are, as in
/// [`Tile`], with `depth` numbers each, which can be read, as can all panels of `b` that `c` has.
#[inline(always)]
unsafe fn block<V: Vector>(
    depth: usize,
    a: impl Fn(usize, usize) -> (*const V::Element, isize, isize),
    b: Panels<V::Element>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, V::Element>,
) {
    let nr = Blocked::<V>::NR;
    let [c_row, c_column] = [c.strides()[0], c.strides()[1]];
    let (row_count, column_count) = c.dim();
    let c = c.as_mut_ptr();
    for (p, first) in (0..column_count).step_by(nr).enumerate() {
        let columns = nr.min(column_count - first);
        for rows in tiles::<V>(row_count) {
            let kernel = micro_kernel::<V>(rows.len(), columns);
            let (a, a_row, a_step) = a(rows.start, rows.len());
            // SAFETY: row and column are within `c`.
            let c = unsafe { c.offset(rows.start as isize * c_row + first as isize * c_column) };
            let b_start = b.start.wrapping_offset(p as isize * b.panel);
            let mut tile = Tile {
                depth,
                a,
                a_row,
                a_step,
                b: b_start,
                b_step: b.row,
                c,
                c_row,
                columns,
                accumulate,
            };
            if c_column == 1 || columns == 1 {
                // SAFETY: by our contract; `c` is borrowed mutably.
                unsafe { kernel(&tile) };
                continue;
            }
            // Where the columns of c do not stand side by side: through an array that has them so.
            let mut numbers = [V::Element::zero(); tile::MAX_NUMBERS];
            let at =
                |i: usize, j: usize| c.wrapping_offset(i as isize * c_row + j as isize * c_column);
            let places = || (0..rows.len()).flat_map(|i| (0..columns).map(move |j| (i, j)));
            (tile.c, tile.c_row) = (numbers.as_mut_ptr(), nr as isize);
            // SAFETY: as above; the array has room for any tile, and `at` is within `c`.
            unsafe {
                if accumulate {
                    places().for_each(|(i, j)| *tile.c.add(i * nr + j) = *at(i, j));
                }
                kernel(&tile);
                places().for_each(|(i, j)| *at(i, j) = *tile.c.add(i * nr + j));
            }
        }
    }
}

/// Rows cut into tiles of nearly the same height.
fn tiles<V: Vector>(rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = rows.div_ceil(V::TILE_ROWS);
    let at = move |tile: usize| tile * rows / count;
    (0..count).map(move |tile| at(tile)..at(tile + 1))
}

/// Writes `b [K, N]` with N up to NR as a panel `[K, NR]`, with zeros behind its columns.
fn pack_panel<V: Vector>(b: ArrayView2<'_, V::Element>, panel: &mut [V::Element]) {
    let nr = Blocked::<V>::NR;
    let (depth, columns) = b.dim();
    let panel = &mut panel[..depth * nr];
    if b.strides()[1] == 1 || columns == 1 {
        for (row, packed) in b.outer_iter().zip(panel.chunks_exact_mut(nr)) {
            let (packed, zeros) = packed.split_at_mut(columns);
            if let Some(row) = row.as_slice() {
                packed.copy_from_slice(row);
            }
            zeros.fill(V::Element::zero());
        }
        return;
    }
    // Squares where the numbers of a column stand side by side; one by one what they leave.
    let (squares_down, squares_across) = match b.strides()[0] {
        1 => (depth / V::LANES, columns / V::LANES),
        _ => (0, 0),
    };
    if columns < nr {
        panel.chunks_exact_mut(nr).for_each(|row| row[columns..].fill(V::Element::zero()));
    }
    for down in 0..squares_down {
        for across in 0..squares_across {
            let (k, j) = (down * V::LANES, across * V::LANES);
            let from = b.slice(s![k.., j..]);
            // SAFETY: the callers have checked the instruction set; the square is within `b`,
            // whose rows stand side by side, and within the panel.
            unsafe {
                V::transpose(from.as_ptr(), b.strides()[1], panel[k * nr + j..].as_mut_ptr(), nr);
            }
        }
    }
    let done = squares_down * V::LANES;
    for (k, row) in b.outer_iter().enumerate() {
        let from = if k < done { squares_across * V::LANES } else { 0 };
        for j in from..columns {
            panel[k * nr + j] = row[j];
        }
    }
}

/// Writes the rows `a [M, K]` of a tile as `[K, M]`.
fn pack_strip<T: Element>(a: ArrayView2<'_, T>, strip: &mut [T]) {
    fn copy<T: Element, const ROWS: usize>(a: ArrayView2<'_, T>, strip: &mut [T]) {
        for (column, packed) in a.axis_iter(Axis(1)).zip(strip.chunks_exact_mut(ROWS)) {
            if let Some(column) = column.as_slice().and_then(|x| x.first_chunk::<ROWS>()) {
                packed.copy_from_slice(column);
            }
        }
    }
    let rows = a.nrows();
    if a.strides()[0] == 1 {
        match rows {
            8 => return copy::<T, 8>(a, strip),
            7 => return copy::<T, 7>(a, strip),
            6 => return copy::<T, 6>(a, strip),
            5 => return copy::<T, 5>(a, strip),
            _ => {}
        }
    }
    for (column, packed) in a.axis_iter(Axis(1)).zip(strip.chunks_exact_mut(rows)) {
        for (packed, &number) in packed.iter_mut().zip(column) {
            *packed = number;
        }
    }
}

/// What a thread's scratch memory is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scratch {
    A,
    B,
}

/// Lends `len` numbers of the thread's scratch memory, which keeps its size for the next time.
fn with_scratch<T: Element, R>(
    purpose: Scratch,
    len: usize,
    work: impl FnOnce(&mut [T]) -> R,
) -> R {
    T::with_scratch(|cells| {
        let cell: &Cell<Vec<T>> = &cells[purpose as usize];
        // Taken, not borrowed: what runs inside may come here again.
        let mut numbers = cell.take();
        if numbers.len() < aligned_len::<T>(len) {
            numbers.resize(aligned_len::<T>(len), T::zero());
        }
        let result = work(&mut aligned(&mut numbers)[..len]);
        cell.set(numbers);
        result
    })
}
