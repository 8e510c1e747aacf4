//! The screens.

pub mod graph;
pub mod node;
pub mod numbers;
pub mod pages;
pub(crate) mod sum;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget};
use unspool_trace::Step;

use crate::app::{App, Screen};
use crate::look;
use crate::names;

/// A smaller screen says that it is too small.
pub const SMALLEST: (u16, u16) = (60, 16);

/// Draws the state onto a whole screen.
pub fn draw(app: &App, buffer: &mut Buffer) {
    let area = buffer.area;
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let told = format!(
            "{}x{} is too small: make it {}x{} (q leaves)",
            area.width, area.height, SMALLEST.0, SMALLEST.1
        );
        let lines = look::wrap(&told, usize::from(area.width), 0);
        Paragraph::new(lines.join("\n")).render(area, buffer);
        return;
    }
    let [head, body, foot, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    title(app, area.width).render(head, buffer);
    match app.screen {
        Screen::Walk => {
            let [left, right] = columns(body);
            graph::draw(app, buffer, left);
            node::draw(app, buffer, right);
        }
        _ => pages::draw(app, buffer, body),
    }
    message(app).render(foot, buffer);
    Line::styled(keys_of(app, area.width), app.look.faint()).render(keys, buffer);
    app.look.finish(buffer);
}

/// The graph on the left, the node on the right.
fn columns(body: Rect) -> [Rect; 2] {
    let left = (body.width * 3 / 10).clamp(24, 44);
    Layout::horizontal([Constraint::Length(left), Constraint::Min(1)]).areas(body)
}

/// What the frames and lines around the body take.
const AROUND: (u16, u16) = (4, 5);

/// The columns and rows of text in the pane that scrolls.
pub(crate) fn pane(app: &App) -> (usize, usize) {
    let (width, height) = (app.size.0.max(SMALLEST.0), app.size.1.max(SMALLEST.1));
    let width = match app.screen {
        Screen::Walk => columns(Rect::new(0, 0, width, height))[1].width,
        _ => width,
    };
    (usize::from(width - AROUND.0), usize::from(height - AROUND.1))
}

/// How many lines the pane can be scrolled.
pub fn overflow(app: &App) -> usize {
    let (width, rows) = pane(app);
    let count = match &app.screen {
        Screen::Walk => node::build(app, width).lines.len(),
        screen => pages::lines(app, screen, width).len(),
    };
    count.saturating_sub(rows)
}

/// Scrolling lines in a frame; beneath it is said what is chosen, in so many columns, and when there
/// are more.
pub(crate) fn draw_pane(
    app: &App,
    buffer: &mut Buffer,
    area: Rect,
    title: &str,
    chosen: impl Fn(usize) -> Option<String>,
    lines: Vec<Line<'static>>,
) {
    let rows = usize::from(area.height.saturating_sub(2));
    let scroll = app.scroll.min(lines.len().saturating_sub(rows));
    let below = lines.len().saturating_sub(rows + scroll);
    let mut block = Block::bordered().title(format!(" {} ", app.look.text(title)));
    let more = match (scroll, below) {
        (0, 0) => String::new(),
        (0, below) => format!(" {below} more: down "),
        (_, 0) => " more above: up ".into(),
        (_, below) => format!(" more above, {below} below "),
    };
    let room = usize::from(area.width).saturating_sub(look::width(&more) + 5);
    if let Some(chosen) = chosen(room) {
        block = block.title_bottom(format!(" {} ", look::cut(&app.look.text(&chosen), room)));
    }
    block = block.title_bottom(Line::from(more).right_aligned());
    let shown: Vec<Line<'static>> = lines.into_iter().skip(scroll).take(rows).collect();
    let inside = block.inner(area);
    block.render(area, buffer);
    let padded = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    Paragraph::new(shown).render(padded, buffer);
}

fn title(app: &App, width: u16) -> Line<'static> {
    let trace = app.root();
    let (mut title, mut right) = (String::new(), String::new());
    // Behind the list of lessons there is none yet.
    if !matches!(app.screen, Screen::Lessons(_)) {
        title = match app.lesson.traces.len() {
            1 => app.lesson.title.clone(),
            count => format!("{}/{count} {}", app.place.trace + 1, trace.title),
        };
        if let Some(loss) = trace.loss {
            right += &format!("{} {}", names::result(trace), look::size(loss));
        }
        if let Some(quiz) = &app.quiz {
            let (points, all) = quiz.score();
            right += &format!("  quiz {points}/{all}");
        }
        if !app.changes.is_empty() {
            right += "  changed";
        }
    }
    let right = app.look.text(&right);
    let (width, taken) = (usize::from(width), look::width(&right) + 2);
    let room = width.saturating_sub(taken);
    let name = " unspool step";
    let whole = if title.is_empty() { name.into() } else { format!("{name} │ {title}") };
    let (whole, title) = (app.look.text(&whole), app.look.text(&format!(" {title}")));
    // Which program it is, is known.
    let text = if look::width(&whole) > room { title } else { whole };
    let left = look::pad(&look::cut(&text, room), room);
    Line::styled(format!("{left} {right} "), app.look.here())
}

