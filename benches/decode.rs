//! Decoding 25 tokens a sentence, the encoder included, on one thread: greedily, and with a beam of
//! 5. No sequence may end sooner. Rates (`item/s`) are tokens a second that come out.
//!
//! `cargo bench --bench decode`; after it, any part of a name selects benchmarks.

mod workload;

use divan::Bencher;
use divan::counter::ItemsCount;
use unspool_decode::Beam;
use unspool_seq2seq::batch::Source;
use unspool_seq2seq::{Limits, Strategy, Translator};
use unspool_tensor::Context;

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

fn main() {
    divan::main();
}

const TOKENS: usize = 25;

fn time(bencher: Bencher<'_, '_>, sentences: usize, strategy: &Strategy) {
    let (model, examples) = (
        workload::model(Context::sequential(), workload::SIZES),
        workload::examples(sentences, workload::SIZES),
    );
    let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
    let translator = Translator::new(&[&model]).unwrap();
    // An end can only be the last token.
    let limits = Limits { min_length: TOKENS - 1, max_length: Some(TOKENS), attention: false };
    let mut found = Vec::new();
    bencher.counter(ItemsCount::new(sentences * TOKENS)).bench_local(|| {
        found = translator.translate(&sources, strategy, limits, &[]).unwrap();
    });
    for hypotheses in &found {
        let best = &hypotheses[0];
        assert!(best.length() == TOKENS && best.score.is_finite(), "{best:?}");
    }
}

#[divan::bench(args = [1, 64], max_time = 2, sample_size = 1)]
fn greedy(bencher: Bencher<'_, '_>, sentences: usize) {
    time(bencher, sentences, &Strategy::Greedy);
}

#[divan::bench(args = [1, 64], max_time = 4, sample_size = 1)]
fn beam_of_5(bencher: Bencher<'_, '_>, sentences: usize) {
    time(bencher, sentences, &Strategy::Beam(Beam::new(5)));
}
