//! Ops that only move elements: reshape, permute, concat, stack, slice, split.
//!
//! Reshapes (of arrays in standard layout), permutations and slices share the memory of their
//! input.

use ndarray::{ArrayD, Axis, IxDyn, Slice as AxisSlice};

use crate::op::{Forward, inputs_of};
use crate::shape::{check_axis, reshaped, standard};
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// The same elements, in order of the last axis first, in another shape.
#[derive(Clone, Debug)]
pub struct Reshape {
    /// The shape of y.
    pub shape: Vec<usize>,
}

impl<T: Real> Op<T> for Reshape {
    /// The shape of x.
    type Saved = Vec<usize>;

    fn name(&self) -> &'static str {
        "reshape"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("reshape", inputs)?;
        Ok((vec![reshaped("reshape", x, &self.shape)?], x.shape().to_vec()))
    }

    fn backward(
        &self,
        _: &Context,
        shape: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = x in another shape  ⇒  d_x = d_y in the shape of x
        sink.add(0, reshaped("reshape", &d_outputs.dense(0), shape)?)
    }
}

/// The same array with its axes in another order: axis k of y is axis `axes[k]` of x.
#[derive(Clone, Debug)]
pub struct Permute {
    /// Each axis of x once.
    pub axes: Vec<usize>,
}

impl<T: Real> Op<T> for Permute {
    type Saved = ();

    fn name(&self) -> &'static str {
        "permute"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("permute", inputs)?;
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.ndim()) {
            let problem = format!("has other axes than {:?}", self.axes);
            return Err(Error::shape("permute", x.shape(), problem));
        }
        Ok((vec![x.clone().permuted_axes(IxDyn(&self.axes))], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // Axis k of y is axis axes[k] of x  ⇒  axis axes[k] of d_x is axis k of d_y
        let mut inverse = vec![0; self.axes.len()];
        for (k, &axis) in self.axes.iter().enumerate() {
            inverse[axis] = k;
        }
        sink.add(0, d_outputs.dense(0).permuted_axes(IxDyn(&inverse)))
    }
}

/// Arrays one after the other along an axis; their shapes differ along that axis alone.
#[derive(Clone, Copy, Debug)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl<T: Real> Op<T> for Concat {
    /// The lengths of the inputs along the axis.
    type Saved = Vec<usize>;

    fn name(&self) -> &'static str {
        "concat"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let first = at_least_one("concat", inputs)?;
        check_axis("concat", first.shape(), self.axis)?;
        for x in inputs {
            let fits = x.ndim() == first.ndim()
                && (0..x.ndim()).all(|a| a == self.axis || x.shape()[a] == first.shape()[a]);
            if !fits {
                let problem = "differ in more than the axis of the concatenation";
                return Err(Error::shapes("concat", first.shape(), x.shape(), problem));
            }
        }
        let lengths: Vec<usize> = inputs.iter().map(|x| x.shape()[self.axis]).collect();
        let mut shape = first.shape().to_vec();
        shape[self.axis] = lengths.iter().sum();
        Ok((vec![join("concat", inputs, self.axis, &shape)?], lengths))
    }

    fn backward(
        &self,
        _: &Context,
        lengths: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = [x₀; x₁; …]  ⇒  d_xₖ = the k-th part of d_y
        let d_y = standard(&d_outputs.dense(0));
        let mut start = 0;
        for (k, &length) in lengths.iter().enumerate() {
            if sink.wants(k) {
                sink.add(k, join_backward(&d_y, self.axis, start, length))?;
            }
            start += length;
        }
        Ok(())
    }
}

/// Arrays of the same shape along a new axis.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// The number of the new axis in y.
    pub axis: usize,
}

impl<T: Real> Op<T> for Stack {
    type Saved = ();

