//! Rows of a table by their numbers: the heart of an embedding.

use ndarray::{ArrayD, IxDyn};

use crate::op::{Forward, inputs_of};
use crate::shape::standard;
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `y[i.., :] = table[indices[i..], :]`: one row of the table for each index.
///
/// Shapes: table `[V, ..]`, indices of any shape `[..]`, and y that of the indices followed by that
/// of a row.
#[derive(Clone, Debug)]
pub struct GatherRows {
    /// The numbers of rows, in standard order.
    pub indices: Vec<usize>,
    /// The shape that they have.
    pub shape: Vec<usize>,
}

impl<T: Real> Op<T> for GatherRows {
    type Saved = ();

    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [table] = inputs_of("gather_rows", inputs)?;
        let Some((&count, row_shape)) = table.shape().split_first() else {
            return Err(Error::shape("gather_rows", &[], "has no rows"));
        };
        if let Some(index) = self.indices.iter().find(|&&index| index >= count) {
            let problem = format!("has no row {index}");
            return Err(Error::shape("gather_rows", table.shape(), problem));
        }
        let table = standard(table);
        let numbers = table.as_slice().unwrap_or_default();
        if self.shape.iter().product::<usize>() != self.indices.len() {
            let problem = "of the indices and of their list do not fit";
            return Err(Error::shapes("gather_rows", &self.shape, &[self.indices.len()], problem));
        }
        let mut y: ArrayD<T> = context.array(IxDyn(&[&self.shape, row_shape].concat()));
        let width = row_shape.iter().product();
        let to = y.as_slice_mut().unwrap_or_default();
        T::row_kernel(context.kernels()).gather(numbers, width, &self.indices, to);
        Ok((vec![y.into_shared()], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y[i] = table[indices[i]]  ⇒  d_table[indices[i]] += d_y[i]; no other row is touched
        let d_y = standard(&d_outputs.dense(0));
        let numbers = d_y.as_slice().unwrap_or_default();
        sink.add_rows(0, self.indices.iter().copied(), None, numbers)
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The rows of this table `[V, ..]` whose numbers are `indices`, which have the shape `shape`;
    /// see [`GatherRows`].
    ///
    /// # Errors
    /// An index is not below V, or there are more or fewer indices than `shape` has elements.
    pub fn gather_rows(self, indices: &[usize], shape: &[usize]) -> Result<Self> {
        let op = GatherRows { indices: indices.into(), shape: shape.into() };
        let [y] = self.tape().apply(op, &[self])?;
        Ok(y)
    }
}
