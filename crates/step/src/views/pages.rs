//! What fills the whole screen: the lessons, the text, the parameters, the keys, what was found.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use unspool_trace::Origin;
use unspool_trace::lessons::LESSONS;

use super::{numbers, sum};
use crate::app::{App, Screen};
use crate::check::{mark, style};
use crate::look;
use crate::names;

/// The keys, and what else stands on the screen, as the help shows them.
pub const HELP: [(&str, &str); 47] = [
    ("WALK", ""),
    ("n, space, right", "the next step"),
    ("b, left", "the step before"),
    ("home, end", "the first step, the last"),
    ("f, g", "the first step of the forward pass, of the backward pass"),
    ("i, enter", "into a fused node (+): the simpler ops that it is made of"),
    ("o, esc", "out of it"),
    ("x", "the other computation of a lesson of two"),
    (": ", "go to a value (w, h[5], W_hh), a gradient (d_w), a node (12), a time step (t=3)"),
    ("/", "search the names of ops, values and scopes; empty for the next"),
    ("!", "stop where a gradient's norm is > 0.5, or < 1e-3; off for nowhere"),
    ("r", "run on to there"),
    ("LOOK", ""),
    ("up, down, k, j", "scroll; pageup and pagedown by a page"),
    ("s", "to the source"),
    ("p", "inputs and weights: their gradients, and their sums over time"),
    ("t", "the lesson's text"),
    ("L", "the list of lessons"),
    ("ASK", ""),
    ("tab, backtab", "the next array of the node, the one before"),
    ("], [ or l, h", "the next number of it, the one before"),
    ("w", "what if it were another: type a number, or NAME[i,j]=number"),
    ("u", "take the last change back"),
    ("c", "check it: its gradient beside a difference quotient"),
    ("QUIZ", ""),
    ("z", "begin a quiz; end it and see the score"),
    ("enter", "guess the gradient that is hidden: twice, the second time for half a point"),
    ("y", "a hint: the numbers in the rule, where they are few"),
    ("q, ctrl-c", "leave"),
    ("NAMES", ""),
    ("y = w", "A node has its own letters: the y of the lesson neuron's product is its w."),
    ("d_z (here d_out)", "What comes in: the node's d_out is the gradient of the lesson's z."),
    ("d_w (here d_y)", "What goes out: the node's d_y is the gradient of the lesson's w."),
    ("adds to d_w", "What goes out is a part of the gradient of w; others add theirs."),
    ("w, c, p, :", "take and tell the lesson's names; w and : take the node's letters, too."),
    ("h[5]", "What is typed so is h at time step 5; L is the loss, W_hh is weight_hh."),
    ("SIGNS", ""),
    ("· ▶ ◀ ◆", "has not run; has run forward; has run backward; here you are"),
    ("▒ ░", "some of the nodes of that place have run forward; backward"),
    ("─ 1 2 …", "above the places: nodes of no time step, and time steps"),
    ("+", "a fused node: i opens it"),
    ("›", "the number under the cursor, for w and c; it is named in the frame"),
    ("✓ 5e-14", "a checked gradient, and how far it is off, as a share of the array's largest"),
    ("✓ the sum", "it is the sum of its parts, which are checked themselves"),
    ("? ✗", "it cannot be told whether it is right, as at a kink; it is wrong"),
    ("Δ", "how far the number is from what it was before w, or before the update"),
    (". : * #", "without colour: how large a number is beside the array's largest"),
];

/// Draws the page.
pub(crate) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    let title = match &app.screen {
        Screen::Lessons(_) => "Lessons",
        Screen::Help => "Keys, names and signs",
        Screen::Text => &app.lesson.title,
        Screen::Parameters => "Inputs and weights",
        Screen::Told { title, .. } => title,
        Screen::Walk => "",
    };
    let width = usize::from(area.width.saturating_sub(4));
    super::draw_pane(app, buffer, area, title, |_| None, lines(app, &app.screen, width));
}

