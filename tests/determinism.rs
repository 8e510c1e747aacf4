//! Same seed, same bits: at any number of threads, after any interruption, alone or in any batch.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ndarray::s;
use unspool_decode::{StepModel, StepOutput};
use unspool_seq2seq::batch::{Batch, Example, Source, SourceBatch};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{Limits, ModelConfig, Seq2Seq, SourceSide, Strategy, Translator};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tape, Tensor};
use unspool_train::checkpoint;
use unspool_train::config::Config;
use unspool_train::dataset::Dataset;
use unspool_train::trainer::{BEST, Event, LAST, LOG, Outcome, Trainer};

/// A small training with everything random switched on: dropout, scheduled sampling, shards,
/// accumulation.
fn config(extra: &[(&str, &str)]) -> Config {
    let text = r#"
        [data]
        task = "reverse"
        task_size = 600
        batch_size = 24

        [model]
        cell = "lstm"
        embedding = 8
        hidden = 16
        encoder_layers = 2
        decoder_layers = 2
        attention_size = 12
        [model.dropout]
        embedding = 0.1
        layers = 0.2
        memory = 0.1
        readout = 0.2

        [training]
        epochs = 2
        shard_size = 5
        accumulate = 2
        checkpoint_every = 4
        label_smoothing = 0.1
        [training.teacher_forcing]
        decay = "linear"
        start = 0.9
        end = 0.4
        updates = 20
        [training.schedule]
        name = "plateau"
        factor = 0.5
        patience = 1
    "#;
    let extra: Vec<_> = extra.iter().map(|&(key, value)| (key.into(), value.into())).collect();
    Config::parse(text, &extra).unwrap()
}

/// Trains in a folder; interrupts itself after each number of updates in `stops`, and resumes.
fn train(config: &Config, folder: &Path, threads: usize, stops: &[usize]) -> Vec<u8> {
    // Threads share all that they can, however small.
    let context = || Context::with_threads(threads).unwrap().with_parallel_from(0);
    let mut trainer = Trainer::start(config.clone(), folder, context(), false).unwrap();
    for &stop in stops {
        let flag = AtomicBool::new(false);
        let mut updates = 0;
        let outcome = trainer.run(&flag, |_| {
            updates += 1;
            flag.store(updates >= stop, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(outcome.unwrap(), Outcome::Interrupted);
        drop(trainer);
        trainer = Trainer::resume(folder, context()).unwrap();
    }
    let outcome = trainer.run(&AtomicBool::new(false), |_| {}).unwrap();
    assert_eq!(outcome, Outcome::Finished);
    result(folder)
}

/// Everything that a training leaves, byte by byte.
fn result(folder: &Path) -> Vec<u8> {
    [LAST, BEST, LOG].map(|name| std::fs::read(folder.join(name)).unwrap()).concat()
}

/// Trains without a stop, and copies the folder as it is on disk at some updates: what SIGKILL
/// would leave.
fn train_with_copies(config: &Config, folder: &Path, copies: &[(u64, PathBuf)]) {
    let mut trainer = Trainer::start(config.clone(), folder, Context::sequential(), false).unwrap();
    let outcome = trainer.run(&AtomicBool::new(false), |event| {
        let Event::Update { update, .. } = event else { return };
        for (_, copy) in copies.iter().filter(|(at, _)| *at == update.update) {
            std::fs::create_dir(copy).unwrap();
            for file in std::fs::read_dir(folder).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
            }
        }
    });
    assert_eq!(outcome.unwrap(), Outcome::Finished);
}

#[test]
fn threads_and_interruptions_change_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = config(&[]);
    let whole = train(&config, &at("whole"), 1, &[]);
    for threads in [2, 4] {
        let other = train(&config, &at(&format!("threads-{threads}")), threads, &[]);
        assert!(whole == other, "{threads} threads");
    }
    for (number, stops) in [&[1][..], &[3, 2, 5], &[7, 1, 1, 4]].into_iter().enumerate() {
        let other = train(&config, &at(&format!("stops-{number}")), 2, stops);
        assert!(whole == other, "interrupted after {stops:?} updates");
    }
}

#[test]
fn a_killed_training_resumes_from_an_older_checkpoint_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&[("training.validate_every", "9")]);
    let copies: Vec<_> =
        [1, 3, 4, 6, 11, 14, 21, 25].map(|at| (at, folder.path().join(at.to_string()))).into();
    let original = folder.path().join("whole");
    train_with_copies(&config, &original, &copies);
    let whole = result(&original);
    for (at, copy) in copies {
        let mut trainer = Trainer::resume(&copy, Context::with_threads(2).unwrap()).unwrap();
        assert!(trainer.state().update <= at, "nothing is saved ahead of its time");
        trainer.run(&AtomicBool::new(false), |_| {}).unwrap();
        assert!(whole == result(&copy), "killed at update {at}");
    }
}

