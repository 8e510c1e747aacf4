//! Recurrent layers: PyTorch's numbers, errors, and what padding must not touch. Their ops are
//! walked by `tests/gradcheck.rs` and `tests/golden.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::{Array3, ArrayD, Axis, IxDyn, Slice, s};
use unspool_layers::Bound;
use unspool_layers::init::Init;
use unspool_layers::recurrent::lstm::{lstm_backward, lstm_forward};
use unspool_layers::recurrent::{
    CellKind, CellStep, Gru, Lstm, Recurrent, RecurrentConfig, RecurrentInit, Rnn, Sequence, State,
    cases,
};
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::kernels::cells::{BackwardRow, CellKernel, ForwardRow};
use unspool_tensor::kernels::pointwise::Fast;
use unspool_tensor::op::DynOp;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Kernels, ParamStore, Tape, Var};

use common::{Golden, random};

mod common;

const KEY: Key = Key::new(11);

/// Outputs and the gradients of all inputs, of the outputs weighted with `seeds` (random ones
/// without).
fn run(
    inputs: &[ArrayD<f64>],
    seeds: Option<&[ArrayD<f64>]>,
    f: impl for<'t> Fn(&'t Tape<f64>, &[Var<'t, f64>]) -> Vec<Var<'t, f64>>,
) -> (Vec<ArrayD<f64>>, Vec<ArrayD<f64>>) {
    let tape = Tape::new(Context::sequential());
    let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
    let outputs = f(&tape, &vars);
    let seeds: Vec<_> = (outputs.iter().enumerate())
        .map(|(k, output)| match seeds {
            Some(seeds) => (*output, seeds[k].clone()),
            None => (*output, random(&format!("seed{k}"), &output.shape())),
        })
        .collect();
    let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
    let grads = vars
        .iter()
        .map(|&var| grads.wrt(var).map_or(ArrayD::zeros(var.shape()), |d| d.to_owned()))
        .collect();
    (outputs.iter().map(|output| output.value().to_owned()).collect(), grads)
}

fn run_op(case: &Case, inputs: &[ArrayD<f64>]) -> (Vec<ArrayD<f64>>, Vec<ArrayD<f64>>) {
    run(inputs, None, |tape, vars| tape.apply_shared(case.op.clone(), vars).unwrap())
}

fn config(cell: CellKind, bidirectional: bool, dropout: f64) -> RecurrentConfig {
    RecurrentConfig { cell, input: 2, hidden: 3, layers: 2, bidirectional, dropout }
}

/// The states of a golden row `[L·D, B, H]` as variables, one for each layer and direction.
fn states<'t>(tape: &'t Tape<f64>, array: &ArrayD<f64>) -> Vec<Var<'t, f64>> {
    array.outer_iter().map(|state| tape.input(state.to_owned())).collect()
}

/// The lengths of the golden rows that have some.
const LENGTHS: [usize; 4] = [2, 4, 0, 1];

/// Every option of a layer with the others, and the name of its golden row.
fn layer_options() -> Vec<(String, RecurrentConfig, bool, bool)> {
    let mut options = Vec::new();
    for cell in CellKind::ALL {
        for number in 0..16 {
            let has = |bit: usize| number & (1 << bit) != 0;
            let (layers, lengths, initial) = (1 + usize::from(has(0)), has(2), has(3));
            let config = RecurrentConfig { layers, ..config(cell, has(1), 0.0) };
            let name =
                [if lengths { "/lengths" } else { "" }, if initial { "/initial" } else { "" }];
            let name = format!("layer/{cell}/l{layers}d{}{}", config.directions(), name.concat());
            options.push((name, config, lengths, initial));
        }
        let dropped = RecurrentConfig { layers: 3, ..config(cell, true, 0.4) };
        options.push((format!("layer/{cell}/l3d2/lengths/initial/dropout"), dropped, true, true));
    }
    options
}

