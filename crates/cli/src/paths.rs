//! Paths that people give: what is wrong with them is found before any long work.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use unspool_train::trainer::{BEST, LAST, LOG};

/// The checkpoint that a path stands for: a file, or the best (else the last) of a run's folder.
pub fn checkpoint(path: &Path) -> Result<PathBuf, String> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let found = [BEST, LAST].map(|name| path.join(name)).into_iter().find(|file| file.exists());
    found.ok_or_else(|| no_run(path, &format!("neither {BEST} nor {LAST}")))
}

/// The log that a path stands for: a file, or that of a run's folder.
pub fn log(path: &Path) -> Result<PathBuf, String> {
    let log = path.join(LOG);
    match path.is_dir() {
        true if log.exists() => Ok(log),
        true => Err(no_run(path, &format!("no {LOG}"))),
        false => Ok(path.into()),
    }
}

/// Checks that a training can go on in a folder.
pub fn check_resumable(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    if !folder.exists() {
        return Err(format!("{shown}: there is no such folder"));
    }
    if !folder.is_dir() {
        return Err(format!("{shown}: is a file; --resume takes the folder of a run"));
    }
    match folder.join(LAST).exists() {
        true => Ok(()),
        false => Err(no_run(folder, &format!("no {LAST}"))),
    }
}

fn no_run(folder: &Path, lacks: &str) -> String {
    format!("{}: no run is here ({lacks}); give the folder of --out", folder.display())
}

/// Checks that a path may become a run's folder.
pub fn check_out(out: &Path) -> Result<(), String> {
    match out.exists() && !out.is_dir() {
        true => Err(format!("{}: is a file; --out takes a folder", out.display())),
        false => Ok(()),
    }
}

/// Checks that there is a folder to write a file in.
pub fn check_writable(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err(format!("{}: is a directory, not a file", path.display()));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(format!("{}: there is no folder {}", path.display(), folder.display()))
        }
        _ => Ok(()),
    }
}

/// Checks that a file that is written is none of those that are read, by whatever name.
pub fn check_apart<'p>(
    written: &Path,
    read: impl IntoIterator<Item = &'p Path>,
) -> Result<(), String> {
    let Ok(place) = fs::canonicalize(written) else { return Ok(()) };
    let same = |path: &Path| fs::canonicalize(path).is_ok_and(|other| other == place);
    // A terminal, or what is no file in another way, is often both.
    match place.is_file() && read.into_iter().any(same) {
        true => Err(format!(
            "{}: is read too, and would be lost; write to another file",
            written.display()
        )),
        false => Ok(()),
    }
}

/// A text file's content; what is not UTF-8 is told by line and column.
pub fn read_text(path: &Path) -> Result<String, Box<dyn Error>> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        let last = valid.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        let column = 1 + String::from_utf8_lossy(last).chars().count();
        format!("{}: line {line}, column {column}: not valid UTF-8", path.display()).into()
    })
}
