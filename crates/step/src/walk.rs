//! Moving through a trace: steps, opened nodes, jumps, search and breakpoints.

use unspool_trace::{Node, Step, Trace};

use crate::app::{App, Screen};
use crate::look;

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
        if self.has_question() {
            self.say("inside stands the answer: guess first");
            return;
        }
        let backward = self.is_backward();
        let Some((index, node)) = self.node() else { return };
        match &node.opened {
            Some(opened) => {
                let told = format!(
                    "{} simpler nodes, the same to {:.0e}",
                    opened.trace.nodes.len(),
                    opened.distance()
                );
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
        }
    }

    pub(crate) fn jump(&mut self, text: &str) {
        let backward = self.is_backward();
        if text.is_empty() {
            return;
        }
        if let Ok(node) = text.parse() {
            self.go_to_node(node, backward);
            return;
        }
        let time = text.strip_prefix('t').map(|rest| rest.trim_start_matches(['=', ' ']));
        if let Some(time) = time.and_then(|time| time.parse::<usize>().ok()) {
            let at = |step: &Step| match *step {
                Step::Forward(node) if !backward => Some(node),
                Step::Backward(node) if backward => Some(node),
                _ => None,
            };
            let trace = self.trace();
            let here =
                |step: &Step| at(step).and_then(|node| trace.nodes.get(node)?.time) == Some(time);
            match trace.steps.iter().position(here) {
                Some(step) => self.go_to_step(step),
                None => self.say(format!("no node of this pass runs at t={time}")),
            }
            return;
        }
        let trace = self.trace();
        let found = trace.values.iter().position(|value| value.name == text);
        let Some(slot) = found else {
            let name = |value: &&unspool_trace::Value| value.name.contains(text);
            let near = trace.values.iter().find(name).map(|value| value.name.clone());
            let near = near.map_or(String::new(), |near| format!("; there is {near}"));
            self.say(format!("nothing is called {text:?}{near}"));
            return;
        };
        let reads = |node: &Node| node.inputs.iter().chain(&node.outputs).any(|x| x.slot == slot);
        match trace.nodes.iter().position(reads) {
            Some(node) => {
                self.go_to_node(node, backward);
                let array = self.arrays().iter().position(|shown| shown.slot == slot);
                self.array = array.unwrap_or(0);
            }
            None => self.say(format!("no node reads {text}")),
        }
    }

    /// To the next step whose node has the text in its names; with none, the text of before.
    pub(crate) fn search(&mut self, text: &str) {
        if !text.is_empty() {
            self.sought = text.to_lowercase();
        }
        let sought = self.sought.clone();
        if sought.is_empty() {
            return;
        }
        let count = self.trace().steps.len();
        let order = (1..=count).map(|by| (self.place.step + by) % count);
        let matches = |&step: &usize| {
            let trace = self.trace();
            let Some(Step::Forward(node) | Step::Backward(node)) = trace.steps.get(step) else {
                return "update".contains(&sought);
            };
            let Some(node) = trace.nodes.get(*node) else { return false };
            let title =
                self.root().explanations.get(&node.explanation).map(|one| one.title.as_str());
            let values = (node.inputs.iter().chain(&node.outputs)).flat_map(|port| {
                [Some(port.name.as_str()), trace.values.get(port.slot).map(|x| x.name.as_str())]
            });
            let names = [Some(node.op.as_str()), Some(node.scope.as_str()), title];
            names.into_iter().chain(values).flatten().any(|x| x.to_lowercase().contains(&sought))
        };
        let found = order.into_iter().find(matches);
        match found {
            Some(step) => {
                self.go_to_step(step);
                self.say(format!("found {sought:?}; / and enter finds the next"));
            }
            None => self.say(format!("no node has {sought:?} in its names")),
        }
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
                self.say(format!("stopped: d_{name} has norm {}", look::size(norm)));
                return;
            }
        }
        self.say(format!("no gradient ahead has {stop}; home and r begin anew"));
    }

    /// The gradient of a step, coming in or going out, that stops a run.
    fn stops(&self, step: usize, stop: Break) -> Option<(String, f64)> {
        let trace = self.trace();
        let Some(Step::Backward(node)) = trace.steps.get(step) else { return None };
        let node = trace.nodes.get(*node)?;
        let comes = node.outputs.iter().filter_map(|port| {
            let gradient = trace.values.get(port.slot)?.gradient.as_ref()?;
            Some((port.name.clone(), gradient.norm()))
        });
        let goes = node.contributions.iter().filter_map(|part| {
            Some((node.inputs.get(part.input)?.name.clone(), part.value.norm()))
        });
        let meets = |norm: f64| if stop.above { norm > stop.limit } else { norm < stop.limit };
        comes.chain(goes).find(|(_, norm)| meets(*norm))
    }
}
