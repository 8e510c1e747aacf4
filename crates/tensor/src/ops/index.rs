//! Rows of a table by their numbers: the heart of an embedding.

use ndarray::{ArrayD, Axis, IxDyn};

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

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [table] = inputs_of("gather_rows", inputs)?;
        let Some((&rows, row_shape)) = table.shape().split_first() else {
            return Err(Error::shape("gather_rows", &[], "has no rows"));
        };
        if let Some(index) = self.indices.iter().find(|&&index| index >= rows) {
            let problem = format!("has no row {index}");
            return Err(Error::shape("gather_rows", table.shape(), problem));
        }
        let table = standard(table);
        let numbers = table.as_slice().unwrap_or_default();
        let width = row_shape.iter().product::<usize>();
        let mut gathered = Vec::with_capacity(self.indices.len() * width);
        for &index in &self.indices {
            gathered.extend_from_slice(&numbers[index * width..(index + 1) * width]);
        }
        let shape = [&self.shape, row_shape].concat();
        let y = ArrayD::from_shape_vec(IxDyn(&shape), gathered).map_err(|_| {
            let problem = "of the indices and of their list do not fit";
            Error::shapes("gather_rows", &self.shape, &[self.indices.len()], problem)
        })?;
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
        let width = (numbers.len() / self.indices.len().max(1)).max(1);
        sink.add_in_place(0, |mut d_table| {
            for (&index, d_row) in self.indices.iter().zip(numbers.chunks_exact(width)) {
                let mut row = d_table.index_axis_mut(Axis(0), index);
                match row.as_slice_mut() {
                    Some(row) => row.iter_mut().zip(d_row).for_each(|(d, &new)| *d += new),
                    None => row.iter_mut().zip(d_row).for_each(|(d, &new)| *d += new),
                }
            }
        })
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
