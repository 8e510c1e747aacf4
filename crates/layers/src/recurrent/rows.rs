//! One step of a cell on plain rows, without an op around it: what a decoder's own loop over time
//! and its inference run.
//!
//! The arithmetic is that of [`CellStep`](super::CellStep), to the bit.

use std::marker::PhantomData;

use ndarray::{ArrayView2, ArrayViewMut2};
use unspool_tensor::kernels::pointwise::{Fast, Naive};
use unspool_tensor::kernels::weights::{Side, product_with_weight, sum_of_products_with_weights};
use unspool_tensor::{Context, Error, Real, Result, Tensor, vectorised};

use super::cell::{BackwardRow, Cell, CellKind};
use super::through_time::{Biases, ForwardRows, Own, Registered, RowByRow, forward_rows};
use super::{Gru, Lstm, Rnn};

/// Runs `$run` with `$C` the type of a kind of cell.
macro_rules! with_cell {
    ($kind:expr, $C:ident => $run:expr) => {
        match $kind {
            CellKind::Rnn => {
                type $C = Rnn;
                $run
            }
            CellKind::Lstm => {
                type $C = Lstm;
                $run
            }
            CellKind::Gru => {
                type $C = Gru;
                $run
            }
        }
    };
}

pub(super) use with_cell;

/// A cell of `H` hidden units with its weights.
#[derive(Clone, Debug)]
pub struct CellRows<T: Real> {
    kind: CellKind,
    hidden: usize,
    weight_ih: Tensor<T>,
    weight_hh: Tensor<T>,
    biases: Biases<T>,
}

/// What a step forward reads and writes: `N` rows, one behind the other.
pub struct StepForward<'a, T> {
    /// The input, `[N, I]`.
    pub x: ArrayView2<'a, T>,
    /// The hidden state before, `[N, H]`.
    pub h: ArrayView2<'a, T>,
    /// The cell state before, `[N, H]`; of a cell without one, no columns.
    pub c: ArrayView2<'a, T>,
    /// Out: the hidden state after, `[N, H]`.
    pub h_next: &'a mut [T],
    /// Out: the cell state after, `[N, H]`, or nothing.
    pub c_next: &'a mut [T],
    /// Out: the activated gates, `[N, G·H]`.
    pub gates: &'a mut [T],
    /// Out: what else the backward pass needs, `[N, X·H]`.
    pub extras: &'a mut [T],
    /// Scratch: `[N, G·H]` of a cell that does not sum its gates, or nothing.
    pub hidden_gates: &'a mut [T],
}

/// What a step backward reads and writes: `N` rows.
pub struct StepBackward<'a, T> {
    /// The hidden state before, `[N, H]`.
    pub h: ArrayView2<'a, T>,
    /// The cell state before, `[N, H]`, or no columns.
    pub c: ArrayView2<'a, T>,
    /// In: the activated gates. Out: the gradient of `W_ih·x + b_ih`, and `+ W_hh·h + b_hh` when the
    /// cell sums its gates. `[N, G·H]`.
    pub gates: &'a mut [T],
    /// What the forward pass kept beside them, `[N, X·H]`.
    pub extras: &'a [T],
    /// In: the gradient of the hidden state after; out: of that before. `[N, H]`.
    pub d_h: &'a mut [T],
    /// The same of the cell state, `[N, H]`, or nothing.
    pub d_c: &'a mut [T],
    /// Out: the gradient of `W_hh·h + b_hh` when it does not, `[N, G·H]`, or nothing.
    pub d_hidden_gates: &'a mut [T],
    /// Scratch of a row, `[G·H]`.
    pub scratch: &'a mut [T],
}

/// The widths of a cell's arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Of the gates: `G·H`.
    pub gates: usize,
    /// Of the hidden state's part of the gates where it is kept apart: `G·H`, or 0.
    pub hidden_gates: usize,
    /// Of what the backward pass needs beside the gates: `X·H`.
    pub extras: usize,
    /// Of the cell state: `H`, or 0.
    pub c: usize,
}

impl Widths {
    /// Of a cell of `H` hidden units.
    pub fn new(kind: CellKind, hidden: usize) -> Self {
        with_cell!(kind, C => Self::of::<C>(hidden))
    }

    #[inline(always)]
    fn of<C: Cell>(hidden: usize) -> Self {
        let gates = C::GATES * hidden;
        Widths {
            gates,
            hidden_gates: if C::SUMS_GATES { 0 } else { gates },
            extras: C::EXTRAS * hidden,
            c: if C::KIND.has_cell_state() { hidden } else { 0 },
        }
    }
}

impl<T: Real> CellRows<T> {
    /// A cell with weight_ih `[G·H, I]`, weight_hh `[G·H, H]`, bias_ih `[G·H]` and bias_hh `[G·H]`.
    ///
    /// # Errors
    /// The shapes do not fit each other.
    pub fn new(kind: CellKind, weights: [Tensor<T>; 4]) -> Result<Self> {
        let [weight_ih, weight_hh, bias_ih, bias_hh] = weights;
        let gates = kind.gates().len();
        let hidden = weight_hh.shape().last().copied().unwrap_or(0);
        let expected = [gates * hidden];
        let fits = weight_hh.shape() == [gates * hidden, hidden]
            && weight_ih.ndim() == 2
            && weight_ih.shape()[..1] == expected
            && bias_ih.shape() == expected
            && bias_hh.shape() == expected;
        if !fits || hidden == 0 {
            let problem = "are not those of the weights of a cell";
            return Err(Error::shapes(kind.name(), weight_ih.shape(), weight_hh.shape(), problem));
        }
        let [ih, hh] = [bias_ih, bias_hh].map(|bias| bias.iter().copied().collect());
        let biases = with_cell!(kind, C => Biases::new::<C>(ih, hh));
        Ok(CellRows { kind, hidden, weight_ih, weight_hh, biases })
    }

