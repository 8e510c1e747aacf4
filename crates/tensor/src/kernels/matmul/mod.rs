//! The matrix product.
//!
//! # Contract
//!
//! Every [`MatmulKernel`] computes `c = a·b`, or `c += a·b` when it accumulates, for `a [M, K]`,
//! `b [K, N]` and `c [M, N]` of any strides, M, K and N possibly 0.
//! - When it does not accumulate, `c` is never read: what it held, NaN included, does not matter.
//! - **The bits of a row of `c` depend neither on how many other rows there are nor on the number
//!   of threads**, nor on whether `b` was packed before. A sentence gives the same bits alone or in
//!   any batch, in training and in inference.
//! - NaN and infinities go where the arithmetic of the naive product takes them.
//!
//! [`conformance`](fn@conformance) checks all of it, of your own kernel too.
//!
//! # Our own kernels
//!
//! One set of loops (`blocked.rs`) around one micro-kernel (`tile.rs`), for any vectors
//! (`vector.rs`): those of AVX-512 and AVX2 with fused multiply-adds (`x86.rs`), and arrays that
//! compilers make vectors of. The micro-kernel keeps a tile of `c` in registers, 8 rows by 3 vectors
//! of AVX-512, and reads `b` in panels as wide as a tile (`pack.rs`, `packed.rs`), or where it is
//! when `a` has few rows. Rows of `a` are read where they are; only an `a` whose numbers stand
//! otherwise, as in the gradient of a weight `aᵀ·b`, is packed.
//!
//! Each number of `c` is one chain of multiply-adds over `k` from the first to the last, which
//! begins at 0 or at `c`, and goes on from `c` in the next block. So neither the tile nor any block
//! has a part in the bits, all sizes can be chosen for speed, and AVX2 and AVX-512 agree to the bit.
//!
//! # What did not help
//!
//! Shares of the peak of a core of a Xeon (Sapphire Rapids, AVX-512, 48 kB, 2 MB and 300 MB of
//! cache), measured in the same second; the square is 1024 × 1024 × 1024.
//! - Blocks so flat that a panel of `b` stays in the first cache, by the book: a depth of 192 gives
//!   74% on the square, 768 gives 89%. Reading a panel from the second cache costs nothing, since a
//!   vector of it serves 8 rows; reading and writing `c` more often does.
//! - Higher blocks of `a`: 512 rows give 2% to 5% less than 128.
//! - Packing rows of `a` that stand side by side already: 81%, against 88% without.
//! - Prefetching the panel of a single row by hand, 256 bytes to 16 kB ahead: no difference. The
//!   hardware does it; the product of one row runs as fast as its weight can be read.
//! - Reading `b` in place when `a` has many rows: 64% on the gradient of a weight 1024 × 256, against
//!   71% with packing; for 64 rows it is the better way, 78% against 65%.

mod blocked;
mod conformance;
mod matrixmultiply;
mod naive;
mod pack;
mod packed;
mod tile;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

pub use self::conformance::{Nonconformity, conformance};
pub use self::matrixmultiply::MatrixMultiply;
pub use self::naive::Naive;
pub use self::packed::{Packed, PackedView};
use crate::{Context, Real};

/// One variant of the matrix product, on one thread. Implement it to bring your own.
///
/// `b` comes in panels of [`panel_width`](MatmulKernel::panel_width) columns; threads, packed
/// weights and everything above them are as for the kernels of this crate.
pub trait MatmulKernel<T: Real>: Debug + Send + Sync {
    /// What it is called in listings and checkpoints.
    fn name(&self) -> &str;

    /// Whether this machine can run it.
    fn is_supported(&self) -> bool {
        true
    }

    /// How many columns a panel of a packed `b` has, at least 1. See [`PackedView::numbers`].
    fn panel_width(&self) -> usize;

    /// Threads that share the rows of a product take multiples of so many.
    fn tile_rows(&self) -> usize {
        1
    }

    /// Writes `b [K, N]`, of any strides and with N at most the width W of a panel, as a panel `[K,
    /// W]` in standard order, with zeros behind the columns of `b`.
    fn pack_panel(&self, b: ArrayView2<'_, T>, panel: &mut [T]) {
        let columns = b.ncols();
        for (row, packed) in b.outer_iter().zip(panel.chunks_exact_mut(self.panel_width())) {
            packed.iter_mut().zip(row).for_each(|(packed, &number)| *packed = number);
            packed[columns..].fill(T::zero());
        }
    }

