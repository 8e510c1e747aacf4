//! The command line as users meet it: every mistake is one clear line and a non-zero exit, nothing
//! is lost, and a training that is killed goes on to the same bits.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use resvg::tiny_skia::Pixmap;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Kernels};
use unspool_train::checkpoint;
use unspool_train::optimiser::OptimiserConfig;
use unspool_train::tasks::Task;

/// Sizes of a model that is trained in no time.
const TINY: &str = "--set model.hidden=8 --set model.embedding=8 --set model.attention_size=8";

/// How a process ended, and what it said.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The program, in a folder, with arguments between spaces.
fn unspool(folder: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unspool"));
    command.current_dir(folder).args(args.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
fn run(command: &mut Command, stdin: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that fails early reads no more.
        let _ = input.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Holds how a process ended to what is expected: its exit, and parts of what it said.
#[track_caller]
fn hold(what: &str, ended: &Ended, code: i32, err: &str, out: &str) {
    let Ended { code: found, out: stdout, err: stderr } = ended;
    let all =
        format!("{what}\nexit {found:?}\nstandard output: {stdout}\nstandard error: {stderr}");
    assert_eq!(*found, Some(code), "{all}");
    assert!(stderr.contains(err) && stdout.contains(out), "not {err:?} and {out:?}: {all}");
    assert!(!stderr.contains("panicked") && !stderr.contains('\x1b'), "{all}");
    if code == 1 {
        // What was said before, such as what is about to be done, is no part of the error.
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(err), "{all}");
        assert_eq!(stderr.matches("error: ").count(), 1, "{all}");
    }
}

/// Runs the program among the [`files`].
#[track_caller]
fn check(args: &str, stdin: &[u8], code: i32, err: &str, out: &str) {
    hold(args, &run(&mut unspool(files(), args), stdin), code, err, out);
}

/// A folder with files of every kind, and the runs `tiny` and, without attention, `plain`. Tests
/// write into it under names of their own alone.
fn files() -> &'static Path {
    static FILES: OnceLock<PathBuf> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("folder")).unwrap();
        let files: [(&str, &[u8]); 13] = [
            ("source", b"3 1 4\n1 5\n"),
            ("target", b"4 1 3\n5 1\n"),
            ("one", b"9 2\n"),
            ("pairs.tsv", b"3 1 4\t4 1 3\n1 5\t5 1\n"),
            ("gaps.source", b"3 1 4\n\n1 5\n"),
            ("gaps.target", b"4 1 3\n6\n5 1\n"),
            ("empty", b""),
            ("blank", b"\n\n"),
            ("binary", b"1 2\n\0\n"),
            ("latin1", b"1 2\n\xe9t\xe9\n"),
            ("numbers", b"1,2 3,4\n5,6\n"),
            ("garbage.jsonl", b"{\"event\":\"update\"}\n"),
            ("begun.jsonl", b"{\"event\":\"upd"),
        ];
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
        }
        for (name, attention) in [("tiny", "additive"), ("plain", "none")] {
            let train = format!(
                "train --task reverse --out {name} --quiet {TINY} --set data.task_size=64 \
                 --set training.max_updates=1 --set model.attention={attention}"
            );
            hold(&train, &run(&mut unspool(&folder, &train), b""), 0, "", "");
        }
        let log = fs::read_to_string(folder.join("tiny/log.jsonl")).unwrap();
        let infinite = log.replace("\"perplexity\":", "\"perplexity\":null,\"old\":");
        fs::write(folder.join("infinite.jsonl"), infinite).unwrap();
        folder
    })
}

#[test]
fn wrong_arguments_are_explained() {
    let rows = [
        ("", "Usage: unspool"),
        ("nope", "unrecognized subcommand 'nope'"),
        ("translate", "--model <RUN>"),
        ("translate --model tiny --beam 0", "--beam <N>"),
        ("translate --model tiny --beam 99999999999999", "--beam <N>"),
        ("translate --model tiny --n-best 0", "--n-best <N>"),
        ("translate --model tiny --batch 0", "--batch <N>"),
        ("translate --model tiny --max-length 99999999999999", "--max-length <N>"),
        ("translate --model tiny --beam 4 --top-p 0.5", "cannot be used with"),
        ("translate --model tiny --seed -1", "'-1'"),
        ("translate --model tiny --threads 100000", "--threads <N>"),
        ("translate --model tiny --quiet --verbose", "cannot be used with"),
        ("eval", "--model <RUN>"),
        ("eval --model tiny --hypotheses source", "cannot be used with"),
        ("eval --model tiny --references source", "cannot be used with"),
        ("eval --hypotheses source", "--references"),
        ("eval --hypotheses source --references target --tokenisation nope", "none, 13a"),
        ("plot tiny", "--out <FILE>"),
        ("tasks reverse", "--out <FOLDER>"),
        ("tasks nope --out x", "there is no task \"nope\""),
        ("tasks reverse --out x --size 99999999999", "--size <N>"),
        ("completions nope", "[possible values: bash"),
        ("train", "--out <FOLDER>"),
        ("train --resume tiny --overwrite", "cannot be used with"),
        ("train --out x --set model.hidden", "write KEY=VALUE"),
    ];
    for (args, err) in rows {
        check(args, b"", 2, err, "");
    }
}

#[test]
fn impossible_settings_are_named() {
    let rows = [
        ("--n-best 9 --beam 2", "--n-best 9 needs at least --beam 9"),
        ("--n-best 2 --top-p 0.5", "--n-best goes with --beam"),
        ("--top-p 0", "top-p must be greater than 0"),
        ("--top-p 1.5", "top-p must be"),
        ("--top-p nan", "top-p must be"),
        ("--top-k 0", "top-k must keep"),
        ("--temperature 0", "the temperature must be"),
        ("--temperature -1", "the temperature must be"),
        ("--temperature inf", "the temperature must be"),
        ("--length-penalty nan", "--length-penalty NaN"),
        ("--length-penalty -1 --beam 2", "--length-penalty -1"),
        ("--max-length 0", "--max-length 0"),
        ("--max-length 3 --min-length 3", "--max-length 3, --min-length 3"),
    ];
    for (options, err) in rows {
        check(&format!("translate --model tiny {options}"), b"1 2\n", 1, err, "");
        check(&format!("eval --model tiny --data source target {options}"), b"", 1, err, "");
    }
    check("translate --model tiny --min-length 40 --max-length 41", b"1\n", 0, "", "");
    check("translate --model tiny --min-length 40", b"1\n", 0, "", "");
}

