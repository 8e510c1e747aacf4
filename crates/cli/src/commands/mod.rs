//! The subcommands, one file each; `search` and `subject` hold the options that several share.

pub mod bench;
pub mod completions;
pub mod demo;
pub mod draw;
pub mod eval;
pub mod gradcheck;
pub mod inspect;
pub mod kernels;
pub mod plot;
pub mod search;
pub mod step;
pub mod subject;
pub mod tasks;
pub mod trace;
pub mod train;
pub mod translate;
mod update;
