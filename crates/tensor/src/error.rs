//! What can go wrong on a tape: always named with the op and the shapes involved.

use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<X, E = Error> = std::result::Result<X, E>;

/// An op could not run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two arrays do not fit together.
    #[error("{op}: shapes {} and {} {problem}", Shape(.left), Shape(.right))]
    Shapes {
        /// The op's name.
        op: String,
        /// The first array's shape.
        left: Vec<usize>,
        /// The second array's shape.
        right: Vec<usize>,
        /// Why they do not fit.
        problem: &'static str,
    },
    /// One array does not fit the op.
    #[error("{op}: shape {} {problem}", Shape(.shape))]
    Shape {
        /// The op's name.
        op: String,
        /// The array's shape.
        shape: Vec<usize>,
        /// Why it does not fit.
        problem: String,
    },
    /// An op was given a wrong number of inputs, or asked for a wrong number of outputs.
    #[error("{op}: {expected} {what} expected, {found} found")]
    Count {
        /// The op's name.
        op: String,
        /// "inputs" or "outputs".
        what: &'static str,
        /// How many the op has.
        expected: usize,
        /// How many it was given.
        found: usize,
    },
    /// An op's own data is wrong: an index out of range, a rate outside [0, 1).
    #[error("{op}: {problem}")]
    Invalid {
        /// The op's name.
        op: String,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    /// Two shapes that do not fit together.
    pub fn shapes(op: &str, left: &[usize], right: &[usize], problem: &'static str) -> Self {
        Error::Shapes { op: op.into(), left: left.into(), right: right.into(), problem }
    }

    /// One shape that does not fit the op.
    pub fn shape(op: &str, shape: &[usize], problem: impl Into<String>) -> Self {
        Error::Shape { op: op.into(), shape: shape.into(), problem: problem.into() }
    }

    /// The op's own data is wrong.
    pub fn invalid(op: &str, problem: impl Into<String>) -> Self {
        Error::Invalid { op: op.into(), problem: problem.into() }
    }
}

/// Writes a shape as `[3, 4]`.
struct Shape<'a>(&'a [usize]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
