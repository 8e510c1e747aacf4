//! What can go wrong.

use unspool_seq2seq::ModelError;

use crate::expression::ExpressionError;

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Of an op or of the tape.
    #[error(transparent)]
    Tensor(#[from] unspool_tensor::Error),
    /// Of a model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Of an expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// There is no such lesson.
    #[error("there is no lesson {name:?}; there are {known}")]
    Lesson {
        /// What was asked for.
        name: String,
        /// All there are.
        known: String,
    },
    /// There is no such slot.
    #[error("there is no value {slot}")]
    NoSlot {
        /// Its number.
        slot: usize,
    },
    /// A value has no such number.
    #[error("value {slot} has no number {element}")]
    NoElement {
        /// The value's slot.
        slot: usize,
        /// The number's place.
        element: usize,
    },
    /// A trace that was read from a file has numbers, but nothing to run again.
    #[error("this trace was read from a file: there is nothing to run again")]
    NotLive,
}

/// A result with this crate's error.
pub type Result<T, E = TraceError> = std::result::Result<T, E>;
