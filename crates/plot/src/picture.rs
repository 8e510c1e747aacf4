//! A picture: an SVG document that is written shape by shape, rasterised, and saved.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use resvg::{tiny_skia, usvg};
use thiserror::Error;
use unspool_train::checkpoint::write_atomically;

use super::text;
use super::theme::{self, Rgb};

/// Name of the hatching of cells without a number.
const HATCHING: &str = "missing";

/// Why a picture was not made.
#[derive(Debug, Error)]
pub enum PlotError {
    /// The file's name does not say which format is wanted.
    #[error("{}: a picture's name must end in .svg or .png", path.display())]
    UnknownFormat {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// The file could not be written; an earlier file of that name is untouched.
    #[error("{}: cannot write the picture: {source}", path.display())]
    Write {
        /// The file that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The picture could not be turned into pixels.
    #[error("cannot rasterise the picture: {reason}")]
    Raster {
        /// What the rasteriser said.
        reason: String,
    },
}

/// A file format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// Scalable, with searchable text; cells of heatmaps tell their weight under the pointer.
    Svg,
    /// Pixels, two for each SVG pixel.
    Png,
}

impl PictureFormat {
    /// The format that a path's extension names, in lower or upper case. Commands call this
    /// before long work, so that a mistyped name fails early.
    ///
    /// # Errors
    /// [`PlotError::UnknownFormat`] if the extension is neither `svg` nor `png`.
    pub fn from_path(path: &Path) -> Result<Self, PlotError> {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(PlotError::UnknownFormat { path: path.to_owned() }),
        }
    }
}

/// Which point of a text its position names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The left end.
    Start,
    /// The middle.
    Middle,
    /// The right end.
    End,
}

/// The direction of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From left to right.
    Across,
    /// Rising at 45°.
    Slanted,
    /// From bottom to top.
    Upwards,
}

/// The look of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextStyle {
    pub size: f64,
    pub colour: Rgb,
    pub anchor: Anchor,
    pub direction: Direction,
}

impl TextStyle {
    /// Level text that starts at its position.
    pub fn new(size: f64, colour: Rgb) -> Self {
        Self { size, colour, anchor: Anchor::Start, direction: Direction::Across }
    }

    pub fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub fn direction(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }
}

/// The look of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineStyle {
    pub colour: Rgb,
    pub width: f64,
    pub opacity: f64,
    /// The lengths of strokes and gaps, as SVG writes them; empty for a solid line.
    pub dashes: &'static str,
}

impl LineStyle {
    /// A solid opaque line.
    pub fn new(width: f64, colour: Rgb) -> Self {
        Self { colour, width, opacity: 1.0, dashes: "" }
    }
}

/// What fills a rectangle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill {
    /// One colour.
    Colour(Rgb),
    /// The hatching of what has no number.
    Hatched,
}

/// The shape of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Disc,
    Square,
    Triangle,
    Diamond,
}

/// A finished drawing. The same drawing has the same bytes in either format, on every machine.
#[derive(Clone, Debug)]
pub struct Picture {
    width: f64,
    height: f64,
    title: String,
    body: String,
    clips: usize,
}

