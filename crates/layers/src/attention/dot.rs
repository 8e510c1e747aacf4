//! Dot-product attention: one op for the dot, scaled dot and general scores, and for several heads.

use std::iter::repeat_n;
use std::sync::Arc;

use unspool_tensor::kernels::rows::Rows;
use unspool_tensor::op::{Forward, inputs_of};
use unspool_tensor::shape::from_elements;
use unspool_tensor::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

use super::composed;
use super::rows::{
    Stack, add_to, axes, check_lengths, flat, for_each_row, pieces, weigh_backward,
    weigh_backward_memory, weigh_forward,
};

const NAME: &str = "dot_attention";

// The numbers of the inputs.
const QUERY: usize = 0;
const KEYS: usize = 1;
const VALUES: usize = 2;

/// Attention that scores a key by its inner product with the query. For each row b of the batch,
/// each query t and each head h, which sees its own part of the last axes, over the first
/// `lengths[b]` keys:
///
/// ```text
/// e[s] = scale · (q[t] · k[s])     the score of key s
/// w    = softmax(e)
/// c[t] = Σₛ w[s]·m[s]
/// ```
///
/// Inputs: the queries q `[B, T, D]`, the keys k `[B, S, D]` and the values m `[B, S, M]`. Outputs:
/// the contexts c `[B, T, M]`, and the weights w `[B, heads, T, S]`, which are 0 for keys that a
/// query does not see. A row of length 0 gives zeros.
///
/// With one head and a scale of 1 it is the *dot* score of Luong, Pham and Manning, "Effective
/// approaches to attention-based neural machine translation" (2015), equation 8, and with keys that
/// a matrix has projected their *general* score; with 1/√D it is the *scaled* dot product of
/// Vaswani et al., "Attention is all you need" (2017), equation 1, and with several heads what
/// section 3.2.2 there does between the projections.
#[derive(Clone, Debug)]
pub struct DotAttention {
    /// What the inner products are multiplied by.
    pub scale: f64,
    /// How many heads divide D and M among them: head h has the h-th part of each.
    pub heads: usize,
    /// Whether query t sees only the keys 0 to t.
    pub causal: bool,
    /// How many keys each row of the batch has; the others are padding.
    pub lengths: Arc<[usize]>,
}

/// What [`DotAttention`] keeps for its backward pass.
#[derive(Debug)]
pub struct DotSaved<T: Real> {
    /// `[B, T, D]`.
    query: Tensor<T>,
    /// `[B, S, D]`.
    keys: Tensor<T>,
    /// `[B, S, M]`.
    values: Tensor<T>,
    /// `[B, heads, T, S]`.
    weights: Tensor<T>,
}

/// The lengths of the axes.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    source: usize,
    size: usize,
    memory: usize,
}

impl Sizes {
    fn new<T: Real>(query: &Tensor<T>, keys: &Tensor<T>, values: &Tensor<T>) -> Result<Self> {
        let [batch, queries, size] = axes(NAME, query, "[B, T, D]")?;
        let [.., source, _] = axes::<T, 3>(NAME, keys, "[B, S, D]")?;
        let [.., memory] = axes::<T, 3>(NAME, values, "[B, S, M]")?;
        if keys.shape() != [batch, source, size] {
            let problem = "are not a query [B, T, D] and keys [B, S, D]";
            return Err(Error::shapes(NAME, query.shape(), keys.shape(), problem));
        }
        if values.shape()[..2] != [batch, source] {
            let problem = "are not keys [B, S, D] and values [B, S, M]";
            return Err(Error::shapes(NAME, keys.shape(), values.shape(), problem));
        }
        Ok(Sizes { batch, queries, source, size, memory })
    }

    /// About how many multiply-adds there are.
    fn work(self) -> usize {
        self.batch * self.queries * self.source * (self.size + self.memory)
    }
}

/// What one head does for one query of a row of the batch.
#[derive(Clone, Copy)]
struct Look {
    head: usize,
    query: usize,
    /// How many keys the query sees.
    keys: usize,
    /// Where its weights begin in the row's `[heads, T, S]`.
    weights: usize,
}

impl DotAttention {
    /// Checks heads and lengths against the axes: B, S, and `[D, M]`.
    pub(super) fn check(
        &self,
        batch: usize,
        source: usize,
        [size, memory]: [usize; 2],
    ) -> Result<()> {
        if self.heads == 0 || size % self.heads != 0 || memory % self.heads != 0 {
            let problem = format!("{} heads do not divide {size} and {memory}", self.heads);
            return Err(Error::invalid(NAME, problem));
        }
        check_lengths(NAME, &self.lengths, batch, source)
    }

    /// All heads and queries of row `b`.
    fn looks(&self, b: usize, sizes: Sizes) -> impl Iterator<Item = Look> + use<> {
        let (length, causal) = (self.lengths[b], self.causal);
        (0..self.heads * sizes.queries).map(move |i| {
            let (head, query) = (i / sizes.queries, i % sizes.queries);
            let keys = if causal { length.min(query + 1) } else { length };
            Look { head, query, keys, weights: i * sizes.source }
        })
    }
}

