//! What can go wrong: [`DecodeError`] and its parts.

use thiserror::Error;

use crate::Token;

/// Why a search gave no result; `E` is the model's own error.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum DecodeError<E> {
    /// An option that makes no sense; found before the model is asked anything.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The model broke the contract of [`StepModel::step`](crate::StepModel::step).
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The model reported an error.
    #[error(transparent)]
    Model(E),
    /// The source of uniform numbers gave one outside `[0, 1)`.
    #[error("the uniform number of sentence {sentence}, step {step} is {value}, outside [0, 1)")]
    Uniform {
        /// The sentence in the batch.
        sentence: usize,
        /// How many tokens the sentence had.
        step: usize,
        /// The number given.
        value: f64,
    },
}

/// An option that makes no sense.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SettingError {
    /// The beginning or end of sequence is not a token of the model.
    #[error("the {name} token {token} is not in the vocabulary of {vocabulary}")]
    SpecialToken {
        /// Which: "beginning-of-sequence" or "end-of-sequence".
        name: &'static str,
        /// The token.
        token: Token,
        /// The size of the model's vocabulary.
        vocabulary: usize,
    },
    /// The end of sequence could never come: it needs a place after the fewest tokens.
    #[error(
        "sentence {sentence}: the maximum length {max_length}, which counts the end of sequence, \
         must be greater than the minimum length {min_length}"
    )]
    Lengths {
        /// The sentence in the batch.
        sentence: usize,
        /// The fewest tokens before the end of sequence.
        min_length: usize,
        /// The most tokens, the end of sequence included.
        max_length: usize,
    },
    /// A beam without slots.
    #[error("the beam size must be at least 1")]
    BeamSize,
    /// More hypotheses asked for than the beam holds, or none.
    #[error("the number of best hypotheses must be from 1 to the beam size {size}, not {n_best}")]
    NBest {
        /// The number asked for.
        n_best: usize,
        /// The beam size.
        size: usize,
    },
    /// An exponent of the length penalty that is negative or not finite.
    #[error("the exponent of the length penalty must be finite and at least 0, not {0}")]
    LengthPenalty(f64),
    /// A temperature that is not a positive number.
    #[error("the temperature must be finite and greater than 0, not {0}")]
    Temperature(f64),
    /// A choice among no tokens.
    #[error("top-k must keep at least 1 token")]
    TopK,
    /// A nucleus that is no share of the probability.
    #[error("top-p must be greater than 0 and at most 1, not {0}")]
    TopP(f64),
    /// An ensemble of no models.
    #[error("an ensemble needs at least one model")]
    NoMembers,
    /// Models that speak of different tokens.
    #[error("member {member} of the ensemble has a vocabulary of {found}, the first of {expected}")]
    Vocabularies {
        /// Which model.
        member: usize,
        /// The first model's vocabulary.
        expected: usize,
        /// This model's vocabulary.
        found: usize,
    },
    /// A weight of an ensemble that is not a positive number, or vanishes beside the others.
    #[error("the weight of member {member} must be finite and greater than 0, not {weight}")]
    Weight {
        /// Which model.
        member: usize,
        /// Its weight.
        weight: f64,
    },
}

/// How a model broke the contract of [`StepModel::step`](crate::StepModel::step).
#[derive(Clone, Debug, Error, PartialEq)]
pub enum OutputError {
    /// Not one row of log-probabilities for each token.
    #[error("the model gave {found} rows of log-probabilities for {expected} tokens")]
    Rows {
        /// The number of tokens fed.
        expected: usize,
        /// The number of rows found.
        found: usize,
    },
    /// Attention, but not one row for each token.
    #[error("the model gave {found} rows of attention for {expected} tokens")]
    AttentionRows {
        /// The number of tokens fed.
        expected: usize,
        /// The number of rows found.
        found: usize,
    },
    /// A row that leaves out tokens of the vocabulary.
    #[error("row {row} has {found} log-probabilities, the vocabulary {vocabulary} tokens")]
    Width {
        /// The row of the batch.
        row: usize,
        /// The size of the vocabulary.
        vocabulary: usize,
        /// The width of the row.
        found: usize,
    },
    /// A log-probability that is none: not a number, or clearly above 0.
    #[error(
        "the log-probability of token {token} in row {row} (sentence {sentence}, step {step}) \
         is {value}"
    )]
    LogProb {
        /// The row of the batch.
        row: usize,
        /// The sentence that the row belongs to.
        sentence: usize,
        /// How many tokens the row had.
        step: usize,
        /// The token.
        token: usize,
        /// What the model gave.
        value: f32,
    },
}
