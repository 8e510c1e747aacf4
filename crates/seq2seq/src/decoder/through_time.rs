//! The decoder over a whole target as one op, and backpropagation through time.

use std::sync::{Arc, OnceLock};

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, s};
use unspool_layers::recurrent::Packing;
use unspool_tensor::op::Forward;
use unspool_tensor::shape::standard;
use unspool_tensor::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

use super::arg_max;
use super::arrays::Arrays;
use super::composed;
use super::parts::Parts;
use super::plan::{Plan, Step};
use super::steps::Steps;
use crate::vocabulary::Token;

const NAME: &str = "decoder";

/// All steps of a decoder with attention, from the first state and the previous tokens to what the
/// output layer reads.
///
/// Its inputs are all [`Parts`]; the output is `[T, B, R]`, with zeros where a target has ended.
/// What a target does not have is not computed: rows stand packed, longest first.
///
/// [`Decoder::unroll_composed`](super::Decoder::unroll_composed) is its twin.
#[derive(Debug)]
pub(crate) struct DecoderOp {
    pub plan: Plan,
    /// The number of each part among the inputs.
    pub at: Parts<usize>,
    /// How many vectors of the memory each sequence has.
    pub lengths: Arc<[usize]>,
    /// The true previous tokens, `[T, B]`.
    pub truth: Array2<Token>,
    /// How many tokens each target has.
    pub target_lengths: Arc<[usize]>,
    /// Where the decoder reads its own prediction instead.
    pub free: Option<Array2<bool>>,
    /// The tokens that were read, packed: what was predicted at first is read in every other run.
    pub read: OnceLock<Vec<Token>>,
}

/// What [`DecoderOp`] keeps for its backward pass.
#[derive(Clone, Debug)]
pub(crate) struct Unrolled<T: Real> {
    packing: Packing,
    parts: Parts<Tensor<T>>,
    arrays: Arrays<T>,
    tokens: Vec<Token>,
}

impl DecoderOp {
    /// The tokens that each step reads, `[T][B]`; padding behind a target's end.
    pub fn tokens(&self) -> Result<Vec<Vec<Token>>> {
        let mut tokens: Vec<Vec<Token>> =
            self.truth.outer_iter().map(|step| step.to_vec()).collect();
        if let Some(read) = self.read.get() {
            let packing = self.packing()?;
            for (&source, &token) in packing.sources().iter().zip(read) {
                tokens[source / packing.batch()][source % packing.batch()] = token;
            }
        }
        Ok(tokens)
    }

    fn packing(&self) -> Result<Packing> {
        let (steps, batch) = self.truth.dim();
        Packing::new(NAME, steps, batch, Some(&self.target_lengths), false)
    }

    /// Runs the steps one by one, and says which tokens they read.
    fn run<T: Real>(
        &self,
        steps: &Steps<'_, T>,
        arrays: &mut Arrays<T>,
        rows: &[Step<'_>],
        packing: &Packing,
    ) -> Vec<Token> {
        let batch = packing.batch();
        let mut tokens: Vec<Token> = (packing.sources().iter())
            .map(|&source| self.truth[[source / batch, source % batch]])
            .collect();
        let Some(free) = &self.free else {
            rows.iter().for_each(|step| steps.forward(arrays, &tokens[step.rows.clone()], step));
            steps.read(arrays, rows);
            return tokens;
        };
        if let Some(read) = self.read.get() {
            tokens.clone_from(read);
        }
        let mut logits = Array2::zeros((batch, steps.vocabulary()));
        let mut next = rows.iter().skip(1);
        for step in rows {
            steps.forward(arrays, &tokens[step.rows.clone()], step);
            steps.read(arrays, std::slice::from_ref(step));
            let (None, Some(next)) = (self.read.get(), next.next()) else { continue };
            // Scores are computed where the next step reads the best of them. The targets that go on
            // are the first.
            let is_free = |row: &usize| free[[next.time, next.sequences[*row]]];
            let predicting: Vec<usize> = (0..next.rows.len()).filter(is_free).collect();
            let mut logits = logits.slice_mut(s![..predicting.len(), ..]);
            let read = arrays.read(&self.plan, step).select(Axis(0), &predicting);
            steps.logits(read.view(), logits.view_mut());
            let predicted = arg_max(logits.view().into_dyn());
            for (row, token) in predicting.into_iter().zip(predicted) {
                tokens[next.rows.start + row] = token;
            }
        }
        self.read.get_or_init(|| tokens.clone());
        tokens
    }
}

/// The steps of a packed batch. `sequences [P]` are the rows of the batch that its rows belong to.
fn steps_of<'a>(packing: &Packing, sequences: &'a [usize]) -> Vec<Step<'a>> {
    (0..packing.time_steps())
        .map(|time| {
            let rows = packing.step(time);
            let (before, after) = (packing.previous(time).start, packing.batch() + rows.start);
            Step { sequences: &sequences[rows.clone()], rows, before, after, time }
        })
        .filter(|step| !step.rows.is_empty())
        .collect()
}

