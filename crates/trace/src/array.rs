//! Arrays of a trace: whole, or what can be said of a large one in little space.

use std::borrow::Cow;

use ndarray::{ArrayBase, Data, Dimension};
use serde::{Deserialize, Serialize};

use crate::check::largest;

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
/// others together the rows. What is not finite takes no part, but in the norm.
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
    /// The Euclidean norm; no finite number when some of the numbers are none.
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
    /// The weights of attention, and their gradients, are summarised when they are more than that.
    pub weights: usize,
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
        weights: usize::MAX,
        blocks: 16,
        bins: 16,
        rows: 0,
        row_length: usize::MAX,
        depth: usize::MAX,
        digits: None,
    };
}

impl Limits {
    /// The same for the weights of attention.
    pub(crate) fn of_weights(&self) -> Limits {
        Limits { numbers: self.numbers.max(self.weights), ..self.clone() }
    }
}

impl Default for Limits {
    /// What keeps a trace of a real model small: about a kilobyte an array, and the largest row.
    fn default() -> Self {
        Limits { numbers: 64, weights: 4096, blocks: 8, rows: 1, row_length: 256, ..Limits::NONE }
    }
}

impl Array {
    /// An array, whole.
    pub fn new<D: Dimension>(x: &ArrayBase<impl Data<Elem = f64>, D>) -> Self {
        Array { shape: x.shape().into(), content: Content::Numbers(x.iter().copied().collect()) }
    }

    /// An array, whole or, when it is large, summarised.
    pub fn within<D: Dimension>(x: &ArrayBase<impl Data<Elem = f64>, D>, limits: &Limits) -> Self {
        let mut array = match x.as_slice() {
            // Without a copy of all of it.
            Some(numbers) if numbers.len() > limits.numbers => {
                let summary = Summary::new(x.shape(), numbers, limits);
                Array { shape: x.shape().into(), content: Content::Summary(summary.into()) }
            }
            _ => Array::new(x),
        };
        array.limit(limits);
        array
    }

    /// The same, with these rows of it exactly when it is a summary: those on the path that is shown,
    /// such as the words of a sentence in a table of words.
    pub fn with_rows<D: Dimension>(
        mut self,
        x: &ArrayBase<impl Data<Elem = f64>, D>,
        rows: &[usize],
        limits: &Limits,
    ) -> Self {
        let columns = self.shape.last().copied().unwrap_or(1);
        if let Content::Summary(summary) = &mut self.content
            && columns <= limits.row_length
        {
            let numbers = match x.as_slice() {
                Some(numbers) => Cow::Borrowed(numbers),
                None => Cow::Owned(x.iter().copied().collect()),
            };
            let exact = rows.iter().filter_map(|&row| {
                let mut numbers = numbers.get(row * columns..(row + 1) * columns)?.to_vec();
                if let Some(digits) = limits.digits {
                    numbers.iter_mut().for_each(|x| *x = rounded(*x, digits));
                }
                Some(Row { row, numbers })
            });
            summary.rows.extend(exact);
            summary.rows.sort_by_key(|row| row.row);
            summary.rows.dedup_by_key(|row| row.row);
        }
        self
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

    /// The Euclidean norm: infinite or NaN when a number is.
    pub fn norm(&self) -> f64 {
        match &self.content {
            Content::Numbers(numbers) => norm(numbers),
            Content::Summary(summary) => summary.norm,
        }
    }

    /// The largest of the finite numbers, without its sign.
    pub(crate) fn largest(&self) -> f64 {
        match &self.content {
            Content::Numbers(numbers) => largest(numbers),
            Content::Summary(summary) => largest(&[summary.least, summary.largest]),
        }
    }

    /// The same, summarised if it is large.
    pub fn limited(&self, limits: &Limits) -> Self {
        let mut limited = self.clone();
        limited.limit(limits);
        limited
    }

    /// Makes a summary of it if it is large; a summary loses rows that are too long.
    pub(crate) fn limit(&mut self, limits: &Limits) {
        if let Content::Numbers(numbers) = &self.content
            && numbers.len() > limits.numbers
        {
            self.content = Content::Summary(Summary::new(&self.shape, numbers, limits).into());
        }
        if let Content::Summary(summary) = &mut self.content {
            summary.rows.retain(|row| row.numbers.len() <= limits.row_length);
        }
        if let Some(digits) = limits.digits {
            let round = |numbers: &mut Vec<f64>| {
                numbers.iter_mut().for_each(|x| *x = rounded(*x, digits));
            };
            match &mut self.content {
                Content::Numbers(numbers) => round(numbers),
                Content::Summary(summary) => {
                    round(&mut summary.blocks);
                    summary.rows.iter_mut().for_each(|row| round(&mut row.numbers));
                }
            }
        }
    }
}

/// A number to so many significant digits.
pub(crate) fn rounded(x: f64, digits: usize) -> f64 {
    format!("{x:.*e}", digits.saturating_sub(1)).parse().unwrap_or(x)
}

fn norm(numbers: &[f64]) -> f64 {
    // As shares of the largest, no square is too large or too small for a number.
    let largest = numbers.iter().fold(0.0_f64, |top, x| top.max(x.abs()));
    let scale = if largest > 0.0 && largest.is_finite() { largest } else { 1.0 };
    scale * numbers.iter().fold(0.0, |sum, x| sum + (x / scale).powi(2)).sqrt()
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

/// The same for a number that may be missing.
pub(crate) mod maybe {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::number::Shown;

    pub(crate) fn serialize<S: Serializer>(x: &Option<f64>, s: S) -> Result<S::Ok, S::Error> {
        x.map(Shown::from).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Shown>::deserialize(d)?.map(f64::from))
    }
}

/// The same for the numbers of time steps.
pub(crate) mod points {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::number::Shown;

