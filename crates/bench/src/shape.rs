//! Shapes of matrix products: of real models, squares, and the user's own.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A product of `[m, k]` and `[k, n]`, as of a layer's forward pass: m rows of a batch, k inputs,
/// n outputs. None is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// Rows of the first matrix and of the product.
    pub m: usize,
    /// Terms of each sum.
    pub k: usize,
    /// Columns of the second matrix and of the product.
    pub n: usize,
}

/// The most numbers that a matrix may have: 1 GiB of `f32`.
const LARGEST: usize = 1 << 28;

/// A shape cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// It is not three whole numbers above 0.
    #[error("{0:?} is no shape: three whole numbers above 0, such as 64x640x1024, are")]
    Syntax(String),
    /// A matrix would be too large.
    #[error("{0}: a matrix of it has more than {LARGEST} numbers")]
    TooLarge(String),
    /// One in a file.
    #[error("line {line}: {error}")]
    Line {
        /// The line's number, from 1 on.
        line: usize,
        /// What is wrong there.
        error: Box<ShapeError>,
    },
    /// A file of TOML is not one, or lacks the key `shapes`.
    #[error("{0}")]
    Toml(String),
    /// A file has no shapes.
    #[error("there are no shapes")]
    Empty,
}

impl Shape {
    /// A shape.
    ///
    /// # Errors
    /// A number is 0, or a matrix too large.
    pub fn new(m: usize, k: usize, n: usize) -> Result<Self, ShapeError> {
        let text = || format!("{m}x{k}x{n}");
        if m == 0 || k == 0 || n == 0 {
            return Err(ShapeError::Syntax(text()));
        }
        let fits = |rows: usize, columns: usize| {
            rows.checked_mul(columns).is_some_and(|numbers| numbers <= LARGEST)
        };
        match fits(m, k) && fits(k, n) && fits(m, n) {
            true => Ok(Shape { m, k, n }),
            false => Err(ShapeError::TooLarge(text())),
        }
    }

    /// Operations of the product: `2·m·k·n`.
    pub fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.k as f64 * self.n as f64
    }

    /// Multiply-adds of the product: `m·k·n`.
    pub fn multiply_adds(&self) -> usize {
        self.m.saturating_mul(self.k).saturating_mul(self.n)
    }

    /// The side of a square with as many operations.
    pub fn side(&self) -> f64 {
        (self.operations() / 2.0).cbrt()
    }

    /// Whether all three are the same.
    pub fn is_square(&self) -> bool {
        self.m == self.k && self.k == self.n
    }

    /// Shapes that encoder-decoders of recurrent layers have, forward. From the first: the gates of
    /// an LSTM's step for one sentence; the logits of one word, of a small vocabulary and of a
    /// large one; the gates of a step for a beam, and for a batch; the same with input feeding;
    /// input projections and logits of all time steps of a batch at once; a tall and a thin
    /// product, as attention has.
    pub fn of_models() -> Vec<Shape> {
        [
            [1, 512, 1024],
            [1, 256, 115],
            [1, 256, 8000],
            [5, 512, 1024],
            [64, 256, 1024],
            [64, 640, 1024],
            [1280, 256, 1024],
            [1664, 256, 115],
            [4096, 128, 16],
            [64, 1280, 64],
        ]
        .map(|[m, k, n]| Shape { m, k, n })
        .to_vec()
    }

    /// Squares from 32 to 1024.
    pub fn squares() -> Vec<Shape> {
        [32, 64, 128, 256, 512, 1024].map(|side| Shape { m: side, k: side, n: side }).to_vec()
    }

    /// A few shapes that say the most.
    pub fn few() -> Vec<Shape> {
        [[1, 512, 1024], [64, 640, 1024], [1280, 256, 1024], [256, 256, 256]]
            .map(|[m, k, n]| Shape { m, k, n })
            .to_vec()
    }

    /// The shapes of a text with one on each line; what is behind a `#` is a comment.
    ///
    /// # Errors
    /// A line is no shape, or none is.
    pub fn parse_lines(text: &str) -> Result<Vec<Shape>, ShapeError> {
        let lines = text.lines().enumerate().map(|(number, line)| {
            let shape = line.split('#').next().unwrap_or_default().trim();
            (number + 1, shape)
        });
        let shapes = lines.filter(|(_, text)| !text.is_empty()).map(|(line, text)| {
            let shape = text.parse();
            shape.map_err(|error| ShapeError::Line { line, error: Box::new(error) })
        });
        let shapes = shapes.collect::<Result<Vec<Shape>, _>>()?;
        if shapes.is_empty() { Err(ShapeError::Empty) } else { Ok(shapes) }
    }

    /// The shapes of a TOML text: `shapes = ["64x640x1024", [1, 512, 1024]]`.
    ///
    /// # Errors
    /// It is not TOML, has other keys, or an entry is no shape.
    pub fn parse_toml(text: &str) -> Result<Vec<Shape>, ShapeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            shapes: Vec<Entry>,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a shape is \"64x640x1024\" or [64, 640, 1024]")]
        enum Entry {
            Text(String),
            Numbers([usize; 3]),
        }
        let file: File =
            toml::from_str(text).map_err(|error| ShapeError::Toml(error.to_string()))?;
        let shapes = file.shapes.into_iter().map(|entry| match entry {
            Entry::Text(text) => text.parse(),
            Entry::Numbers([m, k, n]) => Shape::new(m, k, n),
        });
        let shapes = shapes.collect::<Result<Vec<_>, _>>()?;
        if shapes.is_empty() { Err(ShapeError::Empty) } else { Ok(shapes) }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.m, self.k, self.n)
    }
}

