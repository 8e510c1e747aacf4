//! The pointwise part of a recurrent cell, for one row of a batch: what a kernel of your own may do
//! in the place of the layers' functions.
//!
//! Which gates there are, what they are called and what is kept for the backward pass is the cell's
//! own: `unspool_layers::recurrent` has the functions that are the specification, and
//! `conformance`, which tells whether a kernel agrees with them.

use std::fmt::Debug;
use std::sync::Arc;

use crate::Real;

/// A variant of a cell's pointwise arithmetic. Implement it to bring your own, and register it by
/// [`Kernels::with_cell`](super::Kernels::with_cell).
///
/// A row's numbers must depend on that row alone.
pub trait CellKernel<T: Real>: Debug + Send + Sync {
    /// What it is called in listings and checkpoints.
    fn name(&self) -> &str;

    /// Which cell it is for: `"rnn"`, `"lstm"` or `"gru"`.
    fn cell(&self) -> &str;

    /// One row forward.
    fn forward(&self, row: ForwardRow<'_, T>);

    /// One row backward.
    fn backward(&self, row: BackwardRow<'_, T>);
}

/// How many blocks of `H` numbers a row of each array of a cell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellLayout {
    /// Of the gates, `G`.
    pub gates: usize,
    /// Of `W_hh·h + b_hh`: `G`, or 0 when the cell sums its gates.
    pub hidden_gates: usize,
    /// Of what is kept for the backward pass beside the gates.
    pub extras: usize,
    /// Of the hidden state before: 0 when the pointwise part does not look at it.
    pub hidden_states: usize,
    /// Of the cell state: 0 when there is none.
    pub cell_states: usize,
}

/// What the kernels of a cell are measured against.
#[derive(Clone, Debug)]
pub struct CellReference {
    /// The cell's arrays.
    pub layout: CellLayout,
    /// The specification.
    pub kernel: Arc<dyn CellKernel<f64>>,
}

/// One row of a cell's forward pass.
pub struct ForwardRow<'a, T> {
    /// In: `W_ih·x + b_ih`, and `+ W_hh·h + b_hh` when the cell sums its gates. Out: the activated
    /// gates. `[G·H]`.
    pub gates: &'a mut [T],
    /// `W_hh·h + b_hh [G·H]`; empty when the cell sums its gates.
    pub hidden_gates: &'a [T],
    /// The hidden state before, `[H]`.
    pub h: &'a [T],
    /// The cell state before, `[H]`.
    pub c: &'a [T],
    /// Out: the hidden state after, `[H]`.
    pub h_next: &'a mut [T],
    /// Out: the cell state after, `[H]`.
    pub c_next: &'a mut [T],
    /// Out: what else the backward pass needs, `[EXTRAS·H]`.
    pub extras: &'a mut [T],
}

/// One row of a cell's backward pass.
///
/// The gradients here are assigned, not added to as an op's are: each row of a step's gates and
/// states has one reader, and what belongs to more than one row, the weights, is added by
/// the layer in one product over all steps.
pub struct BackwardRow<'a, T> {
    /// The activated gates, `[G·H]`.
    pub gates: &'a [T],
    /// What the forward pass kept beside them, `[EXTRAS·H]`.
    pub extras: &'a [T],
    /// The hidden state before, `[H]`.
    pub h: &'a [T],
    /// The cell state before, `[H]`.
    pub c: &'a [T],
    /// In: the gradient of the hidden state after. Out: that of the hidden state before, but for
    /// what comes through `W_hh·h`. `[H]`.
    pub d_h: &'a mut [T],
    /// In: the gradient of the cell state after. Out: that of the cell state before. `[H]`.
    pub d_c: &'a mut [T],
    /// Out: the gradient of `gates` as given to the forward pass, `[G·H]`.
    pub d_gates: &'a mut [T],
    /// Out: the gradient of `hidden_gates`, `[G·H]`; empty when the cell sums its gates.
    pub d_hidden_gates: &'a mut [T],
}
