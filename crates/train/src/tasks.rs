//! Built-in tasks: corpora that seeded generators make, the same for the same seed everywhere.

pub mod phrases;
pub mod reverse;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use unspool_tensor::random::Key;

use crate::data::read::Pair;

/// A built-in task. Its texts are tokens separated by spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// [Digits in reverse order](reverse).
    Reverse,
    /// [English to French](phrases), from a small grammar.
    Phrases,
}

/// How many pairs each part of a task shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// To train on.
    pub train: usize,
    /// To choose the best model by.
    pub validation: usize,
    /// To report on.
    pub test: usize,
    /// Longer than any in training; only [`Task::Reverse`] has such a part.
    pub long: usize,
}

/// The parts of a task. No pair of one part is in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splits {
    /// To train on.
    pub train: Vec<Pair>,
    /// To choose the best model by.
    pub validation: Vec<Pair>,
    /// To report on.
    pub test: Vec<Pair>,
    /// Longer than any in training; empty where the task has no such part.
    pub long: Vec<Pair>,
}

/// Why a task cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The name is no task's.
    #[error("there is no task {name:?}; there are: reverse, phrases")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The generator finds no more pairs that are not yet there.
    #[error(
        "{task} has no {asked} different pairs for {split}: no new one was found after {found}"
    )]
    TooMany {
        /// The task.
        task: Task,
        /// The part.
        split: &'static str,
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        found: usize,
    },
    /// The folder to write is already there.
    #[error("{}: is already there", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 2] = [Task::Reverse, Task::Phrases];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Task::Reverse => "reverse",
            Task::Phrases => "phrases",
        }
    }

    /// What the task is, in one line.
    pub fn description(self) -> &'static str {
        match self {
            Task::Reverse => {
                "sequences of up to 25 digits, reversed; test sequences up to 35 digits"
            }
            Task::Phrases => "English sentences into French, from a small grammar",
        }
    }

    /// Sizes that let a small model learn the task.
    pub fn default_sizes(self) -> Sizes {
        let long = if self == Task::Reverse { 1000 } else { 0 };
        Sizes { train: 50_000, validation: 1000, test: 1000, long }
    }

    /// Makes the task's pairs: a pure function of seed and sizes.
    ///
    /// # Errors
    /// [`TaskError::TooMany`] when a size passes what the task has.
    pub fn generate(self, seed: u64, sizes: Sizes) -> Result<Splits, TaskError> {
        let key = Key::new(seed).named(self.name());
        match self {
            Task::Reverse => reverse::generate(key, sizes),
            Task::Phrases => phrases::generate(key, sizes),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Task {
    type Err = TaskError;

    fn from_str(name: &str) -> Result<Self, TaskError> {
        let found = Task::ALL.into_iter().find(|task| task.name() == name);
        found.ok_or_else(|| TaskError::Unknown { name: name.to_owned() })
    }
}

impl Splits {
    /// The parts with their names, without empty ones.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &[Pair])> {
        let all = [
            ("train", &self.train[..]),
            ("validation", &self.validation),
            ("test", &self.test),
            ("long", &self.long),
        ];
        all.into_iter().filter(|(_, pairs)| !pairs.is_empty())
    }

    /// Writes a new folder of text files, `train.src`, `train.tgt` and so on, one sentence a line.
    ///
    /// The folder appears whole or not at all: it is written under a temporary name beside its
    /// place. Folders above it are made where they are missing. Returns the files' paths.
    ///
    /// # Errors
    /// When something of this name is already there, or the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, TaskError> {
        if folder.symlink_metadata().is_ok() {
            return Err(TaskError::Exists { path: folder.to_owned() });
        }
        let names = self.write_new(folder);
        names.map_err(|source| TaskError::Io { path: folder.to_owned(), source })
    }

    fn write_new(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let above = match folder.parent() {
            Some(above) if above != Path::new("") => above,
            _ => Path::new("."),
        };
        fs::create_dir_all(above)?;
        let temporary = tempfile::Builder::new().prefix(".unspool-task-").tempdir_in(above)?;
        // A folder within the temporary one, because that one's permissions are for us alone.
        let inner = temporary.path().join("task");
        fs::create_dir(&inner)?;
        let mut paths = Vec::new();
        for (split, pairs) in self.named() {
            let sources = pairs.iter().map(|pair| &pair.source);
            let targets = pairs.iter().map(|pair| &pair.target);
            write_lines(&inner.join(format!("{split}.src")), sources)?;
            write_lines(&inner.join(format!("{split}.tgt")), targets)?;
            paths.extend(["src", "tgt"].map(|side| folder.join(format!("{split}.{side}"))));
        }
        fs::rename(&inner, folder)?;
        Ok(paths)
    }
}

