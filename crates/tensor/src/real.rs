//! The numbers that arrays are made of: `f32`, `f64`, and [`Dual`] numbers.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use ndarray::LinalgScalar;
use num_traits::{One, Zero};

use crate::Kernels;
use crate::kernels::cells::CellKernel;
use crate::kernels::matmul::{MatmulKernel, Naive};
use crate::kernels::pointwise;
use crate::kernels::rows::{self, RowKernel};

/// A real number that ops compute with.
///
/// Every op is generic over it. `f32` and `f64` bring fast kernels; [`Dual`] has only the naive
/// ones, so that running an op's forward over dual numbers gives its derivative without its
/// backward pass.
pub trait Real:
    LinalgScalar
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + PartialOrd
    + Debug
    + Display
    + Default
    + Send
    + Sync
{
    /// The nearest number to `x`.
    fn from_f64(x: f64) -> Self;
    /// The value (of a dual number: without its derivative part).
    fn to_f64(self) -> f64;
    /// e to the power of `self`.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `self` to the power of `exponent`.
    fn powf(self, exponent: Self) -> Self;

    /// The logistic function `1 / (1 + exp(-x))`, without overflow for any x.
    fn sigmoid(self) -> Self {
        let e = (-self.magnitude()).exp();
        let small = e / (Self::one() + e);
        if self < Self::zero() { small } else { Self::one() - small }
    }

    /// The absolute value.
    fn magnitude(self) -> Self {
        if self < Self::zero() { -self } else { self }
    }

    /// The larger of two numbers; NaN when either is NaN.
    fn maximum(self, other: Self) -> Self {
        if self > other || self.to_f64().is_nan() { self } else { other }
    }

    /// Whether the value is neither infinite nor NaN.
    fn finite(self) -> bool {
        self.to_f64().is_finite()
    }

    /// Replaces each element by its exponential.
    fn exp_slice(xs: &mut [Self]) {
        xs.iter_mut().for_each(|x| *x = x.exp());
    }

    /// Replaces each element by its hyperbolic tangent.
    fn tanh_slice(xs: &mut [Self]) {
        xs.iter_mut().for_each(|x| *x = x.tanh());
    }

    /// Replaces each element by its logistic function.
    fn sigmoid_slice(xs: &mut [Self]) {
        xs.iter_mut().for_each(|x| *x = x.sigmoid());
    }

    /// One element of [`tanh_slice`](Real::tanh_slice), to the bit.
    #[inline(always)]
    fn fast_tanh(self) -> Self {
        self.tanh()
    }

    /// One element of [`sigmoid_slice`](Real::sigmoid_slice), to the bit.
    #[inline(always)]
    fn fast_sigmoid(self) -> Self {
        self.sigmoid()
    }

    /// The matrix product that `kernels` has for this type. Types without one of their own have
    /// the naive one.
    fn matmul(_kernels: &Kernels) -> &dyn MatmulKernel<Self> {
        &Naive
    }

    /// The row operations that `kernels` has for this type. Types without ones of their own have the
    /// fast ones, or with the naive kernels the naive ones.
    fn row_kernel(kernels: &Kernels) -> &dyn RowKernel<Self> {
        if kernels.has_naive_pointwise() { &rows::Naive } else { &rows::Fast }
    }

    /// The kernel that `kernels` has for this cell and type, when one was registered.
    fn cell_kernel<'a>(_kernels: &'a Kernels, _cell: &str) -> Option<&'a dyn CellKernel<Self>> {
        None
    }
}

macro_rules! real_float {
    ($t:ident, $matmul:ident, $rows:ident, $cells:ident $(, $fast:ident)* $(; $each:ident by $one:ident)*) => {
        impl Real for $t {
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                $t::exp(self)
            }
            fn ln(self) -> Self {
                $t::ln(self)
            }
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            fn tanh(self) -> Self {
                $t::tanh(self)
            }
            fn powf(self, exponent: Self) -> Self {
                $t::powf(self, exponent)
            }
            fn matmul(kernels: &Kernels) -> &dyn MatmulKernel<Self> {
                kernels.$matmul()
            }
            fn row_kernel(kernels: &Kernels) -> &dyn RowKernel<Self> {
                kernels.$rows()
            }
            fn cell_kernel<'a>(
                kernels: &'a Kernels,
                cell: &str,
            ) -> Option<&'a dyn CellKernel<Self>> {
                kernels.$cells(cell)
            }
            $(fn $fast(xs: &mut [Self]) {
                pointwise::$fast(xs);
            })*
            $(#[inline(always)]
            fn $each(self) -> Self {
                pointwise::$one(self)
            })*
        }
    };
}

