//! The table of cases: every op in every option, with inputs to try it at.
//!
//! One row here and the tests do the rest: gradient check, agreement with the composed twin, with dual
//! numbers, with f32, and with PyTorch's numbers.

use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use crate::op::UniversalOp;
use crate::random::Key;
use crate::{Result, Tape, Var};

/// Where the numbers of an input lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// Uniform between two numbers.
    Between(f64, f64),
    /// Uniform between two numbers in size, of either sign: away from a kink or a pole at zero.
    AwayFromZero(f64, f64),
    /// A permutation of evenly spaced numbers, no two within 0.1: away from the kinks of a maximum.
    Distinct,
}

/// An input of a case.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in the op's formula.
    pub name: &'static str,
    /// The names of its axes, such as `["T", "B", "H"]`.
    pub axes: Vec<&'static str>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where its numbers lie.
    pub domain: Domain,
}

impl Input {
    /// An input with numbers in -1 to 1. `axes` are the axes' names with a space between them.
    pub fn new(name: &'static str, axes: &'static str, shape: &[usize]) -> Self {
        Input {
            name,
            axes: axes.split_whitespace().collect(),
            shape: shape.into(),
            domain: Domain::Between(-1.0, 1.0),
        }
    }

    /// The same with other numbers.
    pub fn over(self, domain: Domain) -> Self {
        Input { domain, ..self }
    }

    /// Its numbers, a function of the key.
    pub fn sample(&self, key: Key) -> ArrayD<f64> {
        let len: usize = self.shape.iter().product();
        let numbers: Vec<f64> = match self.domain {
            Domain::Between(low, high) => {
                (0..len as u64).map(|i| low + (high - low) * key.uniform(i)).collect()
            }
            Domain::AwayFromZero(low, high) => (0..len as u64)
                .map(|i| {
                    let signed = 2.0 * key.uniform(i) - 1.0;
                    signed.signum() * (low + (high - low) * signed.abs())
                })
                .collect(),
            Domain::Distinct => {
                let mut numbers: Vec<f64> =
                    (0..len).map(|i| 0.1 * (i as f64 - len as f64 / 2.0)).collect();
                key.shuffle(&mut numbers);
                numbers
            }
        };
        ArrayD::from_shape_vec(IxDyn(&self.shape), numbers)
            .unwrap_or_else(|_| ArrayD::zeros(IxDyn(&self.shape)))
    }
}

/// A composition of primitive ops that computes what a fused op does.
pub type Twin =
    Box<dyn for<'t> Fn(&'t Tape<f64>, &[Var<'t, f64>]) -> Result<Vec<Var<'t, f64>>> + Send + Sync>;

/// An op in one of its options, with inputs to try it at.
pub struct Case {
    /// The case's name, unique: the op's and, after a slash, the option's. Golden numbers carry it too.
    pub name: String,
    /// The op.
    pub op: Arc<dyn UniversalOp>,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// What it must agree with, when it is fused.
    pub twin: Option<Twin>,
}

impl Case {
    /// A case without a twin.
    pub fn new(
        name: impl Into<String>,
        op: impl UniversalOp + 'static,
        inputs: Vec<Input>,
    ) -> Self {
        Case { name: name.into(), op: Arc::new(op), inputs, twin: None }
    }

    /// The same with a composed twin.
    pub fn twin(
        self,
        twin: impl for<'t> Fn(&'t Tape<f64>, &[Var<'t, f64>]) -> Result<Vec<Var<'t, f64>>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Case { twin: Some(Box::new(twin)), ..self }
    }

    /// The inputs' numbers, a function of the key and of the inputs' names.
    pub fn sample(&self, key: Key) -> Vec<ArrayD<f64>> {
        self.inputs.iter().map(|input| input.sample(key.named(input.name))).collect()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("op", &self.op)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

/// The cases of this crate's ops.
pub fn cases() -> Vec<Case> {
    use crate::ops::{arithmetic, matmul, reduce, unary};
    let xy = |x: &[usize], y: &[usize]| vec![Input::new("x", "", x), Input::new("y", "", y)];
    vec![
        Case::new("add", arithmetic::Add, xy(&[2, 3], &[2, 3])),
        Case::new("add/broadcast", arithmetic::Add, xy(&[4, 1, 3], &[2, 1])),
        Case::new("sub/broadcast", arithmetic::Sub, xy(&[3], &[2, 3])),
        Case::new("mul/broadcast", arithmetic::Mul, xy(&[4, 1, 3], &[2, 1])),
        Case::new("matmul", matmul::MatMul::default(), xy(&[3, 4], &[4, 5])),
        Case::new(
            "sum/axis",
            reduce::Sum(reduce::Axes { axes: Some(vec![1]), keep: false }),
            vec![Input::new("x", "", &[2, 3, 4])],
        ),
        Case::new("tanh", unary::Tanh, vec![Input::new("x", "", &[3, 4])]),
    ]
}
