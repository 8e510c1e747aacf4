//! Moving through a trace: steps, opened nodes, jumps, search and breakpoints.

use unspool_trace::{Node, Step, Trace, Value};

use crate::app::{App, Screen};
use crate::check::same_to;
use crate::look::{self, number};
use crate::names::{self, Meant, place};

/// Where one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which of the lesson's traces.
    pub trace: usize,
    /// The nodes that are open, from the outermost.
    pub path: Vec<usize>,
    /// The step of the innermost trace.
    pub step: usize,
}

/// Where to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Break {
    /// Whether above the limit, or below it.
    pub above: bool,
    /// The limit of the norm.
    pub limit: f64,
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "norm {} {}", if self.above { ">" } else { "<" }, self.limit)
    }
}

/// An array of the node where one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The node's name for it.
    pub name: String,
    /// The slot of its value.
    pub slot: usize,
}

/// The trace inside of these open nodes, or as far as they are open.
pub(crate) fn inside<'a>(mut trace: &'a Trace, path: &[usize]) -> &'a Trace {
    for &node in path {
        match trace.nodes.get(node).and_then(|node| node.opened.as_ref()) {
            Some(opened) => trace = &opened.trace,
            None => break,
        }
    }
    trace
}

impl App {
    /// The outermost trace.
    pub fn root(&self) -> &Trace {
        // `new` saw that there is one, and `next_trace` stays within them.
        &self.lesson.traces[self.place.trace.min(self.lesson.traces.len() - 1)]
    }

    /// The trace where one is: that of the innermost open node.
    pub fn trace(&self) -> &Trace {
        inside(self.root(), &self.place.path)
    }

    /// The step where one is.
    pub fn current(&self) -> Step {
        self.trace().steps.get(self.place.step).copied().unwrap_or(Step::Update)
    }

    /// The node where one is, and its number; `None` at the update.
    pub fn node(&self) -> Option<(usize, &Node)> {
        let (Step::Forward(index) | Step::Backward(index)) = self.current() else { return None };
        Some((index, self.trace().nodes.get(index)?))
    }

    /// Whether a value is an output of the innermost open node.
    pub(crate) fn is_output_of_open(&self, value: &Value) -> bool {
        let Some((&open, outside)) = self.place.path.split_last() else { return false };
        let node = inside(self.root(), outside).nodes.get(open);
        node.is_some_and(|node| node.outputs.iter().any(|port| port.name == value.name))
    }

    /// Whether one is on the way back.
    pub fn is_backward(&self) -> bool {
        !matches!(self.current(), Step::Forward(_))
    }

    /// The arrays of the node, inputs first.
    pub fn arrays(&self) -> Vec<Shown> {
        let Some((_, node)) = self.node() else { return Vec::new() };
        let ports = node.inputs.iter().chain(&node.outputs);
        ports.map(|port| Shown { name: port.name.clone(), slot: port.slot }).collect()
    }

    /// The array under the cursor.
    pub fn shown(&self) -> Option<Shown> {
        self.arrays().into_iter().nth(self.array)
    }

    pub(crate) fn go_to_step(&mut self, step: usize) {
        let last = self.trace().steps.len().saturating_sub(1);
        self.place.step = step.min(last);
        (self.array, self.element, self.scroll) = (0, 0, 0);
        self.screen = Screen::Walk;
    }

    pub(crate) fn step(&mut self, by: isize) {
        let count = self.trace().steps.len();
        match self.place.step.checked_add_signed(by) {
            Some(step) if step < count => self.go_to_step(step),
            Some(_) if self.quiz.is_some() && self.place.path.is_empty() => {
                let told = self.what_is_left();
                self.say(format!("this is the end: {told}"));
            }
            Some(_) if self.place.path.is_empty() => self.say("this is the end: b goes back"),
            Some(_) => self.say("this is the end of the open node: o leaves it"),
            None => self.say("this is the beginning"),
        }
    }

    /// To the first step of a pass.
    pub(crate) fn go_to_pass(&mut self, backward: bool) {
        let first = |step: &Step| match step {
            Step::Forward(_) => !backward,
            Step::Backward(_) => backward,
            Step::Update => false,
        };
        match self.trace().steps.iter().position(first) {
            Some(step) => self.go_to_step(step),
            None => self.say("nothing flows back here"),
        }
    }

    pub(crate) fn next_trace(&mut self) {
        let count = self.lesson.traces.len();
        if count < 2 {
            self.say("there is one computation in this lesson");
            return;
        }
        let trace = (self.place.trace + 1) % count;
        self.place = Place { trace, ..Place::default() };
        self.go_to_step(0);
        let title = self.root().title.clone();
        self.say(title);
    }

