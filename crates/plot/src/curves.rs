//! Curves: panels of lines, one above the other, over one horizontal axis.

pub use super::axis::Scale;
use super::axis::{Axis, Tick, short_number};
use super::picture::{Anchor, Fill, LineStyle, Marker, Picture, TextStyle};
use super::text;
use super::theme::{self, Rgb};

/// A picture of one or more panels.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// The title; empty for none.
    pub title: String,
    /// The name of the horizontal axis.
    pub x_label: String,
    /// Its scale.
    pub x_scale: Scale,
    /// The panels, from top to bottom.
    pub panels: Vec<Panel>,
}

/// Lines over each other that share a vertical axis.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What the vertical axis shows, with its unit.
    pub title: String,
    /// The scale of the vertical axis.
    pub scale: Scale,
    /// Values that the vertical axis reaches whatever the data: `[0.0, 100.0]` for a percentage.
    pub reaches: Vec<f64>,
    /// The lines; later ones lie above.
    pub series: Vec<Series>,
}

/// Which value of a series is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Best {
    /// The lowest, as for a loss.
    Lowest,
    /// The highest, as for an accuracy.
    Highest,
}

/// How the points of a series are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Line,
    Marked,
    Smoothed,
    SmoothedOverRaw,
}

/// One line.
#[derive(Clone, Debug, Default)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    colour: usize,
    form: Form,
    dashed: bool,
    best: Option<Best>,
}

impl Series {
    /// A line through `points`, which are (x, y) in any order. A point whose y is not a number,
    /// or not above zero on a log scale, leaves a gap.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, ..Self::default() }
    }

    /// Takes a colour (and shape of marker) by its number. The seven colours come again with
    /// other dashes, so that the first 28 numbers differ.
    pub fn colour(self, colour: usize) -> Self {
        Self { colour, ..self }
    }

    /// Draws a dashed line.
    pub fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    /// Marks each point.
    pub fn marked(self) -> Self {
        Self { form: Form::Marked, ..self }
    }

    /// Draws a moving average in place of the line.
    pub fn smoothed(self) -> Self {
        Self { form: Form::Smoothed, ..self }
    }

    /// Draws a moving average, and the line itself faintly behind it.
    pub fn smoothed_over_raw(self) -> Self {
        Self { form: Form::SmoothedOverRaw, ..self }
    }

    /// Rings the best point and tells it in the legend.
    pub fn best(self, best: Best) -> Self {
        Self { best: Some(best), ..self }
    }
}

/// Series with at least this many points are smoothed.
const SMOOTHED_FROM: usize = 24;
/// A point's average takes in this share of all points on either side, twice.
const SMOOTHING_SHARE: usize = 60;
/// Smoothing first averages longer series into this many groups.
const SMOOTHED_GROUPS: usize = 2000;
/// Longer lines keep the first, lowest, highest and last point of this many groups: no more
/// can be told apart at this width.
const LINE_GROUPS: usize = 1000;
/// The share of points at either end of a raw line's values that may leave the panel, so that
/// a few outliers do not press everything else flat.
const OUTLIERS: f64 = 0.005;

/// A series made ready for drawing on one scale.
struct Prepared {
    name: String,
    colour: Rgb,
    marker: Option<Marker>,
    dashes: &'static str,
    /// Unbroken pieces of the line.
    line: Vec<Vec<(f64, f64)>>,
    /// Unbroken pieces of the faint line behind it.
    raw: Vec<Vec<(f64, f64)>>,
    best: Option<(f64, f64)>,
    /// What the vertical axis must hold.
    range: Vec<f64>,
}

