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
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::nodes::NodeReport;
use unspool_tensor::gradcheck::{
    Report, Settings, Verdict, check, check_case, check_single, compare_gradients,
};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Kernels};

use super::translate::source_of;
use crate::console::{Console, Outcome, print};
use crate::runs;

/// Check gradients: of every op, layer and model, or of a model of yours
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool gradcheck                                all ops, layers and small models
  unspool gradcheck --op softmax                   the ops whose name has this in it
  unspool gradcheck --layer lstm --f32             a layer, its f32 code too
  unspool gradcheck --model runs/demo --input \"the black cat sleeps\"
  unspool gradcheck --model runs/demo --input \"the black cat sleeps\" --nodes
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
    /// The sentence to check the model on
    #[arg(long, value_name = "TEXT", requires = "model")]
    input: Option<String>,
    /// What it should say; what it does say, without
    #[arg(long, value_name = "TEXT", requires = "model")]
    target: Option<String>,
    /// Check each node of the model's tape, where it ran: finds the guilty one
    #[arg(long, requires = "model")]
    nodes: bool,
    /// Check the f32 code too, against the f64 code, within a derived bound
    #[arg(long)]
    f32: bool,
    /// Compare two files of gradients, array by array: the second is right
    #[arg(long, num_args = 2, value_names = ["FILE", "FILE"], conflicts_with_all = ["op", "layer", "model", "f32"])]
    compare: Vec<PathBuf>,
    /// How far a gradient may be off, as a share of its array's largest
    #[arg(long, default_value_t = 1e-9, value_name = "X")]
    tolerance: f64,
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

/// What was found, with the group that it belongs to.
struct Row {
    group: &'static str,
    report: Report,
}

