//! The log of a training: one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// One update.
    Update(Update),
    /// One validation.
    Validation(Validation),
}

/// What an update was like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// How many updates there have been.
    pub update: u64,
    /// The epoch, from 1.
    pub epoch: u64,
    /// The training loss per token.
    pub loss: f64,
    /// The global norm of the gradients, before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The share of true tokens that the decoder read.
    pub teacher_forcing: f64,
    /// The target tokens of the update.
    pub tokens: u64,
}

/// What a validation found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// How many updates there have been.
    pub update: u64,
    /// The epoch, from 1.
    pub epoch: u64,
    /// The teacher-forced loss per token.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// The share of tokens predicted right under teacher forcing.
    pub token_accuracy: f64,
    /// The share of sequences that greedy output gets right.
    pub sequence_accuracy: f64,
    /// The BLEU of greedy output.
    pub bleu: f64,
    /// Whether it is the best so far.
    pub best: bool,
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    file: File,
    length: u64,
}

impl Log {
    /// Opens a log, and cuts it back to `length` bytes: what came after belongs to updates that a resumed
    /// training makes again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path, length: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let length = length.min(file.metadata()?.len());
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Log { file, length })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// How long it is, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Makes sure that it is on disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads a log; the error names the line.
///
/// A last line without its end is left out: a training that is writing, or was killed.
///
/// # Errors
/// The file cannot be read, or a line is not a record.
pub fn read_log(path: &Path) -> Result<Vec<Record>, LogError> {
    let text = std::fs::read_to_string(path).map_err(LogError::Read)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    (whole.lines().enumerate())
        .map(|(index, line)| {
            serde_json::from_str(line)
                .map_err(|error| LogError::Line { line: index + 1, problem: error.to_string() })
        })
        .collect()
}

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system failed.
    #[error("{0}")]
    Read(io::Error),
    /// A line is not a record.
    #[error("line {line} is not a record of a training log: {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}
