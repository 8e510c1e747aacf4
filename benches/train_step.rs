//! The parts of an update: loss and gradients of a batch of 64 pairs, and what the optimiser does
//! with them. Rates (`item/s`) are target tokens a second, ends included.
//!
//! `cargo bench --bench train_step`; after it, any part of a name selects benchmarks.

mod workload;

use std::sync::LazyLock;
use std::thread;

use divan::Bencher;
use divan::counter::ItemsCount;
use unspool_seq2seq::batch::{Batch, Example};
use unspool_seq2seq::{LossOptions, Seq2Seq, TeacherForcing};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tape, Tensor};
use unspool_train::gradients::{self, Gradients, clip_by_global_norm};
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

fn main() {
    divan::main();
}

const BATCH: usize = 64;

/// The share of true tokens that the decoder reads: all, or half, when it must predict on the way.
const FORCING: [f64; 2] = [1.0, 0.5];

/// One context, whose memory the next run has.
static CONTEXT: LazyLock<Context> = LazyLock::new(Context::sequential);

/// The loss of a shard, whose first example is the batch's `first`-th, and its gradients.
fn loss_and_gradients(
    model: &Seq2Seq<f32>,
    shard: &[Example],
    first: usize,
    options: LossOptions,
) -> (f64, Gradients<f32>) {
    let batch = Batch::new(&shard.iter().collect::<Vec<_>>()).unwrap();
    let tape = Tape::new(CONTEXT.clone().with_key(Key::new(3)).for_shard(first));
    let loss = model.training_loss(&tape, &batch, options).unwrap().loss;
    let gradients = tape.backward_once(loss).unwrap().into_gradients();
    (loss.value().iter().map(|&x| f64::from(x)).sum(), gradients)
}

fn options(examples: &[Example], forcing: f64) -> LossOptions {
    let tokens: usize = examples.iter().map(|example| example.target.len() + 1).sum();
    let forcing = TeacherForcing(forcing);
    LossOptions { forcing, smoothing: Smoothing::None, divisor: tokens as f64 }
}

/// Fresh weights know nothing: the loss is near that of a uniform guess.
fn check(model: &Seq2Seq<f32>, loss: f64, gradients: &Gradients<f32>) {
    let guess = (workload::VOCABULARY as f64).ln();
    assert!((loss - guess).abs() < 0.5, "a loss of {loss}, not about {guess}");
    assert_eq!(gradients.len(), model.params().len());
    assert!(gradients.iter().all(|(_, gradient)| gradient.dense().iter().all(|g| g.is_finite())));
}

/// The batch cut into so many shards, each on a thread of its own, as the trainer does; and their
/// gradients added up.
fn time(bencher: Bencher<'_, '_>, shards: usize, forcing: f64) {
    let (model, examples) = (
        workload::model(Context::sequential(), workload::SIZES),
        workload::examples(BATCH, workload::SIZES),
    );
    let options = options(&examples, forcing);
    let size = BATCH.div_ceil(shards);
    let mut result = (0.0, Vec::new());
    bencher.counter(ItemsCount::new(options.divisor as u64)).bench_local(|| {
        gradients::recycle(&CONTEXT, std::mem::take(&mut result.1));
        let run = |(number, shard)| loss_and_gradients(&model, shard, number * size, options);
        let (first, others) = examples.split_at(size);
        result = thread::scope(|scope| {
            let others: Vec<_> = (1..)
                .zip(others.chunks(size))
                .map(|numbered| scope.spawn(move || run(numbered)))
                .collect();
            let mut sum = run((0, first));
            for other in others {
                let other = other.join().unwrap();
                sum.0 += other.0;
                gradients::add(&CONTEXT, &mut sum.1, other.1);
            }
            sum
        });
    });
    if !result.1.is_empty() {
        check(&model, result.0, &result.1);
    }
}

#[divan::bench(args = FORCING, max_time = 4, sample_size = 1)]
fn one_thread(bencher: Bencher<'_, '_>, forcing: f64) {
    time(bencher, 1, forcing);
}

#[divan::bench(args = FORCING, max_time = 4, sample_size = 1)]
fn two_threads(bencher: Bencher<'_, '_>, forcing: f64) {
    time(bencher, 2, forcing);
}

/// Clipping and Adam.
#[divan::bench(args = [1, 2], max_time = 1, sample_size = 1)]
fn optimiser(bencher: Bencher<'_, '_>, threads: usize) {
    let (mut model, examples) = (
        workload::model(Context::sequential(), workload::SIZES),
        workload::examples(BATCH, workload::SIZES),
    );
    let (_, gradients) = loss_and_gradients(&model, &examples, 0, options(&examples, 1.0));
    let context = Context::with_threads(threads).unwrap();
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    bencher.with_inputs(|| gradients.clone()).bench_local_values(|mut gradients| {
        clip_by_global_norm(&context, &mut gradients, Some(1.0));
        optimiser.update(&context, model.params_mut(), &gradients, 1e-3);
    });
    let finite = |(_, _, value): (_, _, &Tensor<f32>)| value.iter().all(|x| x.is_finite());
    assert!(model.params().iter().all(finite));
}
