//! Steps 1 and 2: three loops.
//!
//! Letters: `c [M, N] += a [M, K]·b [K, N]`.

use ndarray::{ArrayView2, ArrayViewMut2, Axis, aview2, s};
use unspool_tensor::kernels::matmul::{MatmulKernel, PackedView};

use crate::micro_kernel::WIDTH;

/// Step 1: the definition. For each i and j, a sum over k.
#[derive(Clone, Copy, Debug)]
pub struct ThreeLoops;

/// Step 2: the same loops, j innermost. What is read and written then stands side by side, and no
/// addition waits for the one before it.
#[derive(Clone, Copy, Debug)]
pub struct LoopOrder;

fn three_loops(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, mut c: ArrayViewMut2<'_, f32>) {
    for i in 0..c.nrows() {
        for j in 0..c.ncols() {
            let mut sum = c[[i, j]];
            for k in 0..a.ncols() {
                sum += a[[i, k]] * b[[k, j]];
            }
            c[[i, j]] = sum;
        }
    }
}

fn loop_order(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, mut c: ArrayViewMut2<'_, f32>) {
    for i in 0..c.nrows() {
        for k in 0..a.ncols() {
            // for j: c[i, j] += a[i, k] * b[k, j]
            c.row_mut(i).scaled_add(a[[i, k]], &b.row(k));
        }
    }
}

/// Both steps read `b` where it is, and of a packed `b` one panel after the other: `[K, WIDTH]`.
macro_rules! kernel {
    ($kernel:ident, $name:literal, $work:ident) => {
        impl MatmulKernel<f32> for $kernel {
            fn name(&self) -> &str {
                $name
            }

            fn panel_width(&self) -> usize {
                WIDTH
            }

            fn product(
                &self,
                a: ArrayView2<'_, f32>,
                b: PackedView<'_, f32>,
                accumulate: bool,
                mut c: ArrayViewMut2<'_, f32>,
            ) {
                if !accumulate {
                    c.fill(0.0);
                }
                let panels = b.numbers().chunks((b.rows() * WIDTH).max(1));
                for (panel, c) in panels.zip(c.axis_chunks_iter_mut(Axis(1), WIDTH)) {
                    let panel = aview2(panel.as_chunks::<WIDTH>().0);
                    $work(a, panel.slice(s![.., ..c.ncols()]), c);
                }
            }

            fn product_unpacked(
                &self,
                a: ArrayView2<'_, f32>,
                b: ArrayView2<'_, f32>,
                accumulate: bool,
                mut c: ArrayViewMut2<'_, f32>,
            ) {
                if !accumulate {
                    c.fill(0.0);
                }
                $work(a, b, c);
            }
        }
    };
}

kernel!(ThreeLoops, "three loops", three_loops);
kernel!(LoopOrder, "loop order", loop_order);
