//! A full-screen terminal program that steps through a recorded training step.
//!
//! [`App`] is the whole state: keys go in, a screen comes out of [`views::draw`]. It reads no
//! terminal, no clock and no file, so that [`script`] runs it as well as a person does.
//!
//! - [`walk`] moves: steps, opened nodes, jumps, search, breakpoints.
//! - [`what_if`] changes a number and runs again; [`check`] takes a difference quotient on demand;
//!   [`quiz`] hides gradients until they are guessed.
//! - [`names`] says what a node calls a value beside what the lesson calls it.
//! - [`exercise`] makes a small crate whose backward pass the reader writes.

#![deny(missing_docs)]

pub mod app;
pub mod check;
pub mod error;
pub mod exercise;
mod hint;
pub mod key;
pub mod look;
pub mod names;
mod prompt;
pub mod quiz;
pub mod script;
pub mod views;
pub mod walk;
pub mod what_if;

pub use app::{App, Options, Screen};
pub use error::{Result, StepError};
pub use key::Key;
