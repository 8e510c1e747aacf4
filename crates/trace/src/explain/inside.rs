//! What values inside of an opened node are called: by the letters of the op's formulas.

use std::collections::BTreeMap;

use unspool_tensor::Tape;

/// The output of one of the simpler nodes: its scope, its op, which of those there (from 0), and the
/// letter.
type Letter = (&'static str, &'static str, usize, &'static str);

/// Where a sequence of one batch is padding, the new state makes room for the old one.
const RNN: &[Letter] = &[
    ("", "reshape", 0, "x"),
    ("input", "matmul", 0, "x·W_ihᵀ"),
    ("input", "add", 0, "a_x"),
    ("hidden", "matmul", 0, "h·W_hhᵀ"),
    ("hidden", "add", 0, "a_h"),
    ("", "add", 0, "a"),
    ("", "tanh", 0, "new"),
    ("", "masked_fill", 1, "from_new"),
    ("", "masked_fill", 2, "from_old"),
    ("", "add", 1, "h"),
];

const LSTM: &[Letter] = &[
    ("", "reshape", 0, "x"),
    ("input", "matmul", 0, "x·W_ihᵀ"),
    ("input", "add", 0, "a_x"),
    ("hidden", "matmul", 0, "h·W_hhᵀ"),
    ("hidden", "add", 0, "a_h"),
    ("", "add", 0, "a"),
    ("input gate", "slice", 0, "a_i"),
    ("input gate", "sigmoid", 0, "i"),
    ("forget gate", "slice", 0, "a_f"),
    ("forget gate", "sigmoid", 0, "f"),
    ("candidate", "slice", 0, "a_g"),
    ("candidate", "tanh", 0, "g"),
    ("output gate", "slice", 0, "a_o"),
    ("output gate", "sigmoid", 0, "o"),
    ("cell state", "mul", 0, "f⊙c"),
    ("cell state", "mul", 1, "i⊙g"),
    ("hidden state", "tanh", 0, "tanh(c')"),
];

const GRU: &[Letter] = &[
    ("", "reshape", 0, "x"),
    ("input", "matmul", 0, "x·W_ihᵀ"),
    ("input", "add", 0, "a_x"),
    ("hidden", "matmul", 0, "h·W_hhᵀ"),
    ("hidden", "add", 0, "a_h"),
    ("reset gate", "slice", 0, "a_xr"),
    ("reset gate", "slice", 1, "a_hr"),
    ("reset gate", "add", 0, "a_r"),
    ("reset gate", "sigmoid", 0, "r"),
    ("update gate", "slice", 0, "a_xz"),
    ("update gate", "slice", 1, "a_hz"),
    ("update gate", "add", 0, "a_z"),
    ("update gate", "sigmoid", 0, "z"),
    ("candidate", "slice", 0, "a_xn"),
    ("candidate", "slice", 1, "s"),
    ("candidate", "mul", 0, "r⊙s"),
    ("candidate", "add", 0, "a_n"),
    ("candidate", "tanh", 0, "n"),
    ("hidden state", "affine", 0, "−z"),
    ("hidden state", "affine", 1, "1−z"),
    ("hidden state", "mul", 0, "(1−z)⊙n"),
    ("hidden state", "mul", 1, "z⊙h"),
    ("hidden state", "add", 0, "new"),
    ("", "masked_fill", 1, "from_new"),
    ("", "masked_fill", 2, "from_old"),
    ("", "add", 0, "h"),
];

const DECODER: &[Letter] = &[
    ("embedding", "embedding", 0, "y"),
    ("attention", "linear", 0, "q"),
    ("attention", "additive_attention", 0, "c"),
    ("attention", "dot_attention", 0, "c"),
    ("l0", "rnn_step", 0, "h"),
    ("l0", "lstm_step", 0, "h"),
    ("l0", "gru_step", 0, "h"),
    ("readout", "concat", 0, "all"),
    ("readout", "linear", 0, "u"),
    ("readout", "tanh", 0, "r"),
];

fn letters(op: &str) -> &'static [Letter] {
    match op {
        "rnn" | "rnn_step" => RNN,
        "lstm" | "lstm_step" => LSTM,
        "gru" | "gru_step" => GRU,
        "decoder" => DECODER,
        "cross_entropy" => &[
            ("", "log_softmax", 0, "ln(p)"),
            ("", "masked_fill", 0, "kept"),
            ("", "mul", 0, "q⊙ln(p)"),
            ("", "sum", 0, "Σq⊙ln(p)"),
        ],
        "embedding" => &[
            ("", "affine", 0, "−learns"),
            ("", "affine", 1, "1−learns"),
            ("", "mul", 0, "cut⊙(1−learns)"),
            ("", "mul", 1, "table⊙learns"),
            ("", "add", 0, "both"),
        ],
        "linear" => &[("", "reshape", 0, "x"), ("", "matmul", 0, "x·Wᵀ"), ("", "add", 0, "x·Wᵀ+b")],
        "linear_cross_entropy" => &[("", "linear", 0, "z")],
        "softmax" => &[
            ("", "max", 0, "m"),
            ("", "sub", 0, "z"),
            ("", "exp", 0, "exp(z)"),
            ("", "sum", 0, "S"),
            ("", "exp", 1, "numerator"),
        ],
        "log_softmax" => &[
            ("", "max", 0, "m"),
            ("", "sub", 0, "z"),
            ("", "exp", 0, "exp(z)"),
            ("", "sum", 0, "S"),
            ("", "ln", 0, "ln(S)"),
        ],
        "additive_attention" => &[
            ("scores", "add", 0, "u"),
            ("scores", "tanh", 0, "t"),
            ("scores", "mul", 0, "v⊙t"),
            ("scores", "sum", 0, "e"),
            ("context", "matmul", 0, "w·m"),
        ],
        // Behind those that put query and keys apart by heads.
        "dot_attention" => &[
            ("scores", "affine", 0, "scale·q"),
            ("scores", "matmul", 0, "scale·q·kᵀ"),
            ("scores", "reshape", 4, "e"),
            ("context", "matmul", 0, "w·m"),
        ],
        _ => &[],
    }
}

