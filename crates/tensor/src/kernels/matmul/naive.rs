//! The specification: three loops.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::{MatmulKernel, PackedView};
use crate::Real;

/// The product by three loops, for any [`Real`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Naive;

impl<T: Real> MatmulKernel<T> for Naive {
    fn name(&self) -> &str {
        "naive"
    }

    fn panel_width(&self) -> usize {
        8
    }

    fn product(
        &self,
        a: ArrayView2<'_, T>,
        b: PackedView<'_, T>,
        accumulate: bool,
        c: ArrayViewMut2<'_, T>,
    ) {
        let (width, numbers) = (b.panel_width(), b.numbers());
        loops(a, |k, j| numbers[(j / width * b.rows() + k) * width + j % width], accumulate, c);
    }

    fn product_unpacked(
        &self,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
        accumulate: bool,
        c: ArrayViewMut2<'_, T>,
    ) {
        loops(a, |k, j| b[[k, j]], accumulate, c);
    }
}

fn loops<T: Real>(
    a: ArrayView2<'_, T>,
    b: impl Fn(usize, usize) -> T,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, T>,
) {
    for ((i, j), c) in c.indexed_iter_mut() {
        let mut sum = T::zero();
        for k in 0..a.ncols() {
            sum += a[[i, k]] * b(k, j);
        }
        *c = if accumulate { *c + sum } else { sum };
    }
}
