//! What can be checked: anything with a forward and a backward pass over named arrays.

use std::sync::Arc;

use ndarray::ArrayD;

use crate::cases::Case;
use crate::grads::{GradSink, OutputGrads, Slots};
use crate::op::DynOp;
use crate::shape::from_elements;
use crate::{Context, DoubleDouble, Dual, Error, Real, Result, Tensor};

/// An input of a [`Subject`]: its value, and how its elements are called.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Its name, such as `weight_hh`.
    pub name: String,
    /// The names of its axes, such as `T`, `B`, `H`; none when they have no names.
    ///
    /// Indices of `T`, `B` and `S` are written with the letter: `x[t=2, b=0, 5]`.
    pub axes: Vec<String>,
    /// The names of the equal parts of the first axis, such as the gates of an LSTM; maybe none.
    pub blocks: Vec<String>,
    /// Which elements must not be looked at, such as padding.
    pub unseen: Option<ArrayD<bool>>,
    /// Where it stands.
    pub value: ArrayD<f64>,
}

impl Argument {
    /// An argument without names for its axes.
    pub fn new(name: impl Into<String>, value: ArrayD<f64>) -> Self {
        let (axes, blocks) = (Vec::new(), Vec::new());
        Argument { name: name.into(), axes, blocks, unseen: None, value }
    }

    /// An argument of this shape at these numbers, in standard order, with the names of its axes
    /// (`"T B H"`; `""` for none).
    ///
    /// # Errors
    /// The shape has more or fewer elements.
    pub fn of(name: &str, axes: &str, shape: &[usize], numbers: &[f64]) -> Result<Self> {
        let value = from_elements(name, shape, numbers.to_vec())?.into_owned();
        let axes = axes.split_whitespace().map(String::from).collect();
        Ok(Argument { axes, ..Argument::new(name, value) })
    }

    /// The same with names for the equal parts of the first axis.
    pub fn with_blocks(self, blocks: &[&str]) -> Self {
        Argument { blocks: blocks.iter().map(|&block| block.into()).collect(), ..self }
    }

    /// The same with elements that must not be looked at, in standard order.
    ///
    /// # Errors
    /// The argument has more or fewer elements.
    pub fn with_unseen(self, unseen: &[bool]) -> Result<Self> {
        let mask = from_elements(&self.name, self.value.shape(), unseen.to_vec())?.into_owned();
        Ok(Argument { unseen: Some(mask), ..self })
    }

    /// The name of an element: `weight_hh[forget, 3, 17]`.
    pub fn place(&self, index: &[usize]) -> String {
        if index.is_empty() {
            return self.name.clone();
        }
        let block = match self.blocks.len() {
            0 => None,
            blocks => Some((self.value.shape()[0] / blocks).max(1)),
        };
        let places: Vec<String> = (index.iter().enumerate())
            .map(|(axis, &i)| match (axis, block) {
                (0, Some(size)) => match self.blocks.get(i / size) {
                    Some(gate) if index.len() == 1 && size == 1 => gate.clone(),
                    Some(gate) => format!("{gate}, {}", i % size),
                    None => i.to_string(),
                },
                _ => match self.axes.get(axis).map(String::as_str) {
                    Some("T") => format!("t={i}"),
                    Some("B") => format!("b={i}"),
                    Some("S") => format!("s={i}"),
                    _ => i.to_string(),
                },
            })
            .collect();
        format!("{}[{}]", self.name, places.join(", "))
    }
}

/// A function of arrays with a hand-written backward pass, as the checker sees it.
///
/// Implemented for ops ([`OpSubject`]) and for closures over slices
/// ([`Function`](super::Function)); a model or a node of a tape is one too.
pub trait Subject {
    /// What it is called.
    fn name(&self) -> &str;

    /// Its inputs, and where they are checked.
    fn arguments(&self) -> &[Argument];

    /// The outputs. The function must depend on nothing but the inputs.
    ///
    /// # Errors
    /// The shapes do not fit.
    fn forward(&self, inputs: &[Tensor<f64>]) -> Result<Vec<Tensor<f64>>>;

