//! The whole configuration of a training: one TOML file, every key of which can be set on its own.

mod messages;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation};
use unspool_seq2seq::{ModelConfig, ModelError};

use self::messages::{did_you_mean, plain};
use crate::data::batches::BatchSize;
use crate::metrics::bleu::Tokenization;
use crate::optimiser::OptimiserConfig;
use crate::schedule::{ForcingConfig, ScheduleConfig};

pub(crate) use self::messages::must_be;

/// Model, data and training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How the model is built.
    pub model: ModelConfig,
    /// What it learns from.
    pub data: DataConfig,
    /// How it learns.
    pub training: TrainingConfig,
}

/// What a model learns from. The table `[data]`.
///
/// Either a built-in `task`, or files: `train` and `validation`, each two parallel files or one
/// TSV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A built-in task: `reverse` or `phrases`. Empty for files.
    pub task: String,
    /// How many training pairs of the task are made; 0 takes the task's default.
    pub task_size: usize,
    /// The training pairs: `[source, target]`, or `[both]` for a TSV. Plain text or gzip.
    pub train: Vec<PathBuf>,
    /// The validation pairs, in the same form.
    pub validation: Vec<PathBuf>,
    /// What a source is: `tokens` or `vectors`.
    pub source_kind: SourceKind,
    /// What a token is: `word` or `character`.
    pub segmentation: Segmentation,
    /// Tokens that occur less often become unknown.
    pub min_frequency: u64,
    /// The most entries of the source vocabulary, specials included; 0 for no limit.
    pub source_vocabulary: usize,
    /// The most entries of the target vocabulary, specials included; 0 for no limit.
    pub target_vocabulary: usize,
    /// Longer training pairs (on either side, in tokens) are left out; 0 for no limit.
    pub max_length: usize,
    /// Training pairs one side of which is so many times as long as the other are left out; 0 for
    /// no limit.
    pub max_ratio: f64,
    /// How much a batch holds, in `batch_by`.
    pub batch_size: usize,
    /// What `batch_size` counts: `sentences`, or `tokens` of source and target with padding.
    pub batch_by: BatchBy,
    /// So many batches' worth of shuffled training pairs are sorted by length together before they
    /// are cut into batches; with 1, nothing is sorted.
    pub bucketing: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            task: String::new(),
            task_size: 0,
            train: Vec::new(),
            validation: Vec::new(),
            source_kind: SourceKind::Tokens,
            segmentation: Segmentation::Word,
            min_frequency: 1,
            source_vocabulary: 0,
            target_vocabulary: 0,
            max_length: 0,
            max_ratio: 0.0,
            batch_size: 64,
            batch_by: BatchBy::Sentences,
            bucketing: 20,
        }
    }
}

impl DataConfig {
    /// How large a batch may be.
    pub fn batch_size(&self) -> BatchSize {
        let size = NonZeroUsize::new(self.batch_size).unwrap_or(NonZeroUsize::MIN);
        match self.batch_by {
            BatchBy::Sentences => BatchSize::Sentences(size),
            BatchBy::Tokens => BatchSize::Tokens(size),
        }
    }

    /// How many batches' worth of pairs are sorted by length together.
    pub fn bucketing(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.bucketing).unwrap_or(NonZeroUsize::MIN)
    }
}

/// The most pairs that a built-in task is asked for.
pub const MOST_PAIRS: usize = 10_000_000;

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Text.
    Tokens,
    /// Real-valued frames.
    Vectors,
}

/// What the size of a batch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchBy {
    /// Sentence pairs.
    Sentences,
    /// Tokens of source and target, padding included.
    Tokens,
}

