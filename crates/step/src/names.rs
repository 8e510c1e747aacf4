//! What a node calls a value, and what the lesson calls it.
//!
//! A node's formulas have letters of their own: its x may be the lesson's w. Wherever a gradient is
//! shown or asked for, both are said.

use unspool_trace::trace::Port;
use unspool_trace::{Contribution, Node, Trace};

/// What the lesson calls the value of a port.
pub fn value<'a>(trace: &'a Trace, port: &'a Port) -> &'a str {
    trace.values.get(port.slot).map_or(&port.name, |value| &value.name)
}

/// The gradient at a port: `d_z0 (here d_z)`, or `d_y` where the letter is the name.
pub fn gradient(trace: &Trace, port: &Port) -> String {
    match value(trace, port) {
        name if name == port.name => format!("d_{name}"),
        name => format!("d_{name} (here d_{})", port.name),
    }
}

/// What a node adds to the gradient of an input: `d_w (here d_x)`, `adds to d_weight_hh`.
pub fn added(trace: &Trace, node: &Node, part: &Contribution) -> String {
    let Some(port) = node.inputs.get(part.input) else { return String::new() };
    let name = value(trace, port);
    let time = match part.time {
        Some(time) if node.time.is_none() => format!(" at t={time}"),
        _ => String::new(),
    };
    match (is_sum(trace, port.slot), name == port.name) {
        (false, true) => format!("d_{name}{time}"),
        (false, false) => format!("d_{name} (here d_{}){time}", port.name),
        (true, true) => format!("adds to d_{name}{time}"),
        (true, false) => format!("adds to d_{name} (here d_{}){time}", port.name),
    }
}

/// One number of it, in words: `d_w[1] (here d_x[1])`.
pub fn number_added(trace: &Trace, node: &Node, part: &Contribution, element: usize) -> String {
    let Some(port) = node.inputs.get(part.input) else { return String::new() };
    let name = value(trace, port);
    let place = place(&part.value.shape, element);
    let (number, letter) = (format!("d_{name}{place}"), format!("d_{}{place}", port.name));
    let who = match (node.time, part.time) {
        (Some(_), _) => "this step".into(),
        (None, Some(time)) => format!("step t={time}"),
        (None, None) => "this node".into(),
    };
    match (is_sum(trace, port.slot), name == port.name) {
        (false, true) => number,
        (false, false) => format!("{number} (here {letter})"),
        (true, true) => format!("what {who} adds to {number}"),
        (true, false) => format!("what {who} adds to {number} (here {letter})"),
    }
}

/// What the backward pass begins at: `loss`, mostly.
pub fn result(trace: &Trace) -> &str {
    let seeded = trace.values.iter().find(|value| value.seed.is_some());
    seeded.map_or("loss", |value| &value.name)
}

/// Whether a gradient has several parts.
fn is_sum(trace: &Trace, slot: usize) -> bool {
    let parts =
        |value: &unspool_trace::Value| value.parts.len() + usize::from(value.seed.is_some());
    trace.values.get(slot).is_some_and(|value| parts(value) > 1)
}

/// The place of an element as it is written: `[1,2]`; nothing for a single number.
pub fn place(shape: &[usize], element: usize) -> String {
    if shape.iter().product::<usize>() == 1 && shape.len() < 2 {
        return String::new();
    }
    let (mut rest, mut index) = (element, Vec::new());
    for &length in shape.iter().rev() {
        index.push((rest % length.max(1)).to_string());
        rest /= length.max(1);
    }
    index.reverse();
    format!("[{}]", index.join(","))
}
