//! What is measured: some work on operands of its own, which knows what its answer should be.

use std::fmt;

use serde::{Deserialize, Serialize};
use unspool_tensor::Context;
use unspool_tensor::random::Key;

use crate::machine::{Evictor, NumberType};
use crate::measure::time;

/// Work that can be measured. [`Product`](crate::Product) and [`Function`](crate::Function) are;
/// implement it to measure what neither fits.
///
/// The harness trusts no kernel. It gives fresh inputs in the same memory and looks at the whole
/// answer, twice before timing and once after; while it times, it changes an input before each run
/// and looks at a part of the answer that depends on it after each sample; and it sees whether a
/// run on inputs that are all other than those before takes longer than one where a number is.
pub trait Workload: Send {
    /// What it is called in tables and baselines.
    fn identity(&self) -> Identity;

    /// How much work a run is.
    fn cost(&self) -> Cost;

    /// The kernels and threads that it runs with.
    fn context(&self) -> &Context;

    /// Fills the inputs with numbers of the key, in the memory where they are, and the outputs with
    /// NaN.
    fn renew(&mut self, key: Key);

    /// Changes one number of the inputs, so that an old answer is a wrong one. This is timed with
    /// the run: it takes nanoseconds.
    fn touch(&mut self, count: u64);

    /// Writes every number of the inputs where it is: again, or, when they are to `change`, another
    /// one of the same kind. Both leave the same memory in the caches.
    fn rewrite(&mut self, change: bool);

    /// Runs the kernel once.
    fn run(&mut self);

    /// Holds the whole answer to the error bound, and returns the largest error as a share of its
    /// bound.
    ///
    /// # Errors
    /// An error is larger than its bound, or not a number.
    fn verify(&mut self) -> Result<f64, Wrong>;

    /// The same of a part of the answer that the last [`touch`](Workload::touch) has changed, at
    /// about the cost of a run.
    ///
    /// # Errors
    /// Those of [`verify`](Workload::verify).
    fn verify_touched(&mut self) -> Result<f64, Wrong> {
        self.verify()
    }

    /// Moves inputs and outputs to other memory, numbers and all: how fast a kernel is depends on
    /// which lines of a cache its operands share, and no kernel shall have the better place.
    fn relocate(&mut self);

    /// Takes inputs and outputs out of the caches.
    fn evict(&self, evictor: &Evictor);
}

/// What work is called. Two measurements of the same identity can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// What is computed: `forward, packed`, `exp`.
    pub kernel: String,
    /// By which variant: `avx512`.
    pub variant: String,
    /// Of what shape: `64x640x1024`.
    pub shape: String,
    /// In which numbers.
    pub number: String,
    /// By how many threads.
    pub threads: usize,
}

impl Identity {
    /// The identity of work in these numbers, with the threads of the context.
    pub fn new(
        kernel: impl Into<String>,
        variant: impl Into<String>,
        shape: impl Into<String>,
        number: NumberType,
        context: &Context,
    ) -> Self {
        Identity {
            kernel: kernel.into(),
            variant: variant.into(),
            shape: shape.into(),
            number: number.name().into(),
            threads: context.threads(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { kernel, variant, shape, number, threads } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        write!(f, "{variant}: {kernel} {shape} {number}, {threads} thread{plural}")
    }
}

/// How much work a run is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// What is counted.
    pub work: Work,
    /// How many of them.
    pub amount: f64,
    /// How many bytes are read and written at least: each input and output once.
    pub bytes: f64,
}

impl Cost {
    /// Operations for each byte: the arithmetic intensity of the roofline.
    pub fn intensity(&self) -> f64 {
        self.amount / self.bytes
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Floating-point operations; a multiply-add is two.
    Operations,
    /// Numbers of the output, where nobody agrees on the operations: `exp`, softmax.
    Numbers,
}

impl Work {
    /// A thousand million of them a second.
    pub fn unit(self) -> &'static str {
        match self {
            Work::Operations => "GFLOP/s",
            Work::Numbers => "Gnum/s",
        }
    }
}

/// What is wrong with a kernel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Wrong {
    /// A number of its answer.
    #[error("{found:e} at {place:?} is not {expected:e} ± {bound:.1e}")]
    Number {
        /// Which number.
        place: Vec<usize>,
        /// What the kernel says.
        found: f64,
        /// What it should be.
        expected: f64,
        /// How far off it may be.
        bound: f64,
    },
    /// It computes only what has changed since it was last called, so that its time is not that of
    /// the work.
    #[error(
        "{} on inputs that are all new, {} on those of which one number is: it keeps answers",
        time(*new), time(*known)
    )]
    Shortcut {
        /// The seconds of a run on inputs that are all other than those before.
        new: f64,
        /// The seconds of a run on inputs of which one number is.
        known: f64,
    },
}

/// A number as it should be, and how far off it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The number.
    pub value: f64,
    /// How far off it may be.
    pub bound: f64,
}

impl Expected {
    /// The error of a number as a share of the bound.
    ///
    /// # Errors
    /// It is more than the bound; NaN always is, unless it is expected.
    pub fn hold(self, found: f64, place: impl FnOnce() -> Vec<usize>) -> Result<f64, Wrong> {
        let Expected { value, bound } = self;
        if found == value || (found.is_nan() && value.is_nan()) {
            return Ok(0.0);
        }
        let error = (found - value).abs();
        // Written so that NaN is no pass.
        match error.is_finite() && error <= bound {
            true => Ok(error / bound),
            false => Err(Wrong::Number { place: place(), found, expected: value, bound }),
        }
    }
}

/// The error that every order of summation keeps: `γ_n = n·u / (1 - n·u)` with `u` half the
/// distance from 1 to the next number (Higham, *Accuracy and Stability of Numerical Algorithms*,
/// 2nd edition, §3.1 and §3.5).
pub fn gamma(terms: usize, epsilon: f64) -> f64 {
    let rounded = terms as f64 * epsilon / 2.0;
    rounded / (1.0 - rounded).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_within_the_bound_passes() {
        let expected = |value, bound| Expected { value, bound };
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        for (expected, found, result) in [
            (expected(1.0, 0.5), 1.25, Some(0.5)),
            (expected(1.0, 0.0), 1.0, Some(0.0)),
            (expected(1.0, 0.5), 1.75, None),
            (expected(1.0, 0.5), nan, None),
            (expected(1.0, 0.5), infinity, None),
            (expected(0.0, 0.0), 1e-300, None),
            (expected(nan, 0.5), nan, Some(0.0)),
            (expected(nan, 0.5), 1.0, None),
            (expected(infinity, 0.5), infinity, Some(0.0)),
            (expected(infinity, infinity), 1.0, None),
            (expected(1.0, nan), 2.0, None),
        ] {
            assert_eq!(expected.hold(found, Vec::new).ok(), result, "{expected:?} {found}");
        }
    }

    #[test]
    fn gamma_grows_to_infinity() {
        assert_eq!(gamma(0, 1.0), 0.0);
        assert_eq!(gamma(2, 0.5), 1.0);
        assert_eq!(gamma(3, 1.0), f64::INFINITY);
    }
}
