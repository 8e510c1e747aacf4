//! Rows of a table by their numbers, and the way back: the heart of an embedding.

use ndarray::{ArrayViewMutD, Axis};

use crate::Real;

/// The rows of a table with these numbers, one after the other: `[indices, width]`.
///
/// `table [V, width]` is in standard layout; the indices are below V, as the callers have checked.
pub fn gather<T: Real>(
    table: &[T],
    width: usize,
    indices: impl ExactSizeIterator<Item = usize>,
) -> Vec<T> {
    let mut rows = Vec::with_capacity(indices.len() * width);
    indices.for_each(|index| rows.extend_from_slice(&table[index * width..][..width]));
    rows
}

/// Adds each row of `ds [indices, width]` to the row of `d_table [V, ..]` with its number; no other
/// row is touched, and `skip` is not either.
///
/// `ds` is in standard layout, `d_table` in any; the indices are below V, as the callers have
/// checked.
pub fn scatter_add<T: Real>(
    mut d_table: ArrayViewMutD<'_, T>,
    indices: impl ExactSizeIterator<Item = usize>,
    skip: Option<usize>,
    ds: &[T],
) {
    // Rows without elements have nothing to add.
    let width = (ds.len() / indices.len().max(1)).max(1);
    for (index, d) in indices.zip(ds.chunks_exact(width)) {
        if Some(index) == skip {
            continue;
        }
        let mut row = d_table.index_axis_mut(Axis(0), index);
        match row.as_slice_mut() {
            Some(row) => row.iter_mut().zip(d).for_each(|(row, &d)| *row += d),
            None => row.iter_mut().zip(d).for_each(|(row, &d)| *row += d),
        }
    }
}
