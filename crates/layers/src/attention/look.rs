//! Attention of single queries without an op around it: what a decoder's own loop over time and its
//! inference run. The arithmetic is that of [`AdditiveAttention`](super::AdditiveAttention) and
//! [`DotAttention`](super::DotAttention), to the bit.

use std::borrow::Cow;
use std::sync::Arc;

use unspool_tensor::kernels::pointwise::Pointwise;
use unspool_tensor::kernels::rows::{RowKernel, Rows};
use unspool_tensor::{Context, Error, Real, Result, Tensor};

use super::additive::{activations, backward_row};
use super::rows::{
    Stack, axes, check_lengths, flat, weigh_backward, weigh_backward_memory, weigh_forward,
};

/// How a query is scored against the keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// `v·tanh(q + k)`.
    Additive,
    /// `scale·(q·k)`, by each head for its part.
    Dot {
        /// What the inner products are multiplied by.
        scale: f64,
        /// How many heads divide the vectors among them.
        heads: usize,
    },
}

impl Score {
    /// How many heads look.
    pub fn heads(self) -> usize {
        match self {
            Score::Additive => 1,
            Score::Dot { heads, .. } => heads,
        }
    }
}

/// What queries look at: keys, values and lengths of each sequence, and the score.
pub struct Look<'a, T: Real> {
    score: Score,
    keys: Stack<'a, T>,
    values: Stack<'a, T>,
    v: Cow<'a, [T]>,
    lengths: Arc<[usize]>,
    pointwise: Pointwise<T>,
    kernel: &'a dyn RowKernel<T>,
    source: usize,
    memory: usize,
}

/// The gradients of what one query looked at; all are added to.
pub struct LookGrads<'a, T> {
    /// Of the query, `[A]`.
    pub query: &'a mut [T],
    /// Of the sequence's keys, `[S, A]`.
    pub keys: &'a mut [T],
    /// Of the sequence's values, `[S, M]`.
    pub values: &'a mut [T],
    /// Of `v [A]`; of a score without it, nothing.
    pub v: &'a mut [T],
}

impl<'a, T: Real> Look<'a, T> {
    /// Keys `[B, S, A]` and values `[B, S, M]`, of which each sequence has as many as `lengths`
    /// says, and `v [A]` for the additive score.
    ///
    /// # Errors
    /// The shapes or the lengths do not fit.
    pub fn new(
        context: &'a Context,
        score: Score,
        keys: &'a Tensor<T>,
        values: &'a Tensor<T>,
        v: Option<&'a Tensor<T>>,
        lengths: Arc<[usize]>,
    ) -> Result<Self> {
        const NAME: &str = "attention";
        let [batch, source, size] = axes(NAME, keys, "[B, S, A]")?;
        let [.., memory] = axes::<T, 3>(NAME, values, "[B, S, M]")?;
        let v = v.map(flat).unwrap_or_default();
        if values.shape()[..2] != [batch, source] {
            let problem = "are not keys [B, S, A] and values [B, S, M]";
            return Err(Error::shapes(NAME, keys.shape(), values.shape(), problem));
        }
        let heads = score.heads();
        let fits = match score {
            Score::Additive => v.len() == size,
            Score::Dot { .. } => heads > 0 && size % heads == 0 && memory % heads == 0,
        };
        if !fits {
            let problem = match score {
                Score::Additive => "are not what an additive score looks at: v is not [A]",
                Score::Dot { .. } => {
                    "are not what a dot product looks at: heads do not divide them"
                }
            };
            return Err(Error::shapes(NAME, keys.shape(), values.shape(), problem));
        }
        check_lengths(NAME, &lengths, batch, source)?;
        let pointwise = context.kernels().pointwise();
        let kernel = T::row_kernel(context.kernels());
        let (keys, values) = (Stack::new(keys), Stack::new(values));
        Ok(Look { score, keys, values, v, lengths, pointwise, kernel, source, memory })
    }

    /// Of sequence `b`: from a query `[A]` to the weights of all heads `[heads, S]`, of which those
    /// of padding are not touched, and the context `[M]`, which is written in full. `scratch` may
    /// hold anything.
    pub fn forward(
        &self,
        b: usize,
        query: &[T],
        weights: &mut [T],
        context: &mut [T],
        scratch: &mut Vec<T>,
    ) {
        let (k, m, n) = (self.keys.rows(b), self.values.rows(b), self.lengths[b]);
        context.fill(T::zero());
        match self.score {
            Score::Additive => {
                let w = &mut weights[..n];
                // t = tanh(q + k), e = v·t
                activations(self.pointwise, query, &self.keys, b, n, scratch);
                self.kernel.dot(w, T::one(), &self.v, scratch, Rows::of_width(query.len()));
                // w = softmax(e), c = Σ w·m
                weigh_forward(self.kernel, w, &self.values, m, context);
            }
            Score::Dot { scale, heads } => {
                for head in 0..heads {
                    let w = &mut weights[head * self.source..][..n];
                    let query = &query[Rows::of_width(query.len()).of_head(head, heads).at(0)];
                    // e = scale·(q·k), w = softmax(e), c = Σ w·m
                    let (k, m) = (k.of_head(head, heads), m.of_head(head, heads));
                    self.kernel.dot(w, T::from_f64(scale), query, &self.keys.elements, k);
                    let place = Rows::of_width(self.memory).of_head(head, heads).at(0);
                    weigh_forward(self.kernel, w, &self.values, m, &mut context[place]);
                }
            }
        }
    }

    /// Of sequence `b`: from the gradient of the context `[M]`, and what the forward pass was given
    /// and gave, to those of the query and of all that it looked at.
    pub fn backward(
        &self,
        b: usize,
        query: &[T],
        weights: &[T],
        d_context: &[T],
        d: LookGrads<'_, T>,
        scratch: &mut Vec<T>,
    ) {
        let (k, m, n) = (self.keys.rows(b), self.values.rows(b), self.lengths[b]);
        let (d_rows, d_values_rows) = (Rows::of_width(query.len()), Rows::of_width(self.memory));
        let heads = self.score.heads();
        let mut d_e = vec![T::zero(); n];
        let no_d_weights = vec![T::zero(); n];
        for head in 0..heads {
            let w = &weights[head * self.source..][..n];
            let (m, d_values_rows) = (m.of_head(head, heads), d_values_rows.of_head(head, heads));
            let d_context = &d_context[d_values_rows.at(0)];
            // w = softmax(e), c = Σ w·m  ⇒  d_e, d_m
            weigh_backward(self.kernel, w, &self.values, m, d_context, &no_d_weights, &mut d_e);
            weigh_backward_memory(self.kernel, w, d_context, d.values, d_values_rows);
            match self.score {
                Score::Additive => {
                    activations(self.pointwise, query, &self.keys, b, n, scratch);
                    backward_row(&d_e, scratch, &self.v, d.keys, d.query, d.v);
                }
                Score::Dot { scale, .. } => {
                    let (k, d_rows) = (k.of_head(head, heads), d_rows.of_head(head, heads));
                    let place = d_rows.at(0);
                    // e = scale·(q·k)  ⇒  d_q = Σ scale·d_e·k, d_k = scale·d_e·q
                    let scale = T::from_f64(scale);
                    d_e.iter_mut().for_each(|d_e| *d_e *= scale);
                    let d_query = &mut d.query[place.clone()];
                    self.kernel.add_weighted(d_query, &d_e, &self.keys.elements, k);
                    self.kernel.add_to_rows(d.keys, &d_e, &query[place], d_rows);
                }
            }
        }
    }
}
