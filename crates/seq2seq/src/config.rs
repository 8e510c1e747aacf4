//! The configuration of a model: what each key means, and which combinations are possible.

use std::fmt;

use serde::{Deserialize, Serialize};
use unspool_layers::attention::AttentionKind;
use unspool_layers::init::Init;
use unspool_layers::recurrent::{CellKind, RecurrentInit};

use crate::encoder::SourceSize;
use crate::vocabulary::SPECIALS;
use crate::{ModelError, Result};

/// The greatest length of a vector.
const MAX_SIZE: usize = 1 << 16;
/// The most layers of a side.
const MAX_LAYERS: usize = 64;
/// A model that has more parameters is a slip of the hand, and would only exhaust the memory.
const MAX_PARAMETERS: u64 = 1 << 28;

/// How an encoder-decoder is built. Each field is a key of the table `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The recurrent cell of both sides: `rnn`, `lstm` or `gru`.
    #[serde(with = "by_name")]
    pub cell: CellKind,
    /// The length of an embedding, E.
    pub embedding: usize,
    /// The length of a hidden state, H; in a bidirectional encoder, of each direction's.
    pub hidden: usize,
    /// The layers of the encoder.
    pub encoder_layers: usize,
    /// The layers of the decoder.
    pub decoder_layers: usize,
    /// Whether the encoder reads in both directions.
    pub bidirectional: bool,
    /// How the decoder's first state comes from the encoder.
    pub bridge: Bridge,
    /// What scores the source positions: `none`, `additive`, `dot`, `scaled_dot`, `general`,
    /// `concat` or `multi_head`.
    #[serde(with = "by_name")]
    pub attention: AttentionChoice,
    /// The length that queries and keys are projected to by `additive`, `concat` and `multi_head`.
    pub attention_size: usize,
    /// The heads of `multi_head`.
    pub attention_heads: usize,
    /// Which state asks.
    pub query: Query,
    /// Whether the attentional vector has a bias.
    pub attentional_bias: bool,
    /// What the output layer reads.
    pub readout: Readout,
    /// The length of the readout of `tanh`; 0 takes that of an embedding.
    pub readout_size: usize,
    /// Whether the output layer has a bias.
    pub output_bias: bool,
    /// Whether the output layer's weight is the target's embedding.
    pub tied_embeddings: bool,
    /// What is dropped in training.
    pub dropout: DropoutConfig,
    /// How the weights start.
    pub init: InitConfig,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            cell: CellKind::Lstm,
            embedding: 128,
            hidden: 256,
            encoder_layers: 1,
            decoder_layers: 1,
            bidirectional: true,
            bridge: Bridge::Tanh,
            attention: AttentionChoice(Some(AttentionKind::Additive)),
            attention_size: 256,
            attention_heads: 4,
            query: Query::Previous,
            attentional_bias: false,
            readout: Readout::Tanh,
            readout_size: 0,
            output_bias: true,
            tied_embeddings: false,
            dropout: DropoutConfig::default(),
            init: InitConfig::default(),
        }
    }
}

/// How the decoder's first state comes from the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bridge {
    /// It does not: the decoder starts from zeros.
    Zero,
    /// The encoder's last state as it is, both directions side by side.
    Last,
    /// `tanh(W·h + b)` of the last state of both directions (Bahdanau et al. 2015, appendix A.2.2),
    /// and the same for an LSTM's cell state.
    Tanh,
    /// `tanh(W·h + b)` of the mean of the encoder's outputs over time; an LSTM's cell state is
    /// zero.
    Mean,
}

/// Which of the decoder's states asks, and so where attention stands in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// The previous one; the cell then reads the embedding and the context (Bahdanau et al. 2015).
    Previous,
    /// The new one; the attentional vector `tanh(W[context; state])` is read at the next step,
    /// which is called input feeding (Luong et al. 2015, equation 5 and section 3.3).
    New,
    /// The one in between two cells: the first reads the embedding, the second the context (the
    /// conditional GRU of Sennrich et al. 2017, "Nematus").
    Between,
}

/// What the output layer reads. With input feeding, the attentional vector stands for the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readout {
    /// The decoder's state.
    State,
    /// State, context and embedding side by side.
    Linear,
    /// `tanh(W[state; context; embedding] + b)`.
    Tanh,
}

/// The rates at which units are dropped in training, each in 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropoutConfig {
    /// Of the embeddings of both sides.
    pub embedding: f64,
    /// Between recurrent layers.
    pub layers: f64,
    /// Of the encoder's outputs.
    pub memory: f64,
    /// Of context and state, of which the attentional vector is made.
    pub attentional: f64,
    /// Of the attentional vector as the next step reads it.
    pub fed: f64,
    /// Of what the output layer reads.
    pub readout: f64,
}

