//! Sentence pairs, padded and put side by side, time-major.

use ndarray::{Array2, Array3};

use crate::vocabulary::{BOS, EOS, PAD, Token};
use crate::{ModelError, Result};

/// What a model translates from: one sentence.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Tokens, without specials.
    Tokens(Vec<Token>),
    /// Real-valued frames `[S, F]`.
    Vectors(Array2<f64>),
}

impl Source {
    /// Its length in positions that the encoder reads; sentences of tokens are closed by an end
    /// token.
    pub fn length(&self) -> usize {
        match self {
            Source::Tokens(tokens) => tokens.len() + 1,
            Source::Vectors(frames) => frames.nrows(),
        }
    }
}

/// A sentence pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// What is translated.
    pub source: Source,
    /// Its translation's tokens, without specials.
    pub target: Vec<Token>,
}

/// The sources of a batch. `S` is the longest source's length.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceBatch {
    /// The padded sources.
    pub values: SourceValues,
    /// The length of each.
    pub lengths: Vec<usize>,
}

/// The padded sources of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceValues {
    /// `[S, B]`, padded with [`PAD`].
    Tokens(Array2<Token>),
    /// `[S, B, F]`, padded with zeros.
    Vectors(Array3<f64>),
}

impl SourceBatch {
    /// Puts sources side by side, padded to the longest, and to at least `padded_length`.
    ///
    /// # Errors
    /// There is none, one is empty, or they mix tokens and vectors or vectors of different lengths.
    pub fn new<'s>(
        sources: impl IntoIterator<Item = &'s Source>,
        padded_length: usize,
    ) -> Result<Self> {
        let sources: Vec<&Source> = sources.into_iter().collect();
        let lengths: Vec<usize> = sources.iter().map(|source| source.length()).collect();
        let Some(longest) = lengths.iter().copied().max() else {
            return Err(ModelError::Input("a batch needs at least one source".into()));
        };
        if let Some(row) = lengths.iter().position(|&length| length == 0) {
            return Err(ModelError::Input(format!("source {row} of a batch is empty")));
        }
        let shape = (longest.max(padded_length), sources.len());
        let values = match sources[0] {
            Source::Tokens(_) => SourceValues::Tokens(Array2::from_elem(shape, PAD)),
            Source::Vectors(first) => {
                SourceValues::Vectors(Array3::zeros((shape.0, shape.1, first.ncols())))
            }
        };
        let mut batch = SourceBatch { values, lengths };
        for (row, source) in sources.into_iter().enumerate() {
            match (&mut batch.values, source) {
                (SourceValues::Tokens(values), Source::Tokens(tokens)) => {
                    let mut column = values.column_mut(row);
                    let closed = tokens.iter().chain(&[EOS]);
                    column.iter_mut().zip(closed).for_each(|(value, &token)| *value = token);
                }
                (SourceValues::Vectors(values), Source::Vectors(frames))
                    if values.dim().2 == frames.ncols() =>
                {
                    for (s, frame) in frames.outer_iter().enumerate() {
                        values.slice_mut(ndarray::s![s, row, ..]).assign(&frame);
                    }
                }
                _ => {
                    let problem = "is not of the same kind and size as the first of its batch";
                    return Err(ModelError::Input(format!("source {row} {problem}")));
                }
            }
        }
        Ok(batch)
    }

    /// How many sources there are, B.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are none; never true of a batch that [`new`](Self::new) made.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

/// A batch of sentence pairs. `T` is the longest target's length, its end included.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The sources.
    pub source: SourceBatch,
    /// What the decoder reads under teacher forcing, `[T, B]`: each target behind a [`BOS`].
    pub target_input: Array2<Token>,
    /// What it is to predict, `[T, B]`: each target with an [`EOS`]; then [`PAD`].
    pub target_output: Array2<Token>,
    /// How many tokens each target has, its [`EOS`] included.
    pub target_lengths: Vec<usize>,
}

impl Batch {
    /// Puts pairs side by side, padded to the longest.
    ///
    /// # Errors
    /// As [`SourceBatch::new`].
    pub fn new(examples: &[&Example]) -> Result<Self> {
        let source = SourceBatch::new(examples.iter().map(|example| &example.source), 0)?;
        let target_lengths: Vec<usize> =
            examples.iter().map(|example| example.target.len() + 1).collect();
        let steps = target_lengths.iter().copied().max().unwrap_or(1);
        let mut target_input = Array2::from_elem((steps, examples.len()), PAD);
        let mut target_output = target_input.clone();
        for (row, example) in examples.iter().enumerate() {
            target_input[[0, row]] = BOS;
            for (t, &token) in example.target.iter().enumerate() {
                target_input[[t + 1, row]] = token;
                target_output[[t, row]] = token;
            }
            target_output[[example.target.len(), row]] = EOS;
        }
        Ok(Batch { source, target_input, target_output, target_lengths })
    }

    /// How many tokens are to be predicted, ends included, padding not.
    pub fn target_tokens(&self) -> usize {
        self.target_output.iter().filter(|&&token| token != PAD).count()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{arr2, array};

    use super::*;

    #[test]
    fn pairs_are_padded_closed_and_shifted() {
        let pair = |source: &[Token], target: &[Token]| Example {
            source: Source::Tokens(source.into()),
            target: target.into(),
        };
        let batch = Batch::new(&[&pair(&[7, 8], &[9]), &pair(&[5], &[6, 4, 5])]).unwrap();
        assert_eq!(batch.source.lengths, [3, 2]);
        let source = arr2(&[[7, 5], [8, EOS], [EOS, PAD]]);
        assert_eq!(batch.source.values, SourceValues::Tokens(source));
        assert_eq!(batch.target_input, arr2(&[[BOS, BOS], [9, 6], [PAD, 4], [PAD, 5]]));
        assert_eq!(batch.target_output, arr2(&[[9, 6], [EOS, 4], [PAD, 5], [PAD, EOS]]));
        assert_eq!((batch.target_tokens(), batch.target_lengths), (6, vec![2, 4]));
    }

    #[test]
    fn sources_that_do_not_go_together_are_errors() {
        let tokens = Source::Tokens(vec![4]);
        let narrow = Source::Vectors(array![[1.0], [2.0]]);
        let wide = Source::Vectors(array![[1.0, 2.0]]);
        let empty = Source::Vectors(Array2::zeros((0, 1)));
        for sources in [vec![], vec![&tokens, &narrow], vec![&narrow, &wide], vec![&empty]] {
            assert!(SourceBatch::new(sources, 0).is_err());
        }
    }
}
