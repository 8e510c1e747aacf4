//! The composed twins of the fused attentions: the same functions out of primitive ops.

use ndarray::ArrayD;
use unspool_tensor::{Error, Real, Result, Var};

use super::dot::DotAttention;
use super::rows::check_lengths;

const NAME: &str = "attention";

/// [`AdditiveAttention`](super::AdditiveAttention) out of primitive ops; the same inputs and
/// outputs.
///
/// # Errors
/// The shapes or the lengths do not fit.
pub fn additive<'t, T: Real>(
    query: Var<'t, T>,
    keys: Var<'t, T>,
    v: Var<'t, T>,
    values: Var<'t, T>,
    lengths: &[usize],
) -> Result<(Var<'t, T>, Var<'t, T>)> {
    let [batch, source, size] = axes(keys)?;
    let [.., memory] = axes(values)?;
    check_lengths(NAME, lengths, batch, source)?;
    let tape = keys.tape();
    let scores = {
        let _scope = tape.scope("scores");
        let activations = (query.reshape(&[batch, 1, size])? + keys)?.tanh()?;
        (activations * v)?.sum(2)?
    };
    let present = ArrayD::from_shape_fn(vec![batch, source], |at| at[1] < lengths[at[0]]);
    let weights = {
        let _scope = tape.scope("weights");
        scores.masked_softmax(&present, 1)?
    };
    let _scope = tape.scope("context");
    let context = weights.reshape(&[batch, 1, source])?.matmul(values)?;
    Ok((context.reshape(&[batch, memory])?, weights))
}

/// [`DotAttention`] out of primitive ops; the same inputs and outputs.
///
/// # Errors
/// The shapes or the lengths do not fit, or the heads do not divide the sizes.
pub fn dot<'t, T: Real>(
    op: &DotAttention,
    query: Var<'t, T>,
    keys: Var<'t, T>,
    values: Var<'t, T>,
) -> Result<(Var<'t, T>, Var<'t, T>)> {
    let ([batch, queries, size], [_, source, memory]) = (axes(query)?, axes(values)?);
    op.check(batch, source, [size, memory])?;
    let heads = op.heads;
    // [B, L, h·d] → [B·h, L, d]
    let apart = |x: Var<'t, T>, rows: usize, width: usize| -> Result<Var<'t, T>> {
        let width = width / heads;
        let x = x.reshape(&[batch, rows, heads, width])?.permute(&[0, 2, 1, 3])?;
        x.reshape(&[batch * heads, rows, width])
    };
    let tape = keys.tape();
    let scores = {
        let _scope = tape.scope("scores");
        let query = (apart(query, queries, size)? * T::from_f64(op.scale))?;
        let scores = query.matmul_transposed(apart(keys, source, size)?)?;
        scores.reshape(&[batch, heads, queries, source])?
    };
    let seen = ArrayD::from_shape_fn(vec![batch, heads, queries, source], |at| {
        at[3] < op.lengths[at[0]] && (!op.causal || at[3] <= at[2])
    });
    let weights = {
        let _scope = tape.scope("weights");
        scores.masked_softmax(&seen, 3)?
    };
    let _scope = tape.scope("context");
    let contexts = weights
        .reshape(&[batch * heads, queries, source])?
        .matmul(apart(values, source, memory)?)?
        .reshape(&[batch, heads, queries, memory / heads])?
        .permute(&[0, 2, 1, 3])?
        .reshape(&[batch, queries, memory])?;
    Ok((contexts, weights))
}

fn axes<T: Real>(x: Var<'_, T>) -> Result<[usize; 3]> {
    let shape = x.shape();
    (shape[..].try_into()).map_err(|_| Error::shape(NAME, &shape, "has not three axes"))
}
