//! The lesson of a whole training step.

use unspool_layers::attention::AttentionKind;
use unspool_layers::recurrent::CellKind;
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::config::AttentionChoice;
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Vocabulary};
use unspool_seq2seq::{LossOptions, ModelConfig, ModelError, Seq2Seq, SourceSide, TeacherForcing};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;

use super::{Lesson, drawn, named, tape, told};
use crate::{Recorder, Result};

/// How long vectors are.
const SIZE: usize = 2;
/// The learning rate.
const RATE: f64 = 0.5;

pub(super) fn encoder_decoder() -> Result<Lesson> {
    let letters = SPECIALS.iter().copied().chain(["a", "b", "c"]).map(str::to_owned);
    let vocabulary = Vocabulary::from_tokens(Segmentation::Word, letters.collect())
        .map_err(|error| ModelError::Input(error.to_string()))?;
    let config = ModelConfig {
        cell: CellKind::Gru,
        attention: AttentionChoice(Some(AttentionKind::Additive)),
        embedding: SIZE,
        hidden: SIZE,
        attention_size: SIZE,
        bidirectional: false,
        ..ModelConfig::default()
    };
    let tape = tape();
    let side = SourceSide::Tokens(vocabulary.clone());
    let context = tape.context().clone();
    let mut model = Seq2Seq::<f64>::new(config, side, vocabulary.clone(), context, Key::new(1))?;
    let drawn: Vec<_> = (model.params().iter())
        .map(|(id, name, value)| (id, drawn(name, value.shape(), 0.8).into_shared()))
        .collect();
    for (id, value) in drawn {
        model.params_mut().set(id, value)?;
    }
    let example = Example {
        source: Source::Tokens(vocabulary.encode("a b c")),
        target: vocabulary.encode("c b a"),
    };
    let batch = Batch::new(&[&example])?;
    let options = LossOptions {
        forcing: TeacherForcing::ALWAYS,
        smoothing: Smoothing::None,
        divisor: batch.target_tokens() as f64,
    };
    let recorder = Recorder::new(&tape, "\"a b c\" is to become \"c b a\"");
    let loss = model.training_loss(&tape, &batch, options)?.loss;
    recorder.name("loss", loss);
    // The words, the memory and its keys, the bridge's sum, the decoder's first state, and what the
    // output layer reads.
    named(&recorder, &[(0, "x"), (1, "m"), (2, "k"), (5, "a"), (6, "h[0]"), (7, "r")]);
    recorder.parameters_of(model.params());
    recorder.update(RATE);
    let trace = recorder.finish(loss)?;
    Ok(told(
        &[
            "All of it together: a model that learns to say a sentence backwards. The encoder looks \
             its words up in an embedding and reads them with a GRU; its states are the memory. The \
             bridge makes the decoder's first state of the last one. The decoder then writes word by \
             word. At each step it asks the memory with its state, by additive attention, and reads \
             the context and the word before; its readout, by the output layer, gives a score to each \
             word of the vocabulary, and the loss is the mean of −ln p of the right ones.",
            "While it trains, the decoder reads the right previous word, whatever it would have said \
             itself. This is teacher forcing: all steps can run in one op, and the backward pass \
             through it is backpropagation through time over attention and cell together. Open that op \
             to see a step's parts, and open those.",
            "Follow one gradient all the way: from the loss to the scores (p − q), to the readout, to \
             the context, through the weights of attention to the memory; from there back through the \
             encoder's steps to a row of its embedding. Each of the decoder's four steps adds its part \
             to the gradient of the memory, and each of its weights gets a part from every step.",
            "At the end each parameter moves against its gradient, w' = w − 0.5·d_w, and the loss is \
             computed again: smaller. That is one training step; a training is some thousands of them.",
        ],
        &[
            "the loss before and after the update",
            "decoder.embedding: the first word that it reads is <bos>, and the last word is never read",
            "the parts of the gradient of a decoder's weight, by time step",
            "open the decoder, then additive attention at its first step: there the cell's state is that of the bridge",
        ],
        vec![trace],
    ))
}
