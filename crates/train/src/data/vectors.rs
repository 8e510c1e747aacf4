//! Sequences of vectors as text, for models whose source is real numbers.
//!
//! One sequence a line: frames with white space between them, the values of a frame with commas.
//! `0.5,1 -2,3e-4` is two frames of two values. All frames of a file have the same dimension.

use std::path::Path;

use ndarray::Array2;

use super::read::{Corpus, DataError, collect_pairs, read_paired_lines};

/// Why a line is not a sequence of vectors. Frames, values and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// A value that is not a finite number.
    #[error("column {column} (frame {frame}, value {value}): {text:?} is not a finite number")]
    Number {
        /// The frame in the line.
        frame: usize,
        /// The value in the frame.
        value: usize,
        /// Where the value begins, in characters.
        column: usize,
        /// The value as it is written.
        text: String,
    },
    /// A frame that is longer or shorter than those before it.
    #[error("column {column} (frame {frame}): a frame of dimension {found}, not {expected}")]
    Dimension {
        /// The frame in the line.
        frame: usize,
        /// Where the frame begins, in characters.
        column: usize,
        /// The number of its values.
        found: usize,
        /// The number that it should have.
        expected: usize,
    },
    /// No frame at all.
    #[error("the line is blank")]
    Blank,
}

/// Reads a file of sequences of vectors and a file of target sentences, whose lines pair up.
///
/// The sources are `[T, D]`: T frames, different from line to line, of D values, everywhere the
/// same.
///
/// # Errors
/// When a file cannot be read as text, when their numbers of lines differ, when a line is not a
/// sequence of vectors of the first one's dimension, or when no pair is left.
pub fn read_vectors(source: &Path, target: &Path) -> Result<Corpus<Array2<f64>>, DataError> {
    let mut dimension = None;
    collect_pairs(source, read_paired_lines(source, target)?, |line, text| {
        let vectors = parse_vectors(&text, dimension).map_err(|error| DataError::Vector {
            path: source.to_owned(),
            line,
            error,
        })?;
        dimension = Some(vectors.ncols());
        Ok(vectors)
    })
}

/// Parses one line into an array `[T, D]` of T frames of D values.
///
/// `dimension` is D where it is known; without it, the first frame's.
///
/// # Errors
/// When the line is blank, a value is not a finite number, or a frame is not of dimension D.
pub fn parse_vectors(line: &str, dimension: Option<usize>) -> Result<Array2<f64>, VectorError> {
    let mut dimension = dimension;
    let mut values: Vec<f64> = Vec::new();
    let mut frame = 0;
    let mut column = 1;
    for piece in line.split(char::is_whitespace) {
        if !piece.is_empty() {
            frame += 1;
            let found = parse_frame(piece, frame, column, &mut values)?;
            let expected = *dimension.get_or_insert(found);
            if found != expected {
                return Err(VectorError::Dimension { frame, column, found, expected });
            }
        }
        column += piece.chars().count() + 1;
    }
    match dimension {
        Some(dimension) if frame > 0 => {
            // Each frame added as many values as the dimension, so they have this shape.
            Array2::from_shape_vec((frame, dimension), values).map_err(|_| VectorError::Blank)
        }
        _ => Err(VectorError::Blank),
    }
}

/// Adds a frame's values and returns how many there were.
fn parse_frame(
    text: &str,
    frame: usize,
    mut column: usize,
    values: &mut Vec<f64>,
) -> Result<usize, VectorError> {
    let before = values.len();
    for (value, text) in (1..).zip(text.split(',')) {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => values.push(number),
            _ => return Err(VectorError::Number { frame, value, column, text: text.to_owned() }),
        }
        column += text.chars().count() + 1;
    }
    Ok(values.len() - before)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ndarray::array;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn lines_become_arrays() {
        let rows = [
            ("1", array![[1.0]]),
            ("0.5,1 -2,3e-4", array![[0.5, 1.0], [-2.0, 3e-4]]),
            ("  1,2,3 \t 4,5,6  ", array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
            (".5 +7", array![[0.5], [7.0]]),
        ];
        for (line, expected) in rows {
            assert_eq!(parse_vectors(line, None).as_ref(), Ok(&expected), "{line}");
            assert_eq!(parse_vectors(line, Some(expected.ncols())), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_vector_is_named_with_its_place() {
        let rows = [
            ("", None, "the line is blank"),
            (" ", Some(2), "the line is blank"),
            ("1,2 3,é4", None, "column 7 (frame 2, value 2): \"é4\" is not a finite number"),
            ("1,,2", None, "column 3 (frame 1, value 2): \"\" is not a finite number"),
            ("1, 2", None, "column 3 (frame 1, value 2): \"\" is not a finite number"),
            ("NaN", None, "column 1 (frame 1, value 1): \"NaN\" is not a finite number"),
            ("1 -inf", None, "column 3 (frame 2, value 1): \"-inf\" is not a finite number"),
            ("1e999", None, "column 1 (frame 1, value 1): \"1e999\" is not a finite number"),
            ("1,2  3", None, "column 6 (frame 2): a frame of dimension 1, not 2"),
            ("1,2", Some(3), "column 1 (frame 1): a frame of dimension 2, not 3"),
        ];
        for (line, dimension, expected) in rows {
            let error = parse_vectors(line, dimension).expect_err(expected);
            assert_eq!(error.to_string(), expected, "{line}");
        }
    }

    #[test]
    fn a_file_has_one_dimension() {
        let folder = TempDir::new().expect("a temporary folder");
        let path = |name| folder.path().join(name);
        fs::write(path("good"), "1,2 3,4\n\n5,6\n").expect("written");
        fs::write(path("bad"), "1,2 3,4\n\n5,6 7\n").expect("written");
        fs::write(path("words"), "a\nb\nc\n").expect("written");
        let corpus = read_vectors(&path("good"), &path("words")).expect("vectors");
        assert_eq!(corpus.skipped_blank, 1);
        assert_eq!(corpus.pairs[1].source, array![[5.0, 6.0]]);
        assert_eq!(corpus.pairs[1].target, "c");
        let message = read_vectors(&path("bad"), &path("words")).expect_err("bad").to_string();
        let expected = ":3: column 5 (frame 2): a frame of dimension 1, not 2";
        assert!(message.ends_with(expected), "{message}");
    }
}