impl Prepared {
    fn new(series: &Series, scale: Scale, x_scale: Scale) -> Self {
        let mut points = series.points.clone();
        points.retain(|(x, _)| x_scale.has(*x));
        points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let pieces: Vec<Vec<(f64, f64)>> = points
            .split(|&(_, y)| !scale.has(y))
            .filter(|piece| !piece.is_empty())
            .map(<[_]>::to_vec)
            .collect();
        let values = || pieces.iter().flatten().map(|&(_, y)| y);

        let count = values().count();
        let form = if count < SMOOTHED_FROM && series.form != Form::Marked {
            Form::Line
        } else {
            series.form
        };
        let half_window = (count / SMOOTHING_SHARE).max(1);
        let smooth = || -> Vec<Vec<(f64, f64)>> {
            pieces.iter().map(|piece| smoothed(piece, half_window)).collect()
        };
        let thinned =
            || -> Vec<Vec<(f64, f64)>> { pieces.iter().map(|piece| thinned(piece)).collect() };
        let (line, raw) = match form {
            Form::Line => (thinned(), Vec::new()),
            Form::Marked => (pieces.clone(), Vec::new()),
            Form::Smoothed => (smooth(), Vec::new()),
            Form::SmoothedOverRaw => (smooth(), thinned()),
        };
        let mut range: Vec<f64> = line.iter().flatten().map(|&(_, y)| y).collect();
        if !raw.is_empty() {
            let mut sorted: Vec<f64> = values().collect();
            sorted.sort_by(f64::total_cmp);
            let beyond = (count as f64 * OUTLIERS) as usize;
            range.extend(sorted.get(beyond..count.saturating_sub(beyond)).unwrap_or_default());
        }

        let best = series.best.and_then(|best| {
            let better = |a: f64, b: f64| match best {
                Best::Lowest => a < b,
                Best::Highest => a > b,
            };
            let points = pieces.iter().flatten().copied();
            points.reduce(|best, point| if better(point.1, best.1) { point } else { best })
        });
        let name = text::clean(&series.name);
        let name = match best {
            Some((x, y)) => {
                let best = format!("best {} at {}", short_number(y), short_number(x));
                let room = theme::LEGEND_WIDTH_MAX - text::width(&best, theme::SMALL_SIZE);
                match text::shorten(name.trim(), theme::SMALL_SIZE, room) {
                    name if name.is_empty() => best,
                    name => format!("{name} ({best})"),
                }
            }
            None => text::shorten(name.trim(), theme::SMALL_SIZE, theme::LEGEND_WIDTH_MAX),
        };
        let dashes = theme::DASHES[series.colour / theme::SERIES.len() % theme::DASHES.len()];
        let markers = [Marker::Disc, Marker::Square, Marker::Triangle, Marker::Diamond];
        Self {
            name,
            colour: theme::SERIES[series.colour % theme::SERIES.len()],
            marker: (form == Form::Marked).then_some(markers[series.colour % markers.len()]),
            dashes: dashes[usize::from(series.dashed)],
            line,
            raw,
            best,
            range,
        }
    }

    fn line_style(&self) -> LineStyle {
        LineStyle { dashes: self.dashes, ..LineStyle::new(theme::LINE_WIDTH, self.colour) }
    }

    fn legend_width(&self) -> f64 {
        theme::LEGEND_KEY + theme::LABEL_GAP + text::width(&self.name, theme::SMALL_SIZE)
    }

    fn draw_legend_entry(&self, picture: &mut Picture, x: f64, y: f64) {
        let key = [(x, y), (x + theme::LEGEND_KEY, y)];
        picture.line(&key, self.line_style());
        if let Some(marker) = self.marker {
            let middle = x + theme::LEGEND_KEY / 2.0;
            picture.marker(middle, y, theme::MARKER_RADIUS, marker, self.colour);
        }
        let style = TextStyle::new(theme::SMALL_SIZE, theme::MUTED_INK);
        picture.text(x + theme::LEGEND_KEY + theme::LABEL_GAP, y, &self.name, style);
    }
}

/// Each point on the line that fits the points around it best, done twice. In the middle of the
/// data this is the centred moving average, which has no lag; at the ends, where there are points
/// on one side only, it follows a slope as no average could.
fn smoothed(points: &[(f64, f64)], half_window: usize) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(SMOOTHED_GROUPS).max(1);
    let points: Vec<(f64, f64)> = points.chunks(group).map(mean).collect();
    let half_window = half_window.div_ceil(group);
    let pass = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let fit = |(index, &(x, _)): (usize, &(f64, f64))| {
            let first = index.saturating_sub(half_window);
            let end = (index + half_window + 1).min(points.len());
            (x, fitted(points.get(first..end).unwrap_or_default(), index - first))
        };
        points.iter().enumerate().map(fit).collect()
    };
    pass(&pass(&points))
}

/// The least-squares line of y over the index, at an index.
fn fitted(points: &[(f64, f64)], index: usize) -> f64 {
    let (_, middle_y) = mean(points);
    let middle = points.len().saturating_sub(1) as f64 / 2.0;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (other, &(_, y)) in points.iter().enumerate() {
        let offset = other as f64 - middle;
        covariance += offset * (y - middle_y);
        variance += offset * offset;
    }
    let slope = if variance > 0.0 { covariance / variance } else { 0.0 };
    middle_y + slope * (index as f64 - middle)
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len().max(1) as f64;
    points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count))
}

