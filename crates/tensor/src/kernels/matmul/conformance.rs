//! What every matrix product must pass.

use std::fmt;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::packed::{PackedPanels, PackedView};
use super::{Element, MatmulKernel, drive, drive_packed};
use crate::random::Key;
use crate::{Context, Error};

/// Where a kernel breaks the contract of [`matmul`](super).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kernel}: {product}: {problem}")]
pub struct Nonconformity {
    /// The kernel's name.
    pub kernel: String,
    /// The shapes and layouts.
    pub product: String,
    /// What is wrong.
    pub problem: String,
}

/// Checks a kernel against the [contract](super) of the matrix product: shapes from nothing to
/// several panels and blocks, all layouts of all three matrices, `b` packed and not, `c` full of NaN
/// where it must not be read, rows alone and together, one to three threads, NaN, infinities and
/// denormals.
///
/// Errors are held to the bound that every order of summation keeps, with or without fused
/// multiply-adds: `|c - ĉ| ≤ γ_K (|a|·|b| + |c₀|)` with `γ_K = K·u / (1 - K·u)`, `u` half the
/// distance from 1 to the next number, and K two more than the products of a sum (Higham, *Accuracy
/// and Stability of Numerical Algorithms*, 2nd edition, §3.5).
///
/// ```
/// use unspool_tensor::kernels::matmul::{Naive, conformance};
/// conformance::<f32>(&Naive)?;
/// # Ok::<(), unspool_tensor::kernels::matmul::Nonconformity>(())
/// ```
///
/// # Errors
/// The first thing that is wrong.
pub fn conformance<T: Element>(kernel: &dyn MatmulKernel<T>) -> Result<(), Nonconformity> {
    let fail = |product: &str, problem: String| Nonconformity {
        kernel: kernel.name().to_owned(),
        product: product.to_owned(),
        problem,
    };
    if !kernel.is_supported() {
        return Err(fail("all", "this machine does not support it".into()));
    }
    if kernel.panel_width() == 0 || kernel.tile_rows() == 0 {
        return Err(fail("all", "a panel has no columns, or a tile no rows".into()));
    }
    // An interpreter that looks for undefined behaviour is too slow for threads and large shapes.
    let (threads, largest) = if cfg!(miri) { (1..1, 400) } else { (1..4, usize::MAX) };
    let contexts = threads
        .map(|threads| Context::with_threads(threads).map(|context| context.with_parallel_from(0)));
    let contexts = contexts.collect::<Result<Vec<_>, Error>>();
    let contexts = contexts.map_err(|error| fail("all", error.to_string()))?;
    let width = kernel.panel_width();
    let trials = trials(width, kernel.tile_rows()).into_iter();
    let trials = trials.filter(|trial| trial.shape.iter().product::<usize>() <= largest);
    for (number, trial) in trials.enumerate() {
        let key = Key::new(1).with(number as u64);
        trial.run(kernel, &contexts, key).map_err(|problem| fail(&trial.to_string(), problem))?;
    }
    Ok(())
}

/// How a matrix stands in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Standard,
    Transposed,
    Reversed,
    /// Every second row and every third column of a larger matrix.
    Sliced,
}

use Layout::{Reversed, Sliced, Standard, Transposed};

const LAYOUTS: [Layout; 4] = [Standard, Transposed, Reversed, Sliced];

/// What numbers a matrix has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    /// Between -1 and 1.
    Ordinary,
    /// A few NaN, infinities and zeros of both signs among them.
    Special,
    /// Denormal ones in `a`, powers of two in `b`.
    Denormal,
}

/// One product that is checked.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// M, K and N.
    shape: [usize; 3],
    /// Those of `a`, `b` and `c`.
    layouts: [Layout; 3],
    numbers: Numbers,
    accumulate: bool,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([m, k, n], [a, b, c]) = (self.shape, self.layouts);
        let equals = if self.accumulate { "+=" } else { "=" };
        write!(f, "c [{m}, {n}] {c:?} {equals} a [{m}, {k}] {a:?} · b [{k}, {n}] {b:?}")?;
        write!(f, ", {:?} numbers", self.numbers)
    }
}

