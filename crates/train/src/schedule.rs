//! Schedules: the learning rate, and the share of teacher forcing, as training goes on.

use serde::{Deserialize, Serialize};

use crate::config::must_be;

/// How the learning rate changes. The table `[training.schedule]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// It does not.
    // Braces, not a unit: serde lets unknown keys beside a unit pass.
    Constant {},
    /// It rises linearly over `warmup` updates to `learning_rate`, then falls with the inverse
    /// square root of the update (Vaswani et al. 2017, section 5.3, scaled so that the top is
    /// `learning_rate`).
    InverseSquareRoot {
        /// The updates until the top.
        warmup: u64,
    },
    /// It is multiplied by `factor` after every epoch.
    Exponential {
        /// Above 0, at most 1.
        factor: f64,
        /// The first epoch after which it falls, from 1.
        #[serde(default = "one")]
        from_epoch: u64,
    },
    /// It is multiplied by `factor` when `patience` validations in a row brought no new best.
    Plateau {
        /// Above 0, at most 1.
        factor: f64,
        /// How many validations without a new best are borne.
        patience: u64,
        /// It never falls below this.
        #[serde(default)]
        minimum: f64,
    },
}

fn one() -> u64 {
    1
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig::Constant {}
    }
}

impl ScheduleConfig {
    /// The key, below `training.schedule`, of a number that is impossible, and why.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let at_least_1 = |key, number: u64| (number == 0).then(|| (key, must_be("at least 1", 0)));
        let falls = |factor: f64| {
            let possible = factor > 0.0 && factor <= 1.0;
            (!possible).then(|| ("factor", must_be("above 0 and at most 1", factor)))
        };
        match *self {
            ScheduleConfig::Constant {} => None,
            ScheduleConfig::InverseSquareRoot { warmup } => at_least_1("warmup", warmup),
            ScheduleConfig::Exponential { factor, from_epoch } => {
                falls(factor).or(at_least_1("from_epoch", from_epoch))
            }
            ScheduleConfig::Plateau { factor, patience, minimum } => {
                let possible = minimum.is_finite() && minimum >= 0.0;
                let minimum = (!possible).then(|| ("minimum", must_be("at least 0", minimum)));
                falls(factor).or(at_least_1("patience", patience)).or(minimum)
            }
        }
    }

    /// The learning rate of an update (from 0) in an epoch (from 0), where plateaus have cut it
    /// `cuts` times.
    pub fn rate(&self, top: f64, update: u64, epoch: u64, cuts: u64) -> f64 {
        match *self {
            ScheduleConfig::Constant {} => top,
            ScheduleConfig::InverseSquareRoot { warmup } => {
                let (step, warmup) = ((update + 1) as f64, warmup as f64);
                top * f64::min(step / warmup, (warmup / step).sqrt())
            }
            ScheduleConfig::Exponential { factor, from_epoch } => {
                top * factor.powf((epoch + 1).saturating_sub(from_epoch) as f64)
            }
            ScheduleConfig::Plateau { factor, minimum, .. } => {
                f64::max(top * factor.powf(cuts as f64), minimum.min(top))
            }
        }
    }

    /// How many validations without a new best cut the rate; `None` when none do.
    pub fn patience(&self) -> Option<u64> {
        match self {
            ScheduleConfig::Plateau { patience, .. } => Some(*patience),
            _ => None,
        }
    }
}

/// How the share of true tokens that the decoder reads in training changes (Bengio et al. 2015,
/// "Scheduled sampling", section 2.4). The table `[training.teacher_forcing]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForcingConfig {
    /// The shape of the decay.
    pub decay: Decay,
    /// The share at the start.
    pub start: f64,
    /// The share that the decay ends at, or approaches.
    pub end: f64,
    /// How long the decay takes, in updates.
    pub updates: u64,
}

/// The shape of a decay from 1 at update 0 towards 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// None.
    Constant,
    /// A straight line, at 0 after `updates`.
    Linear,
    /// `kⁱ`, at 1% after `updates`.
    Exponential,
    /// `k / (k + exp(i/k))`, at a half near `updates / 2`, close to 0 after `updates`.
    InverseSigmoid,
}

impl Default for ForcingConfig {
    fn default() -> Self {
        ForcingConfig { decay: Decay::Constant, start: 1.0, end: 0.0, updates: 10_000 }
    }
}

impl ForcingConfig {
    /// The key, below `training.teacher_forcing`, of a number that is impossible, and why.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        for (key, share) in [("start", self.start), ("end", self.end)] {
            if !(0.0..=1.0).contains(&share) {
                return Some((key, must_be("between 0 and 1", share)));
            }
        }
        (self.updates == 0).then(|| ("updates", must_be("at least 1", 0)))
    }

    /// The share at an update, from 0.
    pub fn ratio(&self, update: u64) -> f64 {
        let progress = update as f64 / self.updates as f64;
        let left = match self.decay {
            Decay::Constant => return self.start,
            Decay::Linear => f64::max(1.0 - progress, 0.0),
            Decay::Exponential => 0.01f64.powf(progress),
            Decay::InverseSigmoid => {
                // k/(k + exp(i/k)) with k chosen so that the decay is over after `updates`; scaled
                // to start from 1.
                let k = 12.0;
                let at = |i: f64| k / (k + (i / k).exp());
                at(progress * k * 2.0 * f64::ln(k)) / at(0.0)
            }
        };
        self.end + (self.start - self.end) * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_their_formulas() {
        let noam = ScheduleConfig::InverseSquareRoot { warmup: 4 };
        let plateau = ScheduleConfig::Plateau { factor: 0.5, patience: 2, minimum: 0.2 };
        let exponential = ScheduleConfig::Exponential { factor: 0.5, from_epoch: 2 };
        // schedule, update, epoch, cuts, rate
        let rows = [
            (ScheduleConfig::Constant {}, 1000, 10, 0, 1.0),
            (noam, 0, 0, 0, 0.25),
            (noam, 3, 0, 0, 1.0),
            (noam, 15, 0, 0, 0.5),
            (exponential, 0, 0, 0, 1.0),
            (exponential, 0, 1, 0, 1.0),
            (exponential, 0, 3, 0, 0.25),
            (plateau, 0, 0, 0, 1.0),
            (plateau, 0, 0, 1, 0.5),
            (plateau, 0, 0, 9, 0.2),
        ];
        for (schedule, update, epoch, cuts, rate) in rows {
            approx::assert_relative_eq!(schedule.rate(1.0, update, epoch, cuts), rate);
        }
    }

    #[test]
    fn forcing_decays_from_start_to_end() {
        for decay in [Decay::Linear, Decay::Exponential, Decay::InverseSigmoid] {
            let forcing = ForcingConfig { decay, start: 0.9, end: 0.1, updates: 100 };
            approx::assert_relative_eq!(forcing.ratio(0), 0.9);
            assert!(forcing.ratio(100) < 0.2, "{decay:?} ends at {}", forcing.ratio(100));
            assert!(forcing.ratio(100_000) >= 0.1);
            for update in 1..200 {
                assert!(forcing.ratio(update) <= forcing.ratio(update - 1), "{decay:?}");
            }
        }
        let constant = ForcingConfig { start: 0.5, ..ForcingConfig::default() };
        assert_eq!(constant.ratio(12_345), 0.5);
    }
}
