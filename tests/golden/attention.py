"""Golden numbers of linear, its loss, embedding and attention: the ops' rows have the names of `cases()` in
`unspool_layers`; those under `layer/` are of whole layers, with the parameters among the inputs."""
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from common import Case, write


def linear(name, x, out, bias):
    inputs = {"x": x, "weight": (out, x[-1])} | ({"bias": (out,)} if bias else {})
    return Case(f"linear/{name}", inputs, F.linear)


def linear_cross_entropy(name, x, targets, scale=1.0, **options):
    inputs = {"x": x, "weight": (5, x[-1]), "bias": (5,)}
    if name.startswith("no_bias"):
        del inputs["bias"]
    targets = torch.tensor(targets)

    def loss(x, weight, bias=None):
        logits = F.linear(x, weight, bias).reshape(-1, 5)
        return scale * F.cross_entropy(logits, targets, **options)

    return Case(f"linear_cross_entropy/{name}", inputs, loss)


def smooth_tutorials(x, weight, bias):
    """The target distribution of "The annotated Transformer"; the constant Σ q·ln q is left out."""
    targets = torch.tensor([3, 0, 4, 1])
    q = torch.full((4, 5), 0.1 / (5 - 2))
    q.scatter_(1, targets[:, None], 0.9)
    q[:, 0] = 0.0
    q[targets == 0] = 0.0
    return -(q * F.log_softmax(F.linear(x, weight, bias), 1)).sum() / 3


def embedding(name, indices, padding=None):
    indices = torch.tensor(indices)
    return Case(name, {"table": (5, 3)}, lambda table: F.embedding(indices, table, padding))


def padded_softmax(scores, length):
    """Softmax over the first `length` elements of the last axis, zeros behind them."""
    weights = torch.softmax(scores[..., :length], dim=-1)
    return F.pad(weights, (0, scores.shape[-1] - length))


def additive_attention(query, keys, v, values, lengths):
    scores = torch.tanh(query[:, None] + keys) @ v
    weights = torch.stack([padded_softmax(e, n) for e, n in zip(scores, lengths)])
    return torch.einsum("bs,bsm->bm", weights, values), weights


def additive(name, source, lengths, size, memory):
    batch = len(lengths)
    inputs = {
        "query": (batch, size),
        "keys": (batch, source, size),
        "v": (size,),
        "values": (batch, source, memory),
    }
    return Case(f"additive_attention/{name}", inputs, lambda *x: additive_attention(*x, lengths))


def dot_attention(query, keys, values, lengths, scale, heads, causal):
    """Contexts by PyTorch's kernel, weights by the formula; row by row, cut to length."""
    contexts, weights = [], []
    for q, k, m, length in zip(query, keys, values, lengths):
        q, k, m = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, m))
        scores = scale * q @ k.transpose(-1, -2)
        if causal:
            future = torch.ones(scores.shape[-2:]).triu(1) == 1
            scores = scores.masked_fill(future, -math.inf)
        weights.append(padded_softmax(scores, length))
        if length == 0:
            contexts.append(torch.zeros(q.shape[1], heads * m.shape[-1]))
            continue
        mask = ~future[:, :length] if causal else None
        c = F.scaled_dot_product_attention(
            q[None], k[None, :, :length], m[None, :, :length], attn_mask=mask, scale=scale
        )
        contexts.append(c[0].transpose(0, 1).flatten(-2))
    return torch.stack(contexts), torch.stack(weights)


def dot(name, queries, source, lengths, size, memory, heads=1, causal=False):
    batch, scale = len(lengths), math.sqrt(heads / size)
    inputs = {
        "query": (batch, queries, size),
        "keys": (batch, source, size),
        "values": (batch, source, memory),
    }
    return Case(
        f"dot_attention/{name}", inputs, lambda *x: dot_attention(*x, lengths, scale, heads, causal)
    )


def padding_mask(lengths, source):
    return torch.arange(source)[None] >= torch.tensor(lengths)[:, None]


