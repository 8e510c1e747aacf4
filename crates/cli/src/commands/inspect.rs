//! `unspool inspect`: what is in a checkpoint.

use std::path::PathBuf;
use std::process::ExitCode;

use unspool_seq2seq::SourceSide;
use unspool_tensor::Context;

use crate::console::{Console, Outcome, print};
use crate::runs::{self, thousands};

/// Show a checkpoint's tensors, sizes and configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool inspect runs/demo
  unspool inspect runs/demo/last.safetensors --config
  unspool inspect runs/demo --json | jq .parameters")]
pub struct Inspect {
    /// A checkpoint, or a run's folder
    model: PathBuf,
    /// Print the configuration alone, as TOML
    #[arg(long, conflicts_with = "json")]
    config: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        let checkpoint = runs::load(&self.model, &context, console)?;
        if self.config {
            print(checkpoint.config.to_toml()?.trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        let model = &checkpoint.model;
        let source = match model.source() {
            SourceSide::Tokens(vocabulary) => ("tokens", vocabulary.size()),
            SourceSide::Vectors(statistics) => ("numbers a frame", statistics.mean.len()),
        };
        let norm = |values: &unspool_tensor::Tensor<f32>| {
            values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
        };
        if self.json {
            let tensors: Vec<_> = (model.params().iter())
                .map(|(_, name, value)| {
                    serde_json::json!({
                        "name": name, "shape": value.shape(), "numel": value.len(),
                        "norm": norm(value),
                    })
                })
                .collect();
            print(serde_json::json!({
                "parameters": model.params().numel(),
                "source": { "kind": source.0, "size": source.1 },
                "target": { "kind": "tokens", "size": model.target().size() },
                "state": checkpoint.state,
                "kernels": checkpoint.kernels,
                "config": checkpoint.config,
                "tensors": tensors,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let widest = model.params().iter().map(|(_, name, _)| name.len()).max().unwrap_or(0);
        print(format!(
            "{:<widest$}  {:>14}  {:>12}  {:>10}",
            "tensor", "shape", "numbers", "norm"
        ))?;
        for (_, name, value) in model.params().iter() {
            let shape = format!("{:?}", value.shape());
            let numbers = thousands(value.len() as f64);
            print(format!("{name:<widest$}  {shape:>14}  {numbers:>12}  {:>10.4}", norm(value)))?;
        }
        let state = &checkpoint.state;
        print(format!(
            "\n{} parameters; source: {} {}; target: {} tokens",
            thousands(model.params().numel() as f64),
            source.1,
            source.0,
            model.target().size()
        ))?;
        print(format!(
            "{} updates, {} epochs; best validation: {}; {} kernels",
            state.update,
            state.epoch + u64::from(state.finished),
            state
                .best
                .map_or("none yet".into(), |(at, score)| format!("{score:.4} at update {at}")),
            checkpoint.kernels
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
