"""Golden numbers of whole models, out of PyTorch: python models.py

A row is a configuration of ours, built from PyTorch's own modules, and one training step of it
under teacher forcing. It holds
    model/name|param.x   each parameter, by its name in our store
    model/name|logits    the scores of the next token, [T, B, V]
    model/name|loss      the loss per target token
    model/name|norm      the norm of all gradients together
    model/name|grad.x    the gradient of each parameter
    model/name|after.x   each parameter after clipping and one update by Adam
The file's metadata says in JSON, under "rows", what was computed: the configuration, the
vocabularies' sizes, the batch, how the loss is smoothed, how the update is made.
"""
import json
import re
import zlib
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common import write
from recurrent import LAYERS, as_list, as_torch

PAD, BOS, EOS, SPECIALS = 0, 2, 3, 4
SOURCE_VOCABULARY, TARGET_VOCABULARY = SPECIALS + 4, SPECIALS + 5
STATISTICS = {"mean": [0.5, -1.0], "deviation": [2.0, 0.5]}

# Source and target of each sentence pair: a source of one position, an empty target among them.
LENGTHS = [(3, 2), (1, 4), (5, 0), (4, 3)]


def our_name(name):
    """encoder.recurrent.weight_ih_l0_reverse -> encoder.l0.reverse.weight_ih"""

    def dotted(match):
        weight, layer, reverse = match.groups()
        return f".l{layer}{'.reverse' if reverse else ''}.{weight}"

    return re.sub(r"\.(\w+_[ih]h)_l(\d+)(_reverse)?$", dotted, name.replace(".recurrent.", "."))


def run(module, x, states):
    """A recurrent module of PyTorch with its states in a list."""
    output, states = module(x, as_torch(states))
    return output, as_list(states)


class Encoder(nn.Module):
    def __init__(self, config, vectors):
        super().__init__()
        size = config["embedding"]
        self.vectors = vectors
        if vectors:
            size = len(STATISTICS["mean"])
        else:
            self.embedding = nn.Embedding(SOURCE_VOCABULARY, size, padding_idx=PAD)
        self.recurrent = LAYERS[config["cell"]](
            size,
            config["hidden"],
            num_layers=config["encoder_layers"],
            bidirectional=config["bidirectional"],
        )

    def forward(self, source, lengths):
        if self.vectors:
            mean, deviation = (torch.tensor(STATISTICS[key]) for key in ("mean", "deviation"))
            x = (source - mean) / deviation
        else:
            x = self.embedding(source)
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, last = self.recurrent(packed)
        return pad_packed_sequence(output)[0], as_list(last)


class Bridge(nn.Module):
    """Gives the decoder's first states, [L, B, H] each."""

    def __init__(self, config, memory):
        super().__init__()
        self.config = config
        self.states = 2 if config["cell"] == "lstm" else 1
        wanted = {"tanh": ["hidden", "cell"][: self.states], "mean": ["hidden"]}
        for layer in range(config["decoder_layers"]):
            parts = {
                part: nn.Linear(memory, config["hidden"])
                for part in wanted.get(config["bridge"], [])
            }
            self.add_module(f"l{layer}", nn.ModuleDict(parts))

    def forward(self, memory, lengths, last):
        """`last`: the encoder's last states, by layer, then by direction."""
        kind, batch = self.config["bridge"], memory.shape[1]
        zeros = torch.zeros(self.config["decoder_layers"], batch, self.config["hidden"])
        projections = list(self.children())
        if kind == "zero":
            return [zeros] * self.states
        if kind == "mean":
            mean = memory.sum(0) / lengths[:, None]
            hidden = torch.stack([torch.tanh(p["hidden"](mean)) for p in projections])
            return [hidden, zeros][: self.states]
        states = []
        for state, part in zip(last, ["hidden", "cell"]):
            top = self.config["encoder_layers"] - 1
            by_layer = state.unflatten(0, (top + 1, -1)).transpose(1, 2).flatten(2)
            taken = [by_layer[min(layer, top)] for layer in range(len(projections))]
            if kind == "tanh":
                taken = [torch.tanh(p[part](x)) for p, x in zip(projections, taken)]
            states.append(torch.stack(taken))
        return states


