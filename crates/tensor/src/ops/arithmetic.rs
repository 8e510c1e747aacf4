//! `+`, `-`, `*`, `/` and powers of two arrays, with broadcasting, and of an array and a number.

use std::ops;

use ndarray::arr0;

use crate::op::{Forward, inputs_of};
use crate::shape::zip_broadcast;
use crate::{Context, Dual, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `out = x + y`, broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Add;

impl<T: Real> Op<T> for Add {
    /// The shapes of x and y.
    type Saved = [Vec<usize>; 2];

    fn name(&self) -> &'static str {
        "add"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("add", inputs)?;
        let out = zip_broadcast("add", x, y, |x, y| x + y)?;
        Ok((vec![out], [x.shape().to_vec(), y.shape().to_vec()]))
    }

    fn backward(
        &self,
        _: &Context,
        [x_shape, y_shape]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // out = x + y  ⇒  d_x = d_out, d_y = d_out
        sink.add_broadcast(0, d_outputs.dense(0), x_shape)?;
        sink.add_broadcast(1, d_outputs.dense(0), y_shape)
    }
}

/// `out = x - y`, broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Sub;

impl<T: Real> Op<T> for Sub {
    /// The shapes of x and y.
    type Saved = [Vec<usize>; 2];

    fn name(&self) -> &'static str {
        "sub"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("sub", inputs)?;
        let out = zip_broadcast("sub", x, y, |x, y| x - y)?;
        Ok((vec![out], [x.shape().to_vec(), y.shape().to_vec()]))
    }

    fn backward(
        &self,
        _: &Context,
        [x_shape, y_shape]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // out = x - y  ⇒  d_x = d_out, d_y = -d_out
        let d_out = d_outputs.dense(0);
        sink.add_broadcast(1, d_out.mapv(|d| -d).into_shared(), y_shape)?;
        sink.add_broadcast(0, d_out, x_shape)
    }
}

/// `out = x · y`, element by element, broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Mul;

impl<T: Real> Op<T> for Mul {
    /// x and y.
    type Saved = [Tensor<T>; 2];

    fn name(&self) -> &'static str {
        "mul"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("mul", inputs)?;
        let out = zip_broadcast("mul", x, y, |x, y| x * y)?;
        Ok((vec![out], [x.clone(), y.clone()]))
    }

    fn backward(
        &self,
        _: &Context,
        [x, y]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // out = x·y  ⇒  d_x = d_out·y, d_y = d_out·x
        let d_out = d_outputs.dense(0);
        if sink.wants(0) {
            sink.add_broadcast(0, zip_broadcast("mul", &d_out, y, |d, y| d * y)?, x.shape())?;
        }
        if sink.wants(1) {
            sink.add_broadcast(1, zip_broadcast("mul", &d_out, x, |d, x| d * x)?, y.shape())?;
        }
        Ok(())
    }
}

/// `out = x / y`, element by element, broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Div;

impl<T: Real> Op<T> for Div {
    /// x, y and out.
    type Saved = [Tensor<T>; 3];

    fn name(&self) -> &'static str {
        "div"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("div", inputs)?;
        let out = zip_broadcast("div", x, y, |x, y| x / y)?;
        Ok((vec![out.clone()], [x.clone(), y.clone(), out]))
    }

    fn backward(
        &self,
        _: &Context,
        [x, y, out]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // out = x/y  ⇒  d_x = d_out/y, d_y = -d_out·x/y² = -d_x·out
        let d_x = zip_broadcast("div", &d_outputs.dense(0), y, |d, y| d / y)?;
        if sink.wants(1) {
            sink.add_broadcast(1, zip_broadcast("div", &d_x, out, |d, out| -d * out)?, y.shape())?;
        }
        sink.add_broadcast(0, d_x, x.shape())
    }
}

/// `out = x^y`, element by element, broadcast.
///
/// At x = 0 the gradient of an exponent y ≥ 0 is taken to be 0, and the gradient of the base of
/// `x^0` is 0 for every x. A negative x has no real power but for whole y, and its exponent's
/// gradient is NaN.
#[derive(Clone, Copy, Debug)]
pub struct Pow;

impl<T: Real> Op<T> for Pow {
    /// x, y and out.
    type Saved = [Tensor<T>; 3];

    fn name(&self) -> &'static str {
        "pow"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("pow", inputs)?;
        let out = zip_broadcast("pow", x, y, |x, y| x.powf(y))?;
        Ok((vec![out.clone()], [x.clone(), y.clone(), out]))
    }

    fn backward(
        &self,
        _: &Context,
        [x, y, out]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let d_out = d_outputs.dense(0);
        if sink.wants(0) {
            // out = x^y  ⇒  d_x = d_out·y·x^(y-1)
            let by_base = zip_broadcast("pow", x, y, pow_backward_base)?;
            sink.add_broadcast(
                0,
                zip_broadcast("pow", &d_out, &by_base, |d, s| d * s)?,
                x.shape(),
            )?;
        }
        if sink.wants(1) {
            // out = exp(y·ln x)  ⇒  d_y = d_out·out·ln x
            let logs = zip_broadcast("pow", x, y, |x, y| {
                if x.is_zero() && y >= T::zero() { T::zero() } else { x.ln() }
            })?;
            let by_exponent = zip_broadcast("pow", out, &logs, |out, log| out * log)?;
            let d_y = zip_broadcast("pow", &d_out, &by_exponent, |d, slope| d * slope)?;
            sink.add_broadcast(1, d_y, y.shape())?;
        }
        Ok(())
    }
}

