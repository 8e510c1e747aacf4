//! The check on demand: the number under the cursor is moved a little, all behind it runs again, and
//! the difference quotient stands beside the gradient.

use ratatui::style::Style;
use unspool_trace::trace::Method;
use unspool_trace::{Check, Trace, Verdict};

use crate::app::App;
use crate::look::{self, Look};
use crate::names::{self, place};

/// Against what, in words.
fn words(method: Method) -> &'static str {
    match method {
        Method::None => "nothing",
        Method::Differences => "differences of this node alone",
        Method::Whole => "differences of all behind it",
        Method::Twin => "the simpler ops that it is made of",
        Method::Sum => "the sum of its checked parts",
    }
}

/// What a check found, in a few words.
pub fn mark(check: &Check) -> String {
    let untold = match check.untold.len() {
        0 => String::new(),
        count => format!(", {count} cannot be told"),
    };
    match check.verdict() {
        Verdict::Unchecked => format!("not checked: {}", check.remark),
        Verdict::Untold => {
            let reason = check.untold.first().map_or("", |untold| &untold.reason);
            format!("? cannot be told: {reason}")
        }
        Verdict::Wrong => format!("✗ {} of {} wrong", check.wrong.len(), check.of),
        Verdict::Right => {
            let error = match (check.method, check.remark.as_str()) {
                (Method::Sum, "") => "the sum of its parts".into(),
                (_, remark) => {
                    let error =
                        if check.error == 0.0 { "0" } else { &format!("{:.0e}", check.error) };
                    let remark = if remark.is_empty() { "" } else { &format!("; {remark}") };
                    format!("{error}{remark}")
                }
            };
            format!("✓ {error}{untold}")
        }
    }
}

/// The style of what was checked.
pub fn style(look: Look, check: &Check) -> Style {
    match check.verdict() {
        Verdict::Right => look.right(),
        Verdict::Wrong => look.wrong(),
        Verdict::Untold | Verdict::Unchecked => look.faint(),
    }
}

/// How near the inside of a node is to the node.
pub fn same_to(distance: f64) -> String {
    match distance {
        0.0 => "exactly the same".into(),
        distance => format!("the same to {distance:.0e}"),
    }
}

/// What a check of an array found, in lines.
pub fn found(check: &Check, gradient: Option<f64>, element: usize) -> Vec<String> {
    let mut lines = vec![mark(check)];
    if check.method != Method::None {
        if check.method != Method::Sum {
            lines[0] += &format!(", against {}", words(check.method));
        }
        lines[0] += &format!("; {} of {} numbers compared", check.checked(), check.of);
    }
    if let (Some(gradient), Some(expected)) = (gradient, check.expected(element)) {
        lines.push(format!("formula {gradient:+.10e}"));
        lines.push(format!("other   {expected:+.10e}"));
    }
    for untold in check.untold.iter().filter(|untold| untold.at == element) {
        lines.push(format!("this one cannot be told: {}", untold.reason));
    }
    lines
}

impl App {
    pub(crate) fn check(&mut self) {
        if self.quiz.is_some() && (self.hides() || !self.is_backward()) {
            self.say("the check shows gradients: guess first, on the way back");
            return;
        }
        let Some(shown) = self.shown() else {
            self.say("nothing to check here");
            return;
        };
        let element = self.element;
        let trace = self.trace();
        let Some(value) = trace.values.get(shown.slot) else { return };
        // The node's own letter for a value says little of which it is.
        let whole = names::gradient_of(&value.name) + &place(&value.value.shape, element);
        let mut lines = Vec::new();
        if let Some((_, node)) = self.node().filter(|_| self.is_backward()) {
            for part in &node.contributions {
                if node.inputs.get(part.input).is_some_and(|port| port.slot == shown.slot) {
                    let shared = self.is_shared(shown.slot);
                    let name = names::number_added(trace, node, part, element, shared);
                    lines.push(format!("Of this node: {name}"));
                    let gradient = part.value.numbers().and_then(|x| x.get(element).copied());
                    let found = found(&part.check, gradient, element);
                    lines.extend(found.into_iter().map(|line| format!("  {line}")));
                    lines.push(String::new());
                }
            }
        }
        if let Some(check) = &value.check {
            lines.push(match self.is_part(shown.slot) {
                true => format!("All that the open node adds to {whole}, as it was recorded"),
                false => format!("The whole of {whole}, as it was recorded"),
            });
            let gradient = value.gradient.as_ref().and_then(|x| x.numbers()?.get(element).copied());
            let found = found(check, gradient, element);
            lines.extend(found.into_iter().map(|line| format!("  {line}")));
            lines.push(String::new());
        }
        lines.push("Moved now: all behind this number runs again".into());
        match live(self.look, trace, shown.slot, element) {
            Ok(more) => lines.extend(more.into_iter().map(|line| format!("  {line}"))),
            Err(problem) => lines.push(format!("  {problem}")),
        }
        self.tell(format!("Check of {whole}"), lines);
    }
}

/// What a check of a number finds that is made now.
fn live(look: Look, trace: &Trace, slot: usize, element: usize) -> Result<Vec<String>, String> {
    let found = trace.check_element(slot, element).map_err(|error| error.to_string())?;
    let Some(found) = found else {
        return Ok(vec!["no gradient flows here".into()]);
    };
    let value = trace.values.get(slot);
    let name = value.map_or(String::new(), |x| x.name.clone() + &place(&x.value.shape, element));
    let f = match trace.loss {
        Some(_) => names::result(trace),
        None => "Σ d_y·y",
    };
    let mut rows = Vec::new();
    let first = match found.moved {
        Some(moved) => {
            rows.push((format!("{f} at {name} + ε"), format!("{:+.12e}", moved.above)));
            rows.push((format!("{f} at {name} − ε"), format!("{:+.12e}", moved.below)));
            rows.push(("their difference / 2ε".into(), format!("{:+.10e}", moved.quotient())));
            format!("{name} = {}, moved by ε = {:.0e} to both sides", found.x, moved.h)
        }
        None => format!("{name} = {}; beside it {f} is not finite", found.x),
    };
    rows.push(("with ε made ever smaller".into(), format!("{:+.10e}", found.found())));
    rows.push(("by the formula".into(), format!("{:+.10e}", found.gradient)));
    let rows: Vec<_> = rows.into_iter().map(|(name, x)| (look.text(&name), x)).collect();
    let label = rows.iter().map(|(label, _)| look::width(label)).max().unwrap_or(0);
    let rows = rows.into_iter().map(|(name, x)| format!("{}  {x}", look::pad(&name, label)));
    let (off, allowed) = ((found.gradient - found.found()).abs(), found.allowed);
    let far = if off == 0.0 { "0".into() } else { format!("{off:.0e}") };
    let verdict = match found.check.verdict() {
        Verdict::Right => format!("✓ off by {far}, and {allowed:.0e} is allowed"),
        Verdict::Wrong => format!("✗ off by {far}, where {allowed:.0e} is allowed"),
        Verdict::Untold | Verdict::Unchecked => mark(&found.check),
    };
    // Inside of a node there is no loss to differentiate.
    let what = trace.loss.is_none().then(|| {
        look.text("Σ d_y·y: the sum of what goes out of the open node, times what came in for it")
    });
    Ok([first].into_iter().chain(rows).chain([verdict]).chain(what).collect())
}
