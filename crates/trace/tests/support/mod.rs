//! A training step of a model of any size, for tests of this crate and of those that show traces.

use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{ModelConfig, Seq2Seq, SourceSide};
use unspool_tensor::Context;
use unspool_tensor::random::Key;
use unspool_trace::model::trace_model;
use unspool_trace::{Settings, Trace, UpdateRule};

/// How large the model and its sentences are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The hidden size; that of the embedding is half of it.
    pub hidden: usize,
    /// The layers of encoder and decoder.
    pub layers: usize,
    /// The words, beside the special ones.
    pub words: usize,
    /// The words of the source; the target has as many with the end of the sentence.
    pub length: usize,
}

/// A step of a bidirectional LSTM with additive attention on one pair of sentences.
pub fn step(size: Size, last_word: &str, context: Context) -> Trace {
    step_with(size, last_word, Settings::of_model(), context)
}

/// The same, recorded with other settings.
pub fn step_with(size: Size, last_word: &str, settings: Settings, context: Context) -> Trace {
    let Size { hidden, layers, words, length } = size;
    let tokens = SPECIALS.iter().map(|&special| special.to_owned());
    let tokens = tokens.chain((1..words).map(|number| format!("w{number}")));
    let tokens = tokens.chain([last_word.to_owned()]).collect();
    let vocabulary = Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap();
    let config = ModelConfig {
        embedding: hidden / 2,
        hidden,
        encoder_layers: layers,
        decoder_layers: layers,
        attention_size: hidden,
        ..ModelConfig::default()
    };
    let side = SourceSide::Tokens(vocabulary.clone());
    let context = context.with_key(Key::new(3));
    let model =
        Seq2Seq::<f32>::new(config, side, vocabulary, context.clone(), Key::new(2)).unwrap();
    let word = |at: usize| (SPECIALS.len() + at * 7 % words) as Token;
    let example = Example {
        source: Source::Tokens((0..length).map(word).collect()),
        target: (0..length - 1).map(|at| word(at + 3)).collect(),
    };
    let batch = Batch::new(&[&example]).unwrap();
    let title = format!("a model on {last_word}");
    let rule = UpdateRule::descent(0.1);
    trace_model(&model, &batch, title, rule, settings, context).unwrap()
}
