//! What can go wrong.

use std::path::PathBuf;

use crate::key::NAMED;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A computation could not be run.
    #[error(transparent)]
    Trace(#[from] unspool_trace::TraceError),
    /// There is nothing to walk through.
    #[error("there is nothing to walk through: no node was recorded")]
    Empty,
    /// A script has a word that is no key.
    #[error(
        "line {line}, column {column}: {word:?} is no key: a key is a character, or one of {}; text to \
         type stands in double quotes",
        NAMED.map(|(name, _)| name).join(", ")
    )]
    Script {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// The word.
        word: String,
    },
    /// There is no such exercise.
    #[error("there is no exercise {name:?}; there are {known}")]
    Exercise {
        /// What was asked for.
        name: String,
        /// All there are.
        known: String,
    },
    /// A file of an exercise is there already.
    #[error("{} is there already and is left as it is: give another folder with --out", .0.display())]
    Exists(PathBuf),
    /// The source that an exercise depends on is not there.
    #[error(
        "there is no crates/tensor/Cargo.toml in {}: give the folder of Unspool's source with --unspool PATH",
        .0.display()
    )]
    NoSource(PathBuf),
    /// A file could not be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A result with this crate's error.
pub type Result<T, E = StepError> = std::result::Result<T, E>;
