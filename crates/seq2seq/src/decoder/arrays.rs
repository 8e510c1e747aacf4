//! The arrays of a decoder's steps: what they compute, and what their backward pass reads. Rows and
//! letters are those of `steps.rs`.

use std::ops::Range;

use ndarray::{ArcArray2, Array2, ArrayBase, ArrayView2, ArrayViewMut2, Data, DataMut, Ix2, s};
use unspool_layers::attention::Score;
use unspool_layers::recurrent::rows::Widths;
use unspool_tensor::{Context, Real, Tensor};

use super::plan::{Plan, Step};
use super::steps::Steps;
use crate::config::{Query, Readout};

/// What a cell computes: states after each step, and what its backward pass needs.
#[derive(Clone, Debug)]
pub(super) struct CellArrays<T> {
    /// `[B + P, H]`; those that the output layer reads are shared with it.
    pub h: ArcArray2<T>,
    /// `[B + P, H]`, or no columns.
    pub c: Array2<T>,
    /// `[P, G·H]`.
    pub gates: Array2<T>,
    /// `[P, X·H]`.
    pub extras: Array2<T>,
}

/// What the steps compute; arrays that a decoder does not have are without columns.
#[derive(Clone, Debug)]
pub(crate) struct Arrays<T: Real> {
    /// What the first cell reads: the embedding, and beside it the context or the attentional
    /// vector. `[P, E + ..]`.
    pub(super) x: Array2<T>,
    /// What the cells above read, when dropout makes it differ from the states below, `[P, H]`.
    pub(super) dropped: Vec<Array2<T>>,
    pub(super) cells: Vec<CellArrays<T>>,
    /// The projected queries, `[P, A]`.
    pub(super) query: Array2<T>,
    /// The weights of attention, `[P, heads·S]`.
    pub(super) weights: Array2<T>,
    /// What all heads saw, `[P, D]`, when the context is made of it.
    pub(super) looked: Array2<T>,
    /// `[P, M]`, when the first cell does not read it.
    pub(super) context: Array2<T>,
    /// Context and state with what is dropped, of which the attentional vector is made,
    /// `[P, M + H]`.
    pub(super) combined: Array2<T>,
    /// The attentional vectors, `[B + P, H]`; before the first step they are zero.
    pub(super) fed: ArcArray2<T>,
    /// State, context and embedding, `[P, F]`.
    pub(super) features: Array2<T>,
    /// The readout layer's activations, `[P, R]`.
    pub(super) activated: Array2<T>,
    /// What the output layer reads, `[P, R]`, unless it is the decoder's output itself.
    pub(super) read: Array2<T>,
    pub(super) hidden_gates: Vec<T>,
    pub(super) scratch: Vec<T>,
    buffers: Context,
}

impl<T: Real> Arrays<T> {
    /// The decoder's output, `[B + P, H]`.
    pub(super) fn output(&self, plan: &Plan) -> &ArcArray2<T> {
        if plan.query == Query::New { &self.fed } else { &self.cells[plan.top()].h }
    }

    /// What the output layer reads of a step, `[N, R]`.
    pub fn read(&self, plan: &Plan, step: &Step<'_>) -> ArrayView2<'_, T> {
        match plan.reads_output() {
            true => self.output(plan).slice(s![step.after..step.after + step.rows.len(), ..]),
            false => self.read.slice(s![step.rows.clone(), ..]),
        }
    }

    /// What it reads of all steps, `[P, R]`, after a batch of so many first states.
    pub fn take_read(&mut self, plan: &Plan, batch: usize) -> ArcArray2<T> {
        match plan.reads_output() {
            true => self.output(plan).clone().slice_move(s![batch.., ..]),
            false => std::mem::take(&mut self.read).into_shared(),
        }
    }

    /// The states that a step goes on from, with those after it: `[B + P, H]` each.
    pub fn carried(&mut self, plan: &Plan) -> impl Iterator<Item = ArrayViewMut2<'_, T>> {
        let (last, top) = (plan.layers - 1, plan.top());
        let cells = self.cells.iter_mut().enumerate();
        let carried = cells.filter(move |&(cell, _)| cell < last || cell == top);
        let states = carried.flat_map(|(_, cell)| [cell.h.view_mut(), cell.c.view_mut()]);
        states.chain([self.fed.view_mut()])
    }

    /// The weights of attention of a row, head by head: `[heads·S]`.
    pub fn weights(&self, row: usize) -> &[T] {
        rows(&self.weights, row..row + 1)
    }
}

