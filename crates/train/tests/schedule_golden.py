"""Writes schedule_golden.json: what PyTorch's schedulers make of a learning rate, in float64.

    pip install -r tests/golden/requirements.txt
    python crates/train/tests/schedule_golden.py
"""

import json
import pathlib
import random

import torch
from torch.optim.lr_scheduler import ConstantLR, ExponentialLR, LambdaLR, ReduceLROnPlateau

assert torch.__version__.startswith("2.15.0"), torch.__version__

TOP = 0.02
UPDATES, EPOCHS, VALIDATIONS = 40, 12, 40


def rates(make, steps, top=TOP):
    """The learning rate at each step; `make` gives the scheduler and what a step tells it."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimiser = torch.optim.SGD([parameter], lr=top)
    scheduler, told = make(optimiser)
    found = []
    for step in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step(*told(step))
    return found


def noam(warmup, size):
    """Section 5.3 of "Attention is all you need", times what makes the top `TOP`."""
    factor = TOP * (size * warmup) ** 0.5

    def rate(update):
        step = update + 1
        return factor * size**-0.5 * min(step**-0.5, step * warmup**-1.5)

    return rates(lambda optimiser: (LambdaLR(optimiser, rate), lambda _: ()), UPDATES, top=1.0)


def exponential(factor):
    return rates(lambda o: (ExponentialLR(o, factor), lambda _: ()), EPOCHS)


def plateau(scores, factor, patience, minimum):
    """PyTorch bears `patience` validations without a new best, and cuts after one more."""

    def make(optimiser):
        options = {"threshold": 0.0, "min_lr": minimum, "eps": 0.0}
        scheduler = ReduceLROnPlateau(optimiser, "max", factor, patience - 1, **options)
        return scheduler, lambda step: (scores[step],)

    return rates(make, len(scores))


def scores(seed, top):
    """A climb with ever more falls, in whole numbers, so that some are equal."""
    draw = random.Random(seed)
    return [min(step, top) // 2 + draw.randint(-3, 2) for step in range(VALIDATIONS)]


def main():
    cases = [
        {
            "schedule": {"name": "constant"},
            "by_update": rates(lambda o: (ConstantLR(o, 1.0), lambda _: ()), UPDATES),
        }
    ]
    for warmup, size in [(1, 1), (10, 512), (100, 64)]:
        schedule = {"name": "inverse_square_root", "warmup": warmup}
        cases.append({"schedule": schedule, "by_update": noam(warmup, size)})
    for factor, from_epoch in [(0.5, 1), (0.93, 4), (1.0, 1)]:
        schedule = {"name": "exponential", "factor": factor, "from_epoch": from_epoch}
        # The epochs before the first that counts have the rate of the first.
        by_epoch = [TOP] * (from_epoch - 1) + exponential(factor)
        cases.append({"schedule": schedule, "by_epoch": by_epoch[:EPOCHS]})
    for number, (factor, patience, minimum, top) in enumerate(
        [(0.5, 1, 0.0, 40), (0.7, 2, 0.0, 20), (0.1, 3, 0.001, 10), (0.9, 5, 0.0, 0)]
    ):
        schedule = {"name": "plateau", "factor": factor, "patience": patience, "minimum": minimum}
        told = scores(number, top)
        found = plateau(told, factor, patience, minimum)
        cases.append({"schedule": schedule, "scores": told, "by_validation": found})
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"top": TOP, "cases": cases}, separators=(",", ":")) + "\n")


main()
