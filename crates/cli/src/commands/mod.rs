//! The subcommands, one file each, and in `search` the options that two of them share.

pub mod bench;
pub mod completions;
pub mod demo;
pub mod eval;
pub mod gradcheck;
pub mod inspect;
pub mod kernels;
pub mod plot;
pub mod search;
pub mod tasks;
pub mod trace;
pub mod train;
pub mod translate;
