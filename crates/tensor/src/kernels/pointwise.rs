//! `exp`, `tanh` and the logistic function over slices: naive ones, and fast ones of `f32`, written
//! so that compilers vectorise them.
//!
//! The fast three come from one range reduction, `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`, and one
//! polynomial for `eʳ - 1`. Only multiplications, additions and divisions in a fixed order are
//! used, no fused multiply-add: every instruction set gives the same bits.

use crate::{Real, vectorised};

/// `exp`, `tanh` and the logistic function over slices, in the variant that a
/// [`Context`](crate::Context) asks for. Each replaces the elements of its slice.
#[derive(Clone, Copy, Debug)]
pub struct Pointwise<T> {
    /// The exponential.
    pub exp: fn(&mut [T]),
    /// The hyperbolic tangent.
    pub tanh: fn(&mut [T]),
    /// The logistic function.
    pub sigmoid: fn(&mut [T]),
}

impl<T: Real> Pointwise<T> {
    /// The fast variants: [`Real::exp_slice`] and its sisters.
    pub fn fast() -> Self {
        Pointwise { exp: T::exp_slice, tanh: T::tanh_slice, sigmoid: T::sigmoid_slice }
    }

    /// The specification: [`Real::exp`] and its sisters, element by element.
    pub fn naive() -> Self {
        Pointwise {
            exp: |xs| xs.iter_mut().for_each(|x| *x = x.exp()),
            tanh: |xs| xs.iter_mut().for_each(|x| *x = x.tanh()),
            sigmoid: |xs| xs.iter_mut().for_each(|x| *x = x.sigmoid()),
        }
    }
}

/// `tanh` and the logistic function of one number, to be compiled into the loops that need them: the
/// bits of [`Pointwise`], without a pass over memory for each function.
///
/// What implements it is marked `#[inline(always)]`.
pub trait Functions<T>: Copy + Send + Sync {
    /// The hyperbolic tangent.
    fn tanh(self, x: T) -> T;
    /// The logistic function.
    fn sigmoid(self, x: T) -> T;
}

/// The functions of [`Pointwise::fast`].
#[derive(Clone, Copy, Debug)]
pub struct Fast;

impl<T: Real> Functions<T> for Fast {
    #[inline(always)]
    fn tanh(self, x: T) -> T {
        x.fast_tanh()
    }

    #[inline(always)]
    fn sigmoid(self, x: T) -> T {
        x.fast_sigmoid()
    }
}

/// The functions of [`Pointwise::naive`].
#[derive(Clone, Copy, Debug)]
pub struct Naive;

impl<T: Real> Functions<T> for Naive {
    #[inline(always)]
    fn tanh(self, x: T) -> T {
        x.tanh()
    }

    #[inline(always)]
    fn sigmoid(self, x: T) -> T {
        x.sigmoid()
    }
}

macro_rules! each {
    ($(#[$meta:meta])* $name:ident by $function:ident) => {
        vectorised! {
            $(#[$meta])*
            pub fn $name(xs: &mut [f32]) {
                xs.iter_mut().for_each(|x| *x = $function(*x));
            }
        }
    };
}

each! {
    /// Replaces each element by its exponential; relative error below 2.5e-7.
    exp_slice by exp
}
each! {
    /// Replaces each element by its hyperbolic tangent; error below 2.5e-7 relative.
    tanh_slice by tanh
}
each! {
    /// Replaces each element by its logistic function; relative error below 3e-7, or absolute below
    /// 4e-39.
    sigmoid_slice by sigmoid
}

/// `(q, n)` with `eˣ = 2ⁿ·(1 + q)` and `|q| < 0.42`; n is returned as a whole `f32`.
#[inline(always)]
fn reduce(x: f32) -> (f32, f32) {
    // Adding 1.5·2²³ pushes the fraction out of the mantissa: rounding to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few bits, so n times it is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // The Taylor series of eʳ - 1; the first term left out is below 1e-9.
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    (r + r * r * series, n)
}

/// 2 to the whole power n, for -126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    // 2²³ is where a mantissa's last bit counts ones, so the low bits of n + 127 + 2²³ are the
    // exponent.
    let exponent = (n + (127.0 + 8_388_608.0)).to_bits();
    f32::from_bits(exponent << 23)
}

#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    // Comparisons are written so that NaN passes through.
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
fn exp(x: f32) -> f32 {
    let (q, n) = reduce(clamp(x, -104.0, 89.0));
    // In two halves, for the largest results and the denormal ones.
    let half = (n * 0.5 + 12_582_912.0) - 12_582_912.0;
    (1.0 + q) * power_of_two(half) * power_of_two(n - half)
}

/// One element of [`tanh_slice`].
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // tanh x = -m / (2 + m) with m = e^(-2x) - 1, on |x|; exact for small x because q is.
    let (q, n) = reduce(clamp(-2.0 * x.abs(), -30.0, 0.0));
    let scale = power_of_two(n);
    let m = scale * q + (scale - 1.0);
    let t = -m / (2.0 + m);
    t.copysign(x)
}

/// One element of [`sigmoid_slice`].
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 251st `f32`, both signs, denormals and infinities included; the others have their turn
    /// in `tests/every_float.rs`.
    fn sample() -> Vec<f32> {
        (0..=u32::MAX).step_by(251).map(f32::from_bits).collect()
    }

    fn check(
        name: &str,
        fast: fn(&mut [f32]),
        exact: fn(f64) -> f64,
        relative: f64,
        absolute: f64,
    ) {
        let xs = sample();
        let mut ys = xs.clone();
        fast(&mut ys);
        for (&x, &y) in xs.iter().zip(&ys) {
            let wanted = exact(f64::from(x));
            if wanted.is_nan() {
                assert!(y.is_nan(), "{name}({x}) = {y}");
                continue;
            }
            if wanted > f64::from(f32::MAX) {
                assert!(y > 3.4e38, "{name}({x}) = {y}");
                continue;
            }
            let bound = relative * wanted.abs() + absolute;
            assert!(
                (f64::from(y) - wanted).abs() <= bound,
                "{name}({x:e}) = {y:e}, not {wanted:e}"
            );
        }
    }

    #[test]
    fn all_three_keep_their_bounds_over_the_floats() {
        check("exp", exp_slice, f64::exp, 2.5e-7, 3e-45);
        check("tanh", tanh_slice, f64::tanh, 2.5e-7, 0.0);
        check("sigmoid", sigmoid_slice, |x| 1.0 / (1.0 + (-x).exp()), 3e-7, 4e-39);
    }

    #[test]
    fn special_values() {
        let mut xs = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, 1000.0, -1000.0];
        tanh_slice(&mut xs);
        assert_eq!(xs, [0.0, -0.0, 1.0, -1.0, 1.0, -1.0]);
        assert!(xs[1].is_sign_negative());
        let mut xs = [0.0, f32::INFINITY, f32::NEG_INFINITY, 100.0, -200.0];
        exp_slice(&mut xs);
        assert_eq!(xs, [1.0, f32::INFINITY, 0.0, f32::INFINITY, 0.0]);
    }
}
