//! What every kernel of the row operations must pass.

use std::fmt;
use std::ops::Range;

use super::{Naive, RowKernel, Rows};
use crate::kernels::cross_entropy::TargetDistribution;
use crate::kernels::matmul::Element;
use crate::random::Key;
use crate::{Error, Real, Result};

/// How long a row is: nothing, one, vectors and parts of vectors.
const WIDTHS: [usize; 13] = [0, 1, 2, 3, 7, 8, 15, 16, 17, 33, 64, 100, 257];
/// How many rows there are.
const COUNTS: [usize; 4] = [0, 1, 3, 6];
/// How large ordinary numbers are.
const SCALES: [f64; 3] = [0.01, 1.0, 300.0];
/// What `q·k` is multiplied by, and the gradient of a loss: no power of two.
const FACTOR: f64 = 0.7;

/// Checks a kernel against the contract of [`RowKernel`]: widths from nothing to many vectors, rows with
/// and without others' numbers between them, rows alone, together and on two threads, masks that keep
/// all, some and nothing, NaN, infinities and denormals.
///
/// The specification is [`Naive`] in `f64`. Errors are held to bounds that every order of summation
/// keeps, with `u` half the distance from 1 to the next number: that of sums is `γ_n·Σ|terms|` with
/// `γ_n = n·u/(1 - n·u)` (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, §3.5),
/// and an exponential may be wrong by `8u`, and by what the rounding of its argument `x - top` does,
/// `u·|x - top|`. Where a result is below the smallest normal number, it may be lost only behind an
/// exponential.
///
/// ```
/// use unspool_tensor::kernels::rows::{Naive, conformance};
/// conformance::<f32>(&Naive)?;
/// # Ok::<(), unspool_tensor::Error>(())
/// ```
///
/// # Errors
/// The first thing that is wrong: the operation, the shape, the numbers, what was found and what was
/// expected.
pub fn conformance<T: Element>(kernel: &dyn RowKernel<T>) -> Result<()> {
    let mut number = 0;
    for (width, count) in WIDTHS.into_iter().flat_map(|width| COUNTS.map(|count| (width, count))) {
        let scaled = SCALES.into_iter().map(Numbers::Scaled);
        for numbers in scaled.chain([Numbers::Special, Numbers::Denormal]) {
            for (mask, gap) in [(Mask::None, 0), (Mask::Some, 3), (Mask::All, 1)] {
                let trial = Trial { width, count, gap, numbers, mask };
                number += 1;
                let arrays = Arrays::<T>::new(trial, Key::new(number));
                for part in Part::ALL {
                    check(kernel, part, &arrays).map_err(|problem| {
                        Error::invalid(kernel.name(), format!("{part}, {trial}: {problem}"))
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Softmax,
    SoftmaxBackward,
    LogSoftmax,
    LogSoftmaxBackward,
    LogNormaliser,
    CrossEntropy,
    CrossEntropyBackward,
    Dot,
    AddWeighted,
    AddToRows,
    Gather,
    ScatterAdd,
}

use Part::*;

/// What numbers the arrays have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    /// Between minus so much and so much.
    Scaled(f64),
    /// Between -1 and 1, with a few NaN, infinities and zeros of both signs among them.
    Special,
    /// Denormal ones, and powers of two to multiply them by.
    Denormal,
}

/// Which elements are masked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mask {
    None,
    Some,
    All,
}

/// Arrays of one shape and kind.
#[derive(Clone, Copy, Debug)]
struct Trial {
    width: usize,
    count: usize,
    /// How many numbers that belong to others stand before the first row and between two.
    gap: usize,
    numbers: Numbers,
    mask: Mask,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Softmax => "softmax",
            SoftmaxBackward => "softmax_backward",
            LogSoftmax => "log_softmax",
            LogSoftmaxBackward => "log_softmax_backward",
            LogNormaliser => "log_normaliser",
            CrossEntropy => "cross_entropy",
            CrossEntropyBackward => "cross_entropy_backward",
            Dot => "dot",
            AddWeighted => "add_weighted",
            AddToRows => "add_to_rows",
            Gather => "gather",
            ScatterAdd => "scatter_add",
        })
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial { width, count, gap, numbers, mask } = self;
        write!(
            f,
            "{count} rows of {width} with {gap} between, {numbers:?} numbers, {mask:?} masked"
        )
    }
}

/// All arrays that the operations work on. The matrices `[count, width]` have NaN between their rows.
struct Arrays<T> {
    trial: Trial,
    rows: Rows,
    /// Scores, keys, values.
    x: Vec<T>,
    /// The same with NaN where it is masked; which elements are kept, as they stand in memory.
    masked: Vec<T>,
    keep: Option<Vec<bool>>,
    /// Of these, softmax and log-softmax.
    softmax: Vec<T>,
    log_softmax: Vec<T>,
    /// The gradients that come in for these, with NaN where they are constants.
    d: Vec<T>,
    /// Of x, the exponentials, and the sum of those of each row.
    exps: Vec<T>,
    sums: Vec<T>,
    q: TargetDistribution<T>,
    factor: T,
    /// `[width]`.
    query: Vec<T>,
    sum: Vec<T>,
    /// `[count]`.
    weights: Vec<T>,
    /// Rows in standard layout, `[count, width]`; numbers of such rows, `[2·count]`.
    table: Vec<T>,
    indices: Vec<usize>,
    skip: Option<usize>,
    /// `[2·count, width]`.
    ds: Vec<T>,
}

impl<T: Element> Arrays<T> {
    fn new(trial: Trial, key: Key) -> Self {
        let Trial { width, count, gap, numbers, mask } = trial;
        let rows = Rows { start: gap, stride: width + gap, width };
        let memory = gap + count * rows.stride;
        let nan = T::from_f64(f64::NAN);
        let random = |name: &str, len: usize| -> Vec<T> {
            let key = key.named(name);
            (0..len as u64).map(|at| T::from_f64(numbers.draw::<T>(key.uniform(at)))).collect()
        };
        // What denormal numbers are multiplied by.
        let factors = |name: &str, len: usize| -> Vec<T> {
            let key = key.named(name);
            let power = |at| T::from_f64(f64::exp2(key.below(at, 4) as f64));
            match numbers {
                Numbers::Denormal => (0..len as u64).map(power).collect(),
                _ => random(name, len),
            }
        };
        let matrix = |name: &str| {
            let numbers = random(name, count * width);
            let mut matrix = vec![nan; memory];
            for (s, row) in numbers.chunks_exact(width.max(1)).enumerate() {
                matrix[rows.at(s)].copy_from_slice(row);
            }
            matrix
        };
        let kept = |at| key.named("keep").uniform(at) < 0.7;
        let keep: Option<Vec<bool>> = match mask {
            Mask::None => None,
            Mask::Some => Some((0..memory as u64).map(kept).collect()),
            Mask::All => Some(vec![false; memory]),
        };
        let distribution = |spread, on_target, hole| {
            let [spread, on_target] = [spread, on_target].map(T::from_f64);
            TargetDistribution { spread, on_target, hole }
        };
        let mut arrays = Arrays {
            trial,
            rows,
            x: matrix("x"),
            masked: matrix("x"),
            keep,
            softmax: Vec::new(),
            log_softmax: Vec::new(),
            d: matrix("d"),
            exps: Vec::new(),
            sums: Vec::new(),
            q: match mask {
                Mask::None => distribution(0.0, 1.0, None),
                Mask::Some => distribution(0.1, 0.9, None),
                Mask::All => distribution(0.1, 0.5, width.checked_sub(1)),
            },
            factor: T::from_f64(FACTOR),
            query: factors("query", width),
            sum: random("sum", width),
            weights: factors("weights", count),
            table: random("table", count * width),
            indices: (0..2 * count as u64).map(|i| key.below(i, count as u64) as usize).collect(),
            skip: (mask == Mask::Some).then_some(0),
            ds: random("ds", 2 * count * width),
        };
        if let Some(keep) = &arrays.keep {
            let masked = arrays.masked.iter_mut().zip(keep).filter(|(_, keep)| !**keep);
            masked.for_each(|(x, _)| *x = nan);
        }
        arrays.softmax = arrays.masked.clone();
        arrays.log_softmax = arrays.masked.clone();
        arrays.exps = arrays.x.clone();
        for s in 0..count {
            let (at, keep) = (rows.at(s), arrays.keep.as_ref().map(|keep| &keep[rows.at(s)]));
            Naive.softmax(&mut arrays.softmax[at.clone()], keep);
            Naive.log_softmax(&mut arrays.log_softmax[at.clone()], keep);
            if let Some(target) = trial.target(s) {
                let scores = &mut arrays.exps[at];
                arrays.sums.push(Naive.cross_entropy(&arrays.q, target, scores).1.sum);
            }
        }
        for (d, y) in arrays.d.iter_mut().zip(&arrays.log_softmax) {
            if y.to_f64() == f64::NEG_INFINITY {
                *d = nan;
            }
        }
        arrays
    }

    /// The same numbers in `f64`, each after `f`.
    fn map(&self, f: fn(f64) -> f64) -> Arrays<f64> {
        let one = |x: T| f(x.to_f64());
        let all = |xs: &[T]| xs.iter().map(|&x| one(x)).collect();
        let TargetDistribution { spread, on_target, hole } = self.q;
        Arrays {
            trial: self.trial,
            rows: self.rows,
            x: all(&self.x),
            masked: all(&self.masked),
            keep: self.keep.clone(),
            softmax: all(&self.softmax),
            log_softmax: all(&self.log_softmax),
            d: all(&self.d),
            exps: all(&self.exps),
            sums: all(&self.sums),
            q: TargetDistribution { spread: one(spread), on_target: one(on_target), hole },
            factor: one(self.factor),
            query: all(&self.query),
            sum: all(&self.sum),
            weights: all(&self.weights),
            table: all(&self.table),
            indices: self.indices.clone(),
            skip: self.skip,
            ds: all(&self.ds),
        }
    }
}

impl<T> Arrays<T> {
    /// Of each element of row `s`, whether it is kept.
    fn keep(&self, s: usize) -> Option<&[bool]> {
        self.keep.as_ref().map(|keep| &keep[self.rows.at(s)])
    }
}

impl Trial {
    /// The class of row `s`, when there are classes.
    fn target(self, s: usize) -> Option<usize> {
        s.checked_rem(self.width)
    }
}

impl Numbers {
    /// A number, from one in `[0, 1)`.
    fn draw<T: Element>(self, u: f64) -> f64 {
        let ordinary = 2.0 * u - 1.0;
        match self {
            Numbers::Scaled(scale) => scale * ordinary,
            Numbers::Denormal => ordinary * T::MIN_POSITIVE,
            // By the next digits of u.
            Numbers::Special => match ((u * 1e6).fract() * 50.0) as usize {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3..8 => 0.0,
                8..12 => -0.0,
                _ => ordinary,
            },
        }
    }
}

impl Part {
    const ALL: [Part; 12] = [
        Softmax,
        SoftmaxBackward,
        LogSoftmax,
        LogSoftmaxBackward,
        LogNormaliser,
        CrossEntropy,
        CrossEntropyBackward,
        Dot,
        AddWeighted,
        AddToRows,
        Gather,
        ScatterAdd,
    ];

    /// How many rows come out that know nothing of each other.
    fn rows(self, trial: Trial) -> usize {
        match self {
            // There is a target, or no row.
            CrossEntropy | CrossEntropyBackward if trial.width == 0 => 0,
            AddWeighted | ScatterAdd => 1,
            Gather => 2 * trial.count,
            _ => trial.count,
        }
    }

    /// Calls the kernel for some of the rows: what comes out, row by row.
    ///
    /// # Errors
    /// It has written between the rows.
    fn run<T: Real>(
        self,
        kernel: &dyn RowKernel<T>,
        arrays: &Arrays<T>,
        rows: Range<usize>,
    ) -> Result<Vec<T>, String> {
        let a = arrays;
        let nan = T::from_f64(f64::NAN);
        // The same matrix, beginning with the first of the rows.
        let place = Rows { start: a.rows.start + rows.start * a.rows.stride, ..a.rows };
        let memory = match self {
            Softmax | LogSoftmax => &a.masked,
            SoftmaxBackward | LogSoftmaxBackward => &a.d,
            CrossEntropyBackward => &a.exps,
            _ => &a.x,
        };
        let mut memory = memory.clone();
        let mut out = Vec::new();
        let takes_all = matches!(self, Dot | AddWeighted | AddToRows | Gather | ScatterAdd);
        for s in if takes_all { 0..0 } else { rows.clone() } {
            let at = a.rows.at(s);
            let row = &mut memory[at.clone()];
            match self {
                Softmax => kernel.softmax(row, a.keep(s)),
                LogSoftmax => kernel.log_softmax(row, a.keep(s)),
                SoftmaxBackward => kernel.softmax_backward(&a.softmax[at.clone()], row),
                LogSoftmaxBackward => kernel.log_softmax_backward(&a.log_softmax[at.clone()], row),
                LogNormaliser => {
                    let mut scratch = vec![nan; row.len()];
                    out.extend(<[T; 2]>::from(kernel.log_normaliser(row, &mut scratch)));
                    continue;
                }
                CrossEntropy => {
                    let target = a.trial.target(s).unwrap_or_default();
                    let (loss, normaliser) = kernel.cross_entropy(&a.q, target, row);
                    out.extend([loss, normaliser.top, normaliser.sum]);
                }
                CrossEntropyBackward => {
                    let target = a.trial.target(s).unwrap_or_default();
                    kernel.cross_entropy_backward(&a.q, target, a.sums[s], a.factor, row);
                }
                Dot | AddWeighted | AddToRows | Gather | ScatterAdd => {}
            }
            out.extend_from_slice(&memory[at]);
        }
        match self {
            Dot => {
                out = vec![nan; rows.len()];
                kernel.dot(&mut out, a.factor, &a.query, &memory, place);
            }
            AddToRows => {
                kernel.add_to_rows(&mut memory, &a.weights[rows.clone()], &a.sum, place);
                rows.for_each(|s| out.extend_from_slice(&memory[a.rows.at(s)]));
            }
            AddWeighted => {
                out = a.sum.clone();
                kernel.add_weighted(&mut out, &a.weights, &memory, a.rows);
            }
            Gather => {
                out = vec![nan; rows.len() * a.rows.width];
                kernel.gather(&a.table, a.rows.width, &a.indices[rows], &mut out);
            }
            ScatterAdd => {
                out = a.table.clone();
                kernel.scatter_add(&mut out, a.rows.width, &a.indices, a.skip, &a.ds);
            }
            _ => {}
        }
        let is_between = |at: &usize| match at.checked_sub(a.rows.start) {
            Some(at) => at.checked_rem(a.rows.stride).is_some_and(|at| at >= a.rows.width),
            None => true,
        };
        let between = (0..memory.len()).filter(is_between);
        match between.into_iter().all(|at| memory[at].to_f64().is_nan()) {
            true => Ok(out),
            false => Err("numbers between the rows were written".into()),
        }
    }

    /// What should come out of all rows.
    fn expected<T: Element>(self, arrays: &Arrays<T>) -> Result<Vec<Expected>, String> {
        let trial = arrays.trial;
        let (rows, n) = (0..self.rows(trial), trial.width);
        let rounding = Rounding::of::<T>();
        if matches!(self, Gather | ScatterAdd) {
            let same = |value: T| Expected { value: value.to_f64(), bound: 0.0 };
            return Ok(self.run(&Naive, arrays, rows)?.into_iter().map(same).collect());
        }
        let exact = arrays.map(|x| x);
        let values = self.run(&Naive, &exact, rows.clone())?;
        let terms = match self {
            Dot => n + 2,
            AddWeighted => trial.count + 2,
            AddToRows => 3,
            _ => {
                let width = values.len() / rows.len().max(1);
                let of_row = |s| rounding.bounds(self, &exact, s, &values[s * width..][..width]);
                let bounds = rows.flat_map(of_row).zip(&values);
                return Ok(bounds.map(|(bound, &value)| Expected { value, bound }).collect());
            }
        };
        // These are sums: all terms without their signs are how large an error can be.
        let sizes = self.run(&Naive, &arrays.map(f64::abs), rows)?.into_iter();
        let bounds = sizes.map(|size| rounding.of_sum(terms, size));
        Ok(bounds.zip(values).map(|(bound, value)| Expected { value, bound }).collect())
    }
}

/// A number, and how far another may be off; if infinitely far, it may be anything.
#[derive(Clone, Copy, Debug)]
struct Expected {
    value: f64,
    bound: f64,
}

impl Expected {
    fn fits(self, found: f64) -> bool {
        match self.value {
            _ if self.bound == f64::INFINITY => true,
            value if value.is_nan() => found.is_nan(),
            value if value.is_infinite() => found == value,
            value => (found - value).abs() <= self.bound,
        }
    }
}

/// How numbers are rounded: those of a kernel, and those in `f64` that it is held against.
#[derive(Clone, Copy, Debug)]
struct Rounding {
    /// Half the distance from 1 to the next number.
    u: f64,
    /// The smallest normal number, and the smallest of all.
    normal: f64,
    smallest: f64,
}

/// A row's softmax in parts.
struct Normal {
    /// `x - top`.
    z: Vec<f64>,
    /// `Σ exp z`, and how wrong it may be, relatively.
    sum: f64,
    relative: f64,
}

/// The relative error of a product of factors whose relative errors add up to this.
fn together(relative: f64) -> f64 {
    relative / (1.0 - relative)
}

impl Rounding {
    fn of<T: Element>() -> Self {
        let u = (T::EPSILON + f64::EPSILON) / 2.0;
        Rounding { u, normal: T::MIN_POSITIVE, smallest: T::MIN_POSITIVE * T::EPSILON }
    }

    /// How far a sum of so many terms may be off, whose magnitudes add up to `size`.
    fn of_sum(self, terms: usize, size: f64) -> f64 {
        let terms = terms as f64;
        together(terms * self.u) * size + terms * self.smallest
    }

    /// Relatively, the exponential of a rounded difference z.
    fn of_exp(self, z: f64) -> f64 {
        self.u * (8.0 + z.abs())
    }

    /// Of the elements of a row that are kept.
    fn normal<'a>(self, row: impl Iterator<Item = &'a f64> + Clone) -> Normal {
        let top = row.clone().fold(f64::NEG_INFINITY, |top, &x| Real::maximum(top, x));
        let z: Vec<f64> = row.map(|x| x - top).collect();
        let (mut sum, mut wrong) = (0.0, 0.0);
        for z in z.iter().filter(|z| z.is_finite()) {
            sum += z.exp();
            wrong += z.exp() * self.of_exp(*z);
        }
        let relative = wrong / sum + together((z.len() + 1) as f64 * self.u);
        Normal { z, sum, relative }
    }

    /// How far each number may be off that comes out of row `s`, where `values` should.
    fn bounds(self, part: Part, exact: &Arrays<f64>, s: usize, values: &[f64]) -> Vec<f64> {
        let at = exact.rows.at(s);
        let n = at.len();
        // Anything, where a masked element stands in a row that is not finite.
        let or_anything = |is_finite: bool| if is_finite { 0.0 } else { f64::INFINITY };
        match part {
            Softmax | LogSoftmax => {
                let row = &exact.masked[at];
                let kept = |i: &usize| exact.keep(s).is_none_or(|keep| keep[*i]);
                let Normal { z, sum, relative } = self.normal((0..n).filter(kept).map(|i| &row[i]));
                let is_finite = z.iter().all(|z| z.is_finite() || *z == f64::NEG_INFINITY);
                let mut z = z.into_iter();
                let bound = |(i, y): (usize, &f64)| match kept(&i).then(|| z.next()).flatten() {
                    None => or_anything(is_finite),
                    Some(_) if part == Softmax && *y == 0.0 => self.normal,
                    // y = exp z / Σ: the division may be a product with 1/Σ.
                    Some(z) if part == Softmax => {
                        y * together(self.of_exp(z) + relative + 4.0 * self.u) + self.normal
                    }
                    // y = z - ln Σ
                    Some(z) => self.of_log(sum, relative) + self.u * (z.abs() + y.abs()),
                };
                values.iter().enumerate().map(bound).collect()
            }
            LogNormaliser => {
                let Normal { sum, relative, .. } = self.normal(exact.x[at].iter());
                vec![0.0, self.of_log(sum, relative)]
            }
            CrossEntropy => {
                let Normal { z, sum, relative } = self.normal(exact.x[at].iter());
                let target = exact.trial.target(s).unwrap_or_default();
                let TargetDistribution { spread, on_target, hole } = exact.q;
                let spread_over = (0..n).filter(|&i| spread != 0.0 && Some(i) != hole);
                let size = spread_over
                    .fold(on_target * z[target].abs(), |size, i| size + spread * z[i].abs());
                let of_loss = self.of_log(sum, relative) + self.of_sum(n + 4, size);
                let of_loss = of_loss + self.u * values[0].abs();
                let exps = z.iter().zip(&values[3..]).map(|(&z, &e)| match e == 0.0 {
                    true => self.normal,
                    false => e * together(self.of_exp(z)) + self.normal,
                });
                [of_loss, 0.0, sum * together(relative)].into_iter().chain(exps).collect()
            }
            CrossEntropyBackward => {
                let TargetDistribution { spread, on_target, .. } = exact.q;
                let size = |e: &f64| {
                    let p = e / exact.sums[s];
                    exact.factor.abs() * (p + spread + on_target)
                };
                exact.exps[at].iter().map(|e| self.of_sum(6, size(e))).collect()
            }
            SoftmaxBackward => {
                let rows = exact.softmax[at.clone()].iter().zip(&exact.d[at]);
                let terms = rows.clone().filter(|(y, _)| **y != 0.0).map(|(y, d)| y * d);
                let (inner, size) = (terms.clone().sum::<f64>(), terms.map(f64::abs).sum::<f64>());
                // d_x = y·(d - Σ d·y)
                let bound = |(y, d): (&f64, &f64)| match *y == 0.0 {
                    true => or_anything(inner.is_finite()),
                    false => self.of_sum(n + 4, y * (size + d.abs())),
                };
                rows.map(bound).collect()
            }
            LogSoftmaxBackward => {
                let rows = exact.log_softmax[at.clone()].iter().zip(&exact.d[at]);
                let terms = rows.clone().filter(|(y, _)| **y != f64::NEG_INFINITY).map(|(_, d)| d);
                let sum: f64 = terms.clone().sum();
                let size: f64 = terms.map(|d| d.abs()).sum();
                // d_x = d - exp y·Σ d
                let bound = |(y, d): (&f64, &f64)| match *y == f64::NEG_INFINITY {
                    true => or_anything(sum.is_finite()),
                    false => {
                        let p = y.exp();
                        let of_product = p * together(8.0 * self.u) * size + self.normal * size;
                        of_product + self.of_sum(n + 4, d.abs() + p * size)
                    }
                };
                rows.map(bound).collect()
            }
            Dot | AddWeighted | AddToRows | Gather | ScatterAdd => vec![0.0; values.len()],
        }
    }

    /// The logarithm of a sum that may be so wrong, relatively.
    fn of_log(self, sum: f64, relative: f64) -> f64 {
        together(relative) + 8.0 * self.u * sum.ln().abs()
    }
}

