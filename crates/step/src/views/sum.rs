//! What a gradient is the sum of, part by part.

use ratatui::text::Line;
use unspool_trace::{Array, Step, Trace, Value};

use super::numbers;
use crate::app::App;
use crate::look::{self, number};

/// Behind a part that the walk has not come to.
const AHEAD: &str = " still to come";

/// A part of the sum: of a node, or of all nodes of a time step.
struct Row {
    name: String,
    time: Option<usize>,
    /// A single number is added up with its sign, an array by the square of its length.
    sum: f64,
    /// Whether the walk has not come there yet.
    ahead: bool,
}

/// What the bars mean, behind `d_w is the sum of 3 parts`.
pub(crate) fn words(value: &Value) -> &'static str {
    match value.value.len() {
        1 => "",
        _ => " (shown: the norm of each)",
    }
}

/// The parts of a value's gradient, with bars: over time when they have time steps. With `walked`,
/// those that are ahead of the current step are marked.
pub(crate) fn lines(
    app: &App,
    trace: &Trace,
    slot: usize,
    width: usize,
    walked: bool,
) -> Vec<Line<'static>> {
    let Some(value) = trace.values.get(slot) else { return Vec::new() };
    let single = value.value.len() == 1;
    let ahead = |node: usize| {
        let step = trace.steps.iter().position(|&step| step == Step::Backward(node));
        walked && step.is_some_and(|step| step > app.place.step)
    };
    let size = |part: &Array| match part.numbers() {
        Some(&[only]) if single => only,
        _ => part.norm().powi(2),
    };
    let mut rows: Vec<Row> = Vec::new();
    if let Some(seed) = &value.seed {
        // Inside of a node: what came in for its output.
        let name = "from outside".into();
        rows.push(Row { name, time: None, sum: size(seed), ahead: false });
    }
    for part in &value.parts {
        let Some(node) = trace.nodes.get(part.node) else { continue };
        let Some(added) = node.contributions.get(part.contribution) else { continue };
        let slot_of = |input: usize| node.inputs.get(input).map(|port| port.slot);
        let of_node = node.contributions.iter().filter(|x| slot_of(x.input) == Some(slot)).count();
        let letter = node.inputs.get(added.input).map_or("", |port| &port.name);
        let name = match added.time {
            Some(time) => format!("t={time}"),
            // A node that reads the value twice says as what.
            None if of_node > 1 => format!("{} as {letter}", part.node),
            None => format!("{} {}", part.node, node.op),
        };
        let sum = size(&added.value);
        match rows.iter_mut().find(|row| row.time.is_some() && row.time == added.time) {
            Some(row) => row.sum += sum,
            None => rows.push(Row { name, time: added.time, sum, ahead: ahead(part.node) }),
        }
    }
    rows.sort_by_key(|row| row.time);
    if !single {
        rows.iter_mut().for_each(|row| row.sum = row.sum.sqrt());
    }
    let top = rows.iter().fold(0.0_f64, |top, row| top.max(row.sum.abs()));
    let label = rows.iter().map(|row| look::width(&row.name)).max().unwrap_or(0).min(20);
    let told = if rows.iter().any(|row| row.ahead) { AHEAD.len() } else { 0 };
    let room = width.saturating_sub(label + told + 14).clamp(4, 40);
    let line = |row: &Row| {
        let name = look::pad(&look::cut(&app.look.text(&row.name), label), label);
        // What is still to be guessed is not told.
        if row.ahead && app.quiz.is_some() {
            return Line::styled(format!("  {name}{AHEAD}"), app.look.faint());
        }
        let bar = numbers::bar(row.sum, top, room);
        let number = if single { number(row.sum) } else { look::size(row.sum) };
        let (style, told) = match row.ahead {
            true => (app.look.faint(), AHEAD),
            false => (app.look.formula(), ""),
        };
        let line = format!("  {name} {bar} {number:>8}{told}");
        Line::styled(look::cut(&line, width), style)
    };
    rows.iter().map(line).collect()
}
