//! Reading parallel text: two files of one sentence a line, or one of tab-separated pairs.
//!
//! A file may be compressed with gzip; its first bytes tell, not its name. Text is UTF-8, with or
//! without a byte order mark. Lines end at `\n` or `\r\n`, and nowhere else.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::vectors::VectorError;

/// The first bytes of a gzip file (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A source sentence and its target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair<S = String> {
    /// What goes in: a text, or a sequence of [vectors](super::vectors).
    pub source: S,
    /// The text that shall come out.
    pub target: String,
}

/// The pairs of a corpus, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus<S = String> {
    /// The pairs, without those that have an empty side.
    pub pairs: Vec<Pair<S>>,
    /// How many lines were left out because a side was empty or only white space.
    pub skipped_blank: usize,
}

/// Why data cannot be read. Lines and columns count from 1.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be opened or read; the system says why.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The path is a folder's.
    #[error("{}: is a directory, not a file", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing in the file.
    #[error("{}: the file is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file has lines, but a side of each is blank.
    #[error("{}: every one of {lines} lines is blank on one side or both", path.display())]
    AllBlank {
        /// The file, of two the first.
        path: PathBuf,
        /// The number of lines.
        lines: usize,
    },
    /// The file begins like gzip and ends too early or is damaged.
    #[error("{}: the gzip data is truncated or damaged ({source})", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decompressor found.
        source: io::Error,
    },
    /// A zero byte: this is no text.
    #[error("{}:{line}: not a text file: it has a zero byte", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// The line of the first zero byte.
        line: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("{}:{line}:{column}: not valid UTF-8", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first bad byte.
        line: usize,
        /// Its column in characters.
        column: usize,
    },
    /// Two files that do not pair up.
    #[error(
        "{} has {source_lines} lines but {} has {target_lines}",
        source_path.display(),
        target_path.display()
    )]
    UnequalLines {
        /// The source file.
        source_path: PathBuf,
        /// Its number of lines.
        source_lines: usize,
        /// The target file.
        target_path: PathBuf,
        /// Its number of lines.
        target_lines: usize,
    },
    /// A line of pairs that is not two sides with a tab between them.
    #[error("{}:{line}: expected one tab between source and target, found {tabs}", path.display())]
    Tabs {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// How many tabs it has.
        tabs: usize,
    },
    /// A line that is not a sequence of vectors.
    #[error("{}:{line}: {error}", path.display())]
    Vector {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong with it.
        error: VectorError,
    },
}

/// Reads a source file and a target file whose lines pair up.
///
/// # Errors
/// When a file cannot be read as text, when their numbers of lines differ, or when no pair is left.
pub fn read_parallel(source: &Path, target: &Path) -> Result<Corpus, DataError> {
    collect_pairs(source, read_paired_lines(source, target)?, |_, source| Ok(source))
}

/// Reads one file of pairs: source, a tab, target. Wholly blank lines are skipped.
///
/// # Errors
/// When the file cannot be read as text, when a line has no tab or several, or when no pair is
/// left.
pub fn read_tsv(path: &Path) -> Result<Corpus, DataError> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(read_lines(path)?) {
        let tabs = line.matches('\t').count();
        lines.push(match line.split_once('\t') {
            Some((source, target)) if tabs == 1 => (source.to_owned(), target.to_owned()),
            None if is_blank(&line) => (line, String::new()),
            _ => return Err(DataError::Tabs { path: path.to_owned(), line: number, tabs }),
        });
    }
    collect_pairs(path, lines, |_, source| Ok(source))
}

/// Reads a text file as lines, without their ends.
///
/// # Errors
/// When the file cannot be opened, is a directory or empty, or is not text.
pub fn read_lines(path: &Path) -> Result<Vec<String>, DataError> {
    let bytes = read_bytes(path)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        let line = 1 + line_ends(&bytes[..at]);
        return Err(DataError::Binary { path: path.to_owned(), line });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let last = valid.rsplit('\n').next().unwrap_or_default();
        DataError::Utf8 {
            path: path.to_owned(),
            line: 1 + line_ends(valid.as_bytes()),
            column: 1 + last.chars().count(),
        }
    })?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned());
    Ok(lines.collect())
}

