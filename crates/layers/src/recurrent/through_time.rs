//! Any cell over any number of steps, and backpropagation through time beneath it.
//!
//! What does not depend on the recurrence is one matrix product over all steps: the input's part of
//! the gates, and the gradients of the weights. What does is one product a step.
//!
//! The rows are packed, see [`Packing`]: `P` valid vectors, in one block of rows a step.

use std::marker::PhantomData;
use std::ops::Range;

use ndarray::{
    ArcArray, ArcArray2, Array1, Array2, ArrayBase, ArrayView2, ArrayViewMut2, Data, Dimension,
    Ix2, aview2, s,
};
use rayon::prelude::*;
use unspool_tensor::kernels::cells::CellKernel;
use unspool_tensor::kernels::pointwise::{Fast, Functions, Naive};
use unspool_tensor::kernels::reduce::{add_scaled, sum_rows};
use unspool_tensor::kernels::weights::{
    Side, prepare_weight, product_with_weight, sum_of_products_with_weights,
};
use unspool_tensor::shape::reshaped;
use unspool_tensor::{Context, Error, GradSink, Real, Result, Tensor, vectorised};

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
#[derive(Clone, Debug)]
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
    gates: ArcArray2<T>,
    /// What the cell keeps beside them, `[P, EXTRAS·H]`.
    extras: ArcArray2<T>,
    /// Whether all initial hidden states are zero: then the first step has no product with them.
    starts_at_zero: bool,
    weight_ih: Tensor<T>,
    weight_hh: Tensor<T>,
    context: Context,
}

impl<T: Real> Drop for Unrolled<T> {
    fn drop(&mut self) {
        let Unrolled { x, h, c, gates, extras, .. } = self;
        for array in [x, h, c, gates, extras] {
            self.context.recycle(std::mem::take(array).into_dyn());
        }
    }
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
        let mut states: Array2<T> = context.array((batch + packing.len(), columns));
        if let Some(initial) = initial {
            states.slice_mut(s![..batch, ..]).assign(&packing.sort(initial));
        }
        states
    };
    let starts_at_zero = time_steps > 0 && inputs[H].iter().all(|&h| h == T::zero());
    let mut h = with_initial(Some(matrix(&inputs[H])?));
    let mut c = with_initial(at.cell_state.map(|at| matrix(&inputs[at])).transpose()?);
    let (weight_ih, weight_hh) = (&inputs[at.weight_ih], &inputs[at.weight_hh]);
    let (bias_ih, bias_hh) = (&inputs[at.bias_ih], &inputs[at.bias_hh]);

    let mut gates: Array2<T> = context.array((packing.len(), C::GATES * hidden));
    let bands = bands(context, &packing, gates.len().saturating_mul(hidden));
    // gates = x·W_ihᵀ, over all steps at once, or step by step when the bands are high enough to
    // use the cache well: then the gates stay in it
    let high = bands.len() > 1 && batch >= bands.len() * HIGH_BAND;
    // Or when there is one step: then both products are one.
    let step_by_step = high || time_steps == 1;
    if !step_by_step {
        let gates = gates.view_mut();
        product_with_weight(context, x.view(), weight_ih, Side::Transposed, false, gates);
    }
    // Arrays that the cell does not need have no columns.
    let mut extras: Array2<T> = context.array((packing.len(), C::EXTRAS * hidden));
    let [bias_ih, bias_hh] = [bias_ih, bias_hh].map(|bias| bias.iter().copied().collect());
    let run = Forward {
        hidden,
        packing: &packing,
        input: step_by_step.then_some((x.view(), weight_ih)),
        starts_at_zero,
        weight_hh,
        biases: Biases::new::<C>(bias_ih, bias_hh),
    };
    let (gate_columns, extra_columns, cell_columns) = (gates.ncols(), extras.ncols(), c.ncols());
    let parts = packing.parts(&bands, elements(&mut gates), gate_columns).into_iter();
    let parts = parts.zip(packing.parts(&bands, elements(&mut extras), extra_columns));
    let parts = parts.zip(packing.parts_of_states(&bands, elements(&mut h), hidden));
    let parts = parts.zip(packing.parts_of_states(&bands, elements(&mut c), cell_columns));
    let parts = parts.zip(&bands).map(|((((gates, extras), h), c), band)| ForwardParts {
        first: band.start,
        gates,
        extras,
        h,
        c,
    });
    if step_by_step {
        prepare_weight(context, weight_ih, Side::Transposed);
    }
    prepare_weight(context, weight_hh, Side::Transposed);
    for_each_band(context, parts.collect(), |context, parts| run.band::<C>(context, parts));
    Ok(Unrolled {
        packing,
        x,
        x_shape,
        h: h.into_shared(),
        c: c.into_shared(),
        gates: gates.into_shared(),
        extras: extras.into_shared(),
        starts_at_zero,
        weight_ih: inputs[at.weight_ih].clone(),
        weight_hh: inputs[at.weight_hh].clone(),
        context: context.clone(),
    })
}

