//! The table of cases of the ops and of the layers against PyTorch's numbers, forward and backward.
//!
//! `tests/golden/README.md` says what the files hold and how to make them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use ndarray::ArrayD;
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::op::DynOp;
use unspool_tensor::{BackwardMode, Context, Tape};

#[path = "golden/files.rs"]
mod files;

/// The bound promised to users is 1e-9; this is what double precision really gives.
const TOLERANCE: f64 = 1e-12;

/// Rows with these prefixes have tests of their own: whole layers in `crates/layers`, whole models
/// in `tests/golden_models.rs`.
const ELSEWHERE: [&str; 2] = ["layer/", "model/"];

fn cases() -> Vec<Case> {
    let mut cases = unspool_tensor::cases::cases();
    cases.extend(unspool_layers::cases());
    cases
}

/// All arrays of all files, by `case|array`.
fn golden() -> BTreeMap<String, ArrayD<f64>> {
    let version = include_str!("golden/requirements.txt").lines().find_map(|line| {
        let version = line.strip_prefix("torch==")?;
        Some(version.to_owned())
    });
    let mut arrays = BTreeMap::new();
    for entry in fs::read_dir(files::folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let (more, about) = files::read(&path);
        assert_eq!(about.get("torch"), version.as_ref(), "{}", path.display());
        for (name, array) in more {
            assert!(arrays.insert(name.clone(), array).is_none(), "{name} is in two files");
        }
    }
    arrays
}

#[test]
fn every_case_has_the_numbers_of_pytorch() {
    let golden = golden();
    let mut failures = Vec::new();
    for case in cases() {
        let array = |what: String| golden.get(&format!("{}|{what}", case.name));
        let names: Vec<_> = case.inputs.iter().map(|input| input.name).collect();
        let Some(inputs) =
            names.iter().map(|name| array(format!("in.{name}"))).collect::<Option<Vec<_>>>()
        else {
            failures.push(format!("{}: no golden numbers", case.name));
            continue;
        };
        let tape = Tape::<f64>::new(Context::sequential());
        let vars: Vec<_> = inputs.into_iter().map(|x| tape.input(x.clone())).collect();
        let op: Arc<dyn DynOp<f64>> = case.op.clone();
        let outputs = tape.apply_shared(op, &vars).unwrap();
        let mut compare = |what: String, ours: &ArrayD<f64>| match array(what.clone()) {
            None => failures.push(format!("{}: no golden {what}", case.name)),
            Some(theirs) => {
                let distance = distance(ours, theirs);
                if distance > TOLERANCE {
                    failures.push(format!("{}: {what} is {distance:e} off", case.name));
                }
            }
        };
        for (k, y) in outputs.iter().enumerate() {
            compare(format!("out.{k}"), &y.value().to_owned());
        }
        let seeds: Vec<_> = (outputs.iter().enumerate())
            .filter_map(|(k, y)| Some((*y, array(format!("d_out.{k}"))?.clone())))
            .collect();
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
        for (name, &x) in names.iter().zip(&vars) {
            let zeros = || ArrayD::zeros(x.value().raw_dim());
            let d = grads.wrt(x).map_or_else(zeros, |d| d.to_owned());
            compare(format!("d_in.{name}"), &d);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_golden_row_belongs_to_a_case() {
    let cases: BTreeSet<String> = cases().into_iter().map(|case| case.name).collect();
    for name in golden().keys() {
        let row = name.split('|').next().unwrap_or_default();
        let elsewhere = ELSEWHERE.iter().any(|prefix| row.starts_with(prefix));
        assert!(elsewhere || cases.contains(row), "no case {row:?}");
    }
}
