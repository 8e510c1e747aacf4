//! The loops around the micro-kernel, for any vector.
//!
//! The names are those of Goto and van de Geijn, *Anatomy of High-Performance Matrix
//! Multiplication* (2008), and of BLIS: MR by NR is a tile of `c`; the depth is cut into blocks of
//! KC and the rows into blocks of MC, so that a block of `a` stays in the second cache while one
//! panel of `b` after the other goes by, each of them read by one tile of rows after the other.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use num_traits::Zero;

use super::pack::{pack_panel, pack_strips};
use super::packed::{PackedView, aligned, aligned_len};
use super::tile::{MAX_NUMBERS, Tile, micro_kernel};
use super::vector::{Vector, panel_width};
use super::{Element, MatmulKernel};

/// The most depth of a block: 768 of `f32`, 384 of `f64`.
const fn kc<T>() -> usize {
    3072 / size_of::<T>()
}
/// The most rows of a block.
const MC: usize = 128;
/// The columns of `b` that are packed at a time when `a` is too tall to stay in the cache.
const NC: usize = 768;
/// The depth of a block of a `b` that is read where it is: its rows may stand on a page each, and
/// at the same place in it, of which caches hold few.
const KC_IN_PLACE: usize = 128;

/// The product by packed panels and a micro-kernel of vectors `V`.
#[derive(Debug)]
pub(super) struct Blocked<V>(PhantomData<V>);

impl<V: Vector> Blocked<V> {
    pub(super) const fn new() -> Self {
        Blocked(PhantomData)
    }

    fn assert_supported() {
        assert!(V::is_supported(), "this machine cannot run {} kernels", V::NAME);
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
        panel_width::<V>()
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
        c: ArrayViewMut2<'_, V::Element>,
    ) {
        Self::assert_supported();
        let nr = panel_width::<V>();
        assert_eq!((a.ncols(), b.panel_width()), (b.rows(), nr));
        assert_eq!(c.dim(), (a.nrows(), b.columns()));
        over_depth(a, kc::<V::Element>(), accumulate, c, |a, k, accumulate, c| {
            let start = b.numbers()[k.start * nr..].as_ptr();
            let b = Panels { start, row: nr as isize, panel: (b.rows() * nr) as isize };
            // SAFETY: the instruction set is there, the shapes fit, and a packed view has all of
            // its panels.
            unsafe { blocks::<V>(a, b, accumulate, c) };
        });
    }

    fn product_unpacked(
        &self,
        a: ArrayView2<'_, V::Element>,
        b: ArrayView2<'_, V::Element>,
        accumulate: bool,
        c: ArrayViewMut2<'_, V::Element>,
    ) {
        Self::assert_supported();
        assert_eq!((a.ncols(), c.nrows(), c.ncols()), (b.nrows(), a.nrows(), b.ncols()));
        // cᵀ = bᵀ·aᵀ has the same bits. It is better where the numbers of a column of c stand side
        // by side, and where c is not even a vector wide.
        let is_upright = c.strides()[0] == 1 && c.nrows() > 1 && c.strides()[1] != 1;
        if is_upright || (c.ncols() < V::LANES / 2 && c.nrows() > c.ncols()) {
            return product_unpacked::<V>(b.t(), a.t(), accumulate, c.reversed_axes());
        }
        product_unpacked::<V>(a, b, accumulate, c);
    }
}

