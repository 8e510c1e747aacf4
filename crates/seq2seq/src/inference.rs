//! Inference: the decoder's steps without a tape, for any search of `unspool-decode`.
//!
//! The arithmetic is that of training (`decoder/steps.rs`), in arrays that are written over from step
//! to step.

use std::sync::Arc;

use ndarray::{Array2, Axis, s};
use unspool_decode::{StepModel, StepOutput};
use unspool_layers::Bound;
use unspool_layers::attention::Score;
use unspool_layers::recurrent::CellRows;
use unspool_tensor::shape::standard;
use unspool_tensor::{Context, Error, Real, Tape, Tensor};

use crate::batch::SourceBatch;
use crate::decoder::arrays::Arrays;
use crate::decoder::parts::Parts;
use crate::decoder::plan::{Plan, Step};
use crate::decoder::steps::Steps;
use crate::vocabulary::Token;
use crate::{ModelError, Result, Seq2Seq};

/// What a model remembers of each row of a batch while it decodes.
///
/// Keys and values of attention are there once for each source, however many rows look at them.
#[derive(Clone, Debug)]
pub struct InferenceState<T: Real> {
    decoder: Arc<BoundDecoder<T>>,
    /// The states before a step in rows 0 to `capacity`, and those after it from there on.
    arrays: Arrays<T>,
    capacity: usize,
    /// Whether the states after the last step are still to become those before the next.
    stepped: bool,
    /// Of each row, the source that it translates.
    sources: Vec<usize>,
    sources_before: Vec<usize>,
    time: usize,
    /// The scores of a step, `[capacity, V]`, and those of a row without its logarithm.
    logits: Array2<T>,
    scratch: Vec<T>,
}

/// A decoder with the weights and the memory of one search.
#[derive(Debug)]
struct BoundDecoder<T: Real> {
    plan: Plan,
    parts: Parts<Tensor<T>>,
    cells: Vec<CellRows<T>>,
    lengths: Arc<[usize]>,
    /// What the steps run with; it knows the packed weights.
    context: Context,
}

impl<T: Real> BoundDecoder<T> {
    fn steps(&self) -> Result<Steps<'_, T>> {
        let BoundDecoder { plan, parts, cells, lengths, context } = self;
        Ok(Steps::new(context, plan, parts, cells, lengths)?)
    }
}

impl<T: Real> Seq2Seq<T> {
    /// Encodes sources: the state from which a search starts, one row for each.
    ///
    /// # Errors
    /// The sources are of another kind than the model's.
    pub fn encode(&self, source: &SourceBatch) -> Result<InferenceState<T>> {
        self.encode_with(self.context(), source)
    }

    /// As [`encode`](Self::encode), with a context of its own, which the steps then have too.
    ///
    /// # Errors
    /// The sources are of another kind than the model's.
    pub fn encode_with(
        &self,
        context: &Context,
        source: &SourceBatch,
    ) -> Result<InferenceState<T>> {
        let tape = Tape::inference(context.clone());
        let bound = Bound::evaluation(&tape, self.params());
        let encoded = self.encoder().forward(bound, source, self.statistics())?;
        let memory = self.decoder().prepare(bound, encoded.memory, &source.lengths)?;
        let first = self.bridge().forward(bound, &encoded, &source.lengths)?;
        let (plan, parts) = self.decoder().parts(bound, memory.as_ref(), &first)?;
        let parts = parts.map(|part| standard(&part.value()));
        let (cells, context) = (parts.cells(&plan)?, tape.context().clone());
        let lengths = memory.map_or_else(Arc::default, |memory| memory.lengths);
        let decoder = BoundDecoder { plan, parts, cells, lengths, context };
        InferenceState::new(Arc::new(decoder), source.len())
    }
}

impl<T: Real> InferenceState<T> {
    /// The state before the first step: a row for each source.
    fn new(decoder: Arc<BoundDecoder<T>>, sources: usize) -> Result<Self> {
        let steps = decoder.steps()?;
        let mut arrays = steps.arrays(sources, sources);
        let matrices = |states: &[Tensor<T>]| -> Vec<Array2<T>> {
            let matrices = states.iter().map(|x| x.to_owned().into_dimensionality());
            matrices.filter_map(|matrix| matrix.ok()).collect()
        };
        steps.start(&mut arrays, &matrices(&decoder.parts.h), &matrices(&decoder.parts.c));
        let logits = Array2::zeros((sources, steps.vocabulary()));
        Ok(InferenceState {
            arrays,
            capacity: sources,
            stepped: false,
            sources: (0..sources).collect(),
            sources_before: Vec::new(),
            time: 0,
            logits,
            scratch: vec![T::zero(); steps.vocabulary()],
            decoder,
        })
    }

