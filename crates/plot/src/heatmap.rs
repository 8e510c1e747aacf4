//! The attention heatmap: one row a target token, one column a source token.

use super::picture::{Anchor, Direction, Fill, LineStyle, Picture, TextStyle};
use super::text;
use super::theme::{self, Rgb};

/// Where the decoder attended while it wrote each token.
#[derive(Clone, Debug)]
pub struct Heatmap<'a> {
    /// The title; empty for none.
    pub title: &'a str,
    /// The `S` source tokens, from left to right.
    pub source: &'a [String],
    /// The `T` target tokens, from top to bottom.
    pub target: &'a [String],
    /// The weights, `T` rows of `S`. A weight that is missing or not a number is hatched, and
    /// one outside 0 to 1 is drawn as the nearest of the two.
    pub weights: &'a [Vec<f32>],
}

/// Where everything stands.
struct Layout {
    cell: f64,
    label_size: f64,
    /// Only every so many tokens are labelled.
    label_step: usize,
    direction: Direction,
    source_labels: Vec<String>,
    target_labels: Vec<String>,
    title_lines: Vec<String>,
    grid_left: f64,
    grid_top: f64,
    grid_width: f64,
    grid_height: f64,
    bar_height: f64,
    width: f64,
    height: f64,
}

impl Heatmap<'_> {
    /// Draws the heatmap.
    pub fn draw(&self) -> Picture {
        let layout = Layout::new(self);
        let mut picture = Picture::new(layout.width, layout.height, &self.picture_title());
        layout.draw_title(&mut picture);
        self.draw_cells(&layout, &mut picture);
        layout.draw_source_labels(&mut picture);
        layout.draw_target_labels(&mut picture);
        layout.draw_colour_bar(&mut picture);
        picture
    }

    fn picture_title(&self) -> String {
        if self.title.trim().is_empty() { "attention".to_owned() } else { self.title.to_owned() }
    }

    fn draw_cells(&self, layout: &Layout, picture: &mut Picture) {
        let Layout { cell, grid_left, grid_top, grid_width, grid_height, .. } = *layout;
        let zero = Fill::Colour(weight_colour(0.0));
        picture.rectangle(grid_left, grid_top, grid_width, grid_height, zero, None);
        for (row, target) in self.target.iter().enumerate() {
            for (column, source) in self.source.iter().enumerate() {
                let weight = self.weights.get(row).and_then(|weights| weights.get(column));
                let weight = weight.copied().unwrap_or(f32::NAN);
                let x = grid_left + column as f64 * cell;
                let y = grid_top + row as f64 * cell;
                let fill = if weight.is_nan() {
                    Fill::Hatched
                } else {
                    Fill::Colour(weight_colour(f64::from(weight)))
                };
                // Most weights are nothing, and the ground has their colour already.
                if !matches!(fill, Fill::Colour(colour) if colour == weight_colour(0.0)) {
                    let weight =
                        if weight.is_nan() { "no weight".into() } else { format!("{weight:.3}") };
                    let note = format!("{source} → {target}: {weight}");
                    picture.rectangle(x, y, cell, cell, fill, Some(&text::clean(&note)));
                }
            }
        }
        layout.draw_cell_lines(self.source.len(), self.target.len(), picture);
    }
}

