//! Attention, and the decoder that asks it.

use super::Entry;
use crate::source::Place::{Function, Method};

pub(super) static TABLE: &[Entry] = &[
    Entry {
        op: "additive_attention",
        title: "Additive attention",
        remark: "Over the keys that are not padding. The activations t are computed again in the backward pass.",
        inputs: &[
            ("query", "[B, A]"),
            ("keys", "[B, S, A]"),
            ("v", "[A]"),
            ("values", "[B, S, M]"),
        ],
        outputs: &[("context", "[B, M]"), ("weights", "[B, S]")],
        symbols: &[
            ("t", "[A], the activations of a key"),
            ("e", "[S], the scores"),
            ("w", "[S], the weights"),
            ("c", "[M], the context"),
            ("q", "the query"),
            ("k", "the keys"),
            ("m", "the values"),
        ],
        forward: &["t[s] = tanh(q + k[s])", "e[s] = v·t[s]", "w = softmax(e)", "c = Σₛ w[s]·m[s]"],
        backward: &[
            ("values", "d_m[s] = w[s]·d_c"),
            ("scores", "d_w[s] += d_c·m[s]"),
            ("scores", "d_e[s] = w[s]·(d_w[s] − Σⱼ d_w[j]·w[j])"),
            ("v", "d_v = Σₛ d_e[s]·t[s]"),
            ("keys", "d_k[s] = d_e[s]·v ⊙ (1 − t[s]²)"),
            ("query", "d_q = Σₛ d_k[s]"),
        ],
        saved: "The inputs and the weights.",
        forward_source: &[
            Method("attention/additive.rs", "AdditiveAttention", "forward"),
            Function("attention/rows.rs", "weigh_forward"),
        ],
        backward_source: &[
            Method("attention/additive.rs", "AdditiveAttention", "backward"),
            Function("attention/rows.rs", "weigh_backward"),
            Function("attention/additive.rs", "row_backward"),
        ],
    },
    Entry {
        op: "dot_attention",
        title: "Dot-product attention",
        remark: "By each head for its part of the vectors, over the keys that a query sees. With keys that a matrix has projected it is the general score.",
        inputs: &[("query", "[B, T, D]"), ("keys", "[B, S, D]"), ("values", "[B, S, M]")],
        outputs: &[("context", "[B, T, M]"), ("weights", "[B, heads, T, S]")],
        symbols: &[
            ("e", "[S], the scores"),
            ("w", "[S], the weights"),
            ("c", "[M], the context"),
            ("q", "a query"),
            ("k", "the keys"),
            ("m", "the values"),
            ("scale", "a number: 1, or 1/√D"),
        ],
        forward: &["e[s] = scale·q·k[s]", "w = softmax(e)", "c = Σₛ w[s]·m[s]"],
        backward: &[
            ("values", "d_m[s] = w[s]·d_c"),
            ("scores", "d_w[s] += d_c·m[s]"),
            ("scores", "d_e[s] = w[s]·(d_w[s] − Σⱼ d_w[j]·w[j])"),
            ("query", "d_q = Σₛ scale·d_e[s]·k[s]"),
            ("keys", "d_k[s] = scale·d_e[s]·q"),
        ],
        saved: "The inputs and the weights.",
        forward_source: &[
            Method("attention/dot.rs", "DotAttention", "forward"),
            Function("attention/rows.rs", "weigh_forward"),
        ],
        backward_source: &[
            Method("attention/dot.rs", "DotAttention", "backward"),
            Function("attention/rows.rs", "weigh_backward"),
        ],
    },
    Entry {
        op: "decoder",
        title: "A decoder over a whole target",
        remark: "Open it: each step is an embedding, recurrent cells, attention and a readout, explained by themselves. Which part reads which is a matter of the model's configuration.",
        inputs: &[],
        outputs: &[("read", "[T, B, R], what the output layer reads")],
        symbols: &[
            ("state", "the states of the layers"),
            ("token", "the previous token of each sentence"),
            ("θ", "all weights"),
        ],
        forward: &[
            "state[t] = step(state[t − 1], token[t], memory, θ)",
            "read[t] = readout(state[t])",
        ],
        backward: &[
            ("state", "d_state[t − 1] = stepback(d_state[t], d_read[t])"),
            ("θ", "d_θ = Σₜ d_θ[t]"),
        ],
        saved: "All that the steps compute.",
        forward_source: &[
            Method("decoder/steps.rs", "Steps", "forward"),
            Method("decoder/steps.rs", "Steps", "read"),
        ],
        backward_source: &[
            Method("decoder/steps.rs", "Steps", "backward"),
            Method("decoder/steps.rs", "Steps", "step_backward"),
        ],
    },
];