impl Gradcheck {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return Err(format!("--tolerance {}: must be above 0", self.tolerance).into());
        }
        let rows = match (&self.model, &self.compare[..]) {
            (Some(model), _) => self.check_model(model, console, &context)?,
            (None, [ours, theirs]) => vec![self.check_files(ours, theirs)?],
            _ => self.check_all(console)?,
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
            tolerance: self.tolerance,
            elements: self.elements.unwrap_or(elements),
            seed: self.seed,
            ..Settings::default()
        }
    }

    /// All ops, layers and small models, or those that are asked for.
    fn check_all(&self, console: &Console) -> Result<Vec<Row>, Box<dyn Error>> {
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
        let mut rows = Vec::new();
        for (group, cases) in [("op", ops), ("layer", layers)] {
            for case in cases {
                bar.set_message(case.name.clone());
                rows.push(Row { group, report: check_case(&case, &self.settings(200)) });
                bar.inc(1);
                if self.f32 {
                    let fast = Context::sequential().with_kernels(Kernels::Fast);
                    let report = check_single(&case, &fast, &self.settings(200));
                    rows.push(Row { group, report });
                    bar.inc(1);
                }
            }
        }
        for model in models {
            bar.set_message(unspool_tensor::gradcheck::Subject::name(&model).to_owned());
            rows.push(Row { group: "model", report: check(&model, &self.settings(6)) });
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
        let text = self.input.as_deref().unwrap_or_default();
        let source = source_of(single, text).map_err(|error| format!("--input: {error}"))?;
        let target = match &self.target {
            Some(target) => single.target().encode(target),
            None => {
                let translator = Translator::new(&[single])?;
                let found =
                    translator.translate(&[&source], &Strategy::Greedy, Limits::default(), &[])?;
                found.into_iter().flatten().next().map(|best| best.tokens).unwrap_or_default()
            }
        };
        let mut model = Seq2Seq::<f64>::blank(
            single.config().clone(),
            single.source().clone(),
            single.target().clone(),
            Context::sequential(),
        )?;
        model.params_mut().copy_from(single.params())?;
        let batch = Batch::new(&[&Example { source, target }])?;
        let divisor = batch.target_tokens() as f64;
        let options =
            LossOptions { forcing: TeacherForcing::ALWAYS, smoothing: Smoothing::None, divisor };
        let context = Context::sequential().with_key(Key::new(self.seed));
        let name = format!("the loss of {} on {text:?}", runs::name(path));
        let subject = ModelSubject::new(name, model, batch, options, context)?;
        if !self.nodes {
            console.say(format!("checking {}", unspool_tensor::gradcheck::Subject::name(&subject)));
            return Ok(vec![Row { group: "model", report: check(&subject, &self.settings(4)) }]);
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
            Row { group: "node", report: Report { subject, ..found.report } }
        };
        Ok(reports.into_iter().map(named).collect())
    }

    fn check_files(&self, ours: &Path, theirs: &Path) -> Result<Row, Box<dyn Error>> {
        let (left, right) = (read_gradients(ours)?, read_gradients(theirs)?);
        let name = format!("{} beside {}", ours.display(), theirs.display());
        Ok(Row { group: "file", report: compare_gradients(&name, &left, &right, self.tolerance) })
    }

    fn show(&self, rows: &[Row], console: &Console) -> Result<(), Box<dyn Error>> {
        let count = |verdict| rows.iter().filter(|row| row.report.verdict() == verdict).count();
        let counts = [Verdict::Pass, Verdict::Undecided, Verdict::Fail].map(count);
        if self.json {
            let rows: Vec<_> = rows.iter().map(json_of).collect();
            print(serde_json::json!({
                "seed": self.seed, "tolerance": self.tolerance, "checks": rows,
                "pass": counts[0], "undecided": counts[1], "fail": counts[2],
            }))?;
            return Ok(());
        }
        let width = rows.iter().map(|row| row.report.subject.chars().count()).max().unwrap_or(0);
        print(format!(
            "{:6} {:width$}  checked  undecided  failed    error    bound  verdict",
            "", "name"
        ))?;
        for Row { group, report } in rows {
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
        let [pass, undecided, fail] = counts;
        console.say(format!("{pass} pass, {undecided} undecided, {fail} fail; seed {}", self.seed));
        Ok(())
    }
}

fn node_name(found: &NodeReport) -> String {
    let scope = if found.scope.is_empty() { String::new() } else { format!(" in {}", found.scope) };
    let time = found.time.map_or(String::new(), |time| format!(" at t={time}"));
    format!("{} {}{scope}{time}", found.node, found.op)
}

fn json_of(Row { group, report }: &Row) -> serde_json::Value {
    let arrays: Vec<_> = (report.arrays.iter())
        .map(|array| {
            let elements: Vec<_> = (array.elements.iter())
                .map(|element| {
                    serde_json::json!({
                        "name": element.name, "verdict": element.verdict.to_string(),
                        "analytic": element.analytic, "numeric": element.numeric,
                        "bound": element.bound, "dual": element.dual, "error": element.error,
                        "doubt": element.doubt.map(|doubt| format!("{doubt:?}")),
                    })
                })
                .collect();
            serde_json::json!({
                "name": array.name, "shape": array.shape, "checked": array.checked,
                "undecided": array.undecided, "failed": array.failed, "error": array.error,
                "bound": array.bound, "dual_error": array.dual_error, "elements": elements,
            })
        })
        .collect();
    serde_json::json!({
        "group": group, "name": report.subject, "verdict": report.verdict().to_string(),
        "error": report.error(), "bound": report.bound(), "arrays": arrays,
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

/// All arrays of a safetensors file, as `f64`.
fn read_gradients(path: &Path) -> Result<BTreeMap<String, ArrayD<f64>>, Box<dyn Error>> {
    let wrong = |problem: String| format!("{}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| wrong(format!("not a whole safetensors file: {error}")))?;
    let mut arrays = BTreeMap::new();
    for (name, view) in file.tensors() {
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
    Ok(arrays)
}
