//! Optimisers: from gradients to new parameters.
//!
//! Each follows PyTorch's definition of the same name, so that learning rates move between the two.

use ndarray::Array1;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use unspool_tensor::{Context, Gradient, ParamId, ParamStore, Real, RowGradient, vectorised};

use crate::config::must_be;

/// Which optimiser, with its numbers. The table `[training.optimiser]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimiserConfig {
    /// Stochastic gradient descent: `v ← momentum·v + g`, `w ← w - rate·v`.
    Sgd {
        /// How much of the last step goes on, 0 to 1.
        #[serde(default)]
        momentum: f64,
    },
    /// Adam (Kingma and Ba 2015, algorithm 1).
    Adam {
        /// The decay of the first moment, β₁.
        #[serde(default = "beta1")]
        beta1: f64,
        /// The decay of the second moment, β₂.
        #[serde(default = "beta2")]
        beta2: f64,
        /// What keeps the division finite, ε.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).
    #[serde(rename = "adamw")]
    AdamW {
        /// The decay of the first moment, β₁.
        #[serde(default = "beta1")]
        beta1: f64,
        /// The decay of the second moment, β₂.
        #[serde(default = "beta2")]
        beta2: f64,
        /// What keeps the division finite, ε.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// The share of a weight, times the learning rate, that each update takes away.
        #[serde(default = "weight_decay")]
        weight_decay: f64,
    },
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

fn weight_decay() -> f64 {
    0.01
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        OptimiserConfig::Adam { beta1: beta1(), beta2: beta2(), epsilon: epsilon() }
    }
}

impl OptimiserConfig {
    /// The key, below `training.optimiser`, of a number that is impossible, and why.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let (shares, epsilon, weight_decay) = match *self {
            OptimiserConfig::Sgd { momentum } => (vec![("momentum", momentum)], 1.0, 0.0),
            OptimiserConfig::Adam { beta1, beta2, epsilon } => {
                (vec![("beta1", beta1), ("beta2", beta2)], epsilon, 0.0)
            }
            OptimiserConfig::AdamW { beta1, beta2, epsilon, weight_decay } => {
                (vec![("beta1", beta1), ("beta2", beta2)], epsilon, weight_decay)
            }
        };
        for (key, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return Some((key, must_be("at least 0 and below 1", share)));
            }
        }
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return Some(("epsilon", must_be("above 0", epsilon)));
        }
        let possible = weight_decay.is_finite() && weight_decay >= 0.0;
        (!possible).then(|| ("weight_decay", must_be("at least 0", weight_decay)))
    }

    /// The names of the running averages that it keeps of every parameter.
    pub fn averages(&self) -> &'static [&'static str] {
        match self {
            OptimiserConfig::Sgd { momentum } if *momentum == 0.0 => &[],
            OptimiserConfig::Sgd { .. } => &["velocity"],
            OptimiserConfig::Adam { .. } | OptimiserConfig::AdamW { .. } => &["mean", "square"],
        }
    }
}

/// An optimiser with what it remembers.
#[derive(Clone, Debug)]
pub struct Optimiser<T: Real> {
    config: OptimiserConfig,
    /// By name of the average, then by parameter, flat.
    averages: Vec<Vec<Array1<T>>>,
    updates: u64,
}

/// What an update changes of a parameter: its value by its gradient, and its running averages.
struct Part<'a, T, G = &'a [T]> {
    weights: &'a mut [T],
    gradient: G,
    averages: Vec<&'a mut [T]>,
}

/// So many numbers of a parameter are updated by one thread at a time.
const CHUNK: usize = 1 << 14;

impl<T: Real> Optimiser<T> {
    /// One that remembers nothing yet.
    pub fn new(config: OptimiserConfig, params: &ParamStore<T>) -> Self {
        let zeros = || params.iter().map(|(_, _, value)| Array1::zeros(value.len())).collect();
        let averages = config.averages().iter().map(|_| zeros()).collect();
        Optimiser { config, averages, updates: 0 }
    }

    /// How many updates it has made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The running averages: their name, and one flat array for each parameter.
    pub fn averages(&self) -> impl Iterator<Item = (&'static str, &[Array1<T>])> {
        self.config.averages().iter().copied().zip(self.averages.iter().map(Vec::as_slice))
    }