    /// The states after the last step become those before the next.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.stepped) {
            return;
        }
        let (rows, capacity) = (self.sources.len(), self.capacity);
        for states in self.arrays.carried(&self.decoder.plan) {
            let (mut before, after) = states.split_at(Axis(0), capacity);
            before.slice_mut(s![..rows, ..]).assign(&after.slice(s![..rows, ..]));
        }
    }

    /// Room for so many rows.
    fn grow(&mut self, rows: usize) -> Result<()> {
        self.settle();
        let steps = self.decoder.steps()?;
        let mut arrays = steps.arrays(rows, rows);
        let plan = &self.decoder.plan;
        for (mut new, old) in arrays.carried(plan).zip(self.arrays.carried(plan)) {
            let kept = s![..self.capacity, ..];
            new.slice_mut(kept).assign(&old.slice(kept));
        }
        self.logits = Array2::zeros((rows, self.logits.ncols()));
        (self.arrays, self.capacity) = (arrays, rows);
        Ok(())
    }
}

impl<T: Real> StepModel for Seq2Seq<T> {
    type State = InferenceState<T>;
    type Error = ModelError;

    fn vocabulary(&self) -> usize {
        self.target().size()
    }

    fn step(&self, tokens: &[Token], state: &mut Self::State, out: &mut StepOutput) -> Result<()> {
        state.settle();
        let InferenceState { decoder, arrays, capacity, sources, time, logits, scratch, .. } =
            state;
        let steps = decoder.steps()?;
        if tokens.len() != sources.len() {
            let problem = format!("{} tokens for a batch of {}", tokens.len(), sources.len());
            return Err(ModelError::Input(problem));
        }
        let words = decoder.parts.embedding.shape()[0];
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= words) {
            let problem = format!("token {token} is not in a table of {words} rows");
            return Err(Error::invalid("embedding", problem).into());
        }
        let rows = tokens.len();
        let step =
            Step { rows: 0..rows, before: 0, after: *capacity, time: *time, sequences: sources };
        steps.forward(arrays, tokens, &step);
        steps.read(arrays, std::slice::from_ref(&step));
        let mut logits = logits.slice_mut(s![..rows, ..]);
        steps.logits(arrays.read(&decoder.plan, &step), logits.view_mut());
        let kernel = T::row_kernel(decoder.context.kernels());
        for row in logits.outer_iter() {
            let row = row.to_slice().unwrap_or_default();
            let (top, log_sum) = kernel.log_normaliser(row, scratch);
            let log_probs = row.iter().map(|&x| ((x - top) - log_sum).to_f64() as f32);
            out.log_probs.push_row(log_probs);
        }
        if let (true, Some(score)) = (out.wants_attention(), decoder.plan.score) {
            for (row, &source) in sources.iter().enumerate() {
                let written = out.attention.push(decoder.lengths[source]);
                mean_over_heads(arrays.weights(row), score, written);
            }
        }
        (state.stepped, state.time) = (true, state.time + 1);
        Ok(())
    }

    fn reorder(&self, state: &mut Self::State, origins: &[usize]) -> Result<()> {
        let rows = state.sources.len();
        if let Some(origin) = origins.iter().find(|&&origin| origin >= rows) {
            let problem = format!("row {origin} does not exist in a batch of {rows}");
            return Err(ModelError::Input(problem));
        }
        if origins.len() > state.capacity {
            state.grow(origins.len())?;
        }
        let (stepped, capacity) = (state.stepped, state.capacity);
        for states in state.arrays.carried(&state.decoder.plan) {
            let (mut before, mut after) = states.split_at(Axis(0), capacity);
            let (from, to) =
                if stepped { (&mut after, &mut before) } else { (&mut before, &mut after) };
            for (mut to, &origin) in to.outer_iter_mut().zip(origins) {
                to.assign(&from.row(origin));
            }
        }
        state.stepped = !stepped;
        let InferenceState { sources, sources_before, .. } = state;
        std::mem::swap(sources, sources_before);
        sources.clear();
        sources.extend(origins.iter().map(|&origin| sources_before[origin]));
        Ok(())
    }
}

/// The weights of attention `[S]` out of those of all heads `[heads, S]`.
fn mean_over_heads<T: Real>(weights: &[T], score: Score, mean: &mut [f32]) {
    let heads = score.heads();
    let source = weights.len() / heads.max(1);
    for (s, mean) in mean.iter_mut().enumerate() {
        let sum = (0..heads).fold(T::zero(), |sum, head| sum + weights[head * source + s]);
        *mean = (sum / T::from_f64(heads as f64)).to_f64() as f32;
    }
}
