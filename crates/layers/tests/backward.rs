//! Every backward pass of the table of cases, of the ops and of the layers, in every way in which
//! it can be asked for: against dual numbers, element by element.
//!
//! This is what mutants of backward passes are tried on (`tests/mutants.sh`), so it takes seconds.
//! Numeric derivatives, twins and precision are the business of `tests/gradcheck.rs`.

use std::sync::Arc;

use ndarray::{ArrayD, Axis};
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::op::DynOp;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Dual, Kernels, Tape, Tensor};

fn cases() -> Vec<Case> {
    let mut cases = unspool_tensor::cases::cases();
    cases.extend(unspool_layers::cases());
    cases
}

/// How far a gradient may be off dual numbers, by [`distance`].
const TOLERANCE: f64 = 1e-12;

/// How a backward pass is asked for.
struct Ask<'a> {
    context: Context,
    /// The memory layout of inputs, incoming gradients and what is there before.
    layout: fn(&ArrayD<f64>) -> ArrayD<f64>,
    mode: BackwardMode,
    /// Which inputs want a gradient.
    wanted: &'a dyn Fn(usize) -> bool,
    /// Which outputs something depends on.
    used: &'a dyn Fn(usize) -> bool,
    /// Whether the gradients of the inputs already hold something.
    before: bool,
    /// Whether the op runs on what another op has made of the inputs (`1·x`), not on leaves.
    behind: bool,
    /// How often it runs on the same inputs; each run takes its share of the gradients.
    runs: usize,
}

const ALL: &dyn Fn(usize) -> bool = &|_| true;

impl Default for Ask<'_> {
    fn default() -> Self {
        let (context, layout) = (Context::sequential(), ArrayD::clone as fn(&ArrayD<f64>) -> _);
        let mode = BackwardMode::Adding;
        Ask { context, layout, mode, wanted: ALL, used: ALL, before: false, behind: false, runs: 1 }
    }
}

/// A case at random inputs, and the gradients of its outputs.
struct Trial {
    case: Case,
    inputs: Vec<ArrayD<f64>>,
    outputs: Vec<Tensor<f64>>,
    seeds: Vec<ArrayD<f64>>,
}

impl Trial {
    fn new(case: Case) -> Self {
        let inputs = case.sample(Key::new(6));
        let tensors: Vec<_> = inputs.iter().map(|x| x.clone().into_shared()).collect();
        let op: Arc<dyn DynOp<f64>> = case.op.clone();
        let outputs = op.run_forward(&Context::sequential(), &tensors).unwrap().0;
        let seeds = outputs.iter().enumerate().map(|(k, y)| seed(k, y)).collect();
        Trial { case, inputs, outputs, seeds }
    }

    /// The outputs, and what the backward pass adds to the gradient of each input; `None` where
    /// there is none.
    fn ask(&self, ask: &Ask<'_>) -> (Vec<Tensor<f64>>, Vec<Option<ArrayD<f64>>>) {
        let name = &self.case.name;
        let tape = Tape::new(ask.context.clone());
        let inputs = self.inputs.iter().map(ask.layout).enumerate();
        let leaves: Vec<_> = inputs
            .map(|(k, x)| if (ask.wanted)(k) { tape.input(x) } else { tape.constant(x) })
            .collect();
        let vars: Vec<_> =
            leaves.iter().map(|&x| if ask.behind { (x * 1.0).unwrap() } else { x }).collect();
        let before: Vec<_> = self.inputs.iter().map(|x| (ask.layout)(&(x * 3.0 + 1.0))).collect();
        let (mut outputs, mut seeds) = (Vec::new(), Vec::new());
        for _ in 0..ask.runs {
            outputs = tape.apply_shared(self.case.op.clone(), &vars).unwrap();
            let used = outputs.iter().zip(&self.seeds).enumerate().filter(|(k, _)| (ask.used)(*k));
            seeds.extend(used.map(|(_, (&y, d))| (y, (ask.layout)(&(d / ask.runs as f64)))));
        }
        if ask.before {
            seeds.extend(vars.iter().copied().zip(before.iter().cloned()));
        }
        let grads = tape.vector_jacobian(&seeds, ask.mode).unwrap();
        let added = leaves.iter().zip(&before).enumerate().map(|(k, (&x, before))| {
            let d = grads.wrt(x)?.to_owned();
            if ask.mode == BackwardMode::Recording {
                let zeros = ArrayD::zeros(d.raw_dim());
                let mut sum = if ask.before { before.clone() } else { zeros };
                let parts = grads.contributions(x);
                parts.iter().for_each(|part| sum += &part.value);
                assert!(distance(&sum, &d) <= 1e-13, "{name}: the contributions do not add up");
                let times: Vec<_> = parts.iter().map(|part| part.time).collect();
                assert_eq!(times, self.times(k), "{name}: {}", self.case.inputs[k].name);
            }
            Some(if ask.before { d - before } else { d })
        });
        (outputs.iter().map(|y| y.value()).collect(), added.collect())
    }

    /// The time steps that the contributions to an input's gradient belong to: one for each step to
    /// a weight that the steps of a sequence share, one without a time to anything else.
    fn times(&self, input: usize) -> Vec<Option<usize>> {
        let x = &self.case.inputs[0].shape;
        let is_sequence = x.len() == 3
            && ["rnn", "lstm", "gru", "linear"].iter().any(|op| self.case.name.starts_with(op));
        let name = self.case.inputs[input].name;
        let is_shared = is_sequence && (name.starts_with("weight") || name.starts_with("bias"));
        if is_shared { (0..x[0]).map(Some).collect() } else { vec![None] }
    }