/// Small shapes in all layouts; shapes about the sizes of panels, tiles and blocks in some; special
/// numbers in both.
fn trials(width: usize, tile: usize) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |shape, layouts, numbers| {
        let trial = |accumulate| Trial { shape, layouts, numbers, accumulate };
        trials.extend([false, true].map(trial));
    };
    let empty = [[0, 0, 0], [0, 3, 2], [3, 0, 2], [3, 2, 0], [1, 0, 1]];
    for shape in empty.into_iter().chain([[1, 1, 1], [2, 3, 5], [9, 17, 19]]) {
        for a in LAYOUTS {
            for b in LAYOUTS {
                LAYOUTS.iter().for_each(|&c| add(shape, [a, b, c], Numbers::Ordinary));
            }
        }
    }
    let rows = [1, 2, tile.max(2) - 1, tile, tile + 1, 3 * tile + 2];
    let columns = [1, 2, width.max(2) - 1, width, width + 1, 2 * width + 3];
    for (i, m) in rows.into_iter().enumerate() {
        for (j, n) in columns.into_iter().enumerate() {
            let layout = |by: usize| LAYOUTS[(i + j / by) % 4];
            add([m, 4 + i + j, n], [layout(1), layout(2), layout(3)], Numbers::Ordinary);
            add([m, 7 + j, n], [layout(2), layout(3), layout(1)], Numbers::Special);
            add([m, 3 + i, n], [layout(3), layout(1), layout(2)], Numbers::Denormal);
        }
    }
    // Many of one and few of the others: past the blocks that kernels cut.
    let large = [[1, 1031, 67], [5, 700, 9], [30, 530, 70], [1100, 7, 5], [7, 33, 1601]];
    for (i, shape) in large.into_iter().enumerate() {
        for k in 0..4 {
            let layout = |by: usize| LAYOUTS[(i + k * by) % 4];
            add(shape, [LAYOUTS[k], layout(1), layout(3)], Numbers::Ordinary);
        }
    }
    trials
}

impl Trial {
    fn run<T: Element>(
        self,
        kernel: &dyn MatmulKernel<T>,
        contexts: &[Context],
        key: Key,
    ) -> Result<(), String> {
        let Trial { shape: [m, k, n], layouts, numbers, accumulate } = self;
        let a = Matrix::new(layouts[0], random(key.with(1), (m, k), numbers, 0));
        let b = Matrix::new(layouts[1], random(key.with(2), (k, n), numbers, 1));
        let (a, b) = (a.view(), b.view());
        let start = match accumulate {
            true => random(key.with(3), (m, n), Numbers::Ordinary, 2),
            false => Array2::from_elem((m, n), T::from_f64(f64::NAN)),
        };
        let run = |rows: std::ops::Range<usize>,
                   product: &dyn Fn(ArrayView2<'_, T>, ArrayViewMut2<'_, T>)| {
            let mut c = Matrix::new(layouts[2], start.slice(s![rows.clone(), ..]).to_owned());
            product(a.slice(s![rows, ..]), c.view_mut());
            match c.is_intact() {
                true => Ok(c.view().to_owned()),
                false => Err("numbers beside c were written".to_owned()),
            }
        };
        let whole = run(0..m, &|a, c| kernel.product_unpacked(a, b, accumulate, c))?;
        self.compare(&whole, a, b, &start)?;

        // In memory that held something else before.
        let stale = Array2::from_elem((k, n + kernel.panel_width()), T::from_f64(f64::NAN));
        let mut packed = PackedPanels::new(&Context::sequential(), kernel, stale.view());
        packed.pack(&Context::sequential(), kernel, b);
        if !ends_in_zeros(packed.view()) {
            return Err("a packed panel does not end in zeros".into());
        }
        let same = |what: &str, rows: std::ops::Range<usize>, c: Array2<T>| {
            let whole = whole.slice(s![rows, ..]);
            let places = whole.indexed_iter().zip(&c);
            match places.into_iter().find(|((_, x), y)| bits(**x) != bits(**y)) {
                None => Ok(()),
                Some(((at, x), y)) => {
                    Err(format!("{what} gives other bits: {y} is not {x} at {at:?}"))
                }
            }
        };
        same(
            "a packed b",
            0..m,
            run(0..m, &|a, c| kernel.product(a, packed.view(), accumulate, c))?,
        )?;
        for context in contexts {
            let threads = context.threads();
            let c = run(0..m, &|a, c| drive(context, kernel, a, b, accumulate, c))?;
            same(&format!("{threads} threads"), 0..m, c)?;
            let c = run(0..m, &|a, c| {
                drive_packed(context, kernel, &[(a, packed.view())], accumulate, c);
            })?;
            same(&format!("a packed b and {threads} threads"), 0..m, c)?;
        }
        for rows in [0..m.min(1), m / 2..m, m.saturating_sub(1)..m, 0..m / 3] {
            let what = format!("rows {rows:?} alone");
            let c = run(rows.clone(), &|a, c| kernel.product_unpacked(a, b, accumulate, c))?;
            same(&what, rows.clone(), c)?;
            let c = run(rows.clone(), &|a, c| kernel.product(a, packed.view(), accumulate, c))?;
            same(&(what + " and a packed b"), rows, c)?;
        }
        Ok(())
    }

