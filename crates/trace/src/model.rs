//! A training step of a model on a batch, as a trace.

use std::collections::BTreeSet;

use unspool_seq2seq::batch::{Batch, SourceValues};
use unspool_seq2seq::vocabulary::Token;
use unspool_seq2seq::{LossOptions, Seq2Seq, TeacherForcing};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::{Context, Real, Tape};

use crate::recorder::{Recorder, Settings};
use crate::{Result, Trace, UpdateRule};

/// The rows of so many words are kept exactly.
const WORDS: usize = 32;

/// Traces the loss of a model on a batch, forward and backward, and an update. The decoder reads the true tokens; dropout drops as the context's key says.
///
/// # Errors
/// The batch is of another kind than the model's.
pub fn trace_model<T: Real>(
    model: &Seq2Seq<T>,
    batch: &Batch,
    title: impl Into<String>,
    rule: UpdateRule,
    settings: Settings,
    context: Context,
) -> Result<Trace> {
    // Differences want all the digits there are.
    let mut precise = Seq2Seq::<f64>::blank(
        model.config().clone(),
        model.source().clone(),
        model.target().clone(),
        context.clone(),
    )?;
    precise.params_mut().copy_from(model.params())?;
    let tape = Tape::new(context);
    let recorder = Recorder::with(&tape, title, settings);
    let options = LossOptions {
        forcing: TeacherForcing::ALWAYS,
        smoothing: Smoothing::None,
        divisor: batch.target_tokens() as f64,
    };
    let loss = precise.training_loss(&tape, batch, options)?.loss;
    recorder.name("loss", loss);
    recorder.parameters_of(precise.params());
    // The rows of the words that are read and written.
    let source = match &batch.source.values {
        SourceValues::Tokens(tokens) => tokens.iter().copied().collect(),
        SourceValues::Vectors(_) => BTreeSet::new(),
    };
    let target: BTreeSet<Token> =
        batch.target_input.iter().chain(&batch.target_output).copied().collect();
    for (id, slot) in tape.params() {
        let words = match precise.params().name(id) {
            "encoder.embedding.weight" => &source,
            "decoder.embedding.weight" | "decoder.output.weight" => &target,
            _ => continue,
        };
        if let Some(var) = tape.var(slot) {
            let words: Vec<_> = words.iter().take(WORDS).map(|&token| token as usize).collect();
            recorder.rows(var, &words);
        }
    }
    recorder.update_by(rule);
    recorder.finish(loss)
}
