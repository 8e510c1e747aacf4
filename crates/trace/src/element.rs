//! One number of a gradient, checked on demand: as in a recorded check, and by hand.

use ndarray::{ArrayD, IxDyn};
use unspool_tensor::tape::BackwardMode;
use unspool_tensor::{Tape, Tensor, Var};

use crate::check::{Claim, TOLERANCE, largest, picked};
use crate::error::{Result, TraceError};
use crate::live::Live;
use crate::progress::{Stage, Watcher};
use crate::trace::{Check, Trace};
use crate::verify::whole;

/// What was found when a number of a gradient was checked by differences of all that is behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct ElementCheck {
    /// The check: of the whole gradient, this number alone was compared.
    pub check: Check,
    /// The number, by the backward pass.
    pub gradient: f64,
    /// How far it may be off.
    pub allowed: f64,
    /// The number of which it is the gradient.
    pub x: f64,
    /// The result with that number moved; `None` where it is not finite on one side, however small
    /// the step.
    pub moved: Option<Moved>,
}

/// The result of a computation with a number a little larger and a little smaller: the loss, or
/// the sum of what the backward pass began with times the values that it began from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// By how much the number was moved.
    pub h: f64,
    /// The result at `x + h`.
    pub above: f64,
    /// The result at `x − h`.
    pub below: f64,
}

impl ElementCheck {
    /// What the gradient should be, by steps that are made smaller until the result is sure.
    pub fn found(&self) -> f64 {
        self.check.found.first().copied().unwrap_or(f64::NAN)
    }
}

impl Moved {
    /// The difference quotient of these two results alone.
    pub fn quotient(&self) -> f64 {
        (self.above - self.below) / (2.0 * self.h)
    }
}

impl Trace {
    /// Checks one number of the gradient by a value: all that is behind it runs again. `None` where
    /// no gradient flows.
    ///
    /// # Errors
    /// The trace was read from a file, or there is no such number.
    pub fn check_element(&self, slot: usize, element: usize) -> Result<Option<ElementCheck>> {
        let live = self.live()?;
        let x = self.tensor(slot)?;
        let Some(&number) = x.iter().nth(element) else {
            return Err(TraceError::NoElement { slot, element });
        };
        let Some(gradient) = self.gradient(slot)? else { return Ok(None) };
        let claimed = picked(&gradient, &[element]);
        let scale = largest(&picked(&gradient, &[]));
        let claim = Claim { at: &[element], numbers: &claimed, scale };
        let progress = Watcher::default();
        let check = whole(self, live, slot, claim, progress.at(Stage::Whole))?;
        Ok(Some(ElementCheck {
            gradient: claimed.first().copied().unwrap_or(f64::NAN),
            allowed: TOLERANCE * scale.max(largest(&check.found)),
            x: number,
            moved: moved(live, slot, element, number)?,
            check,
        }))
    }

    /// The gradient by a value, whole.
    fn gradient(&self, slot: usize) -> Result<Option<Tensor<f64>>> {
        let value = self.values.get(slot).ok_or(TraceError::NoSlot { slot })?;
        let Some(kept) = &value.gradient else { return Ok(None) };
        if let Some(numbers) = kept.numbers() {
            let whole = ArrayD::from_shape_vec(IxDyn(&kept.shape), numbers.to_vec());
            return Ok(whole.ok().map(ArrayD::into_shared));
        }
        let Live { replay, seeds, .. } = self.live()?;
        let tape = Tape::new(replay.context().clone());
        let vars: Vec<Var<'_, f64>> = replay.onto(&tape, &[])?;
        let seeds: Vec<_> = seeds.iter().map(|(slot, d)| (vars[*slot], d.to_owned())).collect();
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Showing)?;
        Ok(grads.wrt(vars[slot]).cloned())
    }
}

/// The result with a number moved to both sides, as far as is usual or as the domain lets it.
fn moved(live: &Live, slot: usize, element: usize, x: f64) -> Result<Option<Moved>> {
    /// The step is halved so often at most.
    const HALVINGS: i32 = 40;
    let Live { replay, seeds, .. } = live;
    let result = |to: f64| -> Result<f64> {
        let mut changed = replay.values()[slot].clone();
        if let Some(number) = changed.iter_mut().nth(element) {
            *number = to;
        }
        let values = replay.run(&[(slot, changed)])?;
        let weighted = |(slot, d): &(usize, Tensor<f64>)| (d * &values[*slot]).sum();
        Ok(seeds.iter().map(weighted).sum())
    };
    let first = 1e-4 * x.abs().max(1.0);
    for halving in 0..HALVINGS {
        let h = first * 0.5_f64.powi(halving);
        let (above, below) = (result(x + h)?, result(x - h)?);
        if above.is_finite() && below.is_finite() {
            return Ok(Some(Moved { h, above, below }));
        }
    }
    Ok(None)
}
