//! Large and odd numbers: finite where mathematics is, IEEE's answer elsewhere.

use ndarray::{ArrayD, IxDyn, arr1, arr2};
use unspool_tensor::ops::cross_entropy::{CrossEntropyOptions, Smoothing};
use unspool_tensor::{Context, Real, Result, Tape, Var};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

type Function = for<'t> fn(Var<'t, f32>) -> Result<Var<'t, f32>>;

/// A function, where to try it, its outputs there, and the gradients of their sum.
type Row = (&'static str, Function, &'static [f32], &'static [f32], &'static [f32]);

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

#[test]
fn functions_follow_ieee_at_the_edges() {
    let rows: [Row; 14] = [
        (
            "exp",
            |x| x.exp(),
            &[0.0, -INF, INF, 1e4, -1e4, NAN],
            &[1.0, 0.0, INF, INF, 0.0, NAN],
            &[1.0, 0.0, INF, INF, 0.0, NAN],
        ),
        ("ln", |x| x.ln(), &[1.0, 0.0, -1.0, INF], &[0.0, -INF, NAN, INF], &[1.0, INF, -1.0, 0.0]),
        (
            "sqrt",
            |x| x.sqrt(),
            &[4.0, 0.0, -1.0, INF],
            &[2.0, 0.0, NAN, INF],
            &[0.25, INF, NAN, 0.0],
        ),
        ("tanh", |x| x.tanh(), &[0.0, 1e30, -INF], &[0.0, 1.0, -1.0], &[1.0, 0.0, 0.0]),
        ("sigmoid", |x| x.sigmoid(), &[0.0, 1e30, -INF], &[0.5, 1.0, 0.0], &[0.25, 0.0, 0.0]),
        (
            "relu",
            |x| x.relu(),
            &[-INF, -0.0, 0.0, 2.0, NAN],
            &[0.0, 0.0, 0.0, 2.0, NAN],
            &[0.0, 0.0, 0.0, 1.0, 0.0],
        ),
        ("max", |x| x.max(0), &[1.0, NAN, 7.0], &[NAN], &[0.0, 1.0, 0.0]),
        ("x²", |x| x.powf(2.0), &[-3.0, 0.0], &[9.0, 0.0], &[-6.0, 0.0]),
        ("x⁰", |x| x.powf(0.0), &[-3.0, 0.0], &[1.0, 1.0], &[0.0, 0.0]),
        ("softmax", |x| x.softmax(0), &[1e30, -1e30, 1e30], &[0.5, 0.0, 0.5], &[0.0, 0.0, 0.0]),
        ("softmax of -∞", |x| x.softmax(0), &[-INF, 3.0], &[0.0, 1.0], &[0.0, 0.0]),
        ("softmax of nothing", |x| x.softmax(0), &[-INF, -INF], &[0.0, 0.0], &[0.0, 0.0]),
        ("log-softmax", |x| x.log_softmax(0), &[1e4, -1e4], &[0.0, -2e4], &[-1.0, 1.0]),
        ("log-softmax", |x| x.log_softmax(0), &[1e30, -1e30], &[0.0, -2e30], &[-1.0, 1.0]),
    ];
    for (name, f, x, y, d) in rows {
        let tape = Tape::new(Context::sequential());
        let x = tape.input(arr1(x));
        let found = f(x).unwrap();
        assert!(same(&found.value().iter().copied().collect::<Vec<_>>(), y), "{name}: {found:?}");
        let grads = tape.backward(found.sum_all().unwrap()).unwrap();
        let found: Vec<f32> = grads.wrt(x).unwrap().iter().copied().collect();
        assert!(same(&found, d), "{name}: gradient {found:?}, not {d:?}");
    }
}

#[test]
fn powers_of_zero_have_the_gradients_of_their_limits() {
    let tape = Tape::<f64>::new(Context::sequential());
    let x = tape.input(arr1(&[0.0, 0.0, 0.0, 2.0]));
    let y = tape.input(arr1(&[0.0, 1.0, 2.0, 0.0]));
    let z = x.pow(y).unwrap();
    assert_eq!(z.value(), arr1(&[1.0, 0.0, 0.0, 1.0]).into_dyn());
    let grads = tape.backward(z.sum_all().unwrap()).unwrap();
    assert_eq!(grads.wrt(x).unwrap(), &arr1(&[0.0, 1.0, 0.0, 0.0]).into_dyn());
    assert_eq!(grads.wrt(y).unwrap(), &arr1(&[0.0, 0.0, 0.0, 2f64.ln()]).into_dyn());
}

