//! Settings that make no sense and models that break their contract are typed errors.

use std::fmt::Error as Broken;

use unspool_decode::{
    Beam, DecodeError, LengthPenalty, OutputError, Sampling, Search, SettingError, StepModel,
    StepOutput, Token, beam_search, greedy_search, sample,
};

use crate::toy::{BOS, EOS, push};

/// A model of three tokens that gives `log_probs` and `attention` whatever it is fed.
struct Script {
    log_probs: Vec<Vec<f32>>,
    attention: usize,
}

impl StepModel for Script {
    type State = ();
    type Error = Broken;

    fn vocabulary(&self) -> usize {
        3
    }

    fn step(&self, _: &[Token], (): &mut (), out: &mut StepOutput) -> Result<(), Broken> {
        self.log_probs.iter().for_each(|row| push(&mut out.log_probs, row));
        (0..self.attention).for_each(|_| push(&mut out.attention, &[1.0]));
        if self.log_probs.is_empty() { Err(Broken) } else { Ok(()) }
    }

    fn reorder(&self, (): &mut (), _: &[usize]) -> Result<(), Broken> {
        Err(Broken)
    }
}

fn sound() -> Script {
    Script { log_probs: vec![vec![-1.0, -2.0, -3.0]; 2], attention: 0 }
}

fn search() -> Search {
    Search::new(BOS, EOS, vec![3, 3])
}

/// The error of each strategy.
fn all(model: &Script, search: &Search) -> [Option<DecodeError<Broken>>; 3] {
    [
        greedy_search(model, &mut (), search).err(),
        beam_search(model, &mut (), search, &Beam::new(1)).err(),
        sample(model, &mut (), search, &Sampling::default(), &|_, _| 0.5).err(),
    ]
}

#[test]
fn what_a_model_gives_is_checked() {
    let good = vec![-1.0, -2.0, -3.0];
    let bad = |value| vec![-1.0, value, -3.0];
    let log_prob = |value| OutputError::LogProb { row: 1, sentence: 1, step: 0, token: 1, value };
    for (log_probs, attention, error) in [
        (vec![good.clone()], 0, OutputError::Rows { expected: 2, found: 1 }),
        (vec![good.clone(); 3], 0, OutputError::Rows { expected: 2, found: 3 }),
        (vec![good.clone(); 2], 1, OutputError::AttentionRows { expected: 2, found: 1 }),
        (
            vec![good.clone(), vec![0.0; 2]],
            0,
            OutputError::Width { row: 1, vocabulary: 3, found: 2 },
        ),
        (vec![good.clone(), bad(0.1)], 2, log_prob(0.1)),
        (vec![good.clone(), bad(f32::INFINITY)], 0, log_prob(f32::INFINITY)),
    ] {
        let model = Script { log_probs, attention };
        for found in all(&model, &search()) {
            assert_eq!(found, Some(DecodeError::Output(error.clone())));
        }
    }
    for found in all(&Script { log_probs: vec![good, bad(f32::NAN)], attention: 0 }, &search()) {
        let text = found.map(|error| error.to_string());
        let expected =
            "the log-probability of token 1 in row 1 (sentence 1, step 0) is NaN".to_owned();
        assert_eq!(text, Some(expected));
    }
}

#[test]
fn a_model_may_round_a_little_above_one_and_may_fail() {
    let rounded = Script { log_probs: vec![vec![f32::NEG_INFINITY, 1e-6, -20.0]; 2], attention: 0 };
    assert_eq!(all(&rounded, &search()), [None, None, None]);
    let found = greedy_search(&rounded, &mut (), &search()).expect("rounding is no error");
    assert_eq!(found[0].score, 0.0);

    let failing = Script { log_probs: Vec::new(), attention: 0 };
    for found in all(&failing, &search()) {
        assert_eq!(found, Some(DecodeError::Model(Broken)));
    }
    // One sentence of two is done after a step, so the state must be reordered.
    let found = all(&sound(), &Search::new(BOS, EOS, vec![3, 1]));
    assert_eq!(found, [(); 3].map(|()| Some(DecodeError::Model(Broken))));
}

#[test]
fn settings_of_all_strategies_are_checked() {
    let with = |change: fn(&mut Search)| {
        let mut search = search();
        change(&mut search);
        search
    };
    let (token, vocabulary) = (3, 3);
    for (search, error) in [
        (
            with(|search| search.bos = 3),
            SettingError::SpecialToken { name: "beginning-of-sequence", token, vocabulary },
        ),
        (
            with(|search| search.eos = 3),
            SettingError::SpecialToken { name: "end-of-sequence", token, vocabulary },
        ),
        (
            with(|search| search.max_lengths[1] = 0),
            SettingError::Lengths { sentence: 1, min_length: 0, max_length: 0 },
        ),
        (
            with(|search| search.min_length = 3),
            SettingError::Lengths { sentence: 0, min_length: 3, max_length: 3 },
        ),
    ] {
        for found in all(&sound(), &search) {
            assert_eq!(found, Some(DecodeError::Setting(error.clone())));
        }
    }
}

#[test]
fn settings_of_the_beam_are_checked() {
    let penalty = |length_penalty| Beam { length_penalty, ..Beam::new(2) };
    for (options, error) in [
        (Beam::new(0), SettingError::BeamSize),
        (Beam { n_best: 0, ..Beam::new(2) }, SettingError::NBest { n_best: 0, size: 2 }),
        (Beam { n_best: 3, ..Beam::new(2) }, SettingError::NBest { n_best: 3, size: 2 }),
        (penalty(LengthPenalty::Average { alpha: -0.1 }), SettingError::LengthPenalty(-0.1)),
        (
            penalty(LengthPenalty::Gnmt { alpha: f64::INFINITY }),
            SettingError::LengthPenalty(f64::INFINITY),
        ),
    ] {
        let found = beam_search(&sound(), &mut (), &search(), &options).err();
        assert_eq!(found, Some(DecodeError::Setting(error)));
    }
}

#[test]
fn settings_of_sampling_are_checked() {
    let run = |options: Sampling, uniform: f64| {
        sample(&sound(), &mut (), &search(), &options, &|_, _| uniform).err()
    };
    let default = Sampling::default();
    for temperature in [0.0, -1.0, f64::INFINITY] {
        let error = SettingError::Temperature(temperature).into();
        assert_eq!(run(Sampling { temperature, ..default }, 0.5), Some(error));
    }
    for top_p in [0.0, -0.5, 1.0_f64.next_up(), f64::INFINITY] {
        let error = SettingError::TopP(top_p).into();
        assert_eq!(run(Sampling { top_p, ..default }, 0.5), Some(error));
    }
    for options in [
        Sampling { temperature: f64::NAN, ..default },
        Sampling { top_p: f64::NAN, ..default },
        Sampling { top_k: Some(0), ..default },
    ] {
        assert!(matches!(run(options, 0.5), Some(DecodeError::Setting(_))), "{options:?}");
    }
    for value in [1.0, -0.1] {
        let error = DecodeError::Uniform { sentence: 0, step: 0, value };
        assert_eq!(run(default, value), Some(error));
    }
    assert!(matches!(run(default, f64::NAN), Some(DecodeError::Uniform { .. })));
}
