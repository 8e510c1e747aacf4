//! Numbers of twice the precision of `f64`: pairs of doubles.

use std::fmt::{self, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use num_traits::{One, Zero};

use crate::Real;

/// ln 2.
const LN_2: DoubleDouble =
    DoubleDouble { high: std::f64::consts::LN_2, low: 2.319_046_813_846_299_6e-17 };
/// The argument of the exponential's series is halved this often, and its sum squared as often.
const HALVINGS: i32 = 8;

/// A number `high + low`, the second at most half a unit in the last place of the first: 106 bits,
/// about 31 digits (Dekker, "A floating-point technique for extending the available precision",
/// 1971).
///
/// Finite differences of an op over these do not drown in rounding where a gradient is small beside
/// the function. The algorithms are those of Joldes, Muller and Popescu, "Tight and rigorous error
/// bounds for basic building blocks of double-word arithmetic" (2017); functions are good to about
/// 1e-30, and to that of `f64` where exponentials near the ends of its range are in them. What is not finite has no low part.
///
/// ```
/// use unspool_tensor::{DoubleDouble, Real};
/// let one = DoubleDouble::from_f64(1.0);
/// let tiny = DoubleDouble::from_f64(1e-25);
/// assert_eq!(((one + tiny) - one).to_f64(), 1e-25);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct DoubleDouble {
    high: f64,
    low: f64,
}

/// `a + b`, exactly.
fn two_sum(a: f64, b: f64) -> DoubleDouble {
    let high = a + b;
    if !high.is_finite() {
        return DoubleDouble { high, low: 0.0 };
    }
    let (from_a, from_b) = (high - b, high - (high - b));
    DoubleDouble { high, low: (a - from_a) + (b - from_b) }
}

/// `a + b`, exactly, where a is the larger.
fn fast_two_sum(a: f64, b: f64) -> DoubleDouble {
    let high = a + b;
    if !high.is_finite() {
        return DoubleDouble { high, low: 0.0 };
    }
    DoubleDouble { high, low: b - (high - a) }
}

impl DoubleDouble {
    /// A power of two times the number, exactly.
    fn scaled(self, exponent: i32) -> Self {
        // In two steps, so that neither overflows before the product does.
        let (half, rest) = (exponent / 2, exponent - exponent / 2);
        let scale = |x: f64| x * 2f64.powi(half) * 2f64.powi(rest);
        let high = scale(self.high);
        DoubleDouble { high, low: if high.is_finite() { scale(self.low) } else { 0.0 } }
    }

    /// `exp(self) - 1` for arguments at most 0.4 in size, relatively as exact as the number.
    fn small_exp_m1(self) -> Self {
        let x = self.scaled(-HALVINGS);
        // x + x²/2! + x³/3! + …: at most 0.4/256 to the 12th and over 12! is below 1e-42.
        let one = DoubleDouble::one();
        let mut sum = DoubleDouble::zero();
        for order in (1..=11).rev() {
            sum = (sum + one) * x / DoubleDouble::from_f64(f64::from(order));
        }
        // exp(2x) - 1 = (exp(x) - 1)² + 2(exp(x) - 1)
        (0..HALVINGS).fold(sum, |sum, _| sum * sum + sum.scaled(1))
    }

    /// The number to the power of a whole exponent, by repeated squaring.
    fn power(self, exponent: u32) -> Self {
        let (mut result, mut base) = (DoubleDouble::one(), self);
        let mut rest = exponent;
        while rest > 0 {
            if rest % 2 == 1 {
                result *= base;
            }
            base *= base;
            rest /= 2;
        }
        result
    }
}

impl Display for DoubleDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:+e}", self.high, self.low)
    }
}

impl Add for DoubleDouble {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        let (s, t) = (two_sum(self.high, b.high), two_sum(self.low, b.low));
        let v = fast_two_sum(s.high, s.low + t.high);
        fast_two_sum(v.high, t.low + v.low)
    }
}

impl Sub for DoubleDouble {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        self + -b
    }
}