fn check<T: Element>(
    kernel: &dyn RowKernel<T>,
    part: Part,
    arrays: &Arrays<T>,
) -> Result<(), String> {
    let rows = part.rows(arrays.trial);
    let whole = part.run(kernel, arrays, 0..rows)?;
    let expected = part.expected(arrays)?;
    for (at, (found, expected)) in whole.iter().zip(&expected).enumerate() {
        if !expected.fits(found.to_f64()) {
            let (Expected { value, bound }, found) = (expected, found.to_f64());
            return Err(format!("number {at} is {found:e}, not {value:e} ± {bound:e}"));
        }
    }
    if rows > 1 {
        let width = whole.len() / rows;
        // Each row by itself, from the last to the first, the even ones on one thread and the odd ones
        // on another.
        let alone = |first: usize| -> Result<(), String> {
            for s in (first..rows).step_by(2).rev() {
                let found = part.run(kernel, arrays, s..s + 1)?;
                same(&found, &whole[s * width..][..width], || format!("row {s} alone"))?;
            }
            Ok(())
        };
        let panicked = || Err("panicked".to_owned());
        std::thread::scope(|scope| {
            let odd = scope.spawn(|| alone(1));
            let even = alone(0);
            odd.join().unwrap_or_else(|_| panicked()).and(even)
        })?;
    }
    let may_be_padded =
        matches!(part, Softmax | SoftmaxBackward | LogSoftmax | LogSoftmaxBackward) && rows > 0;
    if may_be_padded { padded(kernel, part, arrays, &whole) } else { Ok(()) }
}