#[test]
fn gradients_are_checked_from_the_command_line() {
    check("gradcheck --op softmax/axis_1", b"", 0, "2 pass, 0 undecided, 0 fail", "");
    check("gradcheck --layer lstm_step --f32 --quiet", b"", 0, "", "");
    let rows = [
        ("gradcheck --op nope", "nothing has such a name"),
        ("gradcheck --op exp --tolerance 0", "--tolerance 0: must be above 0"),
        ("gradcheck --model nope --input 1", "nope: "),
        ("gradcheck --model tiny --input 1 --input 2 --target 1", "1 --target for 2 --input"),
        ("gradcheck --jacobians", "--jacobians: of which?"),
        ("gradcheck --compare source tiny/best.safetensors", "source: not a whole safetensors"),
        ("gradcheck --compare tiny/best.safetensors nope", "nope: "),
    ];
    for (args, err) in rows {
        let ended = run(&mut unspool(files(), args), b"");
        assert_eq!(ended.code, Some(1), "{args}: {}", ended.err);
        assert!(ended.err.contains(err), "{args}: {}", ended.err);
    }
    let pair = run(&mut unspool(files(), "gradcheck --op tanh --jacobians"), b"");
    assert!(pair.out.contains("output 0 by x: backward | differences"), "{}", pair.out);
    assert!(pair.out.contains("no number differs"), "{}", pair.out);
    let both = run(
        unspool(files(), "gradcheck --model tiny --json").args(["--input", "3", "--input", "1 2"]),
        b"",
    );
    assert_eq!(both.code, Some(0), "{}", both.err);
    let json: serde_json::Value = serde_json::from_str(&both.out).unwrap();
    assert_eq!(json["checks"][0]["verdict"], "pass", "{json:#}");
    // A file agrees with itself, and a model's nodes are all right.
    check("gradcheck --compare tiny/best.safetensors tiny/best.safetensors", b"", 0, "1 pass", "");
    let nodes = run(&mut unspool(files(), "gradcheck --model tiny --input 3 --nodes"), b"");
    assert!(nodes.err.contains("0 fail") && nodes.out.contains("decoder"), "{}", nodes.err);
}

