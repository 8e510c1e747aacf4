//! The gated recurrent unit (Cho et al., "Learning phrase representations using RNN encoder-decoder
//! for statistical machine translation", 2014): the cell's forward pass and, beneath it, its
//! backward pass.
//!
//! With σ the logistic function, ⊙ the product unit by unit, and each weight a block of `H` rows of
//! `weight_ih [3·H, I]`, `weight_hh [3·H, H]`, `bias_ih [3·H]`, `bias_hh [3·H]`, in the order
//! r, z, n (PyTorch's):
//!
//! ```text
//! r  = σ(W_ir·x + b_ir + W_hr·h + b_hr)            reset gate
//! z  = σ(W_iz·x + b_iz + W_hz·h + b_hz)            update gate
//! n  = tanh(W_in·x + b_in + r⊙(W_hn·h + b_hn))     new gate, the candidate
//! h' = (1 - z)⊙n + z⊙h
//! ```
//!
//! The reset gate stands after the product with `W_hn`, as in PyTorch and cuDNN; in the paper it
//! stands before: `W_hn·(r⊙h)`.

use unspool_tensor::Real;
use unspool_tensor::kernels::pointwise::Functions;

use super::cell::{BackwardRow, Cell, CellKind, ForwardRow, blocks, blocks_mut};

/// The GRU cell.
#[derive(Clone, Copy, Debug)]
pub struct Gru;

impl Cell for Gru {
    const KIND: CellKind = CellKind::Gru;
    const STEP: &'static str = "gru_step";
    const EXTRAS: usize = 1;
    const SUMS_GATES: bool = false;

    #[inline(always)]
    fn forward<T: Real>(functions: impl Functions<T>, row: ForwardRow<'_, T>) {
        gru_forward(functions, row);
    }

    #[inline(always)]
    fn backward<T: Real>(row: BackwardRow<'_, T>) {
        gru_backward(row);
    }
}

/// The GRU's forward pass, one row: from the parts `x_r, x_z, x_n [H]` that the input has in the
/// gates, the parts `h_r, h_z, h_n [H]` that the hidden state has, and `h [H]`, to
///
/// ```text
/// r = σ(x_r + h_r)   z = σ(x_z + h_z)   n = tanh(x_n + r⊙h_n)
/// h' = (1 - z)⊙n + z⊙h
/// ```
///
/// Kept for the backward pass: r, z and n in the place of the input's parts, and `h_n`.
#[inline(always)]
pub fn gru_forward<T: Real>(functions: impl Functions<T>, row: ForwardRow<'_, T>) {
    let hidden = row.h_next.len();
    let [x_r, x_z, x_n] = blocks_mut(row.gates, hidden);
    let [h_r, h_z, h_n] = blocks(row.hidden_gates, hidden);
    row.extras.copy_from_slice(h_n);
    units(functions, x_r, x_z, x_n, h_r, h_z, h_n, &row.h[..hidden], &mut row.h_next[..hidden]);

    /// All units. Arrays that are arguments are known to be apart, and so the loop is vectorised.
    #[inline(always)]
    fn units<T: Real>(
        functions: impl Functions<T>,
        x_r: &mut [T],
        x_z: &mut [T],
        x_n: &mut [T],
        h_r: &[T],
        h_z: &[T],
        h_n: &[T],
        h: &[T],
        h_next: &mut [T],
    ) {
        for unit in 0..h_next.len() {
            let r = functions.sigmoid(x_r[unit] + h_r[unit]);
            let z = functions.sigmoid(x_z[unit] + h_z[unit]);
            let n = functions.tanh(x_n[unit] + r * h_n[unit]);
            h_next[unit] = (T::one() - z) * n + z * h[unit];
            (x_r[unit], x_z[unit], x_n[unit]) = (r, z, n);
        }
    }
}

/// The GRU's backward pass, one row: from `d_h'` to the gradients of both parts of the gates, and
/// of the `h` in `z⊙h`.
#[inline(always)]
pub fn gru_backward<T: Real>(row: BackwardRow<'_, T>) {
    let one = T::one();
    let hidden = row.d_h.len();
    let [r, z, n] = blocks(row.gates, hidden);
    let [d_x_r, d_x_z, d_x_n] = blocks_mut(row.d_gates, hidden);
    let [d_h_r, d_h_z, d_h_n] = blocks_mut(row.d_hidden_gates, hidden);
    let (h_n, h, d_h) = (&row.extras[..hidden], &row.h[..hidden], &mut row.d_h[..hidden]);
    for unit in 0..hidden {
        let (r, z, n) = (r[unit], z[unit], n[unit]);
        let d_h_next = d_h[unit];
        // h' = (1 - z)⊙n + z⊙h  ⇒  d_n = d_h'·(1 - z), d_z = d_h'·(h - n), d_h = d_h'·z
        let d_n = d_h_next * (one - z);
        let d_z = d_h_next * (h[unit] - n);
        d_h[unit] = d_h_next * z;
        // n = tanh(x_n + r⊙h_n)  ⇒  d_x_n = d_n·(1 - n²), d_r = d_x_n·h_n, d_h_n = d_x_n·r
        let d_a_n = d_n * (one - n * n);
        let d_r = d_a_n * h_n[unit];
        d_x_n[unit] = d_a_n;
        d_h_n[unit] = d_a_n * r;
        // z = σ(x_z + h_z)  ⇒  d_x_z = d_h_z = d_z·z·(1 - z), and so r
        let d_a_z = d_z * z * (one - z);
        (d_x_z[unit], d_h_z[unit]) = (d_a_z, d_a_z);
        let d_a_r = d_r * r * (one - r);
        (d_x_r[unit], d_h_r[unit]) = (d_a_r, d_a_r);
    }
}
