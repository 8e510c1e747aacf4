//! The graph of a computation, laid out: boxes in columns and rows, and the edges between them. And
//! the same in Graphviz's language.
//!
//! Columns follow what depends on what, from left to right, time step by time step; rows are scopes,
//! such as the layers of a model, beneath a row of what was put there from outside.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::array::Array;
use crate::trace::{Node, Origin, Port, Trace, Value};

/// A computation of more nodes is large: of values from outside, only its parameters are shown.
const LARGE: usize = 150;

/// More values from outside than that do not stand above each other.
const STACKED: usize = 7;

/// The graph of one level of a trace: fused nodes are boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// What it is of.
    pub title: String,
    /// The nodes in their order, and behind them what was put there from outside.
    pub boxes: Vec<Box>,
    /// From what makes a value to what reads it.
    pub edges: Vec<Edge>,
    /// The rows, from the top: the first is of what was put there from outside.
    pub rows: Vec<Row>,
    /// The time steps, from left to right.
    pub steps: Vec<TimeStep>,
    /// How many columns there are.
    pub columns: usize,
}

/// A node, or a value from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Box {
    /// What it is.
    pub kind: Kind,
    /// The number of the node, or the slot of the value.
    pub number: usize,
    /// The op's name, or the value's.
    pub name: String,
    /// The values that it makes: the first, and others that are read or have a gradient; or the one
    /// that it is.
    pub values: Vec<Held>,
    /// From the left.
    pub column: usize,
    /// From the top.
    pub row: usize,
    /// From the top within its row and column.
    pub level: usize,
}

/// A value of a box.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// What it is called.
    pub name: String,
    /// Its number, or its shape: `= 0.5`, `[2, 3]`.
    pub value: String,
    /// Its gradient when it is a number, else the norm of that; `None` where nothing flows.
    pub gradient: Option<Gradient>,
}

/// A gradient in few characters.
#[derive(Clone, Debug, PartialEq)]
pub enum Gradient {
    /// Of a number.
    Number(String),
    /// The norm, of an array.
    Norm(String),
}

impl Held {
    /// The value, when it is called `name`: empty for what stands beside the name already.
    pub fn told(&self, name: &str) -> String {
        if name.is_empty() { self.value.clone() } else { format!("{name} {}", self.value) }
    }

    /// The gradient, when the value is called `name`.
    pub fn gradient_told(&self, name: &str) -> Option<String> {
        Some(match self.gradient.as_ref()? {
            Gradient::Number(x) => format!("d_{name} = {x}"),
            Gradient::Norm(x) => format!("‖d_{name}‖ = {x}"),
        })
    }
}

/// What a box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An op.
    Op,
    /// An op that is made of simpler ones.
    Fused,
    /// The op that makes the loss, or whatever else the backward pass begins from.
    Last,
    /// A value whose gradient is wanted.
    Input,
    /// A value whose gradient is not wanted.
    Constant,
    /// A parameter.
    Parameter,
}

/// An edge between boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The number of the box that the value is of.
    pub from: usize,
    /// The number of the box that reads it.
    pub to: usize,
    /// What the op that reads it calls it: the letter of its formulas.
    pub port: String,
    /// Which of its inputs, of how many.
    pub input: [usize; 2],
    /// The norm of all that the reader adds to the value's gradient; `None` where nothing flows.
    pub gradient: Option<f64>,
}

/// A row of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The scope.
    pub name: String,
    /// How many boxes stand above each other at most.
    pub levels: usize,
}

/// The columns of a time step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimeStep {
    /// Which.
    pub time: usize,
    /// The first column.
    pub column: usize,
    /// How many there are.
    pub columns: usize,
}

/// When a node runs: steps begin again behind a node that needs all of them, as a decoder's do
/// behind an encoder's. Those without a time step come before or behind them.
type Moment = (usize, Option<Option<usize>>);

const BEFORE: Option<Option<usize>> = None;

/// Orders moments: before, then by time step, then behind.
fn order((phase, time): Moment) -> (usize, usize) {
    let place = match time {
        BEFORE => 0,
        Some(Some(time)) => time.saturating_add(1),
        Some(None) => usize::MAX,
    };
    (phase, place)
}

