//! What a recorder sees of the backward pass.

use std::collections::BTreeMap;

use rayon::prelude::*;
use unspool_tensor::grads::{Contribution as Added, OutputGrads};
use unspool_tensor::observe::{Node as Seen, Observer};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tensor};

use crate::array::Array;
use crate::check::{chosen, picked, standard, with_largest};
use crate::recorder::{Settings, from_one};
use crate::summary::norm_of_sum;
use crate::trace::{Check, Contribution};

/// Watches the backward passes of a tape.
#[derive(Debug)]
pub(crate) struct Backward {
    pub context: Context,
    pub settings: Settings,
    /// Which elements are compared of the gradients by values, by slot, where others say so; all of
    /// an array when it has none.
    pub places: Places,
    /// What is seen of a pass; `None` while there is none that is recorded.
    pub pass: Option<Pass>,
}

/// Elements of arrays, in their order, by slot; none for all.
pub(crate) type Places = BTreeMap<usize, Vec<usize>>;

/// What was seen of a backward pass.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// The nodes in the order in which they ran.
    pub nodes: Vec<NodeBackward>,
    /// Which elements of all that is added to a value's gradient are compared.
    pub places: Places,
}

/// What was seen of a node.
#[derive(Debug)]
pub(crate) struct NodeBackward {
    pub node: usize,
    pub d_outputs: Vec<Option<Tensor<f64>>>,
    pub contributions: Vec<Contribution>,
    /// By input, the norm of all contributions to it together.
    pub flows: Vec<(usize, f64)>,
    /// Which elements of the contributions to each input are compared.
    pub at: BTreeMap<usize, Vec<usize>>,
}

impl Backward {
    /// Watches with these settings, once a pass begins.
    pub fn new(context: Context, settings: Settings) -> Self {
        Backward { context, settings, places: Places::new(), pass: None }
    }

    /// A backward pass begins that is recorded.
    pub fn begin(&mut self) {
        self.pass = Some(Pass { nodes: Vec::new(), places: self.places.clone() });
    }

    /// What was seen since; nothing more is kept.
    pub fn end(&mut self) -> Pass {
        self.pass.take().unwrap_or_default()
    }
}

impl Observer<f64> for Backward {
    fn backward(
        &mut self,
        node: &Seen<'_, f64>,
        d_outputs: &OutputGrads<'_, f64>,
        added: &[Added<f64>],
    ) {
        let Some(pass) = &mut self.pass else { return };
        let Settings { limits, extent, .. } = &self.settings;
        // All that is added to a value's gradient is compared at the same places, so that it adds
        // up; and where it is largest itself.
        let mut at: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for added in added {
            at.entry(added.input).or_insert_with(|| {
                let slot = node.input_slots[added.input];
                let first = || chosen(*extent, &added.value, Key::new(slot as u64));
                let places = pass.places.entry(slot).or_insert_with(first);
                match &places[..] {
                    [] => Vec::new(),
                    _ => with_largest(places.clone(), &added.value),
                }
            });
        }
        let time = node.time;
        let contribution = |added: &Added<f64>| Contribution {
            input: added.input,
            time: from_one(added.time.or(time)),
            value: Array::within(&added.value, limits),
            check: Check::none(added.value.len(), "not among the samples"),
            picked: picked(&added.value, &at[&added.input]),
        };
        let contributions: Vec<Contribution> =
            self.context.install(|| added.par_iter().map(contribution).collect());
        let flow = |(&input, _): (&usize, &Vec<usize>)| {
            let parts = added.iter().zip(&contributions).filter(|(part, _)| part.input == input);
            match parts.collect::<Vec<_>>()[..] {
                [(_, one)] => (input, one.value.norm()),
                ref parts => {
                    let parts: Vec<_> =
                        parts.iter().map(|(part, _)| standard(&part.value)).collect();
                    (input, norm_of_sum(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()))
                }
            }
        };
        let flows = self.context.install(|| at.par_iter().map(flow).collect());
        let d_outputs = (0..node.outputs.len()).map(|k| d_outputs.get(k).cloned()).collect();
        pass.nodes.push(NodeBackward { node: node.index, d_outputs, contributions, flows, at });
    }
}
