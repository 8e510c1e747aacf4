//! Several models as one: [`Ensemble`].

use thiserror::Error;

use crate::{SettingError, StepModel, StepOutput, Token};

/// Several models that predict together: the weighted mean of their probabilities.
///
/// With weights `w` that sum to 1, `log p(token) = log Σ_m w_m p_m(token)`, computed from the
/// log-probabilities without leaving the logarithmic scale. A token that only some members offer,
/// since their row is extended, has probability 0 with the others. Attention is the same mean
/// over those members that have attention.
///
/// All members are of one type; `Box<dyn StepModel<State = …, Error = …>>` is such a type too.
#[derive(Clone, Debug)]
pub struct Ensemble<M> {
    /// Each model with the logarithm of its weight.
    members: Vec<(M, f64)>,
}

/// The state of an [`Ensemble`]: that of every member.
#[derive(Clone, Debug)]
pub struct EnsembleState<S> {
    /// Each member's state, and the memory for its outputs.
    members: Vec<(S, StepOutput)>,
}

/// Why an [`Ensemble`] could not step; `E` is the error of a member.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EnsembleError<E> {
    /// A member reported an error.
    #[error("member {member} of the ensemble failed")]
    Member {
        /// Which model.
        member: usize,
        /// Its error.
        source: E,
    },
    /// Not one state for each member.
    #[error("{found} states for the {expected} members of an ensemble")]
    States {
        /// The number of members.
        expected: usize,
        /// The number of states.
        found: usize,
    },
    /// A member did not give one row for each token.
    #[error("member {member} of the ensemble gave {found} rows for {expected} tokens")]
    Rows {
        /// Which model.
        member: usize,
        /// The number of tokens.
        expected: usize,
        /// The number of rows.
        found: usize,
    },
    /// Two members attend to sources of different lengths.
    #[error(
        "member {member} of the ensemble attends to {found} source positions in row {row}, \
         another to {expected}"
    )]
    Attention {
        /// Which model.
        member: usize,
        /// The row of the batch.
        row: usize,
        /// The number of positions that the members before have.
        expected: usize,
        /// The number of positions that this one has.
        found: usize,
    },
}

impl<M: StepModel> Ensemble<M> {
    /// An ensemble of equals.
    ///
    /// # Errors
    ///
    /// When there is no model, or their vocabularies differ in size.
    pub fn new(models: Vec<M>) -> Result<Self, SettingError> {
        Self::weighted(models.into_iter().map(|model| (model, 1.0)).collect())
    }

    /// An ensemble whose members count by their weight; the weights need not sum to 1.
    ///
    /// # Errors
    ///
    /// When there is no model, their vocabularies differ in size, or a weight is not positive.
    pub fn weighted(models: Vec<(M, f64)>) -> Result<Self, SettingError> {
        let Some((first, _)) = models.first() else {
            return Err(SettingError::NoMembers);
        };
        let expected = first.vocabulary();
        let total: f64 = models.iter().map(|(_, weight)| weight).sum();
        let mut members = Vec::with_capacity(models.len());
        for (member, (model, weight)) in models.into_iter().enumerate() {
            let found = model.vocabulary();
            if found != expected {
                return Err(SettingError::Vocabularies { member, expected, found });
            }
            let share = weight / total;
            if !(weight > 0.0 && share > 0.0 && share.is_finite()) {
                return Err(SettingError::Weight { member, weight });
            }
            members.push((model, share.ln()));
        }
        Ok(Self { members })
    }
}

impl<S> EnsembleState<S> {
    /// The state of a batch, from each member's state of that batch, in the order of the members.
    #[must_use]
    pub fn new(states: Vec<S>) -> Self {
        Self { members: states.into_iter().map(|state| (state, StepOutput::default())).collect() }
    }
}

impl<M: StepModel> StepModel for Ensemble<M> {
    type State = EnsembleState<M::State>;
    type Error = EnsembleError<M::Error>;

