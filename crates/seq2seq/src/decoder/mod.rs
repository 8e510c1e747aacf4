//! The decoder: from the previous token and state to scores of the next token.
//!
//! - [`Decoder::unroll`] runs all steps of a target as one op, `through_time`;
//!   [`Decoder::unroll_composed`] is its twin, out of an op for each part of each step; `composed`
//!   makes the same of the op itself, to open it.
//! - `steps` has the arithmetic of a step, forwards and backwards; inference runs it too. `parts` are
//!   what it reads, `plan` says how the decoder is built, `arrays` are what it writes, and `sums` adds
//!   up the gradients of weights.

pub(crate) mod arrays;
mod composed;
pub(crate) mod parts;
pub(crate) mod plan;
pub(crate) mod steps;
mod sums;
mod through_time;

use std::sync::{Arc, OnceLock};

use ndarray::{Array1, Array2, ArrayD, ArrayViewD, Axis, IxDyn};
use unspool_layers::attention::{Attention, AttentionConfig, Memory};
use unspool_layers::dropout::Dropout;
use unspool_layers::embedding::Embedding;
use unspool_layers::linear::{Linear, linear};
use unspool_layers::recurrent::{Recurrent, RecurrentConfig, State};
use unspool_layers::{Bound, ParamId, ParamStore};
use unspool_tensor::kernels::reduce;
use unspool_tensor::random::Key;
use unspool_tensor::{Real, Tape, Var, vectorised};

use self::parts::Parts;
use self::plan::{Masks, Plan};
use self::through_time::DecoderOp;
use crate::config::{Query, Readout};
use crate::vocabulary::{PAD, Token};
use crate::{ModelConfig, Result};

/// Embedding, recurrent layers, attention, readout and output layer of the target side.
#[derive(Debug)]
pub struct Decoder {
    embedding: Embedding,
    embedding_dropout: Dropout,
    recurrent: Recurrent,
    /// The second cell of a query in between: it reads the context.
    second: Option<Recurrent>,
    attention: Option<Attention>,
    query: Query,
    /// Makes the attentional vector of input feeding.
    combine: Option<Linear>,
    attentional_dropout: Dropout,
    fed_dropout: Dropout,
    readout: Readout,
    readout_layer: Option<Linear>,
    readout_dropout: Dropout,
    /// The output layer's weight `[V, R]`, which may be the embedding's.
    output_weight: ParamId,
    output_bias: Option<ParamId>,
    hidden: usize,
}

/// What the decoder carries from step to step.
#[derive(Clone)]
pub struct DecoderState<'t, T: Real> {
    /// The states of its recurrent layers, `[B, H]` each.
    pub recurrent: State<'t, T>,
    /// The attentional vector that input feeding reads next, `[B, H]`.
    pub fed: Option<Var<'t, T>>,
}

/// What one step gives.
pub struct DecoderStep<'t, T: Real> {
    /// The state after it.
    pub state: DecoderState<'t, T>,
    /// What the readout reads.
    pub features: Features<'t, T>,
    /// The attention weights `[B, S]`.
    pub weights: Option<Var<'t, T>>,
}

/// What the readout reads: of one step `[B, ..]`, or of all steps `[T, B, ..]`.
#[derive(Clone, Copy)]
pub struct Features<'t, T: Real> {
    /// The top state, or the attentional vector of input feeding, `[.., H]`.
    pub output: Var<'t, T>,
    /// The context, `[.., M]`.
    pub context: Option<Var<'t, T>>,
    /// The embedding of the previous token, `[.., E]`.
    pub embedded: Var<'t, T>,
}

/// What the decoder is to read in training.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// The true previous tokens, `[T, B]`.
    pub input: &'a Array2<Token>,
    /// How many tokens each target has, `[B]`, at most T; what stands behind is padding.
    pub lengths: &'a [usize],
}

/// How often the decoder reads the true previous token in training, rather than its own prediction
/// (Bengio et al. 2015, "Scheduled sampling").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeacherForcing(pub f64);