/// The first row with masked elements behind it, where there are masks.
fn padded<T: Element>(
    kernel: &dyn RowKernel<T>,
    part: Part,
    arrays: &Arrays<T>,
    whole: &[T],
) -> Result<(), String> {
    const MORE: usize = 5;
    let [zero, nan, nothing] = [0.0, f64::NAN, f64::NEG_INFINITY].map(T::from_f64);
    let at = arrays.rows.at(0);
    let longer = |row: &[T], by: T| [&row[at.clone()], &[by; MORE]].concat();
    let keep = arrays.keep(0).map_or_else(|| vec![true; at.len()], <[bool]>::to_vec);
    let keep = [&keep[..], &[false; MORE]].concat();
    let (mut x, mut d) = (longer(&arrays.masked, nan), longer(&arrays.d, nan));
    let found = match part {
        Softmax => {
            kernel.softmax(&mut x, Some(&keep));
            x
        }
        LogSoftmax => {
            kernel.log_softmax(&mut x, Some(&keep));
            x
        }
        SoftmaxBackward => {
            kernel.softmax_backward(&longer(&arrays.softmax, zero), &mut d);
            d
        }
        LogSoftmaxBackward => {
            kernel.log_softmax_backward(&longer(&arrays.log_softmax, nothing), &mut d);
            d
        }
        _ => return Ok(()),
    };
    same(&found[..at.len()], &whole[..at.len()], || "a row with masked elements behind it".into())
}

