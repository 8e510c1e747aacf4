//! What a command walks through or draws: a lesson, an expression, or a training step of a model.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use unspool_seq2seq::batch::{Batch, Example};
use unspool_seq2seq::{Limits as Lengths, Strategy, Translator};
use unspool_tensor::Context;
use unspool_tensor::random::Key;
use unspool_trace::lessons::{self, Lesson};
use unspool_trace::model::trace_model;
use unspool_trace::progress::{Event, Stage};
use unspool_trace::{Limits, Settings, Trace, Watcher};

use super::translate::source_of;
use super::update::rule_of;
use crate::console::Console;
use crate::{paths, runs};

/// The options that say what is walked through.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// A lesson; `unspool trace --list` names them
    #[arg(value_name = "LESSON", conflicts_with = "model")]
    lesson: Option<String>,
    /// An expression of your own: + - * / ^, parentheses, tanh, sigmoid, relu, exp, log, sqrt
    #[arg(long = "expr", value_name = "EXPRESSION", conflicts_with_all = ["model", "lesson"])]
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
    /// The learning rate of the model's update [default: the run's own]
    #[arg(long, value_name = "X", requires = "model")]
    rate: Option<f64>,
    /// What dropout draws from
    #[arg(long, value_name = "N", default_value_t = 1, requires = "model")]
    seed: u64,
    /// Check every number of a model's gradients by differences, where else it is two of each array
    /// and of every eighth of the simplest nodes. For each number all behind it runs about 10 times:
    /// for a model of thousands of parameters, not of millions
    #[arg(long, requires = "model")]
    full: bool,
    /// Keep arrays of a model with more numbers as summaries
    #[arg(long, value_name = "N", default_value_t = 64, requires = "model")]
    numbers: usize,
}

/// A subject, recorded and checked.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// A lesson, or an expression in the form of one.
    Lesson(Lesson),
    /// A training step of a model.
    Model(Box<Trace>),
}

impl Recorded {
    /// The traces of it.
    pub fn traces(&self) -> &[Trace] {
        match self {
            Recorded::Lesson(lesson) => &lesson.traces,
            Recorded::Model(trace) => std::slice::from_ref(trace),
        }
    }
}

impl Subject {
    /// Records it, forward and backward, and checks its gradients. All that can be opened is.
    pub fn record(&self, console: &Console, context: &Context) -> Result<Recorded, Box<dyn Error>> {
        if !self.target.is_empty() && self.target.len() != self.input.len() {
            let (targets, inputs) = (self.target.len(), self.input.len());
            return Err(format!("there are {targets} --target for {inputs} --input").into());
        }
        if let Some(rate) = self.rate.filter(|rate| !rate.is_finite()) {
            return Err(format!("--rate {rate}: must be a finite number").into());
        }
        match (&self.model, &self.expression, &self.lesson) {
            (Some(path), _, _) => {
                Ok(Recorded::Model(self.record_model(path, console, context)?.into()))
            }
            (_, Some(text), _) => Ok(Recorded::Lesson(lessons::expression(text, &self.values()?)?)),
            (_, _, Some(name)) => Ok(Recorded::Lesson(lessons::lesson(name)?)),
            _ => Err("which lesson? `unspool trace --list` names them".into()),
        }
    }

    /// Whether any is named.
    pub fn is_given(&self) -> bool {
        self.model.is_some() || self.expression.is_some() || self.lesson.is_some()
    }

    /// The file that a model is read from.
    pub fn checkpoint(&self) -> Result<Option<PathBuf>, String> {
        self.model.as_deref().map(paths::checkpoint).transpose()
    }

    /// How much of a model's arrays is kept; of a lesson's, all.
    pub fn limits(&self) -> Limits {
        match self.model {
            None => Limits::NONE,
            Some(_) => Limits { numbers: self.numbers, digits: Some(7), ..Limits::default() },
        }
    }

    /// The values of an expression's variables.
    fn values(&self) -> Result<BTreeMap<String, f64>, String> {
        let mut values = BTreeMap::new();
        for text in &self.values {
            let Some((name, number)) = text.split_once('=') else {
                return Err(format!("--let {text:?}: write NAME=VALUE, such as x=0.5"));
            };
            let value = number.trim().parse::<f64>().ok().filter(|x| x.is_finite());
            let Some(value) = value else {
                return Err(format!("--let {text:?}: {number:?} is not a finite number"));
            };
            if values.insert(name.trim().to_owned(), value).is_some() {
                return Err(format!("--let {text:?}: {} has a value already", name.trim()));
            }
        }
        Ok(values)
    }

    /// A training step of a trained model.
    fn record_model(
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
        let bar = console.bar(0, "numbers checked");
        let settings = match self.full {
            true => Settings { limits, watcher: watcher(bar.clone()), ..Settings::default() },
            false => Settings { limits, ..Settings::of_model() },
        };
        let context = context.clone().with_key(Key::new(self.seed));
        let rule = rule_of(&checkpoint, self.rate, &context)?;
        let trace = trace_model(model, &batch, title, rule, settings, context);
        bar.finish_and_clear();
        Ok(trace?)
    }
}

/// Shows how far the checks are: first those of nodes, whose number grows as nodes open, then those
/// of parameters.
fn watcher(bar: ProgressBar) -> Watcher {
    bar.set_prefix("nodes");
    Watcher::new(move |event| match event {
        Event::Found(Stage::Nodes, numbers) => bar.inc_length(numbers as u64),
        Event::Found(Stage::Whole, numbers) => {
            bar.reset();
            bar.set_prefix("parameters");
            bar.set_length(numbers as u64);
        }
        Event::Checked(_, numbers) => bar.inc(numbers as u64),
    })
}
