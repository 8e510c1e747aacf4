//! A derivative from values of a function alone, with a bound of its error.
//!
//! Central differences `D(h) = (f(h) - f(-h)) / 2h` have an error of even powers of h. Romberg's
//! scheme (Romberg 1955; for derivatives, Ridders 1982) takes steps that halve and eliminates one
//! power after the other. How much the last elimination changed bounds what is left; rounding, which
//! grows as h shrinks, is added; and the best of all steps and orders is taken.
//!
//! That says nothing of a kink, where left and right have different slopes and central differences
//! agree on their mean at every step. So the jump of the slope, `(f(h) - 2f(0) + f(-h)) / h`, is
//! taken to h = 0 in the same way (its error has odd powers): where it stays, there is no derivative.

use crate::Result;

/// The first step. Smaller ones are tried until the bound is good enough or rounding wins. Where
/// rounding wins too early, because the derivative is small beside the function, it is tried again
/// from the second of these.
///
/// No whole fractions: a function that repeats itself at these looks flat.
const FIRST_STEPS: [f64; 2] = [0.125 * 0.828_427, 0.828_427];
/// How much smaller a step is at which a derivative is confirmed: a function that is flat at large
/// steps may not be so at small ones.
const CONFIRMING: f64 = 1.0 / 64.0;
/// How often the step is halved at most: to 1e-10.
const MOST_HALVINGS: usize = 30;
/// How many powers of the step are eliminated at most.
const MOST_ORDERS: usize = 6;

/// A value of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// The value, less that at 0.
    pub value: f64,
    /// How large the terms are that it is a sum of: rounding is a share of this.
    pub size: f64,
}

/// A derivative, and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Derivative {
    /// The derivative.
    pub value: f64,
    /// What its error is at most, by estimate, where the function is smooth, and at a kink that of its
    /// slopes; infinite when there is no estimate.
    pub bound: f64,
    /// Why there may be no derivative here.
    pub doubt: Option<Doubt>,
}

/// Why a derivative cannot be told from values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// The slopes to the left and to the right differ.
    Kink {
        /// The slope to the left.
        left: f64,
        /// The slope to the right.
        right: f64,
    },
    /// The function jumps: the smaller the step, the steeper it looks.
    Jump,
    /// Rounding, or randomness, in the function's values hides the derivative.
    Noise,
    /// The function is not finite at any step on one side.
    NotFinite,
}

/// What is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// The bound at which to stop, as a share of `scale` or of the derivative if that is larger.
    pub tolerance: f64,
    /// How large such derivatives are.
    pub scale: f64,
    /// How far a value may be off, beside the rounding of its size.
    pub noise: f64,
    /// How large the number is that is moved: steps are rounded by a share of this.
    pub position: f64,
}

/// The derivative at 0 of `f`, which gives a value at a distance from 0; `None` where it is not
/// finite.
///
/// # Errors
/// Those of `f`.
pub fn differentiate(
    precision: Precision,
    mut f: impl FnMut(f64) -> Result<Option<Sample>>,
) -> Result<Derivative> {
    let near = attempt(FIRST_STEPS[0], precision, &mut f)?;
    if near.doubt != Some(Doubt::Noise) {
        return Ok(near);
    }
    let far = attempt(FIRST_STEPS[1], precision, &mut f)?;
    Ok(if far.bound < near.bound { far } else { near })
}

