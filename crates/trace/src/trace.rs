//! The data of a trace: what a program that shows it walks over.
//!
//! A [`Trace`] is flat: [`values`](Trace::values) by slot and [`nodes`](Trace::nodes) by number, which
//! name each other by these numbers, and [`steps`](Trace::steps), the order in which to walk. A fused
//! node [opens](Node::opened) into a trace of its own, whose first values are the node's inputs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::array::{Array, Limits, maybe, number, numbers, rounded};
use crate::explain::{Explanation, Symbol};
use crate::live::{Live, LiveNode};
use crate::notation::Formula;

/// A computation, forward and backward.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Trace {
    /// What it is of.
    pub title: String,
    /// The loss; `None` when the backward pass began from other gradients.
    #[serde(with = "maybe", default)]
    pub loss: Option<f64>,
    /// The update of the parameters behind the backward pass, if there is one.
    pub update: Option<Update>,
    /// The order of walking.
    pub steps: Vec<Step>,
    /// The nodes, in the order in which they ran.
    pub nodes: Vec<Node>,
    /// The values by slot: a value stands before the nodes that read it.
    pub values: Vec<Value>,
    /// The explanations of all ops, by the keys that nodes have; those of opened nodes too. Empty in an
    /// opened node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub explanations: BTreeMap<String, Explanation>,
    /// What runs it again; not in a file.
    #[serde(skip)]
    pub(crate) live: Option<Live>,
}

/// A step of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A node runs forward.
    Forward(usize),
    /// A node runs backward. A node that the loss does not depend on has no such step.
    Backward(usize),
    /// The parameters are updated.
    Update,
}

/// An update of the parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// In words, such as "gradient descent".
    pub title: String,
    /// The learning rate.
    pub rate: f64,
    /// How a parameter is changed, in the order of computing.
    pub formulas: Vec<Formula>,
    /// What stands in the formulas.
    pub symbols: Vec<Symbol>,
    /// The loss with the new parameters.
    #[serde(with = "number")]
    pub loss_after: f64,
}

/// A value of a slot, and its gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// What it is called: a parameter's dotted name, an input's name, or the name that the node which
    /// made it has for it.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its numbers.
    pub value: Array,
    /// The numbers of the nodes that read it.
    pub readers: Vec<usize>,
    /// The gradient that came from outside: 1 for the loss.
    pub seed: Option<Array>,
    /// The whole gradient: the seed and all parts. `None` where nothing flows.
    pub gradient: Option<Array>,
    /// What the gradient is the sum of, in the order of the backward pass.
    pub parts: Vec<Part>,
    /// What was found when the gradient was checked; `None` without one.
    pub check: Option<Check>,
    /// The value after the update, of a parameter.
    pub updated: Option<Array>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Put there from outside, and its gradient is wanted.
    Input,
    /// Put there from outside, and no gradient is wanted.
    Constant,
    /// A parameter: it is updated.
    Parameter,
    /// The output of a node.
    Output {
        /// The node's number.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
}

/// A part of a gradient: a contribution of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The node's number.
    pub node: usize,
    /// Which of the node's contributions.
    pub contribution: usize,
}

/// An op that ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// The op's name.
    pub op: String,
    /// The key of its explanation: the op's name, or more where the formulas depend on how the op was
    /// made.
    pub explanation: String,
    /// The dotted scope, such as `encoder.l0`; empty outside of any.
    pub scope: String,
    /// The layer that the scope names, if it does.
    pub layer: Option<usize>,
    /// The time step: the first one is 1.
    pub time: Option<usize>,
    /// How the op was made: its axes, masks and rates, in words, cut when they are many; maybe empty.
    pub settings: String,
    /// Its inputs.
    pub inputs: Vec<Port>,
    /// Its outputs. The gradient that came in at one is that of its value.
    pub outputs: Vec<Port>,
    /// What it added to the gradients of its inputs.
    pub contributions: Vec<Contribution>,
    /// For each input, the norm of all that it added to its gradient; 0 where that is nothing.
    #[serde(with = "numbers", default)]
    pub flows: Vec<f64>,
    /// Whether it is fused, and so can be opened.
    pub can_open: bool,
    /// The fused op out of simpler ones, once it is opened.
    pub opened: Option<Box<Opened>>,
    /// What runs it again; not in a file.
    #[serde(skip)]
    pub(crate) live: Option<LiveNode>,
}

