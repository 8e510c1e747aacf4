//! Runs: loading a checkpoint, watching a training, reading its log back.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::ProgressBar;
use unspool_tensor::Context;
use unspool_train::checkpoint::{self, Checkpoint};
use unspool_train::config::TrainingConfig;
use unspool_train::log::{Record, Validation, read_log};
use unspool_train::trainer::{Event, Outcome, TrainError, Trainer};

use crate::console::Console;
use crate::paths;
use unspool_plot::{RunHistory, Scale, training_curves};

/// Loads the checkpoint that a path stands for.
pub fn load(
    path: &Path,
    context: &Context,
    console: &Console,
) -> Result<Checkpoint, Box<dyn Error>> {
    let file = paths::checkpoint(path)?;
    let checkpoint = checkpoint::load(&file, context.clone())?;
    console.detail(format!(
        "{}: {} parameters, {} updates",
        file.display(),
        checkpoint.model.params().numel(),
        checkpoint.state.update
    ));
    Ok(checkpoint)
}

/// Sets a flag on Ctrl-C or a request to end; a second one ends the process at once.
pub fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

/// Trains with a progress bar; on anything but a terminal, with a line for each validation.
pub fn watch(
    trainer: &mut Trainer,
    console: &Console,
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    let training = trainer.config().training.clone();
    let mut bar: Option<ProgressBar> = None;
    let mut smooth: Option<(f64, f64)> = None;
    let started = Instant::now();
    let outcome = trainer.run(stop, |event| match event {
        Event::Update { update, batch, batches, tokens_per_second } => {
            let (loss, rate) = match smooth {
                Some((loss, rate)) => {
                    (0.95 * loss + 0.05 * update.loss, 0.95 * rate + 0.05 * tokens_per_second)
                }
                None => (update.loss, tokens_per_second),
            };
            smooth = Some((loss, rate));
            let done = (update.epoch - 1).saturating_mul(batches) + batch;
            let bar = bar.get_or_insert_with(|| {
                let bar = console.bar(0, "batches");
                bar.set_position(done.saturating_sub(1));
                bar.reset_eta();
                bar
            });
            let all = batches_in_all(&training, batches).max(done);
            bar.set_length(all);
            bar.set_prefix(format!("epoch {}/{}", update.epoch, all.div_ceil(batches)));
            bar.set_position(done);
            bar.set_message(format!("loss {loss:.3}  {} tokens/s", thousands(rate)));
        }
        Event::Validating => {
            if let Some(bar) = &bar {
                bar.set_message("validating");
            }
        }
        Event::Validation(validation) => {
            let line = validation_line(validation, console, started.elapsed().as_secs_f64());
            match &bar {
                Some(bar) if !bar.is_hidden() => bar.println(line),
                _ => console.say(line),
            }
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}

/// How many batches a training computes if nothing stops it early; `batches` are those of an epoch.
fn batches_in_all(training: &TrainingConfig, batches: u64) -> u64 {
    let epochs = match training.epochs {
        0 => u64::MAX,
        epochs => epochs.saturating_mul(batches),
    };
    let updates = match training.max_updates {
        0 => u64::MAX,
        most => {
            // The last update of an epoch makes do with the batches that are left.
            let each = training.accumulate.max(1) as u64;
            let of_an_epoch = batches.div_ceil(each).max(1);
            let rest = (most % of_an_epoch).saturating_mul(each).min(batches);
            (most / of_an_epoch).saturating_mul(batches).saturating_add(rest)
        }
    };
    epochs.min(updates)
}

fn validation_line(validation: &Validation, console: &Console, seconds: f64) -> String {
    let best = if validation.best { console.bold("  best") } else { String::new() };
    format!(
        "epoch {:>2}  update {:>6}  validation: loss {:.4}  perplexity {}  tokens {:.1}%  \
         sequences {:.1}%  BLEU {:.2}{best}  {}",
        validation.epoch,
        validation.update,
        validation.loss,
        perplexity(validation.perplexity),
        100.0 * validation.token_accuracy,
        100.0 * validation.sequence_accuracy,
        validation.bleu,
        console.dim(format!("{seconds:.0} s")),
    )
}

/// A perplexity; an enormous one by its order of magnitude.
pub fn perplexity(perplexity: f64) -> String {
    if perplexity < 1e6 { format!("{perplexity:.2}") } else { format!("{perplexity:.1e}") }
}

/// A number with its thousands apart.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a run, or a file of one, is called in a picture.
pub fn name(run: &Path) -> String {
    let name = if run.is_dir() { run.file_name() } else { run.file_stem() };
    name.map_or("run".into(), |name| name.to_string_lossy().into_owned())
}

/// What a run's log tells, as curves over the update.
pub fn history(folder: &Path) -> Result<RunHistory, Box<dyn Error>> {
    let path = paths::log(folder)?;
    let records = read_log(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut run = RunHistory { name: name(folder), ..RunHistory::default() };
    for record in records {
        match record {
            Record::Update(update) => {
                let x = update.update as f64;
                run.training_loss.push((x, update.loss));
                run.learning_rate.push((x, update.learning_rate));
            }
            Record::Validation(validation) => {
                let x = validation.update as f64;
                run.validation_loss.push((x, validation.loss));
                run.validation_bleu.push((x, validation.bleu));
                run.sequence_accuracy.push((x, 100.0 * validation.sequence_accuracy));
            }
        }
    }
    Ok(run)
}

/// Draws the curves of runs into a file.
pub fn plot(
    runs: &[RunHistory],
    title: &str,
    loss: Scale,
    out: &Path,
) -> Result<(), Box<dyn Error>> {
    let picture = training_curves(title, "update", runs, loss).draw();
    Ok(picture.save(out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_training_is_what_ends_it_first() {
        // epochs, updates, batches of an update, batches of an epoch, batches in all
        let rows = [
            (3, 0, 1, 10, 30),
            (3, 7, 1, 10, 7),
            (3, 70, 1, 10, 30),
            (0, 25, 1, 10, 25),
            (5, 7, 4, 10, 24), // 3 updates an epoch: 4, 4 and 2 batches
            (5, 3, 4, 10, 10),
            (5, 2, 4, 10, 8),
            (5, 2, 100, 10, 20),
            (u64::MAX, 0, 1, 10, u64::MAX),
            (0, u64::MAX, usize::MAX, 10, u64::MAX),
        ];
        for (epochs, max_updates, accumulate, batches, expected) in rows {
            let training =
                TrainingConfig { epochs, max_updates, accumulate, ..TrainingConfig::default() };
            assert_eq!(batches_in_all(&training, batches), expected, "{training:?}");
        }
    }
}
