//! Masked fill.

use ndarray::{ArrayD, Zip};

use crate::op::{Forward, inputs_of};
use crate::shape::broadcast_mask;
use crate::{Context, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `y = value` where the mask is true, and x elsewhere. The mask is broadcast to the shape of x.
#[derive(Clone, Debug)]
pub struct MaskedFill {
    /// Where to fill.
    pub mask: ArrayD<bool>,
    /// What to fill with.
    pub value: f64,
}

impl<T: Real> Op<T> for MaskedFill {
    type Saved = ();

    fn name(&self) -> &'static str {
        "masked_fill"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("masked_fill", inputs)?;
        Ok((vec![self.filled(x, T::from_f64(self.value))?], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = value where mask, else x  ⇒  d_x = 0 where mask, else d_y
        sink.add(0, self.filled(&d_outputs.dense(0), T::zero())?)
    }
}

impl MaskedFill {
    fn filled<T: Real>(&self, x: &Tensor<T>, value: T) -> Result<Tensor<T>> {
        let mask = broadcast_mask("masked_fill", &self.mask, x.shape())?;
        let y = Zip::from(x).and(&mask).map_collect(|&x, &fill| if fill { value } else { x });
        Ok(y.into_shared())
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// `value` where the mask is true; the mask is broadcast to this shape.
    ///
    /// # Errors
    /// The mask does not broadcast to this shape.
    pub fn masked_fill(self, mask: &ArrayD<bool>, value: T) -> Result<Self> {
        let op = MaskedFill { mask: mask.clone(), value: value.to_f64() };
        let [y] = self.tape().apply(op, &[self])?;
        Ok(y)
    }
}
