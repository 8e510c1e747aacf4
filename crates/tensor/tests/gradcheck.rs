//! The checker itself: what must pass passes, and what is wrong is found, named and made small.

use unspool_tensor::gradcheck::shrink::shrink;
use unspool_tensor::gradcheck::{
    Fault, Function, Report, Settings, Subject, Verdict, check, check_single, jacobians,
};
use unspool_tensor::{Context, Kernels};

/// `y[b] = Σₕ tanh(x[b, h]·w[h])`, with a backward pass that `spoil` may change.
fn rows<'a>(spoil: impl Fn(&mut [&mut [f64]], &[&[f64]], &[&[f64]]) + 'a) -> Function<'a> {
    Function::new("rows")
        .size("B", 3)
        .size("H", 4)
        .input("x", "B H")
        .input("w", "H")
        .output("B")
        .forward(|sizes, inputs, outputs| {
            let hidden = sizes["H"];
            outputs[0].fill(0.0);
            for (i, x) in inputs[0].iter().enumerate() {
                outputs[0][i / hidden] += (x * inputs[1][i % hidden]).tanh();
            }
        })
        .backward(move |sizes, inputs, d_outputs, d_inputs| {
            let hidden = sizes["H"];
            for (i, x) in inputs[0].iter().enumerate() {
                let w = inputs[1][i % hidden];
                let d = d_outputs[0][i / hidden] * (1.0 - (x * w).tanh().powi(2));
                d_inputs[0][i] += d * w;
                d_inputs[1][i % hidden] += d * x;
            }
            spoil(d_inputs, inputs, d_outputs);
        })
}

fn verdicts(report: &Report) -> Vec<(&str, Verdict)> {
    report.arrays.iter().map(|array| (array.name.as_str(), array.verdict())).collect()
}

#[test]
fn a_right_gradient_passes_with_a_small_bound() {
    let report = check(&rows(|_, _, _| {}), &Settings::default());
    assert!(report.passes(), "{report}");
    assert!(report.bound() <= 1e-9 && report.error() <= 1e-9, "{report}");
    assert_eq!(report.arrays.iter().map(|array| array.checked).sum::<usize>(), 12 + 4);
}

#[test]
fn a_wrong_element_is_named() {
    let report = check(&rows(|d, _, _| d[0][6] += 1e-6), &Settings::default());
    assert_eq!(verdicts(&report), [("x", Verdict::Fail), ("w", Verdict::Pass)]);
    let names: Vec<_> = report.elements().map(|element| element.name.as_str()).collect();
    assert_eq!(names, ["x[b=1, 2]"]);
}

#[test]
fn faults_that_numbers_do_not_show_are_found() {
    let faults = |function: &Function<'_>| check(function, &Settings::default()).faults;
    let assigned = rows(|d, inputs, d_outputs| {
        for (i, d_w) in d[1].iter_mut().enumerate() {
            let rows = inputs[0].chunks(inputs[1].len()).zip(d_outputs[0]);
            let w = inputs[1][i];
            *d_w = rows.map(|(x, d)| d * x[i] * (1.0 - (x[i] * w).tanh().powi(2))).sum();
        }
    });
    assert_eq!(faults(&assigned), [Fault::Assigned { place: "w[0]".into() }]);

    let not_finite = rows(|d, _, _| d[1][3] = f64::NAN);
    assert!(faults(&not_finite).contains(&Fault::NotFinite { place: "w[3]".into() }));

    let unwritten = rows(|_, _, _| {}).forward(|sizes, inputs, outputs| {
        for b in 1..sizes["B"] {
            let row = b * sizes["H"]..(b + 1) * sizes["H"];
            outputs[0][b] = inputs[0][row].iter().zip(inputs[1]).map(|(x, w)| (x * w).tanh()).sum();
        }
    });
    assert!(faults(&unwritten).contains(&Fault::NeverWritten { place: "output 0[0]".into() }));

    let calls = std::cell::Cell::new(0.0);
    let random = rows(|_, _, _| {}).forward(|_, inputs, outputs| {
        calls.set(calls.get() + 1e-3);
        outputs[0].fill(inputs[0][0] + calls.get());
    });
    assert!(faults(&random).contains(&Fault::NotDeterministic { place: "output 0[0]".into() }));

    // x[b, 3] is declared to be padding, and it is not.
    let leaking = rows(|_, _, _| {}).unseen("x", |at| at[1] == 3);
    assert!(faults(&leaking).contains(&Fault::Leak { place: "x[b=0, 3]".into() }));
}

