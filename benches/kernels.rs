//! Kernels: matrix products in floating-point operations a second (`item/s`), pointwise functions
//! and softmax in numbers a second. The fast variants stand beside the naive ones, which call the
//! standard library number by number.
//!
//! `cargo bench --bench kernels`; after it, any part of a name selects benchmarks.

use divan::Bencher;
use divan::counter::ItemsCount;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use unspool_tensor::kernels::matmul::{self, Packed};
use unspool_tensor::kernels::pointwise::Pointwise;
use unspool_tensor::kernels::rows::{self, RowKernel};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Kernels};

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

fn main() {
    divan::main();
}

/// Uniform in -2 to 2.
fn random(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    let key = Key::new(seed);
    let number = |at: usize| (4.0 * key.uniform(at as u64) - 2.0) as f32;
    Array2::from_shape_fn((rows, columns), |(i, j)| number(i * columns + j))
}

fn assert_near(found: &[f32], expected: impl Iterator<Item = f32>, tolerance: f32) {
    for (found, expected) in found.iter().zip(expected) {
        let bound = tolerance * expected.abs().max(1.0);
        assert!((found - expected).abs() <= bound, "{found} is not {expected}");
    }
}

/// `a [M, K] · b [K, N]`.
mod product {
    use super::*;

    /// M, K, N: the gates of a decoder's step for a batch of 64, and for one sentence; a row of the
    /// readout; all time steps at once; a large square.
    const SHAPES: [[usize; 3]; 5] =
        [[64, 640, 1024], [1, 512, 1024], [1, 256, 115], [1280, 256, 1024], [1024, 1024, 1024]];

    fn time(
        bencher: Bencher<'_, '_>,
        [m, k, n]: [usize; 3],
        transposed: bool,
        product: impl Fn(ArrayView2<'_, f32>, ArrayView2<'_, f32>, ArrayViewMut2<'_, f32>),
    ) {
        let a = random(m, k, 1);
        let stored = if transposed { random(n, k, 2) } else { random(k, n, 2) };
        let b = if transposed { stored.t() } else { stored.view() };
        let mut c = Array2::zeros((m, n));
        let flop = ItemsCount::new(2 * m * k * n);
        bencher.counter(flop).bench_local(|| product(a.view(), b, c.view_mut()));
        // The last row, in the order of the naive product; each term is at most 4.
        let exact =
            |j: usize| (0..k).map(|i| f64::from(a[[m - 1, i]]) * f64::from(b[[i, j]])).sum();
        for j in 0..n {
            let exact: f64 = exact(j);
            let error = (f64::from(c[[m - 1, j]]) - exact).abs();
            assert!(error <= 4.0 * k as f64 * f64::from(f32::EPSILON), "{error:e} off");
        }
    }

    /// Every variant that this machine supports, by name; the naive one without the large shapes.
    fn rows() -> impl Iterator<Item = (String, [usize; 3])> {
        let names = Kernels::variants().into_iter().filter(|(_, supported)| *supported);
        names
            .flat_map(|(name, _)| SHAPES.map(|shape| (name.clone(), shape)))
            .filter(|(name, [m, ..])| name != "naive" || *m < 1000)
    }

    /// `x·Wᵀ` with a weight that was packed before: what a layer does at each step.
    #[divan::bench(args = rows(), max_time = 1)]
    fn packed(bencher: Bencher<'_, '_>, (name, [m, k, n]): &(String, [usize; 3])) {
        let context = Context::sequential().with_kernels(Kernels::named(name).unwrap());
        let weight = random(*n, *k, 2);
        let packed = Packed::new(&context, weight.t());
        time(bencher, [*m, *k, *n], true, |a, _, c| {
            matmul::product_packed(&context, a, &packed, false, c);
        });
    }

    /// `x·Wᵀ`.
    #[divan::bench(args = rows(), max_time = 1)]
    fn transposed(bencher: Bencher<'_, '_>, (name, shape): &(String, [usize; 3])) {
        let context = Context::sequential().with_kernels(Kernels::named(name).unwrap());
        time(bencher, *shape, true, |a, b, c| matmul::product(&context, a, b, false, c));
    }

    /// `d_y·W`.
    #[divan::bench(args = rows(), max_time = 1)]
    fn plain(bencher: Bencher<'_, '_>, (name, shape): &(String, [usize; 3])) {
        let context = Context::sequential().with_kernels(Kernels::named(name).unwrap());
        time(bencher, *shape, false, |a, b, c| matmul::product(&context, a, b, false, c));
    }

    /// On all cores, packed before.
    #[divan::bench(args = SHAPES, max_time = 1)]
    fn parallel(bencher: Bencher<'_, '_>, [m, k, n]: [usize; 3]) {
        let context = Context::with_threads(0).unwrap();
        let weight = random(n, k, 2);
        let packed = Packed::new(&context, weight.t());
        time(bencher, [m, k, n], true, |a, _, c| {
            matmul::product_packed(&context, a, &packed, false, c);
        });
    }
}

/// Functions of each number of a slice that fits the first cache.
mod pointwise {
    use super::*;