/// An input or output of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// What the op calls it: the letter of its formulas.
    pub name: String,
    /// The slot of its value.
    pub slot: usize,
}

/// What a node added to the gradient of an input. A weight that an op shares over time gets one a
/// time step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Which of the node's inputs.
    pub input: usize,
    /// The time step that it belongs to, from 1: the op's own word, or the node's.
    pub time: Option<usize>,
    /// The contribution, of the input's shape.
    pub value: Array,
    /// What was found when it was checked.
    pub check: Check,
    /// The numbers that are compared when the value is kept as a summary.
    #[serde(skip)]
    pub(crate) picked: Vec<f64>,
}

/// A fused op out of simpler ones, run at the same inputs and with the same incoming gradients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// The simpler ops. The first values are the fused node's inputs, in its order.
    pub trace: Trace,
    /// How far each output is from the fused one.
    pub outputs: Vec<Distance>,
    /// How far the gradient of each input is from what the fused op added to it.
    pub gradients: Vec<Distance>,
}

/// What was found when a gradient was checked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Check {
    /// Against what.
    pub method: Method,
    /// How many numbers the gradient has.
    pub of: usize,
    /// Which of them were checked, by their places in standard order; all when it is empty.
    #[serde(default)]
    pub at: Vec<usize>,
    /// What they are, in the order of `at`; empty when all were checked.
    #[serde(with = "numbers", default)]
    pub claimed: Vec<f64>,
    /// What they should be, in the order of `at`.
    #[serde(with = "numbers", default)]
    pub found: Vec<f64>,
    /// The largest difference, as a share of the array's largest number.
    #[serde(with = "number")]
    pub error: f64,
    /// The places of those that are wrong: off by more than [`TOLERANCE`](crate::check::TOLERANCE).
    #[serde(default)]
    pub wrong: Vec<usize>,
    /// Those that cannot be told, and why.
    #[serde(default)]
    pub untold: Vec<Untold>,
    /// Why nothing was checked; or what else is to be said. Mostly empty.
    #[serde(default)]
    pub remark: String,
}

/// With its verdict, so that whoever reads it need not find that again.
impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'c> {
            verdict: Verdict,
            method: Method,
            of: usize,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            at: &'c [usize],
            #[serde(
                serialize_with = "numbers::serialize",
                skip_serializing_if = "<[_]>::is_empty"
            )]
            claimed: &'c [f64],
            #[serde(
                serialize_with = "numbers::serialize",
                skip_serializing_if = "<[_]>::is_empty"
            )]
            found: &'c [f64],
            #[serde(serialize_with = "number::serialize")]
            error: f64,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            wrong: &'c [usize],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            untold: &'c [Untold],
            #[serde(skip_serializing_if = "str::is_empty")]
            remark: &'c str,
        }
        let verdict = self.verdict();
        let Check { method, of, at, claimed, found, error, wrong, untold, remark } = self;
        let (&method, &of, &error) = (method, of, error);
        Written { verdict, method, of, at, claimed, found, error, wrong, untold, remark }
            .serialize(serializer)
    }
}

/// Against what a gradient is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Not at all: the remark says why.
    None,
    /// Finite differences of the node alone, with the gradients that came in.
    Differences,
    /// Finite differences of all that stands between the value and the end.
    Whole,
    /// What the simpler ops of the opened node say, which are checked themselves.
    Twin,
    /// The sum of its parts, which are checked themselves.
    Sum,
}

/// What a check says of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What could be compared agrees, and some could be.
    Right,
    /// Some of it is off.
    Wrong,
    /// Nothing of what was compared can be told.
    Untold,
    /// Nothing was compared.
    Unchecked,
}

