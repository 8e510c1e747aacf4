//! The checker: a backward pass against central differences, against dual numbers, and against the
//! backward pass of the op's composed twin.

use std::sync::Arc;

use ndarray::{ArrayBase, ArrayD, Data, Dimension};

use crate::cases::Case;
use crate::op::DynOp;
use crate::random::Key;
use crate::tape::BackwardMode;
use crate::{Context, Dual, Error, Result, Tape, Tensor};

/// The largest disagreement found in the gradient of one input.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The input's name.
    pub input: String,
    /// The element's index.
    pub index: Vec<usize>,
    /// What the backward pass gives.
    pub analytic: f64,
    /// What the oracle gives.
    pub numeric: f64,
    /// The difference, less what rounding may be of it, as a share of the array's largest gradient,
    /// or of 1e-6 when all are below.
    pub error: f64,
}

/// Where the numbers that a gradient is compared to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oracle {
    /// Fourth-order central differences: `(8(f₊₁ - f₋₁) - (f₊₂ - f₋₂)) / 12h`.
    Differences,
    /// Forward-mode differentiation of the op's naive forward.
    DualNumbers,
}

/// An array whose largest gradient is below this is compared as if it were this: what is left there
/// is rounding.
const SMALLEST: f64 = 1e-6;

/// Compares the whole gradient of a case with an oracle: one disagreement, the largest, for each
/// input.
///
/// The outputs are weighted with random numbers, the gradient is that of their sum. Outputs that
/// are not finite (the log-probabilities of masked elements) are constants and take no part.
///
/// # Errors
/// Those of the op.
pub fn check_case(case: &Case, oracle: Oracle, key: Key) -> Result<Vec<Disagreement>> {
    let context = Context::sequential().with_key(key);
    let inputs = case.sample(key);
    let op: Arc<dyn DynOp<f64>> = case.op.clone();
    let tape = Tape::new(context.clone());
    let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
    let outputs = tape.apply_shared(op.clone(), &vars)?;
    let weights: Vec<_> =
        outputs.iter().enumerate().map(|(k, y)| random_weights(key, k, &y.value())).collect();
    let seeds: Vec<_> = outputs.into_iter().zip(weights.iter().cloned()).collect();
    let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding)?;

    let mut worst = Vec::new();
    for (i, input) in case.inputs.iter().enumerate() {
        let (numeric, rounding) = match oracle {
            Oracle::Differences => differences(op.as_ref(), &context, &inputs, i, &weights)?,
            Oracle::DualNumbers => (dual_numbers(case, &context, &inputs, i, &weights)?, 0.0),
        };
        let analytic = match grads.wrt(vars[i]) {
            Some(analytic) => analytic.to_owned(),
            None => ArrayD::zeros(numeric.raw_dim()),
        };
        let scale = numeric.iter().fold(SMALLEST, |top: f64, d| top.max(d.abs()));
        let mut found: Option<Disagreement> = None;
        for ((index, &a), &n) in analytic.indexed_iter().zip(&numeric) {
            let off = (a - n).abs();
            let error =
                if off.is_nan() { f64::INFINITY } else { (off - rounding).max(0.0) / scale };
            if found.as_ref().is_none_or(|found| error > found.error) {
                let (input, index) = (input.name.to_string(), index.slice().to_vec());
                found = Some(Disagreement { input, index, analytic: a, numeric: n, error });
            }
        }
        worst.extend(found);
    }
    Ok(worst)
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

/// The differences, and how much of them rounding may be.
fn differences(
    op: &dyn DynOp<f64>,
    context: &Context,
    inputs: &[ArrayD<f64>],
    input: usize,
    weights: &[ArrayD<f64>],
) -> Result<(ArrayD<f64>, f64)> {
    // The fourth-order formula's error is about h⁴; rounding adds about 1e-16 / h.
    const H: f64 = 1e-3;
    let mut largest = 0.0_f64;
    let mut value = |element: usize, shift: f64| -> Result<f64> {
        let mut moved: Vec<_> = inputs.iter().map(|x| x.clone().into_shared()).collect();
        if let Some(x) = moved[input].iter_mut().nth(element) {
            *x += shift;
        }
        let (outputs, _) = op.run_forward(context, &moved)?;
        let weighted = |(y, weight): (&f64, &f64)| if *weight == 0.0 { 0.0 } else { y * weight };
        let terms = || outputs.iter().zip(weights).flat_map(|(y, w)| y.iter().zip(w)).map(weighted);
        largest = largest.max(terms().map(f64::abs).sum());
        Ok(terms().sum())
    };
    let mut numeric = ArrayD::zeros(inputs[input].raw_dim());
    for (element, d) in numeric.iter_mut().enumerate() {
        let near = value(element, H)? - value(element, -H)?;
        let far = value(element, 2.0 * H)? - value(element, -2.0 * H)?;
        *d = (8.0 * near - far) / (12.0 * H);
    }
    // Each of the four values is off by a rounding of its terms.
    Ok((numeric, 18.0 / (12.0 * H) * f64::EPSILON * largest))
}

fn dual_numbers(
    case: &Case,
    context: &Context,
    inputs: &[ArrayD<f64>],
    input: usize,
    weights: &[ArrayD<f64>],
) -> Result<ArrayD<f64>> {
    let op: Arc<dyn DynOp<Dual>> = case.op.clone();
    let mut numeric = ArrayD::zeros(inputs[input].raw_dim());
    for (element, d) in numeric.iter_mut().enumerate() {
        let mut duals: Vec<_> =
            inputs.iter().map(|x| x.map(|&x| Dual::new(x, 0.0)).into_shared()).collect();
        if let Some(x) = duals[input].iter_mut().nth(element) {
            x.slope = 1.0;
        }
        let (outputs, _) = op.run_forward(context, &duals)?;
        for (out, weight) in outputs.iter().zip(weights) {
            if out.shape() != weight.shape() {
                return Err(Error::shapes(
                    op.op_name(),
                    weight.shape(),
                    out.shape(),
                    "of two runs differ",
                ));
            }
            *d += out.iter().zip(weight).map(|(out, weight)| out.slope * weight).sum::<f64>();
        }
    }
    Ok(numeric)
}
