//! Softmax and log-softmax along any axis, with or without a mask.

use std::borrow::Cow;

use ndarray::{ArrayD, Axis};

use crate::op::{Forward, inputs_of};
use crate::shape::{broadcast_mask, check_axis};
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `y = exp x / Σ exp x` along an axis.
///
/// Masked elements get 0, and so does all of a row of which nothing is kept; their gradient is 0.
/// Elements of negative infinity count as masked.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// The axis.
    pub axis: usize,
    /// Which elements to keep (true), broadcast to the shape of x; `None` keeps all.
    pub keep: Option<ArrayD<bool>>,
}

impl<T: Real> Op<T> for Softmax {
    /// y.
    type Saved = Tensor<T>;

    fn name(&self) -> &'static str {
        "softmax"
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("softmax", inputs)?;
        let rows = T::row_kernel(context.kernels());
        let kernel = |row: &mut [T], keep: Option<&[bool]>| rows.softmax(row, keep);
        let y = masked_rows("softmax", x, self.axis, self.keep.as_ref(), kernel)?;
        Ok((vec![y.clone()], y))
    }

    fn backward(
        &self,
        context: &Context,
        y: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = eˣ/Σeˣ  ⇒  d_x = y·(d_y - Σ d_y·y)
        let rows = T::row_kernel(context.kernels());
        let kernel = |y: &[T], d: &mut [T]| rows.softmax_backward(y, d);
        sink.add(0, rows_backward(y, d_outputs.dense(0), self.axis, kernel))
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let Shifted { shifted, sum, drop } = Shifted::new(inputs, self.axis, self.keep.as_ref())?;
        let y = (shifted.exp()? / sum)?;
        Ok(Some(vec![match drop {
            Some(drop) => y.masked_fill(&drop, T::zero())?,
            None => y,
        }]))
    }
}

/// `y = x - ln Σ exp x` along an axis.
///
/// Masked elements get -∞, the logarithm of their probability, and so does all of a row of which
/// nothing is kept. They are constants: a gradient that comes in there is not looked at, and theirs
/// is 0.
#[derive(Clone, Debug)]
pub struct LogSoftmax {
    /// The axis.
    pub axis: usize,
    /// Which elements to keep (true), broadcast to the shape of x; `None` keeps all.
    pub keep: Option<ArrayD<bool>>,
}

impl<T: Real> Op<T> for LogSoftmax {
    /// y.
    type Saved = Tensor<T>;

    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("log_softmax", inputs)?;
        let rows = T::row_kernel(context.kernels());
        let kernel = |row: &mut [T], keep: Option<&[bool]>| rows.log_softmax(row, keep);
        let y = masked_rows("log_softmax", x, self.axis, self.keep.as_ref(), kernel)?;
        Ok((vec![y.clone()], y))
    }

    fn backward(
        &self,
        context: &Context,
        y: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = x - ln Σeˣ  ⇒  d_x = d_y - eʸ·Σ d_y
        let rows = T::row_kernel(context.kernels());
        let kernel = |y: &[T], d: &mut [T]| rows.log_softmax_backward(y, d);
        sink.add(0, rows_backward(y, d_outputs.dense(0), self.axis, kernel))
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let Shifted { shifted, sum, drop } = Shifted::new(inputs, self.axis, self.keep.as_ref())?;
        let y = (shifted - sum.ln()?)?;
        Ok(Some(vec![match drop {
            Some(drop) => y.masked_fill(&drop, T::from_f64(f64::NEG_INFINITY))?,
            None => y,
        }]))
    }
}

/// What both twins begin with.
struct Shifted<'t, T: Real> {
    /// x less its largest element along the axis. Neither op depends on what is taken away, so that is
    /// cut off.
    shifted: Var<'t, T>,
    /// The sum of the exponentials of that.
    sum: Var<'t, T>,
    /// What is masked, when anything is.
    drop: Option<ArrayD<bool>>,
}

