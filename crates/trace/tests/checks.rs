//! What the checks say: right, wrong, or that it cannot be told.

use unspool_trace::lessons;
use unspool_trace::{Trace, Verdict};

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
    let rows: [Row; 3] = [
        ("relu(x)", &[("x", 1.0)], "x", Right, "✓"),
        ("relu(x)", &[("x", 0.0)], "x", Untold, "– cannot be told: a kink"),
        ("relu(x)*y", &[("x", 0.0), ("y", 2.0)], "y", Right, "✓"),
    ];
    for (text, values, name, verdict, shown) in rows {
        let trace = expression(text, values);
        let check = trace.find(name).unwrap().check.clone().unwrap();
        assert_eq!(check.verdict(), verdict, "d_{name} of {text}: {check:?}");
        assert_eq!(check.passes(), verdict == Right, "d_{name} of {text}");
        let whole = trace.to_string();
        let line = whole.lines().rfind(|line| line.contains(&format!("d_{name} ="))).unwrap();
        assert!(line.contains(shown), "{line}");
    }
}
