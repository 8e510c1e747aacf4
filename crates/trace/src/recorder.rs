//! The recorder: it watches a tape, and makes a [`Trace`] of what ran there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use unspool_tensor::grads::Grads;
use unspool_tensor::random::Key;
use unspool_tensor::tape::BackwardMode;
use unspool_tensor::{Error, ParamStore, Tape, Tensor, Var};

use crate::array::{Array, Limits};
use crate::backward::{Backward, Places};
use crate::check::Extent;
use crate::error::Result;
use crate::explain::{Explanation, as_made, known};
use crate::live::{Live, LiveNode};
use crate::open::Opening;
use crate::progress::{Stage, Watcher};
use crate::replay::Replay;
use crate::settings::Settings as Made;
use crate::text::number;
use crate::trace::{Node, Origin, Part, Port, Step, Trace, Update, Value, is_weights};
use crate::update::{Parameter, UpdateRule};
use crate::verify::{check_sums, check_whole};

/// A time step as people count: a tape's first one is 0, and a trace's is 1.
pub(crate) fn from_one(time: Option<usize>) -> Option<usize> {
    time.map(|time| time + 1)
}

/// How much a recorder keeps, opens and checks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much of an array is kept; its depth is how many levels of fused nodes are opened.
    pub limits: Limits,
    /// How much is checked.
    pub extent: Extent,
    /// Of how many nodes that do not open one is checked by differences: 1 for all.
    pub every: usize,
    /// Who is told how far the checks are.
    pub watcher: Watcher,
}

/// All of a small computation.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::NONE,
            extent: Extent::All,
            every: 1,
            watcher: Watcher::default(),
        }
    }
}

impl Settings {
    /// For a real model: large arrays as summaries, all nodes opened, and a few elements checked of
    /// what every eighth of the simplest nodes adds to its inputs' gradients. What opens is compared
    /// with the nodes inside, and each gradient with the sum of its parts, at as few places.
    pub fn of_model() -> Self {
        let (limits, extent) = (Limits::default(), Extent::Each(2));
        Settings { limits, extent, every: 8, ..Settings::default() }
    }
}

/// Watches a tape from the moment it is made, and makes a [`Trace`] of what ran there.
///
/// A tape that nobody watches does nothing for it.
///
/// ```
/// use ndarray::arr1;
/// use unspool_tensor::{Context, Tape};
/// use unspool_trace::Recorder;
///
/// # fn main() -> Result<(), unspool_trace::TraceError> {
/// let tape = Tape::<f64>::new(Context::sequential());
/// let recorder = Recorder::new(&tape, "a neuron");
/// let x = recorder.name("x", tape.input(arr1(&[0.5, -1.0])));
/// let w = recorder.parameter("w", tape.input(arr1(&[2.0, 1.0])));
/// let y = recorder.name("y", (w * x)?.sum_all()?);
/// let trace = recorder.finish(y)?;
///
/// let w = trace.find("w").unwrap();
/// assert_eq!(w.gradient.as_ref().unwrap().numbers().unwrap(), [0.5, -1.0]);
/// assert!(w.check.as_ref().unwrap().passes());
/// println!("{trace}");
/// # Ok(())
/// # }
/// ```
pub struct Recorder<'t> {
    tape: &'t Tape<f64>,
    title: String,
    settings: Settings,
    rule: RefCell<Option<UpdateRule>>,
    names: RefCell<BTreeMap<usize, String>>,
    parameters: RefCell<BTreeMap<usize, String>>,
    /// The rows of large values, by slot, that are kept exactly.
    rows: RefCell<Places>,
    pub(crate) explanations: RefCell<BTreeMap<String, Arc<Explanation>>>,
    backward: Rc<RefCell<Backward>>,
    /// What is kept of values that are known from the node that is opened, by slot.
    pub(crate) known: BTreeMap<usize, Array>,
    /// What chooses the nodes that are checked.
    pub(crate) key: Key,
}

impl<'t> Recorder<'t> {
    /// Watches a tape, in place of whoever did before; keeps, opens and checks everything.
    pub fn new(tape: &'t Tape<f64>, title: impl Into<String>) -> Self {
        Self::with(tape, title, Settings::default())
    }

    /// The same with other settings.
    pub fn with(tape: &'t Tape<f64>, title: impl Into<String>, settings: Settings) -> Self {
        let backward = Backward::new(tape.context().clone(), settings.clone());
        let backward = Rc::new(RefCell::new(backward));
        tape.observe(backward.clone());
        Recorder {
            tape,
            title: title.into(),
            settings,
            rule: RefCell::default(),
            names: RefCell::default(),
            parameters: RefCell::default(),
            rows: RefCell::default(),
            explanations: RefCell::default(),
            backward,
            known: BTreeMap::new(),
            key: Key::new(0),
        }
    }

