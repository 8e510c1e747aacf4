//! Optimisers against PyTorch's numbers, which `optimiser_golden.py` writes; against themselves
//! after a pause, on other threads, and cut into other chunks.

use ndarray::{ArrayD, Axis, IxDyn};
use serde::Deserialize;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Gradient, ParamId, ParamStore, Real, Tape, Tensor};
use unspool_train::gradients::{self, clip_by_global_norm};
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
    ) -> Vec<(ParamId, Gradient<f64>)> {
        let arrays = self.shapes.iter().zip(&self.gradients[update]);
        params
            .ids()
            .zip(arrays.map(|(shape, values)| layout(array(shape, values)).into()))
            .collect()
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
                params.ids().zip(sizes.iter().map(|&size| gradient(size).into())).collect();
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
    let large = |x: f32| ArrayD::from_elem(IxDyn(&[2]), x).into_shared().into();
    // a gradient's elements, the largest norm, the norm, the elements after
    let rows = [
        (3e20, Some(1.0), 3e20 * f64::sqrt(2.0), f32::sqrt(0.5)),
        (3e20, None, 3e20 * f64::sqrt(2.0), 3e20),
        (1e-30, Some(1.0), 1e-30 * f64::sqrt(2.0), 1e-30),
        (0.0, Some(1.0), 0.0, 0.0),
    ];
    for (x, max_norm, norm, after) in rows {
        let mut gradients: Vec<(_, Gradient<f32>)> = vec![(id, large(x))];
        let found = clip_by_global_norm(&Context::sequential(), &mut gradients, max_norm);
        approx::assert_relative_eq!(found, norm, max_relative = 1e-6);
        for &y in gradients[0].1.dense() {
            approx::assert_relative_eq!(y.to_f64(), after.to_f64(), max_relative = 1e-6);
        }
    }
    assert_eq!(clip_by_global_norm::<f32>(&Context::sequential(), &mut [], Some(1.0)), 0.0);
    let mut gradients = vec![(id, large(f32::NAN))];
    assert!(clip_by_global_norm(&Context::sequential(), &mut gradients, Some(1.0)).is_nan());
}

/// The gradients of a table's rows, as a training step finds them: those that are there, and the
/// same as a whole array.
fn looked_up(
    params: &ParamStore<f32>,
    id: ParamId,
    indices: &[usize],
    key: Key,
) -> [Gradient<f32>; 2] {
    let run = |mode: BackwardMode| {
        let tape = Tape::new(Context::sequential());
        let rows = tape.param(params, id).gather_rows(indices, &[indices.len()]).unwrap();
        let shape = rows.shape();
        let mut counter = 0;
        let d = ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
            counter += 1;
            (2.0 * key.uniform(counter) - 1.0) as f32
        });
        let grads = tape.vector_jacobian(&[(rows, d)], mode).unwrap().into_gradients();
        grads.into_iter().next().unwrap().1
    };
    [run(BackwardMode::Freeing), run(BackwardMode::Adding)]
}

/// Rows instead of whole arrays, from the sum of two shards over clipping to the update: the same
/// bits, whatever the rows, but for the norm's rounding.
#[test]
fn rows_of_a_table_are_updated_as_the_whole_table() {
    // So wide that the rows that are not there are more than one thread takes at a time.
    let shape = [40, 1500];
    let table = |key: Key| -> Tensor<f32> {
        let number = |row: usize, column: usize| key.uniform((row * 1500 + column) as u64) as f32;
        ArrayD::from_shape_fn(IxDyn(&shape), |at| number(at[0], at[1]) - 0.5).into_shared()
    };
    let updates: [[&[usize]; 2]; 4] = [
        [&[3, 39, 3, 0], &[3, 17]],
        [&[5], &[]],
        [&[38, 38, 39], &[0, 1, 2]],
        // The first is more than half, so it is a whole array.
        [&(0..30).collect::<Vec<_>>(), &[4, 4, 31]],
    ];
    for config in [
        OptimiserConfig::Sgd { momentum: 0.0 },
        OptimiserConfig::Sgd { momentum: 0.9 },
        OptimiserConfig::default(),
        OptimiserConfig::AdamW { beta1: 0.9, beta2: 0.98, epsilon: 1e-9, weight_decay: 0.1 },
    ] {
        for threads in [1, 4] {
            let context = Context::with_threads(threads).unwrap();
            let mut all = [(); 2].map(|()| {
                let mut params = ParamStore::<f32>::new();
                let id = params.add("table", table(Key::new(7))).unwrap();
                (Optimiser::new(config, &params), params, id)
            });
            for (number, shards) in updates.iter().enumerate() {
                let mut norms = Vec::new();
                for (sparse, (optimiser, params, id)) in all.iter_mut().enumerate() {
                    let mut shards = shards.iter().enumerate().map(|(shard, indices)| {
                        let key = Key::new(number as u64).with(shard as u64);
                        let [rows, dense] = looked_up(params, *id, indices, key);
                        assert_eq!(rows.dense(), dense.dense());
                        let few = indices.len() < 20;
                        assert_eq!(matches!(rows, Gradient::Rows(_)), few, "{indices:?}");
                        vec![(*id, if sparse == 0 { rows } else { dense })]
                    });
                    let mut sum = shards.next().unwrap();
                    for more in shards {
                        // Whichever is whole, the sum is the same.
                        let mut other = more.clone();
                        gradients::add(&context, &mut other, sum.clone());
                        gradients::add(&context, &mut sum, more);
                        assert_eq!(other[0].1.dense(), sum[0].1.dense());
                    }
                    norms.push(clip_by_global_norm(&context, &mut sum, Some(1e9)));
                    optimiser.update(&context, params, &sum, 0.1);
                }
                approx::assert_relative_eq!(norms[0], norms[1], max_relative = 1e-12);
                let [(.., rows, id), (.., dense, _)] = &all;
                let (rows, dense) = (rows.get(*id), dense.get(all[1].2));
                assert_eq!(rows, dense, "{config:?}, update {number}, {threads} threads");
            }
        }
    }
    // Clipping scales rows as it does arrays.
    let mut params = ParamStore::<f32>::new();
    let id = params.add("table", table(Key::new(7))).unwrap();
    let [mut rows, mut dense] = looked_up(&params, id, &[8, 2, 8], Key::new(3)).map(|d| [(id, d)]);
    for gradients in [&mut rows, &mut dense] {
        clip_by_global_norm(&Context::sequential(), gradients, Some(0.5));
    }
    let [a, b] = [&rows, &dense].map(|d| d[0].1.dense().mapv(f64::from));
    assert!(distance(&a, &b) < 1e-7);
    approx::assert_relative_eq!(
        clip_by_global_norm(&Context::sequential(), &mut rows, None),
        0.5,
        max_relative = 1e-5
    );
}
