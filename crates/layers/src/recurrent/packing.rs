//! Packed sequences: a padded batch without its padding.
//!
//! The rows of a batch are sorted by length, longest first, and their valid vectors stored step by
//! step. So the rows that are still running at a step are the first ones, and every step is one
//! block of rows:
//!
//! ```text
//! lengths 2, 3, 1 (rows a, b, c)       step 0    step 1   step 2
//! packed                               b a c     b a      b
//! ```
//!
//! What is not there cannot touch anything: padding never enters a product, a state or a gradient,
//! whatever it holds. Reading backwards is another order of the same vectors: row b's last one
//! stands in step 0.

use std::ops::Range;

use ndarray::{ArcArray2, Array2, ArrayView2, CowArray, Ix2, s};
use unspool_tensor::{Error, Real, Result};

/// Where each valid vector of a padded batch `[T·B, N]` stands in the packed one `[P, N]`.
#[derive(Clone, Debug)]
pub struct Packing {
    time_steps: usize,
    batch: usize,
    /// The row of the batch that is the k-th longest, `[B]`.
    order: Vec<usize>,
    /// Whether the rows stand in that order already.
    is_sorted: bool,
    /// Where each step's block begins, and at last where the last one ends, `[T + 1]`.
    starts: Vec<usize>,
    /// The padded row `t·B + b` of each packed row, `[P]`.
    sources: Vec<usize>,
    /// Whether the packed vectors are the padded ones, in the same order.
    is_identity: bool,
}

