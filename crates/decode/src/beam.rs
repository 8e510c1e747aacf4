//! Beam search: the most probable sequence, as far as a limited number of hypotheses can tell.

use std::cmp::Ordering;

use crate::history::History;
use crate::search::checked_step;
use crate::{
    DecodeError, Hypothesis, LengthPenalty, Search, SettingError, StepModel, StepOutput, Token,
};

/// How wide to search and what to return.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// The most hypotheses of a sentence that are followed at once.
    pub size: usize,
    /// The most hypotheses to return for a sentence, at most `size`.
    pub n_best: usize,
    /// How hypotheses of different lengths compete.
    pub length_penalty: LengthPenalty,
}

impl Beam {
    /// A beam of `size` that returns the best hypothesis, without a length penalty.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, n_best: 1, length_penalty: LengthPenalty::None }
    }

    fn check(&self) -> Result<(), SettingError> {
        let Self { size, n_best, length_penalty } = *self;
        if size == 0 {
            return Err(SettingError::BeamSize);
        }
        if n_best == 0 || n_best > size {
            return Err(SettingError::NBest { n_best, size });
        }
        length_penalty.check()
    }
}

/// Decodes each sentence by beam search; returns its best hypotheses, the best one first.
///
/// At every step the open hypotheses of a sentence are extended by every possible token, the end
/// of sequence among them. The `size` most probable of all these survive; since they are equally
/// long, the length penalty has no say here. Those that ended are finished: they keep their score
/// and leave their slots, which the others' extensions take at the next step. So a beam of 1
/// finds what [`greedy_search`](crate::greedy_search) does, under any length penalty.
///
/// A sentence is done when it has no open hypothesis, or when it has `n_best` finished ones and
/// none that is open can still enter among them. That is certain once the best open score,
/// normalised for the maximum length, does not exceed the last of the `n_best`: a
/// log-probability is at most 0, so that a score `s ≤ 0` can only fall, and dividing it by a
/// penalty that grows with the length raises it no further than `s / penalty(max_length)`; a tie
/// goes to the shorter one. Stopping there never changes the result.
///
/// Hypotheses still open at the maximum length, and those that no token can follow, are returned
/// unfinished, behind all finished ones: they have not paid for their end, so the scores do not
/// compare. See [`Hypothesis::rank`] for the whole order. There is at least one hypothesis for a
/// sentence, but fewer than `n_best` if there are no more.
///
/// Equally probable extensions are preferred in the order of the hypotheses they extend, then of
/// their tokens; so the same inputs give the same outputs.
///
/// `state` holds one row for each sentence; how the search leaves it is of no use but as memory.
///
/// # Errors
///
/// A setting that makes no sense, an error of the model, or an output that is none.
pub fn beam_search<M: StepModel + ?Sized>(
    model: &M,
    state: &mut M::State,
    search: &Search,
    options: &Beam,
) -> Result<Vec<Vec<Hypothesis>>, DecodeError<M::Error>> {
    search.check(model.vocabulary())?;
    options.check()?;
    let mut results = vec![Vec::new(); search.max_lengths.len()];
    let mut history = History::default();
    let mut attention_rows: Vec<Option<usize>> = Vec::new();
    let mut candidates = Vec::new();
    let mut out = StepOutput::default();
    // Row r of the batch is hypothesis open[r]; those of a sentence stand together, best first.
    let mut open: Vec<Open> = (0..results.len()).map(Open::root).collect();
    let mut next_open = Vec::new();
    let (mut tokens, mut origins) = (Vec::new(), Vec::new());

    for step in 0.. {
        if open.is_empty() {
            break;
        }
        tokens.clear();
        tokens.extend(open.iter().map(|hypothesis| hypothesis.token.unwrap_or(search.bos)));
        let wants_attention = search.attention;
        checked_step(model, &tokens, state, &mut out, wants_attention, step, |row| {
            open[row].sentence
        })?;

        next_open.clear();
        let mut first_row = 0;
        for group in open.chunk_by(|a, b| a.sentence == b.sentence) {
            let sentence = group[0].sentence;
            let mut pool = Pool { best: &mut results[sentence], options, history: &mut history };
            let before = next_open.len();

            candidates.clear();
            for (slot, hypothesis) in group.iter().enumerate() {
                let row = out.log_probs.get(first_row + slot).unwrap_or_default();
                if !extend(&mut candidates, options.size, hypothesis, slot, row, search, step) {
                    pool.add(hypothesis.node, hypothesis.score, false);
                }
            }
            attention_rows.clear();
            attention_rows.resize(group.len(), None);
            for candidate in &candidates {
                let Candidate { slot, token, score, .. } = *candidate;
                let parent = group[slot].node;
                if token == search.eos {
                    pool.add(parent, score, true);
                    continue;
                }
                let origin = first_row + slot;
                // One row for all that grow from the slot.
                let attention = attention_rows[slot]
                    .or_else(|| pool.history.keep_attention(out.attention.get(origin)));
                attention_rows[slot] = attention;
                let node = Some(pool.history.push(parent, token, attention));
                if step + 1 < search.max_lengths[sentence] {
                    let token = Some(token);
                    next_open.push(Open { sentence, node, token, score, origin });
                } else {
                    pool.add(node, score, false);
                }
            }
            // The candidates were in order, so the first that stayed open is the best.
            if let Some(best) = next_open.get(before)
                && !pool.can_enter(best.score, search.max_lengths[sentence])
            {
                next_open.truncate(before);
            }
            first_row += group.len();
        }

        origins.clear();
        origins.extend(next_open.iter().map(|hypothesis| hypothesis.origin));
        let unchanged = origins.iter().copied().eq(0..open.len());
        if !unchanged && !origins.is_empty() {
            model.reorder(state, &origins).map_err(DecodeError::Model)?;
        }
        std::mem::swap(&mut open, &mut next_open);
    }
    Ok(results)
}

