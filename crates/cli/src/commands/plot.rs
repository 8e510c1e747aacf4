//! `unspool plot`: the curves of runs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::console::{Console, Outcome, print};
use crate::plot::PictureFormat;
use crate::runs;

/// Draw how training went: loss, BLEU, accuracy and learning rate over the updates
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool plot runs/demo --out curves.svg
  unspool plot runs/lstm runs/gru --out compare.png --title \"LSTM and GRU\"")]
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
}

impl Plot {
    /// Runs the subcommand.
    pub fn run(self, console: &Console) -> Outcome {
        PictureFormat::from_path(&self.out)?;
        let runs: Result<Vec<_>, _> = self.runs.iter().map(|run| runs::history(run)).collect();
        let runs = runs?;
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        let title = self.title.unwrap_or_else(|| names.join(", "));
        runs::plot(&runs, &title, &self.out)?;
        console.detail(format!("{} runs", runs.len()));
        print(self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }
}