real_float!(
    f32, matmul_f32, rows_f32, cell_f32, exp_slice, tanh_slice, sigmoid_slice;
    fast_tanh by tanh; fast_sigmoid by sigmoid
);
real_float!(f64, matmul_f64, rows_f64, cell_f64);

/// A dual number `value + slope·ε` with `ε² = 0`: forward-mode differentiation.
///
/// Running a computation over dual numbers whose inputs have slopes `u` gives the derivative of the
/// result along `u`, exact to rounding: an oracle for backward passes that needs no step size.
///
/// ```
/// use unspool_tensor::{Dual, Real};
/// let x = Dual::new(0.5, 1.0);
/// let y = x * x.tanh();
/// let exact = 0.5f64.tanh() + 0.5 * (1.0 - 0.5f64.tanh().powi(2));
/// assert!((y.slope - exact).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dual {
    /// The number itself.
    pub value: f64,
    /// Its derivative along the chosen direction.
    pub slope: f64,
}

impl Dual {
    /// A number with its derivative.
    pub const fn new(value: f64, slope: f64) -> Self {
        Dual { value, slope }
    }

    /// The chain rule: a function's value and its derivative there.
    fn chain(self, value: f64, derivative: f64) -> Self {
        // A slope of zero stays zero even where the derivative is infinite (sqrt at 0).
        let slope = if self.slope == 0.0 { 0.0 } else { derivative * self.slope };
        Dual { value, slope }
    }
}

impl Display for Dual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:+}ε", self.value, self.slope)
    }
}

impl PartialOrd for Dual {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        Dual::new(self.value + b.value, self.slope + b.slope)
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        Dual::new(self.value - b.value, self.slope - b.slope)
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        Dual::new(self.value * b.value, self.slope * b.value + self.value * b.slope)
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        let value = self.value / b.value;
        Dual::new(value, (self.slope - value * b.slope) / b.value)
    }
}

impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        Dual::new(-self.value, -self.slope)
    }
}

macro_rules! dual_assign {
    ($($trait:ident $method:ident $op:tt),*) => {$(
        impl $trait for Dual {
            fn $method(&mut self, b: Self) {
                *self = *self $op b;
            }
        }
    )*};
}

dual_assign!(
    AddAssign add_assign +,
    SubAssign sub_assign -,
    MulAssign mul_assign *,
    DivAssign div_assign /
);

impl Sum for Dual {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Dual::zero(), |a, b| a + b)
    }
}

impl Zero for Dual {
    fn zero() -> Self {
        Dual::new(0.0, 0.0)
    }
    fn is_zero(&self) -> bool {
        self.value == 0.0 && self.slope == 0.0
    }
}

impl One for Dual {
    fn one() -> Self {
        Dual::new(1.0, 0.0)
    }
}

impl Real for Dual {
    fn from_f64(x: f64) -> Self {
        Dual::new(x, 0.0)
    }
    fn to_f64(self) -> f64 {
        self.value
    }
    fn exp(self) -> Self {
        let e = self.value.exp();
        self.chain(e, e)
    }
    fn ln(self) -> Self {
        self.chain(self.value.ln(), 1.0 / self.value)
    }
    fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        self.chain(root, 0.5 / root)
    }
    fn tanh(self) -> Self {
        let t = self.value.tanh();
        self.chain(t, 1.0 - t * t)
    }
    fn powf(self, exponent: Self) -> Self {
        let value = self.value.powf(exponent.value);
        // Limits: x⁰ does not depend on x, and 0^y not on y ≥ 0.
        let by_base = match exponent.value {
            0.0 => 0.0,
            y => y * self.value.powf(y - 1.0),
        };
        let by_exponent = match (self.value, exponent.value) {
            (0.0, y) if y >= 0.0 => 0.0,
            (x, _) => value * x.ln(),
        };
        let slopes = self.chain(0.0, by_base) + exponent.chain(0.0, by_exponent);
        Dual::new(value, slopes.slope)
    }
}