impl Layout {
    fn new(heatmap: &Heatmap<'_>) -> Self {
        let (columns, rows) = (heatmap.source.len().max(1), heatmap.target.len().max(1));
        let longest = rows.max(columns) as f64;
        let mut cell = (theme::GRID_SIDE / longest).floor().clamp(theme::CELL_MIN, theme::CELL_MAX);
        if cell * longest > theme::GRID_SIDE_MAX {
            // Whole pixels as long as there are any, so that all cells look alike.
            cell = theme::GRID_SIDE_MAX / longest;
            cell = if cell >= 1.0 { cell.floor() } else { cell };
        }
        let label_size = (cell * 0.78).floor().clamp(9.0, theme::LABEL_SIZE);
        let label_step = (label_size * 1.2 / cell).ceil().max(1.0) as usize;

        let labels = |tokens: &[String]| -> Vec<String> {
            let shorten = |token: &String| {
                text::shorten(&text::clean_token(token), label_size, theme::TOKEN_WIDTH_MAX)
            };
            tokens.iter().map(shorten).collect()
        };
        let (source_labels, target_labels) = (labels(heatmap.source), labels(heatmap.target));
        let widest = |labels: &[String]| {
            labels.iter().map(|label| text::width(label, label_size)).fold(0.0, f64::max)
        };
        let (source_width, target_width) = (widest(&source_labels), widest(&target_labels));

        let direction = if source_width <= cell * label_step as f64 - 4.0 {
            Direction::Across
        } else if cell * std::f64::consts::FRAC_1_SQRT_2 >= label_size * 1.15 {
            Direction::Slanted
        } else {
            Direction::Upwards
        };
        let slant = std::f64::consts::FRAC_1_SQRT_2;
        // The height of the source labels, and how far the last may reach beyond the grid.
        let (labels_height, overhang) = match direction {
            Direction::Across => (label_size, 0.0),
            Direction::Slanted => ((source_width + label_size * 0.8) * slant, {
                let reach = |(index, label): (usize, &String)| {
                    let start = (index as f64 + 0.5) * cell - columns as f64 * cell;
                    start + (text::width(label, label_size) + label_size * 0.8) * slant
                };
                source_labels.iter().enumerate().map(reach).fold(0.0, f64::max)
            }),
            Direction::Upwards => (source_width, 0.0),
        };

        let (grid_width, grid_height) = (columns as f64 * cell, rows as f64 * cell);
        let [bar_shortest, bar_longest] = theme::COLOUR_BAR_HEIGHT;
        let bar_height = grid_height.clamp(bar_shortest, bar_longest);
        let bar_reach = theme::COLOUR_BAR_GAP
            + theme::COLOUR_BAR_WIDTH
            + theme::LABEL_GAP
            + text::width("0.00", theme::SMALL_SIZE)
            + theme::LABEL_GAP
            + theme::SMALL_SIZE * theme::LINE_HEIGHT;
        let left = theme::MARGIN + target_width + theme::LABEL_GAP;
        let content_right = left + grid_width + bar_reach.max(overhang);

        let title = text::clean(heatmap.title);
        let title_width = text::width(&title, theme::TITLE_SIZE).min(theme::GRID_SIDE);
        let width = (content_right + theme::MARGIN).max(title_width + 2.0 * theme::MARGIN).ceil();
        // A narrow grid stands in the middle of the page that its title needs.
        let shift = ((width - theme::MARGIN - content_right) / 2.0).max(0.0);
        let title_lines = text::wrap(&title, theme::TITLE_SIZE, width - 2.0 * theme::MARGIN, 3);
        let title_height = if title_lines.is_empty() {
            0.0
        } else {
            title_lines.len() as f64 * theme::TITLE_SIZE * theme::LINE_HEIGHT + theme::TITLE_GAP
        };
        let grid_top = (theme::MARGIN + title_height + labels_height + theme::LABEL_GAP).round();
        let height = grid_top + grid_height.max(bar_height) + theme::MARGIN;
        Self {
            cell,
            label_size,
            label_step,
            direction,
            source_labels,
            target_labels,
            title_lines,
            grid_left: (left + shift).round(),
            grid_top,
            grid_width,
            grid_height,
            bar_height,
            // Rounding the grid to whole pixels may push it by half a one.
            width: width + 1.0,
            height: height + 1.0,
        }
    }

    fn draw_title(&self, picture: &mut Picture) {
        let style = TextStyle::new(theme::TITLE_SIZE, theme::INK).anchor(Anchor::Middle);
        let line_height = theme::TITLE_SIZE * theme::LINE_HEIGHT;
        for (index, line) in self.title_lines.iter().enumerate() {
            let y = theme::MARGIN + (index as f64 + 0.5) * line_height;
            picture.text(self.width / 2.0, y, line, style);
        }
    }

    fn draw_cell_lines(&self, columns: usize, rows: usize, picture: &mut Picture) {
        let Self { cell, grid_left, grid_top, grid_width, grid_height, .. } = *self;
        if cell >= theme::CELL_MIN {
            let fill = Fill::Colour(theme::CELL_LINE);
            for column in 1..columns {
                let x = grid_left + column as f64 * cell;
                picture.rectangle(x, grid_top, 1.0, grid_height, fill, None);
            }
            for row in 1..rows {
                let y = grid_top + row as f64 * cell;
                picture.rectangle(grid_left, y, grid_width, 1.0, fill, None);
            }
        }
        // Half a pixel outwards, the frame fills whole pixels and covers no cell.
        picture.frame(
            grid_left - 0.5,
            grid_top - 0.5,
            grid_width + 1.0,
            grid_height + 1.0,
            theme::FRAME,
        );
    }

    fn draw_source_labels(&self, picture: &mut Picture) {
        let bottom = self.grid_top - theme::LABEL_GAP;
        let style = TextStyle::new(self.label_size, theme::INK).direction(self.direction);
        for (index, label) in self.source_labels.iter().enumerate().step_by(self.label_step) {
            let x = self.grid_left + (index as f64 + 0.5) * self.cell;
            match self.direction {
                Direction::Across => {
                    let y = bottom - self.label_size * 0.4;
                    picture.text(x, y, label, style.anchor(Anchor::Middle));
                }
                Direction::Slanted => {
                    // Clear of the grid also with what hangs below the line.
                    let shift = self.label_size * 0.2;
                    picture.text(x + shift, bottom - shift, label, style);
                }
                Direction::Upwards => picture.text(x, bottom, label, style),
            }
        }
    }

    fn draw_target_labels(&self, picture: &mut Picture) {
        let style = TextStyle::new(self.label_size, theme::INK).anchor(Anchor::End);
        for (index, label) in self.target_labels.iter().enumerate().step_by(self.label_step) {
            let y = self.grid_top + (index as f64 + 0.5) * self.cell;
            picture.text(self.grid_left - theme::LABEL_GAP, y, label, style);
        }
    }