    fn name(&self) -> &'static str {
        "stack"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let first = at_least_one("stack", inputs)?;
        if let Some(x) = inputs.iter().find(|x| x.shape() != first.shape()) {
            return Err(Error::shapes("stack", first.shape(), x.shape(), "must be the same"));
        }
        if self.axis > first.ndim() {
            let problem = format!("takes no new axis {}", self.axis);
            return Err(Error::shape("stack", first.shape(), problem));
        }
        let mut shape = first.shape().to_vec();
        shape.insert(self.axis, inputs.len());
        Ok((vec![join("stack", inputs, self.axis, &shape)?], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y[.., k, ..] = xₖ  ⇒  d_xₖ = d_y[.., k, ..]
        for (k, d) in d_outputs.dense(0).axis_iter(Axis(self.axis)).enumerate() {
            if sink.wants(k) {
                sink.add(k, d.to_owned())?;
            }
        }
        Ok(())
    }
}

/// Arrays one after the other along an axis (of one of them), copied run by run into
/// standard layout.
///
/// (ndarray's own `concatenate` makes the axis the outermost in memory.)
fn join<T: Real>(op: &str, parts: &[Tensor<T>], axis: usize, shape: &[usize]) -> Result<Tensor<T>> {
    let parts: Vec<Tensor<T>> = parts.iter().map(standard).collect();
    let outer: usize = shape[..axis].iter().product();
    let mut joined = Vec::with_capacity(shape.iter().product());
    for index in 0..outer {
        for part in &parts {
            let run = part.len() / outer;
            joined.extend_from_slice(&part.as_slice().unwrap_or(&[])[index * run..][..run]);
        }
    }
    let joined = ArrayD::from_shape_vec(IxDyn(shape), joined);
    Ok(joined.map_err(|error| Error::shape(op, shape, error.to_string()))?.into_shared())
}

/// A range of one axis of an array in standard layout, copied run by run: the reverse of [`join`].
fn join_backward<T: Real>(
    whole: &Tensor<T>,
    axis: usize,
    start: usize,
    length: usize,
) -> ArrayD<T> {
    let mut shape = whole.shape().to_vec();
    let run: usize = shape[axis + 1..].iter().product();
    let period = (shape[axis] * run).max(1);
    shape[axis] = length;
    let mut part = Vec::with_capacity(shape.iter().product());
    for period in whole.as_slice().unwrap_or(&[]).chunks_exact(period) {
        part.extend_from_slice(&period[start * run..(start + length) * run]);
    }
    ArrayD::from_shape_vec(IxDyn(&shape), part).unwrap_or_else(|_| ArrayD::zeros(IxDyn(&shape)))
}

fn at_least_one<'a, T: Real>(op: &str, inputs: &'a [Tensor<T>]) -> Result<&'a Tensor<T>> {
    let none = || Error::Count { op: op.into(), what: "inputs", expected: 1, found: 0 };
    inputs.first().ok_or_else(none)
}

/// A range of one axis, every `step`-th element of it.
///
/// A negative step goes backwards from the last element of the range: `0..n` with step -1 is the
/// whole axis reversed.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// The range's first element.
    pub start: usize,
    /// The range's end, one past its last element.
    pub end: usize,
    /// The distance from one element to the next; not 0.
    pub step: isize,
}

impl Slice {
    fn indices(&self) -> AxisSlice {
        AxisSlice::new(self.start as isize, Some(self.end as isize), self.step)
    }
}

impl<T: Real> Op<T> for Slice {
    type Saved = ();

    fn name(&self) -> &'static str {
        "slice"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("slice", inputs)?;
        check_axis("slice", x.shape(), self.axis)?;
        if self.start > self.end || self.end > x.shape()[self.axis] {
            let problem = format!("has no {}..{} on axis {}", self.start, self.end, self.axis);
            return Err(Error::shape("slice", x.shape(), problem));
        }
        if self.step == 0 || self.step == isize::MIN {
            return Err(Error::invalid("slice", format!("a step of {}", self.step)));
        }
        let mut y = x.clone();
        y.slice_axis_inplace(Axis(self.axis), self.indices());
        Ok((vec![y], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = x[range]  ⇒  d_x[range] += d_y
        sink.add_in_place(0, |mut d_x| {
            let mut part = d_x.slice_axis_mut(Axis(self.axis), self.indices());
            part += &d_outputs.dense(0);
        })
    }
}

/// An array cut along an axis into parts of given lengths, each an output: the reverse of
/// [`Concat`].
#[derive(Clone, Debug)]
pub struct Split {
    /// The axis.
    pub axis: usize,
    /// The parts' lengths, which add up to the axis's.
    pub lengths: Vec<usize>,
}

impl Split {
    /// The part of the axis that each output is.
    fn parts(&self) -> impl Iterator<Item = AxisSlice> + '_ {
        self.lengths.iter().scan(0, |start, &length| {
            let part = AxisSlice::from(*start..*start + length);
            *start += length;
            Some(part)
        })
    }
}