/// In which column each node stands.
struct Columns {
    of_nodes: Vec<usize>,
    steps: Vec<TimeStep>,
    count: usize,
}

impl Columns {
    fn of(trace: &Trace) -> Self {
        let made_of = |index: usize, node: &Node| -> Vec<usize> {
            let makers = node.inputs.iter().filter_map(|port| maker(trace, port.slot));
            makers.filter(|&made| made < index).collect()
        };
        let mut moments: Vec<Moment> = Vec::new();
        let mut depths: Vec<usize> = Vec::new();
        for (index, node) in trace.nodes.iter().enumerate() {
            let before: Vec<usize> = made_of(index, node);
            let phase = |&made: &usize| {
                let (phase, time) = moments[made];
                phase + usize::from(time == Some(None) && node.time.is_some())
            };
            let phase = before.iter().map(phase).max().unwrap_or(0);
            let behind = phase > 0 || before.iter().any(|&made| moments[made].1 != BEFORE);
            let time = match node.time {
                Some(time) => Some(Some(time)),
                None if behind => Some(None),
                None => BEFORE,
            };
            moments.push((phase, time));
            let same = before.iter().filter(|&&made| moments[made] == moments[index]);
            depths.push(same.map(|&made| depths[made] + 1).max().unwrap_or(0));
        }
        let mut widths: BTreeMap<(usize, usize), (Moment, usize)> = BTreeMap::new();
        for (&moment, &depth) in moments.iter().zip(&depths) {
            let width = &mut widths.entry(order(moment)).or_insert((moment, 0)).1;
            *width = (*width).max(depth + 1);
        }
        let (mut starts, mut steps, mut count) = (BTreeMap::new(), Vec::new(), 0);
        for (key, ((_, time), width)) in widths {
            starts.insert(key, count);
            if let Some(Some(time)) = time {
                steps.push(TimeStep { time, column: count, columns: width });
            }
            count += width;
        }
        let start = |moment: Moment| starts.get(&order(moment)).copied().unwrap_or(0);
        let of_nodes = moments.iter().zip(&depths).map(|(&moment, depth)| start(moment) + depth);
        Columns { of_nodes: of_nodes.collect(), steps, count }
    }
}

/// The node that makes a value.
fn maker(trace: &Trace, slot: usize) -> Option<usize> {
    match trace.values.get(slot)?.origin {
        Origin::Output { node, .. } => Some(node),
        _ => None,
    }
}

/// A value that was put there from outside and that nodes read; it stands above the first of these.
struct Leaf<'t> {
    slot: usize,
    value: &'t Value,
    kind: Kind,
    column: usize,
}

/// All of them, in their order.
fn leaves<'t>(trace: &'t Trace, columns: &Columns) -> Vec<Leaf<'t>> {
    let leaf = |(slot, value): (usize, &'t Value)| {
        let readers = value.readers.iter().filter_map(|&reader| columns.of_nodes.get(reader));
        let column = *readers.min()?;
        let kind = match value.origin {
            Origin::Input => Kind::Input,
            Origin::Constant => Kind::Constant,
            Origin::Parameter => Kind::Parameter,
            Origin::Output { .. } => return None,
        };
        Some(Leaf { slot, value, kind, column })
    };
    trace.values.iter().enumerate().filter_map(leaf).collect()
}

impl Graph {
    /// The graph of a trace, without looking into its fused nodes.
    pub fn of(trace: &Trace) -> Self {
        let columns = Columns::of(trace);
        let leaves = leaves(trace, &columns);
        Self::with(trace, columns, leaves)
    }

    /// The same without the values from outside that would hide the nodes: of a large computation,
    /// only parameters are left, and in a column that has many, only those that several nodes read.
    pub fn lean(trace: &Trace) -> Self {
        let columns = Columns::of(trace);
        let mut leaves = leaves(trace, &columns);
        if trace.nodes.len() > LARGE {
            leaves.retain(|leaf| leaf.kind == Kind::Parameter);
        }
        let mut stacked = vec![0; columns.count];
        leaves.iter().for_each(|leaf| stacked[leaf.column] += 1);
        leaves.retain(|leaf| stacked[leaf.column] <= STACKED || leaf.value.readers.len() > 1);
        Self::with(trace, columns, leaves)
    }

