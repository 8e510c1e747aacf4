//! The trainer: batches to gradients to updates, with validation, checkpoints and resumption.
//!
//! # Determinism
//!
//! The same configuration gives the same bits at any number of threads and after any number of
//! interruptions:
//! - the plan of batches and all randomness are functions of the seed, the epoch and the update;
//! - a batch is cut into shards by its own order alone, each runs on one thread with its own tape,
//!   and their gradients are summed as a fixed tree;
//! - a checkpoint is taken between two updates and holds everything that the next one depends on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use unspool_seq2seq::batch::{Batch, Example};
use unspool_seq2seq::vocabulary::PAD;
use unspool_seq2seq::{Limits, LossOptions, ModelError, Seq2Seq, Strategy, TeacherForcing};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tape};

use crate::checkpoint::{self, Checkpoint, CheckpointError, TrainerState};
use crate::config::{Config, ConfigError, Normalisation, SelectBy, SmoothingKind};
use crate::data::batches::training_batches;
use crate::dataset::{Dataset, DatasetError, lengths};
use crate::evaluate::{EvaluationError, evaluate};
use crate::gradients::{self, Gradients, clip_by_global_norm};
use crate::log::{Log, Record, Update, Validation};
use crate::metrics::bleu::Bleu;
use crate::optimiser::Optimiser;

pub use crate::checkpoint::{BEST, LAST};

/// The log.
pub const LOG: &str = "log.jsonl";
/// The configuration, every key written out.
pub const CONFIG: &str = "config.toml";

/// Training failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The configuration is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data is not usable.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A validation failed.
    #[error("validation: {0}")]
    Evaluation(#[from] EvaluationError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of the run could not be written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// The folder already holds a run.
    #[error(
        "{}: already holds a training run; resume it with --resume, start over with --overwrite, \
         or choose another folder",
        path.display()
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has a configuration, but no run.
    #[error(
        "{}: is already there, and the run would write its own; choose another folder, or replace \
         it with --overwrite",
        path.display()
    )]
    ConfigInTheWay {
        /// The configuration.
        path: PathBuf,
    },
    /// The data is not what training began with.
    #[error(
        "{}: the training data has changed since this run began, so it cannot go on; restore the \
         data or start a new run",
        path.display()
    )]
    DataChanged {
        /// The run's folder.
        path: PathBuf,
    },
    /// The loss, a gradient or a weight is not finite.
    #[error(
        "the {what} is not finite at update {update}: start again with a lower \
         training.learning_rate or training.clip_norm"
    )]
    Diverged {
        /// `loss`, `gradient`, `validation loss`, or a parameter's name.
        what: String,
        /// The update, from 1.
        update: u64,
    },
}

/// What happens while a trainer runs.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// An update was made.
    Update {
        /// What it was like.
        update: &'a Update,
        /// How many batches of the epoch are over.
        batch: u64,
        /// How many batches the epoch has.
        batches: u64,
        /// Target tokens a second, of this update.
        tokens_per_second: f64,
    },
    /// A validation begins.
    Validating,
    /// A validation is over.
    Validation(&'a Validation),
}

/// Why a trainer stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs or updates are over.
    Finished,
    /// No validation was a new best for so long that it gave up.
    StoppedEarly,
    /// It was asked to stop; the state is saved.
    Interrupted,
}

/// A training in a folder.
#[derive(Debug)]
pub struct Trainer {
    config: Config,
    folder: PathBuf,
    context: Context,
    data: Dataset,
    model: Seq2Seq<f32>,
    optimiser: Optimiser<f32>,
    state: TrainerState,
    log: Log,
}

impl Trainer {
    /// Starts a training in a folder, which is made when it is not there.
    ///
    /// # Errors
    /// The folder already holds a run or a configuration (unless `overwrite`), another process is
    /// training there, or the data is not usable. The folder is then as it was.
    pub fn start(
        config: Config,
        folder: &Path,
        context: Context,
        overwrite: bool,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        if !overwrite {
            check_free(folder)?;
        }
        // Everything that can be wrong with the input is found before the folder is touched.
        let data = Dataset::load(&config)?;
        let key = Key::new(config.training.seed);
        let model = Seq2Seq::new(
            config.model.clone(),
            data.source.clone(),
            data.target.clone(),
            context.for_shard(0),
            key.named("weights"),
        )?;
        let text = config.to_toml()?;
        make_folder(folder)?;
        let mut log = open_log(folder)?;
        if !overwrite {
            // Another process may have been here in the meantime.
            check_free(folder)?;
        }
        let optimiser = Optimiser::new(config.training.optimiser, model.params());
        let state = TrainerState { data_checksum: data.checksum(), ..TrainerState::default() };
        // The new checkpoint first: on a full disk, what a run before has left stays whole.
        checkpoint::save(&folder.join(LAST), &config, &model, &optimiser, &state)?;
        remove(&folder.join(BEST))?;
        cut_back(&mut log, folder, 0)?;
        let path = folder.join(CONFIG);
        checkpoint::write_atomically(&path, text.as_bytes())
            .map_err(|error| TrainError::Io { path, error })?;
        let folder = folder.into();
        Ok(Trainer { config, folder, context, data, model, optimiser, state, log })
    }

