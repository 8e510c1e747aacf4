//! The memory of an update: what the program holds at its peak, beside what the backward pass must
//! find again.
//!
//! `cargo bench --bench memory`; docs/performance.md has the formula.

#[path = "workload/mod.rs"]
mod workload;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use unspool_seq2seq::batch::{Batch, Example};
use unspool_seq2seq::{LossOptions, Seq2Seq, TeacherForcing};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tape};
use unspool_train::gradients::{self, Gradients, clip_by_global_norm};
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

/// The system's allocator, counting.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all blocks are the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: usize = 64;

/// How many numbers the backward pass must find again.
fn saved_numbers(model: &Seq2Seq<f32>, examples: &[Example]) -> usize {
    let config = model.config();
    let (h, a, e) = (config.hidden, config.attention_size, config.embedding);
    let (v, s) = (workload::VOCABULARY, workload::SOURCE);
    let target: usize = examples.iter().map(|example| example.target.len() + 1).sum();
    // Of an LSTM cell: four gates, tanh(c'), h' and c'; between two layers, what dropout left.
    let cells = |layers: usize| layers * 7 * h + (layers - 1) * h;
    let of_frame = workload::FRAME + cells(config.encoder_layers) + a;
    // The cell's input [embedding; context], the query, the weights, the scores.
    let of_token = (e + config.context()) + cells(config.decoder_layers) + a + s + v;
    examples.len() * s * of_frame + target * of_token
}

fn main() {
    let context = Context::with_threads(2).expect("threads");
    let (mut model, examples) = (workload::model(), workload::examples(BATCH));
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    let tokens: usize = examples.iter().map(|example| example.target.len() + 1).sum();
    let (forcing, smoothing) = (TeacherForcing(0.5), Smoothing::None);
    let options = LossOptions { forcing, smoothing, divisor: tokens as f64 };
    let before = HELD.load(Ordering::Relaxed);
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let saved = 4 * saved_numbers(&model, &examples);
    let weights = 4 * model.params().numel();
    println!("weights and optimiser        {:8.1} MiB", mebibytes(before));
    println!("saved states, by the formula {:8.1} MiB", mebibytes(saved));
    println!("gradients of two shards      {:8.1} MiB", mebibytes(2 * weights));
    println!("packed weights, both sides   {:8.1} MiB", mebibytes(2 * weights));
    for update in 0..4 {
        PEAK.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
        let key = Key::new(update);
        let shard = |model: &Seq2Seq<f32>, first: usize| -> Gradients<f32> {
            let rows: Vec<&Example> = examples[first..first + BATCH / 2].iter().collect();
            let batch = Batch::new(&rows).expect("a batch");
            let tape = Tape::new(context.clone().with_key(key).for_shard(first));
            let loss = model.training_loss(&tape, &batch, options).expect("a loss").loss;
            tape.backward_once(loss).expect("gradients").into_params()
        };
        let mut sum = context.install(|| {
            let (mut sum, more) = rayon::join(|| shard(&model, 0), || shard(&model, BATCH / 2));
            gradients::add(&mut sum, more);
            sum
        });
        clip_by_global_norm(&context, &mut sum, Some(1.0));
        optimiser.update(&context, model.params_mut(), &sum, 1e-3);
        drop(sum);
        let peak = PEAK.load(Ordering::Relaxed) - before;
        println!(
            "update {}: at most {:8.1} MiB beside weights and optimiser, {:.2} times the saved states",
            update + 1,
            mebibytes(peak),
            peak as f64 / saved as f64
        );
    }
}
