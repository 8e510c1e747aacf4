//! Arrays as lines of numbers.

use ratatui::text::{Line, Span};
use unspool_trace::Array;
use unspool_trace::array::Content;

use crate::look::{Look, number};

/// The columns of a number with what stands around it.
const CELL: usize = 11;

/// More rows of numbers are not shown.
const ROWS: usize = 64;

/// A shape as it is written: `[2×3]`.
pub fn shape(shape: &[usize]) -> String {
    let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
    if lengths.is_empty() { String::new() } else { format!("[{}]", lengths.join("×")) }
}

/// The numbers of an array, row by row, with the one under the cursor marked, and beneath each row how
/// much its numbers changed, if they did.
pub fn lines(
    look: Look,
    array: &Array,
    before: Option<&Array>,
    cursor: Option<usize>,
    width: usize,
) -> Vec<Line<'static>> {
    match &array.content {
        Content::Numbers(numbers) => {
            let before = before.and_then(Array::numbers).filter(|all| all.len() == numbers.len());
            rows(look, &array.shape, numbers, before, cursor, width)
        }
        Content::Summary(summary) => {
            let [rows, columns] = summary.grid;
            let mut lines = vec![
                Line::from(format!(
                    "  {} to {}, mean {}",
                    number(summary.least),
                    number(summary.largest),
                    number(summary.mean)
                )),
                Line::styled(
                    format!("  norm {}; means of {rows}×{columns} blocks:", number(summary.norm)),
                    look.faint(),
                ),
            ];
            let shape = [rows, columns];
            lines.extend(self::rows(look, &shape, &summary.blocks, None, None, width));
            lines
        }
    }
}

fn rows(
    look: Look,
    shape: &[usize],
    numbers: &[f64],
    before: Option<&[f64]>,
    cursor: Option<usize>,
    width: usize,
) -> Vec<Line<'static>> {
    let top = numbers.iter().filter(|x| x.is_finite()).fold(0.0_f64, |top, x| top.max(x.abs()));
    let columns = shape.last().copied().unwrap_or(1).max(1);
    let labelled = shape.len() > 1 && numbers.len() > columns;
    let digits = (numbers.len() / columns).to_string().len();
    let label = if labelled { digits + 2 } else { 2 };
    let across = (width.saturating_sub(label) / CELL).max(1);
    let mut lines = Vec::new();
    for (row, start) in (0..numbers.len()).step_by(columns).enumerate() {
        for first in (start..(start + columns).min(numbers.len())).step_by(across) {
            let end = (first + across).min(start + columns).min(numbers.len());
            let name = match labelled && first == start {
                true => format!("{row:>digits$}│ "),
                false => " ".repeat(label),
            };
            let mut spans = vec![Span::styled(name, look.faint())];
            for at in first..end {
                let x = numbers[at];
                let here = cursor == Some(at);
                let open = if here { '›' } else { ' ' };
                let text = format!("{open}{:>8}{} ", number(x), look.size(x, top));
                let style = look.number(x, top);
                spans.push(Span::styled(text, if here { style.patch(look.here()) } else { style }));
            }
            lines.push(Line::from(spans));
            let moved = before.filter(|before| numbers[first..end] != before[first..end]);
            if let Some(before) = moved {
                let mut spans = vec![Span::raw(" ".repeat(label - 1)), Span::raw("Δ")];
                for at in first..end {
                    let by = numbers[at] - before[at];
                    let text = format!(" {:>8}  ", number(by));
                    spans.push(Span::styled(text, look.heading()));
                }
                lines.push(Line::from(spans));
            }
            if lines.len() >= ROWS {
                lines.push(Line::styled("  … and more", look.faint()));
                return lines;
            }
        }
    }
    lines
}

/// A bar for a number of a series whose largest is `top`.
pub fn bar(x: f64, top: f64, width: usize) -> String {
    let share = x.abs() / top;
    let filled = if share.is_finite() { (share * width as f64).round() as usize } else { 0 };
    let filled = filled.min(width);
    // Something is more than nothing.
    let filled = if x != 0.0 && filled == 0 { "▪".into() } else { "█".repeat(filled) };
    format!("{filled:width$}")
}
