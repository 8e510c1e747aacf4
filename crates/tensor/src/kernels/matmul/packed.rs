//! The second factor of a product, packed once and multiplied many times.

use ndarray::{Array1, ArrayView2, Axis};
use rayon::prelude::*;

use super::MatmulKernel;
use crate::{Context, Kernels, Real};

/// A matrix `b [K, N]` in the order in which a kernel reads it: panels of some columns, each `[K,
/// width]` row by row, the last one filled with zeros.
///
/// It remembers the kernels that it was packed for. A weight that changes is packed again in the
/// same memory by [`repack`](Packed::repack).
#[derive(Debug)]
pub struct Packed<T> {
    kernels: Kernels,
    panels: PackedPanels<T>,
}

impl<T: Real> Packed<T> {
    /// Packs `b [K, N]`, of any strides: `w.t()` packs a weight `[N, K]`.
    pub fn new(context: &Context, b: ArrayView2<'_, T>) -> Self {
        let kernels = context.kernels().clone();
        let panels = PackedPanels::new(context, T::matmul(&kernels), b);
        Packed { kernels, panels }
    }

    /// Packs other numbers, for the kernel and with the threads of `context`. Memory is allocated
    /// only when there is more to hold than ever before.
    pub fn repack(&mut self, context: &Context, b: ArrayView2<'_, T>) {
        self.kernels.clone_from(context.kernels());
        self.panels.pack(context, T::matmul(&self.kernels), b);
    }

    /// Gives its memory to the arrays to come.
    pub(crate) fn recycle(self, context: &Context) {
        context.recycle(Array1::from_vec(self.panels.numbers).into_dyn().into_shared());
    }

    /// The kernels that it was packed for.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// What a kernel reads.
    pub fn view(&self) -> PackedView<'_, T> {
        self.panels.view()
    }
}

/// The panels, without a word of whose they are.
#[derive(Debug)]
pub(super) struct PackedPanels<T> {
    rows: usize,
    columns: usize,
    width: usize,
    /// The panels, from where 64 bytes are aligned.
    numbers: Vec<T>,
}

impl<T: Real> PackedPanels<T> {
    pub(super) fn new(
        context: &Context,
        kernel: &dyn MatmulKernel<T>,
        b: ArrayView2<'_, T>,
    ) -> Self {
        let len = aligned_len::<T>(packed_len(b.dim(), kernel.panel_width()));
        let numbers = context.array(len).into_raw_vec_and_offset().0;
        let mut panels = PackedPanels { rows: 0, columns: 0, width: 1, numbers };
        panels.pack(context, kernel, b);
        panels
    }

    pub(super) fn pack(
        &mut self,
        context: &Context,
        kernel: &dyn MatmulKernel<T>,
        b: ArrayView2<'_, T>,
    ) {
        (self.rows, self.columns) = b.dim();
        self.width = kernel.panel_width();
        let (panel, len) = (self.rows * self.width, packed_len(b.dim(), self.width));
        if self.numbers.len() < aligned_len::<T>(len) {
            self.numbers.resize(aligned_len::<T>(len), T::zero());
        }
        if len == 0 {
            return;
        }
        let numbers = &mut aligned(&mut self.numbers)[..len];
        // A number costs about as much to pack as sixteen multiply-adds.
        if !context.parallel(len.saturating_mul(16)) {
            let panels = numbers.chunks_exact_mut(panel);
            for (b, panel) in b.axis_chunks_iter(Axis(1), self.width).zip(panels) {
                kernel.pack_panel(b, panel);
            }
            return;
        }
        context.install(|| {
            b.axis_chunks_iter(Axis(1), self.width)
                .into_par_iter()
                .zip(numbers.par_chunks_exact_mut(panel))
                .for_each(|(b, panel)| kernel.pack_panel(b, panel));
        });
    }

    pub(super) fn view(&self) -> PackedView<'_, T> {
        let numbers = &self.numbers[alignment_offset(&self.numbers)..];
        PackedView::new((self.rows, self.columns), self.width, numbers)
    }
}

/// A view of a packed matrix `[K, N]`, or of some of its panels.
#[derive(Clone, Copy, Debug)]
pub struct PackedView<'a, T> {
    rows: usize,
    columns: usize,
    width: usize,
    numbers: &'a [T],
}

impl<'a, T> PackedView<'a, T> {
    /// A view of the panels of `width` columns that stand one behind the other in `numbers`.
    ///
    /// # Panics
    /// There are fewer numbers than the panels have.
    pub fn new((rows, columns): (usize, usize), width: usize, numbers: &'a [T]) -> Self {
        let numbers = &numbers[..packed_len((rows, columns), width)];
        PackedView { rows, columns, width, numbers }
    }

    /// K: how many rows the matrix has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// N: how many columns the matrix has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many columns a panel has.
    pub fn panel_width(&self) -> usize {
        self.width
    }

    /// All panels, one behind the other: column `p·width + j` of row `k` is number
    /// `(p·K + k)·width + j`. Behind the last column there are zeros to the width of a panel.
    pub fn numbers(&self) -> &'a [T] {
        self.numbers
    }

    /// Of the panels from this one on, so many columns.
    ///
    /// # Panics
    /// There are not so many.
    pub fn band(self, first_panel: usize, columns: usize) -> PackedView<'a, T> {
        let numbers = &self.numbers[first_panel * self.width * self.rows..];
        PackedView::new((self.rows, columns), self.width, numbers)
    }
}

/// How many numbers the panels of a matrix have.
pub(super) fn packed_len((rows, columns): (usize, usize), width: usize) -> usize {
    rows * columns.next_multiple_of(width)
}

/// Vectors are loaded fastest from multiples of their size, a line of the cache.
const ALIGNMENT: usize = 64;

/// How long an array must be to hold `len` numbers from an aligned one on.
pub(super) fn aligned_len<T>(len: usize) -> usize {
    len + ALIGNMENT / size_of::<T>().max(1)
}

/// The first aligned number of an array.
fn alignment_offset<T>(numbers: &[T]) -> usize {
    numbers.as_ptr().align_offset(ALIGNMENT).min(numbers.len())
}

/// An array from its first aligned number on.
pub(super) fn aligned<T>(numbers: &mut [T]) -> &mut [T] {
    let offset = alignment_offset(numbers);
    &mut numbers[offset..]
}
