//! Checkpoints: one safetensors file with everything that the next step depends on.
//!
//! The tensors are the parameters by their names, and the optimiser's running averages as
//! `optimiser.<average>.<parameter>`. The file's metadata has one key, `unspool`: a JSON object
//! with the format, the configuration, the vocabularies, the state of the trainer, and a checksum
//! of all of it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use unspool_seq2seq::vocabulary::Vocabulary;
use unspool_seq2seq::{ModelError, Seq2Seq, SourceSide};
use unspool_tensor::Context;

use crate::config::Config;
use crate::optimiser::Optimiser;

/// The checkpoint of the best validation, in a run's folder.
pub const BEST: &str = "best.safetensors";
/// The checkpoint that training goes on from.
pub const LAST: &str = "last.safetensors";
/// The version of the layout that this crate writes and reads.
const FORMAT: u32 = 1;
/// The metadata's only key: with one, the bytes of a file depend on its content alone.
const METADATA_KEY: &str = "unspool";
/// What a file begins with, after the eight bytes of its header's length.
const SIGNATURE: &[u8] = b"{\"__metadata__\":{\"unspool\":";

/// Where a training stands, between two updates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerState {
    /// The epochs that are over.
    pub epoch: u64,
    /// The batches of this epoch that are over.
    pub batch: u64,
    /// The updates that have been made.
    pub update: u64,
    /// The best validation so far: its update, and the score by which models are chosen (larger is
    /// better).
    pub best: Option<(u64, f64)>,
    /// How many validations there have been since the best one.
    pub since_best: u64,
    /// How many there have been since the best one or the last cut of the learning rate.
    pub since_cut: u64,
    /// How often a plateau has cut the learning rate.
    pub cuts: u64,
    /// How long the log is, in bytes.
    pub log_length: u64,
    /// The checksum of the data, by [`Dataset::checksum`](crate::dataset::Dataset::checksum).
    pub data_checksum: u32,
    /// Whether training is over.
    pub finished: bool,
}

/// What a checkpoint's metadata holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    kernels: String,
    config: Config,
    source: SourceSide,
    target: Vocabulary,
    state: TrainerState,
    /// CRC-32 of the header with a checksum of 0, then of each tensor's name and bytes in order.
    checksum: u32,
}

/// A checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: io::Error,
    },
    /// The file is not a checkpoint of this program.
    #[error("{}: not an Unspool checkpoint: {problem}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file was one, but has been cut off or changed.
    #[error("{}: damaged checkpoint: {problem}; {}", path.display(), remedy(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The model that the file describes cannot be built.
    #[error("{}: {error}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ModelError,
    },
}

/// What a checkpoint holds.
#[derive(Debug)]
pub struct Checkpoint {
    /// How the model was trained.
    pub config: Config,
    /// The model.
    pub model: Seq2Seq<f32>,
    /// The optimiser, with what it remembers.
    pub optimiser: Optimiser<f32>,
    /// Where training stands.
    pub state: TrainerState,
    /// The kernels that it was trained with.
    pub kernels: String,
}

/// Writes a checkpoint: to a temporary name beside it first, so that there always is a whole one.
///
/// # Errors
/// Those of the file system.
pub fn save(
    path: &Path,
    config: &Config,
    model: &Seq2Seq<f32>,
    optimiser: &Optimiser<f32>,
    state: &TrainerState,
) -> Result<(), CheckpointError> {
    let io_error = |error| CheckpointError::Io { path: path.into(), error };
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (_, name, value) in model.params().iter() {
        tensors.push((name.into(), value.shape().to_vec(), to_bytes(value.iter())));
    }
    for (average, arrays) in optimiser.averages() {
        for ((_, name, value), array) in model.params().iter().zip(arrays) {
            let name = format!("optimiser.{average}.{name}");
            tensors.push((name, value.shape().to_vec(), to_bytes(array.iter())));
        }
    }
    tensors.sort();
    let mut header = Header {
        format: FORMAT,
        kernels: model.context().kernels().name(),
        config: config.clone(),
        source: model.source().clone(),
        target: model.target().clone(),
        state: state.clone(),
        checksum: 0,
    };
    let views = (tensors.iter()).map(|(name, _, bytes)| (name.as_str(), bytes.as_slice()));
    header.checksum = checksum(&header, views).map_err(io_error)?;
    let header = serde_json::to_string(&header).map_err(|error| io_error(error.into()))?;
    let metadata = HashMap::from([(METADATA_KEY.to_string(), header)]);
    let views: Result<Vec<_>, _> = (tensors.iter())
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    let bytes = views
        .and_then(|views| safetensors::serialize(views, Some(metadata)))
        .map_err(|error| io_error(io::Error::other(error)))?;
    write_atomically(path, &bytes).map_err(io_error)
}

