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


def write(path, cases):
    arrays = {}
    for case in cases:
        numbers = case.numbers()
        assert not arrays.keys() & numbers.keys(), f"{case.name} is there twice"
        arrays.update(numbers)
    save_file(arrays, path, metadata={"torch": torch.__version__})
    print(f"{path}: {len(cases)} cases, {sum(a.nbytes for a in arrays.values())} bytes")
