//! The graph of a computation, forward and with the gradients that flow back.

use unspool_trace::graph::{Box, Edge, Graph, Kind};

use super::picture::{Anchor, Fill, LineStyle, Picture, TextStyle};
use super::route::{Column, Point, Router};
use super::text;
use super::theme::{self, LABEL_SIZE, MARGIN, Rgb, SMALL_SIZE};

/// Forward: boxes and edges.
const FORWARD: Rgb = [0, 96, 150];
/// Backward: gradients. Dark enough for small text on white.
const BACKWARD: Rgb = [168, 70, 0];
/// The ground of ops, of values from outside, and of parameters.
const GROUNDS: [Rgb; 3] = [[236, 243, 250], [255, 255, 255], [244, 242, 236]];
/// The ground of every other time step.
const STEP: Rgb = [246, 247, 248];
/// Within a box, left and right of its text.
const PADDING: f64 = 10.0;
/// Between two columns: room for the letters of the ports.
const COLUMN_GAP: f64 = 46.0;
/// Between two boxes above each other.
const LEVEL_GAP: f64 = 12.0;
/// Between two rows: room for their names.
const ROW_GAP: f64 = 26.0;
/// The widest box.
const WIDEST: f64 = 230.0;
/// The height that the letter of a port takes.
const PORT_HEIGHT: f64 = 11.5;
/// Boxes with more inputs do not show their letters.
const MOST_PORTS: usize = 8;
/// Where everything is.
struct Layout {
    width: f64,
    height: f64,
    left: f64,
    tops: Vec<f64>,
    lines: usize,
    text_height: f64,
}

impl Layout {
    fn new(graph: &Graph, gradients: bool, top: f64) -> Self {
        let widest = |one: &Box| {
            let small = [Some(&one.value), one.gradient.as_ref().filter(|_| gradients)];
            let small = small.into_iter().flatten().map(|text| text::width(text, SMALL_SIZE));
            small.fold(text::width(&one.name, LABEL_SIZE), f64::max)
        };
        let text_width = graph.boxes.iter().map(widest).fold(40.0, f64::max);
        let lines = if gradients { 3 } else { 2 };
        let text_height = 12.0 + LABEL_SIZE * 1.3 + (lines - 1) as f64 * SMALL_SIZE * 1.35;
        // So tall that the letters of all inputs have room, unless they are very many.
        let inputs = graph.edges.iter().map(|edge| edge.input[1].min(MOST_PORTS));
        let of_ports = (inputs.max().unwrap_or(0) + 1) as f64 * PORT_HEIGHT;
        let height = text_height.max(of_ports);
        let names = graph.rows.iter().map(|row| text::width(&row.name, SMALL_SIZE));
        let left = MARGIN + names.fold(0.0, f64::max).min(WIDEST) + 2.0 * PADDING;
        let mut next = top + if graph.steps.is_empty() { 0.0 } else { 22.0 };
        let tops = graph.rows.iter().map(|row| {
            let top = next;
            if row.levels > 0 {
                next += row.levels as f64 * (height + LEVEL_GAP) - LEVEL_GAP + ROW_GAP;
            }
            top
        });
        let tops = tops.collect();
        Layout {
            width: text_width.min(WIDEST) + 2.0 * PADDING,
            height,
            left,
            tops,
            lines,
            text_height,
        }
    }

    fn column(&self, column: usize) -> f64 {
        self.left + column as f64 * (self.width + COLUMN_GAP)
    }

    fn corner(&self, one: &Box) -> (f64, f64) {
        let top = self.tops.get(one.row).copied().unwrap_or(0.0);
        (self.column(one.column), top + one.level as f64 * (self.height + LEVEL_GAP))
    }
}

/// Draws a graph; with the gradients of all values, and how much flows along each edge, if wanted.
pub fn computation(graph: &Graph, gradients: bool) -> Picture {
    let top = MARGIN + theme::TITLE_SIZE * theme::LINE_HEIGHT + theme::TITLE_GAP;
    let layout = Layout::new(graph, gradients, top);
    let end = layout.column(graph.columns.max(1)) - COLUMN_GAP + MARGIN;
    let last = graph.boxes.iter().map(|one| layout.corner(one).1).fold(top, f64::max);
    let legend_y = last + layout.height + 24.0;
    let legend = Legend::new(gradients);
    let width = end.max(legend.width() + 2.0 * MARGIN);
    let mut picture = Picture::new(width, legend_y + 12.0 + MARGIN, &graph.title);
    let title = text::shorten(&text::clean(&graph.title), theme::TITLE_SIZE, width - 2.0 * MARGIN);
    let style = TextStyle::new(theme::TITLE_SIZE, theme::INK);
    picture.text(MARGIN, MARGIN + theme::TITLE_SIZE / 2.0, &title, style);
    let muted = TextStyle::new(SMALL_SIZE, theme::MUTED_INK);
    for step in &graph.steps {
        let x = layout.column(step.column) - COLUMN_GAP / 2.0;
        let across = step.columns as f64 * (layout.width + COLUMN_GAP);
        if step.time % 2 == 1 {
            let below = legend_y - 14.0 - top;
            picture.rectangle(x, top, across, below, Fill::Colour(STEP), None);
        }
        let label = format!("t = {}", step.time);
        picture.text(x + across / 2.0, top + 8.0, &label, muted.anchor(Anchor::Middle));
    }
    for (row, &y) in graph.rows.iter().zip(&layout.tops) {
        let name = text::shorten(&text::clean(&row.name), SMALL_SIZE, WIDEST);
        picture.text(MARGIN, y + layout.height / 2.0, &name, muted);
    }
    let most = graph.edges.iter().filter_map(|edge| edge.gradient).fold(0.0, f64::max);
    for (edge, way) in graph.edges.iter().zip(ways(graph, &layout)) {
        draw_edge(&mut picture, edge, &way, gradients.then_some(most));
    }
    for one in &graph.boxes {
        draw_box(&mut picture, &layout, one, gradients);
    }
    legend.draw(&mut picture, legend_y);
    picture
}

