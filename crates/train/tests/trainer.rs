//! The trainer's rules: when it ends, what it logs, what makes a best model, what it refuses.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::DirEntry;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use safetensors::tensor::TensorView;
use unspool_tensor::Context;
use unspool_train::checkpoint;
use unspool_train::config::Config;
use unspool_train::log::{Log, Record, Update, Validation, read_log};
use unspool_train::trainer::{BEST, CONFIG, LAST, LOG, Outcome, TrainError, Trainer};

const SMALL: &str = r#"
    [data]
    task = "reverse"
    task_size = 96
    batch_size = 24
    [model]
    embedding = 4
    hidden = 6
    attention_size = 5
    [training]
    epochs = 2
    shard_size = 8
"#;

fn config(sets: &[(&str, &str)]) -> Config {
    let sets: Vec<_> = sets.iter().map(|&(key, value)| (key.into(), value.into())).collect();
    Config::parse(SMALL, &sets).unwrap()
}

fn start(config: &Config, folder: &Path) -> Result<Trainer, TrainError> {
    Trainer::start(config.clone(), folder, Context::sequential(), false)
}

fn run(trainer: &mut Trainer) -> Result<Outcome, TrainError> {
    trainer.run(&AtomicBool::new(false), |_| {})
}

/// Trains to the end and gives the log's updates and validations.
fn train(sets: &[(&str, &str)]) -> (Outcome, Vec<Update>, Vec<Validation>) {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(&mut start(&config(sets), folder.path()).unwrap()).unwrap();
    let (mut updates, mut validations) = (Vec::new(), Vec::new());
    for record in read_log(&folder.path().join(LOG)).unwrap() {
        match record {
            Record::Update(update) => updates.push(update),
            Record::Validation(validation) => validations.push(validation),
        }
    }
    (outcome, updates, validations)
}

#[test]
fn training_ends_and_validates_when_it_is_told_to() {
    // An epoch has 4 batches. Settings, updates made, updates at which the model is validated.
    type Row = (&'static [(&'static str, &'static str)], u64, &'static [u64]);
    let rows: &[Row] = &[
        (&[], 8, &[4, 8]),
        (&[("training.validate_every", "3")], 8, &[3, 4, 6, 8]),
        (&[("training.validate_every", "4")], 8, &[4, 8]),
        (&[("training.max_updates", "6")], 6, &[4, 6]),
        (&[("training.max_updates", "3"), ("training.validate_every", "3")], 3, &[3]),
        (&[("training.max_updates", "4")], 4, &[4]),
        (&[("training.epochs", "0"), ("training.max_updates", "9")], 9, &[4, 8, 9]),
        (&[("training.accumulate", "3")], 4, &[2, 4]),
        (&[("training.accumulate", "100")], 2, &[1, 2]),
    ];
    for (sets, made, validated) in rows {
        let (outcome, updates, validations) = train(sets);
        assert_eq!(outcome, Outcome::Finished, "{sets:?}");
        let numbers: Vec<u64> = updates.iter().map(|update| update.update).collect();
        assert_eq!(numbers, (1..=*made).collect::<Vec<_>>(), "{sets:?}");
        let at: Vec<u64> = validations.iter().map(|validation| validation.update).collect();
        assert_eq!(&at, validated, "{sets:?}");
    }
}

#[test]
fn accumulated_batches_make_the_update_of_one_large_batch() {
    let losses = |sets: &[(&str, &str)]| -> Vec<(f64, f64)> {
        let (_, updates, _) = train(sets);
        updates.iter().map(|update| (update.loss, update.gradient_norm)).collect()
    };
    // All of the data in each update, so that the order of batches does not matter.
    let large = losses(&[("data.batch_size", "96")]);
    let small = losses(&[("data.batch_size", "24"), ("training.accumulate", "4")]);
    for (large, small) in large.iter().zip(&small) {
        approx::assert_relative_eq!(large.0, small.0, max_relative = 1e-5);
        approx::assert_relative_eq!(large.1, small.1, max_relative = 1e-4);
    }
    assert_eq!(large.len(), 2);
}

/// By sentences instead of tokens, the same loss is divided by fewer: gradients are as many times
/// larger as a target, its end included, is long on average. The log's loss stays per token.
#[test]
fn a_loss_per_sentence_has_larger_gradients() {
    let first = |normalisation: &str| {
        let sets = [("training.normalisation", normalisation), ("data.batch_size", "96")];
        let (_, updates, _) = train(&sets);
        (updates[0].loss, updates[0].gradient_norm, updates[0].tokens as f64 / 96.0)
    };
    let (tokens, sentences) = (first("tokens"), first("sentences"));
    approx::assert_relative_eq!(tokens.0, sentences.0, max_relative = 1e-6);
    approx::assert_relative_eq!(tokens.1 * tokens.2, sentences.1, max_relative = 1e-4);
    // Accumulated batches are one here too.
    let parts = [
        ("training.normalisation", "sentences"),
        ("data.batch_size", "24"),
        ("training.accumulate", "4"),
    ];
    let (_, updates, _) = train(&parts);
    approx::assert_relative_eq!(updates[0].gradient_norm, sentences.1, max_relative = 1e-4);
}

