//! What if a number were another? The computation runs again, and what changed is told.

use unspool_trace::{Origin, Trace, Value};

use crate::app::App;
use crate::look::{self, number};
use crate::walk::inside;

/// A number that was changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which of the lesson's traces.
    pub trace: usize,
    /// What was changed, in words.
    pub told: String,
    /// The trace before.
    pub before: Trace,
}

/// A number to change: a slot of the outermost trace, and which of its numbers.
struct Target {
    slot: usize,
    element: usize,
}

impl App {
    /// The trace where one is as it was before the last change.
    pub fn before(&self) -> Option<&Trace> {
        let last = self.changes.iter().rev().find(|one| one.trace == self.place.trace)?;
        Some(inside(&last.before, &self.place.path))
    }

    /// The slot of the outermost trace that is the value of a slot here, if it is an input of all the
    /// open nodes.
    pub(crate) fn outer_slot(&self, mut slot: usize) -> Option<usize> {
        for depth in (0..self.place.path.len()).rev() {
            let (&node, before) = self.place.path[..=depth].split_last()?;
            slot = inside(self.root(), before).nodes.get(node)?.inputs.get(slot)?.slot;
        }
        Some(slot)
    }

    pub(crate) fn change_question(&self) -> String {
        let Some(shown) = self.shown() else { return "NAME[i,j] = number: ".into() };
        let value = self.trace().values.get(shown.slot);
        // Of a summary, too.
        let whole = self.trace().tensor(shown.slot).ok();
        let now = whole.and_then(|whole| whole.iter().nth(self.element).copied());
        let now = now.map_or(String::new(), |now| format!(" ({now})"));
        let place = value.map_or(String::new(), |value| place(&value.value.shape, self.element));
        format!("new {}{place}{now}, or NAME[i,j]=number: ", shown.name)
    }

    pub(crate) fn change(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.changed(text) {
            Ok(()) => {}
            Err(problem) => self.say(problem),
        }
    }

    fn changed(&mut self, text: &str) -> Result<(), String> {
        let (target, to) = match text.split_once('=') {
            Some((name, to)) => (self.named(name.trim())?, to),
            None => (self.under_cursor()?, text),
        };
        let to: f64 = to.trim().parse().map_err(|_| format!("{:?} is no number", to.trim()))?;
        if !to.is_finite() {
            return Err("the number must be finite".into());
        }
        let root = self.root();
        let value = root.values.get(target.slot).ok_or("there is no such value")?;
        if matches!(value.origin, Origin::Output { .. }) {
            let name = &value.name;
            return Err(format!(
                "{name} is computed: change an input or a weight that it is made of"
            ));
        }
        let name = format!("{}{}", value.name, place(&value.value.shape, target.element));
        let mut whole = root.tensor(target.slot).map_err(|error| error.to_string())?;
        let from = match whole.iter_mut().nth(target.element) {
            Some(number) => std::mem::replace(number, to),
            None => return Err(format!("{name} is not there")),
        };
        let after = root.again(&[(target.slot, whole)]).map_err(|error| error.to_string())?;
        let told = format!("{name}: {from} → {to}");
        let trace = self.place.trace;
        let Some(current) = self.lesson.traces.get_mut(trace) else { return Ok(()) };
        let before = std::mem::replace(current, after);
        let lines = differences(&before, current);
        self.changes.push(Change { trace, told: told.clone(), before });
        self.forget_answers();
        self.stay_within();
        let mut all = vec![told, String::new()];
        all.extend(lines);
        all.extend([
            String::new(),
            "u takes it back; Δ stands beside the numbers of a node".into(),
        ]);
        self.tell("What if", all);
        Ok(())
    }

    fn under_cursor(&self) -> Result<Target, String> {
        let shown = self.shown().ok_or("there is no array under the cursor")?;
        let slot = self.outer_slot(shown.slot).ok_or_else(|| {
            format!("{} is computed in here: change an input or a weight", shown.name)
        })?;
        Ok(Target { slot, element: self.element })
    }

