//! What a node calls a value, and what the lesson calls it.
//!
//! A node's formulas have letters of their own: its x may be the lesson's w. Wherever a gradient is
//! shown or asked for, both are said. What is typed may be either, or a letter of a formula or of a
//! lesson's text: `h[5]`, `W_hh`, `L`.

use unspool_trace::notation::Expr;
use unspool_trace::trace::Port;
use unspool_trace::{Contribution, Explanation, Node, Trace, Value};

use crate::app::App;
use crate::hint::letters_of;
use crate::look::Look;

/// What the lesson calls the value of a port.
pub fn value<'a>(trace: &'a Trace, port: &'a Port) -> &'a str {
    trace.values.get(port.slot).map_or(&port.name, |value| &value.name)
}

/// The gradient of a value of this name: `d_w`, and of a product `d_(f⊙c)`, as `d_f⊙c` were another
/// product.
pub fn gradient_of(name: &str) -> String {
    if name.contains(['⊙', '·', '+', '−', '/']) {
        format!("d_({name})")
    } else {
        format!("d_{name}")
    }
}

/// The gradient of a value, or one number of it, by the name and by a node's letter: `d_w (here d_x)`.
fn gradient_here(name: &str, letter: &str, place: &str) -> String {
    match is_end(name, letter) {
        true => format!("{}{place}", gradient_of(name)),
        false => format!("{}{place} (here {}{place})", gradient_of(name), gradient_of(letter)),
    }
}

/// The gradient at a port: `d_z (here d_out)`, or `d_y` where the letter is the name.
pub fn gradient(trace: &Trace, port: &Port) -> String {
    gradient_here(value(trace, port), &port.name, "")
}

/// What a node adds to the gradient of an input: `d_w (here d_x)`, or `adds to d_weight_hh` where
/// others add to it, too ([`App::is_shared`]).
pub fn added(trace: &Trace, node: &Node, part: &Contribution, is_shared: bool) -> String {
    let Some(port) = node.inputs.get(part.input) else { return String::new() };
    let name = gradient(trace, port);
    let time = match part.time {
        Some(time) if node.time.is_none() => format!(" at t={time}"),
        _ => String::new(),
    };
    let adds = if is_shared { "adds to " } else { "" };
    format!("{adds}{name}{time}")
}

/// One number of it, in words: `d_w[1] (here d_x[1])`.
pub fn number_added(
    trace: &Trace,
    node: &Node,
    part: &Contribution,
    element: usize,
    is_shared: bool,
) -> String {
    let Some(port) = node.inputs.get(part.input) else { return String::new() };
    let place = place(&part.value.shape, element);
    let name = gradient_here(value(trace, port), &port.name, &place);
    let who = match (node.time, part.time) {
        (Some(_), _) => "this step".into(),
        (None, Some(time)) => format!("step t={time}"),
        (None, None) => "this node".into(),
    };
    if is_shared { format!("what {who} adds to {name}") } else { name }
}

/// What the backward pass begins at: `loss`, mostly.
pub fn result(trace: &Trace) -> &str {
    let seeded = trace.values.iter().find(|value| value.seed.is_some());
    seeded.map_or("loss", |value| &value.name)
}

/// How many parts a gradient is the sum of: those of nodes, and what the backward pass began with.
pub fn parts_of(value: &Value) -> usize {
    value.parts.len() + usize::from(value.seed.is_some())
}

/// Whether a gradient has several parts.
fn is_sum(trace: &Trace, slot: usize) -> bool {
    trace.values.get(slot).is_some_and(|value| parts_of(value) > 1)
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

/// By which of a node's outputs the rule adds to the gradient that comes in at another: h' for an LSTM's
/// c'.
pub(crate) fn added_by<'a>(
    explanation: &Explanation,
    node: &'a Node,
    output: &Port,
) -> Vec<&'a str> {
    let port = |letter: &str| port_of(explanation, node, letter.strip_prefix("d_")?);
    let rules = explanation.backward.iter().flat_map(|rule| &rule.formulas);
    let adds = rules.filter_map(|rule| match rule.expr() {
        Expr::Relation(sign, left, right) if sign == "+=" => {
            let of = letters_of([&**left]).into_iter().find_map(port)?;
            (of.slot == output.slot).then_some(right)
        }
        _ => None,
    });
    let letters = adds.flat_map(|right| letters_of([&**right])).filter_map(port);
    let others = letters.filter(|port| node.outputs.contains(port) && port.slot != output.slot);
    others.map(|port| port.name.as_str()).collect()
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

/// What a typed text means: a value of the trace inside of so many of the open nodes, one number of it
/// or all, or its gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// So many of the open nodes stay open.
    pub depth: usize,
    /// The slot in their trace.
    pub slot: usize,
    /// Which of its numbers, where the text says it.
    pub element: Option<usize>,
    /// Whether its gradient is meant.
    pub gradient: bool,
    /// The name that was typed for the value, without `d_` and without the number's place.
    pub typed: String,
}