    /// The running averages, to restore.
    pub fn averages_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut [Array1<T>])> {
        let names = self.config.averages().iter().copied();
        names.zip(self.averages.iter_mut().map(Vec::as_mut_slice))
    }

    /// Restores the number of updates.
    pub fn set_updates(&mut self, updates: u64) {
        self.updates = updates;
    }

    /// Changes the parameters that have a gradient by one update with this learning rate.
    ///
    /// Every number is updated on its own, so threads do not change the result. A gradient of rows
    /// gives the bits of the dense one: the other rows' averages decay, and move their weights.
    pub fn update(
        &mut self,
        context: &Context,
        params: &mut ParamStore<T>,
        gradients: &[(ParamId, Gradient<T>)],
        rate: f64,
    ) {
        self.updates += 1;
        let rule = Rule::new(self.config, self.updates, rate);
        let zeros = vec![T::zero(); CHUNK];
        context.install(|| {
            for (id, gradient) in gradients {
                let value = params.get_mut(*id);
                if !value.is_standard_layout() {
                    *value = value.as_standard_layout().into_owned().into_shared();
                }
                let averages = self.averages.iter_mut().map(|of| of[id.index()].as_slice_mut());
                let averages: Option<Vec<_>> = averages.collect();
                let (Some(weights), Some(averages)) = (value.as_slice_mut(), averages) else {
                    continue;
                };
                let standard;
                let gradient: Vec<&[T]> = match gradient {
                    Gradient::Dense(dense) => {
                        standard = dense.as_standard_layout();
                        standard.as_slice().unwrap_or_default().chunks(CHUNK).collect()
                    }
                    Gradient::Rows(rows) => with_zeros(rows, &zeros),
                };
                let parts = parts(Part { weights, gradient: (), averages }, gradient);
                parts.into_par_iter().for_each(|part| apply(&rule, part));
            }
        });
        params.pack_changed(context);
    }
}

/// The gradient in pieces from its first number to its last: rows that are there, and zeros.
fn with_zeros<'a, T: Real>(gradient: &'a RowGradient<T>, zeros: &'a [T]) -> Vec<&'a [T]> {
    let (mut pieces, mut next, width) = (Vec::new(), 0, gradient.width());
    let skip = |pieces: &mut Vec<&'a [T]>, rows: usize| {
        let count = rows * width;
        pieces.extend((0..count / zeros.len()).map(|_| zeros));
        pieces.push(&zeros[..count % zeros.len()]);
    };
    for (&row, numbers) in gradient.rows().iter().zip(gradient.numbers().chunks(width.max(1))) {
        skip(&mut pieces, row - next);
        pieces.push(numbers);
        next = row + 1;
    }
    skip(&mut pieces, gradient.shape()[0] - next);
    pieces
}

/// Cuts a parameter into parts, one for each piece of its gradient.
fn parts<'a, T>(whole: Part<'a, T, ()>, gradient: Vec<&'a [T]>) -> Vec<Part<'a, T>> {
    let Part { mut weights, mut averages, .. } = whole;
    let mut part = |gradient: &'a [T]| {
        let mut cut = |rest: &mut &'a mut [T]| rest.split_off_mut(..gradient.len());
        let averages = averages.iter_mut().map(&mut cut).collect::<Option<_>>()?;
        Some(Part { weights: cut(&mut weights)?, gradient, averages })
    };
    gradient.into_iter().map_while(&mut part).collect()
}

/// An update's numbers, in the precision of the parameters.
enum Rule<T> {
    Sgd { rate: T, momentum: T },
    Adam { rate: T, beta1: T, beta2: T, epsilon: T, root_correction: T, keep: T },
}

impl<T: Real> Rule<T> {
    fn new(config: OptimiserConfig, updates: u64, rate: f64) -> Self {
        let number = T::from_f64;
        let (beta1, beta2, epsilon, weight_decay) = match config {
            OptimiserConfig::Sgd { momentum } => {
                return Rule::Sgd { rate: number(rate), momentum: number(momentum) };
            }
            OptimiserConfig::Adam { beta1, beta2, epsilon } => (beta1, beta2, epsilon, 0.0),
            OptimiserConfig::AdamW { beta1, beta2, epsilon, weight_decay } => {
                (beta1, beta2, epsilon, weight_decay)
            }
        };
        // Both moments start from zero; dividing by 1 - βᵗ corrects for it.
        let correction = |beta: f64| 1.0 - beta.powf(updates as f64);
        Rule::Adam {
            rate: number(rate / correction(beta1)),
            beta1: number(beta1),
            beta2: number(beta2),
            epsilon: number(epsilon),
            root_correction: number(correction(beta2).sqrt()),
            keep: number(1.0 - rate * weight_decay),
        }
    }
}

vectorised! {
    /// Changes the weights, and the averages.
    fn apply<T: Real>(rule: &Rule<T>, part: Part<'_, T>) {
        let Part { weights, gradient, averages } = part;
        match (rule, averages.into_iter().collect::<Vec<_>>().as_mut_slice()) {
            (&Rule::Sgd { rate, .. }, []) => {
                for (w, &g) in weights.iter_mut().zip(gradient) {
                    *w -= rate * g;
                }
            }
            (&Rule::Sgd { rate, momentum }, [velocity]) => {
                for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(velocity.iter_mut()) {
                    *v = momentum * *v + g;
                    *w -= rate * *v;
                }
            }
            (
                &Rule::Adam { rate, beta1, beta2, epsilon, root_correction, keep },
                [mean, square],
            ) => {
                let moments = mean.iter_mut().zip(square.iter_mut());
                for ((w, &g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
                    *m = beta1 * *m + (T::one() - beta1) * g;
                    *v = beta2 * *v + (T::one() - beta2) * g * g;
                    let root = v.sqrt() / root_correction + epsilon;
                    *w = *w * keep - rate * *m / root;
                }
            }
            _ => {}
        }
    }
}
