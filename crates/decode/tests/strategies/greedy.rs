//! Greedy search: its definition, and the beam of 1.

use unspool_decode::{Beam, Hypothesis, Search, beam_search, greedy_search};

use crate::reference::plain_greedy;
use crate::toy::{BOS, EOS, PENALTIES, Style, Table, Toy, batch};

#[test]
fn greedy_is_the_plain_algorithm_and_the_beam_of_one() {
    for seed in 0..500 {
        let (model, search) = batch(seed + 10_000, 10);
        let greedy = greedy_search(&model, &mut model.start(), &search)
            .expect("nothing is wrong with the table");
        let plain: Vec<Hypothesis> = model
            .toys
            .iter()
            .enumerate()
            .map(|(sentence, toy)| plain_greedy(toy, &search, sentence))
            .collect();
        assert_eq!(greedy, plain, "{search:?} {:?}", model.toys);

        let length_penalty = PENALTIES[seed as usize % PENALTIES.len()];
        let options = Beam { length_penalty, ..Beam::new(1) };
        let beam = beam_search(&model, &mut model.start(), &search, &options)
            .expect("nothing is wrong with the table");
        for (beam, greedy) in beam.iter().zip(greedy) {
            let normalised_score = length_penalty.normalise(greedy.score, greedy.length());
            assert_eq!(beam, &[Hypothesis { normalised_score, ..greedy }], "{options:?}");
        }
    }
}

#[test]
fn sentences_have_maximum_lengths_of_their_own_and_leave_the_batch() {
    // The end comes too early or not at all, so that each sentence runs to its limit.
    let toy = Toy { seed: 3, width: 4, style: Style::Random, source: 3 };
    let model = Table::new(4, vec![toy; 4]);
    let mut search = Search::new(BOS, EOS, vec![5, 4, 7, 4]);
    search.min_length = 3;
    search.attention = true;
    let found = greedy_search(&model, &mut model.start(), &search)
        .expect("nothing is wrong with the table");
    let mut rows = 0;
    for (sentence, hypothesis) in found.iter().enumerate() {
        assert_eq!(hypothesis, &plain_greedy(&model.toys[sentence], &search, sentence));
        assert!(hypothesis.tokens.len() >= 3);
        assert_eq!(hypothesis.attention.len(), hypothesis.tokens.len());
        rows += hypothesis.length();
    }
    assert_eq!(model.rows.get(), rows, "a finished sentence stayed in the batch");
    assert_eq!(model.steps.get(), found.iter().map(Hypothesis::length).max().unwrap_or(0));
}
