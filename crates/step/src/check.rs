//! The check on demand: the number under the cursor is moved a little, all behind it runs again, and
//! the difference quotient stands beside the gradient.

use unspool_trace::trace::Method;
use unspool_trace::{Check, Trace};

use crate::app::App;
use crate::what_if::place;

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

/// A tick and the error, or why there is none.
pub fn mark(check: &Check) -> String {
    match check.method {
        Method::None => format!("not checked: {}", check.remark),
        _ if !check.wrong.is_empty() => format!("✗ {} of {} wrong", check.wrong.len(), check.of),
        _ if !check.untold.is_empty() => {
            format!("✓ {:.0e}, {} cannot be told", check.error, check.untold.len())
        }
        _ => format!("✓ {:.0e}", check.error),
    }
}

/// What a check of an array found, in lines.
pub fn found(check: &Check, gradient: Option<f64>, element: usize) -> Vec<String> {
    let mut lines = vec![mark(check)];
    if check.method != Method::None {
        lines[0] += &format!(", against {}", words(check.method));
        lines.push(format!("{} of {} numbers compared", check.checked(), check.of));
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
        if self.has_question() {
            self.say("the check shows the answer: guess first");
            return;
        }
        let Some(shown) = self.shown() else {
            self.say("nothing to check here");
            return;
        };
        let element = self.element;
        let trace = self.trace();
        let Some(value) = trace.values.get(shown.slot) else { return };
        let place = place(&value.value.shape, element);
        let name = format!("d_{}{place}", shown.name);
        // The node's own letter for a value says little of which it is.
        let whole = format!("d_{}{place}", value.name);
        let mut lines = Vec::new();
        if let Some((_, node)) = self.node() {
            for part in &node.contributions {
                if node.inputs.get(part.input).is_some_and(|port| port.slot == shown.slot) {
                    let time = part.time.map_or(String::new(), |time| format!(" at t={time}"));
                    lines.push(format!("What this node adds to {name}{time}"));
                    let gradient = part.value.numbers().and_then(|x| x.get(element).copied());
                    let found = found(&part.check, gradient, element);
                    lines.extend(found.into_iter().map(|line| format!("  {line}")));
                    lines.push(String::new());
                }
            }
        }
        if let Some(check) = &value.check {
            lines.push(format!("The whole of {whole}"));
            let gradient = value.gradient.as_ref().and_then(|x| x.numbers()?.get(element).copied());
            let found = found(check, gradient, element);
            lines.extend(found.into_iter().map(|line| format!("  {line}")));
            lines.push(String::new());
        }
        lines.push("Moved now: all behind this number runs again".into());
        match live(trace, shown.slot, element) {
            Ok(more) => lines.extend(more.into_iter().map(|line| format!("  {line}"))),
            Err(problem) => lines.push(format!("  {problem}")),
        }
        self.tell(format!("Check of {whole}"), lines);
    }
}

/// The loss, or what the backward pass began with, when a number is another.
fn result(trace: &Trace, slot: usize, element: usize, to: f64) -> Result<f64, String> {
    let mut whole = trace.tensor(slot).map_err(|error| error.to_string())?;
    match whole.iter_mut().nth(element) {
        Some(number) => *number = to,
        None => return Err("there is no such number".into()),
    }
    let values = trace.what_if(&[(slot, whole)]).map_err(|error| error.to_string())?;
    let mut sum = 0.0;
    for (value, after) in trace.values.iter().zip(&values) {
        let Some(seed) = &value.seed else { continue };
        let seed = seed.numbers().ok_or("the gradients that came in are kept as a summary only")?;
        sum += seed.iter().zip(after).map(|(seed, y)| seed * y).sum::<f64>();
    }
    Ok(sum)
}

/// A difference quotient, with its numbers.
fn live(trace: &Trace, slot: usize, element: usize) -> Result<Vec<String>, String> {
    let whole = trace.tensor(slot).map_err(|error| error.to_string())?;
    let x = *whole.iter().nth(element).ok_or("there is no such number")?;
    let h = 1e-4 * x.abs().max(1.0);
    let at = |t: f64| result(trace, slot, element, x + t);
    let (above, below) = (at(h)?, at(-h)?);
    let rough = (above - below) / (2.0 * h);
    let half = (at(h / 2.0)? - at(-h / 2.0)?) / h;
    // The error of a central difference falls with h²: two of them take it away.
    let quotient = (4.0 * half - rough) / 3.0;
    let f = match trace.loss {
        Some(_) => "loss",
        None => "Σ d_y·y",
    };
    let mut lines = vec![
        format!("x = {x}, h = {h:.0e}"),
        format!("{f} at x + h   {above:+.12}"),
        format!("{f} at x − h   {below:+.12}"),
        format!("quotient       {quotient:+.10e}   (f(x+h) − f(x−h)) / 2h, with h and h/2"),
    ];
    let gradient = trace.values.get(slot).and_then(|value| value.gradient.as_ref());
    let claimed = gradient.and_then(|gradient| gradient.numbers()?.get(element).copied());
    match (claimed, gradient) {
        (Some(gradient), _) => {
            let off = (gradient - quotient).abs();
            let mark = if off <= 1e-6 * gradient.abs().max(1e-3) { "✓" } else { "✗" };
            lines.push(format!("by the formula {gradient:+.10e}"));
            lines.push(format!("apart by       {off:.1e} {mark}"));
            if mark == "✗" {
                lines.push(
                    "a kink, a jump or a gradient that is 0 by decree does this, too: see above"
                        .into(),
                );
            }
        }
        (None, Some(_)) => {
            lines.push("by the formula: kept as a summary only; --numbers keeps more".into());
        }
        (None, None) => lines
            .push("no gradient flows here: it is a constant, or the loss does not see it".into()),
    }
    Ok(lines)
}
