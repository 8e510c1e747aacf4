//! What an op is: a forward and a backward pass, side by side.

use std::any::Any;
use std::fmt::Debug;

use crate::grads::{GradSink, OutputGrads};
use crate::{Context, DoubleDouble, Dual, Error, Real, Result, Rounded, Tensor, Var};

/// What a forward pass gives: the outputs, and what the backward pass needs.
pub type Forward<T, Saved> = (Vec<Tensor<T>>, Saved);

/// A differentiable function of arrays.
///
/// An op holds everything that is not a differentiable input: axes, masks, indices, rates, random
/// keys. So it can be run again, with the same decisions, at other inputs. `forward` must not
/// depend on anything but the op, the context and the inputs.
///
/// An op of your own is as good a citizen as those of this crate:
///
/// ```
/// use ndarray::arr1;
/// use unspool_tensor::{
///     Context, GradSink, Op, OutputGrads, Real, Result, Tape, Tensor,
///     op::{Forward, inputs_of},
/// };
///
/// /// `y = x²`, element by element.
/// #[derive(Debug)]
/// struct Square;
///
/// impl<T: Real> Op<T> for Square {
///     type Saved = Tensor<T>;
///
///     fn name(&self) -> &'static str {
///         "square"
///     }
///
///     fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
///         let [x] = inputs_of("square", inputs)?;
///         Ok((vec![x.mapv(|x| x * x).into_shared()], x.clone()))
///     }
///
///     fn backward(
///         &self,
///         _: &Context,
///         x: &Self::Saved,
///         d_outputs: &OutputGrads<'_, T>,
///         sink: &mut GradSink<'_, T>,
///     ) -> Result<()> {
///         let two = T::from_f64(2.0);
///         // y = x²  ⇒  d_x = 2·x·d_y
///         let mut d_x = d_outputs.dense(0);
///         d_x.zip_mut_with(x, |d, &x| *d *= two * x);
///         sink.add(0, d_x)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let tape = Tape::<f64>::new(Context::sequential());
/// let x = tape.input(arr1(&[1.0, -3.0]));
/// let [y] = tape.apply(Square, &[x])?;
/// let grads = tape.backward(y.sum_all()?)?;
/// assert_eq!(grads.wrt(x).unwrap(), &arr1(&[2.0, -6.0]).into_dyn());
/// # Ok(())
/// # }
/// ```
pub trait Op<T: Real>: Debug + Send + Sync + 'static {
    /// What the forward pass keeps for the backward pass.
    type Saved: Send + 'static;

    /// The op's name, in the field's terms: it stands in errors, tables and traces.
    fn name(&self) -> &'static str;

    /// Computes the outputs, and what the backward pass needs.
    ///
    /// # Errors
    /// Inputs whose number or shapes do not fit; the error names the op and the shapes.
    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>>;

    /// Adds to `sink` the gradient of each input, given those of the outputs.
    ///
    /// # Errors
    /// A gradient whose shape is not its input's.
    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()>;

    /// As [`backward`](Op::backward), with the same numbers, when nobody needs the saved state
    /// afterwards: gradients may be written over it.
    ///
    /// # Errors
    /// As [`backward`](Op::backward).
    fn backward_once(
        &self,
        context: &Context,
        saved: Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        self.backward(context, &saved, d_outputs, sink)
    }

    /// The same function out of simpler ops, put on the tape of `inputs`: what a fused op is opened
    /// into by those who look at it step by step. Its outputs are those of the op, and so are their
    /// gradients. `None`, as without this method, for an op that is simple enough by itself.
    ///
    /// # Errors
    /// Inputs whose number or shapes do not fit.
    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let _ = inputs;
        Ok(None)
    }

    /// What the inputs are called, for an op of which that depends on how it was made; empty, as
    /// without this method, for all others.
    fn input_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The inputs as an array of known length.
///
/// # Errors
/// There are more or fewer.
pub fn inputs_of<'a, T: Real, const N: usize>(
    op: &str,
    inputs: &'a [Tensor<T>],
) -> Result<[&'a Tensor<T>; N]> {
    let all: Vec<&Tensor<T>> = inputs.iter().collect();
    all.try_into().map_err(|all: Vec<_>| Error::Count {
        op: op.into(),
        what: "inputs",
        expected: N,
        found: all.len(),
    })
}

/// An [`Op`] without its type of saved state, so that a tape can hold any. Implemented for every
/// `Op`.
pub trait DynOp<T: Real>: Debug + Send + Sync {
    /// [`Op::name`].
    fn op_name(&self) -> &'static str;

    /// [`Op::forward`].
    ///
    /// # Errors
    /// As [`Op::forward`].
    fn run_forward(
        &self,
        context: &Context,
        inputs: &[Tensor<T>],
    ) -> Result<Forward<T, Box<dyn Any + Send>>>;

    /// [`Op::backward`], with what `run_forward` saved.
    ///
    /// # Errors
    /// As [`Op::backward`], and when `saved` is another op's.
    fn run_backward(
        &self,
        context: &Context,
        saved: &(dyn Any + Send),
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()>;

    /// [`Op::backward_once`], with what `run_forward` saved; unless an op does better,
    /// [`run_backward`](DynOp::run_backward).
    ///
    /// # Errors
    /// As [`run_backward`](DynOp::run_backward).
    fn run_backward_once(
        &self,
        context: &Context,
        saved: Box<dyn Any + Send>,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        self.run_backward(context, saved.as_ref(), d_outputs, sink)
    }

    /// [`Op::twin`].
    ///
    /// # Errors
    /// As [`Op::twin`].
    fn run_twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let _ = inputs;
        Ok(None)
    }

    /// [`Op::input_names`].
    fn op_input_names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl<T: Real, O: Op<T>> DynOp<T> for O {
    fn op_name(&self) -> &'static str {
        self.name()
    }

    fn run_forward(
        &self,
        context: &Context,
        inputs: &[Tensor<T>],
    ) -> Result<Forward<T, Box<dyn Any + Send>>> {
        let (outputs, saved) = self.forward(context, inputs)?;
        Ok((outputs, Box::new(saved)))
    }

    fn run_backward(
        &self,
        context: &Context,
        saved: &(dyn Any + Send),
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let saved = saved.downcast_ref().ok_or_else(|| not_of(self.name()))?;
        self.backward(context, saved, d_outputs, sink)
    }

    fn run_backward_once(
        &self,
        context: &Context,
        saved: Box<dyn Any + Send>,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let saved = saved.downcast().map_err(|_| not_of(self.name()))?;
        self.backward_once(context, *saved, d_outputs, sink)
    }

    fn run_twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        self.twin(inputs)
    }

    fn op_input_names(&self) -> Vec<String> {
        self.input_names()
    }
}

fn not_of(op: &str) -> Error {
    Error::invalid(op, "was given another op's saved state")
}

/// An op over all numbers that the proofs need: `f32`, `f64`, [`Dual`], [`DoubleDouble`] and
/// [`Rounded`]. Implemented for every such op.
pub trait UniversalOp:
    DynOp<f32> + DynOp<f64> + DynOp<Dual> + DynOp<DoubleDouble> + DynOp<Rounded>
{
}

impl<O> UniversalOp for O where
    O: DynOp<f32> + DynOp<f64> + DynOp<Dual> + DynOp<DoubleDouble> + DynOp<Rounded>
{
}