/// The same picture with fewer points.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= 4 * LINE_GROUPS {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(4 * LINE_GROUPS);
    for group in points.chunks(points.len().div_ceil(LINE_GROUPS)) {
        let by_value = |&a: &usize, &b: &usize| group[a].1.total_cmp(&group[b].1);
        let lowest = (0..group.len()).min_by(by_value).unwrap_or(0);
        let highest = (0..group.len()).max_by(by_value).unwrap_or(0);
        let mut indices = [0, lowest.min(highest), lowest.max(highest), group.len() - 1].to_vec();
        indices.dedup();
        kept.extend(indices.into_iter().map(|index| group[index]));
    }
    kept
}

/// A panel with its axis.
struct PreparedPanel {
    title: String,
    series: Vec<Prepared>,
    axis: Axis,
    ticks: Vec<Tick>,
}

impl Curves {
    /// Draws the curves.
    pub fn draw(&self) -> Picture {
        let empty = [Panel::default()];
        let panels = if self.panels.is_empty() { &empty[..] } else { &self.panels[..] };
        let plot_height = match panels {
            [_] => theme::SINGLE_PANEL_HEIGHT,
            _ => theme::STACKED_PANEL_HEIGHT,
        };
        let panels: Vec<PreparedPanel> = panels
            .iter()
            .map(|panel| PreparedPanel::new(panel, self.x_scale, plot_height))
            .collect();
        let label_width = panels
            .iter()
            .flat_map(|panel| &panel.ticks)
            .map(|tick| text::width(&tick.label, theme::SMALL_SIZE))
            .fold(0.0, f64::max);
        let left = (theme::MARGIN + label_width + theme::LABEL_GAP).ceil();
        let right = theme::CURVES_WIDTH - theme::MARGIN;
        let line_height = theme::SMALL_SIZE * theme::LINE_HEIGHT;

        let title = text::clean(&self.title);
        let title_limit = theme::CURVES_WIDTH - 2.0 * theme::MARGIN;
        let title_lines = text::wrap(&title, theme::TITLE_SIZE, title_limit, 3);
        let title_height = title_lines.len() as f64 * theme::TITLE_SIZE * theme::LINE_HEIGHT;
        let mut top = theme::MARGIN + title_height;
        if !title_lines.is_empty() {
            top += theme::TITLE_GAP;
        }
        // The tops of the plots, below each panel's title and legend.
        let mut tops = Vec::new();
        for panel in &panels {
            top = (top + panel.header_height(right - left)).ceil();
            tops.push(top);
            top += plot_height + theme::PANEL_GAP;
        }
        let bottom = top - theme::PANEL_GAP;
        let x_label = text::clean(&self.x_label);
        let has_x_label = !x_label.trim().is_empty();
        let label_lines = if has_x_label { 2.3 } else { 1.0 };
        let height = bottom + theme::LABEL_GAP + label_lines * line_height + theme::MARGIN;

        let name = if title.trim().is_empty() { "curves" } else { title.as_str() };
        let mut picture = Picture::new(theme::CURVES_WIDTH, height, name);
        let title_style = TextStyle::new(theme::TITLE_SIZE, theme::INK).anchor(Anchor::Middle);
        for (index, line) in title_lines.iter().enumerate() {
            let step = theme::TITLE_SIZE * theme::LINE_HEIGHT;
            let y = theme::MARGIN + (index as f64 + 0.5) * step;
            picture.text(theme::CURVES_WIDTH / 2.0, y, line, title_style);
        }

        let (x_axis, x_ticks) = self.x_axis(right - left);
        for (panel, &top) in panels.iter().zip(&tops) {
            let plot = Plot { left, top, width: right - left, height: plot_height, x_axis };
            panel.draw(&mut picture, &plot, &x_ticks);
        }

        let style = TextStyle::new(theme::SMALL_SIZE, theme::MUTED_INK).anchor(Anchor::Middle);
        let labels_y = bottom + theme::LABEL_GAP + line_height / 2.0;
        for tick in &x_ticks {
            if let Some(position) = x_axis.position(tick.value) {
                picture.text(left + position * (right - left), labels_y, &tick.label, style);
            }
        }
        if has_x_label {
            let limit = right - left;
            let label = text::shorten(x_label.trim(), theme::SMALL_SIZE, limit);
            picture.text((left + right) / 2.0, labels_y + 1.3 * line_height, &label, style);
        }
        picture
    }

