//! Every row of the table of cases: the gradient against differences and dual numbers, and the twin.
//!
//! `tests/gradcheck.rs` of the workspace walks the same table, and that of the layers, with more checks.

use unspool_tensor::cases::cases;
use unspool_tensor::gradcheck::{Oracle, check_case, check_twin};
use unspool_tensor::random::Key;

#[test]
fn gradients_agree_with_both_oracles() {
    for case in cases() {
        for (oracle, tolerance) in [(Oracle::Differences, 1e-9), (Oracle::DualNumbers, 1e-12)] {
            for worst in check_case(&case, oracle, Key::new(1)).unwrap() {
                assert!(worst.error <= tolerance, "{} by {oracle:?}: {worst:?}", case.name);
            }
        }
    }
}

#[test]
fn twins_agree_with_what_they_are_twins_of() {
    for case in cases() {
        for (what, distance) in check_twin(&case, Key::new(2)).unwrap() {
            assert!(distance <= 1e-11, "{}: {what} is {distance:e} off", case.name);
        }
    }
}