/// The way of each edge; none for one between boxes that are not there.
fn ways(graph: &Graph, layout: &Layout) -> Vec<Vec<Point>> {
    let column = |column: usize| {
        let boxes = graph.boxes.iter().filter(|one| one.column == column);
        let boxes = boxes.map(|one| layout.corner(one).1).map(|top| [top, top + layout.height]);
        let left = layout.column(column);
        Column { sides: [left, left + layout.width], boxes: boxes.collect() }
    };
    let columns: Vec<Column> = (0..graph.columns).map(column).collect();
    let tops = graph.boxes.iter().map(|one| layout.corner(one).1);
    let (first, last) =
        tops.fold((f64::INFINITY, 0.0_f64), |(first, last), top| (first.min(top), last.max(top)));
    let mut router = Router::new(columns, [first - 10.0, last + layout.height + 10.0]);
    let way = |edge: &Edge| {
        let (Some(from), Some(to)) = (graph.boxes.get(edge.from), graph.boxes.get(edge.to)) else {
            return Vec::new();
        };
        let (start, end) = (layout.corner(from), layout.corner(to));
        // Inputs arrive one beneath the other.
        let [input, of] = edge.input.map(|number| number as f64);
        let share = (input + 1.0) / (of + 1.0);
        let side = if from.column < to.column { layout.width } else { 0.0 };
        let start = (start.0 + side, start.1 + layout.height / 2.0);
        let end = (end.0, end.1 + layout.height * share);
        let out = COLUMN_GAP * (0.25 + 0.5 * share);
        router.way(edge.from, (start, from.column), (end, to.column), out)
    };
    graph.edges.iter().map(way).collect()
}

fn draw_edge(picture: &mut Picture, edge: &Edge, way: &[Point], most: Option<f64>) {
    let (Some(&(x1, y1)), Some(&(x2, y2)), Some(&(next, _))) =
        (way.first(), way.last(), way.get(1))
    else {
        return;
    };
    let (colour, width, opacity) = match (most, edge.gradient) {
        (None, _) => (FORWARD, 1.2, 0.8),
        (Some(_), None) => (theme::FRAME, 1.0, 1.0),
        // By orders of magnitude, as gradients differ by them.
        (Some(most), Some(norm)) => {
            let share = if norm > 0.0 { 1.0 + (norm / most).log10() / 4.0 } else { 0.0 };
            let share = share.clamp(0.0, 1.0);
            (BACKWARD, 1.0 + 3.0 * share, 0.3 + 0.6 * share)
        }
    };
    picture.line(way, LineStyle { colour, width, opacity, dashes: "" });
    // The arrow points the way the numbers go: forward values, backward gradients.
    let tip =
        |x: f64, y: f64, way: f64| [(x - way * 6.0, y - 3.5), (x, y), (x - way * 6.0, y + 3.5)];
    let arrow = LineStyle { colour, width: 1.4, opacity: 1.0, dashes: "" };
    match (most, edge.gradient) {
        (Some(_), Some(_)) if next > x1 => picture.line(&tip(x1 + 1.0, y1, -1.0), arrow),
        (Some(_), Some(_)) => picture.line(&tip(x1 - 1.0, y1, 1.0), arrow),
        _ => picture.line(&tip(x2 - 1.0, y2, 1.0), arrow),
    }
    let small = TextStyle::new(SMALL_SIZE - 2.0, theme::MUTED_INK).anchor(Anchor::End);
    let port = text::clean(&edge.port);
    // A letter has room between two columns, a longer name has not.
    if edge.input[1] <= MOST_PORTS && text::width(&port, small.size) <= COLUMN_GAP - 24.0 {
        picture.text(x2 - 8.0, y2 - 6.0, &port, small);
    }
}