    /// Holds `c` to the bound on its error.
    fn compare<T: Element>(
        self,
        c: &Array2<T>,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
        start: &Array2<T>,
    ) -> Result<(), String> {
        let terms = (a.ncols() + 2) as f64;
        let gamma = |epsilon: f64| terms * epsilon / 2.0 / (1.0 - terms * epsilon / 2.0);
        // That of the kernel, and that of the sum in f64 that it is held against.
        let relative = gamma(T::EPSILON) + gamma(f64::EPSILON);
        // What underflow adds.
        let absolute = terms * T::MIN_POSITIVE * T::EPSILON;
        for ((i, j), &found) in c.indexed_iter() {
            let first = if self.accumulate { start[[i, j]].to_f64() } else { 0.0 };
            let (mut exact, mut size) = (first, first.abs());
            for (x, y) in a.row(i).iter().zip(b.column(j)) {
                let product = x.to_f64() * y.to_f64();
                exact += product;
                size += product.abs();
            }
            let found = found.to_f64();
            let fits = match exact {
                exact if exact.is_nan() => found.is_nan(),
                exact if exact.is_infinite() => found == exact,
                exact => (found - exact).abs() <= relative * size + absolute,
            };
            if !fits {
                return Err(format!("c{:?} is {found:e}, not {exact:e}", [i, j]));
            }
        }
        Ok(())
    }
}

/// Whether there are zeros behind the columns of the last panel.
fn ends_in_zeros<T: Element>(b: PackedView<'_, T>) -> bool {
    let (width, last) = (b.panel_width(), b.columns() % b.panel_width());
    let panel = &b.numbers()[(b.columns() - last) * b.rows()..];
    last == 0 || panel.chunks(width).all(|row| row[last..].iter().all(T::is_zero))
}

/// All NaN are one: which of two goes on is the hardware's choice.
fn bits<T: Element>(x: T) -> Option<(f64, bool)> {
    let x = x.to_f64();
    (!x.is_nan()).then_some((x, x.is_sign_negative()))
}

fn random<T: Element>(
    key: Key,
    (rows, columns): (usize, usize),
    numbers: Numbers,
    operand: usize,
) -> Array2<T> {
    Array2::from_shape_fn((rows, columns), |(i, j)| {
        let u = key.uniform((i * columns + j) as u64);
        // Its next digits.
        let choice = (u * 1e6).fract();
        let ordinary = 2.0 * u - 1.0;
        T::from_f64(match numbers {
            Numbers::Ordinary => ordinary,
            Numbers::Special => match (choice * 50.0) as usize {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3..8 => 0.0,
                8..12 => -0.0,
                _ => ordinary,
            },
            Numbers::Denormal => match operand {
                0 => ordinary * T::MIN_POSITIVE,
                _ => f64::exp2((choice * 5.0).floor() - 3.0),
            },
        })
    })
}

/// A matrix in a layout, with other numbers around it where the layout has gaps.
struct Matrix<T> {
    layout: Layout,
    shape: (usize, usize),
    numbers: Array2<T>,
}

impl<T: Element> Matrix<T> {
    fn new(layout: Layout, numbers: Array2<T>) -> Self {
        let shape = numbers.dim();
        let memory = match layout {
            Transposed => (shape.1, shape.0),
            Sliced => (2 * shape.0 + 1, 3 * shape.1 + 2),
            _ => shape,
        };
        let mut matrix =
            Matrix { layout, shape, numbers: Array2::from_elem(memory, Self::guard()) };
        matrix.view_mut().assign(&numbers);
        matrix
    }

    /// What stands in the gaps.
    fn guard() -> T {
        T::from_f64(12345.0)
    }

