//! Arithmetic, and functions of each element.

use super::{Entry, X, Y};
use crate::source::Place::{Function, Method, Row};

const XY: &[(&str, &str)] = &[("x", BROADCAST), ("y", BROADCAST)];
const BROADCAST: &str = "any shape that fits that of out";
const OUT: &[(&str, &str)] = &[("out", "that of x and y together")];
const SHAPES: &str = "The shapes of the inputs.";

/// A function of each element, a row of the table of them.
macro_rules! pointwise {
    ($op:literal, $type:literal, $title:literal, $forward:literal, $backward:literal, $saved:literal, $function:literal, $remark:literal) => {
        Entry {
            op: $op,
            title: $title,
            remark: $remark,
            inputs: X,
            outputs: Y,
            symbols: &[],
            forward: &[$forward],
            backward: &[("x", $backward)],
            saved: $saved,
            forward_source: &[Row("ops/unary.rs", $type)],
            backward_source: &[Function("ops/unary.rs", $function)],
        }
    };
}

/// An operator on two arrays.
macro_rules! arithmetic {
    ($op:literal, $type:literal, $title:literal, $forward:literal, $x:literal, $y:literal, $saved:expr) => {
        Entry {
            op: $op,
            title: $title,
            remark: "",
            inputs: XY,
            outputs: OUT,
            symbols: &[],
            forward: &[$forward],
            backward: &[("x", $x), ("y", $y)],
            saved: $saved,
            forward_source: &[Method("ops/arithmetic.rs", $type, "forward")],
            backward_source: &[Method("ops/arithmetic.rs", $type, "backward")],
        }
    };
}

pub(super) static TABLE: &[Entry] = &[
    arithmetic!("add", "Add", "A sum", "out = x + y", "d_x = d_out", "d_y = d_out", SHAPES),
    arithmetic!("sub", "Sub", "A difference", "out = x − y", "d_x = d_out", "d_y = −d_out", SHAPES),
    arithmetic!(
        "mul",
        "Mul",
        "A product, element by element",
        "out = x ⊙ y",
        "d_x = d_out ⊙ y",
        "d_y = d_out ⊙ x",
        "x and y."
    ),
    arithmetic!(
        "div",
        "Div",
        "A quotient, element by element",
        "out = x / y",
        "d_x = d_out / y",
        "d_y = −d_out ⊙ x / y²",
        "x, y and out."
    ),
    arithmetic!(
        "pow",
        "Pow",
        "A power, element by element",
        "out = xʸ",
        "d_x = d_out ⊙ y ⊙ xʸ⁻¹",
        "d_y = d_out ⊙ out ⊙ ln(x)",
        "x, y and out."
    ),
    Entry {
        op: "pow_number",
        title: "A power with a number",
        remark: "",
        inputs: X,
        outputs: &[("out", "that of x")],
        symbols: &[("a", "the number")],
        forward: &["out = xᵃ"],
        backward: &[("x", "d_x = a·d_out ⊙ xᵃ⁻¹")],
        saved: "x.",
        forward_source: &[Method("ops/arithmetic.rs", "PowNumber", "forward")],
        backward_source: &[
            Method("ops/arithmetic.rs", "PowNumber", "backward"),
            Function("ops/arithmetic.rs", "pow_backward_base"),
        ],
    },
    Entry {
        op: "affine",
        title: "Times a number and plus a number",
        remark: "Also what −x, x + 1 and 2·x are.",
        inputs: X,
        outputs: &[("out", "that of x")],
        symbols: &[("scale", "a number"), ("offset", "a number")],
        forward: &["out = scale·x + offset"],
        backward: &[("x", "d_x = scale·d_out")],
        saved: "Nothing.",
        forward_source: &[Method("ops/arithmetic.rs", "Affine", "forward")],
        backward_source: &[Method("ops/arithmetic.rs", "Affine", "backward")],
    },
    pointwise!(
        "exp",
        "Exp",
        "The exponential, element by element",
        "y = exp(x)",
        "d_x = d_y ⊙ y",
        "y.",
        "exp_backward",
        ""
    ),
    pointwise!(
        "ln",
        "Ln",
        "The natural logarithm, element by element",
        "y = ln(x)",
        "d_x = d_y / x",
        "x.",
        "ln_backward",
        ""
    ),
    pointwise!(
        "sqrt",
        "Sqrt",
        "The square root, element by element",
        "y = √x",
        "d_x = d_y / (2·y)",
        "y.",
        "sqrt_backward",
        ""
    ),
    pointwise!(
        "tanh",
        "Tanh",
        "The hyperbolic tangent, element by element",
        "y = tanh(x)",
        "d_x = d_y ⊙ (1 − y²)",
        "y: the slope needs nothing else.",
        "tanh_backward",
        "The slope is 1 at 0 and next to nothing where y is near −1 or 1."
    ),
    pointwise!(
        "sigmoid",
        "Sigmoid",
        "The logistic function, element by element",
        "y = 1 / (1 + exp(−x))",
        "d_x = d_y ⊙ y ⊙ (1 − y)",
        "y: the slope needs nothing else.",
        "sigmoid_backward",
        "Written σ. The slope is at most ¼, where y is ½."
    ),
    pointwise!(
        "relu",
        "Relu",
        "The larger of x and 0, element by element",
        "y = max(x, 0)",
        "d_x = d_y where y > 0 else 0",
        "y.",
        "relu_backward",
        "At 0 there is a kink; the gradient there is taken to be 0."
    ),
];
