//! Inference: the decoder's steps without a tape to go back on, for any search of `unspool-decode`.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use unspool_decode::{StepModel, StepOutput};
use unspool_layers::Bound;
use unspool_layers::recurrent::State;
use unspool_tensor::kernels::rows::gather;
use unspool_tensor::shape::standard;
use unspool_tensor::{Context, Real, Tape, Tensor, Var};

use crate::batch::SourceBatch;
use crate::decoder::DecoderState;
use crate::vocabulary::Token;
use crate::{ModelError, Result, Seq2Seq};

/// What a model remembers of each row of a batch while it decodes.
#[derive(Clone, Debug)]
pub struct InferenceState<T: Real> {
    /// The hidden states of the decoder's layers, `[B, H]` each.
    hidden: Vec<Tensor<T>>,
    /// The cell states of an LSTM's layers, `[B, H]` each.
    cell: Vec<Tensor<T>>,
    /// The attentional vector of input feeding, `[B, H]`.
    fed: Option<Tensor<T>>,
    memory: Option<StoredMemory<T>>,
    time: usize,
    /// What the steps run with.
    context: Context,
}

/// The keys and values of attention, off the tape.
#[derive(Clone, Debug)]
struct StoredMemory<T: Real> {
    keys: Tensor<T>,
    values: Tensor<T>,
    lengths: Arc<[usize]>,
    /// Which source each row has: all hypotheses of a beam have one.
    sources: Vec<usize>,
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
        let state = self.decoder().start(bound, first, source.len());
        let memory = memory.map(|memory| StoredMemory {
            keys: memory.keys.value(),
            values: memory.values.value(),
            lengths: memory.lengths,
            sources: (0..source.len()).collect(),
        });
        Ok(InferenceState { memory, ..InferenceState::of(&state, 0, context.clone()) })
    }
}

impl<T: Real> InferenceState<T> {
    /// Everything but the memory.
    fn of(state: &DecoderState<'_, T>, time: usize, context: Context) -> Self {
        let values = |vars: &[Var<'_, T>]| vars.iter().map(|var| var.value()).collect();
        InferenceState {
            hidden: values(&state.recurrent.h),
            cell: values(&state.recurrent.c),
            fed: state.fed.map(|fed| fed.value()),
            memory: None,
            time,
            context,
        }
    }
}

impl<T: Real> StepModel for Seq2Seq<T> {
    type State = InferenceState<T>;
    type Error = ModelError;

    fn vocabulary(&self) -> usize {
        self.target().size()
    }

    fn step(&self, tokens: &[Token], state: &mut Self::State, out: &mut StepOutput) -> Result<()> {
        let tape = Tape::inference(state.context.clone());
        let bound = Bound::evaluation(&tape, self.params());
        let vars = |tensors: &[Tensor<T>]| {
            tensors.iter().map(|tensor| tape.constant(tensor.clone())).collect()
        };
        let before = DecoderState {
            recurrent: State { h: vars(&state.hidden), c: vars(&state.cell) },
            fed: state.fed.clone().map(|fed| tape.constant(fed)),
        };
        let memory = match &state.memory {
            Some(StoredMemory { keys, values, lengths, .. }) => {
                let (keys, values) = (tape.constant(keys.clone()), tape.constant(values.clone()));
                self.decoder().memory(bound, keys, values, lengths.clone())?
            }
            None => None,
        };
        let step = self.decoder().step(bound, memory.as_ref(), tokens, &before, state.time)?;
        let logits = self.decoder().logits(bound, step.features, state.time)?;
        let log_probs = logits.log_softmax(1)?.value();
        for row in log_probs.outer_iter() {
            let written = out.log_probs.push(row.len());
            written.iter_mut().zip(row).for_each(|(out, &x)| *out = x.to_f64() as f32);
        }
        if let (true, Some(weights), Some(memory)) =
            (out.wants_attention(), step.weights, &state.memory)
        {
            for (row, &length) in weights.value().outer_iter().zip(memory.lengths.iter()) {
                let written = out.attention.push(length);
                written.iter_mut().zip(row).for_each(|(out, &x)| *out = x.to_f64() as f32);
            }
        }
        let (memory, context) = (state.memory.take(), state.context.clone());
        let after = InferenceState::of(&step.state, state.time + 1, context);
        *state = InferenceState { memory, ..after };
        Ok(())
    }

    fn reorder(&self, state: &mut Self::State, origins: &[usize]) -> Result<()> {
        let rows = state.hidden.first().map_or(0, |h| h.shape()[0]);
        if let Some(origin) = origins.iter().find(|&&origin| origin >= rows) {
            let problem = format!("row {origin} does not exist in a batch of {rows}");
            return Err(ModelError::Input(problem));
        }
        let select = |tensor: &mut Tensor<T>| {
            let Some((_, of_row)) = tensor.shape().split_first() else { return };
            let (numbers, of_row) = (standard(tensor), of_row.to_vec());
            let (width, origins) = (of_row.iter().product(), origins.iter().copied());
            let shape = [&[origins.len()], &of_row[..]].concat();
            let rows = gather(numbers.as_slice().unwrap_or_default(), width, origins);
            if let Ok(selected) = ArrayD::from_shape_vec(IxDyn(&shape), rows) {
                *tensor = selected.into_shared();
            }
        };
        state.hidden.iter_mut().for_each(select);
        state.cell.iter_mut().for_each(select);
        state.fed.iter_mut().for_each(select);
        if let Some(memory) = &mut state.memory {
            let sources: Vec<usize> = origins.iter().map(|&row| memory.sources[row]).collect();
            // Hypotheses change places within their beams at every step.
            if sources == memory.sources {
                return Ok(());
            }
            memory.sources = sources;
            select(&mut memory.keys);
            select(&mut memory.values);
            memory.lengths = origins.iter().map(|&origin| memory.lengths[origin]).collect();
        }
        Ok(())
    }
}