#[test]
fn the_loss_of_huge_logits_is_finite() {
    for size in [1e4f32, 1e30] {
        for (smoothing, expected) in [(Smoothing::None, 0.5), (Smoothing::Uniform(0.3), 0.5)] {
            let tape = Tape::new(Context::sequential());
            let logits = tape.input(arr2(&[[size, -size], [-size, size]]));
            let options = CrossEntropyOptions { smoothing, ..Default::default() };
            let loss = logits.cross_entropy(&[0, 0], options).unwrap();
            // One row right and one wrong, by 2·size: smoothing moves as much off one as onto the
            // other.
            let found = loss.value().sum() / (2.0 * size);
            assert!((found - expected).abs() < 1e-6, "{found}");
            let grads = tape.backward(loss).unwrap();
            assert!(grads.wrt(logits).unwrap().iter().all(|d| d.is_finite()));
        }
    }
}

/// Smoothing leaves the padding class out, even where its logit is masked.
#[test]
fn the_logit_of_the_class_left_out_by_smoothing_does_not_matter() {
    let run = |padding_logit: f32| {
        let tape = Tape::new(Context::sequential());
        let logits = tape.input(arr2(&[[padding_logit, 0.5, -1.0, 2.0]]));
        let smoothing = Smoothing::ExceptPadding { epsilon: 0.2, padding: 0 };
        let options = CrossEntropyOptions { smoothing, ..Default::default() };
        let loss = logits.cross_entropy(&[3], options).unwrap();
        (loss.value().sum(), tape.backward(loss).unwrap().wrt(logits).unwrap().to_owned())
    };
    // -Σ q·ln p over the three classes that are left, with q = [0.1, 0.1, 0.8].
    let normaliser = (0.5f32.exp() + (-1f32).exp() + 2f32.exp()).ln();
    let expected = normaliser - (0.1 * 0.5 - 0.1 + 0.8 * 2.0);
    for padding_logit in [-INF, -1e30, -f32::MAX] {
        let (loss, d) = run(padding_logit);
        assert!((loss - expected).abs() < 1e-6, "{loss}, not {expected}");
        assert!(d.iter().all(|d| d.is_finite()) && d[[0, 0]] == 0.0, "{d}");
    }
}

#[test]
fn a_shift_of_all_logits_changes_nothing() {
    let row = [0.0f64, 1.0, -2.0, 0.5];
    let run = |shift: f64| {
        let tape = Tape::new(Context::sequential());
        let x = tape.input(arr1(&row.map(|x| x + shift)));
        [x.softmax(0), x.log_softmax(0)].map(|y| y.unwrap().value())
    };
    assert_eq!(run(0.0), run(1e12));
}

/// A sentence alone and padded to any length: the same bits.
#[test]
fn masked_elements_at_the_end_never_change_a_bit() {
    fn check<T: Real>() {
        let numbers: Vec<T> = (0..40).map(|i| T::from_f64((f64::from(i) * 1.7).sin())).collect();
        let run = |real: usize, padded: usize| {
            let x: Vec<T> = (0..padded).map(|i| numbers[i % 40]).collect();
            let keep = ArrayD::from_shape_fn(IxDyn(&[padded]), |i| i[0] < real);
            let tape = Tape::new(Context::sequential());
            let x = tape.input(ndarray::Array1::from(x));
            let y = x.masked_softmax(&keep, 0).unwrap();
            let log = x.masked_log_softmax(&keep, 0).unwrap();
            let kept = y.slice(0, 0..real).unwrap();
            let loss = (kept * log.slice(0, 0..real).unwrap()).unwrap().sum_all().unwrap();
            let grads = tape.backward(loss).unwrap();
            let d = grads.wrt(x).unwrap().slice(ndarray::s![..real]).to_owned();
            (kept.value().to_owned(), log.slice(0, 0..real).unwrap().value().to_owned(), d)
        };
        for real in [1, 2, 15, 16, 17, 31, 33] {
            let alone = run(real, real);
            for padded in [real + 1, real + 15, real + 16, 77] {
                assert_eq!(run(real, padded), alone, "{real} padded to {padded}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}
