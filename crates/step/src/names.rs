//! What a node calls a value, and what the lesson calls it.
//!
//! A node's formulas have letters of their own: its x may be the lesson's w. Wherever a gradient is
//! shown or asked for, both are said. What is typed may be either, or a letter of a formula or of a
//! lesson's text: `h[5]`, `W_hh`, `L`.

use unspool_trace::trace::Port;
use unspool_trace::{Contribution, Explanation, Node, Trace, Value};

use crate::app::App;

/// What the lesson calls the value of a port.
pub fn value<'a>(trace: &'a Trace, port: &'a Port) -> &'a str {
    trace.values.get(port.slot).map_or(&port.name, |value| &value.name)
}

/// The gradient at a port: `d_z0 (here d_z)`, or `d_y` where the letter is the name.
pub fn gradient(trace: &Trace, port: &Port) -> String {
    match value(trace, port) {
        name if is_end(name, &port.name) => format!("d_{name}"),
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
    match (is_sum(trace, port.slot), is_end(name, &port.name)) {
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
    match (is_sum(trace, port.slot), is_end(name, &port.name)) {
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

/// The port that a letter of a node's formulas stands for: the one of that name, or the one that the
/// explanation names (`q`: the query).
pub(crate) fn port_of<'a>(
    explanation: &Explanation,
    node: &'a Node,
    letter: &str,
) -> Option<&'a Port> {
    let named = |name: &str| node.inputs.iter().chain(&node.outputs).find(|x| x.name == name);
    named(letter).or_else(|| named(meaning(explanation, letter)?))
}

/// What a letter stands for: "the weight" and "[S], the weights" are one letter's, "weight_ih,
/// weight_hh" those of as many letters.
fn meaning<'a>(explanation: &'a Explanation, letter: &str) -> Option<&'a str> {
    explanation.symbols.iter().find_map(|symbol| {
        let mut letters = symbol.name.split(", ");
        let at = letters.position(|one| one == letter)?;
        let mut meanings = symbol.meaning.split(", ");
        let meaning = match symbol.name.contains(", ") {
            true if symbol.name.matches(", ").count() == symbol.meaning.matches(", ").count() => {
                meanings.nth(at)
            }
            true => None,
            false => symbol.meaning.rsplit(", ").next(),
        }?;
        let article = ["the ", "a "].iter().find_map(|article| meaning.strip_prefix(article));
        Some(article.unwrap_or(meaning))
    })
}

/// The value that a name means: a slot of the trace inside of so many of the open nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// So many of the open nodes stay open.
    pub depth: usize,
    /// The slot in their trace.
    pub slot: usize,
}

impl App {
    /// The value of this very name: inside of the open nodes, or outside of them.
    pub(crate) fn value_named(&self, name: &str) -> Option<Meant> {
        (0..=self.place.path.len()).rev().find_map(|depth| {
            let trace = self.trace_at(depth);
            let slot = trace.values.iter().position(|value| value.name == name)?;
            Some(Meant { depth, slot })
        })
    }

    /// What a name means that is not a value's own: a letter of the formulas (`W_hh`), a letter at a
    /// time step (`h[5]`), `L` for the loss, the end of a dotted name.
    pub(crate) fn meanings(&self, name: &str) -> Vec<Meant> {
        let here = self.letter_here(name);
        if !here.is_empty() {
            return here;
        }
        let seeded = |value: &Value| value.seed.is_some();
        if ["L", "loss"].contains(&name)
            && let (Some(_), Some(slot)) =
                (self.root().loss, self.root().values.iter().position(seeded))
        {
            return vec![Meant { depth: 0, slot }];
        }
        if let Some((letter, time)) = at_time(name) {
            let written = [format!("{letter}{time}"), format!("{letter}[{time}]")];
            if let Some(found) = written.iter().find_map(|name| self.value_named(name)) {
                return vec![found];
            }
            return self.everywhere(|trace| self.slots_at_time(trace, letter, time));
        }
        let letters = self.synonyms(name);
        self.everywhere(|trace| slots_called(trace, &letters))
    }

