//! The micro-kernel: a tile of `c` that stays in registers.
//!
//! Each number of the tile is one chain of multiply-adds over `k`, from the first to the last,
//! which begins at 0 or at the number that was there. So its bits depend neither on the shape of
//! the tile nor on where a sum over `k` is interrupted: the next block goes on where `c` stands.

use num_traits::Zero;

use super::vector::Vector;

/// The most rows that a tile has.
pub(super) const MAX_ROWS: usize = 8;
/// The most vectors that a row of a tile has.
pub(super) const MAX_VECTORS: usize = 3;

/// The most numbers that a tile has: vectors have up to 16.
pub(super) const MAX_NUMBERS: usize = MAX_ROWS * MAX_VECTORS * 16;

/// What one call of the micro-kernel works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile<T> {
    /// How many products each sum has.
    pub depth: usize,
    /// `a[i, k]` is at `a + i·a_row + k·a_step`.
    pub a: *const T,
    pub a_row: isize,
    pub a_step: isize,
    /// `b[k, j]` is at `b + k·b_step + j`.
    pub b: *const T,
    pub b_step: isize,
    /// What will be read soon: a line of the cache for each k, `b_step` after each other. It may
    /// point anywhere, for nothing is read now.
    pub ahead: *const T,
    /// `c[i, j]` is at `c + i·c_row + j`.
    pub c: *mut T,
    pub c_row: isize,
    /// How many columns there are: all of the vectors before the last, and at least one of it.
    pub columns: usize,
    /// Whether the sums begin at `c`, not at 0.
    pub accumulate: bool,
}

/// A micro-kernel for one size of tile.
pub(super) type MicroKernel<T> = unsafe fn(&Tile<T>);

/// `c (+)= a·b` for a tile of `ROWS` rows and `VECTORS` vectors, of the last of which all lanes, or
/// when it is `PARTIAL` the first ones, are columns.
///
/// # Safety
/// The instruction set of `V` is there. All numbers of the tile's `a` and `b` can be read, those of
/// `c` written; nothing else points at these.
#[inline(always)]
pub(super) unsafe fn multiply<
    V: Vector,
    const ROWS: usize,
    const VECTORS: usize,
    const PARTIAL: bool,
>(
    tile: &Tile<V::Element>,
) {
    if ROWS > V::TILE_ROWS || VECTORS > V::TILE_VECTORS || (VECTORS < V::TILE_VECTORS && !PARTIAL) {
        unreachable!("micro_kernel takes no such tile");
    }
    let Tile { depth, mut a, a_row, a_step, mut b, b_step, c, c_row, columns, accumulate, .. } =
        *tile;
    let mut ahead = tile.ahead;
    let partial = |v: usize| PARTIAL && v == VECTORS - 1;
    let last = columns - (VECTORS - 1) * V::LANES;
    // SAFETY: vector v of row i holds columns v·LANES and on; of the last vector, only those below
    // `columns` are touched when it is partial. So all is within what the caller allows.
    unsafe {
        let load = |v: usize, from: *const V::Element| match partial(v) {
            true => V::load_first(last, from),
            false => V::load(from),
        };
        let c = |i: usize, v: usize| c.offset(i as isize * c_row).add(v * V::LANES);
        let mut sums = [[V::splat(V::Element::zero()); VECTORS]; ROWS];
        if accumulate {
            for i in 0..ROWS {
                for v in 0..VECTORS {
                    sums[i][v] = load(v, c(i, v));
                }
            }
        }
        for _ in 0..depth {
            V::prefetch(ahead);
            let mut row = [V::splat(V::Element::zero()); VECTORS];
            for v in 0..VECTORS {
                row[v] = load(v, b.add(v * V::LANES));
            }
            for i in 0..ROWS {
                let x = V::splat(*a.offset(i as isize * a_row));
                for v in 0..VECTORS {
                    sums[i][v] = x.mul_add(row[v], sums[i][v]);
                }
            }
            // Past the last row of a block, these may point anywhere, and are not used.
            (a, b) = (a.wrapping_offset(a_step), b.wrapping_offset(b_step));
            ahead = ahead.wrapping_offset(b_step);
        }
        for i in 0..ROWS {
            for v in 0..VECTORS {
                match partial(v) {
                    true => sums[i][v].store_first(last, c(i, v)),
                    false => sums[i][v].store(c(i, v)),
                }
            }
        }
    }
}

/// The micro-kernel for `rows` by `columns`, at most a tile of `V`.
pub(super) fn micro_kernel<V: Vector>(rows: usize, columns: usize) -> MicroKernel<V::Element> {
    macro_rules! of_rows {
        ($($rows:literal)*) => {
            match (rows, columns.div_ceil(V::LANES), columns == V::TILE_VECTORS * V::LANES) {
                $(($rows, 3, true) => V::multiply_tile::<$rows, 3, false>,
                ($rows, 2, true) => V::multiply_tile::<$rows, 2, false>,
                ($rows, 3, false) => V::multiply_tile::<$rows, 3, true>,
                ($rows, 2, false) => V::multiply_tile::<$rows, 2, true>,
                ($rows, 1, _) => V::multiply_tile::<$rows, 1, true>,)*
                _ => unreachable!("a tile has 1 to {MAX_ROWS} rows and 1 to {MAX_VECTORS} vectors"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8)
}
