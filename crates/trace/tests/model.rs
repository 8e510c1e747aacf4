//! A training step of a model of real size: enough is checked, and what is written stays small.

use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{ModelConfig, Seq2Seq, SourceSide};
use unspool_tensor::Context;
use unspool_tensor::random::Key;
use unspool_trace::array::Content;
use unspool_trace::model::trace_model;
use unspool_trace::trace::Method;
use unspool_trace::{Limits, Settings, Trace};

/// A step of a bidirectional LSTM with additive attention on one pair of sentences.
fn step(hidden: usize, layers: usize, words: usize, length: usize) -> Trace {
    let tokens = SPECIALS.iter().map(|&special| special.to_owned());
    let tokens = tokens.chain((0..words).map(|number| format!("w{number}")));
    let vocabulary = Vocabulary::from_tokens(Segmentation::Word, tokens.collect()).unwrap();
    let config = ModelConfig {
        embedding: hidden / 2,
        hidden,
        encoder_layers: layers,
        decoder_layers: layers,
        attention_size: hidden,
        ..ModelConfig::default()
    };
    let side = SourceSide::Tokens(vocabulary.clone());
    let context = Context::sequential().with_key(Key::new(3));
    let model =
        Seq2Seq::<f32>::new(config, side, vocabulary, context.clone(), Key::new(2)).unwrap();
    let word = |at: usize| (SPECIALS.len() + at * 7 % words) as Token;
    let example = Example {
        source: Source::Tokens((0..length).map(word).collect()),
        target: (0..length - 1).map(|at| word(at + 3)).collect(),
    };
    let batch = Batch::new(&[&example]).unwrap();
    trace_model(&model, &batch, "a model", 0.1, Settings::of_model(), context).unwrap()
}

#[test]
fn a_model_is_checked_in_samples_and_written_in_little_space() {
    let trace = step(32, 2, 50, 8);
    let checks = trace.checks();
    let checked: usize = checks.iter().map(|check| check.checked()).sum();
    assert!(checks.iter().all(|check| check.wrong.is_empty()));
    let mut differences = 0;
    trace.walk(&mut |_, _, node| {
        let of_node = node.contributions.iter().map(|part| &part.check);
        let of_node = of_node.filter(|check| check.method == Method::Differences);
        differences += of_node.map(|check| check.checked()).sum::<usize>();
    });
    assert!(differences > 500, "{differences} of {checked} numbers checked by differences");
    let mut apart = 0.0_f64;
    trace.walk(&mut |_, _, node| {
        apart = node.opened.as_ref().map_or(apart, |opened| apart.max(opened.distance()));
    });
    assert!(apart < 1e-10, "{apart}");
    let update = trace.update.unwrap();
    assert!(update.loss_after < trace.loss.unwrap());
    // The words that are read and written are there exactly, forward, backward and updated.
    let table = trace.find("encoder.embedding.weight").unwrap();
    for array in [&table.value, table.gradient.as_ref().unwrap(), table.updated.as_ref().unwrap()] {
        let Content::Summary(summary) = &array.content else { panic!("{array:?}") };
        let rows: Vec<usize> = summary.rows.iter().map(|row| row.row).collect();
        let read = (0..8).map(|at| SPECIALS.len() + at * 7 % 50);
        assert!(read.into_iter().all(|row| rows.contains(&row)), "{rows:?}");
        assert!(rows.len() <= 12 && summary.rows.iter().all(|row| row.numbers.len() == 16));
    }
    let closed = Limits { depth: 0, digits: Some(7), ..Limits::default() };
    let size = serde_json::to_string(&trace.limited(&closed)).unwrap().len();
    assert!(size < 2_000_000, "{size} bytes");
}
