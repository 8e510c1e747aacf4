//! Fast kernels against naive ones, threads against each other, and broadcasting at random shapes.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn, Zip};
use proptest::prelude::*;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::kernels::cross_entropy::{Normaliser, TargetDistribution};
use unspool_tensor::kernels::rows::{Fast, RowKernel};
use unspool_tensor::ops::cross_entropy::{CrossEntropyOptions, Divisor};
use unspool_tensor::ops::matmul::MatMul;
use unspool_tensor::random::Key;
use unspool_tensor::shape::{broadcast_shape, sum_to_shape};
use unspool_tensor::{Context, Kernels, Result, Tape, Tensor, Var};

fn random(key: Key, shape: &[usize]) -> Tensor<f32> {
    let mut counter = 0;
    let number = || {
        counter += 1;
        (4.0 * key.uniform(counter) - 2.0) as f32
    };
    ArrayD::from_shape_simple_fn(IxDyn(shape), number).into_shared()
}

/// The result and the gradients of its sum.
fn run(
    context: Context,
    f: impl for<'t> Fn(&[Var<'t, f32>]) -> Result<Var<'t, f32>>,
    inputs: &[Tensor<f32>],
) -> Vec<Tensor<f32>> {
    let tape = Tape::new(context);
    let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
    let y = f(&vars).unwrap();
    let loss = (y * y).unwrap().sum_all().unwrap();
    let grads = tape.backward(loss).unwrap();
    let grads = vars.iter().map(|&x| grads.wrt(x).unwrap().clone());
    [y.value()].into_iter().chain(grads).collect()
}

#[test]
fn fast_kernels_agree_with_naive_ones() {
    type Function = for<'t> fn(&[Var<'t, f32>]) -> Result<Var<'t, f32>>;
    let rows: [(&str, Function, &[&[usize]]); 7] = [
        ("exp", |v| v[0].exp(), &[&[7, 33]]),
        ("tanh", |v| v[0].tanh(), &[&[7, 33]]),
        ("sigmoid", |v| v[0].sigmoid(), &[&[7, 33]]),
        ("softmax", |v| v[0].softmax(1), &[&[7, 133]]),
        ("log_softmax", |v| v[0].log_softmax(0), &[&[97, 3]]),
        ("matmul", |v| v[0].matmul(v[1]), &[&[17, 65], &[65, 33]]),
        ("matmul of stacks", |v| v[0].matmul(v[1]), &[&[3, 17, 65], &[3, 65, 33]]),
    ];
    for (name, f, shapes) in rows {
        let key = Key::new(1);
        let inputs: Vec<_> =
            shapes.iter().enumerate().map(|(k, shape)| random(key.with(k as u64), shape)).collect();
        let naive = Context::sequential().with_kernels(Kernels::naive());
        let (slow, fast) = (run(naive, f, &inputs), run(Context::sequential(), f, &inputs));
        for (slow, fast) in slow.iter().zip(&fast) {
            let distance = distance(&fast.mapv(f64::from), &slow.mapv(f64::from));
            assert!(distance < 3e-6, "{name}: {distance:e}");
        }
    }
}

/// Row operations whose log-softmax and cross-entropy are twice what they should be.
#[derive(Debug)]
struct Doubled;

impl RowKernel<f32> for Doubled {
    fn name(&self) -> &str {
        "doubled"
    }

    fn log_softmax(&self, xs: &mut [f32], keep: Option<&[bool]>) {
        Fast.log_softmax(xs, keep);
        xs.iter_mut().for_each(|x| *x *= 2.0);
    }

    fn log_softmax_backward(&self, ys: &[f32], ds: &mut [f32]) {
        let ys: Vec<f32> = ys.iter().map(|y| y / 2.0).collect();
        ds.iter_mut().for_each(|d| *d *= 2.0);
        Fast.log_softmax_backward(&ys, ds);
    }

    fn cross_entropy(
        &self,
        q: &TargetDistribution<f32>,
        target: usize,
        scores: &mut [f32],
    ) -> (f32, Normaliser<f32>) {
        let (loss, normaliser) = Fast.cross_entropy(q, target, scores);
        (2.0 * loss, normaliser)
    }
}

#[test]
fn registered_row_operations_run_and_the_others_stay() {
    let options = CrossEntropyOptions { divisor: Divisor::One, ..CrossEntropyOptions::default() };
    let input = [random(Key::new(5), &[4, 9])];
    let doubled =
        Context::sequential().with_kernels(Kernels::default().with_rows(Arc::new(Doubled)));
    let outputs = |context: Context| {
        let tape = Tape::new(context);
        let x = tape.input(input[0].clone());
        let loss = x.cross_entropy(&[3, 0, 8, 1], options).unwrap();
        [x.softmax(1).unwrap(), x.log_softmax(1).unwrap(), loss].map(|y| y.value())
    };
    let [softmax, log_softmax, loss] = outputs(Context::sequential());
    let twice = |x: Tensor<f32>| x.mapv(|x| 2.0 * x).into_shared();
    assert_eq!(outputs(doubled.clone()), [softmax, twice(log_softmax), twice(loss)]);
    // d of (2y)² is four times that of y².
    let d = |context| run(context, |v| v[0].log_softmax(1), &input).swap_remove(1);
    assert_eq!(d(doubled), d(Context::sequential()).mapv(|d| 4.0 * d));
}