#[test]
fn a_training_step_is_walked_through_from_the_command_line() {
    check("trace --list", b"", 0, "", "through-time");
    check("trace neuron", b"", 0, "0 wrong", "y = tanh(x)");
    check("step neuron --keys g", b"", 0, "", "Local rule");
    check("step neuron --script -", b"n # on\nscreen n screen", 0, "", "forward 3/17");
    check("step --expr w*x --let w=-2 --let x=3 --keys p", b"", 0, "", "+3.0000");
    check("step --exercise list", b"", 0, "", "lstm-cell");
    check("trace lstm-cell --depth 0 --quiet", b"", 0, "", "opens into simpler nodes");
    check("trace --expr w*x+b --let w=-2 --let x=3 --let b=0.5", b"", 0, "0 wrong", "result -5.5");
    let rows = [
        ("trace", "which lesson?"),
        ("trace perceptron", "no lesson \"perceptron\"; there are neuron, "),
        ("trace --expr x+*y", "column 3 of \"x+*y\": something is missing before '*'"),
        ("trace --expr x*y --let x=1", "y has no value: add --let y=1"),
        ("trace --expr x --let x=1 --let z=1", "there is no z in the expression; it has x"),
        ("trace --expr x --let x=nan", "\"nan\" is not a finite number"),
        ("trace --expr x --let x", "write NAME=VALUE"),
        ("trace --expr x --let x=1 --let x=2", "x has a value already"),
        ("trace --expr log(x) --let x=-1", "is NaN for these values"),
        ("trace --expr 1+2", "has no variable"),
        ("trace neuron --json nope/a.json", "there is no folder nope"),
        ("trace neuron --html nope/a.html", "there is no folder nope"),
        ("step neuron", "this is not a terminal: --script FILE or --keys"),
        ("step perceptron --keys n", "no lesson \"perceptron\"; there are neuron, "),
        (
            "step neuron --keys foo",
            "line 1, column 1: \"foo\" is no key: a key is a character, or one of enter, ",
        ),
        ("step neuron --script nope.keys", "nope.keys: "),
        ("step --exercise nope", "no exercise \"nope\"; there are neuron, "),
        ("step --exercise neuron", "add --out neuron"),
        (
            "step --exercise neuron --out n --unspool nope",
            "nope: give the folder of Unspool's source",
        ),
        ("trace --model nope --input 1", "nope: "),
        ("trace --model tiny --input 1 --rate nan", "--rate NaN: must be a finite number"),
        ("trace --model tiny --input 1 --input 2 --target 1", "1 --target for 2 --input"),
    ];
    for (args, err) in rows {
        let ended = run(&mut unspool(files(), args), b"");
        assert_eq!(ended.code, Some(1), "{args}: {}", ended.err);
        assert!(ended.err.contains(err), "{args}: {}", ended.err);
    }
    check("trace neuron --html walk.html", b"", 0, "walk.html: open it in a browser", "");
    let html = fs::read_to_string(files().join("walk.html")).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("One neuron"));
    let lesson = run(&mut unspool(files(), "trace softmax --json -"), b"");
    let json: serde_json::Value = serde_json::from_str(&lesson.out).unwrap();
    assert_eq!(json["traces"][0]["nodes"][0]["op"], "cross_entropy", "{json:#}");
    assert_eq!(json["traces"][0]["nodes"][0]["opened"]["trace"]["nodes"][0]["op"], "log_softmax");
    check("trace --model tiny --input 3 --json trace.json", b"", 0, "0 wrong", "");
    let written = fs::read_to_string(files().join("trace.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert!(json["update"]["loss_after"].as_f64() < json["loss"].as_f64(), "{json:#}");
    check("trace --model tiny --input 3 --target 3", b"", 0, "0 wrong", "decoder.embedding.weight");
    // Every number, those of the padding's row too.
    check("trace --model tiny --input 3 --full --quiet", b"", 0, "", "0 wrong");
}

/// What a trace shows behind the backward pass is what training does next, to `f32`'s rounding.
#[test]
fn the_update_of_a_trace_is_the_next_one_of_the_run() {
    let folder = files();
    fs::write(folder.join("pair.source"), "a b c\n").unwrap();
    fs::write(folder.join("pair.target"), "c b a\n").unwrap();
    let optimisers = [
        ("adam", ", update 4 of the run", ""),
        ("adamw", "AdamW, update 4", "--set training.clip_norm=0.1"),
        ("sgd", "gradient descent with momentum", "--set training.optimiser.momentum=0.5"),
    ];
    for (name, title, more) in optimisers {
        let train = |updates: u64| {
            let args = format!(
                "train --train pair.source pair.target --validation pair.source pair.target {TINY} \
                 --set training.optimiser.name={name} {more} --set training.max_updates={updates} \
                 --out next-{name}-{updates}"
            );
            check(&args, b"", 0, "", "");
            let file = folder.join(format!("next-{name}-{updates}/last.safetensors"));
            checkpoint::load(&file, Context::sequential()).unwrap().model
        };
        let [before, after] = [3, 4].map(train);
        let mut trace = unspool(
            folder,
            &format!("trace --numbers 99999 --model next-{name}-3/last.safetensors"),
        );
        trace.args(["--input", "a b c", "--target", "c b a", "--quiet", "--json", "-"]);
        let ended = run(&mut trace, b"");
        let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let said = json["update"]["title"].as_str().unwrap();
        assert!(said.contains(title), "{said}");
        let mut compared = 0;
        for value in json["values"].as_array().unwrap() {
            let Some(updated) = value["updated"]["numbers"].as_array() else { continue };
            let name = value["name"].as_str().unwrap();
            let find = |params: &unspool_tensor::ParamStore<f32>| {
                params.get(params.find(name).unwrap()).clone()
            };
            let (before, after) = (find(before.params()), find(after.params()));
            for ((updated, &before), &after) in updated.iter().zip(&before).zip(&after) {
                let off = (updated.as_f64().unwrap() - f64::from(after)).abs();
                assert!(off < 2e-5, "{name}: {before} became {after}, not {updated}");
                compared += 1;
            }
        }
        assert_eq!(compared, before.params().numel(), "{said}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let rows = [
        ("translate --model nope", "nope: "),
        ("translate --model folder", "folder: no run is here (neither best.safetensors nor last"),
        ("translate --model source", "source: not an Unspool checkpoint"),
        ("translate --model empty", "empty: not an Unspool checkpoint"),
        ("translate --model tiny --input nope", "nope: "),
        ("translate --model tiny --input folder", "folder: is a directory"),
        ("translate --model tiny --input empty", "empty: the file is empty"),
        ("translate --model tiny --input binary", "binary:2: not a text file"),
        ("translate --model tiny --input latin1", "latin1:2:1: not valid UTF-8"),
        ("eval --model tiny --data source", "source:1: expected one tab"),
        ("eval --model tiny --data source one", "source has 2 lines but one has 1"),
        ("eval --model tiny --data source empty", "empty: the file is empty"),
        ("eval --model tiny --data blank blank", "blank: every one of 2 lines is blank"),
        ("eval --model tiny --split nope", "--split nope: the task has train, validation"),
        ("eval --hypotheses source --references one", "one: 1 lines, but 2 hypotheses"),
        ("eval --hypotheses source --references target binary", "binary:2: not a text file"),
        ("eval --hypotheses nope --references source", "nope: "),
        ("inspect nope", "nope: "),
        ("inspect folder", "folder: no run is here (neither best.safetensors nor last"),
        ("inspect numbers", "numbers: not an Unspool checkpoint"),
        ("plot nope --out x.svg", "nope: "),
        ("plot folder --out x.svg", "folder: no run is here (no log.jsonl)"),
        ("plot folder --by-length --out x.svg", "folder: no run is here (neither best"),
        ("plot empty --out x.svg", "empty: no line of a training log"),
        ("plot begun.jsonl --out x.svg", "begun.jsonl: no line of a training log"),
        ("plot binary --out x.svg", "binary: line 1 is not a record"),
        ("plot latin1 --out x.svg", "latin1: line 1 is not a record"),
        ("plot garbage.jsonl --out x.svg", "garbage.jsonl: line 1 is not a record"),
        ("plot tiny/best.safetensors --out x.svg", "tiny/best.safetensors: line 1 is not a record"),
        ("train --resume nope", "nope: there is no such folder"),
        ("train --resume folder", "folder: no run is here (no last.safetensors); give the folder"),
        ("train --resume source", "source: is a file; --resume takes the folder of a run"),
        ("train nope.toml --out x", "nope.toml: "),
        ("train binary --out x", "binary: line 1, column 3: "),
        ("train latin1 --out x", "latin1: line 2, column 1: not valid UTF-8"),
        ("train folder --out x", "folder: "),
        ("train empty --out x", "empty: data.train: "),
        ("train --out x", "data.train: "),
        ("train --out x --train source a.toml", "unspool train a.toml --train .."),
        ("train --out x --train source target a.toml", "unspool train a.toml --train .."),
        ("train --out x --train source target one", "--train: takes two parallel files, or one"),
        ("train empty --out x --validation source target one", "but 3 were given"),
        ("train --train source target --out x", "data.validation: "),
        ("train --train source one --validation source target --out x", "source has 2 lines but"),
        ("train --train source nope --validation source target --out x", "nope: "),
        ("train --train source --validation source --out x", "source:1: expected one tab"),
        ("train --train binary binary --validation source target --out x", "binary:2: not a text"),
        (
            "train --train source target --validation source target --out x \
             --set data.max_length=1",
            "data.max_length",
        ),
    ];
    for (args, err) in rows {
        check(args, b"1 2\n", 1, err, "");
    }
    assert!(!files().join("x").exists() && !files().join("x.svg").exists());
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let rows = [
        ("translate --model tiny --output nope/x", "nope/x: there is no folder nope"),
        ("translate --model tiny --output folder", "folder: is a directory"),
        ("translate --model tiny --attention x.gif", "x.gif: a picture's name must end in"),
        ("translate --model tiny --attention x", "x: a picture's name must end in"),
        ("translate --model tiny --attention nope/x.svg", "nope/x.svg: there is no folder nope"),
        ("plot tiny --out x.gif", "x.gif: a picture's name must end in"),
        ("plot tiny --out nope/x.svg", "nope/x.svg: there is no folder nope"),
        ("plot tiny --by-length --out nope/x.svg", "nope/x.svg: there is no folder nope"),
        ("translate --model tiny --input source --output source", "source: is read too"),
        ("translate --model tiny --input source --output folder/../source", "source: is read too"),
        ("translate --model tiny --output tiny/best.safetensors", "best.safetensors: is read too"),
        ("tasks reverse --out tiny", "tiny: is already there"),
        ("tasks reverse --out source", "source: is already there"),
        ("tasks reverse --out source/x", "source/x: "),
        ("train --task reverse --out tiny", "tiny: already holds a training run"),
        ("train --task reverse --set data.task_size=9 --out source", "source: is a file; --out"),
        ("train --task reverse --set data.task_size=9 --out source/x", "source/x: "),
        ("demo --set data.task_size=9 --out source", "source: is a file; --out takes a folder"),
        ("demo --set data.task_size=9 --out source/x", "source/x: "),
        ("trace neuron --html nope/x", "nope/x: there is no folder nope"),
        ("trace neuron --json x --html x", "x: is for both --json and --html"),
        (
            "trace --model tiny --input 1 --json tiny/best.safetensors",
            "best.safetensors: is read too",
        ),
        (
            "trace --model tiny --input 1 --html tiny/best.safetensors",
            "best.safetensors: is read too",
        ),
        ("trace neuron --html folder", "folder: is a directory"),
        ("draw neuron --out x.svg --computation 2", "--computation 2: there is 1 alone"),
        ("draw neuron --out x.svg --open x", "--open x: no op here is made of simpler ones"),
        ("trace --expr x --let \u{1b}z", "--let"),
    ];
    for (args, err) in rows {
        check(args, b"1 2\n", 1, err, "");
    }
    let page = run(&mut unspool(files(), "trace neuron --html -"), b"");
    assert!(page.out.starts_with("<!doctype html>"), "{}", &page.out[..page.out.len().min(99)]);
    assert_eq!(fs::read(files().join("source")).unwrap(), b"3 1 4\n1 5\n");
}

#[test]
fn wrong_configurations_name_the_key() {
    let sets = [
        ("model.hidden=0", "must be at least 1"),
        ("model.hidden=x", "must be a whole number"),
        ("model.hidden=-8", "must be a whole number"),
        ("model.hidden=65536", ""),
        ("model.hidden=99999999999999999999", ""),
        ("model.embedding=65536", ""),
        ("model.encoder_layers=65", ""),
        ("model.readout_size=99999999999999999", ""),
        ("model.hiden=1", "unknown field"),
        ("modell.hidden=1", "there is no table \"modell\""),
        ("model=3", ""),
        ("=3", "unknown field"),
        ("..=3", "there is no table"),
        ("model.bridge=last", ""),
        ("model.dropout.embedding=1", ""),
        ("model.init.deviation=nan", ""),
        ("training.seed=-1", ""),
        ("training.seed=9223372036854775808", "a whole number is at most 9223372036854775807"),
        ("training.learning_rate=nan", ""),
        ("training.optimiser.name=nope", ""),
        ("training.optimiser.beta1=1", ""),
        ("training.schedule.name=exponential", "missing field `factor`"),
        ("training.schedule={name=\"exponential\",factor=2}", "training.schedule.factor: "),
        ("training.teacher_forcing.updates=0", ""),
        ("training.epochs=0 --set training.max_updates=0", ""),
        ("data.batch_size=0", ""),
        ("data.source_kind=vectors", ""),
    ];
    let train = format!("train --task reverse --out config {TINY} --set training.max_updates=1");
    for (set, err) in sets {
        let first = set.split(" --set ").next().unwrap_or_default();
        let err = format!("error: --set {first}: {err}");
        check(&format!("{train} --set {set}"), b"", 1, &err, "");
    }
    check(&format!("{train} --set data.train=source,target"), b"", 1, "error: data.task: ", "");
    let nested = format!("[data]\ntrain = {}", "[".repeat(100_000));
    let texts = [
        ("[model]\nhidden = 3\n", "--set model.hidden=0", "error: --set model.hidden=0: must be"),
        ("[model]\nhidden = 3\n", "--set model.hidden=x", "error: --set model.hidden=x: must"),
        (
            "[model]\nbridge = 'last'\nbidirectional = false\n",
            "--set model.bidirectional=true",
            "error: model.bridge: ",
        ),
        ("[training]\nepochs = 0\n", "", "error: config.toml: training.epochs: "),
        ("[model]\nhiden = 3\n", "", "error: config.toml: line 2, column 1: model.hiden: unknown"),
        ("[model]\nhidden = 'x'\n", "", "error: config.toml: line 2, column 10: model.hidden: "),
        ("[model\n", "", "error: config.toml: line 1, column 7: "),
        ("[model]\nhidden = 1\nhidden = 2\n", "", "config.toml: line 3, column 1: model.hidden: "),
        ("[model]\nhidden = 0\n", "", "error: config.toml: model.hidden: must be at least 1"),
        (&nested, "", "error: config.toml: line 2, column "),
    ];
    for (text, sets, err) in texts {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), text).unwrap();
        let args = format!("train config.toml --task reverse --out run {sets}");
        let ended = run(&mut unspool(folder.path(), &args), b"");
        hold(text, &ended, 1, err, "");
        assert!(!folder.path().join("run").exists());
    }
    assert!(!files().join("config").exists());
}

#[test]
fn line_n_of_the_output_belongs_to_line_n_of_the_input() {
    let translate = |options: &str, stdin: &[u8]| {
        let args = format!("translate --model tiny {options}");
        let ended = run(&mut unspool(files(), &args), stdin);
        hold(&args, &ended, 0, "", "");
        ended.out
    };
    let plain = translate("", b"3 1 4\n1 5\n");
    let lines: Vec<&str> = plain.lines().collect();
    assert_eq!(lines.len(), 2);
    let [first, second] = lines[..] else { unreachable!() };
    let rows: [(&[u8], String); 9] = [
        (b"", String::new()),
        (b"\n", "\n".into()),
        (b"3 1 4", format!("{first}\n")),
        (b"3 1 4\r\n1 5\r\n", plain.clone()),
        (b"\xef\xbb\xbf3 1 4\n1 5\n", plain.clone()),
        (b"\n \n3 1 4\n\t\n1 5\n\n", format!("\n\n{first}\n\n{second}\n\n")),
        (b"  3  1 4 \n", format!("{first}\n")),
        (b"x y z\n", translate("", b"u v w\n")),
        (b"1 5\n3 1 4\n", format!("{second}\n{first}\n")),
    ];
    for (stdin, expected) in rows {
        for options in ["", "--batch 1", "--batch 2", "--threads 2"] {
            let text = String::from_utf8_lossy(stdin);
            assert_eq!(translate(options, stdin), expected, "{options} {text:?}");
        }
    }
    // Random draws belong to the line, whatever is blank or batched around it.
    let sampled = translate("--temperature 2", b"\n3 1 4\n\n1 5\n");
    assert_eq!(translate("--temperature 2 --batch 1", b"\n3 1 4\n\n1 5\n"), sampled);
    let numbers = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split('\t').next().unwrap().into()).collect()
    };
    assert_eq!(numbers(&translate("--beam 2 --n-best 2", b"1\n\n2\n")), ["1", "1", "2", "3", "3"]);
    assert_eq!(translate("--max-length 3", "1 ".repeat(20_000).as_bytes()).lines().count(), 1);

    // What stands before a line that cannot be read is translated.
    let rows: [(&[u8], &str); 2] = [
        (b"3 1 4\n1\x002\n1 5\n", "standard input, line 2: not a text"),
        (b"3 1 4\n3 \xff 4\n1 5\n", "standard input, line 2: not valid UTF-8"),
    ];
    for (stdin, err) in rows {
        let ended = run(&mut unspool(files(), "translate --model tiny"), stdin);
        hold("translate --model tiny", &ended, 1, err, "");
        assert_eq!(ended.out, format!("{first}\n"));
    }
    check("translate --model tiny --model tiny --beam 2", b"1 5\n", 0, "", "\n");
}

