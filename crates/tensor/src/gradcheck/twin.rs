//! Comparing arrays, and a fused op with its composed twin.

use std::sync::Arc;

use ndarray::{ArrayBase, ArrayD, Data, Dimension};

use crate::cases::Case;
use crate::op::DynOp;
use crate::random::Key;
use crate::tape::BackwardMode;
use crate::{Context, Error, Result, Tape, Tensor};

/// Compares a case with its composed twin: the [`distance`] of each output and of the gradient of
/// each input, with its name. Empty when the case has no twin.
///
/// # Errors
/// Those of the op and of the twin.
pub fn check_twin(case: &Case, key: Key) -> Result<Vec<(String, f64)>> {
    let Some(twin) = &case.twin else { return Ok(Vec::new()) };
    let tape = Tape::new(Context::sequential().with_key(key));
    let vars = || -> Vec<_> { case.sample(key).into_iter().map(|x| tape.input(x)).collect() };
    let (fused_inputs, twin_inputs) = (vars(), vars());
    let op: Arc<dyn DynOp<f64>> = case.op.clone();
    let fused = tape.apply_shared(op, &fused_inputs)?;
    let composed = twin(&tape, &twin_inputs)?;
    if fused.len() != composed.len() {
        let op = format!("{} and its twin", case.name);
        let (expected, found) = (fused.len(), composed.len());
        return Err(Error::Count { op, what: "outputs", expected, found });
    }
    let mut distances = Vec::new();
    let mut seeds = Vec::new();
    for (k, (&fused, &composed)) in fused.iter().zip(&composed).enumerate() {
        let (y, twin_y) = (fused.value(), composed.value());
        distances.push((format!("output {k}"), distance(&y, &twin_y)));
        let weights = random_weights(key, k, &y);
        seeds.extend([(fused, weights.clone()), (composed, weights)]);
    }
    let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding)?;
    for ((input, &fused), &composed) in case.inputs.iter().zip(&fused_inputs).zip(&twin_inputs) {
        let zeros = || ArrayD::zeros(fused.value().raw_dim()).into_shared();
        let d = grads.wrt(fused).cloned().unwrap_or_else(zeros);
        let twin_d = grads.wrt(composed).cloned().unwrap_or_else(zeros);
        distances.push((format!("gradient of {}", input.name), distance(&d, &twin_d)));
    }
    Ok(distances)
}

/// How far `a` is from `b`, as everywhere in this project: `max|a - b| / max(1, max|b|)`.
///
/// Elements that are not finite must be the same in both and take no other part. Infinite when they
/// are not, or when the shapes differ.
pub fn distance<S, U, D, E>(a: &ArrayBase<S, D>, b: &ArrayBase<U, E>) -> f64
where
    S: Data<Elem = f64>,
    U: Data<Elem = f64>,
    D: Dimension,
    E: Dimension,
{
    if a.shape() != b.shape() {
        return f64::INFINITY;
    }
    let (mut largest, mut scale) = (0.0f64, 1.0f64);
    for (&a, &b) in a.iter().zip(b) {
        if b.is_finite() && a.is_finite() {
            (largest, scale) = (largest.max((a - b).abs()), scale.max(b.abs()));
        } else if a != b && !(a.is_nan() && b.is_nan()) {
            return f64::INFINITY;
        }
    }
    largest / scale
}

/// Random weights in -1 to 1 for the elements of output `k`; 0 for those that are not finite.
fn random_weights(key: Key, k: usize, y: &Tensor<f64>) -> ArrayD<f64> {
    let key = key.named("weights").with(k as u64);
    let mut counter = 0;
    y.map(|y| {
        counter += 1;
        if y.is_finite() { 2.0 * key.uniform(counter) - 1.0 } else { 0.0 }
    })
}
