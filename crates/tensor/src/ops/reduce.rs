//! Sums, means and maxima over one axis, several, or all.
//!
//! Elements are added as [`sum_axis`] does: zeros at the end never change a bit.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};

use crate::op::{Forward, inputs_of};
use crate::shape::{check_axis, sum_axis};
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// Which axes are reduced, and what is left of them.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    /// The axes; `None` for all.
    pub axes: Option<Vec<usize>>,
    /// Keep each as an axis of length 1, instead of none.
    pub keep: bool,
}

impl Axes {
    /// The axes, sorted.
    fn of(&self, op: &str, shape: &[usize]) -> Result<Vec<usize>> {
        let mut axes = self.axes.clone().unwrap_or_else(|| (0..shape.len()).collect());
        axes.sort_unstable();
        axes.iter().try_for_each(|&axis| check_axis(op, shape, axis))?;
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::shape(op, shape, format!("reduced twice over an axis of {axes:?}")));
        }
        Ok(axes)
    }

    /// The sum over the axes, one after the other from the last.
    fn sum<T: Real>(&self, op: &str, x: &Tensor<T>) -> Result<ArrayD<T>> {
        let axes = self.of(op, x.shape())?;
        let Some((&last, others)) = axes.split_last() else { return Ok(x.to_owned()) };
        let reduced = |x: ArrayViewD<'_, T>, axis: usize| {
            let y = sum_axis(&x, axis);
            if self.keep { y.insert_axis(Axis(axis)) } else { y }
        };
        let first = reduced(x.view(), last);
        Ok(others.iter().rev().fold(first, |y, &axis| reduced(y.view(), axis)))
    }

    /// The reverse: `d` repeated along the axes of an array of `shape`.
    fn sum_backward<T: Real>(&self, op: &str, d: Tensor<T>, shape: &[usize]) -> Result<ArrayD<T>> {
        let mut d = d;
        if !self.keep {
            for axis in self.of(op, shape)? {
                d = d.insert_axis(Axis(axis));
            }
        }
        let mut d_x = ArrayD::zeros(IxDyn(shape));
        d_x.zip_mut_with(&d, |d_x, &d| *d_x = d);
        Ok(d_x)
    }
}

/// The sum over axes.
#[derive(Clone, Debug, Default)]
pub struct Sum(pub Axes);

impl<T: Real> Op<T> for Sum {
    /// The shape of x.
    type Saved = Vec<usize>;

    fn name(&self) -> &'static str {
        "sum"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("sum", inputs)?;
        Ok((vec![self.0.sum("sum", x)?.into_shared()], x.shape().to_vec()))
    }

    fn backward(
        &self,
        _: &Context,
        shape: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = Σ x  ⇒  d_x = d_y, repeated along the axes
        sink.add(0, self.0.sum_backward("sum", d_outputs.dense(0), shape)?)
    }
}

/// The mean over axes. Of no elements it is NaN.
#[derive(Clone, Debug, Default)]
pub struct Mean(pub Axes);

impl Mean {
    fn count(&self, shape: &[usize]) -> Result<f64> {
        Ok(self.0.of("mean", shape)?.iter().map(|&axis| shape[axis] as f64).product())
    }
}

impl<T: Real> Op<T> for Mean {
    /// The shape of x.
    type Saved = Vec<usize>;

    fn name(&self) -> &'static str {
        "mean"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("mean", inputs)?;
        let count = T::from_f64(self.count(x.shape())?);
        let mut y = self.0.sum("mean", x)?;
        y.mapv_inplace(|sum| sum / count);
        Ok((vec![y.into_shared()], x.shape().to_vec()))
    }

    fn backward(
        &self,
        _: &Context,
        shape: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = Σ x / count  ⇒  d_x = d_y / count, repeated along the axes
        let count = T::from_f64(self.count(shape)?);
        let d = d_outputs.dense(0).mapv(|d| d / count).into_shared();
        sink.add(0, self.0.sum_backward("mean", d, shape)?)
    }
}

/// The maximum along one axis, which disappears; NaN when there is one.
///
/// Where several elements are the largest, the first one takes all of the gradient: one of the
/// subgradients. Which element was the largest is found in the forward pass and kept.
#[derive(Clone, Copy, Debug)]
pub struct Max {
    /// The axis.
    pub axis: usize,
}

impl<T: Real> Op<T> for Max {
    /// The shape of x, and which element along the axis was the largest, in y's shape.
    type Saved = (Vec<usize>, ArrayD<usize>);

