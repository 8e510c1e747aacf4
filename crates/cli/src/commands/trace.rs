//! `unspool trace`: a training step node by node, forward and backward.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use unspool_seq2seq::batch::{Batch, Example};
use unspool_seq2seq::{Limits as Lengths, Strategy, Translator};
use unspool_tensor::Context;
use unspool_tensor::random::Key;
use unspool_trace::lessons::{self, LESSONS, Lesson};
use unspool_trace::model::trace_model;
use unspool_trace::{Extent, Limits, Settings, Trace};

use super::translate::source_of;
use crate::console::{Console, Outcome, naming, print, print_whole};
use crate::{paths, runs};

/// Walk through a training step, node by node, forward and backward
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows what each node computes and what it does with the gradient that comes in: formulas, numbers, the
place in our source. Beside each gradient stands ✓ with the difference to finite differences.

Examples:
  unspool trace --list                             the lessons
  unspool trace neuron                             one of them
  unspool trace --expr \"tanh(w*x + b)\" --let w=0.8 --let x=0.5 --let b=0
  unspool trace lstm-cell --depth 0                fused ops closed
  unspool trace through-time --json lesson.json    all numbers, in JSON
  unspool trace --model runs/demo --input \"the black cat sleeps\"
  unspool trace --model runs/demo --input \"the black cat sleeps\" --depth 1 --json -