    /// The horizontal axis, which all panels share.
    fn x_axis(&self, width: f64) -> (Axis, Vec<Tick>) {
        let points = self.panels.iter().flat_map(|panel| &panel.series).flat_map(|s| &s.points);
        let values = points.map(|&(x, _)| x);
        // Epochs and updates are counted: no tick stands between two of them.
        let whole = values.clone().all(|x| x.fract() == 0.0);
        let axis = Axis::new(self.x_scale, theme::AXIS_PADDING[0], values);
        let ticks = axis.ticks((width / 80.0) as usize, whole);
        (axis, ticks)
    }
}

/// Height of a panel's title.
const TITLE_ROW: f64 = theme::PANEL_TITLE_SIZE * theme::LINE_HEIGHT;
/// Height of a row of the legend.
const LEGEND_ROW: f64 = theme::SMALL_SIZE * theme::LINE_HEIGHT * 1.15;

/// Where a legend stands: never on the data.
enum Legend {
    /// There is none.
    Absent,
    /// To the right of the panel's title, from `start` on.
    BesideTitle { start: f64 },
    /// Below the title, as a table with columns of equal width.
    Below { columns: usize, column: f64, rows: usize },
}

/// Where a panel's lines stand.
struct Plot {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x_axis: Axis,
}

impl PreparedPanel {
    fn new(panel: &Panel, x_scale: Scale, height: f64) -> Self {
        let series: Vec<Prepared> =
            panel.series.iter().map(|series| Prepared::new(series, panel.scale, x_scale)).collect();
        let values = series.iter().flat_map(|series| series.range.iter().copied());
        let values = values.chain(panel.reaches.iter().copied());
        let axis = Axis::new(panel.scale, theme::AXIS_PADDING[1], values);
        let ticks = axis.ticks((height / 42.0) as usize, false);
        let title = text::clean(&panel.title);
        let title = text::shorten(title.trim(), theme::PANEL_TITLE_SIZE, theme::LEGEND_WIDTH_MAX);
        Self { title, series, axis, ticks }
    }

    /// Where the legend stands; one lone series needs none unless it has something to tell.
    fn legend(&self, width: f64) -> Legend {
        let named = self.series.iter().any(|series| !series.name.is_empty());
        let needed = self.series.len() > 1 || self.series.iter().any(|s| s.best.is_some());
        if !named || !needed {
            return Legend::Absent;
        }
        let widths = || self.series.iter().map(Prepared::legend_width);
        let gaps = theme::LEGEND_GAP * (self.series.len() - 1) as f64;
        let row = widths().sum::<f64>() + gaps;
        let title = text::width(&self.title, theme::PANEL_TITLE_SIZE);
        if title + 2.0 * theme::LEGEND_GAP + row <= width {
            return Legend::BesideTitle { start: width - row };
        }
        let column = widths().fold(0.0, f64::max) + theme::LEGEND_GAP;
        let columns = ((width + theme::LEGEND_GAP) / column).floor().max(1.0) as usize;
        Legend::Below { columns, column, rows: self.series.len().div_ceil(columns) }
    }

    /// Height of the title and the legend.
    fn header_height(&self, width: f64) -> f64 {
        let header = match self.legend(width) {
            Legend::Below { rows, .. } => self.title_height() + rows as f64 * LEGEND_ROW,
            Legend::BesideTitle { .. } => TITLE_ROW,
            Legend::Absent => self.title_height(),
        };
        // Without a header, the upper half of the highest tick's label still stands above.
        (header + theme::LABEL_GAP).max(theme::SMALL_SIZE / 2.0)
    }

    fn title_height(&self) -> f64 {
        if self.title.is_empty() { 0.0 } else { TITLE_ROW }
    }

