//! Gradients: what comes in from an op's outputs, where an op puts those of its inputs, and the
//! result.

use std::ops::Range;

use ndarray::{ArcArray2, Array1, Array2, ArrayD, ArrayView2, ArrayViewMutD, Axis, Ix2, IxDyn, s};

use crate::gradient::{Gradient, RowAddition, RowGradient, add_rows};
use crate::kernels::{matmul, reduce};
use crate::{Context, Error, ParamId, Real, Result, Tensor, Var};

/// The gradients of an op's outputs, in the order of the outputs.
#[derive(Debug)]
pub struct OutputGrads<'a, T: Real> {
    pub(crate) grads: &'a [Option<Tensor<T>>],
    pub(crate) shapes: &'a [Vec<usize>],
}

impl<'a, T: Real> OutputGrads<'a, T> {
    /// Puts gradients beside the shapes of the outputs that they belong to.
    pub fn new(grads: &'a [Option<Tensor<T>>], shapes: &'a [Vec<usize>]) -> Self {
        OutputGrads { grads, shapes }
    }

    /// The gradient of output `k`, or `None` when nothing depends on that output.
    pub fn get(&self, k: usize) -> Option<&Tensor<T>> {
        self.grads.get(k).and_then(Option::as_ref)
    }

    /// The gradient of output `k`; zeros when nothing depends on that output.
    ///
    /// # Panics
    /// The op has no output `k`.
    pub fn dense(&self, k: usize) -> Tensor<T> {
        match self.get(k) {
            Some(d) => d.clone(),
            None => ArrayD::zeros(IxDyn(&self.shapes[k])).into_shared(),
        }
    }
}

/// One addition to the gradient of an input of a node, kept apart when recording.
#[derive(Clone, Debug)]
pub struct Contribution<T: Real> {
    /// The node (its number on the tape) that made it.
    pub node: usize,
    /// Which input of that node.
    pub input: usize,
    /// The time step that it belongs to, when the op said so.
    pub time: Option<usize>,
    /// The contribution itself, of the input's shape.
    pub value: Tensor<T>,
}

/// The gradients of a tape's slots while a backward pass runs.
pub(crate) struct Slots<T: Real> {
    /// What is known of each.
    pub grads: Vec<Option<Tensor<T>>>,
    /// The products `aᵀ·b` that each still lacks. Those of a weight which many time steps share are
    /// put off, so that they become one large product.
    late: Vec<Vec<[ArcArray2<T>; 2]>>,
    /// What was added to single rows of each, of those whose gradients may stay rows.
    rows: Vec<Option<Vec<RowAddition<T>>>>,
}

impl<T: Real> Slots<T> {
    /// No gradients yet.
    pub fn new(slots: usize) -> Self {
        Slots { grads: vec![None; slots], late: vec![Vec::new(); slots], rows: vec![None; slots] }
    }

    /// Lets the gradient of a slot that no node has made stay rows, if nothing else is added.
    pub fn allow_rows(&mut self, slot: usize) {
        self.rows[slot] = Some(Vec::new());
    }

    /// Whether nothing was added to the gradient.
    pub fn is_empty(&self, slot: usize) -> bool {
        self.grads[slot].is_none() && self.late[slot].is_empty()
    }

    /// The gradients, when nothing more is added. Rows stay rows while they are less than half of
    /// the array.
    pub fn finish(
        self,
        context: &Context,
        shape: impl Fn(usize) -> Vec<usize>,
    ) -> Vec<Option<Gradient<T>>> {
        let kernel = T::row_kernel(context.kernels());
        let gradient = |(slot, (grad, rows)): (usize, (Option<Tensor<T>>, Option<Vec<_>>))| {
            let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
                return grad.map(Gradient::Dense);
            };
            let rows = RowGradient::sum(kernel, &shape(slot), &rows);
            match grad {
                Some(mut dense) => {
                    rows.add_with(kernel, &mut dense);
                    Some(Gradient::Dense(dense))
                }
                None if 2 * rows.rows().len() < rows.shape().first().copied().unwrap_or(0) => {
                    Some(Gradient::Rows(rows))
                }
                None => Some(Gradient::Dense(Gradient::Rows(rows).into_dense())),
            }
        };
        self.grads.into_iter().zip(self.rows).enumerate().map(gradient).collect()
    }

    /// Adds the products that were put off, of so many factors together that the gradient is not
    /// read and written more often than in one product of all.
    pub fn complete(&mut self, context: &Context, slot: usize) {
        /// Rows of the factors that are copied for a product.
        const ROWS: usize = 384;
        let mut late = std::mem::take(&mut self.late[slot]).into_iter().peekable();
        while let Some(first) = late.next() {
            let (mut rows, mut pairs) = (first[0].nrows(), vec![first]);
            while let Some(next) = late.next_if(|next| rows + next[0].nrows() <= ROWS) {
                rows += next[0].nrows();
                pairs.push(next);
            }
            let [a, b] = match <[_; 1]>::try_from(pairs) {
                Ok([one]) => one,
                Err(pairs) => {
                    let joined = [0, 1].map(|which| {
                        let parts: Vec<_> = pairs.iter().map(|pair| pair[which].view()).collect();
                        stacked(context, &parts)
                    });
                    pairs.into_iter().flatten().for_each(|part| context.recycle(part.into_dyn()));
                    joined
                }
            };
            add_product(context, &mut self.grads[slot], a.t(), b.view());
            [a, b].into_iter().for_each(|factor| context.recycle(factor.into_dyn()));
        }
    }
}

