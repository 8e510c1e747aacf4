//! A decoder's steps on plain arrays, forwards, and backwards beneath: what training's
//! [`DecoderOp`](super::through_time::DecoderOp) and inference run.
//!
//! Rows of a batch are sorted by length, longest first, and those of all steps stand one behind the
//! other, without padding (see [`Packing`](unspool_layers::recurrent::Packing)): `P` rows in all,
//! `N` at the step at hand. Arrays of states have `B` rows more, those before the first step.

use std::cmp::Ordering;
use std::sync::Arc;

use ndarray::{
    ArcArray2, Array1, Array2, ArrayD, ArrayView2, ArrayViewMut2, Axis, CowArray, Ix2, IxDyn, s,
};
use unspool_layers::attention::{Look, LookGrads};
use unspool_layers::recurrent::rows::{StepBackward, StepForward, Widths};
use unspool_layers::recurrent::{CellRows, Packing};
use unspool_tensor::kernels::pointwise::Pointwise;
use unspool_tensor::kernels::reduce::add;
use unspool_tensor::kernels::weights::{Side, product_with_weight};
use unspool_tensor::{Context, GradSink, Real, Result, Tensor, vectorised};

use super::arrays::{Arrays, CellArrays, release, rows, rows_mut};
use super::parts::Parts;
use super::plan::{Plan, Step};
use super::sums::Sums;
use crate::config::{Query, Readout};
use crate::vocabulary::{PAD, Token};

/// A decoder with its weights and its memory, ready to step.
pub(crate) struct Steps<'a, T: Real> {
    pub(super) context: &'a Context,
    pub(super) plan: &'a Plan,
    pub(super) parts: &'a Parts<Tensor<T>>,
    pub(super) cells: &'a [CellRows<T>],
    look: Option<Look<'a, T>>,
}

