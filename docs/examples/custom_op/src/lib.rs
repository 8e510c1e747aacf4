//! An op of one's own: the Swish activation of Ramachandran, Zoph and Le, "Searching for activation
//! functions" (2017), with a slope that is learned.
//!
//! `docs/gradcheck.md` walks through this crate: [`Swish`] is right, [`WrongSwish`] forgets a term as
//! hand-written backward passes do, and the tests let the checker tell them apart.

use unspool_tensor::op::{Forward, inputs_of};
use unspool_tensor::shape::zip_broadcast;
use unspool_tensor::{Context, GradSink, Op, OutputGrads, Real, Result, Tensor};

/// `y = x·σ(β·x)`, element by element; x of any shape, β `[]`.
#[derive(Clone, Copy, Debug)]
pub struct Swish;

impl<T: Real> Op<T> for Swish {
    /// x, β, and s = σ(β·x).
    type Saved = [Tensor<T>; 3];

    fn name(&self) -> &'static str {
        "swish"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, beta] = inputs_of("swish", inputs)?;
        let s = zip_broadcast("swish", x, beta, |x, beta| (beta * x).sigmoid())?;
        let y = zip_broadcast("swish", x, &s, |x, s| x * s)?;
        Ok((vec![y], [x.clone(), beta.clone(), s]))
    }

    fn backward(
        &self,
        _: &Context,
        [x, beta, s]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let (d_y, one) = (d_outputs.dense(0), T::one());
        // s = σ(a), a = β·x  ⇒  d_a = d_s·s·(1 - s), and y = x·s  ⇒  d_s = d_y·x
        let slope = zip_broadcast("swish", x, s, |x, s| x * s * (one - s))?;
        let d_a = zip_broadcast("swish", &d_y, &slope, |d, slope| d * slope)?;
        // y = x·s, a = β·x  ⇒  d_x = d_y·s + d_a·β, d_β = Σ d_a·x
        let through_s = zip_broadcast("swish", &d_a, beta, |d, beta| d * beta)?;
        let direct = zip_broadcast("swish", &d_y, s, |d, s| d * s)?;
        sink.add(0, zip_broadcast("swish", &direct, &through_s, |a, b| a + b)?)?;
        sink.add_broadcast(1, zip_broadcast("swish", &d_a, x, |d, x| d * x)?, beta.shape())
    }
}

/// The same forward pass, with a backward pass that forgets that x is in the sigmoid too.
#[derive(Clone, Copy, Debug)]
pub struct WrongSwish;

impl<T: Real> Op<T> for WrongSwish {
    type Saved = [Tensor<T>; 3];

    fn name(&self) -> &'static str {
        "wrong_swish"
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        Swish.forward(context, inputs)
    }

    fn backward(
        &self,
        _: &Context,
        [x, beta, s]: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let (d_y, one) = (d_outputs.dense(0), T::one());
        let slope = zip_broadcast("wrong_swish", x, s, |x, s| x * x * s * (one - s))?;
        let d_beta = zip_broadcast("wrong_swish", &d_y, &slope, |d, slope| d * slope)?;
        sink.add_broadcast(1, d_beta, beta.shape())?;
        // d_x = d_y·s, and not a word of d_a·β.
        sink.add(0, zip_broadcast("wrong_swish", &d_y, s, |d, s| d * s)?)
    }
}
