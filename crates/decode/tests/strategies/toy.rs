//! The toy model: a table of random conditional distributions.

use std::cell::Cell;
use std::convert::Infallible;

use unspool_decode::{LengthPenalty, Rows, Search, StepModel, StepOutput, Token};

pub const BOS: Token = 0;
pub const EOS: Token = 1;

/// How the distributions of a sentence look.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Any distribution.
    Random,
    /// Few different probabilities, so that many hypotheses tie.
    Ties,
    /// Some tokens are impossible, at times all of them.
    Holes,
    /// One token has nearly all of the probability.
    Peaked,
}

/// The conditional distributions of one sentence: a function of the tokens fed.
#[derive(Clone, Debug)]
pub struct Toy {
    pub seed: u64,
    /// The number of tokens, at least the model's vocabulary.
    pub width: usize,
    pub style: Style,
    /// The number of source positions.
    pub source: usize,
}

impl Toy {
    /// A toy drawn from `seed`, of up to two tokens more than `vocabulary` but no more than four.
    pub fn random(seed: u64, vocabulary: usize) -> Self {
        let draw = |what, bound| (hash(seed, &[what]) % bound) as usize;
        let styles = [Style::Random, Style::Ties, Style::Holes, Style::Peaked];
        Self {
            seed,
            width: (vocabulary + draw(0, 3)).min(4),
            style: styles[draw(1, 4)],
            source: 1 + draw(2, 5),
        }
    }

    /// The log-probabilities after `fed`, which begins with the beginning of sequence.
    pub fn log_probs(&self, fed: &[Token]) -> Vec<f32> {
        assert_eq!(fed.first(), Some(&BOS));
        let start = hash(self.seed, fed);
        let weights: Vec<f64> = (0..self.width as u32)
            .map(|token| {
                let uniform = unit(hash(start, &[token]));
                match self.style {
                    Style::Random => uniform + 1e-3,
                    Style::Ties => 1.0 + (2.0 * uniform).floor(),
                    Style::Holes => (uniform - 0.4).max(0.0),
                    Style::Peaked => 1e-3 + f64::from(start % self.width as u64 == token.into()),
                }
            })
            .collect();
        let total: f64 = weights.iter().sum();
        // Nothing is possible where the total is 0; the larger divisor keeps that a number.
        weights.iter().map(|weight| (weight / total.max(1e-9)).ln() as f32).collect()
    }

    /// The weight of each source position after `fed`.
    pub fn attention(&self, fed: &[Token]) -> Vec<f32> {
        let start = hash(!self.seed, fed);
        (0..self.source as u32).map(|position| unit(hash(start, &[position])) as f32).collect()
    }
}

/// The toys of a batch as a model that counts its work.
#[derive(Debug)]
pub struct Table {
    pub vocabulary: usize,
    pub toys: Vec<Toy>,
    pub steps: Cell<usize>,
    pub rows: Cell<usize>,
}

/// A row of the batch: the sentence, and all tokens fed.
pub type Row = (usize, Vec<Token>);

impl Table {
    pub fn new(vocabulary: usize, toys: Vec<Toy>) -> Self {
        Self { vocabulary, toys, steps: Cell::new(0), rows: Cell::new(0) }
    }

    pub fn start(&self) -> Vec<Row> {
        (0..self.toys.len()).map(|sentence| (sentence, Vec::new())).collect()
    }
}

impl StepModel for Table {
    type State = Vec<Row>;
    type Error = Infallible;

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn step(
        &self,
        tokens: &[Token],
        state: &mut Vec<Row>,
        out: &mut StepOutput,
    ) -> Result<(), Infallible> {
        assert_eq!(tokens.len(), state.len());
        self.steps.set(self.steps.get() + 1);
        self.rows.set(self.rows.get() + tokens.len());
        for (&token, (sentence, fed)) in tokens.iter().zip(state) {
            fed.push(token);
            let toy = &self.toys[*sentence];
            push(&mut out.log_probs, &toy.log_probs(fed));
            if out.wants_attention() {
                push(&mut out.attention, &toy.attention(fed));
            }
        }
        Ok(())
    }

    fn reorder(&self, state: &mut Vec<Row>, origins: &[usize]) -> Result<(), Infallible> {
        assert!(!origins.is_empty());
        *state = origins.iter().map(|&origin| state[origin].clone()).collect();
        Ok(())
    }
}

pub fn push(rows: &mut Rows, values: &[f32]) {
    rows.push_row(values.iter().copied());
}

/// A batch of toys, and a search of them with limits of their own, all drawn from `seed`.
pub fn batch(seed: u64, sentences: usize) -> (Table, Search) {
    let draw = |what, bound: usize| (hash(seed, &[what]) % bound as u64) as usize;
    let vocabulary = 2 + draw(0, 3);
    let toys = (0..sentences as u32).map(|index| Toy::random(hash(seed, &[1, index]), vocabulary));
    let max_lengths: Vec<usize> =
        (0..sentences as u32).map(|index| 2 + draw(100 + index, 4)).collect();
    let shortest = max_lengths.iter().copied().min().unwrap_or(1);
    let mut search = Search::new(BOS, EOS, max_lengths);
    search.min_length = draw(2, shortest);
    search.attention = draw(3, 2) == 0;
    (Table::new(vocabulary, toys.collect()), search)
}

pub const PENALTIES: [LengthPenalty; 8] = [
    LengthPenalty::None,
    LengthPenalty::Average { alpha: 0.0 },
    LengthPenalty::Average { alpha: 0.5 },
    LengthPenalty::Average { alpha: 1.0 },
    LengthPenalty::Average { alpha: 2.0 },
    LengthPenalty::Gnmt { alpha: 0.6 },
    LengthPenalty::Gnmt { alpha: 1.0 },
    LengthPenalty::Gnmt { alpha: 3.0 },
];

/// A number from `[0, 1)`.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Mixes the words into the seed; the finaliser is that of SplitMix64.
pub fn hash(seed: u64, words: &[u32]) -> u64 {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    for &word in words.iter().chain(&[words.len() as u32]) {
        state = state.wrapping_add(u64::from(word)).wrapping_mul(0xd129_0d3b_3a35_6f0d);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}
