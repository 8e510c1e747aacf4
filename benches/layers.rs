//! Fused layers beside their composed twins, forward alone and with the backward pass to all
//! inputs, on one thread. Rates (`item/s`) are floating-point operations of the matrix products a
//! second, or the numbers of the output where there is no product.
//!
//! `cargo bench --bench layers`; after it, any part of a name selects benchmarks.

use std::sync::{Arc, LazyLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use ndarray::{ArrayD, IxDyn};
use unspool_layers::attention::{self, AdditiveAttention, DotAttention};
use unspool_layers::embedding::{self, EmbeddingOp};
use unspool_layers::linear::{self, LinearOp};
use unspool_layers::recurrent::{CellKind, CellStep, Gru, Lstm, Rnn, Sequence, composed};
use unspool_tensor::op::DynOp;
use unspool_tensor::ops::cross_entropy::{CrossEntropy, CrossEntropyOptions};
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Result, Tape, Tensor, Var};

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

fn main() {
    divan::main();
}

/// How far a benchmark goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pass {
    Forward,
    ForwardBackward,
}

use Pass::{Forward, ForwardBackward};

const PASSES: [Pass; 2] = [Forward, ForwardBackward];

/// Uniform in ±1/√(the last length): what keeps a sum of products at a size of 1.
fn random(shape: &[usize], seed: u64) -> Tensor<f32> {
    let (key, mut counter) = (Key::new(seed), 0);
    let bound = (shape.last().copied().unwrap_or(1) as f64).sqrt().recip();
    let number = || {
        counter += 1;
        (bound * (2.0 * key.uniform(counter) - 1.0)) as f32
    };
    ArrayD::from_shape_simple_fn(IxDyn(shape), number).into_shared()
}

/// A function of variables: a fused op or its twin.
type Function<'f> = &'f dyn for<'t> Fn(&'t Tape<f32>, &[Var<'t, f32>]) -> Result<Vec<Var<'t, f32>>>;

/// The outputs, and the gradients of their sum when they are asked for.
fn run(function: Function<'_>, inputs: &[Tensor<f32>], pass: Pass) -> Vec<Tensor<f32>> {
    // One context, whose memory the next run has.
    static CONTEXT: LazyLock<Context> = LazyLock::new(Context::sequential);
    let tape = Tape::new(CONTEXT.clone());
    let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
    let outputs = function(&tape, &vars).unwrap();
    let mut results: Vec<_> = outputs.iter().map(|y| y.value()).collect();
    if pass == ForwardBackward {
        let seeds: Vec<_> =
            outputs.into_iter().map(|y| (y, ArrayD::ones(IxDyn(&y.shape())))).collect();
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
        results.extend(vars.iter().filter_map(|&x| grads.wrt(x).cloned()));
    }
    results
}

/// Times `function`, and holds it against its twin.
///
/// `items` are those of the forward pass. The backward pass of a product is two more of the size.
fn time(
    bencher: Bencher<'_, '_>,
    pass: Pass,
    items: usize,
    shapes: &[&[usize]],
    function: Function<'_>,
    twin: Function<'_>,
) {
    let inputs: Vec<_> = (1..).zip(shapes).map(|(seed, shape)| random(shape, seed)).collect();
    let items = ItemsCount::new(if pass == Forward { items } else { 3 * items });
    let mut found = Vec::new();
    bencher.counter(items).bench_local(|| found = run(function, &inputs, pass));
    let expected = if found.is_empty() { Vec::new() } else { run(twin, &inputs, pass) };
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.shape(), expected.shape());
        let scale = expected.iter().fold(1.0, |top: f32, x| top.max(x.abs()));
        let worst = (found - expected).iter().fold(0.0, |top: f32, x| top.max(x.abs()));
        assert!(worst <= 1e-4 * scale, "{worst:e} off, of {scale}");
    }
}

/// Which of the two is timed; the other checks it.
#[derive(Clone, Copy)]
enum Variant {
    Fused,
    Composed,
}

fn time_variant(
    bencher: Bencher<'_, '_>,
    variant: Variant,
    pass: Pass,
    items: usize,
    shapes: &[&[usize]],
    fused: Function<'_>,
    composed: Function<'_>,
) {
    match variant {
        Variant::Fused => time(bencher, pass, items, shapes, fused, composed),
        Variant::Composed => time(bencher, pass, items, shapes, composed, fused),
    }
}

