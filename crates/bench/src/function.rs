//! Functions of slices as work: those of this project, and any of the user's.

use std::fmt;
use std::sync::Arc;

use unspool_tensor::Context;
use unspool_tensor::kernels::pointwise::Pointwise;
use unspool_tensor::kernels::rows::RowKernel;
use unspool_tensor::random::Key;

use crate::machine::Evictor;
use crate::product::{Number, scattered};
use crate::workload::{Cost, Expected, Identity, Work, Workload, Wrong, gamma};

/// A kernel: from the inputs to the outputs, all slices of the sizes that were declared.
type Run<T> = dyn FnMut(&[Vec<T>], &mut [Vec<T>]) + Send;
/// What it should give: for the inputs in `f64`, each number of each output with its error bound.
type Exact = dyn Fn(&[Vec<f64>]) -> Vec<Vec<Expected>> + Send;

/// A function of slices as work: the pointwise part of a cell, a reduction, what you like.
///
/// ```
/// use unspool_bench::{Expected, Function, Settings, measure_one};
/// use unspool_tensor::Context;
///
/// // i⊙g, a term of an LSTM's cell; one rounding, so half a unit in the last place.
/// let mut gate = Function::<f32>::new(
///     "gate", "mine", "64x256", &Context::sequential(),
///     |inputs, outputs| {
///         for ((y, &i), &g) in outputs[0].iter_mut().zip(&inputs[0]).zip(&inputs[1]) {
///             *y = i * g;
///         }
///     },
///     |inputs| {
///         let exact = inputs[0].iter().zip(&inputs[1]).map(|(i, g)| i * g);
///         let bound = |value: f64| value.abs() * f64::from(f32::EPSILON) / 2.0;
///         vec![exact.map(|value| Expected { value, bound: bound(value) }).collect()]
///     },
/// )
/// .input(64 * 256, 0.0..1.0)
/// .input(64 * 256, -1.0..1.0)
/// .output(64 * 256);
/// let found = measure_one(&mut gate, &Settings::quick())?;
/// println!("{found}");
/// # Ok::<(), unspool_bench::Mismatch>(())
/// ```
pub struct Function<T> {
    kernel: String,
    variant: String,
    shape: String,
    context: Context,
    operations: Option<f64>,
    ranges: Vec<std::ops::Range<f64>>,
    inputs: Vec<Vec<T>>,
    outputs: Vec<Vec<T>>,
    run: Box<Run<T>>,
    exact: Box<Exact>,
}

impl<T: Number> fmt::Debug for Function<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({})", self.identity())
    }
}

impl<T: Number> Function<T> {
    /// A function without inputs and outputs yet. `exact` is the oracle: the right outputs for the
    /// inputs, and how far each number may be off.
    pub fn new(
        kernel: impl Into<String>,
        variant: impl Into<String>,
        shape: impl Into<String>,
        context: &Context,
        run: impl FnMut(&[Vec<T>], &mut [Vec<T>]) + Send + 'static,
        exact: impl Fn(&[Vec<f64>]) -> Vec<Vec<Expected>> + Send + 'static,
    ) -> Self {
        Function {
            kernel: kernel.into(),
            variant: variant.into(),
            shape: shape.into(),
            context: context.clone(),
            operations: None,
            ranges: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            run: Box::new(run),
            exact: Box::new(exact),
        }
    }

    /// One more input of so many numbers, which are in this range.
    pub fn input(mut self, len: usize, range: std::ops::Range<f64>) -> Self {
        self.inputs.push(vec![T::zero(); len]);
        self.ranges.push(range);
        self.renew(Key::new(0));
        self
    }

    /// One more output of so many numbers.
    pub fn output(mut self, len: usize) -> Self {
        self.outputs.push(vec![T::from_f64(f64::NAN); len]);
        self
    }

    /// Counts its work in operations: so many a run. Otherwise the numbers of the outputs count.
    pub fn operations(self, operations: f64) -> Self {
        Function { operations: Some(operations), ..self }
    }

    /// A function of each number of a slice that replaces them, such as those of
    /// [`Pointwise`]; copying the inputs is timed too. It may be off by four times the distance
    /// from 1 to the next number, relatively.
    pub fn elementwise(
        kernel: &str,
        variant: &str,
        function: fn(&mut [T]),
        exact: fn(f64) -> f64,
        len: usize,
        context: &Context,
    ) -> Self {
        Self::new(
            kernel,
            variant,
            len.to_string(),
            context,
            move |inputs, outputs| {
                outputs[0].copy_from_slice(&inputs[0]);
                function(&mut outputs[0]);
            },
            move |inputs| {
                let values = inputs[0].iter().map(|&x| exact(x));
                let bound = |value: f64| 4.0 * T::EPSILON * value.abs() + T::MIN_POSITIVE;
                vec![values.map(|value| Expected { value, bound: bound(value) }).collect()]
            },
        )
        .input(len, -8.0..8.0)
        .output(len)
    }