    pub(crate) fn serialize<S: Serializer>(
        all: &[(usize, f64)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(|&(time, x)| (time, Shown::from(x))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Vec<(usize, f64)>, D::Error> {
        let all = Vec::<(usize, Shown)>::deserialize(d)?;
        Ok(all.into_iter().map(|(time, x)| (time, x.into())).collect())
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

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;

    fn tensor(shape: &[usize], x: impl Fn(usize) -> f64) -> ArrayD<f64> {
        let mut numbers = (0..).map(x);
        ArrayD::from_shape_simple_fn(IxDyn(shape), || numbers.next().unwrap())
    }

    #[test]
    fn an_array_comes_back_from_json_as_it_was() {
        let odd = [0.1 + 0.2, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e-300, f64::MAX];
        let nothing = tensor(&[9, 9], |_| f64::NEG_INFINITY);
        for array in [
            Array::new(&tensor(&[2, 3], |at| odd[at])),
            Array::new(&tensor(&[], |_| 3.0)),
            Array::new(&tensor(&[0, 3], |_| 3.0)),
            Array::within(&tensor(&[50, 30], |at| (at as f64).sin()), &Limits::default()),
            Array::within(&nothing, &Limits::default()),
        ] {
            let text = serde_json::to_string(&array).unwrap();
            assert_eq!(serde_json::from_str::<Array>(&text).unwrap(), array, "{text}");
        }
    }

    #[test]
    fn a_norm_is_finite_when_all_numbers_are() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let rows: [(&[f64], f64); 9] = [
            (&[], 0.0),
            (&[0.0, -0.0], 0.0),
            (&[-0.1], 0.1),
            (&[3.0, -4.0], 5.0),
            (&[3e200, -4e200], 5e200),
            (&[3e-200, 4e-200], 5e-200),
            (&[1.0, -inf], inf),
            (&[1.0, nan], nan),
            (&[inf, nan], nan),
        ];
        for (numbers, expected) in rows {
            let array = tensor(&[numbers.len()], |at| numbers[at]);
            let found = Array::new(&array).norm();
            let same = match expected.is_finite() {
                true => (found - expected).abs() <= 1e-15 * expected,
                false => found == expected || found.is_nan() && expected.is_nan(),
            };
            assert!(same && !found.is_sign_negative(), "{numbers:?}: {found}");
        }
    }

    #[test]
    fn a_summary_says_what_the_array_holds_and_stays_small() {
        let array = tensor(&[40, 5, 100], |at| if at == 4711 { -9.0 } else { (at % 3) as f64 });
        let kept = Array::within(&array, &Limits { digits: Some(7), ..Limits::default() });
        let Content::Summary(summary) = &kept.content else { panic!("{kept:?}") };
        assert_eq!((summary.least, summary.largest), (-9.0, 2.0));
        assert_eq!((summary.zeros, summary.not_finite), (6667, 0));
        assert_eq!(summary.histogram.iter().sum::<usize>(), 20_000);
        assert_eq!((summary.grid, summary.blocks.len()), ([8, 8], 64));
        approx::assert_relative_eq!(summary.mean, array.mean().unwrap(), max_relative = 1e-12);
        let mean = summary.blocks.iter().sum::<f64>() / 64.0;
        approx::assert_relative_eq!(mean, summary.mean, max_relative = 0.01);
        assert_eq!((summary.rows[0].row, summary.rows[0].numbers[11]), (47, -9.0));
        assert!(serde_json::to_string(&kept).unwrap().len() < 2000);
        // Those that are asked for are there too, each once; others are not in the array.
        let limits = Limits { digits: Some(7), ..Limits::default() };
        let kept = kept.with_rows(&array, &[3, 47, 199, 3, 200], &limits);
        let Content::Summary(summary) = &kept.content else { panic!("{kept:?}") };
        let rows: Vec<_> = summary.rows.iter().map(|row| (row.row, row.numbers[0])).collect();
        assert_eq!(rows, [(3, 0.0), (47, 2.0), (199, 1.0)]);
    }
}
