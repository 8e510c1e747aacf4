//! The graph of a computation, forward and with the gradients that flow back.

use unspool_trace::graph::{Box, Edge, Graph, Held, Kind};

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
/// Between two columns.
const COLUMN_GAP: f64 = 46.0;
/// Between two boxes above each other.
const LEVEL_GAP: f64 = 12.0;
/// Between two rows: room for their names.
const ROW_GAP: f64 = 26.0;
/// The widest text of a box.
const WIDEST: f64 = 230.0;
/// The size of the letters of the ports.
const PORT_SIZE: f64 = SMALL_SIZE - 2.0;
/// The height that the letter of a port takes, and the widest of them.
const PORT: [f64; 2] = [11.5, 70.0];
/// Boxes with more inputs do not show their letters.
const MOST_PORTS: usize = 8;
/// The legend is not narrower, however small the graph.
const LEGEND_WIDTH: f64 = 460.0;
/// A line of the legend.
const LEGEND_LINE: f64 = SMALL_SIZE * 1.6;

/// Where a box is.
#[derive(Clone, Copy, Debug)]
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// What of the width the letters of its inputs take.
    ports: f64,
}

/// Where everything is.
struct Layout {
    /// By box.
    frames: Vec<Frame>,
    /// The left and right side of each column.
    columns: Vec<[f64; 2]>,
    /// The top of each row.
    rows: Vec<f64>,
    /// The lower end of the lowest box.
    bottom: f64,
}

/// What a box needs.
#[derive(Clone, Copy, Debug, Default)]
struct Need {
    text: f64,
    height: f64,
    ports: f64,
}

impl Layout {
    fn new(graph: &Graph, gradients: bool, top: f64) -> Self {
        let needs = needs(graph, gradients);
        let names = graph.rows.iter().map(|row| text::width(&row.name, SMALL_SIZE));
        // Edges to the first column bend to its left.
        let mut next = MARGIN + names.fold(0.0, f64::max).min(WIDEST) + COLUMN_GAP;
        let mut columns = Vec::with_capacity(graph.columns);
        for column in 0..graph.columns {
            let of_column = graph.boxes.iter().zip(&needs).filter(|(one, _)| one.column == column);
            let width = of_column.map(|(_, need)| need.ports + need.text).fold(0.0, f64::max);
            let right = next + width + 2.0 * PADDING;
            columns.push([next, right]);
            next = right + COLUMN_GAP;
        }
        // Boxes of a row and column stand above each other, from the top of the row.
        let mut stacks = vec![vec![0.0_f64; graph.columns]; graph.rows.len()];
        let mut tops = Vec::with_capacity(graph.boxes.len());
        for (one, need) in graph.boxes.iter().zip(&needs) {
            let stack = stacks.get_mut(one.row).and_then(|row| row.get_mut(one.column));
            tops.push(stack.as_ref().map_or(0.0, |height| **height));
            if let Some(stack) = stack {
                *stack += need.height + LEVEL_GAP;
            }
        }
        let mut next = top + if graph.steps.is_empty() { 0.0 } else { 22.0 };
        let mut rows = Vec::with_capacity(graph.rows.len());
        for stack in &stacks {
            rows.push(next);
            let height = stack.iter().copied().fold(0.0, f64::max);
            if height > 0.0 {
                next += height - LEVEL_GAP + ROW_GAP;
            }
        }
        let frame = |((one, need), within): ((&Box, &Need), f64)| {
            let [left, right] = columns.get(one.column).copied().unwrap_or_default();
            let top = rows.get(one.row).copied().unwrap_or(top) + within;
            Frame { left, top, width: right - left, height: need.height, ports: need.ports }
        };
        let frames: Vec<Frame> = graph.boxes.iter().zip(&needs).zip(tops).map(frame).collect();
        let bottom = frames.iter().map(|frame| frame.top + frame.height).fold(top, f64::max);
        Layout { frames, columns, rows, bottom }
    }

    fn right(&self) -> f64 {
        self.columns.last().map_or(MARGIN, |[_, right]| *right)
    }
}

/// How large each box must be.
fn needs(graph: &Graph, gradients: bool) -> Vec<Need> {
    let need = |one: &Box| {
        let lines = lines(one, gradients);
        let widths = lines.iter().map(|line| text::width(&line.whole(), SMALL_SIZE));
        let text = widths.fold(text::width(&one.name, LABEL_SIZE), f64::max).clamp(40.0, WIDEST);
        let height = 12.0 + LABEL_SIZE * 1.3 + lines.len() as f64 * SMALL_SIZE * 1.35;
        Need { text, height, ports: 0.0 }
    };
    let mut needs: Vec<Need> = graph.boxes.iter().map(need).collect();
    for edge in &graph.edges {
        let Some(need) = needs.get_mut(edge.to) else { continue };
        // So tall that the letters of all inputs have room, unless they are very many.
        need.height = need.height.max((edge.input[1].min(MOST_PORTS) + 1) as f64 * PORT[0]);
        if edge.input[1] <= MOST_PORTS {
            need.ports = need.ports.max(text::width(&port(edge), PORT_SIZE) + 4.0);
        }
    }
    needs
}