fn sequences(packing: &Packing) -> Vec<usize> {
    packing.sources().iter().map(|source| source % packing.batch()).collect()
}

impl<T: Real> Op<T> for DecoderOp {
    type Saved = Unrolled<T>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let mut parts = self.at.map(|&input| standard(&inputs[input]));
        if let (Some((memory, _)), Some((at, _))) = (&mut parts.attention, &self.at.attention) {
            // Those are read as they lie.
            *memory = at.map(|input| inputs[input].clone());
        }
        let packing = self.packing()?;
        let (batch, vocabulary) = (packing.batch(), parts.embedding.shape()[0]);
        if let Some(token) = self.truth.iter().find(|&&token| token as usize >= vocabulary) {
            let problem = format!("token {token} is not in a table of {vocabulary} rows");
            return Err(Error::invalid(NAME, problem));
        }
        let cells = parts.cells(&self.plan)?;
        let steps = Steps::new(context, &self.plan, &parts, &cells, &self.lengths)?;
        let mut arrays = steps.arrays(batch, packing.len());
        let sorted = |states: &[Tensor<T>]| -> Result<Vec<Array2<T>>> {
            states.iter().map(|x| Ok(packing.sort(state(x, batch)?).into_owned())).collect()
        };
        steps.start(&mut arrays, &sorted(&parts.h)?, &sorted(&parts.c)?);
        let sequences = sequences(&packing);
        let rows = steps_of(&packing, &sequences);
        let tokens = self.run(&steps, &mut arrays, &rows, &packing);
        let read = arrays.take_read(&self.plan, batch);
        let shape = [packing.time_steps(), batch, read.ncols()];
        let read = match packing.is_identity() {
            true => read,
            false => packing.unpack(read.view()).into_shared(),
        };
        let read = read.into_shape_with_order(shape);
        let read = read.map_err(|_| Error::shape(NAME, &shape, "is not that of the output"))?;
        Ok((vec![read.into_dyn()], Unrolled { packing, parts, arrays, tokens }))
    }

    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        Op::<T>::backward_once(self, context, saved.clone(), d_outputs, sink)
    }

    fn backward_once(
        &self,
        context: &Context,
        mut saved: Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let Unrolled { packing, parts, arrays, tokens } = &mut saved;
        let cells = parts.cells(&self.plan)?;
        let steps = Steps::new(context, &self.plan, parts, &cells, &self.lengths)?;
        let d_read = standard(&d_outputs.dense(0));
        let width = d_read.shape().last().copied().unwrap_or(0);
        let shape = (packing.time_steps() * packing.batch(), width);
        let d_read = d_read.view().into_shape_with_order(shape);
        let wrong =
            |_| Error::shape(NAME, &[shape.0, shape.1], "is not the gradient of the output");
        let d_read = d_read.map_err(wrong)?;
        let d_read: CowArray<'_, T, Ix2> = match packing.is_identity() {
            true => d_read.into(),
            false => packing.pack(d_read).into(),
        };
        let sequences = sequences(packing);
        let rows = steps_of(packing, &sequences);
        steps.backward(arrays, packing, &rows, tokens, d_read, sink, &self.at)
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        Ok(Some(vec![composed::unroll(self, inputs)?]))
    }

    fn input_names(&self) -> Vec<String> {
        self.at.names()
    }
}

/// A state `[B, H]`.
fn state<T: Real>(x: &Tensor<T>, batch: usize) -> Result<ArrayView2<'_, T>> {
    let state = x.view().into_dimensionality::<Ix2>().ok().filter(|state| state.nrows() == batch);
    state.ok_or_else(|| Error::shape(NAME, x.shape(), "is not a state [B, H]"))
}
