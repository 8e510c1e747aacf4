//! Every row of the table of cases: the gradient against differences and dual numbers, and the twin.

use unspool_tensor::cases::cases;
use unspool_tensor::gradcheck::{Oracle, check_case};
use unspool_tensor::random::Key;

#[test]
fn gradients_agree_with_both_oracles() {
    let mut failures = Vec::new();
    for case in cases() {
        for (oracle, tolerance) in [(Oracle::Differences, 1e-9), (Oracle::DualNumbers, 1e-12)] {
            for worst in check_case(&case, oracle, Key::new(1)).unwrap() {
                if worst.error > tolerance {
                    failures.push(format!("{} by {oracle:?}: {worst:?}", case.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
