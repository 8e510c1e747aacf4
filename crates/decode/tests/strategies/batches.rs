//! What else is in the batch changes nothing: each sentence alone gives what it gives in company.

use unspool_decode::{Beam, Hypothesis, Sampling, Search, beam_search, greedy_search, sample};

use crate::toy::{PENALTIES, Table, batch, hash, unit};

/// A strategy, as a function of the model, the search, and the name of the first sentence.
type Strategy = (&'static str, fn(&Table, &Search, usize, u64) -> Vec<Vec<Hypothesis>>);

const STRATEGIES: [Strategy; 3] = [
    ("greedy", |model, search, _, _| {
        let found = greedy_search(model, &mut model.start(), search);
        found.expect("a sound table").into_iter().map(|hypothesis| vec![hypothesis]).collect()
    }),
    ("beam", |model, search, _, seed| {
        let size = 1 + seed as usize % 5;
        let length_penalty = PENALTIES[seed as usize % PENALTIES.len()];
        let options = Beam { size, n_best: size, length_penalty };
        beam_search(model, &mut model.start(), search, &options).expect("a sound table")
    }),
    ("sample", |model, search, first, seed| {
        let random = |sentence, step| unit(hash(seed, &[(first + sentence) as u32, step as u32]));
        let options = Sampling { temperature: 1.3, top_k: Some(3), top_p: 0.9 };
        let found = sample(model, &mut model.start(), search, &options, &random);
        found.expect("a sound table").into_iter().map(|hypothesis| vec![hypothesis]).collect()
    }),
];

#[test]
fn each_sentence_alone_gives_what_it_gives_in_a_batch() {
    for (name, decode) in STRATEGIES {
        for seed in 0..100 {
            let (model, search) = batch(seed + 20_000, 32);
            let together = decode(&model, &search, 0, seed);
            for (sentence, expected) in together.iter().enumerate() {
                let toys = vec![model.toys[sentence].clone()];
                let max_lengths = vec![search.max_lengths[sentence]];
                let alone = decode(
                    &Table::new(model.vocabulary, toys),
                    &Search { max_lengths, ..search.clone() },
                    sentence,
                    seed,
                );
                assert_eq!(alone.first(), Some(expected), "{name} {search:?} sentence {sentence}");
            }
        }
    }
}

#[test]
fn an_empty_batch_gives_nothing_and_asks_nothing() {
    let (_, search) = batch(0, 0);
    let model = Table::new(2, Vec::new());
    for (name, decode) in STRATEGIES {
        assert!(decode(&model, &search, 0, 0).is_empty(), "{name}");
    }
    assert_eq!(model.steps.get(), 0);
}
