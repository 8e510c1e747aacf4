//! `unspool demo`: the whole of it in a minute: train, translate, look.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use unspool_decode::{Beam, LengthPenalty};
use unspool_seq2seq::batch::Source;
use unspool_seq2seq::{Limits, Seq2Seq, Strategy, Translator};
use unspool_tensor::Context;
use unspool_train::config::Config;
use unspool_train::dataset::task_splits;
use unspool_train::trainer::{BEST, CONFIG, LAST, LOG, Outcome as Training, Trainer};

use super::train::{configure, describe};
use super::translate::{draw_attention, source_of};
use crate::console::{Console, Outcome, naming, print};
use crate::paths;
use crate::runs;
use unspool_plot::Scale;

/// Where the demo goes when nothing else is said.
const DEFAULT: &str = "runs/demo";

/// So many test sentences are shown, and as many heatmaps drawn.
const SHOWN: usize = 5;

/// Learn a small translation, English to French, and look at it: about a minute on two cores
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool demo
  unspool demo --out /tmp/demo --set model.cell=gru --set training.epochs=2")]
pub struct Demo {
    /// The run's folder; the demo in the default one is replaced
    #[arg(long, default_value = DEFAULT, value_name = "FOLDER")]
    out: PathBuf,
    /// Replace whatever run is in a folder of your choice
    #[arg(long)]
    overwrite: bool,
    /// What all randomness comes from
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Set a key of the demo's configuration
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::train::key_and_value)]
    set: Vec<(String, String)>,
}

impl Demo {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        let seed = self.seed.map(|seed| ("training.seed".to_string(), seed.to_string()));
        let config = configure(include_str!("demo.toml"), None, &self.set, seed.as_slice())?;
        paths::check_out(&self.out)?;
        let stop = runs::stop_on_ctrl_c()?;
        if config.data.task.is_empty() {
            return Err("the demo shows a built-in task; train on files with: unspool train".into());
        }
        let overwrite = self.overwrite || self.out == Path::new(DEFAULT);
        let mut trainer = Trainer::start(config, &self.out, context.clone(), overwrite)?;
        if overwrite {
            remove_pictures(&self.out)?;
        }
        describe(&trainer, console);
        let outcome = runs::watch(&mut trainer, console, &stop)?;
        let out = trainer.folder().to_path_buf();
        drop(trainer);
        if outcome == Training::Interrupted {
            let folder = out.display();
            console.say(format!("saved; go on with: unspool train --resume {folder}"));
            return Ok(ExitCode::from(130));
        }

        let checkpoint = runs::load(&out, &context, console)?;
        let (translations, drawn) = show(&checkpoint.model, &checkpoint.config, &out)?;
        let run = [runs::history(&out)?];
        for extension in ["svg", "png"] {
            let path = out.join(format!("curves.{extension}"));
            runs::plot(&run, "How training went", Scale::Linear, &path)?;
        }
        let folder = out.display();
        let looked = match drawn {
            0 => String::new(),
            _ => format!(
                "\n  {:<24} where the model looked, for {drawn} sentences",
                "attention-1.svg, .png, …"
            ),
        };
        // Printed when all is written: nobody may be reading.
        print(format!(
            "{translations}\nwritten to {folder}:
  curves.svg, .png         loss, BLEU, accuracy and learning rate{looked}
  {BEST:<24} the model
  {LAST:<24} what training resumes from
  {CONFIG:<24} the configuration
  {LOG:<24} the log

try next:
  unspool translate --model {folder}
  echo \"the small cat does not eat the red apple\" | \
unspool translate --model {folder} --beam 5 --n-best 3
  unspool eval --model {folder} --beam 5
  unspool train --task reverse --out runs/reverse"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Removes the pictures of a demo before, by their names: they do not show the new model.
fn remove_pictures(folder: &Path) -> Result<(), Box<dyn Error>> {
    let failed = |error| naming(folder.display(), error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stem = name.strip_suffix(".svg").or_else(|| name.strip_suffix(".png"));
        let number = stem.and_then(|stem| stem.strip_prefix("attention-"));
        if stem == Some("curves") || number.is_some_and(|number| number.parse::<u32>().is_ok()) {
            fs::remove_file(&path).map_err(|error| naming(path.display(), error))?;
        }
    }
    Ok(())
}

/// Translates some test sentences in two ways, and draws where the model looked: the translations
/// as text, and how many were drawn.
fn show(
    model: &Seq2Seq<f32>,
    config: &Config,
    out: &Path,
) -> Result<(String, usize), Box<dyn Error>> {
    let test = task_splits(config)?.test;
    // The longest of the first ones show the most.
    let mut shown: Vec<_> = test.iter().take(40).collect();
    shown.sort_by_key(|pair| std::cmp::Reverse(pair.source.split(' ').count()));
    shown.truncate(SHOWN);
    let sources: Result<Vec<Source>, _> =
        shown.iter().map(|pair| source_of(model, &pair.source)).collect();
    let sources = sources?;
    let sources: Vec<&Source> = sources.iter().collect();
    let translator = Translator::new(&[model])?;
    let limits = Limits { min_length: 0, max_length: None, attention: true };
    let greedy = translator.translate(&sources, &Strategy::Greedy, limits, &[])?;
    let average = LengthPenalty::Average { alpha: 1.0 };
    let beam = Strategy::Beam(Beam { size: 5, n_best: 1, length_penalty: average });
    let beam = translator.translate(&sources, &beam, limits, &[])?;
    let mut shown_text =
        "\nsentences whose combinations of words were never seen in training:\n".to_string();
    let mut drawn = 0;
    for (index, pair) in shown.iter().enumerate() {
        let (Some(by_greedy), Some(by_beam)) = (greedy[index].first(), beam[index].first()) else {
            continue;
        };
        let text = |hypothesis: &unspool_decode::Hypothesis| {
            let text = model.target().decode(&hypothesis.tokens);
            let mark = if text == pair.target { "✓" } else { "✗" };
            format!("{text}  {mark}")
        };
        let (greedy, beam) = (text(by_greedy), text(by_beam));
        write!(
            shown_text,
            "\n  source     {}\n  reference  {}\n  greedy     {greedy}\n  beam 5     {beam}\n",
            pair.source, pair.target,
        )?;
        if by_greedy.attention.is_empty() {
            continue;
        }
        drawn += 1;
        for extension in ["svg", "png"] {
            let path = out.join(format!("attention-{drawn}.{extension}"));
            draw_attention(model, &pair.source, sources[index], by_greedy, &path)?;
        }
    }
    Ok((shown_text, drawn))
}