#[test]
fn what_a_model_does_not_know_is_told() {
    let translate = |options: &str, stdin: &str| {
        let args = format!("translate --model tiny {options}");
        let ended = run(&mut unspool(files(), &args), stdin.as_bytes());
        hold(&args, &ended, 0, "", "");
        ended
    };
    let lines = "x 1 y x\n3 1\n\nz\n";
    let told = "line 1: not in the vocabulary: x, y\nline 4: not in the vocabulary: z\n";
    for (options, expected) in [("", told), ("--batch 1 --beam 2", told), ("--quiet", "")] {
        assert_eq!(translate(options, lines).err, expected, "{options}");
    }
    assert_eq!(translate("", &"x\n".repeat(13)).err.lines().count(), 11);
    assert!(translate("", &"x\n".repeat(13)).err.ends_with(
        "3 more lines have words that are not \
                                                             in the vocabulary\n"
    ));
    let unknown: Vec<serde_json::Value> = (translate("--json", lines).out.lines())
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["unknown"].clone())
        .collect();
    assert_eq!(serde_json::json!(unknown), serde_json::json!([["x", "y"], [], [], ["z"]]));

    // Pairs that are left out of a score are told too.
    let eval = "eval --model tiny --data";
    check(&format!("{eval} gaps.source gaps.target"), b"", 0, "1 pairs with a blank side", "");
    let scores = ["gaps.source gaps.target", "source target", "pairs.tsv"].map(|data| {
        let ended = run(&mut unspool(files(), &format!("{eval} {data}")), b"");
        hold(data, &ended, 0, "", "2 sentences: ");
        ended.out
    });
    assert!(scores.iter().all(|score| *score == scores[0]), "{scores:?}");
}

