//! The same work here and in other frameworks, side by side: runs alternate, and what is told is
//! the ratio of medians.
//!
//! ```sh
//! python3 -m venv target/peers && target/peers/bin/pip install -r benches/peers/requirements.txt
//! (cd benches/peers/candle && cargo build --release)
//! cargo bench --bench peers
//! cargo bench --bench peers -- --runs 41 --json peers.json W2 W2-hoisted W3
//! cargo bench --bench peers -- W4
//! cargo bench --bench peers -- --data multi30k W6
//! ```
//!
//! W4 and W6 are whole trainings, run once on each side, and only when they are named.
//! A framework that is not there is left out, and how to get it is told. Before anything is timed,
//! all sides compute the same functions of the same numbers, once: see `check.rs`.

mod check;
mod ours;
mod peer;
mod training;
#[path = "../workload/mod.rs"]
mod workload;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;
use unspool_tensor::Context;

use check::{Arrays, FUNCTIONS, TOLERANCE, difference, function};
use peer::{Framework, Kind};
use training::{Epoch, Places};

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

/// Before each run: PyTorch's threads spin for a while after their work.
const PAUSE: Duration = Duration::from_millis(250);
/// Runs to choose the number of threads by.
const TRIALS: usize = 5;
/// Runs before those that count.
const WARMUPS: usize = 3;

/// The workloads, and what each is.
const WORKLOADS: [(&str, &str); 12] = [
    ("W1a", "LSTM 256 to 512, 50 steps, batch 64, forward and backward"),
    ("W1a-forward", "the same, forward"),
    ("W1b", "2 layers of LSTM 256, 20 steps, batch 64, forward and backward"),
    ("W1b-forward", "the same, forward"),
    ("W1c", "W1a with a batch of 1"),
    ("W1c-forward", "the same, forward"),
    ("W2", "an update of an encoder-decoder; theirs projects keys at every step"),
    ("W2-hoisted", "the same; theirs projects keys once"),
    ("W3", "25 tokens, greedily"),
    ("W5-loop", "25 tokens, beam of 5; theirs calls the decoder for each hypothesis"),
    ("W5", "the same; theirs has the hypotheses in a batch"),
    ("W5-64", "the same of 64 sentences"),
];

#[derive(Debug, Parser)]
struct Options {
    /// Python with PyTorch: see benches/peers/requirements.txt
    #[arg(long, default_value = "target/peers/bin/python")]
    python: PathBuf,
    /// The program that benches/peers/candle is built to
    #[arg(long, default_value = "benches/peers/candle/target/release/unspool-peer-candle")]
    candle: PathBuf,
    /// Our threads; of the others, the better of 1 and so many counts
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// How often each side runs
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Write the figures here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Python with JoeyNMT, for W4: see benches/peers/joeynmt.txt
    #[arg(long, default_value = "target/joeynmt/bin/python")]
    joeynmt: PathBuf,
    /// Multi30k, for W6: train.en, train.de, val.en and val.de, plain or gzip
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// W4 and W6 run with the seeds from 1 to this: what one epoch learns differs much from seed to seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Workloads; without, all but W4 and W6
    workloads: Vec<String>,
    /// What `cargo bench` passes on
    #[arg(long, hide = true)]
    bench: bool,
}

/// Everything that is told, for scripts.
#[derive(Serialize)]
struct Report {
    version: String,
    threads: usize,
    runs: u16,
    sides: Vec<Side>,
    tolerance: f64,
    workloads: Vec<Row>,
    trainings: Vec<Training>,
}

/// A whole training on both sides.
#[derive(Serialize)]
struct Training {
    workload: &'static str,
    what: &'static str,
    epochs: Vec<Epoch>,
}

/// A side: us, or a framework.
#[derive(Serialize)]
struct Side {
    name: String,
    version: String,
    /// For each function, the largest difference from the reference.
    differences: Vec<(String, f64)>,
}

/// A workload's figures: ours, then those of the frameworks that have it.
#[derive(Serialize)]
struct Row {
    workload: &'static str,
    what: &'static str,
    sides: Vec<Figures>,
}

/// The times of one side.
#[derive(Serialize)]
struct Figures {
    name: String,
    threads: usize,
    median: f64,
    quartiles: [f64; 2],
    /// Their median by ours.
    ratio: f64,
    milliseconds: Vec<f64>,
}

impl Figures {
    fn new(name: &str, threads: usize, milliseconds: Vec<f64>) -> Self {
        let median = quantile(&milliseconds, 0.5);
        let quartiles = [quantile(&milliseconds, 0.25), quantile(&milliseconds, 0.75)];
        Figures { name: name.into(), threads, median, quartiles, ratio: 1.0, milliseconds }
    }
}