/// An element whose derivative cannot be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Untold {
    /// Its place in standard order.
    pub at: usize,
    /// Why.
    pub reason: String,
}

impl Check {
    /// No check of an array of so many numbers, and why.
    pub fn none(of: usize, remark: impl Into<String>) -> Self {
        Check {
            method: Method::None,
            of,
            at: Vec::new(),
            claimed: Vec::new(),
            found: Vec::new(),
            error: 0.0,
            wrong: Vec::new(),
            untold: Vec::new(),
            remark: remark.into(),
        }
    }

    /// The same, but of the wrong elements those that `excuse` knows, by their number in `found`, are
    /// ones that cannot be told.
    pub(crate) fn excused(mut self, excuse: impl Fn(usize) -> bool, reason: &str) -> Self {
        let number = |place: usize| match self.at.is_empty() {
            true => Some(place),
            false => self.at.iter().position(|&at| at == place),
        };
        let (excused, wrong) =
            self.wrong.iter().partition(|&&place| number(place).is_some_and(&excuse));
        self.wrong = wrong;
        let untold = |at: usize| Untold { at, reason: reason.into() };
        let excused: Vec<usize> = excused;
        self.untold.extend(excused.into_iter().map(untold));
        self
    }

    /// What the check says of the gradient, in a word.
    pub fn verdict(&self) -> Verdict {
        match self.method {
            Method::None => Verdict::Unchecked,
            _ if !self.wrong.is_empty() => Verdict::Wrong,
            _ if self.checked() > 0 => Verdict::Right,
            _ => Verdict::Untold,
        }
    }

    /// Whether some of it is known to be right, and nothing is wrong.
    pub fn passes(&self) -> bool {
        self.verdict() == Verdict::Right
    }

    /// How many numbers were checked and can be told.
    pub fn checked(&self) -> usize {
        match self.method {
            Method::None => 0,
            _ if self.at.is_empty() => self.of - self.untold.len().min(self.of),
            _ => self.at.len() - self.untold.len().min(self.at.len()),
        }
    }

    /// What it should be at a place in standard order, where that was checked.
    pub fn expected(&self, place: usize) -> Option<f64> {
        let number = match self.at.is_empty() {
            true => place,
            false => self.at.iter().position(|&at| at == place)?,
        };
        self.found.get(number).copied()
    }
}

/// How far two arrays are apart, as a share of the second one's largest number, or of 1 when that is
/// larger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The fused op's name for it.
    pub name: String,
    /// The distance.
    #[serde(with = "number")]
    pub distance: f64,
}

impl Opened {
    /// The largest of all distances.
    pub fn distance(&self) -> f64 {
        self.outputs.iter().chain(&self.gradients).map(|one| one.distance).fold(0.0, f64::max)
    }
}

/// Whether a value is the weights of attention, which are looked at one by one: the output of such a
/// node, or what stands for it inside.
pub(crate) fn is_weights(name: &str, output: Option<&str>) -> bool {
    const WEIGHTS: &str = "weights";
    name == WEIGHTS || output == Some(WEIGHTS)
}

impl Trace {
    /// All checks of the trace and of its opened nodes: of contributions, and of whole gradients.
    pub fn checks(&self) -> Vec<&Check> {
        let mut all: Vec<&Check> = self.values.iter().filter_map(|x| x.check.as_ref()).collect();
        self.walk(&mut |_, _, node| {
            all.extend(node.contributions.iter().map(|part| &part.check));
            let inner = node.opened.iter().flat_map(|opened| &opened.trace.values);
            all.extend(inner.filter_map(|value| value.check.as_ref()));
        });
        all
    }

