//! `unspool bench` as users meet it: mistakes are one clear line, results a table, JSON, pictures
//! and baselines.

use std::fs;
use std::path::Path;
use std::process::Command;

use unspool_bench::{Machine, MachineSettings, Report};

/// How a process ended, and what it said.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(folder: &Path, args: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unspool"));
    command.current_dir(folder).arg("bench").args(args.split_whitespace());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Holds how a run ended to its exit, and to parts of what it said.
#[track_caller]
fn check(folder: &Path, args: &str, code: i32, err: &str, out: &[&str]) -> Ended {
    let ended = run(folder, args);
    let all = format!("{args}\n{:?}\n{}\n{}", ended.code, ended.out, ended.err);
    assert_eq!(ended.code, Some(code), "{all}");
    assert!(ended.err.contains(err), "not {err:?}: {all}");
    assert!(out.iter().all(|part| ended.out.contains(part)), "not {out:?}: {all}");
    assert!(!ended.err.contains("panicked") && !ended.err.contains('\x1b'), "{all}");
    if code == 1 {
        let last = ended.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(err), "{all}");
    }
    ended
}

#[test]
fn mistakes_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("shapes"), "64x640x1024 # the gates\n1x2\n").unwrap();
    fs::write(folder.join("shapes.toml"), "sizes = []\n").unwrap();
    fs::write(folder.join("report.json"), "{}").unwrap();
    for (args, code, err) in [
        ("--shapes shapes", 1, "shapes: line 2: \"1x2\" is no shape"),
        ("--shapes shapes.toml", 1, "sizes"),
        ("--shapes none", 1, "none: "),
        ("--shape 0x1x2", 2, "\"0x1x2\" is no shape"),
        ("--kernel mine", 1, "no \"mine\" on this machine"),
        ("--compare naive mine", 1, "no \"mine\" on this machine"),
        ("pointwise --compare naive portable", 1, "have no work in common"),
        ("--seconds 0", 1, "--seconds 0: must be above 0"),
        ("--show none", 1, "none.json: "),
        ("--show report.json", 1, "report.json: not a report"),
        ("--show report.json --quick", 2, "cannot be used with"),
        ("--plot rates.gif", 1, "rates.gif"),
        ("--plot nowhere/rates.svg", 1, "nowhere"),
        (
            "the-lot",
            2,
            "values: peak, product, pointwise, softmax, cells, attention, embedding, packing",
        ),
    ] {
        check(folder, args, code, err, &[]);
    }
    check(folder, "--help", 0, "", &["Examples:", "unspool bench --quick", "A shape is MxKxN"]);
}

#[test]
fn results_are_kept_and_shown_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let what = "--quick --seconds 0.001 --threads 1 --shape 3x8x5 --shape 9x9x9";
    let ended = check(
        folder,
        &format!("{what} --save before"),
        0,
        "kept in target/bench/before.json",
        &[
            "GFLOP/s",
            "GB/s",
            "3x8x5",
            "forward, packed",
            "pack transposed",
            "softmax, d_x",
            "tanh",
            "lstm backward",
            "dot attention, forward and backward",
            "embedding, forward",
        ],
    );
    let rows = ended.out.lines().filter(|line| line.contains("f32 ")).count();
    let report = Report::read(&folder.join("target/bench/before.json")).unwrap();
    assert_eq!(rows, report.measurements.len() + 1, "{}", ended.out);

    let shown =
        check(folder, "--show before --plot rates.svg --roofline roof.png", 0, "", &["3x8x5"]);
    assert_eq!(shown.out, ended.out);
    assert!(fs::read_to_string(folder.join("rates.svg")).unwrap().contains("GFLOP/s"));
    assert!(fs::read(folder.join("roof.png")).unwrap().starts_with(b"\x89PNG"));

    let again = check(folder, "--show before --against before --json", 0, "", &[]);
    let value: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(value["measurements"].as_array().unwrap().len(), report.measurements.len());
    for change in value["changes"].as_array().unwrap() {
        assert_eq!((&change["speed"], &change["direction"]), (&1.0.into(), &"same".into()));
    }

    // Another machine is told.
    let settings = MachineSettings { threads: vec![1], rounds: 1, seconds: 1e-6, memory: false };
    let mut other = Report::new(Machine::measure(&settings, |_, _| {}), Vec::new());
    other.machine.processor = "an abacus".into();
    other.write(&folder.join("other.json")).unwrap();
    check(folder, "--show before --against other.json", 0, "on another: an abacus", &[]);
}

#[test]
fn kernels_and_functions_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let what = "--quick --seconds 0.001 --threads 1 --shape 20x30x40 --compare";
    for (args, parts) in [
        (
            format!("product packing {what} naive portable"),
            ["forward, packed 20x30x40", "pack 40x30"],
        ),
        (format!("pointwise softmax {what} fast naive"), ["tanh 4096 f32", "softmax 64x20"]),
        (
            format!("cells attention {what} fast naive"),
            ["gru forward 64x256 f32", "additive attention, forward 64x128"],
        ),
        (format!("product {what} naive naive --number f64"), ["f64", "naive against itself"]),
    ] {
        check(folder.path(), &args, 0, "", &parts);
        let ended = check(folder.path(), &format!("{args} --json"), 0, "", &[]);
        let value: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let comparisons = value["comparisons"].as_array().unwrap();
        assert!(!comparisons.is_empty());
        for comparison in comparisons {
            assert!(comparison["speed"]["low"].as_f64() <= comparison["speed"]["high"].as_f64());
            let identities = ["a", "b"].map(|side| comparison[side]["identity"].clone());
            let [a, b] = identities.map(|mut identity| {
                identity["variant"].take();
                identity
            });
            assert_eq!(a, b);
        }
    }
}
