//! Arrays of a trace: whole, or what can be said of a large one in little space.

use ndarray::{ArrayBase, Data, Dimension};
use serde::{Deserialize, Serialize};

/// An array of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// What is in it.
    #[serde(flatten)]
    pub content: Content,
}

/// What is in an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// All numbers, in standard order.
    #[serde(with = "numbers")]
    Numbers(Vec<f64>),
    /// A summary.
    Summary(Box<Summary>),
}

/// What can be said of a large array. It is taken as a matrix: the last axis are the columns, all
/// others together the rows. What is not finite takes no part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The smallest number.
    #[serde(with = "number")]
    pub least: f64,
    /// The largest number.
    #[serde(with = "number")]
    pub largest: f64,
    /// The mean.
    #[serde(with = "number")]
    pub mean: f64,
    /// The Euclidean norm.
    #[serde(with = "number")]
    pub norm: f64,
    /// How many are exactly zero.
    pub zeros: usize,
    /// How many are not finite.
    pub not_finite: usize,
    /// The means of blocks, row by row of blocks.
    #[serde(with = "numbers")]
    pub blocks: Vec<f64>,
    /// How many rows and columns of blocks there are.
    pub grid: [usize; 2],
    /// How many numbers lie in each of as many equal parts of `least..=largest`.
    pub histogram: Vec<usize>,
    /// Some rows, exactly.
    pub rows: Vec<Row>,
}

/// A row of a matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its number.
    pub row: usize,
    /// Its numbers.
    #[serde(with = "numbers")]
    pub numbers: Vec<f64>,
}

/// How much of an array is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// An array of more numbers is summarised.
    pub numbers: usize,
    /// At most so many rows and columns of blocks.
    pub blocks: usize,
    /// So many parts of the histogram.
    pub bins: usize,
    /// So many rows are kept exactly: those of the largest norm.
    pub rows: usize,
    /// A row that is kept has at most so many numbers.
    pub row_length: usize,
    /// How many levels of opened nodes are kept.
    pub depth: usize,
    /// To how many significant digits numbers are rounded; `None` for not at all.
    pub digits: Option<usize>,
}

impl Limits {
    /// Everything.
    pub const NONE: Limits = Limits {
        numbers: usize::MAX,
        blocks: 16,
        bins: 16,
        rows: 0,
        row_length: 0,
        depth: usize::MAX,
        digits: None,
    };
}

impl Default for Limits {
    /// What keeps a trace of a real model small.
    fn default() -> Self {
        Limits { numbers: 1024, blocks: 16, bins: 16, rows: 2, row_length: 512, ..Limits::NONE }
    }
}

impl Array {
    /// An array, whole.
    pub fn new<D: Dimension>(x: &ArrayBase<impl Data<Elem = f64>, D>) -> Self {
        Array { shape: x.shape().into(), content: Content::Numbers(x.iter().copied().collect()) }
    }

    /// An array, whole or, when it is large, summarised.
    pub fn within<D: Dimension>(x: &ArrayBase<impl Data<Elem = f64>, D>, limits: &Limits) -> Self {
        Array::new(x).limited(limits)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All numbers in standard order, when they are kept.
    pub fn numbers(&self) -> Option<&[f64]> {
        match &self.content {
            Content::Numbers(numbers) => Some(numbers),
            Content::Summary(_) => None,
        }
    }

    /// The Euclidean norm.
    pub fn norm(&self) -> f64 {
        match &self.content {
            Content::Numbers(numbers) => norm(numbers),
            Content::Summary(summary) => summary.norm,
        }
    }

    /// The same, summarised if it is large.
    pub fn limited(&self, limits: &Limits) -> Self {
        let mut limited = self.clone();
        if let Content::Numbers(numbers) = &self.content
            && numbers.len() > limits.numbers
        {
            limited.content = Content::Summary(Summary::new(&self.shape, numbers, limits).into());
        }
        if let Some(digits) = limits.digits {
            let round = |numbers: &mut Vec<f64>| {
                numbers.iter_mut().for_each(|x| *x = rounded(*x, digits));
            };
            match &mut limited.content {
                Content::Numbers(numbers) => round(numbers),
                Content::Summary(summary) => {
                    round(&mut summary.blocks);
                    summary.rows.iter_mut().for_each(|row| round(&mut row.numbers));
                }
            }
        }
        limited
    }
}

/// A number to so many significant digits.
fn rounded(x: f64, digits: usize) -> f64 {
    format!("{x:.*e}", digits.saturating_sub(1)).parse().unwrap_or(x)
}

fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().filter(|x| x.is_finite()).map(|x| x * x).sum::<f64>().sqrt()
}

impl Summary {
    fn new(shape: &[usize], numbers: &[f64], limits: &Limits) -> Self {
        let columns = shape.last().copied().unwrap_or(1).max(1);
        let rows = numbers.len() / columns;
        let finite = || numbers.iter().copied().filter(|x| x.is_finite());
        let count = finite().count();
        let (least, largest) =
            finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        let grid = [rows.min(limits.blocks), columns.min(limits.blocks)];
        let mut sums = vec![(0.0, 0usize); grid[0] * grid[1]];
        let bins = limits.bins.max(1);
        let mut histogram = vec![0; bins];
        for (row, numbers) in numbers.chunks(columns).enumerate() {
            let block_row = row * grid[0] / rows.max(1);
            for (column, &x) in numbers.iter().enumerate().filter(|(_, x)| x.is_finite()) {
                let block = &mut sums[block_row * grid[1] + column * grid[1] / columns];
                *block = (block.0 + x, block.1 + 1);
                let place = (x - least) / (largest - least) * bins as f64;
                histogram[(place as usize).min(bins - 1)] += 1;
            }
        }
        let mut by_norm: Vec<(usize, f64)> =
            numbers.chunks(columns).map(norm).enumerate().collect();
        by_norm.sort_by(|a, b| b.1.total_cmp(&a.1));
        by_norm.truncate(if columns > limits.row_length { 0 } else { limits.rows });
        by_norm.sort_unstable_by_key(|&(row, _)| row);
        let exact = |(row, _): (usize, f64)| Row {
            row,
            numbers: numbers[row * columns..(row + 1) * columns].into(),
        };
        Summary {
            least,
            largest,
            mean: finite().sum::<f64>() / count.max(1) as f64,
            norm: norm(numbers),
            zeros: numbers.iter().filter(|&&x| x == 0.0).count(),
            not_finite: numbers.len() - count,
            blocks: sums.into_iter().map(|(sum, count)| sum / count.max(1) as f64).collect(),
            grid,
            histogram,
            rows: by_norm.into_iter().map(exact).collect(),
        }
    }
}

/// A number in formats that have no infinity: there, a text.
pub(crate) mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Shown {
        Number(f64),
        Text(String),
    }

    impl From<f64> for Shown {
        fn from(x: f64) -> Self {
            if x.is_finite() { Shown::Number(x) } else { Shown::Text(x.to_string()) }
        }
    }

    impl From<Shown> for f64 {
        fn from(shown: Shown) -> f64 {
            match shown {
                Shown::Number(x) => x,
                Shown::Text(text) => text.parse().unwrap_or(f64::NAN),
            }
        }
    }

    pub(crate) fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Shown::from(*x).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Shown::deserialize(d).map(f64::from)
    }
}

/// The same for several.
pub(crate) mod numbers {
    use super::number::Shown;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(all: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(|&x| Shown::from(x)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Shown>::deserialize(d)?.into_iter().map(f64::from).collect())
    }
}
