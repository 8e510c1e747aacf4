//! The lessons of attention.

use std::sync::Arc;

use unspool_layers::attention::{AdditiveAttention, DotAttention};
use unspool_layers::linear::linear;

use super::{Lesson, array, drawn, half_squared_error, input, parameter, tape, told};
use crate::{Recorder, Result, Trace};

/// Source positions, and the lengths of scored and of weighed vectors.
const SOURCE: usize = 3;
const SIZE: usize = 2;

pub(super) fn additive() -> Result<Lesson> {
    let tape = tape();
    let recorder = Recorder::new(&tape, "one query looks at three source positions");
    let state = input(&recorder, "state", array(&[1, SIZE], &[0.9, -0.4]));
    let weight = parameter(&recorder, "W", drawn("additive.W", &[SIZE, SIZE], 1.0));
    let query = recorder.name("query", linear(state, weight, None)?);
    let memory = input(&recorder, "memory", drawn("additive.memory", &[1, SOURCE, SIZE], 1.0));
    let key_weight = parameter(&recorder, "U", drawn("additive.U", &[SIZE, SIZE], 1.0));
    let keys = recorder.name("keys", linear(memory, key_weight, None)?);
    let v = parameter(&recorder, "v", array(&[SIZE], &[1.2, -0.7]));
    let op = AdditiveAttention { lengths: Arc::from([SOURCE]) };
    let [context, weights] = tape.apply(op, &[query, keys, v, memory])?;
    recorder.name("context", context);
    recorder.name("weights", weights);
    let loss = half_squared_error(&recorder, context, array(&[1, SIZE], &[0.5, 0.5]))?;
    recorder.update(0.5);
    let trace = recorder.finish(loss)?;
    Ok(told(
        &[
            "A decoder that writes a translation looks back at the source: which position matters now? \
             Additive attention (Bahdanau et al. 2015) asks a small network. For each position s it \
             adds the projected state q = state·Wᵀ and the projected memory k = m·Uᵀ, bends the sum with \
             tanh, and multiplies by v: one number, the score e. Softmax makes weights of the scores, \
             and the context is the mean of the memory with these weights.",
            "Backward there are two ways from the context to the memory. One is plain: d_m gets \
             w·d_c, as in any weighted sum. The other goes through the weights: d_w[s] is the product of \
             d_c and m[s], so a position whose vector points the way that the loss wants the context \
             to go gets more weight. Through softmax it becomes d_e[s] = w[s]·(d_w[s] − Σ w·d_w): \
             only what is better than the average counts. Then it goes through v and tanh to q and k, \
             and so to W and U.",
            "The query was added to the keys of all positions, so its gradient is the sum over them.",
        ],
        &[
            "weights that add up to 1, and d_e that adds up to 0",
            "memory has two readers: the keys' projection, and the weighted sum",
            "a position with a small weight: it gets little of everything, and learns slowly",
        ],
        vec![trace],
    ))
}

/// Attention by dot products, of the memory as it is or projected by a matrix.
fn scored(general: bool, title: &str) -> Result<Trace> {
    let tape = tape();
    let recorder = Recorder::new(&tape, title);
    let query = input(&recorder, "query", array(&[1, 1, SIZE], &[0.9, -0.4]));
    let memory = input(&recorder, "memory", drawn("dot.memory", &[1, SOURCE, SIZE], 1.0));
    let keys = match general {
        true => {
            let weight = parameter(&recorder, "W", drawn("dot.W", &[SIZE, SIZE], 1.0));
            recorder.name("keys", linear(memory, weight, None)?)
        }
        false => memory,
    };
    let op = DotAttention { scale: 1.0, heads: 1, causal: false, lengths: Arc::from([SOURCE]) };
    let [context, weights] = tape.apply(op, &[query, keys, memory])?;
    recorder.name("context", context);
    recorder.name("weights", weights);
    let loss = half_squared_error(&recorder, context, array(&[1, 1, SIZE], &[0.5, 0.5]))?;
    if general {
        recorder.update(0.5);
    }
    recorder.finish(loss)
}

pub(super) fn dot() -> Result<Lesson> {
    let dot = scored(false, "the dot score: q·m")?;
    let general = scored(true, "the general score: q·k, with k = m·Wᵀ")?;
    Ok(told(
        &[
            "The score of a position can be a plain inner product of query and memory (Luong et al. \
             2015): positions whose vectors point the way of the query get more weight. The dot score \
             has no parameters; the general score first projects the memory by a matrix W, so that it \
             can learn which directions of the query go with which of the memory.",
            "In the dot score the memory is used twice by one node, once as keys and once as values, \
             and so its gradient has two parts from that one node: as values it gets w[s]·d_c, as keys \
             d_e[s]·q. In the general score the second part goes through W first, and W's gradient is \
             a sum over the positions.",
            "d_q is the sum of the keys, each times its d_e: the query turns towards the positions \
             that should have had more weight, and away from the others.",
        ],
        &[
            "two contributions of one node to the gradient of memory, in the first trace",
            "the way through W in the second: keys have a gradient of their own",
        ],
        vec![dot, general],
    ))
}
