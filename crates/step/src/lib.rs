//! A full-screen terminal program that steps through a recorded training step.
//!
//! [`App`] is the whole state: keys go in, a screen comes out of [`views::draw`]. It reads no
//! terminal, no clock and no file, so that [`script`] runs it as well as a person does.
//!
//! - [`walk`] moves: steps, opened nodes, jumps, search, breakpoints.
//! - [`what_if`] changes a number and runs again; [`check`] takes a difference quotient on demand;
//!   [`quiz`] hides gradients until they are guessed.
//! - [`exercise`] makes a small crate whose backward pass the reader writes.

#![deny(missing_docs)]

pub mod app;
pub mod check;
pub mod error;
pub mod exercise;
pub mod key;
pub mod look;
mod prompt;
pub mod quiz;
pub mod script;
pub mod views;
pub mod walk;
pub mod what_if;

pub use app::{App, Options, Screen};
pub use error::{Result, StepError};
pub use key::Key;