#[test]
fn layers_agree_with_pytorch() {
    let golden = Golden::open("recurrent");
    let mut names = BTreeSet::new();
    for (case, config, lengths, initial) in layer_options() {
        names.insert(case.clone());
        let mut store = ParamStore::<f64>::new();
        let layer = Recurrent::new(&mut store, "", config, &RecurrentInit::default(), KEY).unwrap();
        for id in store.ids() {
            let value = golden.get(&case, &format!("in{}", store.name(id)));
            store.set(id, value).unwrap();
        }
        assert_eq!(store.len(), 4 * config.layers * config.directions());

        let tape = Tape::new(Context::sequential().with_key(KEY));
        let bound = Bound::training(&tape, &store);
        let x = tape.input(golden.get(&case, "in.x"));
        let initial = initial.then(|| State {
            h: states(&tape, &golden.get(&case, "in.h")),
            c: match config.cell.has_cell_state() {
                true => states(&tape, &golden.get(&case, "in.c")),
                false => Vec::new(),
            },
        });
        let lengths = lengths.then_some(&LENGTHS[..]);
        let (output, last) = layer.forward(bound, x, lengths, initial.as_ref()).unwrap();

        let mut seeds = vec![(output, golden.get(&case, "d_out.0"))];
        golden.check(&case, "out.0", &output.value());
        for (k, states) in [last.h, last.c].into_iter().enumerate() {
            for (number, state) in states.into_iter().enumerate() {
                let all = format!("out.{}", k + 1);
                let wanted = golden.get(&case, &all).index_axis_move(Axis(0), number);
                let error = distance(&state.value(), &wanted);
                assert!(error <= 1e-12, "{case}: {all} of {number} is {error:e} off");
                let seed = golden.get(&case, &format!("d_out.{}", k + 1));
                seeds.push((state, seed.index_axis_move(Axis(0), number)));
            }
        }
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
        golden.check(&case, "d_in.x", grads.wrt(x).unwrap());
        let initial = initial.map_or_else(Vec::new, |state| vec![("h", state.h), ("c", state.c)]);
        for (name, states) in initial {
            for (number, state) in states.into_iter().enumerate() {
                let wanted = golden.get(&case, &format!("d_in.{name}"));
                let wanted = wanted.index_axis_move(Axis(0), number);
                let error = distance(grads.wrt(state).unwrap(), &wanted);
                assert!(error <= 1e-12, "{case}: d_in.{name} of {number} is {error:e} off");
            }
        }
        for id in store.ids() {
            let name = format!("d_in{}", store.name(id));
            golden.check(&case, &name, grads.param(id).unwrap());
        }
    }
    assert_eq!(golden.layers(), names);
}

#[test]
fn what_padding_holds_reaches_nothing() {
    for case in
        cases().iter().filter(|case| case.name.contains("length") || case.name.contains("active"))
    {
        let inputs = case.sample(KEY);
        let twin = case.twin.as_ref().unwrap();
        let (outputs, grads) = run_op(case, &inputs);
        let padded: Vec<usize> = grads[0]
            .rows()
            .into_iter()
            .enumerate()
            .filter(|(_, d)| d.iter().all(|&d| d == 0.0))
            .map(|(row, _)| row)
            .collect();
        assert!(!padded.is_empty(), "{}: x has a gradient everywhere", case.name);
        for garbage in [f64::NAN, f64::INFINITY, 1e300] {
            let mut inputs = inputs.clone();
            for (row, mut x) in inputs[0].rows_mut().into_iter().enumerate() {
                if padded.contains(&row) {
                    x.fill(garbage);
                }
            }
            assert_eq!(run_op(case, &inputs), (outputs.clone(), grads.clone()));
            let composed = run(&inputs, None, |tape, vars| twin(tape, vars).unwrap());
            for (found, wanted) in
                composed.0.iter().zip(&outputs).chain(composed.1.iter().zip(&grads))
            {
                assert!(distance(found, wanted) <= 1e-12, "{}: the twin", case.name);
            }
        }
    }
}

/// The layer's output and final states, as f32 bits, of rows of a batch.
fn bits(
    layer: &Recurrent,
    store: &ParamStore<f32>,
    x: Array3<f32>,
    lengths: &[usize],
) -> Vec<Vec<u32>> {
    let tape = Tape::inference(Context::sequential());
    let batch = lengths.len();
    let x = tape.constant(x);
    let (output, last) =
        layer.forward(Bound::evaluation(&tape, store), x, Some(lengths), None).unwrap();
    let output = output.value();
    (0..batch)
        .map(|row| {
            let valid = output.slice_axis(Axis(0), Slice::from(0..lengths[row]));
            let valid = valid.index_axis(Axis(1), row).to_owned();
            let states = last.h.iter().chain(&last.c).map(|state| state.value());
            let states = states.flat_map(|state| state.index_axis(Axis(0), row).to_owned());
            valid.into_iter().chain(states).map(f32::to_bits).collect()
        })
        .collect()
}