impl Mul for DoubleDouble {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        let high = self.high * b.high;
        if !high.is_finite() {
            return DoubleDouble { high, low: 0.0 };
        }
        let rounded_away = self.high.mul_add(b.high, -high);
        let crossed = self.low.mul_add(b.high, self.high.mul_add(b.low, self.low * b.low));
        fast_two_sum(high, rounded_away + crossed)
    }
}

impl Div for DoubleDouble {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        let first = self.high / b.high;
        if !first.is_finite() || !b.high.is_finite() {
            return DoubleDouble { high: first, low: 0.0 };
        }
        // Long division: each digit is a double.
        let rest = self - b * DoubleDouble::from_f64(first);
        let second = rest.high / b.high;
        let rest = rest - b * DoubleDouble::from_f64(second);
        fast_two_sum(first, second) + DoubleDouble::from_f64(rest.high / b.high)
    }
}

impl Neg for DoubleDouble {
    type Output = Self;
    fn neg(self) -> Self {
        DoubleDouble { high: -self.high, low: -self.low }
    }
}

macro_rules! double_double_assign {
    ($($trait:ident $method:ident $op:tt),*) => {$(
        impl $trait for DoubleDouble {
            fn $method(&mut self, b: Self) {
                *self = *self $op b;
            }
        }
    )*};
}

double_double_assign!(
    AddAssign add_assign +,
    SubAssign sub_assign -,
    MulAssign mul_assign *,
    DivAssign div_assign /
);

impl Sum for DoubleDouble {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(DoubleDouble::zero(), |a, b| a + b)
    }
}

impl Zero for DoubleDouble {
    fn zero() -> Self {
        DoubleDouble::default()
    }
    fn is_zero(&self) -> bool {
        self.high == 0.0
    }
}

impl One for DoubleDouble {
    fn one() -> Self {
        DoubleDouble::from_f64(1.0)
    }
}