fn quantile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let all = || WORKLOADS.iter().chain(&training::WORKLOADS).map(|(workload, _)| *workload);
    for name in &options.workloads {
        if !all().any(|workload| workload == name) {
            let known: Vec<_> = all().collect();
            return Err(format!("{name}: is none of {}", known.join(", ")).into());
        }
    }
    let named = |workload: &str| options.workloads.iter().any(|name| name == workload);
    let context = ours::context(usize::from(options.threads))?;
    let kernels = context.kernels().name();
    let version = format!("unspool {}, {kernels}", env!("CARGO_PKG_VERSION"));
    println!("{version}, {} threads", context.threads());
    let mut report = Report {
        version,
        threads: context.threads(),
        runs: options.runs,
        sides: Vec::new(),
        tolerance: TOLERANCE,
        workloads: Vec::new(),
        trainings: Vec::new(),
    };
    let chosen: Vec<_> = (WORKLOADS.iter())
        .filter(|(workload, _)| options.workloads.is_empty() || named(workload))
        .collect();
    if !chosen.is_empty() {
        run_in_turns(&chosen, &options, &context, &mut report)?;
    }
    for (workload, what) in training::WORKLOADS {
        if named(workload) {
            let (python, joeynmt) = (&*options.python, &*options.joeynmt);
            let places = Places { python, joeynmt, data: options.data.as_deref() };
            let epochs = training::run(workload, &places, &context, options.seeds)?;
            print_epochs(workload, what, &epochs);
            report.trainings.push(Training { workload, what, epochs });
        }
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The workloads that take milliseconds.
fn run_in_turns(
    chosen: &[&(&'static str, &'static str)],
    options: &Options,
    context: &Context,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let threads = context.threads();
    let mut choices = vec![1, threads];
    choices.dedup();
    let mut frameworks = Vec::new();
    for kind in [Kind::pytorch(&options.python), Kind::candle(&options.candle)] {
        match kind.start(&choices) {
            Ok(framework) => frameworks.push(framework),
            Err(error) => eprintln!("{}: {error}; get it with\n    {}", kind.name, kind.get),
        }
    }
    if frameworks.is_empty() {
        return Err("nothing to compare with".into());
    }
    frameworks.iter().for_each(|framework| println!("{}", framework.version));
    let side = |name: &str, version: &str| Side {
        name: name.into(),
        version: version.into(),
        differences: Vec::new(),
    };
    report.sides.push(side("unspool", &report.version));
    report.sides.extend(frameworks.iter().map(|theirs| side(theirs.name, &theirs.version)));
    compare_results(&mut report.sides, &mut frameworks, threads)?;

    println!("\nMedians in milliseconds of {} runs in turns, with quartiles;", options.runs);
    println!("of the others, with the better number of threads, and their median by ours.\n");
    print!("{:12} {:>8} {:>17}", "", "unspool", "");
    for framework in &frameworks {
        print!(" | {:>8} {:>17} {:>3} {:>7}", framework.name, "", "thr", "ratio");
    }
    println!();
    for &&(workload, what) in chosen {
        let checked = |side: &Side| side.differences.iter().any(|(f, _)| f == function(workload));
        let mut with: Vec<_> = (frameworks.iter_mut().zip(&report.sides[1..]))
            .map(|(framework, side)| checked(side).then_some(framework))
            .collect();
        let figures = time(workload, context, options.runs, &mut with)?;
        print_row(workload, &figures);
        report.workloads.push(Row {
            workload,
            what,
            sides: figures.into_iter().flatten().collect(),
        });
    }
    println!();
    report.workloads.iter().for_each(|row| println!("{:12} {}", row.workload, row.what));
    Ok(())
}

/// Has all sides compute the same functions of the same numbers, and prints how far each is from
/// the reference.
///
/// # Errors
/// One is too far: then there is nothing to compare.
fn compare_results(
    sides: &mut [Side],
    frameworks: &mut [Framework],
    threads: usize,
) -> Result<(), Box<dyn Error>> {
    let (given, reference, own) = check::ours(threads)?;
    let folder = tempfile::tempdir()?;
    given.write(folder.path())?;
    let theirs = |framework: &mut Framework| -> Result<Arrays, Box<dyn Error>> {
        // All processes take the same weights over; the results of the last are read.
        for threads in framework.choices() {
            framework.check(folder.path(), threads)?;
        }
        check::read(folder.path())
    };
    let mut results = vec![own];
    for framework in frameworks {
        results.push(theirs(framework).map_err(|error| format!("{}: {error}", framework.name))?);
    }
    println!("\nThe same functions of the same numbers, in f32: largest difference from f64, as a");
    println!("share of an array's largest element ({TOLERANCE:.0e} is allowed).\n");
    print!("{:12}", "");
    sides.iter().for_each(|side| print!(" {:>9}", side.name));
    println!();
    let mut wrong = Vec::new();
    for function in FUNCTIONS {
        print!("{function:12}");
        for (side, found) in sides.iter_mut().zip(&results) {
            match difference(function, found, &reference) {
                Ok(None) => print!(" {:>9}", "–"),
                Ok(Some((most, name))) => {
                    print!(" {most:>9.1e}");
                    side.differences.push((function.into(), most));
                    if most > TOLERANCE {
                        wrong.push(format!("{}: {name} differs by {most:.1e}", side.name));
                    }
                }
                Err(problem) => wrong.push(format!("{}: {problem}", side.name)),
            }
        }
        println!();
    }
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.iter().for_each(|problem| eprintln!("{problem}"));
    Err("not the same work, so no ratios".into())
}

/// Runs a workload in turns: ours, and theirs with the better number of threads; `None` for a
/// framework that does not have it.
fn time(
    name: &str,
    context: &Context,
    runs: u16,
    frameworks: &mut [Option<&mut Framework>],
) -> Result<Vec<Option<Figures>>, Box<dyn Error>> {
    let mut run = ours::workload(name, context).ok_or("no such workload")?;
    let mut sides: Vec<Option<(&mut Framework, usize, Vec<f64>)>> = Vec::new();
    for framework in frameworks {
        let Some(framework) = framework else {
            sides.push(None);
            continue;
        };
        let mut best = (f64::INFINITY, None);
        for threads in framework.choices() {
            let mut times = Vec::new();
            for _ in 0..TRIALS {
                times.extend(framework.run(name, threads)?);
            }
            let median = quantile(&times, 0.5);
            if median < best.0 {
                best = (median, Some(threads));
            }
        }
        sides.push(best.1.map(|threads| (&mut **framework, threads, Vec::new())));
    }
    let mut ours = Vec::new();
    for number in 0..WARMUPS + usize::from(runs) {
        thread::sleep(PAUSE);
        // The run before leaves the caches as an update leaves them to the next one.
        run();
        let begin = Instant::now();
        run();
        let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
        let counts = number >= WARMUPS;
        ours.extend(counts.then_some(milliseconds));
        for (framework, threads, times) in sides.iter_mut().flatten() {
            thread::sleep(PAUSE);
            framework.run(name, *threads)?;
            let milliseconds = framework.run(name, *threads)?.ok_or("it forgot a workload")?;
            times.extend(counts.then_some(milliseconds));
        }
    }
    let ours = Figures::new("unspool", context.threads(), ours);
    let theirs = sides.into_iter().map(|side| {
        let (framework, threads, times) = side?;
        let figures = Figures::new(framework.name, threads, times);
        Some(Figures { ratio: figures.median / ours.median, ..figures })
    });
    let theirs: Vec<_> = theirs.collect();
    Ok([Some(ours)].into_iter().chain(theirs).collect())
}

fn print_row(name: &str, figures: &[Option<Figures>]) {
    let times = |figures: &Figures| {
        let [low, high] = figures.quartiles;
        format!("{:>8.2} {:>17}", figures.median, format!("{low:.2} to {high:.2}"))
    };
    print!("{name:12}");
    for (side, figures) in figures.iter().enumerate() {
        match figures {
            Some(figures) if side == 0 => print!(" {}", times(figures)),
            Some(figures) => {
                print!(" | {} {:>3} {:>6.2}x", times(figures), figures.threads, figures.ratio);
            }
            None => print!(" | {:>8} {:>17} {:>3} {:>7}", "–", "", "", ""),
        }
    }
    println!();
}

fn print_epochs(workload: &str, what: &str, epochs: &[Epoch]) {
    println!("\n{workload}: {what}\n");
    println!(
        "{:24} {:>4} {:>11} {:>9} {:>9} {:>6} {:>7}",
        "", "seed", "parameters", "seconds", "tokens/s", "BLEU", "ratio"
    );
    let speed = |epoch: &Epoch| epoch.tokens as f64 / epoch.seconds;
    for epoch in epochs {
        // Ours of the same seed stands before.
        let ours = epochs.iter().find(|ours| ours.seed == epoch.seed);
        println!(
            "{:24} {:>4} {:>11} {:>9.1} {:>9.0} {:>6.2} {:>6.2}x",
            epoch.side,
            epoch.seed,
            epoch.parameters,
            epoch.seconds,
            speed(epoch),
            epoch.bleu,
            ours.map_or(f64::NAN, speed) / speed(epoch),
        );
    }
}