    /// Adds the gradients of the inputs to `d_inputs`, given those of the outputs. Where nothing is
    /// there yet, and nothing comes, `None` stays.
    ///
    /// # Errors
    /// The backward pass fails, or gives a gradient of a wrong shape.
    fn backward(
        &self,
        inputs: &[Tensor<f64>],
        d_outputs: &[Tensor<f64>],
        d_inputs: &mut [Option<Tensor<f64>>],
    ) -> Result<()>;

    /// The derivatives of the outputs when one input moves along `direction`, by forward-mode
    /// differentiation, where there is such a thing.
    ///
    /// # Errors
    /// The shapes do not fit.
    fn slopes(
        &self,
        inputs: &[Tensor<f64>],
        input: usize,
        direction: &ArrayD<f64>,
    ) -> Option<Result<Vec<ArrayD<f64>>>> {
        let _ = (inputs, input, direction);
        None
    }

    /// The outputs in twice the precision of `f64`, where there is such a thing: asked for when
    /// rounding hides a derivative.
    ///
    /// # Errors
    /// The shapes do not fit.
    fn precise(
        &self,
        inputs: &[Tensor<DoubleDouble>],
    ) -> Option<Result<Vec<Tensor<DoubleDouble>>>> {
        let _ = inputs;
        None
    }

    /// The backward pass in twice the precision, where there is such a thing: asked for when the
    /// rounding of `f64` could be what is between the gradient and the second oracle.
    ///
    /// # Errors
    /// The shapes do not fit.
    fn precise_backward(
        &self,
        inputs: &[Tensor<DoubleDouble>],
        d_outputs: &[Tensor<DoubleDouble>],
    ) -> Option<Result<Vec<Option<Tensor<DoubleDouble>>>>> {
        let _ = (inputs, d_outputs);
        None
    }

    /// An output and an element of it that the forward pass leaves unwritten, where that can be
    /// found out.
    ///
    /// # Errors
    /// The shapes do not fit.
    fn unwritten(&self, inputs: &[Tensor<f64>]) -> Result<Option<(usize, usize)>> {
        let _ = inputs;
        Ok(None)
    }
}

/// An op at some inputs.
#[derive(Clone, Debug)]
pub struct OpSubject {
    name: String,
    op: Arc<dyn DynOp<f64>>,
    dual: Option<Arc<dyn DynOp<Dual>>>,
    precise: Option<Arc<dyn DynOp<DoubleDouble>>>,
    context: Context,
    arguments: Vec<Argument>,
}

impl OpSubject {
    /// An op at these inputs.
    pub fn new(
        name: impl Into<String>,
        op: Arc<dyn DynOp<f64>>,
        context: Context,
        arguments: Vec<Argument>,
    ) -> Self {
        OpSubject { name: name.into(), op, dual: None, precise: None, context, arguments }
    }

    /// The same, with the op over dual numbers as a second oracle.
    pub fn with_dual(self, op: Arc<dyn DynOp<Dual>>) -> Self {
        OpSubject { dual: Some(op), ..self }
    }

    /// The same, with the op over numbers of twice the precision, for gradients that rounding hides.
    pub fn with_precise(self, op: Arc<dyn DynOp<DoubleDouble>>) -> Self {
        OpSubject { precise: Some(op), ..self }
    }

    /// A case of the table at its random inputs, a function of the key.
    pub fn of_case(case: &Case, key: crate::random::Key) -> Self {
        let values = case.sample(key);
        let arguments = (case.inputs.iter().zip(values))
            .map(|(input, value)| Argument {
                axes: input.axes.iter().map(|&axis| axis.into()).collect(),
                blocks: input.blocks.iter().map(|&block| block.into()).collect(),
                unseen: input.unseen.clone(),
                ..Argument::new(input.name, value)
            })
            .collect();
        let context = Context::sequential().with_key(key);
        let op: Arc<dyn DynOp<f64>> = case.op.clone();
        OpSubject::new(&case.name, op, context, arguments)
            .with_dual(case.op.clone())
            .with_precise(case.op.clone())
    }
}