    pub(crate) fn go_into(&mut self) {
        let backward = self.is_backward();
        let Some((index, node)) = self.node() else { return };
        match &node.opened {
            Some(_) if self.has_question() => {
                self.say("inside stands the answer: guess first, or f and i for the way forward");
            }
            Some(opened) => {
                let nodes = opened.trace.nodes.len();
                let told = format!("{nodes} simpler nodes, {}", same_to(opened.distance()));
                self.place.path.push(index);
                self.go_to_step(0);
                if backward {
                    self.go_to_pass(true);
                }
                self.say(told);
            }
            None => self.say("this node is not made of others"),
        }
    }

    pub(crate) fn go_out(&mut self) {
        let backward = self.is_backward();
        match self.place.path.pop() {
            Some(node) => self.go_to_node(node, backward),
            None => self.say("this is the outermost level; q leaves"),
        }
    }

    /// To a node, in this pass if it has a step there.
    pub(crate) fn go_to_node(&mut self, node: usize, backward: bool) {
        let wanted = if backward { Step::Backward(node) } else { Step::Forward(node) };
        let steps = &self.trace().steps;
        let step = steps.iter().position(|&step| step == wanted);
        match step.or_else(|| steps.iter().position(|&step| step == Step::Forward(node))) {
            Some(step) => self.go_to_step(step),
            None => self.say(format!("there is no node {node}")),
        }
    }

    pub(crate) fn next_array(&mut self, by: isize) {
        let count = self.arrays().len();
        if count > 0 {
            self.array = self.array.saturating_add_signed(by + count as isize) % count;
            self.element = 0;
            self.scroll = crate::views::node::cursor_line(self);
        }
    }

    pub(crate) fn next_element(&mut self, by: isize) {
        let value = self.shown().and_then(|shown| self.trace().values.get(shown.slot));
        let count = value.map_or(0, |value| value.value.len());
        if count > 0 {
            self.element = self.element.saturating_add_signed(by + count as isize) % count;
            self.scroll = crate::views::node::cursor_line(self);
        }
    }

    /// The number under the cursor: `w[1] (here x[1]) = +0.3000`, or `w[1] = +0.3000` where there is no
    /// room for that.
    pub(crate) fn under_cursor_in_words(&self, room: usize) -> Option<String> {
        let shown = self.shown()?;
        let trace = self.trace();
        let value = trace.values.get(shown.slot)?;
        let place = place(&value.value.shape, self.element);
        let here = match names::is_end(&value.name, &shown.name) {
            true => String::new(),
            false => format!(" (here {}{place})", shown.name),
        };
        let now = value.value.numbers().and_then(|all| all.get(self.element));
        let now = now.map_or(String::new(), |&now| format!(" = {}", number(now)));
        let whole = format!("› {}{place}{here}{now}", value.name);
        let fits = look::width(&whole) <= room;
        Some(if fits { whole } else { format!("› {}{place}{now}", value.name) })
    }

    /// To a value, a node or a time step.
    pub(crate) fn jump(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        // A value may have a name that looks like a node or a time step.
        if self.value_named(text).is_none() {
            if let Ok(node) = text.parse() {
                self.go_to_node(node, self.is_backward());
                return;
            }
            let time = text.strip_prefix('t').map(|rest| rest.trim_start_matches(['=', ' ']));
            if let Some(time) = time.and_then(|time| time.parse::<usize>().ok()) {
                self.jump_to_time(time);
                return;
            }
        }
        let value = match self.meant(text) {
            Ok(value) => value,
            Err(problem) => return self.say(problem),
        };
        let other = self.other_here(&value);
        match value.gradient {
            true => self.jump_to_gradient(&value, text),
            false => self.jump_to_value(&value, text),
        }
        if let (Some(other), true) = (other, self.message.is_empty()) {
            self.say(format!("this is the value called {}; {other}", value.typed));
        }
    }

    /// The trace inside of so many of the open nodes.
    pub(crate) fn trace_at(&self, depth: usize) -> &Trace {
        inside(self.root(), self.place.path.get(..depth).unwrap_or_default())
    }

    /// To a node that reads or makes a value, here or outside of the open nodes.
    fn jump_to_value(&mut self, value: &Meant, text: &str) {
        let backward = self.is_backward();
        let has = |node: &Node| has_port(node, value.slot);
        match self.trace_at(value.depth).nodes.iter().position(has) {
            Some(node) => self.arrive(value, text, node, backward),
            None => self.say(format!("no node reads {text}")),
        }
    }

