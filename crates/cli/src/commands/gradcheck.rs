//! `unspool gradcheck`: are the backward passes right?

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use unspool_layers::attention::AttentionKind;
use unspool_layers::recurrent::CellKind;
use unspool_seq2seq::batch::{Batch, Example};
use unspool_seq2seq::config::AttentionChoice;
use unspool_seq2seq::gradcheck::ModelSubject;
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{
    Limits, LossOptions, ModelConfig, Seq2Seq, SourceSide, Strategy, TeacherForcing, Translator,
};
use unspool_tensor::Context;
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::nodes::NodeReport;
use unspool_tensor::gradcheck::shrink::shrink;
use unspool_tensor::gradcheck::{
    OpSubject, Report, Settings, Verdict, check, check_single, compare_gradients, jacobians,
};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;

use super::translate::source_of;
use crate::console::{Console, Outcome, print};
use crate::{paths, runs};
use unspool_plot::{PictureFormat, difference_steps};

/// Check gradients: of every op, layer and model, or of a model of yours
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool gradcheck                                all ops, layers and small models
  unspool gradcheck --op softmax                   the ops whose name has this in it
  unspool gradcheck --layer lstm --f32             a layer, its f32 code too
  unspool gradcheck --model runs/demo --input \"the black cat sleeps\"
  unspool gradcheck --model runs/demo --input \"the black cat sleeps\" --nodes
  unspool gradcheck --op tanh --jacobians          backward and differences side by side
  unspool gradcheck --compare ours.safetensors theirs.safetensors