    fn view(&self) -> ArrayView2<'_, T> {
        let (rows, columns) = self.shape;
        let mut view = self.numbers.view();
        match self.layout {
            Standard => view,
            Transposed => view.reversed_axes(),
            Reversed => {
                (0..2).for_each(|axis| view.invert_axis(Axis(axis)));
                view
            }
            Sliced => view.slice_move(s![1..2 * rows + 1;2, 2..3 * columns + 2;3]),
        }
    }

    fn view_mut(&mut self) -> ArrayViewMut2<'_, T> {
        let (rows, columns) = self.shape;
        let mut view = self.numbers.view_mut();
        match self.layout {
            Standard => view,
            Transposed => view.reversed_axes(),
            Reversed => {
                (0..2).for_each(|axis| view.invert_axis(Axis(axis)));
                view
            }
            Sliced => view.slice_move(s![1..2 * rows + 1;2, 2..3 * columns + 2;3]),
        }
    }

    /// Whether the gaps hold what they held.
    fn is_intact(&self) -> bool {
        let guards = self.numbers.iter().filter(|&&x| x == Self::guard()).count();
        guards >= self.numbers.len() - self.shape.0 * self.shape.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The naive product with a fault.
    #[derive(Clone, Copy, Debug)]
    enum Faulty {
        ReadsC,
        LosesC,
        LooksAtOtherRows,
        SkipsZeros,
        FlushesDenormals,
        ForgetsTheEnd,
        RoundsTooMuch,
        IgnoresStrides,
        ChangesWhatItPacks,
        LeavesPanelsUnfilled,
    }

    use Faulty::*;

    impl MatmulKernel<f32> for Faulty {
        fn name(&self) -> &str {
            "faulty"
        }

        fn panel_width(&self) -> usize {
            8
        }

        fn pack_panel(&self, b: ArrayView2<'_, f32>, panel: &mut [f32]) {
            for (row, packed) in b.outer_iter().zip(panel.chunks_exact_mut(8)) {
                let (packed, behind) = packed.split_at_mut(b.ncols());
                packed.iter_mut().zip(row).for_each(|(packed, &number)| *packed = number);
                if !matches!(self, LeavesPanelsUnfilled) {
                    behind.fill(0.0);
                }
            }
        }

        fn product(
            &self,
            a: ArrayView2<'_, f32>,
            b: PackedView<'_, f32>,
            accumulate: bool,
            c: ArrayViewMut2<'_, f32>,
        ) {
            let b = Array2::from_shape_fn((b.rows(), b.columns()), |(k, j)| {
                let number = b.numbers()[(j / 8 * b.rows() + k) * 8 + j % 8];
                if matches!(self, ChangesWhatItPacks) {
                    number * (1.0 + f32::EPSILON)
                } else {
                    number
                }
            });
            self.product_unpacked(a, b.view(), accumulate, c);
        }

        fn product_unpacked(
            &self,
            a: ArrayView2<'_, f32>,
            b: ArrayView2<'_, f32>,
            mut accumulate: bool,
            mut c: ArrayViewMut2<'_, f32>,
        ) {
            let mut a = a.to_owned();
            let many = a.nrows() > 1;
            match self {
                ReadsC => {
                    c *= if accumulate { 1.0 } else { 0.0 };
                    accumulate = true;
                }
                LosesC => accumulate = false,
                FlushesDenormals => a.mapv_inplace(|x| if x.is_subnormal() { 0.0 } else { x }),
                ForgetsTheEnd if b.nrows() > 512 => a.slice_mut(s![.., -10..]).fill(0.0),
                RoundsTooMuch => a.mapv_inplace(|x| f32::from_bits(x.to_bits() & 0xffff_0000)),
                // `a` was copied in the order of its memory.
                IgnoresStrides if !a.is_standard_layout() => {
                    let memory = a.as_slice_memory_order().unwrap().to_vec();
                    a = Array2::from_shape_vec(a.dim(), memory).unwrap();
                }
                _ => {}
            }
            for ((i, j), c) in c.indexed_iter_mut() {
                let terms = a.row(i).into_iter().zip(b.column(j));
                let terms = terms.filter(|(x, _)| !matches!(self, SkipsZeros) || **x != 0.0);
                let terms: Vec<f32> = terms.map(|(x, y)| x * y).collect();
                let sum: f32 = match matches!(self, LooksAtOtherRows) && many {
                    true => terms.iter().rev().sum(),
                    false => terms.iter().sum(),
                };
                *c = if accumulate { *c + sum } else { sum };
            }
        }
    }

    #[test]
    fn faulty_kernels_are_caught() {
        for (fault, words) in [
            (ReadsC, "is NaN, not"),
            (LosesC, "+="),
            (LooksAtOtherRows, "gives other bits"),
            (SkipsZeros, "not NaN"),
            (FlushesDenormals, "Denormal numbers: c[0, 0] is"),
            (ForgetsTheEnd, "a [1, 1031]"),
            (RoundsTooMuch, "c[0, 0] is"),
            (IgnoresStrides, "Transposed"),
            (ChangesWhatItPacks, "a packed b gives other bits"),
            (LeavesPanelsUnfilled, "a packed panel does not end in zeros"),
        ] {
            let found = conformance::<f32>(&fault).err().map(|found| found.to_string());
            let is_told = found.as_ref().is_some_and(|found| found.contains(words));
            assert!(is_told, "{fault:?}: {found:?}");
        }
    }
}