impl<'t, T: Real> Shifted<'t, T> {
    fn new(inputs: &[Var<'t, T>], axis: usize, keep: Option<&ArrayD<bool>>) -> Result<Self> {
        let &[x] = inputs else {
            let (op, found) = ("softmax".into(), inputs.len());
            return Err(Error::Count { op, what: "inputs", expected: 1, found });
        };
        check_axis("softmax", &x.shape(), axis)?;
        let value = x.value();
        // Elements of negative infinity count as masked.
        let mut drop = value.mapv(|x| x.to_f64() == f64::NEG_INFINITY).into_owned();
        if let Some(keep) = keep {
            let keep = broadcast_mask("softmax", keep, value.shape())?;
            drop.zip_mut_with(&keep, |drop, &keep| *drop |= !keep);
        }
        let drop = drop.iter().any(|&drop| drop).then_some(drop);
        let x = match &drop {
            // Far below all others, and still a number.
            Some(drop) => x.masked_fill(drop, T::from_f64(-1e30))?,
            None => x,
        };
        let shifted = (x - x.detach().max_axes(&[axis], true)?)?;
        let sum = shifted.exp()?.sum_axes(&[axis], true)?;
        Ok(Shifted { shifted, sum, drop })
    }
}

/// Applies a kernel to each row of `x` along `axis`, together with the row of the mask.
fn masked_rows<T: Real>(
    op: &str,
    x: &Tensor<T>,
    axis: usize,
    keep: Option<&ArrayD<bool>>,
    kernel: impl Fn(&mut [T], Option<&[bool]>),
) -> Result<Tensor<T>> {
    check_axis(op, x.shape(), axis)?;
    let mut y = rows_along(x, axis);
    let length = x.shape()[axis].max(1);
    let rows = y.as_slice_mut().unwrap_or_default().chunks_mut(length);
    match keep {
        None => rows.for_each(|row| kernel(row, None)),
        Some(keep) => {
            let mut keep = broadcast_mask(op, keep, x.shape())?;
            keep.swap_axes(axis, x.ndim() - 1);
            let lanes = keep.lanes(Axis(x.ndim() - 1));
            for (row, lane) in rows.zip(lanes) {
                let lane = lane.to_slice().map_or_else(|| lane.to_vec().into(), Cow::Borrowed);
                kernel(row, Some(&lane));
            }
        }
    }
    Ok(along_axis(y, axis))
}

/// Applies a backward kernel, `(row of y, row of d_y becomes d_x)`, to each row along `axis`.
fn rows_backward<T: Real>(
    y: &Tensor<T>,
    d_y: Tensor<T>,
    axis: usize,
    kernel: impl Fn(&[T], &mut [T]),
) -> Tensor<T> {
    let length = y.shape()[axis].max(1);
    let y = rows_along(y, axis);
    let mut d = rows_along(&d_y, axis);
    let d_rows = d.as_slice_mut().unwrap_or_default().chunks_mut(length);
    let y_rows = y.as_slice().unwrap_or_default().chunks(length);
    y_rows.zip(d_rows).for_each(|(y, d)| kernel(y, d));
    along_axis(d, axis)
}

/// A copy in which the elements along `axis` stand next to each other: `axis` and the last one
/// swapped.
fn rows_along<T: Real>(x: &Tensor<T>, axis: usize) -> ArrayD<T> {
    let mut x = x.view();
    x.swap_axes(axis, x.ndim() - 1);
    x.as_standard_layout().into_owned()
}

/// The reverse of [`rows_along`].
fn along_axis<T: Real>(mut y: ArrayD<T>, axis: usize) -> Tensor<T> {
    y.swap_axes(axis, y.ndim() - 1);
    y.into_shared()
}

impl<'t, T: Real> Var<'t, T> {
    /// Softmax along an axis; see [`Softmax`].
    ///
    /// # Errors
    /// There is no such axis.
    pub fn softmax(self, axis: usize) -> Result<Self> {
        let [y] = self.tape().apply(Softmax { axis, keep: None }, &[self])?;
        Ok(y)
    }

    /// Softmax along an axis over the elements where `keep` is true; see [`Softmax`].
    ///
    /// # Errors
    /// There is no such axis, or the mask does not broadcast to this shape.
    pub fn masked_softmax(self, keep: &ArrayD<bool>, axis: usize) -> Result<Self> {
        let [y] = self.tape().apply(Softmax { axis, keep: Some(keep.clone()) }, &[self])?;
        Ok(y)
    }

    /// Log-softmax along an axis; see [`LogSoftmax`].
    ///
    /// # Errors
    /// There is no such axis.
    pub fn log_softmax(self, axis: usize) -> Result<Self> {
        let [y] = self.tape().apply(LogSoftmax { axis, keep: None }, &[self])?;
        Ok(y)
    }

    /// Log-softmax along an axis over the elements where `keep` is true; see [`LogSoftmax`].
    ///
    /// # Errors
    /// There is no such axis, or the mask does not broadcast to this shape.
    pub fn masked_log_softmax(self, keep: &ArrayD<bool>, axis: usize) -> Result<Self> {
        let [y] = self.tape().apply(LogSoftmax { axis, keep: Some(keep.clone()) }, &[self])?;
        Ok(y)
    }
}
