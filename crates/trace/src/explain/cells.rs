//! The recurrent cells: a step of each, and a whole sequence of steps.
//!
//! The formulas are written once, for step `t` of a sequence. Those of a step by itself are the same
//! without the time: `h` is the state before it, and `h'` the one behind it.

use super::{Explanation, our_sources, symbols};
use crate::notation::NotationError;
use crate::source::Place::{Function, Method};

/// A cell, as a step and as a sequence.
struct Cell {
    step: &'static str,
    sequence: &'static str,
    /// Its name in words, with its article.
    title: &'static str,
    file: &'static str,
    functions: [&'static str; 2],
    has_cell_state: bool,
    remark: &'static str,
    symbols: &'static [(&'static str, &'static str)],
    forward: &'static [&'static str],
    /// In the order of computing: from the new state to the gates' sums, and from there to the inputs.
    backward: &'static [(&'static str, &'static str)],
    saved: &'static str,
}

static CELLS: [Cell; 3] = [
    Cell {
        step: "rnn_step",
        sequence: "rnn",
        title: "a plain recurrent network",
        file: "recurrent/rnn.rs",
        functions: ["rnn_forward", "rnn_backward"],
        has_cell_state: false,
        remark: "",
        symbols: &[
            ("a", "[B, H], the sum before tanh"),
            ("a_x, a_h", "[B, H], what it is the sum of: the input's side, and the state's"),
            ("W_ih, W_hh, b_ih, b_hh", "weight_ih, weight_hh, bias_ih, bias_hh"),
        ],
        forward: &["h[t] = tanh(x[t]·W_ihᵀ + b_ih + h[t − 1]·W_hhᵀ + b_hh)"],
        backward: &[
            ("sum", "d_a[t] = d_h[t] ⊙ (1 − h[t]²)"),
            ("x", "d_x[t] = d_a[t]·W_ih"),
            ("h", "d_h[t − 1] = d_a[t]·W_hh"),
            ("weight_ih", "d_W_ih = Σₜ d_a[t]ᵀ·x[t]"),
            ("weight_hh", "d_W_hh = Σₜ d_a[t]ᵀ·h[t − 1]"),
            ("bias_ih", "d_b_ih = Σ[t, b] d_a[t, b]"),
            ("bias_hh", "d_b_hh = Σ[t, b] d_a[t, b]"),
        ],
        saved: "The inputs, the weights and the states.",
    },
    Cell {
        step: "lstm_step",
        sequence: "lstm",
        title: "an LSTM",
        file: "recurrent/lstm.rs",
        functions: ["lstm_forward", "lstm_backward"],
        has_cell_state: true,
        remark: "σ is the logistic function. Each weight and bias has a block of H rows for each gate, in \
                 the order i, f, g, o: W_if is the block of W_ih for the gate f.",
        symbols: &[
            (
                "i, f, o",
                "[B, H], the input gate, the forget gate, the output gate: between 0 and 1",
            ),
            ("g", "[B, H], the candidate: between −1 and 1"),
            ("a_i, a_f, a_g, a_o", "[B, H], the sums before σ and tanh"),
            ("a", "[B, 4·H], these side by side"),
            ("a_x, a_h", "[B, 4·H], what it is the sum of: the input's side, and the state's"),
            ("W_ih, W_hh, b_ih, b_hh", "weight_ih, weight_hh, bias_ih, bias_hh"),
        ],
        forward: &[
            "i[t] = σ(x[t]·W_iiᵀ + b_ii + h[t − 1]·W_hiᵀ + b_hi)",
            "f[t] = σ(x[t]·W_ifᵀ + b_if + h[t − 1]·W_hfᵀ + b_hf)",
            "g[t] = tanh(x[t]·W_igᵀ + b_ig + h[t − 1]·W_hgᵀ + b_hg)",
            "o[t] = σ(x[t]·W_ioᵀ + b_io + h[t − 1]·W_hoᵀ + b_ho)",
            "c[t] = f[t] ⊙ c[t − 1] + i[t] ⊙ g[t]",
            "h[t] = o[t] ⊙ tanh(c[t])",
        ],
        backward: &[
            ("gates", "d_o[t] = d_h[t] ⊙ tanh(c[t])"),
            ("gates", "d_c[t] += d_h[t] ⊙ o[t] ⊙ (1 − tanh(c[t])²)"),
            ("gates", "d_f[t] = d_c[t] ⊙ c[t − 1]"),
            ("gates", "d_i[t] = d_c[t] ⊙ g[t]"),
            ("gates", "d_g[t] = d_c[t] ⊙ i[t]"),
            ("gates", "d_a_i[t] = d_i[t] ⊙ i[t] ⊙ (1 − i[t])"),
            ("gates", "d_a_f[t] = d_f[t] ⊙ f[t] ⊙ (1 − f[t])"),
            ("gates", "d_a_g[t] = d_g[t] ⊙ (1 − g[t]²)"),
            ("gates", "d_a_o[t] = d_o[t] ⊙ o[t] ⊙ (1 − o[t])"),
            ("gates", "d_a[t] = concat(d_a_i[t], d_a_f[t], d_a_g[t], d_a_o[t])"),
            ("x", "d_x[t] = d_a[t]·W_ih"),
            ("h", "d_h[t − 1] = d_a[t]·W_hh"),
            ("c", "d_c[t − 1] = d_c[t] ⊙ f[t]"),
            ("weight_ih", "d_W_ih = Σₜ d_a[t]ᵀ·x[t]"),
            ("weight_hh", "d_W_hh = Σₜ d_a[t]ᵀ·h[t − 1]"),
            ("bias_ih", "d_b_ih = Σ[t, b] d_a[t, b]"),
            ("bias_hh", "d_b_hh = Σ[t, b] d_a[t, b]"),
        ],
        saved: "The inputs, the weights, the states of all steps, the gates after their functions, and \
                tanh(c').",
    },
    Cell {
        step: "gru_step",
        sequence: "gru",
        title: "a GRU",
        file: "recurrent/gru.rs",
        functions: ["gru_forward", "gru_backward"],
        has_cell_state: false,
        remark: "σ is the logistic function. Each weight and bias has a block of H rows for each gate, in \
                 the order r, z, n: W_ir is the block of W_ih for the gate r. The reset gate stands between \
                 the sums of the state's side and those of the input's side, so their last blocks have \
                 different gradients.",
        symbols: &[
            ("r, z", "[B, H], the reset gate and the update gate: between 0 and 1"),
            ("n", "[B, H], the candidate: between −1 and 1"),
            ("s", "[B, H], what the old state says to the candidate"),
            ("a_r, a_z, a_n", "[B, H], the sums before σ and tanh"),
            ("a_x", "[B, 3·H], the sums of the input's side: their last block goes to a_n"),
            ("a_h", "[B, 3·H], the sums of the state's side: their last block is s"),
            ("W_ih, W_hh, b_ih, b_hh", "weight_ih, weight_hh, bias_ih, bias_hh"),
        ],
        forward: &[
            "r[t] = σ(x[t]·W_irᵀ + b_ir + h[t − 1]·W_hrᵀ + b_hr)",
            "z[t] = σ(x[t]·W_izᵀ + b_iz + h[t − 1]·W_hzᵀ + b_hz)",
            "s[t] = h[t − 1]·W_hnᵀ + b_hn",
            "n[t] = tanh(x[t]·W_inᵀ + b_in + r[t] ⊙ s[t])",
            "h[t] = (1 − z[t]) ⊙ n[t] + z[t] ⊙ h[t − 1]",
        ],
        backward: &[
            ("gates", "d_n[t] = d_h[t] ⊙ (1 − z[t])"),
            ("gates", "d_z[t] = d_h[t] ⊙ (h[t − 1] − n[t])"),
            ("gates", "d_a_n[t] = d_n[t] ⊙ (1 − n[t]²)"),
            ("gates", "d_r[t] = d_a_n[t] ⊙ s[t]"),
            ("gates", "d_s[t] = d_a_n[t] ⊙ r[t]"),
            ("gates", "d_a_r[t] = d_r[t] ⊙ r[t] ⊙ (1 − r[t])"),
            ("gates", "d_a_z[t] = d_z[t] ⊙ z[t] ⊙ (1 − z[t])"),
            ("gates", "d_a_x[t] = concat(d_a_r[t], d_a_z[t], d_a_n[t])"),
            ("gates", "d_a_h[t] = concat(d_a_r[t], d_a_z[t], d_s[t])"),
            ("x", "d_x[t] = d_a_x[t]·W_ih"),
            ("h", "d_h[t − 1] = d_h[t] ⊙ z[t] + d_a_h[t]·W_hh"),
            ("weight_ih", "d_W_ih = Σₜ d_a_x[t]ᵀ·x[t]"),
            ("weight_hh", "d_W_hh = Σₜ d_a_h[t]ᵀ·h[t − 1]"),
            ("bias_ih", "d_b_ih = Σ[t, b] d_a_x[t, b]"),
            ("bias_hh", "d_b_hh = Σ[t, b] d_a_h[t, b]"),
        ],
        saved: "The inputs, the weights, the states of all steps, the gates after their functions, and s.",
    },
];