/// Backpropagation through time: adds the gradients of all inputs.
///
/// Those of the gates are written over the gates themselves, unless somebody else holds these.
///
/// `d_output [T, B, H]` is the gradient of the output, `d_h` and `d_c` `[B, H]` those of the final
/// states.
pub(super) fn backward<C: Cell, T: Real>(
    context: &Context,
    mut saved: Unrolled<T>,
    d_output: Option<&Tensor<T>>,
    d_h: &Tensor<T>,
    d_c: Option<&Tensor<T>>,
    sink: &mut GradSink<'_, T>,
) -> Result<()> {
    let at = Positions::of::<C>();
    let mut d_gates = std::mem::take(&mut saved.gates).into_owned();
    let saved = &saved;
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
    let gate_columns = C::GATES * hidden;
    let hidden_gate_columns = if C::SUMS_GATES { 0 } else { gate_columns };
    let cell_columns = saved.c.ncols();
    let mut d_hidden_gates: Array2<T> = context.array((packing.len(), hidden_gate_columns));
    let run = Backward {
        saved,
        weight_hh,
        d_output: d_output.as_ref().map(elements_of),
        reaches_start: sink.wants(H),
        columns: [gate_columns, C::EXTRAS * hidden, hidden, cell_columns, hidden_gate_columns],
    };
    let bands = bands(context, packing, d_gates.len().saturating_mul(hidden));
    let parts = packing.parts(&bands, elements(&mut d_gates), gate_columns).into_iter();
    let hidden_parts = packing.parts(&bands, elements(&mut d_hidden_gates), hidden_gate_columns);
    let parts = parts.zip(hidden_parts);
    let parts = parts.zip(Packing::rows_of(&bands, elements(&mut d_h), hidden));
    let parts = parts.zip(Packing::rows_of(&bands, elements(&mut d_c), cell_columns));
    let parts = parts.zip(&bands).map(|((((d_gates, d_hidden_gates), d_h), d_c), band)| {
        BackwardParts { first: band.start, d_gates, d_hidden_gates, d_h, d_c }
    });
    prepare_weight(context, weight_hh, Side::Plain);
    for_each_band(context, parts.collect(), |context, parts| run.band::<C>(context, parts));

    // gates = x·W_ihᵀ + b_ih  ⇒  d_x = d_gates·W_ih
    if sink.wants(X) {
        let mut d_x: Array2<T> = context.array(saved.x.raw_dim());
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
    let mut weights = WeightSink { context, packing, one_step: saved.x_shape.len() == 2, sink };
    weights.add_product(at.weight_ih, d_gates.clone(), || saved.x.clone())?;
    // A first state of zeros adds nothing to it; when recording, that nothing is told as well.
    let from_zero = saved.starts_at_zero && !weights.splits_steps();
    let added = s![if from_zero { packing.step(0).len() } else { 0 }.., ..];
    let d_added = d_hidden_gates.clone().slice_move(added);
    weights.add_product(at.weight_hh, d_added, || {
        let previous = match packing.is_full() {
            true => saved.h.clone().slice_move(s![..packing.len(), ..]),
            false => packing.all_previous(saved.h.view()).into_shared(),
        };
        previous.slice_move(added)
    })?;
    // gates = .. + b_ih and hidden_gates = .. + b_hh  ⇒  d_b_ih = Σ d_gates, d_b_hh = Σ
    // d_hidden_gates, one sum for both when the cell sums its gates
    if C::SUMS_GATES {
        return weights.add_rows(&[at.bias_ih, at.bias_hh], d_gates.view());
    }
    weights.add_rows(&[at.bias_ih], d_gates.view())?;
    weights.add_rows(&[at.bias_hh], d_hidden_gates.view())
}

/// From so many rows of a band on, a product runs as fast for the band alone.
const HIGH_BAND: usize = 24;

/// The bands of rows that threads take through all steps, each without a word to the others. One
/// band has the threads for its products.
fn bands(context: &Context, packing: &Packing, work: usize) -> Vec<Range<usize>> {
    /// Fewer rows would read the weights as often as many do.
    const FEWEST_ROWS: usize = 8;
    let most = packing.batch() / FEWEST_ROWS;
    let shared = packing.time_steps() > 1 && most > 1 && context.parallel(work);
    packing.bands(if shared { context.threads().min(most) } else { 1 })
}

/// Runs `run` for each band: one with all threads, or each of several on one.
fn for_each_band<P: Send>(
    context: &Context,
    mut parts: Vec<P>,
    run: impl Fn(&Context, P) + Send + Sync,
) {
    if parts.len() == 1 {
        return parts.drain(..).for_each(|parts| run(context, parts));
    }
    let one = context.on_one_thread();
    context.install(|| parts.into_par_iter().for_each(|parts| run(&one, parts)));
}

/// What a band of rows writes forwards: of each array a slice for each step, with the rows that
/// still run; of the states, first those before all steps.
struct ForwardParts<'a, T> {
    /// The number of its first row.
    first: usize,
    gates: Vec<&'a mut [T]>,
    extras: Vec<&'a mut [T]>,
    h: Vec<&'a mut [T]>,
    c: Vec<&'a mut [T]>,
}