#[test]
fn early_stopping_and_plateaus_count_validations_without_a_new_best() {
    // A learning rate this small changes nothing that a validation of accuracy sees.
    let stuck = [("training.learning_rate", "1e-12"), ("training.select_by", "accuracy")];
    let epochs = [stuck[0], stuck[1], ("training.epochs", "9")];
    let with = |extra: &[(&'static str, &'static str)]| train(&[&epochs[..], extra].concat());
    let (outcome, updates, validations) = with(&[("training.early_stopping", "3")]);
    assert_eq!((outcome, updates.len()), (Outcome::StoppedEarly, 16));
    assert_eq!(validations.iter().filter(|validation| validation.best).count(), 1);

    let plateau = r#"{ name = "plateau", factor = 0.5, patience = 2 }"#;
    let (_, updates, _) = with(&[("training.schedule", plateau)]);
    let rates: Vec<f64> = updates.iter().step_by(4).map(|update| update.learning_rate).collect();
    let expected = [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125].map(|rate| rate * 1e-12);
    for (rate, expected) in rates.iter().zip(expected) {
        approx::assert_relative_eq!(*rate, expected, epsilon = 1e-20);
    }
    assert_eq!(rates.len(), 9);
}

#[test]
fn a_run_is_not_lost_by_starting_another_and_data_may_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    std::fs::write(&source, "a b\nb a\na\n").unwrap();
    std::fs::write(&target, "b a\na b\na\n").unwrap();
    let list = format!("[{source:?}, {target:?}]");
    let sets = [("data.task", ""), ("data.train", &*list), ("data.validation", &list)];
    let config = config(&sets);
    let out = folder.path().join("run");
    let mut trainer = start(&config, &out).unwrap();
    assert_eq!(run(&mut trainer).unwrap(), Outcome::Finished);
    drop(trainer);
    assert!(matches!(start(&config, &out), Err(TrainError::Occupied { .. })));
    let best = checkpoint::load(&out.join(BEST), Context::sequential()).unwrap();
    assert_eq!(best.config, config);

    // A finished run resumes to its end at once.
    let mut again = Trainer::resume(&out, Context::sequential()).unwrap();
    let before = std::fs::read(out.join(LAST)).unwrap();
    assert_eq!(run(&mut again).unwrap(), Outcome::Finished);
    assert_eq!(std::fs::read(out.join(LAST)).unwrap(), before);
    drop(again);

    std::fs::write(&target, "b a\na b\nb\n").unwrap();
    let changed = Trainer::resume(&out, Context::sequential());
    assert!(matches!(changed, Err(TrainError::DataChanged { .. })));
}

#[test]
fn a_loss_that_is_not_finite_ends_training_with_the_checkpoint_whole() {
    let folder = tempfile::tempdir().unwrap();
    let wild = config(&[("training.learning_rate", "1e38"), ("training.clip_norm", "0")]);
    let error = run(&mut start(&wild, folder.path()).unwrap()).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    checkpoint::load(&folder.path().join(LAST), Context::sequential()).unwrap();
}

#[test]
fn a_weight_that_is_not_finite_is_named_and_never_saved() {
    let folder = tempfile::tempdir().unwrap();
    // The only update is the one that makes them infinite; validation and saving come after it.
    let wild = [("training.optimiser.epsilon", "1e-300"), ("training.learning_rate", "1e38")];
    let wild = config(&[&wild[..], &[("training.max_updates", "1")]].concat());
    let mut trainer = start(&wild, folder.path()).unwrap();
    let before = std::fs::read(folder.path().join(LAST)).unwrap();
    let error = run(&mut trainer).unwrap_err();
    let name =
        trainer.model().params().iter().find_map(|(_, name, value)| {
            value.iter().any(|x| !x.is_finite()).then(|| name.to_owned())
        });
    assert!(error.to_string().contains(&name.unwrap()), "{error}");
    assert_eq!(std::fs::read(folder.path().join(LAST)).unwrap(), before);
    assert!(!folder.path().join(BEST).exists());
}