/// The derivative from steps that halve, beginning with `first`.
fn attempt(
    first: f64,
    precision: Precision,
    f: &mut impl FnMut(f64) -> Result<Option<Sample>>,
) -> Result<Derivative> {
    let mut slopes = Table::new(2);
    let mut jumps = Table::new(1);
    let mut best = Derivative { value: f64::NAN, bound: f64::INFINITY, doubt: None };
    let mut jump = Extrapolated { value: 0.0, error: f64::INFINITY };
    let mut growth = Vec::new();
    for halving in 0..=MOST_HALVINGS {
        let h = first / f64::from(1u32 << halving);
        let (Some(right), Some(left)) = (f(h)?, f(-h)?) else {
            // What was found with larger steps went over the edge of the domain.
            (slopes, jumps) = (Table::new(2), Table::new(1));
            continue;
        };
        let slope = (right.value - left.value) / (2.0 * h);
        let noise = precision.noise + f64::EPSILON * right.size.max(left.size);
        // The eliminations at most double what the smallest step's values are off.
        let rounding = (2.0 * noise + slope.abs() * f64::EPSILON * precision.position) / h;
        growth.push(slope.abs());
        slopes.add(slope);
        jumps.add((right.value + left.value) / h);
        let Some(found) = slopes.best() else { continue };
        let bound = found.error + rounding;
        if bound < best.bound {
            best = Derivative { value: found.value, bound, doubt: None };
            if let Some(found) = jumps.best() {
                // Three and a half times as much as in a slope, by the factors of odd powers.
                jump = Extrapolated { value: found.value, error: found.error + 7.0 * rounding };
            }
        }
        let wanted = precision.tolerance * precision.scale.max(best.value.abs());
        if best.bound <= 0.1 * wanted || rounding > best.bound {
            let near = CONFIRMING * h;
            let Some((right, left)) = f(near)?.zip(f(-near)?) else { break };
            // What is left of truncation falls with the square of the step.
            let truncation = (slope - best.value).abs() * CONFIRMING * CONFIRMING;
            let off = ((right.value - left.value) / (2.0 * near) - best.value).abs();
            if off <= 10.0 * truncation + 4.0 * rounding / CONFIRMING + best.bound {
                break;
            }
            best = Derivative { value: f64::NAN, bound: f64::INFINITY, doubt: None };
            (slopes, jumps) = (Table::new(2), Table::new(1));
        }
    }
    let wanted = precision.tolerance * precision.scale.max(best.value.abs());
    best.doubt = if best.bound.is_infinite() {
        Some(Doubt::NotFinite)
    } else if jump.value.abs() > wanted.max(2.0 * jump.error) {
        // The slopes on either side are known only as well as the jump.
        best.bound += jump.error;
        let (left, right) = (best.value - jump.value / 2.0, best.value + jump.value / 2.0);
        Some(Doubt::Kink { left, right })
    } else if best.bound > wanted && !is_zero(&best, precision) {
        let steeper = growth.windows(2).rev().take(4).all(|pair| pair[1] > 1.8 * pair[0]);
        Some(if steeper && growth.len() > 4 { Doubt::Jump } else { Doubt::Noise })
    } else {
        None
    };
    Ok(best)
}

/// Whether the derivative is as near to zero as rounding lets one see.
fn is_zero(found: &Derivative, precision: Precision) -> bool {
    precision.scale == 0.0 && found.value.abs() <= found.bound
}

/// How far the values of `f` are off, beside what rounding makes of their size: the noise level of
/// Moré and Wild ("Estimating computational noise", 2011), from differences of high order over a
/// few values near to each other, which of a smooth function are nothing but noise. Two spacings
/// find noise from one number to the next, and stairs such as those of `f32`. They are no powers of
/// two: at these, a sum of many equal terms rounds every value alike, and no difference shows it.
///
/// # Errors
/// Those of `f`.
pub fn noise(mut f: impl FnMut(f64) -> Result<Option<Sample>>) -> Result<f64> {
    const POINTS: usize = 10;
    const SPACINGS: [f64; 2] = [0.828_427 / (1u64 << 30) as f64, 0.828_427 / (1u64 << 14) as f64];
    let mut largest = 0.0_f64;
    for spacing in SPACINGS {
        let mut row = Vec::with_capacity(POINTS);
        for point in 1..=POINTS {
            match f(spacing * point as f64)? {
                Some(sample) => row.push(sample.value),
                None => return Ok(4.0 * largest),
            }
        }
        // γₖ = (k!)² / (2k)!, the share of noise's variance in that of the k-th difference. What a
        // smooth function adds falls with the order, so the smallest is noise.
        let (mut gamma, mut smallest) = (1.0, f64::INFINITY);
        for order in 1..=7_usize {
            row = row.windows(2).map(|pair| pair[1] - pair[0]).collect();
            gamma *= order as f64 / (2.0 * (2.0 * order as f64 - 1.0));
            if order >= 3 {
                let mean = row.iter().map(|d| d * d).sum::<f64>() / row.len() as f64;
                smallest = smallest.min((gamma * mean).sqrt());
            }
        }
        largest = largest.max(smallest);
    }
    Ok(4.0 * largest)
}