    /// The value that a name means; or in words why there is none, or not one alone.
    pub(crate) fn meant(&self, name: &str) -> Result<Meant, String> {
        if let Some(found) = self.value_named(name) {
            return Ok(found);
        }
        let mut found = self.meanings(name);
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(self.unknown(name)),
            count => {
                let names = found.iter().take(3).filter_map(|one| self.name_of(one));
                let more = if count > 3 { ", …" } else { "" };
                let names = names.collect::<Vec<_>>().join(", ");
                Err(format!("{name} may be {names}{more}: write which"))
            }
        }
    }

    /// That nothing is called so, and what has a name that is near.
    pub(crate) fn unknown(&self, name: &str) -> String {
        /// So many are told.
        const MOST: usize = 3;
        let inside = |(_, node): &(usize, &Node)| {
            let opened = node.opened.as_ref().map(|opened| &opened.trace.values);
            opened.is_some_and(|values| values.iter().any(|value| value.name == name))
        };
        if let Some((index, node)) = self.trace().nodes.iter().enumerate().find(inside) {
            return format!("{name} is inside of node {index} ({}): i opens it there", node.op);
        }
        // h[9] is near h5.
        let plain = |name: &str| -> String {
            name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
        };
        let wanted = plain(name);
        let mut near: Vec<(usize, &str)> = Vec::new();
        for depth in (0..=self.place.path.len()).rev() {
            for value in &self.trace_at(depth).values {
                let other = plain(&value.name);
                let within = wanted.len() > 2 && other.contains(&wanted)
                    || other.len() > 2 && wanted.contains(&other);
                let far = if within { 0 } else { distance(&wanted, &other) };
                let most = wanted.chars().count().div_ceil(2);
                if far <= most && !near.iter().any(|(_, told)| *told == value.name) {
                    near.push((far, &value.name));
                }
            }
        }
        near.sort_by_key(|(far, _)| *far);
        let near: Vec<&str> = near.into_iter().take(MOST).map(|(_, name)| name).collect();
        match near.as_slice() {
            [] => format!("nothing is called {name:?}"),
            near => format!("nothing is called {name:?}; near: {}", near.join(", ")),
        }
    }

    /// What the lesson calls a value.
    pub(crate) fn name_of(&self, meant: &Meant) -> Option<&str> {
        self.trace_at(meant.depth).values.get(meant.slot).map(|value| value.name.as_str())
    }

    /// The value that the current node has this letter for.
    fn letter_here(&self, letter: &str) -> Vec<Meant> {
        let found = self.node().and_then(|(_, node)| {
            let explanation = self.root().explanations.get(&node.explanation)?;
            port_of(explanation, node, letter)
        });
        let depth = self.place.path.len();
        found.map(|port| Meant { depth, slot: port.slot }).into_iter().collect()
    }

    /// A name and all that explanations say that it stands for; behind the same scope, if it has one.
    fn synonyms(&self, name: &str) -> Vec<String> {
        let (scope, letter) = name.rsplit_once('.').map_or(("", name), |(scope, last)| {
            (name.get(..=scope.len()).unwrap_or_default(), last)
        });
        let known = self.root().explanations.values().filter_map(|one| meaning(one, letter));
        let known = known.map(|meaning| format!("{scope}{meaning}"));
        std::iter::once(name.to_owned()).chain(known).collect()
    }

    /// What is found in the innermost trace that has it.
    fn everywhere(&self, find: impl Fn(&Trace) -> Vec<usize>) -> Vec<Meant> {
        for depth in (0..=self.place.path.len()).rev() {
            let slots = find(self.trace_at(depth));
            if !slots.is_empty() {
                return slots.into_iter().map(|slot| Meant { depth, slot }).collect();
            }
        }
        Vec::new()
    }

    /// The values that nodes of a time step have a letter for: what they make of it (h'), before what
    /// they read. The time 0 is before the first step.
    fn slots_at_time(&self, trace: &Trace, letter: &str, time: usize) -> Vec<usize> {
        let behind = format!("{letter}'");
        let letters = self.synonyms(letter);
        let nodes = |time: usize| trace.nodes.iter().filter(move |node| node.time == Some(time));
        let made = nodes(time).flat_map(|node| &node.outputs);
        let made = made.filter(|port| port.name == letter || port.name == behind);
        let made: Vec<usize> = made.map(|port| port.slot).collect();
        if !made.is_empty() {
            return distinct(made);
        }
        let read = nodes(time.max(1)).flat_map(|node| &node.inputs);
        distinct(read.filter(|port| letters.contains(&port.name)).map(|port| port.slot))
    }
}

/// `h[5]` and `h_5`: a letter and a time step.
fn at_time(name: &str) -> Option<(&str, usize)> {
    let (letter, time) = match name.strip_suffix(']') {
        Some(rest) => rest.split_once('[')?,
        None => name.rsplit_once('_')?,
    };
    Some((letter.trim(), time.trim().trim_start_matches("t=").parse().ok()?))
}

/// The values of a trace that nodes have one of these letters for, or whose dotted name ends so.
fn slots_called(trace: &Trace, letters: &[String]) -> Vec<usize> {
    let ends = |name: &str| {
        letters.iter().any(|letter| match letter.rsplit_once('.') {
            // `decoder.weight_hh` is `decoder.l0.weight_hh`, too.
            Some((scope, last)) => {
                let within = name.strip_prefix(scope).is_some_and(|rest| rest.starts_with('.'));
                within && is_end(name, last) || is_end(name, letter)
            }
            None => is_end(name, letter),
        })
    };
    let named = trace.values.iter().enumerate().filter(|(_, value)| ends(&value.name));
    let ports = trace.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.outputs));
    let ports = ports.filter(|port| letters.contains(&port.name)).map(|port| port.slot);
    distinct(named.map(|(slot, _)| slot).chain(ports))
}

fn distinct(slots: impl IntoIterator<Item = usize>) -> Vec<usize> {
    slots.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Whether a name is another, or a dotted name that ends in it: `decoder.l0.weight_hh` in `weight_hh`.
pub(crate) fn is_end(name: &str, end: &str) -> bool {
    name == end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'))
}

/// How many characters must be put in, taken out or replaced to make one name of another.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let (mut left, mut diagonal) = (i + 1, i);
        let mut next = vec![left];
        for (&y, &above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(left + 1).min(above + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Which number of an array of this shape `1,2` is.
pub(crate) fn element(shape: &[usize], index: &str) -> Option<usize> {
    let at: Option<Vec<usize>> = index.split(',').map(|part| part.trim().parse().ok()).collect();
    let at = at.filter(|at| at.len() == shape.len())?;
    let fits = at.iter().zip(shape).all(|(at, length)| at < length);
    fits.then(|| at.iter().zip(shape).fold(0, |element, (at, length)| element * length + at))
}
