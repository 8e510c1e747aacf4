//! The encoder-decoder of W2 and W3.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::{dropout, softmax, softmax_last_dim};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};

use crate::lstm::{Lstm, State};

const VOCABULARY: usize = 115;
const EMBEDDING: usize = 128;
const HIDDEN: usize = 256;
const ATTENTION: usize = 128;
const LAYERS: usize = 2;
const BATCH: usize = 64;
const SOURCE: usize = 20;
const FRAME: usize = 15;
/// The tokens to predict.
const TARGET: usize = 25;
const DROPOUT: f32 = 0.2;
const CLIP: f64 = 1.0;

/// The model with its optimiser, and a batch.
pub struct Model {
    encoder: Lstm,
    decoder: Lstm,
    /// Those of embedding, attention and output layer, with their names.
    weights: Vec<(String, Var)>,
    optimiser: AdamW,
    /// `[S, B, F]`.
    source: Tensor,
    /// What the decoder reads when forced, `[T, B]`.
    input: Tensor,
    /// What it is to predict, `[T, B]`.
    output: Tensor,
}

/// The weights as one pass uses them, but for the layers of LSTM.
struct Bound {
    /// `[V, E]`.
    embedding: Tensor,
    /// `[H, A]`.
    query: Tensor,
    /// `[H, A]`.
    key: Tensor,
    /// `[A, 1]`.
    v: Tensor,
    /// `[H, V]`.
    output: Tensor,
    /// `[V]`.
    bias: Tensor,
    training: bool,
}

impl Bound {
    /// `memory [B, S, H]` as keys `[B, S, A]`.
    fn keys(&self, memory: &Tensor) -> Result<Tensor> {
        let (batch, source, _) = memory.dims3()?;
        memory.reshape((batch * source, ()))?.matmul(&self.key)?.reshape((batch, source, ()))
    }

    /// The context `[B, H]` for `query [B, H]`.
    fn attend(&self, query: &Tensor, memory: &Tensor, keys: &Tensor) -> Result<Tensor> {
        let (batch, source, size) = keys.dims3()?;
        let query = query.matmul(&self.query)?.unsqueeze(1)?;
        let hidden = keys.broadcast_add(&query)?.tanh()?;
        let scores = hidden.reshape((batch * source, size))?.matmul(&self.v)?;
        let scores = scores.reshape((batch, source))?;
        // The fused one has no gradient.
        let weights = if self.training { softmax(&scores, 1)? } else { softmax_last_dim(&scores)? };
        weights.unsqueeze(1)?.matmul(memory)?.squeeze(1)
    }

    fn logits(&self, top: &Tensor) -> Result<Tensor> {
        top.matmul(&self.output)?.broadcast_add(&self.bias)
    }
}

