//! Matrix products as work: the three that a layer has.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, ArrayView2};
use unspool_tensor::kernels::matmul::{Element, MatmulKernel, Packed, product, product_packed};
use unspool_tensor::op::{DynOp, UniversalOp};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Kernels, vectorised};

use crate::machine::{Evictor, NumberType};
use crate::shape::Shape;
use crate::workload::{Cost, Expected, Identity, Work, Workload, Wrong, gamma};

/// The numbers that kernels are measured with: `f32` and `f64`.
pub trait Number: Element {
    /// Which they are.
    const TYPE: NumberType;

    /// The default kernels, with this matrix product.
    fn kernels(kernel: Arc<dyn MatmulKernel<Self>>) -> Kernels;

    /// An op over these numbers.
    fn op(op: Arc<dyn UniversalOp>) -> Arc<dyn DynOp<Self>>;
}

impl Number for f32 {
    const TYPE: NumberType = NumberType::F32;

    fn kernels(kernel: Arc<dyn MatmulKernel<f32>>) -> Kernels {
        Kernels::default().with_matmul(kernel)
    }

    fn op(op: Arc<dyn UniversalOp>) -> Arc<dyn DynOp<f32>> {
        op
    }
}

impl Number for f64 {
    const TYPE: NumberType = NumberType::F64;

    fn kernels(kernel: Arc<dyn MatmulKernel<f64>>) -> Kernels {
        Kernels::default().with_matmul_f64(kernel)
    }

    fn op(op: Arc<dyn UniversalOp>) -> Arc<dyn DynOp<f64>> {
        op
    }
}

/// A product of a linear layer with the weight `W [N, K]`, on a batch of M rows. Each has the same
/// number of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// `y = x·Wᵀ`: `[M, K]·[K, N]`.
    Forward,
    /// `d_x = d_y·W`: `[M, N]·[N, K]`.
    BackwardInput,
    /// `d_W = d_yᵀ·x`: `[N, M]·[M, K]`. No factor is a weight, so none is packed before.
    BackwardWeight,
}

impl Pass {
    /// All of them.
    pub const ALL: [Pass; 3] = [Pass::Forward, Pass::BackwardInput, Pass::BackwardWeight];
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pass::Forward => "forward",
            Pass::BackwardInput => "d_x",
            Pass::BackwardWeight => "d_W",
        })
    }
}

/// Whether a kernel gets its second factor packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Packing {
    /// Packed before, as a weight is that is used more than once. Packing is not timed.
    Before,
    /// As it stands in memory. If the kernel packs it, that is timed.
    None,
}

/// A matrix product as work, by one kernel.
#[derive(Debug)]
pub struct Product<T> {
    context: Context,
    variant: String,
    pass: Pass,
    shape: Shape,
    left: Array2<T>,
    right: Array2<T>,
    packed: Option<Packed<T>>,
    output: Array2<T>,
    /// What the inputs are made of, until one is changed.
    key: Option<Key>,
    /// The row of the product that was changed last.
    touched: usize,
    /// The second factor `b` in `f64`, until it changes.
    exact_right: Option<Array2<f64>>,
    oracle: Arc<Oracle>,
}

impl<T: Number> Product<T> {
    /// A product by this kernel, with the threads of the context.
    pub fn new(
        kernel: Arc<dyn MatmulKernel<T>>,
        pass: Pass,
        packing: Packing,
        shape: Shape,
        context: &Context,
    ) -> Self {
        let Shape { m, k, n } = shape;
        let (left, right, output) = match pass {
            Pass::Forward => ((m, k), (n, k), (m, n)),
            Pass::BackwardInput => ((m, n), (n, k), (m, k)),
            Pass::BackwardWeight => ((m, n), (m, k), (n, k)),
        };
        let [left, right, output] = [left, right, output].map(Array2::zeros);
        let variant = kernel.name().to_owned();
        let context = context.clone().with_kernels(T::kernels(kernel));
        let packed = (packing == Packing::Before)
            .then(|| Packed::new(&context, second_factor(pass, &right)));
        let oracle = Arc::default();
        let (key, touched, exact_right) = (None, 0, None);
        let mut product = Product {
            context,
            variant,
            pass,
            shape,
            left,
            right,
            packed,
            output,
            key,
            touched,
            exact_right,
            oracle,
        };
        product.renew(Key::new(0));
        product
    }

    /// The same, with an oracle that others share: each exact product is computed once.
    pub fn with_oracle(self, oracle: &Arc<Oracle>) -> Self {
        Product { oracle: oracle.clone(), ..self }
    }