impl Packing {
    /// The packing of `[T, B]` vectors, of which each row's first `lengths[b]` are valid: all of
    /// them without `lengths`. `reverse` puts each row's last valid vector first.
    ///
    /// # Errors
    /// There are not `B` lengths, or one is above `T`; the error names `op`.
    pub fn new(
        op: &str,
        time_steps: usize,
        batch: usize,
        lengths: Option<&[usize]>,
        reverse: bool,
    ) -> Result<Self> {
        if let Some(lengths) = lengths {
            if lengths.len() != batch {
                let problem = format!("{} lengths for a batch of {batch}", lengths.len());
                return Err(Error::invalid(op, problem));
            }
            if let Some(length) = lengths.iter().find(|&&length| length > time_steps) {
                let problem = format!("a row of length {length} in {time_steps} time steps");
                return Err(Error::invalid(op, problem));
            }
        }
        let length = |row: usize| lengths.map_or(time_steps, |lengths| lengths[row]);
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(length(row)));
        let mut starts = Vec::with_capacity(time_steps + 1);
        let mut sources = Vec::with_capacity(time_steps * batch);
        for step in 0..time_steps {
            starts.push(sources.len());
            sources.extend(order.iter().take_while(|&&row| length(row) > step).map(|&row| {
                let time = if reverse { length(row) - 1 - step } else { step };
                time * batch + row
            }));
        }
        starts.push(sources.len());
        let is_sorted = order.is_sorted();
        let is_identity = sources.len() == time_steps * batch && sources.is_sorted();
        Ok(Packing { time_steps, batch, order, is_sorted, starts, sources, is_identity })
    }

    /// How many time steps there are, `T`.
    pub fn time_steps(&self) -> usize {
        self.time_steps
    }

    /// How many rows the batch has, `B`.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// How many valid vectors there are, `P`.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether the packed vectors are the padded ones, in the same order.
    pub fn is_identity(&self) -> bool {
        self.is_identity
    }

    /// Whether all rows run at every step: then they stand in their own order, too.
    pub fn is_full(&self) -> bool {
        self.len() == self.time_steps * self.batch
    }

    /// The packed rows of a step.
    pub fn step(&self, step: usize) -> Range<usize> {
        self.starts[step]..self.starts[step + 1]
    }

    /// The padded row `t·B + b` that each packed row comes from, `[P]`.
    pub fn sources(&self) -> &[usize] {
        &self.sources
    }

    /// The valid rows of `padded [T·B, N]`, packed `[P, N]`.
    pub fn pack<T: Real>(&self, padded: ArrayView2<'_, T>) -> Array2<T> {
        let mut packed = Array2::zeros((self.len(), padded.ncols()));
        for (mut packed, &source) in packed.outer_iter_mut().zip(&self.sources) {
            packed.assign(&padded.row(source));
        }
        packed
    }

    /// The rows of `packed [P, N]` in their places `[T·B, N]`, with zeros for padding.
    pub fn unpack<T: Real>(&self, packed: ArrayView2<'_, T>) -> Array2<T> {
        let mut padded = Array2::zeros((self.time_steps * self.batch, packed.ncols()));
        for (packed, &source) in packed.outer_iter().zip(&self.sources) {
            padded.row_mut(source).assign(&packed);
        }
        padded
    }

    /// The rows of a state `[B, H]`, longest first, in standard layout; the state itself when it is
    /// so already.
    pub fn sort<'a, T: Real>(&self, state: ArrayView2<'a, T>) -> CowArray<'a, T, Ix2> {
        if self.is_sorted && state.is_standard_layout() {
            return state.into();
        }
        let mut sorted = Array2::zeros(state.raw_dim());
        for (mut sorted, &row) in sorted.outer_iter_mut().zip(&self.order) {
            sorted.assign(&state.row(row));
        }
        sorted.into()
    }

    /// The rows of a sorted state `[B, H]` in their places again.
    pub fn unsort<T: Real>(&self, sorted: Array2<T>) -> Array2<T> {
        if self.is_sorted {
            return sorted;
        }
        let mut state = Array2::zeros(sorted.raw_dim());
        for (sorted, &row) in sorted.outer_iter().zip(&self.order) {
            state.row_mut(row).assign(&sorted);
        }
        state
    }

    /// The rows of the sorted batch in so many bands, with about as many valid vectors in each.
    pub(super) fn bands(&self, count: usize) -> Vec<Range<usize>> {
        let mut bands = Vec::with_capacity(count);
        let (mut start, mut seen) = (0, 0);
        for row in 0..self.batch {
            seen += (0..self.time_steps).filter(|&step| self.step(step).len() > row).count();
            let share = (bands.len() + 1) * self.len();
            if bands.len() + 1 < count && seen * count >= share {
                bands.push(start..row + 1);
                start = row + 1;
            }
        }
        bands.push(start..self.batch);
        bands
    }

    /// What each band has of an array of packed rows `[P, columns]`: a slice for each step, with
    /// those of its rows that still run.
    pub(super) fn parts<'a, T>(
        &self,
        bands: &[Range<usize>],
        packed: &'a mut [T],
        columns: usize,
    ) -> Vec<Vec<&'a mut [T]>> {
        let blocks = (0..self.time_steps).map(|step| self.step(step).len());
        split(bands, packed, columns, blocks)
    }

    /// What each band has of states `[B + P, columns]`: first those before all steps.
    pub(super) fn parts_of_states<'a, T>(
        &self,
        bands: &[Range<usize>],
        states: &'a mut [T],
        columns: usize,
    ) -> Vec<Vec<&'a mut [T]>> {
        let steps = (0..self.time_steps).map(|step| self.step(step).len());
        split(bands, states, columns, std::iter::once(self.batch).chain(steps))
    }

    /// What each band has of the rows of a sorted batch `[B, columns]`.
    pub(super) fn rows_of<'a, T>(
        bands: &[Range<usize>],
        mut rows: &'a mut [T],
        columns: usize,
    ) -> Vec<&'a mut [T]> {
        let lengths = bands.iter().map(|band| band.len() * columns);
        lengths.map(|length| rows.split_off_mut(..length).unwrap_or_default()).collect()
    }

    /// The rows of `states [B + P, H]` before a step. `states` holds the initial states, sorted,
    /// and then those after each packed row.
    pub fn previous(&self, step: usize) -> Range<usize> {
        let rows = self.step(step).len();
        let start = if step == 0 { 0 } else { self.batch + self.starts[step - 1] };
        start..start + rows
    }

    /// The state before each packed row `[P, H]`, out of `states [B + P, H]`.
    pub fn all_previous<T: Real>(&self, states: ArrayView2<'_, T>) -> Array2<T> {
        let mut all = Array2::zeros((self.len(), states.ncols()));
        for step in 0..self.time_steps {
            let previous = states.slice(s![self.previous(step), ..]);
            all.slice_mut(s![self.step(step), ..]).assign(&previous);
        }
        all
    }

    /// The final states in their places `[B, H]`: of each row that after its last step, out of
    /// `states [B + P, H]`.
    pub(super) fn last<T: Real>(&self, states: &ArcArray2<T>) -> ArcArray2<T> {
        if self.is_full() {
            // All rows end at the last step: its block, shared.
            return states.clone().slice_move(s![self.len().., ..]);
        }
        let mut last = Array2::zeros((self.batch, states.ncols()));
        // Of the step at hand: where the states before it begin, and how many rows ran before it.
        let (mut start, mut running) = (0, self.batch);
        let end = self.len()..self.len();
        for rows in (0..self.time_steps).map(|step| self.step(step)).chain([end]) {
            for k in rows.len()..running {
                last.row_mut(self.order[k]).assign(&states.row(start + k));
            }
            (start, running) = (self.batch + rows.start, rows.len());
        }
        last.into_shared()
    }
}

/// Blocks of so many rows, one behind the other, each cut into what belongs to each band.
fn split<'a, T>(
    bands: &[Range<usize>],
    mut rows: &'a mut [T],
    columns: usize,
    blocks: impl Iterator<Item = usize>,
) -> Vec<Vec<&'a mut [T]>> {
    let mut parts: Vec<Vec<&mut [T]>> = bands.iter().map(|_| Vec::new()).collect();
    for running in blocks {
        let mut block = rows.split_off_mut(..running * columns).unwrap_or_default();
        for (band, parts) in bands.iter().zip(&mut parts) {
            let length = band.end.min(running).saturating_sub(band.start) * columns;
            parts.push(block.split_off_mut(..length).unwrap_or_default());
        }
    }
    parts
}
