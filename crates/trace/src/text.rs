//! A trace as text: node by node, forward and then backward.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write};

use crate::array::{Array, Content, Summary};
use crate::explain::{Explanation, Symbol};
use crate::trace::{Check, Node, Origin, Port, Step, Trace, Value, Verdict};

/// How many numbers of an array stand on its line.
const SHOWN: usize = 12;
/// How many rows of a summary, that are kept exactly, stand behind it.
const ROWS: usize = 4;

impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        match (self.loss, &self.update) {
            (Some(loss), Some(update)) => {
                let (before, after) = (number(loss), number(update.loss_after));
                let by = match &update.formulas[..] {
                    [formula] => formula.to_string(),
                    _ => format!("{}, rate {}", update.title, number(update.rate)),
                };
                writeln!(f, "loss {before} before the update and {after} after it ({by})")?;
            }
            (Some(loss), None) => writeln!(f, "result {}", number(loss))?,
            _ => {}
        }
        writeln!(
            f,
            "Inside of a node x, y and out are its own letters; the name behind them is the value's."
        )?;
        let told = RefCell::default();
        Walk { root: self, trace: self, indent: 0, told: &told }.write(f)?;
        let checks = self.checks();
        let checked: usize = checks.iter().map(|check| check.checked()).sum();
        let wrong: usize = checks.iter().map(|check| check.wrong.len()).sum();
        writeln!(
            f,
            "\n{checked} numbers of the {} gradients above checked, {wrong} wrong",
            checks.len()
        )
    }
}

/// A trace to write, and the one that has the explanations.
struct Walk<'a> {
    root: &'a Trace,
    trace: &'a Trace,
    indent: usize,
    /// The explanations whose letters have been explained.
    told: &'a RefCell<BTreeSet<String>>,
}

