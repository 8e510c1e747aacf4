//! What all strategies share: the settings [`Search`], the result [`Hypothesis`], and the step of
//! the model with every check of what it gave.

use std::cmp::Ordering;

use crate::{DecodeError, OutputError, SettingError, StepModel, StepOutput, Token};

/// A log-probability may be this far above 0 by rounding; it is then taken for 0.
const ROUNDING: f32 = 1e-3;

/// What is searched for, whatever the strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The beginning of sequence: the first token fed to the model, never scored.
    pub bos: Token,
    /// The end of sequence: the token that finishes a hypothesis.
    pub eos: Token,
    /// For each sentence of the batch, the most tokens that the model may choose for it, the end
    /// of sequence included. A hypothesis that has so many without an end is returned
    /// unfinished. There are as many sentences as entries here, and rows in the first state.
    pub max_lengths: Vec<usize>,
    /// The fewest tokens before the end of sequence, which cannot be chosen earlier.
    pub min_length: usize,
    /// Whether hypotheses shall tell where the model attended.
    pub attention: bool,
}

impl Search {
    /// A search with no minimum length and without attention.
    #[must_use]
    pub fn new(bos: Token, eos: Token, max_lengths: Vec<usize>) -> Self {
        Self { bos, eos, max_lengths, min_length: 0, attention: false }
    }

    pub(crate) fn check(&self, vocabulary: usize) -> Result<(), SettingError> {
        for (name, token) in [("beginning-of-sequence", self.bos), ("end-of-sequence", self.eos)] {
            if token as usize >= vocabulary {
                return Err(SettingError::SpecialToken { name, token, vocabulary });
            }
        }
        let min_length = self.min_length;
        for (sentence, &max_length) in self.max_lengths.iter().enumerate() {
            if max_length <= min_length {
                return Err(SettingError::Lengths { sentence, min_length, max_length });
            }
        }
        Ok(())
    }

    /// The tokens, in order, that may follow a hypothesis of `step` tokens whose row of
    /// log-probabilities is `row`: all but the impossible, and the end of sequence when it is due.
    pub(crate) fn extensions(
        &self,
        row: &[f32],
        step: usize,
    ) -> impl Iterator<Item = (Token, f32)> {
        let too_early = (step < self.min_length).then_some(self.eos);
        (0..=Token::MAX).zip(row.iter().copied()).filter(move |&(token, log_prob)| {
            log_prob > f32::NEG_INFINITY && Some(token) != too_early
        })
    }
}

/// One output of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hypothesis {
    /// The tokens, with neither the beginning nor the end of sequence.
    pub tokens: Vec<Token>,
    /// The total natural log-probability of the tokens, and of the end of sequence when finished.
    pub score: f64,
    /// The score that hypotheses of different lengths were compared by: `score` itself, unless
    /// the strategy has a [`LengthPenalty`](crate::LengthPenalty).
    pub normalised_score: f64,
    /// Whether the end of sequence came. If not, the maximum length did, or the model left no
    /// token that could follow.
    pub finished: bool,
    /// For each token, the weight of every source position when it was chosen; empty when not
    /// asked for, or the model has no attention.
    pub attention: Vec<Vec<f32>>,
}

impl Hypothesis {
    /// The number of tokens that were scored: the end of sequence counts.
    #[must_use]
    pub fn length(&self) -> usize {
        self.tokens.len() + usize::from(self.finished)
    }

    /// Orders the better hypothesis first: finished before unfinished, then by normalised score,
    /// and of equals the shorter one, then the one whose tokens come first.
    #[must_use]
    pub fn rank(&self, other: &Self) -> Ordering {
        (other.finished.cmp(&self.finished))
            .then(other.normalised_score.total_cmp(&self.normalised_score))
            .then(self.length().cmp(&other.length()))
            .then_with(|| self.tokens.cmp(&other.tokens))
    }
}

/// Steps the model and checks what it gave, so that no strategy has to: as many rows as tokens,
/// each as wide as the vocabulary at least, every value a log-probability.
///
/// Afterwards each value is -inf, negative, or +0, and all of them are ordered by `total_cmp`.
pub(crate) fn checked_step<M: StepModel + ?Sized>(
    model: &M,
    tokens: &[Token],
    state: &mut M::State,
    out: &mut StepOutput,
    wants_attention: bool,
    step: usize,
    sentence_of_row: impl Fn(usize) -> usize,
) -> Result<(), DecodeError<M::Error>> {
    out.reset(wants_attention);
    model.step(tokens, state, out).map_err(DecodeError::Model)?;

    let (expected, found) = (tokens.len(), out.log_probs.len());
    if found != expected {
        return Err(OutputError::Rows { expected, found }.into());
    }
    let found = out.attention.len();
    if found != 0 && found != expected {
        return Err(OutputError::AttentionRows { expected, found }.into());
    }
    let vocabulary = model.vocabulary();
    for row in 0..expected {
        let values = out.log_probs.get_mut(row).unwrap_or_default();
        if values.len() < vocabulary {
            let found = values.len();
            return Err(OutputError::Width { row, vocabulary, found }.into());
        }
        // One pass without a way out, so that compilers make vectors of it.
        let mut valid = true;
        for value in values.iter_mut() {
            // Not `min`: it may keep the sign of -0.
            *value = if (0.0..=ROUNDING).contains(value) { 0.0 } else { *value };
            valid &= *value <= 0.0;
        }
        let is_wrong = |value: f32| value.is_nan() || value > 0.0;
        let mut found = values.iter().enumerate().filter(|(_, value)| is_wrong(**value));
        if !valid && let Some((token, &value)) = found.next() {
            let sentence = sentence_of_row(row);
            return Err(OutputError::LogProb { row, sentence, step, token, value }.into());
        }
    }
    Ok(())
}
