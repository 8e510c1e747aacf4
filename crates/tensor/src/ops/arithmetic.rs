//! `+`, `-`, `*`, `/` and powers of two arrays, with broadcasting, and of an array and a number.

use std::ops;

use crate::op::{Forward, inputs_of};
use crate::shape::zip_broadcast;
use crate::{Context, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `z = x + y`, broadcast.
#[derive(Debug)]
pub struct Add;

impl<T: Real> Op<T> for Add {
    /// The shapes of x and y.
    type Saved = [Vec<usize>; 2];

    fn name(&self) -> &'static str {
        "add"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("add", inputs)?;
        let z = zip_broadcast("add", x, y, |x, y| x + y)?;
        Ok((vec![z], [x.shape().to_vec(), y.shape().to_vec()]))
    }

    fn backward(
        &self,
        _: &Context,
        [x_shape, y_shape]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // z = x + y  ⇒  d_x = d_z, d_y = d_z
        sink.add_broadcast(0, d_outputs.dense(0), x_shape)?;
        sink.add_broadcast(1, d_outputs.dense(0), y_shape)
    }
}

/// `z = x - y`, broadcast.
#[derive(Debug)]
pub struct Sub;

impl<T: Real> Op<T> for Sub {
    /// The shapes of x and y.
    type Saved = [Vec<usize>; 2];

    fn name(&self) -> &'static str {
        "sub"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("sub", inputs)?;
        let z = zip_broadcast("sub", x, y, |x, y| x - y)?;
        Ok((vec![z], [x.shape().to_vec(), y.shape().to_vec()]))
    }

    fn backward(
        &self,
        _: &Context,
        [x_shape, y_shape]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // z = x - y  ⇒  d_x = d_z, d_y = -d_z
        let d_z = d_outputs.dense(0);
        sink.add_broadcast(1, d_z.mapv(|d| -d).into_shared(), y_shape)?;
        sink.add_broadcast(0, d_z, x_shape)
    }
}

/// `z = x · y`, element by element, broadcast.
#[derive(Debug)]
pub struct Mul;

impl<T: Real> Op<T> for Mul {
    /// x and y.
    type Saved = [Tensor<T>; 2];

    fn name(&self) -> &'static str {
        "mul"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("mul", inputs)?;
        let z = zip_broadcast("mul", x, y, |x, y| x * y)?;
        Ok((vec![z], [x.clone(), y.clone()]))
    }

    fn backward(
        &self,
        _: &Context,
        [x, y]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // z = x·y  ⇒  d_x = d_z·y, d_y = d_z·x
        let d_z = d_outputs.dense(0);
        if sink.wants(0) {
            sink.add_broadcast(0, zip_broadcast("mul", &d_z, y, |d, y| d * y)?, x.shape())?;
        }
        if sink.wants(1) {
            sink.add_broadcast(1, zip_broadcast("mul", &d_z, x, |d, x| d * x)?, y.shape())?;
        }
        Ok(())
    }
}

/// `z = x / y`, element by element, broadcast.
#[derive(Debug)]
pub struct Div;

impl<T: Real> Op<T> for Div {
    /// x, y and z.
    type Saved = [Tensor<T>; 3];

    fn name(&self) -> &'static str {
        "div"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, y] = inputs_of("div", inputs)?;
        let z = zip_broadcast("div", x, y, |x, y| x / y)?;
        Ok((vec![z.clone()], [x.clone(), y.clone(), z]))
    }

    fn backward(
        &self,
        _: &Context,
        [x, y, z]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // z = x/y  ⇒  d_x = d_z/y, d_y = -d_z·x/y² = -d_x·z
        let d_x = zip_broadcast("div", &d_outputs.dense(0), y, |d, y| d / y)?;
        if sink.wants(1) {
            sink.add_broadcast(1, zip_broadcast("div", &d_x, z, |d, z| -d * z)?, y.shape())?;
        }
        sink.add_broadcast(0, d_x, x.shape())
    }
}

/// `z = scale · x + offset` with two numbers: every op of an array and a number but powers.
#[derive(Debug)]
pub struct Affine<T> {
    /// What x is multiplied by.
    pub scale: T,
    /// What is added.
    pub offset: T,
}

impl<T: Real> Op<T> for Affine<T> {
    type Saved = ();

    fn name(&self) -> &'static str {
        "affine"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("affine", inputs)?;
        Ok((vec![x.mapv(|x| self.scale * x + self.offset).into_shared()], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // z = scale·x + offset  ⇒  d_x = scale·d_z
        sink.add(0, d_outputs.dense(0).mapv(|d| self.scale * d))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:expr, $scalar:expr) => {
        impl<'t, T: Real> ops::$trait for Var<'t, T> {
            type Output = Result<Var<'t, T>>;

            fn $method(self, other: Self) -> Self::Output {
                let [z] = self.tape().apply($op, &[self, other])?;
                Ok(z)
            }
        }

        impl<'t, T: Real> ops::$trait<T> for Var<'t, T> {
            type Output = Result<Var<'t, T>>;

            fn $method(self, number: T) -> Self::Output {
                let (scale, offset) = $scalar(number);
                let [z] = self.tape().apply(Affine { scale, offset }, &[self])?;
                Ok(z)
            }
        }
    };
}

operator!(Add, add, Add, |number| (T::one(), number));
operator!(Sub, sub, Sub, |number: T| (T::one(), -number));
operator!(Mul, mul, Mul, |number| (number, T::zero()));
operator!(Div, div, Div, |number| (T::one() / number, T::zero()));

impl<'t, T: Real> ops::Neg for Var<'t, T> {
    type Output = Result<Var<'t, T>>;

    fn neg(self) -> Self::Output {
        self * -T::one()
    }
}
