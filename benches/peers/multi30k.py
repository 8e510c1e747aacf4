"""An epoch of translation, English to German, in PyTorch: W6 of `cargo bench --bench peers`.

    multi30k.py prepare DATA FOLDER
    multi30k.py train FOLDER THREADS SEED

`prepare` segments `train.en`, `train.de`, `val.en` and `val.de` of DATA (plain or gzip) by byte-pair
encoding into files of FOLDER, which both sides read. `train` trains one epoch on them, translates
the validation sources greedily into `hypotheses` there, and writes what it found as JSON.
"""

import gzip
import json
import random
import sys
import time
from pathlib import Path

MERGED, LONGEST = 8000, 48
EMBEDDING, HIDDEN = 128, 256
BATCH, WINDOW, STEPS = 64, 20, 60
PAD, UNKNOWN, BEGIN, END = range(4)
SPECIALS = ["<pad>", "<unk>", "<s>", "</s>"]
SUFFIX = "</w>"


def read(folder, name):
    plain = folder / name
    if plain.exists():
        return plain.read_text(encoding="utf-8").splitlines()
    with gzip.open(folder / f"{name}.gz", "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def prepare(data, folder):
    """Pairs of which a side has more than LONGEST pieces are left out of the training."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    def segment(language):
        encoding = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix=SUFFIX))
        encoding.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        settings = {"vocab_size": MERGED, "special_tokens": SPECIALS, "show_progress": False}
        trainer = trainers.BpeTrainer(end_of_word_suffix=SUFFIX, **settings)
        train = read(data, f"train.{language}")
        encoding.train_from_iterator(train, trainer)
        parts = {"train": train, "val": read(data, f"val.{language}")}
        return {
            part: [encoding.encode(line).tokens for line in lines] for part, lines in parts.items()
        }

    source, target = segment("en"), segment("de")
    for part in ("train", "val"):
        pairs = list(zip(source[part], target[part]))
        if part == "train":
            pairs = [pair for pair in pairs if all(0 < len(side) <= LONGEST for side in pair)]
        for side, name in enumerate(("source", "target")):
            lines = "".join(" ".join(pair[side]) + "\n" for pair in pairs)
            (folder / f"{part}.{name}").write_text(lines, encoding="utf-8")


def train(folder, threads, seed):
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    random.seed(seed)

    def sentences(name):
        return [line.split() for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    def vocabulary(lines):
        """As the other side has it: every piece of the training, behind the special ones."""
        pieces = sorted({piece for line in lines for piece in line} - set(SPECIALS))
        return {piece: number for number, piece in enumerate(SPECIALS + pieces)}

    sources, targets = sentences("train.source"), sentences("train.target")
    from_words, to_words = vocabulary(sources), vocabulary(targets)
    back = list(to_words)

    def source_of(line):
        return [from_words.get(piece, UNKNOWN) for piece in line] + [END]

    pairs = [
        (source_of(source), [BEGIN] + [to_words[piece] for piece in target] + [END])
        for source, target in zip(sources, targets)
    ]

    class Translator(nn.Module):
        """A bidirectional GRU; two GRU cells with additive attention in between."""

        def __init__(self):
            super().__init__()
            both = 2 * HIDDEN
            self.read = nn.Embedding(len(from_words), EMBEDDING, padding_idx=PAD)
            self.written = nn.Embedding(len(to_words), EMBEDDING, padding_idx=PAD)
            self.encoder = nn.GRU(EMBEDDING, HIDDEN, bidirectional=True, batch_first=True)
            self.bridge = nn.Linear(both, HIDDEN)
            self.key = nn.Linear(both, both, bias=False)
            self.query = nn.Linear(HIDDEN, both, bias=False)
            self.score = nn.Linear(both, 1, bias=False)
            self.first = nn.GRUCell(EMBEDDING, HIDDEN)
            self.second = nn.GRUCell(both, HIDDEN)
            self.readout = nn.Linear(HIDDEN + EMBEDDING + both, EMBEDDING)
            self.output = nn.Linear(EMBEDDING, len(to_words))
            self.drop_read, self.drop_memory = nn.Dropout(0.3), nn.Dropout(0.5)
            self.drop_readout = nn.Dropout(0.5)
            for name, value in self.named_parameters():
                if name in ("read.weight", "written.weight"):
                    nn.init.normal_(value, 0, 0.05)
                elif value.dim() > 1:
                    nn.init.xavier_normal_(value)

        def encode(self, source):
            lengths = (source != PAD).sum(1)
            packed = nn.utils.rnn.pack_padded_sequence(
                self.drop_read(self.read(source)),
                lengths,
                batch_first=True,
                enforce_sorted=False,
            )
            memory, _ = self.encoder(packed)
            memory, _ = nn.utils.rnn.pad_packed_sequence(memory, batch_first=True)
            memory = self.drop_memory(memory)
            mask = source != PAD
            mean = (memory * mask.unsqueeze(2)).sum(1) / lengths.unsqueeze(1)
            return memory, mask, self.key(memory), torch.tanh(self.bridge(mean))

        def step(self, embedded, state, memory, mask, keys):
            state = self.first(embedded, state)
            hidden = torch.tanh(keys + self.query(state).unsqueeze(1))
            scores = self.score(hidden).squeeze(2).masked_fill(~mask, -1e9)
            weights = F.softmax(scores, 1)
            context = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)
            return self.second(context, state), context

        def logits(self, states, embedded, contexts):
            read = torch.tanh(self.readout(torch.cat([states, embedded, contexts], -1)))
            return self.output(self.drop_readout(read))

        def forward(self, source, target):
            memory, mask, keys, state = self.encode(source)
            embedded = self.written(target)
            states, contexts = [], []
            for step in range(target.size(1)):
                state, context = self.step(embedded[:, step], state, memory, mask, keys)
                states.append(state)
                contexts.append(context)
            return self.logits(torch.stack(states, 1), embedded, torch.stack(contexts, 1))

        @torch.inference_mode()
        def greedy(self, source):
            memory, mask, keys, state = self.encode(source)
            token = torch.full((source.size(0),), BEGIN)
            tokens, done = [], torch.zeros(source.size(0), dtype=torch.bool)
            for _ in range(STEPS):
                embedded = self.written(token)
                state, context = self.step(embedded, state, memory, mask, keys)
                token = self.logits(state, embedded, context).argmax(1)
                tokens.append(token)
                done |= token == END
                if done.all():
                    break
            for row in torch.stack(tokens, 1).tolist():
                yield row[: row.index(END)] if END in row else row

    def padded(rows):
        longest = max(map(len, rows))
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])

    def batches():
        """Sorted by length within windows of some batches, and shuffled again."""
        order = list(range(len(pairs)))
        random.shuffle(order)
        found = []
        for start in range(0, len(order), BATCH * WINDOW):
            window = order[start : start + BATCH * WINDOW]
            window.sort(key=lambda index: [len(side) for side in reversed(pairs[index])])
            found += [window[at : at + BATCH] for at in range(0, len(window), BATCH)]
        random.shuffle(found)
        return found

    model = Translator()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    tokens, loss_sum = 0, 0.0
    begin = time.perf_counter()
    for batch in batches():
        source, target = (padded([pairs[index][side] for index in batch]) for side in (0, 1))
        optimiser.zero_grad()
        logits = model(source, target[:, :-1])
        expected = target[:, 1:].reshape(-1)
        loss = F.cross_entropy(logits.reshape(-1, len(to_words)), expected, ignore_index=PAD)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        count = (expected != PAD).sum().item()
        tokens += count
        loss_sum += loss.item() * count
    seconds = time.perf_counter() - begin

    model.eval()
    lines = [source_of(line) for line in sentences("val.source")]
    with (folder / "hypotheses").open("w", encoding="utf-8") as hypotheses:
        for start in range(0, len(lines), 100):
            for row in model.greedy(padded(lines[start : start + 100])):
                hypotheses.write(" ".join(back[token] for token in row) + "\n")
    found = {
        "version": f"PyTorch {torch.__version__}",
        "parameters": sum(value.numel() for value in model.parameters()),
        "seconds": seconds,
        "tokens": tokens,
        "loss": loss_sum / tokens,
    }
    print(json.dumps(found))


if sys.argv[1] == "prepare":
    prepare(Path(sys.argv[2]), Path(sys.argv[3]))
else:
    train(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