    fn draw_colour_bar(&self, picture: &mut Picture) {
        let left = self.grid_left + self.grid_width + theme::COLOUR_BAR_GAP;
        let (top, height, width) =
            (self.grid_top, self.bar_height.round(), theme::COLOUR_BAR_WIDTH);
        let strips = height.max(1.0) as usize;
        for strip in 0..strips {
            let weight = 1.0 - (strip as f64 + 0.5) / strips as f64;
            let fill = Fill::Colour(weight_colour(weight));
            picture.rectangle(left, top + strip as f64, width, 1.0, fill, None);
        }
        picture.frame(left - 0.5, top - 0.5, width + 1.0, height + 1.0, theme::FRAME);

        let style = TextStyle::new(theme::SMALL_SIZE, theme::MUTED_INK);
        let ticks: &[(f64, &str)] = if height >= 130.0 {
            &[(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]
        } else {
            &[(0.0, "0"), (0.5, "0.5"), (1.0, "1")]
        };
        let ticks_left = left + width + theme::LABEL_GAP;
        for (weight, label) in ticks {
            let y = top + (1.0 - weight) * height;
            let tick = [(left + width, y), (left + width + 3.0, y)];
            picture.line(&tick, LineStyle::new(1.0, theme::FRAME));
            picture.text(ticks_left, y, label, style);
        }
        let name_x = ticks_left
            + text::width("0.00", theme::SMALL_SIZE)
            + theme::LABEL_GAP
            + theme::SMALL_SIZE * theme::LINE_HEIGHT / 2.0;
        let name = if height >= 130.0 { "attention weight" } else { "weight" };
        let style = style.anchor(Anchor::Middle).direction(Direction::Upwards);
        picture.text(name_x, top + height / 2.0, name, style);
    }
}

/// The colour of a weight, which is brought into 0 to 1.
fn weight_colour(weight: f64) -> Rgb {
    let last = theme::WEIGHTS.len() - 1;
    let position = weight.clamp(0.0, 1.0) * last as f64;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let share = position - below as f64;
    let (below, above) = (theme::WEIGHTS[below], theme::WEIGHTS[above]);
    std::array::from_fn(|channel| {
        let (from, to) = (f64::from(below[channel]), f64::from(above[channel]));
        (from + (to - from) * share).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::super::picture::checks::check_picture;
    use super::*;

    fn tokens(count: usize, text: &str) -> Vec<String> {
        vec![text.to_owned(); count]
    }

    #[test]
    fn heavier_weights_are_darker() {
        let lightness = |weight| {
            let [red, green, blue] = weight_colour(weight).map(f64::from);
            0.2126 * red + 0.7152 * green + 0.0722 * blue
        };
        let steps: Vec<f64> = (0..=100).map(|step| lightness(f64::from(step) / 100.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[1] < pair[0]));
        assert_eq!(weight_colour(-3.0), weight_colour(0.0));
        assert_eq!(weight_colour(f64::INFINITY), weight_colour(1.0));
    }

    #[test]
    fn every_shape_and_weight_is_drawn() {
        for (columns, rows) in [(0, 0), (0, 3), (3, 0), (1, 1), (2, 9), (40, 1), (60, 60)] {
            for token in ["", "3", "maison", "Donaudampfschifffahrtsgesellschaft"] {
                let (source, target) = (tokens(columns, token), tokens(rows, token));
                let weights = vec![vec![0.5; columns]; rows];
                let heatmap =
                    Heatmap { title: token, source: &source, target: &target, weights: &weights };
                check_picture(&heatmap.draw());
            }
        }
        let source = tokens(3, "a");
        let target = tokens(3, "b");
        for weights in [
            vec![],
            vec![vec![]],
            vec![vec![f32::NAN; 3]; 3],
            vec![vec![f32::INFINITY, f32::NEG_INFINITY, -1.0]],
            vec![vec![7.0; 5]; 9],
        ] {
            let title = "A title that is far wider than the few cells that it stands above";
            let heatmap = Heatmap { title, source: &source, target: &target, weights: &weights };
            check_picture(&heatmap.draw());
        }
    }

    #[test]
    fn very_long_sentences_keep_a_bounded_page() {
        let source = tokens(3000, "token");
        let target = tokens(2, "Jeton");
        let weights = vec![vec![0.0; 3000]; 2];
        let heatmap = Heatmap { title: "", source: &source, target: &target, weights: &weights };
        let layout = Layout::new(&heatmap);
        assert!(layout.width < 1.2 * theme::GRID_SIDE_MAX);
        check_picture(&heatmap.draw());
    }

    #[test]
    fn a_cell_tells_its_tokens_and_weight() {
        let source = ["<b>".to_owned(), "chat".to_owned()];
        let target = ["cat".to_owned()];
        let weights = [vec![0.25, f32::NAN]];
        let heatmap = Heatmap { title: "t", source: &source, target: &target, weights: &weights };
        let svg = check_picture(&heatmap.draw());
        assert!(svg.contains("<title>&lt;b&gt; → cat: 0.250</title>"));
        assert!(svg.contains("<title>chat → cat: no weight</title>"));
    }
}
