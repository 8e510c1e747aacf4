//! The current node: what it computes, its numbers, what comes in and what goes out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use unspool_trace::source::Excerpt;
use unspool_trace::trace::Port;
use unspool_trace::{Array, Explanation, Formula, Node, Origin, Trace, Value};

use super::{numbers, sum};
use crate::app::App;
use crate::check::{mark, same_to, style};
use crate::look::{self, number};
use crate::names;
use crate::quiz::Asks;

/// The lines of the pane, and where something stands.
pub(crate) struct Built {
    pub lines: Vec<Line<'static>>,
    /// The first line of the source.
    pub source: usize,
    /// The line of the number under the cursor, or of its array.
    pub cursor: usize,
    /// The line of the gradient that goes out to the array under the cursor, or comes in there.
    pub gradient: usize,
}

/// Draws the pane.
pub(crate) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    let width = usize::from(area.width.saturating_sub(4));
    let title = match app.node() {
        Some((index, node)) => {
            let time = node.time.map_or(String::new(), |time| format!(", t={time}"));
            format!("{index} {}{time}", node.op)
        }
        None => "the update".into(),
    };
    let chosen = |room| app.under_cursor_in_words(room);
    super::draw_pane(app, buffer, area, &title, chosen, build(app, width).lines);
}

/// The line where the source begins.
pub(crate) fn source_line(app: &App) -> usize {
    build(app, super::pane(app).0).source.min(super::overflow(app))
}

/// A scroll that shows the number under the cursor.
pub(crate) fn cursor_line(app: &App) -> usize {
    let (width, rows) = super::pane(app);
    let line = build(app, width).cursor;
    let seen = (app.scroll..app.scroll + rows.saturating_sub(1)).contains(&line);
    if seen { app.scroll } else { line.saturating_sub(2).min(super::overflow(app)) }
}

/// A scroll that shows the gradient of the array under the cursor.
pub(crate) fn gradient_line(app: &App) -> usize {
    let (width, rows) = super::pane(app);
    let line = build(app, width).gradient;
    // With the numbers beneath it.
    let fits = line + 4 <= rows;
    if fits { 0 } else { line.saturating_sub(1).min(super::overflow(app)) }
}

/// All lines for a pane of so many columns.
pub(crate) fn build(app: &App, width: usize) -> Built {
    let mut pane = Pane { app, width, lines: Vec::new(), source: 0, cursor: 0, gradient: 0 };
    match app.node() {
        Some((_, node)) => pane.node(node),
        None => pane.update(),
    }
    let Pane { lines, source, cursor, gradient, .. } = pane;
    Built { lines, source, cursor, gradient }
}

/// What the numbers of lines of source take.
const NUMBERS: usize = 5;

struct Pane<'a> {
    app: &'a App,
    width: usize,
    lines: Vec<Line<'static>>,
    source: usize,
    cursor: usize,
    gradient: usize,
}

