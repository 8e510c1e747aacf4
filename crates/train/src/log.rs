//! The log of a training: one JSON object a line.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

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
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// `exp(loss)`; in the file `null` when that is too large for a number.
    #[serde(deserialize_with = "number")]
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

/// A number; JSON has only `null` for those that are not finite.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A log that is being written, by one process alone.
#[derive(Debug)]
pub struct Log {
    file: File,
    length: u64,
}

impl Log {
    /// Opens a log, or makes an empty one. What is in it stays.
    ///
    /// While it is open, no other process has it, nor the folder that it stands in: whoever writes
    /// into a run's folder opens the log first.
    ///
    /// # Errors
    /// Those of the file system, and [`io::ErrorKind::ResourceBusy`] when another process has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        // The lock ends with the process, however that ends. Not every file system has locks.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let problem = "another process is training in this folder";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, problem));
        }
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Log { file, length })
    }

    /// Cuts it back to `length` bytes, if it is longer: what came after belongs to updates that a
    /// resumed training makes again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn cut_back(&mut self, length: u64) -> io::Result<()> {
        if length < self.length {
            self.file.set_len(length)?;
            self.length = self.file.seek(SeekFrom::End(0))?;
        }
        Ok(())
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
/// The file cannot be read, a line is not a record, or there is no whole line.
pub fn read_log(path: &Path) -> Result<Vec<Record>, LogError> {
    let bytes = std::fs::read(path).map_err(LogError::Read)?;
    let end = bytes.iter().rposition(|&byte| byte == b'\n').ok_or(LogError::Empty)?;
    (bytes[..end].split(|&byte| byte == b'\n').enumerate())
        .map(|(index, line)| {
            serde_json::from_slice(line)
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
    /// There is no record in it.
    #[error("no line of a training log is in it yet")]
    Empty,
    /// A line is not a record.
    #[error("line {line} is not a record of a training log: {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}
