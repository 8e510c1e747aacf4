//! Optimisers against PyTorch's numbers, which `optimiser_golden.py` writes; against themselves
//! after a pause, on other threads, and cut into other chunks.

use ndarray::{ArrayD, Axis, IxDyn};
use serde::Deserialize;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, ParamId, ParamStore, Real, Tensor};
use unspool_train::gradients::clip_by_global_norm;
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

#[derive(Deserialize)]
struct Golden {
    shapes: Vec<Vec<usize>>,
    /// By parameter; flat.
    weights: Vec<Vec<f64>>,
    /// By update, then by parameter.
    gradients: Vec<Vec<Vec<f64>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    optimiser: OptimiserConfig,
    /// The learning rate of each update.
    rates: Vec<f64>,
    max_norm: Option<f64>,
    /// The norm of all gradients before clipping, by update.
    norms: Vec<f64>,
    /// By update, then by parameter.
    weights: Vec<Vec<Vec<f64>>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("optimiser_golden.json")).unwrap()
}

fn array(shape: &[usize], values: &[f64]) -> Tensor<f64> {
    ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap().into_shared()
}

impl Golden {
    fn params(&self) -> ParamStore<f64> {
        let mut params = ParamStore::new();
        for (number, (shape, values)) in self.shapes.iter().zip(&self.weights).enumerate() {
            params.add(format!("p{number}"), array(shape, values)).unwrap();
        }
        params
    }

    fn gradients(
        &self,
        params: &ParamStore<f64>,
        update: usize,
        layout: fn(Tensor<f64>) -> Tensor<f64>,
    ) -> Vec<(ParamId, Tensor<f64>)> {
        let arrays = self.shapes.iter().zip(&self.gradients[update]);
        params.ids().zip(arrays.map(|(shape, values)| layout(array(shape, values)))).collect()
    }
}

/// The same array with another order in memory.
fn reversed(mut x: Tensor<f64>) -> Tensor<f64> {
    let flip = |x: &mut Tensor<f64>| (0..x.ndim()).for_each(|axis| x.invert_axis(Axis(axis)));
    flip(&mut x);
    x = x.as_standard_layout().into_owned().into_shared();
    flip(&mut x);
    x
}

#[test]
fn ten_updates_are_those_of_pytorch() {
    let golden = golden();
    for case in &golden.cases {
        for layout in [|x| x, reversed] {
            let mut params = golden.params();
            let mut optimiser = Optimiser::new(case.optimiser, &params);
            for (update, expected) in case.weights.iter().enumerate() {
                let mut gradients = golden.gradients(&params, update, layout);
                let norm =
                    clip_by_global_norm(&Context::sequential(), &mut gradients, case.max_norm);
                approx::assert_relative_eq!(norm, case.norms[update], max_relative = 1e-14);
                let rate = case.rates[update];
                optimiser.update(&Context::sequential(), &mut params, &gradients, rate);
                for ((_, name, value), expected) in params.iter().zip(expected) {
                    let distance = distance(value, &array(value.shape(), expected));
                    let what = format!("{}: {name} after update {}", case.name, update + 1);
                    assert!(distance <= 1e-12, "{what} is {distance:e} off");
                }
            }
            assert_eq!(optimiser.updates(), case.weights.len() as u64);
        }
    }
}

#[test]
fn a_resumed_optimiser_goes_on_as_if_it_had_not_stopped() {
    let golden = golden();
    for case in &golden.cases {
        let mut params = golden.params();
        let mut optimiser = Optimiser::new(case.optimiser, &params);
        let mut resumed = None;
        for update in 0..10 {
            let gradients = golden.gradients(&params, update, |x| x);
            let rate = case.rates[update];
            optimiser.update(&Context::sequential(), &mut params, &gradients, rate);
            if let Some((optimiser, params)) = &mut resumed {
                Optimiser::update(optimiser, &Context::sequential(), params, &gradients, rate);
            }
            if update == 3 {
                let mut fresh = Optimiser::new(case.optimiser, &params);
                fresh.set_updates(optimiser.updates());
                for ((name, from), (other, to)) in optimiser.averages().zip(fresh.averages_mut()) {
                    assert_eq!(name, other);
                    to.clone_from_slice(from);
                }
                resumed = Some((fresh, params.clone()));
            }
        }
        let (resumed, resumed_params) = resumed.unwrap();
        assert_eq!(resumed.updates(), optimiser.updates());
        for ((_, name, value), (_, _, other)) in params.iter().zip(resumed_params.iter()) {
            assert_eq!(value, other, "{}: {name}", case.name);
        }
        assert!(resumed.averages().eq(optimiser.averages()), "{}", case.name);
    }
}

