//! The lesson of backpropagation through time: the plain network beside the LSTM.

use std::sync::Arc;

use unspool_layers::recurrent::{Cell, CellStep, Lstm, Rnn};

use super::cells::weights;
use super::{Lesson, Series, array, drawn, half_squared_error, input, parameter, tape, told};
use crate::{Recorder, Result, Trace};

const STEPS: usize = 5;
const INPUT: usize = 2;
const HIDDEN: usize = 2;
/// How large the recurrent weights are.
const SIZE: f64 = 0.5;

/// Five steps of a cell; the loss is of the last hidden state alone. The trace, and the norms of the
/// gradients of the hidden states (and cell states) by time step.
fn unrolled<C: Cell>(cell: C, title: &str) -> Result<(Trace, Vec<Series>)> {
    let tape = tape();
    let recorder = Recorder::new(&tape, title);
    let mut weights = weights::<C>(INPUT, HIDDEN, SIZE);
    if C::KIND.has_cell_state() {
        let [.., (_, bias_ih), _] = &mut weights;
        // A forget gate that is open: a bias of 3.
        *bias_ih = array(&[4 * HIDDEN], &[0.0, 0.0, 3.0, 3.0]);
    }
    let weights = weights.map(|(name, value)| parameter(&recorder, name, value));
    let mut states = vec![input(&recorder, "h0", array(&[1, HIDDEN], &[]))];
    if C::KIND.has_cell_state() {
        states.push(input(&recorder, "c0", array(&[1, HIDDEN], &[])));
    }
    let mut slots = Vec::new();
    for time in 0..STEPS {
        tape.at_time(Some(time));
        let x = drawn(&format!("x{time}"), &[1, INPUT], 1.0);
        let mut inputs = vec![input(&recorder, &format!("x{}", time + 1), x)];
        inputs.append(&mut states);
        inputs.extend(&weights);
        states = tape.apply_shared(Arc::new(CellStep::new(cell)), &inputs)?;
        for (state, letter) in states.iter().zip(["h", "c"]) {
            recorder.name(format!("{letter}{}", time + 1), *state);
            slots.push((time, letter, state.slot()));
        }
    }
    tape.at_time(None);
    let loss = half_squared_error(&recorder, states[0], array(&[1, HIDDEN], &[1.0, -1.0]))?;
    let trace = recorder.finish(loss)?;
    let kind = if C::KIND.has_cell_state() { "LSTM" } else { "plain network" };
    let norms = |letter: &str| -> Vec<(usize, f64)> {
        let of_letter = slots.iter().filter(|(_, other, _)| *other == letter);
        let norm = |slot: usize| trace.values.get(slot)?.gradient.as_ref().map(|d| d.norm());
        of_letter.filter_map(|&(time, _, slot)| Some((time + 1, norm(slot)?))).collect()
    };
    let mut series =
        vec![Series { name: format!("‖d_h‖ of the {kind} by time step"), points: norms("h") }];
    if C::KIND.has_cell_state() {
        let name = format!("‖d_c‖ of the {kind} by time step");
        series.push(Series { name, points: norms("c") });
    }
    if let Some(weight) = trace.find("weight_hh") {
        let points = trace.norms_over_time(weight);
        let name = format!("‖what a step adds to d_weight_hh‖ of the {kind}");
        series.push(Series { name, points });
    }
    Ok((trace, series))
}

pub(super) fn through_time() -> Result<Lesson> {
    let (plain, of_plain) = unrolled(Rnn, "a plain network, whose gradient vanishes")?;
    let (lstm, of_lstm) = unrolled(Lstm, "an LSTM with an open forget gate")?;
    let lesson = told(
        &[
            "A recurrent network runs the same cell at each step, with the same weights. Unrolled, it \
             is a deep network whose layers are the time steps. Backpropagation through time is \
             nothing but the backward pass over that: from the last step to the first.",
            "Here the loss looks at the last hidden state h5 alone. To reach h1 the gradient must go \
             back through four steps. In the plain network each of them is d_h = (d_h' ⊙ (1 − \
             h'²))·W_hh: multiplied by a number below 1 and by a weight. With weights of this size the \
             gradient shrinks at each step, and what happened at the first step hardly has a say. That \
             is the vanishing gradient. With large weights it can grow instead, and explode.",
            "In the LSTM the gradient has a second way back, through the cell state: d_c = d_c' ⊙ f, \
             beside what comes through h. The forget gates are open here (their bias is 3, so f is \
             about 0.95), and four of them in a row would leave 0.95⁴, about 0.81. Their real values \
             leave 0.81 of the first number and 0.75 of the second, and the way through h adds to one \
             number and takes from the other: from c4 to c0, nearly three quarters of the norm of the \
             gradient are left (nothing reads c5, so none comes in there), where the plain network has \
             some six thousandths of that of its state.",
            "The weight W_hh was used five times, and each use adds its share to the one gradient: \
             d_W_hh is the sum over the steps of what came in at that step times the state it was \
             multiplied by. At the first step the state is 0, so its share is 0, whatever comes in.",
        ],
        &[
            "the norms by time step, side by side",
            "the parts of d_weight_hh, one a step: which one dominates?",
            "the share of step 1 in d_weight_hh: 0, since h0 is 0",
        ],
        vec![plain, lstm],
    );
    Ok(Lesson { series: [of_plain, of_lstm].concat(), ..lesson })
}