    /// The widths of its arrays.
    pub fn widths(&self) -> Widths {
        Widths::new(self.kind, self.hidden)
    }

    /// The weight of the input, `[G·H, I]`.
    pub fn weight_ih(&self) -> &Tensor<T> {
        &self.weight_ih
    }

    /// One step forward.
    pub fn forward(&self, context: &Context, step: StepForward<'_, T>) {
        with_cell!(self.kind, C => self.forward_as::<C>(context, step));
    }

    fn forward_as<C: Cell>(&self, context: &Context, step: StepForward<'_, T>) {
        let StepForward { x, h, c, h_next, c_next, gates, extras, hidden_gates } = step;
        let (rows, columns, side) = (x.nrows(), C::GATES * self.hidden, Side::Transposed);
        let sums = matrix_mut(gates, rows, columns);
        if C::SUMS_GATES {
            // gates = x·W_ihᵀ + h·W_hhᵀ
            let factors = [(x, &self.weight_ih), (h, &self.weight_hh)];
            sum_of_products_with_weights(context, factors, side, false, sums);
        } else {
            // gates = x·W_ihᵀ, hidden_gates = h·W_hhᵀ
            product_with_weight(context, x, &self.weight_ih, side, false, sums);
            let sums = matrix_mut(hidden_gates, rows, columns);
            product_with_weight(context, h, &self.weight_hh, side, false, sums);
        }
        let (h, c) = (h.to_slice().unwrap_or_default(), c.to_slice().unwrap_or_default());
        let rows = ForwardRows { gates, hidden_gates, h, c, h_next, c_next, extras };
        match T::cell_kernel(context.kernels(), C::KIND.name()) {
            Some(kernel) => rows.run::<C>(&self.biases, &Registered(kernel)),
            None if context.kernels().has_naive_pointwise() => {
                forward_rows(&self.biases, Own::<C, Naive>(Naive, PhantomData), rows);
            }
            None => forward_rows(&self.biases, Own::<C, Fast>(Fast, PhantomData), rows),
        }
    }

    /// One step backward: through the cell to the gradients of its gates and of the state before.
    /// What is left to the caller is the gradient of x, `d_gates·W_ih`, and those of the weights,
    /// which are one product over all steps.
    pub fn backward(&self, context: &Context, step: StepBackward<'_, T>) {
        with_cell!(self.kind, C => self.backward_as::<C>(context, step));
    }

    fn backward_as<C: Cell>(&self, context: &Context, mut step: StepBackward<'_, T>) {
        let count = step.h.nrows();
        match T::cell_kernel(context.kernels(), C::KIND.name()) {
            Some(kernel) => each_backward::<C, T>(&Registered(kernel), &mut step),
            None => backward_rows(Own::<C, Fast>(Fast, PhantomData), &mut step),
        }
        // hidden_gates = h·W_hhᵀ + b_hh  ⇒  d_h += d_hidden_gates·W_hh
        let StepBackward { d_h, gates: d_gates, d_hidden_gates, .. } = step;
        let d_sums = if C::SUMS_GATES { d_gates } else { d_hidden_gates };
        let d_sums = matrix(d_sums, count, C::GATES * self.hidden);
        let d_h = matrix_mut(d_h, count, self.hidden);
        product_with_weight(context, d_sums, &self.weight_hh, Side::Plain, true, d_h);
    }
}

vectorised! {
    /// The pointwise part of a step backwards.
    fn backward_rows<C: Cell, T: Real>(cell: Own<C, Fast>, step: &mut StepBackward<'_, T>) {
        each_backward::<C, T>(&cell, step);
    }
}

/// Runs `cell`, row by row.
#[inline(always)]
fn each_backward<C: Cell, T: Real>(cell: &impl RowByRow<T>, step: &mut StepBackward<'_, T>) {
    let hidden = step.h.ncols();
    let Widths { gates, hidden_gates, extras, c } = Widths::of::<C>(hidden);
    let (h_before, c_before) =
        (step.h.to_slice().unwrap_or_default(), step.c.to_slice().unwrap_or_default());
    for k in 0..step.h.nrows() {
        // The gradients come to stand where the gates did.
        let d_gates = &mut step.gates[k * gates..][..gates];
        let activated = &mut step.scratch[..gates];
        activated.copy_from_slice(d_gates);
        cell.backward(BackwardRow {
            gates: activated,
            extras: &step.extras[k * extras..][..extras],
            h: &h_before[k * hidden..][..hidden],
            c: &c_before[k * c..][..c],
            d_h: &mut step.d_h[k * hidden..][..hidden],
            d_c: &mut step.d_c[k * c..][..c],
            d_gates,
            d_hidden_gates: &mut step.d_hidden_gates[k * hidden_gates..][..hidden_gates],
        });
    }
}

/// Rows as a matrix; the callers give as many numbers as it has.
fn matrix<T>(rows: &[T], count: usize, columns: usize) -> ArrayView2<'_, T> {
    let shape = (count, columns);
    ArrayView2::from_shape(shape, rows).unwrap_or_else(|_| ndarray::aview2::<T, 0>(&[]))
}

/// As [`matrix`], to write to.
fn matrix_mut<T>(rows: &mut [T], count: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    let shape = (count, columns);
    ArrayViewMut2::from_shape(shape, rows).unwrap_or_else(|_| ArrayViewMut2::from(&mut [[]; 0]))
}
