//! The `f32` code of an op against its `f64` code, within a bound that is derived, not chosen.
//!
//! Finite differences in `f32` say little: rounding leaves three digits of them. But the `f64` code
//! is proved by [`check`](super::check()), so the `f32` code, with its fast kernels, need only agree
//! with it as far as rounding allows. How far that is, [`Rounded`] numbers tell: the op is run over
//! them, forward and backward.

use std::sync::Arc;

use ndarray::{ArrayD, Dimension};

use super::check::Settings;
use super::report::{ArrayReport, Element, Fault, Report, Verdict};
use super::subject::Argument;
use crate::cases::Case;
use crate::op::DynOp;
use crate::random::Key;
use crate::tape::BackwardMode;
use crate::{Context, Real, Result, Rounded, Tape, Tensor};

/// The bound is that of sums in the order of the naive kernels; another order has other partial
/// sums.
const OTHER_ORDERS: f64 = 4.0;
/// A bound of this share of an array's largest number says nothing any more.
const USELESS: f64 = 0.05;
/// What is below this is lost where `f32` has no more small numbers.
const SMALLEST: f64 = 1e-37;

/// Checks the `f32` code of a case: outputs and gradients, at random inputs that `f32` holds
/// exactly.
///
/// In the report, `numeric` is what `f64` gives, `analytic` what `f32` gives, and the errors and
/// bounds are shares of each array's largest number.
pub fn check_single(case: &Case, context: &Context, settings: &Settings) -> Report {
    let mut report = Report {
        subject: format!("{} in f32", case.name),
        tolerance: 0.0,
        seed: settings.seed,
        arrays: Vec::new(),
        faults: Vec::new(),
    };
    match compare(case, context, settings) {
        Ok(arrays) => report.arrays = arrays,
        Err(error) => {
            report.faults.push(Fault::Failed { pass: "forward", problem: error.to_string() });
        }
    }
    report
}

/// Outputs, then gradients.
type Run<T> = (Vec<Tensor<T>>, Vec<Tensor<T>>);

fn compare(case: &Case, context: &Context, settings: &Settings) -> Result<Vec<ArrayReport>> {
    let key = Key::new(settings.seed);
    let context = context.clone().with_key(key);
    let inputs: Vec<ArrayD<f32>> = case.sample(key).iter().map(|x| x.mapv(|x| x as f32)).collect();
    let op: Arc<dyn DynOp<f32>> = case.op.clone();
    let narrow = run(&context, op, &inputs, |x| x)?;
    // The fast kernels are for f32: the specification is naive.
    let exact = |x: f32| Rounded::exact(f64::from(x));
    let op: Arc<dyn DynOp<Rounded>> = case.op.clone();
    let wide = run(&context, op, &inputs, exact)?;

    let outputs =
        (0..wide.0.len()).map(|k| Argument::new(format!("output {k}"), ArrayD::zeros(vec![])));
    let gradients = case.inputs.iter().map(|input| Argument {
        axes: input.axes.iter().map(|&axis| axis.into()).collect(),
        blocks: input.blocks.iter().map(|&block| block.into()).collect(),
        ..Argument::new(format!("gradient of {}", input.name), ArrayD::zeros(input.shape.clone()))
    });
    let arguments: Vec<Argument> = outputs.chain(gradients).collect();
    let narrow = narrow.0.iter().chain(&narrow.1);
    let wide = wide.0.iter().chain(&wide.1);
    Ok(arguments.iter().zip(narrow.zip(wide)).map(|(a, (n, w))| array(a, n, w)).collect())
}

/// The outputs, and the gradients for random gradients of the outputs.
fn run<T: Real>(
    context: &Context,
    op: Arc<dyn DynOp<T>>,
    inputs: &[ArrayD<f32>],
    number: impl Fn(f32) -> T,
) -> Result<Run<T>> {
    let tape = Tape::new(context.clone());
    let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.mapv(&number))).collect();
    let outputs = tape.apply_shared(op, &vars)?;
    let seeds = outputs.iter().enumerate().map(|(k, y)| {
        let key = context.key("seeds").with(k as u64);
        let value = y.value();
        let weights = value.iter().enumerate().map(|(i, y)| match y.finite() {
            true => number((2.0 * key.uniform(i as u64) - 1.0) as f32),
            false => T::zero(),
        });
        let weights = ArrayD::from_shape_vec(value.raw_dim(), weights.collect());
        (*y, weights.unwrap_or_else(|_| ArrayD::zeros(value.raw_dim())))
    });
    let grads = tape.vector_jacobian(&seeds.collect::<Vec<_>>(), BackwardMode::Adding)?;
    let zeros = |x: &Tensor<T>| ArrayD::zeros(x.raw_dim()).into_shared();
    let gradients =
        vars.iter().map(|&x| grads.wrt(x).cloned().unwrap_or_else(|| zeros(&x.value())));
    let gradients = gradients.collect();
    Ok((outputs.iter().map(|y| y.value()).collect(), gradients))
}

fn array(argument: &Argument, narrow: &Tensor<f32>, wide: &Tensor<Rounded>) -> ArrayReport {
    let finite = wide.iter().map(|x| x.value.abs()).filter(|x| x.is_finite());
    let scale = finite.fold(0.0, f64::max);
    // An array of zeros has no largest number: there, errors and bounds stand as they are.
    let share = |x: f64| match scale {
        _ if x <= SMALLEST => 0.0,
        0.0 => x,
        scale => x / scale,
    };
    let mut array = ArrayReport::new(&argument.name, narrow.shape(), scale, narrow.len());
    for ((index, &narrow), wide) in narrow.indexed_iter().zip(wide) {
        let narrow = f64::from(narrow);
        let bound = OTHER_ORDERS * wide.error + SMALLEST;
        let off = match (narrow.is_finite(), wide.value.is_finite()) {
            (true, true) => (narrow - wide.value).abs(),
            // Infinite in both, or too large for f32.
            (false, _)
                if narrow == wide.value || wide.value.abs() + bound > f64::from(f32::MAX) =>
            {
                0.0
            }
            (false, false) if narrow.is_nan() && wide.value.is_nan() => 0.0,
            _ => f64::INFINITY,
        };
        if wide.value.is_finite() {
            array.error = array.error.max(share(off));
            array.bound = array.bound.max(share(bound));
        }
        let useless = !(bound.is_finite() && share(bound) <= USELESS) && wide.value.is_finite();
        let verdict = match off <= bound {
            // A bound that allows anything decides nothing.
            _ if useless && off.is_finite() => Verdict::Undecided,
            true => continue,
            false => Verdict::Fail,
        };
        array.add(Element {
            name: argument.place(index.slice()),
            index: index.slice().to_vec(),
            analytic: narrow,
            numeric: wide.value,
            bound,
            dual: None,
            error: share(off),
            verdict,
            doubt: None,
        });
    }
    array.sorted()
}