impl FromStr for Shape {
    type Err = ShapeError;

    /// `64x640x1024`; `64×640×1024`, `64, 640, 1024` and `64 640 1024` too.
    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let wrong = || ShapeError::Syntax(text.to_owned());
        let separator = |c: char| matches!(c, 'x' | 'X' | '×' | ',') || c.is_whitespace();
        let numbers = text.split(separator).filter(|part| !part.is_empty());
        let numbers: Vec<usize> =
            numbers.map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        match numbers[..] {
            [m, k, n] if m > 0 && k > 0 && n > 0 => Shape::new(m, k, n),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_in_every_spelling_and_nothing_else_is() {
        let shape = Shape { m: 64, k: 640, n: 1024 };
        for text in ["64x640x1024", "64×640×1024", "64, 640, 1024", " 64\t640 1024", "64X640,1024"]
        {
            assert_eq!(text.parse(), Ok(shape), "{text:?}");
        }
        for text in
            ["", "64", "64x640", "1x2x3x4", "0x1x1", "-1x2x3", "1.5x2x3", "axbxc", "64x640x1024y"]
        {
            let error = text.parse::<Shape>().unwrap_err();
            assert_eq!(error, ShapeError::Syntax(text.into()));
        }
        for text in ["1x1x268435457", "99999999999x1x99999999999", "20000x1x20000"] {
            let error = text.parse::<Shape>().unwrap_err();
            assert_eq!(error, ShapeError::TooLarge(text.into()));
        }
        assert_eq!(shape.to_string().parse(), Ok(shape));
    }

    #[test]
    fn files_are_read_and_errors_are_where_they_are() {
        let [one, two] = [[1, 2, 3], [4, 5, 6]].map(|[m, k, n]| Shape { m, k, n });
        let text = "# of mine\n1x2x3\n\n4 5 6 # the gates\n";
        assert_eq!(Shape::parse_lines(text), Ok(vec![one, two]));
        let error = Shape::parse_lines("1x2x3\n\n4x5\n").unwrap_err();
        assert!(error.to_string().starts_with("line 3: \"4x5\" is no shape"), "{error}");
        assert_eq!(Shape::parse_lines("# nothing\n"), Err(ShapeError::Empty));
        assert_eq!(Shape::parse_toml("shapes = [\"1x2x3\", [4, 5, 6]]"), Ok(vec![one, two]));
        for (text, part) in [
            ("shapes = []", "no shapes"),
            ("shapes = [[1, 2]]", "a shape is"),
            ("shapes = [[0, 1, 1]]", "0x1x1"),
            ("shapes = [1]", "a shape is"),
            ("sizes = []", "sizes"),
            ("shapes", "line 1"),
        ] {
            let error = Shape::parse_toml(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_shapes_of_ours_are_shapes() {
        for shapes in [Shape::of_models(), Shape::squares(), Shape::few()] {
            assert!(!shapes.is_empty());
            for shape in shapes {
                assert_eq!(Shape::new(shape.m, shape.k, shape.n), Ok(shape));
            }
        }
        assert!(Shape::squares().iter().all(Shape::is_square));
        assert_eq!(Shape::squares()[1].side(), 64.0);
    }
}
