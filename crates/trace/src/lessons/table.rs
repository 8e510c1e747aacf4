//! The lesson of the embedding.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use unspool_layers::embedding::EmbeddingOp;

use super::{Lesson, array, drawn, half_squared_error, parameter, tape, told};
use crate::{Recorder, Result};

pub(super) fn embedding() -> Result<Lesson> {
    let tape = tape();
    let recorder = Recorder::new(&tape, "five words looked up, one of them twice, one padding");
    let table = parameter(&recorder, "table", drawn("table", &[6, 2], 1.0));
    let indices = ArrayD::from_shape_vec(IxDyn(&[5]), vec![2, 4, 2, 5, 0]);
    let indices = Arc::new(indices.unwrap_or_else(|_| ArrayD::zeros(IxDyn(&[5]))));
    let [vectors] = tape.apply(EmbeddingOp { indices, padding: Some(0) }, &[table])?;
    recorder.name("vectors", vectors);
    let mean = recorder.name("mean", vectors.mean(0)?);
    let loss = half_squared_error(&recorder, mean, array(&[2], &[0.5, -0.5]))?;
    recorder.update(0.5);
    let trace = recorder.finish(loss)?;
    Ok(told(
        &[
            "A word is a number to a computer, and its number says nothing. An embedding is a table \
             with a row for each word of the vocabulary; to look a word up is to copy its row. The \
             sentence here is 2 4 2 5 0, and 0 is padding.",
            "The gradient of the table has the shape of the table, but only the rows that were looked \
             up are touched. Word 2 stands in two places: its row gets the sum of both gradients. Rows \
             1 and 3 were not looked up, so nothing that they hold could change the loss, and their \
             gradient is 0.",
            "Padding is a word that is none. Its row is read, and would learn like any other; it is \
             kept from that by decree: its gradient is 0. The composed twin says the same in its own \
             way. It cuts the padding's row off from the table before it looks anything up.",
        ],
        &[
            "row 2 of d_table: twice the gradient of the others",
            "rows 1 and 3, and the padding's row 0: zero, for two different reasons",
        ],
        vec![trace],
    ))
}
