//! The whole model: encoder, bridge and decoder, their parameters, and the vocabularies.

use serde::{Deserialize, Serialize};
use unspool_layers::attention::Memory;
use unspool_layers::linear::linear;
use unspool_layers::linear_cross_entropy::linear_cross_entropy;
use unspool_layers::recurrent::State;
use unspool_layers::{Bound, ParamStore};
use unspool_tensor::ops::cross_entropy::{CrossEntropyOptions, Divisor, Smoothing};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Real, Tape, Var};

use crate::batch::Batch;
use crate::bridge::BridgeLayers;
use crate::config::InitConfig;
use crate::decoder::{Decoder, Targets, TeacherForcing};
use crate::encoder::{Encoder, SourceSize};
use crate::vocabulary::{PAD, Vocabulary};
use crate::{ModelConfig, Result, Statistics};

/// What a model translates from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceSide {
    /// Tokens of a vocabulary.
    Tokens(Vocabulary),
    /// Real-valued frames, standardised with these statistics.
    Vectors(Statistics),
}

impl SourceSide {
    /// How large it is.
    pub fn size(&self) -> SourceSize {
        match self {
            SourceSide::Tokens(vocabulary) => SourceSize::Tokens(vocabulary.size()),
            SourceSide::Vectors(statistics) => SourceSize::Vectors(statistics.mean.len()),
        }
    }

    fn statistics(&self) -> Option<&Statistics> {
        match self {
            SourceSide::Tokens(_) => None,
            SourceSide::Vectors(statistics) => Some(statistics),
        }
    }
}

/// An encoder-decoder with its parameters.
#[derive(Debug)]
pub struct Seq2Seq<T: Real> {
    config: ModelConfig,
    source: SourceSide,
    target: Vocabulary,
    params: ParamStore<T>,
    encoder: Encoder,
    bridge: BridgeLayers,
    decoder: Decoder,
    context: Context,
}

/// How the loss of a batch, or of a shard of one, is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossOptions {
    /// How often the decoder reads the true token.
    pub forcing: TeacherForcing,
    /// How the target distribution is smoothed.
    pub smoothing: Smoothing,
    /// What the summed loss is divided by: the number of target tokens, or of sentences, of the whole
    /// batch, so that the losses of its shards add up to its own.
    pub divisor: f64,
}

/// The loss of a batch on a tape.
#[derive(Debug)]
pub struct Loss<'t, T: Real> {
    /// The cross-entropy, summed over tokens and divided as asked; a scalar.
    pub loss: Var<'t, T>,
    /// What the output layer reads, `[T, B, R]`.
    read: Var<'t, T>,
    /// The weight `[V, R]` and the bias `[V]` of the output layer.
    output: (Var<'t, T>, Option<Var<'t, T>>),
}

impl<'t, T: Real> Loss<'t, T> {
    /// The scores `[T, B, V]`; what stands behind a target's end is no score. The loss does without
    /// an array of all of them, so that whoever asks has them computed.
    ///
    /// # Errors
    /// Those of the op.
    pub fn logits(&self) -> Result<Var<'t, T>> {
        let (weight, bias) = self.output;
        Ok(linear(self.read, weight, bias)?)
    }
}

/// [`Decoder::unroll`] or its twin.
type Unroll<'t, T> = fn(
    &Decoder,
    Bound<'t, T>,
    Option<&Memory<'t, T>>,
    State<'t, T>,
    Targets<'_>,
    TeacherForcing,
) -> Result<Var<'t, T>>;

impl<T: Real> Seq2Seq<T> {
    /// A model with fresh weights, drawn with `key`.
    ///
    /// # Errors
    /// The configuration is impossible, alone or with these vocabularies.
    pub fn new(
        config: ModelConfig,
        source: SourceSide,
        target: Vocabulary,
        context: Context,
        key: Key,
    ) -> Result<Self> {
        config.validate()?;
        config.validate_size(source.size(), target.size())?;
        let mut params = ParamStore::new();
        let encoder = Encoder::new(&mut params, &config, source.size(), key)?;
        let bridge = BridgeLayers::new(&mut params, &config, key)?;
        let decoder = Decoder::new(&mut params, &config, target.size(), key)?;
        Ok(Seq2Seq { config, source, target, params, encoder, bridge, decoder, context })
    }

