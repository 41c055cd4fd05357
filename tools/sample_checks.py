"""What is measured on the result of each NumPy and PyTorch sample. Everything random here is seeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import nn

from sample_helpers import Check, Namespace, gap_check, raises, run, stopped, warned


def grid(low: float = -30, high: float = 30, count: int = 20001, dtype: Any = np.float64) -> np.ndarray:
    """Evenly spaced arguments, zero among them."""
    return np.linspace(low, high, count, dtype=dtype)


def threshold(f: Callable[[Any], Any], dtype: Any) -> float:
    """Largest argument at which `f` still warns of overflow, by bisection between -1000 and 0."""
    low, high = -1000.0, 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if warned(lambda x=middle: f(np.array([x], dtype=dtype))) else (low, middle)
        )
    return low


def relu(space: Namespace) -> list[Check]:
    f, x = space["ReLU"], grid()
    exotic = [3, -3, 2.5, [1, -2, 0]]
    wrong = sum(not np.array_equal(f(v), torch.relu(torch.tensor(v)).numpy()) for v in exotic)
    return [
        gap_check(
            "largest difference from torch.relu on [-30, 30], float64", f(x), torch.relu(torch.tensor(x))
        ),
        ("integers, scalars and lists that differ from torch.relu, of 4", wrong, wrong == 0),
        ("NaN stays NaN, in 1 of 1", int(np.isnan(f(np.nan))), bool(np.isnan(f(np.nan)))),
    ]


def sigmoid(space: Namespace) -> list[Check]:
    f, wide = space["sigmoid"], grid(-1000, 1000)
    with np.errstate(over="ignore"):
        far = f(wide)
    in64, in32 = threshold(f, np.float64), threshold(f, np.float32)
    return [
        gap_check(
            "largest difference from torch.sigmoid on [-30, 30], float64",
            f(grid()),
            torch.sigmoid(torch.tensor(grid())),
            1e-15,
        ),
        gap_check(
            "largest difference from scipy.special.expit on [-1000, 1000], float64", far, expit(wide), 1e-15
        ),
        ("overflow warnings on [-1000, 1000]", n := warned(lambda: f(wide)), n > 0),
        ("warnings of scipy.special.expit there", n := warned(lambda: expit(wide)), n == 0),
        ("largest x that overflows in float64", in64, -710 < in64 < -709),
        ("largest x that overflows in float32", in32, -89 < in32 < -88),
    ]


def tanh(space: Namespace) -> list[Check]:
    f, ends = space["tanh"], space["tanh"](np.array([-1000.0, 1000.0]))
    return [
        gap_check(
            "largest difference from torch.tanh on [-30, 30], float64",
            f(grid()),
            torch.tanh(torch.tensor(grid())),
            1e-7,
        ),
        gap_check("largest difference from -1 and 1 at -1000 and 1000", ends, [-1, 1]),
        ("warnings at -1000 and 1000", n := warned(lambda: f(np.array([-1000.0, 1000.0]))), n == 0),
    ]


def leaky_relu(space: Namespace) -> list[Check]:
    f, x = space["leaky_relu"], grid()
    expected = torch.nn.functional.leaky_relu(torch.tensor(x), 0.01)
    return [
        gap_check("largest difference from leaky_relu of torch on [-30, 30], float64", f(x), expected),
        (
            "dimensions of the result for a scalar",
            np.ndim(f(-2.0)),
            isinstance(f(-2.0), np.ndarray) and np.ndim(f(-2.0)) == 0,
        ),
        ("a Python list raises", e := raises(lambda: f([1.0, -1.0])), e == "TypeError"),
    ]


def adaptive(space: Namespace, text: str) -> list[Check]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.PReLU(), nn.Linear(8, 1))
    repaired, outcome, _, _, _ = run(text, torch=torch, nn=nn, model=model)
    model(torch.randn(16, 4)).pow(2).mean().backward()
    before = model[1].weight.item()
    repaired["optimizer"].step()
    change = abs(model[1].weight.item() - before)
    parameters = len(list(repaired["adaptive_leaky_relu"].parameters()))
    return [
        ("with torch and nn imported it stops at", s := stopped(text, torch=torch, nn=nn), "'model'" in s),
        ("with a model as well it ends as", outcome, outcome == "ran"),
        ("parameters of the activation that it calls adaptive", parameters, parameters == 0),
        ("change of the slope of a PReLU after one step of its optimizer", change, change > 0),
    ]


def random_init(space: Namespace, text: str) -> list[Check]:
    first, second = (run(text, input_size=64, output_size=32)[0]["weights"] for _ in range(2))
    std = float(first.std())
    return [
        ("standard deviation with the sizes 64 and 32 given", std, abs(std - 0.01) < 5e-4),
        gap_check("largest difference between two runs", first, second),
    ]


def zero_init(space: Namespace, text: str, context: str) -> list[Check]:
    sizes = {"input_size": 64, "output_size": 32}
    together = run(context + text, **sizes)[0]["weights"]
    return [
        ("with the sizes given it stops at", s := stopped(text, **sizes), "'np'" in s),
        gap_check(
            "largest |weight| after the preceding sample and with the sizes given",
            together,
            np.zeros((64, 32)),
        ),
    ]


def xavier_and_kaiming(space: Namespace) -> list[Check]:
    torch.manual_seed(0)
    xavier = nn.init.xavier_uniform_(torch.empty(20, 10)).abs().max().item()
    kaiming = space["linear"].weight.abs().max().item()
    torch.manual_seed(1)
    one = nn.init.kaiming_uniform_(torch.empty(20, 10), a=0, mode="fan_in")
    torch.manual_seed(1)
    two = nn.init.kaiming_uniform_(torch.empty(20, 10), nonlinearity="relu")
    layers = (nn.ReLU, nn.ELU)
    return [
        (
            "largest |weight| of the first call, bound sqrt(6/30) = 0.447",
            xavier,
            0.42 < xavier <= (6 / 30) ** 0.5,
        ),
        (
            "largest |weight| of the second call, bound sqrt(6/10) = 0.775",
            kaiming,
            0.7 < kaiming <= (6 / 10) ** 0.5,
        ),
        gap_check("largest difference of the second call from nonlinearity='relu', same seed", one, two),
        (
            "activation modules that it builds",
            n := sum(isinstance(v, layers) for v in space.values()),
            n == 0,
        ),
    ]


def hyperparameters(space: Namespace) -> list[Check]:
    names = {name for name in space if not name.startswith("__")}
    return [
        ("names that it defines", len(names), names == {"learning_rate", "weight_decay", "num_epochs"}),
        ("of them numbers", n := sum(isinstance(space[name], (int, float)) for name in names), n == 3),
    ]


def l2loss(space: Namespace, text: str) -> list[Check]:
    tail = "\n".join(text.strip().splitlines()[-2:])
    weight = space["linear"].weight
    half = 0.5 * weight.pow(2).sum()
    half.backward()
    dropped = int((nn.Dropout(0.5)(torch.ones(10000)) == 0).sum())
    return [
        ("losses of torch.nn called L2Loss", n := int(hasattr(nn, "L2Loss")), n == 0),
        ("its last two lines alone stop at", s := stopped(tail, nn=nn), s.startswith("TypeError")),
        gap_check(
            "largest difference between the weight and the gradient of half the sum of squares",
            weight.grad,
            weight.detach(),
        ),
        ("zeros among 10,000 when the dropout gets a tensor", dropped, 4700 < dropped < 5300),
    ]


def batchnorm(space: Namespace, text: str) -> list[Check]:
    generator = torch.Generator().manual_seed(0)
    layers, outcome, _, _, _ = run(text, input=torch.randn(8, 10, generator=generator))
    output = layers["output"].detach()
    one = torch.randn(1, 10, generator=generator)
    chain = torch.nn.Sequential(layers["linear"], layers["batch_norm"])
    return [
        ("with a tensor of shape (8, 10) it ends as", outcome, outcome == "ran"),
        ("then the largest |column mean|", m := float(output.mean(0).abs().max()), m < 1e-6),
        gap_check(
            "largest difference of a column standard deviation from 1",
            output.std(0, unbiased=False),
            np.ones(20),
            1e-3,
        ),
        ("one row in training mode raises", e := raises(lambda: chain.train()(one)), e == "ValueError"),
        ("one row in evaluation mode raises", e := raises(lambda: chain.eval()(one)), e == "nothing"),
    ]


def dropout(space: Namespace) -> list[Check]:
    f, x, out = space["dropout"], space["X"], space["X_dropout"]
    np.random.seed(0)
    runs = np.stack([f(x, 0.5) for _ in range(100_000)])
    error = np.abs(runs.mean(0) - x) / (x / np.sqrt(len(runs)))
    intact = float((runs != 0).all(axis=(1, 2)).mean())
    with np.errstate(all="ignore"):
        nothing = f(x, 0.0)
    return [
        (
            "entries that are neither 0 nor x/p",
            n := int((~np.isclose(out, 0) & ~np.isclose(out, x / 0.5)).sum()),
            n == 0,
        ),
        ("largest error of the mean over 100,000 runs, in standard errors", e := float(error.max()), e < 3.5),
        ("share of runs without a zero, expected 1/64 = 0.0156", intact, abs(intact - 1 / 64) < 2e-3),
        ("share kept at p = 0.9", k := float((f(np.ones(100_000), 0.9) != 0).mean()), abs(k - 0.9) < 5e-3),
        ("NaN at p = 0, of 6", n := int(np.isnan(nothing).sum()), n == 6),
        ("warnings at p = 0", n := warned(lambda: f(x, 0.0)), n > 0),
    ]


CHECKS: dict[str, Callable[..., list[Check]]] = {
    "code-a1-relu-numpy": relu,
    "code-a1-sigmoid-numpy": sigmoid,
    "code-a1-tanh-numpy": tanh,
    "code-a1-leaky-relu-numpy": leaky_relu,
    "code-a2-random-init": random_init,
    "code-a2-zero-init": zero_init,
    "code-a4-xavier-and-kaiming": xavier_and_kaiming,
    "code-a4-l2loss-and-dropout": l2loss,
    "code-a4-hyperparameters": hyperparameters,
    "code-a4-batchnorm": batchnorm,
    "code-a4-adaptive-activation-and-adagrad": adaptive,
    "code-a5-dropout-numpy": dropout,
}
