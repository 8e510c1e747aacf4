//! Ops, and functions composed of ops, as work on a tape: forward, or forward and backward.

use std::fmt;
use std::sync::Arc;

use ndarray::ArrayD;
use unspool_tensor::cases::{Case, Domain, Input};
use unspool_tensor::op::DynOp;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Kernels, Real, Result, Rounded, Tape, Tensor, Var};

use crate::machine::Evictor;
use crate::product::{Number, scattered};
use crate::workload::{Cost, Expected, Identity, Work, Workload, Wrong};

/// A function of variables.
pub type Graph<T> =
    dyn for<'t> Fn(&'t Tape<T>, &[Var<'t, T>]) -> Result<Vec<Var<'t, T>>> + Send + Sync;

/// How far a tape is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TapePass {
    /// Forward, and nothing is kept.
    Forward,
    /// Forward, and backward to all inputs.
    ForwardBackward,
}

impl TapePass {
    /// Both of them.
    pub const ALL: [TapePass; 2] = [TapePass::Forward, TapePass::ForwardBackward];
}

impl fmt::Display for TapePass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TapePass::Forward => "forward",
            TapePass::ForwardBackward => "forward and backward",
        })
    }
}

/// What an answer is held to.
enum Oracle {
    /// The same in numbers that know how far `f32` arithmetic may be off.
    Rounded(Arc<Graph<Rounded>>),
    /// The same in `f64`; each number may be off by so many roundings of the largest of its array.
    Wide(Arc<Graph<f64>>, f64),
}

/// The bound of [`Rounded`] is that of sums in the order of the naive kernels; another order has
/// other partial sums. (`unspool_tensor::gradcheck` says the same.)
const OTHER_ORDERS: f64 = 4.0;
/// What is below this is lost where `f32` has no more small numbers.
const SMALLEST: f64 = 1e-37;

/// A function of variables as work: an op of this project or of yours, a layer out of ops.
///
/// A run makes a tape, runs the function, and backward too, from gradients of the outputs that are
/// random and stay the same. The tape is timed, as it is in a training.
///
/// ```
/// use unspool_bench::{OnTape, Settings, TapePass, measure_one};
/// use unspool_tensor::Context;
/// use unspool_tensor::cases::{Case, Input};
/// use unspool_tensor::ops::unary::Tanh;
///
/// // The same row that checks the op's gradients.
/// let case = Case::new("tanh", Tanh, vec![Input::new("x", "B H", &[8, 16])]);
/// let context = Context::sequential();
/// let mut work = OnTape::<f32>::of_case(case, "mine", TapePass::ForwardBackward, &context)?;
/// println!("{}", measure_one(&mut work, &Settings::quick())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OnTape<T: Number> {
    name: String,
    variant: String,
    shape: String,
    pass: TapePass,
    context: Context,
    operations: Option<f64>,
    inputs: Vec<Input>,
    values: Vec<Tensor<T>>,
    /// The gradients of the outputs; none without a backward pass.
    seeds: Vec<Tensor<T>>,
    run: Arc<Graph<T>>,
    oracle: Oracle,
    /// Outputs, then gradients; none when it has failed.
    results: Vec<Tensor<T>>,
}

impl<T: Number> fmt::Debug for OnTape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnTape({})", self.identity())
    }
}

impl<T: Number> OnTape<T> {
    /// An op with inputs of a case: outputs and gradients are held to the op's own code over
    /// [`Rounded`] numbers, with the naive kernels, within the bound that these derive. That the
    /// code is right is for the case's gradient check and its twin to say.
    ///
    /// # Errors
    /// The shapes of the case do not fit its op.
    pub fn of_case(case: Case, variant: &str, pass: TapePass, context: &Context) -> Result<Self> {
        let Case { name, op, inputs, .. } = case;
        let (run, exact) = (T::op(op.clone()), op as Arc<dyn DynOp<Rounded>>);
        OnTape {
            name,
            variant: variant.into(),
            shape: shape_of(&inputs),
            pass,
            context: context.clone(),
            operations: None,
            values: Vec::new(),
            seeds: Vec::new(),
            inputs,
            run: Arc::new(move |tape, v| tape.apply_shared(run.clone(), v)),
            oracle: Oracle::Rounded(Arc::new(move |tape, v| tape.apply_shared(exact.clone(), v))),
            results: Vec::new(),
        }
        .started()
    }

