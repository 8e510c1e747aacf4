//! Encoder-decoder models: configuration, vocabulary, batches, training loss and inference.
//!
//! - [`ModelConfig`] says how a model is built; [`Seq2Seq`] is one, with its parameters.
//! - [`vocabulary`] numbers words or characters; [`batch`] pads sentences and puts them side by
//!   side.
//! - [`Seq2Seq::training_loss`] runs [`encoder`], [`bridge`] and [`decoder`] on a tape.
//! - [`Seq2Seq::encode`] and the [`StepModel`](unspool_decode::StepModel) that a model is run them
//!   without one, by the same code, for the searches of `unspool-decode`.

pub mod batch;
pub mod bridge;
pub mod config;
pub mod decoder;
pub mod encoder;
pub mod error;
pub mod gradcheck;
pub mod inference;
pub mod model;
pub mod statistics;
pub mod translate;
pub mod vocabulary;

pub use config::ModelConfig;
pub use decoder::TeacherForcing;
pub use error::{ModelError, Result};
pub use model::{LossOptions, Seq2Seq, SourceSide};
pub use statistics::Statistics;
pub use translate::{Limits, Strategy, Translator};

/// The files of this crate with the passes of its op.
pub const SOURCES: &[unspool_tensor::sources::SourceFile] = unspool_tensor::source_files!("crates/seq2seq/src/":
    "decoder/steps.rs",
    "decoder/through_time.rs",
);
