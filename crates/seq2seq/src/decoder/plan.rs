//! How a decoder is built, and where the rows of its steps stand: no numbers of its own.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use unspool_layers::attention::Score;
use unspool_layers::recurrent::CellKind;
use unspool_tensor::Real;
use unspool_tensor::kernels::dropout::drop_units;
use unspool_tensor::random::Key;

use crate::config::{Query, Readout};

/// How a decoder is built; no numbers.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub cell: CellKind,
    pub layers: usize,
    /// E.
    pub embedding: usize,
    /// H.
    pub hidden: usize,
    /// M, the length of a context; 0 without attention.
    pub memory: usize,
    pub query: Query,
    pub readout: Readout,
    pub score: Option<Score>,
    /// What drops in training.
    pub masks: Option<Masks>,
}

/// A rate of dropout and its site's key.
pub(crate) type Mask = (f64, Key);

/// Dropout at each of a decoder's sites; a rate of 0 drops nothing.
#[derive(Clone, Debug)]
pub(crate) struct Masks {
    pub embedding: Mask,
    /// Of the outputs of all layers but the last.
    pub layers: Vec<Mask>,
    /// Of context and state, of which the attentional vector is made.
    pub attentional: Mask,
    /// Of the attentional vector as the next step reads it.
    pub fed: Mask,
    pub readout: Mask,
    /// The number, in the whole batch, of the first row.
    pub first_example: usize,
}

impl Plan {
    /// The length of what the first cell reads.
    pub(super) fn input(&self) -> usize {
        self.embedding
            + match self.query {
                Query::Previous => self.memory,
                Query::New => self.hidden,
                Query::Between => 0,
            }
    }

    /// The length of state, context and embedding side by side.
    pub(super) fn features(&self) -> usize {
        self.hidden + self.memory + self.embedding
    }

    /// Which cell's states the top layer goes on from.
    pub(super) fn top(&self) -> usize {
        match self.query {
            Query::Between => self.layers,
            Query::Previous | Query::New => self.layers - 1,
        }
    }

    /// Whether what a layer gives is dropped before the next one reads it.
    pub(super) fn drops_layers(&self) -> bool {
        self.masks.as_ref().is_some_and(|masks| masks.layers.iter().any(|&(rate, _)| rate > 0.0))
    }

    /// Whether the output layer reads the decoder's output itself.
    pub(super) fn reads_output(&self) -> bool {
        let drops = self.masks.as_ref().is_some_and(|masks| masks.readout.0 > 0.0);
        self.readout == Readout::State && !drops
    }

    /// The contexts of some rows: the last columns of what the first cell reads, or an array of their
    /// own.
    pub(super) fn contexts<'a, T>(
        &self,
        x: &'a Array2<T>,
        own: &'a Array2<T>,
        rows: Range<usize>,
    ) -> ArrayView2<'a, T> {
        match self.query {
            Query::Previous => x.slice(s![rows, self.embedding..]),
            Query::New | Query::Between => own.slice(s![rows, ..]),
        }
    }

    /// As [`contexts`](Plan::contexts), to write to.
    pub(super) fn contexts_mut<'a, T>(
        &self,
        x: &'a mut Array2<T>,
        own: &'a mut Array2<T>,
        rows: Range<usize>,
    ) -> ArrayViewMut2<'a, T> {
        match self.query {
            Query::Previous => x.slice_mut(s![rows, self.embedding..]),
            Query::New | Query::Between => own.slice_mut(s![rows, ..]),
        }
    }

    /// Drops units of a step's rows, or of their gradients.
    pub(super) fn drop<T: Real>(
        &self,
        site: impl Fn(&Masks) -> Mask,
        mut units: ArrayViewMut2<'_, T>,
        step: &Step<'_>,
    ) {
        let Some(masks) = &self.masks else { return };
        let (rate, key) = site(masks);
        if rate == 0.0 {
            return;
        }
        for (mut units, &sequence) in units.outer_iter_mut().zip(step.sequences) {
            let units = units.as_slice_mut().unwrap_or_default();
            drop_units(units, rate, key, step.time, masks.first_example + sequence);
        }
    }
}

/// Where a step's rows are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step<'a> {
    /// Among the rows of all steps.
    pub rows: Range<usize>,
    /// The first of the states before it.
    pub before: usize,
    /// The first of the states after it.
    pub after: usize,
    /// When it is.
    pub time: usize,
    /// Of each row, its sequence: a row of the memory.
    pub sequences: &'a [usize],
}