    /// Goes on with the training in a folder from its last checkpoint.
    ///
    /// # Errors
    /// There is no such checkpoint, it is damaged, or another process is training there.
    pub fn resume(folder: &Path, context: Context) -> Result<Self, TrainError> {
        let path = folder.join(LAST);
        // Where there is no run, no log is made.
        if let Err(error) = fs::metadata(&path) {
            return Err(CheckpointError::Io { path, error }.into());
        }
        let mut log = open_log(folder)?;
        let checkpoint = checkpoint::load(&path, context.for_shard(0))?;
        let Checkpoint { config, model, optimiser, state, .. } = checkpoint;
        let mut data = Dataset::load_for(&config, model.source(), model.target())?;
        if data.checksum() != state.data_checksum {
            return Err(TrainError::DataChanged { path: folder.into() });
        }
        cut_back(&mut log, folder, state.log_length)?;
        if log.length() < state.log_length {
            let missing = state.log_length - log.length();
            data.notes
                .push(format!("{LOG} lacks {missing} bytes that were there: curves have gaps"));
        }
        let folder = folder.into();
        Ok(Trainer { config, folder, context, data, model, optimiser, state, log })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The data.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// The model, as it is now.
    pub fn model(&self) -> &Seq2Seq<f32> {
        &self.model
    }

    /// Where training stands.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Trains to the end, or until `stop` is set: then the state is saved after the update at hand.
    ///
    /// # Errors
    /// The loss diverged, or a file could not be written; the last checkpoint stays as it was.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        mut progress: impl FnMut(Event<'_>),
    ) -> Result<Outcome, TrainError> {
        let training = self.config.training.clone();
        let key = Key::new(training.seed);
        let lengths = lengths(&self.data.train);
        let (batch_size, bucketing) = (self.config.data.batch_size(), self.config.data.bucketing());
        while !self.state.finished {
            let plan = training_batches(key, self.state.epoch, &lengths, batch_size, bucketing);
            let batches = plan.len() as u64;
            while self.state.batch < batches && !self.is_last_update() {
                let first = self.state.batch as usize;
                let last = plan.len().min(first.saturating_add(training.accumulate));
                let started = Instant::now();
                let update = self.update(&plan[first..last])?;
                self.state.batch = last as u64;
                self.write(&Record::Update(update))?;
                let seconds = started.elapsed().as_secs_f64().max(1e-9);
                progress(Event::Update {
                    update: &update,
                    batch: self.state.batch,
                    batches,
                    tokens_per_second: update.tokens as f64 / seconds,
                });
                let due = |every: u64| every > 0 && self.state.update.is_multiple_of(every);
                let (validate, save) =
                    (due(training.validate_every), due(training.checkpoint_every));
                if validate && self.state.batch < batches && !self.is_last_update() {
                    self.validate(&mut progress)?;
                    self.save(LAST)?;
                } else if save {
                    self.save(LAST)?;
                }
                if stop.load(Ordering::Relaxed) {
                    self.save(LAST)?;
                    return Ok(Outcome::Interrupted);
                }
            }
            if self.state.finished {
                // A validation within the epoch ended it.
                self.save(LAST)?;
                break;
            }
            // The epoch, or the training, is over.
            let last_epoch = training.epochs > 0 && self.state.epoch + 1 >= training.epochs;
            self.state.finished = last_epoch || self.is_last_update();
            self.validate(&mut progress)?;
            if !self.state.finished {
                self.state.epoch += 1;
                self.state.batch = 0;
            }
            self.save(LAST)?;
        }
        let patience = training.early_stopping;
        let gave_up = patience > 0 && self.state.since_best >= patience;
        Ok(if gave_up { Outcome::StoppedEarly } else { Outcome::Finished })
    }