/// `c (+)= a·b` with `b` read where it is, or packed block by block.
///
/// The callers have checked that the instruction set is there and that the shapes fit.
fn product_unpacked<V: Vector>(
    a: ArrayView2<'_, V::Element>,
    b: ArrayView2<'_, V::Element>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, V::Element>,
) {
    let nr = panel_width::<V>();
    if a.nrows() <= MC && (b.strides()[1] == 1 || b.ncols() == 1) {
        return over_depth(a, KC_IN_PLACE, accumulate, c, |a, k, accumulate, c| {
            let b = b.slice(s![k, ..]);
            let b = Panels { start: b.as_ptr(), row: b.strides()[0], panel: nr as isize };
            // SAFETY: by the callers' checks; the numbers of a row of `b` stand side by side.
            unsafe { blocks::<V>(a, b, accumulate, c) };
        });
    }
    // An `a` that stays in the cache, and is not packed, may be read again for each panel.
    let stays = a.nrows() <= MC && a.strides()[1] == 1;
    let columns = if stays { nr } else { NC.next_multiple_of(nr) };
    let depth = kc::<V::Element>().min(b.nrows());
    with_scratch(Scratch::B, depth * columns.min(b.ncols().next_multiple_of(nr)), |scratch| {
        let chunks = c.axis_chunks_iter_mut(Axis(1), columns);
        for (c, b) in chunks.zip(b.axis_chunks_iter(Axis(1), columns)) {
            over_depth(a, kc::<V::Element>(), accumulate, c, |a, k, accumulate, c| {
                let b = b.slice(s![k, ..]);
                let panel = b.nrows() * nr;
                for (b, packed) in b.axis_chunks_iter(Axis(1), nr).zip(scratch.chunks_mut(panel)) {
                    pack_panel::<V>(b, packed);
                }
                let start = scratch.as_ptr();
                let b = Panels { start, row: nr as isize, panel: panel as isize };
                // SAFETY: by the callers' checks; the scratch has all panels.
                unsafe { blocks::<V>(a, b, accumulate, c) };
            });
        }
    });
}

/// Runs `block` for one block of the depth after the other, with the columns of `a` in it, where it
/// is, and whether to accumulate: always but in the first one. Without any depth, `c` is zero.
fn over_depth<T: Element>(
    a: ArrayView2<'_, T>,
    kc: usize,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, T>,
    mut block: impl FnMut(ArrayView2<'_, T>, Range<usize>, bool, ArrayViewMut2<'_, T>),
) {
    let depth = a.ncols();
    if c.is_empty() || (depth == 0 && accumulate) {
        return;
    }
    if depth == 0 {
        return c.fill(T::zero());
    }
    for k in evenly(depth, kc) {
        let accumulate = accumulate || k.start > 0;
        block(a.slice(s![.., k.clone()]), k, accumulate, c.view_mut());
    }
}

/// A block of the depth of `b`, in panels of NR columns.
#[derive(Clone, Copy, Debug)]
struct Panels<T> {
    /// `b[k, p·NR + j]` is at `start + k·row + p·panel + j`.
    start: *const T,
    row: isize,
    panel: isize,
}

/// One block of the depth: all blocks of rows of `a`, packed when the numbers of a row do not stand
/// side by side.
///
/// # Safety
/// The instruction set of `V` is there; `a [M, depth]`, `b` and `c [M, N]` fit, and all panels of
/// `b` can be read.
unsafe fn blocks<V: Vector>(
    a: ArrayView2<'_, V::Element>,
    b: Panels<V::Element>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, V::Element>,
) {
    let depth = a.ncols();
    let in_place = a.strides()[1] == 1 || depth == 1 || c.ncols() <= panel_width::<V>();
    for (a, mut c) in a.axis_chunks_iter(Axis(0), MC).zip(c.axis_chunks_iter_mut(Axis(0), MC)) {
        if in_place {
            let (row, step) = (a.strides()[0], a.strides()[1]);
            let tile = |rows: Range<usize>| {
                (a.as_ptr().wrapping_offset(rows.start as isize * row), row, step)
            };
            // SAFETY: the caller keeps our contract; these are the places of the rows of `a`.
            unsafe { block::<V>(depth, tile, b, accumulate, c.view_mut()) };
        } else {
            with_scratch(Scratch::A, a.len(), |strips| {
                pack_strips(a, tiles::<V>(a.nrows()), strips);
                let tile = |rows: Range<usize>| {
                    (strips[rows.start * depth..].as_ptr(), 1, rows.len() as isize)
                };
                // SAFETY: the caller keeps our contract; these are the places of the strips.
                unsafe { block::<V>(depth, tile, b, accumulate, c.view_mut()) };
            });
        }
    }
}

