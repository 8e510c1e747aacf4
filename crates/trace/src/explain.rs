//! What each op is, in words and formulas, and the lines of source that compute it.
//!
//! `d_x` is the gradient of the loss by x, and has x's shape. The letters of shapes are those of the
//! whole project: `T` time, `B` batch, `S` source length, `H` hidden, `I` input, `E` embedding, `V`
//! vocabulary, `A` attention, `M` a vector of the memory, `G` the number of gates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use unspool_tensor::sources::SourceFile;

use crate::notation::{Formula, NotationError};
use crate::source::{Excerpt, Place};

/// An op, explained.
///
/// Those of our own ops are built in ([`explanation`]). Yours is given to the recorder:
///
/// ```
/// use unspool_trace::Explanation;
///
/// # fn main() -> Result<(), unspool_trace::NotationError> {
/// let cube = Explanation::new("cube", "The third power, element by element")
///     .input("x", "any shape")
///     .output("y", "that of x")
///     .forward("y = x³")?
///     .backward("x", "d_x = 3·x² ⊙ d_y")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The op's name.
    pub op: String,
    /// Its name in words.
    pub title: String,
    /// What else must be known; maybe empty.
    pub remark: String,
    /// The inputs by name. A last one that ends in `…` stands for any number.
    pub inputs: Vec<Symbol>,
    /// The outputs by name.
    pub outputs: Vec<Symbol>,
    /// What else stands in the formulas.
    pub symbols: Vec<Symbol>,
    /// The forward pass.
    pub forward: Vec<Formula>,
    /// The backward pass, input by input.
    pub backward: Vec<Rule>,
    /// What the forward pass keeps for the backward pass.
    pub saved: String,
    /// Which gradients are 0 by decree although the output depends on the input, and why; mostly
    /// empty. A check says so where differences find anything else than the 0.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cut: String,
    /// The lines of the forward pass.
    pub forward_source: Vec<Excerpt>,
    /// The lines of the backward pass.
    pub backward_source: Vec<Excerpt>,
}

/// A letter of a formula.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// How it is written.
    pub name: String,
    /// Its shape by letters, or what it is.
    pub meaning: String,
}

/// The gradient of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The input.
    pub input: String,
    /// Its gradient, given those of the outputs.
    pub formulas: Vec<Formula>,
}

impl Explanation {
    /// An op with nothing but its name, by itself and in words.
    pub fn new(op: impl Into<String>, title: impl Into<String>) -> Self {
        Explanation {
            op: op.into(),
            title: title.into(),
            remark: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            symbols: Vec::new(),
            forward: Vec::new(),
            backward: Vec::new(),
            saved: String::new(),
            cut: String::new(),
            forward_source: Vec::new(),
            backward_source: Vec::new(),
        }
    }

    /// The same with a further input.
    pub fn input(mut self, name: &str, shape: &str) -> Self {
        self.inputs.push(symbol(name, shape));
        self
    }

    /// The same with a further output.
    pub fn output(mut self, name: &str, shape: &str) -> Self {
        self.outputs.push(symbol(name, shape));
        self
    }

    /// The same with a further formula of the forward pass.
    ///
    /// # Errors
    /// The text is no formula.
    pub fn forward(mut self, formula: &str) -> Result<Self, NotationError> {
        self.forward.push(formula.parse()?);
        Ok(self)
    }

    /// The same with a further formula for the gradient of an input.
    ///
    /// # Errors
    /// The text is no formula.
    pub fn backward(mut self, input: &str, formula: &str) -> Result<Self, NotationError> {
        let formula = formula.parse()?;
        match self.backward.iter_mut().find(|rule| rule.input == input) {
            Some(rule) => rule.formulas.push(formula),
            None => self.backward.push(Rule { input: input.into(), formulas: vec![formula] }),
        }
        Ok(self)
    }

    /// The same with the lines of both passes, out of these files; places that are not there are left
    /// out.
    pub fn sources(self, files: &[SourceFile], forward: &[Place], backward: &[Place]) -> Self {
        let find = |places: &[Place]| places.iter().filter_map(|place| place.find(files)).collect();
        Explanation { forward_source: find(forward), backward_source: find(backward), ..self }
    }

