//! The lessons of a step of an LSTM and of a GRU.

use ndarray::ArrayD;
use unspool_layers::recurrent::{Cell, CellStep, Gru, Lstm};

use super::{Lesson, array, drawn, half_squared_error, input, parameter, tape, told};
use crate::{Recorder, Result, Trace};

/// The lengths of an input and of a state.
const INPUT: usize = 2;
const HIDDEN: usize = 2;

/// A step of a cell whose new hidden state should be something else.
fn step<C: Cell>(cell: C, title: &str) -> Result<Trace> {
    let tape = tape();
    let recorder = Recorder::new(&tape, title);
    let x = input(&recorder, "x", array(&[1, INPUT], &[1.0, -0.5]));
    let mut inputs = vec![x, input(&recorder, "h", array(&[1, HIDDEN], &[0.3, -0.6]))];
    if C::KIND.has_cell_state() {
        inputs.push(input(&recorder, "c", array(&[1, HIDDEN], &[0.8, -1.2])));
    }
    let weights = weights::<C>(INPUT, HIDDEN, 1.0);
    inputs.extend(weights.map(|(name, value)| parameter(&recorder, name, value)));
    let next = tape.apply_shared(std::sync::Arc::new(CellStep::new(cell)), &inputs)?;
    let mut next = next.into_iter().zip(["h'", "c'"]);
    let Some((h, name)) = next.next() else { return Ok(Trace::default()) };
    recorder.name(name, h);
    for (c, name) in next {
        recorder.name(name, c);
    }
    let loss = half_squared_error(&recorder, h, array(&[1, HIDDEN], &[0.5, 0.5]))?;
    recorder.update(0.5);
    recorder.finish(loss)
}

/// The parameters of a cell, by name, drawn in `-size..size`.
pub(super) fn weights<C: Cell>(
    columns: usize,
    hidden: usize,
    size: f64,
) -> [(&'static str, ArrayD<f64>); 4] {
    let rows = C::KIND.gates().len() * hidden;
    let shapes: [(&str, &[usize]); 4] = [
        ("weight_ih", &[rows, columns]),
        ("weight_hh", &[rows, hidden]),
        ("bias_ih", &[rows]),
        ("bias_hh", &[rows]),
    ];
    let seed = C::KIND.name();
    shapes.map(|(name, shape)| (name, drawn(&format!("{seed}.{name}"), shape, size)))
}

pub(super) fn lstm() -> Result<Lesson> {
    let trace = step(Lstm, "one step of an LSTM with two units")?;
    Ok(told(
        &[
            "An LSTM has two memories: the cell state c, which it keeps, and the hidden state h, which \
             it shows. At each step three gates, numbers between 0 and 1, decide for each unit. The \
             forget gate f: how much of the old c stays. The input gate i: how much of the candidate g \
             comes in. The output gate o: how much of the new c is shown. So c' = f ⊙ c + i ⊙ g, and \
             h' = o ⊙ tanh(c').",
            "Backward, the gradient of h' splits: one part goes to the output gate, one through tanh \
             to c'. From c' it goes on to all four: d_f = d_c' ⊙ c, d_i = d_c' ⊙ g, d_g = d_c' ⊙ i, \
             and to the old cell state d_c = d_c' ⊙ f. This last line is the point of an LSTM: on its \
             way from cell state to cell state the gradient is multiplied by f and by nothing else, no \
             weight and no tanh. A gate that is open lets it through unharmed. (The old c also reaches \
             the loss over the old h; what comes back that way is added.)",
            "Each gate then passes its gradient through its own sigmoid or tanh, and the four pieces \
             together are the gradient of one sum a = x·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh. The gradient of a \
             weight is, as for one neuron, what came in times what it was multiplied by.",
            "In training all of this is one op. Open it to walk through the gates one by one; the \
             outputs and the gradients of both are compared.",
        ],
        &[
            "cell state, backward: the four products",
            "a gate near 0 or 1: its sigmoid passes nearly nothing on, since y·(1 − y) is small",
            "both biases get the same gradient: only their sum matters",
        ],
        vec![trace],
    ))
}

pub(super) fn gru() -> Result<Lesson> {
    let trace = step(Gru, "one step of a GRU with two units")?;
    Ok(told(
        &[
            "A GRU has one memory, h, and two gates. The reset gate r says how much of the old state \
             the candidate n looks at; the update gate z says how much of the old state stays: \
             h' = (1 − z) ⊙ n + z ⊙ h. One gate does the work of an LSTM's two: what is not kept is \
             replaced.",
            "Backward, d_h' goes three ways: to the candidate by 1 − z, to the update gate by h − n, \
             and straight to the old state by z. When candidate and old state agree, the update gate \
             gets no gradient: it makes no difference how they are mixed.",
            "The reset gate stands behind the product s = h·W_hnᵀ + b_hn, as in PyTorch and cuDNN; in \
             the paper it stands before. So the hidden part of the candidate gets its gradient times r, \
             and bias_ih and bias_hh get different gradients there, unlike in an LSTM.",
        ],
        &[
            "the straight path from d_h' to d_h through z: what the cell state is to an LSTM",
            "the last rows of d_bias_ih and d_bias_hh: they differ by the factor r",
        ],
        vec![trace],
    ))
}