/// A constant that an op puts there beside its inputs: the simpler op that reads it, which of those
/// (from 0), as which of its inputs, and what it is called.
type Constant = (&'static str, usize, usize, &'static str);

fn constants(op: &str) -> &'static [Constant] {
    match op {
        "embedding" => &[("affine", 0, 0, "learns"), ("mul", 0, 0, "cut")],
        "dropout" => &[("mul", 0, 1, "mask")],
        "softmax" | "log_softmax" => &[("max", 0, 0, "cut off")],
        "cross_entropy" => &[("mul", 0, 1, "q"), ("div", 0, 1, "−n")],
        "decoder" => &[("concat", 0, 1, "fed[0]")],
        _ => &[],
    }
}

/// The names of values on the tape of an opened op, by slot. At a time step the time is behind the
/// letter, from 1: `f[3]`.
pub(crate) fn names(op: &str, tape: &Tape<f64>) -> Vec<(usize, String)> {
    let (letters, constants) = (letters(op), constants(op));
    let constant = |slot: usize| tape.var(slot).is_some_and(|var| !var.wants_grad());
    let mut count: BTreeMap<(String, String, Option<usize>), usize> = BTreeMap::new();
    let mut found = Vec::new();
    for index in 0..tape.len() {
        tape.node(index, |node| {
            let which = count.entry((node.scope.into(), node.op.into(), node.time)).or_default();
            for &(op, number, input, name) in constants {
                let slot = node.input_slots.get(input).filter(|&&slot| constant(slot));
                if let (Some(&slot), true) = (slot, (op, number) == (node.op, *which)) {
                    found.push((slot, name.to_owned()));
                }
            }
            let letter = letters.iter().find(|(scope, op, number, _)| {
                (*scope, *op, *number) == (node.scope, node.op, *which)
            });
            if let Some((.., letter)) = letter {
                let time = node.time.map_or(String::new(), |time| format!("[{}]", time + 1));
                found.push((node.first_output_slot, format!("{letter}{time}")));
            }
            *which += 1;
        });
    }
    found
}