    /// The name of an input by its number among `count`.
    pub fn input_name(&self, number: usize) -> String {
        let names = &self.inputs;
        match (names.get(number), names.last()) {
            (Some(one), _) if !one.name.ends_with('…') => one.name.clone(),
            (_, Some(last)) if last.name.ends_with('…') => {
                format!("{}{}", last.name.trim_end_matches('…'), number + 1 - names.len())
            }
            _ => format!("input {number}"),
        }
    }

    /// The name of an output by its number.
    pub fn output_name(&self, number: usize) -> String {
        match (self.outputs.get(number), self.outputs.last()) {
            (Some(one), _) if !one.name.ends_with('…') => one.name.clone(),
            (_, Some(last)) if last.name.ends_with('…') => {
                format!("{}{}", last.name.trim_end_matches('…'), number + 1 - self.outputs.len())
            }
            _ => format!("output {number}"),
        }
    }

    /// The formulas for the gradient of an input of this name.
    pub fn rule(&self, input: &str) -> &[Formula] {
        let matches = |rule: &&Rule| match rule.input.strip_suffix('…') {
            Some(stem) => input.starts_with(stem),
            None => rule.input == input,
        };
        self.backward.iter().find(matches).map_or(&[], |rule| &rule.formulas)
    }
}

fn symbol(name: &str, meaning: &str) -> Symbol {
    Symbol { name: name.into(), meaning: meaning.into() }
}

/// A row of the table.
struct Entry {
    op: &'static str,
    title: &'static str,
    remark: &'static str,
    inputs: &'static [(&'static str, &'static str)],
    outputs: &'static [(&'static str, &'static str)],
    symbols: &'static [(&'static str, &'static str)],
    forward: &'static [&'static str],
    backward: &'static [(&'static str, &'static str)],
    saved: &'static str,
    forward_source: &'static [Place],
    backward_source: &'static [Place],
}

/// The explanation of one of our own ops by its name.
pub fn explanation(op: &str) -> Option<Explanation> {
    known(op).map(|found| Explanation::clone(&found))
}

/// The same, without a copy.
pub(crate) fn known(op: &str) -> Option<Arc<Explanation>> {
    /// Each is found once: the formulas are read, and the lines looked for in all of our source.
    static FOUND: Mutex<BTreeMap<&str, Arc<Explanation>>> = Mutex::new(BTreeMap::new());
    let entry = TABLE.iter().find(|entry| entry.op == op)?;
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(explanation) = found.get(op) {
        return Some(explanation.clone());
    }
    let explanation = Arc::new(entry.explanation()?);
    found.insert(entry.op, explanation.clone());
    Some(explanation)
}

impl Entry {
    fn explanation(&self) -> Option<Explanation> {
        let symbols =
            |all: &[(&str, &str)]| all.iter().map(|(name, of)| symbol(name, of)).collect();
        let mut found = Explanation::new(self.op, self.title);
        found.remark = self.remark.into();
        found.inputs = symbols(self.inputs);
        found.outputs = symbols(self.outputs);
        found.symbols = symbols(self.symbols);
        found.saved = self.saved.into();
        if CUT.contains(&self.op) {
            found.cut = "cut off by decree: the padding's row never learns".into();
        }
        for formula in self.forward {
            found = found.forward(formula).ok()?;
        }
        for (input, formula) in self.backward {
            found = found.backward(input, formula).ok()?;
        }
        let files =
            [unspool_tensor::sources::SOURCES, unspool_layers::SOURCES, unspool_seq2seq::SOURCES]
                .concat();
        Some(found.sources(&files, self.forward_source, self.backward_source))
    }
}

/// The ops with an embedding, whose padding does not learn.
const CUT: [&str; 2] = ["embedding", "decoder"];

/// The names of all ops that are explained.
pub fn explained() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.op)
}