impl TeacherForcing {
    /// Always the true token.
    pub const ALWAYS: Self = TeacherForcing(1.0);
}

impl Decoder {
    pub(crate) fn new<T: Real>(
        store: &mut ParamStore<T>,
        config: &ModelConfig,
        vocabulary: usize,
        key: Key,
    ) -> Result<Self> {
        let embedding = Embedding::new(
            store,
            "decoder.embedding",
            vocabulary,
            config.embedding,
            Some(PAD as usize),
            config.init.embedding(),
            key,
        )?;
        let query = if config.attention.0.is_some() { config.query } else { Query::Previous };
        let recurrent = |layers: usize, input: usize| RecurrentConfig {
            cell: config.cell,
            input,
            hidden: config.hidden,
            layers,
            bidirectional: false,
            dropout: config.dropout.layers,
        };
        let input = config.embedding
            + match query {
                Query::Previous => config.context(),
                Query::New => config.hidden,
                Query::Between => 0,
            };
        let cells = config.init.recurrent();
        let layers = recurrent(config.decoder_layers, input);
        let layers = Recurrent::new(store, "decoder", layers, &cells, key)?;
        let second = match query {
            Query::Between => {
                let second = recurrent(1, config.context());
                Some(Recurrent::new(store, "decoder.second", second, &cells, key)?)
            }
            _ => None,
        };
        let weights = config.init.weights();
        let attention = match config.attention.0 {
            Some(kind) => {
                let attention = AttentionConfig {
                    kind,
                    query: config.hidden,
                    memory: config.memory(),
                    size: config.attention_size,
                    heads: config.attention_heads,
                };
                Some(Attention::new(store, "decoder.attention", attention, weights, key)?)
            }
            None => None,
        };
        let combine = match query {
            // Luong et al. 2015, equation 5, has no bias.
            Query::New => {
                let (from, to) = (config.context() + config.hidden, config.hidden);
                let bias = config.attentional_bias;
                Some(Linear::new(store, "decoder.combine", from, to, bias, weights, key)?)
            }
            _ => None,
        };
        let readout_layer = match config.readout {
            Readout::Tanh => {
                let from = config.hidden + config.context() + config.embedding;
                let to = config.readout_length();
                Some(Linear::new(store, "decoder.readout", from, to, true, weights, key)?)
            }
            _ => None,
        };
        let output_weight = if config.tied_embeddings {
            embedding.weight()
        } else {
            let (name, shape) = ("decoder.output.weight", [vocabulary, config.readout_length()]);
            let value: ArrayD<T> = weights.sample(&shape, key.named(name))?;
            store.add(name, value)?
        };
        let output_bias = match config.output_bias {
            true => {
                let bias = ArrayD::<T>::zeros(IxDyn(&[vocabulary]));
                Some(store.add("decoder.output.bias", bias)?)
            }
            false => None,
        };
        let rates = &config.dropout;
        Ok(Decoder {
            embedding,
            embedding_dropout: Dropout::new(rates.embedding, "decoder.embedding.dropout")?,
            recurrent: layers,
            second,
            attention,
            query,
            combine,
            attentional_dropout: Dropout::new(rates.attentional, "decoder.combine.dropout")?,
            fed_dropout: Dropout::new(rates.fed, "decoder.fed.dropout")?,
            readout: config.readout,
            readout_layer,
            readout_dropout: Dropout::new(rates.readout, "decoder.readout.dropout")?,
            output_weight,
            output_bias,
            hidden: config.hidden,
        })
    }

    /// Whether the decoder attends.
    pub fn has_attention(&self) -> bool {
        self.attention.is_some()
    }

