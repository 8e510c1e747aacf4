//! The screens.

pub mod graph;
pub mod node;
pub mod numbers;
pub mod pages;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget};
use unspool_trace::Step;

use crate::app::{App, Screen};
use crate::look;

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

/// Scrolling lines in a frame; beneath it is said when there are more.
pub(crate) fn draw_pane(
    app: &App,
    buffer: &mut Buffer,
    area: Rect,
    title: &str,
    lines: Vec<Line<'static>>,
) {
    let rows = usize::from(area.height.saturating_sub(2));
    let scroll = app.scroll.min(lines.len().saturating_sub(rows));
    let below = lines.len().saturating_sub(rows + scroll);
    let mut block = Block::bordered().title(format!(" {} ", app.look.text(title)));
    if scroll + below > 0 {
        let more = format!(" {scroll} above, {below} below: down ");
        block = block.title_bottom(Line::from(more).right_aligned());
    }
    let shown: Vec<Line<'static>> = lines.into_iter().skip(scroll).take(rows).collect();
    let inside = block.inner(area);
    block.render(area, buffer);
    let padded = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    Paragraph::new(shown).render(padded, buffer);
}

fn title(app: &App, width: u16) -> Line<'static> {
    let trace = app.root();
    let mut text = format!(" unspool step │ {}", app.lesson.title);
    if app.lesson.traces.len() > 1 {
        text +=
            &format!(" │ {} of {}: {}", app.place.trace + 1, app.lesson.traces.len(), trace.title);
    }
    let mut right = String::new();
    if let Some(loss) = trace.loss {
        right += &format!("loss {}", look::size(loss));
    }
    if let Some(quiz) = &app.quiz {
        let (good, all) = quiz.score();
        right += &format!("  quiz {good}/{all}");
    }
    if !app.changes.is_empty() {
        right += "  changed";
    }
    let (width, taken) = (usize::from(width), right.chars().count() + 2);
    let left = look::cut(&app.look.text(&text), width.saturating_sub(taken));
    let gap = width.saturating_sub(left.chars().count() + taken - 1);
    Line::styled(format!("{left}{:gap$}{right} ", ""), app.look.here())
}

fn message(app: &App) -> Line<'static> {
    let width = usize::from(app.size.0).saturating_sub(2);
    match &app.prompt {
        Some(prompt) => {
            let question = app.look.text(&prompt.question(app));
            // What is typed is seen, however long the question.
            let typed = prompt.text.chars().count() + 1;
            let question = look::cut(&question, width.saturating_sub(typed));
            Line::from(vec![
                Span::raw(" "),
                Span::styled(question, app.look.heading()),
                Span::raw(prompt.text.clone()),
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

fn keys_of(app: &App, width: u16) -> String {
    let text = match (&app.prompt, &app.screen) {
        (Some(_), _) => " enter does it   esc leaves it",
        (_, Screen::Lessons(_)) => " up down choose   enter opens   esc back   q quits",
        (_, Screen::Walk) if app.quiz.is_some() => {
            " enter guess   y hint   n next   b back   w what-if   z end   ? help   q quit"
        }
        (_, Screen::Walk) => {
            " n next  b back  i in  o out  g backward  w what-if  c check  z quiz  ? keys"
        }
        _ => " up down scroll   any other key goes back",
    };
    look::cut(text, usize::from(width))
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
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