#[test]
fn a_row_has_the_same_bits_alone_in_any_batch_and_with_more_padding() {
    for cell in CellKind::ALL {
        for hidden in [1, 5, 16, 33] {
            let mut store = ParamStore::<f32>::new();
            let config = RecurrentConfig { hidden, input: 7, ..config(cell, true, 0.0) };
            let init = RecurrentInit::default();
            let layer = Recurrent::new(&mut store, "rnn", config, &init, KEY).unwrap();
            let lengths = [3, 9, 1, 4, 9, 0, 2, 6, 5, 5, 7];
            let x = random("x", &[9, lengths.len(), 7]).mapv(|x| x as f32);
            let x = x.into_dimensionality::<ndarray::Ix3>().unwrap();
            let together = bits(&layer, &store, x.clone(), &lengths);
            for (row, &length) in lengths.iter().enumerate() {
                let alone = x.slice(s![..length, row..row + 1, ..]).to_owned();
                assert_eq!(bits(&layer, &store, alone, &[length])[0], together[row], "{cell}");
            }
            let mut longer = Array3::from_elem((14, lengths.len(), 7), f32::NAN);
            longer.slice_mut(s![..9, .., ..]).assign(&x);
            assert_eq!(bits(&layer, &store, longer, &lengths), together, "{cell}");
            let turned = x.slice(s![.., ..;-1, ..]).to_owned();
            let mut turned_lengths = lengths;
            turned_lengths.reverse();
            let mut found = bits(&layer, &store, turned, &turned_lengths);
            found.reverse();
            assert_eq!(found, together, "{cell}");
        }
    }
}

/// From 16 rows on, threads take bands of rows through all steps: the same bits as on one thread,
/// and the gradients of the composed twin.
#[test]
fn bands_of_rows_on_several_threads_change_no_bit() {
    let (steps, batch) = (5, 37);
    let lengths: Vec<usize> = (0..batch).map(|row| KEY.below(row as u64, 6) as usize).collect();
    for cell in CellKind::ALL {
        for lengths in [None, Some(lengths.as_slice())] {
            for bidirectional in [false, true] {
                let mut store = ParamStore::<f64>::new();
                let config = config(cell, bidirectional, 0.0);
                let init = RecurrentInit::default();
                let layer = Recurrent::new(&mut store, "layer", config, &init, KEY).unwrap();
                let run = |context: Context| {
                    let tape = Tape::new(context);
                    let x = tape.input(random("x", &[steps, batch, 2]));
                    let bound = Bound::training(&tape, &store);
                    let (y, last) = layer.forward(bound, x, lengths, None).unwrap();
                    let mut outputs = vec![y];
                    outputs.extend(last.h.into_iter().chain(last.c));
                    let seeds: Vec<_> = (outputs.iter().enumerate())
                        .map(|(k, output)| (*output, random(&format!("seed{k}"), &output.shape())))
                        .collect();
                    let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
                    let outputs: Vec<_> = outputs.iter().map(|y| y.value()).collect();
                    (outputs, grads.wrt(x).cloned(), grads.into_params())
                };
                let one = run(Context::sequential());
                for threads in [2, 3, 4] {
                    let context = Context::with_threads(threads).unwrap().with_parallel_from(0);
                    assert!(one == run(context), "{cell} on {threads} threads, {lengths:?}");
                }
            }
        }
    }
}