impl Pane<'_> {
    fn line(&mut self, text: &str, style: Style, indent: usize) {
        let text = self.app.look.text(text);
        for line in look::wrap(&text, self.width, indent) {
            self.lines.push(Line::styled(line, style));
        }
    }

    /// The name of an array with its shape and what a check found: in two lines where one is too short.
    fn named(&mut self, name: &str, shape: &str, check: &str, style: Style) {
        let name = self.app.look.text(name);
        let more = self.app.look.text(format!("{shape} {check}").trim());
        let whole = format!("{name} {more}");
        if look::width(whole.trim_end()) <= self.width || more.is_empty() {
            self.line(whole.trim_end(), style, 2);
        } else {
            self.line(&name, style, 2);
            self.line(&format!("    {more}"), style, 4);
        }
    }

    fn heading(&mut self, text: &str) {
        self.lines.push(Line::default());
        self.line(text, self.app.look.heading(), 2);
    }

    fn formulas<'f>(&mut self, formulas: impl IntoIterator<Item = &'f Formula>) {
        for formula in formulas {
            self.line(&format!("  {formula}"), self.app.look.formula(), 6);
        }
    }

    fn node(&mut self, node: &Node) {
        let app = self.app;
        let explanation = app.root().explanations.get(&node.explanation);
        let title = explanation.map_or(&node.op, |one| &one.title);
        if app.has_question() {
            // What is needed for an answer comes first.
            let title = look::cut(&app.look.text(title), self.width);
            self.line(&title, app.look.heading(), 2);
            self.made(node);
            self.question();
            self.incoming(node, explanation);
            self.forward(node, explanation);
            self.rule(explanation);
        } else {
            self.line(title, app.look.heading(), 2);
            self.about(node);
            if app.is_backward() {
                self.incoming(node, explanation);
                self.rule(explanation);
                self.outgoing(node);
                self.forward(node, explanation);
            } else {
                self.forward(node, explanation);
                self.rule(explanation);
            }
        }
        self.letters(explanation);
        self.sources(explanation);
    }

    /// Where the node runs, how it was made, and what is inside.
    fn about(&mut self, node: &Node) {
        let app = self.app;
        if !node.scope.is_empty() {
            self.line(&format!("in {}", node.scope), app.look.faint(), 2);
        }
        self.made(node);
        if app.asks_inside() {
            self.line(Asks::Inside.words(), app.look.wrong(), 2);
        } else if let Some(opened) = &node.opened {
            let nodes = opened.trace.nodes.len();
            let told = format!("i opens it: {nodes} simpler nodes, {}", same_to(opened.distance()));
            self.line(&told, app.look.right(), 2);
        }
    }

    /// How the op was made.
    fn made(&mut self, node: &Node) {
        if !node.settings.is_empty() {
            self.line(&format!("with {}", node.settings), self.app.look.faint(), 2);
        }
    }

    /// What is asked for, and what it is found by.
    fn question(&mut self) {
        let app = self.app;
        let Some((question, rule)) = app.question().zip(app.rule()) else { return };
        self.line("Goes out", app.look.heading(), 2);
        self.line(&format!("  {} = ?", question.name), app.look.wrong(), 4);
        for guess in app.guesses() {
            let told = format!("  not {}: once more, for half a point", number(*guess));
            self.line(&told, app.look.wrong(), 4);
        }
        for formula in rule.formulas() {
            self.line(&format!("  by {formula}"), app.look.formula(), 6);
        }
        for formula in rule.definitions() {
            self.line(&format!("  with {formula}"), app.look.formula(), 6);
        }
        let letters = rule.letters();
        if !letters.is_empty() {
            self.line(&format!("  {}", letters.join("; ")), app.look.faint(), 4);
        }
        if let Some(row) = rule.row_of_time() {
            let told = format!("  the first axis is time: of t={}, its row {row} alone", row + 1);
            self.line(&told, app.look.faint(), 4);
        }
        match app.hint_shown() {
            Some(hint) => self.line(&format!("  hint: {hint}"), app.look.formula(), 4),
            None => {
                let hint = if app.has_hint() { "; y gives a hint" } else { "" };
                let told = format!("  enter guesses, within 1%{hint}");
                self.line(&told, app.look.faint(), 2);
            }
        }
    }

    fn forward(&mut self, node: &Node, explanation: Option<&Explanation>) {
        self.heading("Forward");
        let inputs = node.inputs.iter().map(|port| ("", port));
        let outputs = node.outputs.iter().map(|port| ("→ ", port));
        let mut ports: Vec<_> = inputs.chain(outputs).enumerate().collect();
        // What the rule of a question needs comes first.
        if let Some(rule) = self.app.rule().filter(|_| self.app.has_question()) {
            let needed = |(_, (_, port)): &(usize, (&str, &Port))| rule.needs(port.slot);
            let (first, others): (Vec<_>, Vec<_>) = ports.into_iter().partition(needed);
            for (number, (sign, port)) in first {
                self.port(sign, port, number);
            }
            ports = others;
        }
        self.formulas(explanation.iter().flat_map(|one| &one.forward));
        for (number, (sign, port)) in ports {
            self.port(sign, port, number);
        }
    }

    /// An input or output with its numbers.
    fn port(&mut self, sign: &str, port: &Port, number: usize) {
        let app = self.app;
        let Some(value) = app.trace().values.get(port.slot) else { return };
        let kind = match value.origin {
            Origin::Parameter => " weight",
            Origin::Constant => " constant",
            Origin::Input if app.place.path.is_empty() => " input",
            _ => "",
        };
        let name = if value.name == port.name { "" } else { &format!(" = {}", value.name) };
        let shape = numbers::shape(&value.value.shape);
        let here = app.array == number;
        let style = if here { app.look.heading() } else { Style::new() };
        let first = self.lines.len();
        self.named(&format!("{sign}{}{name}", port.name), &format!("{shape}{kind}"), "", style);
        let before = old(app, port.slot, |trace, slot| Some(&trace.values.get(slot)?.value));
        self.array(&value.value, before, here.then_some(app.element));
        if here {
            let marked =
                |line: &Line<'_>| line.spans.iter().any(|x| x.content.starts_with(numbers::CURSOR));
            let at = self.lines.iter().skip(first).position(marked);
            self.cursor = first + at.unwrap_or(0);
        }
    }

    fn array(&mut self, array: &Array, before: Option<&Array>, cursor: Option<usize>) {
        self.lines.extend(numbers::lines(self.app.look, array, before, cursor, self.width));
    }

    fn incoming(&mut self, node: &Node, explanation: Option<&Explanation>) {
        let app = self.app;
        let added_by = |port: &Port| {
            explanation.map_or(Vec::new(), |about| names::added_by(about, node, port)).join(", ")
        };
        self.heading("Comes in");
        let mut any = false;
        for port in &node.outputs {
            let Some(value) = app.trace().values.get(port.slot) else { continue };
            if let Some(gradient) = &value.gradient {
                any = true;
                self.gradient_at(port);
                let name = names::gradient(app.trace(), port);
                let shape = numbers::shape(&gradient.shape);
                let check = value.check.as_ref().map(mark).unwrap_or_default();
                self.named(&name, &shape, &check, Style::new());
                let before =
                    old(app, port.slot, |trace, slot| trace.values.get(slot)?.gradient.as_ref());
                self.array(gradient, before, None);
                self.origin(value, &added_by(port));
            }
        }
        if !any {
            self.line("  nothing", app.look.faint(), 2);
            return;
        }
        // Of an output that nothing behind it reads.
        for port in &node.outputs {
            let value = app.trace().values.get(port.slot);
            if value.is_some_and(|value| value.gradient.is_none()) {
                let name = names::gradient(app.trace(), port);
                let more = match added_by(port) {
                    none if none.is_empty() => String::new(),
                    others => format!(" from outside; the rule adds what comes by {others}"),
                };
                self.line(&format!("{name} = 0: nothing comes in{more}"), app.look.faint(), 2);
            }
        }
    }

    /// Whether a gradient that comes in is all that there is of it: the rule may add to it; and inside of
    /// an open node, that of an output may come from outside, from the nodes inside, or from both.
    fn origin(&mut self, value: &Value, added_by: &str) {
        let app = self.app;
        let told = match (added_by, value.seed.is_some(), value.parts.len()) {
            ("", true, 1..) => "the total: from outside and from in here".into(),
            ("", false, _) if app.is_output_of_open(value) => {
                "all of it from in here, nothing from outside".into()
            }
            ("", ..) => return,
            (others, ..) => format!("from outside; the rule adds what comes by {others}"),
        };
        self.line(&format!("    {told}"), app.look.faint(), 4);
    }

    /// The gradient at a port begins at the next line.
    fn gradient_at(&mut self, port: &Port) {
        if self.app.shown().is_some_and(|shown| shown.slot == port.slot) {
            self.gradient = self.lines.len();
        }
    }

    fn rule(&mut self, explanation: Option<&Explanation>) {
        let title = if self.app.is_backward() { "Local rule" } else { "On the way back" };
        self.heading(title);
        let Some(explanation) = explanation else { return };
        self.formulas(explanation.backward.iter().flat_map(|rule| &rule.formulas));
        for symbol in explanation.symbols.iter().filter(|symbol| symbol.name == "Σ") {
            self.line(&format!("  Σ: {}", symbol.meaning), self.app.look.faint(), 4);
        }
        if !explanation.cut.is_empty() {
            self.line(&explanation.cut, self.app.look.faint(), 2);
        }
    }

    fn outgoing(&mut self, node: &Node) {
        let app = self.app;
        let trace = app.trace();
        self.heading("Goes out");
        if let Some((question, answer)) = app.question().zip(app.answer()) {
            let guesses: Vec<String> = answer.guesses.iter().map(|&guess| number(guess)).collect();
            let (sign, style) = match answer.right {
                true => ("✓", app.look.right()),
                false => ("✗", app.look.wrong()),
            };
            let told = format!("{sign} your guess of {}: {}", question.name, guesses.join(", "));
            self.line(&told, style, 2);
        }
        match app.asks() {
            Some(asks @ (Asks::Inside | Asks::Nothing)) => {
                self.line(asks.words(), app.look.wrong(), 2);
                if asks == Asks::Inside {
                    return;
                }
            }
            Some(Asks::Question(_)) | None => {}
        }
        if node.contributions.is_empty() {
            self.line("  nothing: no input wants a gradient", app.look.faint(), 2);
        }
        let index = app.node().map(|(index, _)| index);
        // What goes on through the network comes before what stays with the weights.
        let is_weight = |port: &Port| {
            trace.values.get(port.slot).is_some_and(|value| value.origin == Origin::Parameter)
        };
        let parts = node.contributions.iter().enumerate();
        let parts =
            parts.filter_map(|(number, part)| Some((number, part, node.inputs.get(part.input)?)));
        let (to_weights, onwards): (Vec<_>, Vec<_>) = parts.partition(|(.., port)| is_weight(port));
        for (number, part, port) in onwards.into_iter().chain(to_weights) {
            let shape = numbers::shape(&part.value.shape);
            let name = names::added(trace, node, part, app.is_shared(port.slot));
            self.gradient_at(port);
            let style = style(app.look, &part.check);
            self.named(&format!("→ {name}"), &shape, &mark(&part.check), style);
            let before = index.and_then(|index| {
                old(app, index, |trace, index| {
                    Some(&trace.nodes.get(index)?.contributions.get(number)?.value)
                })
            });
            self.array(&part.value, before, None);
        }
        let constant = |port: &&Port| {
            trace.values.get(port.slot).is_some_and(|value| value.origin == Origin::Constant)
        };
        for port in node.inputs.iter().filter(constant) {
            let name = names::gradient(trace, port);
            self.line(&format!("no {name}: a constant wants none"), app.look.faint(), 2);
        }
        let mut told = Vec::new();
        for part in &node.contributions {
            if let Some(port) =
                node.inputs.get(part.input).filter(|port| !told.contains(&port.slot))
            {
                told.push(port.slot);
                self.sum(port);
            }
        }
    }

    /// What the whole gradient of a shared value is the sum of.
    fn sum(&mut self, port: &Port) {
        let app = self.app;
        let trace = app.trace();
        let Some(value) = trace.values.get(port.slot).filter(|value| names::parts_of(value) > 1)
        else {
            return;
        };
        let (parts, words) = (names::parts_of(value), sum::words(value));
        let name = names::gradient_of(&value.name);
        self.heading(&format!("{name} is the sum of {parts} parts{words}"));
        self.lines.extend(sum::lines(app, trace, port.slot, self.width, true));
    }

    /// What the letters of the formulas mean, and what else is to be known.
    fn letters(&mut self, explanation: Option<&Explanation>) {
        let Some(explanation) = explanation else { return };
        self.heading("Letters");
        let Explanation { inputs, outputs, symbols, .. } = explanation;
        // What Σ is, the rule says.
        let symbols = symbols.iter().filter(|symbol| symbol.name != "Σ");
        for symbol in inputs.iter().chain(outputs).chain(symbols) {
            self.line(&format!("  {}: {}", symbol.name, symbol.meaning), Style::new(), 4);
        }
        if !explanation.saved.is_empty() {
            self.line(&format!("Kept for the way back: {}", explanation.saved), Style::new(), 2);
        }
        if !explanation.remark.is_empty() {
            self.heading("Remark");
            self.line(&explanation.remark, Style::new(), 0);
        }
    }

    fn sources(&mut self, explanation: Option<&Explanation>) {
        let Some(explanation) = explanation else { return };
        self.lines.push(Line::default());
        self.source = self.lines.len();
        let (first, second) = match self.app.is_backward() {
            true => (&explanation.backward_source, &explanation.forward_source),
            false => (&explanation.forward_source, &explanation.backward_source),
        };
        let mut told: Vec<&Excerpt> = Vec::new();
        for excerpt in first.iter().chain(second) {
            if !told.contains(&excerpt) {
                told.push(excerpt);
                self.excerpt(excerpt);
            }
        }
    }

    fn excerpt(&mut self, excerpt: &Excerpt) {
        let look = self.app.look;
        self.line(&format!("Source {}:{}", excerpt.path, excerpt.line), look.heading(), 2);
        for (number, text) in (excerpt.line..).zip(excerpt.text.lines()) {
            let code = text.trim_start();
            let comment = code.starts_with("//");
            let style = if comment { look.faint() } else { Style::new() };
            let indent = look::width(text) - look::width(code);
            // What is too long goes on beneath, further in.
            let width = self.width.saturating_sub(NUMBERS);
            let text = look.text(text);
            let lines = match look::width(&text) <= width {
                true => vec![text],
                false => look::wrap(&text, width, indent + 4),
            };
            let numbers =
                std::iter::once(number.to_string()).chain(std::iter::repeat(String::new()));
            for (number, line) in numbers.zip(lines) {
                self.lines.push(Line::styled(format!("{number:>4} {line}"), style));
            }
        }
    }

    fn update(&mut self) {
        let app = self.app;
        let trace = app.root();
        self.line("The update of the weights", app.look.heading(), 2);
        if let Some(update) = &trace.update {
            for formula in &update.formulas {
                self.line(&format!("  {formula}"), app.look.formula(), 4);
            }
            for symbol in &update.symbols {
                self.line(&format!("  {}: {}", symbol.name, symbol.meaning), app.look.faint(), 4);
            }
            let before = trace.loss.map_or("?".into(), look::size);
            let told = format!("loss {before} before, {} after", look::size(update.loss_after));
            self.line(&told, Style::new(), 2);
            self.line("Δ: how far the update moves a number", app.look.faint(), 2);
        }
        for value in &trace.values {
            if let Some(updated) = &value.updated {
                let shape = numbers::shape(&updated.shape);
                self.lines.push(Line::default());
                self.line(&format!("{} {shape}", value.name), Style::new(), 2);
                // Δ is what the update does.
                self.array(updated, Some(&value.value), None);
            }
        }
    }
}

/// Something of the trace before the last change.
fn old<'a, T: ?Sized>(
    app: &'a App,
    number: usize,
    find: impl Fn(&'a Trace, usize) -> Option<&'a T>,
) -> Option<&'a T> {
    find(app.before()?, number)
}