    /// `exp`, `tanh` and the logistic function in this variant.
    pub fn pointwise(
        variant: &str,
        pointwise: Pointwise<T>,
        len: usize,
        context: &Context,
    ) -> Vec<Self> {
        let of = |kernel, function, exact| {
            Self::elementwise(kernel, variant, function, exact, len, context)
        };
        vec![
            of("exp", pointwise.exp, f64::exp),
            of("tanh", pointwise.tanh, f64::tanh),
            of("sigmoid", pointwise.sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        ]
    }

    /// The softmax of each of `rows` rows of `columns` numbers by this kernel; copying the inputs is
    /// timed too.
    ///
    /// The bound on its relative error adds up those of the exponential, of its argument `x - top`,
    /// of the sum, and of the division.
    pub fn softmax(
        kernel: Arc<dyn RowKernel<T>>,
        [rows, columns]: [usize; 2],
        context: &Context,
    ) -> Self {
        let width = columns.max(1);
        Self::new(
            "softmax",
            kernel.name().to_owned(),
            format!("{rows}x{columns}"),
            context,
            move |inputs, outputs| {
                outputs[0].copy_from_slice(&inputs[0]);
                outputs[0].chunks_mut(width).for_each(|row| kernel.softmax(row, None));
            },
            move |inputs| {
                let rows = inputs[0].chunks(width);
                vec![rows.flat_map(|row| exact_softmax(row, T::EPSILON)).collect()]
            },
        )
        .input(rows * columns, -8.0..8.0)
        .output(rows * columns)
    }
}

impl<T: Number> Function<T> {
    /// The gradient that goes back through the softmax of each of `rows` rows of `columns` numbers, by
    /// this kernel: `d_x = y·(d_y - Σ d_y·y)`. Copying the gradient that comes is timed too.
    pub fn softmax_backward(
        kernel: Arc<dyn RowKernel<T>>,
        [rows, columns]: [usize; 2],
        context: &Context,
    ) -> Self {
        let width = columns.max(1);
        Self::new(
            "softmax, d_x",
            kernel.name().to_owned(),
            format!("{rows}x{columns}"),
            context,
            move |inputs, outputs| {
                outputs[0].copy_from_slice(&inputs[1]);
                let rows = outputs[0].chunks_mut(width).zip(inputs[0].chunks(width));
                rows.for_each(|(ds, ys)| kernel.softmax_backward(ys, ds));
            },
            move |inputs| {
                let rows = inputs[0].chunks(width).zip(inputs[1].chunks(width));
                vec![rows.flat_map(|(ys, ds)| exact_softmax_backward::<T>(ys, ds)).collect()]
            },
        )
        .input(rows * columns, 0.0..1.0)
        .input(rows * columns, -1.0..1.0)
        .output(rows * columns)
    }
}

fn exact_softmax_backward<'r, T: Number>(
    ys: &'r [f64],
    ds: &'r [f64],
) -> impl Iterator<Item = Expected> + 'r {
    let terms = || ys.iter().zip(ds).map(|(y, d)| y * d);
    let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
    let of_sum = gamma(ys.len() + 2, T::EPSILON) * size;
    ys.iter().zip(ds).map(move |(y, d)| {
        // The sum, the difference and the product are rounded.
        let bound = y * (of_sum + T::EPSILON * (d.abs() + size)) + T::MIN_POSITIVE;
        Expected { value: y * (d - sum), bound }
    })
}

fn exact_softmax(row: &[f64], epsilon: f64) -> impl Iterator<Item = Expected> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
    let shared = 8.0 * epsilon + gamma(row.len() + 2, epsilon);
    row.iter().map(move |x| {
        let value = (x - top).exp() / sum;
        // Both the argument here and the largest of those in the sum were rounded.
        let arguments = epsilon / 2.0 * ((top - x) + 16.0);
        Expected { value, bound: value * (shared + arguments) }
    })
}

impl<T: Number> Workload for Function<T> {
    fn identity(&self) -> Identity {
        Identity::new(&self.kernel, &self.variant, &self.shape, T::TYPE, &self.context)
    }

    fn cost(&self) -> Cost {
        let [read, written] =
            [&self.inputs, &self.outputs].map(|arrays| arrays.iter().map(Vec::len).sum::<usize>());
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
        let inputs = self.inputs.iter_mut().zip(&self.ranges).enumerate();
        for (number, (input, range)) in inputs {
            let key = key.with(number as u64);
            for (at, x) in input.iter_mut().enumerate() {
                let share = key.uniform(at as u64);
                *x = T::from_f64(range.start + share * (range.end - range.start));
            }
        }
        self.outputs.iter_mut().for_each(|output| output.fill(T::from_f64(f64::NAN)));
    }

