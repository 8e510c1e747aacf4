//! The vectors of AVX2 with fused multiply-add (256 bits) and of AVX-512 (512 bits).

use std::arch::x86_64::*;

use super::tile::{self, Tile};
use super::vector::{Vector, copy_rows};

/// A [`Vector`] out of the intrinsics that have its numbers in their names.
macro_rules! vector {
    (
        $(#[$doc:meta])*
        $name:ident($raw:ty) of $lanes:literal $t:ty, $kernel:literal, $features:tt,
        tile $rows:literal x $vectors:literal,
        $set:ident $load:ident $store:ident $mul_add:ident,
        mask $mask:expr, $masked_load:expr, $masked_store:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name($raw);

        // SAFETY, of all unsafe blocks within: whoever calls these functions has checked that the
        // instruction set is there, and lets them read and write so many numbers at any alignment;
        // masked instructions touch only the lanes of their mask.
        impl Vector for $name {
            type Element = $t;
            const NAME: &'static str = $kernel;
            const LANES: usize = $lanes;
            const TILE_ROWS: usize = $rows;
            const TILE_VECTORS: usize = $vectors;

            fn is_supported() -> bool {
                supported!($features)
            }

            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                // SAFETY: above.
                $name(unsafe { $set(x) })
            }

            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: above.
                $name(unsafe { $load(from) })
            }

            #[inline(always)]
            unsafe fn load_first(count: usize, from: *const $t) -> Self {
                // SAFETY: above.
                $name(unsafe { $masked_load($mask(count), from) })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: above.
                unsafe { $store(to, self.0) };
            }

            #[inline(always)]
            unsafe fn store_first(self, count: usize, to: *mut $t) {
                // SAFETY: above.
                unsafe { $masked_store(to, $mask(count), self.0) };
            }

            #[inline(always)]
            unsafe fn mul_add(self, x: Self, y: Self) -> Self {
                // SAFETY: above.
                $name(unsafe { $mul_add(self.0, x.0, y.0) })
            }

            #[inline(always)]
            unsafe fn prefetch(at: *const $t) {
                // To the second cache: the first has no room for a panel.
                // SAFETY: above; nothing is read.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
            }

            enter!($features, $name, $t);
        }
    };
}

