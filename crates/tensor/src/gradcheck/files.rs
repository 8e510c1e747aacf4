//! Gradients that come from elsewhere, beside ours: another framework's, array by array.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Dimension};

use super::report::{ArrayReport, Element, Fault, Report, Verdict};
use super::subject::Argument;

/// Compares named arrays with those that are taken to be right: `analytic` in the report is `ours`,
/// `numeric` is `theirs`, and an error is a share of the largest number of their array.
///
/// An array that only one side has is a fault, and so is another shape.
pub fn compare_gradients(
    subject: &str,
    ours: &BTreeMap<String, ArrayD<f64>>,
    theirs: &BTreeMap<String, ArrayD<f64>>,
    tolerance: f64,
) -> Report {
    let mut report = Report {
        subject: subject.into(),
        tolerance,
        seed: 0,
        arrays: Vec::new(),
        faults: Vec::new(),
    };
    let problem = |problem: String| Fault::Failed { pass: "backward", problem };
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        report.faults.push(Fault::Missing { input: name.clone() });
    }
    for (name, ours) in ours {
        match theirs.get(name) {
            None => report.faults.push(problem(format!("{name} is in the first file alone"))),
            Some(theirs) if ours.shape() != theirs.shape() => {
                let (ours, theirs) = (ours.shape(), theirs.shape());
                report
                    .faults
                    .push(problem(format!("{name} has the shapes {ours:?} and {theirs:?}")));
            }
            Some(theirs) => report.arrays.push(compare(name, ours, theirs, tolerance)),
        }
    }
    report
}

fn compare(name: &str, ours: &ArrayD<f64>, theirs: &ArrayD<f64>, tolerance: f64) -> ArrayReport {
    let finite = theirs.iter().filter(|x| x.is_finite());
    let scale = finite.fold(0.0_f64, |top, x| top.max(x.abs()));
    let argument = Argument::new(name, ArrayD::zeros(theirs.raw_dim()));
    let mut array = ArrayReport::new(name, theirs.shape(), scale, theirs.len());
    for ((index, &analytic), &numeric) in ours.indexed_iter().zip(theirs) {
        let off = (analytic - numeric).abs();
        let error = if off == 0.0 { 0.0 } else { off / scale };
        if error <= tolerance {
            array.error = array.error.max(error);
            continue;
        }
        let error = if error.is_nan() { f64::INFINITY } else { error };
        array.error = array.error.max(error);
        array.add(Element {
            name: argument.place(index.slice()),
            index: index.slice().to_vec(),
            analytic,
            numeric,
            bound: 0.0,
            dual: None,
            error,
            verdict: Verdict::Fail,
            doubt: None,
        });
    }
    array.sorted()
}
