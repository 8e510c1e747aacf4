//! The gradient checker: is a backward pass right, where is it wrong, by how much, and how sure is
//! that?
//!
//! [`check()`] takes anything with a forward and a backward pass over named arrays (a [`Subject`]):
//! an op of yours or ours ([`OpSubject`]), or two closures over plain slices ([`Function`]). Every
//! element, or a sample of them and random directions through all, is held against a numeric
//! derivative that comes with a bound of its own error ([`numeric`]). So there are three verdicts:
//! an element *passes*, it *fails*, or it is *undecided*, at a kink or in noise, and never counted
//! as a pass. Where an op also runs over [dual numbers](crate::Dual), these are a second oracle.
//!
//! Beside numbers, a check looks for a forward pass that gives other numbers when run again, leaves
//! elements unwritten or changes its inputs; and for a backward pass that forgets an input, assigns
//! where it must add, gives a wrong shape, or lets padding through. See [`Fault`].
//!
//! - [`check_single`] holds the `f32` code of an op against its `f64` code, within a derived bound.
//! - [`nodes::check_nodes`] does the same for every node of a recorded tape.
//! - [`shrink::shrink`] makes a failure small, and [`shrink::Smallest::regression_test`] a test of it.
//! - [`assert_gradients!`](crate::assert_gradients) is all of it in one line of a test.
//! - [`jacobians`] puts all derivatives of small shapes side by side.
//! - [`twin::check_twin`] compares a fused op with its composed twin.

pub mod check;
pub mod files;
pub mod function;
pub mod jacobian;
pub mod nodes;
pub mod numeric;
pub mod report;
pub mod shrink;
pub mod single;
pub mod subject;
pub mod twin;

pub use check::{Settings, check, check_at};
pub use files::compare_gradients;
pub use function::Function;
pub use jacobian::{Jacobian, jacobians};
pub use numeric::Doubt;
pub use report::{ArrayReport, Element, Fault, Report, Verdict};
pub use single::check_single;
pub use subject::{Argument, OpSubject, Subject};
pub use twin::{check_twin, distance};

use crate::cases::Case;
use crate::random::Key;

/// Checks a case of the table at random inputs, which the seed determines.
pub fn check_case(case: &Case, settings: &Settings) -> Report {
    check(&OpSubject::of_case(case, Key::new(settings.seed)), settings)
}

/// Asserts that the gradients of a [`Subject`](crate::gradcheck::Subject) are right; undecided is not.
///
/// On failure the panic shows the whole report, and the smallest failure that could be found as a
/// test in Rust, with the subject as it is written here: where its names are in scope, the test
/// compiles as it stands, and passes once the fault is mended.
///
/// ```
/// use unspool_tensor::gradcheck::Function;
///
/// # fn main() {
/// unspool_tensor::assert_gradients!(
///     Function::new("cube")
///         .size("N", 4)
///         .input("x", "N")
///         .output("N")
///         .forward(|_, x, y| (0..x[0].len()).for_each(|i| y[0][i] = x[0][i].powi(3)))
///         .backward(|_, x, d_y, d_x| {
///             (0..x[0].len()).for_each(|i| d_x[0][i] += 3.0 * x[0][i].powi(2) * d_y[0][i])
///         })
/// );
/// # }
/// ```
#[macro_export]
macro_rules! assert_gradients {
    ($subject:expr $(,)?) => {
        $crate::assert_gradients!($subject, $crate::gradcheck::Settings::default())
    };
    ($subject:expr, $settings:expr $(,)?) => {{
        let (subject, settings) = (&$subject, &$settings);
        let report = $crate::gradcheck::check(subject, settings);
        if !report.passes() {
            let smallest = $crate::gradcheck::shrink::shrink(subject, settings);
            let test = smallest.map(|smallest| smallest.regression_test(stringify!($subject)));
            panic!("{report}\n{}", test.unwrap_or_default());
        }
    }};
}
