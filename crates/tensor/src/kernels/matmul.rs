//! The matrix product.
//!
//! # Contract
//!
//! Every variant computes `c = a·b`, or `c += a·b` when it accumulates, for `a [M, K]`, `b [K, N]`
//! and `c [M, N]` of any strides, M, K and N possibly 0.
//! - When it does not accumulate, `c` is never read: what it held, NaN included, does not matter.
//! - **The bits of a row of `c` depend neither on how many other rows there are nor on the number
//!   of threads.** A sentence gives the same bits alone or in any batch.

use matrixmultiply as mm;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::{Context, Real};

/// The product, with the variant and the threads that the context asks for.
///
/// Shapes: `a [M, K]`, `b [K, N]`, `c [M, N]`; the callers have checked them.
pub fn product<T: Real>(
    context: &Context,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, T>,
) {
    debug_assert_eq!((a.nrows(), b.ncols(), a.ncols()), (c.nrows(), c.ncols(), b.nrows()));
    let run = if context.kernels().is_naive() { naive } else { T::fast_product };
    let (m, n, k) = (c.nrows(), c.ncols(), a.ncols());
    let threads = context.threads();
    if !context.parallel(m.saturating_mul(n).saturating_mul(k)) {
        return run(a, b, accumulate, c);
    }
    // Each thread takes a band of rows, or of columns when there are more of these.
    if m >= n {
        let band = m.div_ceil(threads).next_multiple_of(16);
        context.install(|| {
            c.axis_chunks_iter_mut(Axis(0), band)
                .into_par_iter()
                .zip(a.axis_chunks_iter(Axis(0), band))
                .for_each(|(c, a)| run(a, b, accumulate, c));
        });
    } else {
        let band = n.div_ceil(threads).next_multiple_of(16);
        context.install(|| {
            c.axis_chunks_iter_mut(Axis(1), band)
                .into_par_iter()
                .zip(b.axis_chunks_iter(Axis(1), band))
                .for_each(|(c, b)| run(a, b, accumulate, c));
        });
    }
}

/// The specification: three loops.
pub fn naive<T: Real>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, T>,
) {
    for ((i, j), c) in c.indexed_iter_mut() {
        let mut sum = T::zero();
        for k in 0..a.ncols() {
            sum += a[[i, k]] * b[[k, j]];
        }
        *c = if accumulate { *c + sum } else { sum };
    }
}

macro_rules! gemm {
    ($name:ident, $t:ty, $gemm:path) => {
        /// The product by the `matrixmultiply` crate.
        pub fn $name(
            a: ArrayView2<'_, $t>,
            b: ArrayView2<'_, $t>,
            accumulate: bool,
            mut c: ArrayViewMut2<'_, $t>,
        ) {
            let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
            assert_eq!((b.nrows(), c.nrows(), c.ncols()), (k, m, n), "checked by the callers");
            let beta = if accumulate { 1.0 } else { 0.0 };
            let [(rsa, csa), (rsb, csb), (rsc, csc)] =
                [a.strides(), b.strides(), c.strides()].map(|s| (s[0], s[1]));
            // SAFETY: the pointers and strides are those of live views with the shapes asserted
            // above; `c` is borrowed mutably, so it overlaps neither `a` nor `b` and no element of
            // it is reached twice.
            unsafe {
                $gemm(
                    m,
                    k,
                    n,
                    1.0,
                    a.as_ptr(),
                    rsa,
                    csa,
                    b.as_ptr(),
                    rsb,
                    csb,
                    beta,
                    c.as_mut_ptr(),
                    rsc,
                    csc,
                );
            }
        }
    };
}

gemm!(sgemm, f32, mm::sgemm);
gemm!(dgemm, f64, mm::dgemm);

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;
    use crate::random::Key;

    fn random(key: Key, rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            key.uniform((i * columns + j) as u64) as f32 - 0.5
        })
    }

    #[test]
    fn the_bits_of_a_row_depend_on_nothing_but_the_row_and_b() {
        let key = Key::new(3);
        for (m, k, n) in [(1, 1, 1), (5, 7, 3), (64, 640, 1024), (70, 300, 33), (33, 1024, 8)] {
            let a = random(key.with(1), m, k);
            let b_transposed = random(key.with(2), n, k);
            for b in [random(key.with(3), k, n).view(), b_transposed.t()] {
                for accumulate in [false, true] {
                    let start = random(key.with(4), m, n);
                    let mut whole = start.clone();
                    sgemm(a.view(), b, accumulate, whole.view_mut());
                    for threads in [2, 3, 4] {
                        let context = Context::with_threads(threads).unwrap();
                        let mut shared = start.clone();
                        product(&context, a.view(), b, accumulate, shared.view_mut());
                        assert_eq!(whole, shared, "{m}x{k}x{n} on {threads} threads");
                    }
                    for rows in [0..1, m / 2..m, 0..m / 3 + 1] {
                        let mut part = start.slice(s![rows.clone(), ..]).to_owned();
                        sgemm(a.slice(s![rows.clone(), ..]), b, accumulate, part.view_mut());
                        assert_eq!(part, whole.slice(s![rows, ..]), "{m}x{k}x{n}");
                    }
                }
            }
        }
    }

    #[test]
    fn fast_products_agree_with_the_naive_one() {
        let key = Key::new(5);
        for (m, k, n) in [(0, 3, 2), (3, 0, 2), (1, 5, 1), (17, 33, 9), (4, 300, 20)] {
            let (a, b) = (random(key.with(1), m, k), random(key.with(2), k, n));
            for accumulate in [false, true] {
                let start = random(key.with(3), m, n);
                let (mut slow, mut fast) = (start.clone(), start);
                if !accumulate {
                    fast.fill(f32::NAN);
                }
                naive(a.view(), b.view(), accumulate, slow.view_mut());
                sgemm(a.view(), b.view(), accumulate, fast.view_mut());
                approx::assert_abs_diff_eq!(slow, fast, epsilon = 1e-4);
            }
        }
    }
}
