//! Vectors of numbers, the little of an instruction set that the micro-kernel needs.

use std::fmt::Debug;

use super::Element;
use super::tile::{self, Tile};

/// A vector of an instruction set, and the tile that suits its registers.
///
/// # Safety
/// All unsafe functions may be called only where [`is_supported`](Vector::is_supported), on
/// pointers to as many numbers as each says, of any alignment.
pub(super) trait Vector: Copy + Debug + Send + Sync + 'static {
    /// The numbers.
    type Element: Element;
    /// The name of the kernel made of it.
    const NAME: &'static str;
    /// How many numbers a vector has.
    const LANES: usize;
    /// How many rows of `c` stay in registers, at most [`tile::MAX_ROWS`].
    const TILE_ROWS: usize;
    /// How many vectors of a row of `c` stay in registers, at most [`tile::MAX_VECTORS`].
    const TILE_VECTORS: usize;

    /// Whether this machine has the instructions.
    fn is_supported() -> bool;

    /// `x` in every lane.
    unsafe fn splat(x: Self::Element) -> Self;
    /// Reads [`LANES`](Self::LANES) numbers.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// Reads the first `count` numbers, 1 to [`LANES`](Self::LANES), and nothing behind them; the
    /// other lanes are 0.
    unsafe fn load_first(count: usize, from: *const Self::Element) -> Self;
    /// Writes [`LANES`](Self::LANES) numbers.
    unsafe fn store(self, to: *mut Self::Element);
    /// Writes the first `count` numbers, 1 to [`LANES`](Self::LANES), and nothing behind them.
    unsafe fn store_first(self, count: usize, to: *mut Self::Element);
    /// `self · x + y`, rounded once where the instruction set can.
    unsafe fn mul_add(self, x: Self, y: Self) -> Self;

    /// Asks for the line of the cache with this number, which may point anywhere.
    unsafe fn prefetch(at: *const Self::Element);

    /// Copies `count` rows of [`panel_width`] numbers, which begin `from_row` numbers after each
    /// other, to rows that stand one behind the other.
    unsafe fn copy_rows(
        count: usize,
        from: *const Self::Element,
        from_row: isize,
        to: *mut Self::Element,
    );

    /// Transposes [`LANES`](Self::LANES) columns of `squares` times as many numbers, which stand
    /// side by side, to rows: the columns begin `from_column` numbers after each other, the rows
    /// `to_row`.
    unsafe fn transpose(
        squares: usize,
        from: *const Self::Element,
        from_column: isize,
        to: *mut Self::Element,
        to_row: usize,
    );

    /// [`tile::multiply`], compiled for the instruction set.
    ///
    /// # Safety
    /// Also that of [`tile::multiply`].
    unsafe fn multiply_tile<const ROWS: usize, const VECTORS: usize, const PARTIAL: bool>(
        tile: &Tile<Self::Element>,
    );
}

/// NR: how many columns of `b` a panel has, those of a tile.
pub(super) const fn panel_width<V: Vector>() -> usize {
    V::LANES * V::TILE_VECTORS
}

/// [`Vector::copy_rows`] in any instruction set.
///
/// # Safety
/// That of [`Vector::copy_rows`].
#[inline(always)]
pub(super) unsafe fn copy_rows<V: Vector>(
    count: usize,
    from: *const V::Element,
    from_row: isize,
    to: *mut V::Element,
) {
    for k in 0..count {
        for v in 0..V::TILE_VECTORS {
            // SAFETY: vector v of row k is in what the caller lets us use.
            unsafe {
                let vector = V::load(from.offset(k as isize * from_row).add(v * V::LANES));
                vector.store(to.add(k * panel_width::<V>() + v * V::LANES));
            }
        }
    }
}

/// `N` numbers in an array: what compilers make of it on any machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable<T, const N: usize>([T; N]);

/// Whether the target multiplies and adds with one rounding, without a call of a function.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

macro_rules! portable {
    ($t:ty, $lanes:literal) => {
        impl Vector for Portable<$t, $lanes> {
            type Element = $t;
            const NAME: &'static str = "portable";
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = 4;
            const TILE_VECTORS: usize = 2;

            fn is_supported() -> bool {
                true
            }

            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                Portable([x; $lanes])
            }

            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the caller lets us read so many; an array is aligned as its numbers are.
                Portable(unsafe { from.cast::<[$t; $lanes]>().read() })
            }

            #[inline(always)]
            unsafe fn load_first(count: usize, from: *const $t) -> Self {
                // SAFETY: the caller lets us read so many.
                let numbers = unsafe { std::slice::from_raw_parts(from, count) };
                let mut vector = [0.0; $lanes];
                vector[..count].copy_from_slice(numbers);
                Portable(vector)
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: the caller lets us write so many.
                unsafe { to.cast::<[$t; $lanes]>().write(self.0) };
            }

            #[inline(always)]
            unsafe fn store_first(self, count: usize, to: *mut $t) {
                // SAFETY: the caller lets us write so many.
                unsafe { to.copy_from_nonoverlapping(self.0.as_ptr(), count.min($lanes)) };
            }

            #[inline(always)]
            unsafe fn mul_add(self, x: Self, y: Self) -> Self {
                let mut sum = y.0;
                for i in 0..$lanes {
                    sum[i] = match FUSED {
                        true => self.0[i].mul_add(x.0[i], sum[i]),
                        false => self.0[i] * x.0[i] + sum[i],
                    };
                }
                Portable(sum)
            }

            #[inline(always)]
            unsafe fn prefetch(_: *const $t) {}

            unsafe fn copy_rows(count: usize, from: *const $t, from_row: isize, to: *mut $t) {
                // SAFETY: the caller keeps its contract.
                unsafe { copy_rows::<Self>(count, from, from_row, to) };
            }

            unsafe fn transpose(
                squares: usize,
                from: *const $t,
                from_column: isize,
                to: *mut $t,
                to_row: usize,
            ) {
                for k in 0..squares * $lanes {
                    for j in 0..$lanes {
                        // SAFETY: both places are in what the caller lets us use.
                        unsafe {
                            *to.add(k * to_row + j) = *from.offset(j as isize * from_column).add(k);
                        }
                    }
                }
            }

            unsafe fn multiply_tile<
                const ROWS: usize,
                const VECTORS: usize,
                const PARTIAL: bool,
            >(
                tile: &Tile<$t>,
            ) {
                // SAFETY: the caller keeps its contract.
                unsafe { tile::multiply::<Self, ROWS, VECTORS, PARTIAL>(tile) };
            }
        }
    };
}

portable!(f32, 4);
portable!(f64, 2);