impl<'a, T: Real> Steps<'a, T> {
    /// Made of `parts` and their `cells`, with so many vectors of memory for each sequence.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn new(
        context: &'a Context,
        plan: &'a Plan,
        parts: &'a Parts<Tensor<T>>,
        cells: &'a [CellRows<T>],
        lengths: &Arc<[usize]>,
    ) -> Result<Self> {
        let look = match (&parts.attention, plan.score) {
            (Some(([keys, values], step)), Some(score)) => {
                let v = step.v.as_ref();
                Some(Look::new(context, score, keys, values, v, lengths.clone())?)
            }
            _ => None,
        };
        Ok(Steps { context, plan, parts, cells, look })
    }

    /// One step forward, from the previous tokens `[N]`, all below V, to the state after it.
    pub fn forward(&self, arrays: &mut Arrays<T>, tokens: &[Token], step: &Step<'_>) {
        let Plan { embedding, query, layers, .. } = *self.plan;
        let (n, top, now) = (step.rows.len(), self.plan.top(), step.rows.clone());
        // x = [dropout(E[token]); ..]
        let table = self.parts.embedding.as_slice().unwrap_or_default();
        let kernel = T::row_kernel(self.context.kernels());
        for (row, &token) in step.rows.clone().zip(tokens) {
            let x = &mut rows_mut(&mut arrays.x, row..row + 1)[..embedding];
            kernel.gather(table, embedding, &[token as usize], x);
        }
        let embedded = arrays.x.slice_mut(s![now.clone(), ..embedding]);
        self.plan.drop(|masks| masks.embedding, embedded, step);
        match query {
            // x = [..; attention(h)]
            Query::Previous => self.attend(arrays, step, top, step.before),
            Query::New => {
                // x = [..; dropout(fed)]
                let Arrays { x, fed, .. } = arrays;
                let mut beside = x.slice_mut(s![now.clone(), embedding..]);
                beside.assign(&fed.slice(s![step.before..step.before + n, ..]));
                self.plan.drop(|masks| masks.fed, beside, step);
            }
            Query::Between => {}
        }
        for layer in 0..layers {
            let from = if layer + 1 == layers { top } else { layer };
            self.cell_forward(arrays, step, layer, (from, step.before));
            if let (Some(dropped), true) = (arrays.dropped.get_mut(layer), layer + 1 < layers) {
                // x of the layer above = dropout(h')
                let h = rows(&arrays.cells[layer].h, step.after..step.after + n);
                rows_mut(dropped, now.clone()).copy_from_slice(h);
                let dropped = dropped.slice_mut(s![now.clone(), ..]);
                self.plan.drop(|masks| masks.layers[layer], dropped, step);
            }
        }
        match query {
            Query::Previous => {}
            Query::New => {
                // fed' = tanh(W·dropout([attention(h'); h']) + b)
                self.attend(arrays, step, top, step.after);
                let Arrays { context, combined, fed, cells, .. } = arrays;
                let (memory, after) = (self.plan.memory, step.after..step.after + n);
                let mut combined = combined.slice_mut(s![now.clone(), ..]);
                combined.slice_mut(s![.., ..memory]).assign(&context.slice(s![now, ..]));
                let h = cells[top].h.slice(s![after.clone(), ..]);
                combined.slice_mut(s![.., memory..]).assign(&h);
                self.plan.drop(|masks| masks.attentional, combined.view_mut(), step);
                if let Some(weight) = &self.parts.combine {
                    let combined = combined.view();
                    let (bias, to) = (&self.parts.combine_bias, s![after.clone(), ..]);
                    self.linear(combined, weight, bias.as_ref(), fed.slice_mut(to));
                    (self.pointwise().tanh)(rows_mut(fed, after));
                }
            }
            Query::Between => {
                // (h', c') = second(attention(h), (h, c))
                self.attend(arrays, step, layers - 1, step.after);
                self.cell_forward(arrays, step, top, (layers - 1, step.after));
            }
        }
    }

    /// What the output layer reads of these steps, all of whose rows stand one behind the other.
    pub fn read(&self, arrays: &mut Arrays<T>, steps: &[Step<'_>]) {
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
        if self.plan.reads_output() {
            return;
        }
        let Plan { hidden, memory, readout, .. } = *self.plan;
        let now = first.rows.start..last.rows.end;
        let after = first.after..first.after + now.len();
        let output = arrays.output(self.plan).clone();
        let output = output.slice(s![after, ..]);
        let Arrays { x, context, features, activated, read, .. } = arrays;
        if readout == Readout::State {
            read.slice_mut(s![now.clone(), ..]).assign(&output);
        } else {
            // features = [state; context; embedding]
            let mut features = features.slice_mut(s![now.clone(), ..]);
            features.slice_mut(s![.., ..hidden]).assign(&output);
            let context = self.plan.contexts(x, context, now.clone());
            features.slice_mut(s![.., hidden..hidden + memory]).assign(&context);
            let embedded = x.slice(s![now.clone(), ..self.plan.embedding]);
            features.slice_mut(s![.., hidden + memory..]).assign(&embedded);
            if let (Readout::Tanh, Some([weight, bias])) = (readout, &self.parts.readout) {
                // read = tanh(W·features + b)
                let activated_rows = activated.slice_mut(s![now.clone(), ..]);
                self.linear(features.view(), weight, Some(bias), activated_rows);
                (self.pointwise().tanh)(rows_mut(activated, now.clone()));
                let activated = activated.slice(s![now.clone(), ..]);
                read.slice_mut(s![now.clone(), ..]).assign(&activated);
            } else {
                read.slice_mut(s![now.clone(), ..]).assign(&features);
            }
        }
        for step in steps {
            let read = read.slice_mut(s![step.rows.clone(), ..]);
            self.plan.drop(|masks| masks.readout, read, step);
        }
    }

    /// V, how many tokens there are.
    pub fn vocabulary(&self) -> usize {
        self.parts.output.shape()[0]
    }

    /// The scores `[N, V]` of the next tokens, from what the output layer reads, `[N, R]`.
    pub fn logits(&self, read: ArrayView2<'_, T>, out: ArrayViewMut2<'_, T>) {
        self.linear(read, &self.parts.output, self.parts.output_bias.as_ref(), out);
    }

    /// Attention of a step, asked by the hidden states of a cell from row `first` on.
    fn attend(&self, arrays: &mut Arrays<T>, step: &Step<'_>, cell: usize, first: usize) {
        let (Some(look), Some((_, parts))) = (&self.look, &self.parts.attention) else { return };
        let Arrays { x, cells, query, weights, looked, context, scratch, .. } = arrays;
        let asking = cells[cell].h.slice(s![first..first + step.rows.len(), ..]);
        if let Some(weight) = &parts.query {
            // q = W·h + b
            let query = query.slice_mut(s![step.rows.clone(), ..]);
            self.linear(asking, weight, parts.query_bias.as_ref(), query);
        }
        let mut context = self.plan.contexts_mut(x, context, step.rows.clone());
        let mut target = match parts.out {
            Some(_) => looked.slice_mut(s![step.rows.clone(), ..]),
            None => context.view_mut(),
        };
        for (k, (row, mut target)) in step.rows.clone().zip(target.outer_iter_mut()).enumerate() {
            let q = match parts.query {
                Some(_) => rows(query, row..row + 1),
                None => rows(&cells[cell].h, first + k..first + k + 1),
            };
            let weights = rows_mut(weights, row..row + 1);
            let target = target.as_slice_mut().unwrap_or_default();
            look.forward(step.sequences[k], q, weights, target, scratch);
        }
        if let Some(weight) = &parts.out {
            // context = W·looked + b
            let looked = looked.slice(s![step.rows.clone(), ..]);
            self.linear(looked, weight, parts.out_bias.as_ref(), context);
        }
    }

    /// A cell's step, from the states of a cell from a row on.
    fn cell_forward(
        &self,
        arrays: &mut Arrays<T>,
        step: &Step<'_>,
        number: usize,
        (from, first): (usize, usize),
    ) {
        let n = step.rows.len();
        let Arrays { x, dropped, context, cells, hidden_gates, .. } = arrays;
        let (below, rest) = cells.split_at_mut(number);
        let Some((own, above)) = rest.split_first_mut() else { return };
        let CellArrays { h, c, gates, extras } = own;
        let (h_before, h_after) = h.view_mut().split_at(Axis(0), step.after);
        let (c_before, c_after) = c.view_mut().split_at(Axis(0), step.after);
        let before = s![first..first + n, ..];
        let (h, c) = match from.cmp(&number) {
            Ordering::Less => (below[from].h.slice(before), below[from].c.slice(before)),
            Ordering::Equal => (h_before.slice(before), c_before.slice(before)),
            Ordering::Greater => {
                let from = &above[from - number - 1];
                (from.h.slice(before), from.c.slice(before))
            }
        };
        let Widths { c: c_width, hidden_gates: width, .. } = self.cells[number].widths();
        self.cells[number].forward(
            self.context,
            StepForward {
                x: self.cell_input(x, dropped, context, below, step),
                h,
                c,
                h_next: &mut h_after.into_slice().unwrap_or_default()[..n * self.plan.hidden],
                c_next: &mut c_after.into_slice().unwrap_or_default()[..n * c_width],
                gates: rows_mut(gates, step.rows.clone()),
                extras: rows_mut(extras, step.rows.clone()),
                hidden_gates: &mut hidden_gates[..n * width],
            },
        );
    }

    /// What the cell above those `below` reads at a step.
    fn cell_input<'b>(
        &self,
        x: &'b Array2<T>,
        dropped: &'b [Array2<T>],
        context: &'b Array2<T>,
        below: &'b [CellArrays<T>],
        step: &Step<'_>,
    ) -> ArrayView2<'b, T> {
        let rows = s![step.rows.clone(), ..];
        match below.split_last() {
            None => x.slice(rows),
            Some(_) if below.len() == self.plan.layers => context.slice(rows),
            Some((last, others)) => match dropped.get(others.len()) {
                Some(dropped) => dropped.slice(rows),
                None => last.h.slice(s![step.after..step.after + step.rows.len(), ..]),
            },
        }
    }

    /// `y = x·Wᵀ + b`.
    fn linear(
        &self,
        x: ArrayView2<'_, T>,
        weight: &Tensor<T>,
        bias: Option<&Tensor<T>>,
        mut y: ArrayViewMut2<'_, T>,
    ) {
        if let Some(bias) = bias {
            y.assign(bias);
        }
        product_with_weight(self.context, x, weight, Side::Transposed, bias.is_some(), y);
    }

    fn pointwise(&self) -> Pointwise<T> {
        self.context.kernels().pointwise()
    }
}