const ANY: &str = "any shape";
const BROADCAST: &str = "any shape, broadcast to that of z";
const WIDENED: &str = "An input that was repeated to the shape of z (broadcast) gets the sum of the \
                       gradients of its copies.";
const X: &[(&str, &str)] = &[("x", ANY)];
const Y: &[(&str, &str)] = &[("y", "that of x")];
const XY: &[(&str, &str)] = &[("x", BROADCAST), ("y", BROADCAST)];
const Z: &[(&str, &str)] = &[("z", "that of x and y together")];
const SHAPES: &str = "The shapes of the inputs.";
const THROUGH_TIME: &str = "recurrent/through_time.rs";

const CELL_GRADIENTS: &str = "The states of all steps, the gates after their functions, and what the cell \
                              keeps beside them.";

use Place::{Function, Method, Row};

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

macro_rules! arithmetic {
    ($op:literal, $type:literal, $title:literal, $forward:literal, $x:literal, $y:literal, $saved:expr) => {
        Entry {
            op: $op,
            title: $title,
            remark: WIDENED,
            inputs: XY,
            outputs: Z,
            symbols: &[],
            forward: &[$forward],
            backward: &[("x", $x), ("y", $y)],
            saved: $saved,
            forward_source: &[Method("ops/arithmetic.rs", $type, "forward")],
            backward_source: &[Method("ops/arithmetic.rs", $type, "backward")],
        }
    };
}

/// An op of `x` alone, in the methods of a type.
macro_rules! of_x {
    ($op:literal, $file:literal, $type:literal, $title:literal, $remark:expr, [$($symbol:expr),*], $forward:literal, $backward:literal, $saved:literal) => {
        Entry {
            op: $op,
            title: $title,
            remark: $remark,
            inputs: X,
            outputs: &[("y", "as the op says")],
            symbols: &[$($symbol),*],
            forward: &[$forward],
            backward: &[("x", $backward)],
            saved: $saved,
            forward_source: &[Method($file, $type, "forward")],
            backward_source: &[Method($file, $type, "backward")],
        }
    };
}

/// A recurrent cell, one step or a whole sequence.
macro_rules! cell {
    ($op:literal, $file:literal, $of:literal, $title:literal, $x:literal, [$($output:expr),*], [$($c:expr),*], [$($forward:literal),*], [$($backward:expr),*], $function:literal, $function_backward:literal) => {
        Entry {
            op: $op,
            title: $title,
            remark: "σ is the logistic function, ⊙ the product unit by unit. Each weight has one block of H \
                     rows for each gate; a gate's letter at W and b means its block. d_a is the gradient of a \
                     gate's sum, before its function. Over a sequence the gradients of weights add up over all \
                     steps: that sum is backpropagation through time.",
            inputs: &[
                ("x", $x),
                ("h", "[B, H], the hidden state before"),
                $($c,)*
                ("weight_ih", "[G·H, I], of the input"),
                ("weight_hh", "[G·H, H], of the hidden state"),
                ("bias_ih", "[G·H]"),
                ("bias_hh", "[G·H]"),
            ],
            outputs: &[$($output),*],
            symbols: &[("h'", "[B, H], the hidden state after a step"), ("c'", "[B, H], the cell state after it, if there is one")],
            forward: &[$($forward),*],
            backward: &[
                $($backward,)*
                ("x", "d_x = d_a·W_ih"),
                ("weight_ih", "d_W_ih = Σₜ d_a[t]ᵀ·x[t]"),
                ("weight_hh", "d_W_hh = Σₜ d_a[t]ᵀ·h[t]"),
                ("bias_ih", "d_b_ih = Σ[t, b] d_a[t, b]"),
                ("bias_hh", "d_b_hh = Σ[t, b] d_a[t, b]"),
            ],
            saved: CELL_GRADIENTS,
            forward_source: &[Function($file, $function), Method("recurrent/through_time.rs", "Forward", "band")],
            backward_source: &[
                Function($file, $function_backward),
                Function(THROUGH_TIME, "backward"),
                Method("recurrent/through_time.rs", "Backward", "band"),
            ],
        }
    };
}

