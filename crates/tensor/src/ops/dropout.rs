//! Dropout, keyed by place instead of drawn from a stream.

use ndarray::{ArrayD, Dimension};

use crate::kernels::dropout::drop_units;
use crate::op::{Forward, inputs_of};
use crate::random::Key;
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// Inverted dropout: each unit is dropped with probability `rate`, the others are multiplied by
/// `1 / (1 - rate)`, so that the expectation stays.
///
/// The last axis is the unit, the one before it the example, and all before these, counted through,
/// the time. A missing axis counts as one of length 1. The mask is that of
/// [`kernels::dropout`](crate::kernels::dropout) at (key, `first_time` + time,
/// [`Context::first_example`] + example, unit), hence the same for one call on `[T, B, H]` as for T
/// calls on `[B, H]`, and in any sharding of the batch.
///
/// Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The probability of being dropped, in [0, 1).
    pub rate: f64,
    /// The random key of the site in this step, from [`Context::key`].
    pub key: Key,
    /// The time step of the first element.
    pub first_time: usize,
}

impl<T: Real> Op<T> for Dropout {
    /// Nothing: the mask is a function of the op.
    type Saved = ();

    fn name(&self) -> &'static str {
        "dropout"
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("dropout", inputs)?;
        self.check()?;
        Ok((vec![self.masked(context, x)], ()))
    }

    fn backward(
        &self,
        context: &Context,
        (): &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = x·mask/(1 - rate)  ⇒  d_x = d_y·mask/(1 - rate)
        sink.add(0, self.masked(context, &d_outputs.dense(0)))
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        inputs.first().map(|&x| Ok(vec![composed(*self, x)?])).transpose()
    }
}

impl Dropout {
    fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.rate) {
            return Ok(());
        }
        Err(Error::invalid("dropout", format!("a rate of {} is not in [0, 1)", self.rate)))
    }

    fn masked<T: Real>(&self, context: &Context, x: &Tensor<T>) -> Tensor<T> {
        if self.rate == 0.0 {
            return x.clone();
        }
        let mut y: ArrayD<T> = context.array(x.raw_dim());
        y.assign(x);
        let units = x.shape().last().map_or(1, |&units| units.max(1));
        let examples = x.shape().iter().rev().nth(1).map_or(1, |&examples| examples.max(1));
        for (row, xs) in y.as_slice_mut().unwrap_or_default().chunks_mut(units).enumerate() {
            let time = self.first_time.wrapping_add(row / examples);
            let example = context.first_example().wrapping_add(row % examples);
            drop_units(xs, self.rate, self.key, time, example);
        }
        y.into_shared()
    }
}

/// The composed twin of [`Dropout`]: `x·mask`, with the mask written out.
///
/// # Errors
/// The rate is not in [0, 1).
pub fn composed<T: Real>(op: Dropout, x: Var<'_, T>) -> Result<Var<'_, T>> {
    op.check()?;
    let first_example = x.tape().context().first_example();
    let mask = ArrayD::from_shape_fn(x.shape(), |at| {
        let axis = |from_last: usize| at.ndim().checked_sub(from_last).map_or(0, |axis| at[axis]);
        let shape = x.shape();
        let time = (0..at.ndim().saturating_sub(2)).fold(0, |t, axis| t * shape[axis] + at[axis]);
        let (unit, example) = (axis(1), axis(2) + first_example);
        let row = op.key.with((op.first_time + time) as u64).with(example as u64);
        let word = f64::from(row.words(unit as u64 / 4)[unit % 4]);
        match word < op.rate * 2f64.powi(32) {
            true => T::zero(),
            false => T::from_f64(1.0 / (1.0 - op.rate)),
        }
    });
    x * x.tape().constant(mask)
}

impl<'t, T: Real> Var<'t, T> {
    /// Drops units with probability `rate`; see [`Dropout`].
    ///
    /// # Errors
    /// The rate is not in [0, 1).
    pub fn dropout(self, rate: f64, key: Key, first_time: usize) -> Result<Self> {
        let [y] = self.tape().apply(Dropout { rate, key, first_time }, &[self])?;
        Ok(y)
    }
}
