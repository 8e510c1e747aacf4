//! Plans of batches: which examples are computed together, and in what order.
//!
//! A plan is a pure function of a key, the epoch and the lengths of the examples. Nothing is
//! remembered from one epoch to the next, so a resumed run finds the same batches.

use std::num::NonZeroUsize;

use unspool_tensor::random::Key;

use super::Lengths;

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// So many examples.
    Sentences(NonZeroUsize),
    /// So many tokens with the padding: the number of examples times the sum of the longest
    /// source and the longest target. An example that is longer makes a batch of its own.
    Tokens(NonZeroUsize),
}

/// The batches of one epoch of training, as indices into `lengths`. Each example is in one of them.
///
/// The examples are shuffled, sorted by length within windows of `bucketing` batches' worth, cut into
/// batches, and the batches are shuffled. More give less padding, fewer a more random mixture; with
/// one, nothing is sorted.
pub fn training_batches(
    key: Key,
    epoch: u64,
    lengths: &[Lengths],
    size: BatchSize,
    bucketing: NonZeroUsize,
) -> Vec<Vec<usize>> {
    let key = key.named("batches").with(epoch);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    key.named("examples").shuffle(&mut order);
    if bucketing == NonZeroUsize::MIN {
        return cut(&order, lengths, size);
    }
    let mut batches = Vec::new();
    let mut rest = order.as_mut_slice();
    while !rest.is_empty() {
        let (window, after) = rest.split_at_mut(window_len(rest, lengths, size, bucketing));
        // Stable: examples of equal lengths stay shuffled.
        window.sort_by_key(|&index| by_length(lengths[index]));
        batches.extend(cut(window, lengths, size));
        rest = after;
    }
    key.named("order").shuffle(&mut batches);
    batches
}

/// Batches without chance, for evaluation: sorted by length, equal ones by index.
pub fn evaluation_batches(lengths: &[Lengths], size: BatchSize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| by_length(lengths[index]));
    cut(&order, lengths, size)
}

/// The target first: its padding costs a row of logits a token.
fn by_length(lengths: Lengths) -> (usize, usize) {
    (lengths.target, lengths.source)
}

/// How many of the next examples are sorted together; at least one.
fn window_len(
    order: &[usize],
    lengths: &[Lengths],
    size: BatchSize,
    bucketing: NonZeroUsize,
) -> usize {
    match size {
        BatchSize::Sentences(most) => most.saturating_mul(bucketing).get().min(order.len()),
        BatchSize::Tokens(most) => {
            let most = most.saturating_mul(bucketing).get();
            let mut tokens = 0_usize;
            let fits = order.iter().take_while(|&&index| {
                let Lengths { source, target } = lengths[index];
                tokens = tokens.saturating_add(source).saturating_add(target);
                tokens <= most
            });
            fits.count().max(1)
        }
    }
}

