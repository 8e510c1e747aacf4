//! Reverse-mode automatic differentiation over ndarray, with every backward pass written by hand.
//!
//! - [`Tape`] records ops as they run; [`Var`] is a handle to a value on it.
//! - [`Op`] is an op's forward and backward pass, side by side. [`ops`] has those of this crate;
//!   yours are as good ([`Op`] shows one).
//! - [`Tape::backward`] scans the tape from its end and gives [`Grads`].
//! - [`kernels`] are the pure functions on arrays beneath: naive ones as the specification, and
//!   fast ones.
//! - [`gradcheck`] compares backward passes with finite differences, with [`Dual`] numbers and with
//!   composed twins; [`cases`] is the table of what is checked.
//! - [`shape`] has broadcasting and its reverse; [`random`] numbers that are functions of a key;
//!   [`observe`] what a watcher of a tape is told; [`sources`] the text of the ops' own code.
//!
//! Everything is generic over [`Real`]: `f32`, `f64`, and dual numbers.

pub mod buffers;
pub mod cases;
mod context;
pub mod double_double;
pub mod error;
pub mod gradcheck;
pub mod gradient;
pub mod grads;
pub mod kernels;
pub mod memory;
pub mod observe;
pub mod op;
pub mod ops;
pub mod params;
pub mod random;
pub mod real;
pub mod rounded;
pub mod shape;
pub mod sources;
pub mod tape;
mod threads;

pub use context::Context;
pub use double_double::DoubleDouble;
pub use error::{Error, Result};
pub use gradient::{Gradient, RowGradient};
pub use grads::{Contribution, GradSink, Grads, OutputGrads};
pub use kernels::Kernels;
pub use op::Op;
pub use params::{ParamId, ParamStore};
pub use real::{Dual, Real};
pub use rounded::Rounded;
pub use tape::{BackwardMode, Tape, Var};

/// An array on a tape: dynamic dimension, shared ownership, copied when written to while shared.
pub type Tensor<T> = ndarray::ArcArray<T, ndarray::IxDyn>;