    fn is_last_update(&self) -> bool {
        let most = self.config.training.max_updates;
        self.state.finished || (most > 0 && self.state.update >= most)
    }

    /// One update from some batches, whose gradients are added up.
    fn update(&mut self, batches: &[Vec<usize>]) -> Result<Update, TrainError> {
        let training = &self.config.training;
        let state = &self.state;
        let forcing = training.teacher_forcing.ratio(state.update);
        let rate =
            training.schedule.rate(training.learning_rate, state.update, state.epoch, state.cuts);
        let tokens: usize =
            (batches.iter().flatten()).map(|&index| self.data.train[index].target.len() + 1).sum();
        let epsilon = training.label_smoothing;
        let smoothing = match training.smoothing {
            _ if epsilon == 0.0 => Smoothing::None,
            SmoothingKind::Uniform => Smoothing::Uniform(epsilon),
            SmoothingKind::ExcludingPadding => {
                Smoothing::ExceptPadding { epsilon, padding: PAD as usize }
            }
        };
        let divisor = match training.normalisation {
            Normalisation::Tokens => tokens as f64,
            Normalisation::Sentences => batches.iter().map(Vec::len).sum::<usize>() as f64,
        };
        let options = LossOptions { forcing: TeacherForcing(forcing), smoothing, divisor };
        let key = Key::new(training.seed).named("update").with(state.update);
        let Shard { loss, mut gradients } = self.gradients(batches, options, key)?;
        let update = state.update + 1;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { what: "loss".into(), update });
        }
        let most = Some(training.clip_norm).filter(|&norm| norm > 0.0);
        let gradient_norm = clip_by_global_norm(&self.context, &mut gradients, most);
        if !gradient_norm.is_finite() {
            return Err(TrainError::Diverged { what: "gradient".into(), update });
        }
        self.optimiser.update(&self.context, self.model.params_mut(), &gradients, rate);
        gradients::recycle(&self.context, gradients);
        self.state.update = update;
        Ok(Update {
            update,
            epoch: self.state.epoch + 1,
            // Per token, so that runs can be compared.
            loss: loss * (divisor / tokens as f64),
            gradient_norm,
            learning_rate: rate,
            teacher_forcing: forcing,
            tokens: tokens as u64,
        })
    }

    /// The loss and the gradients of some batches: each cut into shards that run in parallel.
    fn gradients(
        &self,
        batches: &[Vec<usize>],
        options: LossOptions,
        key: Key,
    ) -> Result<Shard, TrainError> {
        let size = self.config.training.shard_size;
        let shards: Vec<(Context, &[usize])> = (batches.iter().enumerate())
            .flat_map(|(number, batch)| {
                let context = self.context.clone().with_key(key.with(number as u64));
                (batch.chunks(size).enumerate())
                    .map(move |(shard, indices)| (context.for_shard(shard * size), indices))
            })
            .collect();
        let one = |&(ref context, indices): &(Context, &[usize])| -> Result<Shard, ModelError> {
            let examples: Vec<&Example> =
                indices.iter().map(|&index| &self.data.train[index]).collect();
            let batch = Batch::new(&examples)?;
            let tape = Tape::new(context.clone());
            let loss = self.model.training_loss(&tape, &batch, options)?.loss;
            let grads = tape.backward_once(loss).map_err(ModelError::from)?;
            let loss = loss.value().iter().map(|&x| f64::from(x)).sum();
            Ok(Shard { loss, gradients: grads.into_gradients() })
        };
        let parallel = self.context.threads() > 1;
        Ok(self.context.install(|| sum_as_tree(&self.context, &shards, &one, parallel))?)
    }

    fn validate(&mut self, progress: &mut impl FnMut(Event<'_>)) -> Result<(), TrainError> {
        self.check_weights()?;
        progress(Event::Validating);
        let training = &self.config.training;
        let bleu = Bleu { tokenization: training.bleu_tokenisation.into(), ..Bleu::default() };
        let found = evaluate(
            &self.model,
            &self.context,
            &self.data.validation,
            &self.data.references,
            bleu,
            (&Strategy::Greedy, Limits::default()),
        )?;
        if !found.loss.is_finite() {
            let update = self.state.update;
            return Err(TrainError::Diverged { what: "validation loss".into(), update });
        }
        let score = match training.select_by {
            SelectBy::Bleu => found.bleu.score,
            SelectBy::Loss => -found.loss,
            SelectBy::Accuracy => found.sequence_accuracy,
        };
        let state = &mut self.state;
        let best = state.best.is_none_or(|(_, before)| score > before);
        if best {
            state.best = Some((state.update, score));
            (state.since_best, state.since_cut) = (0, 0);
        } else {
            state.since_best += 1;
            state.since_cut += 1;
        }
        if training.schedule.patience().is_some_and(|patience| state.since_cut >= patience) {
            state.cuts += 1;
            state.since_cut = 0;
        }
        if training.early_stopping > 0 && state.since_best >= training.early_stopping {
            state.finished = true;
        }
        let validation = Validation {
            update: state.update,
            epoch: state.epoch + 1,
            loss: found.loss,
            // JSON has no infinity.
            perplexity: found.perplexity.min(f64::MAX),
            token_accuracy: found.token_accuracy,
            sequence_accuracy: found.sequence_accuracy,
            bleu: found.bleu.score,
            best,
        };
        self.write(&Record::Validation(validation))?;
        progress(Event::Validation(&validation));
        if best {
            self.save(BEST)?;
        }
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        let path = || self.folder.join(LOG);
        self.log.write(record).map_err(|error| TrainError::Io { path: path(), error })
    }

    /// A finite gradient can still make an infinite weight. Nothing is made of such a model, and it
    /// never takes a good checkpoint's place.
    fn check_weights(&self) -> Result<(), TrainError> {
        for (_, name, value) in self.model.params().iter() {
            if !value.iter().all(|x| x.is_finite()) {
                let (what, update) = (name.to_owned(), self.state.update);
                return Err(TrainError::Diverged { what, update });
            }
        }
        Ok(())
    }

    fn save(&mut self, name: &str) -> Result<(), TrainError> {
        self.check_weights()?;
        let path = self.folder.join(name);
        let log = self.folder.join(LOG);
        self.log.sync().map_err(|error| TrainError::Io { path: log, error })?;
        self.state.log_length = self.log.length();
        checkpoint::save(&path, &self.config, &self.model, &self.optimiser, &self.state)?;
        Ok(())
    }
}

