//! What an update costs as sizes grow: time, beside the arithmetic that it must do; and memory at its
//! peak, beside what the backward pass must find again.
//!
//! `cargo bench --bench cost`, or `cargo bench --bench cost -- words` for those rows whose name has
//! that in it; docs/performance.md has the formulas.

#[path = "workload/mod.rs"]
mod workload;

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use unspool_seq2seq::batch::{Batch, Example};
use unspool_seq2seq::{LossOptions, Seq2Seq, TeacherForcing};
use unspool_tensor::memory::Recycling;
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tape};
use unspool_train::gradients::{self, Gradients, clip_by_global_norm};
use unspool_train::optimiser::{Optimiser, OptimiserConfig};
use workload::{FRAME, SIZES, Sizes};

/// The program's allocator, counting what is in use.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all blocks are the other allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { Recycling.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { Recycling.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Updates that are not timed, and those that are.
const WARMUPS: usize = 3;
const RUNS: usize = 9;

/// Multiply-adds of a forward pass, and how many numbers its backward pass must find again.
fn formulas(model: &Seq2Seq<f32>, batch: usize, sizes: Sizes) -> (usize, usize) {
    let config = model.config();
    let Sizes { hidden: h, source: s, target: t, vocabulary: v } = sizes;
    let (a, e, m) = (config.attention_size, config.embedding, config.context());
    let lstm = |input: usize, layers: usize| 4 * h * (input + h + (layers - 1) * 2 * h);
    let of_frame = lstm(FRAME, config.encoder_layers) + m * a;
    let of_token = lstm(e + m, config.decoder_layers) + h * a + s * (a + m) + h * v;
    let multiply_adds = batch * (s * of_frame + t * of_token);
    // Of an LSTM cell: four gates, tanh(c'), h' and c'; between two layers, what dropout left.
    let cells = |layers: usize| layers * 7 * h + (layers - 1) * h;
    let of_frame = FRAME + cells(config.encoder_layers) + a;
    // The cell's input [embedding; context], the query, the weights, the scores.
    let of_token = (e + m) + cells(config.decoder_layers) + a + s + v;
    (multiply_adds, batch * (s * of_frame + t * of_token))
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn measure(what: &str, batch: usize, sizes: Sizes) {
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if !asked.is_empty() && !asked.iter().any(|part| what.contains(part)) {
        return;
    }
    // The threads of the one before end, and give their memory back.
    std::thread::sleep(Duration::from_millis(100));
    let context = Context::with_threads(2).expect("threads");
    let mut model = workload::model(context.clone(), sizes);
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    let kept = HELD.load(Ordering::Relaxed);
    let examples = workload::examples(batch, sizes);
    let tokens: usize = examples.iter().map(|example| example.target.len() + 1).sum();
    let (forcing, smoothing) = (TeacherForcing(0.5), Smoothing::None);
    let options = LossOptions { forcing, smoothing, divisor: tokens as f64 };
    let half = batch.div_ceil(2);
    let mut update = |number: usize| {
        let key = Key::new(number as u64);
        let shard = |model: &Seq2Seq<f32>, first: usize| -> Gradients<f32> {
            let rows: Vec<&Example> = examples.iter().skip(first).take(half).collect();
            let batch = Batch::new(&rows).expect("a batch");
            let tape = Tape::new(context.clone().with_key(key).for_shard(first));
            let loss = model.training_loss(&tape, &batch, options).expect("a loss").loss;
            tape.backward_once(loss).expect("gradients").into_gradients()
        };
        let mut sum = context.install(|| {
            let (mut sum, more) = rayon::join(|| shard(&model, 0), || shard(&model, half));
            gradients::add(&context, &mut sum, more);
            sum
        });
        clip_by_global_norm(&context, &mut sum, Some(1.0));
        optimiser.update(&context, model.params_mut(), &sum, 1e-3);
        gradients::recycle(&context, sum);
    };
    (0..WARMUPS).for_each(&mut update);
    PEAK.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
    let mut seconds: Vec<f64> = (WARMUPS..WARMUPS + RUNS)
        .map(|number| {
            let begin = Instant::now();
            update(number);
            begin.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let (median, peak) = (seconds[RUNS / 2], PEAK.load(Ordering::Relaxed) - kept);
    let (multiply_adds, saved) = formulas(&model, batch, sizes);
    // Once forwards, and twice backwards.
    let gigaflop = 6.0 * multiply_adds as f64 * 1e-9;
    println!(
        "{what:16} {:>9.1} {:>8.1} {gigaflop:>8.1} {:>9.0} {:>9.1} {:>9.1} {:>9.1} {:>6.2}",
        1e3 * median,
        1e6 * median / tokens as f64,
        gigaflop / median,
        mebibytes(4 * model.params().numel()),
        mebibytes(4 * saved),
        mebibytes(peak),
        peak as f64 / (4 * saved) as f64,
    );
}

fn main() {
    println!("An update on two threads; MiB beside weights and optimiser\n");
    println!(
        "{:16} {:>9} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>6}",
        "", "ms", "µs/token", "GFLOP", "GFLOP/s", "weights", "saved", "peak", "ratio"
    );
    measure("as it is", 64, SIZES);
    for batch in [8, 16, 32, 128] {
        measure(&format!("batch {batch}"), batch, SIZES);
    }
    for hidden in [64, 128, 512] {
        measure(&format!("hidden {hidden}"), 64, Sizes { hidden, ..SIZES });
    }
    for length in [13, 52] {
        let sizes = Sizes { target: length, source: length * 10 / 13, ..SIZES };
        measure(&format!("target {length}"), 64, sizes);
    }
    for vocabulary in [1000, 8000, 30_000] {
        measure(&format!("words {vocabulary}"), 64, Sizes { vocabulary, ..SIZES });
    }
}
