//! Any cell over any number of steps, and backpropagation through time beneath it.
//!
//! What does not depend on the recurrence is one matrix product over all steps: the input's part of
//! the gates, and the gradients of the weights. What does is one product a step.
//!
//! The rows are packed, see [`Packing`]: `P` valid vectors, in one block of rows a step.

use ndarray::{ArcArray, ArcArray2, Array2, ArrayBase, ArrayView2, Axis, Data, Dimension, Ix2, s};
use unspool_tensor::kernels::vectorised::vectorised;
use unspool_tensor::kernels::weights::{Side, product_with_weight};
use unspool_tensor::shape::reshaped;
use unspool_tensor::{Context, Error, GradSink, Real, Result, Tensor};

use super::cell::{BackwardRow, Cell, ForwardRow};
use super::packing::Packing;

/// Where an op's inputs stand: x, h, c when the cell has it, and the weights.
struct Positions {
    cell_state: Option<usize>,
    weight_ih: usize,
    weight_hh: usize,
    bias_ih: usize,
    bias_hh: usize,
}

const X: usize = 0;
const H: usize = 1;

impl Positions {
    fn of<C: Cell>() -> Self {
        let cell_state = C::KIND.has_cell_state().then_some(2);
        let first = if cell_state.is_some() { 3 } else { 2 };
        Positions {
            cell_state,
            weight_ih: first,
            weight_hh: first + 1,
            bias_ih: first + 2,
            bias_hh: first + 3,
        }
    }
}

/// A forward pass through time: what the outputs are made of, and what the backward pass needs.
#[derive(Debug)]
pub struct Unrolled<T: Real> {
    packing: Packing,
    /// The inputs, `[P, I]`.
    x: ArcArray2<T>,
    /// The shape of the inputs as the op was given them.
    x_shape: Vec<usize>,
    /// The initial hidden states, sorted, and those after each packed row: `[B + P, H]`.
    h: ArcArray2<T>,
    /// The same of the cell states; no columns when the cell has none.
    c: ArcArray2<T>,
    /// The activated gates, `[P, G·H]`.
    gates: Array2<T>,
    /// What the cell keeps beside them, `[P, EXTRAS·H]`.
    extras: Array2<T>,
    weight_ih: Tensor<T>,
    weight_hh: Tensor<T>,
}

impl<T: Real> Unrolled<T> {
    /// The hidden states in their places, `[T, B, H]`; zeros where there is padding.
    pub(super) fn output(&self) -> Result<Tensor<T>> {
        let batch = self.packing.batch();
        let states = self.h.clone().slice_move(s![batch.., ..]);
        let output = match self.packing.is_identity() {
            true => states,
            false => self.packing.unpack(states.view()).into_shared(),
        };
        shaped(output, &[self.packing.time_steps(), batch, self.h.ncols()])
    }

    /// The final states in their places: h `[B, H]`, and c when the cell has it.
    pub(super) fn last_states(&self) -> Vec<Tensor<T>> {
        let last = |states: &ArcArray2<T>| self.packing.last(states).into_dyn();
        let cell_state = (self.c.ncols() > 0).then(|| last(&self.c));
        std::iter::once(last(&self.h)).chain(cell_state).collect()
    }
}