/// The functions that are compiled for an instruction set.
macro_rules! enter {
    ([$($feature:tt)+], $name:ident, $t:ty) => {
        $(#[target_feature(enable = $feature)])+
        unsafe fn copy_rows(count: usize, from: *const $t, from_row: isize, to: *mut $t) {
            // SAFETY: the caller keeps its contract.
            unsafe { copy_rows::<Self>(count, from, from_row, to) };
        }

        $(#[target_feature(enable = $feature)])+
        unsafe fn transpose(
            squares: usize,
            from: *const $t,
            from_column: isize,
            to: *mut $t,
            to_row: usize,
        ) {
            for k in (0..squares * Self::LANES).step_by(Self::LANES) {
                // SAFETY: all of the square from k on is in what the caller lets us use.
                unsafe {
                    let mut square = [Self::splat(0.0).0; Self::LANES];
                    for j in 0..Self::LANES {
                        square[j] = Self::load(from.offset(j as isize * from_column).add(k)).0;
                    }
                    let square = Self::transposed(square);
                    for i in 0..Self::LANES {
                        $name(square[i]).store(to.add((k + i) * to_row));
                    }
                }
            }
        }

        $(#[target_feature(enable = $feature)])+
        unsafe fn multiply_tile<const ROWS: usize, const VECTORS: usize, const PARTIAL: bool>(
            tile: &Tile<$t>,
        ) {
            // SAFETY: the caller keeps its contract.
            unsafe { tile::multiply::<Self, ROWS, VECTORS, PARTIAL>(tile) };
        }
    };
}

macro_rules! supported {
    ([$($feature:tt)+]) => { $(is_x86_feature_detected!($feature))&&+ };
}

vector!(
    /// 16 `f32`.
    F32x16(__m512) of 16 f32, "avx512", ["avx512f"],
    tile 8 x 3,
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_fmadd_ps,
    mask (|count| u16::MAX >> (16 - count)), _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps
);
vector!(
    /// 8 `f64`.
    F64x8(__m512d) of 8 f64, "avx512", ["avx512f"],
    tile 8 x 3,
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_fmadd_pd,
    mask (|count| u8::MAX >> (8 - count)), _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd
);
vector!(
    /// 8 `f32`.
    F32x8(__m256) of 8 f32, "avx2", ["avx2" "fma"],
    tile 6 x 2,
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_fmadd_ps,
    mask first_of_8, (|mask, from| _mm256_maskload_ps(from, mask)), _mm256_maskstore_ps
);
vector!(
    /// 4 `f64`.
    F64x4(__m256d) of 4 f64, "avx2", ["avx2" "fma"],
    tile 6 x 2,
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_fmadd_pd,
    mask first_of_4, (|mask, from| _mm256_maskload_pd(from, mask)), _mm256_maskstore_pd
);

/// The mask of the first `count` of 8 lanes.
#[target_feature(enable = "avx2")]
fn first_of_8(count: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// The mask of the first `count` of 4 lanes.
#[target_feature(enable = "avx2")]
fn first_of_4(count: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}

// The instruction sets transpose within lanes of 128 bits first: with lanes of L numbers, number
// `i` of lane `l` of `x[L·k + j]` becomes column `L·l + j` of row `L·k + i`. Then the lanes are
// transposed among vectors.

impl F32x16 {
    /// The columns of 16 rows.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed(x: [__m512; 16]) -> [__m512; 16] {
        let mut y = x;
        for k in (0..16).step_by(4) {
            let (low, high) =
                (_mm512_unpacklo_ps(x[k], x[k + 1]), _mm512_unpackhi_ps(x[k], x[k + 1]));
            let (low_2, high_2) =
                (_mm512_unpacklo_ps(x[k + 2], x[k + 3]), _mm512_unpackhi_ps(x[k + 2], x[k + 3]));
            y[k] = _mm512_shuffle_ps::<0x44>(low, low_2);
            y[k + 1] = _mm512_shuffle_ps::<0xee>(low, low_2);
            y[k + 2] = _mm512_shuffle_ps::<0x44>(high, high_2);
            y[k + 3] = _mm512_shuffle_ps::<0xee>(high, high_2);
        }
        let mut z = y;
        for j in 0..4 {
            let even = _mm512_shuffle_f32x4::<0x88>(y[j], y[4 + j]);
            let odd = _mm512_shuffle_f32x4::<0xdd>(y[j], y[4 + j]);
            let even_2 = _mm512_shuffle_f32x4::<0x88>(y[8 + j], y[12 + j]);
            let odd_2 = _mm512_shuffle_f32x4::<0xdd>(y[8 + j], y[12 + j]);
            z[j] = _mm512_shuffle_f32x4::<0x88>(even, even_2);
            z[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd, odd_2);
            z[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even, even_2);
            z[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_2);
        }
        z
    }
}

impl F64x8 {
    /// The columns of 8 rows.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed(x: [__m512d; 8]) -> [__m512d; 8] {
        let mut y = x;
        for k in (0..8).step_by(2) {
            y[k] = _mm512_unpacklo_pd(x[k], x[k + 1]);
            y[k + 1] = _mm512_unpackhi_pd(x[k], x[k + 1]);
        }
        let mut z = y;
        for j in 0..2 {
            let even = _mm512_shuffle_f64x2::<0x88>(y[j], y[2 + j]);
            let odd = _mm512_shuffle_f64x2::<0xdd>(y[j], y[2 + j]);
            let even_2 = _mm512_shuffle_f64x2::<0x88>(y[4 + j], y[6 + j]);
            let odd_2 = _mm512_shuffle_f64x2::<0xdd>(y[4 + j], y[6 + j]);
            z[j] = _mm512_shuffle_f64x2::<0x88>(even, even_2);
            z[2 + j] = _mm512_shuffle_f64x2::<0x88>(odd, odd_2);
            z[4 + j] = _mm512_shuffle_f64x2::<0xdd>(even, even_2);
            z[6 + j] = _mm512_shuffle_f64x2::<0xdd>(odd, odd_2);
        }
        z
    }
}

impl F32x8 {
    /// The columns of 8 rows.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transposed(x: [__m256; 8]) -> [__m256; 8] {
        let mut y = x;
        for k in (0..8).step_by(4) {
            let (low, high) =
                (_mm256_unpacklo_ps(x[k], x[k + 1]), _mm256_unpackhi_ps(x[k], x[k + 1]));
            let (low_2, high_2) =
                (_mm256_unpacklo_ps(x[k + 2], x[k + 3]), _mm256_unpackhi_ps(x[k + 2], x[k + 3]));
            y[k] = _mm256_shuffle_ps::<0x44>(low, low_2);
            y[k + 1] = _mm256_shuffle_ps::<0xee>(low, low_2);
            y[k + 2] = _mm256_shuffle_ps::<0x44>(high, high_2);
            y[k + 3] = _mm256_shuffle_ps::<0xee>(high, high_2);
        }
        let mut z = y;
        for j in 0..4 {
            z[j] = _mm256_permute2f128_ps::<0x20>(y[j], y[4 + j]);
            z[4 + j] = _mm256_permute2f128_ps::<0x31>(y[j], y[4 + j]);
        }
        z
    }
}

impl F64x4 {
    /// The columns of 4 rows.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transposed(x: [__m256d; 4]) -> [__m256d; 4] {
        let mut y = x;
        for k in (0..4).step_by(2) {
            y[k] = _mm256_unpacklo_pd(x[k], x[k + 1]);
            y[k + 1] = _mm256_unpackhi_pd(x[k], x[k + 1]);
        }
        let mut z = y;
        for j in 0..2 {
            z[j] = _mm256_permute2f128_pd::<0x20>(y[j], y[2 + j]);
            z[2 + j] = _mm256_permute2f128_pd::<0x31>(y[j], y[2 + j]);
        }
        z
    }
}