    /// A model whose weights are all zero, for values to be read into.
    ///
    /// # Errors
    /// The configuration is impossible.
    pub fn blank(
        config: ModelConfig,
        source: SourceSide,
        target: Vocabulary,
        context: Context,
    ) -> Result<Self> {
        let blank = ModelConfig { init: InitConfig::ZERO, ..config.clone() };
        let model = Self::new(blank, source, target, context, Key::new(0))?;
        Ok(Seq2Seq { config, ..model })
    }

    /// How it is built.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What it translates from.
    pub fn source(&self) -> &SourceSide {
        &self.source
    }

    /// The target's vocabulary.
    pub fn target(&self) -> &Vocabulary {
        &self.target
    }

    /// Its parameters.
    pub fn params(&self) -> &ParamStore<T> {
        &self.params
    }

    /// Its parameters, to change.
    pub fn params_mut(&mut self) -> &mut ParamStore<T> {
        &mut self.params
    }

    /// What inference runs with.
    pub fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    pub(crate) fn bridge(&self) -> &BridgeLayers {
        &self.bridge
    }

    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    pub(crate) fn statistics(&self) -> Option<&Statistics> {
        self.source.statistics()
    }

    /// The loss of a batch under training: dropout drops, and `forcing` decides what the decoder
    /// reads.
    ///
    /// # Errors
    /// The batch is of another kind than the model's.
    pub fn training_loss<'t>(
        &'t self,
        tape: &'t Tape<T>,
        batch: &Batch,
        options: LossOptions,
    ) -> Result<Loss<'t, T>> {
        self.loss(Bound::training(tape, &self.params), batch, options)
    }

    /// As [`training_loss`](Self::training_loss), with the composed twin of the decoder: an op for
    /// each part of each step, to look at one by one.
    ///
    /// # Errors
    /// The batch is of another kind than the model's.
    pub fn composed_training_loss<'t>(
        &'t self,
        tape: &'t Tape<T>,
        batch: &Batch,
        options: LossOptions,
    ) -> Result<Loss<'t, T>> {
        let bound = Bound::training(tape, &self.params);
        self.loss_by(Decoder::unroll_composed, bound, batch, options)
    }

    /// The loss of a batch without dropout, under teacher forcing.
    ///
    /// # Errors
    /// The batch is of another kind than the model's.
    pub fn evaluation_loss<'t>(&'t self, tape: &'t Tape<T>, batch: &Batch) -> Result<Loss<'t, T>> {
        let (forcing, smoothing) = (TeacherForcing::ALWAYS, Smoothing::None);
        let options = LossOptions { forcing, smoothing, divisor: 1.0 };
        self.loss(Bound::evaluation(tape, &self.params), batch, options)
    }

    /// The loss with the parameters that are bound.
    pub(crate) fn loss<'t>(
        &'t self,
        bound: Bound<'t, T>,
        batch: &Batch,
        options: LossOptions,
    ) -> Result<Loss<'t, T>> {
        self.loss_by(Decoder::unroll, bound, batch, options)
    }

    /// The loss with a decoder's way through all steps.
    fn loss_by<'t>(
        &'t self,
        unroll: Unroll<'t, T>,
        bound: Bound<'t, T>,
        batch: &Batch,
        options: LossOptions,
    ) -> Result<Loss<'t, T>> {
        let lengths = &batch.source.lengths;
        let encoded = self.encoder.forward(bound, &batch.source, self.statistics())?;
        let memory = self.decoder.prepare(bound, encoded.memory, lengths)?;
        let first = self.bridge.forward(bound, &encoded, lengths)?;
        let targets = Targets { input: &batch.target_input, lengths: &batch.target_lengths };
        let read = unroll(&self.decoder, bound, memory.as_ref(), first, targets, options.forcing)?;
        let targets: Vec<usize> = batch.target_output.iter().map(|&token| token as usize).collect();
        let cross_entropy = CrossEntropyOptions {
            ignored: Some(PAD as usize),
            divisor: Divisor::Given(options.divisor),
            smoothing: options.smoothing,
        };
        let _scope = bound.tape().scope("decoder");
        let output @ (weight, bias) = self.decoder.output(bound);
        let loss = linear_cross_entropy(read, weight, bias, &targets, cross_entropy)?;
        Ok(Loss { loss, read, output })
    }
}
