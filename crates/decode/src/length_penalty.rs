//! How scores of hypotheses of different lengths are made comparable: [`LengthPenalty`].

use crate::SettingError;

/// What a hypothesis's total log-probability is divided by, so that long ones can compete.
///
/// `length` is the number of tokens that were scored: the end of sequence counts, its beginning
/// does not. Every formula grows with the length (weakly), on which the stopping rule of the
/// [beam](crate::beam_search) rests, and is never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LengthPenalty {
    /// `1`: hypotheses compete by their probability.
    #[default]
    None,
    /// `length^alpha`: with `alpha = 1` the average log-probability of a token.
    Average {
        /// The exponent, finite and at least 0.
        alpha: f64,
    },
    /// `((5 + length) / (5 + 1))^alpha`: Wu et al. 2016, *Google's Neural Machine Translation
    /// System*, equation 14. They found exponents from 0.6 to 0.7 best.
    Gnmt {
        /// The exponent, finite and at least 0.
        alpha: f64,
    },
}

impl LengthPenalty {
    /// The score of a hypothesis of `length` scored tokens, made comparable.
    #[must_use]
    pub fn normalise(self, score: f64, length: usize) -> f64 {
        // Only a hypothesis that the model let have no token at all has length 0; its score is 0.
        let length = length.max(1) as f64;
        match self {
            Self::None => score,
            Self::Average { alpha } => score / length.powf(alpha),
            Self::Gnmt { alpha } => score / ((5.0 + length) / 6.0).powf(alpha),
        }
    }

    pub(crate) fn check(self) -> Result<(), SettingError> {
        match self {
            Self::Average { alpha } | Self::Gnmt { alpha } if !alpha.is_finite() || alpha < 0.0 => {
                Err(SettingError::LengthPenalty(alpha))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LengthPenalty::{Average, Gnmt, None};
    use approx::assert_relative_eq;

    #[test]
    fn formulas() {
        for (penalty, length, divisor) in [
            (None, 7, 1.0),
            (Average { alpha: 1.0 }, 4, 4.0),
            (Average { alpha: 0.5 }, 9, 3.0),
            (Average { alpha: 0.0 }, 9, 1.0),
            (Average { alpha: 1.0 }, 0, 1.0),
            (Gnmt { alpha: 1.0 }, 1, 1.0),
            (Gnmt { alpha: 1.0 }, 7, 2.0),
            (Gnmt { alpha: 2.0 }, 13, 9.0),
        ] {
            assert_relative_eq!(penalty.normalise(-6.0, length), -6.0 / divisor);
        }
    }
}