/// How a model learns. The table `[training]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// What all randomness comes from: weights, order, dropout, sampling.
    pub seed: u64,
    /// Training ends after so many passes over the data.
    pub epochs: u64,
    /// Training ends after so many updates; 0 for no limit.
    pub max_updates: u64,
    /// The learning rate, at its top.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: ScheduleConfig,
    /// What turns gradients into updates.
    pub optimiser: OptimiserConfig,
    /// What the summed loss of an update is divided by: its target `tokens` or its `sentences`.
    pub normalisation: Normalisation,
    /// The largest global norm of the gradients; 0 for no limit.
    pub clip_norm: f64,
    /// So many batches make one update.
    pub accumulate: usize,
    /// A batch is cut into shards of so many sentences, each computed by one thread. Part of the
    /// numbers: other shards round differently.
    pub shard_size: usize,
    /// What is taken from the target's probability and spread over the vocabulary, 0 to 1.
    pub label_smoothing: f64,
    /// How label smoothing spreads: `uniform` over all V tokens, or `excluding_padding`, over the
    /// V-2 that are neither the target nor padding.
    pub smoothing: SmoothingKind,
    /// How often the decoder reads the true token.
    pub teacher_forcing: ForcingConfig,
    /// The model is validated after each epoch, and after so many updates; 0 for after epochs
    /// alone.
    pub validate_every: u64,
    /// The state is saved after so many updates; 0 after each validation alone.
    pub checkpoint_every: u64,
    /// What makes a model the best: `bleu`, `loss` or `accuracy` (of whole sequences).
    pub select_by: SelectBy,
    /// Training ends when so many validations in a row brought no new best; 0 for never.
    pub early_stopping: u64,
    /// How BLEU sees words: `none` or `13a`.
    pub bleu_tokenisation: BleuTokenisation,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            seed: 1,
            epochs: 10,
            max_updates: 0,
            learning_rate: 1e-3,
            schedule: ScheduleConfig::default(),
            optimiser: OptimiserConfig::default(),
            normalisation: Normalisation::Tokens,
            clip_norm: 1.0,
            accumulate: 1,
            shard_size: 32,
            label_smoothing: 0.0,
            smoothing: SmoothingKind::Uniform,
            teacher_forcing: ForcingConfig::default(),
            validate_every: 0,
            checkpoint_every: 0,
            select_by: SelectBy::Bleu,
            early_stopping: 0,
            bleu_tokenisation: BleuTokenisation::None,
        }
    }
}

/// What the summed loss of an update is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// The number of its target tokens, ends included: each token counts the same.
    Tokens,
    /// The number of its sentences: gradients are as many times larger as a target is long, and a
    /// limit of their norm bites as much earlier.
    Sentences,
}

/// How label smoothing spreads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmoothingKind {
    /// ε/V to each token, the target included: PyTorch's definition.
    Uniform,
    /// ε/(V-2) to each token but the target and padding: the tutorials' definition.
    ExcludingPadding,
}

/// What makes a model the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectBy {
    /// The BLEU of greedy output.
    Bleu,
    /// The teacher-forced loss.
    Loss,
    /// The share of sequences that greedy output gets right.
    Accuracy,
}

/// How BLEU sees words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BleuTokenisation {
    /// As they stand between white space.
    #[serde(rename = "none")]
    None,
    /// With punctuation split off as `mteval-v13a` does.
    #[serde(rename = "13a")]
    Mteval13a,
}

impl From<BleuTokenisation> for Tokenization {
    fn from(tokenisation: BleuTokenisation) -> Self {
        match tokenisation {
            BleuTokenisation::None => Tokenization::None,
            BleuTokenisation::Mteval13a => Tokenization::Mteval13a,
        }
    }
}

