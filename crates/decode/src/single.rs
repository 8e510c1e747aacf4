//! The loop of the strategies that follow one hypothesis for each sentence: greedy and sampling.

use crate::search::checked_step;
use crate::{DecodeError, Hypothesis, Search, StepModel, StepOutput, Token};

/// The next token with its log-probability, or `None` when no token can follow.
pub(crate) type Choice = Option<(Token, f32)>;

/// Follows one hypothesis for each sentence, all in one batch, which finished ones leave.
///
/// `choose(sentence, step, row)` is given the number of tokens so far and the row of
/// log-probabilities.
pub(crate) fn follow<M: StepModel + ?Sized>(
    model: &M,
    state: &mut M::State,
    search: &Search,
    mut choose: impl FnMut(usize, usize, &[f32]) -> Result<Choice, DecodeError<M::Error>>,
) -> Result<Vec<Hypothesis>, DecodeError<M::Error>> {
    search.check(model.vocabulary())?;
    let mut hypotheses = vec![Hypothesis::default(); search.max_lengths.len()];
    let mut out = StepOutput::default();
    // Row r of the batch belongs to sentence sentences[r] and is fed tokens[r].
    let mut sentences: Vec<usize> = (0..hypotheses.len()).collect();
    let mut tokens = vec![search.bos; hypotheses.len()];
    let mut origins = Vec::with_capacity(hypotheses.len());

    for step in 0.. {
        if sentences.is_empty() {
            break;
        }
        checked_step(model, &tokens, state, &mut out, search.attention, step, |r| sentences[r])?;
        origins.clear();
        for (row, log_probs) in out.log_probs.iter().enumerate() {
            let sentence = sentences[row];
            let hypothesis = &mut hypotheses[sentence];
            let Some((token, log_prob)) = choose(sentence, step, log_probs)? else { continue };
            hypothesis.score += f64::from(log_prob);
            if token == search.eos {
                hypothesis.finished = true;
                continue;
            }
            hypothesis.tokens.push(token);
            hypothesis.attention.extend(out.attention.get(row).map(<[f32]>::to_vec));
            if step + 1 < search.max_lengths[sentence] {
                // The rows that stay move up; what is overwritten has been read.
                sentences[origins.len()] = sentence;
                tokens[origins.len()] = token;
                origins.push(row);
            }
        }
        let before = sentences.len();
        sentences.truncate(origins.len());
        tokens.truncate(origins.len());
        if !origins.is_empty() && origins.len() < before {
            model.reorder(state, &origins).map_err(DecodeError::Model)?;
        }
    }
    for hypothesis in &mut hypotheses {
        hypothesis.normalised_score = hypothesis.score;
    }
    Ok(hypotheses)
}