impl Picture {
    /// An empty page of whole pixels; `title` is what screen readers and tool tips say.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let [width, height] = [width, height].map(|side| side.ceil().max(1.0));
        let title = text::clean(title);
        let mut picture = Self { width, height, title, body: String::new(), clips: 0 };
        picture.rectangle(0.0, 0.0, width, height, Fill::Colour(theme::BACKGROUND), None);
        picture
    }

    /// A filled rectangle without smoothed edges, so that neighbours meet; `note` is shown
    /// under the pointer.
    pub(super) fn rectangle(
        &mut self,
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        fill: Fill,
        note: Option<&str>,
    ) {
        let fill = match fill {
            Fill::Colour(colour) => hexadecimal(colour),
            Fill::Hatched => format!("url(#{HATCHING})"),
        };
        let [x, y, width, height] = [x, y, width, height].map(number);
        self.push(format_args!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}""#
        ));
        self.push(format_args!(r#" shape-rendering="crispEdges""#));
        match note {
            Some(note) => self.push(format_args!("><title>{}</title></rect>\n", escape(note))),
            None => self.push(format_args!("/>\n")),
        }
    }

    /// The outline of a rectangle.
    pub(super) fn frame(&mut self, x: f64, y: f64, width: f64, height: f64, colour: Rgb) {
        let [x, y, width, height] = [x, y, width, height].map(number);
        let colour = hexadecimal(colour);
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"none\" \
             stroke=\"{colour}\"/>\n"
        ));
    }

    /// A line through `points`, which are (x, y).
    pub(super) fn line(&mut self, points: &[(f64, f64)], style: LineStyle) {
        if points.len() < 2 {
            return;
        }
        let (colour, width) = (hexadecimal(style.colour), number(style.width));
        self.push(format_args!(r#"<polyline fill="none" stroke="{colour}""#));
        self.push(format_args!(r#" stroke-width="{width}" stroke-linejoin="round""#));
        if style.opacity < 1.0 {
            self.push(format_args!(r#" stroke-opacity="{}""#, number(style.opacity)));
        }
        if !style.dashes.is_empty() {
            self.push(format_args!(r#" stroke-dasharray="{}""#, style.dashes));
        }
        self.push(format_args!(r#" points=""#));
        for (index, &(x, y)) in points.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            self.push(format_args!("{space}{},{}", number(x), number(y)));
        }
        self.push(format_args!("\"/>\n"));
    }

    /// A filled marker with a thin light edge, which keeps it apart from a line beneath.
    pub(super) fn marker(&mut self, x: f64, y: f64, radius: f64, marker: Marker, colour: Rgb) {
        // Half sides that give each shape about the area of the disc.
        let corners: &[(f64, f64)] = match marker {
            Marker::Disc => {
                let [x, y, radius] = [x, y, radius].map(number);
                let (fill, edge) = (hexadecimal(colour), hexadecimal(theme::BACKGROUND));
                self.push(format_args!(
                    "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{fill}\" \
                     stroke=\"{edge}\" stroke-width=\"0.8\"/>\n"
                ));
                return;
            }
            Marker::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            Marker::Triangle => &[(0.0, -1.3), (1.2, 0.8), (-1.2, 0.8)],
            Marker::Diamond => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        };
        let mut points = String::new();
        for &(dx, dy) in corners {
            let (x, y) = (number(x + dx * radius), number(y + dy * radius));
            let space = if points.is_empty() { "" } else { " " };
            push(&mut points, format_args!("{space}{x},{y}"));
        }
        let (fill, edge) = (hexadecimal(colour), hexadecimal(theme::BACKGROUND));
        self.push(format_args!(
            "<polygon points=\"{points}\" fill=\"{fill}\" stroke=\"{edge}\" \
             stroke-width=\"0.8\"/>\n"
        ));
    }

    /// An open circle.
    pub(super) fn ring(&mut self, x: f64, y: f64, radius: f64, colour: Rgb) {
        let [x, y, radius] = [x, y, radius].map(number);
        let colour = hexadecimal(colour);
        self.push(format_args!(
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"1.6\"/>\n"
        ));
    }

    /// One line of text. Its position is on the optical middle of the line, at the end that the
    /// anchor names.
    pub(super) fn text(&mut self, x: f64, y: f64, content: &str, style: TextStyle) {
        let content = text::clean(content);
        if content.trim().is_empty() {
            return;
        }
        // The matrices are written out: a rotation by degrees would compute its sine anew in
        // each viewer.
        let matrix = match style.direction {
            Direction::Across => "1 0 0 1",
            Direction::Slanted => "0.70711 -0.70711 0.70711 0.70711",
            Direction::Upwards => "0 -1 1 0",
        };
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (size, colour) = (number(style.size), hexadecimal(style.colour));
        let baseline = number(theme::MIDDLE_TO_BASELINE * style.size);
        let (x, y) = (number(x), number(y));
        self.push(format_args!(r#"<text transform="matrix({matrix} {x} {y})" y="{baseline}""#));
        self.push(format_args!(r#" font-size="{size}" fill="{colour}" text-anchor="{anchor}">"#));
        self.push(format_args!("{}</text>\n", escape(&content)));
    }

    /// Draws with everything outside the rectangle cut off.
    pub(super) fn clipped(
        &mut self,
        [x, y, width, height]: [f64; 4],
        draw: impl FnOnce(&mut Self),
    ) {
        self.clips += 1;
        let name = self.clips;
        let [x, y, width, height] = [x, y, width, height].map(number);
        self.push(format_args!(
            "<clipPath id=\"clip{name}\"><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" \
             height=\"{height}\"/></clipPath>\n<g clip-path=\"url(#clip{name})\">\n"
        ));
        draw(self);
        self.push(format_args!("</g>\n"));
    }

    fn push(&mut self, shape: std::fmt::Arguments<'_>) {
        push(&mut self.body, shape);
    }

    /// Its width and height, in pixels of SVG.
    pub fn size(&self) -> [f64; 2] {
        [self.width, self.height]
    }

    /// The picture as an SVG document.
    pub fn svg(&self) -> String {
        let (width, height) = (number(self.width), number(self.height));
        let family = theme::FONT_FAMILY;
        let [ground, strokes] = theme::MISSING.map(hexadecimal);
        let title = escape(&self.title);
        let body = &self.body;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"{family}\" role=\"img\">\n\
             <title>{title}</title>\n\
             <defs><pattern id=\"{HATCHING}\" width=\"6\" height=\"6\" \
             patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"6\" fill=\"{ground}\"/>\
             <path d=\"M-1.5 1.5l3-3M0 6l6-6M4.5 7.5l3-3\" stroke=\"{strokes}\"/>\
             </pattern></defs>\n{body}</svg>\n"
        )
    }

    /// The picture as a PNG file, two pixels for each SVG pixel; very large pictures fewer.
    ///
    /// # Errors
    /// [`PlotError::Raster`] if there is no memory for the pixels.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let options = usvg::Options {
            font_family: text::FAMILY.to_owned(),
            fontdb: text::database(),
            ..usvg::Options::default()
        };
        let tree = usvg::Tree::from_str(&self.svg(), &options)
            .map_err(|error| PlotError::Raster { reason: error.to_string() })?;
        let scale = theme::PNG_SCALE.min(theme::PNG_MAX_SIDE / self.width.max(self.height));
        let [width, height] =
            [self.width, self.height].map(|side| (side * scale).round().max(1.0) as u32);
        let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or_else(|| {
            PlotError::Raster { reason: format!("no room for {width} by {height} pixels") }
        })?;
        let transform = tiny_skia::Transform::from_scale(scale as f32, scale as f32);
        resvg::render(&tree, transform, &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| PlotError::Raster { reason: error.to_string() })
    }

    /// Writes the picture in the format that the extension names. The file appears whole or not
    /// at all: it is written under another name beside its place, then renamed.
    ///
    /// # Errors
    /// [`PlotError::UnknownFormat`] for another extension than `.svg` and `.png`;
    /// [`PlotError::Write`] if the file cannot be written; [`PlotError::Raster`] as
    /// [`Self::png`].
    pub fn save(&self, path: &Path) -> Result<(), PlotError> {
        let bytes = match PictureFormat::from_path(path)? {
            PictureFormat::Svg => self.svg().into_bytes(),
            PictureFormat::Png => self.png()?,
        };
        write_atomically(path, &bytes)
            .map_err(|source| PlotError::Write { path: path.to_owned(), source })
    }
}

/// Appends to a string, which cannot fail.
fn push(text: &mut String, content: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(content);
}

/// A coordinate with at most two decimals: as fine as any screen, and the same everywhere.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn hexadecimal([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text as the content of an XML element or attribute. It must be [`text::clean`].
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What every test of a figure asks of its picture.
#[cfg(test)]
pub(super) mod checks {
    use super::*;

    /// Asserts that both forms are valid, agree in size, and repeat; gives the SVG back.
    pub fn check_picture(picture: &Picture) -> String {
        let svg = picture.svg();
        let document = usvg::roxmltree::Document::parse(&svg).expect("well-formed XML");
        for text in document.descendants() {
            let name = text.tag_name().name();
            assert!(!["script", "image", "img", "a"].contains(&name), "a foreign element {name}");
        }
        for bad in ["\"NaN", "NaN,", ",NaN", "inf,", ",inf", "\"inf", " NaN)", " inf)"] {
            assert!(!svg.contains(bad), "a coordinate is not a number");
        }

        let png = picture.png().expect("rasterised");
        let pixels = tiny_skia::Pixmap::decode_png(&png).expect("a PNG file");
        let scale = theme::PNG_SCALE.min(theme::PNG_MAX_SIDE / picture.width.max(picture.height));
        assert_eq!(pixels.width(), (picture.width * scale).round() as u32);
        assert_eq!(pixels.height(), (picture.height * scale).round() as u32);
        check_margin(&pixels);
        check_text(picture, &svg);
        svg
    }

    /// Nothing may touch the edge of the page.
    fn check_margin(pixels: &tiny_skia::Pixmap) {
        let (width, height) = (pixels.width(), pixels.height());
        let blank = |x, y| {
            let pixel = pixels.pixel(x, y).expect("inside");
            assert_eq!(
                [pixel.red(), pixel.green(), pixel.blue()],
                theme::BACKGROUND,
                "cut off at {x}, {y}"
            );
        };
        (0..width).for_each(|x| [0, height - 1].into_iter().for_each(|y| blank(x, y)));
        (0..height).for_each(|y| [0, width - 1].into_iter().for_each(|x| blank(x, y)));
    }

    /// No text may leave the page, and no two may overlap.
    fn check_text(picture: &Picture, svg: &str) {
        let options = usvg::Options { fontdb: text::database(), ..usvg::Options::default() };
        let tree = usvg::Tree::from_str(svg, &options).expect("a valid picture");
        let page = usvg::Rect::from_xywh(0.0, 0.0, picture.width as f32, picture.height as f32)
            .expect("a page");
        let mut level: Vec<usvg::Rect> = Vec::new();
        collect_texts(tree.root(), &mut |text| {
            let bounds = text.abs_bounding_box();
            let inside = page.left() <= bounds.left()
                && page.top() <= bounds.top()
                && bounds.right() <= page.right()
                && bounds.bottom() <= page.bottom();
            assert!(inside, "text leaves the page: {bounds:?}");
            // The upright box around slanted text also holds what is not its own.
            let transform = text.abs_transform();
            if transform.kx == 0.0 || transform.sx == 0.0 {
                for other in &level {
                    let apart = other.right() <= bounds.left()
                        || bounds.right() <= other.left()
                        || other.bottom() <= bounds.top()
                        || bounds.bottom() <= other.top();
                    assert!(apart, "two texts overlap: {bounds:?} and {other:?}");
                }
                level.push(bounds);
            }
        });
    }

    fn collect_texts(group: &usvg::Group, visit: &mut impl FnMut(&usvg::Text)) {
        for node in group.children() {
            match node {
                usvg::Node::Group(inner) => collect_texts(inner, visit),
                usvg::Node::Text(text) => visit(text),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::checks::check_picture;
    use super::*;

    #[test]
    fn text_of_users_stays_text() {
        for hostile in [
            "<img src=x onerror=alert(1)>",
            "</text></svg><script>alert(1)</script>",
            "\"'><a href='javascript:0'>",
            "&amp; &#0; &bogus;",
            "]]><![CDATA[",
            "\u{0}\u{1}\u{8}\u{1b}[31m\u{7f}\u{fffe}\u{ffff}\u{202e}",
            "日本語 😀 नमस्ते שלום مرحبا e\u{301}",
        ] {
            let mut picture = Picture::new(1200.0, 60.0, hostile);
            let style = TextStyle::new(12.0, theme::INK);
            picture.text(10.0, 30.0, hostile, style);
            let note = text::clean(hostile);
            picture.rectangle(5.0, 5.0, 5.0, 5.0, Fill::Hatched, Some(&note));
            let svg = check_picture(&picture);
            let document = usvg::roxmltree::Document::parse(&svg).expect("well-formed");
            let texts: Vec<_> =
                document.descendants().filter(|node| node.has_tag_name("text")).collect();
            assert_eq!(texts.len(), 1);
            assert_eq!(texts[0].text(), Some(note.as_str()));
        }
    }

    #[test]
    fn the_same_drawing_has_the_same_bytes() {
        let draw = || {
            let mut picture = Picture::new(200.0, 60.0, "twice");
            let style = TextStyle::new(13.0, theme::INK).direction(Direction::Slanted);
            picture.text(30.0, 50.0, "déjà vu", style);
            picture.line(&[(5.0, 5.0), (150.0, 40.0)], LineStyle::new(1.8, theme::SERIES[0]));
            picture
        };
        assert_eq!(draw().svg(), draw().svg());
        let png = draw().png().expect("rasterised");
        assert_eq!(png, draw().png().expect("rasterised"));
        assert_ne!(png, Picture::new(200.0, 60.0, "blank").png().expect("rasterised"));
    }

    #[test]
    fn the_extension_names_the_format() {
        for (name, expected) in [
            ("a.svg", Some(PictureFormat::Svg)),
            ("a.b.PNG", Some(PictureFormat::Png)),
            ("a.jpg", None),
            ("svg", None),
            (".svg", None),
            ("", None),
        ] {
            assert_eq!(PictureFormat::from_path(Path::new(name)).ok(), expected, "{name}");
        }
        let error = PictureFormat::from_path(Path::new("runs/a.jpg")).expect_err("no such format");
        assert_eq!(error.to_string(), "runs/a.jpg: a picture's name must end in .svg or .png");
    }

    #[test]
    fn a_file_is_replaced_whole_or_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let picture = Picture::new(30.0, 20.0, "a page");
        let path = folder.path().join("a.svg");
        fs::write(&path, "older").expect("written");
        picture.save(&path).expect("saved");
        assert_eq!(fs::read_to_string(&path).expect("read"), picture.svg());
        picture.save(&folder.path().join("a.png")).expect("saved");

        let missing = folder.path().join("none").join("a.svg");
        let error = picture.save(&missing).expect_err("no such folder");
        assert!(matches!(&error, PlotError::Write { path, .. } if *path == missing));
        // The place is taken by a folder: the rename fails, and no temporary file stays.
        fs::create_dir(folder.path().join("taken.svg")).expect("a folder");
        assert!(picture.save(&folder.path().join("taken.svg")).is_err());
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["a.png", "a.svg", "taken.svg"]);
    }
}
