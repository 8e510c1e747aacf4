//! The matrix product, of two matrices or of two stacks of matrices.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, Ix2, Ix3, Zip};
use rayon::prelude::*;

use crate::kernels::matmul::product;
use crate::op::{Forward, inputs_of};
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `c = a'·b'`, where `'` transposes the last two axes when asked to.
///
/// Two matrices, `[M, K] · [K, N] = [M, N]`, or two stacks of `B` matrices,
/// `[B, M, K] · [B, K, N] = [B, M, N]`, which are multiplied in parallel.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatMul {
    /// Take `a [K, M]` and transpose it.
    pub transpose_a: bool,
    /// Take `b [N, K]` and transpose it.
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
        let c = match (a.ndim(), b.ndim()) {
            (2, 2) => {
                let (a2, b2) =
                    (self.matrix(a, self.transpose_a)?, self.matrix(b, self.transpose_b)?);
                if a2.ncols() != b2.nrows() {
                    return Err(self.mismatch(a, b));
                }
                let mut c = Array2::zeros((a2.nrows(), b2.ncols()));
                product(context, a2, b2, false, c.view_mut());
                c.into_dyn()
            }
            (3, 3) => {
                let (a3, b3) = (self.stack(a, self.transpose_a)?, self.stack(b, self.transpose_b)?);
                if a3.dim().0 != b3.dim().0 || a3.dim().2 != b3.dim().1 {
                    return Err(self.mismatch(a, b));
                }
                stack_product(context, a3, b3).into_dyn()
            }
            _ => return Err(self.mismatch(a, b)),
        };
        Ok((vec![c.into_shared()], [a.clone(), b.clone()]))
    }

    fn backward(
        &self,
        context: &Context,
        [a, b]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // c = a'·b'  ⇒  d_a' = d_c·b'ᵀ, d_b' = a'ᵀ·d_c; the gradient of a transposed input is transposed.
        let d_c = d_outputs.dense(0);
        if d_c.ndim() == 2 {
            let d_c = self.matrix(&d_c, false)?;
            let (a, b) = (self.matrix(a, self.transpose_a)?, self.matrix(b, self.transpose_b)?);
            match self.transpose_a {
                false => sink.add_product(0, d_c, b.t())?,
                true => sink.add_product(0, b, d_c.t())?,
            }
            return match self.transpose_b {
                false => sink.add_product(1, a.t(), d_c),
                true => sink.add_product(1, d_c.t(), a),
            };
        }
        let d_c = self.stack(&d_c, false)?;
        let (a, b) = (self.stack(a, self.transpose_a)?, self.stack(b, self.transpose_b)?);
        if sink.wants(0) {
            let d_a = match self.transpose_a {
                false => stack_product(context, d_c, transposed(b)),
                true => stack_product(context, b, transposed(d_c)),
            };
            sink.add(0, d_a.into_dyn())?;
        }
        if sink.wants(1) {
            let d_b = match self.transpose_b {
                false => stack_product(context, transposed(a), d_c),
                true => stack_product(context, transposed(d_c), a),
            };
            sink.add(1, d_b.into_dyn())?;
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

    fn stack<'a, T: Real>(&self, x: &'a Tensor<T>, transpose: bool) -> Result<ArrayView3<'a, T>> {
        let x = (x.view().into_dimensionality::<Ix3>())
            .map_err(|_| Error::shape("matmul", x.shape(), "is not a stack of matrices"))?;
        Ok(if transpose { transposed(x) } else { x })
    }
}

/// Each matrix of a stack transposed.
fn transposed<T>(x: ArrayView3<'_, T>) -> ArrayView3<'_, T> {
    x.permuted_axes([0, 2, 1])
}

/// `[B, M, K] · [B, K, N] = [B, M, N]`, the matrices of the stack in parallel.
fn stack_product<T: Real>(
    context: &Context,
    a: ArrayView3<'_, T>,
    b: ArrayView3<'_, T>,
) -> Array3<T> {
    let mut c = Array3::zeros((a.dim().0, a.dim().1, b.dim().2));
    let one_thread = context.for_shard(context.first_example());
    if context.threads() == 1 {
        Zip::from(c.outer_iter_mut())
            .and(a.outer_iter())
            .and(b.outer_iter())
            .for_each(|c, a, b| product(&one_thread, a, b, false, c));
    } else {
        context.install(|| {
            (c.axis_iter_mut(Axis(0)).into_par_iter())
                .zip(a.axis_iter(Axis(0)))
                .zip(b.axis_iter(Axis(0)))
                .for_each(|((c, a), b)| product(&one_thread, a, b, false, c));
        });
    }
    c
}

impl<'t, T: Real> Var<'t, T> {
    /// The matrix product `self · other`; see [`MatMul`].
    ///
    /// # Errors
    /// The shapes do not multiply.
    pub fn matmul(self, other: Self) -> Result<Self> {
        let [c] = self.tape().apply(MatMul::default(), &[self, other])?;
        Ok(c)
    }

    /// `self · otherᵀ`: how a linear layer uses its weight `[out, in]`.
    ///
    /// # Errors
    /// The shapes do not multiply.
    pub fn matmul_transposed(self, other: Self) -> Result<Self> {
        let op = MatMul { transpose_b: true, ..MatMul::default() };
        let [c] = self.tape().apply(op, &[self, other])?;
        Ok(c)
    }
}