/// What the bands of a forward pass share.
struct Forward<'a, T: Real> {
    hidden: usize,
    packing: &'a Packing,
    /// x `[P, I]` and weight_ih, when their product is not in the gates already.
    input: Option<(ArrayView2<'a, T>, &'a Tensor<T>)>,
    starts_at_zero: bool,
    weight_hh: &'a Tensor<T>,
    biases: Biases<T>,
}

/// The biases as the cell has them.
#[derive(Clone, Debug)]
pub(super) struct Biases<T> {
    /// `b_ih`, and `+ b_hh` when the cell sums its gates.
    gates: Vec<T>,
    /// `b_hh` when it does not.
    hidden_gates: Vec<T>,
}

impl<T: Real> Biases<T> {
    pub(super) fn new<C: Cell>(mut ih: Vec<T>, hh: Vec<T>) -> Self {
        if !C::SUMS_GATES {
            return Biases { gates: ih, hidden_gates: hh };
        }
        ih.iter_mut().zip(&hh).for_each(|(ih, &hh)| *ih += hh);
        Biases { gates: ih, hidden_gates: Vec::new() }
    }
}

impl<'a, T: Real> Forward<'a, T> {
    /// A band of rows through all steps.
    fn band<C: Cell>(&self, context: &Context, parts: ForwardParts<'_, T>) {
        let ForwardParts { first, gates, extras, mut h, mut c } = parts;
        let hidden = self.hidden;
        let gate_columns = C::GATES * hidden;
        let hidden_columns = self.biases.hidden_gates.len();
        let most = gates.first().map_or(0, |gates| gates.len() / gate_columns);
        let mut hidden_gates = vec![T::zero(); most * hidden_columns];
        for (step, (gates, extras)) in gates.into_iter().zip(extras).enumerate() {
            let rows = gates.len() / gate_columns;
            if rows == 0 {
                // All of the band have ended.
                break;
            }
            let (h_before, h_after) = h.split_at_mut(step + 1);
            let (c_before, c_after) = c.split_at_mut(step + 1);
            let (h, h_next) = (&h_before[step][..rows * hidden], &mut *h_after[0]);
            let (c, c_next) = (&*c_before[step], &mut *c_after[0]);
            let hidden_gates = &mut hidden_gates[..rows * hidden_columns];
            let start = self.packing.step(step).start + first;
            let input = |(x, weight_ih): (ArrayView2<'a, T>, &'a Tensor<T>)| {
                (x.slice_move(s![start..start + rows, ..]), weight_ih)
            };
            let recurrent = (step > 0 || !self.starts_at_zero).then(|| view(h, hidden));
            self.products::<C>(context, self.input.map(input), recurrent, gates, hidden_gates);
            let rows = ForwardRows { gates, hidden_gates, h, c, h_next, c_next, extras };
            match T::cell_kernel(context.kernels(), C::KIND.name()) {
                Some(kernel) => rows.run::<C>(&self.biases, &Registered(kernel)),
                None if context.kernels().has_naive_pointwise() => {
                    forward_rows(&self.biases, Own::<C, Naive>(Naive, PhantomData), rows);
                }
                None => forward_rows(&self.biases, Own::<C, Fast>(Fast, PhantomData), rows),
            }
        }
    }
}