Gradients are held against numeric derivatives, each with a bound of its own error. An element passes,
fails, or is undecided where there is a kink or noise. Fails exit with 1, and so does a check in which
no array passes. The same seed gives the same numbers again.")]
pub struct Gradcheck {
    /// Only ops whose name has this in it
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Only layers whose name has this in it
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// A run's folder or a checkpoint: check the gradients of all its parameters
    #[arg(long, value_name = "RUN", requires = "input", conflicts_with_all = ["op", "layer", "f32"])]
    model: Option<PathBuf>,
    /// A sentence to check the model on; several make a batch
    #[arg(long, value_name = "TEXT", requires = "model")]
    input: Vec<String>,
    /// What it should say, one for each input; what it does say, without
    #[arg(long, value_name = "TEXT", requires = "model")]
    target: Vec<String>,
    /// Check each node of the model's tape, where it ran: finds the guilty one
    #[arg(long, requires = "model")]
    nodes: bool,
    /// Check the f32 code too, against the f64 code, within a derived bound
    #[arg(long)]
    f32: bool,
    /// Show the two Jacobians of each op or layer side by side
    #[arg(long, conflicts_with_all = ["model", "compare", "json"])]
    jacobians: bool,
    /// Compare two files of gradients, array by array: the second is right
    #[arg(long, num_args = 2, value_names = ["FILE", "FILE"], conflicts_with_all = ["op", "layer", "model", "f32"])]
    compare: Vec<PathBuf>,
    /// Draw why one step size is not enough, as .svg or .png: how far plain differences are off
    #[arg(long, value_name = "FILE", conflicts_with_all = ["op", "layer", "model", "compare"])]
    draw_steps: Option<PathBuf>,
    /// How far a gradient may be off, as a share of its array's largest [default: 1e-9; of files with
    /// arrays of F32, 1e-5]
    #[arg(long, value_name = "X")]
    tolerance: Option<f64>,
    /// How many elements of an array are checked; larger ones are sampled
    #[arg(long, value_name = "N")]
    elements: Option<usize>,
    /// What all random numbers come from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How far a gradient may be off when nothing else is said.
const TOLERANCE: f64 = 1e-9;
/// The same of files with numbers of single precision.
const SINGLE_TOLERANCE: f64 = 1e-5;

/// What was found, with the group that it belongs to.
struct Row {
    group: &'static str,
    report: Report,
    /// The op or layer, where it can be made smaller.
    subject: Option<OpSubject>,
}

impl Row {
    fn new(group: &'static str, report: Report) -> Self {
        Row { group, report, subject: None }
    }
}

impl Gradcheck {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        if let Some(tolerance) = self.tolerance.filter(|x| !(*x > 0.0 && x.is_finite())) {
            return Err(format!("--tolerance {tolerance}: must be above 0").into());
        }
        if !self.target.is_empty() && self.target.len() != self.input.len() {
            let (targets, inputs) = (self.target.len(), self.input.len());
            return Err(format!("there are {targets} --target for {inputs} --input").into());
        }
        if self.jacobians && self.op.is_none() && self.layer.is_none() {
            return Err("--jacobians: of which? Add --op NAME or --layer NAME".into());
        }
        if let Some(path) = &self.draw_steps {
            PictureFormat::from_path(path)?;
            paths::check_writable(path)?;
            difference_steps()?.draw().save(path)?;
            print(path.display())?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows = match (&self.model, &self.compare[..]) {
            (Some(model), _) => self.check_model(model, console, &context)?,
            (None, [ours, theirs]) => vec![self.check_files(ours, theirs)?],
            _ => self.check_all(console, &context)?,
        };
        if rows.is_empty() {
            return Err("nothing has such a name; `unspool gradcheck --json` lists them all".into());
        }
        self.show(&rows, console)?;
        let fails = rows.iter().any(|row| row.report.verdict() == Verdict::Fail);
        let arrays = || rows.iter().flat_map(|row| &row.report.arrays);
        let passes = arrays().any(|array| array.verdict() == Verdict::Pass);
        Ok(if passes && !fails { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn settings(&self, elements: usize) -> Settings {
        Settings {
            tolerance: self.tolerance.unwrap_or(TOLERANCE),
            elements: self.elements.unwrap_or(elements),
            seed: self.seed,
            ..Settings::default()
        }
    }

    /// All ops, layers and small models, or those that are asked for.
    fn check_all(&self, console: &Console, context: &Context) -> Result<Vec<Row>, Box<dyn Error>> {
        let matching = |cases: Vec<Case>, name: &Option<String>| -> Vec<Case> {
            match (name, &self.op, &self.layer) {
                (None, None, None) => cases,
                (None, ..) => Vec::new(),
                (Some(name), ..) => {
                    cases.into_iter().filter(|case| case.name.contains(name.as_str())).collect()
                }
            }
        };
        let ops = matching(unspool_tensor::cases::cases(), &self.op);
        let layers = matching(unspool_layers::cases(), &self.layer);
        let models = match (&self.op, &self.layer) {
            (None, None) => small_models()?,
            _ => Vec::new(),
        };
        let singles = if self.f32 { 2 } else { 1 };
        let steps = singles * (ops.len() + layers.len()) + models.len();
        let bar = console.bar(steps as u64, "checks");
        let sequential = context.on_one_thread();
        let mut rows = Vec::new();
        for (group, cases) in [("op", ops), ("layer", layers)] {
            for case in cases {
                bar.set_message(case.name.clone());
                let subject = OpSubject::of_case(&case, Key::new(self.seed));
                let report = check(&subject, &self.settings(200));
                rows.push(Row { subject: Some(subject), ..Row::new(group, report) });
                bar.inc(1);
                if self.f32 {
                    let report = check_single(&case, &sequential, &self.settings(200));
                    rows.push(Row::new(group, report));
                    bar.inc(1);
                }
            }
        }
        for model in models {
            bar.set_message(unspool_tensor::gradcheck::Subject::name(&model).to_owned());
            rows.push(Row::new("model", check(&model, &self.settings(6))));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(rows)
    }

    /// The loss of a trained model on one sentence.
    fn check_model(
        &self,
        path: &Path,
        console: &Console,
        context: &Context,
    ) -> Result<Vec<Row>, Box<dyn Error>> {
        let checkpoint = runs::load(path, context, console)?;
        let single = &checkpoint.model;
        let mut examples = Vec::new();
        for (number, text) in self.input.iter().enumerate() {
            let source = source_of(single, text).map_err(|error| format!("--input: {error}"))?;
            let target = match self.target.get(number) {
                Some(target) => single.target().encode(target),
                None => {
                    let translator = Translator::new(&[single])?;
                    let limits = Limits::default();
                    let found = translator.translate(&[&source], &Strategy::Greedy, limits, &[])?;
                    let best = found.into_iter().flatten().next();
                    best.map(|best| best.tokens).unwrap_or_default()
                }
            };
            examples.push(Example { source, target });
        }
        let mut model = Seq2Seq::<f64>::blank(
            single.config().clone(),
            single.source().clone(),
            single.target().clone(),
            Context::sequential(),
        )?;
        model.params_mut().copy_from(single.params())?;
        let batch = Batch::new(&examples.iter().collect::<Vec<_>>())?;
        let divisor = batch.target_tokens() as f64;
        let options =
            LossOptions { forcing: TeacherForcing::ALWAYS, smoothing: Smoothing::None, divisor };
        let context = Context::sequential().with_key(Key::new(self.seed));
        let texts = self.input.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>();
        let name = format!("the loss of {} on {}", runs::name(path), texts.join(", "));
        let subject = ModelSubject::new(name, model, batch, options, context)?;
        if !self.nodes {
            console.say(format!("checking {}", unspool_tensor::gradcheck::Subject::name(&subject)));
            return Ok(vec![Row::new("model", check(&subject, &self.settings(4)))]);
        }
        let bar = console.bar(0, "nodes");
        let reports = subject.check_nodes(&self.settings(8), |found| {
            bar.inc_length(1);
            bar.inc(1);
            bar.set_message(node_name(found));
        })?;
        bar.finish_and_clear();
        let named = |found: NodeReport| {
            let subject = node_name(&found);
            Row::new("node", Report { subject, ..found.report })
        };
        Ok(reports.into_iter().map(named).collect())
    }

    fn check_files(&self, ours: &Path, theirs: &Path) -> Result<Row, Box<dyn Error>> {
        let (left, right) = (read_gradients(ours)?, read_gradients(theirs)?);
        let name = format!("{} beside {}", ours.display(), theirs.display());
        let tolerance = if left.single || right.single { SINGLE_TOLERANCE } else { TOLERANCE };
        let tolerance = self.tolerance.unwrap_or(tolerance);
        Ok(Row::new("file", compare_gradients(&name, &left.arrays, &right.arrays, tolerance)))
    }

    fn show(&self, rows: &[Row], console: &Console) -> Result<(), Box<dyn Error>> {
        let count = |verdict| rows.iter().filter(|row| row.report.verdict() == verdict).count();
        let counts = [Verdict::Pass, Verdict::Undecided, Verdict::Fail].map(count);
        if self.json {
            let rows: Vec<_> = rows.iter().map(json_of).collect();
            print(serde_json::json!({
                "seed": self.seed, "checks": rows,
                "pass": counts[0], "undecided": counts[1], "fail": counts[2],
            }))?;
            return Ok(());
        }
        let width = rows.iter().map(|row| row.report.subject.chars().count()).max().unwrap_or(0);
        print(format!(
            "{:6} {:width$}  checked  undecided  failed    error    bound  verdict",
            "", "name"
        ))?;
        for Row { group, report, .. } in rows {
            let sum = |of: fn(&unspool_tensor::gradcheck::ArrayReport) -> usize| {
                report.arrays.iter().map(of).sum::<usize>()
            };
            print(format!(
                "{group:6} {:width$}  {:>7}  {:>9}  {:>6}  {:>7.1e}  {:>7.1e}  {}",
                report.subject,
                sum(|array| array.checked),
                sum(|array| array.undecided),
                sum(|array| array.failed),
                report.error(),
                report.bound(),
                report.verdict(),
            ))?;
        }
        for Row { report, .. } in rows.iter().filter(|row| !row.report.passes()) {
            print(format!("\n{}", report.to_string().trim_end()))?;
        }
        for Row { group, report, subject } in rows {
            let Some(subject) = subject else { continue };
            if self.jacobians {
                for jacobian in jacobians(subject, report.tolerance)? {
                    print(format!("\n{}, {}", report.subject, jacobian.to_string().trim_end()))?;
                }
            }
            if report.verdict() == Verdict::Fail
                && let Some(smallest) = shrink(subject, &self.settings(200))
            {
                let expression = expression(group, &report.subject, self.seed);
                print(format!("\n{}", smallest.regression_test(&expression).trim_end()))?;
            }
        }
        let [pass, undecided, fail] = counts;
        console.say(format!("{pass} pass, {undecided} undecided, {fail} fail; seed {}", self.seed));
        Ok(())
    }
}

/// A case of our tables as an expression of Rust.
fn expression(group: &str, name: &str, seed: u64) -> String {
    let table =
        if group == "layer" { "unspool_layers::cases" } else { "unspool_tensor::cases::cases" };
    format!(
        "unspool_tensor::gradcheck::OpSubject::of_case(\
         {table}().iter().find(|case| case.name == {name:?}).expect(\"a case\"), \
         unspool_tensor::random::Key::new({seed}))"
    )
}

fn node_name(found: &NodeReport) -> String {
    let scope = if found.scope.is_empty() { String::new() } else { format!(" in {}", found.scope) };
    let time = found.time.map_or(String::new(), |time| format!(" at t={time}"));
    format!("{} {}{scope}{time}", found.node, found.op)
}

/// A number in JSON, which has no infinity: there, a text.
fn number(x: f64) -> serde_json::Value {
    if x.is_finite() { x.into() } else { x.to_string().into() }
}

fn json_of(Row { group, report, .. }: &Row) -> serde_json::Value {
    let arrays: Vec<_> = (report.arrays.iter())
        .map(|array| {
            let elements: Vec<_> = (array.elements.iter())
                .map(|element| {
                    serde_json::json!({
                        "name": element.name, "verdict": element.verdict.to_string(),
                        "analytic": number(element.analytic), "numeric": number(element.numeric),
                        "bound": number(element.bound), "dual": element.dual.map(number), "error": number(element.error),
                        "doubt": element.doubt.map(|doubt| format!("{doubt:?}")),
                    })
                })
                .collect();
            serde_json::json!({
                "name": array.name, "shape": array.shape, "checked": array.checked,
                "directions": array.directions, "undecided": array.undecided,
                "failed": array.failed, "error": number(array.error),
                "bound": number(array.bound), "dual_error": array.dual_error.map(number),
                "elements": elements,
            })
        })
        .collect();
    serde_json::json!({
        "group": group, "name": report.subject, "verdict": report.verdict().to_string(),
        "tolerance": report.tolerance, "error": number(report.error()),
        "bound": number(report.bound()), "arrays": arrays,
        "faults": report.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Every cell with every attention that fits it, on a batch of several lengths, with random weights.
fn small_models() -> Result<Vec<ModelSubject>, Box<dyn Error>> {
    let vocabulary = |size: usize| {
        let words = (0..size).map(|number| format!("w{number}"));
        let tokens = SPECIALS.iter().map(|&special| special.to_owned()).chain(words);
        Vocabulary::from_tokens(Segmentation::Word, tokens.collect())
    };
    let (source, target) = (vocabulary(6)?, vocabulary(7)?);
    let key = Key::new(1).named("small models");
    let examples: Vec<Example> = ([(3, 2), (1, 4), (4, 3)].into_iter().enumerate())
        .map(|(number, (from, to))| {
            let tokens = |side: u64, length: usize, words: u64| -> Vec<Token> {
                let key = key.with(number as u64).with(side);
                let token =
                    |i: usize| (SPECIALS.len() as u64 + key.below(i as u64, words)) as Token;
                (0..length).map(token).collect()
            };
            let source = unspool_seq2seq::batch::Source::Tokens(tokens(0, from, 6));
            Example { source, target: tokens(1, to, 7) }
        })
        .collect();
    let batch = Batch::new(&examples.iter().collect::<Vec<_>>())?;
    let mut models = Vec::new();
    for cell in CellKind::ALL {
        for attention in AttentionKind::ALL {
            let mut config = ModelConfig {
                cell,
                attention: AttentionChoice(Some(attention)),
                embedding: 4,
                hidden: 4,
                attention_size: 4,
                ..ModelConfig::default()
            };
            // A dot product needs encoder outputs as long as the decoder's state.
            config.bidirectional = config.validate().is_ok();
            if config.validate().is_err() {
                continue;
            }
            let name = format!("{cell} with {attention} attention");
            let side = SourceSide::Tokens(source.clone());
            let context = Context::sequential().with_key(Key::new(2));
            let mut model =
                Seq2Seq::<f64>::new(config, side, target.clone(), context.clone(), Key::new(3))?;
            // Larger than a trainer's, so that gates and attention are not all alike.
            for id in model.params().ids() {
                let key = key.named("weights").with(id.index() as u64);
                for (i, x) in model.params_mut().get_mut(id).iter_mut().enumerate() {
                    *x = 1.2 * key.uniform(i as u64) - 0.6;
                }
            }
            let divisor = batch.target_tokens() as f64;
            let forcing = TeacherForcing::ALWAYS;
            let options = LossOptions { forcing, smoothing: Smoothing::Uniform(0.1), divisor };
            models.push(ModelSubject::new(name, model, batch.clone(), options, context)?);
        }
    }
    Ok(models)
}

/// The arrays of a file.
struct Gradients {
    arrays: BTreeMap<String, ArrayD<f64>>,
    /// Whether some are of single precision.
    single: bool,
}

/// All arrays of a safetensors file.
fn read_gradients(path: &Path) -> Result<Gradients, Box<dyn Error>> {
    let wrong = |problem: String| format!("{}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| wrong(format!("not a whole safetensors file: {error}")))?;
    let (mut arrays, mut single) = (BTreeMap::new(), false);
    for (name, view) in file.tensors() {
        single |= view.dtype() == Dtype::F32;
        let numbers: Vec<f64> = match view.dtype() {
            Dtype::F64 => {
                view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
            }
            Dtype::F32 => (view.data().as_chunks().0.iter())
                .map(|&bytes| f64::from(f32::from_le_bytes(bytes)))
                .collect(),
            other => {
                return Err(wrong(format!("{name} is of type {other:?}, not F32 or F64")).into());
            }
        };
        let array = ArrayD::from_shape_vec(IxDyn(view.shape()), numbers)
            .map_err(|error| wrong(format!("{name}: {error}")))?;
        arrays.insert(name, array);
    }
    Ok(Gradients { arrays, single })
}