/// A model, what it is called, and 64 examples of mixed lengths.
type Subject = (String, Seq2Seq<f32>, Vec<Example>);

/// One model of each kind that computes in its own way, on so many threads.
fn models(threads: usize) -> Vec<Subject> {
    let rows: [&[(&str, &str)]; 6] = [
        &[("model.attention", "additive")],
        &[("model.attention", "general"), ("model.query", "new"), ("model.cell", "gru")],
        &[("model.attention", "concat"), ("model.query", "between"), ("model.cell", "gru")],
        &[("model.attention", "dot"), ("model.bidirectional", "false"), ("model.cell", "rnn")],
        &[("model.attention", "multi_head"), ("model.bridge", "mean")],
        &[("model.attention", "none"), ("model.readout", "linear")],
    ];
    let small = rows.iter().map(|row| {
        let config = config(row);
        let data = Dataset::load(&config).unwrap();
        let context = Context::with_threads(threads).unwrap();
        let model = Seq2Seq::new(config.model, data.source, data.target, context, Key::new(5));
        (format!("{row:?}, {threads} threads"), model.unwrap(), data.train[..64].to_vec())
    });
    small.chain([large(threads)]).collect()
}

/// A model of a size that is really used: its products are cut into blocks, and shared by threads.
fn large(threads: usize) -> Subject {
    const WORDS: u64 = 2100;
    let ordinary = (0..WORDS).map(|number| format!("w{number}"));
    let tokens = SPECIALS.into_iter().map(String::from).chain(ordinary).collect();
    let words = Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap();
    // Both directions, hidden states of 256 numbers, additive attention.
    let config = ModelConfig::default();
    assert!(config.bidirectional && config.hidden == 256);
    let key = Key::new(6);
    let sentence = |key: Key, most: u64| -> Vec<Token> {
        let length = 1 + key.named("length").below(0, most);
        (0..length).map(|at| (SPECIALS.len() as u64 + key.below(at, WORDS)) as Token).collect()
    };
    let examples = (0..64).map(|number| Example {
        source: Source::Tokens(sentence(key.with(number).named("source"), 20)),
        target: sentence(key.with(number).named("target"), 8),
    });
    let (source, context) =
        (SourceSide::Tokens(words.clone()), Context::with_threads(threads).unwrap());
    let model = Seq2Seq::new(config, source, words, context, Key::new(5)).unwrap();
    (format!("large, {threads} threads"), model, examples.collect())
}

/// The scores of a batch under teacher forcing, with the model's own threads.
fn logits(model: &Seq2Seq<f32>, batch: &Batch) -> Tensor<f32> {
    let tape = Tape::inference(model.context().clone());
    model.evaluation_loss(&tape, batch).unwrap().logits().unwrap().value()
}