/// Whose pointwise arithmetic it is. (Closures would not be compiled with the loops that call them.)
pub(super) trait RowByRow<T: Real> {
    fn forward(&self, row: ForwardRow<'_, T>);
    fn backward(&self, row: BackwardRow<'_, T>);
}

/// That of the cell.
pub(super) struct Own<C, F>(pub(super) F, pub(super) PhantomData<C>);

impl<C: Cell, F: Functions<T>, T: Real> RowByRow<T> for Own<C, F> {
    #[inline(always)]
    fn forward(&self, row: ForwardRow<'_, T>) {
        C::forward(self.0, row);
    }

    #[inline(always)]
    fn backward(&self, row: BackwardRow<'_, T>) {
        C::backward(row);
    }
}

/// That of a kernel which was registered for it.
pub(super) struct Registered<'a, T: Real>(pub(super) &'a dyn CellKernel<T>);

impl<T: Real> RowByRow<T> for Registered<'_, T> {
    fn forward(&self, row: ForwardRow<'_, T>) {
        self.0.forward(row);
    }

    fn backward(&self, row: BackwardRow<'_, T>) {
        self.0.backward(row);
    }
}

impl<T: Real> Forward<'_, T> {
    /// `gates (+)= x·W_ihᵀ`, unless that is in them already, and `(hidden_)gates (+)= h·W_hhᵀ`, unless
    /// h is zero, for the rows that still run.
    fn products<C: Cell>(
        &self,
        context: &Context,
        input: Option<(ArrayView2<'_, T>, &Tensor<T>)>,
        h: Option<ArrayView2<'_, T>>,
        gates: &mut [T],
        hidden_gates: &mut [T],
    ) {
        let (columns, side) = (C::GATES * self.hidden, Side::Transposed);
        let mut gates = view_mut(gates, columns);
        let recurrent = h.map(|h| (h, self.weight_hh));
        if let (true, Some(input), Some(recurrent)) = (C::SUMS_GATES, input, recurrent) {
            return sum_of_products_with_weights(context, [input, recurrent], side, false, gates);
        }
        if let Some((x, weight_ih)) = input {
            product_with_weight(context, x, weight_ih, side, false, gates.view_mut());
        }
        match recurrent {
            Some((h, weight_hh)) if C::SUMS_GATES => {
                product_with_weight(context, h, weight_hh, side, true, gates);
            }
            Some((h, weight_hh)) => {
                let hidden_gates = view_mut(hidden_gates, columns);
                product_with_weight(context, h, weight_hh, side, false, hidden_gates);
            }
            None => hidden_gates.fill(T::zero()),
        }
    }
}

/// All rows of a step, as a [`ForwardRow`] has one.
pub(super) struct ForwardRows<'a, T> {
    pub gates: &'a mut [T],
    pub hidden_gates: &'a mut [T],
    pub h: &'a [T],
    pub c: &'a [T],
    pub h_next: &'a mut [T],
    pub c_next: &'a mut [T],
    pub extras: &'a mut [T],
}