/// How the weights start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InitConfig {
    /// The weights of linear layers, of attention, and from a cell's input.
    pub weights: InitChoice,
    /// The weights from a cell's state.
    pub recurrent: InitChoice,
    /// The deviation of `normal`.
    pub deviation: f64,
    /// The deviation of the embeddings, which are normal.
    pub embedding_deviation: f64,
    /// The bias of an LSTM's forget gate; all other biases start at 0.
    pub forget_bias: f64,
}

impl Default for InitConfig {
    fn default() -> Self {
        InitConfig {
            weights: InitChoice::XavierUniform,
            recurrent: InitChoice::Orthogonal,
            deviation: 0.05,
            embedding_deviation: 0.1,
            forget_bias: 1.0,
        }
    }
}

impl InitConfig {
    /// All zero but the forget gates, and quick to draw.
    pub const ZERO: Self = InitConfig {
        weights: InitChoice::Normal,
        recurrent: InitChoice::Normal,
        deviation: 0.0,
        embedding_deviation: 0.0,
        forget_bias: 0.0,
    };

    /// How weights are drawn.
    pub fn weights(&self) -> Init {
        self.draw(self.weights)
    }

    /// How embeddings are drawn.
    pub fn embedding(&self) -> Init {
        Init::Normal { std: self.embedding_deviation }
    }

    /// How the weights of recurrent cells are drawn.
    pub fn recurrent(&self) -> RecurrentInit {
        RecurrentInit {
            weight_ih: self.draw(self.weights),
            weight_hh: self.draw(self.recurrent),
            bias: Init::Zeros,
            forget_bias: Some(self.forget_bias),
        }
    }

    fn draw(&self, choice: InitChoice) -> Init {
        match choice {
            InitChoice::Normal => Init::Normal { std: self.deviation },
            InitChoice::XavierUniform => Init::XavierUniform,
            InitChoice::XavierNormal => Init::XavierNormal,
            InitChoice::UniformFan => Init::UniformFan,
            InitChoice::Orthogonal => Init::Orthogonal,
        }
    }
}

/// A way to draw weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitChoice {
    /// Normal with the deviation `deviation`.
    Normal,
    /// Uniform, by fan-in and fan-out (Glorot and Bengio 2010).
    XavierUniform,
    /// Normal, by fan-in and fan-out (Glorot and Bengio 2010).
    XavierNormal,
    /// Uniform within ±1/√fan-in: what PyTorch does.
    UniformFan,
    /// Orthogonal (Saxe et al. 2014).
    Orthogonal,
}

/// An attention, or none: the plain encoder-decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionChoice(pub Option<AttentionKind>);

impl fmt::Display for AttentionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(kind) => kind.fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl std::str::FromStr for AttentionChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "none" {
            return Ok(AttentionChoice(None));
        }
        match name.parse() {
            Ok(kind) => Ok(AttentionChoice(Some(kind))),
            Err(error) => Err(format!("{error}, or \"none\"")),
        }
    }
}