    /// A function of these inputs, held to `exact`, the same in `f64`: each number may be off by so
    /// many `roundings` of the largest of its array. Faster than [`of_case`](OnTape::of_case), for
    /// layers of any size; and for two functions that are to be compared.
    ///
    /// # Errors
    /// The shapes do not fit the function.
    pub fn new(
        [name, variant]: [&str; 2],
        inputs: Vec<Input>,
        pass: TapePass,
        context: &Context,
        run: Arc<Graph<T>>,
        exact: Arc<Graph<f64>>,
        roundings: f64,
    ) -> Result<Self> {
        OnTape {
            name: name.into(),
            variant: variant.into(),
            shape: shape_of(&inputs),
            pass,
            context: context.clone(),
            operations: None,
            values: Vec::new(),
            seeds: Vec::new(),
            inputs,
            run,
            oracle: Oracle::Wide(exact, roundings),
            results: Vec::new(),
        }
        .started()
    }

    /// Counts its work in operations: so many a run. Otherwise the numbers of outputs and gradients
    /// count.
    pub fn operations(self, operations: f64) -> Self {
        OnTape { operations: Some(operations), ..self }
    }

    /// The same under another shape's name, where that of the inputs says too much.
    pub fn shape(self, shape: impl Into<String>) -> Self {
        OnTape { shape: shape.into(), ..self }
    }

    /// With inputs, and gradients of the outputs.
    fn started(mut self) -> Result<Self> {
        self.renew(Key::new(0));
        let outputs = evaluate(&*self.run, &self.context, &self.values, &[])?;
        if self.pass == TapePass::ForwardBackward {
            self.seeds = (0..).zip(&outputs).map(|(k, y)| seed(y.shape(), k)).collect();
        }
        self.results = evaluate(&*self.run, &self.context, &self.values, &self.seeds)?;
        Ok(self)
    }

    /// What the results should be.
    fn expected(&self) -> Result<Vec<Vec<Expected>>> {
        let naive = || Context::sequential().with_kernels(Kernels::naive());
        Ok(match &self.oracle {
            Oracle::Rounded(graph) => {
                let values = converted(&self.values, |x| Rounded::exact(x.to_f64()));
                let seeds = converted(&self.seeds, |x| Rounded::exact(x.to_f64()));
                // In `f64`, operations are as many times as precise; the oracle's are not more so.
                let scale = OTHER_ORDERS * 2.0 * T::EPSILON / f64::from(f32::EPSILON);
                let expected =
                    |x: &Rounded| Expected { value: x.value, bound: scale * x.error + SMALLEST };
                let results = evaluate(&**graph, &naive(), &values, &seeds)?;
                results.iter().map(|array| array.iter().map(expected).collect()).collect()
            }
            Oracle::Wide(graph, roundings) => {
                let values = converted(&self.values, |x| x.to_f64());
                let seeds = converted(&self.seeds, |x| x.to_f64());
                let results = evaluate(&**graph, &Context::sequential(), &values, &seeds)?;
                let of_array = |array: &Tensor<f64>| {
                    let largest = array.iter().fold(0.0, |top: f64, x| top.max(x.abs()));
                    let bound = roundings * T::EPSILON / 2.0 * largest + SMALLEST;
                    array.iter().map(|&value| Expected { value, bound }).collect()
                };
                results.iter().map(of_array).collect()
            }
        })
    }
}

/// The outputs, and the gradients of all inputs when those of the outputs are given.
fn evaluate<T: Real>(
    graph: &Graph<T>,
    context: &Context,
    values: &[Tensor<T>],
    seeds: &[Tensor<T>],
) -> Result<Vec<Tensor<T>>> {
    if seeds.is_empty() {
        let tape = Tape::inference(context.clone());
        let vars: Vec<_> = values.iter().map(|x| tape.constant(x.clone())).collect();
        return Ok(graph(&tape, &vars)?.iter().map(|y| y.value()).collect());
    }
    let tape = Tape::new(context.clone());
    let vars: Vec<_> = values.iter().map(|x| tape.input(x.clone())).collect();
    let outputs = graph(&tape, &vars)?;
    let seeds = outputs.iter().zip(seeds).map(|(&y, seed)| (y, seed.to_owned()));
    let seeds: Vec<_> = seeds.collect();
    let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding)?;
    let zeros = |x: &Tensor<T>| ArrayD::zeros(x.raw_dim()).into_shared();
    let gradients = vars
        .iter()
        .zip(values)
        .map(|(&x, value)| grads.wrt(x).cloned().unwrap_or_else(|| zeros(value)));
    Ok(outputs.iter().map(|y| y.value()).chain(gradients).collect())
}

