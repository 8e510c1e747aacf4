//! Whole models against PyTorch: one training step in double precision, from the loss over the
//! gradients of all parameters to the parameters after a clipped update by Adam.
//!
//! The file of golden numbers says itself what was computed: each row's configuration and batch are
//! in its metadata. `tests/golden/README.md` says how to make it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use ndarray::{Array2, ArrayD, arr0, s};
use serde::Deserialize;
use unspool_layers::attention::AttentionKind;
use unspool_layers::recurrent::CellKind;
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::vocabulary::{PAD, SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{LossOptions, ModelConfig, Seq2Seq, SourceSide, Statistics, TeacherForcing};
use unspool_tensor::gradcheck::distance;
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::{Context, ParamStore, Tape};
use unspool_train::gradients::clip_by_global_norm;
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

#[path = "golden/files.rs"]
mod files;

/// Of each array, by the rule that holds everywhere.
const TOLERANCE: f64 = 1e-10;
/// Of a gradient, by its own largest element: the rule above sees nothing in small ones.
const RELATIVE: f64 = 1e-11;

/// A row of the metadata.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    model: ModelConfig,
    /// Of tokens; `statistics` stand for it when the source is vectors.
    source_vocabulary: Option<usize>,
    statistics: Option<Statistics>,
    target_vocabulary: usize,
    examples: Vec<Pair>,
    /// The form and ε.
    smoothing: (String, f64),
    learning_rate: f64,
    max_norm: f64,
}

/// A sentence pair, without special tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    source: Positions,
    target: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Positions {
    Tokens(Vec<Token>),
    Frames(Vec<[f64; 2]>),
}

impl Row {
    fn model(&self) -> Seq2Seq<f64> {
        let source = match (self.source_vocabulary, &self.statistics) {
            (Some(size), None) => SourceSide::Tokens(vocabulary(size)),
            (None, Some(statistics)) => SourceSide::Vectors(statistics.clone()),
            _ => panic!("{}: tokens or vectors?", self.name),
        };
        let target = vocabulary(self.target_vocabulary);
        Seq2Seq::blank(self.model.clone(), source, target, Context::sequential()).unwrap()
    }

    fn batch(&self) -> Batch {
        let examples: Vec<_> = (self.examples.iter())
            .map(|pair| {
                let source = match &pair.source {
                    Positions::Tokens(tokens) => Source::Tokens(tokens.clone()),
                    Positions::Frames(frames) => Source::Vectors(Array2::from(frames.clone())),
                };
                Example { source, target: pair.target.clone() }
            })
            .collect();
        Batch::new(&examples.iter().collect::<Vec<_>>()).unwrap()
    }

    fn smoothing(&self) -> Smoothing {
        match (self.smoothing.0.as_str(), self.smoothing.1) {
            ("none", _) => Smoothing::None,
            ("uniform", epsilon) => Smoothing::Uniform(epsilon),
            ("except_padding", epsilon) => Smoothing::ExceptPadding { epsilon, padding: 0 },
            (form, _) => panic!("{}: smoothing {form:?}", self.name),
        }
    }
}

/// A vocabulary of so many tokens, special ones included.
fn vocabulary(size: usize) -> Vocabulary {
    let ordinary = (SPECIALS.len()..size).map(|number| format!("w{number}"));
    let tokens = SPECIALS.iter().map(|&special| special.to_owned()).chain(ordinary).collect();
    Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap()
}

fn golden() -> (Vec<Row>, BTreeMap<String, ArrayD<f64>>) {
    let (arrays, about) = files::read(&files::folder().join("models.safetensors"));
    (serde_json::from_str(&about["rows"]).unwrap(), arrays)
}

/// One row's arrays, and what is wrong so far.
struct Comparison<'a> {
    row: &'a str,
    golden: &'a BTreeMap<String, ArrayD<f64>>,
    failures: Vec<String>,
}

impl Comparison<'_> {
    fn fail(&mut self, problem: String) {
        self.failures.push(format!("{}: {problem}", self.row));
    }

    fn golden(&mut self, array: &str) -> Option<&ArrayD<f64>> {
        let found = self.golden.get(&format!("{}|{array}", self.row));
        if found.is_none() {
            self.fail(format!("no golden {array}"));
        }
        found
    }

    fn compare(&mut self, array: &str, ours: &ArrayD<f64>) {
        let Some(theirs) = self.golden(array) else { return };
        let distance = distance(ours, theirs);
        if distance > TOLERANCE {
            self.fail(format!("{array} is {distance:e} off"));
        }
    }

    /// Relative to the largest element, which is taken to be `least` at least: some arrays have a
    /// gradient of 0 but for rounding, for the bias of multi-head attention's keys moves all scores
    /// of a query alike.
    fn compare_relatively(&mut self, array: &str, ours: &ArrayD<f64>, least: f64) {
        let Some(theirs) = self.golden(array) else { return };
        let scale = f64::max(largest(theirs), least);
        let distance = largest(&(ours - theirs)) / scale;
        if distance > RELATIVE {
            self.fail(format!("{array} is {distance:e} of its largest element off"));
        }
    }
}

fn largest(x: &ArrayD<f64>) -> f64 {
    x.iter().fold(0.0, |largest, x| if x.is_nan() { f64::NAN } else { x.abs().max(largest) })
}

