//! A whole sequence through a cell, in one direction, as one op.

use unspool_tensor::op::Forward;
use unspool_tensor::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

use super::cell::Cell;
use super::composed;
use super::through_time::{self, Unrolled};

/// A whole sequence through a cell: backpropagation through time in one op.
///
/// Inputs: x `[T, B, I]`, the initial h `[B, H]`, and c `[B, H]` when the cell has it, weight_ih
/// `[G·H, I]`, weight_hh `[G·H, H]`, bias_ih `[G·H]`, bias_hh `[G·H]`. Outputs: the hidden states
/// `[T, B, H]`, the final h `[B, H]`, and c when the cell has it.
///
/// With lengths, a row ends at its own: its final state is the one there, and beyond it the output
/// is zero. What the padding holds, NaN included, reaches no state, output or gradient.
#[derive(Clone, Debug)]
pub struct Sequence<C> {
    /// The cell.
    pub cell: C,
    /// How many vectors of each row are valid, `[B]`, each from 0 to T; all without it.
    pub lengths: Option<Vec<usize>>,
    /// Read each row from its last valid vector to its first.
    pub reverse: bool,
}

impl<C: Cell> Sequence<C> {
    /// All rows of full length, read forwards.
    pub fn new(cell: C) -> Self {
        Sequence { cell, lengths: None, reverse: false }
    }
}

impl<C: Cell, T: Real> Op<T> for Sequence<C> {
    type Saved = Unrolled<T>;

    fn name(&self) -> &'static str {
        C::KIND.name()
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let op = C::KIND.name();
        if let Some(x) = inputs.first().filter(|x| x.ndim() != 3) {
            return Err(Error::shape(op, x.shape(), "of the inputs is not [T, B, I]"));
        }
        let lengths = self.lengths.as_deref();
        let saved = through_time::forward::<C, T>(op, context, inputs, lengths, self.reverse)?;
        let mut outputs = vec![saved.output()?];
        outputs.extend(saved.last_states());
        Ok((outputs, saved))
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
        let d_c = C::KIND.has_cell_state().then(|| d_outputs.dense(2));
        through_time::backward::<C, T>(
            context,
            saved,
            d_outputs.get(0),
            &d_outputs.dense(1),
            d_c.as_ref(),
            sink,
        )
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        composed::sequence(C::KIND, self.lengths.as_deref(), self.reverse, inputs).map(Some)
    }
}
