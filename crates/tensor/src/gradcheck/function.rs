//! Two closures over plain slices as a subject: nothing of this crate is in their signatures.

use std::fmt;
use std::ops::Index;

use ndarray::{ArrayD, Dimension, IxDyn};

use super::subject::{Argument, Subject};
use crate::cases::{Domain, Input};
use crate::random::Key;
use crate::{Error, Result, Tensor};

/// The lengths of axes by name: `sizes["V"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes(Vec<(String, usize)>);

impl Sizes {
    /// The length of an axis, when there is one of that name.
    pub fn get(&self, name: &str) -> Option<usize> {
        self.0.iter().find(|(axis, _)| axis == name).map(|&(_, length)| length)
    }

    fn set(&mut self, name: &str, length: usize) {
        match self.0.iter_mut().find(|(axis, _)| axis == name) {
            Some((_, old)) => *old = length,
            None => self.0.push((name.into(), length)),
        }
    }
}

impl Index<&str> for Sizes {
    type Output = usize;

    /// # Panics
    /// There is no axis of that name.
    fn index(&self, name: &str) -> &usize {
        match self.0.iter().find(|(axis, _)| axis == name) {
            Some((_, length)) => length,
            None => panic!("there is no axis {name:?}"),
        }
    }
}

type Forward<'a> = dyn Fn(&Sizes, &[&[f64]], &mut [&mut [f64]]) + 'a;
type Backward<'a> = dyn Fn(&Sizes, &[&[f64]], &[&[f64]], &mut [&mut [f64]]) + 'a;

/// A forward and a backward pass over slices in standard order (the last axis is contiguous).
///
/// `forward(sizes, inputs, outputs)` writes every element of the outputs;
/// `backward(sizes, inputs, d_outputs, d_inputs)` **adds** the gradients of the inputs to what
/// `d_inputs` hold.
///
/// ```
/// use unspool_tensor::gradcheck::{Function, Settings, check};
///
/// // y[b, h] = x[b, h]·w[h]
/// let scale = Function::new("scale")
///     .size("B", 3)
///     .size("H", 4)
///     .input("x", "B H")
///     .input("w", "H")
///     .output("B H")
///     .forward(|sizes, inputs, outputs| {
///         let ([x, w], y) = (inputs, &mut outputs[0]) else { return };
///         for i in 0..y.len() {
///             y[i] = x[i] * w[i % sizes["H"]];
///         }
///     })
///     .backward(|sizes, inputs, d_outputs, d_inputs| {
///         let ([x, w], [d_x, d_w]) = (inputs, d_inputs) else { return };
///         for (i, d_y) in d_outputs[0].iter().enumerate() {
///             d_x[i] += d_y * w[i % sizes["H"]];
///             d_w[i % sizes["H"]] += d_y * x[i];
///         }
///     });
/// let report = check(&scale, &Settings::default());
/// assert!(report.passes(), "{report}");
/// ```
pub struct Function<'a> {
    name: String,
    sizes: Sizes,
    arguments: Vec<Argument>,
    outputs: Vec<Vec<String>>,
    forward: Box<Forward<'a>>,
    backward: Box<Backward<'a>>,
    problem: Option<String>,
}

impl fmt::Debug for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("sizes", &self.sizes)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

