//! The layers' own pointwise arithmetic as kernels: what another kernel is measured against.

use std::marker::PhantomData;
use std::sync::Arc;

use unspool_tensor::kernels::cells::{CellKernel, CellLayout, CellReference};
use unspool_tensor::kernels::pointwise::{Fast, Functions, Naive};
use unspool_tensor::{Real, vectorised};

use super::cell::{BackwardRow, Cell, CellKind, ForwardRow};
use super::rows::with_cell;
use super::{Gru, Lstm, Rnn};

/// What a layer runs when no other kernel is registered, called `fast`.
pub fn fast_kernel<T: Real>(kind: CellKind) -> Arc<dyn CellKernel<T>> {
    with_cell!(kind, C => Arc::new(OwnCell { name: "fast", functions: Fast, cell: PhantomData::<C> }))
}

/// The specification, called `naive`.
pub fn naive_kernel<T: Real>(kind: CellKind) -> Arc<dyn CellKernel<T>> {
    with_cell!(kind, C => Arc::new(OwnCell { name: "naive", functions: Naive, cell: PhantomData::<C> }))
}

/// What kernels of a cell are measured against.
pub fn reference(kind: CellKind) -> CellReference {
    CellReference { layout: with_cell!(kind, C => layout::<C>()), kernel: naive_kernel(kind) }
}

fn layout<C: Cell>() -> CellLayout {
    CellLayout {
        gates: C::GATES,
        hidden_gates: if C::SUMS_GATES { 0 } else { C::GATES },
        extras: C::EXTRAS,
        hidden_states: usize::from(C::KIND == CellKind::Gru),
        cell_states: usize::from(C::KIND.has_cell_state()),
    }
}

#[derive(Debug)]
struct OwnCell<C, F> {
    name: &'static str,
    functions: F,
    cell: PhantomData<C>,
}

impl<C: Cell, F: Functions<T> + std::fmt::Debug, T: Real> CellKernel<T> for OwnCell<C, F> {
    fn name(&self) -> &str {
        self.name
    }

    fn cell(&self) -> &str {
        C::KIND.name()
    }

    fn forward(&self, row: ForwardRow<'_, T>) {
        forward_row(self.cell, self.functions, row);
    }

    fn backward(&self, row: BackwardRow<'_, T>) {
        backward_row(self.cell, row);
    }
}

vectorised! {
    fn forward_row<C: Cell, F: Functions<T>, T: Real>(
        _cell: PhantomData<C>,
        functions: F,
        row: ForwardRow<'_, T>,
    ) {
        C::forward(functions, row);
    }
}

vectorised! {
    fn backward_row<C: Cell, T: Real>(_cell: PhantomData<C>, row: BackwardRow<'_, T>) {
        C::backward(row);
    }
}
