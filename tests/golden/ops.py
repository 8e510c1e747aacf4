"""Golden numbers of the ops: one row here for each of `unspool_tensor::cases`, under the same name."""
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from common import Case, away_from_zero, between, distinct, dropout_mask, write

ANY, POSITIVE = between(-1, 1), between(0.2, 3)


def mask(shape, elements):
    return torch.tensor([c == "1" for c in elements if c in "01"]).reshape(shape)


def x(name, shape, function, domain=ANY):
    return Case(name, {"x": (shape, domain)}, function)


def xy(name, x_shape, y_shape, function, x_domain=ANY, y_domain=ANY):
    return Case(name, {"x": (x_shape, x_domain), "y": (y_shape, y_domain)}, function)


def abc(name, shapes, function):
    return Case(name, dict(zip("abc", shapes)), lambda *parts: function(parts))


def elementwise():
    away = away_from_zero(0.5, 1.5)
    return [
        xy("add", (2, 3), (2, 3), torch.add),
        xy("add/broadcast", (4, 1, 3), (2, 1), torch.add),
        xy("add/scalar", (), (2, 3), torch.add),
        xy("add/empty", (0, 3), (3,), torch.add),
        xy("sub", (2, 3), (2, 3), torch.sub),
        xy("sub/broadcast", (3,), (2, 3), torch.sub),
        xy("mul", (2, 3), (2, 3), torch.mul),
        xy("mul/broadcast", (4, 1, 3), (2, 1), torch.mul),
        xy("div", (2, 3), (2, 3), torch.div, y_domain=away),
        xy("div/broadcast", (3, 1), (2, 1, 4), torch.div, y_domain=away),
        xy("pow", (2, 3), (2, 3), torch.pow, x_domain=POSITIVE),
        xy("pow/broadcast", (3,), (2, 1), torch.pow, x_domain=POSITIVE),
        x("pow_number", (2, 3), lambda x: x**2.5, POSITIVE),
        x("pow_number/cube", (7,), lambda x: x**3),
        x("pow_number/inverse", (2, 3), lambda x: x**-1.0, away),
        x("pow_number/zero", (3,), lambda x: x**0.0),
        x("affine", (3, 2), lambda x: -1.5 * x + 0.25),
        x("exp", (3, 4), torch.exp),
        x("ln", (3, 4), torch.log, POSITIVE),
        x("sqrt", (3, 4), torch.sqrt, POSITIVE),
        x("tanh", (3, 4), torch.tanh, between(-3, 3)),
        x("sigmoid", (3, 4), torch.sigmoid, between(-3, 3)),
        x("relu", (3, 4), torch.relu, away_from_zero(0.1, 1)),
    ]


def reductions():
    shape = (2, 3, 5)
    cases = [
        x("sum/all", shape, torch.sum),
        x("sum/all_keep", shape, lambda x: x.sum((0, 1, 2), keepdim=True)),
        x("sum/several", shape, lambda x: x.sum((2, 0))),
        x("sum/several_keep", shape, lambda x: x.sum((1, 2), keepdim=True)),
        x("sum/length_1", (3, 1), lambda x: x.sum(1)),
        x("mean/all", shape, torch.mean),
        x("mean/several_keep", shape, lambda x: x.mean((0, 2), keepdim=True)),
        x("max/length_1", (1, 4), lambda x: x.max(0).values),
    ]
    for axis in range(3):
        cases += [
            x(f"sum/axis_{axis}", shape, lambda x, axis=axis: x.sum(axis)),
            x(f"mean/axis_{axis}", shape, lambda x, axis=axis: x.mean(axis)),
            x(f"max/axis_{axis}", shape, lambda x, axis=axis: x.max(axis).values, distinct),
        ]
    return cases


