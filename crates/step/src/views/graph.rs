//! The computation unrolled: what runs at which time step, what is done, and where one is.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget};
use unspool_trace::{Node, Step, Trace};

use crate::app::App;
use crate::look;

/// So much of an op's name is always told.
const OP: usize = 6;

/// How far a node has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Not,
    Forward,
    Backward,
}

/// Draws the grid of scopes and time steps, and beneath it the nodes around the current one.
pub(crate) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    let depth = app.place.path.len();
    let room = usize::from(area.width).saturating_sub(2);
    let names = path(app);
    let name = match (depth, names.as_slice()) {
        (0, _) | (_, []) => " graph ".to_owned(),
        (_, [.., last]) => {
            // As much as there is room for.
            let whole = format!(" inside {} ", names.join(" › "));
            let inner = if depth > 1 { format!(" … {last} ") } else { format!(" in {last} ") };
            let fits = |name: &String| look::width(name) <= room;
            [whole, inner].into_iter().find(fits).unwrap_or_else(|| format!(" {last} "))
        }
    };
    let name = look::cut(&app.look.text(&name), room);
    let block = Block::bordered().title(name).title_bottom(format!(" {} ", super::place(app)));
    let inside = block.inner(area);
    block.render(area, buffer);
    let grid = grid(app, usize::from(inside.width));
    let most = usize::from(inside.height) / 2;
    let rows = grid.len().min(most);
    let [above, below] =
        Layout::vertical([Constraint::Length(rows as u16), Constraint::Min(1)]).areas(inside);
    // The row where one is stays in sight; the head of the grid, too.
    let here = grid.iter().position(|(_, here)| *here).unwrap_or(0);
    let skip = (here + 2).saturating_sub(rows).min(grid.len() - rows);
    let mut lines: Vec<Line<'_>> = grid.into_iter().map(|(line, _)| line).collect();
    if skip > 0 {
        lines.drain(1..=skip);
    }
    Paragraph::new(lines).render(above, buffer);
    Paragraph::new(nodes(app, below)).render(below, buffer);
}

/// The ops of the open nodes, from the outermost.
fn path(app: &App) -> Vec<String> {
    let mut names = Vec::new();
    for depth in 0..app.place.path.len() {
        let (Some(&node), before) = (app.place.path.get(depth), &app.place.path[..depth]) else {
            continue;
        };
        let trace = crate::walk::inside(app.root(), before);
        names.extend(trace.nodes.get(node).map(|node| node.op.clone()));
    }
    names
}

fn done(app: &App, trace: &Trace) -> Vec<Done> {
    let mut done = vec![Done::Not; trace.nodes.len()];
    for step in trace.steps.iter().take(app.place.step + 1) {
        match *step {
            Step::Forward(node) => done[node] = Done::Forward,
            Step::Backward(node) => done[node] = Done::Backward,
            Step::Update => {}
        }
    }
    done
}

