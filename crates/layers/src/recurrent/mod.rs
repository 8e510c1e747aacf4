//! Recurrent layers: the plain RNN, LSTM and GRU.
//!
//! - [`rnn`], [`lstm`] and [`gru`] have each cell's arithmetic, forward and backward beneath each
//!   other.
//! - [`through_time`] runs any cell over the steps of a batch, and backwards.
//! - [`step`] and [`sequence`] make ops of it: one step, or a whole sequence.
//! - [`rows`] is one step without an op, for loops over time that are an op themselves.
//! - [`composed`] has the same functions out of primitive ops.
//! - [`layer`] stacks sequences: several layers, two directions, dropout in between.
//!
//! Weights have PyTorch's layout and order of gates, so they move between the two.

pub mod cell;
pub mod composed;
mod conformance;
pub mod gru;
pub mod layer;
pub mod lstm;
mod own;
pub mod packing;
pub mod rnn;
pub mod rows;
pub mod sequence;
pub mod step;
pub mod through_time;

pub use cell::{Cell, CellKind};
pub use conformance::conformance;
pub use gru::Gru;
pub use layer::{Recurrent, RecurrentConfig, RecurrentInit, State};
pub use lstm::Lstm;
pub use own::{fast_kernel, naive_kernel, reference};
pub use packing::Packing;
pub use rnn::Rnn;
pub use rows::CellRows;
pub use sequence::Sequence;
pub use step::CellStep;

use unspool_tensor::cases::{Case, Input};

/// The cases of this module: every cell, one step and whole sequences.
pub fn cases() -> Vec<Case> {
    [cases_of(Rnn), cases_of(Lstm), cases_of(Gru)].into_iter().flatten().collect()
}

fn cases_of<C: Cell>(cell: C) -> Vec<Case> {
    let kind = C::KIND;
    let mut cases = Vec::new();

    let mut step = |option: &str, [batch, columns, hidden]: [usize; 3], active: Option<&[bool]>| {
        let active = active.map(<[bool]>::to_vec);
        let x = Input::new("x", "B I", &[batch, columns]);
        let x = match &active {
            Some(active) => x.with_unseen(|at| !active[at[0]]),
            None => x,
        };
        let inputs = inputs(kind, x, batch, hidden);
        let op = CellStep { cell, active: active.clone() };
        cases.push(
            Case::new(format!("{}{option}", C::STEP), op, inputs)
                .twin(move |_, inputs| composed::step(kind, active.as_deref(), inputs)),
        );
    };
    step("", [3, 2, 4], None);
    step("/batch_1", [1, 3, 2], None);
    step("/hidden_1", [3, 2, 1], None);
    step("/active", [4, 2, 3], Some(&[true, false, true, false]));

    let mut sequence = |option: &str,
                        [time_steps, batch, columns, hidden]: [usize; 4],
                        lengths: Option<&[usize]>,
                        reverse: bool| {
        let lengths = lengths.map(<[usize]>::to_vec);
        let x = Input::new("x", "T B I", &[time_steps, batch, columns]);
        let x = match &lengths {
            Some(lengths) => x.with_unseen(|at| at[0] >= lengths[at[1]]),
            None => x,
        };
        let op = Sequence { cell, lengths: lengths.clone(), reverse };
        cases.push(
            Case::new(format!("{}{option}", kind.name()), op, inputs(kind, x, batch, hidden)).twin(
                move |_, inputs| composed::sequence(kind, lengths.as_deref(), reverse, inputs),
            ),
        );
    };
    let mixed: Option<&[usize]> = Some(&[2, 4, 1, 3]);
    sequence("", [4, 3, 2, 3], None, false);
    sequence("/reverse", [4, 3, 2, 3], None, true);
    sequence("/lengths", [4, 4, 2, 3], mixed, false);
    sequence("/lengths_reverse", [4, 4, 2, 3], mixed, true);
    sequence("/all_padded", [5, 4, 2, 3], mixed, false);
    sequence("/length_1", [3, 2, 2, 3], Some(&[1, 1]), true);
    sequence("/length_0", [3, 3, 2, 2], Some(&[0, 3, 0]), false);
    sequence("/length_0_reverse", [3, 3, 2, 2], Some(&[2, 0, 3]), true);
    sequence("/one_step", [1, 3, 2, 3], None, false);
    sequence("/batch_1", [4, 1, 2, 3], None, true);
    sequence("/hidden_1", [4, 3, 2, 1], Some(&[4, 2, 3]), false);
    cases
}

/// The inputs of a case: x, the states, the weights.
fn inputs(kind: CellKind, x: Input, batch: usize, hidden: usize) -> Vec<Input> {
    let columns = x.shape[x.shape.len() - 1];
    let gates = kind.gates().len() * hidden;
    let mut inputs = vec![x, Input::new("h", "B H", &[batch, hidden])];
    if kind.has_cell_state() {
        inputs.push(Input::new("c", "B H", &[batch, hidden]));
    }
    inputs.extend([
        Input::new("weight_ih", "H I", &[gates, columns]).with_blocks(kind.gates()),
        Input::new("weight_hh", "H H", &[gates, hidden]).with_blocks(kind.gates()),
        Input::new("bias_ih", "H", &[gates]).with_blocks(kind.gates()),
        Input::new("bias_hh", "H", &[gates]).with_blocks(kind.gates()),
    ]);
    inputs
}