impl<T: Real> ForwardRows<'_, T> {
    /// Adds the biases, and runs `cell`, row by row.
    #[inline(always)]
    pub(super) fn run<C: Cell>(self, biases: &Biases<T>, cell: &impl RowByRow<T>) {
        let ForwardRows { gates, hidden_gates, h, c, h_next, c_next, extras } = self;
        let hidden = biases.gates.len() / C::GATES;
        let count = h_next.len() / hidden;
        let (gate_columns, extra_columns) = (C::GATES * hidden, C::EXTRAS * hidden);
        let (hidden_columns, cell_columns) =
            (biases.hidden_gates.len(), c_next.len() / count.max(1));
        for k in 0..count {
            let gates = row_mut(gates, gate_columns, k);
            let hidden_gates = row_mut(hidden_gates, hidden_columns, k);
            add_scaled(gates, T::one(), &biases.gates);
            add_scaled(hidden_gates, T::one(), &biases.hidden_gates);
            cell.forward(ForwardRow {
                gates,
                hidden_gates,
                h: row(h, hidden, k),
                c: row(c, cell_columns, k),
                h_next: row_mut(h_next, hidden, k),
                c_next: row_mut(c_next, cell_columns, k),
                extras: row_mut(extras, extra_columns, k),
            });
        }
    }
}

vectorised! {
    /// The pointwise part of a step.
    pub(super) fn forward_rows<C: Cell, F: Functions<T>, T: Real>(
        biases: &Biases<T>,
        cell: Own<C, F>,
        rows: ForwardRows<'_, T>,
    ) {
        rows.run::<C>(biases, &cell);
    }
}

/// What a band of rows writes backwards.
struct BackwardParts<'a, T> {
    /// The number of its first row.
    first: usize,
    /// For each step, the rows that still run. In: the activated gates.
    d_gates: Vec<&'a mut [T]>,
    d_hidden_gates: Vec<&'a mut [T]>,
    d_h: &'a mut [T],
    d_c: &'a mut [T],
}

/// What the bands of a backward pass share.
struct Backward<'a, T: Real> {
    saved: &'a Unrolled<T>,
    weight_hh: &'a Tensor<T>,
    d_output: Option<&'a [T]>,
    /// Whether anyone wants the gradients of the initial states.
    reaches_start: bool,
    /// Of gates, extras, h, c and hidden gates.
    columns: [usize; 5],
}

impl<T: Real> Backward<'_, T> {
    /// A band of rows back through all steps.
    fn band<C: Cell>(&self, context: &Context, parts: BackwardParts<'_, T>) {
        let BackwardParts { first, mut d_gates, mut d_hidden_gates, d_h, d_c } = parts;
        let packing = &self.saved.packing;
        let [gate_columns, _, hidden, ..] = self.columns;
        let mut gates = vec![T::zero(); gate_columns];
        for step in (0..packing.time_steps()).rev() {
            let (d_gates, d_hidden_gates) = (&mut *d_gates[step], &mut *d_hidden_gates[step]);
            let rows = d_gates.len() / gate_columns;
            let (packed, previous) =
                (packing.step(step).start + first, packing.previous(step).start + first);
            let pointwise = BackwardRows {
                saved: self,
                rows: packed..packed + rows,
                previous,
                gates: &mut gates,
                d_gates: &mut *d_gates,
                d_hidden_gates: &mut *d_hidden_gates,
                d_h: &mut *d_h,
                d_c: &mut *d_c,
            };
            match T::cell_kernel(context.kernels(), C::KIND.name()) {
                Some(kernel) => pointwise.run(&Registered(kernel)),
                None => backward_rows(Own::<C, Fast>(Fast, PhantomData), pointwise),
            }
            if step == 0 && !self.reaches_start {
                break;
            }
            // hidden_gates = h·W_hhᵀ + b_hh  ⇒  d_h += d_hidden_gates·W_hh
            let d_sums = if C::SUMS_GATES { d_gates } else { d_hidden_gates };
            let (d_sums, d_h) = (view(d_sums, gate_columns), &mut d_h[..rows * hidden]);
            let d_h = view_mut(d_h, hidden);
            product_with_weight(context, d_sums, self.weight_hh, Side::Plain, true, d_h);
        }
    }
}