/// Writes a file so that it is there whole or as it was: to a temporary name in its folder, synced,
/// renamed.
///
/// The temporary name follows from the file's, so what a killed process leaves behind is replaced
/// the next time. A symbolic link stays one. What is no ordinary file, such as a pipe or a device,
/// is written to.
///
/// # Errors
/// Those of the file system; an ordinary file is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The file behind links; without one, a new file at this path.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let before = fs::metadata(path).ok();
    if before.as_ref().is_some_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if let Some(before) = before {
            file.set_permissions(before.permissions())?;
        }
        fs::rename(&temporary, path)
    };
    if let Err(error) = write() {
        // That there was nothing to remove is no news.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    // The rename itself must survive a power cut too.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Reads a checkpoint and builds its model.
///
/// # Errors
/// The file cannot be read, is not a checkpoint, or is damaged.
pub fn load(path: &Path, context: Context) -> Result<Checkpoint, CheckpointError> {
    let bytes = fs::read(path).map_err(|error| CheckpointError::Io { path: path.into(), error })?;
    let foreign = |problem: String| CheckpointError::Foreign { path: path.into(), problem };
    let damaged = |problem: String| CheckpointError::Damaged { path: path.into(), problem };

    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
        let ours = bytes.get(8..).is_some_and(|header| header.starts_with(SIGNATURE));
        let cut = |error| {
            use SafeTensorError::{InvalidHeaderLength, MetadataIncompleteBuffer};
            matches!(error, InvalidHeaderLength | MetadataIncompleteBuffer)
        };
        match bytes.len() {
            0 => foreign("the file is empty".into()),
            _ if !ours => foreign("it does not begin as one does".into()),
            length if cut(error) => {
                damaged(format!("it has been cut short, or added to: {length} bytes are there"))
            }
            _ => damaged("its header cannot be read".into()),
        }
    })?;
    let header = (metadata.metadata().as_ref())
        .and_then(|metadata| metadata.get(METADATA_KEY))
        .ok_or_else(|| foreign("a safetensors file of another program".into()))?;
    let format = serde_json::from_str::<serde_json::Value>(header)
        .ok()
        .and_then(|header| header.get("format")?.as_u64())
        .ok_or_else(|| damaged("its description cannot be read".into()))?;
    if format != u64::from(FORMAT) {
        return Err(foreign(format!("its format is {format}, this program reads {FORMAT}")));
    }
    let mut header: Header =
        serde_json::from_str(header).map_err(|error| damaged(error.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| {
        damaged(format!("its {} bytes are not what its header says ({error})", bytes.len()))
    })?;
    let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = std::mem::take(&mut header.checksum);
    let found = checksum(&header, views.iter().map(|(name, view)| (name.as_str(), view.data())))
        .map_err(|error| damaged(error.to_string()))?;
    if found != expected {
        let problem = format!("its checksum is {found:08x}, not {expected:08x}");
        return Err(damaged(problem));
    }
    let Header { config, source, target, state, kernels, .. } = header;
    let numbers: usize = views.iter().map(|(_, view)| view.data().len() / size_of::<f32>()).sum();
    if config.model.parameters(source.size(), target.size()) > numbers as u64 {
        // Found before memory is taken for a model of any size that the file may name.
        return Err(damaged("it has fewer numbers than the model that it describes".into()));
    }
    config.validate().map_err(|error| damaged(error.to_string()))?;
    let mut model = Seq2Seq::blank(config.model.clone(), source, target, context)
        .map_err(|error| CheckpointError::Model { path: path.into(), error })?;
    let mut optimiser = Optimiser::new(config.training.optimiser, model.params());
    optimiser.set_updates(state.update);

    let read = |name: &str, shape: &[usize]| -> Result<ArrayD<f32>, CheckpointError> {
        let view = (tensors.tensor(name))
            .map_err(|_| damaged(format!("the tensor {name:?} is missing")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(damaged(format!(
                "the tensor {name:?} is {:?} {:?}, expected F32 {shape:?}",
                view.dtype(),
                view.shape()
            )));
        }
        let (words, _) = view.data().as_chunks::<4>();
        let numbers: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        ArrayD::from_shape_vec(IxDyn(shape), numbers).map_err(|error| damaged(error.to_string()))
    };
    let ids: Vec<_> = model.params().ids().collect();
    for id in ids {
        let (name, shape) =
            (model.params().name(id).to_string(), model.params().get(id).shape().to_vec());
        for (average, arrays) in optimiser.averages_mut() {
            let array = read(&format!("optimiser.{average}.{name}"), &shape)?;
            arrays[id.index()] = array.into_iter().collect();
        }
        let value = read(&name, &shape)?.into_shared();
        model.params_mut().set(id, value).map_err(|error| damaged(error.to_string()))?;
    }
    Ok(Checkpoint { config, model, optimiser, state, kernels })
}

/// What to do about a checkpoint that is damaged.
fn remedy(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    let other = [(LAST, BEST), (BEST, LAST)].into_iter().find(|(this, _)| name == *this);
    match other {
        Some((_, other)) => format!("use {other} beside it, or start the training again"),
        None => "take another copy of it, or train again".into(),
    }
}

fn to_bytes<'a>(numbers: impl ExactSizeIterator<Item = &'a f32>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * numbers.len());
    numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes
}

fn checksum<'a>(
    header: &Header,
    tensors: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&serde_json::to_vec(header)?);
    for (name, bytes) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(bytes);
    }
    Ok(hasher.finalize())
}