    fn draw(&self, picture: &mut Picture, plot: &Plot, x_ticks: &[Tick]) {
        self.draw_header(picture, plot);
        self.draw_grid(picture, plot, x_ticks);
        let place = |&(x, y): &(f64, f64)| -> Option<(f64, f64)> {
            Some((
                plot.left + plot.x_axis.position(x)? * plot.width,
                plot.top + (1.0 - self.axis.position(y)?) * plot.height,
            ))
        };
        let placed = |piece: &Vec<(f64, f64)>| piece.iter().filter_map(place).collect::<Vec<_>>();
        picture.clipped([plot.left, plot.top, plot.width, plot.height], |picture| {
            for series in &self.series {
                let style = LineStyle {
                    opacity: theme::RAW_OPACITY,
                    ..LineStyle::new(theme::RAW_LINE_WIDTH, series.colour)
                };
                series.raw.iter().for_each(|piece| picture.line(&placed(piece), style));
            }
            for series in &self.series {
                for piece in &series.line {
                    let piece = placed(piece);
                    picture.line(&piece, series.line_style());
                    // A point between two gaps has no line that would show it.
                    let marker = match (series.marker, piece.len()) {
                        (None, 1) => Some(Marker::Disc),
                        (marker, _) => marker,
                    };
                    for &(x, y) in marker.iter().flat_map(|_| &piece) {
                        let marker = marker.unwrap_or(Marker::Disc);
                        picture.marker(x, y, theme::MARKER_RADIUS, marker, series.colour);
                    }
                }
            }
        });
        if self.series.iter().all(|series| series.line.is_empty()) {
            let style = TextStyle::new(theme::SMALL_SIZE, theme::MUTED_INK).anchor(Anchor::Middle);
            let (x, y) = (plot.left + plot.width / 2.0, plot.top + plot.height / 2.0);
            picture.text(x, y, "no data", style);
        }
        for series in &self.series {
            if let Some((x, y)) = series.best.as_ref().and_then(place) {
                picture.ring(x, y, theme::BEST_RADIUS, series.colour);
            }
        }
    }

    fn draw_header(&self, picture: &mut Picture, plot: &Plot) {
        let top = plot.top - self.header_height(plot.width);
        let title_y = top + TITLE_ROW / 2.0;
        let style = TextStyle::new(theme::PANEL_TITLE_SIZE, theme::INK);
        picture.text(plot.left, title_y, &self.title, style);
        match self.legend(plot.width) {
            Legend::Absent => {}
            Legend::BesideTitle { start } => {
                let mut x = plot.left + start;
                for series in &self.series {
                    series.draw_legend_entry(picture, x, title_y);
                    x += series.legend_width() + theme::LEGEND_GAP;
                }
            }
            Legend::Below { columns, column, .. } => {
                let top = top + self.title_height() + LEGEND_ROW / 2.0;
                for (index, series) in self.series.iter().enumerate() {
                    let x = plot.left + (index % columns) as f64 * column;
                    let y = top + (index / columns) as f64 * LEGEND_ROW;
                    series.draw_legend_entry(picture, x, y);
                }
            }
        }
    }