macro_rules! lstm {
    ($op:literal, $title:literal, $x:literal, [$($output:expr),*]) => {
        cell!($op, "recurrent/lstm.rs", "Lstm", $title, $x, [$($output),*], [("c", "[B, H], the cell state before")],
            ["i = σ(W_ii·x + b_ii + W_hi·h + b_hi)", "f = σ(W_if·x + b_if + W_hf·h + b_hf)",
             "g = tanh(W_ig·x + b_ig + W_hg·h + b_hg)", "o = σ(W_io·x + b_io + W_ho·h + b_ho)",
             "c' = f ⊙ c + i ⊙ g", "h' = o ⊙ tanh(c')"],
            [("h", "d_h = d_a·W_hh"), ("c", "d_c = d_c' ⊙ f"),
             ("gates", "d_o = d_h' ⊙ tanh(c')"), ("gates", "d_c' += d_h' ⊙ o ⊙ (1 − tanh(c')²)"),
             ("gates", "d_f = d_c' ⊙ c"), ("gates", "d_i = d_c' ⊙ g"), ("gates", "d_g = d_c' ⊙ i"),
             ("gates", "d_a_i = d_i ⊙ i ⊙ (1 − i)"), ("gates", "d_a_f = d_f ⊙ f ⊙ (1 − f)"),
             ("gates", "d_a_g = d_g ⊙ (1 − g²)"), ("gates", "d_a_o = d_o ⊙ o ⊙ (1 − o)")],
            "lstm_forward", "lstm_backward")
    };
}

macro_rules! gru {
    ($op:literal, $title:literal, $x:literal, [$($output:expr),*]) => {
        cell!($op, "recurrent/gru.rs", "Gru", $title, $x, [$($output),*], [],
            ["r = σ(W_ir·x + b_ir + W_hr·h + b_hr)", "z = σ(W_iz·x + b_iz + W_hz·h + b_hz)",
             "n = tanh(W_in·x + b_in + r ⊙ (W_hn·h + b_hn))", "h' = (1 − z) ⊙ n + z ⊙ h"],
            [("h", "d_h = d_h' ⊙ z + d_a_h·W_hh"),
             ("gates", "d_n = d_h' ⊙ (1 − z)"), ("gates", "d_z = d_h' ⊙ (h − n)"),
             ("gates", "d_a_n = d_n ⊙ (1 − n²)"), ("gates", "d_r = d_a_n ⊙ (W_hn·h + b_hn)"),
             ("gates", "d_a_z = d_z ⊙ z ⊙ (1 − z)"), ("gates", "d_a_r = d_r ⊙ r ⊙ (1 − r)")],
            "gru_forward", "gru_backward")
    };
}

macro_rules! rnn {
    ($op:literal, $title:literal, $x:literal, [$($output:expr),*]) => {
        cell!($op, "recurrent/rnn.rs", "Rnn", $title, $x, [$($output),*], [],
            ["h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh)"],
            [("h", "d_h = d_a·W_hh"), ("gates", "d_a = d_h' ⊙ (1 − h'²)")],
            "rnn_forward", "rnn_backward")
    };
}

const SEQUENCE_H: (&str, &str) = ("output", "[T, B, H], the hidden state after each step");
const LAST_H: (&str, &str) = ("h'", "[B, H], the hidden state at the end");
const LAST_C: (&str, &str) = ("c'", "[B, H], the cell state at the end");

