//! Data, optimisers, trainer, checkpoints and metrics for encoder-decoder models.

pub mod data;
pub mod metrics;
pub mod tasks;