    fn with(trace: &Trace, columns: Columns, leaves: Vec<Leaf<'_>>) -> Self {
        let mut graph = Graph {
            title: trace.title.clone(),
            boxes: Vec::new(),
            edges: Vec::new(),
            rows: vec![Row { name: String::new(), levels: 0 }],
            steps: columns.steps,
            columns: columns.count,
        };
        let mut levels = BTreeMap::new();
        for (number, (node, column)) in trace.nodes.iter().zip(columns.of_nodes).enumerate() {
            let row = graph.row(&node.scope);
            graph.place(&mut levels, node_box(trace, number, node), column, row);
        }
        let mut places = BTreeMap::new();
        for leaf in leaves {
            places.insert(leaf.slot, graph.boxes.len());
            graph.place(&mut levels, leaf.drawn(), leaf.column, 0);
        }
        for (index, node) in trace.nodes.iter().enumerate() {
            for (input, port) in node.inputs.iter().enumerate() {
                let leaf = || places.get(&port.slot).copied();
                let Some(from) = maker(trace, port.slot).or_else(leaf) else { continue };
                let flows = node.contributions.iter().any(|part| part.input == input);
                graph.edges.push(Edge {
                    from,
                    to: index,
                    port: port.name.clone(),
                    input: [input, node.inputs.len()],
                    gradient: node.flows.get(input).copied().filter(|_| flows),
                });
            }
        }
        graph
    }

    fn row(&mut self, scope: &str) -> usize {
        match self.rows.iter().skip(1).position(|row| row.name == scope) {
            Some(row) => row + 1,
            None => {
                self.rows.push(Row { name: scope.into(), levels: 0 });
                self.rows.len() - 1
            }
        }
    }

    fn place(
        &mut self,
        levels: &mut BTreeMap<(usize, usize), usize>,
        one: Box,
        column: usize,
        row: usize,
    ) {
        let next = levels.entry((row, column)).or_insert(0);
        self.boxes.push(Box { column, row, level: *next, ..one });
        *next += 1;
        self.rows[row].levels = self.rows[row].levels.max(*next);
    }

    /// The graph for Graphviz, with the gradients or without.
    pub fn dot(&self, gradients: bool) -> String {
        let mut out = String::from("digraph trace {\n");
        let mut line = |text: String| _ = writeln!(out, "  {text}");
        line("rankdir=LR;".into());
        line(format!("label={}; labelloc=t; fontname=\"sans-serif\";", quoted(&self.title)));
        line("node [fontname=\"sans-serif\", fontsize=11]; edge [fontname=\"sans-serif\", fontsize=9];".into());
        for (number, one) in self.boxes.iter().enumerate() {
            let mut label = one.name.clone();
            for held in &one.values {
                let name = if held.name == one.name { "" } else { &held.name };
                let gradient = held.gradient_told(&held.name).filter(|_| gradients);
                for text in [Some(held.told(name)), gradient].into_iter().flatten() {
                    label = format!("{label}\n{text}");
                }
            }
            let shape = match one.kind {
                Kind::Op => "shape=box",
                Kind::Fused => "shape=box, peripheries=2",
                Kind::Last => "shape=box, style=bold",
                Kind::Input => "shape=ellipse",
                Kind::Constant => "shape=ellipse, style=dashed",
                Kind::Parameter => "shape=ellipse, style=bold",
            };
            line(format!("b{number} [label={}, {shape}];", quoted(&label)));
        }
        for Edge { from, to, port, gradient, .. } in &self.edges {
            line(format!("b{from} -> b{to} [label={}];", quoted(port)));
            if let (true, Some(norm)) = (gradients, gradient) {
                let label = quoted(&format!("‖d_{port}‖ {}", short(*norm)));
                let look = "color=\"#d55e00\", fontcolor=\"#a04600\", constraint=false";
                line(format!("b{to} -> b{from} [label={label}, {look}];"));
            }
        }
        out.push_str("}\n");
        out
    }
}

