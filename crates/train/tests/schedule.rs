//! Schedules against PyTorch's numbers, which `schedule_golden.py` writes.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use unspool_tensor::Context;
use unspool_train::config::Config;
use unspool_train::log::{Record, read_log};
use unspool_train::optimiser::OptimiserConfig;
use unspool_train::schedule::ScheduleConfig;
use unspool_train::trainer::{LOG, Trainer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    /// The learning rate at its top.
    top: f64,
    cases: Vec<Case>,
}

/// A schedule and the rates that it gives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    schedule: ScheduleConfig,
    #[serde(default)]
    by_update: Vec<f64>,
    #[serde(default)]
    by_epoch: Vec<f64>,
    /// What each validation finds; larger is better.
    #[serde(default)]
    scores: Vec<f64>,
    /// The rate before each validation.
    #[serde(default)]
    by_validation: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("schedule_golden.json")).unwrap()
}

/// How often a plateau has cut the rate before each validation.
fn cuts(scores: &[f64], patience: u64) -> Vec<u64> {
    let (mut best, mut since, mut cuts) = (f64::NEG_INFINITY, 0, 0);
    let mut before = Vec::new();
    for &score in scores {
        before.push(cuts);
        since = if score > best { 0 } else { since + 1 };
        best = best.max(score);
        if since == patience {
            (since, cuts) = (0, cuts + 1);
        }
    }
    before
}

#[test]
fn rates_are_those_of_pytorch() {
    let Golden { top, cases } = golden();
    for Case { schedule, by_update, by_epoch, scores, by_validation } in cases {
        let cuts = schedule.patience().map_or_else(Vec::new, |patience| cuts(&scores, patience));
        // Far from 0 is what the schedule is not to depend on.
        let by_update = by_update.iter().zip(0..).map(|(&rate, update)| (rate, update, 99, 99));
        let by_epoch = by_epoch.iter().zip(0..).map(|(&rate, epoch)| (rate, 999, epoch, 99));
        assert_eq!(by_validation.len(), cuts.len());
        let by_validation =
            by_validation.iter().zip(cuts).map(|(&rate, cuts)| (rate, 999, 99, cuts));
        let rows: Vec<_> = by_update.chain(by_epoch).chain(by_validation).collect();
        assert!(rows.len() >= 10, "{schedule:?} has {} steps", rows.len());
        for (wanted, update, epoch, cuts) in rows {
            let rate = schedule.rate(top, update, epoch, cuts);
            let what = format!("{schedule:?}, update {update}, epoch {epoch}, {cuts} cuts");
            assert!((rate - wanted).abs() <= 1e-12 * wanted, "{what}: {rate}, not {wanted}");
        }
    }
}

/// The trainer counts its validations as PyTorch does, which [`rates_are_those_of_pytorch`] shows
/// of [`cuts`].
#[test]
fn a_trainer_cuts_its_rate_at_plateaus() {
    let text = r#"
        [model]
        embedding = 4
        hidden = 4
        attention_size = 4
        [training]
        epochs = 30
        learning_rate = 6.0
        select_by = "loss"
        optimiser = { name = "sgd" }
        schedule = { name = "plateau", factor = 0.8, patience = 2 }
    "#;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("pairs.tsv");
    std::fs::write(&data, "a b c\tc b a\na b\tb a\nc a\ta c\nb c a\ta c b\nc\tc\n").unwrap();
    let list = format!("[{data:?}]");
    let sets = ["data.train", "data.validation"].map(|key| (key.to_owned(), list.clone()));
    let config = Config::parse(text, &sets).unwrap();
    let folder = folder.path().join("run");
    let mut trainer =
        Trainer::start(config.clone(), &folder, Context::sequential(), false).unwrap();
    trainer.run(&AtomicBool::new(false), |_| {}).unwrap();

    let (mut scores, mut rates) = (Vec::new(), Vec::new());
    for record in read_log(&folder.join(LOG)).unwrap() {
        match record {
            Record::Update(update) => rates.push(update.learning_rate),
            Record::Validation(validation) => {
                rates.truncate(scores.len() + 1);
                scores.push(-validation.loss);
            }
        }
    }
    let training = config.training;
    let cuts = cuts(&scores, training.schedule.patience().unwrap());
    let wanted: Vec<_> = (cuts.iter())
        .map(|&cuts| training.schedule.rate(training.learning_rate, 0, 0, cuts))
        .collect();
    assert_eq!(rates, wanted, "{scores:?}");
    // A run that shows nothing proves nothing: some failures led to a cut, others were made up for.
    let best = |k: usize| scores[..k].iter().all(|&before| before < scores[k]);
    let failures = (0..scores.len()).filter(|&k| !best(k)).count() as u64;
    let last = cuts[cuts.len() - 1];
    assert!(last >= 2 && 2 * last < failures - 1, "{last} cuts, {failures} failures: {scores:?}");
}

/// The names that a configuration takes, out of the error that lists them.
fn names<C: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_str::<C>(r#"{"name": ""}"#).err().unwrap().to_string();
    let names = error.split_once("expected").unwrap().1.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn every_schedule_and_optimiser_has_golden_numbers() {
    let in_file = |text: &str, key: &str| -> BTreeSet<String> {
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = file["cases"].as_array().unwrap();
        cases.iter().map(|case| case[key]["name"].as_str().unwrap().to_owned()).collect()
    };
    let schedules = in_file(include_str!("schedule_golden.json"), "schedule");
    assert_eq!(schedules, names::<ScheduleConfig>());
    let optimisers = in_file(include_str!("optimiser_golden.json"), "optimiser");
    assert_eq!(optimisers, names::<OptimiserConfig>());
}
