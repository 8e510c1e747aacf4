//! What a model must offer to be searched: [`StepModel`].

use crate::StepOutput;

/// The number of a vocabulary entry.
pub type Token = u32;

/// A model that predicts one token at a time: tokens and state in, log-probabilities and state out.
///
/// The model sees a *batch* of rows and knows neither sentences nor beams: a row is one history,
/// and `state` holds what the model remembers of each. A caller makes the state of a batch (one
/// row for each sentence, already encoded) and hands it to a strategy, which feeds the
/// beginning-of-sequence token first and from then on whatever it chose.
///
/// The trait can be made into an object once `State` and `Error` are named, so that models of
/// different types which share these two can stand in one [`Ensemble`](crate::Ensemble).
pub trait StepModel {
    /// What the model remembers of every row: recurrent states, encoder outputs, masks.
    type State;

    /// What can go wrong in a step.
    type Error: std::error::Error + 'static;

    /// The number of tokens that every row can emit, `V`. A single row may offer more, see
    /// [`step`](Self::step).
    fn vocabulary(&self) -> usize;

    /// Feeds `tokens[r]` to row `r`, advances `state`, and writes into `out`.
    ///
    /// `out` comes empty. The model must add to `out.log_probs` one row for each token, of `V`
    /// natural logarithms of probabilities, or of more: a row that can copy from its source has
    /// an extended vocabulary, and the tokens from `V` on are that row's own. Such a token may
    /// come back in `tokens`; what it stands for as an input is the model's business.
    ///
    /// When `out.wants_attention()`, a model that has attention adds to `out.attention` one row
    /// for each token as well: a weight for each source position, of the row's own number of
    /// positions. A model without attention adds none.
    ///
    /// # Errors
    ///
    /// Whatever keeps the model from predicting. The search ends with this error.
    fn step(
        &self,
        tokens: &[Token],
        state: &mut Self::State,
        out: &mut StepOutput,
    ) -> Result<(), Self::Error>;

    /// Makes row `origins[r]` of the old state row `r` of the new one.
    ///
    /// The new batch has `origins.len()` rows, at least one. It may be smaller than the old batch
    /// (finished rows leave), larger (one sentence becomes many beams), in another order, and may
    /// hold an old row any number of times.
    ///
    /// # Errors
    ///
    /// Whatever keeps the model from moving its state. The search ends with this error.
    fn reorder(&self, state: &mut Self::State, origins: &[usize]) -> Result<(), Self::Error>;
}

impl<M: StepModel + ?Sized> StepModel for &M {
    type State = M::State;
    type Error = M::Error;

    fn vocabulary(&self) -> usize {
        (**self).vocabulary()
    }

    fn step(
        &self,
        tokens: &[Token],
        state: &mut Self::State,
        out: &mut StepOutput,
    ) -> Result<(), Self::Error> {
        (**self).step(tokens, state, out)
    }

    fn reorder(&self, state: &mut Self::State, origins: &[usize]) -> Result<(), Self::Error> {
        (**self).reorder(state, origins)
    }
}

impl<M: StepModel + ?Sized> StepModel for Box<M> {
    type State = M::State;
    type Error = M::Error;

    fn vocabulary(&self) -> usize {
        (**self).vocabulary()
    }

    fn step(
        &self,
        tokens: &[Token],
        state: &mut Self::State,
        out: &mut StepOutput,
    ) -> Result<(), Self::Error> {
        (**self).step(tokens, state, out)
    }

    fn reorder(&self, state: &mut Self::State, origins: &[usize]) -> Result<(), Self::Error> {
        (**self).reorder(state, origins)
    }
}
