//! Arrays as lines of numbers.

use ratatui::text::{Line, Span};
use unspool_trace::Array;
use unspool_trace::array::{Content, Summary};

use crate::look::{Look, number, size};
use crate::names::place;

/// The columns of a number with what stands around it.
const CELL: usize = 11;

/// More lines of numbers are not shown.
const LINES: usize = 64;

/// What marks the number under the cursor.
pub(crate) const CURSOR: char = '›';

/// A shape as it is written: `[2, 3]`.
pub fn shape(shape: &[usize]) -> String {
    let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
    if lengths.is_empty() { String::new() } else { format!("[{}]", lengths.join(", ")) }
}

/// Whether two numbers are the same; one that is none is the same as another.
pub(crate) fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
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
        Content::Summary(summary) => summarised(look, summary, array.len(), width),
    }
}

/// What is known of a large array.
fn summarised(look: Look, summary: &Summary, count: usize, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if summary.not_finite < count {
        lines.push(Line::from(format!(
            "  {} to {}, mean {}",
            number(summary.least),
            number(summary.largest),
            number(summary.mean)
        )));
    }
    if summary.not_finite > 0 {
        let told = format!("  {} of {count} numbers are not finite", summary.not_finite);
        lines.push(Line::styled(told, look.wrong()));
    }
    let zeros = match summary.zeros {
        0 => String::new(),
        zeros => format!("; {zeros} of {count} are exactly 0"),
    };
    lines.push(Line::styled(format!("  norm {}{zeros}", size(summary.norm)), look.faint()));
    let histogram = look.text(&bars(&summary.histogram));
    let told = format!("  how many, from the smallest to the largest: {histogram}");
    lines.push(Line::styled(told, look.faint()));
    let [down, across] = summary.grid;
    lines.push(Line::styled(format!("  means of {down}×{across} blocks:"), look.faint()));
    lines.extend(rows(look, &summary.grid, &summary.blocks, None, None, width));
    for row in &summary.rows {
        lines.push(Line::styled(format!("  row {}, exactly:", row.row), look.faint()));
        lines.extend(rows(look, &[row.numbers.len()], &row.numbers, None, None, width));
    }
    lines
}

/// A histogram in a line.
fn bars(counts: &[usize]) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = counts.iter().copied().max().unwrap_or(0).max(1);
    // Something is more than nothing.
    counts.iter().map(|&count| HEIGHTS[(count * 8).div_ceil(top).min(8)]).collect()
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
    let count = numbers.len().div_ceil(columns);
    let labelled = shape.len() > 1 && count > 1;
    // A row is named by its place in the axes before the last.
    let before_last = shape.get(..shape.len().saturating_sub(1)).unwrap_or_default();
    let name = |row| place(before_last, row).trim_matches(['[', ']']).to_owned();
    let digits = if labelled { name(count - 1).len() } else { 0 };
    let label = if labelled { digits + 2 } else { 2 };
    let across = (width.saturating_sub(label) / CELL).max(1);
    // A row is broken into so many lines.
    let broken = columns.div_ceil(across);
    let here = cursor.map_or(0, |at| at / columns * broken + at % columns / across);
    let first = if here < LINES { 0 } else { here - LINES / 2 };
    let more = |told: &'static str| Line::styled(told, look.faint());
    let mut lines = Vec::new();
    lines.extend((first > 0).then(|| more("  … and more above")));
    for line in (first..count * broken).take(LINES) {
        let row = line / broken;
        let start = row * columns + line % broken * across;
        let end = (start + across).min((row + 1) * columns).min(numbers.len());
        let name = match labelled && line % broken == 0 {
            true => format!("{:>digits$}│ ", name(row)),
            false => " ".repeat(label),
        };
        let mut spans = vec![Span::styled(name, look.faint())];
        for at in start..end {
            let x = numbers[at];
            let here = cursor == Some(at);
            let open = if here { CURSOR } else { ' ' };
            // The 0 stands above the units of the others.
            let shown = if x == 0.0 { "0     ".into() } else { number(x) };
            let text = format!("{open}{shown:>8}{} ", look.size(x, top));
            let style = look.number(x, top);
            spans.push(Span::styled(text, if here { style.patch(look.here()) } else { style }));
        }
        lines.push(Line::from(spans));
        let moved = |before: &&[f64]| (start..end).any(|at| !same(numbers[at], before[at]));
        if let Some(before) = before.filter(moved) {
            let mut spans = vec![Span::raw(" ".repeat(label - 1)), Span::raw("Δ")];
            for at in start..end {
                let by = numbers[at] - before[at];
                let shown = if by == 0.0 { "0     ".into() } else { number(by) };
                spans.push(Span::styled(format!(" {shown:>8}  "), look.heading()));
            }
            lines.push(Line::from(spans));
        }
    }
    lines.extend((count * broken > first + LINES).then(|| more("  … and more")));
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

#[cfg(test)]
mod tests {
    use unspool_trace::array::Row;

    use super::*;

    const LOOK: Look = Look { colour: false, ascii: false };

    fn text(array: &Array, cursor: Option<usize>) -> String {
        let lines = lines(LOOK, array, None, cursor, 60);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn of_a_large_array_the_rows_and_what_is_not_finite_are_told() {
        let summary = Summary {
            least: -1.0,
            largest: 2.0,
            mean: 0.5,
            norm: f64::NAN,
            zeros: 7,
            not_finite: 1,
            blocks: vec![0.25; 4],
            grid: [2, 2],
            histogram: vec![0, 1, 8],
            rows: vec![Row { row: 3, numbers: vec![0.0, f64::NAN] }],
        };
        let of =
            |summary| Array { shape: vec![4, 2], content: Content::Summary(Box::new(summary)) };
        let told = text(&of(summary.clone()), None);
        for wanted in [
            "-1.0000 to +2.0000",
            "1 of 8 numbers are not finite",
            "7 of 8 are exactly 0",
            " ▁█",
            "row 3",
        ] {
            assert!(told.contains(wanted), "no {wanted:?} in\n{told}");
        }
        // Without a finite number there are no extremes.
        let none = Summary { least: f64::INFINITY, not_finite: 8, ..summary };
        assert!(!text(&of(none), None).contains("mean "));
    }

    #[test]
    fn rows_are_named_by_their_place_in_all_axes_but_the_last() {
        let of = |shape: &[usize]| {
            let numbers = vec![1.0; shape.iter().product()];
            text(&Array { shape: shape.into(), content: Content::Numbers(numbers) }, None)
        };
        let told = of(&[2, 3, 2]);
        assert!(told.starts_with("0,0│ ") && told.contains("\n1,2│ "), "{told}");
        let told = of(&[11, 2]);
        assert!(told.starts_with(" 0│ ") && told.contains("\n10│ "), "{told}");
        assert!(!of(&[3]).contains('│') && !of(&[1, 3]).contains('│'));
    }

    #[test]
    fn the_cursor_is_shown_however_far_down_it_is() {
        let numbers: Vec<f64> = (0..400).map(f64::from).collect();
        let array = Array { shape: vec![200, 2], content: Content::Numbers(numbers) };
        for cursor in [0, 126, 127, 128, 129, 300, 399] {
            let told = text(&array, Some(cursor));
            let wanted = format!("›{:>8}", number(cursor as f64));
            let wanted = if cursor == 0 { "›  0".into() } else { wanted };
            assert!(told.contains(&wanted), "no {wanted:?} in\n{told}");
            assert!(told.lines().count() <= LINES + 2);
        }
    }
}
