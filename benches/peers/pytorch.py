"""The workloads of `cargo bench --bench peers` in PyTorch.

Reads lines `WORKLOAD THREADS` and answers each with the milliseconds of one run, or with
`unknown`. The first line that it writes says what it is.
"""

import itertools
import random
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, EMBEDDING, HIDDEN, ATTENTION, LAYERS = 115, 128, 256, 128, 2
BATCH, SOURCE, FRAME, TARGET = 64, 20, 15, 26
BEAM, TOKENS = 5, 25


class Attention(nn.Module):
    """Additive attention."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(HIDDEN, ATTENTION)
        self.key = nn.Linear(HIDDEN, ATTENTION)
        self.score = nn.Linear(ATTENTION, 1)

    def forward(self, query, memory, keys):
        """`keys` are those of `memory`, or `None` to project them at this step."""
        if keys is None:
            keys = self.key(memory)
        hidden = torch.tanh(self.query(query).unsqueeze(1) + keys)
        weights = F.softmax(self.score(hidden).squeeze(2), dim=1)
        return torch.bmm(weights.unsqueeze(1), memory).squeeze(1)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, EMBEDDING, padding_idx=0)
        self.attention = Attention()
        size = EMBEDDING + HIDDEN
        self.lstm = nn.LSTM(size, HIDDEN, LAYERS, batch_first=True, dropout=0.2)
        self.output = nn.Linear(HIDDEN, VOCABULARY)
        self.dropout = nn.Dropout(0.2)

    def forward(self, token, state, memory, keys):
        embedded = self.dropout(self.embedding(token))
        context = self.attention(state[0][-1], memory, keys)
        step = torch.cat([embedded, context], 1).unsqueeze(1)
        output, state = self.lstm(step, state)
        return self.output(output.squeeze(1)), state


class Model:
    """The encoder-decoder of W2, W3 and W5."""

    def __init__(self):
        self.encoder = nn.LSTM(FRAME, HIDDEN, LAYERS, batch_first=True, dropout=0.2)
        self.decoder = Decoder()
        self.parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, 1e-3)
        self.source = torch.randn(BATCH, SOURCE, FRAME)
        self.target = torch.randint(1, VOCABULARY, (BATCH, TARGET))

    def train(self, training):
        self.encoder.train(training)
        self.decoder.train(training)

    def update(self, hoisted, forcing):
        """One update; the keys are projected once when `hoisted`, at every step otherwise."""
        self.train(True)
        source, target = self.source, self.target
        self.optimiser.zero_grad()
        memory, state = self.encoder(source)
        keys = self.decoder.attention.key(memory) if hoisted else None
        token, logits = target[:, 0], []
        for step in range(1, TARGET):
            scores, state = self.decoder(token, state, memory, keys)
            logits.append(scores)
            forced = random.random() < forcing
            token = target[:, step] if forced else scores.argmax(1)
        logits = torch.stack(logits, 1).reshape(-1, VOCABULARY)
        loss = F.cross_entropy(logits, target[:, 1:].reshape(-1), ignore_index=0)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()

    @torch.no_grad()
    def greedy(self):
        self.train(False)
        memory, state = self.encoder(self.source[:1])
        keys = self.decoder.attention.key(memory)
        token = torch.tensor([1])
        for _ in range(TOKENS):
            scores, state = self.decoder(token, state, memory, keys)
            token = scores.argmax(1)

    @torch.no_grad()
    def beam_loop(self):
        """A call of the decoder for each hypothesis."""
        self.train(False)
        memory, state = self.encoder(self.source[:1])
        keys = self.decoder.attention.key(memory)
        beams = [([1], state, 0.0)]
        for _ in range(TOKENS):
            candidates = []
            for tokens, state, score in beams:
                last = torch.tensor([tokens[-1]])
                scores, after = self.decoder(last, state, memory, keys)
                best, which = F.log_softmax(scores, 1).topk(BEAM)
                for gain, token in zip(best[0].tolist(), which[0].tolist()):
                    candidates.append((tokens + [token], after, score + gain))
            beams = sorted(candidates, key=lambda beam: -beam[2])[:BEAM]

    @torch.no_grad()
    def beam_batched(self, sentences):
        """One call of the decoder for all hypotheses of all sentences."""
        self.train(False)
        memory, (h, c) = self.encoder(self.source[:sentences])
        keys = self.decoder.attention.key(memory)
        memory, keys = (x.repeat_interleave(BEAM, 0) for x in (memory, keys))
        h, c = (x.repeat_interleave(BEAM, 1).contiguous() for x in (h, c))
        token = torch.full((sentences * BEAM,), 1)
        totals = torch.full((sentences, BEAM), -1e9)
        totals[:, 0] = 0
        first = (torch.arange(sentences) * BEAM).unsqueeze(1)
        for _ in range(TOKENS):
            scores, (h, c) = self.decoder(token, (h, c), memory, keys)
            scores = F.log_softmax(scores, 1).view(sentences, BEAM, VOCABULARY)
            all_totals = (scores + totals.unsqueeze(2)).view(sentences, -1)
            totals, which = all_totals.topk(BEAM)
            origin = (which // VOCABULARY + first).view(-1)
            token = (which % VOCABULARY).view(-1)
            h, c = h[:, origin].contiguous(), c[:, origin].contiguous()


def lstm(batch, steps, size, hidden, layers, backward):
    """An LSTM layer forward, and backward to its input and weights."""
    layer = nn.LSTM(size, hidden, layers, batch_first=True)
    inputs = itertools.cycle([torch.randn(batch, steps, size) for _ in range(4)])

    def run():
        x = next(inputs).detach().requires_grad_(backward)
        if backward:
            layer.zero_grad()
            layer(x)[0].sum().backward()
        else:
            with torch.no_grad():
                layer(x)

    return run


def workloads():
    model = Model()
    shapes = {"W1a": (64, 50, 256, 512, 1), "W1b": (64, 20, 256, 256, 2), "W1c": (1, 50, 256, 512, 1)}
    found = {name: lstm(*shape, backward=True) for name, shape in shapes.items()}
    found |= {f"{name}-forward": lstm(*shape, backward=False) for name, shape in shapes.items()}
    return found | {
        "W2": lambda: model.update(False, 0.5),
        "W2-hoisted": lambda: model.update(True, 0.5),
        "W3": model.greedy,
        "W5-loop": model.beam_loop,
        "W5": lambda: model.beam_batched(1),
        "W5-64": lambda: model.beam_batched(64),
    }


def main():
    torch.manual_seed(0)
    random.seed(0)
    known = workloads()
    isa = torch.backends.cpu.get_cpu_capability()
    print(f"PyTorch {torch.__version__}, {isa}", flush=True)
    for line in sys.stdin:
        name, threads = line.split()
        if name not in known:
            print("unknown", flush=True)
            continue
        if torch.get_num_threads() != int(threads):
            torch.set_num_threads(int(threads))
        begin = time.perf_counter()
        known[name]()
        print(1e3 * (time.perf_counter() - begin), flush=True)


main()
