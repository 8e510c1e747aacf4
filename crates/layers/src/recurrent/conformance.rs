//! Whether a kernel for the pointwise part of a cell is right.
//!
//! The specification is the cell's own function with the functions of the standard library, in
//! `f64`. What a kernel finds may differ from it by some roundings of each term.

use unspool_tensor::kernels::cells::{BackwardRow, CellKernel, ForwardRow};
use unspool_tensor::kernels::matmul::Element;
use unspool_tensor::kernels::pointwise::Naive;
use unspool_tensor::random::Key;
use unspool_tensor::{Error, Result};

use super::{Cell, CellKind, Gru, Lstm, Rnn};

/// How many hidden units a row has: vectors, parts of vectors, and one.
const SIZES: [usize; 12] = [1, 2, 3, 7, 8, 15, 16, 17, 33, 64, 100, 257];
/// How large the sums of the gates are.
const SCALES: [f64; 4] = [0.01, 1.0, 10.0, 300.0];
/// How many roundings of the largest term an element may be off.
const ROUNDINGS: f64 = 16.0;

/// Compares a kernel with its cell, forward and backward, over rows of many sizes and scales; checks
/// that every output is written, and that a NaN stays in its unit.
///
/// # Errors
/// What differs first: the array, the unit, what was found and what was expected. Also when the
/// kernel is for a cell that there is not.
pub fn conformance<T: Element>(kernel: &dyn CellKernel<T>) -> Result<()> {
    match kernel.cell().parse()? {
        CellKind::Rnn => check::<Rnn, T>(kernel),
        CellKind::Lstm => check::<Lstm, T>(kernel),
        CellKind::Gru => check::<Gru, T>(kernel),
    }
}

/// The arrays of a row.
#[derive(Clone, Debug)]
struct Arrays<T> {
    gates: Vec<T>,
    hidden_gates: Vec<T>,
    h: Vec<T>,
    c: Vec<T>,
    h_next: Vec<T>,
    c_next: Vec<T>,
    extras: Vec<T>,
    d_h: Vec<T>,
    d_c: Vec<T>,
    d_gates: Vec<T>,
    d_hidden_gates: Vec<T>,
}

impl<T: Element> Arrays<T> {
    /// Random inputs, which are numbers of `f32`; outputs hold NaN.
    fn random<C: Cell>(hidden: usize, scale: f64, key: Key) -> Self {
        let numbers = |name: &str, blocks: usize, scale: f64| -> Vec<T> {
            let key = key.named(name);
            let number = |at| f64::from((scale * (2.0 * key.uniform(at) - 1.0)) as f32);
            (0..blocks * hidden).map(|at| T::from_f64(number(at as u64))).collect()
        };
        let unwritten = |blocks: usize| vec![T::from_f64(f64::NAN); blocks * hidden];
        let hidden_gates = if C::SUMS_GATES { 0 } else { C::GATES };
        let cell_states = usize::from(C::KIND.has_cell_state());
        Arrays {
            gates: numbers("gates", C::GATES, scale),
            hidden_gates: numbers("hidden_gates", hidden_gates, scale),
            h: numbers("h", 1, 1.0),
            c: numbers("c", cell_states, 2.0),
            h_next: unwritten(1),
            c_next: unwritten(cell_states),
            extras: unwritten(C::EXTRAS),
            d_h: numbers("d_h", 1, 1.0),
            d_c: numbers("d_c", cell_states, 1.0),
            d_gates: unwritten(C::GATES),
            d_hidden_gates: unwritten(hidden_gates),
        }
    }

    /// The same numbers in `f64`.
    fn exact(&self) -> Arrays<f64> {
        let exact = |xs: &[T]| xs.iter().map(|x| x.to_f64()).collect();
        Arrays {
            gates: exact(&self.gates),
            hidden_gates: exact(&self.hidden_gates),
            h: exact(&self.h),
            c: exact(&self.c),
            h_next: exact(&self.h_next),
            c_next: exact(&self.c_next),
            extras: exact(&self.extras),
            d_h: exact(&self.d_h),
            d_c: exact(&self.d_c),
            d_gates: exact(&self.d_gates),
            d_hidden_gates: exact(&self.d_hidden_gates),
        }
    }