/// The letter of an input, in the box that reads it.
fn port(edge: &Edge) -> String {
    text::shorten(&text::clean(&edge.port), PORT_SIZE, PORT[1])
}

/// A line of a box beneath its name.
struct Line<'b> {
    held: &'b Held,
    /// The name in it; empty for none.
    name: &'b str,
    gradient: bool,
}

impl Line<'_> {
    fn called(&self, name: &str) -> String {
        match self.gradient {
            true => self.held.gradient_told(name).unwrap_or_default(),
            false => self.held.told(name),
        }
    }

    fn whole(&self) -> String {
        self.called(&text::clean(self.name))
    }

    /// As much as has room: of the name what there is room for, of the numbers all.
    fn within(&self, limit: f64) -> String {
        let name = text::clean(self.name);
        let numbers = text::width(&self.called("…"), SMALL_SIZE) - text::width("…", SMALL_SIZE);
        let name = text::shorten(&name, SMALL_SIZE, (limit - numbers).max(0.0));
        text::shorten(&self.called(&name), SMALL_SIZE, limit)
    }
}

/// The values of a box, and the gradients that there are.
fn lines<'b>(one: &'b Box, gradients: bool) -> Vec<Line<'b>> {
    let of = |held: &'b Held| {
        let Held { name, gradient, .. } = held;
        let own = if *name == one.name { "" } else { name.as_str() };
        let value = Line { held, name: own, gradient: false };
        let gradient = gradient.is_some().then_some(Line { held, name, gradient: true });
        [Some(value), gradient.filter(|_| gradients)]
    };
    one.values.iter().flat_map(of).flatten().collect()
}

/// Draws a graph; with the gradients of all values, and how much flows along each edge, if wanted.
pub fn computation(graph: &Graph, gradients: bool) -> Picture {
    let top = MARGIN + theme::TITLE_SIZE * theme::LINE_HEIGHT + theme::TITLE_GAP;
    let layout = Layout::new(graph, gradients, top);
    let width = (layout.right() + MARGIN).max(LEGEND_WIDTH + 2.0 * MARGIN);
    let legend = legend(graph, gradients, width - 2.0 * MARGIN);
    let legend_y = layout.bottom + 24.0;
    let height = legend_y + legend.len() as f64 * LEGEND_LINE + MARGIN;
    let mut picture = Picture::new(width, height, &graph.title);
    let title = text::shorten(&text::clean(&graph.title), theme::TITLE_SIZE, width - 2.0 * MARGIN);
    let style = TextStyle::new(theme::TITLE_SIZE, theme::INK);
    picture.text(MARGIN, MARGIN + theme::TITLE_SIZE / 2.0, &title, style);
    let muted = TextStyle::new(SMALL_SIZE, theme::MUTED_INK);
    for (number, step) in graph.steps.iter().enumerate() {
        let of_step = layout.columns.iter().skip(step.column).take(step.columns);
        let sides = of_step.fold([f64::INFINITY, 0.0_f64], |[left, right], side| {
            [left.min(side[0]), right.max(side[1])]
        });
        let [left, right] = [sides[0] - COLUMN_GAP / 2.0, sides[1] + COLUMN_GAP / 2.0];
        if number % 2 == 1 {
            let below = legend_y - 14.0 - top;
            picture.rectangle(left, top, right - left, below, Fill::Colour(STEP), None);
        }
        let label = format!("t = {}", step.time);
        picture.text((left + right) / 2.0, top + 8.0, &label, muted.anchor(Anchor::Middle));
    }
    for (row, &y) in graph.rows.iter().zip(&layout.rows) {
        let name = text::shorten(&text::clean(&row.name), SMALL_SIZE, WIDEST);
        picture.text(MARGIN, y + LABEL_SIZE, &name, muted);
    }
    let finite = graph.edges.iter().filter_map(|edge| edge.gradient).filter(|x| x.is_finite());
    let most = finite.fold(0.0, f64::max);
    for (edge, way) in graph.edges.iter().zip(ways(graph, &layout)) {
        draw_edge(&mut picture, edge, &way, gradients.then_some(most));
    }
    for (one, &frame) in graph.boxes.iter().zip(&layout.frames) {
        draw_box(&mut picture, frame, one, gradients);
    }
    for edge in graph.edges.iter().filter(|edge| edge.input[1] <= MOST_PORTS) {
        let Some(frame) = layout.frames.get(edge.to) else { continue };
        let style = TextStyle::new(PORT_SIZE, theme::MUTED_INK);
        picture.text(frame.left + 4.0, arrival(*frame, edge), &port(edge), style);
    }
    let mut y = legend_y;
    for line in legend {
        let mut x = MARGIN;
        for (content, colour) in line {
            picture.text(x, y, &content, TextStyle::new(SMALL_SIZE, colour));
            x += text::width(&content, SMALL_SIZE) + theme::LEGEND_GAP;
        }
        y += LEGEND_LINE;
    }
    picture
}

