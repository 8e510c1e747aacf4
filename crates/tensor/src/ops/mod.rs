//! The ops: one file a family, each op with its forward and its backward pass beneath each other.
//!
//! Each op is a public struct and a method of [`Var`](crate::Var); each has at least one row in
//! [`cases`](crate::cases).

pub mod arithmetic;
pub mod matmul;
pub mod reduce;
pub mod unary;
