//! Every node of a recorded tape, checked where it really ran: finds the guilty one when all that is
//! known is that a model's gradient is wrong.

use super::check::{Settings, check};
use super::report::Report;
use super::subject::{Argument, OpSubject};
use crate::{DoubleDouble, Tape};

/// What was found at a node of a tape.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// The node's number.
    pub node: usize,
    /// Its op.
    pub op: String,
    /// The scope in which it ran, such as `encoder.l0`; empty outside of any.
    pub scope: String,
    /// The time step at which it ran.
    pub time: Option<usize>,
    /// What the check found.
    pub report: Report,
}

/// Checks the backward pass of each node at the inputs that it had: its op is run again there, with
/// the same masks, indices and random decisions.
///
/// `precise` is a recording of the same computation in twice the precision, for gradients that
/// rounding hides; without it these are undecided.
///
/// `progress` is called with each report, in the order of the tape. The number of nodes is
/// [`Tape::len`].
pub fn check_nodes(
    tape: &Tape<f64>,
    precise: Option<&Tape<DoubleDouble>>,
    settings: &Settings,
    mut progress: impl FnMut(&NodeReport),
) -> Vec<NodeReport> {
    let mut reports = Vec::with_capacity(tape.len());
    for index in 0..tape.len() {
        let Some(op) = tape.op(index) else { continue };
        let seen = tape.node(index, |node| {
            let arguments: Vec<Argument> = (node.inputs.iter().enumerate())
                .map(|(k, x)| Argument::new(format!("input {k}"), x.to_owned()))
                .collect();
            (node.scope.to_owned(), node.time, arguments)
        });
        let Some((scope, time, arguments)) = seen else { continue };
        let name = op.op_name().to_owned();
        let subject = OpSubject::new(&name, op, tape.context().clone(), arguments);
        let subject = match precise.and_then(|tape| tape.op(index)) {
            Some(op) if op.op_name() == name => subject.with_precise(op),
            _ => subject,
        };
        let report = check(&subject, settings);
        let found = NodeReport { node: index, op: name, scope, time, report };
        progress(&found);
        reports.push(found);
    }
    reports
}
