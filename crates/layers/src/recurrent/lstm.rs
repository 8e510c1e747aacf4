//! Long short-term memory (Hochreiter and Schmidhuber, 1997) with a forget gate (Gers, Schmidhuber
//! and Cummins, 2000): the cell's forward pass and, beneath it, its backward pass.
//!
//! With σ the logistic function, ⊙ the product unit by unit, and each weight a block of `H` rows of
//! `weight_ih [4·H, I]`, `weight_hh [4·H, H]`, `bias_ih [4·H]`, `bias_hh [4·H]`, in the order
//! i, f, g, o (PyTorch's):
//!
//! ```text
//! i  = σ(W_ii·x + b_ii + W_hi·h + b_hi)        input gate
//! f  = σ(W_if·x + b_if + W_hf·h + b_hf)        forget gate
//! g  = tanh(W_ig·x + b_ig + W_hg·h + b_hg)     cell gate, the candidate
//! o  = σ(W_io·x + b_io + W_ho·h + b_ho)        output gate
//! c' = f⊙c + i⊙g
//! h' = o⊙tanh(c')
//! ```

use unspool_tensor::Real;
use unspool_tensor::kernels::pointwise::Functions;

use super::cell::{BackwardRow, Cell, CellKind, ForwardRow, blocks, blocks_mut};

/// The LSTM cell.
#[derive(Clone, Copy, Debug)]
pub struct Lstm;

impl Cell for Lstm {
    const KIND: CellKind = CellKind::Lstm;
    const STEP: &'static str = "lstm_step";
    const EXTRAS: usize = 1;
    const SUMS_GATES: bool = true;

    #[inline(always)]
    fn forward<T: Real>(functions: impl Functions<T>, row: ForwardRow<'_, T>) {
        lstm_forward(functions, row);
    }

    #[inline(always)]
    fn backward<T: Real>(row: BackwardRow<'_, T>) {
        lstm_backward(row);
    }
}

/// The LSTM's forward pass, one row: from the gates' sums `a_i, a_f, a_g, a_o [H]` and `c [H]` to
///
/// ```text
/// i = σ(a_i)   f = σ(a_f)   g = tanh(a_g)   o = σ(a_o)
/// c' = f⊙c + i⊙g
/// h' = o⊙tanh(c')
/// ```
///
/// Kept for the backward pass: i, f, g and o in the place of their sums, and `tanh(c')`.
#[inline(always)]
pub fn lstm_forward<T: Real>(functions: impl Functions<T>, row: ForwardRow<'_, T>) {
    let hidden = row.h_next.len();
    let [i, f, g, o] = blocks_mut(row.gates, hidden);
    let (c, c_next) = (&row.c[..hidden], &mut row.c_next[..hidden]);
    let (tanh_c, h_next) = (&mut row.extras[..hidden], &mut row.h_next[..hidden]);
    for unit in 0..hidden {
        i[unit] = functions.sigmoid(i[unit]);
        f[unit] = functions.sigmoid(f[unit]);
        g[unit] = functions.tanh(g[unit]);
        o[unit] = functions.sigmoid(o[unit]);
        c_next[unit] = f[unit] * c[unit] + i[unit] * g[unit];
        tanh_c[unit] = functions.tanh(c_next[unit]);
        h_next[unit] = o[unit] * tanh_c[unit];
    }
}

/// The LSTM's backward pass, one row: from `d_h'` and `d_c'` to the gradients of the gates' sums
/// and of `c`.
#[inline(always)]
pub fn lstm_backward<T: Real>(row: BackwardRow<'_, T>) {
    let one = T::one();
    let hidden = row.d_h.len();
    let [i, f, g, o] = blocks(row.gates, hidden);
    let [d_a_i, d_a_f, d_a_g, d_a_o] = blocks_mut(row.d_gates, hidden);
    let (tanh_c, c) = (&row.extras[..hidden], &row.c[..hidden]);
    let (d_h, d_c) = (&mut row.d_h[..hidden], &mut row.d_c[..hidden]);
    for unit in 0..hidden {
        let (i, f, g, o) = (i[unit], f[unit], g[unit], o[unit]);
        let (tanh_c, d_h_next) = (tanh_c[unit], d_h[unit]);
        // h' = o⊙tanh(c')  ⇒  d_o = d_h'·tanh(c'), and c' is reached by h' too:
        let d_o = d_h_next * tanh_c;
        let d_c_next = d_c[unit] + d_h_next * o * (one - tanh_c * tanh_c);
        // c' = f⊙c + i⊙g  ⇒  d_f = d_c'·c, d_c = d_c'·f, d_i = d_c'·g, d_g = d_c'·i
        let d_f = d_c_next * c[unit];
        let d_i = d_c_next * g;
        let d_g = d_c_next * i;
        d_c[unit] = d_c_next * f;
        // i = σ(a_i)  ⇒  d_a_i = d_i·i·(1 - i), and so f and o
        d_a_i[unit] = d_i * i * (one - i);
        d_a_f[unit] = d_f * f * (one - f);
        d_a_o[unit] = d_o * o * (one - o);
        // g = tanh(a_g)  ⇒  d_a_g = d_g·(1 - g²)
        d_a_g[unit] = d_g * (one - g * g);
        // h reaches h' and c' only through W_hh·h.
        d_h[unit] = T::zero();
    }
}