    /// `NAME` or `NAME[i,j]`: a value of the outermost trace, or one of the node's arrays.
    fn named(&self, text: &str) -> Result<Target, String> {
        let (name, index) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((name, index)) => (name.trim(), index),
            None => (text, ""),
        };
        let here = || {
            let shown = self.arrays().into_iter().find(|shown| shown.name == name)?;
            self.outer_slot(shown.slot)
        };
        let slot = self.root().values.iter().position(|value| value.name == name).or_else(here);
        let slot = slot.ok_or_else(|| format!("nothing is called {name:?}"))?;
        let shape = self.root().values.get(slot).map(|x| x.value.shape.clone()).unwrap_or_default();
        let mut at = Vec::new();
        for part in index.split(',').filter(|part| !part.trim().is_empty()) {
            at.push(part.trim().parse::<usize>().map_err(|_| format!("{index:?} is no index"))?);
        }
        let count: usize = shape.iter().product();
        if at.is_empty() && count == 1 {
            return Ok(Target { slot, element: 0 });
        }
        let fits = at.len() == shape.len() && at.iter().zip(&shape).all(|(at, length)| at < length);
        if !fits {
            return Err(format!("{name} has the shape {shape:?}: write {name}[i,j] within it"));
        }
        let element = at.iter().zip(&shape).fold(0, |element, (at, length)| element * length + at);
        Ok(Target { slot, element })
    }

    pub(crate) fn undo(&mut self) {
        match self.changes.pop() {
            Some(Change { trace, told, before }) => {
                if let Some(place) = self.lesson.traces.get_mut(trace) {
                    *place = before;
                }
                self.forget_answers();
                self.stay_within();
                self.say(format!("taken back: {told}"));
            }
            None => self.say("nothing was changed"),
        }
    }

    /// A changed computation may send gradients where it did not before.
    fn stay_within(&mut self) {
        let last = self.trace().steps.len().saturating_sub(1);
        self.place.step = self.place.step.min(last);
    }
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

/// The largest change of a number, and the number before and after.
fn largest(before: &[f64], after: &[f64]) -> (f64, f64, f64) {
    let pairs = before.iter().zip(after).map(|(&a, &b)| ((b - a).abs(), a, b));
    pairs.fold((0.0, 0.0, 0.0), |top, one| if one.0 > top.0 { one } else { top })
}

fn change_of(name: &str, before: &Value, after: &Value) -> Option<(f64, String)> {
    let (by, from, to) = largest(before.value.numbers()?, after.value.numbers()?);
    let told =
        format!("{name:24} {:>8} → {:>8}   Δ {}", number(from), number(to), number(to - from));
    (by > 0.0).then_some((by, told))
}

/// The loss before and after, and the largest changes.
fn differences(before: &Trace, after: &Trace) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(a), Some(b)) = (before.loss, after.loss) {
        let by = number(b - a);
        lines.push(format!("loss {} → {}   Δ {by}", look::size(a), look::size(b)));
    }
    let mut values = Vec::new();
    for (node, one) in after.nodes.iter().enumerate() {
        for port in &one.outputs {
            let pair = before.values.get(port.slot).zip(after.values.get(port.slot));
            let name = after.values.get(port.slot).map_or(&port.name, |value| &value.name);
            let name = format!("{node} {} → {name}", one.op);
            values.extend(pair.and_then(|(a, b)| change_of(&name, a, b)));
        }
    }
    let mut gradients = Vec::new();
    for (a, b) in before.values.iter().zip(&after.values) {
        let numbers =
            |value: &Value| value.gradient.as_ref().and_then(|x| Some(x.numbers()?.to_vec()));
        let (Some(from), Some(to)) = (numbers(a), numbers(b)) else { continue };
        let (by, from, to) = largest(&from, &to);
        if by > 0.0 && !matches!(b.origin, Origin::Output { .. }) {
            let name = format!("d_{}", b.name);
            let change = number(to - from);
            let (from, to) = (number(from), number(to));
            gradients.push((by, format!("{name:24} {from:>8} → {to:>8}   Δ {change}")));
        }
    }
    for (title, mut changes) in [
        ("The largest changes, of each node's output:", values),
        ("Of the gradients of inputs and weights:", gradients),
    ] {
        changes.sort_by(|a, b| b.0.total_cmp(&a.0));
        if !changes.is_empty() {
            lines.extend([String::new(), title.into()]);
            lines.extend(changes.into_iter().take(8).map(|(_, told)| told));
        }
    }
    if lines.len() < 2 {
        lines.push("nothing else changed".into());
    }
    lines
}
