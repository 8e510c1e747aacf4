//! What the strategies should find, computed one sentence at a time from whole prefixes.
//!
//! Nothing here calls the code under test: scores, penalties and orders are written out again.

use std::cmp::Ordering;

use unspool_decode::{Beam, Hypothesis, LengthPenalty, Search, Token};

use crate::toy::{BOS, EOS, Toy};

/// A hypothesis and the tokens that it has had fed.
#[derive(Clone)]
struct Prefix {
    fed: Vec<Token>,
    score: f64,
    finished: bool,
}

impl Prefix {
    const fn length(&self) -> usize {
        self.fed.len() - 1
    }

    /// What may follow, with the log-probability of the last token.
    fn extensions(
        &self,
        log_probs: &dyn Fn(&[Token]) -> Vec<f32>,
        min_length: usize,
    ) -> Vec<(Self, f32)> {
        let mut extensions = Vec::new();
        for (token, log_prob) in log_probs(&self.fed).into_iter().enumerate() {
            let token = token as Token;
            let finished = token == EOS;
            if log_prob == f32::NEG_INFINITY || (finished && self.length() < min_length) {
                continue;
            }
            let mut next = self.clone();
            next.score += f64::from(log_prob);
            next.finished = finished;
            if !finished {
                next.fed.push(token);
            }
            extensions.push((next, log_prob));
        }
        extensions
    }

    fn hypothesis(&self, toy: Option<&Toy>, penalty: LengthPenalty) -> Hypothesis {
        let length = (self.length() + usize::from(self.finished)).max(1) as f64;
        let divisor = match penalty {
            LengthPenalty::None => 1.0,
            LengthPenalty::Average { alpha } => length.powf(alpha),
            LengthPenalty::Gnmt { alpha } => ((5.0 + length) / 6.0).powf(alpha),
        };
        Hypothesis {
            tokens: self.fed[1..].to_vec(),
            score: self.score,
            normalised_score: self.score / divisor,
            finished: self.finished,
            attention: toy.map_or_else(Vec::new, |toy| {
                (1..self.fed.len()).map(|end| toy.attention(&self.fed[..end])).collect()
            }),
        }
    }
}

const fn root(fed: Vec<Token>) -> Prefix {
    Prefix { fed, score: 0.0, finished: false }
}

/// Finished ones, the highest normalised score, the shortest, the lowest tokens.
fn best_first(a: &Hypothesis, b: &Hypothesis) -> Ordering {
    let key = |hypothesis: &Hypothesis| {
        let length = hypothesis.tokens.len() + usize::from(hypothesis.finished);
        (!hypothesis.finished, -hypothesis.normalised_score, length, hypothesis.tokens.clone())
    };
    key(a).partial_cmp(&key(b)).expect("scores are numbers")
}

fn attending<'a>(toy: &'a Toy, search: &Search) -> Option<&'a Toy> {
    search.attention.then_some(toy)
}

/// Every hypothesis there is, best first, of a model that is any function of the tokens fed.
pub fn exhaustive(
    log_probs: &dyn Fn(&[Token]) -> Vec<f32>,
    toy: Option<&Toy>,
    min_length: usize,
    max_length: usize,
    penalty: LengthPenalty,
) -> Vec<Hypothesis> {
    let mut ended = Vec::new();
    let mut open = vec![root(vec![BOS])];
    while let Some(prefix) = open.pop() {
        if prefix.finished || prefix.length() == max_length {
            ended.push(prefix.hypothesis(toy, penalty));
            continue;
        }
        let extensions = prefix.extensions(log_probs, min_length);
        if extensions.is_empty() {
            ended.push(prefix.hypothesis(toy, penalty));
        }
        open.extend(extensions.into_iter().map(|(next, _)| next));
    }
    ended.sort_by(best_first);
    ended
}

/// [`exhaustive`] of a sentence of a search.
pub fn all_of(
    toy: &Toy,
    search: &Search,
    sentence: usize,
    penalty: LengthPenalty,
) -> Vec<Hypothesis> {
    let (min_length, max_length) = (search.min_length, search.max_lengths[sentence]);
    let attending = attending(toy, search);
    exhaustive(&|fed| toy.log_probs(fed), attending, min_length, max_length, penalty)
}

/// Beam search that always goes on to the maximum length and keeps everything that ended.
pub fn plain_beam(toy: &Toy, search: &Search, sentence: usize, options: &Beam) -> Vec<Hypothesis> {
    let mut ended = Vec::new();
    let mut open = vec![root(vec![BOS])];
    for _ in 0..search.max_lengths[sentence] {
        let mut candidates = Vec::new();
        for (slot, prefix) in open.iter().enumerate() {
            let extensions = prefix.extensions(&|fed| toy.log_probs(fed), search.min_length);
            if extensions.is_empty() {
                ended.push(prefix.clone());
            }
            candidates
                .extend(extensions.into_iter().map(|(next, log_prob)| (next, slot, log_prob)));
        }
        candidates.sort_by(|(a, slot_a, log_prob_a), (b, slot_b, log_prob_b)| {
            (b.score.total_cmp(&a.score))
                .then(slot_a.cmp(slot_b))
                .then(log_prob_b.total_cmp(log_prob_a))
        });
        candidates.truncate(options.size);
        open.clear();
        for (next, _, _) in candidates {
            if next.finished { &mut ended } else { &mut open }.push(next);
        }
    }
    ended.append(&mut open);
    let attending = attending(toy, search);
    let mut hypotheses: Vec<Hypothesis> =
        ended.iter().map(|prefix| prefix.hypothesis(attending, options.length_penalty)).collect();
    hypotheses.sort_by(best_first);
    hypotheses.truncate(options.n_best);
    hypotheses
}

/// Greedy search of one sentence.
pub fn plain_greedy(toy: &Toy, search: &Search, sentence: usize) -> Hypothesis {
    let mut prefix = root(vec![BOS]);
    while !prefix.finished && prefix.length() < search.max_lengths[sentence] {
        let extensions = prefix.extensions(&|fed| toy.log_probs(fed), search.min_length);
        let top = extensions.iter().map(|pair| pair.1).fold(f32::NEG_INFINITY, f32::max);
        match extensions.into_iter().find(|pair| pair.1 == top) {
            Some((next, _)) => prefix = next,
            None => break,
        }
    }
    prefix.hypothesis(attending(toy, search), LengthPenalty::None)
}
