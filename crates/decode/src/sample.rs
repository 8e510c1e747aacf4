//! Sampling: a random token at every step, by its probability, among the more probable ones.

use crate::single::follow;
use crate::{DecodeError, Hypothesis, Search, SettingError, StepModel, Token};

/// How a token is drawn. The three are applied in the order in which they stand here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Every log-probability is divided by this before anything else: below 1 the probable
    /// becomes more so, above 1 less.
    pub temperature: f64,
    /// Keep only this many of the most probable tokens.
    pub top_k: Option<usize>,
    /// Keep the nucleus (Holtzman et al. 2020, *The Curious Case of Neural Text Degeneration*):
    /// the fewest most probable tokens whose probabilities sum to this or more. The token that
    /// crosses the line is in, so that there is always one.
    pub top_p: f64,
}

impl Default for Sampling {
    /// The model's own distribution.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: 1.0 }
    }
}

/// Where random numbers come from: a function of the sentence and the step, not a stream.
///
/// Drawing by position makes a result repeatable, and independent of what else is in the batch.
/// For that a caller who cuts a corpus into batches maps `sentence`, the index in the batch, to
/// what the sentence is called in the corpus. A closure will do.
pub trait Uniform {
    /// A uniform number from `[0, 1)` for the token after the first `step` ones of `sentence`.
    fn uniform(&self, sentence: usize, step: usize) -> f64;
}

impl<F: Fn(usize, usize) -> f64> Uniform for F {
    fn uniform(&self, sentence: usize, step: usize) -> f64 {
        self(sentence, step)
    }
}

/// Decodes each sentence by drawing every token at random.
///
/// Returns one hypothesis for each sentence; for several samples, repeat the row. Their scores
/// are the model's own log-probabilities, before temperature and cuts, hence comparable with
/// those of the other strategies. `state` holds one row for each sentence; how the search leaves
/// it is of no use but as memory.
///
/// # Errors
///
/// A setting that makes no sense, an error of the model, an output that is none, or a "uniform"
/// number outside `[0, 1)`.
pub fn sample<M: StepModel + ?Sized>(
    model: &M,
    state: &mut M::State,
    search: &Search,
    options: &Sampling,
    random: &impl Uniform,
) -> Result<Vec<Hypothesis>, DecodeError<M::Error>> {
    options.check()?;
    let mut support = Support::default();
    follow(model, state, search, |sentence, step, row| {
        let value = random.uniform(sentence, step);
        if !(0.0..1.0).contains(&value) {
            return Err(DecodeError::Uniform { sentence, step, value });
        }
        support.fill(search.extensions(row, step), options);
        Ok(support.draw(value))
    })
}

impl Sampling {
    fn check(&self) -> Result<(), SettingError> {
        if !self.temperature.is_finite() || self.temperature <= 0.0 {
            return Err(SettingError::Temperature(self.temperature));
        }
        if self.top_k == Some(0) {
            return Err(SettingError::TopK);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(SettingError::TopP(self.top_p));
        }
        Ok(())
    }
}

/// The tokens that can be drawn at a step; its memory serves all steps.
#[derive(Default)]
struct Support {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    token: Token,
    log_prob: f32,
    /// Proportional to the probability at the temperature; the most probable token has 1.
    weight: f64,
}

impl Support {
    fn fill(&mut self, tokens: impl Iterator<Item = (Token, f32)>, options: &Sampling) {
        self.entries.clear();
        self.entries.extend(tokens.map(|(token, log_prob)| Entry { token, log_prob, weight: 0.0 }));
        let Some(top) = self.entries.iter().map(|entry| entry.log_prob).reduce(f32::max) else {
            return;
        };
        for entry in &mut self.entries {
            let below = f64::from(entry.log_prob) - f64::from(top);
            entry.weight = (below / options.temperature).exp();
        }
        let top_k = options.top_k.unwrap_or(usize::MAX);
        if top_k >= self.entries.len() && options.top_p == 1.0 {
            return;
        }
        // Of equals the lowest token first: together with a total order this makes the unstable,
        // faster sort as good as a stable one.
        self.entries
            .sort_unstable_by(|a, b| b.log_prob.total_cmp(&a.log_prob).then(a.token.cmp(&b.token)));
        self.entries.truncate(top_k);
        if options.top_p < 1.0 {
            let line = options.top_p * self.total();
            let mut sum = 0.0;
            let crossing = self.entries.iter().position(|entry| {
                sum += entry.weight;
                sum >= line
            });
            self.entries.truncate(crossing.map_or(usize::MAX, |index| index + 1));
        }
    }

    fn total(&self) -> f64 {
        self.entries.iter().map(|entry| entry.weight).sum()
    }