Exits with 1 when a gradient is wrong.")]
pub struct Walk {
    /// A lesson; --list names them
    #[arg(value_name = "LESSON", conflicts_with_all = ["model", "list", "expression"])]
    lesson: Option<String>,
    /// List the lessons
    #[arg(long, conflicts_with_all = ["model", "expression"])]
    list: bool,
    /// An expression of your own: + - * / ^, parentheses, tanh, sigmoid, relu, exp, log, sqrt
    #[arg(long = "expr", value_name = "EXPRESSION", conflicts_with = "model")]
    expression: Option<String>,
    /// The value of a variable of the expression
    #[arg(
        long = "let",
        value_name = "NAME=VALUE",
        requires = "expression",
        allow_hyphen_values = true
    )]
    values: Vec<String>,
    /// A run's folder or a checkpoint: a training step of it
    #[arg(long, value_name = "RUN", requires = "input")]
    model: Option<PathBuf>,
    /// A sentence to train on; several make a batch
    #[arg(long, value_name = "TEXT", requires = "model")]
    input: Vec<String>,
    /// What it should say, one for each input; what it does say, without
    #[arg(long, value_name = "TEXT", requires = "model")]
    target: Vec<String>,
    /// The learning rate of the model's update, by plain gradient descent
    #[arg(long, value_name = "X", default_value_t = 0.1, requires = "model")]
    rate: f64,
    /// What dropout draws from
    #[arg(long, value_name = "N", default_value_t = 1, requires = "model")]
    seed: u64,
    /// Check every number of a model's gradients, not one of each array
    #[arg(long, requires = "model")]
    full: bool,
    /// How many levels of fused ops are shown open [default: all of a lesson, 1 as text; of a model,
    /// none]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Keep arrays of a model with more numbers as summaries
    #[arg(long, value_name = "N", default_value_t = 64, requires = "model")]
    numbers: usize,
    /// Write JSON to a file, or with - to standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Walk {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        if !self.target.is_empty() && self.target.len() != self.input.len() {
            let (targets, inputs) = (self.target.len(), self.input.len());
            return Err(format!("there are {targets} --target for {inputs} --input").into());
        }
        if !self.rate.is_finite() {
            return Err(format!("--rate {}: must be a finite number", self.rate).into());
        }
        if let Some(path) = self.json.as_deref().filter(|path| *path != Path::new("-")) {
            paths::check_writable(path)?;
        }
        if self.list {
            return self.list();
        }
        if let Some(path) = &self.model {
            let trace = self.trace_model(path, console, &context)?;
            let limits = self.limits();
            let shown = trace.limited(&Limits { depth: self.depth.unwrap_or(0), ..limits });
            match &self.json {
                Some(path) => write_json(path, &shown)?,
                None => print_whole(&shown.to_string())?,
            }
            return Ok(outcome([&trace], console));
        }
        let lesson = match (&self.expression, &self.lesson) {
            (Some(text), _) => lessons::expression(text, &self.values()?)?,
            (None, Some(name)) => lessons::lesson(name)?,
            (None, None) => {
                return Err("which lesson? `unspool trace --list` names them".into());
            }
        };
        let depth = match &self.json {
            Some(_) => self.depth.unwrap_or(usize::MAX),
            None => self.depth.unwrap_or(1),
        };
        let limits = Limits { depth, ..Limits::NONE };
        let traces = lesson.traces.iter().map(|trace| trace.limited(&limits)).collect();
        let shown = Lesson { traces, ..lesson.clone() };
        match &self.json {
            Some(path) => write_json(path, &shown)?,
            None => {
                print_whole(&shown.to_string())?;
                for trace in &shown.traces {
                    print(format!("\n{trace}").trim_end())?;
                }
            }
        }
        Ok(outcome(&lesson.traces, console))
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

    /// The values of an expression's variables.
    fn values(&self) -> Result<BTreeMap<String, f64>, String> {
        let mut values = BTreeMap::new();
        for text in &self.values {
            let Some((name, number)) = text.split_once('=') else {
                return Err(format!("--let {text}: write NAME=VALUE, such as x=0.5"));
            };
            let value = number.trim().parse::<f64>().ok().filter(|x| x.is_finite());
            let Some(value) = value else {
                return Err(format!("--let {text}: {number:?} is not a finite number"));
            };
            if values.insert(name.trim().to_owned(), value).is_some() {
                return Err(format!("--let {text}: {} has a value already", name.trim()));
            }
        }
        Ok(values)
    }

    fn limits(&self) -> Limits {
        let numbers = self.numbers;
        Limits {
            numbers,
            blocks: 8,
            rows: 1,
            row_length: 256,
            digits: Some(7),
            ..Limits::default()
        }
    }

    /// A training step of a trained model.
    fn trace_model(
        &self,
        path: &Path,
        console: &Console,
        context: &Context,
    ) -> Result<Trace, Box<dyn Error>> {
        let checkpoint = runs::load(path, context, console)?;
        let model = &checkpoint.model;
        let mut examples = Vec::new();
        for (number, text) in self.input.iter().enumerate() {
            let source = source_of(model, text).map_err(|error| format!("--input: {error}"))?;
            let target = match self.target.get(number) {
                Some(target) => model.target().encode(target),
                None => {
                    let translator = Translator::new(&[model])?;
                    let found = translator.translate(
                        &[&source],
                        &Strategy::Greedy,
                        Lengths::default(),
                        &[],
                    )?;
                    let best = found.into_iter().flatten().next();
                    best.map(|best| best.tokens).unwrap_or_default()
                }
            };
            examples.push(Example { source, target });
        }
        let batch = Batch::new(&examples.iter().collect::<Vec<_>>())?;
        let texts: Vec<_> = self.input.iter().map(|text| format!("{text:?}")).collect();
        let title = format!("{} on {}", runs::name(path), texts.join(", "));
        // What is checked is what can be opened, however much of it is shown.
        let limits = Limits { depth: usize::MAX, digits: None, ..self.limits() };
        let settings = match self.full {
            true => Settings { limits, extent: Extent::All, every: 1 },
            false => Settings { limits, ..Settings::of_model() },
        };
        let context = Context::sequential().with_key(Key::new(self.seed));
        Ok(trace_model(model, &batch, title, self.rate, settings, context)?)
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let text = serde_json::to_string(value)?;
    if path == Path::new("-") {
        print(text)?;
    } else {
        fs::write(path, text + "\n").map_err(|error| naming(path.display(), error))?;
    }
    Ok(())
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
