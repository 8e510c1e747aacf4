//! Multi-head attention: the projections around [`DotAttention`].

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use unspool_tensor::random::Key;
use unspool_tensor::{Error, ParamId, ParamStore, Real, Result, Var};

use super::dot::DotAttention;
use crate::Bound;
use crate::init::Init;
use crate::linear::{Linear, linear};

/// The sizes of a [`MultiHeadAttention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeadConfig {
    /// Q, the length of a query.
    pub query: usize,
    /// K, the length of a key before it is projected.
    pub key: usize,
    /// N, the length of a value before it is projected.
    pub value: usize,
    /// D, the heads' total length.
    pub size: usize,
    /// How many heads there are; they divide D.
    pub heads: usize,
    /// O, the length of what comes out.
    pub output: usize,
}

impl MultiHeadConfig {
    /// As PyTorch's `nn.MultiheadAttention(size, heads)`: everything has one length.
    pub fn uniform(size: usize, heads: usize) -> Self {
        MultiHeadConfig { query: size, key: size, value: size, size, heads, output: size }
    }
}

/// Multi-head scaled dot-product attention of Vaswani et al., "Attention is all you need" (2017),
/// section 3.2.2: queries, keys and values are projected to D, each of h heads attends in its own
/// D/h of these with a scale of √(h/D), and what the heads find, side by side, is projected once
/// more.
///
/// The parameters are PyTorch's: `in_proj_weight [3·D, D]` (query, key, value) when all lengths are
/// D, or else `q_proj_weight [D, Q]`, `k_proj_weight [D, K]` and `v_proj_weight [D, N]`;
/// `in_proj_bias [3·D]`; `out_proj.weight [O, D]`, `out_proj.bias [O]`. (PyTorch has no Q or O
/// other than D.)
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    config: MultiHeadConfig,
    in_weight: InWeight,
    in_bias: ParamId,
    out: Linear,
}

#[derive(Clone, Debug)]
enum InWeight {
    Packed(ParamId),
    /// Of queries, keys and values.
    Apart([ParamId; 3]),
}

/// A linear map whose weight and bias stand on the tape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection<'t, T: Real> {
    /// `[D, Q]`.
    pub weight: Var<'t, T>,
    /// `[D]`.
    pub bias: Option<Var<'t, T>>,
}

impl<'t, T: Real> Projection<'t, T> {
    /// `[.., Q]` → `[.., D]`.
    pub fn apply(self, x: Var<'t, T>) -> Result<Var<'t, T>> {
        linear(x, self.weight, self.bias)
    }
}

/// Which of the three input projections.
#[derive(Clone, Copy, Debug)]
enum Part {
    Query,
    Key,
    Value,
}

impl MultiHeadAttention {
    /// Adds the parameters to the store: matrices drawn by `init`, biases zero.
    ///
    /// # Errors
    /// The heads do not divide D, a length is 0, the names are taken, or `init` cannot draw such
    /// matrices.
    pub fn new<T: Real>(
        store: &mut ParamStore<T>,
        name: &str,
        config: MultiHeadConfig,
        init: Init,
        key: Key,
    ) -> Result<Self> {
        let MultiHeadConfig { query, key: keys, value, size, heads, output } = config;
        if heads == 0 || size % heads != 0 {
            let problem = format!("{heads} heads do not divide a size of {size}");
            return Err(Error::invalid("multi-head attention", problem));
        }
        if [query, keys, value, size, output].contains(&0) {
            return Err(Error::invalid("multi-head attention", "a size is 0"));
        }
        let mut add = |part: &str, shape: [usize; 2]| {
            let name = format!("{name}.{part}");
            let value = init.sample(&shape, key.named(&name))?;
            store.add(name, value)
        };
        let in_weight = match [query, keys, value] == [size; 3] {
            true => InWeight::Packed(add("in_proj_weight", [3 * size, size])?),
            false => InWeight::Apart([
                add("q_proj_weight", [size, query])?,
                add("k_proj_weight", [size, keys])?,
                add("v_proj_weight", [size, value])?,
            ]),
        };
        let in_bias =
            store.add(format!("{name}.in_proj_bias"), ArrayD::zeros(IxDyn(&[3 * size])))?;
        let out = Linear::new(store, &format!("{name}.out_proj"), size, output, true, init, key)?;
        Ok(MultiHeadAttention { config, in_weight, in_bias, out })
    }

