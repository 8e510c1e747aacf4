//! The pointwise part of recurrent cells as work: the layers' own, and any of the user's.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use unspool_tensor::Context;
use unspool_tensor::kernels::cells::{
    BackwardRow, CellKernel, CellLayout, CellReference, ForwardRow,
};

use crate::function::Function;
use crate::product::Number;
use crate::workload::Expected;

/// A pass of a cell's pointwise part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CellPass {
    /// From the gates' sums to the next states.
    Forward,
    /// From the gradients of the next states to those of the sums and of the states before.
    Backward,
}

impl CellPass {
    /// Both of them.
    pub const ALL: [CellPass; 2] = [CellPass::Forward, CellPass::Backward];
}

impl fmt::Display for CellPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CellPass::Forward => "forward",
            CellPass::Backward => "backward",
        })
    }
}

impl<T: Number> Function<T> {
    /// The pointwise part of a cell by this kernel, for a batch of `rows` rows of `hidden` units,
    /// beside the cell's specification (`unspool_layers::recurrent::reference`). Several threads have
    /// bands of rows, as in a layer.
    ///
    /// What a kernel writes over is copied to each row just before it, which is timed too. The
    /// bound is that of `unspool_layers::recurrent::conformance`: a kernel that conforms passes.
    pub fn cell(
        kernel: Arc<dyn CellKernel<T>>,
        reference: &CellReference,
        pass: CellPass,
        size: [usize; 2],
        context: &Context,
    ) -> Self {
        of_cell(kernel, reference, pass, size, context)
    }
}

/// How large the sums of the gates are.
const SUMS: f64 = 4.0;
/// How many roundings of the largest term an element may be off.
const ROUNDINGS: f64 = 16.0;

fn of_cell<T: Number>(
    kernel: Arc<dyn CellKernel<T>>,
    reference: &CellReference,
    pass: CellPass,
    size: [usize; 2],
    context: &Context,
) -> Function<T> {
    let [rows, hidden] = size;
    let layout = reference.layout;
    let batch = Batch::<T>::new(layout, size);
    let Widths { gates, hidden_gates, states, cell_states, extras, .. } = batch.widths;
    let name = format!("{} {pass}", kernel.cell());
    let (variant, shape) = (kernel.name().to_owned(), format!("{rows}x{hidden}"));
    let exact_batch = Batch::<f64>::new(layout, size);
    let own = reference.kernel.clone();
    let exact_outputs = batch.output_lens(pass);
    let threads = context.clone();
    let function = Function::new(
        name,
        variant,
        shape,
        context,
        move |inputs, outputs| batch.run(&*kernel, pass, inputs, outputs, &threads),
        move |inputs| {
            let mut outputs = exact_outputs.map(|len| vec![f64::NAN; len]).to_vec();
            exact_batch.run(&*own, pass, inputs, &mut outputs, &Context::sequential());
            let terms = if pass == CellPass::Forward { SUMS } else { 1.0 };
            let expected = |value: f64| {
                let bound = ROUNDINGS * T::EPSILON * value.abs().max(terms);
                Expected { value, bound }
            };
            outputs.into_iter().map(|output| output.into_iter().map(expected).collect()).collect()
        },
    );
    let inputs = match pass {
        CellPass::Forward => vec![
            (gates, -SUMS..SUMS),
            (hidden_gates, -SUMS..SUMS),
            (states, -1.0..1.0),
            (cell_states, -2.0..2.0),
        ],
        CellPass::Backward => vec![
            (gates, 0.0..1.0),
            (extras, -1.0..1.0),
            (states, -1.0..1.0),
            (cell_states, -2.0..2.0),
            // Not near 0, so that every number is seen in what it is multiplied by.
            (hidden, 0.5..1.5),
            (cell_states, 0.5..1.5),
        ],
    };
    let function =
        inputs.into_iter().fold(function, |f, (width, range)| f.input(rows * width, range));
    Batch::<T>::new(layout, size).output_lens(pass).into_iter().fold(function, Function::output)
}

