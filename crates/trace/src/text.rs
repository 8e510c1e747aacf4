//! A trace as text: node by node, forward and then backward.

use std::fmt::{self, Display, Formatter, Write};

use crate::array::{Array, Content};
use crate::explain::{Explanation, Symbol};
use crate::trace::{Check, Node, Origin, Port, Step, Trace, Value, Verdict};

/// How many numbers of an array stand on its line.
const SHOWN: usize = 12;

impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        match (self.loss, &self.update) {
            (Some(loss), Some(update)) => {
                let (before, after) = (number(loss), number(update.loss_after));
                let by = match &update.formulas[..] {
                    [formula] => formula.to_string(),
                    _ => format!("{}, rate {}", update.title, update.rate),
                };
                writeln!(f, "loss {before} before the update and {after} after it ({by})")?;
            }
            (Some(loss), None) => writeln!(f, "result {}", number(loss))?,
            _ => {}
        }
        Walk { root: self, trace: self, indent: 0 }.write(f)?;
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
        self.root.explanations.get(&node.op)
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
            for source in explanation.forward_source.iter().take(1) {
                self.line(f, format!("       {}:{}", source.path, source.line))?;
            }
        }
        // Of an op with settings, not of one that is its name alone.
        if node.settings.contains([' ', '(']) {
            self.line(f, format!("     as {}", node.settings))?;
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

    fn backward(&self, f: &mut Formatter<'_>, index: usize) -> fmt::Result {
        let Some(node) = self.trace.nodes.get(index) else { return Ok(()) };
        self.head(f, index, node)?;
        for port in &node.outputs {
            let gradient = self.trace.values.get(port.slot).and_then(|x| x.gradient.as_ref());
            if let Some(gradient) = gradient {
                self.line(f, format!("     d_{} = {}", port.name, array(gradient)))?;
            }
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
            let told = format!("   → d_{}{time} = {}", port.name, array(&part.value));
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
            for (node, part) in self.trace.parts(value) {
                let time = part.time.map_or(String::new(), |time| format!(" t={time}"));
                parts.push(format!("{}{time} {:.2e}", node.op, part.value.norm()));
            }
            self.line(f, format!("       norms of its parts: {}", parts.join(", ")))?;
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
fn number(x: f64) -> String {
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
    let shape = if shape.is_empty() { String::new() } else { format!("[{}] ", shape.join("×")) };
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
        Content::Summary(summary) => format!(
            "{shape}{} to {}, mean {}, norm {}",
            number(summary.least),
            number(summary.largest),
            number(summary.mean),
            number(summary.norm)
        ),
    }
}