impl App {
    /// Whether the gradient of a value has several parts, here or outside of the open nodes: the
    /// nodes inside of one time step make a part of a weight's gradient, and no more.
    pub fn is_shared(&self, slot: usize) -> bool {
        is_sum(self.trace(), slot) || self.is_part(slot)
    }

    /// Whether all that the open nodes add to the gradient of a value is a part: others outside add
    /// theirs.
    pub fn is_part(&self, mut slot: usize) -> bool {
        for (depth, &node) in self.place.path.iter().enumerate().rev() {
            let outside = self.trace_at(depth);
            // The first values inside are the inputs of the node.
            let port = outside.nodes.get(node).and_then(|node| node.inputs.get(slot));
            let Some(port) = port else { return false };
            if is_sum(outside, port.slot) {
                return true;
            }
            slot = port.slot;
        }
        false
    }

    /// Where the value of a slot inside of so many of the open nodes comes from: an input of an open node
    /// is a value outside of it.
    pub(crate) fn origin(&self, depth: usize, slot: usize) -> (usize, usize) {
        let mut found = (depth.min(self.place.path.len()), slot);
        while let Some(outside) = found.0.checked_sub(1)
            && let Some(&node) = self.place.path.get(outside)
            && let Some(node) = self.trace_at(outside).nodes.get(node)
            && let Some(port) = node.inputs.get(found.1)
        {
            found = (outside, port.slot);
        }
        found
    }

    /// That the current node has the letter that was typed for another value than the one that is meant.
    pub(crate) fn other_here(&self, meant: &Meant) -> Option<String> {
        let (_, node) = self.node()?;
        let other = self.letter_here(&meant.typed)?;
        let [this, that] = [meant, &other].map(|one| self.origin(one.depth, one.slot));
        let name = self.name_of(&other).filter(|_| this != that)?;
        Some(format!("{}'s own {} is {name}", node.op, meant.typed))
    }