/// `y·x^(y-1)`, the slope of `x^y` by x.
fn pow_backward_base<T: Real>(x: T, y: T) -> T {
    if y.is_zero() { T::zero() } else { y * x.powf(y - T::one()) }
}

/// `out = x^exponent` with a number.
#[derive(Clone, Copy, Debug)]
pub struct PowNumber {
    /// The exponent.
    pub exponent: f64,
}

impl<T: Real> Op<T> for PowNumber {
    /// x.
    type Saved = Tensor<T>;

    fn name(&self) -> &'static str {
        "pow_number"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("pow_number", inputs)?;
        let exponent = T::from_f64(self.exponent);
        Ok((vec![x.mapv(|x| x.powf(exponent)).into_shared()], x.clone()))
    }

    fn backward(
        &self,
        _: &Context,
        x: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // out = x^a  ⇒  d_x = d_out·a·x^(a-1)
        let exponent = T::from_f64(self.exponent);
        let d_x = zip_broadcast("pow_number", &d_outputs.dense(0), x, |d, x| {
            d * pow_backward_base(x, exponent)
        })?;
        sink.add(0, d_x)
    }
}

/// `out = scale · x + offset` with two numbers: what `x + 1.0`, `2.0 - x`, `x * 3.0` and `-x` run.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    /// What x is multiplied by.
    pub scale: f64,
    /// What is added.
    pub offset: f64,
}

impl<T: Real> Op<T> for Affine {
    type Saved = ();

    fn name(&self) -> &'static str {
        "affine"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("affine", inputs)?;
        let (scale, offset) = (T::from_f64(self.scale), T::from_f64(self.offset));
        Ok((vec![x.mapv(|x| scale * x + offset).into_shared()], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // out = scale·x + offset  ⇒  d_x = scale·d_out
        let scale = T::from_f64(self.scale);
        sink.add(0, d_outputs.dense(0).mapv(|d| scale * d))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:expr, $scale_and_offset:expr) => {
        impl<'t, T: Real> ops::$trait for Var<'t, T> {
            type Output = Result<Var<'t, T>>;

            fn $method(self, other: Self) -> Self::Output {
                let [out] = self.tape().apply($op, &[self, other])?;
                Ok(out)
            }
        }

        impl<'t, T: Real> ops::$trait<T> for Var<'t, T> {
            type Output = Result<Var<'t, T>>;

            fn $method(self, number: T) -> Self::Output {
                match $scale_and_offset(number.to_f64()) {
                    Some((scale, offset)) if is_plain(number) => {
                        let [out] = self.tape().apply(Affine { scale, offset }, &[self])?;
                        Ok(out)
                    }
                    _ => {
                        let number = self.tape().constant(arr0(number));
                        let [out] = self.tape().apply($op, &[self, number])?;
                        Ok(out)
                    }
                }
            }
        }
    };
}

operator!(Add, add, Add, |number: f64| Some((1.0, number)));
operator!(Sub, sub, Sub, |number: f64| Some((1.0, -number)));
operator!(Mul, mul, Mul, |number: f64| Some((number, 0.0)));
// x·(1/number) is not x/number: it is rounded twice, and overflows for the smallest numbers.
operator!(Div, div, Div, |_: f64| None);

/// Whether a number is all that its value says: a dual number may have a slope beside it.
fn is_plain<T: Real>(number: T) -> bool {
    T::from_f64(number.to_f64()) == number
}

/// The operators with the number on the left; Rust wants them for each type of number.
macro_rules! number_first {
    ($($t:ty),*) => {$(
        impl<'t> ops::Add<Var<'t, $t>> for $t {
            type Output = Result<Var<'t, $t>>;

            fn add(self, x: Var<'t, $t>) -> Self::Output {
                x + self
            }
        }

        impl<'t> ops::Sub<Var<'t, $t>> for $t {
            type Output = Result<Var<'t, $t>>;

            fn sub(self, x: Var<'t, $t>) -> Self::Output {
                (-x)? + self
            }
        }

        impl<'t> ops::Mul<Var<'t, $t>> for $t {
            type Output = Result<Var<'t, $t>>;

            fn mul(self, x: Var<'t, $t>) -> Self::Output {
                x * self
            }
        }

        impl<'t> ops::Div<Var<'t, $t>> for $t {
            type Output = Result<Var<'t, $t>>;

            fn div(self, x: Var<'t, $t>) -> Self::Output {
                x.tape().constant(arr0(self)) / x
            }
        }
    )*};
}

number_first!(f32, f64, Dual);

impl<'t, T: Real> ops::Neg for Var<'t, T> {
    type Output = Result<Var<'t, T>>;

    fn neg(self) -> Self::Output {
        self * -T::one()
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// `self` to the power of another array, broadcast; see [`Pow`].
    ///
    /// # Errors
    /// The shapes do not broadcast.
    pub fn pow(self, exponent: Self) -> Result<Self> {
        let [out] = self.tape().apply(Pow, &[self, exponent])?;
        Ok(out)
    }

    /// `self` to the power of a number.
    ///
    /// # Errors
    /// None in practice: any shape will do.
    pub fn powf(self, exponent: T) -> Result<Self> {
        if !is_plain(exponent) {
            return self.pow(self.tape().constant(arr0(exponent)));
        }
        let [out] = self.tape().apply(PowNumber { exponent: exponent.to_f64() }, &[self])?;
        Ok(out)
    }
}
