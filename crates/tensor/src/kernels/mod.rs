//! Kernels: pure functions on arrays and slices, without a tape in sight.
//!
//! The matrix product ([`matmul`]), the row operations of softmax, attention and embedding ([`rows`]),
//! the pointwise part of a recurrent cell ([`cells`]), and `exp`, `tanh` and the logistic function have
//! a naive variant, which is the specification and runs over every [`Real`](crate::Real), and fast
//! ones: the [`Kernels`] of a [`Context`](crate::Context) say which. The first three are traits, for a
//! kernel of one's own. The others have one variant, written so that compilers vectorise it
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
