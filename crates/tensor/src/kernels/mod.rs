//! Kernels: pure functions on arrays and slices, without a tape in sight.
//!
//! The matrix product, and `exp`, `tanh` and the logistic function, have a naive variant, which is
//! the specification and runs over every [`Real`](crate::Real), and fast ones: the [`Kernels`] of a
//! [`Context`](crate::Context) say which. The pointwise part of a recurrent cell can be replaced
//! ([`cells`]). The others have one variant, written so that compilers vectorise it
//! ([`vectorised!`](crate::vectorised)).

pub mod cells;
pub mod cross_entropy;
pub mod dropout;
pub mod matmul;
pub mod pointwise;
pub mod reduce;
pub mod registry;
pub mod rows;
pub mod softmax;
pub mod vectorised;
pub mod weights;

pub use registry::{Kernels, Listed};