#[test]
fn single_steps_give_what_the_whole_sequence_gives() {
    for cell in CellKind::ALL {
        let mut store = ParamStore::<f64>::new();
        let init = RecurrentInit::default();
        let layer =
            Recurrent::new(&mut store, "rnn", config(cell, false, 0.4), &init, KEY).unwrap();
        let x = random("x", &[5, 3, 2]);
        let seed = random("seed", &[5, 3, 3]);
        let context = Context::sequential().with_key(KEY.named("dropout"));

        let tape = Tape::new(context.clone());
        let bound = Bound::training(&tape, &store);
        let (output, last) = layer.forward(bound, tape.constant(x.clone()), None, None).unwrap();
        let grads = tape.vector_jacobian(&[(output, seed.clone())], BackwardMode::Adding).unwrap();

        let steps = Tape::new(context.clone());
        let bound = Bound::training(&steps, &store);
        let mut state = layer.zero_state(&steps, 3);
        let mut outputs = Vec::new();
        for time in 0..5 {
            let x = steps.constant(x.index_axis(Axis(0), time).to_owned());
            state = layer.step(bound, x, &state, time).unwrap();
            outputs.push(state.top());
        }
        let stacked = Var::stack(&outputs, 0).unwrap();
        let step_grads =
            steps.vector_jacobian(&[(stacked, seed.clone())], BackwardMode::Adding).unwrap();

        assert_eq!(stacked.value(), output.value(), "{cell}");
        for (a, b) in state.h.iter().chain(&state.c).zip(last.h.iter().chain(&last.c)) {
            assert_eq!(a.value(), b.value(), "{cell}");
        }
        for id in store.ids() {
            let error = distance(step_grads.param(id).unwrap(), grads.param(id).unwrap());
            assert!(error <= 1e-12, "{cell}: {} is {error:e} off", store.name(id));
        }

        // Dropout drops in training, and only there.
        let evaluated = Tape::inference(context);
        let bound = Bound::evaluation(&evaluated, &store);
        let (kept, _) = layer.forward(bound, evaluated.constant(x), None, None).unwrap();
        assert_ne!(kept.value(), output.value(), "{cell}");
    }
}

/// The LSTM's own arithmetic, with the gradient of the gates multiplied.
#[derive(Debug)]
struct Scaled(f64);

impl CellKernel<f64> for Scaled {
    fn name(&self) -> &str {
        "scaled"
    }

    fn cell(&self) -> &str {
        "lstm"
    }

    fn forward(&self, row: ForwardRow<'_, f64>) {
        lstm_forward(Fast, row);
    }

    fn backward(&self, row: BackwardRow<'_, f64>) {
        let BackwardRow { gates, extras, h, c, d_h, d_c, d_gates, d_hidden_gates } = row;
        lstm_backward(BackwardRow {
            gates,
            extras,
            h,
            c,
            d_h: &mut *d_h,
            d_c: &mut *d_c,
            d_gates: &mut *d_gates,
            d_hidden_gates: &mut *d_hidden_gates,
        });
        d_gates.iter_mut().for_each(|d| *d *= self.0);
    }
}

#[test]
fn a_registered_kernel_takes_the_place_of_its_cell() {
    let gradient = |kind: CellKind, kernels: Kernels| {
        let case = cases().into_iter().find(|case| case.name == format!("{kind}_step")).unwrap();
        let context = Context::sequential().with_kernels(kernels);
        let tape = Tape::<f64>::new(context);
        let inputs: Vec<_> = case.sample(KEY).into_iter().map(|x| tape.input(x)).collect();
        let outputs = tape.apply_shared(case.op, &inputs).unwrap();
        let grads = tape.backward(outputs[0].sum_all().unwrap()).unwrap();
        (outputs[0].value(), grads.wrt(inputs[0]).unwrap().clone())
    };
    let scaled = |factor: f64| Kernels::default().with_cell_f64(Arc::new(Scaled(factor)));
    let (value, own) = gradient(CellKind::Lstm, Kernels::default());
    assert_eq!(gradient(CellKind::Lstm, scaled(1.0)), (value.clone(), own.clone()));
    assert_eq!(gradient(CellKind::Lstm, scaled(2.0)), (value, own.mapv(|d| 2.0 * d).into_shared()));
    // It is for that cell alone.
    let of_gru = gradient(CellKind::Gru, Kernels::default());
    assert_eq!(gradient(CellKind::Gru, scaled(2.0)), of_gru);
    assert!(scaled(1.0).name().ends_with(", lstm by scaled (f64)"), "{}", scaled(1.0).name());
}