    /// To the first step back from which a value gets a gradient, or else to where it goes on.
    fn jump_to_gradient(&mut self, value: &Meant, text: &str) {
        let trace = self.trace_at(value.depth);
        let find = |has: fn(&Node, usize) -> bool| {
            trace.steps.iter().find_map(|step| match *step {
                Step::Backward(index) => {
                    trace.nodes.get(index).filter(|node| has(node, value.slot)).map(|_| index)
                }
                _ => None,
            })
        };
        match find(sends_to).or_else(|| find(makes)) {
            Some(node) => self.arrive(value, text, node, true),
            None => self.say(no_gradient(text)),
        }
    }

    /// At a node, with the cursor in a value.
    fn arrive(&mut self, value: &Meant, text: &str, node: usize, backward: bool) {
        self.leave_to(value.depth, text);
        self.go_to_node(node, backward);
        self.point_at(value);
        // Which value it is, where another name was typed for it.
        let called = self.name_of(value).unwrap_or_default();
        if self.message.is_empty() && called != value.typed {
            self.say(format!("{} is {called}", value.typed));
        }
    }

    /// The cursor goes to a value of this node, or to the number of it that is meant.
    fn point_at(&mut self, value: &Meant) {
        let array = self.arrays().iter().position(|shown| shown.slot == value.slot);
        (self.array, self.element) = (array.unwrap_or(0), value.element.unwrap_or(0));
        self.scroll = match value.gradient {
            true => crate::views::node::gradient_line(self),
            false => crate::views::node::cursor_line(self),
        };
    }

    /// Leaves open nodes for what is outside of them.
    fn leave_to(&mut self, depth: usize, what: &str) {
        if depth < self.place.path.len() {
            let left = self.trace_at(depth).nodes.get(self.place.path[depth]);
            let left = left.map_or(String::new(), |node| node.op.clone());
            self.place.path.truncate(depth);
            self.say(format!("{what} is outside of {left}, which is left"));
        }
    }

    fn jump_to_time(&mut self, time: usize) {
        let backward = self.is_backward();
        let trace = self.trace();
        let here = |step: &Step| {
            let node = match *step {
                Step::Forward(node) if !backward => node,
                Step::Backward(node) if backward => node,
                _ => return false,
            };
            trace.nodes.get(node).is_some_and(|node| node.time == Some(time))
        };
        match trace.steps.iter().position(here) {
            Some(step) => self.go_to_step(step),
            None => self.say(format!("no node of this pass runs at t={time}")),
        }
    }

    /// To the next step whose node has the text in its names; with none, the text of before. The pass
    /// where one is comes first, and what is outside of the open nodes last.
    pub(crate) fn search(&mut self, text: &str) {
        if !text.is_empty() {
            self.sought = text.into();
        }
        let sought = self.sought.clone();
        if sought.is_empty() {
            return;
        }
        let depth = self.place.path.len();
        let lower = sought.to_lowercase();
        let in_words = (0..=depth).any(|outer| {
            let trace = self.trace_at(outer);
            (0..trace.steps.len()).any(|step| self.has_name(trace, step, &lower))
        });
        // What is written as in a formula is a value, before it is a word.
        let formula =
            sought.starts_with("d_") || sought.contains(|c: char| c == '[' || c.is_uppercase());
        let meant = match self.meanings(&sought) {
            Ok(meant) if formula || !in_words => meant,
            Err(problem) if !in_words => return self.say(problem),
            _ => Vec::new(),
        };
        let gradient = meant.iter().any(|one| one.gradient);
        for outer in (0..=depth).rev() {
            let trace = self.trace_at(outer);
            let count = trace.steps.len();
            let from = if outer == depth { self.place.step } else { count.saturating_sub(1) };
            let mut order: Vec<usize> = (1..count).map(|by| (from + by) % count).collect();
            let backward = |step: usize| !matches!(trace.steps.get(step), Some(Step::Forward(_)));
            order.sort_by_key(|&step| backward(step) != (self.is_backward() || gradient));
            // Where one is already comes last.
            order.push(from);
            let here = || meant.iter().filter(|one| one.depth == outer);
            let found = order.into_iter().find_map(|step| match meant.is_empty() {
                true => self.has_name(trace, step, &lower).then_some((step, None)),
                false => here().find(|one| has(trace, step, one)).map(|one| (step, Some(one))),
            });
            if let Some((step, value)) = found {
                self.say(format!("found {sought:?}; / and enter finds the next"));
                self.leave_to(outer, &format!("{sought:?}"));
                self.go_to_step(step);
                if let Some(value) = value {
                    self.point_at(value);
                }
                return;
            }
        }
        if gradient {
            return self.say(no_gradient(&sought));
        }
        let unknown = self.unknown(&sought);
        let near = unknown.split_once("; near").map_or("", |(_, near)| near);
        let near = if near.is_empty() { String::new() } else { format!("; near{near}") };
        self.say(format!("no node has {sought:?} in its names{near}"));
    }