#[test]
fn a_parameter_without_a_gradient_stays() {
    let golden = golden();
    for case in &golden.cases {
        let mut params = golden.params();
        let mut optimiser = Optimiser::new(case.optimiser, &params);
        for update in 0..3 {
            let mut gradients = golden.gradients(&params, update, |x| x);
            gradients.remove(1);
            optimiser.update(&Context::sequential(), &mut params, &gradients, 0.1);
        }
        for ((_, name, value), before) in params.iter().zip(&golden.weights) {
            let same = value == array(value.shape(), before);
            assert_eq!(same, name == "p1", "{}: {name}", case.name);
        }
    }
}

/// Arrays around the size that one thread takes at a time, whose numbers repeat with a period of 7:
/// if each is updated on its own, and once, all of them stay as the first 7 are when alone.
#[test]
fn neither_threads_nor_chunks_change_a_bit() {
    const PERIOD: usize = 7;
    let chunk = 1 << 14;
    let sizes = [0, 1, PERIOD, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 3];
    let repeated = |key: Key, size: usize| -> Tensor<f32> {
        let number = |i: usize| (2.0 * key.uniform((i % PERIOD) as u64) - 1.0) as f32;
        ArrayD::from_shape_fn(IxDyn(&[size]), |at| number(at[0])).into_shared()
    };
    let run = |config: OptimiserConfig, sizes: &[usize], threads: usize| {
        let context = match threads {
            1 => Context::sequential(),
            _ => Context::with_threads(threads).unwrap(),
        };
        let mut params = ParamStore::<f32>::new();
        for (number, &size) in sizes.iter().enumerate() {
            params.add(format!("p{number}"), repeated(Key::new(1), size)).unwrap();
        }
        let mut optimiser = Optimiser::new(config, &params);
        for update in 0..3 {
            let gradient = |size| repeated(Key::new(2).with(update), size);
            let gradients: Vec<_> =
                params.ids().zip(sizes.iter().map(|&size| gradient(size))).collect();
            optimiser.update(&context, &mut params, &gradients, 0.1);
        }
        params
    };
    for config in [
        OptimiserConfig::Sgd { momentum: 0.0 },
        OptimiserConfig::Sgd { momentum: 0.9 },
        OptimiserConfig::default(),
        OptimiserConfig::AdamW { beta1: 0.9, beta2: 0.98, epsilon: 1e-9, weight_decay: 0.1 },
    ] {
        let alone = run(config, &[PERIOD], 1);
        let alone: Vec<f32> = alone.iter().flat_map(|(_, _, value)| value.clone()).collect();
        for threads in [1, 4] {
            for (_, _, value) in run(config, &sizes, threads).iter() {
                let wrong = value.iter().zip(alone.iter().cycle()).position(|(a, b)| a != b);
                let size = value.len();
                assert_eq!(wrong, None, "{config:?}: {size} numbers on {threads} threads");
            }
        }
    }
}

/// The norm of gradients that single precision cannot square, and of none.
#[test]
fn the_norm_neither_overflows_nor_fails_on_nothing() {
    let mut params = ParamStore::<f32>::new();
    let id = params.add("p", array(&[2], &[0.0, 0.0]).mapv(|x| x as f32).into_shared()).unwrap();
    let large = |x: f32| ArrayD::from_elem(IxDyn(&[2]), x).into_shared();
    // a gradient's elements, the largest norm, the norm, the elements after
    let rows = [
        (3e20, Some(1.0), 3e20 * f64::sqrt(2.0), f32::sqrt(0.5)),
        (3e20, None, 3e20 * f64::sqrt(2.0), 3e20),
        (1e-30, Some(1.0), 1e-30 * f64::sqrt(2.0), 1e-30),
        (0.0, Some(1.0), 0.0, 0.0),
    ];
    for (x, max_norm, norm, after) in rows {
        let mut gradients = vec![(id, large(x))];
        let found = clip_by_global_norm(&Context::sequential(), &mut gradients, max_norm);
        approx::assert_relative_eq!(found, norm, max_relative = 1e-6);
        for &y in &gradients[0].1 {
            approx::assert_relative_eq!(y.to_f64(), after.to_f64(), max_relative = 1e-6);
        }
    }
    assert_eq!(clip_by_global_norm::<f32>(&Context::sequential(), &mut [], Some(1.0)), 0.0);
    let mut gradients = vec![(id, large(f32::NAN))];
    assert!(clip_by_global_norm(&Context::sequential(), &mut gradients, Some(1.0)).is_nan());
}