    /// The product with a `b [K, N]` that [`pack_panel`](MatmulKernel::pack_panel) has packed:
    /// `a [M, K]`, `c [M, N]`. The callers have checked the shapes.
    fn product(
        &self,
        a: ArrayView2<'_, T>,
        b: PackedView<'_, T>,
        accumulate: bool,
        c: ArrayViewMut2<'_, T>,
    );

    /// The product with a `b` of any strides, to the same bits. Unless a kernel does better, it is
    /// packed on the way.
    fn product_unpacked(
        &self,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
        accumulate: bool,
        c: ArrayViewMut2<'_, T>,
    ) {
        let width = self.panel_width();
        let mut numbers = vec![T::zero(); packed::packed_len(b.dim(), width)];
        let panels = numbers.chunks_exact_mut((b.nrows() * width).max(1));
        for (b, panel) in b.axis_chunks_iter(Axis(1), width).zip(panels) {
            self.pack_panel(b, panel);
        }
        self.product(a, PackedView::new(b.dim(), width, &numbers), accumulate, c);
    }
}

/// The product with the kernel and the threads of the context.
///
/// Shapes: `a [M, K]`, `b [K, N]`, `c [M, N]`; the callers have checked them.
pub fn product<T: Real>(
    context: &Context,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    accumulate: bool,
    c: ArrayViewMut2<'_, T>,
) {
    drive(context, T::matmul(context.kernels()), a, b, accumulate, c);
}

/// The product with a packed `b`, by the kernel that it was packed for and with the threads of the
/// context: the bits of [`product`].
///
/// Shapes: `a [M, K]`, `b [K, N]`, `c [M, N]`; the callers have checked them.
pub fn product_packed<T: Real>(
    context: &Context,
    a: ArrayView2<'_, T>,
    b: &Packed<T>,
    accumulate: bool,
    c: ArrayViewMut2<'_, T>,
) {
    drive_packed(context, T::matmul(b.kernels()), &[(a, b.view())], accumulate, c);
}