#[test]
fn attention_is_drawn_of_those_models_that_have_it() {
    let rows = [
        ("--model plain", 1, "--attention: the model has none"),
        ("--model plain --model plain", 1, "--attention: none of the models has any"),
        ("--model tiny", 0, "line 2: nothing to draw, so there is no look-2.svg"),
        ("--model plain --model tiny", 0, ""),
        ("--model tiny --model plain", 0, ""),
    ];
    for (models, code, err) in rows {
        let _ = fs::remove_file(files().join("look.svg"));
        check(&format!("translate {models} --attention look.svg"), b"1 2\n\n", code, err, "");
        assert_eq!(files().join("look.svg").exists(), code == 0, "{models}");
    }
    check("plot tiny plain --by-length --out by-length.svg", b"", 0, "", "by-length.svg");
    let svg = fs::read_to_string(files().join("by-length.svg")).unwrap();
    assert!(svg.contains("source length") && svg.contains(">plain<"));
}

#[test]
fn a_model_of_vectors_reads_vectors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["numbers", "target"] {
        fs::copy(files().join(name), folder.path().join(name)).unwrap();
    }
    let at = |args: &str, stdin: &[u8], code, err| {
        hold(args, &run(&mut unspool(folder.path(), args), stdin), code, err, "");
    };
    let train = format!(
        "train --train numbers target --validation numbers target --out run --quiet {TINY} \
         --set data.source_kind=vectors --set training.epochs=1"
    );
    at(&train, b"", 0, "");
    at("translate --model run --attention look.svg", b"1,2 3,4\n\n5,6\n", 0, "");
    let pictures = ["look.svg", "look-2.svg", "look-3.svg"];
    assert_eq!(pictures.map(|name| folder.path().join(name).exists()), [true, false, true]);
    at("translate --model run", b"1,2\n1,2,3\n", 1, "standard input, line 2: column 1 (frame 1): ");
    at("eval --model run --data numbers", b"", 1, "--data: takes two parallel files");
    at("translate --model run", b"1,x\n", 1, "\"x\" is not a finite number");
    at("eval --model run", b"", 1, "--data");
    at("eval --model run --data numbers target", b"", 0, "");
    let tiny = files().join("tiny");
    let both = format!("translate --model run --model {}", tiny.display());
    at(&both, b"1,2\n", 1, "different vocabularies");
}