def weighted_sum(scores, memory, padding):
    """Scores [S, B], memory [S, B, M] -> the context [B, M]."""
    weights = torch.softmax(scores.masked_fill(padding.T, -torch.inf), dim=0)
    return torch.einsum("sb,sbm->bm", weights, memory)


class Additive(nn.Module):
    def __init__(self, config, memory):
        super().__init__()
        size = config["attention_size"]
        self.query = nn.Linear(config["hidden"], size, bias=False)
        self.key = nn.Linear(memory, size, bias=False)
        self.v = nn.Parameter(torch.empty(size))

    def forward(self, query, memory, padding):
        scores = torch.tanh(self.query(query) + self.key(memory)) @ self.v
        return weighted_sum(scores, memory, padding)


class Concat(nn.Module):
    def __init__(self, config, memory):
        super().__init__()
        size = config["attention_size"]
        self.weight = nn.Parameter(torch.empty(size, config["hidden"] + memory))
        self.v = nn.Parameter(torch.empty(size))

    def forward(self, query, memory, padding):
        both = torch.cat([query.expand(len(memory), -1, -1), memory], 2)
        return weighted_sum(torch.tanh(F.linear(both, self.weight)) @ self.v, memory, padding)


class Dot(nn.Module):
    """Dot, scaled dot and general attention."""

    def __init__(self, config, memory):
        super().__init__()
        self.scale = None if config["attention"] == "scaled_dot" else 1.0
        if config["attention"] == "general":
            self.weight = nn.Parameter(torch.empty(config["hidden"], memory))
        else:
            self.weight = None

    def forward(self, query, memory, padding):
        keys = memory if self.weight is None else F.linear(memory, self.weight)
        context = F.scaled_dot_product_attention(
            query[:, None],
            keys.transpose(0, 1),
            memory.transpose(0, 1),
            attn_mask=~padding[:, None],
            scale=self.scale,
        )
        return context[:, 0]


class MultiHead(nn.MultiheadAttention):
    """PyTorch's, but that what comes out is as long as the memory."""

    def __init__(self, config, memory):
        assert config["hidden"] == config["attention_size"], "PyTorch has no other queries"
        size, heads = config["attention_size"], config["attention_heads"]
        super().__init__(size, heads, kdim=memory, vdim=memory)
        self.out_proj = nn.Linear(size, memory)

    def forward(self, query, memory, padding):
        return super().forward(query[None], memory, memory, key_padding_mask=padding)[0][0]


class Nothing(nn.Module):
    """The plain decoder's: a context of length 0."""

    def __init__(self, config, memory):
        super().__init__()

    def forward(self, query, memory, padding):
        return query[:, :0]


ATTENTIONS = {
    "none": Nothing,
    "additive": Additive,
    "dot": Dot,
    "scaled_dot": Dot,
    "general": Dot,
    "concat": Concat,
    "multi_head": MultiHead,
}