    /// Keys and values of attention, once for each sequence; `None` without attention.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn prepare<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: Var<'t, T>,
        lengths: &[usize],
    ) -> Result<Option<Memory<'t, T>>> {
        let _scope = bound.tape().scope("decoder");
        let Some(attention) = &self.attention else { return Ok(None) };
        Ok(Some(attention.prepare(bound, memory, lengths)?))
    }

    /// The state before the first step, from the bridge's states of `rows` rows.
    pub fn start<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        recurrent: State<'t, T>,
        rows: usize,
    ) -> DecoderState<'t, T> {
        let fed = self.combine.is_some();
        let zeros = || bound.tape().constant(Array2::zeros((rows, self.hidden)));
        DecoderState { recurrent, fed: fed.then(zeros) }
    }

    /// One step: reads the previous tokens `[B]`.
    ///
    /// # Errors
    /// A token is not in the vocabulary.
    pub fn step<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: Option<&Memory<'t, T>>,
        tokens: &[Token],
        state: &DecoderState<'t, T>,
        time: usize,
    ) -> Result<DecoderStep<'t, T>> {
        let _scope = bound.tape().scope("decoder");
        let _time = AtTime::new(bound.tape(), time);
        let rows: Array1<usize> = tokens.iter().map(|&token| token as usize).collect();
        let embedded = self.embedding.forward(bound, &rows)?;
        let embedded = self.embedding_dropout.forward_at(bound, embedded, time)?;

        let attend = |query: Var<'t, T>| -> Result<Option<(Var<'t, T>, Var<'t, T>)>> {
            match (&self.attention, memory) {
                (Some(attention), Some(memory)) => {
                    Ok(Some(attention.attend(bound, memory, query)?))
                }
                _ => Ok(None),
            }
        };
        let beside = |x: Var<'t, T>, y: Option<Var<'t, T>>| match y {
            Some(y) => Var::concat(&[x, y], 1),
            None => Ok(x),
        };
        let mut recurrent;
        let mut fed = None;
        let attended;
        match self.query {
            Query::Previous => {
                attended = attend(state.recurrent.top())?;
                let x = beside(embedded, attended.map(|(context, _)| context))?;
                recurrent = self.recurrent.step(bound, x, &state.recurrent, time)?;
            }
            Query::New => {
                let read = state.fed.map(|fed| self.fed_dropout.forward_at(bound, fed, time));
                let x = beside(embedded, read.transpose()?)?;
                recurrent = self.recurrent.step(bound, x, &state.recurrent, time)?;
                attended = attend(recurrent.top())?;
                if let (Some(combine), Some((context, _))) = (&self.combine, attended) {
                    let both = Var::concat(&[context, recurrent.top()], 1)?;
                    let both = self.attentional_dropout.forward_at(bound, both, time)?;
                    fed = Some(combine.forward(bound, both)?.tanh()?);
                }
            }
            Query::Between => {
                recurrent = self.recurrent.step(bound, embedded, &state.recurrent, time)?;
                attended = attend(recurrent.top())?;
                if let (Some(second), Some((context, _))) = (&self.second, attended) {
                    // The second cell goes on from the top layer's state, and gives it its new one.
                    let top = |all: &mut Vec<Var<'t, T>>| all.pop().into_iter().collect();
                    let first = State { h: top(&mut recurrent.h), c: top(&mut recurrent.c) };
                    let state = second.step(bound, context, &first, time)?;
                    recurrent.h.extend(state.h);
                    recurrent.c.extend(state.c);
                }
            }
        }
        let features = Features {
            output: fed.unwrap_or(recurrent.top()),
            context: attended.map(|(context, _)| context),
            embedded,
        };
        let weights = attended.map(|(_, weights)| weights);
        Ok(DecoderStep { state: DecoderState { recurrent, fed }, features, weights })
    }

    /// What the output layer reads, `[.., R]`, from the features of one step or of all; `time` is
    /// that of the (first) step.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn read<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        features: Features<'t, T>,
        time: usize,
    ) -> Result<Var<'t, T>> {
        let _scope = bound.tape().scope("decoder");
        let axis = features.output.shape().len() - 1;
        // Of all steps, the op itself says which row belongs to which.
        let _time = (axis == 1).then(|| AtTime::new(bound.tape(), time));
        let all = || {
            let parts = [Some(features.output), features.context, Some(features.embedded)];
            Var::concat(&parts.into_iter().flatten().collect::<Vec<_>>(), axis)
        };
        let read = match (self.readout, &self.readout_layer) {
            (Readout::State, _) => features.output,
            (Readout::Tanh, Some(layer)) => layer.forward(bound, all()?)?.tanh()?,
            (Readout::Linear | Readout::Tanh, _) => all()?,
        };
        Ok(self.readout_dropout.forward_at(bound, read, time)?)
    }

    /// The output layer's weight `[V, R]` and bias `[V]`.
    pub fn output<'t, T: Real>(&self, bound: Bound<'t, T>) -> (Var<'t, T>, Option<Var<'t, T>>) {
        let bias = self.output_bias.map(|bias| bound.param(bias));
        (bound.param(self.output_weight), bias)
    }

    /// What the output layer reads at all steps of a whole target in training, `[T, B, R]`.
    ///
    /// `targets` holds the true previous tokens; each but the first is read with the probability
    /// `forcing`, decided token by token, and the arg max of the step before otherwise. Steps behind a
    /// target's end are not run: zeros stand there.
    ///
    /// # Errors
    /// A token is not in the vocabulary.
    pub fn unroll<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: Option<&Memory<'t, T>>,
        first: State<'t, T>,
        targets: Targets<'_>,
        forcing: TeacherForcing,
    ) -> Result<Var<'t, T>> {
        let _scope = bound.tape().scope("decoder");
        let (plan, parts) = self.parts(bound, memory, &first)?;
        let mut inputs = Vec::new();
        let at = parts.map(|&part| {
            inputs.push(part);
            inputs.len() - 1
        });
        let op = DecoderOp {
            plan,
            at,
            lengths: memory.map_or_else(Arc::default, |memory| memory.lengths.clone()),
            truth: targets.input.clone(),
            target_lengths: targets.lengths.into(),
            free: self.free(bound, targets, forcing),
            read: OnceLock::new(),
        };
        let [read] = bound.tape().apply(op, &inputs)?;
        Ok(read)
    }

    /// How the decoder is built, and what its steps read, on a tape.
    pub(crate) fn parts<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: Option<&Memory<'t, T>>,
        first: &State<'t, T>,
    ) -> Result<(Plan, Parts<Var<'t, T>>)> {
        let step = match (&self.attention, memory) {
            (Some(attention), Some(memory)) => Some((attention.step_parts(bound, memory)?, memory)),
            _ => None,
        };
        let config = self.recurrent.config();
        let masks = bound.is_training().then(|| Masks {
            embedding: self.embedding_dropout.mask(bound),
            layers: self.recurrent.masks(bound),
            attentional: self.attentional_dropout.mask(bound),
            fed: self.fed_dropout.mask(bound),
            readout: self.readout_dropout.mask(bound),
            first_example: bound.tape().context().first_example(),
        });
        let plan = Plan {
            cell: config.cell,
            layers: config.layers,
            embedding: self.embedding.size(),
            hidden: self.hidden,
            memory: self.attention.as_ref().map_or(0, Attention::context_size),
            query: self.query,
            readout: self.readout,
            score: step.as_ref().map(|&((score, _), _)| score),
            masks,
        };
        let cells = self.recurrent.weights().chain(self.second.iter().flat_map(Recurrent::weights));
        let layer = |layer: &Linear| {
            let bias = layer.bias().map(|bias| bound.param(bias));
            bias.map(|bias| [bound.param(layer.weight()), bias])
        };
        let combine = self.combine.as_ref();
        let (output, output_bias) = self.output(bound);
        let parts = Parts {
            embedding: bound.param(self.embedding.weight()),
            cells: cells.map(|cell| cell.map(|id| bound.param(id))).collect(),
            h: first.h.clone(),
            c: first.c.clone(),
            attention: step.map(|((_, parts), memory)| ([memory.keys, memory.values], parts)),
            combine: combine.map(|combine| bound.param(combine.weight())),
            combine_bias: combine.and_then(Linear::bias).map(|bias| bound.param(bias)),
            readout: self.readout_layer.as_ref().and_then(layer),
            output,
            output_bias,
        };
        Ok((plan, parts))
    }

    /// Which tokens `[T, B]` are not forced; `None` when all are.
    fn free<T: Real>(
        &self,
        bound: Bound<'_, T>,
        targets: Targets<'_>,
        forcing: TeacherForcing,
    ) -> Option<Array2<bool>> {
        if forcing.0 >= 1.0 {
            return None;
        }
        let coins = bound.key("decoder.teacher_forcing");
        let first_example = bound.tape().context().first_example();
        Some(Array2::from_shape_fn(targets.input.dim(), |(time, row)| {
            let coin = coins.with(time as u64).uniform((first_example + row) as u64);
            let runs = targets.lengths.get(row).is_some_and(|&length| time < length);
            time > 0 && runs && coin >= forcing.0
        }))
    }

    /// As [`unroll`](Self::unroll), the ops of each step one after the other: its composed twin. What
    /// it reads behind a target's end is padding.
    ///
    /// # Errors
    /// A token is not in the vocabulary.
    pub fn unroll_composed<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: Option<&Memory<'t, T>>,
        first: State<'t, T>,
        targets: Targets<'_>,
        forcing: TeacherForcing,
    ) -> Result<Var<'t, T>> {
        let mut state = self.start(bound, first, targets.input.ncols());
        let free = self.free(bound, targets, forcing);
        let (weight, bias) = self.output(bound);
        let mut reads: Vec<Var<'t, T>> = Vec::with_capacity(targets.input.nrows());
        for (time, truth) in targets.input.outer_iter().enumerate() {
            let mut tokens = truth.to_vec();
            if let (Some(free), Some(previous)) = (&free, reads.last()) {
                let logits = linear(*previous, weight, bias)?;
                let predicted = arg_max(logits.value().view());
                for (row, token) in tokens.iter_mut().enumerate() {
                    if free[[time, row]] {
                        *token = predicted[row];
                    }
                }
            }
            let step = self.step(bound, memory, &tokens, &state, time)?;
            state = step.state;
            reads.push(self.read(bound, step.features, time)?);
        }
        Ok(Var::stack(&reads, 0)?)
    }
}