/// Cuts examples into batches as large as allowed, in order.
fn cut(order: &[usize], lengths: &[Lengths], size: BatchSize) -> Vec<Vec<usize>> {
    let mut batches = Vec::new();
    let mut batch: Vec<usize> = Vec::new();
    let mut longest = Lengths { source: 0, target: 0 };
    for &index in order {
        let with = Lengths {
            source: longest.source.max(lengths[index].source),
            target: longest.target.max(lengths[index].target),
        };
        let examples = batch.len() + 1;
        let fits = match size {
            BatchSize::Sentences(most) => examples <= most.get(),
            BatchSize::Tokens(most) => {
                examples.saturating_mul(with.source.saturating_add(with.target)) <= most.get()
            }
        };
        if fits || batch.is_empty() {
            longest = with;
        } else {
            batches.push(std::mem::take(&mut batch));
            longest = lengths[index];
        }
        batch.push(index);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNSORTED: NonZeroUsize = NonZeroUsize::MIN;

    fn number(of: usize) -> NonZeroUsize {
        NonZeroUsize::new(of).expect("not zero")
    }

    fn sentences(most: usize) -> BatchSize {
        BatchSize::Sentences(number(most))
    }

    fn tokens(most: usize) -> BatchSize {
        BatchSize::Tokens(number(most))
    }

    fn random_lengths(count: u64) -> Vec<Lengths> {
        let key = Key::new(5);
        let length = |counter| 1 + key.below(counter, 40) as usize;
        (0..count).map(|i| Lengths { source: length(2 * i), target: length(2 * i + 1) }).collect()
    }

    /// Tokens with padding, and without.
    fn cost(batches: &[Vec<usize>], lengths: &[Lengths]) -> (usize, usize) {
        let mut cost = (0, 0);
        for batch in batches {
            let sources = batch.iter().map(|&index| lengths[index].source);
            let targets = batch.iter().map(|&index| lengths[index].target);
            let longest = sources.clone().max().unwrap_or(0) + targets.clone().max().unwrap_or(0);
            cost.0 += batch.len() * longest;
            cost.1 += sources.sum::<usize>() + targets.sum::<usize>();
        }
        cost
    }

    #[test]
    fn evaluation_is_in_order_of_length() {
        let lengths = [(3, 2), (1, 1), (3, 1), (1, 1), (9, 9)]
            .map(|(source, target)| Lengths { source, target });
        let rows: [(BatchSize, &[&[usize]]); 5] = [
            (sentences(2), &[&[1, 3], &[2, 0], &[4]]),
            (sentences(9), &[&[1, 3, 2, 0, 4]]),
            (tokens(4), &[&[1, 3], &[2], &[0], &[4]]),
            (tokens(12), &[&[1, 3, 2], &[0], &[4]]),
            (tokens(1), &[&[1], &[3], &[2], &[0], &[4]]),
        ];
        for (size, expected) in rows {
            assert_eq!(evaluation_batches(&lengths, size), expected, "{size:?}");
        }
        assert!(evaluation_batches(&[], sentences(3)).is_empty());
    }

    #[test]
    fn training_is_shuffled_by_key_and_epoch_alone() {
        let lengths = random_lengths(500);
        let sizes = [sentences(8), tokens(400)];
        for (size, bucketing) in sizes.into_iter().flat_map(|size| [(size, 1), (size, 20)]) {
            let bucketing = number(bucketing);
            let plan =
                |seed, epoch| training_batches(Key::new(seed), epoch, &lengths, size, bucketing);
            assert_eq!(plan(1, 3), plan(1, 3));
            assert_ne!(plan(1, 3), plan(1, 4));
            assert_ne!(plan(1, 3), plan(2, 3));
            // Not the same batches in another order either.
            let mut sorted = [plan(1, 3), plan(1, 4)];
            sorted.iter_mut().for_each(|plan| plan.sort());
            assert_ne!(sorted[0], sorted[1]);
        }
    }

    #[test]
    fn bucketing_saves_padding() {
        let lengths = random_lengths(2000);
        for size in [sentences(16), tokens(640)] {
            let padding = |bucketing: usize| {
                let plan = training_batches(Key::new(1), 0, &lengths, size, number(bucketing));
                let (padded, plain) = cost(&plan, &lengths);
                padded - plain
            };
            let [unsorted, some, many] = [1, 20, 60].map(padding);
            assert!(some < unsorted * 3 / 5, "{some} {unsorted}");
            assert!(many < some, "{many} {some}");
        }
    }

    #[test]
    fn without_bucketing_batches_are_the_shuffled_examples_cut() {
        let lengths = random_lengths(100);
        let key = Key::new(7);
        let mut order: Vec<usize> = (0..100).collect();
        key.named("batches").with(2).named("examples").shuffle(&mut order);
        let plan = training_batches(key, 2, &lengths, sentences(8), UNSORTED);
        assert_eq!(plan, order.chunks(8).map(<[usize]>::to_vec).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn each_example_is_in_one_batch_that_is_not_too_large(
            sides in prop::collection::vec((0_usize..50, 0_usize..50), 0..200),
            most in 1_usize..300,
            bucketing in 1_usize..30,
            seed: u64,
            epoch: u64,
        ) {
            let pairs = sides.into_iter().map(|(source, target)| Lengths { source, target });
            let lengths: Vec<Lengths> = pairs.collect();
            for size in [sentences(most), tokens(most), tokens(usize::MAX)] {
                for plan in [
                    training_batches(Key::new(seed), epoch, &lengths, size, number(bucketing)),
                    evaluation_batches(&lengths, size),
                ] {
                    for batch in &plan {
                        prop_assert!(!batch.is_empty());
                        let tokens = cost(std::slice::from_ref(batch), &lengths).0;
                        let allowed = match size {
                            BatchSize::Sentences(most) => batch.len() <= most.get(),
                            BatchSize::Tokens(most) => tokens <= most.get() || batch.len() == 1,
                        };
                        prop_assert!(allowed, "{:?} for {:?}", batch, size);
                    }
                    let mut all = plan.concat();
                    all.sort_unstable();
                    prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
                }
            }
        }
    }
}