class Decoder(nn.Module):
    def __init__(self, config, memory):
        super().__init__()
        self.query, self.readout_kind = config["query"], config["readout"]
        hidden, size = config["hidden"], config["embedding"]
        context = 0 if config["attention"] == "none" else memory
        self.embedding = nn.Embedding(TARGET_VOCABULARY, size, padding_idx=PAD)
        beside = {"previous": context, "new": hidden, "between": 0}[self.query]
        layer = LAYERS[config["cell"]]
        self.recurrent = layer(size + beside, hidden, num_layers=config["decoder_layers"])
        if self.query == "between":
            self.second = layer(context, hidden)
        if self.query == "new":
            self.combine = nn.Linear(context + hidden, hidden, bias=config["attentional_bias"])
        self.attention = ATTENTIONS[config["attention"]](config, memory)
        all_three = hidden + context + size
        read = {"state": hidden, "linear": all_three, "tanh": config["readout_size"] or size}
        if self.readout_kind == "tanh":
            self.readout = nn.Linear(all_three, read["tanh"])
        bias = config["output_bias"]
        self.output = nn.Linear(read[self.readout_kind], TARGET_VOCABULARY, bias=bias)
        if config["tied_embeddings"]:
            self.output.weight = self.embedding.weight

    def forward(self, memory, padding, states, tokens):
        logits = []
        fed = torch.zeros_like(states[0][-1])
        for embedded in self.embedding(tokens):
            attend = lambda: self.attention(states[0][-1], memory, padding)
            if self.query == "previous":
                context = attend()
                x = torch.cat([embedded, context], 1)
                output, states = run(self.recurrent, x[None], states)
                output = output[0]
            elif self.query == "new":
                x = torch.cat([embedded, fed], 1)
                output, states = run(self.recurrent, x[None], states)
                context = attend()
                output = fed = torch.tanh(self.combine(torch.cat([context, output[0]], 1)))
            else:
                _, states = run(self.recurrent, embedded[None], states)
                context = attend()
                output, after = run(self.second, context[None], [s[-1:] for s in states])
                states = [torch.cat([s[:-1], top]) for s, top in zip(states, after)]
                output = output[0]
            read = output
            if self.readout_kind != "state":
                read = torch.cat([output, context, embedded], 1)
            if self.readout_kind == "tanh":
                read = torch.tanh(self.readout(read))
            logits.append(self.output(read))
        return torch.stack(logits)


class Seq2Seq(nn.Module):
    def __init__(self, config, vectors):
        super().__init__()
        memory = config["hidden"] * (2 if config["bidirectional"] else 1)
        self.encoder = Encoder(config, vectors)
        self.bridge = Bridge(config, memory)
        self.decoder = Decoder(config, memory)

    def forward(self, source, lengths, tokens):
        memory, last = self.encoder(source, lengths)
        padding = torch.arange(len(memory))[None] >= lengths[:, None]
        states = self.bridge(memory, lengths, last)
        return self.decoder(memory, padding, states, tokens)


def cross_entropy(logits, targets, smoothing):
    """The loss per target token; padding is no token."""
    logits, targets = logits.flatten(0, 1), targets.flatten()
    kind, epsilon = smoothing
    if kind == "except_padding":
        # "The annotated Transformer": nothing for padding, and the constant Σ q·ln q left out.
        q = torch.full_like(logits, epsilon / (TARGET_VOCABULARY - 2))
        q.scatter_(1, targets[:, None], 1 - epsilon)
        q[:, PAD] = 0.0
        q[targets == PAD] = 0.0
        return -(q * F.log_softmax(logits, 1)).sum() / (targets != PAD).sum()
    return nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=epsilon)(logits, targets)


def columns(rows, shape=()):
    """Sequences as the columns of a padded array."""
    padded = numpy.zeros((max(map(len, rows)), len(rows), *shape))
    for number, row in enumerate(rows):
        padded[: len(row), number] = row
    return torch.tensor(padded)