/// A hypothesis that can go on: a row of the batch.
struct Open {
    sentence: usize,
    /// The last token in the history; `None` before the first.
    node: Option<usize>,
    /// That token; `None` stands for the beginning of sequence.
    token: Option<Token>,
    score: f64,
    /// The row of the batch before that this one continues.
    origin: usize,
}

impl Open {
    fn root(sentence: usize) -> Self {
        Self { sentence, node: None, token: None, score: 0.0, origin: sentence }
    }
}

/// A way to go on from the open hypothesis in `slot`.
struct Candidate {
    slot: usize,
    token: Token,
    log_prob: f32,
    score: f64,
}

impl Candidate {
    /// Orders the better candidate first.
    fn rank(&self, other: &Self) -> Ordering {
        (other.score.total_cmp(&self.score))
            .then(self.slot.cmp(&other.slot))
            // Adding up may round two probabilities to the same score; greedy sees the difference.
            .then(other.log_prob.total_cmp(&self.log_prob))
            .then(self.token.cmp(&other.token))
    }
}

/// Enters the extensions of `hypothesis` among the `size` best `candidates`, which are in order.
/// Returns whether there was any.
fn extend(
    candidates: &mut Vec<Candidate>,
    size: usize,
    hypothesis: &Open,
    slot: usize,
    row: &[f32],
    search: &Search,
    step: usize,
) -> bool {
    let mut any = false;
    for (token, log_prob) in search.extensions(row, step) {
        any = true;
        let score = hypothesis.score + f64::from(log_prob);
        let candidate = Candidate { slot, token, log_prob, score };
        if candidates.len() >= size {
            // Nearly every token of a large vocabulary is turned away here.
            match candidates.last() {
                Some(last) if candidate.rank(last).is_lt() => candidates.pop(),
                _ => continue,
            };
        }
        let place = candidates.partition_point(|other| other.rank(&candidate).is_lt());
        candidates.insert(place, candidate);
    }
    any
}

/// The best hypotheses of a sentence that have come to their end, in order.
struct Pool<'a> {
    best: &'a mut Vec<Hypothesis>,
    options: &'a Beam,
    history: &'a mut History,
}

impl Pool<'_> {
    fn add(&mut self, node: Option<usize>, score: f64, finished: bool) {
        let (tokens, attention) = self.history.trace(node);
        let mut hypothesis =
            Hypothesis { tokens, score, finished, attention, normalised_score: score };
        hypothesis.normalised_score =
            self.options.length_penalty.normalise(score, hypothesis.length());
        let place = self.best.partition_point(|other| other.rank(&hypothesis).is_lt());
        self.best.insert(place, hypothesis);
        self.best.truncate(self.options.n_best);
    }

    /// Whether an open hypothesis of this score can still come to be one of the best.
    fn can_enter(&self, score: f64, max_length: usize) -> bool {
        match self.best.last() {
            Some(last) if last.finished && self.best.len() == self.options.n_best => {
                self.options.length_penalty.normalise(score, max_length) > last.normalised_score
            }
            _ => true,
        }
    }
}
