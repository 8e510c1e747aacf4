//! The slow tier: real trainings that must reach real quality. Run in release:
//! `cargo test --release -p unspool-train --test learns -- --nocapture --test-threads 1`.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use unspool_seq2seq::batch::{Example, Source};
use unspool_seq2seq::{Limits, Seq2Seq, SourceSide, Strategy, Translator};
use unspool_tensor::Context;
use unspool_train::checkpoint;
use unspool_train::config::Config;
use unspool_train::data::read::Pair;
use unspool_train::dataset::{task_splits, text_examples};
use unspool_train::evaluate::{Evaluation, evaluate};
use unspool_train::metrics::bleu::{Bleu, Tokenization};
use unspool_train::trainer::{BEST, Event, Trainer};

fn threads() -> Context {
    Context::with_threads(0).unwrap()
}

/// Trains to the end and gives the best model, with the configuration.
fn train(text: &str, sets: &[(&str, &str)], folder: &Path) -> (Seq2Seq<f32>, Config) {
    let sets: Vec<_> = sets.iter().map(|&(key, value)| (key.into(), value.into())).collect();
    let config = Config::parse(text, &sets).unwrap();
    let mut trainer = Trainer::start(config.clone(), folder, threads(), true).unwrap();
    let report = |event: Event<'_>| {
        if let Event::Validation(found) = event {
            eprintln!("{found:?}");
        }
    };
    trainer.run(&AtomicBool::new(false), report).unwrap();
    let context = Context::sequential();
    (checkpoint::load(&folder.join(BEST), context).unwrap().model, config)
}

fn examples(model: &Seq2Seq<f32>, pairs: &[Pair]) -> (Vec<Example>, Vec<String>) {
    let SourceSide::Tokens(source) = model.source() else { panic!("a task's sources are text") };
    let references = pairs.iter().map(|pair| pair.target.clone());
    (text_examples(pairs, source, model.target()), references.collect())
}

fn score(model: &Seq2Seq<f32>, pairs: &[Pair]) -> Evaluation {
    let (examples, references) = examples(model, pairs);
    let bleu = Bleu { tokenization: Tokenization::None, ..Bleu::default() };
    let search = (&Strategy::Greedy, Limits::default());
    evaluate(model, &threads(), &examples, &references, bleu, search).unwrap()
}

/// The share of output tokens whose attention peaks at the mirrored source position.
fn anti_diagonal(model: &Seq2Seq<f32>, pairs: &[Pair]) -> f64 {
    let (examples, _) = examples(model, pairs);
    let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
    let translator = Translator::new(&[model]).unwrap();
    let limits = Limits { min_length: 0, max_length: None, attention: true };
    let found = translator.translate(&sources, &Strategy::Greedy, limits, &[]).unwrap();
    let (mut mirrored, mut all) = (0, 0);
    for (hypotheses, example) in found.iter().zip(&examples) {
        let length = example.target.len();
        for (t, weights) in hypotheses[0].attention.iter().take(length).enumerate() {
            let top = (0..weights.len()).max_by(|&a, &b| weights[a].total_cmp(&weights[b]));
            // The encoder may lay a token's trace one position aside, where its state carries it.
            mirrored += usize::from(top.is_some_and(|top| top.abs_diff(length - 1 - t) <= 1));
            all += 1;
        }
    }
    f64::from(mirrored as u32) / f64::from(all)
}

const REVERSE: &str = include_str!("../../../examples/reverse.toml");

#[test]
fn reverse_is_learned_by_every_attention_and_cell() {
    let folder = tempfile::tempdir().unwrap();
    for cell in ["lstm", "gru"] {
        for attention in ["additive", "dot", "general", "concat"] {
            let sets = [
                ("model.cell", cell),
                ("model.attention", attention),
                // A dot product needs queries and keys of one length.
                ("model.bidirectional", if attention == "dot" { "false" } else { "true" }),
                // Most are there after half of the example's epochs.
                ("training.epochs", "6"),
                ("training.early_stopping", "2"),
            ];
            let name = format!("{cell}-{attention}");
            let (model, config) = train(REVERSE, &sets, &folder.path().join(&name));
            let splits = task_splits(&config).unwrap();
            let accuracy = score(&model, &splits.test).sequence_accuracy;
            let mirrored = anti_diagonal(&model, &splits.test);
            eprintln!("{name}: {accuracy:.4} of sequences right, {mirrored:.4} mirrored");
            assert!(accuracy >= 0.99, "{name}: {accuracy}");
            assert!(mirrored >= 0.9, "{name}: {mirrored}");
        }
    }
}

/// A state of fixed size forgets what attention can look up again.
#[test]
fn without_attention_long_sequences_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let accuracy = |attention: &str, query: &str| {
        // Shorter than the trainings above: enough to tell the two apart.
        let sets = [
            ("model.attention", attention),
            ("model.query", query),
            ("training.epochs", "3"),
            ("data.task_size", "30000"),
        ];
        let (model, config) = train(REVERSE, &sets, &folder.path().join(attention));
        let mut pairs = task_splits(&config).unwrap().test;
        pairs.retain(|pair| (20..=25).contains(&pair.source.split(' ').count()));
        assert!(pairs.len() > 100);
        score(&model, &pairs).sequence_accuracy
    };
    let (attending, plain) = (accuracy("additive", "new"), accuracy("none", "previous"));
    eprintln!("20 to 25 digits: {attending:.4} right with attention, {plain:.4} without");
    assert!(attending >= 0.95, "{attending}");
    assert!(plain <= 0.5 * attending, "{plain}, {attending} with attention");
}

#[test]
fn phrases_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../../../examples/phrases.toml");
    let (model, config) = train(text, &[], folder.path());
    let found = score(&model, &task_splits(&config).unwrap().test);
    eprintln!("{}", found.bleu);
    assert!(found.bleu.score >= 95.0, "{}", found.bleu);
}