/// A gradient of output `k`: sizes from 1/2 to 1, of either sign.
fn seed<T: Real>(shape: &[usize], k: u64) -> Tensor<T> {
    let key = Key::new(k).named("seeds");
    let mut at = 0;
    let number = || {
        at += 1;
        let uniform = (key.uniform(at) as f32) - 0.5;
        T::from_f64(f64::from(uniform + 0.5_f32.copysign(uniform)))
    };
    ArrayD::from_shape_simple_fn(shape, number).into_shared()
}

fn converted<T: Number, U: Real>(arrays: &[Tensor<T>], to: impl Fn(T) -> U) -> Vec<Tensor<U>> {
    arrays.iter().map(|array| array.mapv(&to).into_shared()).collect()
}

/// `64x20x128,128`: the shapes of all inputs.
fn shape_of(inputs: &[Input]) -> String {
    let of = |input: &Input| {
        let lengths: Vec<_> = input.shape.iter().map(usize::to_string).collect();
        lengths.join("x")
    };
    inputs.iter().map(of).collect::<Vec<_>>().join(",")
}

/// The number of a domain that stands opposite.
fn mirrored<T: Real>(x: T, domain: Domain) -> T {
    match domain {
        Domain::Between(low, high) => T::from_f64(low + high) - x,
        Domain::AwayFromZero(..) | Domain::Distinct => -x,
    }
}

impl<T: Number> Workload for OnTape<T> {
    fn identity(&self) -> Identity {
        let name = format!("{}, {}", self.name, self.pass);
        Identity::new(name, &self.variant, &self.shape, T::TYPE, &self.context)
    }

    fn cost(&self) -> Cost {
        let numbers = |arrays: &[Tensor<T>]| arrays.iter().map(|x| x.len()).sum::<usize>();
        let written = numbers(&self.results);
        let read = numbers(&self.values) + numbers(&self.seeds);
        let bytes = ((read + written) * size_of::<T>()) as f64;
        match self.operations {
            Some(amount) => Cost { work: Work::Operations, amount, bytes },
            None => Cost { work: Work::Numbers, amount: written as f64, bytes },
        }
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn renew(&mut self, key: Key) {
        let sample = |input: &Input| {
            // Numbers that f32 holds, so that all kinds of numbers begin with the same.
            let numbers = input.sample(key.named(input.name));
            numbers.mapv(|x| T::from_f64(f64::from(x as f32))).into_shared()
        };
        if self.values.is_empty() {
            self.values = self.inputs.iter().map(sample).collect();
        }
        for (value, input) in self.values.iter_mut().zip(&self.inputs) {
            value.assign(&sample(input));
        }
        self.results.iter_mut().for_each(|y| y.fill(T::from_f64(f64::NAN)));
    }

    fn touch(&mut self, count: u64) {
        let number = count as usize % self.values.len().max(1);
        let Some((value, input)) = self.values.get_mut(number).zip(self.inputs.get(number)) else {
            return;
        };
        let at = scattered(count, value.len());
        if let Some(x) = value.as_slice_mut().and_then(|numbers| numbers.get_mut(at)) {
            *x = mirrored(*x, input.domain);
        }
    }

    fn rewrite(&mut self, change: bool) {
        for (number, (value, input)) in self.values.iter_mut().zip(&self.inputs).enumerate() {
            // Not all of them, or a product of two would be what it was.
            let step = if number == 0 { 1 } else { 2 };
            let domain = input.domain;
            let numbers = value.iter_mut().enumerate();
            numbers.for_each(|(at, x)| {
                *x = if change && at % step == 0 { mirrored(*x, domain) } else { *x };
            });
        }
    }

    fn run(&mut self) {
        // What failed has no results, which is seen.
        self.results =
            evaluate(&*self.run, &self.context, &self.values, &self.seeds).unwrap_or_default();
    }

    fn verify(&mut self) -> std::result::Result<f64, Wrong> {
        let expected = self.expected().unwrap_or_default();
        // Results without an oracle, and those that are missing, let nothing pass.
        let counts =
            [expected.iter().map(Vec::len).sum(), self.results.iter().map(|y| y.len()).sum()];
        if counts[0] != counts[1] || counts[0] == 0 {
            let [expected, found] = counts.map(|count: usize| count as f64);
            return Err(Wrong::Number { place: Vec::new(), found, expected, bound: 0.0 });
        }
        let mut largest = 0.0_f64;
        for (number, (found, expected)) in self.results.iter().zip(&expected).enumerate() {
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                largest = largest.max(expected.hold(found.to_f64(), || vec![number, at])?);
            }
        }
        Ok(largest)
    }

