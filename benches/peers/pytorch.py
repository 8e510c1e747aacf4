"""The workloads of `cargo bench --bench peers` in PyTorch.

Reads lines `WORKLOAD THREADS` and answers each with the milliseconds of one run, or with
`unknown`; `check FOLDER` computes the same functions of the numbers in that folder. The first line
that it writes says what it is.
"""

import itertools
import random
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

VOCABULARY, EMBEDDING, HIDDEN, ATTENTION, LAYERS = 115, 128, 256, 128, 2
BATCH, SOURCE, FRAME, TARGET = 64, 20, 15, 25
BEAM, TOKENS, BEGIN = 5, 25, 2


class Attention(nn.Module):
    """Additive attention without biases (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(HIDDEN, ATTENTION, bias=False)
        self.key = nn.Linear(HIDDEN, ATTENTION, bias=False)
        self.score = nn.Linear(ATTENTION, 1, bias=False)

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
        # As tutorials write it, and PyTorch's fastest; by whether keys are hoisted.
        self.optimisers = {
            hoisted: torch.optim.Adam(self.parameters, 1e-3, fused=hoisted)
            for hoisted in (False, True)
        }
        self.source = torch.randn(BATCH, SOURCE, FRAME)
        # What the decoder reads when it is forced, and what it is to predict.
        self.input = torch.randint(4, VOCABULARY, (BATCH, TARGET))
        self.output = torch.randint(4, VOCABULARY, (BATCH, TARGET))

    def train(self, training):
        self.encoder.train(training)
        self.decoder.train(training)

    def loss(self, hoisted, forcing):
        """The keys are projected once when `hoisted`, at every step otherwise."""
        memory, state = self.encoder(self.source)
        keys = self.decoder.attention.key(memory) if hoisted else None
        logits = []
        for step in range(TARGET):
            forced = step == 0 or random.random() < forcing
            token = self.input[:, step] if forced else scores.argmax(1)
            scores, state = self.decoder(token, state, memory, keys)
            logits.append(scores)
        logits = torch.stack(logits, 1).reshape(-1, VOCABULARY)
        return F.cross_entropy(logits, self.output.reshape(-1), ignore_index=0)

    def update(self, hoisted, forcing):
        self.train(True)
        self.optimisers[hoisted].zero_grad()
        self.loss(hoisted, forcing).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimisers[hoisted].step()

    @torch.inference_mode()
    def greedy(self):
        self.train(False)
        memory, state = self.encoder(self.source[:1])
        keys = self.decoder.attention.key(memory)
        token, tokens = torch.tensor([BEGIN]), []
        for _ in range(TOKENS):
            scores, state = self.decoder(token, state, memory, keys)
            token = scores.argmax(1)
            tokens.append(token)
        return torch.cat(tokens)

    @torch.inference_mode()
    def beam_loop(self):
        """A call of the decoder for each hypothesis."""
        self.train(False)
        memory, state = self.encoder(self.source[:1])
        keys = self.decoder.attention.key(memory)
        beams = [([BEGIN], state, 0.0)]
        for _ in range(TOKENS):
            candidates = []
            for tokens, state, score in beams:
                last = torch.tensor([tokens[-1]])
                scores, after = self.decoder(last, state, memory, keys)
                best, which = F.log_softmax(scores, 1).topk(BEAM)
                for gain, token in zip(best[0].tolist(), which[0].tolist()):
                    candidates.append((tokens + [token], after, score + gain))
            beams = sorted(candidates, key=lambda beam: -beam[2])[:BEAM]
        return torch.tensor([beams[0][2]])

    @torch.inference_mode()
    def beam_batched(self, sentences):
        """One call of the decoder for all hypotheses of all sentences."""
        self.train(False)
        memory, (h, c) = self.encoder(self.source[:sentences])
        keys = self.decoder.attention.key(memory)
        memory, keys = (x.repeat_interleave(BEAM, 0) for x in (memory, keys))
        h, c = (x.repeat_interleave(BEAM, 1).contiguous() for x in (h, c))
        token = torch.full((sentences * BEAM,), BEGIN)
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
        return totals[:, 0]


    def weights(self):
        """The weights, by the names that the numbers to check have."""
        for name, module in (("encoder", self.encoder), ("decoder", self.decoder.lstm)):
            yield from lstm_weights(name, module)
        attention = self.decoder.attention
        yield "decoder.embedding.weight", self.decoder.embedding.weight
        yield "decoder.attention.query.weight", attention.query.weight
        yield "decoder.attention.key.weight", attention.key.weight
        yield "decoder.attention.v", attention.score.weight
        yield "decoder.output.weight", self.decoder.output.weight
        yield "decoder.output.bias", self.decoder.output.bias

    def check(self, given):
        """Takes the batch and the weights over."""
        take_over("W2", self.weights(), given)
        self.source = given["W2/source"].transpose(0, 1).contiguous()
        self.input = given["W2/input"].T.contiguous()
        self.output = given["W2/output"].T.contiguous()
        self.train(False)
        for workload, hoisted in (("W2", False), ("W2-hoisted", True)):
            self.optimisers[hoisted].zero_grad()
            loss = self.loss(hoisted, forcing=2.0)
            loss.backward()
            yield f"{workload}/loss", loss.detach()
            yield from gradients(workload, self.weights(), given)
        yield "W3/tokens", self.greedy()
        yield "W5-loop/score", self.beam_loop()
        yield "W5/score", self.beam_batched(1)
        yield "W5-64/score", self.beam_batched(64)


def lstm_weights(name, module):
    """The weights of an LSTM, by the names that the numbers to check have."""
    for layer in range(module.num_layers):
        for which in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            yield f"{name}.l{layer}.{which}", getattr(module, f"{which}_l{layer}")


@torch.no_grad()
def take_over(workload, weights, given):
    for name, value in weights:
        value.copy_(given[f"{workload}/{name}"].reshape(value.shape))


def gradients(workload, weights, given):
    """In the shapes of the given weights; a copy of each, since the next pass may reuse it."""
    group = workload.removesuffix("-hoisted")
    for name, value in weights:
        shape = given[f"{group}/{name}"].shape
        yield f"{workload}/d {name}", value.grad.reshape(shape).clone()


class Layer:
    """An LSTM layer, and what it reads."""

    def __init__(self, batch, steps, size, hidden, layers):
        self.lstm = nn.LSTM(size, hidden, layers, batch_first=True)
        self.inputs = itertools.cycle([torch.randn(batch, steps, size) for _ in range(4)])

    def forward(self):
        with torch.inference_mode():
            self.lstm(next(self.inputs))

    def backward(self):
        """Forward, and backward to the input and the weights."""
        x = next(self.inputs).detach().requires_grad_(True)
        self.lstm.zero_grad()
        self.lstm(x)[0].sum().backward()

    def check(self, workload, given):
        take_over(workload, lstm_weights("lstm", self.lstm), given)
        x = given[f"{workload}/x"].transpose(0, 1).contiguous().requires_grad_(True)
        self.lstm.zero_grad()
        y = self.lstm(x)[0]
        y.sum().backward()
        yield f"{workload}/y", y.detach().transpose(0, 1)
        yield f"{workload}/d x", x.grad.transpose(0, 1)
        yield from gradients(workload, lstm_weights("lstm", self.lstm), given)


def main():
    torch.manual_seed(0)
    random.seed(0)
    isa = torch.backends.cpu.get_cpu_capability()
    print(f"PyTorch {torch.__version__}, {isa}", flush=True)
    model = Model()
    layers = {
        "W1a": Layer(64, 50, 256, 512, 1),
        "W1b": Layer(64, 20, 256, 256, 2),
        "W1c": Layer(1, 50, 256, 512, 1),
    }
    known = {
        "W2": lambda: model.update(False, 0.5),
        "W2-hoisted": lambda: model.update(True, 0.5),
        "W3": model.greedy,
        "W5-loop": model.beam_loop,
        "W5": lambda: model.beam_batched(1),
        "W5-64": lambda: model.beam_batched(64),
    }
    for name, layer in layers.items():
        known |= {name: layer.backward, f"{name}-forward": layer.forward}
    for line in sys.stdin:
        name, rest = line.rstrip("\n").split(" ", 1)
        if name == "check":
            given = load_file(Path(rest) / "inputs.safetensors")
            found = dict(model.check(given))
            for name, layer in layers.items():
                found |= layer.check(name, given)
            found = {name: value.float().contiguous() for name, value in found.items()}
            save_file(found, Path(rest) / "outputs.safetensors")
            print("checked", flush=True)
            continue
        if name not in known:
            print("unknown", flush=True)
            continue
        if torch.get_num_threads() != int(rest):
            torch.set_num_threads(int(rest))
        begin = time.perf_counter()
        known[name]()
        print(1e3 * (time.perf_counter() - begin), flush=True)


main()
