//! Training data: reading files, leaving out what is too long, and planning batches.

pub mod batches;
pub mod filter;
pub mod read;
pub mod vectors;

/// The lengths of an example in tokens, or in frames where the source is vectors.
///
/// Whether the ends of sentences are counted is up to whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lengths {
    /// Of the source.
    pub source: usize,
    /// Of the target.
    pub target: usize,
}
