"""Writes optimiser_golden.json: ten updates by PyTorch's optimisers, in float64.

    pip install -r tests/golden/requirements.txt
    python crates/train/tests/optimiser_golden.py
"""

import json
import pathlib
import random

import torch

assert torch.__version__.startswith("2.15.0"), torch.__version__

STEPS = 10
SHAPES = [(2, 3), (4,), (1, 1), (2, 1, 2)]

# optimiser as in a configuration, learning rate by update (from 0), largest norm
CASES = {
    "sgd": ({"name": "sgd"}, lambda update: 0.1, None),
    "sgd with momentum": ({"name": "sgd", "momentum": 0.9}, lambda update: 0.03, None),
    "sgd with momentum, clipped": (
        {"name": "sgd", "momentum": 0.5},
        lambda update: 0.3 * 0.8**update,
        1.5,
    ),
    "adam": ({"name": "adam"}, lambda update: 0.01, None),
    "adam with other numbers": (
        {"name": "adam", "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        lambda update: 0.02 * (update + 1),
        None,
    ),
    "adam, clipped": ({"name": "adam", "beta2": 0.98, "epsilon": 1e-9}, lambda update: 0.05, 0.2),
    "adamw": ({"name": "adamw"}, lambda update: 0.01, None),
    "adamw with much decay": (
        {"name": "adamw", "beta1": 0.8, "weight_decay": 0.5},
        lambda update: 0.1 / (update + 1),
        4.0,
    ),
}


def make(config, parameters):
    """PyTorch's optimiser for a configuration of ours."""
    options = {"lr": 0.0}
    if config["name"] == "sgd":
        return torch.optim.SGD(parameters, momentum=config.get("momentum", 0.0), **options)
    options["betas"] = (config.get("beta1", 0.9), config.get("beta2", 0.999))
    options["eps"] = config.get("epsilon", 1e-8)
    if config["name"] == "adam":
        return torch.optim.Adam(parameters, **options)
    return torch.optim.AdamW(parameters, weight_decay=config.get("weight_decay", 0.01), **options)


def run(weights, gradients, config, rate, max_norm):
    """The norms of the gradients and the weights, after each update."""
    parameters = [torch.nn.Parameter(w.clone()) for w in weights]
    optimiser = make(config, parameters)
    norms, after = [], []
    for update, step in enumerate(gradients):
        for parameter, gradient in zip(parameters, step):
            parameter.grad = gradient.clone()
        limit = float("inf") if max_norm is None else max_norm
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, limit).item())
        for group in optimiser.param_groups:
            group["lr"] = rate(update)
        optimiser.step()
        after.append([parameter.detach().flatten().tolist() for parameter in parameters])
    return norms, after


def main():
    draw = random.Random(7)

    def tensor(shape, scale):
        numbers = [round(draw.gauss(0, scale), 3) for _ in range(torch.Size(shape).numel())]
        return torch.tensor(numbers, dtype=torch.float64).reshape(shape)

    weights = [tensor(shape, 1) for shape in SHAPES]
    # Some large, some small, so that clipping has work in some updates only.
    gradients = [
        [tensor(shape, 0.05 if step % 3 == 1 else 1) for shape in SHAPES] for step in range(STEPS)
    ]
    golden = {
        "shapes": SHAPES,
        "weights": [w.flatten().tolist() for w in weights],
        "gradients": [[g.flatten().tolist() for g in step] for step in gradients],
        "cases": [],
    }
    for name, (config, rate, max_norm) in CASES.items():
        norms, after = run(weights, gradients, config, rate, max_norm)
        golden["cases"].append(
            {
                "name": name,
                "optimiser": config,
                "rates": [rate(update) for update in range(STEPS)],
                "max_norm": max_norm,
                "norms": norms,
                "weights": after,
            }
        )
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")


main()