impl ModelConfig {
    /// Checks that such a model can be built.
    ///
    /// # Errors
    /// The key whose value is impossible, and why.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("embedding", self.embedding, MAX_SIZE),
            ("hidden", self.hidden, MAX_SIZE),
            ("encoder_layers", self.encoder_layers, MAX_LAYERS),
            ("decoder_layers", self.decoder_layers, MAX_LAYERS),
            ("attention_size", self.attention_size, MAX_SIZE),
            ("attention_heads", self.attention_heads, MAX_SIZE),
            ("readout_size", self.readout_size, MAX_SIZE),
        ];
        for (key, size, most) in sizes {
            // A readout of 0 is as long as an embedding.
            if size == 0 && key != "readout_size" {
                return fail(key, "must be at least 1, not 0");
            }
            if size > most {
                return fail(key, format!("must be at most {most}, not {size}"));
            }
        }
        // Sides as small as they can be: more is known when the data is.
        self.check_parameters(SourceSize::Vectors(1), SPECIALS.len(), "without its vocabularies")?;
        let rates = [
            ("dropout.embedding", self.dropout.embedding),
            ("dropout.layers", self.dropout.layers),
            ("dropout.memory", self.dropout.memory),
            ("dropout.attentional", self.dropout.attentional),
            ("dropout.fed", self.dropout.fed),
            ("dropout.readout", self.dropout.readout),
        ];
        for (key, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                return fail(key, format!("must be at least 0 and below 1, not {rate}"));
            }
        }
        for (key, deviation) in [
            ("init.deviation", self.init.deviation),
            ("init.embedding_deviation", self.init.embedding_deviation),
        ] {
            if !(deviation.is_finite() && deviation >= 0.0) {
                return fail(key, format!("must be at least 0, not {deviation}"));
            }
        }
        let bias = self.init.forget_bias;
        if !bias.is_finite() {
            return fail("init.forget_bias", format!("must be a finite number, not {bias}"));
        }
        let memory = self.memory();
        if self.bridge == Bridge::Last && memory != self.hidden {
            let problem = "\"last\" needs the encoder's state to be as long as the decoder's; with a \
                           bidirectional encoder it is twice as long: take \"tanh\"";
            return fail("bridge", problem);
        }
        match self.attention.0 {
            Some(AttentionKind::Dot | AttentionKind::ScaledDot) if memory != self.hidden => {
                let problem = format!(
                    "\"{}\" needs queries (hidden = {}) and encoder outputs ({memory}) of the same \
                     length: take \"general\", or bidirectional = false",
                    self.attention, self.hidden
                );
                return fail("attention", problem);
            }
            Some(AttentionKind::MultiHead)
                if !self.attention_size.is_multiple_of(self.attention_heads) =>
            {
                let problem = format!(
                    "must divide attention_size = {}, which {} does not",
                    self.attention_size, self.attention_heads
                );
                return fail("attention_heads", problem);
            }
            None if self.query != Query::Previous => {
                return fail("query", "only \"previous\" goes with attention = \"none\"");
            }
            _ => {}
        }
        if self.tied_embeddings && self.readout_length() != self.embedding {
            let problem = format!(
                "needs a readout as long as an embedding ({}); it is {}",
                self.embedding,
                self.readout_length()
            );
            return fail("tied_embeddings", problem);
        }
        Ok(())
    }

    /// Checks that a model with these sides is not impossibly large, before anything is drawn.
    ///
    /// # Errors
    /// The key without whose value the model would have the fewest parameters.
    pub fn validate_size(&self, source: SourceSize, target: usize) -> Result<()> {
        let sides = match source {
            SourceSize::Tokens(size) => format!("source vocabulary of {size}"),
            SourceSize::Vectors(length) => format!("source of frames of {length}"),
        };
        let sides = format!("with a target vocabulary of {target} and a {sides}");
        self.check_parameters(source, target, &sides)
    }

    /// Checks the number of parameters that the model has, `sides` in words.
    fn check_parameters(&self, source: SourceSize, target: usize, sides: &str) -> Result<()> {
        let count = self.parameters(source, target);
        if count <= MAX_PARAMETERS {
            return Ok(());
        }
        let same = || self.clone();
        // Each key with its value, and the model in which it is 1.
        let keys = [
            ("hidden", self.hidden, ModelConfig { hidden: 1, ..same() }),
            ("embedding", self.embedding, ModelConfig { embedding: 1, ..same() }),
            ("attention_size", self.attention_size, ModelConfig { attention_size: 1, ..same() }),
            ("readout_size", self.readout_size, ModelConfig { readout_size: 1, ..same() }),
            ("encoder_layers", self.encoder_layers, ModelConfig { encoder_layers: 1, ..same() }),
            ("decoder_layers", self.decoder_layers, ModelConfig { decoder_layers: 1, ..same() }),
        ];
        let (key, value) = (keys.iter())
            .min_by_key(|(_, _, smaller)| smaller.parameters(source, target))
            .map_or(("hidden", self.hidden), |&(key, value, _)| (key, value));
        let problem = format!(
            "is {value}; the model {sides} would have {count} parameters, and at most \
             {MAX_PARAMETERS} are possible"
        );
        fail(key, problem)
    }

    /// How many parameters a model has with these sides: a source, and a target vocabulary of
    /// `target` tokens. Exact for a configuration that is possible.
    pub fn parameters(&self, source: SourceSize, target: usize) -> u64 {
        // An impossible size counts as 2³², so that no product passes what 128 bits hold.
        let size = |x: usize| (x as u128).min(1 << 32);
        let linear = |inputs: u128, outputs: u128| inputs * outputs + outputs;
        let (hidden, embedding) = (size(self.hidden), size(self.embedding));
        let gates = self.cell.gates().len() as u128;
        // The weights `[G·H, I]` and `[G·H, H]` of each layer and direction, and their biases.
        let recurrent = |layers: usize, input: u128, directions: u128| {
            let layer = |input: u128| directions * gates * hidden * (input + hidden + 2);
            layer(input) + size(layers).saturating_sub(1) * layer(directions * hidden)
        };
        let directions = if self.bidirectional { 2 } else { 1 };
        let memory = directions * hidden;
        let (attention, query) = match self.attention.0 {
            Some(kind) => (Some(kind), self.query),
            None => (None, Query::Previous),
        };
        let context = if attention.is_some() { memory } else { 0 };
        let all = hidden + context + embedding;

        let (source_embedding, input) = match source {
            SourceSize::Tokens(vocabulary) => (size(vocabulary) * embedding, embedding),
            SourceSize::Vectors(length) => (0, size(length)),
        };
        let encoder = source_embedding + recurrent(self.encoder_layers, input, directions);
        let projections = match self.bridge {
            Bridge::Zero | Bridge::Last => 0,
            Bridge::Mean => 1,
            Bridge::Tanh if self.cell == CellKind::Lstm => 2,
            Bridge::Tanh => 1,
        };
        let bridge = projections * size(self.decoder_layers) * linear(memory, hidden);
        let decoder = match query {
            Query::Previous => recurrent(self.decoder_layers, embedding + context, 1),
            // And the attentional vector.
            Query::New => {
                recurrent(self.decoder_layers, embedding + hidden, 1)
                    + (context + hidden + u128::from(self.attentional_bias)) * hidden
            }
            Query::Between => {
                recurrent(self.decoder_layers, embedding, 1) + recurrent(1, context, 1)
            }
        };
        let projected = size(self.attention_size);
        let attention = match attention {
            None | Some(AttentionKind::Dot | AttentionKind::ScaledDot) => 0,
            Some(AttentionKind::General) => memory * hidden,
            // The projections of query and key, and v.
            Some(AttentionKind::Additive | AttentionKind::Concat) => {
                projected * (hidden + memory + 1)
            }
            // The projections of query, key and value with their biases, and of the result.
            Some(AttentionKind::MultiHead) => {
                projected * (hidden + 2 * memory + 3) + linear(projected, memory)
            }
        };
        let (readout, read) = match self.readout {
            Readout::State => (0, hidden),
            Readout::Linear => (0, all),
            Readout::Tanh => {
                let read = if self.readout_size == 0 { embedding } else { size(self.readout_size) };
                (linear(all, read), read)
            }
        };
        let target = size(target);
        let output =
            target * (u128::from(self.output_bias) + if self.tied_embeddings { 0 } else { read });
        let sides = encoder + bridge + target * embedding + decoder;
        u64::try_from(sides + attention + readout + output).unwrap_or(u64::MAX)
    }

    /// The length of an encoder output, M.
    pub fn memory(&self) -> usize {
        self.hidden * if self.bidirectional { 2 } else { 1 }
    }

    /// The length of a context; 0 without attention.
    pub fn context(&self) -> usize {
        if self.attention.0.is_some() { self.memory() } else { 0 }
    }

    /// The length of what the output layer reads.
    pub fn readout_length(&self) -> usize {
        match self.readout {
            Readout::State => self.hidden,
            Readout::Linear => self.hidden + self.context() + self.embedding,
            Readout::Tanh if self.readout_size == 0 => self.embedding,
            Readout::Tanh => self.readout_size,
        }
    }
}

