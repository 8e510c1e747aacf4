//! Every row of the table of cases: the gradient against differences and dual numbers, and the
//! twin.
//!
//! `tests/gradcheck.rs` of the workspace walks the same table, and that of the layers, with more
//! checks.

use unspool_tensor::cases::cases;
use unspool_tensor::gradcheck::{Settings, Verdict, check_case, check_twin};
use unspool_tensor::random::Key;

#[test]
fn gradients_agree_with_differences_and_dual_numbers() {
    let reports: Vec<_> =
        cases().iter().map(|case| check_case(case, &Settings::default())).collect();
    let failures = reports.iter().filter(|report| !report.passes());
    let failures: Vec<_> = failures.map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(reports.iter().all(|report| report.verdict() == Verdict::Pass));
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
