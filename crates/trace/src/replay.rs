//! A recorded computation run again, with some of its values changed: what a check of the whole and a
//! question "what if?" need.

use std::collections::BTreeMap;
use std::sync::Arc;

use unspool_tensor::op::DynOp;
use unspool_tensor::{Context, Result, Tape, Tensor, Var};

/// A computation, without its tape.
#[derive(Clone, Debug)]
pub struct Replay {
    context: Context,
    values: Vec<Tensor<f64>>,
    wanted: Vec<bool>,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    op: Arc<dyn DynOp<f64>>,
    scope: String,
    time: Option<usize>,
    inputs: Vec<usize>,
    first_output: usize,
    outputs: usize,
}

impl Replay {
    /// What is on a tape.
    pub fn new(tape: &Tape<f64>) -> Self {
        let vars: Vec<Var<'_, f64>> = (0..).map_while(|slot| tape.var(slot)).collect();
        let nodes = (0..tape.len()).filter_map(|index| {
            let op = tape.op(index)?;
            tape.node(index, |node| Node {
                op,
                scope: node.scope.into(),
                time: node.time,
                inputs: node.input_slots.into(),
                first_output: node.first_output_slot,
                outputs: node.outputs.len(),
            })
        });
        Replay {
            context: tape.context().clone(),
            values: vars.iter().map(|var| var.value()).collect(),
            wanted: vars.iter().map(|var| var.wants_grad()).collect(),
            nodes: nodes.collect(),
        }
    }

    /// The values as they were, by slot.
    pub fn values(&self) -> &[Tensor<f64>] {
        &self.values
    }

    /// All values when some are changed; what does not depend on them is not computed again. A value
    /// that a node made stays as it was changed.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn run(&self, changes: &[(usize, Tensor<f64>)]) -> Result<Vec<Tensor<f64>>> {
        let mut values = self.values.clone();
        let mut changed = vec![false; values.len()];
        for (slot, value) in changes {
            if let Some(place) = values.get_mut(*slot) {
                (*place, changed[*slot]) = (value.clone(), true);
            }
        }
        let given = changed.clone();
        for node in &self.nodes {
            if !node.inputs.iter().any(|&slot| changed[slot]) {
                continue;
            }
            let inputs: Vec<_> = node.inputs.iter().map(|&slot| values[slot].clone()).collect();
            let (outputs, _) = node.op.run_forward(&self.context, &inputs)?;
            for (slot, output) in (node.first_output..).zip(outputs).take(node.outputs) {
                if !given[slot] {
                    (values[slot], changed[slot]) = (output, true);
                }
            }
        }
        Ok(values)
    }

    /// Puts the same computation on another, empty tape, with some leaves changed; slots and nodes
    /// have the same numbers. Values that nodes made are computed.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn onto<'t>(
        &self,
        tape: &'t Tape<f64>,
        changes: &[(usize, Tensor<f64>)],
    ) -> Result<Vec<Var<'t, f64>>> {
        let changes: BTreeMap<usize, &Tensor<f64>> =
            changes.iter().map(|(slot, value)| (*slot, value)).collect();
        let mut vars: Vec<Var<'t, f64>> = Vec::with_capacity(self.values.len());
        let mut nodes = self.nodes.iter().peekable();
        while vars.len() < self.values.len() {
            let slot = vars.len();
            if let Some(node) = nodes.next_if(|node| node.first_output == slot) {
                let _scope = tape.scope(&node.scope);
                tape.at_time(node.time);
                let inputs: Vec<_> = node.inputs.iter().map(|&slot| vars[slot]).collect();
                vars.extend(tape.apply_shared(node.op.clone(), &inputs)?);
                continue;
            }
            let value = changes.get(&slot).map_or(&self.values[slot], |value| *value).clone();
            vars.push(if self.wanted[slot] { tape.input(value) } else { tape.constant(value) });
        }
        tape.at_time(None);
        Ok(vars)
    }

    /// What the ops run with.
    pub fn context(&self) -> &Context {
        &self.context
    }
}
