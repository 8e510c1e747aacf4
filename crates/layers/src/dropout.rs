//! The dropout layer.

use unspool_tensor::random::Key;
use unspool_tensor::{Error, Real, Result, Var};

use crate::Bound;

/// Sets each element to zero with probability `rate` and divides the others by `1 - rate`
/// (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014),
/// in training alone.
///
/// Which elements go is a function of the step's random key, the site's name and the element's
/// place in the whole batch.
#[derive(Clone, Debug)]
pub struct Dropout {
    rate: f64,
    site: String,
}

impl Dropout {
    /// Dropout at a named site, such as `"encoder.embedding.dropout"`; each site draws for itself.
    ///
    /// # Errors
    /// The rate is not in [0, 1).
    pub fn new(rate: f64, site: impl Into<String>) -> Result<Self> {
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::invalid("dropout", format!("a rate of {rate} is not in [0, 1)")));
        }
        Ok(Dropout { rate, site: site.into() })
    }

    /// A whole sequence `[T, B, ..]`, or one array `[B, ..]`, with elements dropped when the model
    /// trains, or else itself.
    ///
    /// # Errors
    /// None in practice: any shape will do.
    pub fn forward<'t, T: Real>(&self, bound: Bound<'t, T>, x: Var<'t, T>) -> Result<Var<'t, T>> {
        self.forward_at(bound, x, 0)
    }

    /// As [`forward`](Dropout::forward), for what begins at time step `first_time`: the steps of a
    /// sequence drop one by one what they drop together.
    ///
    /// # Errors
    /// None in practice: any shape will do.
    pub fn forward_at<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        x: Var<'t, T>,
        first_time: usize,
    ) -> Result<Var<'t, T>> {
        if !bound.is_training() || self.rate == 0.0 {
            return Ok(x);
        }
        x.dropout(self.rate, bound.key(&self.site), first_time)
    }

    /// The rate and the key, for a loop over time that drops by itself.
    pub fn mask<T: Real>(&self, bound: Bound<'_, T>) -> (f64, Key) {
        (self.rate, bound.key(&self.site))
    }

    /// The probability of a zero.
    pub fn rate(&self) -> f64 {
        self.rate
    }
}
