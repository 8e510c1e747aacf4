//! Where weights start.

use ndarray::{Array2, ArrayD, IxDyn, s};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::{Normal, Uniform};
use unspool_tensor::random::Key;
use unspool_tensor::{Error, Real, Result};

/// A distribution of initial weights.
///
/// A weight's axes are `[out, in, …]`: its *fan in* is the number of inputs of one unit, its *fan
/// out* the number of units that one input reaches. A vector's fans are both its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All the same.
    Constant(f64),
    /// Normal around zero.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Uniform in `-bound..bound`.
    Uniform {
        /// The bound.
        bound: f64,
    },
    /// Uniform in `±√(6 / (fan in + fan out))` (Glorot and Bengio, 2010, equation 16).
    XavierUniform,
    /// Normal with deviation `√(2 / (fan in + fan out))` (Glorot and Bengio, 2010, equation 12).
    XavierNormal,
    /// Uniform in `±1/√(fan in)`: what PyTorch's linear layers start from. For a recurrent layer
    /// the fan is its hidden size, for all weights, as in PyTorch.
    UniformFan,
    /// A random orthogonal matrix: orthonormal rows, or columns when there are more rows than
    /// columns (Saxe, McClelland and Ganguli, 2014). Uniform over all such matrices.
    Orthogonal,
}

impl Init {
    /// Weights of this shape, a function of the key. They are drawn in `f64`, so that a model
    /// starts the same in any precision.
    ///
    /// # Errors
    /// A deviation or bound that is negative or not finite, or an orthogonal array that is not a
    /// matrix.
    pub fn sample<T: Real>(self, shape: &[usize], key: Key) -> Result<ArrayD<T>> {
        let (fan_in, fan_out) = fans(shape);
        let fan_sum = (fan_in + fan_out).max(1) as f64;
        let weights: ArrayD<f64> = match self {
            Init::Zeros => ArrayD::zeros(IxDyn(shape)),
            Init::Constant(value) => ArrayD::from_elem(IxDyn(shape), value),
            Init::Normal { std } => normal(shape, std, key)?,
            Init::Uniform { bound } => uniform(shape, bound, key)?,
            Init::XavierUniform => uniform(shape, (6.0 / fan_sum).sqrt(), key)?,
            Init::XavierNormal => normal(shape, (2.0 / fan_sum).sqrt(), key)?,
            Init::UniformFan => uniform(shape, (fan_in.max(1) as f64).sqrt().recip(), key)?,
            Init::Orthogonal => orthogonal(shape, key)?,
        };
        Ok(weights.mapv(T::from_f64))
    }
}

/// Fan in and fan out of a weight `[out, in, …]`.
fn fans(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [length] => (*length, *length),
        [outputs, inputs, rest @ ..] => {
            let each: usize = rest.iter().product();
            (inputs * each, outputs * each)
        }
    }
}

fn normal(shape: &[usize], std: f64, key: Key) -> Result<ArrayD<f64>> {
    // `Normal::new` would take a negative deviation.
    let wrong = || Error::invalid("init", format!("a normal with standard deviation {std}"));
    if !(std.is_finite() && std >= 0.0) {
        return Err(wrong());
    }
    let distribution = Normal::new(0.0, std).map_err(|_| wrong())?;
    Ok(ArrayD::random_using(IxDyn(shape), distribution, &mut key.rng()))
}

fn uniform(shape: &[usize], bound: f64, key: Key) -> Result<ArrayD<f64>> {
    let wrong = || Error::invalid("init", format!("a uniform with bound {bound}"));
    if !(bound.is_finite() && bound >= 0.0) {
        return Err(wrong());
    }
    let distribution = Uniform::new_inclusive(-bound, bound).map_err(|_| wrong())?;
    Ok(ArrayD::random_using(IxDyn(shape), distribution, &mut key.rng()))
}

/// The orthonormal factor of a normal matrix (Gram and Schmidt), by its shorter side.
fn orthogonal(shape: &[usize], key: Key) -> Result<ArrayD<f64>> {
    let &[rows, columns] = shape else {
        return Err(Error::shape(
            "init",
            shape,
            "is not a matrix, which an orthogonal start needs",
        ));
    };
    let (short, long) = (rows.min(columns), rows.max(columns));
    let distribution =
        Normal::new(0.0, 1.0).map_err(|error| Error::invalid("init", error.to_string()))?;
    let mut q = Array2::random_using((short, long), distribution, &mut key.rng());
    for row in 0..short {
        let (done, mut rest) = q.multi_slice_mut((s![..row, ..], s![row.., ..]));
        let mut current = rest.row_mut(0);
        // Twice is enough: what rounding leaves after the first pass goes in the second (Giraud et
        // al., 2005).
        for _ in 0..2 {
            for done in done.outer_iter() {
                let projection = done.dot(&current);
                current.scaled_add(-projection, &done);
            }
        }
        let length = current.dot(&current).sqrt();
        current /= length;
    }
    Ok(if rows <= columns { q.into_dyn() } else { q.reversed_axes().into_dyn() })
}

