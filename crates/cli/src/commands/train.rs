//! `unspool train`: train a model in a folder, or go on with it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use unspool_tensor::Context;
use unspool_train::config::{Config, ConfigError};
use unspool_train::metrics::bleu::Bleu;
use unspool_train::tasks::Task;
use unspool_train::trainer::{Outcome as Training, Trainer};

use crate::console::{Console, Outcome, print};
use crate::paths;
use crate::runs::{self, thousands};

/// Train a model, or go on with a training
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool train --task reverse --out runs/reverse
  unspool train config.toml --out runs/a --set model.cell=gru --set training.epochs=5
  unspool train --train train.de.gz train.en.gz --validation val.de val.en --out runs/de-en
  unspool train --resume runs/a

Every key of the configuration is described in docs/configuration.md; `unspool inspect RUN --config`
prints the one of a run. Ctrl-C saves and exits; --resume goes on where it stopped.")]
pub struct Train {
    /// A configuration file; what it leaves out has its default
    config: Option<PathBuf>,
    /// The run's folder
    #[arg(long, value_name = "FOLDER", required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["config", "out", "task", "train"])]
    #[arg(conflicts_with_all = ["validation", "set", "seed"])]
    resume: Option<PathBuf>,
    /// Train on a built-in task: data.task
    #[arg(long)]
    task: Option<Task>,
    /// Training pairs: two parallel files, or one TSV; plain or gzip: data.train
    #[arg(long, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
    /// Validation pairs, in the same form: data.validation
    #[arg(long, num_args = 1.., value_name = "FILE")]
    validation: Vec<PathBuf>,
    /// Set a key of the configuration
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// What all randomness comes from: training.seed
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Start over where a run already is
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Reads `KEY=VALUE`.
pub fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as model.hidden=512")?;
    Ok((key.trim().into(), value.trim().into()))
}

impl Train {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        let stop = runs::stop_on_ctrl_c()?;
        let mut trainer = match &self.resume {
            Some(folder) => {
                paths::check_resumable(folder)?;
                Trainer::resume(folder, context)?
            }
            None => {
                let config = self.config()?;
                let out = self.out.clone().unwrap_or_default();
                paths::check_out(&out)?;
                Trainer::start(config, &out, context, self.overwrite)?
            }
        };
        describe(&trainer, console);
        let outcome = runs::watch(&mut trainer, console, &stop)?;
        let folder = trainer.folder().display().to_string();
        let best = trainer.state().best;
        if self.json {
            print(serde_json::json!({
                "run": folder,
                "outcome": match outcome {
                    Training::Finished => "finished",
                    Training::StoppedEarly => "stopped_early",
                    Training::Interrupted => "interrupted",
                },
                "updates": trainer.state().update,
                "best_update": best.map(|(update, _)| update),
                "best_score": best.map(|(_, score)| score),
            }))?;
        }
        let end = match outcome {
            Training::Finished => "finished",
            Training::StoppedEarly => "stopped early: no better validation any more",
            Training::Interrupted => {
                console.say(format!("saved; go on with: unspool train --resume {folder}"));
                return Ok(ExitCode::from(130));
            }
        };
        console.say(format!("{end}; translate with: unspool translate --model {folder}"));
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self) -> Result<Config, Box<dyn Error>> {
        let files = [("train", &self.train), ("validation", &self.validation)];
        for (option, files) in files {
            let swallowed = files.iter().find(|file| file.extension().is_some_and(|e| e == "toml"));
            if let (None, Some(file)) = (&self.config, swallowed) {
                let file = file.display();
                return Err(format!(
                    "{file} was read as a file of --{option}; if it is the configuration, put it \
                     first: unspool train {file} --{option} .."
                )
                .into());
            }
            if files.len() > 2 {
                let found = files.len();
                return Err(format!(
                    "--{option}: takes two parallel files, or one TSV, but {found} were given"
                )
                .into());
            }
        }
        let text = match &self.config {
            Some(path) => paths::read_text(path)?,
            None => String::new(),
        };
        let mut options = Vec::new();
        let mut set = |key: &str, value: String| options.push((key.into(), value));
        let list = |files: &[PathBuf]| {
            let files = files.iter().map(|file| toml::Value::String(file.display().to_string()));
            toml::Value::Array(files.collect()).to_string()
        };
        if let Some(task) = self.task {
            set("data.task", task.name().into());
        }
        for (option, files) in files.into_iter().filter(|(_, files)| !files.is_empty()) {
            set(&format!("data.{option}"), list(files));
        }
        if let Some(seed) = self.seed {
            set("training.seed", seed.to_string());
        }
        configure(&text, self.config.as_deref(), &self.set, &options)
    }
}

/// Reads a configuration: the text (of a file, if it is one), then what `--set` says, then what
/// other options say. An error tells which of them it is about.
pub fn configure(
    text: &str,
    file: Option<&Path>,
    set: &[(String, String)],
    options: &[(String, String)],
) -> Result<Config, Box<dyn Error>> {
    let error = match Config::parse(text, &[set, options].concat()) {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    if let ConfigError::Override { key, value, problem } = &error {
        return Err(format!("--set {key}={value}: {problem}").into());
    }
    if let ConfigError::Value { key, problem } = &error {
        let holds = |set: &str| key.strip_prefix(set).is_some_and(|rest| rest.starts_with('.'));
        let by_option = options.iter().any(|(option, _)| option == key);
        let setting = set.iter().rev().find(|(set, _)| set == key || holds(set));
        if let (false, Some((set, value))) = (by_option, setting) {
            let part = if set == key { String::new() } else { format!("{key}: ") };
            return Err(format!("--set {set}={value}: {part}{problem}").into());
        }
    }
    match file {
        Some(file) if Config::parse(text, options).as_ref() == Err(&error) => {
            Err(format!("{}: {error}", file.display()).into())
        }
        _ => Err(error.into()),
    }
}

/// Says what is about to be trained.
pub fn describe(trainer: &Trainer, console: &Console) {
    let (data, model) = (trainer.data(), trainer.model());
    for note in &data.notes {
        console.say(note);
    }
    let attention = trainer.config().model.attention;
    console.say(format!(
        "{} parameters ({} with {attention} attention), {} training pairs, {} for validation, \
         {} target tokens in the vocabulary",
        thousands(model.params().numel() as f64),
        trainer.config().model.cell,
        thousands(data.train.len() as f64),
        thousands(data.validation.len() as f64),
        thousands(data.target.size() as f64),
    ));
    let bleu = Bleu {
        tokenization: trainer.config().training.bleu_tokenisation.into(),
        ..Bleu::default()
    };
    console.say(format!("BLEU: {}", bleu.signature(1)));
    if trainer.state().update > 0 {
        console.say(format!("going on after update {}", trainer.state().update));
    }
}