    fn relocate(&mut self) {
        for value in &mut self.values {
            *value = value.to_owned().into_shared();
        }
    }

    fn evict(&self, evictor: &Evictor) {
        for array in self.values.iter().chain(&self.seeds).chain(&self.results) {
            evictor.evict(array.as_slice_memory_order().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use unspool_tensor::ops::cross_entropy::{CrossEntropy, CrossEntropyOptions};
    use unspool_tensor::ops::matmul::MatMul;
    use unspool_tensor::ops::unary::Tanh;

    use super::*;

    fn cases() -> Vec<Case> {
        let xy = vec![Input::new("a", "", &[5, 7]), Input::new("b", "", &[7, 3])];
        let targets = vec![3, 0, 1];
        let loss = CrossEntropy { targets, options: CrossEntropyOptions::default() };
        vec![
            Case::new("tanh", Tanh, vec![Input::new("x", "", &[4, 9])]),
            Case::new("matmul", MatMul::default(), xy),
            Case::new("cross_entropy", loss, vec![Input::new("x", "", &[3, 6])]),
        ]
    }

    fn hold<T: Number>(mut work: OnTape<T>) {
        let identity = work.identity();
        for key in [5, 6] {
            work.renew(Key::new(key));
            assert!(work.verify().is_err(), "{identity}: nothing was computed");
            work.run();
            let share = work.verify().unwrap_or_else(|wrong| panic!("{identity}: {wrong}"));
            assert!((0.0..=1.0).contains(&share), "{identity}: {share}");
        }
        work.relocate();
        work.rewrite(false);
        work.verify().unwrap();
        work.rewrite(true);
        assert!(work.verify().is_err(), "{identity}: rewritten");
        work.run();
        for count in 0..5 {
            work.touch(count);
            assert!(work.verify_touched().is_err(), "{identity}: touch {count}");
            work.run();
            work.verify_touched().unwrap();
        }
    }

    #[test]
    fn right_answers_pass_and_old_ones_do_not() {
        let context = Context::sequential();
        for pass in TapePass::ALL {
            for case in cases() {
                hold(OnTape::<f32>::of_case(case, "fast", pass, &context).unwrap());
            }
            for case in cases() {
                hold(OnTape::<f64>::of_case(case, "fast", pass, &context).unwrap());
            }
            let inputs = vec![Input::new("x", "", &[4, 9]), Input::new("y", "", &[9])];
            let work = OnTape::<f32>::new(
                ["sum", "mine"],
                inputs,
                pass,
                &context,
                Arc::new(|_, v| Ok(vec![((v[0] * v[1])? + v[1])?])),
                Arc::new(|_, v| Ok(vec![((v[0] * v[1])? + v[1])?])),
                64.0,
            );
            hold(work.unwrap());
        }
    }

    #[test]
    fn what_fails_or_differs_is_wrong() {
        let context = Context::sequential();
        let inputs = || vec![Input::new("x", "", &[4, 9])];
        let of = |run: Arc<Graph<f32>>| {
            let exact: Arc<Graph<f64>> = Arc::new(|_, v| Ok(vec![v[0].tanh()?]));
            let pass = TapePass::ForwardBackward;
            OnTape::new(["tanh", "mine"], inputs(), pass, &context, run, exact, 64.0)
        };
        assert!(of(Arc::new(|_, v| Ok(vec![v[0].reshape(&[5])?]))).is_err());
        let wrong: [Arc<Graph<f32>>; 3] = [
            Arc::new(|_, v| Ok(vec![v[0].sigmoid()?])),
            // A gradient that is cut off.
            Arc::new(|_, v| Ok(vec![v[0].detach().tanh()?])),
            Arc::new(|_, v| Ok(vec![v[0].tanh()?, v[0]])),
        ];
        for run in wrong {
            let mut work = of(run).unwrap();
            work.run();
            assert!(work.verify().is_err());
        }
    }
}
