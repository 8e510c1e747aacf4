//! The nodes of a tape, opened and checked: each by itself, so that they can be on several threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tape, Var};

use crate::check::picked;
use crate::error::Result;
use crate::explain::{Explanation, inside, known};
use crate::progress::Stage;
use crate::recorder::{Recorder, Settings};
use crate::trace::{Distance, Node, Opened, Origin, Value};
use crate::verify::{check_node, sum_of_parts};

/// What the nodes of a tape are opened and checked with.
pub(crate) struct Opening<'r> {
    /// What the tape is of.
    pub title: &'r str,
    pub context: &'r Context,
    pub settings: &'r Settings,
    /// Those of ops that are not ours.
    pub explanations: &'r BTreeMap<String, Arc<Explanation>>,
    /// The tape's values.
    pub values: &'r [Value],
    /// How many levels of nodes are opened.
    pub depth: usize,
    /// What chooses the nodes that are checked.
    pub key: Key,
}

impl Opening<'_> {
    /// Opens and checks all nodes.
    pub fn nodes(&self, nodes: &mut [Node]) -> Result<()> {
        let each = |(number, node): (usize, &mut Node)| self.node(number as u64, node);
        let all: Vec<Result<()>> =
            self.context.install(|| nodes.par_iter_mut().enumerate().map(each).collect());
        all.into_iter().collect()
    }

    fn node(&self, number: u64, node: &mut Node) -> Result<()> {
        self.open(node, self.key.with(number))?;
        let own = self.explanations.get(&node.op).cloned();
        let explanation = own.or_else(|| known(&node.op));
        let cut = explanation.as_ref().map_or("", |found| &found.cut);
        let every = self.settings.every.max(1) as u64;
        if node.opened.is_some() || self.key.below(number, every) == 0 {
            let progress = self.settings.watcher.at(Stage::Nodes);
            check_node(node, self.context, self.settings.extent, cut, progress)?;
        }
        Ok(())
    }

    /// Opens a node, when it is fused and the depth is not used up.
    fn open(&self, node: &mut Node, key: Key) -> Result<()> {
        let Some(live) = &node.live else { return Ok(()) };
        let tape = Tape::new(self.context.clone());
        // A tape counts time from 0.
        tape.at_time(node.time.and_then(|time| time.checked_sub(1)));
        let inputs: Vec<Var<'_, f64>> = (live.inputs.iter().zip(&live.wanted))
            .map(|(x, &wanted)| match wanted {
                true => tape.input(x.clone()),
                false => tape.constant(x.clone()),
            })
            .collect();
        let known = node.inputs.iter().zip(&inputs).filter_map(|(port, var)| {
            Some((var.slot(), self.values.get(port.slot)?.value.clone()))
        });
        let time = node.time.map_or(String::new(), |time| format!(" at t={time}"));
        let title = format!("{} › {}{time}", self.title, node.op);
        let mut inner = Recorder::with(&tape, title, self.settings.clone());
        (inner.known, inner.key) = (known.collect(), key);
        inner.explanations.borrow_mut().clone_from(self.explanations);
        for (input, (port, &var)) in node.inputs.iter().zip(&inputs).enumerate() {
            // A parameter is the same one inside; all else has the letters of the op's formulas.
            match self.values.get(port.slot) {
                Some(outside) if outside.origin == Origin::Parameter => {
                    inner.parameter(outside.name.clone(), var)
                }
                _ => inner.name(port.name.clone(), var),
            };
            if let Some(at) = live.at.get(&input) {
                // What the node added and what the nodes inside add are compared.
                inner.places(var, at);
            }
        }
        let Some(outputs) = live.op.run_twin(&inputs)? else { return Ok(()) };
        node.can_open = true;
        let Some(depth) = self.depth.checked_sub(1) else { return Ok(()) };
        for (slot, name) in inside::names(&node.op, &tape) {
            if let Some(var) = tape.var(slot) {
                inner.name(name, var);
            }
        }
        for (port, &var) in node.outputs.iter().zip(&outputs) {
            inner.name(port.name.clone(), var);
        }
        let seeds = outputs.iter().zip(&live.d_outputs).filter_map(|(&output, d)| {
            let d = d.as_ref().filter(|_| output.wants_grad())?;
            Some((output, d.to_owned()))
        });
        let seeds: Vec<_> = seeds.collect();
        let (trace, grads) = inner.traced(&seeds, depth)?;
        let outputs = (node.outputs.iter().zip(&outputs).zip(&live.outputs))
            .map(|((port, twin), fused)| Distance {
                name: port.name.clone(),
                distance: distance(&twin.value(), fused),
            })
            .collect();
        let mut gradients = Vec::new();
        for (input, (port, &var)) in node.inputs.iter().zip(&inputs).enumerate() {
            let Some(sum) = sum_of_parts(node, input) else { continue };
            let at = live.at.get(&input).map_or(&[][..], Vec::as_slice);
            let twin = match grads.wrt(var) {
                Some(d) => picked(d, at),
                None => vec![0.0; sum.len()],
            };
            let distance = distance(&ndarray::arr1(&twin), &ndarray::arr1(&sum));
            gradients.push(Distance { name: port.name.clone(), distance });
        }
        node.opened = Some(Box::new(Opened { trace, outputs, gradients }));
        Ok(())
    }
}
