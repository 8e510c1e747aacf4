//! From a configuration to examples: reading, vocabularies, filtering, encoding.

use std::path::PathBuf;

use ndarray::Array2;
use unspool_seq2seq::batch::{Example, Source};
use unspool_seq2seq::vocabulary::{SPECIALS, Vocabulary, VocabularyLimits};
use unspool_seq2seq::{SourceSide, Statistics};

use crate::config::{Config, ConfigError, DataConfig, SourceKind};
use crate::data::Lengths;
use crate::data::filter::{Filtered, LengthFilter};
use crate::data::read::{Corpus, DataError, Pair, read_parallel, read_tsv};
use crate::data::vectors::read_vectors;
use crate::tasks::{Splits, Task, TaskError};

/// The data of a training, ready to be computed with.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What sources are made of.
    pub source: SourceSide,
    /// The target's vocabulary.
    pub target: Vocabulary,
    /// The training examples.
    pub train: Vec<Example>,
    /// The validation examples.
    pub validation: Vec<Example>,
    /// The validation targets as text, for BLEU.
    pub references: Vec<String>,
    /// What was left out, in words for people; empty when nothing was.
    pub notes: Vec<String>,
}

/// Data could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The configuration asks for something that does not exist.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A built-in task could not be made.
    #[error("data.task: {0}")]
    Task(#[from] TaskError),
    /// Nothing is left to learn from.
    #[error("no training pair is left: {0}")]
    Empty(String),
}

/// Training and validation pairs, with sources of text or of vectors.
enum Pairs {
    Text { train: Vec<Pair>, validation: Vec<Pair> },
    Vectors { train: Vec<Pair<Array2<f64>>>, validation: Vec<Pair<Array2<f64>>> },
}

impl Dataset {
    /// Reads or makes the data of a configuration, and builds the vocabularies from it.
    ///
    /// # Errors
    /// A file cannot be read, or no training pair is left.
    pub fn load(config: &Config) -> Result<Self, DatasetError> {
        let mut notes = Vec::new();
        let pairs = read(config, &mut notes)?;
        let data = &config.data;
        let (source, targets) = match &pairs {
            Pairs::Text { train, .. } => {
                let sources = train.iter().map(|pair| pair.source.as_str());
                let source = vocabulary(data, "source", sources, data.source_vocabulary)?;
                (SourceSide::Tokens(source), texts(train))
            }
            Pairs::Vectors { train, .. } => {
                let statistics = Statistics::measure(train.iter().map(|pair| &pair.source));
                let finite = |x: &f64| x.is_finite();
                if !statistics.mean.iter().chain(&statistics.deviation).all(finite) {
                    return Err(value("data.train", "has numbers too large to be standardised"));
                }
                (SourceSide::Vectors(statistics), texts(train))
            }
        };
        let target = targets.iter().map(String::as_str);
        let target = vocabulary(data, "target", target, data.target_vocabulary)?;
        Self::encode(source, target, pairs, notes)
    }

    /// As [`load`](Self::load), with the vocabularies and statistics of a model that goes on
    /// training.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_for(
        config: &Config,
        source: &SourceSide,
        target: &Vocabulary,
    ) -> Result<Self, DatasetError> {
        let mut notes = Vec::new();
        let pairs = read(config, &mut notes)?;
        Self::encode(source.clone(), target.clone(), pairs, notes)
    }

    fn encode(
        source: SourceSide,
        target: Vocabulary,
        pairs: Pairs,
        notes: Vec<String>,
    ) -> Result<Self, DatasetError> {
        let (train, validation, references) = match (pairs, &source) {
            (Pairs::Text { train, validation }, SourceSide::Tokens(words)) => {
                let examples = |pairs: &[Pair]| text_examples(pairs, words, &target);
                (examples(&train), examples(&validation), texts(&validation))
            }
            (Pairs::Vectors { train, validation }, SourceSide::Vectors(statistics)) => {
                let length = statistics.mean.len();
                let references = texts(&validation);
                let examples = |key: &str, pairs: Vec<Pair<_>>| {
                    vector_examples(pairs, length, &target).map_err(|found| {
                        value(key, &format!("has frames of {found} numbers, not of {length}"))
                    })
                };
                let train = examples("data.train", train)?;
                (train, examples("data.validation", validation)?, references)
            }
            _ => return Err(value("data.source_kind", "is not what the model was made for")),
        };
        Ok(Dataset { source, target, train, validation, references, notes })
    }

    /// A checksum (CRC-32) of all examples: a training goes on to the same weights only with the
    /// same data.
    pub fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for example in self.train.iter().chain(&self.validation) {
            match &example.source {
                Source::Tokens(tokens) => hash(&mut hasher, tokens.iter().map(|t| t.to_le_bytes())),
                Source::Vectors(frames) => {
                    hash(&mut hasher, frames.iter().map(|x| x.to_le_bytes()))
                }
            }
            hash(&mut hasher, example.target.iter().map(|t| t.to_le_bytes()));
        }
        for reference in &self.references {
            hash(&mut hasher, reference.bytes().map(|byte| [byte]));
        }
        hasher.finalize()
    }
}

