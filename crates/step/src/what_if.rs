//! What if a number were another? The computation runs again, and what changed is told.

use unspool_trace::{Array, Origin, Trace};

use crate::app::App;
use crate::look::{self, number};
use crate::names::{self, Meant, place};
use crate::views::numbers::same;
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
    pub(crate) fn outer_slot(&self, slot: usize) -> Option<usize> {
        self.outermost(slot, self.place.path.len())
    }

    /// The same of a slot inside of so many of the open nodes.
    fn outermost(&self, slot: usize, depth: usize) -> Option<usize> {
        let (depth, slot) = self.origin(depth, slot);
        (depth == 0).then_some(slot)
    }

    pub(crate) fn change_question(&self) -> String {
        let Some(shown) = self.shown() else { return "NAME[i,j] = number: ".into() };
        let value = self.trace().values.get(shown.slot);
        // Of a summary, too.
        let whole = self.trace().tensor(shown.slot).ok();
        let now = whole.and_then(|whole| whole.iter().nth(self.element).copied());
        let place = value.map_or(String::new(), |value| place(&value.value.shape, self.element));
        let outer = self.outer_slot(shown.slot).and_then(|slot| self.root().values.get(slot));
        let name = outer.or(value).map_or(&shown.name, |value| &value.name);
        let here = match names::is_end(name, &shown.name) {
            true => String::new(),
            false => format!("here {}{place}, ", shown.name),
        };
        let now = now.map_or("not there".into(), |now| format!("now {now}"));
        format!("new {name}{place} ({here}{now}), or NAME[i,j]=number: ")
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
        let (target, to, other) = match text.split_once('=') {
            Some((name, to)) => {
                let meant = self.meant(name.trim())?;
                (self.target(&meant)?, to, self.other_here(&meant))
            }
            None => (self.under_cursor()?, text, None),
        };
        let to: f64 = to.trim().parse().map_err(|_| format!("{:?} is no number", to.trim()))?;
        if !to.is_finite() {
            return Err("the number must be finite".into());
        }
        let root = self.root();
        let value = root.values.get(target.slot).ok_or("there is no such value")?;
        if matches!(value.origin, Origin::Output { .. }) {
            let other = other.map_or(String::new(), |other| format!("; {other}"));
            return Err(format!("{} is computed: change an input or a weight{other}", value.name));
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
        let forgotten = self.forget_answers();
        self.stay_within();
        let mut all = vec![told];
        all.extend(other);
        all.push(String::new());
        all.extend(lines);
        all.extend([
            String::new(),
            format!("u takes it back; Δ stands beside the numbers of a node{forgotten}"),
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

    /// The number that a typed name means.
    fn target(&self, meant: &Meant) -> Result<Target, String> {
        if meant.gradient {
            return Err(format!("d_{} is a gradient: change an input or a weight", meant.typed));
        }
        let slot = self.outermost(meant.slot, meant.depth).ok_or_else(|| {
            format!("{} is computed in here: change an input or a weight", meant.typed)
        })?;
        let value = self.root().values.get(slot).ok_or("there is no such value")?;
        match meant.element {
            Some(element) => Ok(Target { slot, element }),
            // What is computed cannot be changed, wherever in it.
            None if value.value.len() == 1 || matches!(value.origin, Origin::Output { .. }) => {
                Ok(Target { slot, element: 0 })
            }
            None => Err(self.outside(meant)),
        }
    }

    pub(crate) fn undo(&mut self) {
        match self.changes.pop() {
            Some(Change { trace, told, before }) => {
                if let Some(place) = self.lesson.traces.get_mut(trace) {
                    *place = before;
                }
                let forgotten = self.forget_answers();
                self.stay_within();
                self.say(format!("taken back: {told}{forgotten}"));
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

/// How far a number moved; to or from what is not finite is infinitely far.
fn moved(a: f64, b: f64) -> f64 {
    match (b - a).abs() {
        _ if same(a, b) => 0.0,
        by if by.is_nan() => f64::INFINITY,
        by => by,
    }
}

/// The number that moved furthest, in words, and how far; `None` where none did.
fn change_of(name: &str, before: &Array, after: &Array) -> Option<(f64, String)> {
    let pairs = before.numbers()?.iter().zip(after.numbers()?).enumerate();
    let far = pairs.map(|(at, (&a, &b))| (moved(a, b), at, a, b));
    let (by, at, from, to) =
        far.fold((0.0, 0, 0.0, 0.0), |top, one| if one.0 > top.0 { one } else { top });
    let name = look::pad(&format!("{name}{}", place(&after.shape, at)), 28);
    let (from, change, to) = (number(from), number(to - from), number(to));
    (by > 0.0).then(|| (by, format!("  {name} {from:>8} → {to:>8}   Δ {change}")))
}

/// The loss before and after, and the largest changes.
fn differences(before: &Trace, after: &Trace) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(a), Some(b)) = (before.loss, after.loss) {
        let (name, by) = (names::result(after), number(b - a));
        lines.push(format!("{name} {} → {}   Δ {by}", look::size(a), look::size(b)));
    }
    let mut values = Vec::new();
    for (node, one) in after.nodes.iter().enumerate() {
        for port in &one.outputs {
            let pair = before.values.get(port.slot).zip(after.values.get(port.slot));
            let name = format!("{node} {} → {}", one.op, names::value(after, port));
            values.extend(pair.and_then(|(a, b)| change_of(&name, &a.value, &b.value)));
        }
    }
    let mut gradients = Vec::new();
    for (a, b) in before.values.iter().zip(&after.values) {
        if let (Some(from), Some(to)) = (&a.gradient, &b.gradient)
            && !matches!(b.origin, Origin::Output { .. })
        {
            gradients.extend(change_of(&names::gradient_of(&b.name), from, to));
        }
    }
    for (title, changes) in [
        ("The largest changes of what nodes compute, in the order of the nodes:", values),
        ("Of the gradients of inputs and weights:", gradients),
    ] {
        if changes.is_empty() {
            continue;
        }
        let mut largest: Vec<usize> = (0..changes.len()).collect();
        largest.sort_by(|&a, &b| changes[b].0.total_cmp(&changes[a].0));
        largest.truncate(8);
        largest.sort_unstable();
        lines.extend([String::new(), title.into()]);
        lines.extend(largest.into_iter().map(|at| changes[at].1.clone()));
    }
    if lines.len() < 2 {
        lines.push("nothing else changed".into());
    }
    lines
}
