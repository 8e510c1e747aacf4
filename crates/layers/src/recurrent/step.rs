//! One step of a cell as an op: what a decoder runs, step by step.

use unspool_tensor::op::Forward;
use unspool_tensor::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

use super::cell::Cell;
use super::composed;
use super::through_time::{self, Unrolled};

/// One step of a cell, for all rows of a batch.
///
/// Inputs: x `[B, I]`, h `[B, H]`, c `[B, H]` when the cell has it, weight_ih `[G·H, I]`, weight_hh
/// `[G·H, H]`, bias_ih `[G·H]`, bias_hh `[G·H]`. Outputs: the new h `[B, H]`, and c when the cell
/// has it.
#[derive(Clone, Debug)]
pub struct CellStep<C> {
    /// The cell.
    pub cell: C,
    /// Which rows take the step, `[B]`; the state of the others stays, and their x is not looked
    /// at. All without it.
    pub active: Option<Vec<bool>>,
}

impl<C: Cell> CellStep<C> {
    /// A step that all rows take.
    pub fn new(cell: C) -> Self {
        CellStep { cell, active: None }
    }
}

impl<C: Cell, T: Real> Op<T> for CellStep<C> {
    type Saved = Unrolled<T>;

    fn name(&self) -> &'static str {
        C::STEP
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        if let Some(x) = inputs.first().filter(|x| x.ndim() != 2) {
            return Err(Error::shape(C::STEP, x.shape(), "of the inputs is not [B, I]"));
        }
        if let (Some(active), Some(x)) = (&self.active, inputs.first())
            && active.len() != x.shape()[0]
        {
            let problem = format!("{} active flags for a batch of {}", active.len(), x.shape()[0]);
            return Err(Error::invalid(C::STEP, problem));
        }
        // A row that takes no step is a sequence of length 0.
        let lengths: Option<Vec<usize>> = (self.active.as_ref())
            .map(|active| active.iter().map(|&active| usize::from(active)).collect());
        let lengths = lengths.as_deref();
        let saved = through_time::forward::<C, T>(C::STEP, context, inputs, lengths, false)?;
        Ok((saved.last_states(), saved))
    }

    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        <Self as Op<T>>::backward_once(self, context, saved.clone(), d_outputs, sink)
    }

    fn backward_once(
        &self,
        context: &Context,
        saved: Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let d_c = C::KIND.has_cell_state().then(|| d_outputs.dense(1));
        through_time::backward::<C, T>(
            context,
            saved,
            None,
            &d_outputs.dense(0),
            d_c.as_ref(),
            sink,
        )
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        composed::step(C::KIND, self.active.as_deref(), inputs).map(Some)
    }
}
