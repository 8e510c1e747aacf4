//! Accuracy of tokens and of whole sequences, and perplexity.

/// A count of right answers among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// How many were right.
    pub correct: u64,
    /// How many there were.
    pub total: u64,
}

impl Accuracy {
    /// Adds a sequence token by token.
    ///
    /// The expected tokens are what counts: one that the prediction is too short for is wrong,
    /// and a prediction's tokens beyond them are not looked at.
    pub fn add_tokens<X: PartialEq>(&mut self, predicted: &[X], expected: &[X]) {
        let pairs = predicted.iter().zip(expected);
        self.correct += pairs.filter(|(predicted, expected)| predicted == expected).count() as u64;
        self.total += expected.len() as u64;
    }

    /// The fraction in [0, 1] that was right; `None` when there was nothing.
    pub fn fraction(self) -> Option<f64> {
        (self.total > 0).then(|| self.correct as f64 / self.total as f64)
    }
}

/// The perplexity per token, `exp(nll / tokens)`.
///
/// `negative_log_likelihood` is the sum over all tokens, in nats, without label smoothing. The
/// sum over the whole text comes first: the mean of batches' perplexities is another number.
/// `None` without tokens; infinite where the mean passes what `exp` can hold.
pub fn perplexity(negative_log_likelihood: f64, tokens: u64) -> Option<f64> {
    (tokens > 0).then(|| (negative_log_likelihood / tokens as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted() {
        let rows = [
            ("abc", "abc", 3, 3),
            ("abd", "abc", 2, 3),
            ("ab", "abc", 2, 3),
            ("abcd", "abc", 3, 3),
            ("bca", "abc", 0, 3),
            ("", "abc", 0, 3),
            ("", "", 0, 0),
        ];
        let mut all = Accuracy::default();
        for (predicted, expected, correct, total) in rows {
            let mut tokens = Accuracy::default();
            tokens.add_tokens(predicted.as_bytes(), expected.as_bytes());
            assert_eq!(tokens, Accuracy { correct, total }, "{predicted} for {expected}");
            all.add_tokens(predicted.as_bytes(), expected.as_bytes());
        }
        assert_eq!(all.fraction(), Some(10.0 / 18.0));
        assert_eq!(Accuracy::default().fraction(), None);
    }

    #[test]
    fn perplexity_of_a_uniform_choice_is_the_number_of_choices() {
        let nll = 5.0 * 7.0_f64.ln();
        approx::assert_relative_eq!(perplexity(nll, 5).expect("tokens"), 7.0, epsilon = 1e-12);
        assert_eq!(perplexity(0.0, 3), Some(1.0));
        assert_eq!(perplexity(0.0, 0), None);
        assert_eq!(perplexity(1e6, 1), Some(f64::INFINITY));
    }
}