fn fail(key: &'static str, problem: impl Into<String>) -> Result<()> {
    Err(ModelError::Config { key, problem: problem.into() })
}

/// Enumerations of other crates, written by the names that they display and parse.
mod by_name {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<X: Display, S: Serializer>(x: &X, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(x)
    }

    pub fn deserialize<'de, X: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<X, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_possible_and_survives_toml() {
        let config = ModelConfig::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<ModelConfig>(&text).unwrap(), config);
    }

    #[test]
    fn impossible_configurations_name_the_key() {
        let rows = [
            ("hidden = 0", "model.hidden"),
            ("embedding = 100000", "model.embedding"),
            ("encoder_layers = 65", "model.encoder_layers"),
            ("readout_size = 65537", "model.readout_size"),
            ("encoder_layers = 65", "model.encoder_layers"),
            ("hidden = 65536", "model.hidden"),
            ("embedding = 65536", "model.embedding"),
            ("bridge = \"last\"", "model.bridge"),
            ("attention = \"dot\"", "model.attention"),
            ("attention = \"multi_head\"\nattention_heads = 7", "model.attention_heads"),
            ("attention = \"none\"\nquery = \"new\"", "model.query"),
            ("tied_embeddings = true\nreadout = \"state\"", "model.tied_embeddings"),
            ("[dropout]\nmemory = 1.0", "model.dropout.memory"),
            ("[dropout]\nattentional = 1.0", "model.dropout.attentional"),
            ("[dropout]\nfed = -0.1", "model.dropout.fed"),
            ("[init]\ndeviation = -1.0", "model.init.deviation"),
        ];
        for (text, key) in rows {
            let config: ModelConfig = toml::from_str(text).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: ")), "{text:?}: {error}");
        }
    }

    #[test]
    fn unknown_keys_and_names_are_named() {
        for (text, part) in [
            ("hiden = 3", "hiden"),
            ("cell = \"lsm\"", "lsm"),
            ("attention = \"multi\"", "none"),
            ("hidden = \"big\"", "hidden"),
            ("[dropout]\nembeding = 0.1", "embeding"),
        ] {
            let error = toml::from_str::<ModelConfig>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