fn message(app: &App) -> Line<'static> {
    let width = usize::from(app.size.0).saturating_sub(2);
    match &app.prompt {
        Some(prompt) => {
            // What is typed is seen, however long the question.
            let typed = look::tail(&prompt.text, width.saturating_sub(10));
            let question = app.look.text(&prompt.question(app));
            let question = look::cut(&question, width.saturating_sub(look::width(&typed) + 1));
            Line::from(vec![
                Span::raw(" "),
                Span::styled(question, app.look.heading()),
                Span::raw(typed),
                Span::styled(" ", app.look.here()),
            ])
        }
        None => {
            let style = match &app.message {
                text if text.starts_with("right:") => app.look.right(),
                text if text.starts_with("wrong:") => app.look.wrong(),
                _ => app.look.heading(),
            };
            Line::styled(format!(" {}", look::cut(&app.look.text(&app.message), width)), style)
        }
    }
}

/// The keys that are of use here, as many as there is room for; that of the help is always there.
fn keys_of(app: &App, width: u16) -> String {
    let width = usize::from(width);
    let (keys, last): (Vec<&str>, &str) = match (&app.prompt, &app.screen) {
        (Some(_), _) => (vec!["enter does it", "esc leaves it"], ""),
        (_, Screen::Lessons(_)) => {
            (vec!["up down choose", "enter opens", "esc back", "q quits"], "")
        }
        (_, Screen::Walk) => {
            let opens = app.node().is_some_and(|(_, node)| node.opened.is_some());
            let within = !app.place.path.is_empty();
            let mut keys = Vec::new();
            if app.quiz.is_some() {
                keys.extend(app.has_question().then_some("enter guess"));
                keys.extend(app.has_hint().then_some("y hint"));
            }
            keys.extend(["n next", "b back"]);
            // What is inside tells the answer.
            keys.extend((opens && !app.has_question()).then_some("i in"));
            keys.extend(within.then_some("o out"));
            keys.extend((app.lesson.traces.len() > 1 && !within).then_some("x other"));
            match app.quiz.is_some() {
                true => keys.extend(["z end", "w what-if", "t text"]),
                false => keys.extend(["t text", "p weights", "w what-if", "c check", "z quiz"]),
            }
            let last = "? keys";
            let is_wide = |keys: &[&str]| {
                keys.iter().map(|key| key.len() + 2).sum::<usize>() + last.len() + 1 > width
            };
            if is_wide(&keys) {
                keys.retain(|key| *key != "b back");
                keys.iter_mut().filter(|key| **key == "n next").for_each(|key| *key = "n/b step");
            }
            if is_wide(&keys) {
                keys.retain(|key| *key != "p weights");
            }
            (keys, last)
        }
        _ => (vec!["up down scroll", "esc back", "any other key: back, and what it does"], ""),
    };
    let mut line = String::new();
    for key in keys {
        if look::width(&line) + key.len() + last.len() + 3 <= width {
            line += &format!(" {key} ");
        }
    }
    look::cut(&format!("{line} {last}"), width)
}

/// Where one is, in words: `step 3 of 12, backward`.
pub(crate) fn place(app: &App) -> String {
    let pass = match app.current() {
        Step::Forward(_) => "forward",
        Step::Backward(_) => "backward",
        Step::Update => "update",
    };
    format!("{} {}/{}", pass, app.place.step + 1, app.trace().steps.len())
}

/// The screen, drawn into memory.
pub fn buffer(app: &App) -> Buffer {
    let (columns, rows) = app.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    draw(app, &mut buffer);
    buffer
}

/// The screen as text: a line for each row, without blanks at their ends.
pub fn text(app: &App) -> String {
    let buffer = buffer(app);
    let width = usize::from(buffer.area.width).max(1);
    let mut out = String::new();
    for row in buffer.content.chunks(width) {
        let (mut line, mut at) = (String::new(), 0);
        while let Some(cell) = row.get(at) {
            line.push_str(cell.symbol());
            // A wide character covers the cells behind it.
            at += look::width(cell.symbol()).max(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