    /// What a text means. In this order: a value of this very name; a number of such a value, or of the
    /// one that the current node has the letter for; a letter of a formula, alone or at a time step; a
    /// number of what such a letter is. With `d_`, and nothing called so, the gradient of all that.
    ///
    /// # Errors
    /// In words, why it means nothing, or not one thing.
    pub(crate) fn meant(&self, text: &str) -> Result<Meant, String> {
        let mut found = self.meanings(text)?;
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(self.unknown(text)),
            count => {
                let names = found.iter().take(3).filter_map(|one| self.name_of(one));
                let more = if count > 3 { ", …" } else { "" };
                let names = names.collect::<Vec<_>>().join(", ");
                let typed = found.first().map_or(text, |one| &one.typed);
                Err(format!("{typed} may be {names}{more}: write which"))
            }
        }
    }

    /// All that a text may mean.
    ///
    /// # Errors
    /// In words, why it can mean nothing.
    pub(crate) fn meanings(&self, text: &str) -> Result<Vec<Meant>, String> {
        let plain = self.values_meant(text)?;
        let Some(name) = text.strip_prefix("d_").filter(|_| plain.is_empty()) else {
            return Ok(plain);
        };
        if name.trim().is_empty() {
            return Err("d_ is the gradient of nothing: write a name behind it, as in d_w".into());
        }
        let mut found = self.values_meant(name)?;
        if found.is_empty()
            && let Some(name) = without_parentheses(name)
        {
            found = self.values_meant(&name)?;
        }
        found.iter_mut().for_each(|one| one.gradient = true);
        Ok(found)
    }

    /// The same without gradients.
    fn values_meant(&self, text: &str) -> Result<Vec<Meant>, String> {
        if let Some(own) = self.value_named(text) {
            return Ok(vec![own]);
        }
        let Some((name, index)) = with_index(text) else { return Ok(self.values_called(text)) };
        let own = self.value_named(name);
        let near = own.iter().cloned().chain(self.letter_here(name));
        if let Some(number) = near.filter_map(|one| self.number_of(one, index)).next() {
            return Ok(vec![number]);
        }
        // h[5] is h at time step 5.
        let whole = self.values_called(text);
        if !whole.is_empty() {
            return Ok(whole);
        }
        let all = self.values_called(name);
        let numbers: Vec<Meant> =
            all.iter().filter_map(|one| self.number_of(one.clone(), index)).collect();
        match all.as_slice() {
            [only] if numbers.is_empty() && (own.is_some() || at_time(text).is_none()) => {
                Err(self.outside(only))
            }
            _ if numbers.is_empty() && at_time(text).is_none() => Ok(all),
            _ => Ok(numbers),
        }
    }

    /// The value of this very name: inside of the open nodes, or outside of them.
    pub(crate) fn value_named(&self, name: &str) -> Option<Meant> {
        let depths = (0..=self.place.path.len()).rev();
        depths.filter(|_| !name.is_empty()).find_map(|depth| {
            let trace = self.trace_at(depth);
            let of_name = trace.values.iter().position(|value| value.name == name);
            let typed =
                || trace.values.iter().position(|value| in_ascii(&value.name) == in_ascii(name));
            let slot = of_name.or_else(typed)?;
            Some(found(depth, slot, &trace.values.get(slot)?.name))
        })
    }

    /// The values that a name means: its own, or what it stands for as a letter of the formulas
    /// (`W_hh`), a letter at a time step (`h[5]`), `L` for the loss, the end of a dotted name.
    fn values_called(&self, name: &str) -> Vec<Meant> {
        if let Some(one) = self.value_named(name).or_else(|| self.letter_here(name)) {
            return vec![one];
        }
        let seeded = |value: &Value| value.seed.is_some();
        if ["L", "loss"].contains(&name)
            && let (Some(_), Some(slot)) =
                (self.root().loss, self.root().values.iter().position(seeded))
        {
            return vec![found(0, slot, name)];
        }
        if let Some((letter, time)) = at_time(name) {
            let written = [format!("{letter}{time}"), format!("{letter}[{time}]")];
            if let Some(one) = written.iter().find_map(|name| self.value_named(name)) {
                return vec![Meant { typed: name.into(), ..one }];
            }
            return self.everywhere(name, |trace| self.slots_at_time(trace, letter, time));
        }
        let letters = self.synonyms(name);
        self.everywhere(name, |trace| slots_called(trace, &letters))
    }

    /// A number of a value, where it has such a one.
    fn number_of(&self, value: Meant, index: &str) -> Option<Meant> {
        let shape = &self.value_of(&value)?.value.shape;
        let element = element(shape, index)?;
        Some(Meant { element: Some(element), ..value })
    }

    /// That a value has no such number.
    pub(crate) fn outside(&self, value: &Meant) -> String {
        let Some(value) = self.value_of(value) else { return String::new() };
        let (name, shape) = (&value.name, &value.value.shape);
        let index: Vec<&str> = ["i", "j", "k", "l"].into_iter().take(shape.len()).collect();
        match index.join(",") {
            none if none.is_empty() => format!("{name} is a single number: write {name}"),
            index => format!("{name} has the shape {shape:?}: write {name}[{index}] within it"),
        }
    }

    /// That nothing is called so, and what has a name that is near.
    pub(crate) fn unknown(&self, text: &str) -> String {
        /// So many are told.
        const MOST: usize = 3;
        if text.is_empty() {
            return "write the name of a value".into();
        }
        let name = text.strip_prefix("d_").unwrap_or(text);
        // Of h[9], time step 9 is what is not there; of f[0,1] it is f.
        let indexed = with_index(name).filter(|_| at_time(name).is_none());
        let base = indexed.map_or(name, |(base, _)| base);
        let inside = |(_, node): &(usize, &Node)| {
            let opened = node.opened.as_ref().map(|opened| &opened.trace.values);
            opened.is_some_and(|all| all.iter().any(|one| one.name == name || one.name == base))
        };
        if let Some((index, node)) = self.trace().nodes.iter().enumerate().find(inside) {
            return format!("{base} is inside of node {index} ({}): i opens it there", node.op);
        }
        let mut near: Vec<(usize, &str)> = Vec::new();
        for depth in (0..=self.place.path.len()).rev() {
            for value in &self.trace_at(depth).values {
                let far = [name, base].iter().filter_map(|one| nearness(one, &value.name)).min();
                let told = near.iter().any(|(_, told)| *told == value.name);
                near.extend(far.filter(|_| !told).map(|far| (far, value.name.as_str())));
            }
        }
        near.sort_by_key(|(far, _)| *far);
        let near: Vec<&str> = near.into_iter().take(MOST).map(|(_, name)| name).collect();
        match near.as_slice() {
            [] => format!("nothing is called {name:?}"),
            near => format!("nothing is called {name:?}; near: {}", near.join(", ")),
        }
    }

    fn value_of(&self, meant: &Meant) -> Option<&Value> {
        self.trace_at(meant.depth).values.get(meant.slot)
    }

    /// What the lesson calls a value.
    pub(crate) fn name_of(&self, meant: &Meant) -> Option<&str> {
        self.value_of(meant).map(|value| value.name.as_str())
    }

    /// The value that the current node has this letter for.
    fn letter_here(&self, letter: &str) -> Option<Meant> {
        let (_, node) = self.node()?;
        let explanation = self.root().explanations.get(&node.explanation)?;
        let port = port_of(explanation, node, letter)?;
        Some(found(self.place.path.len(), port.slot, letter))
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
    fn everywhere(&self, name: &str, find: impl Fn(&Trace) -> Vec<usize>) -> Vec<Meant> {
        for depth in (0..=self.place.path.len()).rev() {
            let slots = find(self.trace_at(depth));
            if !slots.is_empty() {
                return slots.into_iter().map(|slot| found(depth, slot, name)).collect();
            }
        }
        Vec::new()
    }

    /// The values that nodes of a time step have a letter for: what they make of it (h'), before what
    /// they read. Time 0, before the first step, has what is carried from step to step alone.
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
        let is_carried = |node: &&Node| node.outputs.iter().any(|port| port.name == behind);
        let read = nodes(time.max(1)).filter(|node| time > 0 || is_carried(node));
        let read = read.flat_map(|node| &node.inputs);
        distinct(read.filter(|port| letters.contains(&port.name)).map(|port| port.slot))
    }
}