#[test]
fn a_log_that_was_cut_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut start(&config(&[]), folder.path()).unwrap()).unwrap();
    let whole = Trainer::resume(folder.path(), Context::sequential()).unwrap();
    assert!(whole.data().notes.is_empty());
    drop(whole);
    std::fs::write(folder.path().join(LOG), "").unwrap();
    let cut = Trainer::resume(folder.path(), Context::sequential()).unwrap();
    assert!(cut.data().notes.iter().any(|note| note.contains(LOG)), "{:?}", cut.data().notes);
}

/// The names and bytes of a folder's files.
fn files(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let file = |entry: std::io::Result<DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name(), std::fs::read(entry.path()).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(file).collect()
}

#[test]
fn nothing_is_touched_where_another_process_is_training() {
    let folder = tempfile::tempdir().unwrap();
    let (config, other) = (config(&[]), config(&[("training.seed", "2")]));
    run(&mut start(&config, folder.path()).unwrap()).unwrap();
    // A checkpoint that is being replaced is not looked at either.
    for damaged in [false, true] {
        if damaged {
            std::fs::write(folder.path().join(LAST), "x").unwrap();
        }
        let before = files(folder.path());
        let training = Log::open(&folder.path().join(LOG)).unwrap();
        let attempts = [
            Trainer::start(other.clone(), folder.path(), Context::sequential(), true),
            Trainer::resume(folder.path(), Context::sequential()),
        ];
        for attempt in attempts {
            let error = attempt.unwrap_err().to_string();
            assert!(error.ends_with("another process is training in this folder"), "{error}");
            assert!(files(folder.path()) == before, "a file has changed");
        }
        drop(training);
    }
}

#[test]
fn files_of_others_are_replaced_only_when_asked() {
    // What the folder has, and whether a run may begin there unasked.
    let rows = [
        (LAST, "x", false),
        (BEST, "x", false),
        (LOG, "x", false),
        (CONFIG, "# mine", false),
        (CONFIG, "", false),
        // What a start leaves that found the disk full.
        (LOG, "", true),
        ("notes.txt", "x", true),
    ];
    for (name, content, free) in rows {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), content).unwrap();
        let before = files(folder.path());
        let started = start(&config(&[]), folder.path());
        assert_eq!(started.is_ok(), free, "{name}: {:?}", started.err());
        match started {
            Ok(trainer) => drop(trainer),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("--overwrite"), "{error}");
                assert!(files(folder.path()) == before, "{name}");
                let named = folder.path().join(name).display().to_string();
                assert_eq!(error.contains(&named), name == CONFIG, "{error}");
            }
        }
        let again = Trainer::start(config(&[]), folder.path(), Context::sequential(), true);
        let written = std::fs::read_to_string(folder.path().join(CONFIG)).unwrap();
        assert_eq!(Config::parse(&written, &[]).unwrap(), *again.unwrap().config());
    }
}

#[test]
fn a_folder_without_a_run_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let error = Trainer::resume(folder.path(), Context::sequential()).unwrap_err();
    assert!(error.to_string().contains(LAST), "{error}");
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_checkpoint_that_is_cut_short_is_told_from_a_foreign_file() {
    let folder = tempfile::tempdir().unwrap();
    drop(start(&config(&[]), folder.path()).unwrap());
    let whole = std::fs::read(folder.path().join(LAST)).unwrap();
    let (end, cut) = (whole.len(), "damaged checkpoint: it has been cut short");
    let foreign = "not an Unspool checkpoint";
    let mut garbled = whole.clone();
    garbled[100] = b'\n';
    let none: [(&str, TensorView<'_>); 0] = [];
    let others = safetensors::serialize(none, None).unwrap();
    // What is in the file, and what is said about it.
    let rows: [(&[u8], &str); 10] = [
        (&whole[..end - 1], cut),
        (&whole[..end / 2], cut),
        (&whole[..1000], cut),
        (&whole[..40], cut),
        (&[&whole[..], b"x"].concat(), cut),
        (&garbled, "damaged checkpoint: "),
        (&whole[..6], foreign),
        (b"", "not an Unspool checkpoint: the file is empty"),
        (b"a text of some length, such as a list of words", foreign),
        (&others, "not an Unspool checkpoint: a safetensors file of another program"),
    ];
    for (bytes, said) in rows {
        for (name, remedy) in [
            (LAST, "use best.safetensors beside it, or start the training again"),
            (BEST, "use last.safetensors beside it, or start the training again"),
            ("copy", "take another copy of it, or train again"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = checkpoint::load(&path, Context::sequential()).unwrap_err().to_string();
            assert!(error.contains(said), "{} bytes: {error}", bytes.len());
            assert_eq!(error.ends_with(remedy), said.starts_with("damaged"), "{error}");
            assert!(!error.contains("header length"), "{error}");
        }
    }
}
