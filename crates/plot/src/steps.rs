//! Why one step size is not enough: how far plain differences are off over the step, beside what
//! the gradient checker finds.

use std::error::Error;

use unspool_tensor::gradcheck::numeric::{Derivative, Precision, Sample, differentiate, noise};
use unspool_tensor::{DoubleDouble, Real};

use super::curves::{Curves, Panel, Scale, Series};

/// Steps a decade.
const DENSITY: i32 = 8;
/// The smallest and the largest step, as powers of ten.
const STEPS: [i32; 2] = [-15, 0];
/// What is drawn of an error of zero: below every error that is not.
const EXACT: f64 = 1e-17;

/// All steps from the smallest to the largest.
fn steps() -> impl Iterator<Item = f64> {
    let [first, last] = STEPS.map(|power| power * DENSITY);
    (first..=last).map(|power| 10f64.powf(f64::from(power) / f64::from(DENSITY)))
}

/// The error of `(f(x + h) - f(x - h)) / 2h`, as a share of the derivative, over h.
fn central(f: impl Fn(f64) -> f64, x: f64, exact: f64) -> Vec<(f64, f64)> {
    let slope = |h: f64| (f(x + h) - f(x - h)) / (2.0 * h);
    steps().map(|h| (h, ((slope(h) - exact) / exact).abs().max(EXACT))).collect()
}

/// The same of `(f(x + h) - f(x)) / h`.
fn one_sided(f: impl Fn(f64) -> f64, x: f64, exact: f64) -> Vec<(f64, f64)> {
    let slope = |h: f64| (f(x + h) - f(x)) / h;
    steps().map(|h| (h, ((slope(h) - exact) / exact).abs().max(EXACT))).collect()
}

/// What the checker finds there.
fn found(f: impl Fn(f64) -> f64, x: f64) -> Result<Derivative, Box<dyn Error>> {
    let sample = |t: f64| {
        let there = f(x + t);
        Ok(Some(Sample { value: there - f(x), size: there.abs() }))
    };
    let noise = noise(sample)?;
    let precision = Precision { tolerance: 1e-9, scale: 0.0, noise, position: x.abs() };
    Ok(differentiate(precision, sample)?)
}

/// A line at the same height over all steps.
fn level(name: &str, height: f64) -> Series {
    let ends = STEPS.map(|power| (10f64.powi(power), height.max(EXACT)));
    Series::new(name, ends.to_vec()).dashed()
}

/// The figure: a smooth function in `f64`, one that is large beside its slope, `f32`, and a kink.
///
/// # Errors
/// The checker fails on a function; none of these does that.
pub fn difference_steps() -> Result<Curves, Box<dyn Error>> {
    let checked = |f: fn(f64) -> f64, x: f64, exact: f64| -> Result<[Series; 2], Box<dyn Error>> {
        let found = found(f, x)?;
        let off = ((found.value - exact) / exact).abs();
        Ok([
            level("the checker", off).colour(2),
            level("its own bound", found.bound / exact.abs()).colour(3),
        ])
    };
    let e = std::f64::consts::E;
    let [checker, bound] = checked(f64::exp, 1.0, e)?;
    let smooth = vec![
        Series::new("one side", one_sided(f64::exp, 1.0, e)).colour(0),
        Series::new("central", central(f64::exp, 1.0, e)).colour(1),
        checker,
        bound,
    ];

    fn loss<T: Real>(x: T) -> T {
        T::from_f64(7.0) + T::from_f64(1e-5) * x.tanh()
    }
    let slope = 1e-5 * (1.0 - 0.5f64.tanh().powi(2));
    let [checker, bound] = checked(loss, 0.5, slope)?;
    let at = |t: f64| loss(DoubleDouble::from_f64(0.5) + DoubleDouble::from_f64(t));
    let precise = found(|t| (at(t) - at(0.0)).to_f64(), 0.0)?;
    let small = vec![
        Series::new("one side", one_sided(loss, 0.5, slope)).colour(0),
        Series::new("central", central(loss, 0.5, slope)).colour(1),
        checker,
        bound,
        level("bound, twice the digits", precise.bound / slope).colour(6),
    ];

    let single = |x: f64| f64::from((x as f32).exp());
    let single = vec![
        Series::new("one side", one_sided(single, 1.0, e)).colour(0),
        Series::new("central", central(single, 1.0, e)).colour(1),
    ];

    let relu = |x: f64| x.max(0.0);
    let kink = vec![
        Series::new("central, at the kink", central(relu, 0.0, 1.0)).colour(4),
        Series::new("central, 0.001 beside it", central(relu, 1e-3, 1.0)).colour(5),
    ];
    let panel = |title: &str, series| Panel {
        title: title.into(),
        scale: Scale::Log,
        reaches: vec![1e-16, 1.0],
        series,
    };
    Ok(Curves {
        title: "How far differences are off, as a share of the derivative".into(),
        x_label: "step h".into(),
        x_scale: Scale::Log,
        panels: vec![
            panel("exp(x) at 1, f64", smooth),
            panel("7 + 0.00001·tanh(x) at 0.5, f64", small),
            panel("exp(x) at 1, f32", single),
            panel("max(x, 0), right slope", kink),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_shows_what_the_chapter_says() {
        let least = |points: &[(f64, f64)]| {
            points.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
        };
        let e = std::f64::consts::E;
        // The best step of a smooth function is near 1e-5 in f64; both sides of it are worse.
        let (step, error) = least(&central(f64::exp, 1.0, e));
        assert!(
            (1e-6..1e-4).contains(&step) && (1e-12..1e-9).contains(&error),
            "{step:e} {error:e}"
        );
        let single = |x: f64| f64::from((x as f32).exp());
        let (_, error) = least(&central(single, 1.0, e));
        assert!((1e-6..1e-3).contains(&error), "{error:e}");
        // At the kink, half the slope at every step: it converges to what is no derivative.
        assert!(
            central(|x| x.max(0.0), 0.0, 1.0).iter().all(|(_, error)| (error - 0.5).abs() < 1e-12)
        );
        let checker = found(f64::exp, 1.0).unwrap();
        assert!((checker.value - e).abs() <= checker.bound && checker.bound < 1e-10 * e);
        difference_steps().unwrap().draw();
    }
}