    /// Self-attention (all three the same) and cross-attention: queries `[T, B, Q]`, keys
    /// `[S, B, K]` and values `[S, B, N]` → `[T, B, O]`, and each head's weights
    /// `[B, heads, T, S]`.
    ///
    /// Only the first `lengths[b]` keys of row b are seen, and, when `causal`, by query t only keys
    /// 0 to t.
    ///
    /// # Errors
    /// The shapes or the lengths do not fit.
    pub fn forward<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        query: Var<'t, T>,
        key: Var<'t, T>,
        value: Var<'t, T>,
        lengths: &[usize],
        causal: bool,
    ) -> Result<(Var<'t, T>, Var<'t, T>)> {
        let query = batch_major(self.projection(bound, Part::Query)?.apply(query)?)?;
        let keys = self.keys(bound, key)?;
        let values = self.values(bound, value)?;
        let (contexts, weights) = self.look(query, keys, values, lengths.into(), causal)?;
        Ok((self.out.forward(bound, batch_major(contexts)?)?, weights))
    }

    /// Projects keys `[S, B, K]` → `[B, S, D]`: once per sequence.
    ///
    /// # Errors
    /// The shape does not fit.
    pub fn keys<'t, T: Real>(&self, bound: Bound<'t, T>, x: Var<'t, T>) -> Result<Var<'t, T>> {
        batch_major(self.projection(bound, Part::Key)?.apply(x)?)
    }

    /// Projects values `[S, B, N]` → `[B, S, D]`: once per sequence.
    ///
    /// # Errors
    /// The shape does not fit.
    pub fn values<'t, T: Real>(&self, bound: Bound<'t, T>, x: Var<'t, T>) -> Result<Var<'t, T>> {
        batch_major(self.projection(bound, Part::Value)?.apply(x)?)
    }

    /// The sizes.
    pub(super) fn config(&self) -> &MultiHeadConfig {
        &self.config
    }

    /// The output's projection.
    pub(super) fn out(&self) -> &Linear {
        &self.out
    }

    /// The projection of queries, `[.., Q]` → `[.., D]`: once per sequence.
    pub(super) fn query_projection<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
    ) -> Result<Projection<'t, T>> {
        self.projection(bound, Part::Query)
    }

    /// One projected query for each row of the batch, `[B, D]`, against projected keys and values
    /// `[B, S, D]` → `[B, O]`, and the weights of each head, `[B, heads, 1, S]`.
    pub(super) fn step<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        query: Var<'t, T>,
        keys: Var<'t, T>,
        values: Var<'t, T>,
        lengths: Arc<[usize]>,
    ) -> Result<(Var<'t, T>, Var<'t, T>)> {
        let batch = query.shape().first().copied().unwrap_or(0);
        let query = query.reshape(&[batch, 1, self.config.size])?;
        let (contexts, weights) = self.look(query, keys, values, lengths, false)?;
        let contexts = contexts.reshape(&[batch, self.config.size])?;
        Ok((self.out.forward(bound, contexts)?, weights))
    }

    /// Projected queries `[B, T, D]`, keys and values `[B, S, D]` → contexts `[B, T, D]` and
    /// weights.
    fn look<'t, T: Real>(
        &self,
        query: Var<'t, T>,
        keys: Var<'t, T>,
        values: Var<'t, T>,
        lengths: Arc<[usize]>,
        causal: bool,
    ) -> Result<(Var<'t, T>, Var<'t, T>)> {
        let heads = self.config.heads;
        let scale = (heads as f64 / self.config.size as f64).sqrt();
        let op = DotAttention { scale, heads, causal, lengths };
        let [contexts, weights] = query.tape().apply(op, &[query, keys, values])?;
        Ok((contexts, weights))
    }

    /// `[.., Q]`, `[.., K]` or `[.., N]` → `[.., D]`, its weights cut out of the parameters.
    fn projection<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        part: Part,
    ) -> Result<Projection<'t, T>> {
        let (size, part) = (self.config.size, part as usize);
        let rows = part * size..(part + 1) * size;
        let weight = match self.in_weight {
            InWeight::Packed(weight) => bound.param(weight).slice(0, rows.clone())?,
            InWeight::Apart(weights) => bound.param(weights[part]),
        };
        Ok(Projection { weight, bias: Some(bound.param(self.in_bias).slice(0, rows)?) })
    }
}

/// The mean over the heads: `[B, heads, T, S]` → `[B, T, S]`, as PyTorch's `average_attn_weights`.
///
/// # Errors
/// There is no second axis.
pub fn average_heads<'t, T: Real>(weights: Var<'t, T>) -> Result<Var<'t, T>> {
    weights.mean(1)
}

/// `[S, B, ..]` ↔ `[B, S, ..]`, of three axes.
pub(super) fn batch_major<'t, T: Real>(x: Var<'t, T>) -> Result<Var<'t, T>> {
    x.permute(&[1, 0, 2])
}
