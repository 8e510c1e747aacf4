//! What all attentions share: for one query, from the scores of its keys to the weights and the
//! context.
//!
//! The functions work on the `n` keys that a query may see, and on nothing else: what stands in the
//! padding, NaN included, is never read, and more padding changes no bits.

use std::borrow::Cow;

use rayon::prelude::*;
use unspool_tensor::kernels::rows::{RowKernel, Rows};
use unspool_tensor::{Context, Error, GradSink, Real, Result, Tensor};

/// From scores to the context: `w = softmax(e)`, `c = Σₛ wₛ·mₛ`.
///
/// `weights [n]` holds the scores e and then the weights w; `memory` has the values m, `[n, M]`,
/// and `rows` says where those of `memory` are. `context [M]` holds zeros and then c.
pub(super) fn weigh_forward<T: Real>(
    kernel: &dyn RowKernel<T>,
    weights: &mut [T],
    memory: &Stack<'_, T>,
    rows: Rows,
    context: &mut [T],
) {
    // w = softmax(e)
    kernel.softmax(weights, None);
    // c = Σ w·m
    kernel.add_weighted(context, weights, &memory.elements, rows);
}

/// The gradient of the scores, from those of the context and of the weights.
///
/// `weights`, `d_weights` and `d_scores` are `[n]`, `memory [n, M]`, `d_context [M]`. `d_scores` is
/// written.
pub(super) fn weigh_backward<T: Real>(
    kernel: &dyn RowKernel<T>,
    weights: &[T],
    memory: &Stack<'_, T>,
    rows: Rows,
    d_context: &[T],
    d_weights: &[T],
    d_scores: &mut [T],
) {
    // c = Σ w·m  ⇒  d_w = d_c·m, beside what comes from the weights as an output
    kernel.dot(d_scores, T::one(), d_context, &memory.elements, rows);
    d_scores.iter_mut().zip(d_weights).for_each(|(d_w, &d_output)| *d_w += d_output);
    // w = softmax(e)  ⇒  d_e = w·(d_w - Σ w·d_w)
    kernel.softmax_backward(weights, d_scores);
}

/// The other half of [`weigh_backward`]: adds to the gradient of the values, `[n, M]`.
pub(super) fn weigh_backward_memory<T: Real>(
    kernel: &dyn RowKernel<T>,
    weights: &[T],
    d_context: &[T],
    d_memory: &mut [T],
    rows: Rows,
) {
    // c = Σ w·m  ⇒  d_m = w·d_c
    kernel.add_to_rows(d_memory, weights, d_context, rows);
}

/// The lengths of the axes of `x`, whose names stand in errors.
pub(super) fn axes<T: Real, const N: usize>(
    op: &str,
    x: &Tensor<T>,
    names: &str,
) -> Result<[usize; N]> {
    (x.shape().try_into()).map_err(|_| Error::shape(op, x.shape(), format!("is not {names}")))
}

/// Whether there is a length for each row of the batch and none above the number of keys.
pub(super) fn check_lengths(op: &str, lengths: &[usize], batch: usize, keys: usize) -> Result<()> {
    if lengths.len() != batch {
        let problem = format!("has {} lengths for a batch of {batch}", lengths.len());
        return Err(Error::invalid(op, problem));
    }
    match lengths.iter().position(|&length| length > keys) {
        None => Ok(()),
        Some(b) => Err(Error::invalid(
            op,
            format!("row {b} has length {}, and there are {keys} keys", lengths[b]),
        )),
    }
}

/// The elements in standard layout; copied only when they are in another.
pub(super) fn flat<T: Real>(x: &Tensor<T>) -> Cow<'_, [T]> {
    match x.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(x.iter().copied().collect()),
    }
}

/// The matrices of an array `[B, rows, width]` as they lie in memory, time-major or batch-major.
pub(super) struct Stack<'a, T: Real> {
    /// The memory.
    pub elements: Cow<'a, [T]>,
    /// From one matrix, and from one of its rows, to the next.
    strides: [usize; 2],
    width: usize,
}

impl<'a, T: Real> Stack<'a, T> {
    /// The matrices of `x`; copied only when its rows are not contiguous.
    pub fn new(x: &'a Tensor<T>) -> Self {
        if let (Some(memory), &[by_matrix, by_row, 1]) = (x.as_slice_memory_order(), x.strides())
            && let (Ok(by_matrix), Ok(by_row)) = (by_matrix.try_into(), by_row.try_into())
            && let Some(&width) = x.shape().last()
        {
            return Stack { elements: memory.into(), strides: [by_matrix, by_row], width };
        }
        let [rows, width] = [1, 2].map(|axis| x.shape().get(axis).copied().unwrap_or(1));
        Stack { elements: flat(x), strides: [rows * width, width], width }
    }

    /// The rows of matrix `b`.
    pub fn rows(&self, b: usize) -> Rows {
        let [by_matrix, stride] = self.strides;
        Rows { start: b * by_matrix, stride, width: self.width }
    }
}

/// Cuts a slice into consecutive pieces of these lengths.
pub(super) fn pieces<T>(
    mut slice: &mut [T],
    lengths: impl IntoIterator<Item = usize>,
) -> Vec<&mut [T]> {
    let lengths = lengths.into_iter();
    lengths.map(|length| slice.split_off_mut(..length).unwrap_or_default()).collect()
}

/// Runs `run` for each row of the batch, on several threads when the context has them and there is
/// enough `work` (multiply-adds over all rows). Rows share nothing, so the bits do not depend on
/// it.
pub(super) fn for_each_row<R: Send>(
    context: &Context,
    work: usize,
    rows: impl Iterator<Item = R>,
    run: impl Fn(usize, R) + Send + Sync,
) {
    if !context.parallel(work) {
        return rows.enumerate().for_each(|(b, row)| run(b, row));
    }
    let rows: Vec<R> = rows.collect();
    context.install(|| rows.into_par_iter().enumerate().for_each(|(b, row)| run(b, row)));
}

/// Lets `add` add to the gradient of an input of `len` elements, as one slice in standard layout.
/// When nobody wants that gradient the slice is scratch: what else `add` computes is needed all the
/// same.
pub(super) fn add_to<T: Real>(
    sink: &mut GradSink<'_, T>,
    input: usize,
    len: usize,
    add: impl FnOnce(&mut [T]),
) -> Result<()> {
    if !sink.wants(input) {
        add(&mut vec![T::zero(); len]);
        return Ok(());
    }
    sink.add_in_place(input, |mut gradient| match gradient.as_slice_mut() {
        Some(slice) => add(slice),
        None => {
            // Another op has moved in a gradient of another layout.
            let mut elements: Vec<T> = gradient.iter().copied().collect();
            add(&mut elements);
            gradient.iter_mut().zip(elements).for_each(|(d, element)| *d = element);
        }
    })
}