/// How high an edge arrives: inputs arrive one beneath the other.
fn arrival(frame: Frame, edge: &Edge) -> f64 {
    frame.top + frame.height * share(edge)
}

fn share(edge: &Edge) -> f64 {
    let [input, of] = edge.input.map(|number| number as f64);
    (input + 1.0) / (of + 1.0)
}

/// The way of each edge; none for one between boxes that are not there.
fn ways(graph: &Graph, layout: &Layout) -> Vec<Vec<Point>> {
    let column = |(column, &sides): (usize, &[f64; 2])| {
        let boxes = graph.boxes.iter().zip(&layout.frames).filter(|(one, _)| one.column == column);
        let boxes = boxes.map(|(_, frame)| [frame.top, frame.top + frame.height]);
        Column { sides, boxes: boxes.collect() }
    };
    let columns: Vec<Column> = layout.columns.iter().enumerate().map(column).collect();
    let first = layout.frames.iter().map(|frame| frame.top).fold(f64::INFINITY, f64::min);
    let mut router = Router::new(columns, [first - 10.0, layout.bottom + 10.0]);
    let place = |number: usize| Some((graph.boxes.get(number)?, layout.frames.get(number)?));
    let way = |edge: &Edge| {
        let (Some((from, start)), Some((to, end))) = (place(edge.from), place(edge.to)) else {
            return Vec::new();
        };
        let side = if from.column < to.column { start.width } else { 0.0 };
        let begin = (start.left + side, start.top + start.height / 2.0);
        let out = COLUMN_GAP * (0.25 + 0.5 * share(edge));
        let end = (end.left, arrival(*end, edge));
        router.way(edge.from, (begin, from.column), (end, to.column), out)
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
        // By orders of magnitude, as gradients differ by them; what is not finite is the largest.
        (Some(most), Some(norm)) => {
            let share = match norm {
                norm if !norm.is_finite() => 1.0,
                norm if norm > 0.0 => (1.0 + (norm / most).log10() / 4.0).clamp(0.0, 1.0),
                _ => 0.0,
            };
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
}

fn draw_box(picture: &mut Picture, frame: Frame, one: &Box, gradients: bool) {
    let Frame { left, top, width, height, ports } = frame;
    let [ground, frames] = match one.kind {
        Kind::Op | Kind::Last => [0, 1],
        Kind::Fused => [0, 2],
        Kind::Input | Kind::Constant => [1, 1],
        Kind::Parameter => [2, 2],
    };
    picture.rectangle(left, top, width, height, Fill::Colour(GROUNDS[ground]), Some(&one.name));
    let outline = |inset: f64| {
        let (left, right) = (left + inset, left + width - inset);
        let (top, bottom) = (top + inset, top + height - inset);
        [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    };
    let look = match one.kind {
        Kind::Last => LineStyle::new(2.5, BACKWARD),
        Kind::Constant => LineStyle { dashes: "4 3", ..LineStyle::new(1.0, theme::MUTED_INK) },
        _ => LineStyle::new(1.0, theme::MUTED_INK),
    };
    for frame in 0..frames {
        picture.line(&outline(3.0 * frame as f64), look);
    }
    let limit = width - ports - 2.0 * PADDING + 6.0;
    let middle = left + ports + (width - ports) / 2.0;
    let lines = lines(one, gradients);
    let text_height = LABEL_SIZE * 1.3 + lines.len() as f64 * SMALL_SIZE * 1.35;
    let mut y = top + (height - text_height) / 2.0 + LABEL_SIZE * 0.65;
    let mut write = |content: &str, size: f64, colour: Rgb, next: f64| {
        let style = TextStyle::new(size, colour).anchor(Anchor::Middle);
        picture.text(middle, y, content, style);
        y += next;
    };
    let name = text::shorten(&text::clean(&one.name), LABEL_SIZE, limit);
    write(&name, LABEL_SIZE, theme::INK, LABEL_SIZE * 0.65 + SMALL_SIZE * 0.68);
    for line in lines {
        let colour = if line.gradient { BACKWARD } else { theme::MUTED_INK };
        write(&line.within(limit), SMALL_SIZE, colour, SMALL_SIZE * 1.35);
    }
}

/// What the looks mean, of those that there are: in lines, beneath the graph.
fn legend(graph: &Graph, gradients: bool, width: f64) -> Vec<Vec<(String, Rgb)>> {
    let has = |kind: Kind| graph.boxes.iter().any(|one| one.kind == kind);
    let double = match (has(Kind::Fused), has(Kind::Parameter)) {
        (true, true) => "double frame: fused op or parameter",
        (true, false) => "double frame: fused op",
        (false, _) => "double frame: parameter",
    };
    let lettered = graph.edges.iter().any(|edge| edge.input[1] <= MOST_PORTS);
    let unmoved = graph.edges.iter().any(|edge| edge.gradient.is_none());
    let entries = [
        (has(Kind::Fused) || has(Kind::Parameter), double, theme::MUTED_INK),
        (has(Kind::Last), "thick frame: the result", BACKWARD),
        (has(Kind::Constant), "dashed frame: no gradient is wanted", theme::MUTED_INK),
        (lettered, "letters in a box: what the op calls its inputs", theme::MUTED_INK),
        (!gradients, "lines: values", FORWARD),
        (gradients, "lines: gradients, thicker where they are larger", BACKWARD),
        (gradients && unmoved, "grey line: no gradient flows", theme::MUTED_INK),
    ];
    let mut lines: Vec<Vec<(String, Rgb)>> = Vec::new();
    let mut room = 0.0;
    for (_, content, colour) in entries.into_iter().filter(|(there, ..)| *there) {
        let long = text::width(content, SMALL_SIZE);
        if long > room {
            lines.push(Vec::new());
            room = width;
        }
        room -= long + theme::LEGEND_GAP;
        if let Some(line) = lines.last_mut() {
            line.push((content.into(), colour));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use unspool_trace::lessons::{LESSONS, lesson};

    use super::super::picture::checks::check_picture;
    use super::*;

    /// No edge passes over or under a box, and each ends where it should.
    fn check_ways(graph: &Graph) {
        for gradients in [false, true] {
            let layout = Layout::new(graph, gradients, 0.0);
            let ways = ways(graph, &layout);
            assert_eq!(ways.len(), graph.edges.len());
            for (edge, way) in graph.edges.iter().zip(ways) {
                assert_eq!(way.last().unwrap().0, layout.frames[edge.to].left);
                let within = |frame: &Frame, (x, y): Point| {
                    (frame.left + 0.5..frame.left + frame.width - 0.5).contains(&x)
                        && (frame.top + 0.5..frame.top + frame.height - 0.5).contains(&y)
                };
                for (number, one) in layout.frames.iter().enumerate() {
                    let through = way.windows(2).flat_map(|ends| {
                        let [(x1, y1), (x2, y2)] = [ends[0], ends[1]];
                        (0..=8).map(move |k| {
                            let share = f64::from(k) / 8.0;
                            (x1 + (x2 - x1) * share, y1 + (y2 - y1) * share)
                        })
                    });
                    let met = through.into_iter().find(|&point| within(one, point));
                    assert!(met.is_none(), "{edge:?} meets box {number}: {met:?}");
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
                    assert_eq!(svg.contains("gradients, thicker"), gradients);
                    assert!(svg.matches("<rect").count() > graph.boxes.len());
                }
            }
        }
    }

    /// What a picture says of the lesson, as text.
    fn words(name: &str, computation: usize, gradients: bool) -> String {
        let trace = &lesson(name).unwrap().traces[computation];
        super::computation(&Graph::of(trace), gradients).svg()
    }

    #[test]
    fn a_long_name_is_cut_and_its_number_is_not() {
        let svg = words("encoder-decoder", 0, true);
        let lines: Vec<&str> = svg.lines().filter(|line| line.contains('‖')).collect();
        assert!(lines.iter().any(|line| line.contains('…')), "{svg}");
        for line in lines {
            let (_, number) = line.split_once("‖ = ").unwrap_or_else(|| panic!("{line}"));
            let number = number.split('<').next().unwrap();
            assert!(number.replace('−', "-").parse::<f64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn a_box_says_the_gradient_of_each_of_its_outputs() {
        let svg = words("through-time", 1, true);
        let trace = &lesson("through-time").unwrap().traces[1];
        let step = trace.nodes.iter().position(|node| node.outputs.len() == 2).unwrap();
        for port in &trace.nodes[step].outputs {
            let name = &trace.values[port.slot].name;
            assert!(svg.contains(&format!("‖d_{name}‖ = ")), "{name}");
        }
        // A legend explains what is there, and nothing else.
        assert!(!words("softmax", 0, false).contains("double frame: parameter"));
        assert!(words("neuron", 0, false).contains("double frame: parameter"));
    }
}