/// A name as it can be typed in ASCII, and as ASCII screens have it: `f*c` for `f⊙c`.
fn in_ascii(name: &str) -> String {
    Look { colour: false, ascii: true }.text(name).replace(".*", "*")
}

/// A whole value, found by a name.
fn found(depth: usize, slot: usize, name: &str) -> Meant {
    Meant { depth, slot, element: None, gradient: false, typed: name.into() }
}

/// `w[1,2]`: a name and an index.
fn with_index(text: &str) -> Option<(&str, &str)> {
    let (name, index) = text.strip_suffix(']')?.rsplit_once('[')?;
    Some((name.trim(), index))
}

/// `(f⊙c)[1]`, as gradients of products are written: `f⊙c[1]`.
fn without_parentheses(name: &str) -> Option<String> {
    let (inner, rest) = name.strip_prefix('(')?.rsplit_once(')')?;
    Some(format!("{inner}{rest}"))
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

/// How far two names are from each other, if they are near: of three letters one may be another.
fn nearness(wanted: &str, name: &str) -> Option<usize> {
    // h[9] is near h5.
    let plain = |name: &str| -> String {
        name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
    };
    let (wanted, name) = (plain(wanted), plain(name));
    let long = |name: &str| name.chars().count() > 2;
    if long(&wanted) && name.contains(&wanted) || long(&name) && wanted.contains(&name) {
        return Some(0);
    }
    let most = match wanted.chars().count() {
        0 | 1 => 0,
        count => (count / 3).max(1),
    };
    // The first letter says most.
    let other = usize::from(wanted.chars().next() != name.chars().next());
    let far = distance(&wanted, &name);
    (far <= most && !name.is_empty()).then_some(2 * far + other)
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

#[cfg(test)]
mod tests {
    use unspool_trace::explain::{explained, explanation};

    use super::*;

    #[test]
    fn letters_stand_for_inputs_and_outputs_that_are_there() {
        const CELL: &str = "W_ih: weight_ih, W_hh: weight_hh, b_ih: bias_ih, b_hh: bias_hh";
        const ATTENTION: &str = "w: weights, c: context, q: query, k: keys, m: values";
        let mut expected = Vec::new();
        for (ops, pairs) in [
            (&["linear", "linear_cross_entropy"][..], "W: weight, b: bias"),
            (&["additive_attention", "dot_attention"], ATTENTION),
            (&["rnn", "rnn_step", "lstm", "lstm_step", "gru", "gru_step"], CELL),
        ] {
            let rows = |op| pairs.split(", ").map(move |pair| format!("{op} {pair}"));
            expected.extend(ops.iter().flat_map(rows));
        }
        let mut found = Vec::new();
        for op in explained() {
            let about = explanation(op).unwrap();
            for letter in about.symbols.iter().flat_map(|symbol| symbol.name.split(", ")) {
                let mut ports = about.inputs.iter().chain(&about.outputs);
                let port = meaning(&about, letter)
                    .filter(|meaning| ports.any(|port| port.name == *meaning));
                found.extend(port.map(|port| format!("{op} {letter}: {port}")));
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn names_are_near_when_few_of_their_letters_are_others() {
        for (wanted, name, far) in [
            ("weigth_hh", "weight_hh", Some(4)),
            ("weight", "decoder.l0.weight_hh", Some(0)),
            ("h[9]", "h5", Some(2)),
            ("x[0]", "h0", Some(3)),
            ("w", "w", Some(0)),
            ("q", "w", None),
            ("qq", "w", None),
            ("zz", "x1", None),
            ("wanted", "off", None),
            ("", "b", None),
            ("b", "", None),
        ] {
            assert_eq!(nearness(wanted, name), far, "{wanted} {name}");
        }
    }
}