/// While it lives, the nodes of a tape belong to a time step; then to none, also when an error ends
/// it early.
struct AtTime<'t, T: Real>(&'t Tape<T>);

impl<'t, T: Real> AtTime<'t, T> {
    fn new(tape: &'t Tape<T>, time: usize) -> Self {
        tape.at_time(Some(time));
        AtTime(tape)
    }
}

impl<T: Real> Drop for AtTime<'_, T> {
    fn drop(&mut self) {
        self.0.at_time(None);
    }
}

/// The token with the highest score in each row of `logits [.., V]`, the first of equals.
pub fn arg_max<T: Real>(logits: ArrayViewD<'_, T>) -> Vec<Token> {
    let last = Axis(logits.ndim().saturating_sub(1));
    (logits.lanes(last).into_iter())
        .map(|row| match row.as_slice() {
            Some(row) => arg_max_of(row) as Token,
            None => arg_max_of(&row.to_vec()) as Token,
        })
        .collect()
}

vectorised! {
    /// Where the largest number is, the first of equals.
    fn arg_max_of<T: Real>(row: &[T]) -> usize {
        /// Of so many, only the largest is found; then its place, in the best block alone.
        const BLOCK: usize = 256;
        let mut best = (0, T::from_f64(f64::NEG_INFINITY));
        for (block, numbers) in row.chunks(BLOCK).enumerate() {
            let top = reduce::max(numbers);
            if top > best.1 {
                best = (block * BLOCK, top);
            }
        }
        let (start, top) = best;
        row[start..].iter().position(|&x| x == top).map_or(0, |at| start + at)
    }
}
