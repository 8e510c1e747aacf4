//! Evaluation: teacher-forced loss and accuracy, and greedy output with BLEU.

use rayon::prelude::*;
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::decoder::arg_max;
use unspool_seq2seq::translate::TranslateError;
use unspool_seq2seq::vocabulary::{PAD, Token};
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
    /// The share of tokens predicted right under teacher forcing.
    pub token_accuracy: f64,
    /// The share of sequences that greedy output gets right.
    pub sequence_accuracy: f64,
    /// The BLEU of greedy output.
    pub bleu: BleuScore,
    /// The greedy output, in the order of the examples.
    pub outputs: Vec<String>,
}

/// An evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Greedy translation failed.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// BLEU has nothing to compare.
    #[error(transparent)]
    Bleu(#[from] BleuError),
}

/// So many sentences are computed at once. It changes no bit of the result.
const SENTENCES: usize = 64;

/// Evaluates a model on examples; `references` are their targets as text.
///
/// # Errors
/// The examples are of another kind than the model's.
pub fn evaluate(
    model: &Seq2Seq<f32>,
    context: &Context,
    examples: &[Example],
    references: &[String],
    bleu: Bleu,
) -> Result<Evaluation, EvaluationError> {
    let (nll, tokens) = teacher_forced(model, context, examples)?;
    let decoded = decode_greedily(model, context, examples)?;
    let mut sequences = Accuracy::default();
    for (output, example) in decoded.iter().zip(examples) {
        sequences.add_sequence(output, &example.target);
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
        for (predicted, &truth) in arg_max(&loss.logits.value()).iter().zip(&batch.target_output) {
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

/// The greedy output for each example, in their order.
///
/// # Errors
/// The examples are of another kind than the model's.
pub fn decode_greedily(
    model: &Seq2Seq<f32>,
    context: &Context,
    examples: &[Example],
) -> Result<Vec<Vec<Token>>, EvaluationError> {
    let translator = Translator::new(&[model])?;
    let limits = Limits { min_length: 0, max_length: None, attention: false };
    let one = |batch: &Vec<usize>| -> Result<Vec<(usize, Vec<Token>)>, EvaluationError> {
        let sources: Vec<&Source> = batch.iter().map(|&index| &examples[index].source).collect();
        let found = translator.translate(&sources, &Strategy::Greedy, limits, 0)?;
        let best = found.into_iter().flatten().map(|hypothesis| hypothesis.tokens);
        Ok(batch.iter().copied().zip(best).collect())
    };
    let mut all: Vec<_> = in_batches(context, examples, one)?.into_iter().flatten().collect();
    all.sort_unstable_by_key(|&(index, _)| index);
    Ok(all.into_iter().map(|(_, tokens)| tokens).collect())
}

/// Runs `work` on batches of similar length, in parallel; the results come in the order of the batches.
fn in_batches<R: Send, E: Send>(
    context: &Context,
    examples: &[Example],
    work: impl Fn(&Vec<usize>) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    let size = std::num::NonZeroUsize::new(SENTENCES).unwrap_or(std::num::NonZeroUsize::MIN);
    let batches = evaluation_batches(&lengths(examples), BatchSize::Sentences(size));
    context.install(|| batches.par_iter().map(work).collect())
}