def multi_head(name, queries, source, lengths, size, heads, kdim, vdim, causal=False):
    """`nn.MultiheadAttention`; self-attention when there is no `source`."""
    batch = len(lengths)
    layer = torch.nn.MultiheadAttention(size, heads, kdim=kdim, vdim=vdim)
    inputs = {"query": (queries, batch, size)}
    if source:
        inputs |= {"key": (source, batch, kdim), "value": (source, batch, vdim)}
    sequences = len(inputs)
    inputs |= {key: tuple(value.shape) for key, value in layer.named_parameters()}

    def function(*tensors):
        x, parameters = tensors[:sequences], tensors[sequences:]
        parameters = dict(zip(list(inputs)[sequences:], parameters))
        options = {
            "key_padding_mask": padding_mask(lengths, source or queries),
            "attn_mask": torch.ones(queries, source or queries).triu(1) == 1 if causal else None,
            "average_attn_weights": False,
        }
        x = x if source else x * 3  # Self-attention: query, key and value are one.
        return torch.func.functional_call(layer, parameters, tuple(x), options)

    return Case(f"layer/multi_head/{name}", inputs, function)


def projected(name, queries, source, lengths, sizes, heads):
    """Multi-head attention between lengths that `nn.MultiheadAttention` does not have."""
    query, key, value, size, output = sizes
    batch = len(lengths)
    inputs = {
        "query": (queries, batch, query),
        "key": (source, batch, key),
        "value": (source, batch, value),
        "q_proj_weight": (size, query),
        "k_proj_weight": (size, key),
        "v_proj_weight": (size, value),
        "in_proj_bias": (3 * size,),
        "out_proj.weight": (output, size),
        "out_proj.bias": (output,),
    }

    def function(*tensors):
        sequences, projections, (bias, weight, out_bias) = tensors[:3], tensors[3:6], tensors[6:]
        parts = zip(sequences, projections, bias.chunk(3))
        q, k, m = (F.linear(x, w, b).transpose(0, 1) for x, w, b in parts)
        scale = math.sqrt(heads / size)
        contexts, weights = dot_attention(q, k, m, lengths, scale, heads, False)
        return F.linear(contexts.transpose(0, 1), weight, out_bias), weights

    return Case(f"layer/multi_head/{name}", inputs, function)


S, B, Q, A = 4, 3, 6, 4
LENGTHS = [4, 1, 3]


def decoder(name, memory, parameters, function):
    """One step of attention over an encoder's outputs `[S, B, M]`, queried by `[B, Q]`."""
    inputs = {"memory": (S, B, memory), "query": (B, Q)} | parameters

    def batch_major(memory, *rest):
        return function(memory.transpose(0, 1), *rest)

    return Case(f"layer/attention/{name}", inputs, batch_major)


def one_query(keys, query, values, scale=1.0):
    contexts, weights = dot_attention(query[:, None], keys, values, LENGTHS, scale, 1, False)
    return contexts[:, 0], weights[:, 0, 0]


def bahdanau(m, q, w, u, v):
    return additive_attention(q @ w.T, m @ u.T, v, m, LENGTHS)


def concat(m, q, w, v):
    both = torch.cat([q[:, None].expand(-1, S, -1), m], dim=-1)
    scores = torch.tanh(both @ w.T) @ v
    weights = torch.stack([padded_softmax(e, n) for e, n in zip(scores, LENGTHS)])
    return torch.einsum("bs,bsm->bm", weights, m), weights


def decoder_heads(name, memory, heads):
    """PyTorch's layer, but that what comes out is as long as the memory."""
    layer = torch.nn.MultiheadAttention(Q, heads, kdim=memory, vdim=memory)
    layer.out_proj = torch.nn.Linear(Q, memory)
    shapes = {key: tuple(value.shape) for key, value in layer.named_parameters()}

    def function(m, q, *parameters):
        parameters = dict(zip(shapes, parameters))
        m = m.transpose(0, 1)
        arguments = (q[None], m, m, padding_mask(LENGTHS, S))
        y, weights = torch.func.functional_call(layer, parameters, arguments)
        return y[0], weights[:, 0]

    return decoder(name, memory, shapes, function)


