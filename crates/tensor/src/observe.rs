//! What a watcher of a tape is told: each node, as it runs forward and backward.

use std::cell::RefCell;
use std::rc::Rc;

use crate::grads::{Contribution, OutputGrads};
use crate::{Real, Tensor};

/// A node of a tape: an op that was run.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a, T: Real> {
    /// Its number, in the order of running.
    pub index: usize,
    /// The op's name.
    pub op: &'a str,
    /// The dotted scope in which it ran, such as `encoder.l0`; empty outside of any.
    pub scope: &'a str,
    /// The time step at which it ran.
    pub time: Option<usize>,
    /// The slots of its inputs.
    pub input_slots: &'a [usize],
    /// The first slot of its outputs; the others follow.
    pub first_output_slot: usize,
    /// Its inputs' values.
    pub inputs: &'a [Tensor<T>],
    /// Its outputs' values.
    pub outputs: &'a [Tensor<T>],
}

/// A watcher of a tape, given to [`Tape::observe`](crate::Tape::observe).
pub trait Observer<T: Real> {
    /// A node has run forward.
    fn forward(&mut self, node: &Node<'_, T>) {
        let _ = node;
    }

    /// A node has run backward: the gradients that came in, and what it added to those of its
    /// inputs (empty unless the backward pass is recorded).
    fn backward(
        &mut self,
        node: &Node<'_, T>,
        d_outputs: &OutputGrads<'_, T>,
        contributions: &[Contribution<T>],
    ) {
        let _ = (node, d_outputs, contributions);
    }
}

/// A shared observer: keep one handle to read what it saw.
impl<T: Real, O: Observer<T>> Observer<T> for Rc<RefCell<O>> {
    fn forward(&mut self, node: &Node<'_, T>) {
        self.borrow_mut().forward(node);
    }

    fn backward(
        &mut self,
        node: &Node<'_, T>,
        d_outputs: &OutputGrads<'_, T>,
        contributions: &[Contribution<T>],
    ) {
        self.borrow_mut().backward(node, d_outputs, contributions);
    }
}

/// Finds the first node whose outputs, or incoming gradients, are not finite.
///
/// An output of negative infinity is the log-probability of a masked element, and no fault.
#[derive(Clone, Debug, Default)]
pub struct NonFinite {
    /// Where it happened, in words; `None` while all is finite.
    pub first: Option<String>,
}

impl NonFinite {
    fn look<T: Real>(
        &mut self,
        node: &Node<'_, T>,
        what: &str,
        array: &Tensor<T>,
        fault: fn(&T) -> bool,
    ) {
        if self.first.is_none() && array.iter().any(fault) {
            let time = node.time.map_or(String::new(), |t| format!(" at time {t}"));
            let scope = if node.scope.is_empty() { "" } else { " in " };
            self.first = Some(format!(
                "{what} of {} (node {}){scope}{}{time} is not finite",
                node.op, node.index, node.scope
            ));
        }
    }
}

impl<T: Real> Observer<T> for NonFinite {
    fn forward(&mut self, node: &Node<'_, T>) {
        for output in node.outputs {
            self.look(node, "the output", output, |x| {
                !x.finite() && x.to_f64() != f64::NEG_INFINITY
            });
        }
    }

    fn backward(
        &mut self,
        node: &Node<'_, T>,
        d_outputs: &OutputGrads<'_, T>,
        _: &[Contribution<T>],
    ) {
        for k in 0..node.outputs.len() {
            if let Some(d) = d_outputs.get(k) {
                self.look(node, "the incoming gradient", d, |x| !x.finite());
            }
        }
    }
}