impl<'a> Function<'a> {
    /// A function of this name; it has no inputs and outputs yet, and does nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Function {
            name: name.into(),
            sizes: Sizes::default(),
            arguments: Vec::new(),
            outputs: Vec::new(),
            forward: Box::new(|_, _, _| {}),
            backward: Box::new(|_, _, _, _| {}),
            problem: None,
        }
    }

    /// The length of an axis. Axes are named before the inputs that have them.
    pub fn size(mut self, axis: &str, length: usize) -> Self {
        self.sizes.set(axis, length);
        self
    }

    /// The next input, with the names of its axes in order (`"T B H"`; `""` for one number), and
    /// random numbers in -1 to 1.
    pub fn input(self, name: &str, axes: &str) -> Self {
        self.input_over(name, axes, Domain::Between(-1.0, 1.0))
    }

    /// The next input, with random numbers over this domain.
    pub fn input_over(mut self, name: &str, axes: &str, domain: Domain) -> Self {
        let axes: Vec<String> = axes.split_whitespace().map(String::from).collect();
        let shape = self.shape(&axes);
        let value = Input::new("", "", &shape).over(domain).sample(Key::new(0).named(name));
        self.arguments.push(Argument { axes, ..Argument::new(name, value) });
        self
    }

    /// Puts an input at these numbers, in standard order.
    pub fn at(mut self, name: &str, numbers: &[f64]) -> Self {
        let argument = self.arguments.iter_mut().find(|argument| argument.name == name);
        let value = argument.and_then(|argument| {
            let shape = argument.value.raw_dim();
            argument.value = ArrayD::from_shape_vec(shape, numbers.to_vec()).ok()?;
            Some(())
        });
        if value.is_none() {
            let count = numbers.len();
            self.problem = Some(format!("there is no input {name:?} of {count} numbers"));
        }
        self
    }

    /// Says which elements of an input nobody may look at, such as padding: in standard order.
    pub fn unseen(mut self, name: &str, unseen: impl Fn(&[usize]) -> bool) -> Self {
        match self.arguments.iter_mut().find(|argument| argument.name == name) {
            Some(argument) => {
                let shape = argument.value.raw_dim();
                let mask = ArrayD::from_shape_fn(shape, |index| unseen(index.slice()));
                argument.unseen = Some(mask);
            }
            None => self.problem = Some(format!("there is no input {name:?}")),
        }
        self
    }

    /// The next output, with the names of its axes.
    pub fn output(mut self, axes: &str) -> Self {
        let axes: Vec<String> = axes.split_whitespace().map(String::from).collect();
        self.shape(&axes);
        self.outputs.push(axes);
        self
    }

    /// The forward pass: `(sizes, inputs, outputs)`.
    pub fn forward(mut self, run: impl Fn(&Sizes, &[&[f64]], &mut [&mut [f64]]) + 'a) -> Self {
        self.forward = Box::new(run);
        self
    }

    /// The backward pass: `(sizes, inputs, d_outputs, d_inputs)`.
    pub fn backward(
        mut self,
        run: impl Fn(&Sizes, &[&[f64]], &[&[f64]], &mut [&mut [f64]]) + 'a,
    ) -> Self {
        self.backward = Box::new(run);
        self
    }

    fn shape(&mut self, axes: &[String]) -> Vec<usize> {
        let lengths = axes.iter().map(|axis| match self.sizes.get(axis) {
            Some(length) => length,
            None => {
                self.problem = Some(format!("the axis {axis:?} has no size"));
                1
            }
        });
        lengths.collect()
    }

    /// The lengths of the axes of these inputs, which may be shorter than those it was made with.
    fn sizes_of(&self, inputs: &[Tensor<f64>]) -> Result<Sizes> {
        if let Some(problem) = &self.problem {
            return Err(Error::invalid(&self.name, problem.as_str()));
        }
        let mut sizes = self.sizes.clone();
        let mut known = Sizes::default();
        for (argument, x) in self.arguments.iter().zip(inputs) {
            for (axis, &length) in argument.axes.iter().zip(x.shape()) {
                if known.get(axis).is_some_and(|known| known != length) {
                    let problem = format!("has two lengths of the axis {axis:?}");
                    return Err(Error::shape(&self.name, x.shape(), problem));
                }
                known.set(axis, length);
                sizes.set(axis, length);
            }
        }
        Ok(sizes)
    }

    /// Foreign code can write where it was only lent to read.
    fn check_unchanged(&self, seen: &[&[f64]], given: &[Tensor<f64>]) -> Result<()> {
        for ((argument, seen), given) in self.arguments.iter().zip(seen).zip(given) {
            if seen.iter().zip(given).any(|(a, b)| a.to_bits() != b.to_bits()) {
                let problem = format!("changes its input {}", argument.name);
                return Err(Error::invalid(&self.name, problem));
            }
        }
        Ok(())
    }

    fn run(&self, given: &[Tensor<f64>], fill: f64) -> Result<Vec<(Vec<usize>, Vec<f64>)>> {
        let sizes = self.sizes_of(given)?;
        let inputs: Vec<Vec<f64>> = given.iter().map(|x| x.iter().copied().collect()).collect();
        let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<_> = (self.outputs.iter())
            .map(|axes| {
                let shape: Vec<usize> =
                    axes.iter().map(|axis| sizes.get(axis).unwrap_or(1)).collect();
                let len = shape.iter().product();
                (shape, vec![fill; len])
            })
            .collect();
        let mut slices: Vec<&mut [f64]> =
            outputs.iter_mut().map(|(_, numbers)| numbers.as_mut_slice()).collect();
        (self.forward)(&sizes, &inputs, &mut slices);
        self.check_unchanged(&inputs, given)?;
        Ok(outputs)
    }
}

impl Subject for Function<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    fn forward(&self, inputs: &[Tensor<f64>]) -> Result<Vec<Tensor<f64>>> {
        let outputs = self.run(inputs, f64::NAN)?;
        (outputs.into_iter())
            .map(|(shape, numbers)| crate::shape::from_elements(&self.name, &shape, numbers))
            .collect()
    }

    fn backward(
        &self,
        inputs: &[Tensor<f64>],
        d_outputs: &[Tensor<f64>],
        d_inputs: &mut [Option<Tensor<f64>>],
    ) -> Result<()> {
        let sizes = self.sizes_of(inputs)?;
        let flat = |arrays: &[Tensor<f64>]| -> Vec<Vec<f64>> {
            arrays.iter().map(|x| x.iter().copied().collect()).collect()
        };
        let (x, d_y) = (flat(inputs), flat(d_outputs));
        let mut d_x: Vec<Vec<f64>> = (d_inputs.iter().zip(inputs))
            .map(|(d, x)| match d {
                Some(d) => d.iter().copied().collect(),
                None => vec![0.0; x.len()],
            })
            .collect();
        let x: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
        let d_y: Vec<&[f64]> = d_y.iter().map(Vec::as_slice).collect();
        let mut slices: Vec<&mut [f64]> = d_x.iter_mut().map(Vec::as_mut_slice).collect();
        (self.backward)(&sizes, &x, &d_y, &mut slices);
        self.check_unchanged(&x, inputs)?;
        for ((d_input, d), x) in d_inputs.iter_mut().zip(d_x).zip(inputs) {
            let d = ArrayD::from_shape_vec(IxDyn(x.shape()), d);
            *d_input = d.ok().map(ArrayD::into_shared);
        }
        Ok(())
    }

    fn unwritten(&self, inputs: &[Tensor<f64>]) -> Result<Option<(usize, usize)>> {
        let fills = [1.25e300, -2.5e300];
        let [first, second] = [self.run(inputs, fills[0])?, self.run(inputs, fills[1])?];
        for (output, ((_, first), (_, second))) in first.iter().zip(&second).enumerate() {
            let mut pairs = first.iter().zip(second);
            if let Some(element) = pairs.position(|(a, b)| [*a, *b] == fills) {
                return Ok(Some((output, element)));
            }
        }
        Ok(None)
    }
}