/// The rows of a step of a band, backwards.
struct BackwardRows<'a, T: Real> {
    saved: &'a Backward<'a, T>,
    /// Their packed rows, and the first row of the states before them.
    rows: Range<usize>,
    previous: usize,
    /// For the activated gates of a row, while their gradients come to stand where they did.
    gates: &'a mut [T],
    d_gates: &'a mut [T],
    d_hidden_gates: &'a mut [T],
    d_h: &'a mut [T],
    d_c: &'a mut [T],
}

impl<T: Real> BackwardRows<'_, T> {
    /// Runs `cell`, row by row.
    #[inline(always)]
    fn run(self, cell: &impl RowByRow<T>) {
        let BackwardRows { saved, rows, previous, gates, d_gates, d_hidden_gates, d_h, d_c } = self;
        let [gate_columns, extra_columns, hidden, cell_columns, hidden_columns] = saved.columns;
        let Unrolled { packing, extras, h, c, .. } = saved.saved;
        let (extras, h, c) = (elements_of(extras), elements_of(h), elements_of(c));
        for (k, packed) in rows.enumerate() {
            if let Some(d_output) = saved.d_output {
                // output[t, b] = h'  ⇒  d_h' += d_output[t, b]
                let d_output = row(d_output, hidden, packing.sources()[packed]);
                add_scaled(row_mut(d_h, hidden, k), T::one(), d_output);
            }
            let d_gates = row_mut(d_gates, gate_columns, k);
            gates.copy_from_slice(d_gates);
            cell.backward(BackwardRow {
                gates,
                extras: row(extras, extra_columns, packed),
                h: row(h, hidden, previous + k),
                c: row(c, cell_columns, previous + k),
                d_h: row_mut(d_h, hidden, k),
                d_c: row_mut(d_c, cell_columns, k),
                d_gates,
                d_hidden_gates: row_mut(d_hidden_gates, hidden_columns, k),
            });
        }
    }
}

vectorised! {
    /// The pointwise part of a step backwards.
    fn backward_rows<C: Cell, T: Real>(cell: Own<C, Fast>, rows: BackwardRows<'_, T>) {
        rows.run(&cell);
    }
}

/// Adds the gradients of weights out of packed rows.
struct WeightSink<'a, 'b, T: Real> {
    context: &'a Context,
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
        let sum = Array1::from_vec(sum_rows(self.context, d)).into_dyn().into_shared();
        inputs.iter().try_for_each(|&input| self.sink.add(input, sum.clone()))
    }

    /// Whether each step's contribution is kept apart.
    fn splits_steps(&self) -> bool {
        self.sink.is_recording() && !self.one_step
    }
}

/// Whole rows as a matrix.
fn view<T>(rows: &[T], columns: usize) -> ArrayView2<'_, T> {
    let shape = (rows.len() / columns.max(1), columns);
    ArrayView2::from_shape(shape, rows).unwrap_or_else(|_| aview2::<T, 0>(&[]))
}

/// As [`view`], to write to.
fn view_mut<T>(rows: &mut [T], columns: usize) -> ArrayViewMut2<'_, T> {
    let shape = (rows.len() / columns.max(1), columns);
    ArrayViewMut2::from_shape(shape, rows).unwrap_or_else(|_| ArrayViewMut2::from(&mut [[]; 0]))
}

/// All elements, row by row, of an array that was made here and so is in standard layout.
fn elements<T>(array: &mut Array2<T>) -> &mut [T] {
    array.as_slice_mut().unwrap_or_default()
}

/// As [`elements`], to read.
#[inline(always)]
fn elements_of<T, S: Data<Elem = T>>(array: &ArrayBase<S, Ix2>) -> &[T] {
    array.as_slice().unwrap_or_default()
}

#[inline(always)]
fn row<T>(elements: &[T], columns: usize, row: usize) -> &[T] {
    &elements[row * columns..(row + 1) * columns]
}

#[inline(always)]
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