    /// The tape.
    pub fn tape(&self) -> &'t Tape<f64> {
        self.tape
    }

    /// Names a value.
    pub fn name(&self, name: impl Into<String>, var: Var<'t, f64>) -> Var<'t, f64> {
        self.names.borrow_mut().insert(var.slot(), name.into());
        var
    }

    /// Names a value that is a parameter: an update changes it.
    pub fn parameter(&self, name: impl Into<String>, var: Var<'t, f64>) -> Var<'t, f64> {
        self.parameters.borrow_mut().insert(var.slot(), name.into());
        var
    }

    /// Keeps these rows of a value, its gradient and its update exactly, if it is so large that the
    /// rest becomes a summary: those that the computation looks at. A row is all axes but the last.
    pub fn rows(&self, var: Var<'t, f64>, rows: &[usize]) {
        self.rows.borrow_mut().entry(var.slot()).or_default().extend(rows);
    }

    /// Names all parameters of a store that are bound to the tape by now.
    pub fn parameters_of(&self, store: &ParamStore<f64>) {
        for (id, slot) in self.tape.params() {
            if let Some((_, name, _)) = store.iter().find(|&(other, ..)| other == id) {
                self.parameters.borrow_mut().insert(slot, name.into());
            }
        }
    }

    /// Compares the gradient by a value at these places; at all when there are none.
    pub(crate) fn places(&self, var: Var<'t, f64>, places: &[usize]) {
        self.backward.borrow_mut().places.insert(var.slot(), places.into());
    }

    /// Explains an op of one's own, or one of ours in other words.
    pub fn explain(&self, explanation: Explanation) {
        self.explanations.borrow_mut().insert(explanation.op.clone(), explanation.into());
    }

    /// Has the parameters updated behind the backward pass, by `w' = w − rate·d_w`.
    pub fn update(&self, rate: f64) {
        self.update_by(UpdateRule::descent(rate));
    }

    /// Has the parameters updated behind the backward pass by another rule.
    pub fn update_by(&self, rule: UpdateRule) {
        *self.rule.borrow_mut() = Some(rule);
    }

    /// Goes backwards from a loss, an array of one element, and gives the trace.
    ///
    /// # Errors
    /// The loss has several elements, or an op fails.
    pub fn finish(self, loss: Var<'t, f64>) -> Result<Trace> {
        let value = loss.value();
        if value.len() != 1 {
            let problem = "is not a scalar; give its gradient";
            return Err(Error::shape("trace", value.shape(), problem).into());
        }
        let rule = self.rule.take();
        let (mut trace, grads) =
            self.traced(&[(loss, ArrayD::ones(IxDyn(value.shape())))], self.settings.limits.depth)?;
        trace.loss = Some(value.sum());
        if let Some(rule) = rule {
            self.apply_update(&mut trace, &grads, loss.slot(), rule)?;
        }
        self.explained(trace)
    }

    /// The same from given gradients of any values.
    ///
    /// # Errors
    /// A gradient does not have its value's shape, or an op fails.
    pub fn finish_from(self, seeds: &[(Var<'t, f64>, ArrayD<f64>)]) -> Result<Trace> {
        let (trace, _) = self.traced(seeds, self.settings.limits.depth)?;
        self.explained(trace)
    }

    /// The explanation of an op.
    fn explanation(&self, op: &str) -> Option<Arc<Explanation>> {
        self.explanations.borrow().get(op).cloned().or_else(|| known(op))
    }

    /// The trace with the explanations of all its ops.
    fn explained(&self, mut trace: Trace) -> Result<Trace> {
        let mut all = BTreeMap::new();
        trace.walk(&mut |_, _, node| {
            if all.contains_key(&node.explanation) {
                return;
            }
            let Some(about) = self.explanation(&node.op) else { return };
            let made = node.live.as_ref().filter(|_| node.explanation != node.op);
            let made = made
                .and_then(|live| of_node(&about, &Made::of(&live.op), &live.inputs, &live.outputs));
            let found = made.map_or_else(|| Explanation::clone(&about), |(_, found)| found);
            all.insert(node.explanation.clone(), found);
        });
        trace.explanations = all;
        Ok(trace)
    }

    /// The trace without explanations and update, and the gradients.
    pub(crate) fn traced(
        &self,
        seeds: &[(Var<'t, f64>, ArrayD<f64>)],
        depth: usize,
    ) -> Result<(Trace, Grads<f64>)> {
        let tape = self.tape;
        self.backward.borrow_mut().begin();
        let grads = tape.vector_jacobian(seeds, BackwardMode::Showing);
        let pass = self.backward.borrow_mut().end();
        let grads = grads?;
        let mut values = self.values(seeds, &grads);
        let mut nodes = self.nodes(&mut values);
        let mut steps: Vec<Step> = (0..nodes.len()).map(Step::Forward).collect();
        for seen in pass.nodes {
            let Some(node) = nodes.get_mut(seen.node) else { continue };
            steps.push(Step::Backward(seen.node));
            node.contributions = seen.contributions;
            for (input, flow) in seen.flows {
                node.flows[input] = flow;
            }
            for (k, part) in node.contributions.iter().enumerate() {
                let slot = node.inputs[part.input].slot;
                values[slot].parts.push(Part { node: seen.node, contribution: k });
            }
            if let Some(live) = &mut node.live {
                (live.d_outputs, live.at) = (seen.d_outputs, seen.at);
            }
        }
        let opening = Opening {
            title: &self.title,
            context: tape.context(),
            settings: &self.settings,
            explanations: &self.explanations.borrow(),
            values: &values,
            depth,
            key: self.key,
        };
        opening.nodes(&mut nodes)?;
        let live = Live {
            replay: Replay::new(tape),
            seeds: seeds.iter().map(|(v, d)| (v.slot(), d.clone().into_shared())).collect(),
            settings: self.settings.clone(),
            rows: self.rows.borrow().clone(),
            rule: None,
        };
        let title = self.title.clone();
        let mut trace = Trace { title, steps, nodes, values, ..Trace::default() };
        check_sums(&mut trace, &grads, &live, &pass.places, tape);
        if self.settings.extent == Extent::All && depth == self.settings.limits.depth {
            let progress = self.settings.watcher.at(Stage::Whole);
            check_whole(&mut trace, &grads, &live, tape, progress)?;
        }
        trace.live = Some(live);
        Ok((trace, grads))
    }

    /// The values of the tape; what nodes make is not known yet.
    fn values(&self, seeds: &[(Var<'t, f64>, ArrayD<f64>)], grads: &Grads<f64>) -> Vec<Value> {
        let rows = self.rows.borrow();
        let (names, parameters) = (self.names.borrow(), self.parameters.borrow());
        let outputs = self.output_names();
        let of_weights = self.settings.limits.of_weights();
        let kept = |slot: usize, x: &Tensor<f64>| {
            let name = names.get(&slot).map_or("", String::as_str);
            let limits = match is_weights(name, outputs.get(&slot).map(String::as_str)) {
                true => &of_weights,
                false => &self.settings.limits,
            };
            match rows.get(&slot) {
                Some(rows) => Array::within(x, limits).with_rows(x, rows, limits),
                None => Array::within(x, limits),
            }
        };
        let vars = (0..).map_while(|slot| self.tape.var(slot));
        let value = |var: Var<'t, f64>| {
            let slot = var.slot();
            let (name, origin) = match parameters.get(&slot) {
                Some(name) => (name.clone(), Origin::Parameter),
                None => {
                    let origin = if var.wants_grad() { Origin::Input } else { Origin::Constant };
                    (names.get(&slot).cloned().unwrap_or_default(), origin)
                }
            };
            let seed = seeds.iter().find(|(seeded, _)| seeded.slot() == slot);
            Value {
                name,
                origin,
                value: self.known.get(&slot).cloned().unwrap_or_else(|| kept(slot, &var.value())),
                readers: Vec::new(),
                seed: seed.map(|(_, d)| kept(slot, &d.clone().into_shared())),
                gradient: grads.wrt(var).map(|d| kept(slot, d)),
                parts: Vec::new(),
                check: None,
                updated: None,
            }
        };
        vars.map(value).collect()
    }

    /// What the ops call their outputs, by slot.
    fn output_names(&self) -> BTreeMap<usize, String> {
        let mut names = BTreeMap::new();
        for index in 0..self.tape.len() {
            let op = self.tape.op(index);
            let Some(explained) = op.and_then(|op| self.explanation(op.op_name())) else {
                continue;
            };
            self.tape.node(index, |node| {
                let slots = (node.first_output_slot..).zip(0..node.outputs.len());
                names.extend(slots.map(|(slot, k)| (slot, explained.output_name(k))));
            });
        }
        names
    }

    /// The nodes of the tape, forward; says of values who makes and who reads them.
    fn nodes(&self, values: &mut [Value]) -> Vec<Node> {
        let tape = self.tape;
        let mut nodes = Vec::with_capacity(tape.len());
        for index in 0..tape.len() {
            let Some(op) = tape.op(index) else { continue };
            let (explained, own) = (self.explanation(op.op_name()), op.op_input_names());
            let input_name = |k: usize| match (own.get(k), &explained) {
                (Some(name), _) => name.clone(),
                (None, Some(explained)) => explained.input_name(k),
                (None, None) => format!("input {k}"),
            };
            let output_name = |k: usize| match &explained {
                Some(explained) => explained.output_name(k),
                None => format!("output {k}"),
            };
            let node = tape.node(index, |node| {
                let inputs: Vec<Port> = (node.input_slots.iter().enumerate())
                    .map(|(k, &slot)| Port { name: input_name(k), slot })
                    .collect();
                let slots = node.first_output_slot..;
                let outputs = slots.zip(0..node.outputs.len());
                let outputs = outputs.map(|(slot, k)| Port { name: output_name(k), slot });
                let wants = |&slot: &usize| tape.var(slot).is_some_and(Var::wants_grad);
                let made = Made::of(&op);
                let explanation = (explained.as_ref())
                    .and_then(|about| of_node(about, &made, node.inputs, node.outputs))
                    .map_or_else(|| node.op.to_owned(), |(key, _)| key);
                Node {
                    flows: vec![0.0; inputs.len()],
                    op: node.op.into(),
                    explanation,
                    scope: node.scope.into(),
                    layer: layer_of(node.scope),
                    time: from_one(node.time),
                    settings: made.words(),
                    inputs,
                    outputs: outputs.collect(),
                    contributions: Vec::new(),
                    can_open: false,
                    opened: None,
                    live: Some(LiveNode {
                        op: op.clone(),
                        inputs: node.inputs.to_vec(),
                        outputs: node.outputs.to_vec(),
                        wanted: node.input_slots.iter().map(wants).collect(),
                        d_outputs: vec![None; node.outputs.len()],
                        at: BTreeMap::new(),
                    }),
                }
            });
            let Some(node) = node else { continue };
            for (output, port) in node.outputs.iter().enumerate() {
                let Some(value) = values.get_mut(port.slot) else { continue };
                value.origin = Origin::Output { node: index, output };
                if value.name.is_empty() {
                    value.name = format!("{}{index}", port.name);
                }
            }
            for port in &node.inputs {
                let Some(value) = values.get_mut(port.slot) else { continue };
                if value.readers.last() != Some(&index) {
                    value.readers.push(index);
                }
                if value.name.is_empty() {
                    // A constant that is one number is called by it: it has no letter of its own.
                    value.name = match value.value.numbers() {
                        Some(&[x]) if value.origin == Origin::Constant => number(x),
                        _ => port.name.clone(),
                    };
                }
            }
            nodes.push(node);
        }
        nodes
    }

    /// Changes the parameters, and computes the loss again.
    fn apply_update(
        &self,
        trace: &mut Trace,
        grads: &Grads<f64>,
        loss: usize,
        rule: UpdateRule,
    ) -> Result<()> {
        let (mut slots, mut parameters) = (Vec::new(), Vec::new());
        for (slot, value) in trace.values.iter().enumerate() {
            let Some(var) = self.tape.var(slot) else { continue };
            if value.origin == Origin::Parameter {
                let (name, gradient) = (value.name.clone(), grads.wrt(var).cloned());
                slots.push(slot);
                parameters.push(Parameter { name, value: var.value(), gradient });
            }
        }
        (rule.change)(&mut parameters)?;
        let mut changed = Vec::new();
        for (slot, Parameter { value, .. }) in slots.into_iter().zip(parameters) {
            let limits = &self.settings.limits;
            let mut updated = Array::within(&value, limits);
            if let Some(rows) = self.rows.borrow().get(&slot) {
                updated = updated.with_rows(&value, rows, limits);
            }
            trace.values[slot].updated = Some(updated);
            changed.push((slot, value));
        }
        let after = trace.what_if(&changed)?;
        let loss_after = after.get(loss).map_or(f64::NAN, |loss| loss.sum());
        let UpdateRule { title, rate, formulas, symbols, .. } = rule.clone();
        trace.update = Some(Update { title, rate, formulas, symbols, loss_after });
        trace.steps.push(Step::Update);
        if let Some(live) = &mut trace.live {
            live.rule = Some(rule);
        }
        Ok(())
    }
}

/// The layer that a scope names: the number behind the last `l` of a part such as `l0`.
fn layer_of(scope: &str) -> Option<usize> {
    scope.split('.').rev().find_map(|part| part.strip_prefix('l')?.parse().ok())
}

/// The explanation of a node's op, with its key, when it depends on how the op was made; an
/// explanation of one's own stands as it is.
fn of_node(
    about: &Explanation,
    made: &Made,
    inputs: &[Tensor<f64>],
    outputs: &[Tensor<f64>],
) -> Option<(String, Explanation)> {
    let ours = known(&about.op).is_some_and(|ours| *ours == *about);
    let inputs: Vec<&[usize]> = inputs.iter().map(|x| x.shape()).collect();
    let output = outputs.first().map_or(&[][..], |y| y.shape());
    if ours { as_made(about, made, &inputs, output) } else { None }
}