impl Walk<'_> {
    fn line(&self, f: &mut Formatter<'_>, text: impl Display) -> fmt::Result {
        writeln!(f, "{:indent$}{text}", "", indent = self.indent)
    }

    fn section(&self, f: &mut Formatter<'_>, title: &str) -> fmt::Result {
        writeln!(f)?;
        self.line(f, title)
    }

    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let leaf = |value: &&Value| !matches!(value.origin, Origin::Output { .. });
        if self.indent == 0 {
            self.section(f, "values from outside")?;
            for value in self.trace.values.iter().filter(leaf) {
                let kind = match value.origin {
                    Origin::Parameter => " (parameter)",
                    Origin::Constant => " (constant)",
                    _ => "",
                };
                self.line(f, format!("  {} = {}{kind}", value.name, array(&value.value)))?;
            }
        }
        let mut backward = false;
        self.section(f, "forward")?;
        for step in &self.trace.steps {
            match *step {
                Step::Forward(index) => self.forward(f, index)?,
                Step::Backward(index) => {
                    if !backward {
                        self.section(f, "backward")?;
                    }
                    backward = true;
                    self.backward(f, index)?;
                }
                Step::Update => self.update(f)?,
            }
        }
        if backward && self.indent == 0 {
            self.section(f, "gradients")?;
            for value in self.trace.values.iter().filter(leaf) {
                self.gradient(f, value)?;
            }
        }
        Ok(())
    }

    fn explanation(&self, node: &Node) -> Option<&Explanation> {
        self.root.explanations.get(&node.explanation)
    }

    fn head(&self, f: &mut Formatter<'_>, index: usize, node: &Node) -> fmt::Result {
        let mut head = format!("{index:>3}  {}", node.op);
        if let Some(explanation) = self.explanation(node) {
            let _ = write!(head, ": {}", explanation.title);
        }
        if let Some(time) = node.time {
            let _ = write!(head, ", t={time}");
        }
        if !node.scope.is_empty() {
            let _ = write!(head, "  ({})", node.scope);
        }
        self.line(f, head)
    }

    fn port(&self, port: &Port) -> String {
        let Some(value) = self.trace.values.get(port.slot) else { return port.name.clone() };
        let name = match value.name == port.name {
            true => port.name.clone(),
            false => format!("{} = {}", port.name, value.name),
        };
        format!("{name} = {}", array(&value.value))
    }

    fn forward(&self, f: &mut Formatter<'_>, index: usize) -> fmt::Result {
        let Some(node) = self.trace.nodes.get(index) else { return Ok(()) };
        self.head(f, index, node)?;
        if let Some(explanation) = self.explanation(node) {
            for formula in &explanation.forward {
                self.line(f, format!("       {formula}"))?;
            }
            self.letters(f, node, explanation)?;
            for source in explanation.forward_source.iter().take(1) {
                self.line(f, format!("       {}:{}", source.path, source.line))?;
            }
        }
        if !node.settings.is_empty() {
            self.line(f, format!("     with {}", node.settings))?;
        }
        for port in &node.inputs {
            self.line(f, format!("     {}", self.port(port)))?;
        }
        for port in &node.outputs {
            self.line(f, format!("   → {}", self.port(port)))?;
        }
        match &node.opened {
            Some(opened) => {
                let count = opened.trace.nodes.len();
                let off = opened.distance();
                let told = format!("     open: {count} simpler nodes, the same to {off:.0e}");
                self.line(f, told)?;
                Walk { trace: &opened.trace, indent: self.indent + 7, ..*self }.write(f)
            }
            None if node.can_open => self.line(f, "     (opens into simpler nodes)"),
            None => Ok(()),
        }
    }

    /// What the letters of the formulas are, what is kept for the backward pass, and what else must be
    /// known: once for each explanation.
    fn letters(
        &self,
        f: &mut Formatter<'_>,
        node: &Node,
        explanation: &Explanation,
    ) -> fmt::Result {
        if !self.told.borrow_mut().insert(node.explanation.clone()) {
            return Ok(());
        }
        let Explanation { inputs, outputs, symbols, saved, remark, .. } = explanation;
        for Symbol { name, meaning } in inputs.iter().chain(outputs).chain(symbols) {
            self.line(f, format!("         {name}: {meaning}"))?;
        }
        if !saved.is_empty() {
            self.line(f, format!("         kept for the backward pass: {saved}"))?;
        }
        if !remark.is_empty() {
            self.line(f, format!("         {remark}"))?;
        }
        Ok(())
    }

    /// A gradient by the letter of a port, and the name of the value when that is another.
    fn gradient_of(&self, port: &Port, link: &str) -> String {
        match self.trace.values.get(port.slot) {
            Some(value) if value.name != port.name => {
                format!("d_{} ({link} {})", port.name, value.name)
            }
            _ => format!("d_{}", port.name),
        }
    }

    fn backward(&self, f: &mut Formatter<'_>, index: usize) -> fmt::Result {
        let Some(node) = self.trace.nodes.get(index) else { return Ok(()) };
        self.head(f, index, node)?;
        for port in &node.outputs {
            let gradient = self.trace.values.get(port.slot).and_then(|x| x.gradient.as_ref());
            let told = gradient.map_or("0: nothing comes in".into(), array);
            self.line(f, format!("     {} = {told}", self.gradient_of(port, "of")))?;
        }
        if let Some(explanation) = self.explanation(node) {
            for formula in explanation.backward.iter().flat_map(|rule| &rule.formulas) {
                self.line(f, format!("       {formula}"))?;
            }
            for source in explanation.backward_source.iter().take(1) {
                self.line(f, format!("       {}:{}", source.path, source.line))?;
            }
        }
        for part in &node.contributions {
            let Some(port) = node.inputs.get(part.input) else { continue };
            let time = match part.time {
                Some(time) if node.time.is_none() => format!(" at t={time}"),
                _ => String::new(),
            };
            let name = self.gradient_of(port, "to");
            let told = format!("   → {name}{time} = {}", array(&part.value));
            self.line(f, format!("{told}  {}", mark(&part.check)))?;
        }
        Ok(())
    }

    /// A gradient, and what it is the sum of.
    fn gradient(&self, f: &mut Formatter<'_>, value: &Value) -> fmt::Result {
        let Some(gradient) = &value.gradient else { return Ok(()) };
        let check = value.check.as_ref().map(mark).unwrap_or_default();
        self.line(f, format!("  d_{} = {}  {check}", value.name, array(gradient)))?;
        if value.parts.len() > 1 {
            let mut parts = Vec::new();
            for (place, (node, part)) in value.parts.iter().zip(self.trace.parts(value)) {
                let time = part.time.map_or(String::new(), |time| format!(" t={time}"));
                let size = match part.value.numbers() {
                    Some([one]) => number(*one),
                    _ => format!("{:.2e}", part.value.norm()),
                };
                parts.push(format!("{} {}{time} {size}", place.node, node.op));
            }
            let what = match gradient.len() {
                1 => "the sum of",
                _ => "the norms of its parts:",
            };
            self.line(f, format!("       {what} {}", parts.join(", ")))?;
        }
        Ok(())
    }

    fn update(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.section(f, "update")?;
        if let Some(update) = &self.trace.update {
            for formula in &update.formulas {
                self.line(f, format!("  {formula}"))?;
            }
            for Symbol { name, meaning } in &update.symbols {
                self.line(f, format!("  {name}: {meaning}"))?;
            }
        }
        for value in &self.trace.values {
            if let Some(updated) = &value.updated {
                self.line(f, format!("  {} = {}", value.name, array(updated)))?;
            }
        }
        Ok(())
    }
}

/// A tick with the error, or why there is none.
fn mark(check: &Check) -> String {
    match check.verdict() {
        Verdict::Unchecked => format!("({})", check.remark),
        Verdict::Untold => {
            let reason = check.untold.first().map_or("", |untold| &untold.reason);
            format!("– cannot be told: {reason}")
        }
        Verdict::Wrong => {
            let place = check.wrong.first().copied().unwrap_or_default();
            let expected = check.expected(place).map_or(String::new(), |expected| {
                format!(": element {place} should be {}", number(expected))
            });
            format!("✗ {} wrong{expected}", check.wrong.len())
        }
        Verdict::Right => {
            let untold = match &check.untold[..] {
                [] => String::new(),
                [first, ..] => {
                    format!(" ({} cannot be told: {})", check.untold.len(), first.reason)
                }
            };
            let remark = match &check.remark[..] {
                "" => String::new(),
                remark => format!(" ({remark})"),
            };
            format!("✓ {:.0e}{untold}{remark}", check.error)
        }
    }
}