/// What the picture of a trace's graph shows, in words: the nodes in their order, each with what it
/// makes of what; with the gradients, if wanted.
///
/// ```
/// let lesson = unspool_trace::lessons::lesson("expression")?;
/// let words = unspool_trace::graph::in_words(&lesson.traces[0], false);
/// assert_eq!(words, "mul of w, x makes p; add of p, b makes s; tanh of s makes t; mul of t, w makes y");
/// # Ok::<_, unspool_trace::TraceError>(())
/// ```
pub fn in_words(trace: &Trace, gradients: bool) -> String {
    let name = |port: &Port| trace.values.get(port.slot).map_or("", |value| value.name.as_str());
    let node = |node: &Node| {
        let inputs: Vec<&str> = node.inputs.iter().map(name).collect();
        let outputs = node.outputs.iter().enumerate().filter(|(number, port)| {
            trace.values.get(port.slot).is_some_and(|value| counts(*number, value))
        });
        let outputs: Vec<&str> = outputs.map(|(_, port)| name(port)).collect();
        let time = node.time.map_or(String::new(), |time| format!(" at t={time}"));
        let op = node.op.replace('_', " ");
        format!("{op}{time} of {} makes {}", inputs.join(", "), outputs.join(", "))
    };
    let mut words = trace.nodes.iter().map(node).collect::<Vec<_>>().join("; ");
    if gradients {
        let told = |value: &Value| held(&value.name, value).gradient_told(&value.name);
        let told: Vec<String> = trace.values.iter().filter_map(told).collect();
        let _ = write!(words, ". Gradients: {}", told.join(", "));
    }
    words
}

impl Leaf<'_> {
    fn drawn(&self) -> Box {
        let name = match &self.value.name[..] {
            "" => format!("value {}", self.slot),
            name => name.into(),
        };
        let values = vec![held(&name, self.value)];
        Box { kind: self.kind, number: self.slot, name, values, column: 0, row: 0, level: 0 }
    }
}

fn node_box(trace: &Trace, number: usize, node: &Node) -> Box {
    let outputs = node.outputs.iter().filter_map(|port| Some((port, trace.values.get(port.slot)?)));
    let outputs: Vec<_> = outputs.collect();
    let seeded = outputs.iter().any(|(_, value)| value.seed.is_some());
    let kind = match (seeded, node.can_open) {
        (true, _) => Kind::Last,
        (false, true) => Kind::Fused,
        (false, false) => Kind::Op,
    };
    let shown = outputs.iter().enumerate().filter(|(number, (_, value))| counts(*number, value));
    let values = shown.map(|(_, (port, value))| match &value.name[..] {
        "" => held(&port.name, value),
        name => held(name, value),
    });
    let values = values.collect();
    Box { kind, number, name: node.op.replace('_', " "), values, column: 0, row: 0, level: 0 }
}

/// Whether an output is shown: the first, and others that are read or have a gradient.
fn counts(number: usize, value: &Value) -> bool {
    number == 0 || value.gradient.is_some() || !value.readers.is_empty()
}

/// A value that has this name.
fn held(name: &str, value: &Value) -> Held {
    let gradient = value.gradient.as_ref().map(|d| match d.numbers() {
        Some(&[x]) => Gradient::Number(short(x)),
        _ => Gradient::Norm(short(d.norm())),
    });
    Held { name: name.into(), value: said(&value.value), gradient }
}

/// An array's number when it is one, else its shape.
fn said(array: &Array) -> String {
    match array.numbers() {
        Some(&[x]) => format!("= {}", short(x)),
        _ => format!("{:?}", array.shape),
    }
}

/// A number in few characters.
fn short(x: f64) -> String {
    let size = x.abs();
    let text: String = match x {
        0.0 => "0".into(),
        _ if !x.is_finite() => x.to_string(),
        _ if (1e-3..1e4).contains(&size) => {
            let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{x:.decimals$}")
        }
        _ => format!("{x:.2e}"),
    };
    text.replace('-', "−")
}

/// Text in Graphviz's quotes. A line break is the only escape; there are no other control characters.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control.is_control() => out.push('\u{FFFD}'),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