    fn name(&self) -> &'static str {
        "max"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("max", inputs)?;
        check_axis("max", x.shape(), self.axis)?;
        let mut along = x.axis_iter(Axis(self.axis)).enumerate();
        let Some((_, first)) = along.next() else {
            return Err(Error::shape("max", x.shape(), "has no elements along the axis"));
        };
        let mut y = first.to_owned();
        let mut which = ArrayD::zeros(y.raw_dim());
        for (k, x) in along {
            ndarray::Zip::from(&mut y).and(&mut which).and(&x).for_each(|y, which, &x| {
                // NaN beats every number and is not beaten.
                let y_is_number = y.to_f64() == y.to_f64();
                if x > *y || (y_is_number && x.to_f64().is_nan()) {
                    (*y, *which) = (x, k);
                }
            });
        }
        Ok((vec![y.into_shared()], (x.shape().to_vec(), which)))
    }

    fn backward(
        &self,
        _: &Context,
        (shape, which): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = x[which]  ⇒  d_x[which] = d_y, and 0 elsewhere
        let d_y = d_outputs.dense(0);
        let mut d_x = ArrayD::zeros(IxDyn(shape));
        for (k, mut d_x) in d_x.axis_iter_mut(Axis(self.axis)).enumerate() {
            ndarray::Zip::from(&mut d_x).and(&d_y).and(which).for_each(|d_x, &d, &which| {
                if which == k {
                    *d_x = d;
                }
            });
        }
        sink.add(0, d_x)
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The sum over one axis, which disappears.
    ///
    /// # Errors
    /// There is no such axis.
    pub fn sum(self, axis: usize) -> Result<Self> {
        self.sum_axes(&[axis], false)
    }

    /// The sum of all elements, an array without axes.
    ///
    /// # Errors
    /// None in practice: any shape will do.
    pub fn sum_all(self) -> Result<Self> {
        let [y] = self.tape().apply(Sum::default(), &[self])?;
        Ok(y)
    }

    /// The sum over several axes, which disappear, or stay with length 1 when asked to.
    ///
    /// # Errors
    /// There is no such axis, or one is named twice.
    pub fn sum_axes(self, axes: &[usize], keep: bool) -> Result<Self> {
        let [y] = self.tape().apply(Sum(Axes { axes: Some(axes.into()), keep }), &[self])?;
        Ok(y)
    }

    /// The mean over one axis, which disappears.
    ///
    /// # Errors
    /// There is no such axis.
    pub fn mean(self, axis: usize) -> Result<Self> {
        self.mean_axes(&[axis], false)
    }

    /// The mean of all elements, an array without axes.
    ///
    /// # Errors
    /// None in practice: any shape will do.
    pub fn mean_all(self) -> Result<Self> {
        let [y] = self.tape().apply(Mean::default(), &[self])?;
        Ok(y)
    }

    /// The mean over several axes, which disappear, or stay with length 1 when asked to.
    ///
    /// # Errors
    /// There is no such axis, or one is named twice.
    pub fn mean_axes(self, axes: &[usize], keep: bool) -> Result<Self> {
        let [y] = self.tape().apply(Mean(Axes { axes: Some(axes.into()), keep }), &[self])?;
        Ok(y)
    }

    /// The maximum over several axes, which disappear, or stay with length 1 when asked to; see
    /// [`Max`].
    ///
    /// # Errors
    /// There is no such axis, it has length 0, or one is named twice.
    pub fn max_axes(self, axes: &[usize], keep: bool) -> Result<Self> {
        let (mut axes, mut shape) = (axes.to_vec(), self.shape());
        axes.sort_unstable();
        if let Some(pair) = axes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::shape(
                "max",
                &shape,
                format!("is asked for axis {} twice", pair[0]),
            ));
        }
        let mut y = self;
        for &axis in axes.iter().rev() {
            y = y.max(axis)?;
            shape[axis] = 1;
        }
        if keep { y.reshape(&shape) } else { Ok(y) }
    }

    /// The largest of all elements, an array without axes; see [`Max`].
    ///
    /// # Errors
    /// There are no elements.
    pub fn max_all(self) -> Result<Self> {
        self.reshape(&[self.shape().iter().product()])?.max(0)
    }

    /// The maximum along one axis, which disappears; see [`Max`].
    ///
    /// # Errors
    /// There is no such axis, or it has length 0.
    pub fn max(self, axis: usize) -> Result<Self> {
        let [y] = self.tape().apply(Max { axis }, &[self])?;
        Ok(y)
    }
}
