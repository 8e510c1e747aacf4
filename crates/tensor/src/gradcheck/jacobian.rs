//! The two Jacobians of a function side by side: what its backward pass gives and what differences
//! give, every number of every output by every number of every input.

use std::fmt;

use ndarray::{Array2, ArrayD, IxDyn};

use super::check::index_of;
use super::numeric::{Doubt, Precision, Sample, differentiate};
use super::subject::{Argument, Subject};
use crate::{Result, Tensor};

/// How many rows and columns a Jacobian's text shows.
const SHOWN: [usize; 2] = [12, 5];

/// The derivatives of an output by an input, twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Jacobian {
    /// The output's number.
    pub output: usize,
    /// The input's name.
    pub input: String,
    /// The elements of the output, one a row.
    pub rows: Vec<String>,
    /// The elements of the input, one a column.
    pub columns: Vec<String>,
    /// What the backward pass gives: row by row, the gradient of one element of the output.
    pub analytic: Array2<f64>,
    /// What differences give.
    pub numeric: Array2<f64>,
    /// How far the differences may be off.
    pub bound: Array2<f64>,
    /// Where differences give no derivative: at a kink or a jump, or where the output is not finite.
    pub doubtful: Array2<bool>,
    /// How far apart numbers may be: those farther apart are marked.
    pub allowed: f64,
}

impl Jacobian {
    /// Whether the two differ there, by more than is allowed and the bound. Of doubtful numbers
    /// nothing is said.
    pub fn differs(&self, row: usize, column: usize) -> bool {
        let at = [row, column];
        let off = (self.analytic[at] - self.numeric[at]).abs();
        !self.doubtful[at] && (off.is_nan() || off > self.allowed + self.bound[at])
    }
}

/// The Jacobians of every output by every input, where the subject's arguments are. One costs as
/// many backward passes as the output has elements, and about twenty forward passes for each
/// element of the input: for small shapes.
///
/// # Errors
/// A pass fails.
pub fn jacobians(subject: &(impl Subject + ?Sized), tolerance: f64) -> Result<Vec<Jacobian>> {
    let arguments = subject.arguments();
    let inputs: Vec<Tensor<f64>> =
        arguments.iter().map(|argument| argument.value.clone().into_shared()).collect();
    let outputs = subject.forward(&inputs)?;
    let mut jacobians = Vec::new();
    for (output, y) in outputs.iter().enumerate() {
        let name = if outputs.len() == 1 { "y".to_owned() } else { format!("y{output}") };
        let gradients = gradients(subject, &inputs, &outputs, output)?;
        for (input, argument) in arguments.iter().enumerate() {
            let size = [y.len(), inputs[input].len()];
            let mut jacobian = Jacobian {
                output,
                input: argument.name.clone(),
                rows: places(&Argument::new(&name, y.to_owned())),
                columns: places(argument),
                analytic: Array2::zeros(size),
                numeric: Array2::zeros(size),
                bound: Array2::zeros(size),
                doubtful: Array2::from_elem(size, false),
                allowed: 0.0,
            };
            for (row, gradients) in gradients.iter().enumerate() {
                let found = gradients.get(input).and_then(Option::as_ref);
                for (to, d) in
                    jacobian.analytic.row_mut(row).iter_mut().zip(found.into_iter().flatten())
                {
                    *to = *d;
                }
            }
            for column in 0..size[1] {
                // The same points serve all elements of the output.
                let mut known: Vec<(f64, Vec<f64>)> = Vec::new();
                let position = inputs[input].iter().nth(column).map_or(0.0, |x| x.abs());
                let precision = Precision { tolerance, scale: 0.0, noise: 0.0, position };
                for (row, &before) in y.iter().enumerate() {
                    let derivative = differentiate(precision, |t| {
                        let found = known.iter().position(|(at, _)| *at == t);
                        let at = match found {
                            Some(at) => at,
                            None => {
                                let mut moved = inputs.to_vec();
                                if let Some(x) = moved[input].iter_mut().nth(column) {
                                    *x += t;
                                }
                                let moved = subject.forward(&moved)?;
                                let y = moved.get(output).into_iter().flatten();
                                known.push((t, y.copied().collect()));
                                known.len() - 1
                            }
                        };
                        let after = known[at].1.get(row).copied().unwrap_or(f64::NAN);
                        let sample = Sample { value: after - before, size: after.abs() };
                        Ok(after.is_finite().then_some(sample))
                    })?;
                    jacobian.numeric[[row, column]] = derivative.value;
                    jacobian.bound[[row, column]] = derivative.bound;
                    jacobian.doubtful[[row, column]] =
                        derivative.doubt.is_some_and(|doubt| doubt != Doubt::Noise);
                }
            }
            let sound = jacobian.numeric.iter().filter(|x| x.is_finite());
            jacobian.allowed = tolerance * sound.fold(0.0_f64, |top, x| top.max(x.abs()));
            jacobians.push(jacobian);
        }
    }
    Ok(jacobians)
}