/// What is written otherwise for a step by itself, in this order. The states behind the step have a
/// prime, and a weight gets its gradient from other steps, too.
const WITHOUT_TIME: [(&str, &str); 8] = [
    ("= Σ[t, b] ", "+= Σ[b] "),
    ("= Σₜ ", "+= "),
    ("[t, b]", "[b]"),
    ("[t − 1]", ""),
    ("a_h[t]", "a_h"),
    ("h[t]", "h'"),
    ("c[t]", "c'"),
    ("[t]", ""),
];

fn of_step(formula: &str) -> String {
    WITHOUT_TIME.iter().fold(formula.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The names of the ops.
pub(super) fn ops() -> impl Iterator<Item = &'static str> {
    CELLS.iter().flat_map(|cell| [cell.sequence, cell.step])
}

/// The explanation of a step or of a sequence.
pub(super) fn explanation(op: &str) -> Option<Explanation> {
    let cell = CELLS.iter().find(|cell| [cell.step, cell.sequence].contains(&op))?;
    if op == cell.step { cell.of_step() } else { cell.of_sequence() }.ok()
}

impl Cell {
    fn of_step(&self) -> Result<Explanation, NotationError> {
        let mut found = Explanation::new(self.step, format!("A step of {}", self.title))
            .input("x", "[B, I]")
            .input("h", "[B, H], the hidden state before");
        if self.has_cell_state {
            found = found.input("c", "[B, H], the cell state before");
        }
        found = self.parameters(found).output("h'", "[B, H], the hidden state after the step");
        if self.has_cell_state {
            found = found.output("c'", "[B, H], the cell state after it");
        }
        for formula in self.forward {
            found = found.forward(&of_step(formula))?;
        }
        for (input, formula) in self.backward {
            found = found.backward(input, &of_step(formula))?;
        }
        Ok(found)
    }

    fn of_sequence(&self) -> Result<Explanation, NotationError> {
        let capital = |text: &str| text.replacen('a', "A", 1);
        let title = format!("{} over a sequence", capital(self.title));
        let mut found = Explanation::new(self.sequence, title)
            .input("x", "[T, B, I]")
            .input("h", "[B, H], the hidden state before the first step: h[0]");
        if self.has_cell_state {
            found = found.input("c", "[B, H], the cell state before it: c[0]");
        }
        found = self
            .parameters(found)
            .output("output", "[T, B, H], the hidden state after each step: h[1], h[2], …")
            .output("h'", "[B, H], the hidden state at the end");
        if self.has_cell_state {
            found = found.output("c'", "[B, H], the cell state at the end");
        }
        for formula in self.forward {
            found = found.forward(formula)?;
        }
        // What comes in from outside, and from the step behind.
        found = found.backward("output", "d_h[t] += d_output[t]")?;
        for (input, formula) in self.backward {
            found = found.backward(input, formula)?;
        }
        let through_time = "The gradients of the weights are sums over all steps: that is \
                            backpropagation through time.";
        found.remark = [&found.remark, through_time].join(" ").trim_start().into();
        Ok(found)
    }

    /// What step and sequence have in common.
    fn parameters(&self, found: Explanation) -> Explanation {
        let rows = match self.symbols.iter().find(|(name, _)| ["a", "a_x"].contains(name)) {
            Some((_, meaning)) if meaning.contains("4·H") => "4·H",
            Some((_, meaning)) if meaning.contains("3·H") => "3·H",
            _ => "H",
        };
        let through_time = "recurrent/through_time.rs";
        let [forward, backward] = self.functions;
        let mut found = found
            .input("weight_ih", &format!("[{rows}, I], of the input"))
            .input("weight_hh", &format!("[{rows}, H], of the hidden state"))
            .input("bias_ih", &format!("[{rows}]"))
            .input("bias_hh", &format!("[{rows}]"))
            .sources(
                &our_sources(),
                &[Function(self.file, forward), Method(through_time, "Forward", "band")],
                &[
                    Function(self.file, backward),
                    Function(through_time, "backward"),
                    Method(through_time, "Backward", "band"),
                ],
            );
        found.remark = self.remark.into();
        found.symbols = symbols(self.symbols);
        found.saved = self.saved.into();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_of_a_step_are_those_of_a_sequence_without_the_time() {
        let rows = [
            ("h[t] = o[t] ⊙ tanh(c[t])", "h' = o ⊙ tanh(c')"),
            ("d_h[t − 1] = d_h[t] ⊙ z[t] + d_a_h[t]·W_hh", "d_h = d_h' ⊙ z + d_a_h·W_hh"),
            ("d_W_hh = Σₜ d_a_h[t]ᵀ·h[t − 1]", "d_W_hh += d_a_hᵀ·h"),
            ("d_b_hh = Σ[t, b] d_a[t, b]", "d_b_hh += Σ[b] d_a[b]"),
        ];
        for (sequence, step) in rows {
            assert_eq!(of_step(sequence), step);
        }
        for cell in &CELLS {
            let formulas = cell.forward.iter().chain(cell.backward.iter().map(|(_, rule)| rule));
            for formula in formulas {
                for text in [(*formula).to_owned(), of_step(formula)] {
                    let read: crate::Formula = text.parse().unwrap();
                    assert_eq!(read.to_string(), text, "as it is written");
                }
            }
        }
    }
}