impl Model {
    pub fn new() -> Result<Self> {
        let encoder = Lstm::new("encoder", FRAME, HIDDEN, LAYERS)?;
        let decoder = Lstm::new("decoder", EMBEDDING + HIDDEN, HIDDEN, LAYERS)?;
        let weight = |name: &str, shape: &[usize]| -> Result<(String, Var)> {
            Ok((format!("decoder.{name}"), Var::rand(-0.1f32, 0.1, shape, &Device::Cpu)?))
        };
        let weights = vec![
            weight("embedding.weight", &[VOCABULARY, EMBEDDING])?,
            weight("attention.query.weight", &[ATTENTION, HIDDEN])?,
            weight("attention.key.weight", &[ATTENTION, HIDDEN])?,
            weight("attention.v", &[ATTENTION])?,
            weight("output.weight", &[VOCABULARY, HIDDEN])?,
            weight("output.bias", &[VOCABULARY])?,
        ];
        let all = encoder.weights().into_iter().chain(decoder.weights()).chain(&weights);
        // AdamW without decay is Adam.
        let settings = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..ParamsAdamW::default() };
        let optimiser = AdamW::new(all.map(|(_, var)| var.clone()).collect(), settings)?;
        let device = &Device::Cpu;
        let tokens = Tensor::rand(4f32, VOCABULARY as f32, (TARGET, BATCH), device)?;
        let tokens = tokens.to_dtype(DType::I64)?;
        let source = Tensor::rand(-1f32, 1.0, (SOURCE, BATCH, FRAME), device)?;
        let (input, output) = (tokens.clone(), tokens);
        Ok(Model { encoder, decoder, weights, optimiser, source, input, output })
    }

    fn all_weights(&self) -> impl Iterator<Item = &(String, Var)> {
        let layers = self.encoder.weights().into_iter().chain(self.decoder.weights());
        layers.chain(&self.weights)
    }

    fn bind(&self, training: bool) -> Result<Bound> {
        let value = |at: usize| {
            let var = &self.weights[at].1;
            if training { var.as_tensor().clone() } else { var.as_detached_tensor() }
        };
        Ok(Bound {
            embedding: value(0),
            query: value(1).t()?,
            key: value(2).t()?,
            v: value(3).unsqueeze(1)?,
            output: value(4).t()?,
            bias: value(5),
            training,
        })
    }

    /// The mean cross-entropy of the batch; each step's true tokens are read with the probability
    /// `forcing`.
    fn loss(&self, forcing: f32, rate: f32) -> Result<Tensor> {
        let bound = self.bind(true)?;
        let (encoded, mut states) = self.encoder.bind(true)?.forward(&self.source, rate)?;
        let memory = encoded.transpose(0, 1)?.contiguous()?;
        let keys = bound.keys(&memory)?;
        let decoder = self.decoder.bind(true)?;
        let coins = Tensor::rand(0f32, 1.0, TARGET, &Device::Cpu)?.to_vec1::<f32>()?;
        let mut logits: Vec<Tensor> = Vec::with_capacity(TARGET);
        for (step, coin) in coins.into_iter().enumerate() {
            let tokens = match logits.last() {
                Some(last) if coin >= forcing => last.argmax(D::Minus1)?,
                _ => self.input.get(step)?,
            };
            let mut embedded = bound.embedding.index_select(&tokens, 0)?;
            if rate > 0.0 {
                embedded = dropout(&embedded, rate)?;
            }
            let context = bound.attend(&states[LAYERS - 1].0, &memory, &keys)?;
            let x = Tensor::cat(&[&embedded, &context], 1)?;
            logits.push(bound.logits(&decoder.step(&x, &mut states, rate)?)?);
        }
        let logits = Tensor::cat(&logits, 0)?;
        candle_nn::loss::cross_entropy(&logits, &self.output.flatten_all()?)
    }

    /// One update: loss, gradients, clipping by their global norm, Adam.
    pub fn update(&mut self, forcing: f32) -> Result<()> {
        let mut gradients = self.loss(forcing, DROPOUT)?.backward()?;
        let vars: Vec<Var> = self.all_weights().map(|(_, var)| var.clone()).collect();
        let mut squares = 0.0;
        for var in &vars {
            if let Some(gradient) = gradients.get(var) {
                squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let scale = CLIP / (squares.sqrt() + 1e-6);
        if scale < 1.0 {
            for var in &vars {
                if let Some(gradient) = gradients.remove(var) {
                    gradients.insert(var, (gradient * scale)?);
                }
            }
        }
        self.optimiser.step(&gradients)
    }

    /// The frames of the batch's first sentence, `[S, 1, F]`.
    pub fn first_source(&self) -> Result<Tensor> {
        self.source.narrow(1, 0, 1)?.contiguous()
    }

    /// 25 tokens, greedily, of a source `[S, 1, F]`; `first` is what the decoder reads first.
    pub fn greedy(&self, source: &Tensor, first: u32) -> Result<Vec<u32>> {
        let bound = self.bind(false)?;
        let (encoded, mut states): (Tensor, Vec<State>) =
            self.encoder.bind(false)?.forward(source, 0.0)?;
        // With one row, time-major and batch-major are the same numbers.
        let memory = encoded.reshape((1, SOURCE, HIDDEN))?;
        let keys = bound.keys(&memory)?;
        let decoder = self.decoder.bind(false)?;
        let mut token = Tensor::new(&[first], &Device::Cpu)?;
        let mut tokens = Vec::with_capacity(TARGET);
        for _ in 0..TARGET {
            let embedded = bound.embedding.index_select(&token, 0)?;
            let context = bound.attend(&states[LAYERS - 1].0, &memory, &keys)?;
            let x = Tensor::cat(&[&embedded, &context], 1)?;
            token = bound.logits(&decoder.step(&x, &mut states, 0.0)?)?.argmax(D::Minus1)?;
            tokens.push(token.to_vec1::<u32>()?[0]);
        }
        Ok(tokens)
    }

    /// Takes weights and batch over; gives the loss with every token forced and without dropout,
    /// its gradients, and what is decoded greedily.
    pub fn check(
        &mut self,
        given: &HashMap<String, Tensor>,
        found: &mut HashMap<String, Tensor>,
    ) -> Result<()> {
        for (name, value) in self.all_weights() {
            value.set(&given[&format!("W2/{name}")])?;
        }
        self.source = given["W2/source"].clone();
        self.input = given["W2/input"].clone();
        self.output = given["W2/output"].clone();
        let loss = self.loss(2.0, 0.0)?;
        let gradients = loss.backward()?;
        for (name, value) in self.all_weights() {
            let gradient = gradients.get(value).expect("a gradient").contiguous()?;
            found.insert(format!("W2-hoisted/d {name}"), gradient);
        }
        found.insert("W2-hoisted/loss".into(), loss);
        let tokens = self.greedy(&self.first_source()?, 2)?;
        found.insert("W3/tokens".into(), Tensor::new(tokens, &Device::Cpu)?);
        Ok(())
    }
}
