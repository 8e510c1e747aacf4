//! Training encoder-decoder models: data, optimisers, trainer, checkpoints and metrics.
//!
//! - [`config`] is the one TOML file that describes model, data and training.
//! - [`data`] reads parallel text and vectors and plans batches; [`tasks`] makes built-in corpora;
//!   [`dataset`] turns either into examples.
//! - [`trainer`] makes updates from batches, with [`gradients`], [`optimiser`] and [`schedule`], validates by
//!   [`evaluate`], and keeps a [`log`] and [`checkpoint`]s that it resumes from.
//! - [`metrics`] has BLEU, accuracy and perplexity.

pub mod checkpoint;
pub mod config;
pub mod data;
pub mod dataset;
pub mod evaluate;
pub mod gradients;
pub mod log;
pub mod metrics;
pub mod optimiser;
pub mod schedule;
pub mod tasks;
pub mod trainer;
