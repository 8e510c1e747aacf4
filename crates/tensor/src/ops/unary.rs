//! Functions of each element: `tanh`, …

use crate::op::{Forward, inputs_of};
use crate::{Context, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `y = tanh x`.
#[derive(Debug)]
pub struct Tanh;

impl<T: Real> Op<T> for Tanh {
    /// y.
    type Saved = Tensor<T>;

    fn name(&self) -> &'static str {
        "tanh"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("tanh", inputs)?;
        let y = map_slice(x, T::tanh_slice);
        Ok((vec![y.clone()], y))
    }

    fn backward(
        &self,
        _: &Context,
        y: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = tanh x  ⇒  d_x = d_y·(1 - y²)
        let mut d = d_outputs.dense(0);
        d.zip_mut_with(y, |d, &y| *d *= T::one() - y * y);
        sink.add(0, d)
    }
}

/// A copy of `x` in standard layout, changed by a kernel over slices.
fn map_slice<T: Real>(x: &Tensor<T>, kernel: impl Fn(&mut [T])) -> Tensor<T> {
    let mut y = x.as_standard_layout().into_owned();
    if let Some(slice) = y.as_slice_mut() {
        kernel(slice);
    }
    y.into_shared()
}

impl<'t, T: Real> Var<'t, T> {
    /// `tanh`, element by element.
    ///
    /// # Errors
    /// None in practice: any shape will do.
    pub fn tanh(self) -> Result<Self> {
        let [y] = self.tape().apply(Tanh, &[self])?;
        Ok(y)
    }
}