/// The gradients of the inputs for each element of an output by itself.
fn gradients(
    subject: &(impl Subject + ?Sized),
    inputs: &[Tensor<f64>],
    outputs: &[Tensor<f64>],
    output: usize,
) -> Result<Vec<Vec<Option<Tensor<f64>>>>> {
    let zeros = |y: &Tensor<f64>| ArrayD::zeros(IxDyn(y.shape())).into_shared();
    (0..outputs[output].len())
        .map(|element| {
            let mut d_outputs: Vec<Tensor<f64>> = outputs.iter().map(zeros).collect();
            if let Some(d) = d_outputs[output].iter_mut().nth(element) {
                *d = 1.0;
            }
            let mut d_inputs = vec![None; inputs.len()];
            subject.backward(inputs, &d_outputs, &mut d_inputs)?;
            Ok(d_inputs)
        })
        .collect()
}

/// The names of all elements, in standard order.
fn places(argument: &Argument) -> Vec<String> {
    let shape = argument.value.shape();
    (0..argument.value.len()).map(|element| argument.place(&index_of(shape, element))).collect()
}

impl fmt::Display for Jacobian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, columns) = self.analytic.dim();
        let wrong = (0..rows * columns).find(|&at| self.differs(at / columns, at % columns));
        // The part around the first place where they differ.
        let [first_row, first_column] = wrong.map_or([0, 0], |at| {
            let begin = |at: usize, shown: usize, all: usize| {
                at.saturating_sub(shown / 2).min(all.saturating_sub(shown))
            };
            [begin(at / columns, SHOWN[0], rows), begin(at % columns, SHOWN[1], columns)]
        });
        let shown_rows = first_row..rows.min(first_row + SHOWN[0]);
        let shown_columns = first_column..columns.min(first_column + SHOWN[1]);
        writeln!(f, "output {} by {}: backward | differences", self.output, self.input)?;
        let name = |names: &[String], at: usize| names.get(at).cloned().unwrap_or_default();
        let width = shown_rows.clone().map(|row| name(&self.rows, row).chars().count()).max();
        let width = width.unwrap_or(0);
        let cell = shown_columns.clone().map(|column| name(&self.columns, column).chars().count());
        let cell = cell.max().unwrap_or(0).max(13);
        let line = |f: &mut fmt::Formatter<'_>, label: &str, of: &dyn Fn(bool, usize) -> String| {
            write!(f, "  {label:width$} ")?;
            for analytic in [true, false] {
                for column in shown_columns.clone() {
                    write!(f, " {:>cell$}", of(analytic, column))?;
                }
                write!(f, "{}", if analytic { "  |" } else { "\n" })?;
            }
            Ok(())
        };
        line(f, "", &|_, column| name(&self.columns, column))?;
        for row in shown_rows.clone() {
            line(f, &name(&self.rows, row), &|analytic, column| {
                let number = match analytic {
                    true => self.analytic[[row, column]],
                    false => self.numeric[[row, column]],
                };
                if !analytic && self.doubtful[[row, column]] {
                    return "?".into();
                }
                let mark = if analytic && self.differs(row, column) { "*" } else { "" };
                if number == 0.0 { format!("{mark}0") } else { format!("{mark}{number:.5e}") }
            })?;
        }
        let differing = (0..rows * columns).filter(|at| self.differs(at / columns, at % columns));
        match differing.count() {
            0 => write!(f, "  no number differs")?,
            count => write!(f, "  {count} of {} numbers differ (*)", rows * columns)?,
        }
        match shown_rows.len() < rows || shown_columns.len() < columns {
            true => writeln!(f, "; {rows} rows and {columns} columns in all"),
            false => writeln!(f),
        }
    }
}
