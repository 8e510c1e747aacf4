//! The lessons: small computations with a short text each, from one neuron to a whole training step.
//!
//! A lesson has a trace, or two to compare. Every number in it is a function of what stands in its
//! file, so a lesson is the same on every machine.

mod attention;
mod cells;
mod first;
mod masks;
mod model;
mod table;
mod through_time;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Tape, Var};

pub use self::first::expression;
use crate::array::points;
use crate::{Recorder, Result, Trace, TraceError};

/// A lesson: what to read, and what to walk through.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lesson {
    /// Its name, for commands.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What to look at while walking.
    pub look: Vec<String>,
    /// The text, in paragraphs.
    pub text: Vec<String>,
    /// The computations, each with its own title.
    pub traces: Vec<Trace>,
    /// Numbers to compare, step by step.
    pub series: Vec<Series>,
}

/// A number for each time step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Time steps and numbers.
    #[serde(with = "points")]
    pub points: Vec<(usize, f64)>,
}

/// A lesson that there is.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    make: fn() -> Result<Lesson>,
}

impl Listed {
    /// Runs the lesson's computations, and checks them.
    ///
    /// # Errors
    /// None in practice: what is computed is fixed.
    pub fn lesson(&self) -> Result<Lesson> {
        let lesson = (self.make)()?;
        Ok(Lesson { name: self.name.into(), title: self.title.into(), ..lesson })
    }
}

/// All lessons, in the order in which they are best read.
pub const LESSONS: [Listed; 12] = [
    Listed { name: "neuron", title: "One neuron", make: first::neuron },
    Listed { name: "expression", title: "An expression of your own", make: first::example },
    Listed { name: "softmax", title: "Softmax and cross-entropy", make: first::softmax },
    Listed { name: "embedding", title: "Words as vectors: the embedding", make: table::embedding },
    Listed { name: "lstm-cell", title: "One step of an LSTM", make: cells::lstm },
    Listed { name: "gru-cell", title: "One step of a GRU", make: cells::gru },
    Listed {
        name: "through-time",
        title: "Backpropagation through five time steps",
        make: through_time::through_time,
    },
    Listed { name: "additive-attention", title: "Additive attention", make: attention::additive },
    Listed { name: "dot-attention", title: "Dot and general attention", make: attention::dot },
    Listed { name: "masking", title: "Masks: padding must not count", make: masks::masking },
    Listed { name: "dropout", title: "Dropout", make: masks::dropout },
    Listed {
        name: "encoder-decoder",
        title: "A training step of an encoder-decoder with attention",
        make: model::encoder_decoder,
    },
];

/// A lesson by its name.
///
/// # Errors
/// There is no such lesson.
pub fn lesson(name: &str) -> Result<Lesson> {
    match LESSONS.iter().find(|lesson| lesson.name == name) {
        Some(found) => found.lesson(),
        None => {
            let known: Vec<_> = LESSONS.iter().map(|lesson| lesson.name).collect();
            Err(TraceError::Lesson { name: name.into(), known: known.join(", ") })
        }
    }
}

impl Lesson {
    /// A trace of a model's training step in the form of a lesson.
    pub fn of(trace: Trace) -> Self {
        let text = "A training step, forward and backward, as it was recorded. Large arrays are \
                    summaries: the means of blocks, the extremes, a histogram, and some rows exactly.";
        Lesson {
            name: "model".into(),
            title: trace.title.clone(),
            ..told(&[text], &[], vec![trace])
        }
    }
}

impl Display for Lesson {
    /// The text alone, without the walk through the traces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.title, "=".repeat(self.title.chars().count()))?;
        for paragraph in &self.text {
            writeln!(f, "\n{}", wrapped(paragraph, 80, ""))?;
        }
        writeln!(f, "\nLook at:")?;
        for point in &self.look {
            writeln!(f, "- {}", wrapped(point, 78, "  "))?;
        }
        for series in &self.series {
            write!(f, "\n{}:", series.name)?;
            for (time, number) in &series.points {
                write!(f, "  t={time} {number:.2e}")?;
            }
        }
        if !self.series.is_empty() {
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A paragraph in lines of at most so many characters, all but the first behind an indent.
fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            let _ = write!(out, "\n{indent}");
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// A lesson of these paragraphs and points to look at; its name comes from the list.
fn told(text: &[&str], look: &[&str], traces: Vec<Trace>) -> Lesson {
    let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
    Lesson {
        name: String::new(),
        title: String::new(),
        look: owned(look),
        text: owned(text),
        traces,
        series: Vec::new(),
    }
}

/// An empty tape on one thread.
fn tape() -> Tape<f64> {
    Tape::new(Context::sequential().with_key(Key::new(1).named("lesson")))
}

/// An array of these numbers, in standard order; zeros where some are missing.
fn array(shape: &[usize], numbers: &[f64]) -> ArrayD<f64> {
    let mut numbers = numbers.iter().copied().chain(std::iter::repeat(0.0));
    ArrayD::from_shape_simple_fn(IxDyn(shape), || numbers.next().unwrap_or_default())
}

/// An array of numbers in `-size..size` with two decimals, which the name determines.
fn drawn(name: &str, shape: &[usize], size: f64) -> ArrayD<f64> {
    let key = Key::new(1).named(name);
    let mut counter = 0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        counter += 1;
        (100.0 * size * (2.0 * key.uniform(counter) - 1.0)).round() / 100.0
    })
}

/// Puts a named input on the recorder's tape.
fn input<'t>(recorder: &Recorder<'t>, name: &str, value: ArrayD<f64>) -> Var<'t, f64> {
    recorder.name(name, recorder.tape().input(value))
}

/// Puts a named parameter on the recorder's tape.
fn parameter<'t>(recorder: &Recorder<'t>, name: &str, value: ArrayD<f64>) -> Var<'t, f64> {
    recorder.parameter(name, recorder.tape().input(value))
}

/// Names the outputs of nodes by the letters of the text.
fn named(recorder: &Recorder<'_>, names: &[(usize, &str)]) {
    let tape = recorder.tape();
    for &(index, name) in names {
        if let Some(var) = tape.node(index, |node| node.first_output_slot).and_then(|x| tape.var(x))
        {
            recorder.name(name, var);
        }
    }
}

/// `½·Σ (y − wanted)²`: the loss of lessons whose output is a vector.
fn half_squared_error<'t>(
    recorder: &Recorder<'t>,
    y: Var<'t, f64>,
    wanted: ArrayD<f64>,
) -> Result<Var<'t, f64>> {
    let _scope = recorder.tape().scope("loss");
    let wanted = recorder.name("wanted", recorder.tape().constant(wanted));
    let off = recorder.name("off", (y - wanted)?);
    let squares = recorder.name("off²", off.powf(2.0)?);
    let sum = recorder.name("Σoff²", squares.sum_all()?);
    Ok(recorder.name("loss", (sum * 0.5)?))
}

/// The variables of an expression as inputs of a tape, by name.
type Variables<'t> = BTreeMap<String, Var<'t, f64>>;