#[test]
fn a_sentence_gives_the_same_bits_alone_in_a_batch_and_padded() {
    for ((name, model, examples), (_, sequential, _)) in
        [1, 2].into_iter().flat_map(|threads| models(threads).into_iter().zip(models(1)))
    {
        let all: Vec<&Example> = examples.iter().collect();
        let together = logits(&sequential, &Batch::new(&all).unwrap());
        assert_eq!(logits(&model, &Batch::new(&all).unwrap()), together, "{name}");
        for row in [0, 13, 63] {
            let one = [all[row]];
            let mut alone = Batch::new(&one).unwrap();
            let steps = alone.target_output.nrows();
            let expected = together.slice(s![..steps, row..=row, ..]);
            assert_eq!(logits(&model, &alone), expected.into_dyn(), "{name}: {row} alone");
            alone.source = SourceBatch::new([&all[row].source], 100).unwrap();
            assert_eq!(logits(&model, &alone), expected.into_dyn(), "{name}: {row} padded");
        }
    }
}

#[test]
fn inference_gives_the_bits_of_training() {
    for (name, model, examples) in [1, 2].into_iter().flat_map(models) {
        let all: Vec<&Example> = examples.iter().take(8).collect();
        let batch = Batch::new(&all).unwrap();
        let tape = Tape::inference(Context::sequential());
        let loss = model.evaluation_loss(&tape, &batch).unwrap();
        let expected = loss.logits().unwrap().log_softmax(2).unwrap().value();
        let mut state = model.encode(&batch.source).unwrap();
        let mut out = StepOutput::default();
        for (time, tokens) in batch.target_input.outer_iter().enumerate() {
            out.reset(false);
            let tokens: Vec<Token> = tokens.to_vec();
            model.step(&tokens, &mut state, &mut out).unwrap();
            // Behind a target's end, training computes nothing.
            for row in (0..tokens.len()).filter(|&row| time < batch.target_lengths[row]) {
                let expected: Vec<f32> = expected.slice(s![time, row, ..]).to_vec();
                assert_eq!(out.log_probs.get(row).unwrap(), expected, "{name}: {time}, {row}");
            }
        }
    }
}

#[test]
fn every_search_gives_a_sentence_the_same_tokens_in_any_batch() {
    let strategies = [
        Strategy::Greedy,
        Strategy::Beam(unspool_decode::Beam::new(4)),
        Strategy::Sample(unspool_decode::Sampling::default(), Key::new(3)),
    ];
    let limits = Limits { min_length: 0, max_length: Some(30), attention: true };
    // The large model takes a while to a step.
    let short = Limits { max_length: Some(6), ..limits };
    for ((name, parallel, examples), (_, model, _)) in models(2).into_iter().zip(models(1)) {
        let limits = if name.starts_with("large") { short } else { limits };
        let translator = Translator::new(&[&model]).unwrap();
        let parallel = Translator::new(&[&parallel]).unwrap();
        let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
        for strategy in &strategies {
            let together = parallel.translate(&sources, strategy, limits, &[]).unwrap();
            for row in [0, 31, 63] {
                let alone =
                    translator.translate(&[sources[row]], strategy, limits, &[row]).unwrap();
                assert_eq!(alone[0], together[row], "{name}: {strategy:?}, sentence {row}");
            }
        }
    }
}

#[test]
fn a_saved_model_is_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&[("training.max_updates", "3")]);
    let mut trainer = Trainer::start(config, folder.path(), Context::sequential(), false).unwrap();
    trainer.run(&AtomicBool::new(false), |_| {}).unwrap();
    let loaded = checkpoint::load(&folder.path().join(LAST), Context::sequential()).unwrap();
    assert!(matches!(loaded.model.source(), SourceSide::Tokens(_)));
    for ((_, name, before), (_, other, after)) in
        trainer.model().params().iter().zip(loaded.model.params().iter())
    {
        assert_eq!((name, before), (other, after));
    }
    assert_eq!(&loaded.state, trainer.state());
}