    /// Which pass it is.
    pub fn pass(&self) -> Pass {
        self.pass
    }

    /// The first row of the exact product and of the sum of the sizes of its terms.
    fn exact_row(&mut self, row: usize) -> (Vec<f64>, Vec<f64>) {
        let b =
            self.exact_right.get_or_insert_with(|| exact(second_factor(self.pass, &self.right)));
        exact_row(first_factor(self.pass, &self.left), b, row)
    }

    /// Holds one row of the output to what it should be.
    fn hold_row(&self, row: usize, expected: &[Expected]) -> Result<f64, Wrong> {
        let mut largest = 0.0_f64;
        for (column, (&found, expected)) in self.output.row(row).iter().zip(expected).enumerate() {
            largest = largest.max(expected.hold(found.to_f64(), || vec![row, column])?);
        }
        Ok(largest)
    }

    /// How many terms each sum has.
    fn depth(&self) -> usize {
        first_factor(self.pass, &self.left).ncols()
    }
}

/// `a`: the left matrix, or its transpose.
fn first_factor<T>(pass: Pass, left: &Array2<T>) -> ArrayView2<'_, T> {
    if pass == Pass::BackwardWeight { left.t() } else { left.view() }
}

/// `b`: the right matrix, or its transpose.
fn second_factor<T>(pass: Pass, right: &Array2<T>) -> ArrayView2<'_, T> {
    if pass == Pass::Forward { right.t() } else { right.view() }
}

impl<T: Number> Workload for Product<T> {
    fn identity(&self) -> Identity {
        let kernel = match self.packed {
            Some(_) => format!("{}, packed", self.pass),
            None => self.pass.to_string(),
        };
        let shape = self.shape.to_string();
        Identity::new(kernel, &self.variant, shape, T::TYPE, &self.context)
    }

    fn cost(&self) -> Cost {
        let numbers = self.left.len() + self.right.len() + self.output.len();
        let bytes = (numbers * size_of::<T>()) as f64;
        Cost { work: Work::Operations, amount: self.shape.operations(), bytes }
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn renew(&mut self, key: Key) {
        // Not near 0, so that each of them is seen in the sums that it is in.
        fill(&mut self.left, key.with(1), |u| if u < 0.0 { u / 2.0 - 0.5 } else { u / 2.0 + 0.5 });
        fill(&mut self.right, key.with(2), |u| u);
        self.output.fill(T::from_f64(f64::NAN));
        if let Some(packed) = &mut self.packed {
            packed.repack(&self.context, second_factor(self.pass, &self.right));
        }
        (self.key, self.touched, self.exact_right) = (Some(key), 0, None);
    }

    fn touch(&mut self, count: u64) {
        self.key = None;
        let columns = self.left.ncols();
        let Some(numbers) = self.left.as_slice_mut() else { return };
        let at = scattered(count, numbers.len());
        let Some(number) = numbers.get_mut(at) else { return };
        *number = -*number;
        self.touched = match self.pass {
            Pass::BackwardWeight => at % columns,
            _ => at / columns,
        };
    }

    fn rewrite(&mut self, change: bool) {
        (self.key, self.exact_right) = (None, None);
        let sign = T::from_f64(if change { -1.0 } else { 1.0 });
        self.left.iter_mut().for_each(|x| *x *= sign);
        if self.packed.is_none() {
            // Not all of them, or the product would be what it was.
            self.right.iter_mut().skip(1).step_by(2).for_each(|x| *x *= sign);
        }
    }

    fn run(&mut self) {
        let a = first_factor(self.pass, &self.left);
        let c = self.output.view_mut();
        match &self.packed {
            Some(packed) => product_packed(&self.context, a, packed, false, c),
            None => {
                product(&self.context, a, second_factor(self.pass, &self.right), false, c);
            }
        }
    }

    fn verify(&mut self) -> Result<f64, Wrong> {
        let relative = worst_case::<T>(self.depth());
        let rows = self.output.nrows();
        let compute = |this: &mut Self| -> Vec<Expected> {
            let row = |row| {
                let (values, sizes) = this.exact_row(row);
                expected::<T>(&values, &sizes, relative)
            };
            (0..rows).flat_map(row).collect()
        };
        let whole = match self.key {
            Some(key) => {
                let oracle = self.oracle.clone();
                oracle.get((key, self.pass, self.shape), || compute(self))
            }
            None => Arc::new(compute(self)),
        };
        let rows = whole.chunks(self.output.ncols().max(1)).enumerate();
        rows.map(|(row, expected)| self.hold_row(row, expected)).try_fold(0.0, largest)
    }

    fn verify_touched(&mut self) -> Result<f64, Wrong> {
        let row = self.touched;
        let (values, sizes) = self.exact_row(row);
        let relative = likely::<T>(self.depth()).min(worst_case::<T>(self.depth()));
        self.hold_row(row, &expected::<T>(&values, &sizes, relative))
    }

    fn relocate(&mut self) {
        // The old memory is given back when the new one is there.
        for array in [&mut self.left, &mut self.right, &mut self.output] {
            *array = array.clone();
        }
        if self.packed.is_some() {
            let b = second_factor(self.pass, &self.right);
            self.packed = Some(Packed::new(&self.context, b));
        }
    }

    fn evict(&self, evictor: &Evictor) {
        for array in [&self.left, &self.right, &self.output] {
            evictor.evict(array.as_slice().unwrap_or_default());
        }
        if let Some(packed) = &self.packed {
            evictor.evict(packed.view().numbers());
        }
    }
}

fn largest(so_far: f64, found: Result<f64, Wrong>) -> Result<f64, Wrong> {
    found.map(|found| so_far.max(found))
}

/// A place among `len` that looks like any, and differs from count to count.
pub(crate) fn scattered(count: u64, len: usize) -> usize {
    // Steps of the golden ratio (Knuth, The Art of Computer Programming, volume 3, §6.4).
    let spread = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(spread) * len as u128) >> 64) as usize
}