/// A benchmark module with both variants in both passes, from a function of the two.
macro_rules! fused_and_composed {
    ($module:ident, $run:ident) => {
        mod $module {
            use super::*;

            #[divan::bench(args = PASSES, max_time = 1)]
            fn fused(bencher: Bencher<'_, '_>, pass: Pass) {
                $run(bencher, Variant::Fused, pass);
            }

            #[divan::bench(args = PASSES, max_time = 1)]
            fn composed(bencher: Bencher<'_, '_>, pass: Pass) {
                $run(bencher, Variant::Composed, pass);
            }
        }
    };
}

fused_and_composed!(linear_26x64x512_to_1024, run_linear);
fused_and_composed!(embedding_20x64_of_8000x128, run_embedding);
fused_and_composed!(cross_entropy_26x64x8000, run_cross_entropy);
fused_and_composed!(lstm_step_64x384x256, run_lstm_step);
fused_and_composed!(gru_step_64x384x256, run_gru_step);
fused_and_composed!(additive_attention_step_64x20x128x256, run_additive);
fused_and_composed!(dot_attention_step_64x20x256, run_dot);

fn run_linear(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass) {
    let [time, batch, inputs, outputs] = [26, 64, 512, 1024];
    let shapes: [&[usize]; 3] = [&[time, batch, inputs], &[outputs, inputs], &[outputs]];
    let flop = 2 * time * batch * inputs * outputs;
    time_variant(
        bencher,
        variant,
        pass,
        flop,
        &shapes,
        &|tape, v| tape.apply_shared(Arc::new(LinearOp), v),
        &|_, v| Ok(vec![linear::composed(v[0], v[1], Some(v[2]))?]),
    );
}

fn run_embedding(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass) {
    let [time, batch, rows, size] = [20, 64, 8000, 128];
    let key = Key::new(9);
    let number = |at: IxDyn| key.below((at[0] * batch + at[1]) as u64, rows as u64) as usize;
    let indices = Arc::new(ArrayD::from_shape_fn(IxDyn(&[time, batch]), number));
    time_variant(
        bencher,
        variant,
        pass,
        time * batch * size,
        &[&[rows, size]],
        &|tape, v| {
            let op = EmbeddingOp { indices: indices.clone(), padding: Some(0) };
            tape.apply_shared(Arc::new(op), v)
        },
        &|_, v| Ok(vec![embedding::composed(v[0], &indices, Some(0))?]),
    );
}

/// The twin is a log-softmax, and one number of each of its rows.
fn run_cross_entropy(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass) {
    let [tokens, classes] = [26 * 64, 8000];
    let key = Key::new(10);
    let targets: Vec<usize> =
        (0..tokens).map(|at| key.below(at as u64, classes as u64) as usize).collect();
    let flat: Vec<usize> =
        targets.iter().enumerate().map(|(row, target)| row * classes + target).collect();
    time_variant(
        bencher,
        variant,
        pass,
        tokens * classes,
        &[&[tokens, classes]],
        &|tape, v| {
            let (targets, options) = (targets.clone(), CrossEntropyOptions::default());
            tape.apply_shared(Arc::new(CrossEntropy { targets, options }), v)
        },
        &|_, v| {
            let log_probs = v[0].log_softmax(1)?.reshape(&[tokens * classes, 1])?;
            let sum = log_probs.gather_rows(&flat, &[tokens])?.sum_all()?;
            Ok(vec![(sum / -(tokens as f32))?])
        },
    );
}

fn run_lstm_step(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass) {
    run_step(bencher, variant, pass, CellKind::Lstm);
}

fn run_gru_step(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass) {
    run_step(bencher, variant, pass, CellKind::Gru);
}

fn run_step(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass, cell: CellKind) {
    let [batch, columns, hidden] = [64, 384, 256];
    let shapes = cell_shapes(cell, vec![batch, columns], batch, hidden);
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let flop = 2 * batch * cell.gates().len() * hidden * (columns + hidden);
    time_variant(
        bencher,
        variant,
        pass,
        flop,
        &shapes,
        &|tape, v| {
            let op: Arc<dyn DynOp<f32>> = match cell {
                CellKind::Rnn => Arc::new(CellStep::new(Rnn)),
                CellKind::Lstm => Arc::new(CellStep::new(Lstm)),
                CellKind::Gru => Arc::new(CellStep::new(Gru)),
            };
            tape.apply_shared(op, v)
        },
        &|_, v| composed::step(cell, None, v),
    );
}