    const SIZE: usize = 4096;

    fn time(bencher: Bencher<'_, '_>, function: fn(&mut [f32]), exact: fn(f32) -> f32) {
        let xs = random(1, SIZE, 3).into_raw_vec_and_offset().0;
        bencher
            .counter(ItemsCount::new(SIZE))
            .with_inputs(|| xs.clone())
            .bench_local_refs(|xs| function(xs));
        let mut ys = xs.clone();
        function(&mut ys);
        assert_near(&ys, xs.into_iter().map(exact), 1e-6);
    }

    fn sigmoid(x: f32) -> f32 {
        1.0 / (1.0 + (-x).exp())
    }

    #[divan::bench]
    fn exp_fast(bencher: Bencher<'_, '_>) {
        time(bencher, Pointwise::fast().exp, f32::exp);
    }

    #[divan::bench]
    fn exp_naive(bencher: Bencher<'_, '_>) {
        time(bencher, Pointwise::naive().exp, f32::exp);
    }

    #[divan::bench]
    fn sigmoid_fast(bencher: Bencher<'_, '_>) {
        time(bencher, Pointwise::fast().sigmoid, sigmoid);
    }

    #[divan::bench]
    fn sigmoid_naive(bencher: Bencher<'_, '_>) {
        time(bencher, Pointwise::naive().sigmoid, sigmoid);
    }

    #[divan::bench]
    fn tanh_fast(bencher: Bencher<'_, '_>) {
        time(bencher, Pointwise::fast().tanh, f32::tanh);
    }

    #[divan::bench]
    fn tanh_naive(bencher: Bencher<'_, '_>) {
        time(bencher, Pointwise::naive().tanh, f32::tanh);
    }
}

/// Rows of scores to probabilities: attention over a sentence, and a large vocabulary.
mod softmax_rows {
    use super::*;

    const SHAPES: [[usize; 2]; 2] = [[64, 20], [64, 8000]];

    fn time(bencher: Bencher<'_, '_>, [rows, columns]: [usize; 2], kernel: &dyn RowKernel<f32>) {
        let xs = random(rows, columns, 4).into_raw_vec_and_offset().0;
        let softmax = |xs: &mut Vec<f32>| {
            xs.chunks_mut(columns).for_each(|row| kernel.softmax(row, None));
        };
        bencher
            .counter(ItemsCount::new(rows * columns))
            .with_inputs(|| xs.clone())
            .bench_local_refs(softmax);
        let mut ys = xs.clone();
        softmax(&mut ys);
        for (xs, ys) in xs.chunks(columns).zip(ys.chunks(columns)) {
            let sum: f64 = xs.iter().map(|&x| f64::from(x).exp()).sum();
            assert_near(ys, xs.iter().map(|&x| (f64::from(x).exp() / sum) as f32), 1e-6);
        }
    }

    #[divan::bench(args = SHAPES, max_time = 1)]
    fn fast(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
        time(bencher, shape, &rows::Fast);
    }

    #[divan::bench(args = SHAPES, max_time = 1)]
    fn naive(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
        time(bencher, shape, &rows::Naive);
    }
}
