//! The model and data of the benchmarks `train_step` and `decode`: from 20 frames of 15 numbers to
//! 26 tokens of 115, by an LSTM encoder of 2×256 and a decoder of 2×256 with additive attention.

use ndarray::Array2;
use unspool_seq2seq::batch::{Example, Source};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{ModelConfig, Seq2Seq, SourceSide, Statistics};
use unspool_tensor::Context;
use unspool_tensor::random::Key;

/// The frames of a source.
pub const SOURCE: usize = 20;
/// The numbers of a frame.
pub const FRAME: usize = 15;
/// The target's vocabulary.
pub const VOCABULARY: usize = 115;

/// What can be larger or smaller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Hidden units of each layer.
    pub hidden: usize,
    /// The frames of a source.
    pub source: usize,
    /// The tokens of a target, with the end.
    pub target: usize,
    /// The target's vocabulary.
    pub vocabulary: usize,
}

/// Those of the benchmarks.
pub const SIZES: Sizes = Sizes { hidden: 256, source: SOURCE, target: 26, vocabulary: VOCABULARY };

const MODEL: &str = r#"
    cell = "lstm"
    embedding = 128
    encoder_layers = 2
    decoder_layers = 2
    bidirectional = false
    bridge = "last"
    attention = "additive"
    attention_size = 128
    query = "previous"
    readout = "state"
    dropout = { embedding = 0.2, layers = 0.2 }
"#;

/// The model with fresh weights; inference runs with this context.
pub fn model(context: Context, sizes: Sizes) -> Seq2Seq<f32> {
    let config: ModelConfig = toml::from_str(MODEL).unwrap();
    let config = ModelConfig { hidden: sizes.hidden, ..config };
    let statistics = Statistics { mean: vec![0.0; FRAME], deviation: vec![1.0; FRAME] };
    let ordinary = (SPECIALS.len()..sizes.vocabulary).map(|number| format!("w{number}"));
    let tokens = SPECIALS.iter().map(|&special| special.to_owned()).chain(ordinary).collect();
    let target = Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap();
    let source = SourceSide::Vectors(statistics);
    Seq2Seq::new(config, source, target, context, Key::new(1)).unwrap()
}

/// Random examples: frames, and tokens that an end follows.
pub fn examples(count: usize, sizes: Sizes) -> Vec<Example> {
    let example = |number: usize| {
        let key = Key::new(2).with(number as u64);
        let frames = Array2::from_shape_fn((sizes.source, FRAME), |(s, f)| {
            2.0 * key.uniform((s * FRAME + f) as u64) - 1.0
        });
        let ordinary = sizes.vocabulary - SPECIALS.len();
        let token =
            |at: u64| SPECIALS.len() as Token + key.below(1000 + at, ordinary as u64) as Token;
        let target = (1..sizes.target as u64).map(token).collect();
        Example { source: Source::Vectors(frames), target }
    };
    (0..count).map(example).collect()
}