    /// The gradients of the inputs by dual numbers: one forward pass an element.
    fn by_dual_numbers(&self) -> Vec<ArrayD<f64>> {
        let op: Arc<dyn DynOp<Dual>> = self.case.op.clone();
        let mut duals: Vec<Tensor<Dual>> =
            self.inputs.iter().map(|x| x.mapv(|x| Dual::new(x, 0.0)).into_shared()).collect();
        let mut gradients = Vec::new();
        for (k, x) in self.inputs.iter().enumerate() {
            let slopes = x.indexed_iter().map(|(at, &x)| {
                duals[k][&at] = Dual::new(x, 1.0);
                let outputs = op.run_forward(&Context::sequential(), &duals).unwrap().0;
                duals[k][&at] = Dual::new(x, 0.0);
                let terms = outputs.iter().zip(&self.seeds).flat_map(|(y, d)| y.iter().zip(d));
                terms.map(|(y, &d)| if d == 0.0 { 0.0 } else { y.slope * d }).sum()
            });
            gradients.push(ArrayD::from_shape_vec(x.raw_dim(), slopes.collect()).unwrap());
        }
        gradients
    }

    /// Asks, and compares the gradients that are wanted with these.
    fn check(&self, what: &str, ask: &Ask<'_>, right: &[ArrayD<f64>]) {
        let (outputs, gradients) = self.ask(ask);
        for (k, (found, right)) in outputs.iter().zip(&self.outputs).enumerate() {
            let off = distance(found, right);
            assert!(off <= 1e-13, "{}, {what}: output {k} is {off:e} off", self.case.name);
        }
        for (k, (found, right)) in gradients.iter().zip(right).enumerate() {
            let name =
                format!("{}, {what}: gradient of {}", self.case.name, self.case.inputs[k].name);
            assert!(found.is_none() || (ask.wanted)(k), "{name} is not wanted");
            if (ask.wanted)(k) {
                let zeros = ArrayD::zeros(right.raw_dim());
                let off = distance(found.as_ref().unwrap_or(&zeros), right);
                assert!(off <= TOLERANCE, "{name} is {off:e} off");
            }
        }
    }
}

/// Random gradients of an output; none of what is not finite, which is constant.
fn seed(k: usize, y: &Tensor<f64>) -> ArrayD<f64> {
    let key = Key::new(11).with(k as u64);
    // In logical order, whatever the layout of y.
    let weights = y
        .iter()
        .enumerate()
        .map(|(i, y)| if y.is_finite() { 2.0 * key.uniform(i as u64) - 1.0 } else { 0.0 });
    ArrayD::from_shape_vec(y.raw_dim(), weights.collect()).unwrap()
}

/// The last axis first in memory.
fn transposed(x: &ArrayD<f64>) -> ArrayD<f64> {
    x.view().reversed_axes().as_standard_layout().into_owned().reversed_axes()
}

/// Every axis backwards in memory.
fn reversed(x: &ArrayD<f64>) -> ArrayD<f64> {
    let turned = |x: &ArrayD<f64>| {
        let mut x = x.clone();
        (0..x.ndim()).for_each(|axis| x.invert_axis(Axis(axis)));
        x
    };
    turned(&turned(x).as_standard_layout().into_owned())
}

#[test]
fn gradients_agree_with_dual_numbers_however_they_are_asked_for() {
    let ask = Ask::default;
    let naive = || Context::sequential().with_kernels(Kernels::naive());
    for trial in cases().into_iter().map(Trial::new) {
        let right = trial.by_dual_numbers();
        let ways = [
            ("alone", ask()),
            ("recorded", Ask { mode: BackwardMode::Recording, ..ask() }),
            ("on top of others", Ask { before: true, ..ask() }),
            ("recorded on top", Ask { before: true, mode: BackwardMode::Recording, ..ask() }),
            ("transposed", Ask { before: true, layout: transposed, ..ask() }),
            ("reversed", Ask { before: true, layout: reversed, ..ask() }),
            ("naive kernels", Ask { context: naive(), ..ask() }),
            ("behind another op", Ask { behind: true, ..ask() }),
            ("behind another op, on top", Ask { before: true, behind: true, ..ask() }),
            ("in three runs", Ask { runs: 3, ..ask() }),
        ];
        for (what, ask) in ways {
            trial.check(what, &ask, &right);
        }
        for mode in [BackwardMode::Adding, BackwardMode::Recording] {
            for k in 0..trial.inputs.len() {
                let what = format!("{} alone wanted", trial.case.inputs[k].name);
                let alone = Ask { wanted: &|input| input == k, mode, ..ask() };
                trial.check(&what, &alone, &right);
            }
        }
        let mut sum: Vec<_> = right.iter().map(|d| ArrayD::zeros(d.raw_dim())).collect();
        for k in 0..trial.outputs.len() {
            let one = Ask { used: &|output| output == k, ..ask() };
            let parts = trial.ask(&one).1;
            sum.iter_mut().zip(parts).for_each(|(sum, d)| d.into_iter().for_each(|d| *sum += &d));
        }
        for (sum, right) in sum.iter().zip(&right) {
            let off = distance(sum, right);
            assert!(off <= TOLERANCE, "{}, output by output: {off:e} off", trial.case.name);
        }
    }
}

/// A second thread changes no bits.
#[test]
fn threads_do_not_matter() {
    // Parallel from the first multiply-add on: the cases are small.
    let threads = Context::with_threads(2).unwrap().with_parallel_from(0);
    assert!(threads.parallel(0));
    for trial in cases().into_iter().map(Trial::new) {
        let ask = Ask { context: threads.clone(), ..Ask::default() };
        assert_eq!(trial.ask(&ask), trial.ask(&Ask::default()), "{}", trial.case.name);
    }
}