/// Fills a matrix with functions of numbers between -1 and 1, none of them 0.
pub(crate) fn fill<T: Number>(numbers: &mut Array2<T>, key: Key, of: impl Fn(f64) -> f64) {
    let mut words = [0; 4];
    for (at, number) in numbers.iter_mut().enumerate() {
        if at % 4 == 0 {
            words = key.words(at as u64 / 4);
        }
        let uniform = (f64::from(words[at % 4]) + 0.5) / f64::from(1u32 << 31) - 1.0;
        *number = T::from_f64(of(uniform));
    }
}

/// A matrix in `f64`, row by row.
fn exact<T: Number>(matrix: ArrayView2<'_, T>) -> Array2<f64> {
    Array2::from_shape_fn(matrix.dim(), |at| matrix[at].to_f64())
}

/// Row `row` of `a·b` and of `|a|·|b|`, by the naive sums in `f64`.
fn exact_row<T: Number>(a: ArrayView2<'_, T>, b: &Array2<f64>, row: usize) -> (Vec<f64>, Vec<f64>) {
    let mut values = vec![0.0; b.ncols()];
    let mut sizes = vec![0.0; b.ncols()];
    let Some(numbers) = b.as_slice() else { return (values, sizes) };
    let a: Vec<f64> = a.row(row).iter().map(|x| x.to_f64()).collect();
    for (&a, b) in a.iter().zip(numbers.chunks_exact(b.ncols().max(1))) {
        add_terms(&mut values, &mut sizes, a, b);
    }
    (values, sizes)
}

vectorised! {
    /// Adds `a·b` and its size, for each b.
    fn add_terms(values: &mut [f64], sizes: &mut [f64], a: f64, b: &[f64]) {
        for ((value, size), &b) in values.iter_mut().zip(sizes).zip(b) {
            let term = a * b;
            *value += term;
            *size += term.abs();
        }
    }
}

/// Values with bounds of `relative` times the sizes of their terms, and what underflow adds.
fn expected<T: Number>(values: &[f64], sizes: &[f64], relative: f64) -> Vec<Expected> {
    let of = |(&value, &size): (&f64, &f64)| {
        let bound = relative * size + T::MIN_POSITIVE;
        Expected { value, bound }
    };
    values.iter().zip(sizes).map(of).collect()
}

/// `γ_K` of the kernel and of the oracle that it is held against, with two terms to spare for a sum
/// that begins elsewhere.
fn worst_case<T: Number>(depth: usize) -> f64 {
    gamma(depth + 2, T::EPSILON) + gamma(depth + 2, f64::EPSILON)
}

/// What the error of a sum of random numbers keeps but once in 10¹⁰ times: with rounding errors of
/// mean 0, `λ·√K·u` in place of `K·u` (Higham and Mary, "A new approach to probabilistic rounding
/// error analysis", 2019, theorem 2.4; λ = 8).
///
/// It is what shows one changed number in sums of up to some 30,000 terms of `f32`.
fn likely<T: Number>(depth: usize) -> f64 {
    let terms = (depth + 2) as f64;
    let lambda = 8.0;
    // Rounding errors of second order are in the bound of the worst case of half a term.
    lambda * terms.sqrt() * T::EPSILON / 2.0
        + terms * T::EPSILON * T::EPSILON
        + gamma(depth + 2, f64::EPSILON)
}