/// The rows of the grid, and whether one is there. Empty when all runs in one place.
fn grid(app: &App, width: usize) -> Vec<(Line<'static>, bool)> {
    let trace = app.trace();
    let current = app.node().map(|(index, _)| index);
    let mut scopes: Vec<&str> = Vec::new();
    let mut times = BTreeSet::new();
    let mut cells: BTreeMap<(usize, Option<usize>), Vec<usize>> = BTreeMap::new();
    for (index, node) in trace.nodes.iter().enumerate() {
        let row = scopes.iter().position(|scope| *scope == node.scope).unwrap_or_else(|| {
            scopes.push(&node.scope);
            scopes.len() - 1
        });
        times.insert(node.time);
        cells.entry((row, node.time)).or_default().push(index);
    }
    if cells.len() < 2 {
        return Vec::new();
    }
    let done = done(app, trace);
    let digits = times.iter().flatten().max().map_or(1, |last| last.to_string().len());
    // Few columns leave more room for the names.
    let rest = width.saturating_sub(1 + times.len() * (digits + 1));
    let label = scopes.iter().map(|scope| look::width(scope)).max().unwrap_or(0);
    let label = label.clamp(5, (width / 2).max(rest).max(5));
    // The columns that fit, with the current one among them.
    let fits = (width.saturating_sub(label + 1) / (digits + 1)).max(1);
    let times: Vec<Option<usize>> = times.into_iter().collect();
    let time = app.node().and_then(|(_, node)| node.time);
    let at = times.iter().position(|one| *one == time).unwrap_or(0);
    let first = (at + 1).saturating_sub(fits).min(times.len().saturating_sub(fits));
    let shown: Vec<Option<usize>> = times.iter().skip(first).take(fits).copied().collect();
    let mut head = look::pad("t", label + 1);
    for time in &shown {
        let time = time.map_or("─".to_owned(), |time| time.to_string());
        head += &format!(" {time:>digits$}");
    }
    let mut rows = vec![(Line::styled(head, app.look.faint()), false)];
    for (row, scope) in scopes.iter().enumerate() {
        let name = if scope.is_empty() { "·" } else { scope };
        let name = look::cut(name, label);
        let mut spans = vec![Span::raw(look::pad(&name, label + 1))];
        let mut here = false;
        for time in &shown {
            let nodes = cells.get(&(row, *time)).map(Vec::as_slice).unwrap_or_default();
            let current = current.is_some_and(|current| nodes.contains(&current));
            here |= current;
            let (sign, style) = match cell(app, nodes, &done) {
                _ if current => ('◆', app.look.here()),
                found => found,
            };
            spans.push(Span::raw(" ".repeat(digits)));
            spans.push(Span::styled(sign.to_string(), style));
        }
        rows.push((Line::from(spans), here));
    }
    rows.push((Line::default(), false));
    rows
}

/// How far the nodes of a cell have come.
fn cell(app: &App, nodes: &[usize], done: &[Done]) -> (char, Style) {
    let count = |wanted: Done| nodes.iter().filter(|&&node| done[node] == wanted).count();
    match (count(Done::Forward), count(Done::Backward)) {
        _ if nodes.is_empty() => (' ', app.look.faint()),
        (0, 0) => ('·', app.look.faint()),
        (forward, 0) if forward < nodes.len() => ('▒', app.look.formula()),
        (_, 0) => ('▶', app.look.formula()),
        (0, _) => ('◀', app.look.right()),
        _ => ('░', app.look.right()),
    }
}

/// The nodes around the current one.
fn nodes(app: &App, area: Rect) -> Vec<Line<'static>> {
    let trace = app.trace();
    let done = done(app, trace);
    let current = app.node().map(|(index, _)| index);
    let rows = usize::from(area.height);
    let middle = current.unwrap_or(trace.nodes.len().saturating_sub(1));
    let first = middle.saturating_sub(rows / 2).min(trace.nodes.len().saturating_sub(rows));
    let width = usize::from(area.width);
    let line = |(index, node): (usize, &Node)| {
        let sign = match done[index] {
            Done::Not => '·',
            Done::Forward => '▶',
            Done::Backward => '◀',
        };
        let open = if node.can_open { "+" } else { " " };
        let out = node.outputs.first().map_or(String::new(), |port| {
            let name = trace.values.get(port.slot).map_or(&port.name, |value| &value.name);
            let time = node.time.map_or(String::new(), |time| format!(" t{time}"));
            if *name == node.op { time } else { format!(" → {name}{time}") }
        });
        let start = app.look.text(&format!("{sign}{open}{index:>3} "));
        let out = app.look.text(&out);
        // What comes out is told in full before the op is.
        let room = width.saturating_sub(look::width(&start) + look::width(&out));
        let op = look::cut(&node.op, room.max(OP));
        let text = look::pad(&look::cut(&format!("{start}{op}{out}"), width), width);
        let style = match done[index] {
            _ if current == Some(index) => app.look.here(),
            Done::Not => app.look.faint(),
            Done::Forward => Style::new(),
            Done::Backward => app.look.right(),
        };
        Line::styled(text, style)
    };
    trace.nodes.iter().enumerate().skip(first).take(rows).map(line).collect()
}
