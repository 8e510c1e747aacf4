"""What the scripts of golden numbers share: a case is run in float64 and its numbers are written.

A file holds, for every case `name` of our table of cases:
    name|in.x      each input, by its name there
    name|out.0     each output
    name|d_out.0   random gradients of the outputs
    name|d_in.x    the gradients of the inputs that these give (zeros where an input has no influence)
"""
import zlib

import numpy
import torch
from safetensors.numpy import save_file

# Other versions may round differently; requirements.txt has this one.
assert torch.__version__.split("+")[0] == "2.15.0", torch.__version__
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def between(low, high):
    return lambda random, shape: random.uniform(low, high, shape)


def away_from_zero(low, high):
    return lambda random, shape: random.choice([-1.0, 1.0], shape) * random.uniform(low, high, shape)


def distinct(random, shape):
    size = int(numpy.prod(shape))
    return random.permutation(0.1 * (numpy.arange(size) - size / 2)).reshape(shape)


class Case:
    """`inputs`: {name: shape} or {name: (shape, domain)}; `function`: tensors by position -> output or outputs."""

    def __init__(self, name, inputs, function):
        self.name, self.inputs, self.function = name, inputs, function

    def numbers(self):
        random = numpy.random.default_rng(zlib.crc32(self.name.encode()))
        arrays = {}
        tensors = []
        for name, spec in self.inputs.items():
            shape, domain = spec if isinstance(spec, tuple) and callable(spec[-1]) else (spec, between(-1, 1))
            value = numpy.asarray(domain(random, tuple(shape)), dtype=numpy.float64)
            arrays[f"in.{name}"] = value
            tensors.append(torch.tensor(value, requires_grad=True))
        outputs = self.function(*tensors)
        outputs = [outputs] if torch.is_tensor(outputs) else list(outputs)
        weights = [torch.tensor(random.uniform(-1, 1, tuple(y.shape))) for y in outputs]
        total = sum((y * w).sum() for y, w in zip(outputs, weights))
        grads = torch.autograd.grad(total, tensors, allow_unused=True)
        for k, (y, w) in enumerate(zip(outputs, weights)):
            arrays[f"out.{k}"] = y.detach().numpy()
            arrays[f"d_out.{k}"] = w.numpy()
        for name, tensor, grad in zip(self.inputs, tensors, grads):
            grad = torch.zeros_like(tensor) if grad is None else grad
            arrays[f"d_in.{name}"] = grad.numpy()
        return {f"{self.name}|{key}": numpy.array(value, order="C") for key, value in arrays.items()}


def philox(key, counter, domain):
    """Philox4x32-10 as our keys use it: four words of 32 bits."""
    low = 0xFFFFFFFF
    words, keys = [counter & low, counter >> 32, 0, domain], [key & low, key >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [(p1 >> 32) ^ words[1] ^ keys[0], p1 & low, (p0 >> 32) ^ words[3] ^ keys[1], p0 & low]
        keys = [(keys[0] + 0x9E3779B9) & low, (keys[1] + 0xBB67AE85) & low]
    return words


def derived(key, word):
    """The key below `key` for one value of a coordinate."""
    words = philox(key, word, 1)
    return words[0] | words[1] << 32


def named(key, name):
    """The key below `key` for a named place: FNV-1a of the name."""
    word = 0xCBF29CE484222325
    for byte in name.encode():
        word = (word ^ byte) * 0x100000001B3 % 2**64
    return derived(key, word)


def dropout_mask(key, rate, first_time, shape):
    """The scaled mask [T, B, H]: keys are derived by time, then by example; four units a call."""
    scaled = numpy.zeros(shape)
    for t, b, h in numpy.ndindex(*shape):
        row = derived(derived(key, first_time + t), b)
        scaled[t, b, h] = 0.0 if philox(row, h // 4, 0)[h % 4] < rate * 2**32 else 1 / (1 - rate)
    return torch.tensor(scaled)


def write(path, cases, **metadata):
    arrays = {}
    for case in cases:
        numbers = case.numbers()
        assert not arrays.keys() & numbers.keys(), f"{case.name} is there twice"
        arrays.update(numbers)
    save_file(arrays, path, metadata={"torch": torch.__version__.split("+")[0], **metadata})
    print(f"{path}: {len(cases)} cases, {sum(a.nbytes for a in arrays.values())} bytes")