/// What says nothing is never a pass.
#[test]
fn nothing_passes_by_saying_nothing() {
    let line = |offset: f64, slope: f64, claimed: f64| {
        Function::new("line")
            .size("N", 3)
            .input("x", "N")
            .output("N")
            .forward(move |_, x, y| {
                (0..x[0].len()).for_each(|i| y[0][i] = offset + slope * x[0][i]);
            })
            .backward(move |_, x, d_y, d_x| {
                (0..x[0].len()).for_each(|i| d_x[0][i] += claimed * d_y[0][i]);
            })
    };
    let verdict = |function: &Function<'_>| check(function, &Settings::default()).verdict();
    assert_eq!(verdict(&line(1.0, 0.5, 0.5)), Verdict::Pass);
    assert_eq!(verdict(&line(1.0, 0.0, 0.0)), Verdict::Pass);
    // Hidden by the rounding of numbers that are sixteen digits larger.
    for claimed in [0.0, 1e-6, 3e-5, -3e-5] {
        assert_eq!(verdict(&line(1e10, 1e-6, claimed)), Verdict::Undecided, "{claimed}");
    }
    assert_eq!(verdict(&line(f64::NAN, 1.0, 0.0)), Verdict::Fail);
    assert_eq!(verdict(&Function::new("nothing")), Verdict::Undecided);
    let settings = Settings { elements: 0, directions: 0, ..Settings::default() };
    assert_eq!(check(&line(1.0, 0.5, 0.5), &settings).verdict(), Verdict::Undecided);
    // A gradient that is not there at all.
    let report = check(&line(1.0, 0.5, 0.0), &Settings::default());
    assert_eq!(report.verdict(), Verdict::Fail, "{report}");
}

/// A large layer with kinks here and there is no noise.
#[test]
fn kinks_on_the_way_are_no_noise() {
    let relu = Function::new("relu")
        .size("N", 5000)
        .input("x", "N")
        .output("N")
        .forward(|_, x, y| (0..x[0].len()).for_each(|i| y[0][i] = x[0][i].max(0.0)))
        .backward(|_, x, d_y, d_x| {
            for (i, &x) in x[0].iter().enumerate() {
                d_x[0][i] += f64::from(x > 0.0) * d_y[0][i];
            }
        });
    let report = check(&relu, &Settings { elements: 100, directions: 0, ..Settings::default() });
    assert_eq!(report.arrays[0].failed, 0, "{report}");
    assert!(report.arrays[0].undecided <= 1, "{report}");
}

#[test]
#[should_panic(expected = "fn the_gradient_of_rows_is_right")]
fn the_macro_shows_a_small_failure() {
    // It reads beyond what shorter axes would hold.
    unspool_tensor::assert_gradients!(rows(|d, _, _| d[0][11] *= 2.0));
}

#[test]
fn kinks_are_undecided_and_what_no_slope_allows_fails() {
    let relu = |gradient_at_0: f64| {
        Function::new("relu")
            .size("N", 3)
            .input("x", "N")
            .at("x", &[-1.0, 0.0, 2.0])
            .output("N")
            .forward(|_, x, y| (0..x[0].len()).for_each(|i| y[0][i] = x[0][i].max(0.0)))
            .backward(move |_, x, d_y, d_x| {
                for (i, &x) in x[0].iter().enumerate() {
                    let slope = if x == 0.0 { gradient_at_0 } else { f64::from(x > 0.0) };
                    d_x[0][i] += slope * d_y[0][i];
                }
            })
    };
    for (gradient, verdict) in
        [(0.0, Verdict::Undecided), (0.5, Verdict::Undecided), (1.5, Verdict::Fail)]
    {
        let report = check(&relu(gradient), &Settings::default());
        assert_eq!(report.verdict(), verdict, "{report}");
        assert!(report.elements().all(|element| element.name == "x[1]"), "{report}");
        assert!(!report.passes());
    }
}

