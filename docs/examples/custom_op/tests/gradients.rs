//! The checker on an op of one's own.

use custom_op::{Swish, WrongSwish};
use unspool_tensor::Context;
use unspool_tensor::cases::{Case, Input};
use unspool_tensor::gradcheck::{Settings, Verdict, check_case, check_single};
use unspool_tensor::op::UniversalOp;

fn case(op: impl UniversalOp + 'static) -> Case {
    Case::new("swish", op, vec![Input::new("x", "B H", &[3, 4]), Input::new("beta", "", &[])])
}

#[test]
fn swish_is_right() {
    let report = check_case(&case(Swish), &Settings::default());
    assert!(report.passes(), "{report}");
    let report = check_single(&case(Swish), &Context::sequential(), &Settings::default());
    assert!(report.passes(), "{report}");
}

#[test]
fn the_wrong_swish_is_caught_in_the_right_input() {
    let report = check_case(&case(WrongSwish), &Settings::default());
    let verdicts: Vec<_> =
        report.arrays.iter().map(|array| (array.name.as_str(), array.verdict())).collect();
    assert_eq!(verdicts, [("x", Verdict::Fail), ("beta", Verdict::Pass)], "{report}");
}