/// Adds a sequence and its length.
fn hash<const N: usize>(hasher: &mut crc32fast::Hasher, items: impl Iterator<Item = [u8; N]>) {
    let bytes: Vec<u8> = items.flatten().collect();
    hasher.update(&bytes.len().to_le_bytes());
    hasher.update(&bytes);
}

/// The lengths of examples, as batches are planned by them.
pub fn lengths(examples: &[Example]) -> Vec<Lengths> {
    let length = |example: &Example| {
        let source = match &example.source {
            Source::Tokens(tokens) => tokens.len(),
            Source::Vectors(frames) => frames.nrows(),
        };
        Lengths { source, target: example.target.len() }
    };
    examples.iter().map(length).collect()
}

/// Text pairs as examples.
pub fn text_examples(pairs: &[Pair], source: &Vocabulary, target: &Vocabulary) -> Vec<Example> {
    let encode = |pair: &Pair| Example {
        source: Source::Tokens(source.encode(&pair.source)),
        target: target.encode(&pair.target),
    };
    pairs.iter().map(encode).collect()
}

/// Pairs of vectors and text as examples.
///
/// # Errors
/// The length of the first frames that do not have `length` numbers.
pub fn vector_examples(
    pairs: Vec<Pair<Array2<f64>>>,
    length: usize,
    target: &Vocabulary,
) -> Result<Vec<Example>, usize> {
    let encode = |pair: Pair<Array2<f64>>| match pair.source.ncols() {
        found if found != length => Err(found),
        _ => Ok(Example {
            target: target.encode(&pair.target),
            source: Source::Vectors(pair.source),
        }),
    };
    pairs.into_iter().map(encode).collect()
}

/// The error that a key has an impossible value.
fn value(key: &str, problem: &str) -> DatasetError {
    DatasetError::Config(ConfigError::Value { key: key.into(), problem: problem.into() })
}

fn texts<S>(pairs: &[Pair<S>]) -> Vec<String> {
    pairs.iter().map(|pair| pair.target.clone()).collect()
}

/// The vocabulary of one side. With special tokens alone there is nothing to learn: an error.
fn vocabulary<'t>(
    data: &DataConfig,
    side: &str,
    texts: impl IntoIterator<Item = &'t str>,
    most: usize,
) -> Result<Vocabulary, DatasetError> {
    let max_size = Some(most).filter(|&most| most > 0);
    let limits = VocabularyLimits { min_frequency: data.min_frequency, max_size };
    let vocabulary = Vocabulary::build(data.segmentation, texts, limits);
    if vocabulary.size() > SPECIALS.len() {
        return Ok(vocabulary);
    }
    let frequency = data.min_frequency;
    Err(if frequency > 1 {
        let problem = format!("is {frequency}; no {side} token occurs so often");
        value("data.min_frequency", &problem)
    } else {
        value("data.train", &format!("has no {side} token but the special ones"))
    })
}

/// The training and validation pairs, without training pairs that are too long.
fn read(config: &Config, notes: &mut Vec<String>) -> Result<Pairs, DatasetError> {
    let data = &config.data;
    let note = |what: &str, skipped: usize, notes: &mut Vec<String>| {
        if skipped > 0 {
            notes.push(format!("{skipped} {what} pairs with a blank side left out"));
        }
    };
    let words = |text: &String| data.segmentation.segment(text).len();
    if !data.task.is_empty() {
        let Splits { train, validation, .. } = task_splits(config)?;
        return Ok(Pairs::Text { train: short_enough(data, train, words, notes)?, validation });
    }
    match data.source_kind {
        SourceKind::Tokens => {
            let both = |files: &[PathBuf]| -> Result<Corpus, DataError> {
                match files {
                    [source, target] => read_parallel(source, target),
                    [both] => read_tsv(both),
                    _ => Ok(Corpus { pairs: Vec::new(), skipped_blank: 0 }),
                }
            };
            let (train, validation) = (both(&data.train)?, both(&data.validation)?);
            note("training", train.skipped_blank, notes);
            note("validation", validation.skipped_blank, notes);
            let train = short_enough(data, train.pairs, words, notes)?;
            Ok(Pairs::Text { train, validation: validation.pairs })
        }
        SourceKind::Vectors => {
            let both = |key: &str, files: &[PathBuf]| match files {
                [source, target] => Ok(read_vectors(source, target)?),
                _ => Err(value(key, "takes two parallel files when sources are vectors")),
            };
            let train = both("data.train", &data.train)?;
            let validation = both("data.validation", &data.validation)?;
            note("training", train.skipped_blank, notes);
            note("validation", validation.skipped_blank, notes);
            let train = short_enough(data, train.pairs, |frames| frames.nrows(), notes)?;
            Ok(Pairs::Vectors { train, validation: validation.pairs })
        }
    }
}