#[test]
fn large_arrays_are_sampled_and_checked_along_directions() {
    let square = |spoiled: usize| {
        Function::new("square")
            .size("N", 5000)
            .input("x", "N")
            .output("N")
            .forward(|_, x, y| (0..x[0].len()).for_each(|i| y[0][i] = x[0][i] * x[0][i]))
            .backward(move |_, x, d_y, d_x| {
                for (i, &x) in x[0].iter().enumerate() {
                    d_x[0][i] += if i == spoiled { 0.0 } else { 2.0 * x * d_y[0][i] };
                }
            })
    };
    let settings = Settings { elements: 20, ..Settings::default() };
    let report = check(&square(usize::MAX), &settings);
    assert!(report.passes(), "{report}");
    assert_eq!((report.arrays[0].checked, report.arrays[0].directions), (20 + 3, 3));
    assert!(report.to_string().contains("x: 20 of its 5000 elements, 3 directions"), "{report}");
    // One element of 5000, which no sample need hit.
    let report = check(&square(1234), &settings);
    assert_eq!(report.verdict(), Verdict::Fail, "{report}");
}

#[test]
fn a_failure_is_made_small_and_becomes_a_test() {
    // Wrong in the third hidden unit alone.
    let wrong = rows(|d, _, _| {
        if let Some(d_w) = d[1].get_mut(2) {
            *d_w *= 1.5;
        }
    });
    let smallest = shrink(&wrong, &Settings::default()).unwrap();
    let shapes: Vec<_> =
        smallest.arguments.iter().map(|argument| argument.value.shape().to_vec()).collect();
    assert_eq!(shapes, [vec![1, 3], vec![3]], "{}", smallest.report);
    let simple = |x: &f64| [0.0, 1.0].contains(x);
    assert!(smallest.arguments.iter().all(|argument| argument.value.iter().all(simple)));
    assert!(shrink(&rows(|_, _, _| {}), &Settings::default()).is_none());
    // The test as it is printed, which the module below runs.
    let test = smallest.regression_test("function()");
    let code = |text: &str| -> Vec<String> {
        let code = text.lines().filter(|line| !line.trim().starts_with("//"));
        code.map(String::from).collect()
    };
    assert_eq!(code(&test), code(include_str!("generated/regression.rs")), "{test}");
}

/// The printed test compiles as it stands, and passes where the fault is mended.
mod mended {
    use super::*;

    fn function() -> Function<'static> {
        rows(|_, _, _| {})
    }

    include!("generated/regression.rs");
}

#[test]
fn jacobians_stand_side_by_side_and_differences_are_marked() {
    let right = jacobians(&rows(|_, _, _| {}), 1e-9).unwrap();
    assert_eq!(right.len(), 2);
    for jacobian in &right {
        assert!(jacobian.to_string().contains("no number differs"), "{jacobian}");
    }
    assert_eq!(right[0].analytic.dim(), (3, 12));
    // y[1] depends on the second row of x alone.
    let [x, w] = [0, 1].map(|k| rows(|_, _, _| {}).arguments()[k].value.clone());
    let slope = |b: usize, h: usize| 1.0 - (x[[b, h]] * w[[h]]).tanh().powi(2);
    for (column, (b, h)) in (0..12).map(|i| (i, (i / 4, i % 4))) {
        let exact = if b == 1 { slope(1, h) * w[[h]] } else { 0.0 };
        for found in [&right[0].analytic, &right[0].numeric] {
            assert!((found[[1, column]] - exact).abs() < 1e-10, "{}", right[0]);
        }
    }

    let wrong = jacobians(&rows(|d, _, _| d[0][11] *= 2.0), 1e-9).unwrap();
    let places: Vec<_> = (0..3 * 12).filter(|at| wrong[0].differs(at / 12, at % 12)).collect();
    assert_eq!(places, [2 * 12 + 11], "{}", wrong[0]);
    assert_eq!(wrong[0].columns[11], "x[b=2, 3]");
    let text = wrong[0].to_string();
    assert!(text.contains("x[b=2, 3]") && text.contains('*'), "{text}");
}

#[test]
fn single_precision_is_held_to_a_derived_bound() {
    for case in unspool_tensor::cases::cases() {
        for kernels in [Kernels::default(), Kernels::naive()] {
            let context = Context::sequential().with_kernels(kernels);
            let report = check_single(&case, &context, &Settings::default());
            assert!(report.passes(), "{report}");
            // A bound that allows anything proves nothing.
            assert!(report.bound() < 2e-2, "{report}");
        }
    }
}