/// A configuration that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that does not exist, or a value of a wrong type, in a file.
    #[error("line {line}, column {column}: {}{problem}", in_key(.key))]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The dotted key, as far as the text tells.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A key that was set on its own does not exist, or its value has a wrong type.
    #[error("{key} = {value}: {problem}")]
    Override {
        /// The dotted key.
        key: String,
        /// The value given.
        value: String,
        /// What is wrong.
        problem: String,
    },
    /// A key has an impossible value.
    #[error("{key}: {problem}")]
    Value {
        /// The dotted key.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

fn in_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

impl Config {
    /// Reads a configuration, sets single keys on top of it, and checks it.
    ///
    /// `overrides` are dotted keys (`model.hidden`) with values as TOML writes them; what is not
    /// TOML is taken as a string. Their order does not matter, but for a key that is set twice.
    ///
    /// # Errors
    /// An unknown key, a wrong type or an impossible value, with the key's name.
    pub fn parse(text: &str, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let file: Config = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        // Whole tables first; then the names of optimiser and schedule, which decide what keys
        // there are.
        let mut overrides = overrides.to_vec();
        overrides.sort_by_key(|(key, value)| match value.trim_start().starts_with('{') {
            true => 0,
            false => 2 - usize::from(key.ends_with(".name")),
        });
        let config = file.with(&overrides).map_err(|error| {
            // The first key with which, and with all after it, there is no configuration.
            let mut culprit = error;
            for count in (0..overrides.len()).rev() {
                match file.with(&overrides[..count]) {
                    Ok(_) => break,
                    Err(error) => culprit = error,
                }
            }
            culprit
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The same with some keys set; an error is about the last of them.
    fn with(&self, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let Some((key, value)) = overrides.last() else { return Ok(self.clone()) };
        let problem = |problem: &str| ConfigError::Override {
            key: key.clone(),
            value: value.lines().collect::<Vec<_>>().join(" "),
            problem: plain(problem),
        };
        let mut root = toml::Table::try_from(self).map_err(|error| problem(&error.to_string()))?;
        for (key, value) in overrides {
            set(&mut root, key, value).map_err(|error| problem(&error))?;
        }
        root.try_into().map_err(|error: toml::de::Error| problem(error.message()))
    }

    /// Checks that every value is possible.
    ///
    /// # Errors
    /// The first key whose value is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |key: &str, problem: &str| {
            Err(ConfigError::Value { key: key.into(), problem: problem.into() })
        };
        match self.model.validate() {
            Err(ModelError::Config { key, problem }) => {
                return fail(&format!("model.{key}"), &problem);
            }
            Err(other) => return fail("model", &other.to_string()),
            Ok(()) => {}
        }
        let data = &self.data;
        if data.task.is_empty() {
            for (key, files) in [("train", &data.train), ("validation", &data.validation)] {
                if files.is_empty() || files.len() > 2 {
                    let rule = "two parallel files, or one TSV (or set data.task)";
                    let problem = must_be(rule, format_args!("{} files", files.len()));
                    return fail(&format!("data.{key}"), &problem);
                }
            }
        } else if !data.train.is_empty() || !data.validation.is_empty() {
            return fail("data.task", "a built-in task and files exclude each other");
        }
        if !data.task.is_empty() && data.source_kind != SourceKind::Tokens {
            return fail("data.source_kind", "a built-in task has sources of tokens");
        }
        if data.task_size > MOST_PAIRS {
            let problem = must_be(&format!("at most {MOST_PAIRS}"), data.task_size);
            return fail("data.task_size", &problem);
        }
        for (key, size) in [
            ("data.source_vocabulary", data.source_vocabulary),
            ("data.target_vocabulary", data.target_vocabulary),
        ] {
            let special = SPECIALS.len();
            if (1..=special).contains(&size) {
                let rule = format!("above {special}, which special tokens take (0 for no limit)");
                return fail(key, &must_be(&rule, size));
            }
        }
        if !(data.max_ratio == 0.0 || (data.max_ratio.is_finite() && data.max_ratio >= 1.0)) {
            let problem = must_be("at least 1 (0 for no limit)", data.max_ratio);
            return fail("data.max_ratio", &problem);
        }
        let training = &self.training;
        let (rate, norm) = (training.learning_rate, training.clip_norm);
        if !(rate.is_finite() && rate > 0.0) {
            return fail("training.learning_rate", &must_be("above 0", rate));
        }
        if !(norm.is_finite() && norm >= 0.0) {
            let problem = must_be("at least 0 (0 for no limit)", norm);
            return fail("training.clip_norm", &problem);
        }
        if !(0.0..1.0).contains(&training.label_smoothing) {
            let problem = must_be("at least 0 and below 1", training.label_smoothing);
            return fail("training.label_smoothing", &problem);
        }
        for (key, count) in [
            ("data.batch_size", data.batch_size),
            ("data.bucketing", data.bucketing),
            ("training.accumulate", training.accumulate),
            ("training.shard_size", training.shard_size),
        ] {
            if count == 0 {
                return fail(key, &must_be("at least 1", count));
            }
        }
        if training.epochs == 0 && training.max_updates == 0 {
            let problem = must_be("at least 1 (or set training.max_updates)", training.epochs);
            return fail("training.epochs", &problem);
        }
        let tables = [
            ("optimiser", training.optimiser.problem()),
            ("schedule", training.schedule.problem()),
            ("teacher_forcing", training.teacher_forcing.problem()),
        ];
        for (table, problem) in tables {
            if let Some((key, problem)) = problem {
                return fail(&format!("training.{table}.{key}"), &problem);
            }
        }
        Ok(())
    }

    /// The configuration as a TOML file, every key written out.
    ///
    /// # Errors
    /// A number that TOML cannot hold (a seed above 2⁶³).
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Value {
            key: "configuration".into(),
            problem: error.to_string(),
        })
    }
}