/// The rows of all parts, one behind the other.
fn stacked<T: Real>(context: &Context, parts: &[ArrayView2<'_, T>]) -> ArcArray2<T> {
    let rows = parts.iter().map(|part| part.nrows()).sum();
    let mut all = context.array((rows, parts.first().map_or(0, |part| part.ncols())));
    let mut rest = all.view_mut();
    for part in parts {
        let (mut place, after) = rest.split_at(Axis(0), part.nrows());
        place.assign(part);
        rest = after;
    }
    all.into_shared()
}

/// `total += d`, arrays of one shape.
fn add_to<T: Real>(total: &mut Tensor<T>, d: &Tensor<T>) {
    match (total.as_slice_mut(), d.as_slice()) {
        (Some(total), Some(d)) => reduce::add(total, d),
        _ => *total += d,
    }
}

/// Adds `a·b` to a gradient, which may not be there yet.
fn add_product<T: Real>(
    context: &Context,
    grad: &mut Option<Tensor<T>>,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
) {
    let accumulate = grad.is_some();
    let total = grad.get_or_insert_with(|| {
        let unwritten: Array2<T> = context.array((a.nrows(), b.ncols()));
        unwritten.into_dyn().into_shared()
    });
    if let Ok(total) = total.view_mut().into_dimensionality::<Ix2>() {
        matmul::product(context, a, b, accumulate, total);
    }
}

/// Where a backward pass puts the gradients of its inputs. It only ever adds.
pub struct GradSink<'a, T: Real> {
    context: &'a Context,
    op: &'static str,
    node: usize,
    time: Option<usize>,
    /// The tape's slot of each input, `None` when no gradient is wanted.
    slots: &'a [Option<usize>],
    shapes: &'a [Vec<usize>],
    found: &'a mut Slots<T>,
    /// The contributions by slot, when recording.
    record: Option<&'a mut Vec<Vec<Contribution<T>>>>,
}