    fn touch(&mut self, count: u64) {
        let with_numbers = self.inputs.iter().filter(|input| !input.is_empty()).count();
        let mut inputs =
            self.inputs.iter_mut().zip(&self.ranges).filter(|(input, _)| !input.is_empty());
        let Some((input, range)) = inputs.nth(count as usize % with_numbers.max(1)) else { return };
        let at = scattered(count, input.len());
        // Its mirror image in the range.
        input[at] = T::from_f64(range.start + range.end) - input[at];
    }

    fn rewrite(&mut self, change: bool) {
        for (input, range) in self.inputs.iter_mut().zip(&self.ranges) {
            // Mirror images in the range.
            let (scale, start) = if change { (-1.0, range.start + range.end) } else { (1.0, 0.0) };
            let [scale, start] = [scale, start].map(T::from_f64);
            input.iter_mut().for_each(|x| *x = scale * *x + start);
        }
    }

    fn run(&mut self) {
        (self.run)(&self.inputs, &mut self.outputs);
    }

    fn verify(&mut self) -> Result<f64, Wrong> {
        let inputs = self.inputs.iter().map(|input| input.iter().map(|x| x.to_f64()).collect());
        let exact = (self.exact)(&inputs.collect::<Vec<_>>());
        let mut largest = 0.0_f64;
        // An oracle that is silent about a number lets nothing pass there.
        let silence = Expected { value: f64::INFINITY, bound: f64::NAN };
        for (number, found) in self.outputs.iter().enumerate() {
            for (at, found) in found.iter().enumerate() {
                let expected = exact.get(number).and_then(|exact| exact.get(at));
                let expected = expected.copied().unwrap_or(silence);
                largest = largest.max(expected.hold(found.to_f64(), || vec![number, at])?);
            }
        }
        Ok(largest)
    }

    fn relocate(&mut self) {
        // The old memory is given back when the new one is there.
        for array in self.inputs.iter_mut().chain(&mut self.outputs) {
            *array = array.clone();
        }
    }

    fn evict(&self, evictor: &Evictor) {
        self.inputs.iter().chain(&self.outputs).for_each(|array| evictor.evict(array));
    }
}

#[cfg(test)]
mod tests {
    use unspool_tensor::kernels::rows;

    use super::*;

    fn right_answers_pass<T: Number>() {
        let context = Context::sequential();
        let variants = [("naive", Pointwise::naive()), ("fast", Pointwise::<T>::fast())];
        for (variant, pointwise) in variants {
            let functions = [1, 17, 1000]
                .into_iter()
                .flat_map(|len| Function::pointwise(variant, pointwise, len, &context));
            let kernel: Arc<dyn RowKernel<T>> = match variant {
                "naive" => Arc::new(rows::Naive),
                _ => Arc::new(rows::Fast),
            };
            let softmaxes = [[1, 1], [3, 17], [2, 900]].into_iter().flat_map(|shape| {
                [
                    Function::softmax(kernel.clone(), shape, &context),
                    Function::softmax_backward(kernel.clone(), shape, &context),
                ]
            });
            for mut function in functions.chain(softmaxes) {
                let identity = function.identity();
                for key in [5, 6] {
                    function.renew(Key::new(key));
                    assert!(function.verify().is_err(), "{identity}: nothing was computed");
                    function.run();
                    let share =
                        function.verify().unwrap_or_else(|wrong| panic!("{identity}: {wrong}"));
                    assert!((0.0..=1.0).contains(&share), "{identity}: {share}");
                }
                function.relocate();
                function.verify().unwrap();
                function.rewrite(false);
                function.verify().unwrap();
                // Of one number, the softmax is 1 in any case.
                if identity.shape != "1x1" {
                    function.rewrite(true);
                    assert!(function.verify().is_err(), "{identity}: rewritten");
                    function.run();
                    function.verify().unwrap();
                    for count in 0..5 {
                        function.touch(count);
                        assert!(function.verify_touched().is_err(), "{identity}: touch {count}");
                        function.run();
                        function.verify_touched().unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn right_answers_pass_and_old_ones_do_not() {
        right_answers_pass::<f32>();
        right_answers_pass::<f64>();
    }

    #[test]
    fn missing_outputs_of_the_oracle_are_no_pass() {
        let context = Context::sequential();
        let silent = Function::<f32>::new("f", "mine", "4", &context, |_, _| {}, |_| Vec::new());
        let mut silent = silent.input(4, 0.0..1.0).output(4);
        silent.run();
        assert!(silent.verify().is_err());
    }

    #[test]
    fn work_is_counted_in_numbers_or_in_operations() {
        let context = Context::sequential();
        let function = Function::<f32>::softmax(Arc::new(rows::Fast), [2, 3], &context);
        let expected = Cost { work: Work::Numbers, amount: 6.0, bytes: 48.0 };
        assert_eq!(function.cost(), expected);
        let expected = Cost { work: Work::Operations, amount: 60.0, bytes: 48.0 };
        assert_eq!(function.operations(60.0).cost(), expected);
    }
}