/// Sets a dotted key of a table.
fn set(root: &mut toml::Table, key: &str, value: &str) -> Result<(), String> {
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && digits.parse::<i64>().is_err() {
        return Err(format!("a whole number is at most {}", i64::MAX));
    }
    let mut value = (toml::from_str::<toml::Table>(&format!("value = {value}")).ok())
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.into()));
    let mut table = root;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        if !table.get(part).is_some_and(toml::Value::is_table) {
            let tables = table.iter().filter(|(_, value)| value.is_table());
            let near = did_you_mean(part, tables.map(|(name, _)| name.as_str()));
            return Err(format!("there is no table {part:?}{near}"));
        }
        table = match table.get_mut(part) {
            Some(toml::Value::Table(inner)) => inner,
            _ => return Err(format!("there is no table {part:?}")),
        };
    }
    // Another optimiser or schedule has other keys than the one before.
    if last == "name" {
        table.clear();
    }
    // A list of paths may be written as one string, with commas.
    if let (Some(toml::Value::Array(_)), toml::Value::String(text)) = (table.get(last), &value) {
        let items = text.split(',').map(|item| toml::Value::String(item.trim().into()));
        value = toml::Value::Array(items.collect());
    }
    table.insert(last.into(), value);
    Ok(())
}

fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    // The table's header and the key on the line say where it is.
    let table = (text.lines().take(line))
        .filter_map(|line| line.trim().strip_prefix('[')?.split(']').next())
        .last();
    let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key);
    let key: Vec<&str> = [table, key].into_iter().flatten().map(str::trim).collect();
    ConfigError::Syntax {
        line,
        column: at - start + 1,
        key: key.join("."),
        problem: plain(error.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "[data]\ntask = \"reverse\"\n";

    fn set(key: &str, value: &str) -> Result<Config, ConfigError> {
        Config::parse(TASK, &[(key.into(), value.into())])
    }

    #[test]
    fn every_key_survives_being_written() {
        let config = Config::parse(TASK, &[]).unwrap();
        let text = config.to_toml().unwrap();
        assert_eq!(Config::parse(&text, &[]).unwrap(), config);
    }

    #[test]
    fn keys_can_be_set_one_by_one() {
        assert_eq!(set("model.hidden", "64").unwrap().model.hidden, 64);
        assert_eq!(set("model.dropout.embedding", "0.5").unwrap().model.dropout.embedding, 0.5);
        assert_eq!(set("model.cell", "gru").unwrap(), set("model.cell", "\"gru\"").unwrap());
        let sgd = set("training.optimiser.name", "sgd").unwrap().training.optimiser;
        assert_eq!(sgd, OptimiserConfig::Sgd { momentum: 0.0 });
        let schedule = [("factor", "0.5"), ("name", "exponential")]
            .map(|(key, value)| (format!("training.schedule.{key}"), value.to_string()));
        let schedule = Config::parse(TASK, &schedule).unwrap().training.schedule;
        assert_eq!(schedule, ScheduleConfig::Exponential { factor: 0.5, from_epoch: 1 });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rows = [
            ("model.hiden", "64", "unknown field `hiden` (did you mean \"hidden\"?), expected one"),
            ("model.hidden", "many", "model.hidden = many: must be a whole number of at least 0"),
            (
                "model.hidden",
                "-1",
                "model.hidden = -1: must be a whole number of at least 0, not -1",
            ),
            ("model.hidden", "8\nmodel = 3", "model.hidden = 8 model = 3"),
            ("model", "3", "model = 3: must be a table, not 3"),
            ("model.bidirectional", "1", "must be true or false, not 1"),
            ("model.dropout.embedding", "x", "must be a number, not \"x\""),
            ("training.optimiser", "3", "training.optimiser = 3: must be a table, not 3"),
            ("data.train", "3", "must be a list, not 3"),
            ("training.seed", "9223372036854775808", "at most 9223372036854775807"),
            ("model.hidden", "0", "model.hidden: must be at least 1"),
            ("model.dropout.layers", "1", "must be at least 0 and below 1, not 1"),
            ("modell.hidden", "64", "there is no table \"modell\" (did you mean \"model\"?)"),
            ("x.y", "64", "there is no table \"x\""),
            ("training.optimiser.name", "adm", "(did you mean \"adam\"?)"),
            ("training.schedule.name", "exponential", "missing field `factor`"),
            ("training.schedule.factor", "0.5", "unknown field `factor`, no key but `name`"),
            (
                "training.schedule",
                "{ name = 'plateau', factor = 2, patience = 1 }",
                "at most 1, not 2",
            ),
            ("training.teacher_forcing.start", "1.5", "start: must be between 0 and 1, not 1.5"),
            ("data.source_kind", "vectors", "data.source_kind: "),
            ("data.target_vocabulary", "4", "data.target_vocabulary: must be above 4, which"),
            ("data.source_vocabulary", "1", "data.source_vocabulary: must be above 4, which"),
            ("data.batch_size", "0", "data.batch_size: must be at least 1, not 0"),
            ("data.bucketing", "0", "data.bucketing: must be at least 1, not 0"),
            ("training.normalisation", "token", "(did you mean \"tokens\"?)"),
            ("training.optimiser.beta1", "1.5", "beta1: must be at least 0 and below 1, not 1.5"),
            ("training.learning_rate", "0", "training.learning_rate: must be above 0, not 0"),
            ("training.learning_rate", "nan", "training.learning_rate: must be above 0, not NaN"),
            ("data.train", "a.txt,b.txt", "data.task"),
        ];
        for (key, value, part) in rows {
            let error = set(key, value).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{key}={value}: {error}");
        }
    }

    #[test]
    fn errors_in_a_file_name_line_column_and_key() {
        // The key that is wrong is named, not one that was set beside it.
        let sets = [("model.hidden", "64"), ("model.cell", "lsm"), ("model.embedding", "9")];
        let sets = sets.map(|(key, value)| (key.to_string(), value.to_string()));
        let error = Config::parse(TASK, &sets).unwrap_err().to_string();
        assert!(error.starts_with("model.cell = lsm: "), "{error}");
        let rows = [
            ("[model]\nhiden = 3\n", "line 2, column 1: model.hiden: unknown field"),
            (
                "[model]\n\nhidden = \"x\"\n",
                "line 3, column 10: model.hidden: must be a whole number",
            ),
            ("[training.optimiser]\nname = \"adm\"\n", "training.optimiser"),
            ("[model\n", "line 1, column 7: "),
        ];
        for (text, start) in rows {
            let error = Config::parse(text, &[]).unwrap_err().to_string();
            assert!(error.contains(start), "{text:?}: {error}");
        }
    }
}
