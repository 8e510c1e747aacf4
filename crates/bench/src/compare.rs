//! Which of two kernels is faster, and whether that can be told.

use std::fmt;

use serde::{Deserialize, Serialize};
use unspool_tensor::random::Key;

use crate::measure::{Measurement, Mismatch, Settings, Turns};
use crate::statistics::{Draw, Interval, factor, ratio_of_medians};
use crate::workload::Workload;

/// What a comparison of A with B found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// A.
    pub a: Measurement,
    /// B.
    pub b: Measurement,
    /// How many times as fast as B is A: the median time of B over that of A.
    pub speed: Interval,
    /// The same of A against A: what noise and places in memory alone show.
    pub calibration: Interval,
    /// What follows.
    pub verdict: Verdict,
}

/// Which is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A is.
    AFaster,
    /// B is.
    BFaster,
    /// Nobody knows: the interval covers 1, or the ratio is within what A against A shows.
    NoDifference,
}

impl Verdict {
    /// The verdict on a ratio, given that of A against A.
    pub fn of(speed: &Interval, calibration: &Interval) -> Self {
        if speed.covers_one() || factor(speed.value) <= calibration.reach() {
            return Verdict::NoDifference;
        }
        match speed.value > 1.0 {
            true => Verdict::AFaster,
            // Where it is not a number, too.
            false if speed.value < 1.0 => Verdict::BFaster,
            false => Verdict::NoDifference,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (&self.a.identity, &self.b.identity);
        let Interval { value, low, high } = self.speed;
        let between = format!("95% between {low:.3} and {high:.3}");
        match self.verdict {
            Verdict::AFaster => {
                write!(f, "{} is {value:.3} times as fast as {} ({between}", a.variant, b.variant)?;
            }
            Verdict::BFaster => {
                let (value, between) =
                    (1.0 / value, format!("95% between {:.3} and {:.3}", 1.0 / high, 1.0 / low));
                write!(f, "{} is {value:.3} times as fast as {} ({between}", b.variant, a.variant)?;
            }
            Verdict::NoDifference => {
                write!(f, "no difference between {} and {} ", a.variant, b.variant)?;
                write!(f, "(ratio {value:.3}, {between}")?;
            }
        }
        let Interval { low, high, .. } = self.calibration;
        write!(f, "; {} against itself {low:.3} to {high:.3})", a.variant)
    }
}

/// Compares two workloads. Each round takes a sample of A, one of B and another one of A, in an
/// order that is shuffled; every few rounds, both have their operands elsewhere. The ratio of
/// medians has a bootstrap interval over these places; the two samples of A, drawn each by itself,
/// show what noise and places alone make of no difference at all.
///
/// # Errors
/// One of them gives a wrong answer.
pub fn compare(
    a: &mut dyn Workload,
    b: &mut dyn Workload,
    settings: &Settings,
    mut progress: impl FnMut(f64),
) -> Result<Comparison, Mismatch> {
    let run = Turns::new(&mut [a, b], &[0, 1, 0], settings, &mut progress);
    let [a, b] = [0, 1].map(|slot| run.measurement(slot, slot, settings));
    let key = Key::new(settings.seed).named("bootstrap");
    let [of_a, of_b, of_a_again] = [0, 1, 2].map(|slot| &run.samples[slot]);
    let speed = ratio_of_medians(of_b, of_a, Draw::Together, key.with(1));
    let calibration = ratio_of_medians(of_a_again, of_a, Draw::Apart, key.with(2));
    let verdict = Verdict::of(&speed, &calibration);
    Ok(Comparison { a: a?, b: b?, speed, calibration, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(value: f64, low: f64, high: f64) -> Interval {
        Interval { value, low, high }
    }

    #[test]
    fn a_difference_is_more_than_noise() {
        let quiet = interval(1.0, 0.99, 1.01);
        let noisy = interval(1.1, 0.9, 1.3);
        for (speed, calibration, verdict) in [
            (interval(1.2, 1.1, 1.3), quiet, Verdict::AFaster),
            (interval(0.8, 0.7, 0.9), quiet, Verdict::BFaster),
            (interval(1.2, 0.99, 1.3), quiet, Verdict::NoDifference),
            (interval(1.2, 1.1, 1.3), noisy, Verdict::NoDifference),
            (interval(1.0 / 1.2, 0.8, 0.9), noisy, Verdict::NoDifference),
            (interval(2.0, 1.9, 2.1), noisy, Verdict::AFaster),
            (interval(1.005, 1.004, 1.006), quiet, Verdict::NoDifference),
            (interval(f64::NAN, f64::NAN, f64::NAN), quiet, Verdict::NoDifference),
        ] {
            assert_eq!(Verdict::of(&speed, &calibration), verdict, "{speed:?} {calibration:?}");
        }
    }
}
