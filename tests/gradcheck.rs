//! The table of cases of the ops and of the layers, row by row: numeric derivatives, twins,
//! precision. (`crates/layers/tests/backward.rs` asks for their gradients in every way.)

use std::collections::HashSet;
use std::sync::Arc;

use ndarray::ArrayD;
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::{
    Settings, Verdict, check_case, check_single, check_twin, distance,
};
use unspool_tensor::op::DynOp;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Kernels, Real, Tape, Tensor};

fn cases() -> Vec<Case> {
    let mut cases = unspool_tensor::cases::cases();
    cases.extend(unspool_layers::cases());
    cases
}

/// The outputs of a case at `inputs`, and the gradients of the inputs for `seeds`, one for each
/// output.
fn run<T: Real>(
    context: Context,
    op: Arc<dyn DynOp<T>>,
    inputs: &[Tensor<T>],
    seeds: &dyn Fn(usize, &Tensor<T>) -> ArrayD<T>,
) -> (Vec<Tensor<T>>, Vec<Tensor<T>>) {
    let tape = Tape::new(context);
    let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
    let outputs = tape.apply_shared(op, &vars).unwrap();
    let seeds: Vec<_> =
        outputs.iter().enumerate().map(|(k, y)| (*y, seeds(k, &y.value()))).collect();
    let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
    let zeros = |x: &Tensor<T>| ArrayD::zeros(x.raw_dim()).into_shared();
    let grads = vars
        .iter()
        .zip(inputs)
        .map(|(&x, value)| grads.wrt(x).cloned().unwrap_or_else(|| zeros(value)));
    (outputs.iter().map(|y| y.value()).collect(), grads.collect())
}

/// Random gradients of an output, which `f32` holds exactly.
fn seed(k: usize, y: &Tensor<f64>) -> ArrayD<f64> {
    let key = Key::new(11).with(k as u64);
    // In logical order, whatever the layout of y.
    let weights = y.iter().enumerate().map(|(i, y)| {
        let weight = f64::from((2.0 * key.uniform(i as u64) - 1.0) as f32);
        if y.is_finite() { weight } else { 0.0 }
    });
    ArrayD::from_shape_vec(y.raw_dim(), weights.collect()).unwrap()
}

fn double<T: Real>(x: &Tensor<T>) -> ArrayD<f64> {
    x.map(|x| x.to_f64())
}

fn assert_near(name: &str, what: &str, a: &[ArrayD<f64>], b: &[ArrayD<f64>], tolerance: f64) {
    for (k, (a, b)) in a.iter().zip(b).enumerate() {
        let distance = distance(a, b);
        assert!(distance <= tolerance, "{name}: {what} {k} is {distance:e} off");
    }
}

#[test]
fn names_are_unique() {
    let mut seen = HashSet::new();
    for case in cases() {
        assert!(seen.insert(case.name.clone()), "{} is there twice", case.name);
    }
}

/// No element of any case is wrong, and none is undecided: all are at places where the op is smooth.
#[test]
fn gradients_agree_with_differences_and_with_dual_numbers() {
    for case in cases() {
        let report = check_case(&case, &Settings { seed: 3, ..Settings::default() });
        assert!(report.passes(), "{report}");
        assert!(report.bound() <= 1e-9, "{report}");
    }
}

/// More than a thousand checks of what is right: nothing fails, and next to nothing is undecided.
#[test]
fn there_are_no_false_alarms() {
    let (mut checks, mut elements, mut undecided) = (0, 0, 0);
    for seed in 100..108 {
        for case in cases() {
            let report = check_case(&case, &Settings { seed, ..Settings::default() });
            assert_ne!(report.verdict(), Verdict::Fail, "{report}");
            checks += 1;
            elements += report.arrays.iter().map(|array| array.checked).sum::<usize>();
            undecided += report.arrays.iter().map(|array| array.undecided).sum::<usize>();
        }
    }
    eprintln!("{checks} checks of {elements} elements, {undecided} undecided");
    assert!(checks >= 1000, "{checks}");
    assert!(1000 * undecided <= elements, "{undecided} of {elements}");
}

#[test]
fn fused_ops_agree_with_their_composed_twins() {
    for case in cases() {
        for (what, distance) in check_twin(&case, Key::new(4)).unwrap() {
            assert!(distance <= 1e-11, "{}: {what} is {distance:e} off", case.name);
        }
    }
}

/// The `f32` code against the `f64` code, as far apart as rounding allows and no farther.
#[test]
fn single_precision_agrees_with_double_within_a_derived_bound() {
    for case in cases() {
        let report = check_single(&case, &Context::sequential(), &Settings::default());
        assert!(report.passes(), "{report}");
        assert!(report.bound() < 2e-2, "{report}");
    }
}

/// In single precision the fast kernels are other functions than the naive ones: near, and, in what
/// takes an exponential, not the same bits, or the choice of kernels would not have reached them.
#[test]
fn naive_kernels_are_honoured_and_fast_ones_are_near() {
    let choosing = ["tanh", "sigmoid", "exp", "softmax", "rnn", "lstm", "gru", "additive", "dot"];
    let mut chosen = vec![false; choosing.len()];
    for case in cases() {
        let inputs: Vec<_> =
            case.sample(Key::new(7)).iter().map(|x| x.mapv(|x| x as f32)).collect();
        let inputs: Vec<_> = inputs.into_iter().map(|x| x.into_shared()).collect();
        let run = |kernels| {
            let context = Context::sequential().with_kernels(kernels);
            let op: Arc<dyn DynOp<f32>> = case.op.clone();
            run(context, op, &inputs, &|k, y| {
                seed(k, &double(y).into_shared()).mapv(|weight| weight as f32)
            })
        };
        let ((fast_y, fast_d), (naive_y, naive_d)) =
            (run(Kernels::default()), run(Kernels::naive()));
        let wide = |xs: &[Tensor<f32>]| xs.iter().map(double).collect::<Vec<_>>();
        assert_near(&case.name, "output", &wide(&fast_y), &wide(&naive_y), 2e-6);
        assert_near(&case.name, "gradient", &wide(&fast_d), &wide(&naive_d), 5e-6);
        for (name, chosen) in choosing.iter().zip(&mut chosen) {
            *chosen |= case.name.starts_with(name) && fast_y != naive_y;
        }
    }
    for (name, chosen) in choosing.iter().zip(chosen) {
        assert!(chosen, "no case of {name} gives other bits with naive kernels");
    }
}

#[test]
fn reruns_repeat() {
    for case in cases() {
        let tape = Tape::<f64>::new(Context::sequential());
        let vars: Vec<_> = case.sample(Key::new(8)).into_iter().map(|x| tape.input(x)).collect();
        let outputs = tape.apply_shared(case.op.clone(), &vars).unwrap();
        let inputs: Vec<_> = vars.iter().map(|x| x.value()).collect();
        let again = tape.rerun(0, &inputs).unwrap();
        for (y, again) in outputs.iter().zip(&again) {
            assert_eq!(&y.value(), again, "{} again", case.name);
        }
    }
}
