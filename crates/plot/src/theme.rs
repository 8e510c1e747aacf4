//! Every colour and size of the pictures. Lengths are SVG pixels.

/// A colour as red, green and blue.
pub type Rgb = [u8; 3];

/// The page.
pub const BACKGROUND: Rgb = [255, 255, 255];
/// Titles and token labels.
pub const INK: Rgb = [31, 35, 40];
/// Tick labels, axis names and legends.
pub const MUTED_INK: Rgb = [87, 96, 106];
/// Frames and axes.
pub const FRAME: Rgb = [175, 184, 193];
/// Grid lines behind curves.
pub const GRID: Rgb = [232, 235, 238];
/// Lines between the cells of a heatmap.
pub const CELL_LINE: Rgb = [226, 232, 238];
/// The ground and the strokes of a cell without a number.
pub const MISSING: [Rgb; 2] = [[236, 236, 236], [158, 158, 158]];

/// Colours of series: the set of Okabe and Ito ("Color Universal Design", 2008), which stays
/// apart for colour-blind readers, in an order that keeps the first few far apart on white.
pub const SERIES: [Rgb; 7] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [60, 60, 60],
];

/// The strokes and gaps of lines whose colour has been used before: for each round of the colours,
/// those of a line and those of its dashed companion. Empty is a solid line.
pub const DASHES: [[&str; 2]; 4] =
    [["", "5 3"], ["14 3", "14 3 2 3"], ["1.5 2.5", "5 2.5 1.5 2.5"], ["8 8", "8 3 2 3 2 3"]];

/// The colours of weights from 0 to 1, evenly spaced. Their lightness in the OKLab space falls
/// in equal steps from 0.985 to 0.28 while the hue turns from 228° to 264°, so equal differences
/// of weight look equally large, also in grey.
pub const WEIGHTS: [Rgb; 17] = [
    [247, 251, 252],
    [214, 240, 254],
    [185, 228, 252],
    [159, 215, 249],
    [135, 202, 244],
    [113, 188, 238],
    [93, 173, 230],
    [76, 159, 221],
    [62, 144, 210],
    [50, 129, 198],
    [41, 115, 184],
    [35, 101, 169],
    [31, 87, 153],
    [28, 74, 136],
    [25, 61, 118],
    [22, 49, 100],
    [19, 38, 82],
];

/// The fonts that an SVG viewer may use. The first is the built-in font, which all text is laid
/// out with; the next are as wide or narrower, so that nothing overlaps without it.
pub const FONT_FAMILY: &str = "'DejaVu Sans', Verdana, Arial, sans-serif";
/// Font size of a picture's title.
pub const TITLE_SIZE: f64 = 15.0;
/// Font size of a panel's title.
pub const PANEL_TITLE_SIZE: f64 = 12.5;
/// Largest font size of token labels.
pub const LABEL_SIZE: f64 = 13.0;
/// Font size of ticks, axis names and legends.
pub const SMALL_SIZE: f64 = 11.0;
/// From one baseline to the next, in font sizes.
pub const LINE_HEIGHT: f64 = 1.3;
/// From the optical middle of a line of text down to its baseline, in font sizes.
pub const MIDDLE_TO_BASELINE: f64 = 0.34;

/// Empty space around every picture.
pub const MARGIN: f64 = 16.0;
/// Between a label and what it names.
pub const LABEL_GAP: f64 = 6.0;
/// Between a title and what is below it.
pub const TITLE_GAP: f64 = 12.0;

/// Pixels of a PNG for each SVG pixel: sharp on dense screens and in print.
pub const PNG_SCALE: f64 = 2.0;
/// Longest side of a PNG in its own pixels; larger pictures are scaled down to it.
pub const PNG_MAX_SIDE: f64 = 6000.0;

/// The side of a heatmap's grid that its cells are made to fill, within the two limits below.
pub const GRID_SIDE: f64 = 520.0;
/// Smallest cell whose tokens are all labelled.
pub const CELL_MIN: f64 = 13.0;
/// Largest cell.
pub const CELL_MAX: f64 = 34.0;
/// Side from which grids of very many tokens get still smaller cells.
pub const GRID_SIDE_MAX: f64 = 2600.0;
/// Longest label of a token; longer ones end in an ellipsis.
pub const TOKEN_WIDTH_MAX: f64 = 132.0;
/// Thickness of the colour bar.
pub const COLOUR_BAR_WIDTH: f64 = 14.0;
/// Shortest and longest colour bar.
pub const COLOUR_BAR_HEIGHT: [f64; 2] = [84.0, 260.0];
/// Between the grid and the colour bar.
pub const COLOUR_BAR_GAP: f64 = 22.0;

/// Width of a picture of curves.
pub const CURVES_WIDTH: f64 = 720.0;
/// Height of the only panel of a picture.
pub const SINGLE_PANEL_HEIGHT: f64 = 320.0;
/// Height of each of several panels.
pub const STACKED_PANEL_HEIGHT: f64 = 190.0;
/// Between two panels.
pub const PANEL_GAP: f64 = 22.0;
/// Share of the range of x, and of y, that is left empty at either end.
pub const AXIS_PADDING: [f64; 2] = [0.02, 0.05];
/// Thickness of a curve.
pub const LINE_WIDTH: f64 = 1.8;
/// Thickness of the unsmoothed line behind a smoothed one.
pub const RAW_LINE_WIDTH: f64 = 0.8;
/// Opacity of the unsmoothed line.
pub const RAW_OPACITY: f64 = 0.28;
/// Radius of a marker.
pub const MARKER_RADIUS: f64 = 3.2;
/// Radius of the ring around the best point.
pub const BEST_RADIUS: f64 = 5.5;
/// Length of the piece of line in a legend.
pub const LEGEND_KEY: f64 = 24.0;
/// Between two entries of a legend.
pub const LEGEND_GAP: f64 = 18.0;
/// Longest name in a legend.
pub const LEGEND_WIDTH_MAX: f64 = 300.0;