/// How many numbers a row of each array has.
#[derive(Clone, Copy, Debug)]
struct Widths {
    hidden: usize,
    gates: usize,
    hidden_gates: usize,
    /// Those of the hidden state before, for a cell that looks at it.
    states: usize,
    cell_states: usize,
    extras: usize,
}

/// The rows of a batch.
struct Batch<T> {
    rows: usize,
    widths: Widths,
    /// The hidden state that a cell is given which does not look at it.
    idle: Vec<T>,
}

impl<T: Number> Batch<T> {
    fn new(layout: CellLayout, [rows, hidden]: [usize; 2]) -> Self {
        let widths = Widths {
            hidden,
            gates: layout.gates * hidden,
            hidden_gates: layout.hidden_gates * hidden,
            states: layout.hidden_states * hidden,
            cell_states: layout.cell_states * hidden,
            extras: layout.extras * hidden,
        };
        Batch { rows, widths, idle: vec![T::zero(); hidden] }
    }

    /// How many numbers each output of a pass has.
    fn output_lens(&self, pass: CellPass) -> [usize; 4] {
        let Widths { hidden, gates, hidden_gates, cell_states, extras, .. } = self.widths;
        let widths = match pass {
            CellPass::Forward => [gates, hidden, cell_states, extras],
            CellPass::Backward => [gates, hidden_gates, hidden, cell_states],
        };
        widths.map(|width| self.rows * width)
    }

    /// All rows of a pass, in bands when there are several threads.
    fn run(
        &self,
        kernel: &dyn CellKernel<T>,
        pass: CellPass,
        inputs: &[Vec<T>],
        outputs: &mut [Vec<T>],
        context: &Context,
    ) {
        let [a, b, c, d] = outputs else { return };
        let mut rest = [&mut a[..], &mut b[..], &mut c[..], &mut d[..]];
        let band = |rows: Range<usize>, outputs: [&mut [T]; 4]| match (pass, inputs) {
            (CellPass::Forward, [gates, hidden_gates, h, c]) => {
                self.forward(kernel, rows, [gates, hidden_gates, h, c], outputs);
            }
            (CellPass::Backward, [gates, extras, h, c, d_h, d_c]) => {
                self.backward(kernel, rows, [gates, extras, h, c, d_h, d_c], outputs);
            }
            _ => {}
        };
        let bands = context.threads().min(self.rows);
        if bands <= 1 {
            return band(0..self.rows, rest);
        }
        let height = self.rows.div_ceil(bands);
        context.install(|| {
            rayon::scope(|scope| {
                for first in (0..self.rows).step_by(height) {
                    let last = self.rows.min(first + height);
                    let outputs = rest.each_mut().map(|rest| {
                        let width = rest.len() / (self.rows - first);
                        rest.split_off_mut(..width * (last - first)).unwrap_or_default()
                    });
                    let band = &band;
                    scope.spawn(move |_| band(first..last, outputs));
                }
            });
        });
    }

    fn forward(
        &self,
        kernel: &dyn CellKernel<T>,
        rows: Range<usize>,
        [sums, hidden_sums, h, c]: [&[T]; 4],
        [gates, h_next, c_next, extras]: [&mut [T]; 4],
    ) {
        let widths = self.widths;
        for (k, row) in rows.enumerate() {
            let gates = part_mut(gates, widths.gates, k);
            gates.copy_from_slice(part(sums, widths.gates, row));
            kernel.forward(ForwardRow {
                gates,
                hidden_gates: part(hidden_sums, widths.hidden_gates, row),
                h: self.state(h, row),
                c: part(c, widths.cell_states, row),
                h_next: part_mut(h_next, widths.hidden, k),
                c_next: part_mut(c_next, widths.cell_states, k),
                extras: part_mut(extras, widths.extras, k),
            });
        }
    }

