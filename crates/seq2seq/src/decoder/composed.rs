//! The composed twin of [`DecoderOp`](super::through_time::DecoderOp), made of nothing but the op's
//! own plan and inputs: an op for each part of each step.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD};
use unspool_layers::attention::{AdditiveAttention, DotAttention, Score, StepParts};
use unspool_layers::embedding::EmbeddingOp;
use unspool_layers::linear::linear;
use unspool_layers::recurrent::{CellKind, CellStep, Gru, Lstm, Rnn};
use unspool_tensor::op::DynOp;
use unspool_tensor::{Error, Real, Result, Var};

use super::AtTime;
use super::parts::Parts;
use super::plan::{Mask, Masks, Plan};
use super::through_time::DecoderOp;
use crate::config::{Query, Readout};
use crate::vocabulary::{PAD, Token};

/// What the output layer reads, `[T, B, R]`, from the op's inputs.
///
/// The steps run over the padded batch; what a target does not have is set to zero at the end.
///
/// # Errors
/// Shapes that do not fit.
pub(super) fn unroll<'t, T: Real>(op: &DecoderOp, inputs: &[Var<'t, T>]) -> Result<Var<'t, T>> {
    let missing = || Error::Count {
        op: "decoder".into(),
        what: "inputs",
        expected: op.at.names().len(),
        found: inputs.len(),
    };
    if inputs.len() != op.at.names().len() {
        return Err(missing());
    }
    let twin = Twin { op, plan: &op.plan, parts: op.at.map(|&at| inputs[at]) };
    let tape = twin.parts.embedding.tape();
    let batch = op.truth.ncols();
    let mut state = StepState { h: twin.parts.h.clone(), c: twin.parts.c.clone(), fed: None };
    if op.plan.query == Query::New {
        state.fed = Some(tape.constant(Array2::zeros((batch, op.plan.hidden))));
    }
    let mut read = Vec::with_capacity(op.truth.nrows());
    for (time, tokens) in op.tokens()?.iter().enumerate() {
        let _time = AtTime::new(tape, time);
        read.push(twin.step(&mut state, tokens, time)?);
    }
    let read = Var::stack(&read, 0)?;
    let ended = ArrayD::from_shape_fn(vec![op.truth.nrows(), batch, 1], |at| {
        op.target_lengths.get(at[1]).is_some_and(|&length| at[0] >= length)
    });
    match ended.iter().any(|&ended| ended) {
        true => read.masked_fill(&ended, T::zero()),
        false => Ok(read),
    }
}

struct Twin<'a, 't, T: Real> {
    op: &'a DecoderOp,
    plan: &'a Plan,
    parts: Parts<Var<'t, T>>,
}

/// What goes on from step to step: the states of the layers, and the attentional vector.
struct StepState<'t, T: Real> {
    h: Vec<Var<'t, T>>,
    c: Vec<Var<'t, T>>,
    fed: Option<Var<'t, T>>,
}

