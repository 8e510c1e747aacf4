//! `unspool plot`: the curves of runs, and their accuracy over the source length.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use unspool_seq2seq::{Limits, Strategy};
use unspool_tensor::Context;
use unspool_train::dataset::task_splits;
use unspool_train::evaluate::{add_sequence, decode};
use unspool_train::metrics::accuracy::Accuracy;

use crate::console::{Console, Outcome, print};
use crate::{paths, runs};
use unspool_plot::{Curves, Panel, PictureFormat, Scale, Series};

/// Draw how training went, or how accurate models are over the length of the source
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool plot runs/demo --out curves.svg
  unspool plot runs/lstm runs/gru --out compare.png --title \"LSTM and GRU\"
  unspool plot runs/with runs/without --by-length --out length.svg")]
pub struct Plot {
    /// Runs (folders), or their logs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The picture to write: .svg or .png
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Its title
    #[arg(long)]
    title: Option<String>,
    /// Draw the loss on a logarithmic axis
    #[arg(long)]
    log: bool,
    /// Draw the accuracy on the test parts of the runs' built-in task over the length of the source
    #[arg(long, conflicts_with = "log")]
    by_length: bool,
}

impl Plot {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        PictureFormat::from_path(&self.out)?;
        paths::check_writable(&self.out)?;
        let names: Vec<String> = self.runs.iter().map(|run| runs::name(run)).collect();
        let title = self.title.clone().unwrap_or_else(|| names.join(", "));
        if self.by_length {
            let mut series = Vec::new();
            for (number, (run, name)) in self.runs.iter().zip(&names).enumerate() {
                console.say(format!("translating with {name}"));
                let points = accuracy_by_length(run, console, &context)?;
                series.push(Series::new(name.as_str(), points).colour(number).marked());
            }
            let panel = Panel {
                title: "sequence accuracy (%)".into(),
                reaches: vec![0.0, 100.0],
                series,
                ..Panel::default()
            };
            let x_label = "source length (tokens)".into();
            let curves = Curves { title, x_label, panels: vec![panel], ..Curves::default() };
            curves.draw().save(&self.out)?;
        } else {
            let runs: Result<Vec<_>, _> = self.runs.iter().map(|run| runs::history(run)).collect();
            let scale = if self.log { Scale::Log } else { Scale::Linear };
            runs::plot(&runs?, &title, scale, &self.out)?;
        }
        print(self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The share of test sequences that greedy output gets right, in percent, for each source length;
/// with the part that is longer than any in training, where the task has one.
fn accuracy_by_length(
    run: &Path,
    console: &Console,
    context: &Context,
) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let checkpoint = runs::load(run, &context.for_shard(0), console)?;
    if checkpoint.config.data.task.is_empty() {
        return Err(format!("{}: --by-length needs a run on a built-in task", run.display()).into());
    }
    let splits = task_splits(&checkpoint.config)?;
    let pairs = [splits.test, splits.long].concat();
    let (examples, _) = super::eval::encode(&checkpoint.model, &pairs)?;
    let greedy = (&Strategy::Greedy, Limits::default());
    let outputs = decode(&checkpoint.model, context, &examples, greedy)?;
    let mut by_length: BTreeMap<usize, Accuracy> = BTreeMap::new();
    for (example, output) in examples.iter().zip(&outputs) {
        // The end token is no part of what people count.
        let length = example.source.length().saturating_sub(1);
        add_sequence(by_length.entry(length).or_default(), output, &example.target);
    }
    Ok(by_length
        .into_iter()
        .filter_map(|(length, accuracy)| Some((length as f64, 100.0 * accuracy.fraction()?)))
        .collect())
}
