//! The linear layer: the op, and the layer that holds its weight and bias.

use ndarray::{ArcArray2, Array2, ArrayD, ArrayView1, ArrayView2, Axis, Ix1, Ix2, IxDyn};
use unspool_tensor::cases::{Case, Input};
use unspool_tensor::kernels::weights::{Side, product_with_weight};
use unspool_tensor::op::Forward;
use unspool_tensor::random::Key;
use unspool_tensor::shape::reshaped;
use unspool_tensor::{
    Context, Error, GradSink, Op, OutputGrads, ParamId, ParamStore, Real, Result, Tensor, Var,
};

use crate::Bound;
use crate::init::Init;

const NAME: &str = "linear";

// The numbers of the inputs.
const X: usize = 0;
const WEIGHT: usize = 1;
const BIAS: usize = 2;

/// `y = x·Wᵀ + b`: one matrix product over all leading axes of x.
///
/// Inputs: `x [.., I]`, the weight `W [O, I]`, and maybe the bias `b [O]`. Output: `y [.., O]`. An
/// x of three axes is taken as `[T, B, I]`: when gradients are recorded, the weight's come apart by
/// time step.
#[derive(Clone, Copy, Debug)]
pub struct LinearOp;

/// What [`LinearOp`] keeps for its backward pass.
#[derive(Debug)]
pub struct LinearSaved<T: Real> {
    /// `[.., I]`, in standard layout.
    x: Tensor<T>,
    /// `[O, I]`.
    weight: Tensor<T>,
    has_bias: bool,
}

impl<T: Real> Op<T> for LinearOp {
    type Saved = LinearSaved<T>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let (x, weight, bias) = match inputs {
            [x, weight] => (x, weight, None),
            [x, weight, bias] => (x, weight, Some(bias)),
            _ => {
                let (op, found) = (NAME.into(), inputs.len());
                return Err(Error::Count { op, what: "inputs", expected: 3, found });
            }
        };
        let mismatch = || Error::shapes(NAME, x.shape(), weight.shape(), "are not [.., I], [O, I]");
        let w = matrix(weight).ok_or_else(mismatch)?;
        let (out, size) = w.dim();
        let Some((&last, leading)) = x.shape().split_last() else { return Err(mismatch()) };
        if last != size {
            return Err(mismatch());
        }
        let rows: usize = leading.iter().product();
        let no_bias = |bias: &Tensor<T>| {
            Error::shapes(NAME, weight.shape(), bias.shape(), "are not [O, I] and [O]")
        };
        let bias = bias
            .map(|b| vector(b).filter(|b| b.len() == out).ok_or_else(|| no_bias(b)))
            .transpose()?;
        let x_rows = as_rows(x, rows)?;
        let x_2d = matrix(&x_rows).ok_or_else(mismatch)?;
        let y = affine(context, x_2d, weight, bias);
        let y = y.into_dyn().into_shared();
        let y = reshaped(NAME, &y, &[leading, &[out]].concat())?;
        let x = reshaped(NAME, &x_rows, x.shape())?;
        Ok((vec![y], LinearSaved { x, weight: weight.clone(), has_bias: bias.is_some() }))
    }

    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let shape = saved.x.shape();
        let rows: usize = shape[..shape.len() - 1].iter().product();
        let time_steps = if shape.len() == 3 { shape[0] } else { 0 };
        let d_y = d_outputs.dense(0);
        let wrong = || Error::shape(NAME, d_y.shape(), "is not the gradient of the output");
        let shared = |x: &Tensor<T>| as_rows(x, rows)?.into_dimensionality().map_err(|_| wrong());
        let (x, d_y): (ArcArray2<T>, ArcArray2<T>) = (shared(&saved.x)?, shared(&d_y)?);
        // y = b + x·Wᵀ  ⇒  d_x = d_y·W, d_W = d_yᵀ·x, d_b = Σ d_y
        if sink.wants(X) {
            let mut d_x: Array2<T> = context.array(x.raw_dim());
            let (d_y, weight) = (d_y.view(), &saved.weight);
            product_with_weight(context, d_y, weight, Side::Plain, false, d_x.view_mut());
            sink.add(X, reshaped(NAME, &d_x.into_dyn().into_shared(), shape)?)?;
        }
        if saved.has_bias {
            sink.add_rows_over_time(BIAS, time_steps, d_y.view())?;
        }
        sink.add_product_over_time(WEIGHT, time_steps, d_y, x)?;
        Ok(())
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let Some((&[x, weight], bias)) = inputs.split_first_chunk() else { return Ok(None) };
        let bias = bias.first().copied();
        let (time_steps, batch, width) = match x.shape()[..] {
            [time_steps, batch, width] if time_steps > 0 => (time_steps, batch, width),
            _ => return Ok(Some(vec![composed(x, weight, bias)?])),
        };
        // Step by step, as the gradients of weight and bias come apart.
        let mut steps = Vec::with_capacity(time_steps);
        for time in 0..time_steps {
            x.tape().at_time(Some(time));
            let x = x.slice(0, time..time + 1)?.reshape(&[batch, width])?;
            steps.push(composed(x, weight, bias)?);
        }
        x.tape().at_time(None);
        Ok(Some(vec![Var::stack(&steps, 0)?]))
    }
}