#[test]
fn json_is_json_and_help_has_examples() {
    let rows = [
        ("translate --model tiny --json", 2),
        ("translate --model tiny --json --beam 3 --n-best 2", 2),
        ("eval --model tiny --data source target --json", 1),
        ("eval --model tiny --data source target --json --beam 2", 1),
        ("eval --hypotheses source --references target source --json", 1),
        ("inspect tiny --json", 1),
        ("tasks --json", 2),
        ("kernels --json", Kernels::default().listing().len()),
        ("tasks reverse --out json-task --size 9 --json", 8),
        ("train --resume tiny --json", 1),
    ];
    for (args, lines) in rows {
        let ended = run(&mut unspool(files(), args), b"1 2\n\n");
        hold(args, &ended, 0, "", "");
        assert_eq!(ended.out.lines().count(), lines, "{args}: {}", ended.out);
        for line in ended.out.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value.is_object(), "{args}: {line}");
        }
    }
    let commands = [
        "demo",
        "train",
        "translate",
        "eval",
        "tasks",
        "plot",
        "inspect",
        "kernels",
        "gradcheck",
        "trace",
        "completions",
    ];
    for command in commands {
        check(&format!("{command} --help"), b"", 0, "", "Examples:");
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        check(&format!("completions {shell}"), b"", 0, "", "translate");
    }
    check("plot infinite.jsonl --out json.svg", b"", 0, "", "json.svg");
}

/// Bits of the header and of the tensors changed, and the file cut at many places: all is noticed.
#[test]
fn damaged_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.safetensors");
    let whole = fs::read(files().join("tiny/last.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let refused = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        let error = checkpoint::load(&path, Context::sequential()).expect_err(&what).to_string();
        let start = format!("{}: ", path.display());
        assert!(error.starts_with(&start) && !error.contains('\n'), "{what}: {error}");
    };
    let key = Key::new(1);
    let places = (0..header).step_by(17).chain(0..16).chain((header..whole.len()).step_by(241));
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << key.below(at as u64, 8);
        refused(&bytes, format!("a bit of byte {at} changed"));
    }
    for at in (0..16).chain(header - 2..header + 2).chain((0..whole.len()).step_by(997)) {
        refused(&whole[..at], format!("cut off after {at} bytes"));
    }
    refused(&[&whole[..], b"x"].concat(), "a byte more".into());
    refused(&[&[0xff; 8], &whole[8..]].concat(), "an absurd header length".into());

    let foreign = |metadata| {
        let numbers = [0u8; 16];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![4], &numbers);
        safetensors::serialize([("weight", view.unwrap())], metadata).unwrap()
    };
    refused(&foreign(None), "another program's".into());
    let metadata = |text: &str| Some([("unspool".to_string(), text.to_string())].into());
    for text in ["", "{}", "[]", "{\"format\":2}", "{\"format\":1}", &"[".repeat(100_000)] {
        refused(&foreign(metadata(text)), format!("metadata of {} bytes", text.len()));
    }

    // And in one line on the command line.
    fs::write(files().join("cut.safetensors"), &whole[..whole.len() - 1]).unwrap();
    for args in ["inspect", "translate --model", "eval --model", "plot --by-length --out x.svg"] {
        check(&format!("{args} cut.safetensors"), b"1\n", 1, "cut.safetensors: ", "");
    }
}

/// A checkpoint whose checksum is right but whose configuration does not go with its tensors.
#[test]
fn edited_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edited.safetensors");
    let tiny = files().join("tiny/last.safetensors");
    let whole = checkpoint::load(&tiny, Context::sequential()).unwrap();
    type Edit = fn(&mut unspool_train::config::Config);
    let edits: [(&str, Edit); 8] = [
        ("fewer numbers", |config| config.model.hidden = 1 << 16),
        ("fewer numbers", |config| config.model.hidden = usize::MAX),
        ("fewer numbers", |config| config.model.embedding = 1 << 16),
        ("fewer numbers", |config| config.model.encoder_layers = 1 << 16),
        ("fewer numbers", |config| config.model.readout_size = usize::MAX),
        ("the tensor", |config| config.model.hidden = 9),
        ("the tensor", |config| config.model.attention_size = 9),
        ("the tensor", |config| {
            config.training.optimiser = OptimiserConfig::Sgd { momentum: 0.5 };
        }),
    ];
    for (part, edit) in edits {
        let mut config = whole.config.clone();
        edit(&mut config);
        checkpoint::save(&path, &config, &whole.model, &whole.optimiser, &whole.state).unwrap();
        let error = checkpoint::load(&path, Context::sequential()).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "not {part:?}: {error}");
    }
}

#[test]
fn the_environment_chooses_the_kernels_of_every_command() {
    for (name, code, err, chosen) in [
        ("", 0, "", None),
        ("naive", 0, "", Some("naive")),
        ("portable", 0, "", Some("portable")),
        ("fast", 1, "UNSPOOL_KERNELS: no \"fast\" on this machine, which has naive, ", None),
    ] {
        let train = "train --resume plain --quiet --json";
        for args in ["kernels --json", "inspect plain", train] {
            let mut command = unspool(files(), args);
            let ended = run(command.env("UNSPOOL_KERNELS", name), b"");
            let what = format!("UNSPOOL_KERNELS={name} {args}");
            hold(&what, &ended, code, err, "");
            let chosen = chosen.filter(|_| args.starts_with("kernels"));
            let is_chosen = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["variant"] == chosen.unwrap() && line["chosen"] == true
            };
            assert!(chosen.is_none() || ended.out.lines().any(is_chosen), "{what}: {}", ended.out);
            // A program without wide vectors is without them in its loops, too.
            let is_wide_loop = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["kernel"] == "dropout" && line["variant"] != "baseline"
            };
            let is_narrow = chosen == Some("portable");
            assert!(!is_narrow || !ended.out.lines().any(is_wide_loop), "{what}: {}", ended.out);
        }
    }
}

