//! The subcommands, one file each.

pub mod completions;
pub mod demo;
pub mod eval;
pub mod gradcheck;
pub mod inspect;
pub mod plot;
pub mod tasks;
pub mod train;
pub mod translate;
