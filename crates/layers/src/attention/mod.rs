//! Attention: what a decoder reads from the encoder's outputs, and where it looks.
//!
//! - [`Attention`] is the layer for decoders, of any [`AttentionKind`].
//! - [`MultiHeadAttention`] is the layer for whole sequences, self- and cross-attention.
//! - [`AdditiveAttention`] and [`DotAttention`] are the fused ops beneath, [`composed`] their
//!   twins.
//!
//! Padding is masked by length: the fused ops never read a row's keys from `lengths[b]` on. The
//! layers project keys before that, padding and all, so there it has to be finite.

mod additive;
pub mod composed;
mod dot;
pub mod look;
mod multi_head;
mod rows;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::Axis;
use unspool_tensor::cases::{Case, Input};
use unspool_tensor::random::Key;
use unspool_tensor::{Error, ParamId, ParamStore, Real, Result, Var};

pub use self::additive::{AdditiveAttention, AdditiveSaved};
pub use self::dot::{DotAttention, DotSaved};
pub use self::look::{Look, LookGrads, Score};
pub use self::multi_head::{MultiHeadAttention, MultiHeadConfig, average_heads};
use self::multi_head::{Projection, batch_major};
use crate::Bound;
use crate::init::Init;
use crate::linear::{Linear, linear};

const NAME: &str = "attention";

/// How a decoder's query q is scored against a vector m of the encoder's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionKind {
    /// `v·tanh(W q + U m)` (Bahdanau et al. 2015). Parameters `query.weight` W, `key.weight` U,
    /// `v`.
    Additive,
    /// `q·m` (Luong et al. 2015, equation 8); no parameters.
    Dot,
    /// `q·m / √D` (Vaswani et al. 2017, equation 1); no parameters.
    ScaledDot,
    /// `q·W m` (Luong et al. 2015, equation 8). Parameter `weight` W.
    General,
    /// `v·tanh(W [q; m])` (Luong et al. 2015, equation 8). Parameters `weight` W, `v`.
    Concat,
    /// Several heads of scaled dot products between projections (Vaswani et al. 2017, section
    /// 3.2.2). Parameters as [`MultiHeadAttention`].
    MultiHead,
}

impl AttentionKind {
    /// All kinds.
    pub const ALL: [AttentionKind; 6] = [
        AttentionKind::Additive,
        AttentionKind::Dot,
        AttentionKind::ScaledDot,
        AttentionKind::General,
        AttentionKind::Concat,
        AttentionKind::MultiHead,
    ];

    /// Its name in configurations: `additive`, `dot`, `scaled_dot`, `general`, `concat`,
    /// `multi_head`.
    pub fn name(self) -> &'static str {
        match self {
            AttentionKind::Additive => "additive",
            AttentionKind::Dot => "dot",
            AttentionKind::ScaledDot => "scaled_dot",
            AttentionKind::General => "general",
            AttentionKind::Concat => "concat",
            AttentionKind::MultiHead => "multi_head",
        }
    }
}

impl fmt::Display for AttentionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AttentionKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(AttentionKind::name).join(", ");
            Error::invalid(NAME, format!("there is no kind {name:?}; there are {names}"))
        })
    }
}

/// The sizes of an [`Attention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionConfig {
    /// How queries are scored.
    pub kind: AttentionKind,
    /// Q, the length of a query: the decoder's state.
    pub query: usize,
    /// M, the length of a vector of the memory: the encoder's output.
    pub memory: usize,
    /// A, the hidden layer of additive and concat attention, or the heads' total length D of
    /// multi-head; of no meaning to the others.
    pub size: usize,
    /// How many heads multi-head attention has; of no meaning to the others.
    pub heads: usize,
}

/// Attention of a decoder over an encoder's outputs.
#[derive(Clone, Debug)]
pub struct Attention {
    config: AttentionConfig,
    scorer: Scorer,
}

#[derive(Clone, Debug)]
enum Scorer {
    Additive { query: Linear, key: Linear, v: ParamId },
    Dot { scale: f64 },
    General { key: Linear },
    Concat { weight: ParamId, v: ParamId },
    MultiHead(MultiHeadAttention),
}