    /// Whether a step's node has a text in its names.
    fn has_name(&self, trace: &Trace, step: usize, sought: &str) -> bool {
        let Some(Step::Forward(node) | Step::Backward(node)) = trace.steps.get(step) else {
            return "update".contains(sought);
        };
        let Some(node) = trace.nodes.get(*node) else { return false };
        let title = self.root().explanations.get(&node.explanation).map(|one| one.title.as_str());
        let ports = node.inputs.iter().chain(&node.outputs);
        let values =
            ports.flat_map(|port| [port.name.as_str(), names::value(trace, port)]).map(Some);
        let names = [Some(node.op.as_str()), Some(node.scope.as_str()), title];
        names.into_iter().chain(values).flatten().any(|x| x.to_lowercase().contains(sought))
    }

    pub(crate) fn set_stop(&mut self, text: &str) {
        if text == "off" {
            self.stop = None;
            self.say("nothing stops a run now");
            return;
        }
        let (above, rest) = match text.strip_prefix('<') {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix('>').unwrap_or(text)),
        };
        match rest.trim().parse::<f64>() {
            Ok(limit) if limit.is_finite() => {
                self.stop = Some(Break { above, limit });
                self.run();
            }
            _ => self.say("write > and a number, < and a number, or off"),
        }
    }

    /// Runs to the next step whose gradient has such a norm.
    pub(crate) fn run(&mut self) {
        let Some(stop) = self.stop else {
            self.say("! says where to stop");
            return;
        };
        for step in self.place.step + 1..self.trace().steps.len() {
            if let Some((name, norm)) = self.stops(step, stop) {
                self.go_to_step(step);
                self.say(format!("stopped: {name} has norm {}", look::size(norm)));
                return;
            }
        }
        self.say(format!("no gradient ahead has {stop}; home and r begin anew"));
    }

    /// The gradient of a step, coming in or going out, that stops a run. What is given from outside,
    /// such as the 1 of the loss, does not.
    fn stops(&self, step: usize, stop: Break) -> Option<(String, f64)> {
        let trace = self.trace();
        let Some(Step::Backward(node)) = trace.steps.get(step) else { return None };
        let node = trace.nodes.get(*node)?;
        let comes = node.outputs.iter().filter_map(|port| {
            let value = trace.values.get(port.slot).filter(|value| value.seed.is_none())?;
            Some((names::gradient(trace, port), value.gradient.as_ref()?.norm()))
        });
        let goes = node.contributions.iter().filter_map(|part| {
            let port = node.inputs.get(part.input)?;
            Some((names::gradient(trace, port), part.value.norm()))
        });
        // What is no number is beyond every limit.
        let meets = |norm: f64| match stop.above {
            true => norm > stop.limit || norm.is_nan(),
            false => norm < stop.limit,
        };
        comes.chain(goes).find(|(_, norm)| meets(*norm))
    }
}

/// Whether a step's node reads or makes a value; where its gradient is meant, on the way back.
fn has(trace: &Trace, step: usize, value: &Meant) -> bool {
    let (node, backward) = match trace.steps.get(step) {
        Some(Step::Forward(node)) => (node, false),
        Some(Step::Backward(node)) => (node, true),
        _ => return false,
    };
    let Some(node) = trace.nodes.get(*node) else { return false };
    match value.gradient {
        true => backward && (sends_to(node, value.slot) || makes(node, value.slot)),
        false => has_port(node, value.slot),
    }
}

/// Whether a node reads or makes a value.
fn has_port(node: &Node, slot: usize) -> bool {
    node.inputs.iter().chain(&node.outputs).any(|port| port.slot == slot)
}

/// Whether a node makes a value, so that its gradient comes in.
fn makes(node: &Node, slot: usize) -> bool {
    node.outputs.iter().any(|port| port.slot == slot)
}

/// Whether a node adds to a value's gradient.
fn sends_to(node: &Node, slot: usize) -> bool {
    let mut inputs = node.contributions.iter().filter_map(|part| node.inputs.get(part.input));
    inputs.any(|port| port.slot == slot)
}

fn no_gradient(text: &str) -> String {
    format!("no gradient flows here: there is no {text}")
}