    /// The value of a parameter or input by its name.
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.name == name)
    }

    /// The contributions that a value's gradient is the sum of, in the order of the backward pass.
    pub fn parts<'a>(
        &'a self,
        value: &'a Value,
    ) -> impl Iterator<Item = (&'a Node, &'a Contribution)> {
        value.parts.iter().filter_map(|part| {
            let node = self.nodes.get(part.node)?;
            Some((node, node.contributions.get(part.contribution)?))
        })
    }

    /// The norms of a gradient's parts by time step: how much each step had to say. Empty when no
    /// part has a time step.
    pub fn norms_over_time(&self, value: &Value) -> Vec<(usize, f64)> {
        let mut squares = BTreeMap::new();
        for (_, part) in self.parts(value) {
            if let Some(time) = part.time {
                *squares.entry(time).or_insert(0.0) += part.value.norm().powi(2);
            }
        }
        squares.into_iter().map(|(time, square): (usize, f64)| (time, square.sqrt())).collect()
    }

    /// The same with large arrays as summaries, and nodes opened no deeper than the limits say.
    pub fn limited(&self, limits: &Limits) -> Trace {
        let mut trace = self.to_depth(limits.depth);
        trace.limit(limits);
        trace
    }

    /// A copy with nodes opened no deeper.
    fn to_depth(&self, depth: usize) -> Trace {
        let inner = |opened: &Opened| {
            let trace = opened.trace.to_depth(depth.checked_sub(1)?);
            let (outputs, gradients) = (opened.outputs.clone(), opened.gradients.clone());
            Some(Box::new(Opened { trace, outputs, gradients }))
        };
        let node = |node: &Node| Node {
            op: node.op.clone(),
            explanation: node.explanation.clone(),
            scope: node.scope.clone(),
            layer: node.layer,
            time: node.time,
            settings: node.settings.clone(),
            inputs: node.inputs.clone(),
            outputs: node.outputs.clone(),
            contributions: node.contributions.clone(),
            flows: node.flows.clone(),
            can_open: node.can_open,
            opened: node.opened.as_deref().and_then(inner),
            live: node.live.clone(),
        };
        Trace {
            title: self.title.clone(),
            loss: self.loss,
            update: self.update.clone(),
            steps: self.steps.clone(),
            nodes: self.nodes.iter().map(node).collect(),
            values: self.values.clone(),
            explanations: self.explanations.clone(),
            live: self.live.clone(),
        }
    }

    fn limit(&mut self, limits: &Limits) {
        let of_weights = limits.of_weights();
        let limit_check = |check: &mut Check| {
            // What is beside numbers that are not there says nothing.
            if check.of > limits.numbers && check.at.is_empty() {
                check.found.clear();
            }
        };
        for value in &mut self.values {
            let output = match value.origin {
                Origin::Output { node, output } => {
                    self.nodes.get(node).and_then(|node| node.outputs.get(output))
                }
                _ => None,
            };
            let is_weights = is_weights(&value.name, output.map(|port| port.name.as_str()));
            let limits = if is_weights { &of_weights } else { limits };
            value.value.limit(limits);
            let more = [&mut value.seed, &mut value.gradient, &mut value.updated];
            more.into_iter().flatten().for_each(|array| array.limit(limits));
            value.check.iter_mut().for_each(limit_check);
        }
        for node in &mut self.nodes {
            for part in &mut node.contributions {
                part.value.limit(limits);
                limit_check(&mut part.check);
            }
            if let Some(digits) = limits.digits {
                node.flows.iter_mut().for_each(|x| *x = rounded(*x, digits));
            }
            node.opened.iter_mut().for_each(|opened| opened.trace.limit(limits));
        }
    }

    /// Calls `look` with each node, those of opened nodes too, and its path: the numbers of the nodes
    /// to open, from the outermost, and its own.
    pub fn walk<'a>(&'a self, look: &mut impl FnMut(&[usize], &'a Trace, &'a Node)) {
        fn inner<'a>(
            trace: &'a Trace,
            path: &mut Vec<usize>,
            look: &mut impl FnMut(&[usize], &'a Trace, &'a Node),
        ) {
            for (index, node) in trace.nodes.iter().enumerate() {
                path.push(index);
                look(path, trace, node);
                if let Some(opened) = &node.opened {
                    inner(&opened.trace, path, look);
                }
                path.pop();
            }
        }
        inner(self, &mut Vec::new(), look);
    }
}