/// The pairs that the length filter keeps.
fn short_enough<S>(
    data: &DataConfig,
    pairs: Vec<Pair<S>>,
    source_length: impl Fn(&S) -> usize,
    notes: &mut Vec<String>,
) -> Result<Vec<Pair<S>>, DatasetError> {
    let lengths: Vec<Lengths> = (pairs.iter())
        .map(|pair| Lengths {
            source: source_length(&pair.source),
            target: data.segmentation.segment(&pair.target).len(),
        })
        .collect();
    let most = Some(data.max_length).filter(|&most| most > 0);
    let max_ratio = Some(data.max_ratio).filter(|&ratio| ratio > 0.0);
    let filter = LengthFilter { max_source: most, max_target: most, max_ratio };
    let Filtered { kept, long_source, long_target, uneven } = filter.apply(&lengths);
    if kept.is_empty() {
        let problem = format!("data.max_length and data.max_ratio leave out all {}", pairs.len());
        return Err(DatasetError::Empty(problem));
    }
    let reasons = [
        (long_source, "a source longer than data.max_length"),
        (long_target, "a target longer than data.max_length"),
        (uneven, "lengths further apart than data.max_ratio"),
    ];
    for (count, reason) in reasons.into_iter().filter(|&(count, _)| count > 0) {
        notes.push(format!("{count} training pairs with {reason} left out"));
    }
    let mut kept = kept.into_iter().peekable();
    let mut keep = |(index, _): &(usize, Pair<S>)| kept.next_if_eq(index).is_some();
    Ok(pairs.into_iter().enumerate().filter(|pair| keep(pair)).map(|(_, pair)| pair).collect())
}

/// The splits of the built-in task of a configuration.
///
/// # Errors
/// There is no task of that name, or it has fewer pairs than asked for.
pub fn task_splits(config: &Config) -> Result<Splits, DatasetError> {
    let task: Task = config.data.task.parse()?;
    let mut sizes = task.default_sizes();
    if config.data.task_size > 0 {
        sizes.train = config.data.task_size;
    }
    Ok(task.generate(config.training.seed, sizes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sources: &str, targets: &str, sets: &[(&str, &str)]) -> Result<Dataset, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        std::fs::write(&source, sources).unwrap();
        std::fs::write(&target, targets).unwrap();
        let files = format!("[{source:?}, {target:?}]");
        let files = [("data.train", files.as_str()), ("data.validation", &files)];
        let sets = files.iter().chain(sets).map(|&(key, value)| (key.into(), value.into()));
        Dataset::load(&Config::parse("", &sets.collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn a_vocabulary_without_ordinary_tokens_names_the_key() {
        let frequency = [("data.min_frequency", "3")];
        let vectors = [("data.source_kind", "vectors"), frequency[0]];
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
        let rows: [Row<'_>; 6] = [
            ("a a b", "c c c", &frequency, "data.min_frequency: is 3; no source token"),
            ("a a a", "b c c", &frequency, "data.min_frequency: is 3; no target token"),
            ("1,2 3,4", "b c c", &vectors, "data.min_frequency: is 3; no target token"),
            ("<pad>", "a", &[], "data.train: has no source token"),
            ("a", "<eos> <unk>", &[], "data.train: has no target token"),
            ("a a a", "b b b", &frequency, ""),
        ];
        for (sources, targets, sets, start) in rows {
            let found =
                load(sources, targets, sets).map_or_else(|error| error.to_string(), |_| "".into());
            assert_eq!(found.is_empty(), start.is_empty(), "{sources:?} {targets:?}: {found}");
            assert!(found.starts_with(start), "{sources:?} {targets:?}: {found}");
        }
    }

    #[test]
    fn what_is_left_out_is_said_with_its_reason() {
        let sets = [("data.max_length", "3"), ("data.max_ratio", "2")];
        let data = load("a\na b c d\na b c d\na\na b c\n", "a\na\na b c\na b c d\na\n", &sets);
        let expected = [
            "2 training pairs with a source longer than data.max_length left out",
            "1 training pairs with a target longer than data.max_length left out",
            "1 training pairs with lengths further apart than data.max_ratio left out",
        ];
        assert_eq!(data.unwrap().notes, expected);
    }
}