impl<T: Real> Op<T> for DotAttention {
    type Saved = DotSaved<T>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [query, keys, values] = inputs_of(NAME, inputs)?;
        let sizes = Sizes::new(query, keys, values)?;
        let Sizes { batch, queries, source, size, memory } = sizes;
        self.check(batch, source, [size, memory])?;
        let (heads, scale) = (self.heads, T::from_f64(self.scale));
        let of_row = heads * queries * source;
        let kernel = T::row_kernel(context.kernels());
        let mut contexts = vec![T::zero(); batch * queries * memory];
        let mut weights = vec![T::zero(); batch * of_row];
        let [q, k, m] = [query, keys, values].map(Stack::new);
        let rows = pieces(&mut contexts, repeat_n(queries * memory, batch))
            .into_iter()
            .zip(pieces(&mut weights, repeat_n(of_row, batch)));
        for_each_row(context, sizes.work(), rows, |b, (c, w)| {
            for look in self.looks(b, sizes) {
                let head = |rows: Rows| rows.of_head(look.head, heads);
                let query = &q.elements[head(q.rows(b)).at(look.query)];
                let keys = head(k.rows(b));
                let w = &mut w[look.weights..][..look.keys];
                // e = scale·(q·k)
                kernel.dot(w, scale, query, &k.elements, keys);
                // w = softmax(e), c = Σ w·m
                let values = head(m.rows(b));
                let c = &mut c[head(Rows::of_width(memory)).at(look.query)];
                weigh_forward(kernel, w, &m, values, c);
            }
        });
        let weights = from_elements(NAME, &[batch, heads, queries, source], weights)?;
        let outputs =
            vec![from_elements(NAME, &[batch, queries, memory], contexts)?, weights.clone()];
        let (query, keys, values) = (query.clone(), keys.clone(), values.clone());
        Ok((outputs, DotSaved { query, keys, values, weights }))
    }

    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let sizes = Sizes::new(&saved.query, &saved.keys, &saved.values)?;
        let Sizes { batch, queries, source, size, memory } = sizes;
        let (heads, scale) = (self.heads, T::from_f64(self.scale));
        let of_row = heads * queries * source;
        let kernel = T::row_kernel(context.kernels());
        let (d_context, d_weights) = (d_outputs.dense(0), d_outputs.dense(1));
        let (d_c, d_w) = (flat(&d_context), flat(&d_weights));
        let [q, k, m] = [&saved.query, &saved.keys, &saved.values].map(Stack::new);
        let w = flat(&saved.weights);

        // w = softmax(e), c = Σ w·m  ⇒  d_e
        let mut d_scores = vec![T::zero(); batch * of_row];
        let rows = pieces(&mut d_scores, repeat_n(of_row, batch)).into_iter();
        for_each_row(context, sizes.work(), rows, |b, d_e| {
            for look in self.looks(b, sizes) {
                let head = |rows: Rows| rows.of_head(look.head, heads);
                weigh_backward(
                    kernel,
                    &w[b * of_row + look.weights..][..look.keys],
                    &m,
                    head(m.rows(b)),
                    &d_c[b * queries * memory..][head(Rows::of_width(memory)).at(look.query)],
                    &d_w[b * of_row + look.weights..][..look.keys],
                    &mut d_e[look.weights..][..look.keys],
                );
            }
        });

        // c = Σ w·m  ⇒  d_m = w·d_c
        if sink.wants(VALUES) {
            add_to(sink, VALUES, saved.values.len(), |d_m| {
                let rows = pieces(d_m, repeat_n(source * memory, batch)).into_iter();
                for_each_row(context, sizes.work(), rows, |b, d_m| {
                    for look in self.looks(b, sizes) {
                        let head = |rows: Rows| rows.of_head(look.head, heads);
                        weigh_backward_memory(
                            kernel,
                            &w[b * of_row + look.weights..][..look.keys],
                            &d_c[b * queries * memory..]
                                [head(Rows::of_width(memory)).at(look.query)],
                            d_m,
                            head(Rows::of_width(memory)),
                        );
                    }
                });
            })?;
        }

        let mut d_query = vec![T::zero(); saved.query.len()];
        add_to(sink, KEYS, saved.keys.len(), |d_k| {
            let rows = pieces(d_k, repeat_n(source * size, batch))
                .into_iter()
                .zip(pieces(&mut d_query, repeat_n(queries * size, batch)));
            for_each_row(context, sizes.work(), rows, |b, (d_k, d_q)| {
                for look in self.looks(b, sizes) {
                    let head = |rows: Rows| rows.of_head(look.head, heads);
                    let query = &q.elements[head(q.rows(b)).at(look.query)];
                    let d_query = &mut d_q[head(Rows::of_width(size)).at(look.query)];
                    let keys = head(k.rows(b));
                    let d_keys = head(Rows::of_width(size));
                    let d_e = &d_scores[b * of_row + look.weights..][..look.keys];
                    // e = scale·(q·k)  ⇒  d_q = Σ scale·d_e·k, d_k = scale·d_e·q
                    let d_e: Vec<T> = d_e.iter().map(|&d_e| scale * d_e).collect();
                    kernel.add_weighted(d_query, &d_e, &k.elements, keys);
                    kernel.add_to_rows(d_k, &d_e, query, d_keys);
                }
            });
        })?;
        sink.add(QUERY, from_elements(NAME, &[batch, queries, size], d_query)?)
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let &[query, keys, values] = inputs else { return Ok(None) };
        let (contexts, weights) = composed::dot(self, query, keys, values)?;
        Ok(Some(vec![contexts, weights]))
    }
}