/// What exact products are known by: their inputs.
type Question = (Key, Pass, Shape);

/// Exact products that several workloads share.
#[derive(Debug, Default)]
pub struct Oracle(Mutex<Vec<(Question, Arc<Vec<Expected>>)>>);

impl Oracle {
    /// How many products are kept: those of one round of checks.
    const KEPT: usize = 3;

    fn get(
        &self,
        question: Question,
        compute: impl FnOnce() -> Vec<Expected>,
    ) -> Arc<Vec<Expected>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = known.iter().find(|(other, _)| *other == question) {
            return answer.clone();
        }
        let answer = Arc::new(compute());
        if known.len() >= Self::KEPT {
            known.remove(0);
        }
        known.push((question, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use unspool_tensor::kernels::matmul::Naive;

    use super::*;

    fn products<T: Number>(shape: Shape) -> Vec<Product<T>> {
        let kernels = T::variants().into_iter().filter(|kernel| kernel.is_supported());
        let context = Context::sequential();
        kernels
            .flat_map(|kernel| {
                Pass::ALL.into_iter().flat_map(move |pass| {
                    [Packing::Before, Packing::None].map(|packing| (kernel.clone(), pass, packing))
                })
            })
            .map(|(kernel, pass, packing)| Product::new(kernel, pass, packing, shape, &context))
            .collect()
    }

    fn right_answers_pass<T: Number>() {
        for shape in ["1x1x1", "7x33x18", "1x700x20", "30x2x70"] {
            let oracle = Arc::default();
            for product in products::<T>(shape.parse().unwrap()) {
                let mut product = product.with_oracle(&oracle);
                let identity = product.identity();
                for key in [3, 4] {
                    product.renew(Key::new(key));
                    assert!(product.verify().is_err(), "{identity}: nothing was computed");
                    product.run();
                    let share = product.verify().unwrap();
                    assert!((0.0..=1.0).contains(&share), "{identity}: {share}");
                    product.rewrite(false);
                    product.verify().unwrap();
                    let place = product.output.as_ptr();
                    product.relocate();
                    assert_ne!(product.output.as_ptr(), place);
                    product.verify().unwrap();
                    product.rewrite(true);
                    assert!(product.verify().is_err(), "{identity}: rewritten");
                    product.run();
                    product.verify().unwrap();
                    for count in 0..20 {
                        product.touch(count);
                        // An old answer is seen.
                        assert!(product.verify_touched().is_err(), "{identity}: touch {count}");
                        product.run();
                        product.verify_touched().unwrap();
                        product.verify().unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn right_answers_pass_and_old_ones_do_not() {
        right_answers_pass::<f32>();
        right_answers_pass::<f64>();
    }

    #[test]
    fn one_changed_number_is_seen_in_long_sums() {
        let shape = Shape::new(2, 20_000, 9).unwrap();
        let mut product = Product::<f32>::new(
            Arc::new(Naive),
            Pass::Forward,
            Packing::None,
            shape,
            &Context::sequential(),
        );
        product.run();
        for count in 0..5 {
            product.touch(count);
            assert!(product.verify_touched().is_err());
            product.run();
            product.verify_touched().unwrap();
        }
    }

    #[test]
    fn each_pass_is_that_of_a_layer() {
        let shape = Shape::new(3, 4, 5).unwrap();
        for pass in Pass::ALL {
            let naive = Arc::new(Naive);
            let context = Context::sequential();
            let mut product = Product::<f64>::new(naive, pass, Packing::None, shape, &context);
            product.run();
            let (left, right) = (&product.left, &product.right);
            let (dims, exact) = match pass {
                Pass::Forward => ([(3, 4), (5, 4)], left.dot(&right.t())),
                Pass::BackwardInput => ([(3, 5), (5, 4)], left.dot(right)),
                Pass::BackwardWeight => ([(3, 5), (3, 4)], left.t().dot(right)),
            };
            assert_eq!([left.dim(), right.dim()], dims);
            let error = (&product.output - &exact).mapv(f64::abs).sum();
            assert!(error < 1e-13, "{pass}: {error}");
            assert_eq!(product.cost().amount, 120.0);
        }
    }

    #[test]
    fn scattered_places_are_everywhere() {
        for len in [1, 2, 7, 1000] {
            let mut seen = vec![false; len];
            (0..20 * len as u64).for_each(|count| seen[scattered(count, len)] = true);
            assert!(seen.iter().all(|&seen| seen), "{len}");
        }
        assert_eq!(scattered(5, 0), 0);
    }
}
