//! Sampling: frequencies are probabilities, outside the support nothing is drawn.

use proptest::prelude::*;
use unspool_decode::{Sampling, Search, greedy_search, sample};

use crate::toy::{BOS, EOS, Style, Table, Toy, batch, hash, unit};

const DRAWS: usize = 20_000;

/// The distribution that `options` make of `probs`, straight from the definitions.
fn distribution(probs: &[f64], options: &Sampling) -> Vec<f64> {
    let heated: Vec<f64> = probs.iter().map(|p| p.powf(1.0 / options.temperature)).collect();
    let mut order: Vec<usize> = (0..probs.len()).collect();
    order.sort_by(|&a, &b| heated[b].total_cmp(&heated[a]));
    order.truncate(options.top_k.unwrap_or(usize::MAX));
    let total: f64 = order.iter().map(|&token| heated[token]).sum();
    let mut kept = vec![0.0; probs.len()];
    let mut above = 0.0;
    for token in order {
        if above / total < options.top_p {
            kept[token] = heated[token];
        }
        above += heated[token];
    }
    let total: f64 = kept.iter().sum();
    kept.iter().map(|p| p / total).collect()
}

#[test]
fn frequencies_are_probabilities() {
    for seed in 0..8 {
        let toy = Toy { seed, width: 6, style: Style::Random, source: 1 };
        let log_probs = toy.log_probs(&[BOS]);
        let probs: Vec<f64> = log_probs.iter().map(|&value| f64::from(value).exp()).collect();
        let model = Table::new(6, vec![toy; DRAWS]);
        let search = Search::new(BOS, EOS, vec![1; DRAWS]);
        for (row, (temperature, top_k, top_p)) in [
            (1.0, None, 1.0),
            (0.5, None, 1.0),
            (3.0, None, 1.0),
            (1.0, Some(2), 1.0),
            (1.0, None, 0.6),
            (0.7, Some(4), 0.8),
        ]
        .into_iter()
        .enumerate()
        {
            let options = Sampling { temperature, top_k, top_p };
            let random = |sentence, _| unit(hash(seed, &[row as u32, sentence as u32]));
            let found = sample(&model, &mut model.start(), &search, &options, &random)
                .expect("nothing is wrong with the table");
            let mut counts = [0_usize; 6];
            for hypothesis in found {
                let token = hypothesis.tokens.first().copied().unwrap_or(EOS);
                counts[token as usize] += 1;
                assert_eq!(hypothesis.score, f64::from(log_probs[token as usize]));
            }
            for (count, p) in counts.into_iter().zip(distribution(&probs, &options)) {
                // Five standard deviations of a binomial distribution.
                let bound = 5.0 * (p * (1.0 - p) * DRAWS as f64).sqrt();
                let off = (count as f64 - p * DRAWS as f64).abs();
                assert!(off <= bound, "{off} > {bound}: {options:?}, {counts:?} at {p}");
            }
        }
    }
}

#[test]
fn the_narrowest_support_is_greedy() {
    let narrow = [
        Sampling { top_k: Some(1), ..Sampling::default() },
        Sampling { top_p: 1e-12, ..Sampling::default() },
    ];
    for seed in 0..200 {
        let (model, search) = batch(seed + 30_000, 8);
        let greedy = greedy_search(&model, &mut model.start(), &search)
            .expect("nothing is wrong with the table");
        for options in narrow {
            let random = |sentence, step| unit(hash(seed, &[sentence as u32, step as u32]));
            let sampled = sample(&model, &mut model.start(), &search, &options, &random)
                .expect("nothing is wrong with the table");
            assert_eq!(sampled, greedy, "{options:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_sample_is_possible_and_within_its_limits(
        seed in any::<u64>(),
        temperature in 0.01..100.0_f64,
        top_k in prop::option::of(1..6_usize),
        top_p in prop_oneof![1e-9..1.0_f64, Just(1.0)],
        uniform in prop_oneof![0.0..1.0_f64, Just(0.0), Just(1.0_f64.next_down())],
    ) {
        let (model, search) = batch(seed, 6);
        let options = Sampling { temperature, top_k, top_p };
        let found = sample(&model, &mut model.start(), &search, &options, &|_, _| uniform)
            .expect("nothing is wrong with the table");
        for (sentence, hypothesis) in found.iter().enumerate() {
            prop_assert!(hypothesis.length() <= search.max_lengths[sentence]);
            prop_assert!(!hypothesis.finished || hypothesis.tokens.len() >= search.min_length);
            let mut fed = vec![BOS];
            let mut score = 0.0;
            for &token in hypothesis.tokens.iter().chain(hypothesis.finished.then_some(&EOS)) {
                score += f64::from(model.toys[sentence].log_probs(&fed)[token as usize]);
                fed.push(token);
            }
            prop_assert_eq!(score, hypothesis.score);
            prop_assert!(score.is_finite());
        }
    }
}
