//! Sums, means and maxima.

use ndarray::{ArrayD, Axis, IxDyn, arr0};

use crate::op::{Forward, inputs_of};
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// The sum over one axis, which disappears, or over all elements.
#[derive(Debug)]
pub struct Sum {
    /// The axis; `None` for all elements.
    pub axis: Option<usize>,
}

impl<T: Real> Op<T> for Sum {
    /// The shape of x.
    type Saved = Vec<usize>;

    fn name(&self) -> &'static str {
        "sum"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("sum", inputs)?;
        let y = match self.axis {
            None => arr0(x.sum()).into_dyn(),
            Some(axis) if axis < x.ndim() => x.sum_axis(Axis(axis)),
            Some(axis) => {
                return Err(Error::shape("sum", x.shape(), format!("has no axis {axis}")));
            }
        };
        Ok((vec![y.into_shared()], x.shape().to_vec()))
    }

    fn backward(
        &self,
        _: &Context,
        shape: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = Σ x  ⇒  d_x = d_y, repeated along the axis
        let d = d_outputs.dense(0);
        let d = self.axis.map_or(d.clone(), |axis| d.insert_axis(Axis(axis)));
        let mut d_x = ArrayD::zeros(IxDyn(shape));
        d_x.zip_mut_with(&d, |d_x, &d| *d_x = d);
        sink.add(0, d_x)
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The sum over one axis, which disappears.
    ///
    /// # Errors
    /// There is no such axis.
    pub fn sum(self, axis: usize) -> Result<Self> {
        let [y] = self.tape().apply(Sum { axis: Some(axis) }, &[self])?;
        Ok(y)
    }

    /// The sum of all elements, an array without axes.
    ///
    /// # Errors
    /// None in practice: any shape will do.
    pub fn sum_all(self) -> Result<Self> {
        let [y] = self.tape().apply(Sum { axis: None }, &[self])?;
        Ok(y)
    }
}