/// The shapes of a cell's inputs: x, the states, the weights.
fn cell_shapes(cell: CellKind, x: Vec<usize>, batch: usize, hidden: usize) -> Vec<Vec<usize>> {
    let gates = cell.gates().len() * hidden;
    let columns = x[x.len() - 1];
    let states = vec![vec![batch, hidden]; if cell.has_cell_state() { 2 } else { 1 }];
    let weights = vec![vec![gates, columns], vec![gates, hidden], vec![gates], vec![gates]];
    [vec![x], states, weights].concat()
}

fn run_additive(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass) {
    let [batch, source, size, memory] = [64, 20, 128, 256];
    let lengths: Arc<[usize]> = vec![source; batch].into();
    let shapes: [&[usize]; 4] =
        [&[batch, size], &[batch, source, size], &[size], &[batch, source, memory]];
    time_variant(
        bencher,
        variant,
        pass,
        2 * batch * source * (size + memory),
        &shapes,
        &|tape, v| {
            let op = AdditiveAttention { lengths: lengths.clone() };
            tape.apply_shared(Arc::new(op), v)
        },
        &|_, v| {
            let (context, weights) =
                attention::composed::additive(v[0], v[1], v[2], v[3], &lengths)?;
            Ok(vec![context, weights])
        },
    );
}

fn run_dot(bencher: Bencher<'_, '_>, variant: Variant, pass: Pass) {
    let [batch, source, size] = [64, 20, 256];
    let lengths: Arc<[usize]> = vec![source; batch].into();
    let op = DotAttention { scale: 1.0, heads: 1, causal: false, lengths };
    let shapes: [&[usize]; 3] = [&[batch, 1, size], &[batch, source, size], &[batch, source, size]];
    time_variant(
        bencher,
        variant,
        pass,
        4 * batch * source * size,
        &shapes,
        &|tape, v| tape.apply_shared(Arc::new(op.clone()), v),
        &|_, v| {
            let (context, weights) = attention::composed::dot(&op, v[0], v[1], v[2])?;
            Ok(vec![context, weights])
        },
    );
}

/// Whole sequences.
mod sequence {
    use std::fmt;

    use super::*;

    /// A cell, B, T, I, H, and how far.
    struct Setting(CellKind, [usize; 4], Pass);

    impl fmt::Display for Setting {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Setting(cell, [batch, time, input, hidden], pass) = self;
            write!(f, "{cell} {batch}x{time}, {input} to {hidden}, {pass:?}")
        }
    }

    fn settings() -> impl Iterator<Item = Setting> {
        let shapes = [[64, 50, 256, 512], [64, 20, 256, 256]];
        [CellKind::Lstm, CellKind::Gru].into_iter().flat_map(move |cell| {
            shapes.into_iter().flat_map(move |shape| PASSES.map(|pass| Setting(cell, shape, pass)))
        })
    }

    fn run(bencher: Bencher<'_, '_>, variant: Variant, setting: &Setting) {
        let &Setting(cell, [batch, steps, columns, hidden], pass) = setting;
        let shapes = cell_shapes(cell, vec![steps, batch, columns], batch, hidden);
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let flop = 2 * batch * steps * cell.gates().len() * hidden * (columns + hidden);
        time_variant(
            bencher,
            variant,
            pass,
            flop,
            &shapes,
            &|tape, v| {
                let op: Arc<dyn DynOp<f32>> = match cell {
                    CellKind::Rnn => Arc::new(Sequence::new(Rnn)),
                    CellKind::Lstm => Arc::new(Sequence::new(Lstm)),
                    CellKind::Gru => Arc::new(Sequence::new(Gru)),
                };
                tape.apply_shared(op, v)
            },
            &|_, v| composed::sequence(cell, None, false, v),
        );
    }

    #[divan::bench(args = settings(), max_time = 1.5, sample_size = 1)]
    fn fused(bencher: Bencher<'_, '_>, setting: &Setting) {
        run(bencher, Variant::Fused, setting);
    }

    #[divan::bench(args = settings(), max_time = 1.5, sample_size = 1)]
    fn composed(bencher: Bencher<'_, '_>, setting: &Setting) {
        run(bencher, Variant::Composed, setting);
    }
}