#[test]
fn products_have_the_same_bits_on_any_number_of_threads() {
    let key = Key::new(2);
    for (a, b) in [
        (&[96, 130][..], &[130, 120][..]),
        (&[5, 40, 70], &[5, 70, 90]),
        (&[5, 40, 70], &[70, 90]),
        (&[40, 70], &[5, 70, 90]),
    ] {
        let inputs = [random(key.with(1), a), random(key.with(2), b)];
        let product = |context| run(context, |v| v[0].matmul(v[1]), &inputs);
        let one = product(Context::sequential());
        for threads in [1, 2, 4] {
            let many = product(Context::with_threads(threads).unwrap());
            assert_eq!(one, many, "{a:?} · {b:?} on {threads} threads");
        }
    }
}

#[test]
fn a_stack_of_products_is_its_products() {
    let key = Key::new(3);
    let (a, b) = (random(key.with(1), &[3, 5, 7]), random(key.with(2), &[3, 6, 7]));
    let op = MatMul { transpose_a: false, transpose_b: true };
    let tape = Tape::new(Context::sequential());
    let (a, b) = (tape.input(a), tape.input(b));
    let [stack] = tape.apply(op, &[a, b]).unwrap();
    for k in 0..3 {
        let [a, b] = [(a, 5), (b, 6)]
            .map(|(x, rows)| x.slice(0, k..k + 1).unwrap().reshape(&[rows, 7]).unwrap());
        let one = a.matmul_transposed(b).unwrap();
        assert_eq!(stack.value().index_axis(ndarray::Axis(0), k), one.value());
    }
}

/// Two shapes that broadcast, from one shape by dropping leading axes and setting lengths to 1.
fn broadcasting_shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let shape = prop::collection::vec(0..4usize, 0..5);
    shape.prop_flat_map(|shape| {
        let part = |shape: Vec<usize>| {
            let axes = shape.len();
            (0..=axes, prop::collection::vec(any::<bool>(), axes)).prop_map(move |(from, ones)| {
                let lengths = shape.iter().zip(&ones).map(|(&n, &one)| if one { 1 } else { n });
                lengths.skip(from).collect::<Vec<usize>>()
            })
        };
        (part(shape.clone()), part(shape))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..Default::default()
    })]

    /// `Σ x + y` over the broadcast shape: each element's gradient is how often it was repeated.
    #[test]
    fn broadcasting_and_its_reverse_count_repetitions((x, y) in broadcasting_shapes()) {
        let shape = broadcast_shape("add", &x, &y).unwrap();
        prop_assert_eq!(&shape, &broadcast_shape("add", &y, &x).unwrap());
        let size: usize = shape.iter().product();
        let tape = Tape::<f64>::new(Context::sequential());
        let vars = [&x, &y].map(|shape| tape.input(ArrayD::ones(IxDyn(shape))));
        let z = (vars[0] + vars[1]).unwrap();
        prop_assert_eq!(z.shape(), shape);
        let grads = tape.backward(z.sum_all().unwrap()).unwrap();
        for var in vars {
            let value = var.value();
            let expected = if value.is_empty() { 0.0 } else { (size / value.len()) as f64 };
            let d = grads.wrt(var).unwrap();
            prop_assert_eq!(d.shape(), value.shape());
            prop_assert!(d.iter().all(|&d| d == expected), "{:?}, not {}", d, expected);
        }
    }

    /// Summing to a shape is the adjoint of repeating: `⟨d, repeat x⟩ = ⟨sum d, x⟩`.
    #[test]
    fn summing_is_the_adjoint_of_repeating((x, y) in broadcasting_shapes()) {
        let shape = broadcast_shape("add", &x, &y).unwrap();
        let key = Key::new(4);
        let x = random(key.with(1), &x).mapv(f64::from);
        let d = random(key.with(2), &shape).mapv(f64::from).into_shared();
        let repeated = x.broadcast(IxDyn(&shape)).unwrap();
        let mut left = 0.0;
        Zip::from(&d).and(&repeated).for_each(|d, x| left += d * x);
        let right = (&sum_to_shape(d, x.shape()) * &x).sum();
        prop_assert!((left - right).abs() < 1e-12 * left.abs().max(1.0));
    }
}
