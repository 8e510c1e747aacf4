//! The graph of a computation, laid out: boxes in columns and rows, and the edges between them. And
//! the same in Graphviz's language.
//!
//! Columns follow what depends on what, from left to right, time step by time step; rows are scopes,
//! such as the layers of a model, beneath a row of what was put there from outside.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::array::Array;
use crate::trace::{Node, Origin, Trace, Value};

/// The graph of one level of a trace: fused nodes are boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// What it is of.
    pub title: String,
    /// The nodes in their order, and behind them what was put there from outside.
    pub boxes: Vec<Box>,
    /// From what makes a value to what reads it.
    pub edges: Vec<Edge>,
    /// The names of the rows, from the top; the first may be empty.
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
    /// The op's name, or the value's.
    pub name: String,
    /// The value that it makes or is: its name, unless that is the box's; its number, or its shape.
    pub value: String,
    /// The gradient of that value: `d_w = 0.3`, or its norm; `None` where nothing flows.
    pub gradient: Option<String>,
    /// From the left.
    pub column: usize,
    /// From the top.
    pub row: usize,
    /// From the top within its row and column.
    pub level: usize,
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
    /// The norm of the gradient that goes back along it; `None` where nothing flows.
    pub gradient: Option<f64>,
}

/// A row of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The scope.
    pub name: String,
    /// How many boxes stand above each other at most.
    pub levels: usize,
}

/// The columns of a time step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Graph {
    /// The graph of a trace, without looking into its fused nodes.
    pub fn of(trace: &Trace) -> Self {
        let maker = |slot: usize| match trace.values.get(slot)?.origin {
            Origin::Output { node, .. } => Some(node),
            _ => None,
        };
        let made_of = |index: usize, node: &Node| -> Vec<usize> {
            let makers = node.inputs.iter().filter_map(|port| maker(port.slot));
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
        let (mut starts, mut steps, mut columns) = (BTreeMap::new(), Vec::new(), 0);
        for (key, ((_, time), width)) in widths {
            starts.insert(key, columns);
            if let Some(Some(time)) = time {
                steps.push(TimeStep { time, column: columns, columns: width });
            }
            columns += width;
        }
        let mut graph = Graph {
            title: trace.title.clone(),
            boxes: Vec::new(),
            edges: Vec::new(),
            rows: vec![Row { name: String::new(), levels: 0 }],
            steps,
            columns,
        };
        let mut levels = BTreeMap::new();
        for (index, node) in trace.nodes.iter().enumerate() {
            let column = starts.get(&order(moments[index])).copied().unwrap_or(0) + depths[index];
            let row = graph.row(&node.scope);
            graph.place(&mut levels, node_box(trace, node), column, row);
        }
        let mut leaves = BTreeMap::new();
        for (slot, value) in trace.values.iter().enumerate() {
            let readers = value.readers.iter().filter_map(|&reader| graph.boxes.get(reader));
            let Some(column) = readers.map(|reader| reader.column).min() else { continue };
            let kind = match value.origin {
                Origin::Input => Kind::Input,
                Origin::Constant => Kind::Constant,
                Origin::Parameter => Kind::Parameter,
                Origin::Output { .. } => continue,
            };
            let name =
                if value.name.is_empty() { format!("value {slot}") } else { value.name.clone() };
            let leaf = boxed(kind, name.clone(), &name, value);
            leaves.insert(slot, graph.boxes.len());
            graph.place(&mut levels, leaf, column, 0);
        }
        for (index, node) in trace.nodes.iter().enumerate() {
            for (input, port) in node.inputs.iter().enumerate() {
                let leaf = || leaves.get(&port.slot).copied();
                let Some(from) = maker(port.slot).or_else(leaf) else { continue };
                let parts = node.contributions.iter().filter(|part| part.input == input);
                let squares: Vec<f64> = parts.map(|part| part.value.norm().powi(2)).collect();
                let gradient = (!squares.is_empty()).then(|| squares.iter().sum::<f64>().sqrt());
                let input = [input, node.inputs.len()];
                graph.edges.push(Edge {
                    from,
                    to: index,
                    port: port.name.clone(),
                    input,
                    gradient,
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
        line(format!("label={}; labelloc=t;", quoted(&self.title)));
        line("node [fontname=\"sans-serif\", fontsize=11]; edge [fontname=\"sans-serif\", fontsize=9];".into());
        for (number, one) in self.boxes.iter().enumerate() {
            let mut label = one.name.clone();
            let gradient = one.gradient.as_ref().filter(|_| gradients);
            for text in [Some(&one.value), gradient].into_iter().flatten() {
                if !text.is_empty() {
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
                let label = quoted(&format!("d_{port} {}", short(*norm)));
                let look = "color=\"#d55e00\", fontcolor=\"#a04600\", constraint=false";
                line(format!("b{to} -> b{from} [label={label}, {look}];"));
            }
        }
        out.push_str("}\n");
        out
    }
}

fn node_box(trace: &Trace, node: &Node) -> Box {
    let output = node.outputs.first().and_then(|port| Some((port, trace.values.get(port.slot)?)));
    let seeded = output.is_some_and(|(_, value)| value.seed.is_some());
    let kind = match (seeded, node.can_open) {
        (true, _) => Kind::Last,
        (false, true) => Kind::Fused,
        (false, false) => Kind::Op,
    };
    let op = node.op.replace('_', " ");
    match output {
        None => Box {
            kind,
            name: op,
            value: String::new(),
            gradient: None,
            column: 0,
            row: 0,
            level: 0,
        },
        Some((port, value)) => {
            let name = if value.name.is_empty() { &port.name } else { &value.name };
            boxed(kind, op, name, value)
        }
    }
}

/// A box of a value that has this name.
fn boxed(kind: Kind, name: String, of: &str, value: &Value) -> Box {
    let told = said(&value.value);
    let beside = if name == of { told } else { format!("{of} {told}") };
    let gradient = value.gradient.as_ref().map(|d| match d.numbers() {
        Some(&[x]) => format!("d_{of} = {}", short(x)),
        _ => format!("‖d_{of}‖ = {}", short(d.norm())),
    });
    Box { kind, name, value: beside, gradient, column: 0, row: 0, level: 0 }
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
    match x {
        0.0 => "0".into(),
        _ if !x.is_finite() => x.to_string(),
        _ if (1e-3..1e4).contains(&size) => {
            let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{x:.decimals$}")
        }
        _ => format!("{x:.2e}"),
    }
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
