//! Leaving out examples that are too long, or whose sides differ too much in length.

use super::Lengths;

/// Which examples are kept. `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LengthFilter {
    /// The longest source.
    pub max_source: Option<usize>,
    /// The longest target.
    pub max_target: Option<usize>,
    /// The largest ratio of the longer side to the shorter one.
    pub max_ratio: Option<f64>,
}

/// What a [`LengthFilter`] kept, and how many it left out for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filtered {
    /// The indices of the examples kept, in order.
    pub kept: Vec<usize>,
    /// Left out for a source too long.
    pub long_source: usize,
    /// Left out for a target too long, the source being short enough.
    pub long_target: usize,
    /// Left out for the ratio of the lengths alone.
    pub uneven: usize,
}

impl LengthFilter {
    /// Sorts out the examples with these lengths.
    pub fn apply(&self, lengths: &[Lengths]) -> Filtered {
        let mut filtered = Filtered::default();
        for (index, &Lengths { source, target }) in lengths.iter().enumerate() {
            let ratio = source.max(target) as f64 / source.min(target).max(1) as f64;
            if self.max_source.is_some_and(|most| source > most) {
                filtered.long_source += 1;
            } else if self.max_target.is_some_and(|most| target > most) {
                filtered.long_target += 1;
            } else if self.max_ratio.is_some_and(|most| ratio > most) {
                filtered.uneven += 1;
            } else {
                filtered.kept.push(index);
            }
        }
        filtered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let lengths = [(1, 1), (5, 1), (6, 9), (2, 6), (1, 3), (3, 1), (2, 4), (0, 1)]
            .map(|(source, target)| Lengths { source, target });
        let rows = [
            (None, None, None, vec![0, 1, 2, 3, 4, 5, 6, 7], (0, 0, 0)),
            (Some(4), None, None, vec![0, 3, 4, 5, 6, 7], (2, 0, 0)),
            (None, Some(4), None, vec![0, 1, 4, 5, 6, 7], (0, 2, 0)),
            (Some(5), Some(5), Some(2.0), vec![0, 6, 7], (1, 1, 3)),
            (Some(0), Some(0), Some(0.0), vec![], (7, 1, 0)),
        ];
        for (max_source, max_target, max_ratio, kept, (long_source, long_target, uneven)) in rows {
            let filter = LengthFilter { max_source, max_target, max_ratio };
            let expected = Filtered { kept, long_source, long_target, uneven };
            assert_eq!(filter.apply(&lengths), expected, "{filter:?}");
        }
    }
}