impl<'a, T: Real> GradSink<'a, T> {
    pub(crate) fn new(
        context: &'a Context,
        (op, node, time): (&'static str, usize, Option<usize>),
        slots: &'a [Option<usize>],
        shapes: &'a [Vec<usize>],
        found: &'a mut Slots<T>,
        record: Option<&'a mut Vec<Vec<Contribution<T>>>>,
    ) -> Self {
        GradSink { context, op, node, time, slots, shapes, found, record }
    }

    /// Whether anyone wants the gradient of this input; adding to others costs nothing and does
    /// nothing.
    pub fn wants(&self, input: usize) -> bool {
        self.slots.get(input).is_some_and(Option::is_some)
    }

    /// Whether contributions are kept apart.
    pub fn is_recording(&self) -> bool {
        self.record.is_some()
    }

    /// Says which time step the next contributions belong to.
    pub fn at_time(&mut self, time: usize) {
        self.time = Some(time);
    }

    /// Adds `d` to the gradient of `input`. The first contribution is moved in.
    ///
    /// # Errors
    /// `d` does not have the input's shape, or there is no such input.
    pub fn add(&mut self, input: usize, d: impl Into<Tensor<T>>) -> Result<()> {
        let d = d.into();
        let Some(slot) = self.slot(input)? else { return Ok(()) };
        if d.shape() != self.shapes[input] {
            let problem = "as gradient of an input of that shape";
            return Err(Error::shapes(self.op, &self.shapes[input], d.shape(), problem));
        }
        if let Some(record) = &mut self.record {
            let (node, time) = (self.node, self.time);
            record[slot].push(Contribution { node, input, time, value: d.clone() });
        }
        match &mut self.found.grads[slot] {
            Some(total) => {
                add_to(total, &d);
                self.context.recycle(d);
            }
            none => *none = Some(d),
        }
        Ok(())
    }

    /// Lets `add` add into the gradient of `input` in place: for a contribution that touches a part
    /// of it. The view may already hold other contributions; add, never assign.
    ///
    /// # Errors
    /// There is no such input.
    pub fn add_in_place(
        &mut self,
        input: usize,
        add: impl FnOnce(ArrayViewMutD<'_, T>),
    ) -> Result<()> {
        let Some(slot) = self.slot(input)? else { return Ok(()) };
        let zeros = || ArrayD::zeros(IxDyn(&self.shapes[input])).into_shared();
        if self.record.is_some() {
            let mut d = zeros();
            add(d.view_mut());
            return self.add(input, d);
        }
        add(self.found.grads[slot].get_or_insert_with(zeros).view_mut());
        Ok(())
    }

    /// Adds each row of `ds [indices, ..]` to the row of the gradient of `input`, of shape `[V, ..]`,
    /// with its number; no other row is touched, and `skip` is not either. In a training step such a
    /// gradient stays [rows](Gradient::Rows), if nothing else is added to it and few are touched.
    ///
    /// # Errors
    /// An index is not below V, or `ds` has more or fewer numbers than that many rows.
    pub fn add_rows(
        &mut self,
        input: usize,
        indices: impl ExactSizeIterator<Item = usize> + Clone,
        skip: Option<usize>,
        ds: &[T],
    ) -> Result<()> {
        let Some(slot) = self.slot(input)? else { return Ok(()) };
        let shape = &self.shapes[input];
        let count = shape.first().copied().unwrap_or(0);
        if let Some(index) = indices.clone().find(|&index| index >= count) {
            let problem = format!("index {index} is not in a table of {count} rows");
            return Err(Error::invalid(self.op, problem));
        }
        let width: usize = shape.iter().skip(1).product();
        if ds.len() != indices.len() * width {
            let found = [indices.len(), ds.len() / indices.len().max(1)];
            return Err(Error::shapes(self.op, shape, &found, "as rows of that gradient"));
        }
        if self.record.is_none()
            && let Some(additions) = &mut self.found.rows[slot]
        {
            let kept =
                indices.zip(ds.chunks_exact(width.max(1))).filter(|&(at, _)| Some(at) != skip);
            let (indices, numbers): (Vec<_>, Vec<_>) = kept.unzip();
            additions.push(RowAddition { rows: indices, numbers: numbers.concat() });
            return Ok(());
        }
        let (kernel, indices) =
            (T::row_kernel(self.context.kernels()), indices.collect::<Vec<_>>());
        self.add_in_place(input, |d| add_rows(kernel, d, &indices, skip, ds))
    }

    /// Adds the matrix product `a·b` to the gradient of `input`, whose shape is `[M, N]`, with no
    /// temporary. Shapes: `a [M, K]`, `b [K, N]`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn add_product(
        &mut self,
        input: usize,
        a: ArrayView2<'_, T>,
        b: ArrayView2<'_, T>,
    ) -> Result<()> {
        let Some(slot) = self.slot(input)? else { return Ok(()) };
        let shape = &self.shapes[input];
        if shape[..] != [a.nrows(), b.ncols()] || a.ncols() != b.nrows() {
            return Err(Error::shapes(self.op, a.shape(), b.shape(), "do not give the gradient"));
        }
        if self.record.is_some() {
            let mut d: ArrayD<T> = self.context.array(IxDyn(shape));
            if let Ok(d) = d.view_mut().into_dimensionality::<Ix2>() {
                matmul::product(self.context, a, b, false, d);
            }
            return self.add(input, d);
        }
        add_product(self.context, &mut self.found.grads[slot], a, b);
        Ok(())
    }

    /// Adds `aᵀ·b` to the gradient of a weight that is shared by `T` time steps, of which these are
    /// all or one. Shapes: `a [T·B, M]`, `b [T·B, N]`, time-major.
    ///
    /// The product is put off until the gradient is complete, and then one over all time steps and
    /// nodes; or, when recording, done at once, one a time step.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn add_product_over_time(
        &mut self,
        input: usize,
        time_steps: usize,
        a: ArcArray2<T>,
        b: ArcArray2<T>,
    ) -> Result<()> {
        let Some(slot) = self.slot(input)? else { return Ok(()) };
        if a.nrows() != b.nrows() {
            return Err(Error::shapes(self.op, a.shape(), b.shape(), "have different rows"));
        }
        if self.shapes[input][..] != [a.ncols(), b.ncols()] {
            return Err(Error::shapes(self.op, a.shape(), b.shape(), "do not give the gradient"));
        }
        if !self.is_recording() {
            self.found.late[slot].push([a, b]);
            return Ok(());
        }
        if time_steps == 0 {
            return self.add_product(input, a.t(), b.view());
        }
        self.for_each_time(time_steps, a.nrows(), |sink, rows| {
            let (a, b) = (a.slice(s![rows.clone(), ..]), b.slice(s![rows, ..]));
            sink.add_product(input, a.t(), b)
        })
    }

