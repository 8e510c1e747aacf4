//! Additive attention: a small network with one hidden layer scores each key.

use std::iter::repeat_n;
use std::sync::Arc;

use unspool_tensor::kernels::pointwise::Pointwise;
use unspool_tensor::kernels::reduce::add_scaled;
use unspool_tensor::kernels::rows::Rows;
use unspool_tensor::op::{Forward, inputs_of};
use unspool_tensor::shape::from_elements;
use unspool_tensor::{
    Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var, vectorised,
};

use super::composed;
use super::rows::{
    Stack, add_to, axes, check_lengths, flat, for_each_row, pieces, weigh_backward,
    weigh_backward_memory, weigh_forward,
};

const NAME: &str = "additive_attention";

// The numbers of the inputs.
const QUERY: usize = 0;
const KEYS: usize = 1;
const V: usize = 2;
const VALUES: usize = 3;

/// Additive attention of Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning
/// to align and translate" (2015), appendix A.1.2. For each row b of the batch, and over its first
/// `lengths[b]` keys:
///
/// ```text
/// t[s] = tanh(q + k[s])        [A]
/// e[s] = v · t[s]              the score of key s
/// w    = softmax(e)
/// c    = Σₛ w[s]·m[s]          [M]
/// ```
///
/// Inputs: the query q `[B, A]`, the keys k `[B, S, A]`, `v [A]`, and the values m `[B, S, M]`.
/// Query and keys come projected to A already: the keys do not depend on the query, so this is done
/// once per sequence. Outputs: the contexts c `[B, M]`, and the weights w `[B, S]`, which are 0 in
/// the padding. A row of length 0 gives zeros.
///
/// The activations t are not saved but computed again by the backward pass, in scratch of one row
/// of the batch that stays in the cache: a `tanh` costs less than to write A numbers a key at each
/// step of a decoder into fresh memory, and to keep them all until the backward pass.
#[derive(Clone, Debug)]
pub struct AdditiveAttention {
    /// How many keys each row of the batch has; the others are padding.
    pub lengths: Arc<[usize]>,
}

/// What [`AdditiveAttention`] keeps for its backward pass.
#[derive(Debug)]
pub struct AdditiveSaved<T: Real> {
    /// `[B, A]`.
    query: Tensor<T>,
    /// `[B, S, A]`.
    keys: Tensor<T>,
    /// `[A]`.
    v: Tensor<T>,
    /// `[B, S, M]`.
    values: Tensor<T>,
    /// `[B, S]`.
    weights: Tensor<T>,
}

impl AdditiveAttention {
    /// About how many multiply-adds there are.
    fn work(&self, size: usize, memory: usize) -> usize {
        self.lengths.iter().sum::<usize>() * (size + memory)
    }
}

impl<T: Real> Op<T> for AdditiveAttention {
    type Saved = AdditiveSaved<T>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [query, keys, v, values] = inputs_of(NAME, inputs)?;
        let [batch, source, size] = axes(NAME, keys, "[B, S, A]")?;
        let [.., memory] = axes::<T, 3>(NAME, values, "[B, S, M]")?;
        if query.shape() != [batch, size] {
            return Err(Error::shapes(
                NAME,
                query.shape(),
                keys.shape(),
                "are not [B, A], [B, S, A]",
            ));
        }
        if v.shape() != [size] {
            return Err(Error::shapes(NAME, v.shape(), keys.shape(), "are not [A] and [B, S, A]"));
        }
        if values.shape()[..2] != [batch, source] {
            let problem = "are not keys [B, S, A] and values [B, S, M]";
            return Err(Error::shapes(NAME, keys.shape(), values.shape(), problem));
        }
        check_lengths(NAME, &self.lengths, batch, source)?;

