//! Translating a batch of sources with any search, by one model or by several as one.

use rayon::prelude::*;
use unspool_decode::{
    Beam, DecodeError, Ensemble, EnsembleError, EnsembleState, Hypothesis, Sampling, Search,
    SettingError, StepModel, beam_search, greedy_search, sample,
};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Real};

use crate::batch::{Source, SourceBatch};
use crate::vocabulary::{BOS, EOS};
use crate::{ModelError, Seq2Seq};

/// How translations are searched for.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// The likeliest token at each step.
    Greedy,
    /// The likeliest hypotheses of a beam.
    Beam(Beam),
    /// Drawn at random, from this key.
    Sample(Sampling, Key),
}

/// What is asked of every translation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// The fewest tokens.
    pub min_length: usize,
    /// The most tokens, the end included; `None` for [`max_length`] of each source.
    pub max_length: Option<usize>,
    /// Whether attention weights are wanted.
    pub attention: bool,
}

/// A translation failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TranslateError {
    /// A model failed on the sources.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The models cannot be one.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The search failed.
    #[error(transparent)]
    Search(#[from] DecodeError<ModelError>),
    /// The search with several models failed.
    #[error(transparent)]
    Ensemble(#[from] DecodeError<EnsembleError<ModelError>>),
}

/// The most tokens that are decoded for a source of so many positions, when nothing else is asked.
pub fn max_length(source: usize) -> usize {
    2 * source + 20
}

/// A thread of its own is worth it for so many sources.
const FEWEST: usize = 4;

/// One model, or several whose probabilities are averaged.
#[derive(Debug)]
pub struct Translator<'m, T: Real> {
    first: &'m Seq2Seq<T>,
    all: Vec<&'m Seq2Seq<T>>,
    /// Only of several.
    ensemble: Option<Ensemble<&'m Seq2Seq<T>>>,
}

impl<'m, T: Real> Translator<'m, T> {
    /// Puts models together. They must have been trained with the same vocabularies.
    ///
    /// # Errors
    /// There is none, or their vocabularies differ.
    pub fn new(models: &[&'m Seq2Seq<T>]) -> Result<Self, TranslateError> {
        let Some((&first, others)) = models.split_first() else {
            return Err(ModelError::Input("there is no model to translate with".into()).into());
        };
        let differs =
            others.iter().any(|m| m.target() != first.target() || m.source() != first.source());
        if differs {
            let problem = "the models have different vocabularies and cannot be one";
            return Err(ModelError::Input(problem.into()).into());
        }
        let ensemble = if others.is_empty() { None } else { Some(Ensemble::new(models.to_vec())?) };
        Ok(Translator { first, all: models.to_vec(), ensemble })
    }

    /// The model whose vocabularies are everyone's.
    pub fn model(&self) -> &'m Seq2Seq<T> {
        self.first
    }

    /// Translates a batch of sources: for each its hypotheses, the best first.
    ///
    /// `numbers` are those of the sources among all that are translated: a source is given the same
    /// random numbers however the whole is cut into batches. A source without a number has that of
    /// its place in the batch.
    ///
    /// # Errors
    /// The sources are of another kind than the models', or an option is impossible.
    pub fn translate(
        &self,
        sources: &[&Source],
        strategy: &Strategy,
        limits: Limits,
        numbers: &[usize],
    ) -> Result<Vec<Vec<Hypothesis>>, TranslateError> {
        let context = self.first.context();
        let share = sources.len().div_ceil(context.threads()).max(FEWEST);
        if share >= sources.len() {
            // Inside the pool, where the products of each step find the other threads awake.
            return context
                .install(|| self.translate_with(Clone::clone, sources, strategy, limits, numbers));
        }
        // Each thread searches for a share of the sources by itself.
        let numbers: Vec<usize> =
            (0..sources.len()).map(|at| numbers.get(at).copied().unwrap_or(at)).collect();
        let one = Context::on_one_thread;
        let shares: Result<Vec<_>, TranslateError> = context.install(|| {
            (sources.par_chunks(share).zip(numbers.par_chunks(share)))
                .map(|(sources, numbers)| {
                    self.translate_with(one, sources, strategy, limits, numbers)
                })
                .collect()
        });
        match shares {
            Ok(shares) => Ok(shares.into_iter().flatten().collect()),
            // What is wrong is told as of the whole, whichever share met it first.
            Err(_) => self.translate_with(one, sources, strategy, limits, &numbers),
        }
    }

    /// On one thread or all, as `context` makes each model's own.
    fn translate_with(
        &self,
        context: impl Fn(&Context) -> Context,
        sources: &[&Source],
        strategy: &Strategy,
        limits: Limits,
        numbers: &[usize],
    ) -> Result<Vec<Vec<Hypothesis>>, TranslateError> {
        let length = |source: &&Source| {
            // The fewest tokens and the end must fit.
            let least = limits.min_length.saturating_add(1);
            limits.max_length.unwrap_or(max_length(source.length()).max(least))
        };
        let most = sources.iter().map(length).collect();
        let batch = SourceBatch::new(sources.iter().copied(), 0)?;
        let mut search = Search::new(BOS, EOS, most);
        search.min_length = limits.min_length;
        search.attention = limits.attention;
        match &self.ensemble {
            None => {
                let mut state = self.first.encode_with(&context(self.first.context()), &batch)?;
                Ok(run(self.first, &mut state, &search, strategy, numbers)?)
            }
            Some(ensemble) => {
                let states: Result<Vec<_>, ModelError> = (self.all.iter())
                    .map(|model| model.encode_with(&context(model.context()), &batch))
                    .collect();
                let mut state = EnsembleState::new(states?);
                Ok(run(ensemble, &mut state, &search, strategy, numbers)?)
            }
        }
    }
}

fn run<M: StepModel>(
    model: &M,
    state: &mut M::State,
    search: &Search,
    strategy: &Strategy,
    numbers: &[usize],
) -> Result<Vec<Vec<Hypothesis>>, DecodeError<M::Error>> {
    let one_each = |all: Vec<Hypothesis>| all.into_iter().map(|one| vec![one]).collect();
    match strategy {
        Strategy::Greedy => greedy_search(model, state, search).map(one_each),
        Strategy::Beam(beam) => beam_search(model, state, search, beam),
        Strategy::Sample(sampling, key) => {
            let uniform = |sentence: usize, step: usize| {
                let number = numbers.get(sentence).copied().unwrap_or(sentence);
                key.with(number as u64).uniform(step as u64)
            };
            sample(model, state, search, sampling, &uniform).map(one_each)
        }
    }
}