/// What [`Attention::prepare`] computes once per sequence. The first axis of keys, values and
/// lengths is the batch: a search may select and repeat the rows of all three, and put them
/// together again by [`Attention::memory`].
#[derive(Clone, Debug)]
pub struct Memory<'t, T: Real> {
    /// What queries are compared to: `[B, S, A]`, or `[B, S, Q]` for the dot products.
    pub keys: Var<'t, T>,
    /// What contexts are made of: `[B, S, M]`, or `[B, S, D]` for multi-head attention.
    pub values: Var<'t, T>,
    /// How many vectors each row has; the others are padding.
    pub lengths: Arc<[usize]>,
    /// What queries are projected by when that is cut out of a larger weight. It is cut once per
    /// sequence: the gradient of a slice is an array of the whole weight's size.
    query_projection: Option<Projection<'t, T>>,
}

/// What a step of attention reads beside keys and values, as [`Attention::step_parts`] has it:
/// variables, or whatever stands for them.
#[derive(Clone, Copy, Debug)]
pub struct StepParts<W> {
    /// What queries are projected by, `[A, Q]`; without it, they are looked with as they are.
    pub query: Option<W>,
    /// What is added to projected queries, `[A]`.
    pub query_bias: Option<W>,
    /// What the additive score's activations are multiplied by, `[A]`.
    pub v: Option<W>,
    /// What makes the context of what all heads saw, `[M, D]`.
    pub out: Option<W>,
    /// What is added to it, `[M]`.
    pub out_bias: Option<W>,
}

impl Attention {
    /// Adds the parameters to the store, drawn by `init`; `v` is drawn as a matrix of one row.
    ///
    /// # Errors
    /// Impossible sizes: a length of 0, dot products of vectors of different lengths, heads that do
    /// not divide the size. Names that are taken, and shapes that `init` cannot draw.
    pub fn new<T: Real>(
        store: &mut ParamStore<T>,
        name: &str,
        config: AttentionConfig,
        init: Init,
        key: Key,
    ) -> Result<Self> {
        let AttentionConfig { kind, query, memory, size, heads } = config;
        if query == 0 || memory == 0 {
            return Err(Error::invalid(NAME, "the query or the memory has a size of 0"));
        }
        if size == 0 && matches!(kind, AttentionKind::Additive | AttentionKind::Concat) {
            return Err(Error::invalid(NAME, format!("{kind} attention has a size of 0")));
        }
        let named = |part: &str| format!("{name}.{part}");
        let scorer = match kind {
            AttentionKind::Additive => Scorer::Additive {
                query: Linear::new(store, &named("query"), query, size, false, init, key)?,
                key: Linear::new(store, &named("key"), memory, size, false, init, key)?,
                v: add_v(store, named("v"), size, init, key)?,
            },
            AttentionKind::Dot | AttentionKind::ScaledDot if query != memory => {
                let sizes = format!("not queries of {query} and memory of {memory}");
                let problem = format!("{kind} attention needs one size, {sizes}");
                return Err(Error::invalid(NAME, problem));
            }
            AttentionKind::Dot => Scorer::Dot { scale: 1.0 },
            AttentionKind::ScaledDot => Scorer::Dot { scale: 1.0 / (query as f64).sqrt() },
            AttentionKind::General => {
                Scorer::General { key: Linear::new(store, name, memory, query, false, init, key)? }
            }
            AttentionKind::Concat => {
                let weight = named("weight");
                let value = init.sample(&[size, query + memory], key.named(&weight))?;
                let weight = store.add(weight, value)?;
                Scorer::Concat { weight, v: add_v(store, named("v"), size, init, key)? }
            }
            AttentionKind::MultiHead => {
                let (key_size, value) = (memory, memory);
                let config =
                    MultiHeadConfig { query, key: key_size, value, size, heads, output: memory };
                Scorer::MultiHead(MultiHeadAttention::new(store, name, config, init, key)?)
            }
        };
        Ok(Attention { config, scorer })
    }

    /// The sizes.
    pub fn config(&self) -> AttentionConfig {
        self.config
    }

    /// M, the length of a context, for every kind.
    pub fn context_size(&self) -> usize {
        self.config.memory
    }