def products():
    cases = [xy("matmul/length_1", (1, 1), (1, 4), torch.matmul)]
    for suffix, a, b in [
        ("", (3, 4), (4, 5)),
        ("/at", (4, 3), (4, 5)),
        ("/bt", (3, 4), (5, 4)),
        ("/at_bt", (4, 3), (5, 4)),
    ]:

        def product(x, y, at="at" in suffix, bt="bt" in suffix):
            return (x.mT if at else x) @ (y.mT if bt else y)

        cases += [
            xy(f"matmul{suffix}", a, b, product),
            xy(f"matmul/stacks{suffix}", (2, *a), (2, *b), product),
            xy(f"matmul/stack_matrix{suffix}", (2, *a), b, product),
            xy(f"matmul/matrix_stack{suffix}", a, (2, *b), product),
        ]
    return cases


def movements():
    def gather(name, table, indices):
        names = {"table": table}
        return Case(f"gather_rows{name}", names, lambda table: table[torch.tensor(indices, dtype=torch.int64)])

    def fill(name, shape, mask, value):
        return x(f"masked_fill{name}", shape, lambda x: x.masked_fill(mask, value))

    same = [(2, 3)] * 3
    return [
        x("reshape", (2, 3, 4), lambda x: x.reshape(4, 6)),
        x("reshape/scalar", (1, 1), lambda x: x.reshape(())),
        x("permute", (2, 3, 4), lambda x: x.permute(2, 0, 1)),
        abc("concat/axis_0", [(2, 3), (1, 3), (3, 3)], lambda parts: torch.cat(parts, 0)),
        abc("concat/axis_1", [(2, 3, 2), (2, 0, 2), (2, 1, 2)], lambda parts: torch.cat(parts, 1)),
        abc("concat/axis_2", [(2, 3, 2), (2, 3, 1), (2, 3, 5)], lambda parts: torch.cat(parts, 2)),
        abc("stack/axis_0", same, lambda parts: torch.stack(parts, 0)),
        abc("stack/axis_1", same, lambda parts: torch.stack(parts, 1)),
        abc("stack/axis_2", same, lambda parts: torch.stack(parts, 2)),
        x("slice/axis_0", (4, 3), lambda x: x[1:3]),
        x("slice/step", (2, 7, 3), lambda x: x[:, 1:7:2]),
        x("slice/reversed", (2, 5), lambda x: x.flip(1)),
        # 1..6 backwards by two: 5, 3, 1.
        x("slice/reversed_step", (2, 1, 7), lambda x: x[:, :, [5, 3, 1]]),
        x("slice/length_1", (2, 3), lambda x: x[:, 2:3]),
        x("slice/empty", (2, 3), lambda x: x[2:2]),
        x("split", (2, 7, 3), lambda x: x.split([2, 1, 4], 1)),
        gather("", (5, 3), [4, 0, 4, 1]),
        gather("/matrix", (5, 3), [[1, 1, 2], [0, 3, 1]]),
        gather("/none", (5, 3), []),
        gather("/numbers", (4,), [[2], [2]]),
        fill("", (2, 3), mask((2, 3), "011 100"), -2.0),
        fill("/broadcast", (2, 3, 4), mask((3, 1), "010"), 0.5),
        fill("/infinite", (2, 3), mask((3,), "001"), -math.inf),
    ]


