//! The product of the `matrixmultiply` crate.

use ::matrixmultiply as mm;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use super::{MatmulKernel, PackedView};

/// The product of the `matrixmultiply` crate, which packs both factors at every call.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatrixMultiply;

macro_rules! kernel {
    ($t:ty, $gemm:path) => {
        impl MatmulKernel<$t> for MatrixMultiply {
            fn name(&self) -> &str {
                "matrixmultiply"
            }

            fn panel_width(&self) -> usize {
                256
            }

            fn tile_rows(&self) -> usize {
                16
            }

            fn product(
                &self,
                a: ArrayView2<'_, $t>,
                b: PackedView<'_, $t>,
                accumulate: bool,
                mut c: ArrayViewMut2<'_, $t>,
            ) {
                let (rows, width) = (b.rows(), b.panel_width());
                for (p, c) in c.axis_chunks_iter_mut(Axis(1), width).enumerate() {
                    let panel = &b.numbers()[p * rows * width..][..rows * width];
                    let panel = ArrayView2::from_shape((rows, width), panel);
                    let panel = panel.expect("a panel has so many numbers");
                    let panel = panel.split_at(Axis(1), c.ncols()).0;
                    self.product_unpacked(a, panel, accumulate, c);
                }
            }

            fn product_unpacked(
                &self,
                a: ArrayView2<'_, $t>,
                b: ArrayView2<'_, $t>,
                accumulate: bool,
                mut c: ArrayViewMut2<'_, $t>,
            ) {
                let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
                assert_eq!((b.nrows(), c.nrows(), c.ncols()), (k, m, n));
                let beta = if accumulate { 1.0 } else { 0.0 };
                let [(rsa, csa), (rsb, csb), (rsc, csc)] =
                    [a.strides(), b.strides(), c.strides()].map(|s| (s[0], s[1]));
                let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                // SAFETY: the pointers and strides are those of live views with the shapes asserted
                // above; `c` is borrowed mutably, so it overlaps neither `a` nor `b` and no element
                // of it is reached twice.
                unsafe { $gemm(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, beta, c, rsc, csc) };
            }
        }
    };
}

kernel!(f32, mm::sgemm);
kernel!(f64, mm::dgemm);
