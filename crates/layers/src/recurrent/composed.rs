//! The composed twins: the cells and sequences of this module out of primitive ops.
//!
//! They compute what the fused ops compute, one matrix product, slice and sigmoid at a time, and
//! their gradients come from the primitive ops alone. Tests hold the two equal.

use ndarray::{Array2, ArrayD};
use unspool_tensor::{Error, Real, Result, Var};

use super::CellKind;

/// The weights of one layer in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'t, T: Real> {
    /// `[G·H, I]`.
    pub weight_ih: Var<'t, T>,
    /// `[G·H, H]`.
    pub weight_hh: Var<'t, T>,
    /// `[G·H]`.
    pub bias_ih: Var<'t, T>,
    /// `[G·H]`.
    pub bias_hh: Var<'t, T>,
}

impl<'t, T: Real> Weights<'t, T> {
    /// `W_ih·x + b_ih [B, G·H]`, of `x [B, I]`.
    fn of_input(&self, x: Var<'t, T>) -> Result<Var<'t, T>> {
        let _scope = x.tape().scope("input");
        x.matmul_transposed(self.weight_ih)? + self.bias_ih
    }

    /// `W_hh·h + b_hh [B, G·H]`, of `h [B, H]`.
    fn of_hidden(&self, h: Var<'t, T>) -> Result<Var<'t, T>> {
        let _scope = h.tape().scope("hidden");
        h.matmul_transposed(self.weight_hh)? + self.bias_hh
    }
}

/// One step of the plain RNN: `x [B, I]`, `h [B, H]` to `h' [B, H]`; see [`rnn`](super::rnn).
///
/// # Errors
/// The shapes do not fit.
pub fn rnn_step<'t, T: Real>(
    x: Var<'t, T>,
    h: Var<'t, T>,
    weights: Weights<'t, T>,
) -> Result<Var<'t, T>> {
    (weights.of_input(x)? + weights.of_hidden(h)?)?.tanh()
}

/// One step of the LSTM: `x [B, I]`, `h [B, H]`, `c [B, H]` to `h'` and `c'`; see
/// [`lstm`](super::lstm).
///
/// # Errors
/// The shapes do not fit.
pub fn lstm_step<'t, T: Real>(
    x: Var<'t, T>,
    h: Var<'t, T>,
    c: Var<'t, T>,
    weights: Weights<'t, T>,
) -> Result<(Var<'t, T>, Var<'t, T>)> {
    let sums = (weights.of_input(x)? + weights.of_hidden(h)?)?;
    let i = scoped(x, "input gate", || gate(sums, h, 0)?.sigmoid())?;
    let f = scoped(x, "forget gate", || gate(sums, h, 1)?.sigmoid())?;
    let g = scoped(x, "candidate", || gate(sums, h, 2)?.tanh())?;
    let o = scoped(x, "output gate", || gate(sums, h, 3)?.sigmoid())?;
    let c_next = scoped(x, "cell state", || (f * c)? + (i * g)?)?;
    Ok((scoped(x, "hidden state", || o * c_next.tanh()?)?, c_next))
}

/// One step of the GRU: `x [B, I]`, `h [B, H]` to `h' [B, H]`; see [`gru`](super::gru).
///
/// # Errors
/// The shapes do not fit.
pub fn gru_step<'t, T: Real>(
    x: Var<'t, T>,
    h: Var<'t, T>,
    weights: Weights<'t, T>,
) -> Result<Var<'t, T>> {
    let (of_input, of_hidden) = (weights.of_input(x)?, weights.of_hidden(h)?);
    let r =
        scoped(x, "reset gate", || (gate(of_input, h, 0)? + gate(of_hidden, h, 0)?)?.sigmoid())?;
    let z =
        scoped(x, "update gate", || (gate(of_input, h, 1)? + gate(of_hidden, h, 1)?)?.sigmoid())?;
    let n =
        scoped(x, "candidate", || (gate(of_input, h, 2)? + (r * gate(of_hidden, h, 2)?)?)?.tanh())?;
    scoped(x, "hidden state", || (((-z)? + T::one())? * n)? + (z * h)?)
}

/// What `make` puts on the tape of `x`, in a scope of this name.
fn scoped<'t, T: Real>(
    x: Var<'t, T>,
    name: &str,
    make: impl FnOnce() -> Result<Var<'t, T>>,
) -> Result<Var<'t, T>> {
    let _scope = x.tape().scope(name);
    make()
}

/// The block of a gate in `sums [B, G·H]`, where `h` is `[B, H]`.
fn gate<'t, T: Real>(sums: Var<'t, T>, h: Var<'t, T>, number: usize) -> Result<Var<'t, T>> {
    let hidden = h.shape().last().copied().unwrap_or_default();
    sums.slice(1, number * hidden..(number + 1) * hidden)
}

