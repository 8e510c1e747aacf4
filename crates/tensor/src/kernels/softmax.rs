//! Softmax and its logarithm over slices ("rows"), forward and backward: the fast variants of
//! [`RowKernel`](super::rows::RowKernel).
//!
//! All sums are those of [`reduce`]: masked elements at the end of a row never
//! change a bit. The largest element is subtracted before the exponential, so nothing overflows. A
//! row of which nothing is left (all masked, or all negative infinity) has the softmax 0 and the
//! log-softmax -∞.

use super::reduce;
use crate::{Real, vectorised};

vectorised! {
    /// `x ← exp(x - top) / Σ exp(x - top)`, over the elements to keep; the others become 0.
    pub fn softmax<T: Real>(xs: &mut [T], keep: Option<&[bool]>) {
        if !shift(xs, keep) {
            return xs.fill(T::zero());
        }
        T::exp_slice(xs);
        let scale = T::one() / reduce::sum(xs);
        xs.iter_mut().for_each(|x| *x *= scale);
    }
}

vectorised! {
    /// `x ← x - top - ln Σ exp(x - top)`, over the elements to keep; the others become -∞.
    pub fn log_softmax<T: Real>(xs: &mut [T], keep: Option<&[bool]>) {
        if !shift(xs, keep) {
            return xs.fill(T::from_f64(f64::NEG_INFINITY));
        }
        let mut exps = xs.to_vec();
        T::exp_slice(&mut exps);
        let log_sum = reduce::sum(&exps).ln();
        xs.iter_mut().for_each(|x| *x -= log_sum);
    }
}

/// Sets the masked elements to -∞ and subtracts the largest element; false when nothing is left.
#[inline(always)]
fn shift<T: Real>(xs: &mut [T], keep: Option<&[bool]>) -> bool {
    let nothing = T::from_f64(f64::NEG_INFINITY);
    if let Some(keep) = keep {
        xs.iter_mut().zip(keep).filter(|(_, keep)| !**keep).for_each(|(x, _)| *x = nothing);
    }
    let top = reduce::max(xs);
    if top == nothing {
        return false;
    }
    xs.iter_mut().for_each(|x| *x -= top);
    true
}

vectorised! {
    /// The largest element and `ln Σ exp(x - top)`, two parts of the logarithm of the normaliser
    /// that are kept apart for their precision. `scratch` has the length of `xs` and is overwritten
    /// with `exp(x - top)`.
    pub fn log_normaliser<T: Real>(xs: &[T], scratch: &mut [T]) -> (T, T) {
        let top = reduce::max(xs);
        for (e, &x) in scratch.iter_mut().zip(xs) {
            *e = x - top;
        }
        T::exp_slice(scratch);
        (top, reduce::sum(scratch).ln())
    }
}

vectorised! {
    /// `d ← y·(d - Σ d·y)`: from the gradient of a row's softmax y to that of the row. Elements
    /// whose y is 0, the masked ones, are constants: what comes in there, NaN included, is not
    /// looked at, and what goes out is 0.
    pub fn softmax_backward<T: Real>(ys: &[T], ds: &mut [T]) {
        row_backward(ys, ds);
    }
}

#[inline(always)]
fn row_backward<T: Real>(ys: &[T], ds: &mut [T]) {
    // y = e/Σe  ⇒  d_x = y·(d_y - Σ d_y·y)
    for (d, _) in ds.iter_mut().zip(ys).filter(|(_, y)| y.is_zero()) {
        *d = T::zero();
    }
    let inner = reduce::dot(ds, ys);
    ds.iter_mut().zip(ys).for_each(|(d, &y)| *d = y * (*d - inner));
}

vectorised! {
    /// `d ← d - exp(y)·Σ d`: from the gradient of a row's log-softmax y to that of the row.
    /// Elements whose y is -∞ are constants: what comes in there is not looked at, and what goes
    /// out is 0.
    pub fn log_softmax_backward<T: Real>(ys: &[T], ds: &mut [T]) {
        log_row_backward(ys, ds);
    }
}

#[inline(always)]
fn log_row_backward<T: Real>(ys: &[T], ds: &mut [T]) {
    // y = x - ln Σ eˣ  ⇒  d_x = d_y - eʸ·Σ d_y
    let nothing = T::from_f64(f64::NEG_INFINITY);
    for (d, _) in ds.iter_mut().zip(ys).filter(|(_, y)| **y == nothing) {
        *d = T::zero();
    }
    let sum = reduce::sum(ds);
    let mut ps = ys.to_vec();
    T::exp_slice(&mut ps);
    ds.iter_mut().zip(&ps).for_each(|(d, &p)| *d -= p * sum);
}