/// The lines of two files side by side, with an equal number of them.
pub(super) fn read_paired_lines(
    source: &Path,
    target: &Path,
) -> Result<Vec<(String, String)>, DataError> {
    let (sources, targets) = (read_lines(source)?, read_lines(target)?);
    if sources.len() != targets.len() {
        return Err(DataError::UnequalLines {
            source_path: source.to_owned(),
            source_lines: sources.len(),
            target_path: target.to_owned(),
            target_lines: targets.len(),
        });
    }
    Ok(sources.into_iter().zip(targets).collect())
}

/// Makes pairs of the lines that have two sides. `parse` is given the source and its line number.
pub(super) fn collect_pairs<S>(
    path: &Path,
    lines: Vec<(String, String)>,
    mut parse: impl FnMut(usize, String) -> Result<S, DataError>,
) -> Result<Corpus<S>, DataError> {
    let count = lines.len();
    let mut pairs = Vec::with_capacity(count);
    for (number, (source, target)) in (1..).zip(lines) {
        if !is_blank(&source) && !is_blank(&target) {
            pairs.push(Pair { source: parse(number, source)?, target });
        }
    }
    if pairs.is_empty() {
        return Err(DataError::AllBlank { path: path.to_owned(), lines: count });
    }
    let skipped_blank = count - pairs.len();
    Ok(Corpus { pairs, skipped_blank })
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// The whole file, decompressed where its first bytes are gzip's.
fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(DataError::Directory { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let decoded = MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain);
    decoded.map_err(|source| DataError::Gzip { path: path.to_owned(), source })?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::data::vectors::read_vectors;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    /// Writes each content as a file of the folder: `0`, `1`, …
    fn files(contents: &[&[u8]]) -> (TempDir, Vec<PathBuf>) {
        let folder = TempDir::new().expect("a temporary folder");
        let paths: Vec<_> =
            (0..contents.len()).map(|i| folder.path().join(i.to_string())).collect();
        for (path, content) in paths.iter().zip(contents) {
            fs::write(path, content).expect("written");
        }
        (folder, paths)
    }

    fn texts(corpus: &Corpus) -> Vec<(&str, &str)> {
        corpus.pairs.iter().map(|pair| (&pair.source[..], &pair.target[..])).collect()
    }

    #[test]
    fn lines_end_where_they_should() {
        let rows: [(&[u8], &[&str]); 9] = [
            (b"a", &["a"]),
            (b"a\n", &["a"]),
            (b"a\nb", &["a", "b"]),
            (b"a\r\nb\r\n", &["a", "b"]),
            (b"a\n\nb\n\n", &["a", "", "b", ""]),
            (b"\n", &[""]),
            (b"a\rb\x0bc", &["a\rb\x0bc"]),
            ("a\u{2028}b\u{85}c".as_bytes(), &["a\u{2028}b\u{85}c"]),
            (b"\xef\xbb\xbfa\nb", &["a", "b"]),
        ];
        for (content, expected) in rows {
            for content in [content.to_vec(), gzip(content)] {
                let (_folder, paths) = files(&[&content]);
                assert_eq!(read_lines(&paths[0]).expect("text"), expected);
            }
        }
        // Two compressed files behind one another are one.
        let (_folder, paths) = files(&[&[gzip(b"a\nb"), gzip(b"c\n")].concat()]);
        assert_eq!(read_lines(&paths[0]).expect("text"), ["a", "bc"]);
    }

    #[test]
    fn pairs_with_an_empty_side_are_skipped_and_counted() {
        let (_folder, paths) = files(&[
            b"one\n\n  \nfour\r\nfive",
            &gzip(b"un\ndeux\ntrois\n\t\ncinq\n"),
            b"one\tun\n\ttwo\n\n \nfive \t cinq\r\nsix\t",
        ]);
        let corpus = read_parallel(&paths[0], &paths[1]).expect("pairs");
        assert_eq!(texts(&corpus), [("one", "un"), ("five", "cinq")]);
        assert_eq!(corpus.skipped_blank, 3);
        let corpus = read_tsv(&paths[2]).expect("pairs");
        assert_eq!(texts(&corpus), [("one", "un"), ("five ", " cinq")]);
        assert_eq!(corpus.skipped_blank, 4);
    }

    #[test]
    fn what_is_no_text_is_named_with_its_place() {
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = gzip(&b"a line of text\n".repeat(100));
            change(&mut bytes);
            bytes
        };
        let rows: [(Vec<u8>, &str); 9] = [
            (b"".to_vec(), ": the file is empty"),
            (b"\xef\xbb\xbf".to_vec(), ": the file is empty"),
            (gzip(b""), ": the file is empty"),
            (b"a\nb\0c\n".to_vec(), ":2: not a text file: it has a zero byte"),
            (b"a\n\xc3\xa9t\xe9\n".to_vec(), ":2:3: not valid UTF-8"),
            (b"\xc3".to_vec(), ":1:1: not valid UTF-8"),
            (gzip(b"a\n\xff"), ":2:1: not valid UTF-8"),
            (damaged(&|bytes| bytes.truncate(20)), ": the gzip data is truncated or damaged"),
            (damaged(&|bytes| bytes[20] ^= 255), ": the gzip data is truncated or damaged"),
        ];
        for (content, expected) in rows {
            let (_folder, paths) = files(&[&content]);
            let message = read_lines(&paths[0]).expect_err(expected).to_string();
            let expected = format!("{}{expected}", paths[0].display());
            assert!(message.starts_with(&expected), "{message}, not {expected}");
        }
    }

    #[test]
    fn files_that_are_no_pairs_are_refused() {
        let (folder, paths) = files(&[b"a\nb\n", b"a\n", b"\n \n", b"a\tb\nc d\n", b"a\tb\tc"]);
        let missing = folder.path().join("missing");
        let name = |path: &Path| path.display().to_string();
        let rows = [
            (read_lines(&missing).err(), format!("{}: No such file", name(&missing))),
            (
                read_lines(folder.path()).err(),
                format!("{}: is a directory, not a file", name(folder.path())),
            ),
            (
                read_parallel(&paths[0], &paths[1]).err(),
                format!("{} has 2 lines but {} has 1", name(&paths[0]), name(&paths[1])),
            ),
            (
                read_parallel(&paths[2], &paths[0]).err(),
                format!("{}: every one of 2 lines is blank on one side or both", name(&paths[2])),
            ),
            (
                read_tsv(&paths[2]).err(),
                format!("{}: every one of 2 lines is blank on one side or both", name(&paths[2])),
            ),
            (
                read_tsv(&paths[3]).err(),
                format!(
                    "{}:2: expected one tab between source and target, found 0",
                    name(&paths[3])
                ),
            ),
            (
                read_tsv(&paths[4]).err(),
                format!(
                    "{}:1: expected one tab between source and target, found 2",
                    name(&paths[4])
                ),
            ),
        ];
        for (error, expected) in rows {
            let message = error.expect("an error").to_string();
            assert!(message.starts_with(&expected), "{message}, not {expected}");
        }
    }

    proptest! {
        /// Bytes that look like text, like gzip, like vectors, and like nothing.
        #[test]
        fn no_bytes_make_a_reader_panic(
            mut bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[0-9., \t\r\n-é\u{0}a]{0,60}".prop_map(String::into_bytes),
                ".{0,60}".prop_map(|text| gzip(text.as_bytes())),
            ],
            magic: bool,
            change in any::<(prop::sample::Index, u8)>(),
            cut in any::<prop::sample::Index>(),
        ) {
            if magic {
                bytes.splice(..0, GZIP_MAGIC);
            }
            if !bytes.is_empty() {
                let at = change.0.index(bytes.len());
                bytes[at] ^= change.1;
                bytes.truncate(1 + cut.index(bytes.len() * 2));
            }
            let (_folder, paths) = files(&[&bytes, b"a\nb\n"]);
            for error in [
                read_parallel(&paths[0], &paths[1]).err(),
                read_parallel(&paths[1], &paths[0]).err(),
                read_tsv(&paths[0]).err(),
                read_vectors(&paths[0], &paths[1]).err(),
            ] {
                let message = error.map(|error| error.to_string()).unwrap_or_default();
                prop_assert!(!message.contains('\n'));
            }
        }
    }
}