impl Real for DoubleDouble {
    fn from_f64(x: f64) -> Self {
        DoubleDouble { high: x, low: 0.0 }
    }
    fn to_f64(self) -> f64 {
        self.high
    }
    fn exp(self) -> Self {
        // Where f64 overflows or vanishes, so does this; the margin keeps the low part normal.
        if !(-650.0..=709.0).contains(&self.high) {
            return DoubleDouble::from_f64(self.high.exp());
        }
        let halvings = (self.high / std::f64::consts::LN_2).round();
        let rest = self - LN_2 * DoubleDouble::from_f64(halvings);
        (rest.small_exp_m1() + DoubleDouble::one()).scaled(halvings as i32)
    }
    fn ln(self) -> Self {
        let near = DoubleDouble::from_f64(self.high.ln());
        if !near.high.is_finite() {
            return near;
        }
        // A step of Newton's on exp(y) = x doubles the digits.
        near + (self * (-near).exp() - DoubleDouble::one())
    }
    fn sqrt(self) -> Self {
        let near = DoubleDouble::from_f64(self.high.sqrt());
        if near.high == 0.0 || !near.high.is_finite() {
            return near;
        }
        near + (self - near * near) / near.scaled(1)
    }
    fn tanh(self) -> Self {
        if self.high.is_nan() || self.high.abs() >= 40.0 {
            return DoubleDouble::from_f64(self.high.tanh());
        }
        let twice = self.magnitude().scaled(1);
        // tanh(x) = (exp(2x) - 1) / (exp(2x) + 1)
        let e = match twice.high < 0.35 {
            true => twice.small_exp_m1(),
            false => twice.exp() - DoubleDouble::one(),
        };
        let t = e / (e + DoubleDouble::from_f64(2.0));
        if self.high < 0.0 { -t } else { t }
    }
    fn powf(self, exponent: Self) -> Self {
        let value = self.high.powf(exponent.high);
        let whole = exponent.high.fract() == 0.0 && exponent.low == 0.0;
        if whole && exponent.high.abs() <= f64::from(u16::MAX) {
            let power = self.power(exponent.high.abs() as u32);
            return if exponent.high < 0.0 { DoubleDouble::one() / power } else { power };
        }
        if self.high > 0.0 && value.is_finite() && value > 0.0 {
            return (exponent * self.ln()).exp();
        }
        DoubleDouble::from_f64(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    fn number(x: f64) -> DoubleDouble {
        DoubleDouble::from_f64(x)
    }

    /// A random number with both parts.
    fn random(key: Key, i: u64, size: f64) -> DoubleDouble {
        let (high, low) = (key.uniform(2 * i), key.uniform(2 * i + 1));
        two_sum(size * (2.0 * high - 1.0), size * (low - 0.5) * 1e-17)
    }

    #[track_caller]
    fn near(a: DoubleDouble, b: DoubleDouble, relative: f64) {
        let off = (a - b).to_f64().abs();
        assert!(off <= relative * b.to_f64().abs(), "{a} and {b}: {off:e}");
    }

    #[test]
    fn arithmetic_keeps_31_digits() {
        let key = Key::new(1);
        for i in 0..1000 {
            let [a, b, c] = [0, 1, 2].map(|which| random(key.with(which), i, 3.0));
            near((a + b) - b, a, 1e-30 * (1.0 + (b.high / a.high).abs()));
            near((a * b) / b, a, 1e-30);
            near((a + b) * c, a * c + b * c, 1e-30 * (1.0 + (a.high / (a + b).high).abs()) * 4.0);
            near((a * a).sqrt(), a.magnitude(), 1e-30);
        }
        // A third has no end; what is missing is beyond the 31st digit.
        near(number(1.0) / number(3.0) * number(3.0), number(1.0), 1e-31);
    }

    #[test]
    fn functions_invert_and_add_as_they_should() {
        let e = DoubleDouble { high: std::f64::consts::E, low: 1.445_646_891_729_250_2e-16 };
        near(number(1.0).exp(), e, 1e-30);
        near(e.ln(), number(1.0), 1e-30);
        near(number(2.0).ln(), LN_2, 1e-30);
        let key = Key::new(2);
        for i in 0..1000 {
            let (x, y) = (random(key, i, 20.0), random(key.with(1), i, 20.0));
            near((x + y).exp(), x.exp() * y.exp(), 1e-28);
            near(x.magnitude().ln().exp(), x.magnitude(), 1e-29);
            near(number(x.tanh().to_f64()), number(x.to_f64().tanh()), 1e-15);
            // tanh(2x) = 2 tanh(x) / (1 + tanh²(x)), also near to zero.
            for x in [x, x.scaled(-7), x.scaled(-40)] {
                let t = x.tanh();
                near(x.scaled(1).tanh(), t.scaled(1) / (number(1.0) + t * t), 1e-29);
            }
            near(x.sigmoid() + (-x).sigmoid(), number(1.0), 1e-30);
            let size = x.magnitude();
            near(size.powf(number(2.5)), size * size * size.sqrt(), 1e-28);
            near(x.powf(number(-3.0)) * x * x * x, number(1.0), 1e-29);
        }
    }

    #[test]
    fn what_is_not_finite_is_as_in_f64() {
        let (inf, nan) = (number(f64::INFINITY), number(f64::NAN));
        assert_eq!((-inf).exp(), number(0.0));
        assert_eq!(inf.exp(), inf);
        assert_eq!(inf + number(1.0), inf);
        assert_eq!(number(1.0) / inf, number(0.0));
        assert_eq!(number(0.0).ln(), -inf);
        assert_eq!(inf.tanh(), number(1.0));
        assert_eq!(number(0.0).sqrt(), number(0.0));
        assert_eq!(inf * number(-2.0), -inf);
        assert_eq!(number(1.0) / number(0.0), inf);
        assert!((inf - inf).to_f64().is_nan() && (nan + number(1.0)).to_f64().is_nan());
        assert!(nan.tanh().to_f64().is_nan() && number(-1.0).ln().to_f64().is_nan());
        assert!(number(f64::MAX) < inf && -inf < number(0.0));
    }
}
