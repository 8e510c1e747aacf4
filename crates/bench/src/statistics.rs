//! Medians, quartiles, and how sure a ratio of medians is.

use serde::{Deserialize, Serialize};
use unspool_tensor::random::Key;

/// How samples are spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub least: f64,
    /// A quarter of the samples is below it.
    pub lower: f64,
    /// Half of the samples is below it.
    pub median: f64,
    /// Three quarters of the samples are below it.
    pub upper: f64,
    /// How many samples there are.
    pub count: usize,
}

impl Spread {
    /// The spread of samples; of none, all are NaN.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [least, lower, median, upper] =
            [0.0, 0.25, 0.5, 0.75].map(|share| quantile(&sorted, share));
        Spread { least, lower, median, upper, count: samples.len() }
    }

    /// The distance between the quartiles, as a share of the median.
    pub fn relative(&self) -> f64 {
        (self.upper - self.lower) / self.median
    }
}

/// The median; NaN of nothing.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// The number that this share of sorted samples is below, between two of them where it falls
/// there: definition 7 of Hyndman and Fan, "Sample quantiles in statistical packages" (1996).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let below = place.floor();
    let [low, high] = [below as usize, place.ceil() as usize].map(|at| sorted[at.min(last)]);
    low + (place - below) * (high - low)
}

/// A number, and between what it is with a confidence of 95%.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether 1, a ratio of equals, is in it.
    pub fn covers_one(&self) -> bool {
        self.low <= 1.0 && 1.0 <= self.high
    }

    /// How far a ratio is from 1 at most, as a factor of at least 1.
    pub fn reach(&self) -> f64 {
        factor(self.low).max(factor(self.high))
    }
}

/// How far a ratio is from 1, as a factor of at least 1.
pub fn factor(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}

/// How samples of two kinds are drawn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Those of the same rounds.
    Together,
    /// Each kind by itself: its samples stand for what another time, and another place, would give.
    Apart,
}

/// How often samples are drawn again.
const RESAMPLES: usize = 2000;
/// What is outside the interval on either side.
const TAIL: f64 = 0.025;

/// `median(above) / median(below)` with its confidence interval, for samples taken in turns:
/// number `i` of both ran at about the same time.
///
/// The interval is the percentile bootstrap's (Efron and Tibshirani, *An Introduction to the
/// Bootstrap*, 1993, §13.3). Rounds are drawn in circular blocks of about the cube root of their
/// number (Politis and Romano, "A circular block-resampling procedure for stationary data", 1992),
/// so that samples of one place in memory, and those of a disturbance that lasts several rounds,
/// are not taken for as many independent ones. Drawn [`Together`](Draw::Together), what slows both
/// down cancels.
pub fn ratio_of_medians(above: &[f64], below: &[f64], draw: Draw, key: Key) -> Interval {
    let count = above.len().min(below.len());
    let value = median(&above[..count]) / median(&below[..count]);
    if count < 2 {
        return Interval { value, low: 0.0, high: f64::INFINITY };
    }
    let block = (count as f64).cbrt().round().max(1.0) as usize;
    let mut ratios = Vec::with_capacity(RESAMPLES);
    let (mut drawn_above, mut drawn_below) = (Vec::new(), Vec::new());
    for resample in 0..RESAMPLES as u64 {
        let key = key.with(resample);
        drawn_above.clear();
        drawn_below.clear();
        for number in 0..count.div_ceil(block) as u64 {
            let rounds = |key: Key| {
                let start = key.below(number, count as u64) as usize;
                (start..start + block).map(|at| at % count)
            };
            let other = if draw == Draw::Together { key } else { key.named("apart") };
            drawn_above.extend(rounds(key).map(|at| above[at]));
            drawn_below.extend(rounds(other).map(|at| below[at]));
        }
        ratios.push(median_in(&mut drawn_above) / median_in(&mut drawn_below));
    }
    ratios.sort_by(f64::total_cmp);
    let [low, high] = [TAIL, 1.0 - TAIL].map(|share| quantile(&ratios, share));
    Interval { value, low, high }
}

/// The upper median, which leaves the samples in another order.
fn median_in(samples: &mut [f64]) -> f64 {
    let middle = samples.len() / 2;
    *samples.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of work that takes 1, on a machine that others use: noise, slow phases, and rare
    /// interruptions.
    fn times(key: Key, count: usize) -> Vec<f64> {
        let time = |i: usize| {
            let [noise, interruption] = [0, 1].map(|k| key.uniform(2 * i as u64 + k));
            let slow_phase = if (i / 10) % 3 == 1 { 0.1 } else { 0.0 };
            1.0 + 0.05 * noise + slow_phase + if interruption < 0.03 { 2.0 } else { 0.0 }
        };
        (0..count).map(time).collect()
    }

    #[test]
    fn quantiles_are_those_of_definition_seven() {
        let rows: [(&[f64], [f64; 4]); 4] = [
            (&[3.0], [3.0; 4]),
            (&[2.0, 1.0], [1.0, 1.25, 1.5, 1.75]),
            (&[4.0, 1.0, 3.0, 2.0], [1.0, 1.75, 2.5, 3.25]),
            (&[5.0, 1.0, 2.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0]),
        ];
        for (samples, [least, lower, median, upper]) in rows {
            let expected = Spread { least, lower, median, upper, count: samples.len() };
            assert_eq!(Spread::of(samples), expected);
            assert_eq!(super::median(samples), median);
        }
        assert!(Spread::of(&[]).median.is_nan());
    }

    #[test]
    fn intervals_cover_equals_and_not_what_differs() {
        let trials = 100;
        // A factor, and in how many trials of 100 the interval may cover 1.
        for (slower, covered) in [(1.0, 90..=100), (1.05, 0..=10), (1.0 / 1.1, 0..=0)] {
            let covering = (0..trials).filter(|&trial| {
                let key = Key::new(trial);
                let below = times(key.with(1), 101);
                let above: Vec<_> = times(key.with(2), 101).iter().map(|t| slower * t).collect();
                let found = ratio_of_medians(&above, &below, Draw::Together, key.with(3));
                assert!(found.low <= found.value && found.value <= found.high, "{found:?}");
                found.covers_one()
            });
            let covering = covering.count();
            assert!(covered.contains(&covering), "{slower}: {covering} of {trials} cover 1");
        }
    }

    #[test]
    fn a_better_place_is_no_difference() {
        let trials = 100;
        for draw in [Draw::Together, Draw::Apart] {
            let covering = (0..trials).filter(|&trial| {
                let key = Key::new(trial);
                let of = |key: Key| -> Vec<f64> {
                    let place = |i: usize| 1.0 + 0.08 * key.with(1).uniform(i as u64 / 4);
                    let noise = times(key, 100).into_iter().enumerate();
                    noise.map(|(i, time)| place(i) * time).collect()
                };
                let [above, below] = [2, 3].map(|of_kind| of(key.with(of_kind)));
                ratio_of_medians(&above, &below, draw, key.with(4)).covers_one()
            });
            let covering = covering.count();
            assert!(covering >= 90, "{draw:?}: {covering} of {trials} cover 1");
        }
    }

    #[test]
    fn too_few_samples_say_nothing() {
        for samples in [&[][..], &[1.0]] {
            let found = ratio_of_medians(samples, samples, Draw::Apart, Key::new(1));
            assert!(found.covers_one());
        }
    }
}