/// A number with four digits that count.
pub(crate) fn number(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        "0".into()
    } else if !x.is_finite() || (1e-3..1e5).contains(&size) {
        let text = format!("{x:.4}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').into(),
            false => text,
        }
    } else {
        format!("{x:.2e}")
    }
}

/// An array on a line: its shape, and its numbers or the most important of them.
fn array(array: &Array) -> String {
    let shape: Vec<String> = array.shape.iter().map(ToString::to_string).collect();
    let shape = if shape.is_empty() { String::new() } else { format!("[{}] ", shape.join(", ")) };
    match &array.content {
        Content::Numbers(numbers) => {
            let columns = array.shape.last().copied().unwrap_or(1).max(1);
            let mut text = String::new();
            for (place, &x) in numbers.iter().take(SHOWN).enumerate() {
                let between = match place {
                    0 => "",
                    // A row ends.
                    _ if place % columns == 0 => " | ",
                    _ => " ",
                };
                text.push_str(between);
                text.push_str(&number(x));
            }
            if numbers.len() > SHOWN {
                let _ = write!(text, " … (norm {})", number(array.norm()));
            }
            format!("{shape}{text}")
        }
        Content::Summary(summary) => shape + &summarised(summary),
    }
}

/// What a summary knows, on a line.
fn summarised(summary: &Summary) -> String {
    let mut text = String::new();
    // Of nothing that is finite there is no least.
    if summary.least <= summary.largest {
        let [least, largest] = [summary.least, summary.largest].map(number);
        let _ = write!(text, "{least} to {largest}, mean {}, ", number(summary.mean));
    }
    let _ = write!(text, "norm {}", number(summary.norm));
    for (count, what) in [(summary.zeros, "zeros"), (summary.not_finite, "NOT FINITE")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    for row in summary.rows.iter().take(ROWS) {
        let numbers: Vec<String> = row.numbers.iter().take(SHOWN).map(|&x| number(x)).collect();
        let more = if row.numbers.len() > SHOWN { " …" } else { "" };
        let _ = write!(text, "; row {}: {}{more}", row.row, numbers.join(" "));
    }
    match summary.rows.len().saturating_sub(ROWS) {
        0 => {}
        more => _ = write!(text, "; {more} more rows are kept"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Limits;
    use crate::lessons::{expression, lesson};
    use ndarray::Array2;

    #[test]
    fn a_walk_says_what_its_letters_are_and_what_a_gradient_is_the_sum_of() {
        let values = [("a", 0.8), ("x", 0.5), ("b", 0.0), ("y", 2.0)];
        let values = values.map(|(name, x)| (name.to_owned(), x)).into();
        let own =
            expression("sigmoid(a*x + b) * a - x^2/y", &values).unwrap().traces[0].to_string();
        let cell = lesson("through-time").unwrap().traces[0].to_string();
        let rows = [
            (&own, "       out = x²\n         x: any shape\n"),
            (&own, "kept for the backward pass: x and y."),
            (&own, "     with exponent 2\n"),
            // Signs, for the parts of a number add up.
            (&own, "the sum of 4 pow_number -0.5, 0 mul 0.1538"),
            (&own, "   → d_x (to out0) = 0.1922"),
            (&cell, "0  rnn_step: A step of a plain recurrent network, t=1"),
            (&cell, "the norms of its parts: 4 rnn_step t=5 "),
            (&cell, "W_ih, W_hh, b_ih, b_hh: weight_ih, weight_hh, bias_ih, bias_hh"),
        ];
        for (text, part) in rows {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!cell.contains("t=0"));
        let step = lesson("lstm-cell").unwrap().traces[0].to_string();
        assert!(step.contains("     d_c' = 0: nothing comes in\n"), "{step}");
        assert_eq!(cell.matches("a: [B, H], the sum before tanh").count(), 1);
    }

    #[test]
    fn a_summary_says_what_is_not_finite_and_has_its_rows() {
        let limits = Limits::default();
        let x = Array2::from_shape_fn((40, 3), |(row, column)| match (row, column) {
            (7, 1) => f64::NAN,
            (3, _) => 2.0,
            _ => 0.0,
        });
        let text = array(&Array::within(&x, &limits).with_rows(&x, &[3], &limits));
        assert!(text.contains("116 zeros, 1 NOT FINITE; row 3: 2 2 2; row 7: 0 NaN 0"), "{text}");
        let text = array(&Array::within(&x.mapv(|_| f64::NAN), &limits));
        assert!(text.contains("120 NOT FINITE") && !text.contains("inf"), "{text}");
    }
}