    fn backward(
        &self,
        kernel: &dyn CellKernel<T>,
        rows: Range<usize>,
        [gates, extras, h, c, d_h_next, d_c_next]: [&[T]; 6],
        [d_gates, d_hidden_gates, d_h, d_c]: [&mut [T]; 4],
    ) {
        let widths = self.widths;
        for (k, row) in rows.enumerate() {
            let d_h = part_mut(d_h, widths.hidden, k);
            let d_c = part_mut(d_c, widths.cell_states, k);
            d_h.copy_from_slice(part(d_h_next, widths.hidden, row));
            d_c.copy_from_slice(part(d_c_next, widths.cell_states, row));
            kernel.backward(BackwardRow {
                gates: part(gates, widths.gates, row),
                extras: part(extras, widths.extras, row),
                h: self.state(h, row),
                c: part(c, widths.cell_states, row),
                d_h,
                d_c,
                d_gates: part_mut(d_gates, widths.gates, k),
                d_hidden_gates: part_mut(d_hidden_gates, widths.hidden_gates, k),
            });
        }
    }

    fn state<'a>(&'a self, h: &'a [T], row: usize) -> &'a [T] {
        match self.widths.states {
            0 => &self.idle,
            width => part(h, width, row),
        }
    }
}

/// Row `k` of rows of this width.
fn part<T>(rows: &[T], width: usize, k: usize) -> &[T] {
    &rows[k * width..][..width]
}

/// As [`part`], to write to.
fn part_mut<T>(rows: &mut [T], width: usize, k: usize) -> &mut [T] {
    &mut rows[k * width..][..width]
}

#[cfg(test)]
mod tests {
    use unspool_layers::recurrent::{CellKind, fast_kernel, naive_kernel, reference};
    use unspool_tensor::random::Key;

    use super::*;
    use crate::workload::Workload;

    fn all<T: Number>(context: &Context) -> Vec<Function<T>> {
        let kernels = CellKind::ALL
            .into_iter()
            .flat_map(|kind| [naive_kernel(kind), fast_kernel(kind)].map(|kernel| (kernel, kind)));
        kernels
            .flat_map(|(kernel, kind)| CellPass::ALL.map(|pass| (kernel.clone(), kind, pass)))
            .map(|(kernel, kind, pass)| {
                Function::cell(kernel, &reference(kind), pass, [5, 33], context)
            })
            .collect()
    }

    fn right_answers_pass<T: Number>(context: &Context) {
        for mut function in all::<T>(context) {
            let identity = function.identity();
            for key in [5, 6] {
                function.renew(Key::new(key));
                assert!(function.verify().is_err(), "{identity}: nothing was computed");
                function.run();
                function.verify().unwrap_or_else(|wrong| panic!("{identity}: {wrong}"));
            }
            function.rewrite(true);
            assert!(function.verify().is_err(), "{identity}: rewritten");
            function.run();
            for count in 0..12 {
                function.touch(count);
                assert!(function.verify_touched().is_err(), "{identity}: touch {count}");
                function.run();
                function.verify_touched().unwrap();
            }
        }
    }

    #[test]
    fn right_answers_pass_and_old_ones_do_not() {
        let contexts = [Context::sequential(), Context::with_threads(3).unwrap()];
        for context in &contexts {
            right_answers_pass::<f32>(context);
            right_answers_pass::<f64>(context);
        }
    }

    #[test]
    fn work_is_what_is_written() {
        let context = Context::sequential();
        let (own, lstm) = (fast_kernel::<f32>(CellKind::Lstm), reference(CellKind::Lstm));
        let costs = CellPass::ALL
            .map(|pass| Function::cell(own.clone(), &lstm, pass, [2, 3], &context).cost());
        // Gates, h', c', tanh(c'); d_gates, d_h, d_c. Read: sums, c; gates, tanh(c'), c, d_h', d_c'.
        assert_eq!(costs.map(|cost| cost.amount), [2.0 * 3.0 * 7.0, 2.0 * 3.0 * 6.0]);
        assert_eq!(costs.map(|cost| cost.bytes), [4.0 * 72.0, 4.0 * 84.0]);
    }
}