/// Runs the cell over all steps.
///
/// `inputs` are x (`[T, B, I]`, or `[B, I]` for one step), h `[B, H]`, c `[B, H]` when the cell has
/// it, weight_ih `[G·H, I]`, weight_hh `[G·H, H]`, bias_ih `[G·H]` and bias_hh `[G·H]`.
pub(super) fn forward<C: Cell, T: Real>(
    op: &str,
    context: &Context,
    inputs: &[Tensor<T>],
    lengths: Option<&[usize]>,
    reverse: bool,
) -> Result<Unrolled<T>> {
    let at = Positions::of::<C>();
    check_shapes::<C, T>(op, inputs, &at)?;
    let x_shape = inputs[X].shape().to_vec();
    let (batch, hidden) = (inputs[H].shape()[0], inputs[H].shape()[1]);
    let time_steps = if x_shape.len() == 3 { x_shape[0] } else { 1 };
    let columns = x_shape[x_shape.len() - 1];
    let packing = Packing::new(op, time_steps, batch, lengths, reverse)?;

    let x: ArcArray2<T> = shaped(inputs[X].clone(), &[time_steps * batch, columns])?;
    let x = if packing.is_identity() { x } else { packing.pack(x.view()).into_shared() };
    let with_initial = |initial: Option<ArrayView2<'_, T>>| {
        let columns = initial.map_or(0, |initial| initial.ncols());
        let mut states = Array2::zeros((batch + packing.len(), columns));
        if let Some(initial) = initial {
            states.slice_mut(s![..batch, ..]).assign(&packing.sort(initial));
        }
        states
    };
    let mut h = with_initial(Some(matrix(&inputs[H])?));
    let mut c = with_initial(at.cell_state.map(|at| matrix(&inputs[at])).transpose()?);
    let (weight_ih, weight_hh) = (&inputs[at.weight_ih], &inputs[at.weight_hh]);
    let (bias_ih, bias_hh) = (&inputs[at.bias_ih], &inputs[at.bias_hh]);

    // gates = x·W_ihᵀ + b_ih (+ b_hh), over all steps at once
    let mut gates = Array2::zeros((packing.len(), C::GATES * hidden));
    gates.assign(bias_ih);
    if C::SUMS_GATES {
        gates += bias_hh;
    }
    product_with_weight(context, x.view(), weight_ih, Side::Transposed, true, gates.view_mut());

    // Arrays that the cell does not need have no columns.
    let (gate_columns, extra_columns) = (C::GATES * hidden, C::EXTRAS * hidden);
    let hidden_gate_columns = if C::SUMS_GATES { 0 } else { gate_columns };
    let cell_columns = c.ncols();
    let pointwise = context.kernels().pointwise();
    let mut hidden_gates = Array2::zeros((batch, hidden_gate_columns));
    let mut extras = Array2::zeros((packing.len(), extra_columns));
    for step in 0..time_steps {
        let (rows, previous) = (packing.step(step), packing.previous(step));
        // (hidden_)gates += h·W_hhᵀ (+ b_hh), for the rows that still run
        let h_previous = h.slice(s![previous.clone(), ..]);
        let sums = if C::SUMS_GATES {
            gates.slice_mut(s![rows.clone(), ..])
        } else {
            let mut sums = hidden_gates.slice_mut(s![..rows.len(), ..]);
            sums.assign(bias_hh);
            sums
        };
        product_with_weight(context, h_previous, weight_hh, Side::Transposed, true, sums);

        // The states before the step stand above those after it.
        let (h, h_next) = elements(&mut h).split_at_mut((batch + rows.start) * hidden);
        let (c, c_next) = elements(&mut c).split_at_mut((batch + rows.start) * cell_columns);
        let (gates, extras) = (elements(&mut gates), elements(&mut extras));
        let hidden_gates = elements(&mut hidden_gates);
        vectorised(|| {
            for k in 0..rows.len() {
                let row = ForwardRow {
                    gates: row_mut(gates, gate_columns, rows.start + k),
                    hidden_gates: row(hidden_gates, hidden_gate_columns, k),
                    h: row(h, hidden, previous.start + k),
                    c: row(c, cell_columns, previous.start + k),
                    h_next: row_mut(h_next, hidden, k),
                    c_next: row_mut(c_next, cell_columns, k),
                    extras: row_mut(extras, extra_columns, rows.start + k),
                };
                C::forward(pointwise, row);
            }
        });
    }
    Ok(Unrolled {
        packing,
        x,
        x_shape,
        h: h.into_shared(),
        c: c.into_shared(),
        gates,
        extras,
        weight_ih: inputs[at.weight_ih].clone(),
        weight_hh: inputs[at.weight_hh].clone(),
    })
}

