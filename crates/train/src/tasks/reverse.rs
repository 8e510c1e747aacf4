//! The task `reverse`: a sequence of digits, and the same from its end to its beginning.
//!
//! It needs attention: each output token is a copy of one input token, at a place that a single
//! state of fixed size cannot remember once sequences are long.

use std::collections::HashSet;

use unspool_tensor::random::Key;

use super::{Choices, Sizes, Splits, Task, TaskError, collect};
use crate::data::read::Pair;

/// The longest sequence in training, validation and test; all lengths from 1 are equally likely.
pub const MAX_LENGTH: usize = 25;
/// The longest sequence of the part `long`, which begins where the others end.
pub const MAX_LONG_LENGTH: usize = 35;

/// Every sequence belongs to one part, by a hash of its digits: a tenth to validation, a tenth to
/// test. So parts never share one, and even of the few short sequences each part has some.
/// Training draws with repetition, or it would run out of short ones; the others do not repeat.
pub(super) fn generate(key: Key, sizes: Sizes) -> Result<Splits, TaskError> {
    let part = |digits: &[u8]| match key.named("part").named(&text(digits.iter())).below(0, 10) {
        0 => "validation",
        1 => "test",
        _ => "train",
    };
    let draw = |split: &str, i, lengths: (usize, usize)| {
        let mut choices = Choices::new(key.named(split).with(i));
        let length = lengths.0 + choices.below(lengths.1 - lengths.0 + 1);
        (0..length).map(|_| choices.below(10) as u8).collect::<Vec<u8>>()
    };
    let short = |split, size| {
        let mut seen = HashSet::new();
        collect(Task::Reverse, split, size, |i| {
            let digits = draw(split, i, (1, MAX_LENGTH));
            let fits = part(&digits) == split && (split == "train" || seen.insert(digits.clone()));
            fits.then(|| pair(&digits))
        })
    };
    let mut seen = HashSet::new();
    let long = collect(Task::Reverse, "long", sizes.long, |i| {
        let digits = draw("long", i, (MAX_LENGTH + 1, MAX_LONG_LENGTH));
        seen.insert(digits.clone()).then(|| pair(&digits))
    })?;
    Ok(Splits {
        train: short("train", sizes.train)?,
        validation: short("validation", sizes.validation)?,
        test: short("test", sizes.test)?,
        long,
    })
}

fn pair(digits: &[u8]) -> Pair {
    Pair { source: text(digits.iter()), target: text(digits.iter().rev()) }
}

fn text<'d>(digits: impl Iterator<Item = &'d u8>) -> String {
    digits.map(u8::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_sources_reversed_and_lengths_are_as_promised() {
        let sizes = Sizes { train: 5000, validation: 500, test: 500, long: 200 };
        let splits = Task::Reverse.generate(7, sizes).expect("pairs");
        for (split, pairs) in splits.named() {
            let mut lengths = [0; MAX_LONG_LENGTH + 1];
            for pair in pairs {
                let source: Vec<&str> = pair.source.split(' ').collect();
                let mut target: Vec<&str> = pair.target.split(' ').collect();
                target.reverse();
                assert_eq!(source, target);
                assert!(source.iter().all(|digit| ("0"..="9").contains(digit)), "{pair:?}");
                lengths[source.len()] += 1;
            }
            let (shortest, longest) = match split {
                "long" => (MAX_LENGTH + 1, MAX_LONG_LENGTH),
                _ => (1, MAX_LENGTH),
            };
            for (length, &count) in lengths.iter().enumerate().skip(2) {
                assert_eq!(count > 0, (shortest..=longest).contains(&length), "{split} {length}");
            }
        }
    }
}