#[test]
fn recorded_contributions_come_apart_by_time_and_add_up() {
    for case in cases() {
        let inputs = case.sample(KEY);
        let wanted = run_op(&case, &inputs).1;
        let tape = Tape::new(Context::sequential());
        let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
        let outputs = tape.apply_shared(case.op.clone(), &vars).unwrap();
        let seeds: Vec<_> = (outputs.iter().enumerate())
            .map(|(k, output)| (*output, random(&format!("seed{k}"), &output.shape())))
            .collect();
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Recording).unwrap();
        let steps = if case.name.contains("_step") && case.inputs[0].shape.len() == 2 {
            1
        } else {
            case.inputs[0].shape[0]
        };
        let weights = vars.len() - 4;
        for (k, &var) in vars.iter().enumerate() {
            assert!(distance(grads.wrt(var).unwrap(), &wanted[k]) <= 1e-14, "{}", case.name);
            let parts = grads.contributions(var);
            assert_eq!(parts.len(), if k >= weights { steps } else { 1 }, "{}", case.name);
            let sum = parts.iter().fold(ArrayD::zeros(var.shape()), |sum, part| sum + &part.value);
            assert!(distance(&sum, &wanted[k]) <= 1e-14, "{}", case.name);
        }
    }
}

#[test]
fn weights_start_as_asked_for() {
    let mut store = ParamStore::<f64>::new();
    let config = RecurrentConfig { hidden: 16, ..config(CellKind::Lstm, true, 0.0) };
    let init = RecurrentInit {
        weight_hh: Init::Orthogonal,
        forget_bias: Some(1.0),
        ..RecurrentInit::default()
    };
    let layer = Recurrent::new(&mut store, "encoder", config, &init, KEY).unwrap();
    assert_eq!(layer.config().output(), 32);
    let names: Vec<_> = store.iter().map(|(_, name, value)| (name, value.shape())).collect();
    assert_eq!(names[0], ("encoder.l0.weight_ih", &[64, 2][..]));
    assert_eq!(names[7], ("encoder.l0.reverse.bias_hh", &[64][..]));
    assert_eq!(names[12], ("encoder.l1.reverse.weight_ih", &[64, 32][..]));
    for (_, name, value) in store.iter() {
        for gate in 0..4 {
            let block = value.slice_axis(Axis(0), Slice::from(gate * 16..(gate + 1) * 16));
            let top = block.iter().fold(0.0_f64, |top, w| top.max(w.abs()));
            if name.ends_with("weight_hh") {
                let block = block.into_dimensionality::<ndarray::Ix2>().unwrap();
                let error = block.dot(&block.t()) - ndarray::Array2::<f64>::eye(16);
                assert!(error.iter().all(|error| error.abs() < 1e-14), "{name}");
            } else if name.contains("bias") && gate == 1 {
                let wanted = if name.ends_with("bias_ih") { 1.0 } else { 0.0 };
                assert!(block.iter().all(|&b| b == wanted), "{name}");
            } else {
                assert!(top > 0.15 && top <= 0.25, "{name}: {top} of 1/√16");
            }
        }
    }
    let mut single = ParamStore::<f32>::new();
    Recurrent::new(&mut single, "encoder", config, &init, KEY).unwrap();
    for ((_, name, single), (_, other, double)) in single.iter().zip(store.iter()) {
        assert_eq!((name, single), (other, &double.mapv(|x| x as f32).into_shared()));
    }
}

