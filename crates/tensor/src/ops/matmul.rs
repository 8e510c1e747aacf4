//! The matrix product, of two matrices or of two stacks of matrices.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, Ix2, IxDyn, Zip};
use rayon::prelude::*;

use crate::kernels::matmul::product;
use crate::op::{Forward, inputs_of};
use crate::shape::{reshaped, sum_to_shape};
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `out = a'·b'`, where `'` transposes the last two axes when asked to.
///
/// - Two matrices: `[M, K] · [K, N] = [M, N]`.
/// - Two stacks of `B` matrices, multiplied in parallel: `[B, M, K] · [B, K, N] = [B, M, N]`.
/// - A stack and a matrix, which is the same for all of the stack: `[B, M, K] · [K, N]` or
///   `[M, K] · [B, K, N]`, both `[B, M, N]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatMul {
    /// Take `a [.., K, M]` and transpose it.
    pub transpose_a: bool,
    /// Take `b [.., N, K]` and transpose it.
    pub transpose_b: bool,
}

impl<T: Real> Op<T> for MatMul {
    /// a and b, as given.
    type Saved = [Tensor<T>; 2];

    fn name(&self) -> &'static str {
        "matmul"
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [a, b] = inputs_of("matmul", inputs)?;
        let out = match (a.ndim(), b.ndim()) {
            (2, 2) => {
                let (a2, b2) =
                    (self.matrix(a, self.transpose_a)?, self.matrix(b, self.transpose_b)?);
                if a2.ncols() != b2.nrows() {
                    return Err(self.mismatch(a, b));
                }
                let mut out = Array2::zeros((a2.nrows(), b2.ncols()));
                product(context, a2, b2, false, out.view_mut());
                out.into_dyn()
            }
            (3, 2) if self.is_flat(a, b) => {
                let b2 = self.matrix(b, self.transpose_b)?;
                if a.shape()[2] != b2.nrows() {
                    return Err(self.mismatch(a, b));
                }
                let flat = flattened(a)?;
                let mut out = Array2::zeros((flat.shape()[0], b2.ncols()));
                product(context, self.matrix(&flat, false)?, b2, false, out.view_mut());
                let shape = [a.shape()[0], a.shape()[1], out.ncols()];
                out.into_shape_with_order(IxDyn(&shape)).map_err(|_| self.mismatch(a, b))?
            }
            (2 | 3, 2 | 3) => {
                let count = if a.ndim() == 3 { a.shape()[0] } else { b.shape()[0] };
                let a3 = self.stack(a, count, self.transpose_a);
                let b3 = self.stack(b, count, self.transpose_b);
                match (a3, b3) {
                    (Some(a3), Some(b3)) if a3.dim().2 == b3.dim().1 => {
                        stack_product(context, a3, b3).into_dyn()
                    }
                    _ => return Err(self.mismatch(a, b)),
                }
            }
            _ => return Err(self.mismatch(a, b)),
        };
        Ok((vec![out.into_shared()], [a.clone(), b.clone()]))
    }

    fn backward(
        &self,
        context: &Context,
        [a, b]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // out = a'·b'  ⇒  d_a' = d_out·b'ᵀ, d_b' = a'ᵀ·d_out; the gradient of a transposed input
        // is transposed.
        let d_out = d_outputs.dense(0);
        if d_out.ndim() == 2 {
            let d_out = self.matrix(&d_out, false)?;
            let (a, b) = (self.matrix(a, self.transpose_a)?, self.matrix(b, self.transpose_b)?);
            return self.backward_of_matrices(a, b, d_out, sink);
        }
        if self.is_flat(a, b) {
            let (flat_a, flat_d_out) = (flattened(a)?, flattened(&d_out)?);
            let (a2, d_out) = (self.matrix(&flat_a, false)?, self.matrix(&flat_d_out, false)?);
            let b = self.matrix(b, self.transpose_b)?;
            if sink.wants(0) {
                let mut d_a = Array2::zeros(a2.raw_dim());
                product(context, d_out, b.t(), false, d_a.view_mut());
                let d_a = d_a.into_shape_with_order(a.raw_dim());
                sink.add(0, d_a.map_err(|_| self.mismatch(a, &flat_d_out))?)?;
            }
            return match self.transpose_b {
                false => sink.add_product(1, a2.t(), d_out),
                true => sink.add_product(1, d_out.t(), a2),
            };
        }
        let count = d_out.shape()[0];
        let stacks = (
            self.stack(a, count, self.transpose_a),
            self.stack(b, count, self.transpose_b),
            self.stack(&d_out, count, false),
        );
        let (Some(a3), Some(b3), Some(d_out)) = stacks else { return Err(self.mismatch(a, b)) };
        if sink.wants(0) {
            let d_a = match self.transpose_a {
                false => stack_product(context, d_out, transposed(b3)),
                true => stack_product(context, b3, transposed(d_out)),
            };
            // The one matrix that stands for a stack gets the sum of the stack's gradients.
            sink.add(0, sum_to_shape(d_a.into_dyn().into_shared(), a.shape()))?;
        }
        if sink.wants(1) {
            let d_b = match self.transpose_b {
                false => stack_product(context, transposed(a3), d_out),
                true => stack_product(context, transposed(d_out), a3),
            };
            sink.add(1, sum_to_shape(d_b.into_dyn().into_shared(), b.shape()))?;
        }
        Ok(())
    }
}