impl<T: Real> Op<T> for Split {
    type Saved = ();

    fn name(&self) -> &'static str {
        "split"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("split", inputs)?;
        check_axis("split", x.shape(), self.axis)?;
        let total = self.lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length));
        if total != Some(x.shape()[self.axis]) {
            let problem = format!("does not split on axis {} into {:?}", self.axis, self.lengths);
            return Err(Error::shape("split", x.shape(), problem));
        }
        let cut = |part| {
            let mut y = x.clone();
            y.slice_axis_inplace(Axis(self.axis), part);
            y
        };
        Ok((self.parts().map(cut).collect(), ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // yₖ = x[partₖ]  ⇒  d_x[partₖ] += d_yₖ
        sink.add_in_place(0, |mut d_x: ndarray::ArrayViewMutD<'_, T>| {
            for (k, part) in self.parts().enumerate() {
                if let Some(d_y) = d_outputs.get(k) {
                    let mut part = d_x.slice_axis_mut(Axis(self.axis), part);
                    part += d_y;
                }
            }
        })
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The same elements in another shape; see [`Reshape`].
    ///
    /// # Errors
    /// The number of elements differs.
    pub fn reshape(self, shape: &[usize]) -> Result<Self> {
        let [y] = self.tape().apply(Reshape { shape: shape.into() }, &[self])?;
        Ok(y)
    }

    /// The axes in another order; see [`Permute`].
    ///
    /// # Errors
    /// `axes` does not name each axis once.
    pub fn permute(self, axes: &[usize]) -> Result<Self> {
        let [y] = self.tape().apply(Permute { axes: axes.into() }, &[self])?;
        Ok(y)
    }

    /// The arrays one after the other along an axis.
    ///
    /// # Errors
    /// There is no array, or their shapes differ along another axis.
    pub fn concat(parts: &[Self], axis: usize) -> Result<Self> {
        Self::joined(Concat { axis }, parts)
    }

    /// The arrays, all of the same shape, along a new axis.
    ///
    /// # Errors
    /// There is no array, their shapes differ, or the axis is more than their number of axes.
    pub fn stack(parts: &[Self], axis: usize) -> Result<Self> {
        Self::joined(Stack { axis }, parts)
    }

    fn joined(op: impl Op<T>, parts: &[Self]) -> Result<Self> {
        let Some(first) = parts.first() else {
            let op = op.name().into();
            return Err(Error::Count { op, what: "inputs", expected: 1, found: 0 });
        };
        let [y] = first.tape().apply(op, parts)?;
        Ok(y)
    }

    /// A range of one axis: `x.slice(0, 2..5)`.
    ///
    /// # Errors
    /// There is no such axis, or the range reaches past its end.
    pub fn slice(self, axis: usize, range: std::ops::Range<usize>) -> Result<Self> {
        self.slice_by(axis, range, 1)
    }

    /// Every `step`-th element of a range of one axis, backwards when negative; see [`Slice`].
    ///
    /// # Errors
    /// There is no such axis, the range reaches past its end, or the step is 0.
    pub fn slice_by(self, axis: usize, range: std::ops::Range<usize>, step: isize) -> Result<Self> {
        let op = Slice { axis, start: range.start, end: range.end, step };
        let [y] = self.tape().apply(op, &[self])?;
        Ok(y)
    }

    /// Cuts an axis into parts of given lengths.
    ///
    /// # Errors
    /// There is no such axis, or the lengths do not add up to its own.
    pub fn split(self, axis: usize, lengths: &[usize]) -> Result<Vec<Self>> {
        let op = Split { axis, lengths: lengths.into() };
        self.tape().apply_shared(std::sync::Arc::new(op), &[self])
    }
}
