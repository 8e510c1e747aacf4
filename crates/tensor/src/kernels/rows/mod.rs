//! The row operations: softmax and cross-entropy of a row of scores, what attention does with the rows
//! of keys and values, and the rows of a table that an embedding looks up.
//!
//! [`Naive`] is the specification, [`Fast`] runs unless another is chosen, and [`conformance`] tells
//! whether a kernel of your own is right.

mod conformance;
pub(crate) mod fast;
mod naive;

use std::fmt::Debug;
use std::ops::Range;

pub use self::conformance::conformance;
pub use self::fast::Fast;
pub use self::naive::Naive;
use super::cross_entropy::{self, Normaliser, TargetDistribution};
use super::softmax;
use crate::Real;

/// Where the rows of a matrix stand in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Where the first row begins.
    pub start: usize,
    /// From the beginning of a row to that of the next.
    pub stride: usize,
    /// A row's length.
    pub width: usize,
}

impl Rows {
    /// The rows of a matrix in standard layout.
    pub fn of_width(width: usize) -> Self {
        Rows { start: 0, stride: width, width }
    }

    /// The part of each row that belongs to one of several heads, which divide the width evenly.
    pub fn of_head(self, head: usize, heads: usize) -> Self {
        let width = self.width / heads;
        Rows { start: self.start + head * width, stride: self.stride, width }
    }

    /// The place of row `s`.
    #[inline(always)]
    pub fn at(self, s: usize) -> Range<usize> {
        let start = self.start + s * self.stride;
        start..start + self.width
    }
}

/// A variant of the row operations. Implement it to bring your own, and register it by
/// [`Kernels::with_rows`](super::Kernels::with_rows): what it does not bring is that of [`Fast`].
///
/// The contract, which [`conformance`] checks:
///
/// - A number is that of [`Naive`] but for roundings; [`gather`](RowKernel::gather) and
///   [`scatter_add`](RowKernel::scatter_add) give its bits. NaN and infinities go where they go there.
/// - The bits of a row depend neither on the other rows of a call, nor on calls before, nor on the
///   thread. Any number of threads may call at once.
/// - Elements masked at the end of a row change no bit of the others: a sentence has the same bits
///   alone and padded.
/// - What a row does not have is neither read nor written: not what is masked, nor what stands
///   between two rows. Outputs may hold anything before.
///
/// The callers have checked lengths and indices. A kernel that is given others may panic.
///
/// ```
/// use std::sync::Arc;
/// use unspool_tensor::Kernels;
/// use unspool_tensor::kernels::rows::{RowKernel, Rows, conformance};
///
/// /// Weighted sums of rows, column by column.
/// #[derive(Debug)]
/// struct ByColumn;
///
/// impl RowKernel<f32> for ByColumn {
///     fn name(&self) -> &str {
///         "columns"
///     }
///
///     fn add_weighted(&self, sum: &mut [f32], weights: &[f32], elements: &[f32], rows: Rows) {
///         for (column, sum) in sum.iter_mut().enumerate() {
///             for (s, w) in weights.iter().enumerate() {
///                 *sum += w * elements[rows.at(s)][column];
///             }
///         }
///     }
/// }
///
/// conformance(&ByColumn)?;
/// let kernels = Kernels::default().with_rows(Arc::new(ByColumn));
/// assert!(kernels.name().ends_with(", rows by columns (f32)"));
/// # Ok::<(), unspool_tensor::Error>(())
/// ```
pub trait RowKernel<T: Real>: Debug + Send + Sync {
    /// What it is called in listings and checkpoints.
    fn name(&self) -> &str;

    /// `x ← exp(x - top) / Σ exp(x - top)` of a row `[N]`, over the elements to keep `[N]`, of which
    /// `top` is the largest; the others become 0, and so do all when nothing is kept, or only
    /// negative infinity. When a kept one is NaN, all kept ones become NaN, and the others anything.
    fn softmax(&self, xs: &mut [T], keep: Option<&[bool]>) {
        softmax::softmax(xs, keep);
    }