fn write_lines<'t>(path: &Path, lines: impl Iterator<Item = &'t String>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create_new(path)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.into_inner()?.sync_all()
}

/// Random choices one after the other, for one sentence.
struct Choices {
    key: Key,
    made: u64,
}

impl Choices {
    fn new(key: Key) -> Self {
        Choices { key, made: 0 }
    }

    /// A number in `0..n`, or 0 when there is none.
    fn below(&mut self, n: usize) -> usize {
        self.made += 1;
        self.key.below(self.made, n as u64) as usize
    }

    /// True in so many of a hundred cases.
    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items; `None` when there are none.
    fn pick<X: Copy>(&mut self, items: &[X]) -> Option<X> {
        items.get(self.below(items.len())).copied()
    }
}

/// Asks `draw` for its 0th, 1st, … item until there are `size`; it gives `None` for an unfit one.
fn collect<X>(
    task: Task,
    split: &'static str,
    size: usize,
    mut draw: impl FnMut(u64) -> Option<X>,
) -> Result<Vec<X>, TaskError> {
    /// With so many misses in a row, a fit item is most likely no more to be found.
    const PATIENCE: u32 = 100_000;
    let mut items = Vec::new();
    let mut misses = 0;
    for i in 0.. {
        if items.len() == size {
            break;
        }
        match draw(i) {
            Some(item) => {
                items.push(item);
                misses = 0;
            }
            None if misses == PATIENCE => {
                return Err(TaskError::TooMany { task, split, asked: size, found: items.len() });
            }
            None => misses += 1,
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::read::read_parallel;

    const SIZES: Sizes = Sizes { train: 3000, validation: 200, test: 200, long: 50 };

    #[test]
    fn tasks_are_functions_of_the_seed() {
        for task in Task::ALL {
            let generate = |seed| task.generate(seed, SIZES).expect("pairs");
            let splits = generate(1);
            assert_eq!(splits, generate(1), "{task}");
            assert_ne!(splits, generate(2), "{task}");
            let sizes = [&splits.train, &splits.validation, &splits.test].map(Vec::len);
            assert_eq!(sizes, [SIZES.train, SIZES.validation, SIZES.test], "{task}");
            assert_eq!(task.name().parse::<Task>().expect("a task"), task);
        }
        let message = "revers".parse::<Task>().expect_err("no task").to_string();
        assert_eq!(message, "there is no task \"revers\"; there are: reverse, phrases");
    }

    #[test]
    fn no_part_repeats_another() {
        for task in Task::ALL {
            let splits = task.generate(3, SIZES).expect("pairs");
            let mut seen: HashSet<&Pair> = splits.train.iter().collect();
            for (split, pairs) in splits.named().filter(|&(split, _)| split != "train") {
                for pair in pairs {
                    assert!(seen.insert(pair), "{task}, {split}: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn a_folder_is_written_whole_or_not_at_all() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let splits = Task::Reverse.generate(1, SIZES).expect("pairs");
        let folder = temporary.path().join("deep/er/reverse");
        let paths = splits.write(&folder).expect("written");
        assert_eq!(paths.len(), 8);
        let corpus = read_parallel(&paths[0], &paths[1]).expect("pairs");
        assert_eq!(paths[0], folder.join("train.src"));
        assert_eq!(corpus.pairs, splits.train);
        let around = || fs::read_dir(folder.parent().expect("a folder")).expect("read").count();
        assert_eq!(around(), 1, "nothing temporary stays");

        let message = splits.write(&folder).expect_err("there").to_string();
        assert_eq!(message, format!("{}: is already there", folder.display()));
        let below_a_file = folder.join("train.src/x");
        assert!(matches!(splits.write(&below_a_file), Err(TaskError::Io { .. })));
        assert_eq!(around(), 1);
        assert_eq!(fs::read_dir(&folder).expect("read").count(), 8);

        let splits = Task::Phrases.generate(1, SIZES).expect("pairs");
        let paths = splits.write(&temporary.path().join("phrases")).expect("written");
        assert_eq!(paths.len(), 6, "without long ones");
    }

    #[test]
    fn asking_for_too_many_ends() {
        let draw = |i: u64| (i < 3).then_some(i);
        let error = collect(Task::Phrases, "test", 5, draw).expect_err("too many");
        let expected = "phrases has no 5 different pairs for test: no new one was found after 3";
        assert_eq!(error.to_string(), expected);
        assert_eq!(collect(Task::Phrases, "test", 3, draw).expect("enough"), [0, 1, 2]);
    }
}
