//! `unspool trace`: a training step node by node, forward and backward.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use unspool_page::{BYTES, lesson_of, page};
use unspool_tensor::Context;
use unspool_trace::lessons::{LESSONS, Lesson};
use unspool_trace::{Limits, Trace};
use unspool_train::checkpoint::write_atomically;

use super::subject::{Recorded, Subject};
use crate::console::{Console, Outcome, naming, print, print_whole};
use crate::paths;

/// Walk through a training step, node by node, forward and backward
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows what each node computes and what it does with the gradient that comes in: formulas, numbers, the \
place in our source. Beside each gradient stands ✓ with the difference to finite differences.

Examples:
  unspool trace --list                             the lessons
  unspool trace neuron                             one of them
  unspool trace --expr \"tanh(w*x + b)\" --let w=0.8 --let x=0.5 --let b=0
  unspool trace lstm-cell --depth 0                fused ops closed
  unspool trace through-time --html lesson.html    a page to step through
  unspool trace through-time --json lesson.json    all numbers, in JSON
  unspool trace --model runs/demo --input \"the black cat sleeps\"
  unspool trace --model runs/demo --input \"a cat sleeps\" --html walk.html
  unspool trace --model runs/demo --input \"a cat sleeps\" --depth 1 --json -

Exits with 1 when a gradient is wrong.")]
pub struct Walk {
    #[command(flatten)]
    subject: Subject,
    /// List the lessons
    #[arg(long, conflicts_with_all = ["lesson", "model", "expression"])]
    list: bool,
    /// How many levels of fused ops are shown open [default: all of a lesson, 1 as text; of a model,
    /// none]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Write JSON to a file, or with - to standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page to step through in a browser, one file that needs nothing else; with - to
    /// standard output
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    html: Option<PathBuf>,
}

impl Walk {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        let written = || [&self.json, &self.html].into_iter().flatten();
        for path in written().filter(|path| !is_standard_output(path)) {
            paths::check_writable(path)?;
            paths::check_apart(path, self.subject.checkpoint()?.as_deref())?;
        }
        if self.json.is_some() && self.json == self.html {
            let path = written().next().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(format!("{path}: is for both --json and --html").into());
        }
        if self.list {
            return self.list();
        }
        let recorded = self.subject.record(console, &context)?;
        let limits = self.subject.limits();
        if let Some(path) = &self.html {
            let limits = Limits { depth: self.depth.unwrap_or(limits.depth), ..limits.clone() };
            let page = match &recorded {
                Recorded::Model(trace) => page(&lesson_of(trace, &limits, BYTES)?)?,
                Recorded::Lesson(lesson) => page(&limited(lesson, &limits))?,
            };
            write(path, page)?;
            if !is_standard_output(path) {
                console.say(format!("{}: open it in a browser", path.display()));
            }
        }
        let text = self.html.is_none();
        match &recorded {
            Recorded::Model(trace) => {
                let shown = trace.limited(&Limits { depth: self.depth.unwrap_or(0), ..limits });
                match &self.json {
                    Some(path) => write_json(path, &shown)?,
                    None if text => print_whole(&shown.to_string())?,
                    None => {}
                }
            }
            Recorded::Lesson(lesson) => {
                let all = if self.json.is_some() { usize::MAX } else { 1 };
                let limits = Limits { depth: self.depth.unwrap_or(all), ..limits };
                let shown = limited(lesson, &limits);
                match &self.json {
                    Some(path) => write_json(path, &shown)?,
                    None if !text => {}
                    None => {
                        print_whole(&shown.to_string())?;
                        for trace in &shown.traces {
                            print(format!("\n{trace}").trim_end())?;
                        }
                    }
                }
            }
        }
        Ok(outcome(recorded.traces(), console))
    }

    fn list(&self) -> Outcome {
        if let Some(path) = &self.json {
            let rows: Vec<_> = (LESSONS.iter())
                .map(|lesson| serde_json::json!({ "name": lesson.name, "title": lesson.title }))
                .collect();
            write_json(path, &rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        for lesson in LESSONS {
            print(format!("{:20} {}", lesson.name, lesson.title))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A lesson with so much of its traces.
fn limited(lesson: &Lesson, limits: &Limits) -> Lesson {
    let traces = lesson.traces.iter().map(|trace| trace.limited(limits)).collect();
    Lesson { traces, ..lesson.clone() }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    write(path, serde_json::to_string(value)? + "\n")
}

/// Whole or not at all.
fn write(path: &Path, text: String) -> Result<(), Box<dyn Error>> {
    match is_standard_output(path) {
        true => print(text.trim_end())?,
        false => write_atomically(path, text.as_bytes())
            .map_err(|error| naming(path.display(), error))?,
    }
    Ok(())
}

fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

/// What the checks found, in a line, and how the process ends.
fn outcome<'t>(traces: impl IntoIterator<Item = &'t Trace>, console: &Console) -> ExitCode {
    let (mut arrays, mut checked, mut untold, mut wrong) = (0, 0, 0, 0);
    for check in traces.into_iter().flat_map(|trace| trace.checks()) {
        arrays += 1;
        checked += check.checked();
        untold += check.untold.len();
        wrong += check.wrong.len();
    }
    console.say(format!(
        "{checked} numbers of {arrays} gradients checked, {untold} cannot be told, {wrong} wrong"
    ));
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
