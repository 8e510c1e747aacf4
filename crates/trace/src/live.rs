//! What a trace runs again with.

use std::collections::BTreeMap;
use std::sync::Arc;

use unspool_tensor::op::DynOp;
use unspool_tensor::{Tape, Tensor};

use crate::backward::Places;
use crate::error::{Result, TraceError};
use crate::explain::known;
use crate::progress::Watcher;
use crate::recorder::{Recorder, Settings};
use crate::replay::Replay;
use crate::trace::{Origin, Trace};
use crate::update::UpdateRule;

/// What a node runs with. Arrays are shared with the tape that they come from.
#[derive(Clone, Debug)]
pub(crate) struct LiveNode {
    pub op: Arc<dyn DynOp<f64>>,
    pub inputs: Vec<Tensor<f64>>,
    pub outputs: Vec<Tensor<f64>>,
    /// Which inputs want a gradient.
    pub wanted: Vec<bool>,
    /// The incoming gradients; `None` where nothing flows.
    pub d_outputs: Vec<Option<Tensor<f64>>>,
    /// Which elements of the contributions to each input are compared; all when it is empty.
    pub at: BTreeMap<usize, Vec<usize>>,
}

/// What the whole computation runs with.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub replay: Replay,
    /// The slots from which the backward pass began, with their gradients.
    pub seeds: Vec<(usize, Tensor<f64>)>,
    pub settings: Settings,
    /// The rows of large values, by slot, that are kept exactly.
    pub rows: Places,
    /// The update behind it.
    pub rule: Option<UpdateRule>,
}

impl Trace {
    pub(crate) fn live(&self) -> Result<&Live> {
        self.live.as_ref().ok_or(TraceError::NotLive)
    }

    /// The value of a slot, whole.
    ///
    /// # Errors
    /// The trace was read from a file, or there is no such slot.
    pub fn tensor(&self, slot: usize) -> Result<Tensor<f64>> {
        self.live()?.replay.values().get(slot).cloned().ok_or(TraceError::NoSlot { slot })
    }

    /// All values by slot, when some are others: what depends on them is computed again. Decisions,
    /// such as dropout's masks, stay.
    ///
    /// # Errors
    /// The trace was read from a file, or a value has a shape that does not fit.
    pub fn what_if(&self, changed: &[(usize, Tensor<f64>)]) -> Result<Vec<Tensor<f64>>> {
        Ok(self.live()?.replay.run(changed)?)
    }

    /// The trace of the same computation with other inputs or parameters, forward and backward;
    /// nodes and slots have the same numbers.
    ///
    /// # Errors
    /// The trace was read from a file, or a value has a shape that does not fit.
    pub fn again(&self, changed: &[(usize, Tensor<f64>)]) -> Result<Trace> {
        let Live { replay, seeds, settings, rows, rule } = self.live()?;
        let tape = Tape::new(replay.context().clone());
        let vars = replay.onto(&tape, changed)?;
        // Nobody waits for it as they did for the first one.
        let settings = Settings { watcher: Watcher::default(), ..settings.clone() };
        let recorder = Recorder::with(&tape, self.title.clone(), settings);
        for (value, &var) in self.values.iter().zip(&vars) {
            match value.origin {
                Origin::Parameter => recorder.parameter(value.name.clone(), var),
                _ => recorder.name(value.name.clone(), var),
            };
        }
        rows.iter().for_each(|(&slot, rows)| recorder.rows(vars[slot], rows));
        // Those that are ours are found again.
        let own = self
            .explanations
            .iter()
            .filter(|(key, one)| **key == one.op && known(key).is_none_or(|ours| *ours != **one));
        own.for_each(|(_, one)| recorder.explain(one.clone()));
        rule.iter().for_each(|rule| recorder.update_by(rule.clone()));
        match (self.loss, &seeds[..]) {
            (Some(_), [(loss, _)]) => recorder.finish(vars[*loss]),
            _ => {
                let seeds = seeds.iter().map(|(slot, d)| (vars[*slot], d.to_owned()));
                recorder.finish_from(&seeds.collect::<Vec<_>>())
            }
        }
    }
}