    /// Computes what does not depend on the queries, once per sequence: `memory [S, B, M]`, the
    /// encoder's outputs, of which the first `lengths[b]` of row b are not padding.
    ///
    /// The keys of general attention are projected here, in one product over all of S, and not the
    /// queries, which come one step at a time. Projections run over the padding, too, and into the
    /// gradients of their weights: what it holds must be finite, and is best zero, as the encoder's
    /// outputs are there. Beyond that no padding is read.
    ///
    /// # Errors
    /// The shape or the lengths do not fit.
    pub fn prepare<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: Var<'t, T>,
        lengths: &[usize],
    ) -> Result<Memory<'t, T>> {
        let [source, batch, size] = memory.shape()[..] else {
            return Err(Error::shape(NAME, &memory.shape(), "is not a memory [S, B, M]"));
        };
        if size != self.config.memory {
            let problem = format!("is not a memory [S, B, {}]", self.config.memory);
            return Err(Error::shape(NAME, &memory.shape(), problem));
        }
        rows::check_lengths(NAME, lengths, batch, source)?;
        let (keys, values) = match &self.scorer {
            Scorer::Dot { .. } => {
                let values = batch_major(memory)?;
                (values, values)
            }
            Scorer::Additive { key, .. } | Scorer::General { key } => {
                (batch_major(key.forward(bound, memory)?)?, batch_major(memory)?)
            }
            Scorer::Concat { weight, .. } => {
                let AttentionConfig { query, memory: size, .. } = self.config;
                let weight = bound.param(*weight).slice(1, query..query + size)?;
                (batch_major(linear(memory, weight, None)?)?, batch_major(memory)?)
            }
            Scorer::MultiHead(heads) => (heads.keys(bound, memory)?, heads.values(bound, memory)?),
        };
        self.memory(bound, keys, values, lengths.into())
    }

    /// The memory that has these keys and values, which another one had, and maybe another tape.
    ///
    /// # Errors
    /// Those of the ops; parts that do not fit each other are [`attend`](Self::attend)'s errors.
    pub fn memory<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        keys: Var<'t, T>,
        values: Var<'t, T>,
        lengths: Arc<[usize]>,
    ) -> Result<Memory<'t, T>> {
        let query_projection = match &self.scorer {
            Scorer::Concat { weight, .. } => {
                let weight = bound.param(*weight).slice(1, 0..self.config.query)?;
                Some(Projection { weight, bias: None })
            }
            Scorer::MultiHead(heads) => Some(heads.query_projection(bound)?),
            Scorer::Additive { .. } | Scorer::Dot { .. } | Scorer::General { .. } => None,
        };
        Ok(Memory { keys, values, lengths, query_projection })
    }

    /// What one step is made of: for a loop over time that is an op itself, and for inference.
    ///
    /// # Errors
    /// The memory is another attention's.
    pub fn step_parts<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: &Memory<'t, T>,
    ) -> Result<(Score, StepParts<Var<'t, T>>)> {
        let none = StepParts { query: None, query_bias: None, v: None, out: None, out_bias: None };
        let projected = || match memory.query_projection {
            Some(Projection { weight, bias }) => {
                Ok(StepParts { query: Some(weight), query_bias: bias, ..none })
            }
            None => Err(Error::invalid(NAME, "the memory is another attention's")),
        };
        Ok(match &self.scorer {
            Scorer::Additive { query, v, .. } => {
                let (query, v) = (Some(bound.param(query.weight())), Some(bound.param(*v)));
                (Score::Additive, StepParts { query, v, ..none })
            }
            Scorer::Concat { v, .. } => {
                (Score::Additive, StepParts { v: Some(bound.param(*v)), ..projected()? })
            }
            Scorer::Dot { scale } => (Score::Dot { scale: *scale, heads: 1 }, none),
            Scorer::General { .. } => (Score::Dot { scale: 1.0, heads: 1 }, none),
            Scorer::MultiHead(heads) => {
                let MultiHeadConfig { size, heads: count, .. } = *heads.config();
                let scale = (count as f64 / size as f64).sqrt();
                let (out, out_bias) = (Some(bound.param(heads.out().weight())), heads.out().bias());
                let out_bias = out_bias.map(|bias| bound.param(bias));
                (Score::Dot { scale, heads: count }, StepParts { out, out_bias, ..projected()? })
            }
        })
    }

    /// One step: the query `[B, Q]` → the context `[B, M]`, and the weights `[B, S]`, which are the
    /// mean over the heads if there are several.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn attend<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        memory: &Memory<'t, T>,
        query: Var<'t, T>,
    ) -> Result<(Var<'t, T>, Var<'t, T>)> {
        let (batch, size) = match query.shape()[..] {
            [batch, size] if size == self.config.query => (batch, size),
            _ => {
                let problem = format!("is not a query [B, {}]", self.config.query);
                return Err(Error::shape(NAME, &query.shape(), problem));
            }
        };
        let (keys, values, lengths) = (memory.keys, memory.values, memory.lengths.clone());
        let additive = |query: Var<'t, T>, v: ParamId| {
            let op = AdditiveAttention { lengths: lengths.clone() };
            let inputs = [query, keys, bound.param(v), values];
            let [context, weights] = bound.tape().apply(op, &inputs)?;
            Ok((context, weights))
        };
        let dot = |scale: f64| {
            let op = DotAttention { scale, heads: 1, causal: false, lengths: lengths.clone() };
            let query = query.reshape(&[batch, 1, size])?;
            let [context, weights] = bound.tape().apply(op, &[query, keys, values])?;
            let source = keys.shape()[1];
            Ok((context.reshape(&[batch, self.config.memory])?, weights.reshape(&[batch, source])?))
        };
        let projected = |query: Var<'t, T>| match memory.query_projection {
            Some(projection) => projection.apply(query),
            None => Err(Error::invalid(NAME, "the memory is another attention's")),
        };
        match &self.scorer {
            Scorer::Additive { query: projection, v, .. } => {
                additive(projection.forward(bound, query)?, *v)
            }
            Scorer::Concat { v, .. } => additive(projected(query)?, *v),
            Scorer::Dot { scale } => dot(*scale),
            Scorer::General { .. } => dot(1.0),
            Scorer::MultiHead(heads) => {
                let query = projected(query)?;
                let (context, weights) = heads.step(bound, query, keys, values, lengths.clone())?;
                let source = keys.shape()[1];
                Ok((context, average_heads(weights)?.reshape(&[batch, source])?))
            }
        }
    }
}

