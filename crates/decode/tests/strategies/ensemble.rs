//! The ensemble: the mean of probabilities, in any company.

use approx::assert_abs_diff_eq;
use unspool_decode::{
    Beam, Ensemble, EnsembleError, EnsembleState, LengthPenalty, SettingError, StepModel,
    StepOutput, Token, beam_search, greedy_search,
};

use crate::reference::exhaustive;
use crate::toy::{BOS, Row, Table, batch, push};

#[test]
fn a_wide_beam_finds_the_best_hypotheses_of_the_mean() {
    let weights = [3.0, 1.0];
    for seed in 0..100 {
        let (first, search) = batch(seed + 40_000, 6);
        let mut other = first.toys.clone();
        for toy in &mut other {
            toy.seed = !toy.seed;
            // Now and then one row is extended and the other is not.
            toy.width = if seed % 2 == 0 { toy.width } else { first.vocabulary };
        }
        let second = Table::new(first.vocabulary, other);
        let ensemble = Ensemble::weighted(vec![(&first, weights[0]), (&second, weights[1])])
            .expect("the tables agree");
        let mut state = EnsembleState::new(vec![first.start(), second.start()]);
        let options = Beam { n_best: 4, ..Beam::new(1024) };
        let found = beam_search(&ensemble, &mut state, &search, &options).expect("sound tables");
        for (sentence, found) in found.iter().enumerate() {
            let mean = |fed: &[Token]| {
                let rows = [&first, &second].map(|model| model.toys[sentence].log_probs(fed));
                let p = |row: &Vec<f32>, token: usize| {
                    row.get(token).map_or(0.0, |&value| f64::from(value).exp())
                };
                (0..rows[0].len())
                    .map(|token| (3.0 * p(&rows[0], token) + p(&rows[1], token)) / 4.0)
                    .map(|p| p.ln() as f32)
                    .collect()
            };
            let (min, max) = (search.min_length, search.max_lengths[sentence]);
            let all = exhaustive(&mean, None, min, max, LengthPenalty::None);
            assert_eq!(found.len(), all.len().min(4));
            for (found, expected) in found.iter().zip(all) {
                // Rounding may exchange two that tie, but not change what they score.
                assert_abs_diff_eq!(found.score, expected.score, epsilon = 1e-4);
                assert_eq!(found.finished, expected.finished);
                for (step, attention) in found.attention.iter().enumerate() {
                    let mut fed = vec![BOS];
                    fed.extend(&found.tokens[..step]);
                    let of = |model: &Table| model.toys[sentence].attention(&fed);
                    for (mixed, (a, b)) in attention.iter().zip(of(&first).iter().zip(of(&second)))
                    {
                        assert_abs_diff_eq!(*mixed, 0.75 * a + 0.25 * b, epsilon = 1e-6);
                    }
                }
            }
        }
    }
}

#[test]
fn one_member_and_equal_members_are_the_model_itself() {
    type Boxed = Box<dyn StepModel<State = Vec<Row>, Error = std::convert::Infallible>>;
    for seed in 0..50 {
        let (model, search) = batch(seed + 50_000, 8);
        let alone = greedy_search(&model, &mut model.start(), &search).expect("a sound table");
        for members in 1..4 {
            let boxed = |_| -> Boxed { Box::new(Table::new(model.vocabulary, model.toys.clone())) };
            let ensemble =
                Ensemble::new((0..members).map(boxed).collect()).expect("the tables agree");
            let mut state = EnsembleState::new(vec![model.start(); members]);
            let found = greedy_search(&ensemble, &mut state, &search).expect("sound tables");
            for (found, alone) in found.iter().zip(&alone) {
                assert_eq!((&found.tokens, found.finished), (&alone.tokens, alone.finished));
                assert_abs_diff_eq!(found.score, alone.score, epsilon = 1e-5);
            }
        }
    }
}

/// Gives the same rows at every step.
struct Fixed {
    vocabulary: usize,
    log_probs: Vec<f32>,
    rows: usize,
    attention: Vec<f32>,
}