def decoders():
    """Every kind, over a memory as long as the query, and over another where that can be."""
    cases = [
        decoder("dot", Q, {}, lambda m, q: one_query(m, q, m)),
        decoder("scaled_dot", Q, {}, lambda m, q: one_query(m, q, m, 1 / math.sqrt(Q))),
    ]
    for suffix, memory, heads in [("", Q, 2), ("/other_memory", 5, 3), ("/one_head", Q, 1)]:
        cases.append(decoder_heads(f"multi_head{suffix}", memory, heads))
        if "head" in suffix:
            continue
        weights = {"query.weight": (A, Q), "key.weight": (A, memory), "v": (A,)}
        both = {"weight": (A, Q + memory), "v": (A,)}
        general = {"weight": (Q, memory)}
        cases += [
            decoder(f"additive{suffix}", memory, weights, bahdanau),
            decoder(f"general{suffix}", memory, general, lambda m, q, w: one_query(m, q @ w, m)),
            decoder(f"concat{suffix}", memory, both, concat),
        ]
    return cases


CASES = [
    linear("matrix", (4, 3), 5, True),
    linear("no_bias", (4, 3), 5, False),
    linear("time_major", (2, 3, 4), 3, True),
    linear("vector", (3,), 2, True),
    linear("one_unit", (1, 1), 1, True),
    linear_cross_entropy("matrix", (4, 3), [3, 0, 4, 1]),
    linear_cross_entropy("no_bias", (4, 3), [3, 0, 4, 1]),
    linear_cross_entropy(
        "no_bias_time_major",
        (3, 2, 4),
        [3, 0, 0, 0, 1, 4],
        1 / 2.5,
        ignore_index=0,
        reduction="sum",
    ),
    linear_cross_entropy("ignored", (4, 3), [3, 0, 4, 0], ignore_index=0),
    # The mean of no tokens is NaN in PyTorch and 0 here, like the sum.
    linear_cross_entropy("all_ignored", (2, 3), [0, 0], ignore_index=0, reduction="sum"),
    linear_cross_entropy("vector", (3,), [2]),
    linear_cross_entropy(
        "time_major", (3, 2, 4), [3, 0, 0, 0, 1, 4], 1 / 2.5, ignore_index=0, reduction="sum"
    ),
    linear_cross_entropy(
        "smooth", (3, 2, 4), [3, 1, 4, 0, 0, 1], ignore_index=0, label_smoothing=0.3
    ),
    Case(
        "linear_cross_entropy/smooth_tutorials",
        {"x": (4, 3), "weight": (5, 3), "bias": (5,)},
        smooth_tutorials,
    ),
    linear_cross_entropy("chunks", (400, 2), [row % 5 for row in range(400)], ignore_index=0),
    embedding("embedding/time_major", [[4, 1], [1, 0], [2, 1]]),
    embedding("embedding/padding", [[1, 4], [3, 1], [4, 4]], 0),
    embedding("embedding/one", [3]),
    additive("lengths", 5, [3, 5, 1, 0], 3, 4),
    additive("wide", 3, [2, 3], 17, 19),
    additive("one_key", 1, [1], 2, 3),
    dot("lengths", 1, 5, [3, 5, 1, 0], 3, 4),
    dot("one_key", 1, 1, [1], 2, 3),
    dot("wide", 2, 3, [2, 3], 17, 19),
    dot("heads", 3, 4, [4, 2, 0], 6, 9, heads=3),
    dot("causal", 4, 4, [4, 3], 4, 2, heads=2, causal=True),
    dot("causal_cross", 2, 5, [5, 1], 2, 2, causal=True),
    embedding("layer/embedding/padding", [[0, 4], [0, 1], [4, 4]], 0),
    multi_head("self", 4, None, [4, 2, 1], 6, 3, None, None),
    multi_head("causal", 4, None, [4, 2, 1], 6, 2, None, None, causal=True),
    multi_head("cross", 3, 4, [4, 1], 6, 2, 5, 3),
    multi_head("causal_cross", 3, 4, [4, 2], 6, 2, 5, 3, causal=True),
    multi_head("one_head", 4, None, [4, 2, 1], 6, 1, None, None),
    projected("projected", 3, 4, [4, 1], (4, 5, 3, 6, 7), 3),
    *decoders(),
]

if __name__ == "__main__":
    write(Path(__file__).with_suffix(".safetensors"), CASES)