impl<T: Real> Drop for Arrays<T> {
    fn drop(&mut self) {
        let Arrays { x, dropped, cells, query, weights, looked, context, buffers, .. } = self;
        let Arrays { combined, fed, features, activated, read, .. } = self;
        let all = [x, query, weights, looked, context, combined, features, activated, read];
        all.into_iter().chain(dropped).for_each(|array| release(buffers, array));
        buffers.recycle(std::mem::take(fed).into_dyn());
        for CellArrays { h, c, gates, extras } in cells {
            buffers.recycle(std::mem::take(h).into_dyn());
            [c, gates, extras].into_iter().for_each(|array| release(buffers, array));
        }
    }
}

impl<T: Real> Steps<'_, T> {
    /// Arrays for so many rows of all steps, after a batch of so many first states.
    pub fn arrays(&self, batch: usize, rows: usize) -> Arrays<T> {
        let Plan { hidden, memory, readout, query, .. } = *self.plan;
        let array = |rows: usize, columns: usize| self.context.array((rows, columns));
        let when = |condition: bool, columns: usize| if condition { columns } else { 0 };
        let Widths { gates, hidden_gates, extras, c } = Widths::new(self.plan.cell, hidden);
        let dropped = if self.plan.drops_layers() { self.plan.layers - 1 } else { 0 };
        let (score, step) = (self.plan.score, self.parts.attention.as_ref());
        let source = step.map_or(0, |([keys, _], _)| keys.shape()[1]);
        let width_of = |part: Option<&Tensor<T>>, axis: usize| part.map_or(0, |w| w.shape()[axis]);
        let projection = step.and_then(|(_, step)| step.query.as_ref());
        let out = step.and_then(|(_, step)| step.out.as_ref());
        let read = self.parts.output.shape()[1];
        let mut fed: Array2<T> = array(batch + rows, when(query == Query::New, hidden));
        fed.slice_mut(s![..batch, ..]).fill(T::zero());
        let read_apart = when(!self.plan.reads_output(), read);
        Arrays {
            x: array(rows, self.plan.input()),
            dropped: (0..dropped).map(|_| array(rows, hidden)).collect(),
            cells: (self.cells.iter())
                .map(|_| CellArrays {
                    h: array(batch + rows, hidden).into_shared(),
                    c: array(batch + rows, c),
                    gates: array(rows, gates),
                    extras: array(rows, extras),
                })
                .collect(),
            query: array(rows, width_of(projection, 0)),
            weights: array(rows, score.map_or(0, Score::heads) * source),
            looked: array(rows, width_of(out, 1)),
            context: array(rows, when(query != Query::Previous, memory)),
            combined: array(rows, when(query == Query::New, memory + hidden)),
            fed: fed.into_shared(),
            features: array(rows, when(readout != Readout::State, self.plan.features())),
            activated: array(rows, when(readout == Readout::Tanh, read)),
            read: array(rows, read_apart),
            hidden_gates: vec![T::zero(); batch * hidden_gates],
            scratch: Vec::new(),
            buffers: self.context.clone(),
        }
    }

    /// Puts the first states `[B, H]` of the layers, hidden and cell states, before the first step.
    pub fn start(&self, arrays: &mut Arrays<T>, h: &[Array2<T>], c: &[Array2<T>]) {
        for layer in 0..self.plan.layers {
            let last = layer + 1 == self.plan.layers;
            let cell = &mut arrays.cells[if last { self.plan.top() } else { layer }];
            let states = [(cell.h.view_mut(), h.get(layer)), (cell.c.view_mut(), c.get(layer))];
            for (mut states, first) in states {
                let Some(first) = first else { continue };
                states.slice_mut(s![..first.nrows(), ..]).assign(first);
            }
        }
    }
}

/// The next arrays have the memory.
pub(super) fn release<T: Real>(context: &Context, array: &mut Array2<T>) {
    context.recycle(std::mem::take(array).into_dyn().into_shared());
}

/// Whole rows of an array that was made here, and so is in standard layout.
pub(super) fn rows<T, S: Data<Elem = T>>(array: &ArrayBase<S, Ix2>, rows: Range<usize>) -> &[T] {
    let columns = array.ncols();
    &array.as_slice().unwrap_or_default()[rows.start * columns..rows.end * columns]
}

/// As [`rows`], to write to.
pub(super) fn rows_mut<T, S: DataMut<Elem = T>>(
    array: &mut ArrayBase<S, Ix2>,
    rows: Range<usize>,
) -> &mut [T] {
    let columns = array.ncols();
    &mut array.as_slice_mut().unwrap_or_default()[rows.start * columns..rows.end * columns]
}