    fn draw_grid(&self, picture: &mut Picture, plot: &Plot, x_ticks: &[Tick]) {
        let grid = Fill::Colour(theme::GRID);
        let style = TextStyle::new(theme::SMALL_SIZE, theme::MUTED_INK).anchor(Anchor::End);
        for tick in &self.ticks {
            let Some(position) = self.axis.position(tick.value) else { continue };
            let y = plot.top + (1.0 - position) * plot.height;
            picture.rectangle(plot.left, y.round(), plot.width, 1.0, grid, None);
            picture.text(plot.left - theme::LABEL_GAP, y, &tick.label, style);
        }
        for tick in x_ticks {
            let Some(position) = plot.x_axis.position(tick.value) else { continue };
            let x = plot.left + position * plot.width;
            picture.rectangle(x.round(), plot.top, 1.0, plot.height, grid, None);
        }
        picture.frame(
            plot.left - 0.5,
            plot.top - 0.5,
            plot.width + 1.0,
            plot.height + 1.0,
            theme::FRAME,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::checks::check_picture;
    use super::*;

    #[test]
    fn any_points_are_drawn() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        let noisy = |count: u32| -> Vec<(f64, f64)> {
            (0..count).map(|step| (f64::from(step), f64::from((step * 7919) % 101))).collect()
        };
        for points in [
            vec![],
            vec![(1.0, 2.0)],
            vec![(nan, 1.0), (infinity, 1.0)],
            vec![(1.0, nan), (2.0, infinity), (3.0, -infinity)],
            vec![(0.0, 1.0), (1.0, nan), (2.0, 1.0)],
            vec![(0.0, 3.0), (1.0, 3.0), (2.0, 3.0)],
            vec![(0.0, 0.0), (0.0, 0.0)],
            vec![(2.0, -1e300), (1.0, 1e300), (f64::MAX, f64::MIN)],
            vec![(0.5, 1e-300), (0.25, 1e300)],
            noisy(23),
            noisy(24),
            noisy(5000),
        ] {
            for scale in [Scale::Linear, Scale::Log] {
                let line = Series::new("a", points.clone());
                let series = vec![
                    line.clone().best(Best::Lowest),
                    line.clone().dashed().marked().colour(1).best(Best::Highest),
                    line.clone().smoothed().colour(99),
                    line.smoothed_over_raw().colour(usize::MAX),
                ];
                let panel = Panel { title: "loss".into(), scale, reaches: vec![nan], series };
                let panels = vec![panel, Panel::default()];
                let curves =
                    Curves { title: "t".into(), x_label: "x".into(), panels, ..Curves::default() };
                check_picture(&curves.draw());
            }
        }
        check_picture(&Curves::default().draw());
    }

    #[test]
    fn long_and_many_names_stay_on_the_page() {
        for count in [1, 2, 5, 24] {
            for name in [
                "",
                "run",
                "a name that goes on and on, <b> & longer than any legend has \
                         room for, which nobody would ever write but somebody will",
            ] {
                let points = vec![(0.0, 1.0), (1.0, 123_456.0)];
                let series =
                    |colour| Series::new(name, points.clone()).colour(colour).best(Best::Highest);
                let panel = Panel {
                    title: name.into(),
                    series: (0..count).map(series).collect(),
                    ..Panel::default()
                };
                let curves = Curves {
                    title: name.into(),
                    x_label: name.into(),
                    panels: vec![panel],
                    ..Curves::default()
                };
                check_picture(&curves.draw());
            }
        }
    }

    #[test]
    fn lines_are_told_apart() {
        let series = (0..28).flat_map(|colour| {
            let line = Series::new("run", vec![(0.0, 1.0), (1.0, 2.0)]).colour(colour);
            [line.clone(), line.dashed()]
        });
        let panel = Panel { series: series.collect(), ..Panel::default() };
        let svg = check_picture(&Curves { panels: vec![panel], ..Curves::default() }.draw());
        let looks: std::collections::BTreeSet<&str> = (svg.lines())
            .filter(|line| line.starts_with("<polyline"))
            .filter_map(|line| line.split(" points").next())
            .collect();
        assert_eq!(looks.len(), 2 * 28, "{looks:?}");
    }

    #[test]
    fn the_best_point_is_told() {
        let points = vec![(1.0, 3.0), (2.0, 1.5), (3.0, 1.5), (4.0, f64::NAN), (5.0, 9.25)];
        for (best, expected) in
            [(Best::Lowest, "val (best 1.5 at 2)"), (Best::Highest, "val (best 9.25 at 5)")]
        {
            let series = vec![Series::new("val", points.clone()).best(best)];
            let panel = Panel { title: "loss".into(), series, ..Panel::default() };
            let curves = Curves { panels: vec![panel], ..Curves::default() };
            assert!(check_picture(&curves.draw()).contains(expected));
        }
    }

    #[test]
    fn smoothing_keeps_lines_and_ends() {
        let line: Vec<(f64, f64)> =
            (0..300).map(|step| (f64::from(step), 2.0 * f64::from(step) + 1.0)).collect();
        for ((x, y), (smooth_x, smooth_y)) in line.iter().zip(smoothed(&line, 5)) {
            assert!((x - smooth_x).abs() < 1e-9 && (y - smooth_y).abs() < 1e-9);
        }
        let noisy: Vec<(f64, f64)> =
            (0..300).map(|step| (f64::from(step), f64::from(step % 2))).collect();
        let smooth = smoothed(&noisy, 5);
        assert!(smooth[20..280].iter().all(|(_, y)| (y - 0.5).abs() < 0.1));
        assert!(smoothed(&[], 5).is_empty());
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let mut points: Vec<(f64, f64)> = (0..50_000).map(|step| (f64::from(step), 1.0)).collect();
        points[12_345].1 = 9.0;
        points[23_456].1 = -9.0;
        let thin = thinned(&points);
        assert!(thin.len() <= 4 * LINE_GROUPS);
        assert!(thin.contains(&points[12_345]) && thin.contains(&points[23_456]));
        assert_eq!((thin.first(), thin.last()), (points.first(), points.last()));
    }
}
