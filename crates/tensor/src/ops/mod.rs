//! The ops: one file a family, each op with its forward and its backward pass beneath each other.
//!
//! Each op is a public struct and a method of [`Var`](crate::Var); each has at least one row in
//! [`cases`](crate::cases). Masks, indices, axes and rates are data of the op, not inputs.

pub mod arithmetic;
pub mod cross_entropy;
pub mod dropout;
pub mod index;
pub mod layer_norm;
pub mod mask;
pub mod matmul;
pub mod reduce;
pub mod shape;
pub mod softmax;
pub mod unary;