/// `y = x·Wᵀ + b`, of shapes `x [N, I]`, `W [O, I]`, `b [O]` and `y [N, O]`; the callers have checked
/// them.
pub(crate) fn affine<T: Real>(
    context: &Context,
    x: ArrayView2<'_, T>,
    weight: &Tensor<T>,
    bias: Option<ArrayView1<'_, T>>,
) -> Array2<T> {
    let mut y: Array2<T> = context.array((x.nrows(), weight.len_of(Axis(0))));
    let accumulate = bias.is_some();
    if let Some(bias) = bias {
        y.assign(&bias);
    }
    product_with_weight(context, x, weight, Side::Transposed, accumulate, y.view_mut());
    y
}

/// The leading axes merged: `[rows, last]`, in standard layout.
fn as_rows<T: Real>(x: &Tensor<T>, rows: usize) -> Result<Tensor<T>> {
    reshaped(NAME, x, &[rows, x.shape().last().copied().unwrap_or(1)])
}

pub(crate) fn vector<T: Real>(x: &Tensor<T>) -> Option<ArrayView1<'_, T>> {
    x.view().into_dimensionality::<Ix1>().ok()
}

pub(crate) fn matrix<T: Real>(x: &Tensor<T>) -> Option<ArrayView2<'_, T>> {
    x.view().into_dimensionality::<Ix2>().ok()
}

/// The composed twin of [`LinearOp`]: a matrix product and a sum.
///
/// # Errors
/// The shapes do not fit.
pub fn composed<'t, T: Real>(
    x: Var<'t, T>,
    weight: Var<'t, T>,
    bias: Option<Var<'t, T>>,
) -> Result<Var<'t, T>> {
    let mut shape = x.shape();
    let width = shape.pop().unwrap_or(1);
    let rows = x.reshape(&[shape.iter().product(), width])?;
    let y = rows.matmul_transposed(weight)?;
    let y = match bias {
        Some(bias) => (y + bias)?,
        None => y,
    };
    shape.push(weight.shape()[0]);
    y.reshape(&shape)
}

/// A linear layer with parameters `{name}.weight [O, I]` and maybe `{name}.bias [O]`, as PyTorch's
/// `nn.Linear`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// Adds the parameters to the store: the weight drawn by `init`, the bias, when wanted, zero.
    ///
    /// # Errors
    /// The names are taken, or `init` cannot draw such a matrix.
    pub fn new<T: Real>(
        store: &mut ParamStore<T>,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
        init: Init,
        key: Key,
    ) -> Result<Self> {
        let name_of = |part: &str| format!("{name}.{part}");
        let weight = name_of("weight");
        let value = init.sample(&[outputs, inputs], key.named(&weight))?;
        let weight = store.add(weight, value)?;
        let bias = match bias {
            true => Some(store.add(name_of("bias"), ArrayD::zeros(IxDyn(&[outputs])))?),
            false => None,
        };
        Ok(Linear { weight, bias, inputs, outputs })
    }

    /// `x [.., I]` → `y [.., O]`.
    ///
    /// # Errors
    /// The last axis of x is not I.
    pub fn forward<'t, T: Real>(&self, bound: Bound<'t, T>, x: Var<'t, T>) -> Result<Var<'t, T>> {
        linear(x, bound.param(self.weight), self.bias.map(|bias| bound.param(bias)))
    }

    /// The weight, `[O, I]`.
    pub fn weight(&self) -> ParamId {
        self.weight
    }

    /// The bias, `[O]`.
    pub fn bias(&self) -> Option<ParamId> {
        self.bias
    }

    /// I.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// O.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// [`LinearOp`] on variables: for weights that are tied, or cut out of larger ones.
///
/// # Errors
/// The shapes do not fit.
pub fn linear<'t, T: Real>(
    x: Var<'t, T>,
    weight: Var<'t, T>,
    bias: Option<Var<'t, T>>,
) -> Result<Var<'t, T>> {
    let [y] = match bias {
        Some(bias) => x.tape().apply(LinearOp, &[x, weight, bias])?,
        None => x.tape().apply(LinearOp, &[x, weight])?,
    };
    Ok(y)
}

/// The cases of this file's op.
pub fn cases() -> Vec<Case> {
    let row = |name: &str, x: &[usize], out: usize, bias: bool| {
        let size = x.last().copied().unwrap_or(1);
        let mut inputs = vec![Input::new("x", "", x), Input::new("weight", "O I", &[out, size])];
        if bias {
            inputs.push(Input::new("bias", "O", &[out]));
        }
        Case::new(format!("linear/{name}"), LinearOp, inputs)
            .twin(|_, inputs| Ok(vec![composed(inputs[0], inputs[1], inputs.get(2).copied())?]))
    };
    vec![
        row("matrix", &[4, 3], 5, true),
        row("no_bias", &[4, 3], 5, false),
        row("time_major", &[2, 3, 4], 3, true),
        row("vector", &[3], 2, true),
        row("one_unit", &[1, 1], 1, true),
    ]
}
