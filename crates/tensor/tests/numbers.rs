//! The arithmetic of [`Dual`] numbers, and what [`Real`] promises of all numbers.

use unspool_tensor::{Dual, Real};

/// Values and slopes against central differences of the same function over `f64`.
#[test]
fn dual_numbers_differentiate() {
    let c = |x: f64| Dual::new(x, 0.0);
    type Row = (&'static str, fn(f64) -> f64, Box<dyn Fn(Dual) -> Dual>);
    let rows: Vec<Row> = vec![
        ("3 + x - x²", |x| 3.0 + x - x * x, Box::new(move |x| c(3.0) + x - x * x)),
        ("x / (x + 2)", |x| x / (x + 2.0), Box::new(move |x| x / (x + c(2.0)))),
        ("-2 / x", |x| -2.0 / x, Box::new(move |x| -c(2.0) / x)),
        ("exp", f64::exp, Box::new(Real::exp)),
        ("ln", f64::ln, Box::new(Real::ln)),
        ("sqrt", f64::sqrt, Box::new(Real::sqrt)),
        ("tanh", f64::tanh, Box::new(Real::tanh)),
        ("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), Box::new(Real::sigmoid)),
        ("x^2.5", |x| x.powf(2.5), Box::new(move |x| x.powf(c(2.5)))),
        ("2^x", |x| 2f64.powf(x), Box::new(move |x| c(2.0).powf(x))),
        ("x^x", |x| x.powf(x), Box::new(|x| x.powf(x))),
        ("assigning", |x| (x + 1.0) * x / 2.0 - x, {
            Box::new(move |x| {
                let mut y = x;
                y += c(1.0);
                y *= x;
                y /= c(2.0);
                y -= x;
                y
            })
        }),
        ("Σ", |x| x + x * x, Box::new(|x| [x, x * x].into_iter().sum())),
        ("max", |x| x.max(1.0), Box::new(move |x| x.maximum(c(1.0)))),
        ("magnitude", |x| (x - 5.0).abs(), Box::new(move |x| (x - c(5.0)).magnitude())),
    ];
    const H: f64 = 1e-6;
    for (name, plain, dual) in rows {
        for x in [0.3, 0.9, 2.0] {
            let y = dual(Dual::new(x, 2.0));
            let slope = (plain(x + H) - plain(x - H)) / H;
            assert!((y.value - plain(x)).abs() < 1e-14, "{name} at {x}: {y}");
            assert!((y.slope - slope).abs() < 1e-8, "{name} at {x}: {y}, not {slope}");
        }
    }
}

#[test]
fn a_slope_of_zero_stays_zero_where_the_derivative_is_infinite() {
    let zero = Dual::new(0.0, 0.0);
    assert_eq!(Real::sqrt(zero).slope, 0.0);
    assert_eq!(Real::ln(zero).slope, 0.0);
    assert_eq!(zero.powf(Dual::new(0.0, 1.0)).slope, 0.0);
    assert_eq!(Dual::new(0.0, 1.0).powf(zero).slope, 0.0);
    assert_eq!(Dual::new(-2.0, 1.0).powf(Dual::new(3.0, 0.0)).slope, 12.0);
}

#[test]
fn the_maximum_lets_no_nan_pass_unseen() {
    fn check<T: Real>() {
        let number = T::from_f64;
        for (a, b, top) in [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (-1.0, f64::NEG_INFINITY, -1.0)] {
            assert_eq!(number(a).maximum(number(b)), number(top));
        }
        assert!(number(f64::NAN).maximum(number(1.0)).to_f64().is_nan());
        assert!(number(1.0).maximum(number(f64::NAN)).to_f64().is_nan());
        assert!(number(f64::NAN).maximum(number(f64::NAN)).to_f64().is_nan());
    }
    check::<f32>();
    check::<f64>();
    check::<Dual>();
}

#[test]
fn the_logistic_function_does_not_overflow() {
    for x in [-1e4, -745.0, 745.0, 1e4] {
        let y = Real::sigmoid(x);
        assert!((0.0..=1.0).contains(&y), "{x}: {y}");
        assert!(Real::sigmoid(x as f32).is_finite());
    }
}
