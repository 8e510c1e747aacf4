//! What can go wrong in a model.

/// The result of everything in this crate that can fail.
pub type Result<X, E = ModelError> = std::result::Result<X, E>;

/// A model could not be made or run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A key of the configuration has an impossible value.
    #[error("model.{key}: {problem}")]
    Config {
        /// The key, below `model`.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// The model was given something that it does not take.
    #[error("{0}")]
    Input(String),
    /// A layer or op failed.
    #[error(transparent)]
    Layer(#[from] unspool_layers::Error),
}