impl StepModel for Fixed {
    type State = ();
    type Error = std::fmt::Error;

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn step(&self, _: &[Token], (): &mut (), out: &mut StepOutput) -> Result<(), Self::Error> {
        for _ in 0..self.rows {
            push(&mut out.log_probs, &self.log_probs);
            if out.wants_attention() && !self.attention.is_empty() {
                push(&mut out.attention, &self.attention);
            }
        }
        if self.rows == 0 { Err(std::fmt::Error) } else { Ok(()) }
    }

    fn reorder(&self, (): &mut (), _: &[usize]) -> Result<(), Self::Error> {
        Err(std::fmt::Error)
    }
}

fn fixed(log_probs: &[f32], rows: usize, attention: &[f32]) -> Fixed {
    let (log_probs, attention) = (log_probs.to_vec(), attention.to_vec());
    Fixed { vocabulary: log_probs.len(), log_probs, rows, attention }
}

fn step(
    members: Vec<Fixed>,
    states: usize,
) -> (Result<(), EnsembleError<std::fmt::Error>>, StepOutput) {
    let ensemble = Ensemble::new(members).expect("the vocabularies agree");
    let mut out = StepOutput::default();
    out.reset(true);
    (ensemble.step(&[BOS], &mut EnsembleState::new(vec![(); states]), &mut out), out)
}

#[test]
fn the_mean_of_extreme_values() {
    const NO: f32 = f32::NEG_INFINITY;
    for (a, b, mean) in [
        (NO, NO, NO),
        (0.0, NO, 0.5_f32.ln()),
        (-1e30, -1e30, -1e30),
        (-200.0, -200.0, -200.0),
        (f32::NAN, NO, f32::NAN),
        (NO, f32::NAN, f32::NAN),
        (-1.0, f32::NAN, f32::NAN),
        (f32::NAN, f32::NAN, f32::NAN),
    ] {
        let (result, out) = step(vec![fixed(&[a], 1, &[]), fixed(&[b], 1, &[0.5])], 2);
        assert_eq!(result, Ok(()));
        let found = out.log_probs.get(0).expect("there is a row")[0];
        assert!(found == mean || (found.is_nan() && mean.is_nan()), "{a} {b}: {found}");
        // Only one member attends, so it has all the say.
        assert_eq!(out.attention.get(0), Some(&[0.5][..]));
    }
}

#[test]
fn members_that_do_not_fit_together_are_errors() {
    let source = std::fmt::Error;
    let row = &[0.0, -1.0];
    let good = || fixed(row, 1, &[1.0, 0.0]);
    let (expected, found) = (2, 1);
    assert_eq!(step(vec![good(), good()], 1).0, Err(EnsembleError::States { expected, found }));
    for (bad, error) in [
        (fixed(row, 0, &[]), EnsembleError::Member { member: 1, source }),
        (fixed(row, 3, &[]), EnsembleError::Rows { member: 1, expected: 1, found: 3 }),
        (
            fixed(row, 1, &[1.0]),
            EnsembleError::Attention { member: 1, row: 0, expected: 2, found: 1 },
        ),
    ] {
        assert_eq!(step(vec![good(), bad], 2).0, Err(error));
    }

    let of = |weighted: Vec<(Fixed, f64)>| Ensemble::weighted(weighted).err();
    assert_eq!(of(vec![]), Some(SettingError::NoMembers));
    assert_eq!(
        of(vec![(good(), 1.0), (fixed(&[0.0], 1, &[]), 1.0)]),
        Some(SettingError::Vocabularies { member: 1, expected: 2, found: 1 })
    );
    for weight in [0.0, -1.0, f64::INFINITY] {
        let error = SettingError::Weight { member: 0, weight };
        assert_eq!(of(vec![(good(), weight)]), Some(error));
    }
    assert!(matches!(of(vec![(good(), f64::NAN)]), Some(SettingError::Weight { member: 0, .. })));
}
