//! What a step writes: [`StepOutput`], made of [`Rows`] whose memory is used again at every step.

/// A list of rows of numbers, each of its own width, in one flat buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    values: Vec<f32>,
    /// Where each row ends in `values`; it begins where the one before ends.
    ends: Vec<usize>,
}

impl Rows {
    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.ends.clear();
    }

    /// Adds a row of these numbers, which are written once.
    pub fn push_row(&mut self, row: impl IntoIterator<Item = f32>) {
        self.values.extend(row);
        self.ends.push(self.values.len());
    }

    /// Adds a row of `width` zeros and returns it, to be filled in.
    pub fn push(&mut self, width: usize) -> &mut [f32] {
        self.push_matrix(1, width)
    }

    /// Adds `rows` rows of `width` zeros each and returns them all, one after the other, so that
    /// a matrix product can write straight into them.
    pub fn push_matrix(&mut self, rows: usize, width: usize) -> &mut [f32] {
        let start = self.values.len();
        self.ends.extend((1..=rows).map(|row| start + row * width));
        self.values.resize(start + rows * width, 0.0);
        &mut self.values[start..]
    }

    /// Row `index`, or `None` when there are not so many.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        let end = *self.ends.get(index)?;
        self.values.get(self.start(index)..end)
    }

    /// Row `index` to write to, or `None` when there are not so many.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut [f32]> {
        let end = *self.ends.get(index)?;
        let start = self.start(index);
        self.values.get_mut(start..end)
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }
}

/// What one step of a [`StepModel`](crate::StepModel) gives for each row of the batch.
#[derive(Clone, Debug, Default)]
pub struct StepOutput {
    /// Row `r`: the natural logarithm of the probability of each token, `[V]` or wider.
    pub log_probs: Rows,
    /// Row `r`: the weight of each source position, `[S]`; no rows at all when nobody asked or
    /// the model has no attention.
    pub attention: Rows,
    wants_attention: bool,
}

impl StepOutput {
    /// Empties the output for the next step, keeping its memory, and says whether that step shall
    /// report attention.
    pub fn reset(&mut self, wants_attention: bool) {
        self.log_probs.clear();
        self.attention.clear();
        self.wants_attention = wants_attention;
    }

    /// Whether the step shall report attention.
    #[must_use]
    pub fn wants_attention(&self) -> bool {
        self.wants_attention
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;

    #[test]
    fn rows_of_different_widths_stay_apart_and_clear_leaves_no_trace() {
        let mut rows = Rows::default();
        for _ in 0..2 {
            rows.push_row([1.0, 2.0]);
            rows.push(0);
            rows.push_matrix(2, 3)[5] = 7.0;
            assert_eq!(rows.len(), 4);
            let seen: Vec<&[f32]> = rows.iter().collect();
            let (first, second) = ([1.0, 2.0], [0.0, 0.0, 7.0]);
            assert_eq!(seen, [&first[..], &[], &[0.0; 3], &second]);
            assert_eq!(rows.get_mut(3), Some(&mut [0.0, 0.0, 7.0][..]));
            assert_eq!(rows.get(4), None);
            assert_eq!(rows.get_mut(4), None);
            rows.clear();
            assert!(rows.is_empty());
        }
    }
}