    /// `d ← y·(d - Σ d·y)`: from the gradient of a row's softmax `y [N]` to that of the row. Elements
    /// whose y is 0 are constants: what comes in there, NaN included, is not looked at, and what goes
    /// out is 0 when `Σ d·y` is finite.
    fn softmax_backward(&self, ys: &[T], ds: &mut [T]) {
        softmax::softmax_backward(ys, ds);
    }

    /// `x ← x - top - ln Σ exp(x - top)` of a row `[N]`, as [`softmax`](RowKernel::softmax), but that
    /// the others become -∞.
    fn log_softmax(&self, xs: &mut [T], keep: Option<&[bool]>) {
        softmax::log_softmax(xs, keep);
    }

    /// `d ← d - exp(y)·Σ d`: from the gradient of a row's log-softmax `y [N]` to that of the row.
    /// Elements whose y is -∞ are constants: what comes in there is not looked at, and what goes out
    /// is 0 when `Σ d` is finite.
    fn log_softmax_backward(&self, ys: &[T], ds: &mut [T]) {
        softmax::log_softmax_backward(ys, ds);
    }

    /// The largest element of a row `[N]` and `ln Σ exp(x - top)`, two parts of the logarithm of the
    /// normaliser that are kept apart for their precision. `scratch [N]` is free to use.
    fn log_normaliser(&self, xs: &[T], scratch: &mut [T]) -> (T, T) {
        softmax::log_normaliser(xs, scratch)
    }

    /// `-Σ q·ln softmax(x)` of a row of scores `x [V]`, and its normaliser; `x ← exp(x - top)`.
    fn cross_entropy(
        &self,
        q: &TargetDistribution<T>,
        target: usize,
        scores: &mut [T],
    ) -> (T, Normaliser<T>) {
        cross_entropy::cross_entropy(q, target, scores)
    }

    /// From `exp(x - top) [V]` to the gradient of the row of scores x, given its normaliser's `sum` and
    /// the gradient of its loss: `d_x = (exp(x - top)/sum - q)·d_loss`.
    fn cross_entropy_backward(
        &self,
        q: &TargetDistribution<T>,
        target: usize,
        sum: T,
        d_loss: T,
        exps: &mut [T],
    ) {
        cross_entropy::cross_entropy_backward(q, target, sum, d_loss, exps);
    }

    /// `eₛ = scale·(q·kₛ)` for each of the `scores [S]`: a query `q [A]` with the rows of the keys
    /// `[S, A]`.
    fn dot(&self, scores: &mut [T], scale: T, query: &[T], keys: &[T], rows: Rows) {
        fast::dot(scores, scale, query, keys, rows);
    }

    /// `sum += Σₛ wₛ·xₛ`, `[M]`: the rows of `x [S, M]`, weighted by `w [S]`.
    fn add_weighted(&self, sum: &mut [T], weights: &[T], elements: &[T], rows: Rows) {
        fast::add_weighted(sum, weights, elements, rows);
    }

    /// `xₛ += wₛ·y` for the rows of `x [S, M]`, with `w [S]` and `y [M]`.
    fn add_to_rows(&self, elements: &mut [T], weights: &[T], y: &[T], rows: Rows) {
        fast::add_to_rows(elements, weights, y, rows);
    }

    /// `yᵢ = table[indexᵢ]`: the rows of a table `[V, width]` with these numbers, all below V, one after
    /// the other, `[indices, width]`.
    fn gather(&self, table: &[T], width: usize, indices: &[usize], rows: &mut [T]) {
        fast::gather(table, width, indices, rows);
    }

    /// `d_table[indexᵢ] += dᵢ`, in the order of the indices: adds each row of `ds [indices, width]` to the
    /// row of `d_table [V, width]` with its number, which is below V. No other row is touched, and `skip`
    /// is not either.
    fn scatter_add(
        &self,
        d_table: &mut [T],
        width: usize,
        indices: &[usize],
        skip: Option<usize>,
        ds: &[T],
    ) {
        fast::scatter_add(d_table, width, indices, skip, ds);
    }
}
