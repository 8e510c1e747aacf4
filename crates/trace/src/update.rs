//! What happens behind the backward pass: how the parameters are changed, in formulas and as a function.

use std::fmt;
use std::sync::Arc;

use unspool_tensor::Tensor;

use crate::error::Result;
use crate::explain::Symbol;
use crate::notation::{Formula, NotationError};

/// A parameter, as an update is given it.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value; the update changes it.
    pub value: Tensor<f64>,
    /// Its gradient; `None` when none reached it.
    pub gradient: Option<Tensor<f64>>,
}

/// How parameters are updated: the same parameters and gradients give the same values each time.
///
/// ```
/// use unspool_trace::UpdateRule;
///
/// # fn main() -> Result<(), unspool_trace::NotationError> {
/// let signs = UpdateRule::new("Steps of one size", 0.01, |parameters| {
///     for parameter in parameters {
///         if let Some(d) = &parameter.gradient {
///             parameter.value.zip_mut_with(d, |w, d| *w -= 0.01 * d.signum());
///         }
///     }
///     Ok(())
/// })
/// .formula("w' = w − rate·sign(d_w)")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct UpdateRule {
    pub(crate) title: String,
    pub(crate) rate: f64,
    pub(crate) formulas: Vec<Formula>,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) change: Arc<Change>,
}

type Change = dyn Fn(&mut [Parameter]) -> Result<()> + Send + Sync;

impl fmt::Debug for UpdateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpdateRule({}, rate {})", self.title, self.rate)
    }
}

impl UpdateRule {
    /// A rule, by its name in words, its learning rate, and the function that it is.
    pub fn new(
        title: impl Into<String>,
        rate: f64,
        change: impl Fn(&mut [Parameter]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (title, change) = (title.into(), Arc::new(change));
        UpdateRule { title, rate, formulas: Vec::new(), symbols: Vec::new(), change }
    }

    /// Plain gradient descent: `w' = w − rate·d_w`.
    pub fn descent(rate: f64) -> Self {
        let rule = UpdateRule::new("gradient descent", rate, move |parameters| {
            for parameter in parameters {
                if let Some(d) = &parameter.gradient {
                    parameter.value.zip_mut_with(d, |w, &d| *w -= rate * d);
                }
            }
            Ok(())
        });
        let formula = format!("w' = w − {rate}·d_w").parse();
        UpdateRule { formulas: formula.into_iter().collect(), ..rule }
    }

    /// The same with a further formula, in the order of computing.
    ///
    /// # Errors
    /// The text is no formula.
    pub fn formula(mut self, formula: &str) -> Result<Self, NotationError> {
        self.formulas.push(formula.parse()?);
        Ok(self)
    }

    /// The same with a letter of the formulas, and what it is.
    pub fn symbol(mut self, name: impl Into<String>, meaning: impl Into<String>) -> Self {
        self.symbols.push(Symbol { name: name.into(), meaning: meaning.into() });
        self
    }
}