impl<'t, T: Real> Twin<'_, 't, T> {
    /// One step, from the previous tokens `[B]` to what the output layer reads, `[B, R]`.
    fn step(
        &self,
        state: &mut StepState<'t, T>,
        tokens: &[Token],
        time: usize,
    ) -> Result<Var<'t, T>> {
        let (tape, top) = (self.parts.embedding.tape(), self.plan.layers - 1);
        let embedded = {
            let _scope = tape.scope("embedding");
            let indices: Array1<usize> = tokens.iter().map(|&token| token as usize).collect();
            let indices = Arc::new(indices.into_dyn());
            let op = EmbeddingOp { indices, padding: Some(PAD as usize) };
            let [x] = tape.apply(op, &[self.parts.embedding])?;
            self.dropped(x, |masks| masks.embedding, time)?
        };
        let mut context = None;
        let mut x = embedded;
        match (self.plan.query, state.fed) {
            (Query::Previous, _) => {
                context = self.attend(state.h[top])?;
                if let Some(context) = context {
                    x = Var::concat(&[embedded, context], 1)?;
                }
            }
            (Query::New, Some(fed)) => {
                let fed = self.dropped(fed, |masks| masks.fed, time)?;
                x = Var::concat(&[embedded, fed], 1)?;
            }
            _ => {}
        }
        for layer in 0..self.plan.layers {
            let _scope = tape.scope(&format!("l{layer}"));
            self.cell(layer, layer, x, state)?;
            x = state.h[layer];
            if layer < top {
                let site =
                    |masks: &Masks| masks.layers.get(layer).copied().unwrap_or(masks.embedding);
                x = self.dropped(x, site, time)?;
            }
        }
        match self.plan.query {
            Query::Previous => {}
            Query::New => {
                context = self.attend(state.h[top])?;
                if let (Some(context), Some(weight)) = (context, self.parts.combine) {
                    let _scope = tape.scope("combine");
                    let both = Var::concat(&[context, state.h[top]], 1)?;
                    let both = self.dropped(both, |masks| masks.attentional, time)?;
                    state.fed = Some(linear(both, weight, self.parts.combine_bias)?.tanh()?);
                }
            }
            Query::Between => {
                context = self.attend(state.h[top])?;
                if let Some(context) = context {
                    let _scope = tape.scope("second");
                    self.cell(self.plan.top(), top, context, state)?;
                }
            }
        }
        let _scope = tape.scope("readout");
        let output = state.fed.unwrap_or(state.h[top]);
        let all = || {
            let parts: Vec<_> =
                [Some(output), context, Some(embedded)].into_iter().flatten().collect();
            Var::concat(&parts, 1)
        };
        let read = match (self.plan.readout, self.parts.readout) {
            (Readout::State, _) => output,
            (Readout::Tanh, Some([weight, bias])) => linear(all()?, weight, Some(bias))?.tanh()?,
            (Readout::Linear | Readout::Tanh, _) => all()?,
        };
        self.dropped(read, |masks| masks.readout, time)
    }

    /// A cell's step, which goes on from the states of a layer and gives that its new ones.
    fn cell(
        &self,
        number: usize,
        layer: usize,
        x: Var<'t, T>,
        state: &mut StepState<'t, T>,
    ) -> Result<()> {
        let op: Arc<dyn DynOp<T>> = match self.plan.cell {
            CellKind::Rnn => Arc::new(CellStep::new(Rnn)),
            CellKind::Lstm => Arc::new(CellStep::new(Lstm)),
            CellKind::Gru => Arc::new(CellStep::new(Gru)),
        };
        let mut inputs = vec![x, state.h[layer]];
        inputs.extend(state.c.get(layer));
        inputs.extend(self.parts.cells[number]);
        let mut next = x.tape().apply_shared(op, &inputs)?.into_iter();
        for (state, next) in [&mut state.h, &mut state.c].into_iter().zip(&mut next) {
            state[layer] = next;
        }
        Ok(())
    }

    /// The context `[B, M]` that a query `[B, H]` finds; `None` without attention.
    fn attend(&self, query: Var<'t, T>) -> Result<Option<Var<'t, T>>> {
        let (Some(([keys, values], parts)), Some(score)) = (&self.parts.attention, self.plan.score)
        else {
            return Ok(None);
        };
        let StepParts { query: weight, query_bias, v, out, out_bias } = *parts;
        let tape = query.tape();
        let _scope = tape.scope("attention");
        let query = match weight {
            Some(weight) => linear(query, weight, query_bias)?,
            None => query,
        };
        let lengths = self.op.lengths.clone();
        let context = match (score, v) {
            (Score::Additive, Some(v)) => {
                let op = AdditiveAttention { lengths };
                let [context, _] = tape.apply(op, &[query, *keys, v, *values])?;
                context
            }
            (Score::Additive, None) => {
                return Err(Error::invalid("decoder", "has an additive score without its v"));
            }
            (Score::Dot { scale, heads }, _) => {
                let op = DotAttention { scale, heads, causal: false, lengths };
                let [batch, size] = query.shape()[..] else { return Ok(None) };
                let query = query.reshape(&[batch, 1, size])?;
                let [context, _] = tape.apply(op, &[query, *keys, *values])?;
                let width = values.shape().last().copied().unwrap_or_default();
                context.reshape(&[batch, width])?
            }
        };
        Ok(Some(match out {
            Some(out) => linear(context, out, out_bias)?,
            None => context,
        }))
    }

    /// x with units dropped as the plan has it at a site.
    fn dropped(
        &self,
        x: Var<'t, T>,
        site: impl Fn(&Masks) -> Mask,
        time: usize,
    ) -> Result<Var<'t, T>> {
        match self.plan.masks.as_ref().map(site) {
            Some((rate, key)) if rate > 0.0 => x.dropout(rate, key, time),
            _ => Ok(x),
        }
    }
}