    fn forward(&mut self) -> ForwardRow<'_, T> {
        ForwardRow {
            gates: &mut self.gates,
            hidden_gates: &self.hidden_gates,
            h: &self.h,
            c: &self.c,
            h_next: &mut self.h_next,
            c_next: &mut self.c_next,
            extras: &mut self.extras,
        }
    }

    fn backward(&mut self) -> BackwardRow<'_, T> {
        BackwardRow {
            gates: &self.gates,
            extras: &self.extras,
            h: &self.h,
            c: &self.c,
            d_h: &mut self.d_h,
            d_c: &mut self.d_c,
            d_gates: &mut self.d_gates,
            d_hidden_gates: &mut self.d_hidden_gates,
        }
    }

    /// What a forward pass writes.
    fn outputs(&self) -> [(&'static str, &[T]); 4] {
        [
            ("gates", &self.gates),
            ("h_next", &self.h_next),
            ("c_next", &self.c_next),
            ("extras", &self.extras),
        ]
    }

    /// What a backward pass writes.
    fn gradients(&self) -> [(&'static str, &[T]); 4] {
        [
            ("d_gates", &self.d_gates),
            ("d_hidden_gates", &self.d_hidden_gates),
            ("d_h", &self.d_h),
            ("d_c", &self.d_c),
        ]
    }
}

fn check<C: Cell, T: Element>(kernel: &dyn CellKernel<T>) -> Result<()> {
    for (hidden, scale) in SIZES.into_iter().flat_map(|hidden| SCALES.map(|scale| (hidden, scale)))
    {
        let key = Key::new(hidden as u64).with(scale.to_bits());
        let mut found = Arrays::<T>::random::<C>(hidden, scale, key);
        let mut expected = found.exact();
        kernel.forward(found.forward());
        C::forward(Naive, expected.forward());
        compare(kernel, found.outputs(), expected.outputs(), hidden, scale)?;

        // The backward pass has what the forward pass kept, rounded, on both sides.
        let mut expected = found.exact();
        kernel.backward(found.backward());
        C::backward(expected.backward());
        compare(kernel, found.gradients(), expected.gradients(), hidden, scale)?;

        // A NaN in the last unit.
        let mut poisoned = Arrays::<T>::random::<C>(hidden, scale, key);
        let mut clean = poisoned.clone();
        poisoned.h[hidden - 1] = T::from_f64(f64::NAN);
        poisoned.gates[hidden - 1] = T::from_f64(f64::NAN);
        kernel.forward(poisoned.forward());
        kernel.forward(clean.forward());
        let (poisoned, clean) = (&poisoned.h_next[..hidden - 1], &clean.h_next[..hidden - 1]);
        if poisoned != clean {
            return Err(nonconforming(kernel, "a NaN of one unit reaches another".into()));
        }
    }
    Ok(())
}

fn compare<T: Element>(
    kernel: &dyn CellKernel<T>,
    found: [(&'static str, &[T]); 4],
    expected: [(&'static str, &[f64]); 4],
    hidden: usize,
    scale: f64,
) -> Result<()> {
    for ((name, found), (_, expected)) in found.into_iter().zip(expected) {
        for (at, (found, &expected)) in found.iter().zip(expected).enumerate() {
            // The sums of the gates are rounded, too, and may be small by cancellation.
            let largest = expected.abs().max(scale).max(1.0);
            let (found, bound) = (found.to_f64(), ROUNDINGS * T::EPSILON * largest);
            if (found - expected).abs() <= bound {
                continue;
            }
            let (block, unit) = (at / hidden, at % hidden);
            let problem = format!(
                "{name}[block {block}, unit {unit}] of {hidden} is {found:e}, not {expected:e}"
            );
            return Err(nonconforming(kernel, problem));
        }
    }
    Ok(())
}

fn nonconforming<T: Element>(kernel: &dyn CellKernel<T>, problem: String) -> Error {
    Error::invalid(kernel.name(), problem)
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use unspool_tensor::kernels::pointwise::Fast;

    use super::*;

    /// A cell's own functions as a kernel, with a mistake or none.
    #[derive(Debug)]
    struct Own<C, T>(Option<Mistake<T>>, PhantomData<C>);

    type Mistake<T> = fn(&mut Arrays<T>);

    impl<C: Cell, T: Element> CellKernel<T> for Own<C, T> {
        fn name(&self) -> &str {
            "own"
        }

        fn cell(&self) -> &str {
            C::KIND.name()
        }

        fn forward(&self, row: ForwardRow<'_, T>) {
            C::forward(Fast, row);
        }

        fn backward(&self, row: BackwardRow<'_, T>) {
            let BackwardRow { gates, extras, h, c, d_h, d_c, d_gates, d_hidden_gates } = row;
            let mut arrays = Arrays {
                gates: gates.to_vec(),
                hidden_gates: Vec::new(),
                h: h.to_vec(),
                c: c.to_vec(),
                h_next: Vec::new(),
                c_next: Vec::new(),
                extras: extras.to_vec(),
                d_h: d_h.to_vec(),
                d_c: d_c.to_vec(),
                d_gates: d_gates.to_vec(),
                d_hidden_gates: d_hidden_gates.to_vec(),
            };
            C::backward(arrays.backward());
            if let Some(mistake) = self.0 {
                mistake(&mut arrays);
            }
            d_h.copy_from_slice(&arrays.d_h);
            d_c.copy_from_slice(&arrays.d_c);
            d_gates.copy_from_slice(&arrays.d_gates);
            d_hidden_gates.copy_from_slice(&arrays.d_hidden_gates);
        }
    }

    #[test]
    fn the_cells_conform_in_both_precisions() {
        fn all<T: Element>() {
            conformance::<T>(&Own::<Rnn, T>(None, PhantomData)).unwrap();
            conformance::<T>(&Own::<Lstm, T>(None, PhantomData)).unwrap();
            conformance::<T>(&Own::<Gru, T>(None, PhantomData)).unwrap();
        }
        all::<f32>();
        all::<f64>();
    }

    #[test]
    fn mistakes_are_found_and_named() {
        let rows: [(&str, Mistake<f32>); 4] = [
            ("d_gates", |arrays| {
                let last = arrays.d_gates.len() - 1;
                arrays.d_gates[last] *= 1.001;
            }),
            ("d_gates", |arrays| arrays.d_gates.fill(f32::NAN)),
            ("d_h", |arrays| arrays.d_h.fill(0.25)),
            ("d_c", |arrays| arrays.d_c.iter_mut().for_each(|d| *d = -*d)),
        ];
        for (array, mistake) in rows {
            let error = conformance(&Own::<Lstm, f32>(Some(mistake), PhantomData)).unwrap_err();
            assert!(error.to_string().contains(array), "{error}");
        }
    }
}