#[cfg(test)]
mod tests {
    use ndarray::Ix2;

    use super::*;

    const SHAPE: [usize; 2] = [200, 300];

    fn sample(init: Init) -> ArrayD<f64> {
        init.sample(&SHAPE, Key::new(5)).unwrap()
    }

    #[test]
    fn distributions_have_their_deviation_and_bound() {
        let thirds = 3.0_f64.sqrt();
        let xavier = (2.0_f64 / 500.0).sqrt();
        let fan = 300.0_f64.sqrt().recip();
        for (init, std, bound) in [
            (Init::Zeros, 0.0, 0.0),
            (Init::Normal { std: 0.3 }, 0.3, f64::INFINITY),
            (Init::Normal { std: 0.0 }, 0.0, 0.0),
            (Init::Uniform { bound: 0.2 }, 0.2 / thirds, 0.2),
            (Init::Uniform { bound: 0.0 }, 0.0, 0.0),
            (Init::XavierUniform, xavier, xavier * thirds),
            (Init::XavierNormal, xavier, f64::INFINITY),
            (Init::UniformFan, fan / thirds, fan),
            (Init::Orthogonal, fan, 1.0),
        ] {
            let weights = sample(init);
            let n = weights.len() as f64;
            let mean = weights.sum() / n;
            let found = (weights.mapv(|w| w * w).sum() / n - mean * mean).sqrt();
            assert!((found - std).abs() <= 0.02 * std, "{init:?}: deviation {found}, not {std}");
            assert!(mean.abs() <= 0.02 * std, "{init:?}: mean {mean}");
            let top = weights.iter().fold(0.0_f64, |top, w| top.max(w.abs()));
            assert!(top <= bound, "{init:?}: {top} beyond {bound}");
            if bound.is_finite() && init != Init::Orthogonal {
                assert!(top >= 0.99 * bound, "{init:?}: at most {top} of {bound}");
            }
        }
        assert_eq!(sample(Init::Constant(0.25)), ArrayD::from_elem(IxDyn(&SHAPE), 0.25));
    }

    #[test]
    fn orthogonal_matrices_have_orthonormal_rows_or_columns() {
        for (rows, columns) in [(1, 1), (5, 5), (60, 60), (3, 40), (40, 3), (0, 3)] {
            let q: ArrayD<f64> = Init::Orthogonal.sample(&[rows, columns], Key::new(2)).unwrap();
            assert_eq!(q.shape(), [rows, columns]);
            let q = q.into_dimensionality::<Ix2>().unwrap();
            let product = if rows <= columns { q.dot(&q.t()) } else { q.t().dot(&q) };
            let eye = Array2::<f64>::eye(rows.min(columns));
            let error = (product - eye).iter().fold(0.0_f64, |top, e| top.max(e.abs()));
            assert!(error < 1e-14, "{rows}x{columns}: {error}");
        }
    }

    #[test]
    fn a_start_is_a_function_of_the_key_and_the_same_in_any_precision() {
        for init in [Init::Normal { std: 1.0 }, Init::XavierUniform, Init::Orthogonal] {
            let weights = sample(init);
            assert_eq!(weights, sample(init));
            assert_ne!(weights, init.sample::<f64>(&SHAPE, Key::new(6)).unwrap());
            let single: ArrayD<f32> = init.sample(&SHAPE, Key::new(5)).unwrap();
            assert_eq!(single, weights.mapv(|w| w as f32));
        }
    }

    #[test]
    fn impossible_distributions_are_errors() {
        for (init, shape, part) in [
            (Init::Normal { std: -1.0 }, &[2, 2][..], "deviation -1"),
            (Init::Normal { std: f64::NAN }, &[2, 2], "deviation NaN"),
            (Init::Uniform { bound: -0.1 }, &[2, 2], "bound -0.1"),
            (Init::Uniform { bound: f64::INFINITY }, &[2, 2], "bound inf"),
            (Init::Orthogonal, &[2, 2, 2], "[2, 2, 2] is not a matrix"),
        ] {
            let error = init.sample::<f64>(shape, Key::new(1)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