/// The sum of products with packed second factors, `c (+)= Σ aᵢ·bᵢ` from the first to the last, to
/// the bits of one [`product_packed`] after the other; threads share the work only once.
///
/// Shapes: `aᵢ [M, Kᵢ]`, `bᵢ [Kᵢ, N]`, `c [M, N]`; the callers have checked them, and that all were
/// packed for the same kernel. Without any factor, nothing is done.
pub fn sum_of_products_packed<T: Real, const N: usize>(
    context: &Context,
    factors: [(ArrayView2<'_, T>, &Packed<T>); N],
    accumulate: bool,
    c: ArrayViewMut2<'_, T>,
) {
    let Some((_, first)) = factors.first() else { return };
    let kernel = T::matmul(first.kernels());
    drive_packed(context, kernel, &factors.map(|(a, b)| (a, b.view())), accumulate, c);
}

fn drive<T: Real>(
    context: &Context,
    kernel: &dyn MatmulKernel<T>,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    accumulate: bool,
    mut c: ArrayViewMut2<'_, T>,
) {
    debug_assert_eq!((a.nrows(), b.ncols(), a.ncols()), (c.nrows(), c.ncols(), b.nrows()));
    match split(context, kernel, c.dim(), a.ncols()) {
        None => kernel.product_unpacked(a, b, accumulate, c),
        Some(Bands::Rows(band)) => context.install(|| {
            c.axis_chunks_iter_mut(Axis(0), band)
                .into_par_iter()
                .zip(a.axis_chunks_iter(Axis(0), band))
                .for_each(|(c, a)| kernel.product_unpacked(a, b, accumulate, c));
        }),
        Some(Bands::Panels(band)) => context.install(|| {
            let band = band * kernel.panel_width();
            c.axis_chunks_iter_mut(Axis(1), band)
                .into_par_iter()
                .zip(b.axis_chunks_iter(Axis(1), band))
                .for_each(|(c, b)| kernel.product_unpacked(a, b, accumulate, c));
        }),
    }
}

fn drive_packed<T: Real>(
    context: &Context,
    kernel: &dyn MatmulKernel<T>,
    factors: &[(ArrayView2<'_, T>, PackedView<'_, T>)],
    accumulate: bool,
    mut c: ArrayViewMut2<'_, T>,
) {
    for (a, b) in factors {
        debug_assert_eq!((a.nrows(), b.columns(), a.ncols()), (c.nrows(), c.ncols(), b.rows()));
    }
    let depth = factors.iter().map(|(a, _)| a.ncols()).sum();
    match pieces(context, kernel, c.dim(), depth) {
        None => {
            for (number, (a, b)) in factors.iter().enumerate() {
                kernel.product(a.view(), *b, accumulate || number > 0, c.view_mut());
            }
        }
        Some(Bands::Rows(band)) => context.install(|| {
            let bands = c.axis_chunks_iter_mut(Axis(0), band).into_par_iter().enumerate();
            bands.with_max_len(1).for_each(|(at, mut c)| {
                let rows = at * band..at * band + c.nrows();
                for (number, (a, b)) in factors.iter().enumerate() {
                    let a = a.slice(s![rows.clone(), ..]);
                    kernel.product(a, *b, accumulate || number > 0, c.view_mut());
                }
            });
        }),
        Some(Bands::Panels(band)) => context.install(|| {
            let columns = band * kernel.panel_width();
            let bands = c.axis_chunks_iter_mut(Axis(1), columns).into_par_iter().enumerate();
            bands.with_max_len(1).for_each(|(at, mut c)| {
                for (number, (a, b)) in factors.iter().enumerate() {
                    let b = b.band(at * band, c.ncols());
                    kernel.product(a.view(), b, accumulate || number > 0, c.view_mut());
                }
            });
        }),
    }
}

/// What a thread takes of a product.
#[derive(Clone, Copy, Debug)]
enum Bands {
    /// So many rows.
    Rows(usize),
    /// So many panels of columns.
    Panels(usize),
}

/// The pieces that threads take of `c [M, N]` one after the other, so that a core that is slower
/// takes fewer; `None` when one thread does all. The second factor is packed: to cut costs little.
fn pieces<T: Real>(
    context: &Context,
    kernel: &dyn MatmulKernel<T>,
    (m, n): (usize, usize),
    k: usize,
) -> Option<Bands> {
    /// A piece is at least so many multiply-adds: some twenty microseconds.
    const LEAST: usize = 1 << 21;
    /// A thread reads all of `b` for each piece of rows, and should have many for it.
    const ROWS: usize = 128;
    let work = work(m, n, k);
    let threads = context.threads_for_product(work);
    if m * n == 0 || threads == 1 {
        return None;
    }
    let most = (work / LEAST).max(threads);
    let rows = m.div_ceil(most).max(ROWS).next_multiple_of(kernel.tile_rows());
    let panels = n.div_ceil(kernel.panel_width());
    Some(if m >= 2 * threads * rows {
        Bands::Rows(rows)
    } else if panels >= threads {
        Bands::Panels((panels / most).max(1))
    } else {
        Bands::Rows(m.div_ceil(threads).next_multiple_of(kernel.tile_rows()))
    })
}

/// The multiply-adds of a product, for the choice of threads.
fn work(m: usize, n: usize, k: usize) -> usize {
    /// Fewer rows wait for `b` to be read as long as so many take.
    const ROWS_A_READ: usize = 8;
    m.max(ROWS_A_READ).saturating_mul(n).saturating_mul(k)
}

/// What each thread takes of `c [M, N]`, or `None` when one does all: one part each, for each packs
/// a whole factor.
///
/// They share the longer side, unless it cannot be cut into parts that are as equal: columns when
/// it is N, for then each thread's part of `b` stays in its own cache.
fn split<T: Real>(
    context: &Context,
    kernel: &dyn MatmulKernel<T>,
    (m, n): (usize, usize),
    k: usize,
) -> Option<Bands> {
    if m * n == 0 || !context.parallel(work(m, n, k)) {
        return None;
    }
    let threads = context.threads();
    let rows = m.div_ceil(threads).next_multiple_of(kernel.tile_rows());
    let panels = n.div_ceil(kernel.panel_width()).div_ceil(threads);
    // How much the busiest thread has to do.
    let by_rows = rows.min(m) * n;
    let by_panels = (panels * kernel.panel_width()).min(n) * m;
    let slack = 9.0 / 8.0;
    let as_equal = |one: usize, other: usize| one as f64 <= slack * other as f64;
    let columns = match n >= m {
        true => as_equal(by_panels, by_rows),
        false => !as_equal(by_rows, by_panels),
    };
    Some(if columns { Bands::Panels(panels) } else { Bands::Rows(rows) })
}

/// The numbers that this crate has fast kernels for.
pub trait Element: Real {
    /// The distance from 1 to the next larger number.
    const EPSILON: f64;
    /// The smallest positive number that is not denormal.
    const MIN_POSITIVE: f64;

    /// All kernels of this crate, the best last.
    fn variants() -> Vec<Arc<dyn MatmulKernel<Self>>>;

    /// Lends two pieces of memory of the thread's own.
    #[doc(hidden)]
    fn with_scratch<R>(work: impl FnOnce(&[Cell<Vec<Self>>; 2]) -> R) -> R;
}

macro_rules! element {
    ($t:ident, $lanes:literal, $($vector:ident)*) => {
        impl Element for $t {
            const EPSILON: f64 = $t::EPSILON as f64;
            const MIN_POSITIVE: f64 = $t::MIN_POSITIVE as f64;

            fn variants() -> Vec<Arc<dyn MatmulKernel<Self>>> {
                vec![
                    Arc::new(Naive),
                    Arc::new(blocked::Blocked::<vector::Portable<$t, $lanes>>::new()),
                    Arc::new(MatrixMultiply),
                    $(
                        #[cfg(target_arch = "x86_64")]
                        Arc::new(blocked::Blocked::<x86::$vector>::new()),
                    )*
                ]
            }

            fn with_scratch<R>(work: impl FnOnce(&[Cell<Vec<Self>>; 2]) -> R) -> R {
                thread_local! {
                    static SCRATCH: [Cell<Vec<$t>>; 2] = const { [const { Cell::new(Vec::new()) }; 2] };
                }
                SCRATCH.with(work)
            }
        }
    };
}

element!(f32, 4, F32x8 F32x16);
element!(f64, 2, F64x4 F64x8);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};
    use std::time::Instant;

    use ndarray::Array2;

    use super::*;
    use crate::Kernels;
    use crate::random::Key;

    fn all_conform<T: Element>() {
        for kernel in T::variants().into_iter().filter(|kernel| kernel.is_supported()) {
            conformance(&*kernel).unwrap();
        }
    }

    #[test]
    fn all_variants_conform() {
        all_conform::<f32>();
        all_conform::<f64>();
    }

    /// The names of the kernels with fused multiply-adds are those of instruction sets.
    fn agree_to_the_bit<T: Element>() {
        let fused = T::variants().into_iter().filter(|kernel| kernel.name().starts_with("avx"));
        let fused: Vec<_> = fused.filter(|kernel| kernel.is_supported()).collect();
        let matrix = |rows, columns, seed| {
            let key = Key::new(seed);
            Array2::from_shape_fn((rows, columns), |(i, j)| {
                T::from_f64(key.uniform((i * columns + j) as u64) - 0.5)
            })
        };
        for (m, k, n) in [(1, 1000, 50), (13, 900, 101), (130, 33, 7)] {
            let (a, b) = (matrix(m, k, 1), matrix(k, n, 2));
            let mut found = fused.iter().map(|kernel| {
                let mut c = matrix(m, n, 3);
                kernel.product_unpacked(a.view(), b.view(), true, c.view_mut());
                c
            });
            if let Some(first) = found.next() {
                found.for_each(|other| assert_eq!(first, other, "{m} x {k} x {n}"));
            }
        }
    }

    #[test]
    fn wider_vectors_have_the_same_bits() {
        agree_to_the_bit::<f32>();
        agree_to_the_bit::<f64>();
    }

    #[test]
    fn a_sum_of_products_has_the_bits_of_one_after_the_other() {
        let matrix = |rows, columns, seed| {
            let key = Key::new(seed);
            Array2::from_shape_fn((rows, columns), |(i, j)| {
                key.uniform((i * columns + j) as u64) as f32 - 0.5
            })
        };
        for threads in [1, 2, 3] {
            let context = Context::with_threads(threads).unwrap().with_parallel_from(0);
            for (m, n) in [(1, 130), (3, 20), (70, 50), (0, 4)] {
                let factors = [5, 40, 1].map(|k| {
                    (matrix(m, k, k as u64), Packed::new(&context, matrix(k, n, 7).view()))
                });
                for accumulate in [false, true] {
                    let mut expected = matrix(m, n, 9);
                    for (number, (a, b)) in factors.iter().enumerate() {
                        let accumulate = accumulate || number > 0;
                        product_packed(&context, a.view(), b, accumulate, expected.view_mut());
                    }
                    let mut found = matrix(m, n, 9);
                    let views = factors.each_ref().map(|(a, b)| (a.view(), b));
                    sum_of_products_packed(&context, views, accumulate, found.view_mut());
                    assert_eq!(found, expected, "{m} x {n}, {threads} threads");
                }
            }
        }
    }

    /// Rows of `b` would be written behind a panel that is too narrow for them.
    #[test]
    fn a_panel_takes_no_more_columns_than_it_has() {
        fn refuse<T: Element>() {
            for kernel in T::variants().into_iter().filter(|k| k.name().starts_with("avx")) {
                if !kernel.is_supported() {
                    continue;
                }
                let columns = 2 * kernel.panel_width();
                let b = Array2::<T>::zeros((columns, columns));
                for b in [b.view(), b.t()] {
                    let mut panel = vec![T::zero(); columns * kernel.panel_width()];
                    let pack = || kernel.pack_panel(b, &mut panel);
                    assert!(catch_unwind(AssertUnwindSafe(pack)).is_err(), "{}", kernel.name());
                }
            }
        }
        refuse::<f32>();
        refuse::<f64>();
    }

    /// The naive product, which remembers its threads, and waits for so many.
    #[derive(Debug)]
    struct Meeting {
        expected: usize,
        threads: Mutex<HashSet<ThreadId>>,
    }

    impl MatmulKernel<f32> for Meeting {
        fn name(&self) -> &str {
            "meeting"
        }

        fn panel_width(&self) -> usize {
            4
        }

        fn product(
            &self,
            a: ArrayView2<'_, f32>,
            b: PackedView<'_, f32>,
            accumulate: bool,
            c: ArrayViewMut2<'_, f32>,
        ) {
            let start = Instant::now();
            self.threads.lock().unwrap().insert(thread::current().id());
            while self.threads.lock().unwrap().len() < self.expected {
                assert!(start.elapsed().as_secs() < 60, "nobody helps");
                thread::yield_now();
            }
            Naive.product(a, b, accumulate, c);
        }
    }

    #[test]
    fn whoever_has_no_shard_helps_with_the_products_of_another() {
        let ones = |rows, columns| Array2::<f32>::ones((rows, columns));
        for (rows, columns) in [(3, 40), (2000, 3), (700, 5)] {
            for (threads, expected) in [(1, 1), (2, 2), (3, 3)] {
                let kernel = Arc::new(Meeting { expected, threads: Mutex::default() });
                let context = Context::with_threads(threads).unwrap().with_parallel_from(0);
                let context = context.with_kernels(Kernels::default().with_matmul(kernel.clone()));
                let packed = Packed::new(&context, ones(5, columns).view());
                let shard = context.for_shard(7);
                assert_eq!(shard.threads(), 1);
                let mut c = ones(rows, columns);
                context.install(|| {
                    product_packed(&shard, ones(rows, 5).view(), &packed, true, c.view_mut());
                });
                assert_eq!(c, 6.0 * ones(rows, columns));
                assert_eq!(kernel.threads.lock().unwrap().len(), threads);
            }
        }
        // Elsewhere there is nobody to help.
        let kernel = Arc::new(Meeting { expected: 1, threads: Mutex::default() });
        let context = Context::with_threads(2).unwrap().with_parallel_from(0);
        let context = context.with_kernels(Kernels::default().with_matmul(kernel.clone()));
        let packed = Packed::new(&context, ones(5, 40).view());
        let mut c = ones(3, 40);
        product_packed(&context.for_shard(0), ones(3, 5).view(), &packed, true, c.view_mut());
        assert_eq!(kernel.threads.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_packed_matrix_is_packed_again_where_it_is() {
        let context = Context::sequential();
        let mut packed = Packed::new(&context, Array2::<f32>::ones((40, 70)).view());
        let start = packed.view().numbers().as_ptr();
        for shape in [(40, 70), (70, 40), (3, 5), (0, 7), (7, 0)] {
            let b = Array2::from_shape_fn(shape, |(i, j)| (i * 100 + j) as f32);
            packed.repack(&context, b.view());
            let mut c = Array2::zeros(shape);
            product_packed(&context, Array2::eye(shape.0).view(), &packed, false, c.view_mut());
            assert_eq!(c, b);
            assert!(std::ptr::eq(start, packed.view().numbers().as_ptr()), "{shape:?}");
        }
    }
}
