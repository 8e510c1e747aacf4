//! What a recurrent cell is: its sizes, and the pointwise arithmetic of one row in both directions.
//!
//! A cell's matrix products are the same for all cells and done for all rows at once by
//! [`through_time`](super::through_time). What is left is arithmetic unit by unit, on one row of
//! `H` hidden units. So a cell is a pair of functions on slices: see [`lstm`](super::lstm) for the
//! model of one.

use std::fmt::{self, Debug, Display};
use std::str::FromStr;

pub use unspool_tensor::kernels::cells::{BackwardRow, ForwardRow};
use unspool_tensor::kernels::pointwise::Functions;
use unspool_tensor::{Error, Real, Result};

/// The cells by name, as a configuration chooses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// The plain recurrent network with tanh; see [`rnn`](super::rnn).
    Rnn,
    /// Long short-term memory; see [`lstm`](super::lstm).
    Lstm,
    /// The gated recurrent unit; see [`gru`](super::gru).
    Gru,
}

impl CellKind {
    /// All of them.
    pub const ALL: [CellKind; 3] = [CellKind::Rnn, CellKind::Lstm, CellKind::Gru];

    /// The names of the gates, in the order of their blocks of `H` rows in the weights; PyTorch's
    /// order.
    pub const fn gates(self) -> &'static [&'static str] {
        match self {
            CellKind::Rnn => &["hidden"],
            CellKind::Lstm => &["input", "forget", "cell", "output"],
            CellKind::Gru => &["reset", "update", "new"],
        }
    }

    /// Whether there is a cell state `c` beside the hidden state `h`.
    pub const fn has_cell_state(self) -> bool {
        matches!(self, CellKind::Lstm)
    }

    /// The name in configurations: `rnn`, `lstm` or `gru`.
    pub const fn name(self) -> &'static str {
        match self {
            CellKind::Rnn => "rnn",
            CellKind::Lstm => "lstm",
            CellKind::Gru => "gru",
        }
    }
}

impl Display for CellKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CellKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            Error::invalid("cell", format!("{name:?} is none of \"rnn\", \"lstm\", \"gru\""))
        })
    }
}

/// A recurrent cell: sizes, and the pointwise arithmetic of one row.
///
/// Rows are slices of `H` numbers, or of as many blocks of `H` as a constant says. A state that the
/// cell does not have is an empty slice.
pub trait Cell: Copy + Debug + Send + Sync + 'static {
    /// Which cell it is.
    const KIND: CellKind;
    /// The name of the op that runs one step.
    const STEP: &'static str;
    /// How many gates there are: blocks of `H` rows in the weights.
    const GATES: usize = Self::KIND.gates().len();
    /// How many blocks of `H` the forward pass keeps beside the gates.
    const EXTRAS: usize;
    /// Whether the input and the hidden state reach a gate only as the sum `W_ih·x + b_ih + W_hh·h
    /// + b_hh`. Then the sum is what the cell is given, and has one gradient.
    const SUMS_GATES: bool;

    /// One row forward, with these variants of tanh and the logistic function. To be marked
    /// `#[inline(always)]`, so that it is compiled for each instruction set.
    fn forward<T: Real>(functions: impl Functions<T>, row: ForwardRow<'_, T>);

    /// One row backward. Marked in the same way.
    fn backward<T: Real>(row: BackwardRow<'_, T>);
}

/// A row of `N` blocks of `hidden` numbers, block by block.
///
/// The length of each is visibly `hidden`, so that loops to there need no checks and vectorise.
///
/// # Panics
/// The row is shorter: a mistake of the cell.
#[inline(always)]
pub(super) fn blocks<const N: usize, T>(row: &[T], hidden: usize) -> [&[T]; N] {
    std::array::from_fn(|block| &row[block * hidden..][..hidden])
}

/// As [`blocks`], to write to.
#[inline(always)]
pub(super) fn blocks_mut<const N: usize, T>(row: &mut [T], hidden: usize) -> [&mut [T]; N] {
    let mut rest = row;
    std::array::from_fn(|_| {
        let (block, after) = std::mem::take(&mut rest).split_at_mut(hidden);
        rest = after;
        &mut block[..hidden]
    })
}
