//! The specification of the row operations: one loop after the other, sums in the type of the numbers
//! and from the first to the last.

use super::{RowKernel, Rows};
use crate::Real;
use crate::kernels::cross_entropy::{Normaliser, TargetDistribution};

/// The specification.
#[derive(Clone, Copy, Debug)]
pub struct Naive;

/// The largest element, NaN when there is one; negative infinity when there is none.
fn largest<T: Real>(xs: impl Iterator<Item = T>) -> T {
    xs.fold(T::from_f64(f64::NEG_INFINITY), T::maximum)
}

/// Of each element of a row, whether it is kept.
fn kept(keep: Option<&[bool]>) -> impl Fn(usize) -> bool + '_ {
    move |at| keep.is_none_or(|keep| keep[at])
}

/// The largest kept element.
fn top<T: Real>(xs: &[T], keep: Option<&[bool]>) -> T {
    let kept = kept(keep);
    largest(xs.iter().enumerate().filter(|&(at, _)| kept(at)).map(|(_, &x)| x))
}

impl<T: Real> RowKernel<T> for Naive {
    fn name(&self) -> &str {
        "naive"
    }

    fn softmax(&self, xs: &mut [T], keep: Option<&[bool]>) {
        let (top, kept) = (top(xs, keep), kept(keep));
        if top == T::from_f64(f64::NEG_INFINITY) {
            return xs.fill(T::zero());
        }
        let mut sum = T::zero();
        for (at, x) in xs.iter_mut().enumerate() {
            *x = if kept(at) { (*x - top).exp() } else { T::zero() };
            sum += *x;
        }
        xs.iter_mut().for_each(|x| *x /= sum);
    }

    fn softmax_backward(&self, ys: &[T], ds: &mut [T]) {
        // y = e/Σe  ⇒  d_x = y·(d_y - Σ d_y·y)
        let mut inner = T::zero();
        for (d, &y) in ds.iter_mut().zip(ys) {
            if y.is_zero() {
                *d = T::zero();
            }
            inner += *d * y;
        }
        ds.iter_mut().zip(ys).for_each(|(d, &y)| *d = y * (*d - inner));
    }

    fn log_softmax(&self, xs: &mut [T], keep: Option<&[bool]>) {
        let (top, kept) = (top(xs, keep), kept(keep));
        let nothing = T::from_f64(f64::NEG_INFINITY);
        if top == nothing {
            return xs.fill(nothing);
        }
        let mut sum = T::zero();
        for (at, x) in xs.iter_mut().enumerate() {
            *x = if kept(at) { *x - top } else { nothing };
            sum += x.exp();
        }
        let log_sum = sum.ln();
        xs.iter_mut().for_each(|x| *x -= log_sum);
    }

    fn log_softmax_backward(&self, ys: &[T], ds: &mut [T]) {
        // y = x - ln Σ eˣ  ⇒  d_x = d_y - eʸ·Σ d_y
        let mut sum = T::zero();
        for (d, &y) in ds.iter_mut().zip(ys) {
            if y == T::from_f64(f64::NEG_INFINITY) {
                *d = T::zero();
            }
            sum += *d;
        }
        ds.iter_mut().zip(ys).for_each(|(d, &y)| *d -= y.exp() * sum);
    }

    fn log_normaliser(&self, xs: &[T], _: &mut [T]) -> (T, T) {
        let top = top(xs, None);
        let sum: T = xs.iter().map(|&x| (x - top).exp()).sum();
        (top, sum.ln())
    }

    fn cross_entropy(
        &self,
        q: &TargetDistribution<T>,
        target: usize,
        scores: &mut [T],
    ) -> (T, Normaliser<T>) {
        // With z = x - top: -Σ q·ln p = ln Σ exp z - Σ q·z, as Σ q = 1. A class without q takes no
        // part, even when its score is infinite.
        let top = top(scores, None);
        let (mut sum, mut expected) = (T::zero(), q.on_target * (scores[target] - top));
        for (class, x) in scores.iter_mut().enumerate() {
            let z = *x - top;
            if q.spread != T::zero() && Some(class) != q.hole {
                expected += q.spread * z;
            }
            *x = z.exp();
            sum += *x;
        }
        (sum.ln() - expected, Normaliser { top, sum })
    }

    fn cross_entropy_backward(
        &self,
        q: &TargetDistribution<T>,
        target: usize,
        sum: T,
        d_loss: T,
        exps: &mut [T],
    ) {
        // loss = ln Σ exp z - Σ q·z  ⇒  d_z = (p - q)·d_loss, with p = exp z / Σ exp z
        for (class, e) in exps.iter_mut().enumerate() {
            let spread = if Some(class) == q.hole { T::zero() } else { q.spread };
            let on_target = if class == target { q.on_target } else { T::zero() };
            *e = (*e / sum - (spread + on_target)) * d_loss;
        }
    }

    fn dot(&self, scores: &mut [T], scale: T, query: &[T], keys: &[T], rows: Rows) {
        for (s, e) in scores.iter_mut().enumerate() {
            let products = query.iter().zip(&keys[rows.at(s)]).map(|(&q, &k)| q * k);
            *e = scale * products.sum();
        }
    }

    fn add_weighted(&self, sum: &mut [T], weights: &[T], elements: &[T], rows: Rows) {
        for (s, &w) in weights.iter().enumerate() {
            for (sum, &x) in sum.iter_mut().zip(&elements[rows.at(s)]) {
                *sum += w * x;
            }
        }
    }

    fn add_to_rows(&self, elements: &mut [T], weights: &[T], y: &[T], rows: Rows) {
        for (s, &w) in weights.iter().enumerate() {
            for (x, &y) in elements[rows.at(s)].iter_mut().zip(y) {
                *x += w * y;
            }
        }
    }

    fn gather(&self, table: &[T], width: usize, indices: &[usize], rows: &mut [T]) {
        for (i, &index) in indices.iter().enumerate() {
            for at in 0..width {
                rows[i * width + at] = table[index * width + at];
            }
        }
    }

    fn scatter_add(
        &self,
        d_table: &mut [T],
        width: usize,
        indices: &[usize],
        skip: Option<usize>,
        ds: &[T],
    ) {
        for (i, &index) in indices.iter().enumerate().filter(|&(_, &index)| Some(index) != skip) {
            for at in 0..width {
                d_table[index * width + at] += ds[i * width + at];
            }
        }
    }
}