/// All tiles of a block, panel by panel of `b`.
///
/// # Safety
/// The instruction set of `V` is there; `a(rows)` says where the rows of a tile begin and their
/// strides, as in [`Tile`]. They have `depth` numbers each, which can be read, as can all panels of
/// `b` that `c` has.
unsafe fn block<V: Vector>(
    depth: usize,
    a: impl Fn(Range<usize>) -> (*const V::Element, isize, isize),
    b: Panels<V::Element>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, V::Element>,
) {
    let nr = panel_width::<V>();
    let (row_count, column_count) = c.dim();
    let (c_row, c_column) = (c.strides()[0], c.strides()[1]);
    let c = c.as_mut_ptr();
    for (p, first) in (0..column_count).step_by(nr).enumerate() {
        let columns = nr.min(column_count - first);
        for (t, rows) in tiles::<V>(row_count).enumerate() {
            let multiply = micro_kernel::<V>(rows.len(), columns);
            let at = |i: usize, j: usize| {
                let (i, j) = ((rows.start + i) as isize, (first + j) as isize);
                c.wrapping_offset(i * c_row + j * c_column)
            };
            let (a, a_row, a_step) = a(rows.clone());
            let (b_step, b_panel, b) =
                (b.row, b.panel, b.start.wrapping_offset(p as isize * b.panel));
            let c = at(0, 0);
            // The tiles of a panel share in asking for the next one.
            let line = 64 / size_of::<V::Element>();
            let ahead = match t * line < nr {
                true => b.wrapping_offset(b_panel).wrapping_add(t * line),
                false => b,
            };
            let tile =
                Tile { depth, a, a_row, a_step, b, b_step, ahead, c, c_row, columns, accumulate };
            if c_column == 1 || columns == 1 {
                // SAFETY: by our contract; `c` is borrowed mutably.
                unsafe { multiply(&tile) };
                continue;
            }
            // Where the numbers of a row of `c` do not stand side by side: through an array that
            // has them so.
            let mut numbers = [V::Element::zero(); MAX_NUMBERS];
            let c = numbers.as_mut_ptr();
            let places = || (0..rows.len()).flat_map(|i| (0..columns).map(move |j| (i, j)));
            // SAFETY: as above; the array has room for any tile, in rows of NR numbers.
            unsafe {
                if accumulate {
                    places().for_each(|(i, j)| *c.add(i * nr + j) = *at(i, j));
                }
                multiply(&Tile { c, c_row: nr as isize, ..tile });
                places().for_each(|(i, j)| *at(i, j) = *c.add(i * nr + j));
            }
        }
    }
}

/// The rows of each tile.
fn tiles<V: Vector>(rows: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    evenly(rows, V::TILE_ROWS)
}

/// `0..len` cut into as few ranges of at most `most` as can be, of nearly the same length.
fn evenly(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let count = len.div_ceil(most);
    (0..count).map(move |k| k * len / count..(k + 1) * len / count)
}

/// What a thread's scratch memory is for.
#[derive(Clone, Copy, Debug)]
enum Scratch {
    A,
    B,
}

/// Lends `len` numbers of the thread's scratch memory, which stays for the next time.
fn with_scratch<T: Element, R>(
    purpose: Scratch,
    len: usize,
    work: impl FnOnce(&mut [T]) -> R,
) -> R {
    T::with_scratch(|cells| {
        let cell: &Cell<Vec<T>> = &cells[purpose as usize];
        // Taken, not borrowed: whatever runs inside may come here again.
        let mut numbers = cell.take();
        if numbers.len() < aligned_len::<T>(len) {
            numbers.resize(aligned_len::<T>(len), T::zero());
        }
        let result = work(&mut aligned(&mut numbers)[..len]);
        cell.set(numbers);
        result
    })
}