/// A number taken to step 0, and how much the last elimination changed it.
#[derive(Clone, Copy)]
struct Extrapolated {
    value: f64,
    error: f64,
}

/// Romberg's scheme: each row begins with a number at half the step of the row before, and every
/// further number in it has one more power of the step eliminated.
struct Table {
    /// The first power of the step in the error; the others follow by 2.
    first_power: i32,
    before: Vec<f64>,
    last: Vec<f64>,
}

impl Table {
    fn new(first_power: i32) -> Self {
        Table { first_power, before: Vec::new(), last: Vec::new() }
    }

    fn add(&mut self, number: f64) {
        self.before = std::mem::replace(&mut self.last, vec![number]);
        for (order, coarse) in self.before.iter().take(MOST_ORDERS).enumerate() {
            let fine = self.last[order];
            let factor = 2f64.powi(self.first_power + 2 * order as i32) - 1.0;
            self.last.push(fine + (fine - coarse) / factor);
        }
    }

    /// The number of the last row that the eliminations before it changed least.
    fn best(&self) -> Option<Extrapolated> {
        (2..self.last.len())
            .map(|order| {
                let value = self.last[order];
                let error = (value - self.last[order - 1]).abs();
                let error = error.max((value - self.before[order - 1]).abs());
                Extrapolated { value, error }
            })
            .min_by(|a, b| a.error.total_cmp(&b.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    const PRECISION: Precision =
        Precision { tolerance: 1e-9, scale: 0.0, noise: 0.0, position: 1.0 };

    fn at(f: impl Fn(f64) -> f64, x: f64) -> Derivative {
        let here = f(x);
        let sample = |t: f64| {
            let there = f(x + t);
            let sample = Sample { value: there - here, size: there.abs() };
            Ok(there.is_finite().then_some(sample))
        };
        let noise = noise(sample).unwrap();
        differentiate(Precision { noise, position: x.abs(), ..PRECISION }, sample).unwrap()
    }

    #[test]
    fn smooth_functions_are_within_their_bound_and_the_bound_is_small() {
        type Row = (&'static str, fn(f64) -> f64, fn(f64) -> f64, f64, f64);
        let rows: [Row; 9] = [
            ("exp", f64::exp, f64::exp, -3.0, 3.0),
            ("tanh", f64::tanh, |x| 1.0 - x.tanh().powi(2), -3.0, 3.0),
            ("ln", f64::ln, |x| 1.0 / x, 1e-4, 4.0),
            ("sqrt", f64::sqrt, |x| 0.5 / x.sqrt(), 1e-3, 4.0),
            ("inverse", |x| 1.0 / x, |x| -1.0 / (x * x), 0.05, 2.0),
            ("fast sine", |x| (50.0 * x).sin(), |x| 50.0 * (50.0 * x).cos(), -1.0, 1.0),
            ("square", |x| x * x, |x| 2.0 * x, -5.0, 5.0),
            ("cubic", |x| x * x * x - x, |x| 3.0 * x * x - 1.0, -2.0, 2.0),
            ("line", |x| 7.0 * x + 1e3, |_| 7.0, -2.0, 2.0),
        ];
        let key = Key::new(1);
        for (name, f, derivative, low, high) in rows {
            for i in 0..400 {
                let x = low + (high - low) * key.named(name).uniform(i);
                let (found, exact) = (at(f, x), derivative(x));
                let error = (found.value - exact).abs();
                assert!(error <= found.bound, "{name} at {x}: {found:?}, not {exact}");
                // Near a zero of the derivative there is no scale here to measure a bound by.
                let small = 1e-9 * exact.abs().max(1.0);
                assert!(found.bound <= small, "{name} at {x}: {found:?}, off by {error:e}");
                assert!(exact.abs() < 1e-3 || found.doubt.is_none(), "{name} at {x}: {found:?}");
            }
        }
    }

    /// The sum of many equal terms rounds more than the size of its result says.
    #[test]
    fn the_rounding_of_a_long_sum_is_noise() {
        for terms in [1072, 1400, 1500, 1700, 2000, 3000, 4000, 6000, 8000] {
            let sum = |x: f64| (0..terms).fold(0.0, |sum, _| sum + x);
            for x in [0.1, 0.3, 1.0 / 3.0, 0.7] {
                let (found, exact) = (at(sum, x), f64::from(terms));
                let error = (found.value - exact).abs();
                assert!(error <= found.bound, "{terms} terms of {x}: {found:?}");
                assert!(found.bound <= 1e-5 * exact, "{terms} terms of {x}: {found:?}");
            }
        }
    }

    #[test]
    fn what_is_flat_at_large_steps_is_not_taken_for_flat() {
        use std::f64::consts::PI;
        for frequency in [8.0, 16.0, 32.0, 32.0 / 0.828_427, 64.0] {
            let found = at(|x| (frequency * PI * x).sin(), 0.1);
            let exact = frequency * PI * (0.1 * frequency * PI).cos();
            assert!((found.value - exact).abs() <= found.bound, "{frequency}: {found:?}");
            assert!(found.bound <= 1e-7 * exact.abs(), "{frequency}: {found:?}");
        }
        for width in [1e-2, 3e-3, 1e-3] {
            let (bell, x) = (|x: f64| (-(x / width).powi(2) / 2.0).exp(), width / 2.0);
            let (found, exact) = (at(bell, x), -x / (width * width) * bell(x));
            assert!((found.value - exact).abs() <= found.bound, "{width}: {found:?}, not {exact}");
            // So narrow that it may look like noise.
            let small = found.bound <= 1e-7 * exact.abs();
            assert!(small || found.doubt == Some(Doubt::Noise), "{width}: {found:?}");
        }
    }

    #[test]
    fn kinks_jumps_noise_and_edges_are_told() {
        let kink = at(|x| if x > 0.0 { 3.0 * x } else { x.tanh() }, 0.0);
        let Some(Doubt::Kink { left, right }) = kink.doubt else { panic!("{kink:?}") };
        assert!((left - 1.0).abs() <= kink.bound && (right - 3.0).abs() <= kink.bound, "{kink:?}");
        assert!(kink.bound < 1e-3, "{kink:?}");
        // The mean of the slopes is what relu's gradient at 0 is not.
        assert!(matches!(at(|x: f64| x.max(0.0), 0.0).doubt, Some(Doubt::Kink { .. })));
        assert!(matches!(at(f64::abs, 0.0).doubt, Some(Doubt::Kink { .. })));
        // Beside a kink, however near, the derivative is there.
        for near in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5] {
            let found = at(|x: f64| x.max(0.0) + x * x, near);
            assert!(found.doubt.is_none(), "{near}: {found:?}");
            assert!((found.value - 1.0 - 2.0 * near).abs() <= found.bound, "{near}: {found:?}");
        }
        assert_eq!(at(|x| if x > 0.0 { 1.0 } else { 0.0 }, 0.0).doubt, Some(Doubt::Jump));
        assert_eq!(at(f64::sqrt, 0.0).doubt, Some(Doubt::NotFinite));
        let rough = |x: f64| (x as f32).sin() as f64;
        assert_eq!(at(rough, 0.7).doubt, Some(Doubt::Noise));
        // Flat is not noisy.
        assert_eq!(at(|_| 5.0, 0.3).doubt, None);
        assert_eq!(at(|_| 0.0, 0.3), Derivative { value: 0.0, bound: 0.0, doubt: None });
    }
}