/// What the op says to inputs of these shapes: x, h, (c), weights.
fn error_of(op: &dyn DynOp<f64>, shapes: &[&[usize]]) -> String {
    let inputs: Vec<_> = shapes.iter().map(|&shape| ArrayD::zeros(shape).into_shared()).collect();
    match op.run_forward(&Context::sequential(), &inputs) {
        Ok(_) => panic!("{shapes:?} run"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_name_the_op_and_the_shapes() {
    let shapes: [&[usize]; 6] = [&[4, 2, 5], &[2, 3], &[3, 5], &[3, 3], &[3], &[3]];
    let with = |at: usize, shape: &'static [usize]| {
        let mut shapes = shapes;
        shapes[at] = shape;
        shapes
    };
    for (at, shape, wanted) in [
        (0, &[4, 2][..], "rnn: shape [4, 2] of the inputs is not [T, B, I]"),
        (0, &[4, 3, 5], "rnn: shapes [4, 3, 5] and [2, 3] of inputs and state do not fit"),
        (1, &[2], "rnn: shapes [4, 2, 5] and [2] are not those of inputs and of a state [B, H]"),
        (1, &[2, 0], "rnn: shapes [4, 2, 5] and [2, 0] of inputs and state do not fit"),
        (2, &[3, 4], "rnn: shapes [3, 5] and [3, 4] are not the same, of weight_ih"),
        (3, &[3, 4], "rnn: shapes [3, 3] and [3, 4] are not the same, of weight_hh"),
        (4, &[1, 3], "rnn: shapes [3] and [1, 3] are not the same, of bias_ih"),
        (5, &[4], "rnn: shapes [3] and [4] are not the same, of bias_hh"),
    ] {
        assert_eq!(error_of(&Sequence::new(Rnn), &with(at, shape)), wanted);
    }
    let lstm = error_of(&Sequence::new(Lstm), &shapes);
    assert_eq!(lstm, "lstm: 7 inputs expected, 6 found");
    assert!(error_of(&Sequence::new(Gru), &shapes).starts_with("gru: shapes [9, 5] and [3, 5]"));
    let step = error_of(&CellStep::new(Rnn), &shapes);
    assert_eq!(step, "rnn_step: shape [4, 2, 5] of the inputs is not [B, I]");
    for (lengths, wanted) in [
        (vec![1], "rnn: 1 lengths for a batch of 2"),
        (vec![1, 5], "rnn: a row of length 5 in 4 time steps"),
    ] {
        let op = Sequence { lengths: Some(lengths), ..Sequence::new(Rnn) };
        assert_eq!(error_of(&op, &shapes), wanted);
    }
    let step = CellStep { active: Some(vec![true]), ..CellStep::new(Rnn) };
    let wanted = "rnn_step: 1 active flags for a batch of 2";
    assert_eq!(error_of(&step, &with(0, &[2, 5])), wanted);
}

#[test]
fn impossible_layers_are_errors() {
    let good = config(CellKind::Lstm, false, 0.0);
    for (config, wanted) in [
        (RecurrentConfig { hidden: 0, ..good }, "hidden must be at least 1"),
        (RecurrentConfig { layers: 0, ..good }, "layers must be at least 1"),
        (RecurrentConfig { dropout: 1.0, ..good }, "dropout is 1"),
        (RecurrentConfig { dropout: f64::NAN, ..good }, "dropout is NaN"),
    ] {
        let mut store = ParamStore::<f64>::new();
        let error = Recurrent::new(&mut store, "rnn", config, &RecurrentInit::default(), KEY);
        assert!(error.unwrap_err().to_string().contains(wanted));
    }
    assert!("lstn".parse::<CellKind>().is_err());
    for cell in CellKind::ALL {
        assert_eq!(cell.to_string().parse::<CellKind>().unwrap(), cell);
    }

    let mut store = ParamStore::<f64>::new();
    let both = RecurrentConfig { bidirectional: true, ..good };
    let layer = Recurrent::new(&mut store, "both", both, &RecurrentInit::default(), KEY).unwrap();
    let tape = Tape::new(Context::sequential());
    let bound = Bound::training(&tape, &store);
    let x = tape.constant(random("x", &[3, 2]));
    let state = layer.zero_state(&tape, 3);
    let error = layer.step(bound, x, &state, 0).unwrap_err().to_string();
    assert!(error.contains("reads in both directions"), "{error}");
    let x = tape.constant(random("x", &[4, 3, 2]));
    let short = State { h: state.h[..2].to_vec(), c: Vec::new() };
    let error = layer.forward(bound, x, None, Some(&short)).unwrap_err().to_string();
    assert!(error.contains("2 hidden and 0 cell states, not 4 and 4"), "{error}");
}

#[test]
fn a_batch_or_a_sequence_may_be_empty() {
    let mut store = ParamStore::<f64>::new();
    let init = RecurrentInit::default();
    let config = config(CellKind::Gru, true, 0.0);
    let layer = Recurrent::new(&mut store, "rnn", config, &init, KEY).unwrap();
    for (time_steps, batch) in [(0, 3), (3, 0), (0, 0)] {
        let tape = Tape::<f64>::new(Context::sequential());
        let x = tape.input(ArrayD::<f64>::zeros(IxDyn(&[time_steps, batch, 2])));
        let bound = Bound::training(&tape, &store);
        let (output, last) = layer.forward(bound, x, None, None).unwrap();
        assert_eq!(output.shape(), [time_steps, batch, 6]);
        assert!(
            last.h.iter().all(|h| h.shape() == [batch, 3] && h.value().iter().all(|&h| h == 0.0))
        );
        tape.backward(output.sum_all().unwrap()).unwrap();
    }
}