fn draw_box(picture: &mut Picture, layout: &Layout, one: &Box, gradients: bool) {
    let (x, y) = layout.corner(one);
    let (width, height) = (layout.width, layout.height);
    let [ground, frames] = match one.kind {
        Kind::Op => [0, 1],
        Kind::Fused | Kind::Last => [0, 2],
        Kind::Input | Kind::Constant => [1, 1],
        Kind::Parameter => [2, 2],
    };
    picture.rectangle(x, y, width, height, Fill::Colour(GROUNDS[ground]), Some(&one.name));
    let colour = if one.kind == Kind::Last { BACKWARD } else { theme::MUTED_INK };
    let outline = |inset: f64| {
        let (left, right) = (x + inset, x + width - inset);
        let (top, bottom) = (y + inset, y + height - inset);
        [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    };
    let dashes = if one.kind == Kind::Constant { "4 3" } else { "" };
    for frame in 0..frames {
        let style = LineStyle { dashes, ..LineStyle::new(1.0, colour) };
        picture.line(&outline(3.0 * frame as f64), style);
    }
    let limit = width - 2.0 * PADDING + 6.0;
    let middle = x + width / 2.0;
    let mut line = y + (height - layout.text_height) / 2.0 + 6.0 + LABEL_SIZE * 0.65;
    let mut write = |content: &str, size: f64, colour: Rgb, next: f64| {
        let shown = text::shorten(&text::clean(content), size, limit);
        picture.text(middle, line, &shown, TextStyle::new(size, colour).anchor(Anchor::Middle));
        line += next;
    };
    write(&one.name, LABEL_SIZE, theme::INK, LABEL_SIZE * 0.65 + SMALL_SIZE * 0.68);
    write(&one.value, SMALL_SIZE, theme::MUTED_INK, SMALL_SIZE * 1.35);
    if let (true, Some(gradient)) = (gradients && layout.lines > 2, &one.gradient) {
        write(gradient, SMALL_SIZE, BACKWARD, 0.0);
    }
}

/// What the looks mean, in a line beneath.
struct Legend {
    entries: Vec<(&'static str, Rgb)>,
}

impl Legend {
    fn new(gradients: bool) -> Self {
        let mut entries = vec![
            ("double frame: fused op or parameter", theme::MUTED_INK),
            ("dashed: no gradient is wanted", theme::MUTED_INK),
        ];
        match gradients {
            true => entries.push(("lines: gradients, thicker where they are larger", BACKWARD)),
            false => entries.push(("lines: values, by the letter of the formula", FORWARD)),
        }
        Legend { entries }
    }

    fn width(&self) -> f64 {
        let widths = self.entries.iter().map(|(text, _)| text::width(text, SMALL_SIZE));
        widths.sum::<f64>() + theme::LEGEND_GAP * (self.entries.len() - 1) as f64
    }

    fn draw(&self, picture: &mut Picture, y: f64) {
        let mut x = MARGIN;
        for &(content, colour) in &self.entries {
            picture.text(x, y, content, TextStyle::new(SMALL_SIZE, colour));
            x += text::width(content, SMALL_SIZE) + theme::LEGEND_GAP;
        }
    }
}

#[cfg(test)]
mod tests {
    use unspool_trace::lessons::LESSONS;

    use super::super::picture::checks::check_picture;
    use super::*;

    /// No edge passes over or under a box, and each ends where it should.
    fn check_ways(graph: &Graph) {
        for gradients in [false, true] {
            let layout = Layout::new(graph, gradients, 0.0);
            let ways = ways(graph, &layout);
            assert_eq!(ways.len(), graph.edges.len());
            for (edge, way) in graph.edges.iter().zip(ways) {
                let end = layout.corner(&graph.boxes[edge.to]);
                assert_eq!(way.last().unwrap().0, end.0);
                let within = |one: &Box, (x, y): Point| {
                    let (left, top) = layout.corner(one);
                    (left + 0.5..left + layout.width - 0.5).contains(&x)
                        && (top + 0.5..top + layout.height - 0.5).contains(&y)
                };
                for (number, one) in graph.boxes.iter().enumerate() {
                    let through = way.windows(2).flat_map(|ends| {
                        let [(x1, y1), (x2, y2)] = [ends[0], ends[1]];
                        (0..=8).map(move |k| {
                            let share = f64::from(k) / 8.0;
                            (x1 + (x2 - x1) * share, y1 + (y2 - y1) * share)
                        })
                    });
                    let met = through.into_iter().find(|&point| within(one, point));
                    assert!(met.is_none(), "{edge:?} meets box {number}, {}: {met:?}", one.name);
                }
            }
        }
    }

    #[test]
    fn every_lesson_is_a_picture_whose_text_stays_in_its_boxes() {
        for listed in LESSONS {
            for trace in &listed.lesson().unwrap().traces {
                let graph = Graph::of(trace);
                check_ways(&graph);
                for gradients in [false, true] {
                    let picture = computation(&graph, gradients);
                    let svg = check_picture(&picture);
                    for one in &graph.boxes {
                        let name = text::clean(&one.name);
                        assert!(text::width(&name, LABEL_SIZE) <= WIDEST + 6.0, "{name}");
                    }
                    assert_eq!(svg.contains("gradients, thicker"), gradients);
                    assert!(svg.matches("<rect").count() > graph.boxes.len());
                }
            }
        }
    }
}
