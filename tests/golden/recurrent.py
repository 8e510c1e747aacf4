"""Golden numbers of the recurrent ops and layers, out of PyTorch: python recurrent.py

The names and shapes are those of the cases in crates/layers/src/recurrent; rows whose name starts
with "layer/" are whole layers, checked by crates/layers/tests/recurrent.rs.
"""
import itertools
import os

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common import Case, dropout_mask, named, write

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
CELLS = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}
LAYERS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
# What the layers' dropout is keyed with.
KEY = 11
STATES = {"rnn": ["h"], "lstm": ["h", "c"], "gru": ["h"]}


def as_list(states):
    return [states] if torch.is_tensor(states) else list(states)


def as_torch(states):
    return states[0] if len(states) == 1 else tuple(states)


def weight_shapes(kind, columns, hidden):
    rows = GATES[kind] * hidden
    return {
        "weight_ih": (rows, columns),
        "weight_hh": (rows, hidden),
        "bias_ih": (rows,),
        "bias_hh": (rows,),
    }


def call(module, weights, *inputs):
    """The module at these weights, so that gradients reach them."""
    return torch.func.functional_call(module, weights, inputs)


def step(kind, columns, hidden, x, *rest):
    count = len(STATES[kind])
    states, weights = list(rest[:count]), rest[count:]
    cell = CELLS[kind](columns, hidden)
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    return as_list(call(cell, dict(zip(names, weights)), x, as_torch(states)))


def step_case(kind, option, batch, columns, hidden, active=None):
    def function(*inputs):
        after = step(kind, columns, hidden, *inputs)
        if active is None:
            return after
        mask = torch.tensor(active)[:, None]
        return [torch.where(mask, new, old) for new, old in zip(after, inputs[1:])]

    inputs = {"x": (batch, columns), **{name: (batch, hidden) for name in STATES[kind]}}
    return Case(f"{kind}_step{option}", inputs | weight_shapes(kind, columns, hidden), function)


def run_packed(module, weights, x, states, lengths):
    """A module over a padded batch; rows of length 0, which PyTorch does not pack, keep their state."""
    if lengths is None:
        output, last = call(module, weights, x, as_torch(states))
        return output, as_list(last)
    time, batch = x.shape[:2]
    rows = [row for row, length in enumerate(lengths) if length > 0]
    packed = pack_padded_sequence(
        x[:, rows], torch.tensor([lengths[row] for row in rows]), enforce_sorted=False
    )
    output, last = call(module, weights, packed, as_torch([s[:, rows] for s in states]))
    output, _ = pad_packed_sequence(output, total_length=time)
    index = torch.tensor(rows)
    padded = torch.zeros(time, batch, output.shape[-1]).index_copy(1, index, output)
    last = [old.index_copy(1, index, new) for old, new in zip(states, as_list(last))]
    return padded, last


def sequence_case(kind, option, time, batch, columns, hidden, lengths=None, reverse=False):
    # PyTorch reads backwards only beside a forward direction, so that one is run too and left out.
    direction = "_reverse" if reverse else ""

    def function(x, *rest):
        count = len(STATES[kind])
        states, weights = rest[:count], rest[count:]
        module = LAYERS[kind](columns, hidden, bidirectional=reverse)
        names = [f"{w}_l0{direction}" for w in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        if reverse:
            states = [torch.stack([torch.zeros_like(s), s]) for s in states]
        else:
            states = [s[None] for s in states]
        output, last = run_packed(module, dict(zip(names, weights)), x, states, lengths)
        return [output[:, :, -hidden:], *(s[-1] for s in last)]

    inputs = {"x": (time, batch, columns), **{name: (batch, hidden) for name in STATES[kind]}}
    return Case(f"{kind}{option}", inputs | weight_shapes(kind, columns, hidden), function)


def layer_case(kind, layers, directions, lengths, initial, dropout=0.0):
    """A whole layer with our names of the parameters; dropout is between layers, by our masks."""
    time, batch, columns, hidden = 4, 4, 2, 3
    x_shape, state_shape = (time, batch, columns), (layers * directions, batch, hidden)
    names = {}
    shapes = {}
    for layer in range(layers):
        for ours, theirs in [("", ""), (".reverse", "_reverse")][:directions]:
            size = columns if layer == 0 else directions * hidden
            for weight, shape in weight_shapes(kind, size, hidden).items():
                name = f"l{layer}{ours}.{weight}"
                names[name] = f"{weight}_l{layer}{theirs}"
                shapes[name] = shape

    def run(x, states, weights, layers):
        module = LAYERS[kind](x.shape[2], hidden, layers, bidirectional=directions == 2)
        return run_packed(module, weights, x, states, lengths)

    def function(x, *rest):
        count = len(STATES[kind]) if initial else 0
        states, weights = rest[:count], dict(zip(names.values(), rest[count:]))
        states = states or [torch.zeros(state_shape) for _ in STATES[kind]]
        if not dropout:
            output, last = run(x, states, weights, layers)
            return [output, *last]
        finals = []
        for layer in range(layers):
            own = {
                name.replace(f"_l{layer}", "_l0"): value
                for name, value in weights.items()
                if f"_l{layer}" in name
            }
            first = layer * directions
            x, last = run(x, [s[first : first + directions] for s in states], own, 1)
            finals.append(last)
            if layer + 1 < layers:
                key = named(KEY, f".l{layer}.dropout")
                x = x * dropout_mask(key, dropout, 0, tuple(x.shape))
        return [x, *(torch.cat(parts) for parts in zip(*finals))]

    name = f"layer/{kind}/l{layers}d{directions}"
    for option, wanted in [("lengths", lengths), ("initial", initial), ("dropout", dropout)]:
        name += f"/{option}" if wanted else ""
    states = {name: state_shape for name in STATES[kind]} if initial else {}
    return Case(name, {"x": x_shape, **states, **shapes}, function)


def cases():
    mixed = [2, 4, 1, 3]
    for kind in CELLS:
        yield step_case(kind, "", 3, 2, 4)
        yield step_case(kind, "/batch_1", 1, 3, 2)
        yield step_case(kind, "/hidden_1", 3, 2, 1)
        yield step_case(kind, "/active", 4, 2, 3, [True, False, True, False])
        yield sequence_case(kind, "", 4, 3, 2, 3)
        yield sequence_case(kind, "/reverse", 4, 3, 2, 3, reverse=True)
        yield sequence_case(kind, "/lengths", 4, 4, 2, 3, mixed)
        yield sequence_case(kind, "/lengths_reverse", 4, 4, 2, 3, mixed, True)
        yield sequence_case(kind, "/all_padded", 5, 4, 2, 3, mixed)
        yield sequence_case(kind, "/length_1", 3, 2, 2, 3, [1, 1], True)
        yield sequence_case(kind, "/length_0", 3, 3, 2, 2, [0, 3, 0])
        yield sequence_case(kind, "/length_0_reverse", 3, 3, 2, 2, [2, 0, 3], True)
        yield sequence_case(kind, "/one_step", 1, 3, 2, 3)
        yield sequence_case(kind, "/batch_1", 4, 1, 2, 3, reverse=True)
        yield sequence_case(kind, "/hidden_1", 4, 3, 2, 1, [4, 2, 3])
        options = itertools.product([1, 2], [1, 2], [None, [2, 4, 0, 1]], [False, True])
        for layers, directions, lengths, initial in options:
            yield layer_case(kind, layers, directions, lengths, initial)
        yield layer_case(kind, 3, 2, [2, 4, 0, 1], True, dropout=0.4)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    write(os.path.join(here, "recurrent.safetensors"), list(cases()))