/// What a shard of a batch gives, or all shards together.
struct Shard {
    loss: f64,
    gradients: Gradients<f32>,
}

/// Computes shards and adds them up: neighbours, then neighbouring sums, and so on. No number of
/// threads changes that order, and only a few gradients are there at once.
fn sum_as_tree<S: Sync>(
    context: &Context,
    shards: &[S],
    compute: &(impl Fn(&S) -> Result<Shard, ModelError> + Sync),
    parallel: bool,
) -> Result<Shard, ModelError> {
    match shards {
        [] => Ok(Shard { loss: 0.0, gradients: Vec::new() }),
        [shard] => compute(shard),
        _ => {
            // The left part is the largest power of two below the whole.
            let (left, right) = shards.split_at(shards.len().next_power_of_two() / 2);
            let left = || sum_as_tree(context, left, compute, parallel);
            let right = || sum_as_tree(context, right, compute, parallel);
            let (left, right) = if parallel { rayon::join(left, right) } else { (left(), right()) };
            let mut sum = left?;
            sum.add(right?, context);
            Ok(sum)
        }
    }
}

impl Shard {
    fn add(&mut self, other: Shard, context: &Context) {
        self.loss += other.loss;
        gradients::add(context, &mut self.gradients, other.gradients);
    }
}

/// Checks that a folder has nothing that a new run would replace. An empty log is what a start
/// leaves that came no further.
fn check_free(folder: &Path) -> Result<(), TrainError> {
    let there = |name: &str| folder.join(name).exists();
    let logged = fs::metadata(folder.join(LOG)).is_ok_and(|log| log.len() > 0);
    if there(LAST) || there(BEST) || logged {
        return Err(TrainError::Occupied { path: folder.into() });
    }
    if there(CONFIG) {
        return Err(TrainError::ConfigInTheWay { path: folder.join(CONFIG) });
    }
    Ok(())
}

/// Opens the log, and so keeps the folder for this process.
fn open_log(folder: &Path) -> Result<Log, TrainError> {
    let path = folder.join(LOG);
    Log::open(&path).map_err(|error| TrainError::Io { path, error })
}

fn cut_back(log: &mut Log, folder: &Path, length: u64) -> Result<(), TrainError> {
    let path = || folder.join(LOG);
    log.cut_back(length).map_err(|error| TrainError::Io { path: path(), error })
}

fn make_folder(folder: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|error| TrainError::Io { path: folder.into(), error })
}

fn remove(path: &Path) -> Result<(), TrainError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(TrainError::Io { path: path.into(), error })
        }
        _ => Ok(()),
    }
}
