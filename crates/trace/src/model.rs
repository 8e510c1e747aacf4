//! A training step of a model on a batch, as a trace.

use unspool_seq2seq::batch::Batch;
use unspool_seq2seq::{LossOptions, Seq2Seq, TeacherForcing};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::{Context, Real, Tape};

use crate::recorder::{Recorder, Settings};
use crate::{Result, Trace};

/// Traces the loss of a model on a batch, forward and backward, and an update by plain gradient
/// descent. The decoder reads the true tokens; dropout drops as the context's key says.
///
/// # Errors
/// The batch is of another kind than the model's.
pub fn trace_model<T: Real>(
    model: &Seq2Seq<T>,
    batch: &Batch,
    title: impl Into<String>,
    rate: f64,
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
    recorder.update(rate);
    recorder.finish(loss)
}