static TABLE: &[Entry] = &[
    arithmetic!("add", "Add", "A sum", "z = x + y", "d_x = d_z", "d_y = d_z", SHAPES),
    arithmetic!("sub", "Sub", "A difference", "z = x − y", "d_x = d_z", "d_y = −d_z", SHAPES),
    arithmetic!(
        "mul",
        "Mul",
        "A product, element by element",
        "z = x ⊙ y",
        "d_x = d_z ⊙ y",
        "d_y = d_z ⊙ x",
        "x and y."
    ),
    arithmetic!(
        "div",
        "Div",
        "A quotient, element by element",
        "z = x / y",
        "d_x = d_z / y",
        "d_y = −d_z ⊙ x / y²",
        "x, y and z."
    ),
    arithmetic!(
        "pow",
        "Pow",
        "A power, element by element",
        "z = xʸ",
        "d_x = d_z ⊙ y ⊙ xʸ⁻¹",
        "d_y = d_z ⊙ z ⊙ ln(x)",
        "x, y and z."
    ),
    Entry {
        op: "pow_number",
        title: "A power with a number",
        remark: "",
        inputs: X,
        outputs: &[("z", "that of x")],
        symbols: &[("a", "the number")],
        forward: &["z = xᵃ"],
        backward: &[("x", "d_x = d_z ⊙ a·xᵃ⁻¹")],
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
        outputs: &[("z", "that of x")],
        symbols: &[("scale", "a number"), ("offset", "a number")],
        forward: &["z = scale·x + offset"],
        backward: &[("x", "d_x = scale·d_z")],
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
    of_x!(
        "sum",
        "ops/reduce.rs",
        "Sum",
        "A sum over axes",
        "Every element that was added has the gradient of the sum.",
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
        [("k", "where the largest stands")],
        "y = x[k]",
        "d_x[i] = d_y where i = k else 0",
        "Where the largest stands."
    ),
    Entry {
        op: "matmul",
        title: "A matrix product",
        remark: "A is a, or aᵀ where the op is made so (transpose_a), and then so are their gradients; and B likewise. Stacks of matrices are multiplied one by one.",
        inputs: &[("a", "[M, K], or [B, M, K]"), ("b", "[K, N], or [B, K, N]")],
        outputs: &[("c", "[M, N], or [B, M, N]")],
        symbols: &[("A", "[M, K]: a or aᵀ"), ("B", "[K, N]: b or bᵀ")],
        forward: &["c = A·B"],
        backward: &[("a", "d_A = d_c·Bᵀ"), ("b", "d_B = Aᵀ·d_c")],
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
            Function("kernels/rows.rs", "scatter_add"),
        ],
    },
    of_x!(
        "masked_fill",
        "ops/mask.rs",
        "MaskedFill",
        "A number where a mask is set",
        "What was overwritten has a gradient of 0.",
        [("mask", "where to fill: 1 or 0")],
        "y = value where mask = 1 else x",
        "d_x = 0 where mask = 1 else d_y",
        "Nothing."
    ),
    Entry {
        op: "softmax",
        title: "Softmax along an axis",
        remark: "Masked elements are left out: they are 0, and so is their gradient.",
        inputs: X,
        outputs: Y,
        symbols: &[],
        forward: &["y[i] = exp(x[i]) / Σⱼ exp(x[j])"],
        backward: &[("x", "d_x[i] = y[i]·(d_y[i] − Σⱼ d_y[j]·y[j])")],
        saved: "y.",
        forward_source: &[
            Method("ops/softmax.rs", "Softmax", "forward"),
            Function("kernels/softmax.rs", "softmax"),
        ],
        backward_source: &[
            Method("ops/softmax.rs", "Softmax", "backward"),
            Function("kernels/softmax.rs", "softmax_backward"),
        ],
    },
    Entry {
        op: "log_softmax",
        title: "The logarithm of softmax along an axis",
        remark: "Masked elements are −∞ and constants.",
        inputs: X,
        outputs: Y,
        symbols: &[],
        forward: &["y[i] = x[i] − ln(Σⱼ exp(x[j]))"],
        backward: &[("x", "d_x[i] = d_y[i] − exp(y[i])·Σⱼ d_y[j]")],
        saved: "y.",
        forward_source: &[
            Method("ops/softmax.rs", "LogSoftmax", "forward"),
            Function("kernels/softmax.rs", "log_softmax"),
        ],
        backward_source: &[
            Method("ops/softmax.rs", "LogSoftmax", "backward"),
            Function("kernels/softmax.rs", "log_softmax_backward"),
        ],
    },
    Entry {
        op: "cross_entropy",
        title: "Softmax and cross-entropy: the loss of a choice among classes",
        remark: "Softmax and logarithm cancel: the gradient is what was predicted less what was wanted.",
        inputs: &[("logits", "[.., V], a score for each class")],
        outputs: &[("loss", "a number")],
        symbols: &[
            ("p", "[.., V], the probabilities"),
            ("q", "[.., V], the targets: 1 at the right class, 0 elsewhere, unless smoothed"),
            ("n", "what the sum is divided by"),
        ],
        forward: &[
            "p[v] = exp(logits[v]) / Σⱼ exp(logits[j])",
            "loss = −Σ[b, v] q[b, v]·ln(p[b, v]) / n",
        ],
        backward: &[("logits", "d_logits = (p − q)·d_loss / n")],
        saved: "The logits, and the logarithm of each row's sum.",
        forward_source: &[
            Method("ops/cross_entropy.rs", "CrossEntropy", "forward"),
            Function("kernels/cross_entropy.rs", "cross_entropy"),
        ],
        backward_source: &[
            Method("ops/cross_entropy.rs", "CrossEntropy", "backward"),
            Function("kernels/cross_entropy.rs", "cross_entropy_backward"),
        ],
    },
    Entry {
        op: "dropout",
        title: "Dropout",
        remark: "Which units go is a function of the random key, the time, the example and the unit: run again, the same ones go.",
        inputs: X,
        outputs: Y,
        symbols: &[
            ("mask", "1 for a unit that stays, 0 for one that goes"),
            ("rate", "the share that goes"),
        ],
        forward: &["y = x ⊙ mask / (1 − rate)"],
        backward: &[("x", "d_x = d_y ⊙ mask / (1 − rate)")],
        saved: "Nothing.",
        forward_source: &[
            Method("ops/dropout.rs", "Dropout", "forward"),
            Method("ops/dropout.rs", "Dropout", "masked"),
            Function("kernels/dropout.rs", "drop_units"),
        ],
        backward_source: &[Method("ops/dropout.rs", "Dropout", "backward")],
    },
    Entry {
        op: "layer_norm",
        title: "Layer normalisation",
        remark: "",
        inputs: &[("x", "[.., H]"), ("gain", "[H]"), ("bias", "[H]")],
        outputs: &[("y", "[.., H]")],
        symbols: &[
            ("n", "[.., H], x with mean 0 and variance 1"),
            ("m", "the mean of a row"),
            ("v", "the variance of a row"),
            ("ε", "a small number"),
        ],
        forward: &["n = (x − m) / √(v + ε)", "y = gain ⊙ n + bias"],
        backward: &[
            ("x", "d_n = d_y ⊙ gain"),
            ("x", "d_x = (d_n − mean(d_n) − n ⊙ mean(d_n ⊙ n)) / √(v + ε)"),
            ("gain", "d_gain = Σ d_y ⊙ n"),
            ("bias", "d_bias = Σ d_y"),
        ],
        saved: "n, the deviations and the gain.",
        forward_source: &[Method("ops/layer_norm.rs", "LayerNorm", "forward")],
        backward_source: &[Method("ops/layer_norm.rs", "LayerNorm", "backward")],
    },
    Entry {
        op: "linear",
        title: "A linear layer",
        remark: "Of three axes the first is time: the gradient of the weight is a sum over it.",
        inputs: &[("x", "[.., I]"), ("weight", "[O, I]"), ("bias", "[O]")],
        outputs: &[("y", "[.., O]")],
        symbols: &[("W", "the weight"), ("b", "the bias")],
        forward: &["y = x·Wᵀ + b"],
        backward: &[("x", "d_x = d_y·W"), ("weight", "d_W = d_yᵀ·x"), ("bias", "d_b = Σ d_y")],
        saved: "x and W.",
        forward_source: &[Method("linear.rs", "LinearOp", "forward")],
        backward_source: &[Method("linear.rs", "LinearOp", "backward")],
    },
    Entry {
        op: "linear_cross_entropy",
        title: "A linear layer, softmax and cross-entropy: the output layer and its loss",
        remark: "All of the backward pass but the factor d_loss is computed on the way forward.",
        inputs: &[("x", "[.., R]"), ("weight", "[V, R]"), ("bias", "[V]")],
        outputs: &[("loss", "a number")],
        symbols: &[
            ("p", "[.., V], the probabilities"),
            ("q", "[.., V], the targets"),
            ("n", "what the sum is divided by"),
            ("W", "the weight"),
            ("b", "the bias"),
        ],
        forward: &["p = softmax(x·Wᵀ + b)", "loss = −Σ q ⊙ ln(p) / n"],
        backward: &[
            ("x", "d_x = (p − q)·W·d_loss / n"),
            ("weight", "d_W = (p − q)ᵀ·x·d_loss / n"),
            ("bias", "d_b = Σ (p − q)·d_loss / n"),
        ],
        saved: "The gradients for a d_loss of 1.",
        forward_source: &[
            Method("linear_cross_entropy.rs", "LinearCrossEntropy", "forward"),
            Function("kernels/cross_entropy.rs", "cross_entropy"),
        ],
        backward_source: &[
            Method("linear_cross_entropy.rs", "LinearCrossEntropy", "backward"),
            Function("kernels/cross_entropy.rs", "cross_entropy_backward"),
        ],
    },
    Entry {
        op: "embedding",
        title: "An embedding: rows of a table by their numbers",
        remark: "No other row is touched. The padding's row never learns: its gradient is 0 by decree.",
        inputs: &[("table", "[V, E]")],
        outputs: &[("y", "[.., E]")],
        symbols: &[("index", "which row, for each place")],
        forward: &["y[i] = table[index[i]]"],
        backward: &[("table", "d_table[index[i]] += d_y[i]")],
        saved: "Nothing.",
        forward_source: &[
            Method("embedding.rs", "EmbeddingOp", "forward"),
            Function("kernels/rows.rs", "gather"),
        ],
        backward_source: &[
            Method("embedding.rs", "EmbeddingOp", "backward"),
            Function("kernels/rows.rs", "scatter_add"),
        ],
    },
    Entry {
        op: "additive_attention",
        title: "Additive attention",
        remark: "Over the keys that are not padding. The activations t are computed again in the backward pass.",
        inputs: &[
            ("query", "[B, A]"),
            ("keys", "[B, S, A]"),
            ("v", "[A]"),
            ("values", "[B, S, M]"),
        ],
        outputs: &[("context", "[B, M]"), ("weights", "[B, S]")],
        symbols: &[
            ("t", "[A], the activations of a key"),
            ("e", "[S], the scores"),
            ("w", "[S], the weights"),
            ("c", "[M], the context"),
            ("q", "the query"),
            ("k", "the keys"),
            ("m", "the values"),
        ],
        forward: &["t[s] = tanh(q + k[s])", "e[s] = v·t[s]", "w = softmax(e)", "c = Σₛ w[s]·m[s]"],
        backward: &[
            ("values", "d_m[s] = w[s]·d_c"),
            ("scores", "d_w[s] += d_c·m[s]"),
            ("scores", "d_e[s] = w[s]·(d_w[s] − Σⱼ d_w[j]·w[j])"),
            ("v", "d_v = Σₛ d_e[s]·t[s]"),
            ("keys", "d_k[s] = d_e[s]·v ⊙ (1 − t[s]²)"),
            ("query", "d_q = Σₛ d_k[s]"),
        ],
        saved: "The inputs and the weights.",
        forward_source: &[
            Method("attention/additive.rs", "AdditiveAttention", "forward"),
            Function("attention/rows.rs", "weigh_forward"),
        ],
        backward_source: &[
            Method("attention/additive.rs", "AdditiveAttention", "backward"),
            Function("attention/rows.rs", "weigh_backward"),
            Function("attention/additive.rs", "row_backward"),
        ],
    },
    Entry {
        op: "dot_attention",
        title: "Dot-product attention",
        remark: "By each head for its part of the vectors, over the keys that a query sees. With keys that a matrix has projected it is the general score.",
        inputs: &[("query", "[B, T, D]"), ("keys", "[B, S, D]"), ("values", "[B, S, M]")],
        outputs: &[("context", "[B, T, M]"), ("weights", "[B, heads, T, S]")],
        symbols: &[
            ("e", "[S], the scores"),
            ("w", "[S], the weights"),
            ("c", "[M], the context"),
            ("q", "a query"),
            ("k", "the keys"),
            ("m", "the values"),
            ("scale", "a number: 1, or 1/√D"),
        ],
        forward: &["e[s] = scale·q·k[s]", "w = softmax(e)", "c = Σₛ w[s]·m[s]"],
        backward: &[
            ("values", "d_m[s] = w[s]·d_c"),
            ("scores", "d_w[s] += d_c·m[s]"),
            ("scores", "d_e[s] = w[s]·(d_w[s] − Σⱼ d_w[j]·w[j])"),
            ("query", "d_q = Σₛ scale·d_e[s]·k[s]"),
            ("keys", "d_k[s] = scale·d_e[s]·q"),
        ],
        saved: "The inputs and the weights.",
        forward_source: &[
            Method("attention/dot.rs", "DotAttention", "forward"),
            Function("attention/rows.rs", "weigh_forward"),
        ],
        backward_source: &[
            Method("attention/dot.rs", "DotAttention", "backward"),
            Function("attention/rows.rs", "weigh_backward"),
        ],
    },
    rnn!("rnn", "A plain recurrent network over a sequence", "[T, B, I]", [SEQUENCE_H, LAST_H]),
    rnn!("rnn_step", "A step of a plain recurrent network", "[B, I]", [LAST_H]),
    lstm!("lstm", "An LSTM over a sequence", "[T, B, I]", [SEQUENCE_H, LAST_H, LAST_C]),
    lstm!("lstm_step", "A step of an LSTM", "[B, I]", [LAST_H, LAST_C]),
    gru!("gru", "A GRU over a sequence", "[T, B, I]", [SEQUENCE_H, LAST_H]),
    gru!("gru_step", "A step of a GRU", "[B, I]", [LAST_H]),
    Entry {
        op: "decoder",
        title: "A decoder over a whole target",
        remark: "Open it: each step is an embedding, recurrent cells, attention and a readout, explained by themselves. Which part reads which is a matter of the model's configuration.",
        inputs: &[],
        outputs: &[("read", "[T, B, R], what the output layer reads")],
        symbols: &[
            ("state", "the states of the layers"),
            ("token", "the previous token of each sentence"),
            ("θ", "all weights"),
        ],
        forward: &[
            "state[t] = step(state[t − 1], token[t], memory, θ)",
            "read[t] = readout(state[t])",
        ],
        backward: &[
            ("state", "d_state[t − 1] = stepback(d_state[t], d_read[t])"),
            ("θ", "d_θ = Σₜ d_θ[t]"),
        ],
        saved: "All that the steps compute.",
        forward_source: &[
            Method("decoder/steps.rs", "Steps", "forward"),
            Method("decoder/steps.rs", "Steps", "read"),
        ],
        backward_source: &[
            Method("decoder/steps.rs", "Steps", "backward"),
            Method("decoder/steps.rs", "Steps", "step_backward"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table_is_read_and_found_in_the_source() {
        let files =
            [unspool_tensor::sources::SOURCES, unspool_layers::SOURCES, unspool_seq2seq::SOURCES]
                .concat();
        for entry in TABLE {
            for formula in
                entry.forward.iter().chain(entry.backward.iter().map(|(_, formula)| formula))
            {
                let read: Formula = formula.parse().unwrap();
                assert_eq!(read.to_string(), *formula, "as it is shown");
            }
            for place in entry.forward_source.iter().chain(entry.backward_source) {
                let found = place.find(&files).unwrap_or_else(|| panic!("{place:?} is not there"));
                assert!(found.text.contains('{') || matches!(place, Row(..)), "{found:?}");
            }
            assert!(!entry.forward_source.is_empty() && !entry.backward_source.is_empty());
        }
    }
}
