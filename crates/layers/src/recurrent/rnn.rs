//! The plain recurrent network (Elman, 1990): `h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh)`.

use unspool_tensor::Real;
use unspool_tensor::kernels::pointwise::Functions;

use super::cell::{BackwardRow, Cell, CellKind, ForwardRow};

/// The plain cell with tanh; its one gate is the new hidden state.
#[derive(Clone, Copy, Debug)]
pub struct Rnn;

impl Cell for Rnn {
    const KIND: CellKind = CellKind::Rnn;
    const STEP: &'static str = "rnn_step";
    const EXTRAS: usize = 0;
    const SUMS_GATES: bool = true;

    #[inline(always)]
    fn forward<T: Real>(functions: impl Functions<T>, row: ForwardRow<'_, T>) {
        rnn_forward(functions, row);
    }

    #[inline(always)]
    fn backward<T: Real>(row: BackwardRow<'_, T>) {
        rnn_backward(row);
    }
}

/// The RNN's forward pass, one row: from the gate's sum `a [H]` to
///
/// ```text
/// h' = tanh(a)
/// ```
///
/// Kept for the backward pass: `h'`, in the place of the sum.
#[inline(always)]
pub fn rnn_forward<T: Real>(functions: impl Functions<T>, row: ForwardRow<'_, T>) {
    for unit in 0..row.h_next.len() {
        let h_next = functions.tanh(row.gates[unit]);
        (row.gates[unit], row.h_next[unit]) = (h_next, h_next);
    }
}

/// The RNN's backward pass, one row: from `d_h'` to the gradient of the gate's sum.
#[inline(always)]
pub fn rnn_backward<T: Real>(row: BackwardRow<'_, T>) {
    let one = T::one();
    for unit in 0..row.d_h.len() {
        let h_next = row.gates[unit];
        // h' = tanh(a)  ⇒  d_a = d_h'·(1 - h'²)
        row.d_gates[unit] = row.d_h[unit] * (one - h_next * h_next);
        // h reaches h' only through W_hh·h.
        row.d_h[unit] = T::zero();
    }
}
