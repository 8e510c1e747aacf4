//! A training step recorded node by node, forward and backward: what to look at when one wants to
//! understand backpropagation, or to see where a gradient comes from.
//!
//! - [`Recorder`] watches a tape, yours or a model's, and makes a [`Trace`] of it.
//! - [`Trace`] has every value, every gradient and every contribution to it, the order in which to
//!   walk, and a check beside each gradient. A fused op opens into a trace of simpler ones.
//! - [`Explanation`] says of each op what it is: formulas in a [`notation`] that is shown as
//!   text or as MathML, and the lines of source that compute it.
//! - [`lessons`] are small computations with a text each; [`expression`] reads one of your own.
//! - [`model`] traces a trained model on a sentence.
//! - [`graph`] lays out what a trace computes, for pictures and for Graphviz.
//!
//! A trace is serialised by serde; `docs/trace.md` in the repository describes the JSON.

#![deny(missing_docs)]

pub mod array;
mod backward;
pub mod check;
pub mod element;
pub mod error;
pub mod explain;
pub mod expression;
pub mod graph;
pub mod lessons;
mod live;
pub mod model;
pub mod notation;
mod open;
pub mod progress;
pub mod recorder;
pub mod replay;
mod settings;
pub mod source;
mod summary;
mod text;
pub mod trace;
pub mod update;
mod verify;

pub use array::{Array, Limits};
pub use check::Extent;
pub use element::ElementCheck;
pub use error::{Result, TraceError};
pub use explain::{Explanation, explanation};
pub use notation::{Formula, NotationError};
pub use progress::Watcher;
pub use recorder::{Recorder, Settings};
pub use trace::{Check, Contribution, Node, Opened, Origin, Step, Trace, Value, Verdict};
pub use update::UpdateRule;
