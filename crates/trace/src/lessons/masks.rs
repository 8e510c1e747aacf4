//! The lessons of masks: padding, and dropout.

use unspool_layers::linear::linear;
use unspool_layers::recurrent::{Rnn, Sequence};
use unspool_tensor::ops::cross_entropy::{CrossEntropyOptions, Divisor};

use super::cells::weights;
use super::{Lesson, array, drawn, half_squared_error, input, parameter, tape, told};
use crate::{Recorder, Result};

const HIDDEN: usize = 2;
const CLASSES: usize = 4;
/// The class that stands for nothing.
const PAD: usize = 0;

pub(super) fn masking() -> Result<Lesson> {
    let tape = tape();
    let recorder = Recorder::new(&tape, "two sentences, of three words and of one, in one batch");
    // [T, B, I]: behind the end of the second sentence stands anything.
    let x = array(&[3, 2, 1], &[1.0, -1.0, 0.5, 9.0, -0.5, 9.0]);
    let x = input(&recorder, "x", x);
    let h = recorder.name("h0", tape.constant(array(&[2, HIDDEN], &[])));
    let weights =
        weights::<Rnn>(1, HIDDEN, 1.0).map(|(name, value)| parameter(&recorder, name, value));
    let op = Sequence { cell: Rnn, lengths: Some(vec![3, 1]), reverse: false };
    let [states, last] = tape.apply(op, &[&[x, h], &weights[..]].concat())?;
    recorder.name("states", states);
    recorder.name("last", last);
    let output = parameter(&recorder, "output", drawn("masking.output", &[CLASSES, HIDDEN], 1.0));
    let scores = recorder.name("scores", linear(states, output, None)?);
    let options = CrossEntropyOptions {
        ignored: Some(PAD),
        divisor: Divisor::Tokens,
        ..CrossEntropyOptions::default()
    };
    let loss = scores.cross_entropy(&[1, 3, 2, PAD, 3, PAD], options)?;
    recorder.name("loss", loss);
    let trace = recorder.finish(loss)?;
    Ok(told(
        &[
            "Sentences of different lengths are put into one array: the short ones are padded. What \
             stands in the padding (here a 9) must not matter, neither to the loss nor to any \
             gradient, or a sentence's result would depend on its neighbours.",
            "Three masks see to that. The recurrent layer ends each row at its own length: its state \
             stays as it is from there on, and its output is 0. The loss leaves out the places whose \
             target is the padding class, and divides by the number of places that are left: 4, not 6. \
             And backward, what was masked gets a gradient of exactly 0: a number that was never read \
             cannot change the loss.",
            "Open the recurrent layer. A step in which the second row is padding has masks before and \
             behind it: new states where the row goes on, old states where it does not, added up. The \
             gradient takes the same fork.",
        ],
        &[
            "d_x: zeros where the second sentence has ended",
            "d_scores: rows of zeros where the target is padding",
            "finite differences agree: move a padded number, and nothing moves",
        ],
        vec![trace],
    ))
}

pub(super) fn dropout() -> Result<Lesson> {
    let tape = tape();
    let recorder = Recorder::new(&tape, "dropout at a rate of one half, before a linear layer");
    let x = input(&recorder, "x", array(&[1, 6], &[0.5, -1.0, 1.5, 0.7, -0.3, 1.1]));
    let dropped = x.dropout(0.5, tape.context().key("lesson.dropout"), 0)?;
    recorder.name("dropped", dropped);
    let weight = parameter(&recorder, "W", drawn("dropout.W", &[2, 6], 1.0));
    let y = recorder.name("y", linear(dropped, weight, None)?);
    let loss = half_squared_error(&recorder, y, array(&[1, 2], &[1.0, 0.0]))?;
    recorder.update(0.1);
    let trace = recorder.finish(loss)?;
    Ok(told(
        &[
            "Dropout switches units off at random while a network trains, each with the same \
             probability, here one half. No unit can then rely on any other. Those that stay are \
             divided by 1 − rate, so that the sum which the next layer sees is right on average; when \
             the model is used, nothing is dropped and nothing is scaled.",
            "Backward the same mask is used: d_x = d_y ⊙ mask / (1 − rate). A unit that was off had no \
             part in the loss and gets no gradient; and neither does a weight that was multiplied by \
             it, since that weight's gradient is what came in times 0.",
            "A mask that is drawn anew for each run would make finite differences meaningless. Here it \
             is a function of a key, the time, the sentence and the unit: the node can run again, with \
             a number moved, and drop the same units.",
        ],
        &[
            "zeros of dropped, of d_x, and the columns of d_W: all at the same units",
            "the units that stay: twice as large, and so is their gradient",
        ],
        vec![trace],
    ))
}