/// Adds the vector `[A]` that a hidden layer of `size` units is scored with.
fn add_v<T: Real>(
    store: &mut ParamStore<T>,
    name: String,
    size: usize,
    init: Init,
    key: Key,
) -> Result<ParamId> {
    let row = init.sample(&[1, size], key.named(&name))?;
    store.add(name, row.index_axis_move(Axis(0), 0))
}

/// The cases of the fused ops.
pub fn cases() -> Vec<Case> {
    let additive = |name: &str, source: usize, lengths: &[usize], size: usize, memory: usize| {
        let (batch, lengths): (_, Arc<[usize]>) = (lengths.len(), lengths.into());
        let padding = |at: &[usize]| at[1] >= lengths[at[0]];
        let inputs = vec![
            Input::new("query", "B A", &[batch, size]),
            Input::new("keys", "B S A", &[batch, source, size]).with_unseen(padding),
            Input::new("v", "A", &[size]),
            Input::new("values", "B S M", &[batch, source, memory]).with_unseen(padding),
        ];
        let op = AdditiveAttention { lengths: lengths.clone() };
        Case::new(format!("additive_attention/{name}"), op, inputs).twin(move |_, inputs| {
            let (context, weights) =
                composed::additive(inputs[0], inputs[1], inputs[2], inputs[3], &lengths)?;
            Ok(vec![context, weights])
        })
    };
    let dot = |name: &str,
               [queries, source]: [usize; 2],
               lengths: &[usize],
               [size, memory]: [usize; 2],
               heads: usize,
               causal: bool| {
        let (batch, scale) = (lengths.len(), (heads as f64 / size as f64).sqrt());
        let padding = |at: &[usize]| at[1] >= lengths[at[0]];
        let inputs = vec![
            Input::new("query", "B T D", &[batch, queries, size]),
            Input::new("keys", "B S D", &[batch, source, size]).with_unseen(padding),
            Input::new("values", "B S M", &[batch, source, memory]).with_unseen(padding),
        ];
        let op = DotAttention { scale, heads, causal, lengths: lengths.into() };
        let twin = op.clone();
        Case::new(format!("dot_attention/{name}"), op, inputs).twin(move |_, inputs| {
            let (contexts, weights) = composed::dot(&twin, inputs[0], inputs[1], inputs[2])?;
            Ok(vec![contexts, weights])
        })
    };
    vec![
        additive("lengths", 5, &[3, 5, 1, 0], 3, 4),
        additive("wide", 3, &[2, 3], 17, 19),
        additive("one_key", 1, &[1], 2, 3),
        dot("lengths", [1, 5], &[3, 5, 1, 0], [3, 4], 1, false),
        dot("one_key", [1, 1], &[1], [2, 3], 1, false),
        dot("wide", [2, 3], &[2, 3], [17, 19], 1, false),
        dot("heads", [3, 4], &[4, 2, 0], [6, 9], 3, false),
        dot("causal", [4, 4], &[4, 3], [4, 2], 2, true),
        dot("causal_cross", [2, 5], &[5, 1], [2, 2], 1, true),
    ]
}
