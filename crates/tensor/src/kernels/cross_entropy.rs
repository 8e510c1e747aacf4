//! The cross-entropy of the softmax of a row of scores, forward and backward: the
//! fast variants of [`RowKernel`](super::rows::RowKernel).
//!
//! Both work in place, so that a row stays in the cache. Nothing overflows, however large the scores
//! are.

use super::reduce;
use crate::{Real, vectorised};

/// The target distribution `q` of a row: `spread` on every class, `on_target` more on the target,
/// and nothing on `hole`. It sums to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetDistribution<T> {
    /// On every class.
    pub spread: T,
    /// More of it on the target.
    pub on_target: T,
    /// A class with nothing.
    pub hole: Option<usize>,
}

/// What the softmax of a row `x` is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normaliser<T> {
    /// The largest score.
    pub top: T,
    /// `Σ exp(x - top)`.
    pub sum: T,
}

vectorised! {
    /// `-Σ q·ln softmax(x)` of a row of scores `x [V]`, and its normaliser; `x ← exp(x - top)`.
    pub fn cross_entropy<T: Real>(
        q: &TargetDistribution<T>,
        target: usize,
        scores: &mut [T],
    ) -> (T, Normaliser<T>) {
        // With z = x - top: -Σ q·ln p = ln Σ exp z - Σ q·z, as Σ q = 1.
        let top = reduce::max(scores);
        scores.iter_mut().for_each(|x| *x -= top);
        let mut expected = q.on_target * scores[target];
        if q.spread != T::zero() {
            // Left out, not subtracted: a masked class has a score of negative infinity.
            let at_hole = q.hole.map(|hole| std::mem::replace(&mut scores[hole], T::zero()));
            expected += q.spread * reduce::sum(scores);
            if let (Some(hole), Some(z)) = (q.hole, at_hole) {
                scores[hole] = z;
            }
        }
        T::exp_slice(scores);
        let sum = reduce::sum(scores);
        (sum.ln() - expected, Normaliser { top, sum })
    }
}

vectorised! {
    /// From `exp(x - top) [V]` to the gradient of the row of scores x, given its normaliser's sum and
    /// the gradient of its loss.
    pub fn cross_entropy_backward<T: Real>(
        q: &TargetDistribution<T>,
        target: usize,
        sum: T,
        d_loss: T,
        exps: &mut [T],
    ) {
        // loss = ln Σ exp z - Σ q·z  ⇒  d_z = (p - q)·d_loss, with p = exp z / Σ exp z
        let (scale, spread) = (d_loss / sum, d_loss * q.spread);
        exps.iter_mut().for_each(|e| *e = *e * scale - spread);
        exps[target] -= d_loss * q.on_target;
        if let Some(hole) = q.hole {
            exps[hole] += spread;
        }
    }
}
