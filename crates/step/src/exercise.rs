//! Exercises: a small crate whose forward pass is there and whose backward pass is not. The gradient
//! checker judges what the reader writes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Result, StepError};

/// An exercise.
#[derive(Clone, Copy, Debug)]
pub struct Exercise {
    /// Its name, for the command.
    pub name: &'static str,
    /// What is to be derived.
    pub title: &'static str,
    /// `src/exercise.rs`: the forward pass, and where the backward pass is to stand.
    pub task: &'static str,
    /// `src/subject.rs`: both, for the checker.
    pub subject: &'static str,
}

/// One of the folder `exercises`.
macro_rules! exercise {
    ($name:literal, $title:literal) => {
        Exercise {
            name: $name,
            title: $title,
            task: include_str!(concat!("../exercises/", $name, "/exercise.rs")),
            subject: include_str!(concat!("../exercises/", $name, "/subject.rs")),
        }
    };
}

/// All exercises, the easy ones first.
pub const EXERCISES: [Exercise; 6] = [
    exercise!("neuron", "1. One neuron with tanh"),
    exercise!("matmul", "2. A matrix product with a bias"),
    exercise!("softmax", "3. The softmax of a row"),
    exercise!("rnn", "4. A plain RNN through time"),
    exercise!("additive-attention", "5. Additive attention"),
    exercise!("lstm-cell", "6. One step of an LSTM"),
];

/// The program of every exercise.
const MAIN: &str = include_str!("../exercises/main.rs");
const JUDGE: &str = include_str!("../exercises/judge.rs");

/// An exercise by its name.
///
/// # Errors
/// There is none of that name.
pub fn exercise(name: &str) -> Result<Exercise> {
    EXERCISES.iter().find(|one| one.name == name).copied().ok_or_else(|| StepError::Exercise {
        name: name.into(),
        known: EXERCISES.map(|one| one.name).join(", "),
    })
}

/// The folder of the source that this program was built from; it may be gone.
pub fn built_from() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl Exercise {
    /// Writes the crate into a new folder; what is there already is left as it is. `source` is the
    /// folder of Unspool's source.
    ///
    /// # Errors
    /// The source is not there, a file is, or it cannot be written.
    pub fn write(&self, out: &Path, source: &Path) -> Result<()> {
        let tensor = source.join("crates/tensor");
        if !tensor.join("Cargo.toml").is_file() {
            return Err(StepError::NoSource(source.into()));
        }
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| StepError::Write { path, error }
        };
        let tensor = fs::canonicalize(&tensor).map_err(failed(&tensor))?;
        let files = [
            ("Cargo.toml", self.manifest(&tensor)),
            ("src/main.rs", MAIN.into()),
            ("src/judge.rs", JUDGE.into()),
            ("src/subject.rs", self.subject.into()),
            ("src/exercise.rs", self.task.into()),
        ];
        // Nothing is overwritten.
        if let Some(path) = files.iter().map(|(name, _)| out.join(name)).find(|path| path.exists())
        {
            return Err(StepError::Exists(path));
        }
        let folder = out.join("src");
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let mut written = Vec::new();
        for (name, text) in files {
            let path = out.join(name);
            let result = fs::File::create_new(&path).and_then(|mut file| {
                written.push(path.clone());
                file.write_all(text.as_bytes())
            });
            if let Err(error) = result {
                // All or nothing: a half of an exercise would be in the way of the next try. What is
                // told is why it was not written, so what else fails here is not.
                written.iter().for_each(|path| _ = fs::remove_file(path));
                return Err(failed(&path)(error));
            }
        }
        Ok(())
    }

    fn manifest(&self, tensor: &Path) -> String {
        // Debug's quotes and escapes are those of a TOML string.
        let path = format!("{:?}", tensor.display().to_string());
        format!(
            "[package]\nname = \"exercise-{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nunspool-tensor = {{ path = {path} }}\n\n\
             # The checker runs fast in a debug build, too.\n[profile.dev]\nopt-level = 1\n\n\
             # A workspace of its own, wherever it stands.\n[workspace]\n",
            self.name
        )
    }
}
