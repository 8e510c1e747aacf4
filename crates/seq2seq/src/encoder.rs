//! The encoder: reads the source and leaves one output for each of its positions.

use unspool_layers::dropout::Dropout;
use unspool_layers::embedding::Embedding;
use unspool_layers::recurrent::{Recurrent, RecurrentConfig, State};
use unspool_layers::{Bound, ParamStore};
use unspool_tensor::random::Key;
use unspool_tensor::{Real, Var};

use crate::batch::{SourceBatch, SourceValues};
use crate::vocabulary::PAD;
use crate::{ModelConfig, ModelError, Result, Statistics};

/// What the source's positions become before the recurrent layers read them.
#[derive(Debug)]
enum SourceInput {
    Tokens { embedding: Embedding, dropout: Dropout },
    Vectors { length: usize },
}

/// Recurrent layers over the source.
#[derive(Debug)]
pub struct Encoder {
    input: SourceInput,
    recurrent: Recurrent,
    dropout: Dropout,
}

/// What the encoder leaves.
pub struct Encoded<'t, T: Real> {
    /// The outputs of the top layer `[S, B, M]`, zero at padding.
    pub memory: Var<'t, T>,
    /// The last state of every layer and direction, `[B, H]` each.
    pub state: State<'t, T>,
}

/// How large the source side of a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceSize {
    /// The size of the source vocabulary.
    Tokens(usize),
    /// The length of a source frame, F.
    Vectors(usize),
}

impl Encoder {
    pub(crate) fn new<T: Real>(
        store: &mut ParamStore<T>,
        config: &ModelConfig,
        size: SourceSize,
        key: Key,
    ) -> Result<Self> {
        let (input, length) = match size {
            SourceSize::Tokens(size) => {
                let embedding = Embedding::new(
                    store,
                    "encoder.embedding",
                    size,
                    config.embedding,
                    Some(PAD as usize),
                    config.init.embedding(),
                    key,
                )?;
                let dropout = Dropout::new(config.dropout.embedding, "encoder.embedding.dropout")?;
                (SourceInput::Tokens { embedding, dropout }, config.embedding)
            }
            SourceSize::Vectors(length) => (SourceInput::Vectors { length }, length),
        };
        let recurrent = RecurrentConfig {
            cell: config.cell,
            input: length,
            hidden: config.hidden,
            layers: config.encoder_layers,
            bidirectional: config.bidirectional,
            dropout: config.dropout.layers,
        };
        let recurrent = Recurrent::new(store, "encoder", recurrent, &config.init.recurrent(), key)?;
        let dropout = Dropout::new(config.dropout.memory, "encoder.memory.dropout")?;
        Ok(Encoder { input, recurrent, dropout })
    }

    /// Reads a batch of sources.
    ///
    /// # Errors
    /// The sources are of another kind or size than the model's, or a token is not in its
    /// vocabulary.
    pub fn forward<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        source: &SourceBatch,
        statistics: Option<&Statistics>,
    ) -> Result<Encoded<'t, T>> {
        let _scope = bound.tape().scope("encoder");
        let x = match (&self.input, &source.values) {
            (SourceInput::Tokens { embedding, dropout }, SourceValues::Tokens(tokens)) => {
                let rows = tokens.mapv(|token| token as usize);
                dropout.forward(bound, embedding.forward(bound, &rows)?)?
            }
            (SourceInput::Vectors { length }, SourceValues::Vectors(frames))
                if frames.dim().2 == *length =>
            {
                let mut frames = frames.clone();
                if let Some(statistics) = statistics {
                    statistics.standardise(&mut frames);
                }
                bound.tape().constant(frames.mapv(T::from_f64))
            }
            (SourceInput::Vectors { length }, SourceValues::Vectors(frames)) => {
                return Err(ModelError::Input(format!(
                    "the model reads frames of {length} numbers, not of {}",
                    frames.dim().2
                )));
            }
            (SourceInput::Tokens { .. }, _) => {
                return Err(ModelError::Input("the model reads tokens, not vectors".into()));
            }
            (SourceInput::Vectors { .. }, _) => {
                return Err(ModelError::Input("the model reads vectors, not tokens".into()));
            }
        };
        let (memory, state) = self.recurrent.forward(bound, x, Some(&source.lengths), None)?;
        Ok(Encoded { memory: self.dropout.forward(bound, memory)?, state })
    }
}