    /// Inverts the cumulative distribution at `uniform`.
    fn draw(&self, uniform: f64) -> Option<(Token, f32)> {
        let line = uniform * self.total();
        let mut sum = 0.0;
        let mut drawn = None;
        // A token of no weight is never drawn; should rounding put the line at the very end, the
        // last token of some weight is.
        for entry in self.entries.iter().filter(|entry| entry.weight > 0.0) {
            sum += entry.weight;
            drawn = Some((entry.token, entry.log_prob));
            if sum > line {
                break;
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::{Sampling, Support};
    use crate::Token;
    use proptest::prelude::*;

    fn support(probs: &[f64], options: Sampling) -> Vec<Token> {
        let log_probs = probs.iter().map(|p| p.ln() as f32);
        let mut support = Support::default();
        support.fill((0..).zip(log_probs).filter(|pair| pair.1.is_finite()), &options);
        let mut tokens: Vec<Token> = support.entries.iter().map(|entry| entry.token).collect();
        tokens.sort_unstable();
        tokens
    }

    #[test]
    fn the_support_is_what_was_asked_for() {
        let skewed = [0.1, 0.5, 0.0, 0.4];
        let uniform = [0.25; 4];
        let certain = [0.0, 1.0, 0.0];
        type Row<'a> = (&'a [f64], f64, Option<usize>, f64, &'a [Token]);
        // (probabilities, temperature, top-k, top-p, tokens kept)
        let rows: &[Row<'_>] = &[
            (&skewed, 1.0, None, 1.0, &[0, 1, 3]),
            (&skewed, 1.0, Some(2), 1.0, &[1, 3]),
            (&skewed, 1.0, Some(9), 1.0, &[0, 1, 3]),
            (&skewed, 1.0, None, 0.49, &[1]),
            // The token that crosses the line stays.
            (&skewed, 1.0, None, 0.51, &[1, 3]),
            (&skewed, 1.0, None, 0.89, &[1, 3]),
            (&skewed, 1.0, None, 0.91, &[0, 1, 3]),
            // Top-k comes first: 0.5 of 0.9 is more than 0.55.
            (&skewed, 1.0, Some(2), 0.55, &[1]),
            // So does the temperature: 0.25 of 0.42 at one half, √0.5 of 1.66 at two.
            (&skewed, 0.5, None, 0.59, &[1]),
            (&skewed, 2.0, None, 0.44, &[1, 3]),
            (&uniform, 1.0, None, 1.0, &[0, 1, 2, 3]),
            (&uniform, 1.0, None, 0.6, &[0, 1, 2]),
            (&uniform, 1.0, None, 0.5, &[0, 1]),
            (&uniform, 1.0, Some(3), 1.0, &[0, 1, 2]),
            (&uniform, 1.0, None, 1e-300, &[0]),
            (&certain, 1.0, None, 1.0, &[1]),
            (&certain, 1.0, None, 0.3, &[1]),
            (&certain, 1e-300, None, 0.3, &[1]),
            (&[0.0], 1.0, None, 0.3, &[]),
        ];
        for &(probs, temperature, top_k, top_p, kept) in rows {
            let options = Sampling { temperature, top_k, top_p };
            assert_eq!(support(probs, options), kept, "{probs:?} {options:?}");
        }
    }

    proptest! {
        #[test]
        fn the_nucleus_is_its_definition(
            weights in prop::collection::vec(0.01..1.0_f64, 1..40),
            top_p in 1e-6..1.0_f64,
        ) {
            let total: f64 = weights.iter().sum();
            let probs: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
            let kept = support(&probs, Sampling { top_p, ..Sampling::default() });
            prop_assert!(!kept.is_empty());
            for token in 0..probs.len() {
                // In, exactly when the more probable ones together fall short of the line.
                let above: f64 = probs.iter().filter(|&&p| p > probs[token]).sum();
                if (above - top_p).abs() > 1e-5 {
                    prop_assert_eq!(kept.contains(&(token as Token)), above < top_p);
                }
            }
        }

        #[test]
        fn a_draw_is_the_inverse_of_the_distribution(
            weights in prop::collection::vec(0.01..1.0_f64, 1..20),
            uniform in 0.0..1.0_f64,
        ) {
            let total: f64 = weights.iter().sum();
            let mut support = Support::default();
            let log_probs = weights.iter().map(|weight| (weight / total).ln() as f32);
            support.fill((0..).zip(log_probs), &Sampling::default());
            let (token, _) = support.draw(uniform).expect("there is a token");
            let before: f64 = weights[..token as usize].iter().sum::<f64>() / total;
            let with = before + weights[token as usize] / total;
            prop_assert!(before - 1e-5 <= uniform && uniform <= with + 1e-5);
            let (last, _) = support.draw(1.0).expect("there is a token");
            prop_assert_eq!(last as usize, weights.len() - 1);
        }
    }
}
