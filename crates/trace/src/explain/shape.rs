//! Sums and other reductions, matrix products, shapes, rows and masks.

use super::{Entry, X};
use crate::source::Place::{Function, Method};

/// An op of `x` alone, in the methods of a type.
macro_rules! of_x {
    ($op:literal, $file:literal, $type:literal, $title:literal, $remark:expr, $y:literal, [$($symbol:expr),*], $forward:literal, $backward:literal, $saved:literal) => {
        Entry {
            op: $op,
            title: $title,
            remark: $remark,
            inputs: X,
            outputs: &[("y", $y)],
            symbols: &[$($symbol),*],
            forward: &[$forward],
            backward: &[("x", $backward)],
            saved: $saved,
            forward_source: &[Method($file, $type, "forward")],
            backward_source: &[Method($file, $type, "backward")],
        }
    };
}

pub(super) static TABLE: &[Entry] = &[
    of_x!(
        "sum",
        "ops/reduce.rs",
        "Sum",
        "A sum over axes",
        "Every element that was added gets the gradient of the sum.",
        "the shape of x without the axes that were added up",
        [],
        "y = Σ x",
        "d_x[i] = d_y",
        "The shape of x."
    ),
    of_x!(
        "mean",
        "ops/reduce.rs",
        "Mean",
        "A mean over axes",
        "",
        "the shape of x without those axes",
        [("n", "how many elements make one mean")],
        "y = Σ x / n",
        "d_x[i] = d_y / n",
        "The shape of x."
    ),
    of_x!(
        "max",
        "ops/reduce.rs",
        "Max",
        "The largest element along an axis",
        "Where two are the largest there is a kink; the first one takes all.",
        "the shape of x without that axis",
        [("k", "where the largest stands")],
        "y = x[k]",
        "d_x[i] = d_y where i = k else 0",
        "Where the largest stands."
    ),
    Entry {
        op: "matmul",
        title: "A matrix product",
        remark: "Stacks of matrices are multiplied one by one; one matrix that stands for a whole stack gets the sum of the stack's gradients.",
        inputs: &[("a", "[M, K], or [B, M, K]"), ("b", "[K, N], or [B, K, N]")],
        outputs: &[("out", "[M, N], or [B, M, N]")],
        symbols: &[],
        forward: &["out = a·b"],
        backward: &[("a", "d_a = d_out·bᵀ"), ("b", "d_b = aᵀ·d_out")],
        saved: "a and b.",
        forward_source: &[Method("ops/matmul.rs", "MatMul", "forward")],
        backward_source: &[
            Method("ops/matmul.rs", "MatMul", "backward"),
            Method("ops/matmul.rs", "MatMul", "backward_of_matrices"),
        ],
    },
    of_x!(
        "reshape",
        "ops/shape.rs",
        "Reshape",
        "The same numbers in another shape",
        "",
        "the shape that was asked for",
        [],
        "y = reshape(x)",
        "d_x = reshape(d_y)",
        "The shape of x."
    ),
    of_x!(
        "permute",
        "ops/shape.rs",
        "Permute",
        "The axes in another order",
        "",
        "the axes of x in that order",
        [],
        "y[k, i, j] = x[i, j, k]",
        "d_x[i, j, k] = d_y[k, i, j]",
        "Nothing."
    ),
    Entry {
        op: "concat",
        title: "Arrays one after the other",
        remark: "Each input gets its own part of the gradient back.",
        inputs: &[("x…", "alike but along one axis")],
        outputs: &[("y", "all together")],
        symbols: &[],
        forward: &["y = concat(x0, x1, …)"],
        backward: &[("x…", "d_x[i] = d_y[start + i]")],
        saved: "The lengths of the inputs.",
        forward_source: &[Method("ops/shape.rs", "Concat", "forward")],
        backward_source: &[
            Method("ops/shape.rs", "Concat", "backward"),
            Function("ops/shape.rs", "join_backward"),
        ],
    },
    Entry {
        op: "stack",
        title: "Arrays side by side along a new axis",
        remark: "",
        inputs: &[("x…", "all of one shape")],
        outputs: &[("y", "with a new axis")],
        symbols: &[("k", "the number of an input")],
        forward: &["y = stack(x0, x1, …)"],
        backward: &[("x…", "d_x = d_y[k]")],
        saved: "Nothing.",
        forward_source: &[Method("ops/shape.rs", "Stack", "forward")],
        backward_source: &[Method("ops/shape.rs", "Stack", "backward")],
    },
    of_x!(
        "slice",
        "ops/shape.rs",
        "Slice",
        "A part of an axis",
        "What was not taken has a gradient of 0.",
        "a part of x",
        [],
        "y = x[range]",
        "d_x[range] += d_y",
        "Nothing."
    ),
    Entry {
        op: "split",
        title: "An axis cut into parts",
        remark: "",
        inputs: X,
        outputs: &[("y…", "a part each")],
        symbols: &[("k", "the number of a part")],
        forward: &["y[k] = x[part[k]]"],
        backward: &[("x", "d_x[part[k]] += d_y[k]")],
        saved: "Nothing.",
        forward_source: &[Method("ops/shape.rs", "Split", "forward")],
        backward_source: &[Method("ops/shape.rs", "Split", "backward")],
    },
    Entry {
        op: "gather_rows",
        title: "Rows of a table by their numbers",
        remark: "A row that is looked up twice gets both gradients.",
        inputs: &[("table", "[V, E]")],
        outputs: &[("y", "[.., E]")],
        symbols: &[("index", "which row, for each place")],
        forward: &["y[i] = table[index[i]]"],
        backward: &[("table", "d_table[index[i]] += d_y[i]")],
        saved: "Nothing.",
        forward_source: &[Method("ops/index.rs", "GatherRows", "forward")],
        backward_source: &[
            Method("ops/index.rs", "GatherRows", "backward"),
            Function("kernels/rows/fast.rs", "scatter_add"),
        ],
    },
    of_x!(
        "masked_fill",
        "ops/mask.rs",
        "MaskedFill",
        "A number where a mask is set",
        "What was overwritten has a gradient of 0.",
        "that of x",
        [("mask", "where to fill: 1 or 0")],
        "y = value where mask = 1 else x",
        "d_x = 0 where mask = 1 else d_y",
        "Nothing."
    ),
];
