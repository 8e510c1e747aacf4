//! What the checks say: right, wrong, or that it cannot be told.

use ndarray::{arr0, arr1};
use unspool_tensor::tape::BackwardMode;
use unspool_tensor::{Context, Tape};
use unspool_trace::lessons::{self, LESSONS};
use unspool_trace::trace::Method;
use unspool_trace::{Recorder, Step, Trace, Verdict};

/// The trace of an expression.
fn expression(text: &str, values: &[(&str, f64)]) -> Trace {
    let values = values.iter().map(|&(name, x)| (name.to_owned(), x)).collect();
    lessons::expression(text, &values).unwrap().traces.remove(0)
}

#[test]
fn a_tick_is_for_what_was_found_right() {
    use Verdict::{Right, Untold};
    // expression, values, the variable whose gradient it is, verdict, what the text says
    type Row = (&'static str, &'static [(&'static str, f64)], &'static str, Verdict, &'static str);
    let rows: [Row; 10] = [
        ("relu(x)", &[("x", 1.0)], "x", Right, "✓"),
        ("relu(x)", &[("x", 0.0)], "x", Untold, "– cannot be told: a kink"),
        ("relu(x)*y", &[("x", 0.0), ("y", 2.0)], "y", Right, "✓"),
        ("x + 1e9", &[("x", 0.5)], "x", Right, "✓"),
        ("sqrt(x)", &[("x", 5e-5)], "x", Right, "✓"),
        // Gradients that are not finite.
        ("sqrt(x)", &[("x", 0.0)], "x", Untold, "inf  – cannot be told: the function is not"),
        ("log(x)", &[("x", 1e-320)], "x", Untold, "inf  – cannot be told: the function is not"),
        ("x^y", &[("x", -2.0), ("y", 2.0)], "y", Untold, "NaN  – cannot be told: the function"),
        ("x^y", &[("x", -2.0), ("y", 2.0)], "x", Right, "-4  ✓"),
        ("sqrt(x*x)", &[("x", 0.0)], "x", Untold, "NaN  – cannot be told: a kink"),
    ];
    for (text, values, name, verdict, shown) in rows {
        let trace = expression(text, values);
        let check = trace.find(name).unwrap().check.clone().unwrap();
        assert_eq!(check.verdict(), verdict, "d_{name} of {text}: {check:?}");
        assert_eq!(check.passes(), verdict == Right, "d_{name} of {text}");
        assert!(trace.checks().iter().all(|check| check.wrong.is_empty()), "{text}");
        let whole = trace.to_string();
        let line = whole.lines().rfind(|line| line.contains(&format!("d_{name} ="))).unwrap();
        assert!(line.contains(shown), "{line}");
    }
}

#[test]
fn a_check_is_written_with_its_verdict_and_what_it_compared() {
    let trace = expression("relu(x)*y", &[("x", 0.0), ("y", 2.0)]);
    let text = serde_json::to_string(&trace).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (value, json) in trace.values.iter().zip(json["values"].as_array().unwrap()) {
        let Some(check) = &value.check else { continue };
        let told = json["check"]["verdict"].as_str().unwrap();
        assert_eq!(told, format!("{:?}", check.verdict()).to_lowercase(), "{}", value.name);
    }
    // Read again, it is the same.
    let again: Trace = serde_json::from_str(&text).unwrap();
    assert_eq!(again.values, trace.values);
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}

#[test]
fn the_rounding_of_a_long_chain_makes_no_gradient_wrong() {
    for (terms, x) in [(1072, 0.1), (1500, 0.3), (1700, 1.0 / 3.0), (3000, 0.7), (4000, 0.1)] {
        let tape = Tape::new(Context::sequential());
        let recorder = Recorder::new(&tape, "a long sum");
        let x = recorder.name("x", tape.input(arr0(x)));
        let sum = (1..terms).fold(x, |sum, _| (sum + x).unwrap());
        let trace = recorder.finish(sum).unwrap();
        let check = trace.find("x").unwrap().check.clone().unwrap();
        assert!(check.passes(), "{terms} terms: {check:?}");
    }
}

#[test]
fn a_number_is_checked_on_demand_as_in_the_record() {
    let lessons = LESSONS.iter().map(|listed| listed.lesson().unwrap());
    let odd = [("x + 1e9", 0.5), ("sqrt(x)", 5e-5), ("sqrt(x)", 0.0), ("relu(x)", 0.0)];
    let odd = odd.map(|(text, x)| expression(text, &[("x", x)]));
    let traces: Vec<Trace> = lessons.flat_map(|lesson| lesson.traces).chain(odd).collect();
    let mut whole = 0;
    for trace in &traces {
        for (slot, value) in trace.values.iter().enumerate() {
            for element in 0..value.value.len().min(8) {
                let found = trace.check_element(slot, element).unwrap();
                assert_eq!(found.is_some(), value.gradient.is_some(), "{}", value.name);
                let Some(found) = found else { continue };
                let numbers = value.gradient.as_ref().unwrap().numbers().unwrap();
                assert!(found.gradient.to_bits() == numbers[element].to_bits());
                let recorded = value.check.as_ref().unwrap();
                if recorded.method == Method::Whole {
                    whole += 1;
                    let untold = recorded.untold.iter().any(|untold| untold.at == element);
                    let verdict = if untold { Verdict::Untold } else { Verdict::Right };
                    assert_eq!(found.check.verdict(), verdict, "{}: {found:?}", value.name);
                    let expected = recorded.expected(element).unwrap();
                    assert_eq!(found.found().to_bits(), expected.to_bits(), "{}", value.name);
                } else {
                    assert!(found.check.wrong.is_empty(), "{}: {found:?}", value.name);
                }
                // In a lesson nothing is so steep or so large that two results do not tell it.
                if let (Some(moved), Some(_)) = (found.moved, trace.update.as_ref()) {
                    let off = (moved.quotient() - found.gradient).abs();
                    let right = found.check.passes();
                    assert!(!right || off <= 1e-5, "{}: {found:?}", value.name);
                }
            }
        }
    }
    assert!(whole > 100, "{whole}");
    let last = traces[0].values.len();
    assert!(traces[0].check_element(last, 0).is_err() && traces[0].check_element(0, 99).is_err());
}

#[test]
fn a_pass_before_the_recorded_one_is_not_part_of_it() {
    let tape = Tape::new(Context::sequential());
    let recorder = Recorder::new(&tape, "twice");
    let x = recorder.name("x", tape.input(arr1(&[0.5, -1.0])));
    let loss = x.tanh().unwrap().sum_all().unwrap();
    tape.backward(loss).unwrap();
    tape.vector_jacobian(&[(loss, ndarray::arr0(1.0).into_dyn())], BackwardMode::Showing).unwrap();
    let trace = recorder.finish(loss).unwrap();
    let [forward, backward] = [Step::Forward, Step::Backward];
    assert_eq!(trace.steps, [forward(0), forward(1), backward(1), backward(0)]);
    assert_eq!(trace.find("x").unwrap().parts.len(), 1);
}

#[test]
fn a_loss_that_is_no_number_is_there_when_the_trace_is_read() {
    let tape = Tape::new(Context::sequential());
    let recorder = Recorder::new(&tape, "the logarithm of a negative number");
    let x = recorder.name("x", tape.input(arr0(-1.0)));
    let trace = recorder.finish(x.ln().unwrap()).unwrap();
    let text = serde_json::to_string(&trace).unwrap();
    assert!(text.contains(r#""loss":"NaN""#), "{text}");
    let back: Trace = serde_json::from_str(&text).unwrap();
    assert!(back.loss.is_some_and(f64::is_nan));
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    // Without a loss there is none.
    let none: Trace = serde_json::from_str(&text.replacen(r#""loss":"NaN","#, "", 1)).unwrap();
    assert_eq!(none.loss, None);
    let series = lessons::Series { name: "norms".into(), points: vec![(1, f64::NAN), (2, 0.5)] };
    let text = serde_json::to_string(&series).unwrap();
    assert_eq!(text, r#"{"name":"norms","points":[[1,"NaN"],[2,0.5]]}"#);
    let back: lessons::Series = serde_json::from_str(&text).unwrap();
    assert!(back.points[0].1.is_nan() && back.points[1] == (2, 0.5));
}