/// The gradients that a backward pass through the steps carries and collects.
struct Gradients<T> {
    /// Of what the first cell reads at the step at hand, `[B, E + ..]`, and of the embeddings among
    /// it, `[P, E]`.
    x: Array2<T>,
    embedded: Array2<T>,
    /// Of the hidden state's part of each cell's gates, `[P, G·H]`, where that is kept apart. Those of
    /// the gates come to stand where the gates did.
    hidden_gates: Vec<Array2<T>>,
    /// Of a row of gates.
    scratch: Vec<T>,
    /// Of each layer's states after the step at hand, `[B, H]`. A row that has ended has zeros.
    h: Vec<Array2<T>>,
    c: Vec<Array2<T>>,
    /// Of the attentional vectors' sums, `[P, H]`, and of the vector that is read next, `[B, H]`.
    combined: Array2<T>,
    fed: Array2<T>,
    /// Of what all heads saw, `[P, D]`; of the contexts, `[P, M]`, when they are more than what the
    /// first cell reads. Those of the projected queries come to stand where the queries did.
    looked: Array2<T>,
    context: Array2<T>,
    keys: ArrayD<T>,
    values: ArrayD<T>,
    /// A part of that of `v` for each sequence, `[B, A]`.
    v: Vec<T>,
    /// Of what a cell that is not the first reads at the step at hand, `[B, H]`.
    below: Array2<T>,
}