class Row:
    def __init__(self, parts, layers, vectors=False, smoothing=("none", 0.0), max_norm=0.5, **more):
        cell, attention, query, bridge, readout = parts.split()
        encoder, decoder, directions = layers
        # Layers and directions tell rows apart that agree in all five parts.
        self.name = "model/" + "_".join([*parts.split(), *map(str, layers)])
        self.name += "_vectors" if vectors else ""
        self.vectors, self.smoothing, self.max_norm, self.rate = vectors, smoothing, max_norm, 0.01
        self.config = {
            "cell": cell,
            "attention": attention,
            "query": query,
            "bridge": bridge,
            "readout": readout,
            "encoder_layers": encoder,
            "decoder_layers": decoder,
            "bidirectional": directions == 2,
            "tied_embeddings": False,
            "embedding": 3,
            "hidden": 4,
            "attention_size": 4 if attention == "multi_head" else 5,
            "attention_heads": 2,
            "attentional_bias": False,
            "readout_size": 0,
            "output_bias": True,
            **more,
        }

    def random(self, what):
        return numpy.random.default_rng(zlib.crc32(f"{self.name} {what}".encode()))

    def examples(self):
        """Sentence pairs without special tokens."""
        random = self.random("examples")

        def tokens(length, vocabulary):
            return random.integers(SPECIALS, vocabulary, length).tolist()

        def frames(length):
            return random.uniform(-2, 2, (length, 2)).round(3).tolist()

        return [
            {
                # The end token comes in addition.
                "source": frames(s) if self.vectors else tokens(s - 1, SOURCE_VOCABULARY),
                "target": tokens(t, TARGET_VOCABULARY),
            }
            for s, t in LENGTHS
        ]

    def about(self):
        """What the metadata says."""
        return {
            "name": self.name,
            "model": self.config,
            "source_vocabulary": None if self.vectors else SOURCE_VOCABULARY,
            "target_vocabulary": TARGET_VOCABULARY,
            "statistics": STATISTICS if self.vectors else None,
            "examples": self.examples(),
            "smoothing": self.smoothing,
            "learning_rate": self.rate,
            "max_norm": self.max_norm,
        }

    def numbers(self):
        model = Seq2Seq(self.config, self.vectors)
        params = {our_name(name): param for name, param in model.named_parameters()}
        for name, param in params.items():
            value = self.random(name).uniform(-0.6, 0.6, tuple(param.shape))
            param.data = torch.tensor(value)

        examples = self.examples()
        if self.vectors:
            sources = [example["source"] for example in examples]
            source = columns(sources, (2,))
        else:
            sources = [[*example["source"], EOS] for example in examples]
            source = columns(sources).long()
        lengths = torch.tensor([len(source) for source in sources])
        targets = [example["target"] for example in examples]
        logits = model(source, lengths, columns([[BOS, *t] for t in targets]).long())
        loss = cross_entropy(logits, columns([[*t, EOS] for t in targets]).long(), self.smoothing)
        loss.backward()

        arrays = {f"param.{name}": param.detach().clone() for name, param in params.items()}
        arrays |= {"logits": logits.detach(), "loss": loss.detach()}
        arrays |= {f"grad.{name}": param.grad.clone() for name, param in params.items()}
        optimiser = torch.optim.Adam(model.parameters(), lr=self.rate)
        arrays["norm"] = nn.utils.clip_grad_norm_(model.parameters(), self.max_norm)
        optimiser.step()
        arrays |= {f"after.{name}": param.detach() for name, param in params.items()}
        return {f"{self.name}|{key}": numpy.array(x.numpy(), order="C") for key, x in arrays.items()}


# Cell, attention, query, bridge and readout; the layers of encoder and decoder, the directions.
ROWS = [
    Row("lstm additive previous tanh tanh", (2, 2, 2), smoothing=("uniform", 0.1)),
    Row("gru additive between tanh tanh", (1, 1, 2), tied_embeddings=True),
    Row("rnn dot new last state", (1, 2, 1)),
    Row("lstm scaled_dot previous last linear", (2, 2, 1)),
    Row("gru general new mean tanh", (2, 1, 2), readout_size=6, smoothing=("except_padding", 0.2)),
    Row("lstm general between zero linear", (1, 2, 1)),
    Row("gru concat previous tanh linear", (1, 2, 2)),
    Row("rnn concat between mean tanh", (1, 1, 1)),
    Row("lstm multi_head new mean state", (1, 1, 2)),
    Row("gru multi_head previous zero tanh", (2, 1, 1), tied_embeddings=True, max_norm=100.0),
    Row("lstm none previous tanh tanh", (2, 2, 2)),
    Row("gru none previous last tanh", (1, 1, 1), tied_embeddings=True),
    Row("rnn none previous mean linear", (1, 2, 2)),
    Row("lstm general new zero state", (1, 1, 2), attentional_bias=True, output_bias=False),
    Row("lstm additive new tanh tanh", (1, 1, 2), vectors=True),
    Row("gru dot between mean linear", (2, 2, 1), vectors=True),
    Row("rnn none previous tanh state", (1, 1, 2), vectors=True),
]

if __name__ == "__main__":
    about = json.dumps([row.about() for row in ROWS])
    write(Path(__file__).with_suffix(".safetensors"), ROWS, rows=about)