def softmaxes():
    def softmax(name, shape, axis, domain=ANY):
        return x(f"softmax/{name}", shape, lambda x: F.softmax(x, axis), domain)

    def log_softmax(name, shape, axis, domain=ANY):
        return x(f"log_softmax/{name}", shape, lambda x: F.log_softmax(x, axis), domain)

    cases = [
        softmax("length_1", (3, 1), 1),
        softmax("large", (3, 7), 1, between(-1e4, 1e4)),
        softmax("long", (2, 37), 1),
        log_softmax("length_1", (3, 1), 1),
        log_softmax("large", (3, 7), 1, between(-1e3, 1e3)),
    ]
    for axis in range(3):
        cases += [softmax(f"axis_{axis}", (2, 3, 5), axis), log_softmax(f"axis_{axis}", (2, 3, 5), axis)]
    for name, axis, shape, keep in [
        ("masked", 1, (3, 4), mask((3, 4), "1011 0000 0010")),
        ("masked_columns", 0, (3, 4), mask((3, 4), "1011 0001 0011")),
        ("masked_broadcast", 2, (2, 3, 4), mask((2, 1, 4), "1110 1000")),
        ("masked_middle", 1, (2, 3, 2), mask((3, 1), "101")),
    ]:
        # A large negative number, not infinity: a row without any element must not become NaN.
        def masked(x, keep=keep):
            return x.masked_fill(~keep, -1e30)

        cases += [
            x(
                f"softmax/{name}",
                shape,
                lambda x, axis=axis, keep=keep, masked=masked: F.softmax(masked(x), axis).masked_fill(~keep, 0.0),
            ),
            x(
                f"log_softmax/{name}",
                shape,
                lambda x, axis=axis, keep=keep, masked=masked: F.log_softmax(masked(x), axis).masked_fill(
                    ~keep, -math.inf
                ),
            ),
        ]
    return cases


def losses():
    targets = torch.tensor([3, 0, 4, 1, 0, 1])
    shape = (6, 5)

    def case(name, shape=shape, targets=targets, scale=1.0, **options):
        def loss(logits):
            return scale * F.cross_entropy(logits.reshape(-1, 5), targets, **options)

        return Case(f"cross_entropy{name}", {"logits": shape}, loss)

    def tutorials(logits):
        """The target distribution of "The annotated Transformer"; the constant Σ q·ln q is left out."""
        q = torch.full(shape, 0.1 / (5 - 2))
        q.scatter_(1, targets[:, None], 0.9)
        q[:, 0] = 0.0
        q[targets == 0] = 0.0
        return -(q * F.log_softmax(logits, 1)).sum() / 4

    return [
        case(""),
        case("/sum", reduction="sum"),
        case("/given", reduction="sum", scale=1 / 2.5),
        case("/ignored", ignore_index=0),
        case("/ignored_sum", ignore_index=0, reduction="sum"),
        case("/smooth", label_smoothing=0.1),
        case("/smooth_ignored", ignore_index=0, label_smoothing=0.3),
        Case("cross_entropy/smooth_tutorials", {"logits": shape}, tutorials),
        case("/time_major", (3, 2, 5), ignore_index=0),
        x("cross_entropy/large", shape, lambda x: F.cross_entropy(x, targets), between(-1e3, 1e3)),
        # The mean of no tokens is NaN in PyTorch and 0 here, like the sum.
        case("/all_ignored", targets=torch.zeros(6, dtype=torch.int64), ignore_index=0, reduction="sum"),
    ]


def others():
    def norm(name, shape, epsilon):
        width = shape[-1:]
        return Case(
            f"layer_norm{name}",
            {"x": shape, "gain": width, "bias": width},
            lambda x, gain, bias: F.layer_norm(x, width, gain, bias, epsilon),
        )

    return [
        x("dropout", (2, 3, 5), lambda x: x * dropout_mask(7, 0.4, 0, (2, 3, 5))),
        x("dropout/units", (7,), lambda x: x * dropout_mask(7, 0.4, 2, (1, 1, 7))[0, 0]),
        x("dropout/later", (3, 5), lambda x: x * dropout_mask(7, 0.4, 1, (1, 3, 5))[0]),
        x("dropout/nothing", (3, 5), lambda x: x * 1.0),
        norm("", (2, 3, 5), 1e-5),
        norm("/row", (18,), 0.1),
        norm("/length_1", (3, 1), 0.1),
    ]


if __name__ == "__main__":
    cases = elementwise() + reductions() + products() + movements() + softmaxes() + losses() + others()
    write(Path(__file__).parent / "ops.safetensors", cases)