/// Runs the step of a row and gives what differs.
fn failures(row: &Row, golden: &BTreeMap<String, ArrayD<f64>>) -> Vec<String> {
    let mut comparison = Comparison { row: &row.name, golden, failures: Vec::new() };
    let mut model = row.model();
    let ours: BTreeSet<_> = model.params().iter().map(|(_, name, _)| name.to_owned()).collect();
    let params = format!("{}|param.", row.name);
    let theirs: BTreeSet<_> =
        golden.keys().filter_map(|key| key.strip_prefix(&params)).map(str::to_owned).collect();
    if ours != theirs {
        comparison.fail(format!("parameters {ours:?}, golden {theirs:?}"));
        return comparison.failures;
    }
    for id in model.params().ids() {
        let value = &golden[&format!("{params}{}", model.params().name(id))];
        if let Err(error) = model.params_mut().set(id, value.clone()) {
            comparison.fail(error.to_string());
            return comparison.failures;
        }
    }

    let batch = row.batch();
    let options = LossOptions {
        forcing: TeacherForcing::ALWAYS,
        smoothing: row.smoothing(),
        divisor: batch.target_tokens() as f64,
    };
    let tape = Tape::new(Context::sequential());
    let loss = model.training_loss(&tape, &batch, options).unwrap();
    let mut logits = loss.logits().unwrap().value().to_owned();
    // Behind a target's end, nothing is computed.
    for ((time, b), _) in batch.target_output.indexed_iter().filter(|(_, token)| **token == PAD) {
        let theirs = &golden[&format!("{}|logits", row.name)];
        logits.slice_mut(s![time, b, ..]).assign(&theirs.slice(s![time, b, ..]));
    }
    comparison.compare("logits", &logits);
    comparison.compare("loss", &loss.loss.value().to_owned());
    let grads = tape.backward(loss.loss).unwrap().into_params();
    drop(tape);

    let all = grads.iter().map(|(_, grad)| largest(&grad.to_owned())).fold(0.0, f64::max);
    if grads.len() != ours.len() {
        comparison.fail(format!("{} gradients of {} parameters", grads.len(), ours.len()));
    }
    for (id, grad) in &grads {
        let name = format!("grad.{}", model.params().name(*id));
        comparison.compare(&name, &grad.to_owned());
        comparison.compare_relatively(&name, &grad.to_owned(), 1e-6 * all);
    }

    // As the trainer does it.
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    let mut grads: Vec<_> = grads.into_iter().map(|(id, d)| (id, d.into())).collect();
    let norm = clip_by_global_norm(&Context::sequential(), &mut grads, Some(row.max_norm));
    comparison.compare("norm", &arr0(norm).into_dyn());
    let rate = row.learning_rate;
    optimiser.update(&Context::sequential(), model.params_mut(), &grads, rate);
    for (_, name, value) in ParamStore::iter(model.params()) {
        comparison.compare(&format!("after.{name}"), &value.to_owned());
    }
    comparison.failures
}

#[test]
fn a_training_step_is_that_of_pytorch() {
    let (rows, golden) = golden();
    let failures: Vec<_> = rows.iter().flat_map(|row| failures(row, &golden)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The names that a key of the configuration takes, out of the error that lists them.
fn names(key: &str) -> Vec<String> {
    let error = toml::from_str::<ModelConfig>(&format!("{key} = \"\"")).unwrap_err().to_string();
    let names = error.split_once("expected").unwrap().1.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn every_kind_of_model_has_a_row() {
    let (rows, golden) = golden();
    let lacks = |what: &dyn Debug, has: &dyn Fn(&Row) -> bool| {
        assert!(rows.iter().any(has), "no model with {what:?} has golden numbers");
    };
    for kind in CellKind::ALL {
        lacks(&kind, &|row| row.model.cell == kind);
    }
    for kind in AttentionKind::ALL.map(Some).into_iter().chain([None]) {
        lacks(&kind, &|row| row.model.attention.0 == kind);
    }
    for key in ["bridge", "query", "readout"] {
        for name in names(key) {
            lacks(&(key, &name), &|row| {
                let config = toml::Table::try_from(&row.model).unwrap();
                config[key].as_str() == Some(&name)
            });
        }
    }
    for switch in [false, true] {
        lacks(&("tied", switch), &|row| row.model.tied_embeddings == switch);
        lacks(&("bidirectional", switch), &|row| row.model.bidirectional == switch);
        lacks(&("vectors", switch), &|row| row.statistics.is_some() == switch);
        lacks(&("a readout's size", switch), &|row| (row.model.readout_size > 0) == switch);
        let clips = |row: &Row| golden[&format!("{}|norm", row.name)].sum() > row.max_norm;
        lacks(&("clipping", switch), &|row| clips(row) == switch);
    }
    for smoothing in ["none", "uniform", "except_padding"] {
        lacks(&smoothing, &|row| row.smoothing.0 == smoothing);
    }
    lacks(&"more layers in the encoder", &|row| {
        row.model.encoder_layers > row.model.decoder_layers
    });
    lacks(&"more layers in the decoder", &|row| {
        row.model.encoder_layers < row.model.decoder_layers
    });
    let names: BTreeSet<_> = rows.iter().map(|row| row.name.as_str()).collect();
    for key in golden.keys() {
        let row = key.split('|').next().unwrap_or_default();
        assert!(names.contains(row), "the metadata does not say what {row:?} is");
    }
}
