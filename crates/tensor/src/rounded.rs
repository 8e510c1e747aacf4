//! Numbers that know how far `f32` arithmetic would be off: running error analysis.

use std::fmt::{self, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use num_traits::{One, Zero};

use crate::Real;

/// Half of a unit in the last place of an `f32`: the largest relative error of one operation.
const U: f64 = 1.0 / (1u32 << 24) as f64;
/// What the fast `exp`, `tanh` and logistic function of `f32` are off at most, relatively: see
/// [`kernels::pointwise`](crate::kernels::pointwise).
const FAST: f64 = 3e-7;

/// A number in `f64`, and a bound of how far the same computation in `f32` is off: the running error
/// analysis of Wilkinson (see Higham, "Accuracy and stability of numerical algorithms", 2002,
/// section 3.3).
///
/// An op runs over these as over any [`Real`], forward and backward. What comes out says how near
/// its `f32` code must be to its `f64` code, element by element, without a tolerance that somebody
/// chose.
///
/// ```
/// use unspool_tensor::{Real, Rounded};
/// // 1e4 + 1 - 1e4 loses digits; the bound says how many.
/// let x = Rounded::exact(1e4) + Rounded::exact(1.0) / Rounded::exact(3.0) - Rounded::exact(1e4);
/// let single = f64::from(1e4_f32 + 1.0 / 3.0 - 1e4);
/// assert!((single - x.value).abs() <= x.error && x.error < 2e-3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rounded {
    /// The number.
    pub value: f64,
    /// How far `f32` arithmetic may be off it.
    pub error: f64,
}

impl Rounded {
    /// A number that `f32` holds exactly.
    pub const fn exact(value: f64) -> Self {
        Rounded { value, error: 0.0 }
    }

    /// A result that carries this error over from its operands and is rounded itself.
    fn new(value: f64, carried: f64, rounding: f64) -> Self {
        // Of exact operands, what f32 holds is not rounded: small whole numbers stay exact.
        // Infinity has no digits to lose.
        let exact = carried == 0.0 && rounding == U && f64::from(value as f32) == value;
        if exact || value.is_infinite() {
            return Rounded::exact(value);
        }
        Rounded { value, error: carried + rounding * (value.abs() + carried) }
    }
}

impl Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ± {:.1e}", self.value, self.error)
    }
}

impl PartialOrd for Rounded {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Add for Rounded {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        // Adding zero rounds nothing.
        let rounding = if self.is_zero() || b.is_zero() { 0.0 } else { U };
        Rounded::new(self.value + b.value, self.error + b.error, rounding)
    }
}

impl Sub for Rounded {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        self + -b
    }
}

impl Mul for Rounded {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        let carried =
            self.value.abs() * b.error + b.value.abs() * self.error + self.error * b.error;
        Rounded::new(self.value * b.value, carried, U)
    }
}

impl Div for Rounded {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        let value = self.value / b.value;
        // Where the divisor may be zero, so may anything be the quotient.
        let nearest = (b.value.abs() - b.error).max(0.0);
        let carried = match self.error + value.abs() * b.error {
            0.0 => 0.0,
            off => off / nearest,
        };
        Rounded::new(value, carried, U)
    }
}

impl Neg for Rounded {
    type Output = Self;
    fn neg(self) -> Self {
        Rounded { value: -self.value, error: self.error }
    }
}

macro_rules! rounded_assign {
    ($($trait:ident $method:ident $op:tt),*) => {$(
        impl $trait for Rounded {
            fn $method(&mut self, b: Self) {
                *self = *self $op b;
            }
        }
    )*};
}

rounded_assign!(
    AddAssign add_assign +,
    SubAssign sub_assign -,
    MulAssign mul_assign *,
    DivAssign div_assign /
);

impl Sum for Rounded {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Rounded::zero(), |a, b| a + b)
    }
}

impl Zero for Rounded {
    fn zero() -> Self {
        Rounded::exact(0.0)
    }
    fn is_zero(&self) -> bool {
        self.value == 0.0 && self.error == 0.0
    }
}

impl One for Rounded {
    fn one() -> Self {
        Rounded::exact(1.0)
    }
}

impl Real for Rounded {
    fn from_f64(x: f64) -> Self {
        // A constant of the op is rounded, but for those that f32 has.
        let exact = f64::from(x as f32) == x || !x.is_finite();
        Rounded { value: x, error: if exact { 0.0 } else { U * x.abs() } }
    }
    fn to_f64(self) -> f64 {
        self.value
    }
    fn exp(self) -> Self {
        let value = self.value.exp();
        Rounded::new(value, value * self.error.exp_m1(), FAST)
    }
    fn ln(self) -> Self {
        let carried = match self.error {
            0.0 => 0.0,
            error => error / (self.value - error).max(0.0),
        };
        Rounded::new(self.value.ln(), carried, 2.0 * U)
    }
    fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        let carried = match self.error {
            0.0 => 0.0,
            // |√(x + e) - √x| is at most √|e|, and e/√x away from zero.
            error => error.sqrt().min(error / root),
        };
        Rounded::new(root, carried, U)
    }
    fn tanh(self) -> Self {
        let value = self.value.tanh();
        // The slope between here and there is at most that at the nearer to zero.
        let nearest = (self.value.abs() - self.error).max(0.0).tanh();
        Rounded::new(value, (1.0 - nearest * nearest) * self.error, FAST)
    }
    fn sigmoid(self) -> Self {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let nearest = logistic((self.value.abs() - self.error).max(0.0));
        let carried = nearest * (1.0 - nearest) * self.error;
        Rounded::new(logistic(self.value), carried, FAST)
    }
    fn powf(self, exponent: Self) -> Self {
        let value = self.value.powf(exponent.value);
        let by_base = match self.error {
            0.0 => 0.0,
            error => (exponent.value * value / self.value).abs() * error * 1.01,
        };
        let by_exponent = match exponent.error {
            0.0 => 0.0,
            error => (value * self.value.ln()).abs() * error * 1.01,
        };
        Rounded::new(value, by_base + by_exponent, 4.0 * U)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    /// A computation with cancellation, division and every function.
    fn compute<T: Real>(x: T, y: T) -> T {
        let sum = (x + y).tanh() - (x * y).sigmoid();
        let root = (x * x + y * y + T::one()).sqrt();
        (sum.exp() / root).ln() * (x - y) + root.powf(x) - T::from_f64(0.1)
    }

    #[test]
    fn single_precision_stays_within_the_bound_and_the_bound_is_of_use() {
        let key = Key::new(6);
        for i in 0..2000 {
            let x = (4.0 * key.uniform(2 * i) - 2.0) as f32;
            let y = (4.0 * key.uniform(2 * i + 1) - 2.0) as f32;
            let exact = |x: f32| Rounded::exact(f64::from(x));
            let found = compute(exact(x), exact(y));
            let off = (f64::from(compute(x, y)) - found.value).abs();
            assert!((compute(f64::from(x), f64::from(y)) - found.value).abs() < 1e-12);
            assert!(off <= found.error, "{x}, {y}: {off:e} and {found}");
            assert!(found.error < 1e-4 * found.value.abs().max(1.0), "{x}, {y}: {found}");
        }
    }
}