impl<T: Real> Steps<'_, T> {
    /// Backpropagation through all steps: adds the gradients of all parts, whose numbers among the
    /// op's inputs are `at`, given that of what the output layer reads, `[P, R]`. `tokens [P]` are
    /// those that were read. Afterwards, the gradients of the queries stand in the arrays.
    pub fn backward(
        &self,
        arrays: &mut Arrays<T>,
        packing: &Packing,
        steps: &[Step<'_>],
        tokens: &[Token],
        d_read: CowArray<'_, T, Ix2>,
        sink: &mut GradSink<'_, T>,
        at: &Parts<usize>,
    ) -> Result<()> {
        let (d_read, d_features) = self.read_backward(arrays, steps, d_read);
        let d_features = d_features.as_ref().map_or(d_read.view(), |d| d.view());
        let mut d = self.no_gradients(packing);
        for step in steps.iter().rev() {
            self.step_backward(arrays, d_features, &mut d, step);
        }
        for CellArrays { c, extras, .. } in &mut arrays.cells {
            // Their last readers have run.
            [c, extras].into_iter().for_each(|array| release(self.context, array));
        }
        self.memory_backward(&mut d, packing, sink, at)?;
        for (inputs, d_states) in [(&at.h, &mut d.h), (&at.c, &mut d.c)] {
            for (&input, d_state) in inputs.iter().zip(d_states.drain(..)) {
                sink.add(input, packing.unsort(d_state).into_dyn())?;
            }
        }

        // Of each weight, one product over all steps.
        let mut sums = Sums { context: self.context, steps, sink };
        let after = s![packing.batch().., ..];
        let (last, top) = (self.plan.layers - 1, self.plan.top());
        // gates = x·W_ihᵀ + b_ih, hidden_gates = h·W_hhᵀ + b_hh
        for (number, &[weight_ih, weight_hh, bias_ih, bias_hh]) in at.cells.iter().enumerate() {
            let mut d_gates = std::mem::take(&mut arrays.cells[number].gates);
            let d_hidden_gates = match self.cells[number].widths().hidden_gates {
                0 => d_gates.view(),
                _ => d.hidden_gates[number].view(),
            };
            let h = match number {
                _ if number > last => arrays.cells[last].h.slice(after).into(),
                _ if number == last => before_steps(&arrays.cells[top].h, packing),
                _ => before_steps(&arrays.cells[number].h, packing),
            };
            let whole = Step { rows: 0..packing.len(), after: packing.batch(), ..Step::default() };
            let Arrays { x, dropped, context, cells, .. } = &*arrays;
            let read = self.cell_input(x, dropped, context, &cells[..number], &whole);
            sums.product(weight_ih, d_gates.view(), read)?;
            sums.product(weight_hh, d_hidden_gates, h.view())?;
            sums.rows(&[bias_ih], d_gates.view())?;
            sums.rows(&[bias_hh], d_hidden_gates)?;
            // The next weights' gradients have the memory.
            release(self.context, &mut d.hidden_gates[number]);
            release(self.context, &mut d_gates);
        }
        if let Some((_, parts)) = &at.attention {
            // q = W·h + b
            if let Some(weight) = parts.query {
                let asking = match self.plan.query {
                    Query::Previous => before_steps(&arrays.cells[top].h, packing),
                    Query::New | Query::Between => arrays.cells[last].h.slice(after).into(),
                };
                sums.product(weight, arrays.query.view(), asking.view())?;
                sums.rows(parts.query_bias.as_slice(), arrays.query.view())?;
            }
            // context = W·looked + b
            if let Some(weight) = parts.out {
                sums.product(weight, d.context.view(), arrays.looked.view())?;
                sums.rows(parts.out_bias.as_slice(), d.context.view())?;
            }
        }
        // fed = tanh(W·combined + b)
        if let Some(combine) = at.combine {
            sums.product(combine, d.combined.view(), arrays.combined.view())?;
            sums.rows(at.combine_bias.as_slice(), d.combined.view())?;
        }
        // read = tanh(W·features + b), d_read being the gradient of the sum by now
        if let (Readout::Tanh, Some([weight, bias])) = (self.plan.readout, at.readout) {
            sums.product(weight, d_read.view(), arrays.features.view())?;
            sums.rows(&[bias], d_read.view())?;
        }
        self.embedding_backward(&mut d, d_features, tokens, &mut sums, at.embedding)?;
        let Gradients { x, embedded, combined, looked, context, .. } = &mut d;
        for array in [x, embedded, combined, looked, context] {
            release(self.context, array);
        }
        Ok(())
    }

    /// read = dropout(features)  ⇒  the gradient of the features; or, with a readout layer, that of its
    /// sums, and the gradient of the features beside it.
    fn read_backward<'d>(
        &self,
        arrays: &Arrays<T>,
        steps: &[Step<'_>],
        d_read: CowArray<'d, T, Ix2>,
    ) -> (CowArray<'d, T, Ix2>, Option<Array2<T>>) {
        if self.plan.reads_output() {
            return (d_read, None);
        }
        let mut d_read = d_read.into_owned();
        for step in steps {
            let d_read = d_read.slice_mut(s![step.rows.clone(), ..]);
            self.plan.drop(|masks| masks.readout, d_read, step);
        }
        let (Readout::Tanh, Some([weight, _])) = (self.plan.readout, &self.parts.readout) else {
            return (d_read.into(), None);
        };
        // read = tanh(W·features + b)  ⇒  d_sum = d_read·(1 - read²), d_features = d_sum·W
        let all = d_read.nrows();
        through_tanh(rows_mut(&mut d_read, 0..all), rows(&arrays.activated, 0..all));
        let mut d_features: Array2<T> = self.context.array((all, self.plan.features()));
        let (side, to) = (Side::Plain, d_features.view_mut());
        product_with_weight(self.context, d_read.view(), weight, side, false, to);
        (d_read.into(), Some(d_features))
    }

    /// The gradients of keys, values and v, which all steps have added to.
    fn memory_backward(
        &self,
        d: &mut Gradients<T>,
        packing: &Packing,
        sink: &mut GradSink<'_, T>,
        at: &Parts<usize>,
    ) -> Result<()> {
        let Some((inputs, parts)) = &at.attention else { return Ok(()) };
        for (&input, d) in inputs.iter().zip([&mut d.keys, &mut d.values]) {
            sink.add(input, std::mem::take(d))?;
        }
        let Some(v) = parts.v else { return Ok(()) };
        let mut d_v = vec![T::zero(); d.v.len() / packing.batch().max(1)];
        for of_sequence in d.v.chunks_exact(d_v.len().max(1)) {
            add(&mut d_v, of_sequence);
        }
        sink.add(v, Array1::from_vec(d_v).into_dyn())
    }

    /// One step backward.
    fn step_backward(
        &self,
        arrays: &mut Arrays<T>,
        d_features: ArrayView2<'_, T>,
        d: &mut Gradients<T>,
        step: &Step<'_>,
    ) {
        let Plan { embedding, hidden, memory, query, layers, .. } = *self.plan;
        let (n, now, last, top) = (step.rows.len(), step.rows.clone(), layers - 1, self.plan.top());
        let after = step.after..step.after + n;
        let d_features = d_features.slice(s![now.clone(), ..]);
        // features = [output; context; ..], or the output alone
        let d_output = d_features.slice(s![.., ..hidden]);
        let output = if query == Query::New { &mut d.fed } else { &mut d.h[last] };
        add_rows(output.slice_mut(s![..n, ..]), d_output);
        let d_seen = (d_features.ncols() > hidden)
            .then(|| d_features.slice_move(s![.., hidden..hidden + memory]));
        // Of a context that the first cell reads, what came through it is there first.
        let mut d_context = d.context.slice_mut(s![now.clone(), ..]);
        match d_seen.filter(|_| query != Query::Previous) {
            Some(d_seen) => d_context.assign(&d_seen),
            None => d_context.fill(T::zero()),
        }
        match query {
            Query::Previous => {}
            Query::New => {
                // fed' = tanh(W·dropout([context; h']) + b)
                rows_mut(&mut d.combined, now.clone()).copy_from_slice(rows(&d.fed, 0..n));
                let d_sum = rows_mut(&mut d.combined, now.clone());
                through_tanh(d_sum, rows(&arrays.fed, after.clone()));
                if let Some(weight) = &self.parts.combine {
                    let mut d_both: Array2<T> = self.context.array((n, memory + hidden));
                    let (d_sum, to) = (d.combined.slice(s![now.clone(), ..]), d_both.view_mut());
                    product_with_weight(self.context, d_sum, weight, Side::Plain, false, to);
                    self.plan.drop(|masks| masks.attentional, d_both.view_mut(), step);
                    add_rows(d_context, d_both.slice(s![.., ..memory]));
                    add_rows(d.h[last].slice_mut(s![..n, ..]), d_both.slice(s![.., memory..]));
                    release(self.context, &mut d_both);
                }
                self.attend_backward(arrays, d, step, top, step.after);
            }
            Query::Between => {
                // (h', c') = second(context, (h, c))
                self.cell_backward(arrays, d, step, top, (last, step.after), last);
                let mut d_x: Array2<T> = self.context.array((n, memory));
                self.input_backward(arrays, step, top, d_x.view_mut());
                add_rows(d.context.slice_mut(s![now.clone(), ..]), d_x.view());
                release(self.context, &mut d_x);
                self.attend_backward(arrays, d, step, last, step.after);
            }
        }
        for layer in (0..layers).rev() {
            let from = if layer == last { top } else { layer };
            self.cell_backward(arrays, d, step, layer, (from, step.before), layer);
            if layer == 0 {
                self.input_backward(arrays, step, 0, d.x.slice_mut(s![..n, ..]));
                continue;
            }
            // x = dropout(h') of the layer below
            let mut d_x = d.below.slice_mut(s![..n, ..]);
            self.input_backward(arrays, step, layer, d_x.view_mut());
            self.plan.drop(|masks| masks.layers[layer - 1], d_x.view_mut(), step);
            add_rows(d.h[layer - 1].slice_mut(s![..n, ..]), d_x.view());
        }
        // x = [E[token]; context] or [E[token]; dropout(fed)]
        d.embedded.slice_mut(s![now.clone(), ..]).assign(&d.x.slice(s![..n, ..embedding]));
        let mut d_beside = d.x.slice_mut(s![..n, embedding..]);
        match query {
            Query::Previous => {
                d_seen.into_iter().for_each(|d_seen| add_rows(d_beside.view_mut(), d_seen));
                if d.context.ncols() > 0 {
                    d.context.slice_mut(s![now, ..]).assign(&d_beside);
                }
                self.attend_backward(arrays, d, step, top, step.before);
            }
            Query::New => {
                self.plan.drop(|masks| masks.fed, d_beside.view_mut(), step);
                d.fed.slice_mut(s![..n, ..]).assign(&d_beside);
            }
            Query::Between => {}
        }
    }

    /// A cell's step backward: the gradients of a layer's states go from those after to those before,
    /// which are a cell's from a row on.
    fn cell_backward(
        &self,
        arrays: &mut Arrays<T>,
        d: &mut Gradients<T>,
        step: &Step<'_>,
        number: usize,
        (from, first): (usize, usize),
        layer: usize,
    ) {
        let n = step.rows.len();
        let before = s![first..first + n, ..];
        let mut gates = std::mem::take(&mut arrays.cells[number].gates);
        self.cells[number].backward(
            self.context,
            StepBackward {
                h: arrays.cells[from].h.slice(before),
                c: arrays.cells[from].c.slice(before),
                gates: rows_mut(&mut gates, step.rows.clone()),
                extras: rows(&arrays.cells[number].extras, step.rows.clone()),
                d_h: rows_mut(&mut d.h[layer], 0..n),
                d_c: d.c.get_mut(layer).map(|d_c| rows_mut(d_c, 0..n)).unwrap_or_default(),
                d_hidden_gates: rows_mut(&mut d.hidden_gates[number], step.rows.clone()),
                scratch: &mut d.scratch,
            },
        );
        arrays.cells[number].gates = gates;
    }

    /// gates = x·W_ihᵀ + b_ih  ⇒  d_x = d_gates·W_ih
    fn input_backward(
        &self,
        arrays: &Arrays<T>,
        step: &Step<'_>,
        number: usize,
        d_x: ArrayViewMut2<'_, T>,
    ) {
        let d_gates = arrays.cells[number].gates.slice(s![step.rows.clone(), ..]);
        let weight = self.cells[number].weight_ih();
        product_with_weight(self.context, d_gates, weight, Side::Plain, false, d_x);
    }

    /// Attention of a step backward, which the hidden states of a cell from row `first` on asked.
    fn attend_backward(
        &self,
        arrays: &mut Arrays<T>,
        d: &mut Gradients<T>,
        step: &Step<'_>,
        cell: usize,
        first: usize,
    ) {
        let (Some(look), Some(([keys, values], parts))) = (&self.look, &self.parts.attention)
        else {
            return;
        };
        let now = s![step.rows.clone(), ..];
        let d_context = match d.context.ncols() {
            0 => d.x.slice(s![..step.rows.len(), self.plan.embedding..]),
            _ => d.context.slice(now),
        };
        if let Some(weight) = &parts.out {
            // context = W·looked + b  ⇒  d_looked = d_context·W
            let to = d.looked.slice_mut(now);
            product_with_weight(self.context, d_context, weight, Side::Plain, false, to);
        }
        let d_looked = match parts.out {
            Some(_) => d.looked.slice(now),
            None => d_context,
        };
        let [d_keys, d_values] = [keys, values].map(|x| x.len() / x.shape()[0].max(1));
        let d_top = &mut d.h[self.plan.layers - 1];
        let [d_all_keys, d_all_values] =
            [&mut d.keys, &mut d.values].map(|d| d.as_slice_mut().unwrap_or_default());
        let (mut asked, mut scratch) = (Vec::new(), Vec::new());
        for (k, row) in step.rows.clone().enumerate() {
            let b = step.sequences[k];
            let asking = rows(&arrays.cells[cell].h, first + k..first + k + 1);
            let (q, d_q) = match parts.query {
                Some(_) => {
                    let d_q = rows_mut(&mut arrays.query, row..row + 1);
                    asked.clear();
                    asked.extend_from_slice(d_q);
                    d_q.fill(T::zero());
                    (&asked[..], d_q)
                }
                None => (asking, rows_mut(d_top, k..k + 1)),
            };
            let v = if d.v.is_empty() { 0 } else { q.len() };
            let d = LookGrads {
                query: d_q,
                keys: &mut d_all_keys[b * d_keys..][..d_keys],
                values: &mut d_all_values[b * d_values..][..d_values],
                v: &mut d.v[b * v..][..v],
            };
            let weights = rows(&arrays.weights, row..row + 1);
            let d_looked = d_looked.row(k).to_slice().unwrap_or_default();
            look.backward(b, q, weights, d_looked, d, &mut scratch);
        }
        if let Some(weight) = &parts.query {
            // q = W·h + b  ⇒  d_h += d_q·W
            let to = d_top.slice_mut(s![..step.rows.len(), ..]);
            product_with_weight(
                self.context,
                arrays.query.slice(now),
                weight,
                Side::Plain,
                true,
                to,
            );
        }
    }

    /// x = [dropout(E[token]); ..]  ⇒  d_E[token] += what came through x, and through the features.
    fn embedding_backward(
        &self,
        d: &mut Gradients<T>,
        d_features: ArrayView2<'_, T>,
        tokens: &[Token],
        sums: &mut Sums<'_, '_, '_, T>,
        input: usize,
    ) -> Result<()> {
        let Plan { hidden, memory, .. } = *self.plan;
        if d_features.ncols() > hidden {
            let d_embedded = d_features.slice(s![.., hidden + memory..]);
            add_rows(d.embedded.view_mut(), d_embedded);
        }
        for step in sums.steps {
            let mut d_embedded = d.embedded.slice_mut(s![step.rows.clone(), ..]);
            self.plan.drop(|masks| masks.embedding, d_embedded.view_mut(), step);
            let d_embedded: Vec<T> = d_embedded.iter().copied().collect();
            let tokens = tokens[step.rows.clone()].iter().map(|&token| token as usize);
            sums.sink.at_time(step.time);
            sums.sink.add_rows(input, tokens, Some(PAD as usize), &d_embedded)?;
        }
        Ok(())
    }

    fn no_gradients(&self, packing: &Packing) -> Gradients<T> {
        let (batch, all) = (packing.batch(), packing.len());
        let Plan { hidden, memory, layers, query, .. } = *self.plan;
        let array = |columns: usize| self.context.array((all, columns));
        let states = |count: usize| vec![Array2::zeros((batch, hidden)); count];
        let widths = Widths::new(self.plan.cell, hidden);
        let cells = self.cells.len();
        let attention = self.parts.attention.as_ref();
        let step = attention.map(|(_, step)| step);
        let width_of = |part: Option<&Tensor<T>>, axis: usize| part.map_or(0, |w| w.shape()[axis]);
        let out = step.and_then(|step| step.out.as_ref());
        let fed = if query == Query::New { hidden } else { 0 };
        let [keys, values] = match attention {
            Some((memory, _)) => memory.each_ref().map(|x| {
                let mut d: ArrayD<T> = self.context.array(x.raw_dim());
                d.fill(T::zero());
                d
            }),
            None => [(); 2].map(|()| ArrayD::zeros(IxDyn(&[0]))),
        };
        Gradients {
            x: self.context.array((batch, self.plan.input())),
            embedded: array(self.plan.embedding),
            scratch: vec![T::zero(); widths.gates],
            hidden_gates: (0..cells).map(|_| array(widths.hidden_gates)).collect(),
            h: states(layers),
            c: states(if widths.c > 0 { layers } else { 0 }),
            combined: array(fed),
            fed: Array2::zeros((batch, fed)),
            looked: array(width_of(out, 1)),
            context: array(if query == Query::Previous && out.is_none() { 0 } else { memory }),
            below: self.context.array((batch, hidden)),
            keys,
            values,
            v: vec![T::zero(); batch * width_of(step.and_then(|step| step.v.as_ref()), 0)],
        }
    }
}

/// The states before all steps `[P, H]`, out of `[B + P, H]`.
fn before_steps<'a, T: Real>(states: &'a ArcArray2<T>, packing: &Packing) -> CowArray<'a, T, Ix2> {
    match packing.is_full() {
        true => states.slice(s![..packing.len(), ..]).into(),
        false => packing.all_previous(states.view()).into(),
    }
}

vectorised! {
    /// y = tanh(x)  ⇒  `d ← d·(1 - y²)`
    fn through_tanh<T: Real>(d: &mut [T], y: &[T]) {
        d.iter_mut().zip(y).for_each(|(d, &y)| *d *= T::one() - y * y);
    }
}

/// `to += d`, row by row, whose numbers stand side by side.
fn add_rows<T: Real>(mut to: ArrayViewMut2<'_, T>, d: ArrayView2<'_, T>) {
    for (mut to, d) in to.outer_iter_mut().zip(d.outer_iter()) {
        if let (Some(to), Some(d)) = (to.as_slice_mut(), d.as_slice()) {
            add(to, d);
        }
    }
}