/// Whether two have the same bits. All NaN are one: which of two goes on is the hardware's choice.
fn same<T: Element>(found: &[T], expected: &[T], what: impl Fn() -> String) -> Result<(), String> {
    let bits = |x: &T| (!x.to_f64().is_nan()).then_some(x.to_f64().to_bits());
    match found.iter().zip(expected).position(|(x, y)| bits(x) != bits(y)) {
        None => Ok(()),
        Some(at) => {
            let ([x, y], what) = ([found[at], expected[at]], what());
            Err(format!("{what} gives other bits: {x} is not {y} at {at}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::Fast;
    use super::*;
    use crate::kernels::cross_entropy::Normaliser;

    #[test]
    fn ours_conform_in_both_precisions() {
        fn both<T: Element>() {
            conformance::<T>(&Naive).unwrap();
            conformance::<T>(&Fast).unwrap();
        }
        both::<f32>();
        both::<f64>();
    }

    /// The naive kernel with a fault, or what is ours where that has none.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        ForgetsTheEndOfOddRows,
        IgnoresTheMask,
        ReadsWhatIsMasked,
        LosesNaN,
        LooksAtOtherRows,
        RemembersCalls,
        WritesBesideRows,
        IgnoresStrides,
        DependsOnPadding,
        FlushesDenormals,
        RoundsTooMuch,
        Overflows,
        AddsToTheSkippedRow,
        AddsInAnotherOrder,
        SpreadsOverTheHole,
        LetsConstantsIn,
    }

    use Fault::*;

    #[derive(Debug)]
    struct Faulty(Fault, AtomicU32);

    impl RowKernel<f32> for Faulty {
        fn name(&self) -> &str {
            "faulty"
        }

        fn softmax(&self, xs: &mut [f32], keep: Option<&[bool]>) {
            match self.0 {
                IgnoresTheMask => {
                    // Elsewhere they are NaN.
                    xs.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 0.0);
                    Naive.softmax(xs, None);
                }
                ReadsWhatIsMasked => {
                    let top = xs.iter().copied().fold(f32::NEG_INFINITY, Real::maximum);
                    xs.iter_mut().for_each(|x| *x -= top);
                    Naive.softmax(xs, keep);
                }
                LosesNaN => {
                    xs.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = f32::NEG_INFINITY);
                    Naive.softmax(xs, keep);
                }
                RemembersCalls => {
                    Naive.softmax(xs, keep);
                    let calls = self.1.fetch_add(1, Ordering::Relaxed);
                    let factor = 1.0 + f32::EPSILON * (calls % 3) as f32;
                    xs.iter_mut().for_each(|x| *x *= factor);
                }
                DependsOnPadding => {
                    // The sum of the first half, and of the second.
                    let half = xs.len() / 2;
                    Naive.softmax(xs, keep);
                    let sum: f32 = xs[..half].iter().sum::<f32>() + xs[half..].iter().sum::<f32>();
                    xs.iter_mut().for_each(|x| *x *= if sum > 0.0 { sum } else { 1.0 });
                }
                Overflows => {
                    let kept = |at: usize| keep.is_none_or(|keep| keep[at]);
                    let row = xs.iter_mut().enumerate();
                    row.for_each(|(at, x)| *x = if kept(at) { x.exp() } else { 0.0 });
                    let sum: f32 = xs.iter().sum();
                    xs.iter_mut().for_each(|x| *x /= if sum > 0.0 { sum } else { 1.0 });
                }
                _ => Naive.softmax(xs, keep),
            }
        }

        fn softmax_backward(&self, ys: &[f32], ds: &mut [f32]) {
            if self.0 == LetsConstantsIn {
                let inner: f32 = ds.iter().zip(ys).map(|(d, y)| d * y).sum();
                return ds.iter_mut().zip(ys).for_each(|(d, y)| *d = y * (*d - inner));
            }
            Naive.softmax_backward(ys, ds);
        }

        fn cross_entropy(
            &self,
            q: &TargetDistribution<f32>,
            target: usize,
            scores: &mut [f32],
        ) -> (f32, Normaliser<f32>) {
            let hole = if self.0 == SpreadsOverTheHole { None } else { q.hole };
            Naive.cross_entropy(&TargetDistribution { hole, ..*q }, target, scores)
        }

        fn dot(&self, scores: &mut [f32], scale: f32, query: &[f32], keys: &[f32], rows: Rows) {
            let many = scores.len() > 1;
            for (s, e) in scores.iter_mut().enumerate() {
                let key = match self.0 {
                    IgnoresStrides => &keys[rows.start + s * rows.width..][..rows.width],
                    _ => &keys[rows.at(s)],
                };
                let odd = if self.0 == ForgetsTheEndOfOddRows { key.len() % 2 } else { 0 };
                let term = |(q, k): (&f32, &f32)| match self.0 {
                    FlushesDenormals if k.is_subnormal() => 0.0,
                    RoundsTooMuch => f32::from_bits((q * k).to_bits() & 0xffff_0000),
                    _ => q * k,
                };
                let terms = query.iter().zip(&key[..key.len() - odd]).map(term);
                *e = scale
                    * match self.0 {
                        LooksAtOtherRows if many => terms.rev().sum::<f32>(),
                        _ => terms.sum(),
                    };
            }
        }

        fn add_weighted(&self, sum: &mut [f32], weights: &[f32], xs: &[f32], rows: Rows) {
            for (s, &w) in weights.iter().enumerate() {
                if !(self.0 == LosesNaN && w == 0.0) {
                    sum.iter_mut().zip(&xs[rows.at(s)]).for_each(|(sum, x)| *sum += w * x);
                }
            }
        }

        fn add_to_rows(&self, xs: &mut [f32], weights: &[f32], y: &[f32], rows: Rows) {
            Naive.add_to_rows(xs, weights, y, rows);
            if self.0 == WritesBesideRows && rows.stride > rows.width && !weights.is_empty() {
                xs[rows.at(0).end] = 0.0;
            }
        }

        fn scatter_add(
            &self,
            d_table: &mut [f32],
            width: usize,
            indices: &[usize],
            skip: Option<usize>,
            ds: &[f32],
        ) {
            match self.0 {
                AddsToTheSkippedRow => Naive.scatter_add(d_table, width, indices, None, ds),
                AddsInAnotherOrder => {
                    let rows = ds.chunks_exact(width.max(1)).rev().collect::<Vec<_>>().concat();
                    let indices: Vec<usize> = indices.iter().rev().copied().collect();
                    Naive.scatter_add(d_table, width, &indices, skip, &rows);
                }
                _ => Naive.scatter_add(d_table, width, indices, skip, ds),
            }
        }
    }

    #[test]
    fn faulty_kernels_are_caught() {
        let mut missed = Vec::new();
        for (fault, words) in [
            (ForgetsTheEndOfOddRows, "dot, 1 rows of 1 "),
            (IgnoresTheMask, "softmax, "),
            (ReadsWhatIsMasked, "masked elements behind it gives other bits: NaN is not"),
            (LosesNaN, "not NaN"),
            (LooksAtOtherRows, "alone gives other bits"),
            (RemembersCalls, "softmax, 1 rows of 1 with 0 between, Scaled(0.01) numbers"),
            (WritesBesideRows, "numbers between the rows were written"),
            (IgnoresStrides, "dot, "),
            (DependsOnPadding, "a row with masked elements behind it gives other bits"),
            (FlushesDenormals, "Denormal numbers"),
            (RoundsTooMuch, "dot, "),
            (Overflows, "Scaled(300.0) numbers"),
            (AddsToTheSkippedRow, "scatter_add, "),
            (AddsInAnotherOrder, "scatter_add, "),
            (SpreadsOverTheHole, "cross_entropy, "),
            (LetsConstantsIn, "softmax_backward, "),
        ] {
            let found = conformance(&Faulty(fault, AtomicU32::new(0)));
            let found = found.err().map(|found| found.to_string());
            let is_told = found.as_ref().is_some_and(|found| found.contains(words));
            if !is_told {
                missed.push(format!("{fault:?}: {found:?}"));
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    }
}