/// Backpropagation through time: adds the gradients of all inputs.
///
/// `d_output [T, B, H]` is the gradient of the output, `d_h` and `d_c` `[B, H]` those of the final
/// states.
pub(super) fn backward<C: Cell, T: Real>(
    context: &Context,
    saved: &Unrolled<T>,
    d_output: Option<&Tensor<T>>,
    d_h: &Tensor<T>,
    d_c: Option<&Tensor<T>>,
    sink: &mut GradSink<'_, T>,
) -> Result<()> {
    let at = Positions::of::<C>();
    let packing = &saved.packing;
    let (weight_ih, weight_hh) = (&saved.weight_ih, &saved.weight_hh);
    let (batch, hidden) = (packing.batch(), saved.h.ncols());
    let d_output: Option<ArcArray2<T>> =
        d_output.map(|d| shaped(d.clone(), &[packing.time_steps() * batch, hidden])).transpose()?;

    // The gradients of the states after the step at hand, sorted. A row that is shorter than the
    // steps so far holds the gradient of its final state, until its own last step comes.
    let mut d_h = packing.sort(matrix(d_h)?).into_owned();
    let mut d_c = match d_c {
        Some(d_c) => packing.sort(matrix(d_c)?).into_owned(),
        None => Array2::zeros((batch, 0)),
    };
    let (gate_columns, extra_columns) = (C::GATES * hidden, C::EXTRAS * hidden);
    let hidden_gate_columns = if C::SUMS_GATES { 0 } else { gate_columns };
    let cell_columns = saved.c.ncols();
    let (gates, extras) = (elements_of(&saved.gates), elements_of(&saved.extras));
    let (h, c) = (elements_of(&saved.h), elements_of(&saved.c));
    let mut d_gates = Array2::zeros((packing.len(), gate_columns));
    let mut d_hidden_gates = Array2::zeros((packing.len(), hidden_gate_columns));
    for step in (0..packing.time_steps()).rev() {
        let (rows, previous) = (packing.step(step), packing.previous(step));
        let running = s![..rows.len(), ..];
        if let Some(d_output) = &d_output {
            // output[t, b] = h'  ⇒  d_h' += d_output[t, b]
            for (mut d_h, &source) in d_h.outer_iter_mut().zip(&packing.sources()[rows.clone()]) {
                d_h += &d_output.row(source);
            }
        }
        vectorised(|| {
            for k in 0..rows.len() {
                let packed = rows.start + k;
                C::backward(BackwardRow {
                    gates: row(gates, gate_columns, packed),
                    extras: row(extras, extra_columns, packed),
                    h: row(h, hidden, previous.start + k),
                    c: row(c, cell_columns, previous.start + k),
                    d_h: row_mut(elements(&mut d_h), hidden, k),
                    d_c: row_mut(elements(&mut d_c), cell_columns, k),
                    d_gates: row_mut(elements(&mut d_gates), gate_columns, packed),
                    d_hidden_gates: row_mut(
                        elements(&mut d_hidden_gates),
                        hidden_gate_columns,
                        packed,
                    ),
                });
            }
        });
        // hidden_gates = h·W_hhᵀ + b_hh  ⇒  d_h += d_hidden_gates·W_hh
        let d_sums = if C::SUMS_GATES { &d_gates } else { &d_hidden_gates };
        let d_sums = d_sums.slice(s![rows, ..]);
        let d_h = d_h.slice_mut(running);
        product_with_weight(context, d_sums, weight_hh, Side::Plain, true, d_h);
    }

    // gates = x·W_ihᵀ + b_ih  ⇒  d_x = d_gates·W_ih
    if sink.wants(X) {
        let mut d_x = Array2::zeros(saved.x.raw_dim());
        let d_gates = d_gates.view();
        product_with_weight(context, d_gates, weight_ih, Side::Plain, false, d_x.view_mut());
        let d_x = if packing.is_identity() { d_x } else { packing.unpack(d_x.view()) };
        let d_x: Tensor<T> = shaped(d_x.into_shared(), &saved.x_shape)?;
        sink.add(X, d_x)?;
    }
    sink.add(H, packing.unsort(d_h).into_dyn())?;
    if let Some(cell_state) = at.cell_state {
        sink.add(cell_state, packing.unsort(d_c).into_dyn())?;
    }

    // d_W_ih = d_gatesᵀ·x and d_W_hh = d_hidden_gatesᵀ·h, over all steps at once
    let d_gates = d_gates.into_shared();
    let d_hidden_gates = if C::SUMS_GATES { d_gates.clone() } else { d_hidden_gates.into_shared() };
    let mut weights = WeightSink { packing, one_step: saved.x_shape.len() == 2, sink };
    weights.add_product(at.weight_ih, d_gates.clone(), || saved.x.clone())?;
    weights.add_product(at.weight_hh, d_hidden_gates.clone(), || match packing.is_full() {
        true => saved.h.clone().slice_move(s![..packing.len(), ..]),
        false => packing.all_previous(saved.h.view()).into_shared(),
    })?;
    // gates = .. + b_ih and hidden_gates = .. + b_hh  ⇒  d_b_ih = Σ d_gates, d_b_hh = Σ
    // d_hidden_gates, one sum for both when the cell sums its gates
    if C::SUMS_GATES {
        return weights.add_rows(&[at.bias_ih, at.bias_hh], d_gates.view());
    }
    weights.add_rows(&[at.bias_ih], d_gates.view())?;
    weights.add_rows(&[at.bias_hh], d_hidden_gates.view())
}

/// Adds the gradients of weights out of packed rows.
struct WeightSink<'a, 'b, T: Real> {
    packing: &'a Packing,
    one_step: bool,
    sink: &'a mut GradSink<'b, T>,
}

