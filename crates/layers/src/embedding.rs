//! The embedding layer: a row of a table for each index.

use std::sync::Arc;

use ndarray::{Array2, ArrayBase, ArrayD, Axis, Data, Dimension, IxDyn};
use unspool_tensor::cases::{Case, Input};
use unspool_tensor::op::{Forward, inputs_of};
use unspool_tensor::random::Key;
use unspool_tensor::shape::standard;
use unspool_tensor::{
    Context, Error, GradSink, Op, OutputGrads, ParamId, ParamStore, Real, Result, Tensor, Var,
};

use crate::Bound;
use crate::init::Init;

const NAME: &str = "embedding";

/// `y[i] = table[index[i]]`, as PyTorch's `F.embedding`.
///
/// Input: the table `[V, E]`. Output: `y [.., E]` for indices of shape `[..]`. The gradient of the
/// table is zero but in the rows that are used, and only these are touched. A *padding* row is
/// looked up as any other, and its gradient is always zero.
#[derive(Clone, Debug)]
pub struct EmbeddingOp {
    /// The rows to look up.
    pub indices: Arc<ArrayD<usize>>,
    /// The row that never learns.
    pub padding: Option<usize>,
}

impl<T: Real> Op<T> for EmbeddingOp {
    type Saved = ();

    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, ()>> {
        let [table] = inputs_of(NAME, inputs)?;
        let &[count, size] = table.shape() else {
            return Err(Error::shape(NAME, table.shape(), "is not a table [V, E]"));
        };
        let indices = self.indices.iter();
        if let Some(index) = indices.chain(&self.padding).find(|&&index| index >= count) {
            let problem = format!("index {index} is not in a table of {count} rows");
            return Err(Error::invalid(NAME, problem));
        }
        // y[i] = table[index[i]]
        let table = standard(table);
        let numbers = table.as_slice().unwrap_or_default();
        let indices: Vec<usize> = self.indices.iter().copied().collect();
        let mut y: ArrayD<T> = context.array(IxDyn(&[self.indices.shape(), &[size]].concat()));
        let to = y.as_slice_mut().unwrap_or_default();
        T::row_kernel(context.kernels()).gather(numbers, size, &indices, to);
        Ok((vec![y.into_shared()], ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &(),
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y[i] = table[index[i]]  ⇒  d_table[index[i]] += d_y[i], but for the padding
        let d_y = standard(&d_outputs.dense(0));
        let d_y = d_y.as_slice().unwrap_or_default();
        sink.add_rows(0, self.indices.iter().copied(), self.padding, d_y)
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let Some(&table) = inputs.first() else { return Ok(None) };
        Ok(Some(vec![composed(table, &self.indices, self.padding)?]))
    }
}

/// The composed twin of [`EmbeddingOp`]: rows gathered from a table whose padding row is cut off.
///
/// # Errors
/// An index is out of range.
pub fn composed<'t, T: Real>(
    table: Var<'t, T>,
    indices: &ArrayD<usize>,
    padding: Option<usize>,
) -> Result<Var<'t, T>> {
    let [rows, _] = table.shape()[..] else {
        return Err(Error::shape(NAME, &table.shape(), "is not a table [V, E]"));
    };
    let learns =
        Array2::from_shape_fn(
            (rows, 1),
            |(row, _)| {
                if Some(row) == padding { T::zero() } else { T::one() }
            },
        );
    let learns = table.tape().constant(learns);
    // table·learns + (table cut off)·(1 - learns)
    let fixed = (table.detach() * ((-learns)? + T::one())?)?;
    let table = ((table * learns)? + fixed)?;
    let numbers: Vec<usize> = indices.iter().copied().collect();
    table.gather_rows(&numbers, indices.shape())
}

/// An embedding layer with the parameter `{name}.weight [V, E]`, as PyTorch's `nn.Embedding`.
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: ParamId,
    padding: Option<usize>,
    rows: usize,
    size: usize,
}

impl Embedding {
    /// Adds the table to the store, drawn by `init`; the padding row is zero.
    ///
    /// # Errors
    /// The name is taken, the padding row is not in the table, or `init` cannot draw such a matrix.
    pub fn new<T: Real>(
        store: &mut ParamStore<T>,
        name: &str,
        rows: usize,
        size: usize,
        padding: Option<usize>,
        init: Init,
        key: Key,
    ) -> Result<Self> {
        let name = format!("{name}.weight");
        let mut table: ArrayD<T> = init.sample(&[rows, size], key.named(&name))?;
        if let Some(padding) = padding {
            if padding >= rows {
                let problem = format!("padding row {padding} is not in a table of {rows} rows");
                return Err(Error::invalid(NAME, problem));
            }
            table.index_axis_mut(Axis(0), padding).fill(T::zero());
        }
        Ok(Embedding { weight: store.add(name, table)?, padding, rows, size })
    }

    /// Indices of any shape `[..]`, such as `[T, B]` → their rows, `[.., E]`.
    ///
    /// # Errors
    /// An index is out of range.
    pub fn forward<'t, T: Real, D: Dimension>(
        &self,
        bound: Bound<'t, T>,
        indices: &ArrayBase<impl Data<Elem = usize>, D>,
    ) -> Result<Var<'t, T>> {
        let indices = Arc::new(indices.to_owned().into_dyn());
        let op = EmbeddingOp { indices, padding: self.padding };
        let [y] = bound.tape().apply(op, &[bound.param(self.weight)])?;
        Ok(y)
    }

    /// The table, `[V, E]`: a readout may share it.
    pub fn weight(&self) -> ParamId {
        self.weight
    }

    /// The row that never learns.
    pub fn padding(&self) -> Option<usize> {
        self.padding
    }

    /// V.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// E.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// The cases of this file's op.
pub fn cases() -> Vec<Case> {
    let row = |name: &str, shape: &[usize], indices: &[usize], padding: Option<usize>| {
        let indices = ArrayD::from_shape_fn(IxDyn(shape), |at| {
            let flat = (0..shape.len()).fold(0, |flat, axis| flat * shape[axis] + at[axis]);
            indices[flat % indices.len()]
        });
        let op = EmbeddingOp { indices: Arc::new(indices.clone()), padding };
        let used = indices.clone();
        let table = Input::new("table", "V E", &[5, 3]);
        let table = vec![table.with_unseen(|at| !used.iter().any(|&row| row == at[0]))];
        Case::new(format!("embedding/{name}"), op, table)
            .twin(move |_, inputs| Ok(vec![composed(inputs[0], &indices, padding)?]))
    };
    vec![
        row("time_major", &[3, 2], &[4, 1, 1, 0, 2, 1], None),
        // The padding row is not used here: its gradient, by decree, is not that of the function.
        row("padding", &[3, 2], &[1, 4, 3, 1, 4, 4], Some(0)),
        row("one", &[1], &[3], None),
    ]
}
