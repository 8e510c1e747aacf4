//! Evaluation: teacher-forced loss and accuracy, and output with BLEU.

use rayon::prelude::*;
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::decoder::arg_max;
use unspool_seq2seq::translate::TranslateError;
use unspool_seq2seq::vocabulary::{PAD, Token, UNK};
use unspool_seq2seq::{Limits, ModelError, Seq2Seq, Strategy, Translator};
use unspool_tensor::{Context, Tape};

use crate::data::batches::{BatchSize, evaluation_batches};
use crate::dataset::lengths;
use crate::metrics::accuracy::{Accuracy, perplexity};
use crate::metrics::bleu::{Bleu, BleuError, BleuScore};

/// What an evaluation found.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The teacher-forced loss per token, ends included.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// The share of tokens predicted right under teacher forcing; an unknown word is predicted as
    /// such.
    pub token_accuracy: f64,
    /// The share of sequences whose output is right from end to end.
    pub sequence_accuracy: f64,
    /// The BLEU of the output.
    pub bleu: BleuScore,
    /// The output, in the order of the examples.
    pub outputs: Vec<String>,
}

/// An evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Translation failed.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// BLEU has nothing to compare.
    #[error(transparent)]
    Bleu(#[from] BleuError),
}

/// So many sentences are computed at once. It changes no bit of the output.
const SENTENCES: usize = 64;

/// Evaluates a model on examples; `references` are their targets as text, `search` says how they
/// are translated.
///
/// # Errors
/// The examples are of another kind than the model's, or an option of the search is impossible.
pub fn evaluate(
    model: &Seq2Seq<f32>,
    context: &Context,
    examples: &[Example],
    references: &[String],
    bleu: Bleu,
    search: (&Strategy, Limits),
) -> Result<Evaluation, EvaluationError> {
    let (nll, tokens) = teacher_forced(model, context, examples)?;
    let decoded = decode(model, context, examples, search)?;
    let mut sequences = Accuracy::default();
    for (output, example) in decoded.iter().zip(examples) {
        add_sequence(&mut sequences, output, &example.target);
    }
    let outputs: Vec<String> = decoded.iter().map(|tokens| model.target().decode(tokens)).collect();
    Ok(Evaluation {
        loss: nll / tokens.total.max(1) as f64,
        perplexity: perplexity(nll, tokens.total).unwrap_or(f64::NAN),
        token_accuracy: tokens.fraction().unwrap_or(0.0),
        sequence_accuracy: sequences.fraction().unwrap_or(0.0),
        bleu: bleu.score(&outputs, &[references])?,
        outputs,
    })
}

/// Counts an output as right when it is the target, every word of which is known: `<unk>` is no
/// word.
pub fn add_sequence(accuracy: &mut Accuracy, output: &[Token], target: &[Token]) {
    let known = !target.contains(&UNK);
    accuracy.correct += u64::from(known && output == target);
    accuracy.total += 1;
}

/// The summed negative log-likelihood of the targets, and how many tokens are predicted right.
fn teacher_forced(
    model: &Seq2Seq<f32>,
    context: &Context,
    examples: &[Example],
) -> Result<(f64, Accuracy), ModelError> {
    let one = |batch: &Vec<usize>| -> Result<(f64, Accuracy), ModelError> {
        let batch: Vec<&Example> = batch.iter().map(|&index| &examples[index]).collect();
        let batch = Batch::new(&batch)?;
        let tape = Tape::inference(context.for_shard(0));
        let loss = model.evaluation_loss(&tape, &batch)?;
        let mut accuracy = Accuracy::default();
        for (predicted, &truth) in
            arg_max(loss.logits()?.value().view()).iter().zip(&batch.target_output)
        {
            if truth != PAD {
                accuracy.add_tokens(&[*predicted], &[truth]);
            }
        }
        let nll = loss.loss.value().iter().map(|&x| f64::from(x)).sum();
        Ok((nll, accuracy))
    };
    let results = in_batches(context, examples, one)?;
    let mut nll = 0.0;
    let mut all = Accuracy::default();
    for (part, accuracy) in results {
        nll += part;
        all.correct += accuracy.correct;
        all.total += accuracy.total;
    }
    Ok((nll, all))
}

/// The best output for each example, in their order.
///
/// # Errors
/// The examples are of another kind than the model's, or an option of the search is impossible.
pub fn decode(
    model: &Seq2Seq<f32>,
    context: &Context,
    examples: &[Example],
    (strategy, limits): (&Strategy, Limits),
) -> Result<Vec<Vec<Token>>, EvaluationError> {
    let translator = Translator::new(&[model])?;
    let one = |batch: &Vec<usize>| -> Result<Vec<(usize, Vec<Token>)>, EvaluationError> {
        let sources: Vec<&Source> = batch.iter().map(|&index| &examples[index].source).collect();
        let found = translator.translate(&sources, strategy, limits, batch)?;
        let best = found.into_iter().map(|all| all.into_iter().next());
        let best = best.map(|best| best.map(|hypothesis| hypothesis.tokens).unwrap_or_default());
        Ok(batch.iter().copied().zip(best).collect())
    };
    let mut all: Vec<_> = in_batches(context, examples, one)?.into_iter().flatten().collect();
    all.sort_unstable_by_key(|&(index, _)| index);
    Ok(all.into_iter().map(|(_, tokens)| tokens).collect())
}

/// Runs `work` on batches of similar length, in parallel; the results come in the order of the
/// batches.
fn in_batches<R: Send, E: Send>(
    context: &Context,
    examples: &[Example],
    work: impl Fn(&Vec<usize>) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    let size = std::num::NonZeroUsize::new(SENTENCES).unwrap_or(std::num::NonZeroUsize::MIN);
    let batches = evaluation_batches(&lengths(examples), BatchSize::Sentences(size));
    if context.threads() == 1 {
        return batches.iter().map(work).collect();
    }
    context.install(|| batches.par_iter().map(work).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_right_when_all_of_it_is_and_all_is_known() {
        let rows: [(&[Token], &[Token], u64); 7] = [
            (&[4, 5], &[4, 5], 1),
            (&[], &[], 1),
            (&[4], &[4, 5], 0),
            (&[4, 5, 6], &[4, 5], 0),
            (&[5, 4], &[4, 5], 0),
            (&[], &[4], 0),
            (&[4, UNK], &[4, UNK], 0),
        ];
        for (output, target, correct) in rows {
            let mut found = Accuracy { correct: 2, total: 3 };
            add_sequence(&mut found, output, target);
            let expected = Accuracy { correct: 2 + correct, total: 4 };
            assert_eq!(found, expected, "{output:?} for {target:?}");
        }
    }
}
