//! The gradient of a value: an array, or some rows of one whose others are zero.

use std::sync::OnceLock;

use ndarray::{ArrayD, ArrayViewMutD, IxDyn};

use crate::kernels::rows::{Fast, RowKernel};
use crate::{Real, Tensor};

/// The gradient of a value, of its shape.
#[derive(Clone, Debug)]
pub enum Gradient<T: Real> {
    /// All of it.
    Dense(Tensor<T>),
    /// The rows that are not zero: of a large table of which few rows were looked up.
    Rows(RowGradient<T>),
}

impl<T: Real> Gradient<T> {
    /// All of it, zeros too. The first call on rows makes the array, which is kept.
    pub fn dense(&self) -> &Tensor<T> {
        match self {
            Gradient::Dense(dense) => dense,
            Gradient::Rows(rows) => rows.dense(),
        }
    }

    /// All of it, zeros too.
    pub fn into_dense(self) -> Tensor<T> {
        match self {
            Gradient::Dense(dense) => dense,
            Gradient::Rows(rows) => rows.dense().clone(),
        }
    }
}

impl<T: Real> From<Tensor<T>> for Gradient<T> {
    fn from(dense: Tensor<T>) -> Self {
        Gradient::Dense(dense)
    }
}

/// Some rows of a gradient `[V, ..]`; the others are zero.
#[derive(Clone, Debug)]
pub struct RowGradient<T: Real> {
    shape: Vec<usize>,
    /// Their numbers, ascending, each once.
    rows: Vec<usize>,
    /// One behind the other.
    numbers: Vec<T>,
    dense: OnceLock<Tensor<T>>,
}

/// What is added to some rows of a gradient.
#[derive(Clone, Debug)]
pub(crate) struct RowAddition<T> {
    /// The numbers of the rows, in any order.
    pub rows: Vec<usize>,
    /// What is added to them, one row behind the other.
    pub numbers: Vec<T>,
}

impl<T: Real> RowGradient<T> {
    /// The sum of additions to rows of an array `[V, ..]` of the shape; all rows are below V. What is
    /// added to one row is added in this order, so that the sum has the bits of the dense one.
    pub(crate) fn sum(
        kernel: &dyn RowKernel<T>,
        shape: &[usize],
        additions: &[RowAddition<T>],
    ) -> Self {
        let width = width(shape);
        let mut rows: Vec<usize> =
            additions.iter().flat_map(|one| one.rows.iter().copied()).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut numbers = vec![T::zero(); rows.len() * width];
        for one in additions {
            let place = |row: &usize| rows.partition_point(|other| other < row);
            let places: Vec<usize> = one.rows.iter().map(place).collect();
            kernel.scatter_add(&mut numbers, width, &places, None, &one.numbers);
        }
        RowGradient { shape: shape.into(), rows, numbers, dense: OnceLock::new() }
    }

    /// The shape of the whole gradient.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers of the rows, ascending.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// How many numbers a row has.
    pub fn width(&self) -> usize {
        width(&self.shape)
    }

    /// The numbers of the rows, one row behind the other.
    pub fn numbers(&self) -> &[T] {
        &self.numbers
    }

    /// The same, to change them.
    pub fn numbers_mut(&mut self) -> &mut [T] {
        self.dense.take();
        &mut self.numbers
    }

    /// The sum of two such gradients, of one shape.
    pub fn plus(&self, other: &Self) -> Self {
        let addition =
            |one: &Self| RowAddition { rows: one.rows.clone(), numbers: one.numbers.clone() };
        RowGradient::sum(&Fast, &self.shape, &[addition(self), addition(other)])
    }

    /// Adds the rows to an array of the same shape.
    pub fn add_to(&self, dense: &mut Tensor<T>) {
        self.add_with(&Fast, dense);
    }

    /// The same by this kernel; all give the same bits.
    pub(crate) fn add_with(&self, kernel: &dyn RowKernel<T>, dense: &mut Tensor<T>) {
        add_rows(kernel, dense.view_mut(), &self.rows, None, &self.numbers);
    }

    fn dense(&self) -> &Tensor<T> {
        self.dense.get_or_init(|| {
            let mut dense = ArrayD::zeros(IxDyn(&self.shape)).into_shared();
            self.add_to(&mut dense);
            dense
        })
    }
}

/// Adds each row of `ds [indices, ..]` to the row of `d [V, ..]`, in any layout, with its number, which is
/// below V; no other row is touched, and `skip` is not either.
pub(crate) fn add_rows<T: Real>(
    kernel: &dyn RowKernel<T>,
    mut d: ArrayViewMutD<'_, T>,
    indices: &[usize],
    skip: Option<usize>,
    ds: &[T],
) {
    let width = width(d.shape());
    if let Some(numbers) = d.as_slice_mut() {
        return kernel.scatter_add(numbers, width, indices, skip, ds);
    }
    let mut numbers: Vec<T> = d.iter().copied().collect();
    kernel.scatter_add(&mut numbers, width, indices, skip, ds);
    d.iter_mut().zip(numbers).for_each(|(to, number)| *to = number);
}

fn width(shape: &[usize]) -> usize {
    shape.iter().skip(1).product()
}