impl MatMul {
    fn mismatch<T: Real>(&self, a: &Tensor<T>, b: &Tensor<T>) -> Error {
        let problem = match (self.transpose_a, self.transpose_b) {
            (false, false) => "do not multiply",
            (true, false) => "do not multiply with the first transposed",
            (false, true) => "do not multiply with the second transposed",
            (true, true) => "do not multiply with both transposed",
        };
        Error::shapes("matmul", a.shape(), b.shape(), problem)
    }

    fn matrix<'a, T: Real>(&self, x: &'a Tensor<T>, transpose: bool) -> Result<ArrayView2<'a, T>> {
        let x = (x.view().into_dimensionality::<Ix2>())
            .map_err(|_| Error::shape("matmul", x.shape(), "is not a matrix"))?;
        Ok(if transpose { x.reversed_axes() } else { x })
    }

    /// `x [B, M, K]`, or `x [M, K]` seen `count` times, each matrix transposed when asked to;
    /// `None` when there are more or fewer than `count`.
    fn stack<'a, T: Real>(
        &self,
        x: &'a Tensor<T>,
        count: usize,
        transpose: bool,
    ) -> Option<ArrayView3<'a, T>> {
        let (rows, columns) = (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]);
        let fits = x.ndim() == 2 || x.shape()[0] == count;
        let x = x.broadcast((count, rows, columns)).filter(|_| fits)?;
        Some(if transpose { transposed(x) } else { x })
    }

    /// Whether it is a stack times one matrix that can be run as one product of two matrices.
    fn is_flat<T: Real>(&self, a: &Tensor<T>, b: &Tensor<T>) -> bool {
        a.ndim() == 3 && b.ndim() == 2 && !self.transpose_a
    }

    /// The backward pass of two matrices, already transposed as asked.
    fn backward_of_matrices<T: Real>(
        &self,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
        d_out: ArrayView2<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        match self.transpose_a {
            false => sink.add_product(0, d_out, b.t())?,
            true => sink.add_product(0, b, d_out.t())?,
        }
        match self.transpose_b {
            false => sink.add_product(1, a.t(), d_out),
            true => sink.add_product(1, d_out.t(), a),
        }
    }
}

/// `[B, M, K]` as one matrix `[B·M, K]`.
fn flattened<T: Real>(x: &Tensor<T>) -> Result<Tensor<T>> {
    let rows = x.shape()[0] * x.shape()[1];
    reshaped("matmul", x, &[rows, x.shape()[2]])
}

/// Each matrix of a stack transposed.
fn transposed<T>(x: ArrayView3<'_, T>) -> ArrayView3<'_, T> {
    x.permuted_axes([0, 2, 1])
}

/// `[B, M, K] · [B, K, N] = [B, M, N]`, the matrices of the stack in parallel when that
/// pays.
fn stack_product<T: Real>(
    context: &Context,
    a: ArrayView3<'_, T>,
    b: ArrayView3<'_, T>,
) -> Array3<T> {
    let mut out = Array3::zeros((a.dim().0, a.dim().1, b.dim().2));
    let one_thread = context.on_one_thread();
    if !context.parallel(out.len().saturating_mul(a.dim().2)) {
        Zip::from(out.outer_iter_mut())
            .and(a.outer_iter())
            .and(b.outer_iter())
            .for_each(|out, a, b| product(&one_thread, a, b, false, out));
    } else {
        context.install(|| {
            (out.axis_iter_mut(Axis(0)).into_par_iter())
                .zip(a.axis_iter(Axis(0)))
                .zip(b.axis_iter(Axis(0)))
                .for_each(|((out, a), b)| product(&one_thread, a, b, false, out));
        });
    }
    out
}

impl<'t, T: Real> Var<'t, T> {
    /// The matrix product `self · other`; see [`MatMul`].
    ///
    /// # Errors
    /// The shapes do not multiply.
    pub fn matmul(self, other: Self) -> Result<Self> {
        let [out] = self.tape().apply(MatMul::default(), &[self, other])?;
        Ok(out)
    }

    /// `self · otherᵀ`: how a linear layer uses its weight `[out, in]`.
    ///
    /// # Errors
    /// The shapes do not multiply.
    pub fn matmul_transposed(self, other: Self) -> Result<Self> {
        let op = MatMul { transpose_b: true, ..MatMul::default() };
        let [out] = self.tape().apply(op, &[self, other])?;
        Ok(out)
    }
}