/// One step of any cell: inputs and outputs are those of [`CellStep`](super::CellStep).
///
/// # Errors
/// The number of inputs or their shapes do not fit.
pub fn step<'t, T: Real>(
    kind: CellKind,
    active: Option<&[bool]>,
    inputs: &[Var<'t, T>],
) -> Result<Vec<Var<'t, T>>> {
    let (x, states, weights) = parts(kind, inputs)?;
    frozen_step(kind, active, x, &states, weights)
}

/// A whole sequence through any cell: inputs and outputs are those of
/// [`Sequence`](super::Sequence).
///
/// Time runs over the padded batch, and at each time the rows for which it is padding keep their
/// state. Backwards, they keep it before their last valid vector rather than after.
///
/// # Errors
/// The number of inputs or their shapes do not fit.
pub fn sequence<'t, T: Real>(
    kind: CellKind,
    lengths: Option<&[usize]>,
    reverse: bool,
    inputs: &[Var<'t, T>],
) -> Result<Vec<Var<'t, T>>> {
    let (x, mut states, weights) = parts(kind, inputs)?;
    let &[time_steps, batch, columns] = &x.shape()[..] else {
        return Err(Error::shape(kind.name(), &x.shape(), "of the inputs is not [T, B, I]"));
    };
    let times: Vec<usize> =
        if reverse { (0..time_steps).rev().collect() } else { (0..time_steps).collect() };
    let mut outputs = Vec::with_capacity(time_steps);
    for time in times {
        x.tape().at_time(Some(time));
        let active: Option<Vec<bool>> =
            lengths.map(|lengths| lengths.iter().map(|&length| time < length).collect());
        let x = x.slice(0, time..time + 1)?.reshape(&[batch, columns])?;
        states = frozen_step(kind, active.as_deref(), x, &states, weights)?;
        outputs.push(fill_rows(states[0], active.as_deref(), false)?);
    }
    x.tape().at_time(None);
    if reverse {
        outputs.reverse();
    }
    let mut all = vec![Var::stack(&outputs, 0)?];
    all.extend(states);
    Ok(all)
}

/// A step in which the rows that are not active keep their states.
fn frozen_step<'t, T: Real>(
    kind: CellKind,
    active: Option<&[bool]>,
    x: Var<'t, T>,
    states: &[Var<'t, T>],
    weights: Weights<'t, T>,
) -> Result<Vec<Var<'t, T>>> {
    // Whatever padding holds, NaN included, it enters no product.
    let x = fill_rows(x, active, false)?;
    let next = match (kind, states) {
        (CellKind::Rnn, &[h]) => vec![rnn_step(x, h, weights)?],
        (CellKind::Gru, &[h]) => vec![gru_step(x, h, weights)?],
        (CellKind::Lstm, &[h, c]) => {
            let (h, c) = lstm_step(x, h, c, weights)?;
            vec![h, c]
        }
        _ => return Err(Error::invalid(kind.name(), "was given another cell's states")),
    };
    if active.is_none() {
        return Ok(next);
    }
    (next.into_iter().zip(states))
        .map(|(next, &before)| fill_rows(next, active, false)? + fill_rows(before, active, true)?)
        .collect()
}

/// `x [B, N]` with zeros in the rows whose `active` is `fill`.
fn fill_rows<'t, T: Real>(
    x: Var<'t, T>,
    active: Option<&[bool]>,
    fill: bool,
) -> Result<Var<'t, T>> {
    let Some(active) = active else { return Ok(x) };
    let mask: ArrayD<bool> =
        Array2::from_shape_fn((active.len(), 1), |(row, _)| active[row] == fill).into_dyn();
    x.masked_fill(&mask, T::zero())
}

type Parts<'t, T> = (Var<'t, T>, Vec<Var<'t, T>>, Weights<'t, T>);

/// The inputs of an op of this module: x, the states, the weights.
fn parts<'t, T: Real>(kind: CellKind, inputs: &[Var<'t, T>]) -> Result<Parts<'t, T>> {
    match (kind.has_cell_state(), inputs) {
        (false, &[x, h, weight_ih, weight_hh, bias_ih, bias_hh]) => {
            Ok((x, vec![h], Weights { weight_ih, weight_hh, bias_ih, bias_hh }))
        }
        (true, &[x, h, c, weight_ih, weight_hh, bias_ih, bias_hh]) => {
            Ok((x, vec![h, c], Weights { weight_ih, weight_hh, bias_ih, bias_hh }))
        }
        _ => Err(Error::Count {
            op: kind.name().into(),
            what: "inputs",
            expected: if kind.has_cell_state() { 7 } else { 6 },
            found: inputs.len(),
        }),
    }
}
