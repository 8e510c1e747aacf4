//! The fast row operations of attention and embedding; those of a row of scores are in
//! [`softmax`](crate::kernels::softmax) and [`cross_entropy`](crate::kernels::cross_entropy). All are
//! compiled for each instruction set, with the same bits, and their sums are those of
//! [`reduce`].

use super::{RowKernel, Rows};
use crate::kernels::reduce::{self, add_scaled};
use crate::{Real, vectorised};

/// What runs unless another kernel is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Fast;

impl<T: Real> RowKernel<T> for Fast {
    fn name(&self) -> &str {
        "fast"
    }
}

vectorised! {
    /// `eₛ = scale·(q·kₛ)`, for each of the scores.
    pub fn dot<T: Real>(scores: &mut [T], scale: T, query: &[T], keys: &[T], rows: Rows) {
        for (s, e) in scores.iter_mut().enumerate() {
            *e = scale * reduce::dot(query, &keys[rows.at(s)]);
        }
    }
}

vectorised! {
    /// `sum += Σₛ wₛ·xₛ` over the rows of x.
    pub fn add_weighted<T: Real>(sum: &mut [T], weights: &[T], elements: &[T], rows: Rows) {
        for (s, &w) in weights.iter().enumerate() {
            add_scaled(sum, w, &elements[rows.at(s)]);
        }
    }
}

vectorised! {
    /// `xₛ += wₛ·y` for the rows of x.
    pub fn add_to_rows<T: Real>(elements: &mut [T], weights: &[T], y: &[T], rows: Rows) {
        for (s, &w) in weights.iter().enumerate() {
            add_scaled(&mut elements[rows.at(s)], w, y);
        }
    }
}

/// `yᵢ = table[indexᵢ]`.
pub fn gather<T: Real>(table: &[T], width: usize, indices: &[usize], rows: &mut [T]) {
    for (&index, row) in indices.iter().zip(rows.chunks_exact_mut(width.max(1))) {
        row.copy_from_slice(&table[index * width..][..width]);
    }
}

vectorised! {
    /// `d_table[indexᵢ] += dᵢ`, but for the row `skip`.
    pub fn scatter_add<T: Real>(
        d_table: &mut [T],
        width: usize,
        indices: &[usize],
        skip: Option<usize>,
        ds: &[T],
    ) {
        for (&index, d) in indices.iter().zip(ds.chunks_exact(width.max(1))) {
            if Some(index) != skip {
                let row = &mut d_table[index * width..][..width];
                row.iter_mut().zip(d).for_each(|(row, &d)| *row += d);
            }
        }
    }
}