impl<T: Real> WeightSink<'_, '_, T> {
    /// Adds `aᵀ·b`.
    fn add_product(
        &mut self,
        input: usize,
        a: ArcArray2<T>,
        b: impl FnOnce() -> ArcArray2<T>,
    ) -> Result<()> {
        if !self.sink.wants(input) {
            return Ok(());
        }
        if !self.splits_steps() {
            return self.sink.add_product_over_time(input, 0, a, b());
        }
        // In their places, the vectors of one time stand together, whatever the direction.
        let unpacked = |x: ArcArray2<T>| self.packing.unpack(x.view()).into_shared();
        let steps = self.packing.time_steps();
        self.sink.add_product_over_time(input, steps, unpacked(a), unpacked(b()))
    }

    /// Adds the sum of the rows of `d` to each of these inputs.
    fn add_rows(&mut self, inputs: &[usize], d: ArrayView2<'_, T>) -> Result<()> {
        if self.splits_steps() {
            let (d, steps) = (self.packing.unpack(d), self.packing.time_steps());
            let mut inputs = inputs.iter();
            return inputs.try_for_each(|&i| self.sink.add_rows_over_time(i, steps, d.view()));
        }
        if !inputs.iter().any(|&input| self.sink.wants(input)) {
            return Ok(());
        }
        let sum = d.sum_axis(Axis(0)).into_dyn().into_shared();
        inputs.iter().try_for_each(|&input| self.sink.add(input, sum.clone()))
    }

    /// Whether each step's contribution is kept apart.
    fn splits_steps(&self) -> bool {
        self.sink.is_recording() && !self.one_step
    }
}

/// All elements, row by row, of an array that was made here and so is in standard layout.
fn elements<T>(array: &mut Array2<T>) -> &mut [T] {
    array.as_slice_mut().unwrap_or_default()
}

/// As [`elements`], to read.
fn elements_of<T, S: Data<Elem = T>>(array: &ArrayBase<S, Ix2>) -> &[T] {
    array.as_slice().unwrap_or_default()
}

fn row<T>(elements: &[T], columns: usize, row: usize) -> &[T] {
    &elements[row * columns..(row + 1) * columns]
}

fn row_mut<T>(elements: &mut [T], columns: usize, row: usize) -> &mut [T] {
    &mut elements[row * columns..(row + 1) * columns]
}

/// A matrix; the callers have checked that it is one.
fn matrix<T: Real>(x: &Tensor<T>) -> Result<ArrayView2<'_, T>> {
    x.view()
        .into_dimensionality()
        .map_err(|_| Error::shape("recurrent", x.shape(), "is not a matrix"))
}

/// The same elements, row by row, in another shape; the array is shared when its layout allows it.
fn shaped<T: Real, From: Dimension, To: Dimension>(
    x: ArcArray<T, From>,
    shape: &[usize],
) -> Result<ArcArray<T, To>> {
    let x = reshaped("recurrent", &x.into_dyn(), shape)?;
    x.into_dimensionality().map_err(|_| Error::shape("recurrent", shape, "has other axes"))
}

/// Checks every input's shape against the others.
fn check_shapes<C: Cell, T: Real>(op: &str, inputs: &[Tensor<T>], at: &Positions) -> Result<()> {
    let expected = at.bias_hh + 1;
    if inputs.len() != expected {
        let (op, what, found) = (op.into(), "inputs", inputs.len());
        return Err(Error::Count { op, what, expected, found });
    }
    let (x, h) = (inputs[X].shape(), inputs[H].shape());
    let ([.., batch, columns], [h_batch, hidden]) = (x, h) else {
        return Err(Error::shapes(op, x, h, "are not those of inputs and of a state [B, H]"));
    };
    if batch != h_batch || *hidden == 0 {
        return Err(Error::shapes(op, x, h, "of inputs and state do not fit"));
    }
    let gates = C::GATES * hidden;
    let mut wanted = vec![
        (at.weight_ih, vec![gates, *columns], "are not the same, of weight_ih"),
        (at.weight_hh, vec![gates, *hidden], "are not the same, of weight_hh"),
        (at.bias_ih, vec![gates], "are not the same, of bias_ih"),
        (at.bias_hh, vec![gates], "are not the same, of bias_hh"),
    ];
    wanted.extend(at.cell_state.map(|at| (at, h.to_vec(), "are not the same, of c")));
    for (input, wanted, problem) in wanted {
        if inputs[input].shape() != wanted {
            return Err(Error::shapes(op, &wanted, inputs[input].shape(), problem));
        }
    }
    Ok(())
}
