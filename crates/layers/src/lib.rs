//! Layers of sequence-to-sequence models with explicit backward passes.
//!
//! A layer is a struct of sizes and [`ParamId`]s; its values live in a [`ParamStore`] and are bound
//! to a tape for the length of a step through [`Bound`]. What it computes is an
//! [`Op`](unspool_tensor::Op) whose forward, saved state and backward stand in one file, next to
//! its *composed twin*: the same function out of primitive ops.
//!
//! Letters of shapes: `T` time, `B` batch, `S` source length, `H` hidden, `E` embedding, `V`
//! vocabulary, `A` attention.

pub mod attention;
pub mod bound;
pub mod dropout;
pub mod embedding;
pub mod init;
pub mod linear;
pub mod linear_cross_entropy;
pub mod recurrent;

pub use bound::Bound;
pub use unspool_tensor::{Error, ParamId, ParamStore, Result};

/// The files of this crate with the passes of its ops.
pub const SOURCES: &[unspool_tensor::sources::SourceFile] = unspool_tensor::source_files!("crates/layers/src/":
    "attention/additive.rs",
    "attention/dot.rs",
    "attention/rows.rs",
    "embedding.rs",
    "linear.rs",
    "linear_cross_entropy.rs",
    "recurrent/gru.rs",
    "recurrent/lstm.rs",
    "recurrent/rnn.rs",
    "recurrent/sequence.rs",
    "recurrent/step.rs",
    "recurrent/through_time.rs",
);

/// The cases of this crate's ops.
pub fn cases() -> Vec<unspool_tensor::cases::Case> {
    let mut cases = Vec::new();
    cases.extend(linear::cases());
    cases.extend(linear_cross_entropy::cases());
    cases.extend(embedding::cases());
    cases.extend(attention::cases());
    cases.extend(recurrent::cases());
    cases
}