/// All lines of a page.
pub(crate) fn lines(app: &App, screen: &Screen, width: usize) -> Vec<Line<'static>> {
    let plain = |text: &str, indent| {
        let text = app.look.text(text);
        look::wrap(&text, width, indent).into_iter().map(Line::from).collect::<Vec<_>>()
    };
    match screen {
        Screen::Walk => Vec::new(),
        Screen::Lessons(chosen) => {
            let row = |(number, listed): (usize, &unspool_trace::lessons::Listed)| {
                let text = format!("{:>2}  {:18}  {}", number + 1, listed.name, listed.title);
                let text = look::pad(&look::cut(&text, width), width);
                let style = if number == *chosen { app.look.here() } else { Style::new() };
                Line::styled(text, style)
            };
            let mut lines: Vec<Line<'static>> = LESSONS.iter().enumerate().map(row).collect();
            lines.push(Line::default());
            let told = "Each is best read after those above it: begin with the first.";
            lines.push(Line::styled(look::cut(told, width), app.look.faint()));
            lines
        }
        Screen::Help => {
            let row = |(keys, told): &(&str, &str)| match told.is_empty() {
                true => vec![Line::styled(keys.to_string(), app.look.heading())],
                false => {
                    let told = look::wrap(&app.look.text(told), width.saturating_sub(19), 0);
                    let keys = std::iter::once(app.look.text(keys));
                    let keys = keys.chain(std::iter::repeat(String::new()));
                    let row = |(keys, told): (String, String)| {
                        Line::from(format!("  {} {told}", look::pad(&keys, 16)))
                    };
                    keys.zip(told).map(row).collect()
                }
            };
            HELP.iter().flat_map(row).collect()
        }
        Screen::Text => {
            let mut lines = Vec::new();
            for paragraph in &app.lesson.text {
                lines.extend(plain(paragraph, 0));
                lines.push(Line::default());
            }
            if !app.lesson.look.is_empty() {
                lines.push(Line::styled("Look at:", app.look.heading()));
            }
            for point in &app.lesson.look {
                lines.extend(plain(&format!("- {point}"), 2));
            }
            lines.extend(series(app, width));
            lines
        }
        Screen::Parameters => parameters(app, width),
        Screen::Told { lines, .. } => {
            let styled = |text: &String| {
                let style = match text {
                    text if text.contains('✗') => app.look.wrong(),
                    text if text.contains('✓') => app.look.right(),
                    _ => Style::new(),
                };
                let text = app.look.text(text);
                // Columns stay columns: a line that is too long is cut, prose is wrapped.
                match text.starts_with("  ") || text.contains("  ") {
                    true => vec![Line::styled(look::cut(&text, width), style)],
                    false => {
                        let lines = look::wrap(&text, width, 2).into_iter();
                        lines.map(|line| Line::styled(line, style)).collect()
                    }
                }
            };
            lines.iter().flat_map(styled).collect()
        }
    }
}

/// The lesson's own numbers over time, as bars.
fn series(app: &App, width: usize) -> Vec<Line<'static>> {
    let top = app.lesson.series.iter().flat_map(|series| &series.points);
    let top = top.fold(0.0_f64, |top, (_, x)| top.max(x.abs()));
    let mut lines = Vec::new();
    for series in &app.lesson.series {
        lines.push(Line::default());
        lines.push(Line::styled(app.look.text(&series.name), app.look.heading()));
        for (time, x) in &series.points {
            let bar = numbers::bar(*x, top, width.saturating_sub(20).clamp(4, 40));
            let text = format!("  t={time:<3} {bar} {:>8}", look::size(*x));
            lines.push(Line::styled(text, app.look.formula()));
        }
    }
    lines
}

fn parameters(app: &App, width: usize) -> Vec<Line<'static>> {
    if app.quiz.is_some() {
        return vec![Line::from("hidden in the quiz: z ends it")];
    }
    let trace = app.trace();
    let mut lines = Vec::new();
    let before = app.before();
    for (slot, value) in trace.values.iter().enumerate() {
        if matches!(value.origin, Origin::Output { .. }) {
            continue;
        }
        let kind = match value.origin {
            Origin::Parameter => "weight",
            Origin::Constant => "constant",
            _ => "input",
        };
        let shape = numbers::shape(&value.value.shape);
        let name = app.look.text(&format!("{} {shape}  {kind}", value.name));
        lines.push(Line::styled(look::cut(&name, width), app.look.heading()));
        let old = before.and_then(|trace| trace.values.get(slot));
        let whole = |array, old| numbers::lines(app.look, array, old, None, width);
        lines.extend(whole(&value.value, old.map(|old| &old.value)));
        if let Some(gradient) = &value.gradient {
            let (mark, style) = match &value.check {
                Some(check) => (mark(check), style(app.look, check)),
                None => (String::new(), Style::new()),
            };
            let part = if app.is_part(slot) { "what the open node adds to " } else { "" };
            let gradient_name = names::gradient_of(&value.name);
            let told = app.look.text(&format!("{part}{gradient_name}  {mark}"));
            lines.push(Line::styled(look::cut(&told, width), style));
            lines.extend(whole(gradient, old.and_then(|old| old.gradient.as_ref())));
            let parts = names::parts_of(value);
            if parts > 1 {
                let words = sum::words(value);
                let told = format!("  the sum of {parts} parts{words}:");
                lines.push(Line::styled(told, app.look.faint()));
                lines.extend(sum::lines(app, trace, slot, width, false));
            }
        }
        lines.push(Line::default());
    }
    lines
}
