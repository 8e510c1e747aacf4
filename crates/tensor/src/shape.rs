//! Broadcasting, and its reverse for gradients.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, RemoveAxis, Zip};

use crate::kernels::reduce;
use crate::{Error, GradSink, Real, Result, Tensor};

/// The shape that two shapes broadcast to, by NumPy's rule: aligned at the last axis, an axis of
/// length 1 is repeated.
///
/// # Errors
/// Two lengths differ and neither is 1.
pub fn broadcast_shape(op: &str, left: &[usize], right: &[usize]) -> Result<Vec<usize>> {
    let axes = left.len().max(right.len());
    let length = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(axes).map_or(1, |axis| shape[axis])
    };
    (0..axes)
        .map(|axis| match (length(left, axis), length(right, axis)) {
            (l, r) if l == r => Ok(l),
            (1, r) => Ok(r),
            (l, 1) => Ok(l),
            _ => Err(Error::shapes(op, left, right, "do not broadcast")),
        })
        .collect()
}

/// `f(x, y)` for each pair of elements, broadcast against each other.
///
/// # Errors
/// The shapes do not broadcast.
pub fn zip_broadcast<T: Real>(
    op: &str,
    x: &Tensor<T>,
    y: &Tensor<T>,
    f: impl Fn(T, T) -> T,
) -> Result<Tensor<T>> {
    let shape = broadcast_shape(op, x.shape(), y.shape())?;
    let mut out = ArrayD::zeros(IxDyn(&shape));
    // Both broadcast: `broadcast_shape` has checked it.
    if let (Some(x), Some(y)) = (x.broadcast(out.raw_dim()), y.broadcast(out.raw_dim())) {
        Zip::from(&mut out).and(x).and(y).for_each(|out, &x, &y| *out = f(x, y));
    }
    Ok(out.into_shared())
}

/// A mask seen in the shape that it is used in.
///
/// # Errors
/// The mask does not broadcast to that shape.
pub fn broadcast_mask<'a>(
    op: &str,
    mask: &'a ArrayD<bool>,
    shape: &[usize],
) -> Result<ArrayViewD<'a, bool>> {
    mask.broadcast(IxDyn(shape)).ok_or_else(|| {
        Error::shapes(op, shape, mask.shape(), "of array and mask: the mask does not broadcast")
    })
}

/// Checks that there is such an axis.
///
/// # Errors
/// There is none.
pub fn check_axis(op: &str, shape: &[usize], axis: usize) -> Result<()> {
    if axis < shape.len() {
        return Ok(());
    }
    Err(Error::shape(op, shape, format!("has no axis {axis}")))
}

/// The array in standard layout (contiguous, last axis first): itself, or a copy when it is not.
pub fn standard<T: Real>(x: &Tensor<T>) -> Tensor<T> {
    if x.is_standard_layout() {
        x.clone()
    } else {
        x.as_standard_layout().into_owned().into_shared()
    }
}

/// The same elements, row by row, in another shape; shared when they are in standard layout.
///
/// # Errors
/// The shapes have different numbers of elements.
pub fn reshaped<T: Real>(op: &str, x: &Tensor<T>, shape: &[usize]) -> Result<Tensor<T>> {
    (standard(x).into_shape_with_order(IxDyn(shape)))
        .map_err(|_| Error::shapes(op, x.shape(), shape, "do not have the same number of elements"))
}

/// An array in standard layout out of its elements.
///
/// # Errors
/// The shape has another number of elements.
pub fn from_elements<T: Clone>(op: &str, shape: &[usize], elements: Vec<T>) -> Result<Tensor<T>> {
    let found = elements.len();
    match ArrayD::from_shape_vec(IxDyn(shape), elements) {
        Ok(array) => Ok(array.into_shared()),
        Err(_) => Err(Error::shape(op, shape, format!("does not hold {found} elements"))),
    }
}

/// The sum over one axis, which disappears.
///
/// Along the last axis it is [`reduce::sum`], along another whole rows are added, first to last:
/// the bits depend neither on the memory's layout nor on zeros at the end.
pub fn sum_axis<T: Real>(x: &ArrayViewD<'_, T>, axis: usize) -> ArrayD<T> {
    if axis + 1 == x.ndim() {
        return x.map_axis(Axis(axis), |row| match row.to_slice() {
            Some(row) => reduce::sum(row),
            None => reduce::sum(&row.to_vec()),
        });
    }
    let mut sum = ArrayD::zeros(x.raw_dim().remove_axis(Axis(axis)));
    x.axis_iter(Axis(axis)).for_each(|row| sum += &row);
    sum
}

/// Sums `d` over the axes along which an array of `shape` was broadcast: the reverse of
/// broadcasting.
pub fn sum_to_shape<T: Real>(d: Tensor<T>, shape: &[usize]) -> Tensor<T> {
    let mut d = d;
    while d.ndim() > shape.len() {
        d = sum_axis(&d.view(), 0).into_shared();
    }
    for (axis, &length) in shape.iter().enumerate() {
        if length == 1 && d.shape()[axis] != 1 {
            d = sum_axis(&d.view(), axis).insert_axis(Axis(axis)).into_shared();
        }
    }
    d
}

impl<T: Real> GradSink<'_, T> {
    /// Adds to the gradient of an input of shape `shape` that was broadcast in the forward pass.
    ///
    /// # Errors
    /// There is no such input.
    pub fn add_broadcast(&mut self, input: usize, d: Tensor<T>, shape: &[usize]) -> Result<()> {
        if !self.wants(input) {
            return Ok(());
        }
        self.add(input, sum_to_shape(d, shape))
    }
}
