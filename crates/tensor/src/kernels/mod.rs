//! Kernels: pure functions on arrays and slices, without a tape in sight.
//!
//! Each has a naive variant, which is its specification and runs over every [`Real`](crate::Real),
//! and maybe fast ones. Which is used is the [`Context`](crate::Context)'s choice.

pub mod dropout;
pub mod matmul;
pub mod pointwise;
pub mod reduce;
pub mod rows;
pub mod softmax;