#[cfg(unix)]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    let rows = [
        "translate --model tiny",
        "eval --hypotheses source --references target",
        "eval --model tiny --data source target",
        "inspect tiny",
        "inspect tiny --json",
        "inspect tiny --config",
        "tasks",
        "kernels",
        "plot tiny --out full.svg",
        "gradcheck --op exp",
        "completions zsh",
        "train --resume tiny --quiet --json",
        "translate --help",
        "--version",
    ];
    let full = Path::new("/dev/full");
    for args in rows.iter().filter(|_| full.exists()) {
        let mut command = unspool(files(), args);
        command.stdout(File::options().write(true).open(full).unwrap());
        let ended = run(&mut command, b"1 2\n");
        let err =
            if args.starts_with('-') || args.ends_with("help") { "" } else { "No space left" };
        assert_eq!(ended.code, Some(1), "{args}: {}", ended.err);
        assert!(
            ended.err.contains(err) && !ended.err.contains("panicked"),
            "{args}: {}",
            ended.err
        );
    }
    // A reader that has gone away, or goes: one line.
    let closed = |what: &str, ended: &Ended| {
        assert_eq!(ended.code, Some(141), "{what}: {}", ended.err);
        let errors: Vec<_> = ended.err.lines().filter(|line| line.contains("error")).collect();
        let line = "error: standard output was closed before all was written";
        assert_eq!(errors, [line], "{what}");
        assert!(!ended.err.contains("panicked"), "{what}: {}", ended.err);
    };
    for args in rows {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        closed(args, &run(unspool(files(), args).stdout(writer), b"1 2\n"));
    }
    let mut command = unspool(files(), "translate --model tiny --json --min-length 20");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all("3 1 4 1 5 9 2 6\n".repeat(400).as_bytes());
    });
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    writer.join().unwrap();
    closed("head -1", &Ended { code: child.wait().unwrap().code(), out: line, err });
}

#[cfg(unix)]
#[test]
fn an_output_file_is_whole_or_as_it_was() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tiny = files().join("tiny");
    let translate = |output: &str, stdin: &[u8], code, err: &str| {
        let args = format!("translate --model {} --output {output}", tiny.display());
        hold(&args, &run(&mut unspool(folder.path(), &args), stdin), code, err, "");
    };
    fs::write(at("out"), "before\n").unwrap();
    fs::set_permissions(at("out"), fs::Permissions::from_mode(0o640)).unwrap();
    translate("out", b"1 2\n\xff\n", 1, "standard input, line 2");
    assert_eq!(fs::read_to_string(at("out")).unwrap(), "before\n");
    std::os::unix::fs::symlink("out", at("link")).unwrap();
    translate("link --input out", b"", 1, "link: is read too, and would be lost");
    translate("out --input link", b"", 1, "out: is read too, and would be lost");
    assert_eq!(fs::read_to_string(at("out")).unwrap(), "before\n");
    translate("link", b"\n", 0, "");
    assert_eq!(fs::read_to_string(at("out")).unwrap(), "\n");
    assert_eq!(fs::metadata(at("out")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    // What is no file is not replaced by one: it was, `/dev/full` included.
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    translate("socket", b"1 2\n", 1, "socket: ");
    assert!(fs::metadata(at("socket")).unwrap().file_type().is_socket());
    let names: BTreeSet<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["link", "out", "socket"].map(Into::into).into());
}

/// Files of digits to reverse and a configuration with everything random switched on; the run takes
/// a second or so.
fn training(folder: &Path) {
    let key = Key::new(9);
    for (name, lines) in [("train", 240), ("validation", 12)] {
        let (mut source, mut target) = (String::new(), String::new());
        for line in 0..lines {
            let key = key.named(name).with(line);
            let digits: Vec<String> =
                (0..3 + key.below(0, 9)).map(|at| key.below(1 + at, 10).to_string()).collect();
            source += &format!("{}\n", digits.join(" "));
            target += &format!("{}\n", digits.iter().rev().cloned().collect::<Vec<_>>().join(" "));
        }
        fs::write(folder.join(format!("{name}.source")), source).unwrap();
        fs::write(folder.join(format!("{name}.target")), target).unwrap();
    }
    let config = r#"
        [data]
        train = ["train.source", "train.target"]
        validation = ["validation.source", "validation.target"]
        batch_size = 12

        [model]
        embedding = 16
        hidden = 24
        encoder_layers = 2
        attention_size = 16
        dropout = { embedding = 0.1, layers = 0.2, memory = 0.1, readout = 0.2 }

        [training]
        epochs = 8
        shard_size = 5
        checkpoint_every = 7
        schedule = { name = "plateau", factor = 0.5, patience = 2 }
        teacher_forcing = { decay = "linear", start = 0.9, end = 0.4, updates = 60 }
    "#;
    fs::write(folder.join("config.toml"), config).unwrap();
}

/// The bytes that a training leaves: its checkpoints and its log.
fn left(run: &Path) -> [Vec<u8>; 3] {
    ["last.safetensors", "best.safetensors", "log.jsonl"]
        .map(|name| fs::read(run.join(name)).unwrap())
}

