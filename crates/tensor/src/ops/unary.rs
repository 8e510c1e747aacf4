//! Functions of each element: `exp`, `ln`, `sqrt`, `tanh`, `sigmoid`, `relu`.
//!
//! One table: each row has the function, its kernel over slices if there is one, which of x
//! and y the backward pass needs, and `d_x` as a function of `d_y` and that array; these functions
//! stand beneath it, in the same order. Outside of a function's domain the results are IEEE's:
//! `ln 0` is negative infinity, `√-1` and `ln -1` are NaN, `exp 1000` is infinite.

use ndarray::Zip;

use crate::kernels::pointwise::Pointwise;
use crate::op::{Forward, inputs_of};
use crate::{Context, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

macro_rules! elementwise {
    ($(
        $(#[$doc:meta])*
        $op:ident $name:ident;
        forward: $forward:expr;
        kernel: $kernel:expr;
        saved: $saved:ident;
        backward: $backward:expr;
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $op;

        impl<T: Real> Op<T> for $op {
            /// x or y, as the table says.
            type Saved = Tensor<T>;

            fn name(&self) -> &'static str {
                stringify!($name)
            }

            fn forward(
                &self,
                context: &Context,
                inputs: &[Tensor<T>],
            ) -> Result<Forward<T, Self::Saved>> {
                let [x] = inputs_of(stringify!($name), inputs)?;
                let forward: fn(T) -> T = $forward;
                let kernel: Option<fn(&Pointwise<T>) -> fn(&mut [T])> = $kernel;
                let y = match kernel {
                    Some(kernel) => map_slice(x, kernel(&context.kernels().pointwise())),
                    None => x.mapv(forward).into_shared(),
                };
                let saved = match Saved::$saved {
                    Saved::X => x.clone(),
                    Saved::Y => y.clone(),
                };
                Ok((vec![y], saved))
            }

            fn backward(
                &self,
                _: &Context,
                saved: &Self::Saved,
                d_outputs: &OutputGrads<'_, T>,
                sink: &mut GradSink<'_, T>,
            ) -> Result<()> {
                let backward: fn(T, T) -> T = $backward;
                let d_y = d_outputs.dense(0);
                sink.add(0, Zip::from(&d_y).and(saved).map_collect(|&d, &s| backward(d, s)))
            }
        }

        impl<'t, T: Real> Var<'t, T> {
            $(#[$doc])*
            ///
            /// # Errors
            /// None in practice: any shape will do.
            pub fn $name(self) -> Result<Self> {
                let [y] = self.tape().apply($op, &[self])?;
                Ok(y)
            }
        }
    )*};
}

/// What a row's backward pass needs.
enum Saved {
    X,
    Y,
}

elementwise! {
    /// `y = exp x`, element by element.
    Exp exp;
    forward: |x| x.exp();
    kernel: Some(|kernels| kernels.exp);
    saved: Y;
    backward: exp_backward;

    /// `y = ln x`, the natural logarithm, element by element.
    Ln ln;
    forward: |x| x.ln();
    kernel: None;
    saved: X;
    backward: ln_backward;

    /// `y = √x`, element by element.
    Sqrt sqrt;
    forward: |x| x.sqrt();
    kernel: None;
    saved: Y;
    backward: sqrt_backward;

    /// `y = tanh x`, element by element.
    Tanh tanh;
    forward: |x| x.tanh();
    kernel: Some(|kernels| kernels.tanh);
    saved: Y;
    backward: tanh_backward;

    /// `y = 1 / (1 + exp(-x))`, the logistic function, element by element.
    Sigmoid sigmoid;
    forward: |x| x.sigmoid();
    kernel: Some(|kernels| kernels.sigmoid);
    saved: Y;
    backward: sigmoid_backward;

    /// `y = max(x, 0)`, element by element; the gradient at 0 is taken to be 0.
    Relu relu;
    forward: |x| x.maximum(T::zero());
    kernel: None;
    saved: Y;
    backward: relu_backward;
}

/// `y = exp x`  ⇒  `d_x = d_y·y`.
fn exp_backward<T: Real>(d_y: T, y: T) -> T {
    d_y * y
}

/// `y = ln x`  ⇒  `d_x = d_y / x`.
fn ln_backward<T: Real>(d_y: T, x: T) -> T {
    d_y / x
}

/// `y = √x`  ⇒  `d_x = d_y / 2y`.
fn sqrt_backward<T: Real>(d_y: T, y: T) -> T {
    d_y / (y + y)
}

/// `y = tanh x`  ⇒  `d_x = d_y·(1 - y²)`.
fn tanh_backward<T: Real>(d_y: T, y: T) -> T {
    d_y * (T::one() - y * y)
}

/// `y = σ(x)`  ⇒  `d_x = d_y·y·(1 - y)`.
fn sigmoid_backward<T: Real>(d_y: T, y: T) -> T {
    d_y * y * (T::one() - y)
}

/// `y = max(x, 0)`  ⇒  `d_x = d_y where y > 0`.
fn relu_backward<T: Real>(d_y: T, y: T) -> T {
    if y > T::zero() { d_y } else { T::zero() }
}

/// A copy of `x` in standard layout, changed by a kernel over slices.
fn map_slice<T: Real>(x: &Tensor<T>, kernel: fn(&mut [T])) -> Tensor<T> {
    let mut y = x.as_standard_layout().into_owned();
    if let Some(slice) = y.as_slice_mut() {
        kernel(slice);
    }
    y.into_shared()
}