    fn vocabulary(&self) -> usize {
        self.members.first().map_or(0, |(model, _)| model.vocabulary())
    }

    fn step(
        &self,
        tokens: &[Token],
        state: &mut Self::State,
        out: &mut StepOutput,
    ) -> Result<(), Self::Error> {
        self.check_states(state)?;
        let expected = tokens.len();
        for (member, ((model, _), (state, output))) in
            self.members.iter().zip(&mut state.members).enumerate()
        {
            output.reset(out.wants_attention());
            model
                .step(tokens, state, output)
                .map_err(|source| EnsembleError::Member { member, source })?;
            let (found, attention) = (output.log_probs.len(), output.attention.len());
            if found != expected {
                return Err(EnsembleError::Rows { member, expected, found });
            }
            if attention != 0 && attention != expected {
                return Err(EnsembleError::Rows { member, expected, found: attention });
            }
        }
        for row in 0..expected {
            self.mix_log_probs(row, state, out);
            self.mix_attention(row, state, out)?;
        }
        Ok(())
    }

    fn reorder(&self, state: &mut Self::State, origins: &[usize]) -> Result<(), Self::Error> {
        self.check_states(state)?;
        for (member, ((model, _), (state, _))) in
            self.members.iter().zip(&mut state.members).enumerate()
        {
            model
                .reorder(state, origins)
                .map_err(|source| EnsembleError::Member { member, source })?;
        }
        Ok(())
    }
}

impl<M: StepModel> Ensemble<M> {
    fn check_states(&self, state: &EnsembleState<M::State>) -> Result<(), EnsembleError<M::Error>> {
        let (expected, found) = (self.members.len(), state.members.len());
        if expected == found { Ok(()) } else { Err(EnsembleError::States { expected, found }) }
    }

    fn mix_log_probs(&self, row: usize, state: &EnsembleState<M::State>, out: &mut StepOutput) {
        let rows = || state.members.iter().map(|(_, output)| output.log_probs.get(row));
        let width = rows().flatten().map(<[f32]>::len).max().unwrap_or(0);
        for (token, mixed) in out.log_probs.push(width).iter_mut().enumerate() {
            let terms = || {
                self.members.iter().zip(rows()).map(|((_, log_weight), row)| {
                    let value = row.and_then(|row| row.get(token));
                    log_weight + value.map_or(f64::NEG_INFINITY, |&value| f64::from(value))
                })
            };
            *mixed = log_sum_exp(terms) as f32;
        }
    }

    fn mix_attention(
        &self,
        row: usize,
        state: &EnsembleState<M::State>,
        out: &mut StepOutput,
    ) -> Result<(), EnsembleError<M::Error>> {
        let attending = || {
            (self.members.iter().zip(&state.members).enumerate()).filter_map(
                |(member, ((_, log_weight), (_, output)))| {
                    Some((member, log_weight.exp(), output.attention.get(row)?))
                },
            )
        };
        let Some((_, _, first)) = attending().next() else { return Ok(()) };
        let total: f64 = attending().map(|(_, weight, _)| weight).sum();
        let mixed = out.attention.push(first.len());
        for (member, weight, attention) in attending() {
            let (expected, found) = (mixed.len(), attention.len());
            if expected != found {
                return Err(EnsembleError::Attention { member, row, expected, found });
            }
            for (mixed, &value) in mixed.iter_mut().zip(attention) {
                *mixed += (weight / total) as f32 * value;
            }
        }
        Ok(())
    }
}

/// `log Σ exp(term)`; not a number as soon as one term is not.
fn log_sum_exp<I: Iterator<Item = f64>>(terms: impl Fn() -> I) -> f64 {
    let top = terms().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        // All are -inf, or not a number, which `max` passes over but a sum does not.
        return terms().sum();
    }
    top + terms().map(|term| (term - top).exp()).sum::<f64>().ln()
}