/// Waits until the log has so many lines. Whether the process was still there then.
#[cfg(unix)]
fn wait_for_lines(child: &mut Child, log: &Path, lines: usize) -> bool {
    while child.try_wait().unwrap().is_none() {
        let found = fs::read(log).unwrap_or_default();
        if found.iter().filter(|&&byte| byte == b'\n').count() >= lines {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

#[cfg(unix)]
#[test]
fn a_killed_training_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    training(folder);
    let train = |args: &str| {
        hold(args, &run(&mut unspool(folder, args), b""), 0, "", "");
    };
    for threads in [1, 2, 4] {
        train(&format!("train config.toml --out whole-{threads} --quiet --threads {threads}"));
    }
    let whole = left(&folder.join("whole-1"));
    for threads in [2, 4] {
        assert!(left(&folder.join(format!("whole-{threads}"))) == whole, "{threads} threads");
    }

    // Killed five times, each later than the one before. Where the machine is so busy that a
    // training ends before a kill reaches it, it is begun again.
    let lines = whole[2].iter().filter(|&&byte| byte == b'\n').count() as u64;
    let killed = |seed: &u64| {
        let key = Key::new(*seed);
        let _ = fs::remove_dir_all(folder.join("killed"));
        (0..5).all(|kill| {
            let threads = [1, 2, 4][kill as usize % 3];
            let args = match folder.join("killed/last.safetensors").exists() {
                false => format!("train config.toml --out killed --overwrite --threads {threads}"),
                true => format!("train --resume killed --threads {threads}"),
            };
            let mut child = unspool(folder, &args).stderr(Stdio::null()).spawn().unwrap();
            let at = (kill * lines + key.below(kill, lines)) / 6;
            wait_for_lines(&mut child, &folder.join("killed/log.jsonl"), at as usize);
            std::thread::sleep(Duration::from_micros(key.below(10 + kill, 8000)));
            child.kill().unwrap();
            // A process that ended by itself has an exit code; one that was killed has none.
            child.wait().unwrap().code().is_none()
        })
    };
    let seed = (4..14).find(killed).expect("five kills that reach the training");
    train("train --resume killed --quiet --threads 2");
    assert!(left(&folder.join("killed")) == whole, "after five kills with seed {seed}");
}

#[cfg(unix)]
#[test]
fn signals_and_a_full_disk_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    training(folder);
    let at = |args: &str, code, err: &str| {
        hold(args, &run(&mut unspool(folder, args), b""), code, err, "");
    };
    at("train config.toml --out whole --quiet", 0, "");
    let (run_folder, log) = (folder.join("run"), folder.join("run/log.jsonl"));
    let begin = "train config.toml --out run --quiet";
    for (args, signal, lines) in [(begin, "INT", 5), ("train --resume run --quiet", "TERM", 40)] {
        let mut child = unspool(folder, args).spawn().unwrap();
        assert!(wait_for_lines(&mut child, &log, lines), "{args}: over too soon");
        let send = |signal: &str| {
            let kill = format!("kill -{signal} {}", child.id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        };
        send("STOP");
        at("train --resume run", 1, "run/log.jsonl: another process is training in this folder");
        send(signal);
        send("CONT");
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.as_str()), (Some(130), ""), "{signal}");
    }
    // No file may grow over 64 or 128 kB, as the shell counts: a checkpoint does not fit, as on a
    // full disk.
    let before = left(&run_folder);
    let limited = "trap '' XFSZ; ulimit -f 128; exec \"$0\" train --resume run --quiet";
    let mut command = Command::new("sh");
    command.current_dir(folder).args(["-c", limited, env!("CARGO_BIN_EXE_unspool")]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    hold(limited, &run(&mut command, b""), 1, ".safetensors: File too large", "");
    let after = left(&run_folder);
    assert!(before[..2] == after[..2], "the checkpoints have changed");
    assert_eq!(fs::read_dir(&run_folder).unwrap().count(), 4, "something was left behind");
    at("train --resume run --quiet", 0, "");
    assert!(left(&run_folder) == left(&folder.join("whole")));
    at("train --resume run --quiet", 0, "");
    assert!(left(&run_folder) == left(&folder.join("whole")), "a finished run has changed");
}

#[test]
fn the_demo_writes_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("demo").join(name);
    fs::create_dir(at("")).unwrap();
    let kept = ["attention.png", "attention-x.png", "curves.txt", "my-curves.png"];
    for name in ["attention-9.png", "curves.png", "attention-12.svg"].iter().chain(&kept) {
        fs::write(at(name), "before").unwrap();
    }
    // Just enough that some word comes out.
    let demo = "demo --out demo --overwrite --set data.task_size=600 --set data.batch_size=8 \
                --set training.epochs=2 --set training.learning_rate=0.02 \
                --set training.select_by=loss --set model.hidden=16 --set model.embedding=16 \
                --set model.attention_size=16";
    let ended = run(&mut unspool(folder.path(), demo), b"");
    hold(demo, &ended, 0, "", "written to demo:");
    let mut names: BTreeSet<String> =
        ["best.safetensors", "last.safetensors", "config.toml", "log.jsonl"]
            .iter()
            .chain(&kept)
            .map(|name| name.to_string())
            .collect();
    let pictures = (1..=5).map(|number| format!("attention-{number}")).chain(["curves".into()]);
    for picture in pictures {
        let svg = fs::read_to_string(at(&format!("{picture}.svg"))).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{picture}");
        let png = fs::read(at(&format!("{picture}.png"))).unwrap();
        let pixels = Pixmap::decode_png(&png).unwrap();
        let white = pixels.pixels().iter().filter(|pixel| pixel.red() == 255).count();
        assert!(white < pixels.pixels().len(), "{picture} is blank");
        names.extend(["svg", "png"].map(|extension| format!("{picture}.{extension}")));
    }
    let found = fs::read_dir(at("")).unwrap();
    let found = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<String>>(), names);
    for sentence in ["source ", "reference ", "greedy ", "beam 5 "] {
        assert_eq!(ended.out.matches(&format!("\n  {sentence}")).count(), 5, "{}", ended.out);
    }

    // The sentences that are given for the demo's model to translate have words that it knows.
    let task = Task::Phrases;
    let train = task.generate(1, task.default_sizes()).unwrap().train;
    let words: BTreeSet<&str> =
        train.iter().flat_map(|pair| pair.source.split_whitespace()).collect();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let help = run(&mut unspool(folder.path(), "translate --help"), b"").out;
    for (text, model) in [(&readme, "runs/demo"), (&help, "runs/demo"), (&ended.out, "demo")] {
        let commands: Vec<&str> = (text.lines())
            .filter(|line| line.contains(&format!("--model {model}")))
            .filter_map(|line| line.trim().strip_prefix("echo \"")?.split('"').next())
            .collect();
        assert!(!commands.is_empty(), "{text}");
        for word in commands.iter().flat_map(|sentence| sentence.split(' ')) {
            assert!(words.contains(word), "{word} in {commands:?}");
        }
    }
}

#[test]
fn the_documents_say_what_the_program_does() {
    let read =
        |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let documented = read("docs/configuration.md");
    let ended = run(&mut unspool(files(), "inspect tiny --config"), b"");
    let config: toml::Table = ended.out.parse().unwrap();
    let mut keys = Vec::new();
    dotted("", &config, &mut keys);
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        assert!(documented.contains(&format!("| `{key}` |")), "docs/configuration.md: {key}");
    }
    let readme = read("README.md");
    let (_, own_op) = include_str!("own_op.rs").split_once("\n\n").unwrap();
    assert!(readme.contains(&format!("```rust\n{own_op}```\n")), "README.md: tests/own_op.rs");
    for command in ["\ncargo run --release -- demo\n", "\n`cargo test`\n"] {
        assert!(readme.contains(command), "README.md: {command}");
    }
    let mut screen = unspool(files(), "step through-time --size 80x16 --keys");
    let screen = run(screen.arg("g n*6"), b"").out;
    assert!(readme.contains(&format!("```text\n{screen}```\n")), "README.md: {screen}");
    assert!(read(".ci/run").lines().any(|line| line == "step cargo test"));
}

/// The dotted names of all keys.
fn dotted(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => dotted(&format!("{prefix}{key}."), inner, keys),
            _ => keys.push(format!("{prefix}{key}")),
        }
    }
}
