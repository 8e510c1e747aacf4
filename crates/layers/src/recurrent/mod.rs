//! Recurrent layers: the plain RNN, LSTM and GRU.
//!
//! - [`rnn`], [`lstm`] and [`gru`] have each cell's arithmetic, forward and backward beneath each other.
//! - [`through_time`] runs any cell over the steps of a batch, and backwards.
//! - [`step`] and [`sequence`] make ops of it: one step, or a whole sequence.
//! - [`composed`] has the same functions out of primitive ops.
//! - [`layer`] stacks sequences: several layers, two directions, dropout in between.
//!
//! Weights have PyTorch's layout and order of gates, so they move between the two.

pub mod cell;
pub mod gru;
pub mod lstm;
pub mod packing;
pub mod rnn;
pub mod sequence;
pub mod step;
pub mod through_time;

pub use cell::{Cell, CellKind};
pub use gru::Gru;
pub use lstm::Lstm;
pub use packing::Packing;
pub use rnn::Rnn;
pub use sequence::Sequence;
pub use step::CellStep;

/// The cases of this module.
pub fn cases() -> Vec<unspool_tensor::cases::Case> {
    Vec::new()
}