    /// Adds the sum of the rows of `d [T·B, N]` to the gradient of a bias `[N]`: over all time
    /// steps at once, or, when recording, one a time step.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn add_rows_over_time(
        &mut self,
        input: usize,
        time_steps: usize,
        d: ArrayView2<'_, T>,
    ) -> Result<()> {
        if !self.wants(input) {
            return Ok(());
        }
        if !self.is_recording() || time_steps == 0 {
            let sum = reduce::sum_rows(self.context, d);
            return self.add(input, Array1::from_vec(sum).into_dyn());
        }
        self.for_each_time(time_steps, d.nrows(), |sink, rows| {
            let sum = reduce::sum_rows(sink.context, d.slice(s![rows, ..]));
            sink.add(input, Array1::from_vec(sum).into_dyn())
        })
    }

    /// Calls `add` with the range of rows of each time step, under that step's label.
    fn for_each_time(
        &mut self,
        time_steps: usize,
        rows: usize,
        add: impl Fn(&mut Self, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        if !rows.is_multiple_of(time_steps) {
            let problem = format!("is not one batch for each of {time_steps} time steps");
            return Err(Error::shape(self.op, &[rows], problem));
        }
        let batch = rows / time_steps;
        let outer = self.time;
        for time in 0..time_steps {
            self.at_time(time);
            add(self, time * batch..(time + 1) * batch)?;
        }
        self.time = outer;
        Ok(())
    }

    fn slot(&self, input: usize) -> Result<Option<usize>> {
        self.slots.get(input).copied().ok_or_else(|| Error::Count {
            op: self.op.into(),
            what: "inputs",
            expected: self.slots.len(),
            found: input + 1,
        })
    }
}

/// The result of a backward pass: the gradients of inputs and parameters.
///
/// Gradients of values in between are kept only when recording.
#[derive(Clone, Debug)]
pub struct Grads<T: Real> {
    pub(crate) by_slot: Vec<Option<Gradient<T>>>,
    pub(crate) params: Vec<(ParamId, usize)>,
    pub(crate) contributions: Vec<Vec<Contribution<T>>>,
}

impl<T: Real> Grads<T> {
    /// The gradient of a variable of the tape that these are of; `None` when the result does not
    /// depend on it. (Another tape's variable goes by its number there: it means nothing here.)
    pub fn wrt(&self, var: Var<'_, T>) -> Option<&Tensor<T>> {
        self.by_slot.get(var.slot())?.as_ref().map(Gradient::dense)
    }

    /// The gradient of a parameter; `None` when the result does not depend on it.
    pub fn param(&self, id: ParamId) -> Option<&Tensor<T>> {
        let slot = self.params.iter().find(|(param, _)| *param == id)?.1;
        self.by_slot[slot].as_ref().map(Gradient::dense)
    }

    /// The gradients of all parameters that the result depends on, in the order of their numbers, as
    /// they are: what an optimiser takes.
    pub fn into_gradients(mut self) -> Vec<(ParamId, Gradient<T>)> {
        self.params.sort_unstable();
        let slots = std::mem::take(&mut self.params);
        slots.into_iter().filter_map(|(id, slot)| Some((id, self.by_slot[slot].take()?))).collect()
    }

    /// The same as whole arrays.
    pub fn into_params(self) -> Vec<(ParamId, Tensor<T>)> {
        self.into_gradients().into_iter().map(|(id, d)| (id, d.into_dense())).collect()
    }

    /// What each node and time step added to the gradient of a variable; empty unless recorded.
    pub fn contributions(&self, var: Var<'_, T>) -> &[Contribution<T>] {
        self.contributions.get(var.slot()).map_or(&[], Vec::as_slice)
    }
}
