//! Beam search: exhaustive when wide, the plain algorithm when narrow, and no longer than needed.

use std::cell::Cell;
use std::convert::Infallible;

use unspool_decode::{Beam, LengthPenalty, Search, StepModel, StepOutput, Token, beam_search};

use crate::reference::{all_of, plain_beam};
use crate::toy::{BOS, EOS, PENALTIES, Style, Table, Toy, batch, push};

const BATCHES: u64 = 1000;
const SENTENCES: usize = 12;
/// No set of open hypotheses has more extensions: four tokens, at most five of them.
const WIDE: usize = 4_usize.pow(5);

fn options(index: u64, size: usize) -> Beam {
    let length_penalty = PENALTIES[index as usize % PENALTIES.len()];
    Beam { size, n_best: 1 + (index as usize / PENALTIES.len()) % size.min(6), length_penalty }
}

#[test]
fn a_wide_beam_finds_the_best_of_all_hypotheses() {
    let mut tables = 0;
    for seed in 0..BATCHES {
        let (model, search) = batch(seed, SENTENCES);
        let options = options(seed, WIDE);
        let found = beam_search(&model, &mut model.start(), &search, &options)
            .expect("nothing is wrong with the table");
        assert_eq!(found.len(), SENTENCES);
        for (sentence, found) in found.iter().enumerate() {
            let toy = &model.toys[sentence];
            let mut all = all_of(toy, &search, sentence, options.length_penalty);
            all.truncate(options.n_best);
            assert_eq!(found, &all, "{toy:?} {search:?} {options:?} sentence {sentence}");
            tables += 1;
        }
    }
    assert!(tables >= 10_000);
}

#[test]
fn a_narrow_beam_is_the_plain_algorithm() {
    let (mut rows, mut unhurried) = (0, 0);
    for seed in 0..BATCHES {
        let (model, search) = batch(!seed, SENTENCES);
        let options = options(seed, 1 + (seed / 7) as usize % 5);
        let found = beam_search(&model, &mut model.start(), &search, &options)
            .expect("nothing is wrong with the table");
        for (sentence, found) in found.iter().enumerate() {
            let toy = &model.toys[sentence];
            let plain = plain_beam(toy, &search, sentence, &options);
            assert_eq!(found, &plain, "{toy:?} {search:?} {options:?} sentence {sentence}");
        }
        rows += model.rows.get();
        unhurried += search.max_lengths.iter().sum::<usize>() * options.size;
    }
    assert!(rows < unhurried / 2, "{rows} of {unhurried} rows: the batch never shrank");
}

#[test]
fn the_search_stops_when_and_only_when_nothing_open_can_win() {
    // The end comes first with score ln 0.9 = -0.105. What stays open has ln 0.1 = -2.303, which
    // can become -2.303 / penalty(20) at best: still less when the penalty is 20, more when 400.
    let rows = [
        (LengthPenalty::None, 1),
        (LengthPenalty::Average { alpha: 0.5 }, 1),
        (LengthPenalty::Average { alpha: 1.0 }, 1),
        (LengthPenalty::Average { alpha: 2.0 }, 20),
    ];
    for (length_penalty, steps) in rows {
        let model = FirstEnds::default();
        let search = Search::new(BOS, EOS, vec![20]);
        let options = Beam { length_penalty, ..Beam::new(2) };
        let found = beam_search(&model, &mut (), &search, &options).expect("a sound model");
        assert_eq!(model.steps.get(), steps, "{length_penalty:?}");
        assert_eq!(found[0][0].tokens.len(), steps - 1);
        assert!(found[0][0].finished);
    }
}

/// Ends at once with probability 0.9, or else only with the twentieth token.
#[derive(Default)]
struct FirstEnds {
    steps: Cell<usize>,
}

impl StepModel for FirstEnds {
    type State = ();
    type Error = Infallible;

    fn vocabulary(&self) -> usize {
        3
    }

    fn step(&self, tokens: &[Token], (): &mut (), out: &mut StepOutput) -> Result<(), Self::Error> {
        self.steps.set(self.steps.get() + 1);
        let end = match self.steps.get() {
            1 => 0.9_f32,
            20 => 1.0,
            _ => 0.0,
        };
        for _ in tokens {
            push(&mut out.log_probs, &[f32::NEG_INFINITY, end.ln(), (1.0 - end).ln()]);
        }
        Ok(())
    }

    fn reorder(&self, (): &mut (), _: &[usize]) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[test]
fn sentences_have_maximum_lengths_of_their_own() {
    let toy = Toy { seed: 5, width: 3, style: Style::Random, source: 2 };
    let lengths = vec![1, 4, 2, 5];
    let model = Table::new(3, vec![toy; lengths.len()]);
    let search = Search::new(BOS, EOS, lengths.clone());
    let found =
        beam_search(&model, &mut model.start(), &search, &Beam { n_best: 9, ..Beam::new(9) })
            .expect("nothing is wrong with the table");
    // Such a beam keeps some hypothesis open to the end.
    for (hypotheses, length) in found.iter().zip(lengths) {
        assert_eq!(hypotheses.iter().map(|found| found.length()).max(), Some(length));
    }
}