impl Subject for OpSubject {
    fn name(&self) -> &str {
        &self.name
    }

    fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    fn forward(&self, inputs: &[Tensor<f64>]) -> Result<Vec<Tensor<f64>>> {
        Ok(self.op.run_forward(&self.context, inputs)?.0)
    }

    fn backward(
        &self,
        inputs: &[Tensor<f64>],
        d_outputs: &[Tensor<f64>],
        d_inputs: &mut [Option<Tensor<f64>>],
    ) -> Result<()> {
        run_backward(self.op.as_ref(), &self.context, inputs, d_outputs, d_inputs)
    }

    fn slopes(
        &self,
        inputs: &[Tensor<f64>],
        input: usize,
        direction: &ArrayD<f64>,
    ) -> Option<Result<Vec<ArrayD<f64>>>> {
        let op = self.dual.as_ref()?;
        let mut duals: Vec<_> =
            inputs.iter().map(|x| x.map(|&x| Dual::new(x, 0.0)).into_shared()).collect();
        for (x, &slope) in duals.get_mut(input)?.iter_mut().zip(direction) {
            x.slope = slope;
        }
        let run = op.run_forward(&self.context, &duals);
        Some(run.map(|(outputs, _)| outputs.into_iter().map(|y| y.map(|y| y.slope)).collect()))
    }

    fn precise(
        &self,
        inputs: &[Tensor<DoubleDouble>],
    ) -> Option<Result<Vec<Tensor<DoubleDouble>>>> {
        let run = self.precise.as_ref()?.run_forward(&self.context, inputs);
        Some(run.map(|(outputs, _)| outputs))
    }

    fn precise_backward(
        &self,
        inputs: &[Tensor<DoubleDouble>],
        d_outputs: &[Tensor<DoubleDouble>],
    ) -> Option<Result<Vec<Option<Tensor<DoubleDouble>>>>> {
        let mut d_inputs = vec![None; inputs.len()];
        let op = self.precise.as_ref()?;
        let run = run_backward(op.as_ref(), &self.context, inputs, d_outputs, &mut d_inputs);
        Some(run.map(|()| d_inputs))
    }
}

/// Runs an op forward and backward, and adds the gradients of its inputs to `d_inputs`.
fn run_backward<T: Real>(
    op: &dyn DynOp<T>,
    context: &Context,
    inputs: &[Tensor<T>],
    d_outputs: &[Tensor<T>],
    d_inputs: &mut [Option<Tensor<T>>],
) -> Result<()> {
    let (outputs, saved) = op.run_forward(context, inputs)?;
    let shapes = |arrays: &[Tensor<T>]| -> Vec<Vec<usize>> {
        arrays.iter().map(|array| array.shape().to_vec()).collect()
    };
    let (input_shapes, output_shapes) = (shapes(inputs), shapes(&outputs));
    let slots: Vec<_> = (0..inputs.len()).map(Some).collect();
    let d_outputs: Vec<_> = d_outputs.iter().cloned().map(Some).collect();
    let at = (op.op_name(), 0, None);
    let mut found = Slots::new(inputs.len());
    found.grads.iter_mut().zip(&mut *d_inputs).for_each(|(found, d)| *found = d.take());
    let mut sink = GradSink::new(context, at, &slots, &input_shapes, &mut found, None);
    let d_outputs = OutputGrads::new(&d_outputs, &output_shapes);
    op.run_backward(context, saved.as_ref(), &d_outputs, &mut sink)?;
    (0..inputs.len()).for_each(|input| found.complete(context, input));
    d_inputs.iter_mut().zip(found.grads).for_each(|(d, found)| *d = found);
    Ok(())
}

/// The number of outputs that two runs must share.
pub(super) fn same_count(op: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Count { op: op.into(), what: "outputs", expected, found })
}
