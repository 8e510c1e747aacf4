//! BLEU against sacrebleu's answers; `bleu_golden.py` writes them.

use proptest::prelude::*;
use serde::Deserialize;
use unspool_train::metrics::bleu::{Bleu, BleuError, Smoothing, Tokenization};

#[derive(Deserialize)]
struct Golden {
    corpora: Vec<Corpus>,
    tokenizations: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Corpus {
    name: String,
    hypotheses: Vec<String>,
    references: Vec<Vec<String>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    tokenize: String,
    smooth_method: String,
    smooth_value: Option<f64>,
    lowercase: bool,
    signature: String,
    score: f64,
    precisions: [f64; 4],
    brevity_penalty: f64,
    hypothesis_length: u64,
    reference_length: u64,
    verbose: String,
}

impl Case {
    fn settings(&self) -> Bleu {
        Bleu {
            tokenization: match self.tokenize.as_str() {
                "13a" => Tokenization::Mteval13a,
                "none" => Tokenization::None,
                other => panic!("tokenisation {other}"),
            },
            smoothing: match (self.smooth_method.as_str(), self.smooth_value) {
                ("exp", None) => Smoothing::Exponential,
                ("floor", None) => Smoothing::FLOOR,
                ("floor", Some(value)) => Smoothing::Floor(value),
                ("add-k", None) => Smoothing::ADD_K,
                ("add-k", Some(value)) => Smoothing::AddK(value),
                ("none", None) => Smoothing::None,
                other => panic!("smoothing {other:?}"),
            },
            lowercase: self.lowercase,
        }
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("bleu_golden.json")).expect("the golden numbers")
}

#[test]
fn scores_are_those_of_sacrebleu() {
    let mut checked = 0;
    for corpus in golden().corpora {
        let references: Vec<&[String]> = corpus.references.iter().map(Vec::as_slice).collect();
        for case in &corpus.cases {
            let what = format!("{}, {}", corpus.name, case.signature);
            let bleu = case.settings().score(&corpus.hypotheses, &references).expect(&what);
            let close = |ours: f64, theirs: f64, part: &str| {
                assert!((ours - theirs).abs() <= 1e-6, "{what}: {part} {ours}, not {theirs}");
            };
            close(bleu.score, case.score, "score");
            close(bleu.brevity_penalty, case.brevity_penalty, "brevity penalty");
            for (ours, theirs) in bleu.precisions.into_iter().zip(case.precisions) {
                close(ours, theirs, "precision");
            }
            assert_eq!(bleu.hypothesis_length, case.hypothesis_length, "{what}");
            assert_eq!(bleu.reference_length, case.reference_length, "{what}");
            let (signature, version) = bleu.signature.rsplit_once("|version:").expect(&what);
            assert_eq!(signature, case.signature, "{what}");
            assert_eq!(version, concat!("unspool-", env!("CARGO_PKG_VERSION")));
            let line = bleu.to_string();
            assert_eq!(line, case.verbose.replacen("BLEU", &format!("BLEU|{}", bleu.signature), 1));
            checked += 1;
        }
    }
    assert!(checked > 300, "only {checked} cases");
}

#[test]
fn words_are_those_of_sacrebleu() {
    for (text, expected) in golden().tokenizations {
        let expected: Vec<&str> = expected.split(' ').filter(|word| !word.is_empty()).collect();
        assert_eq!(Bleu::default().words(&text), expected, "{text:?}");
    }
}

#[test]
fn what_does_not_pair_up_is_an_error() {
    let bleu = Bleu::default();
    assert_eq!(bleu.score::<_, &str>(&["a"], &[]), Err(BleuError::NoReferences));
    assert_eq!(
        bleu.score(&["a", "b"], &[&["a", "b"], &["a"][..]]),
        Err(BleuError::Unequal { hypotheses: 2, references: 1 })
    );
    let nothing = bleu.score::<&str, &str>(&[], &[&[]]).expect("no sentences");
    assert_eq!((nothing.score, nothing.hypothesis_length), (0.0, 0));
}

proptest! {
    #[test]
    fn any_text_has_a_score(hypothesis in ".{0,40}", reference in ".{0,40}", value in 0.0..2.0) {
        for tokenization in [Tokenization::Mteval13a, Tokenization::None] {
            for smoothing in [Smoothing::Floor(value), Smoothing::AddK(value), Smoothing::None] {
                let bleu = Bleu { tokenization, smoothing, lowercase: false };
                let score = bleu.score(&[&hypothesis], &[&[&reference]]).expect("paired");
                prop_assert!((0.0..=200.0).contains(&score.score), "{}", score);
            }
        }
    }
}