        let work = self.work(size, memory);
        let (kernel, pointwise) = (T::row_kernel(context.kernels()), context.kernels().pointwise());
        let mut contexts = vec![T::zero(); batch * memory];
        let mut weights = vec![T::zero(); batch * source];
        let (q, v_flat) = (flat(query), flat(v));
        let (k, m) = (Stack::new(keys), Stack::new(values));
        let rows = pieces(&mut contexts, repeat_n(memory, batch))
            .into_iter()
            .zip(pieces(&mut weights, repeat_n(source, batch)));
        for_each_row(context, work, rows, |b, (c, w)| {
            let w = &mut w[..self.lengths[b]];
            // t = tanh(q + k)
            let mut t = Vec::new();
            activations(pointwise, &q[b * size..][..size], &k, b, w.len(), &mut t);
            // e = v·t
            kernel.dot(w, T::one(), &v_flat, &t, Rows::of_width(size));
            // w = softmax(e), c = Σ w·m
            weigh_forward(kernel, w, &m, m.rows(b), c);
        });
        let weights = from_elements(NAME, &[batch, source], weights)?;
        let outputs = vec![from_elements(NAME, &[batch, memory], contexts)?, weights.clone()];
        let [query, keys, v, values] = [query, keys, v, values].map(Tensor::clone);
        Ok((outputs, AdditiveSaved { query, keys, v, values, weights }))
    }

    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let [batch, source, memory] = axes(NAME, &saved.values, "[B, S, M]")?;
        let [size] = axes(NAME, &saved.v, "[A]")?;
        let (d_context, d_weights) = (d_outputs.dense(0), d_outputs.dense(1));
        let (d_c, d_w) = (flat(&d_context), flat(&d_weights));
        let (q, v, w) = (flat(&saved.query), flat(&saved.v), flat(&saved.weights));
        let (k, m) = (Stack::new(&saved.keys), Stack::new(&saved.values));
        let work = self.work(size, memory);
        let (kernel, pointwise) = (T::row_kernel(context.kernels()), context.kernels().pointwise());

        // w = softmax(e), c = Σ w·m  ⇒  d_e, d_m
        let mut d_scores = vec![T::zero(); batch * source];
        let rows = pieces(&mut d_scores, repeat_n(source, batch)).into_iter();
        for_each_row(context, work, rows, |b, d_e| {
            let (n, of_row) = (self.lengths[b], b * source);
            weigh_backward(
                kernel,
                &w[of_row..][..n],
                &m,
                m.rows(b),
                &d_c[b * memory..][..memory],
                &d_w[of_row..][..n],
                &mut d_e[..n],
            );
        });
        if sink.wants(VALUES) {
            add_to(sink, VALUES, saved.values.len(), |d_m| {
                let rows = pieces(d_m, repeat_n(source * memory, batch)).into_iter();
                for_each_row(context, work, rows, |b, d_m| {
                    weigh_backward_memory(
                        kernel,
                        &w[b * source..][..self.lengths[b]],
                        &d_c[b * memory..][..memory],
                        d_m,
                        Rows::of_width(memory),
                    );
                });
            })?;
        }

        // Each row of the batch has its own sum for v; they are added in the order of the rows.
        let mut d_query = vec![T::zero(); batch * size];
        let mut d_v_rows = vec![T::zero(); batch * size];
        add_to(sink, KEYS, batch * source * size, |d_k| {
            let rows = pieces(d_k, repeat_n(source * size, batch))
                .into_iter()
                .zip(pieces(&mut d_query, repeat_n(size, batch)))
                .zip(pieces(&mut d_v_rows, repeat_n(size, batch)));
            for_each_row(context, work, rows, |b, ((d_k, d_q), d_v)| {
                let (query, mut t) = (&q[b * size..][..size], Vec::new());
                activations(pointwise, query, &k, b, self.lengths[b], &mut t);
                let d_e = &d_scores[b * source..][..self.lengths[b]];
                backward_row(d_e, &t, &v, d_k, d_q, d_v);
            });
        })?;
        sink.add(QUERY, from_elements(NAME, &[batch, size], d_query)?)?;
        if sink.wants(V) {
            let mut d_v = vec![T::zero(); size];
            for b in 0..batch {
                add_scaled(&mut d_v, T::one(), &d_v_rows[b * size..][..size]);
            }
            sink.add(V, from_elements(NAME, &[size], d_v)?)?;
        }
        Ok(())
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let &[query, keys, v, values] = inputs else { return Ok(None) };
        let (context, weights) = composed::additive(query, keys, v, values, &self.lengths)?;
        Ok(Some(vec![context, weights]))
    }
}

vectorised! {
    /// One row of the batch: from the gradients of its scores, `d_e [n]`, those of its keys `d_k [n, A]`,
    /// of its query `d_q [A]`, and its part of that of `v [A]`; all are added to. `t [n, A]` are the
    /// activations.
    pub(super) fn backward_row<T: Real>(
        d_e: &[T],
        t: &[T],
        v: &[T],
        d_k: &mut [T],
        d_q: &mut [T],
        d_v: &mut [T],
    ) {
        row_backward(d_e, t, v, d_k, d_q, d_v);
    }
}

#[inline(always)]
fn row_backward<T: Real>(d_e: &[T], t: &[T], v: &[T], d_k: &mut [T], d_q: &mut [T], d_v: &mut [T]) {
    let size = v.len().max(1);
    let rows = t.chunks_exact(size).zip(d_k.chunks_exact_mut(size));
    for (&d_e, (t, d_k)) in d_e.iter().zip(rows) {
        // e = v·t  ⇒  d_v = Σ d_e·t
        add_scaled(d_v, d_e, t);
        // e = v·t, t = tanh(q + k)  ⇒  d_(q + k) = d_e·v·(1 - t²), which is d_k, and summed d_q
        for (((d_k, d_q), &t), &v) in d_k.iter_mut().zip(&mut *d_q).zip(t).zip(v) {
            let d = d_e * v * (T::one() - t * t);
            *d_k += d;
            *d_q += d;
        }
    }
}

/// `t = tanh(q + k)` of row `b` of the batch: its query `[A]` and its first `n` keys → `[n, A]`.
pub(super) fn activations<T: Real>(
    pointwise: Pointwise<T>,
    query: &[T],
    keys: &Stack<'_, T>,
    b: usize,
    n: usize,
    t: &mut Vec<T>,
) {
    t.resize(n * query.len(), T::zero());
    add_query(t, query, &keys.elements, keys.rows(b));
    (pointwise.tanh)(t);
}

vectorised! {
    /// `tₛ = q + kₛ` for the rows of t.
    fn add_query<T: Real>(t: &mut [T], query: &[T], keys: &[T], rows: Rows) {
        for (s, t) in t.chunks_exact_mut(query.len().max(1)).enumerate() {
            for ((t, &q), &k) in t.iter_mut().zip(query).zip(&keys[rows.at(s)]) {
                *t = q + k;
            }
        }
    }
}
