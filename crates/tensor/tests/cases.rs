//! Every row of the table of cases: the gradient against differences and dual numbers, and the
//! twin.
//!
//! `tests/gradcheck.rs` of the workspace walks the same table, and that of the layers, with more
//! checks.

use unspool_tensor::cases::cases;
use unspool_tensor::gradcheck::{Oracle, check_case, check_twin};
use unspool_tensor::random::Key;

#[test]
fn gradients_agree_with_both_oracles() {
    let mut failures = Vec::new();
    for case in cases() {
        for (oracle, tolerance) in [(Oracle::Differences, 1e-9), (Oracle::DualNumbers, 1e-12)] {
            let worst = check_case(&case, oracle, Key::new(1)).unwrap().into_iter();
            failures.extend(
                worst
                    .filter(|worst| worst.error > tolerance)
                    .map(|worst| format!("{} by {oracle:?}: {worst:?}", case.name)),
            );
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn twins_agree_with_what_they_are_twins_of() {
    let mut failures = Vec::new();
    for case in cases() {
        let distances = check_twin(&case, Key::new(2)).unwrap().into_iter();
        failures.extend(
            distances
                .filter(|(_, distance)| *distance > 1e-11)
                .map(|(what, distance)| format!("{}: {what} is {distance:e} off", case.name)),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
