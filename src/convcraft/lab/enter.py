"""`python -m convcraft enter MODULE:FACTORY`: an activation of the user's own beside ReLU, on four tasks.

The protocol is that of the book's studies: each function at its own learning rate, chosen from ten seeds,
then ten others for the comparison; training ends where the validation loss is flat; differences with 95 %
intervals, adjusted by Holm's method over the four tasks; equal means within a point.
"""

import argparse
import functools
import os
import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convcraft import _factory, activations
from convcraft.errors import ConvcraftError
from convcraft.initialization import calculate_gain, initialize
from convcraft.lab import data, models
from convcraft.lab.data import Split, Splits
from convcraft.lab.experiments import Contrast, Results, Study, run_study
from convcraft.lab.tables import table
from convcraft.lab.training import evaluate

REFERENCE, LAGS, HORIZON = "relu", 12, 12


def _mlp(*sizes: int) -> Callable[[Any], nn.Module]:
    return lambda f: models.MLP(sizes, activation=f)


#: task -> (what it is, the network for an activation, the most updates)
TASKS: dict[str, tuple[str, Callable[[Any], nn.Module], int]] = {
    "dense": ("digits, 2 hidden layers of 64", _mlp(64, 64, 64, 10), 2000),
    "deep": ("digits, 12 hidden layers of 32", _mlp(64, *[32] * 12, 10), 2000),
    "convolutional": ("digits, 2 convolutions", lambda f: models.ConvNet((8, 16), hidden=32, activation=f), 1000),
    "forecast": ("noisy chaotic series, 12 steps ahead", _mlp(LAGS, 32, 32, HORIZON), 8000),
}


@functools.cache
def _activation(name: str) -> Any:
    """What makes a layer: a name of the catalogue, or MODULE:FACTORY, in whatever process this is."""
    return _factory.load("enter", name) if ":" in name else name


def _model(arm: dict[str, Any]) -> nn.Module:
    model = TASKS[arm["task"]][1](_activation(arm["activation"]))
    initialize(model)
    return model


def _series() -> np.ndarray:
    """A Mackey-Glass series, standardized by its first part, with noise of a fifth of its deviation."""
    values = data.mackey_glass(1500 + 3 * (LAGS + HORIZON - 1))
    noise = np.random.default_rng(0).normal(size=len(values))
    return (values - values[:600].mean()) / values[:600].std() + 0.2 * noise


@functools.cache
def _windows() -> Splits:
    """LAGS values of a series and the HORIZON after them: 600 windows, 300 and 600, in order of time."""
    values, parts, start = _series(), [], 0
    for count in (600, 300, 600):
        end = start + count + LAGS + HORIZON - 1
        windows = np.lib.stride_tricks.sliding_window_view(values[start:end], LAGS + HORIZON)
        both = torch.tensor(windows, dtype=torch.float32)
        parts.append(Split(both[:, :LAGS], both[:, LAGS:]))
        start = end
    train, validation, test = parts
    return Splits(train, validation, test, "mackey-glass", ())


def _splits(arm: dict[str, Any], seed: int) -> Splits:
    """300 of the digits, drawn anew for each seed."""
    if arm["task"] == "forecast":
        return _windows()
    whole = data.load("digits")
    return replace(whole, train=whole.train.subset(300, seed)).standardized()


def _fit(arm: dict[str, Any]) -> dict[str, Any]:
    updates = TASKS[arm["task"]][2]
    looks = range(updates // 20, updates + 1, updates // 20)
    loss = "mse" if arm["task"] == "forecast" else "cross_entropy"
    return {"updates": updates, "evaluate_at": looks, "batch_size": 50, "flat": 0.01, "loss": loss}


def _measure(model: nn.Module, splits: Splits, arm: dict[str, Any], seed: int) -> dict[str, float]:
    """For the forecast, the share of the variance explained."""
    if arm["task"] != "forecast":
        return {}
    loss = evaluate(model, splits.test, loss="mse").loss
    return {"explained": 1 - loss / float(splits.test.y.var(unbiased=False))}


def _label(activation: str) -> str:
    """The name under which an activation is shown."""
    name = activation.rpartition(":")[2]
    return f"{name} (entered)" if name == REFERENCE else name


def entry(activation: str) -> Study:
    """The study that compares an activation, MODULE:FACTORY or a name of the catalogue, with ReLU.

    >>> len(entry("silu").arms), str(entry("silu").contrasts[0])
    (8, 'dense, silu - dense, relu')
    """
    if activation == REFERENCE:
        raise ConvcraftError("enter: the activation must be another one than relu, which it is compared with")
    entered = _label(activation)
    arms = {
        f"{task}, {label}": {"task": task, "activation": name}
        for task in TASKS
        for label, name in ((entered, activation), (REFERENCE, REFERENCE))
    }
    contrasts = []
    for task in TASKS:
        measure = "explained" if task == "forecast" else "test_accuracy"
        pair = (f"{task}, {entered}", f"{task}, {REFERENCE}")
        contrasts.append(Contrast(*pair, measure=measure, margin=0.01, family="tasks"))
    return Study(
        arms=arms,
        rates=(0.01, 0.03, 0.1, 0.3),
        splits=_splits,
        model=_model,
        measure=_measure,
        fit=_fit,
        select=("validation_loss", "min"),
        diverged={"explained": 0.0},
        contrasts=tuple(contrasts),
        quick={"seeds": range(3), "tuning_seeds": range(100, 101), "rates": (0.03,)},
    )


def _report(results: Results, activation: str) -> str:
    """The differences to ReLU, task by task."""
    judged = {str(row.a).split(", ")[0]: row for row in results.contrasts()}
    weak = {arm for arms in results.shortcomings.values() for arm in arms}
    rows, verdicts = [], []
    for task, row in judged.items():
        means = [f"{100 * results.interval(row.measure, arm).mean:.1f} %" for arm in (row.b, row.a)]
        difference = row.interval.format(1, percent=True)
        verdicts.append("open" if weak & {row.a, row.b} else row.verdict)
        rows.append([TASKS[task][0], *means, difference, f"{row.adjusted:.2g}", verdicts[-1]])
    headings = ["task", "ReLU", activation, "difference", "p (Holm)", "verdict"]
    ahead, behind = (sum(v.startswith(word) for v in verdicts) for word in ("higher", "lower"))
    equal = verdicts.count("equal")
    counts = f"of {len(rows)} tasks ahead of ReLU in {ahead}, behind in {behind}, equal to it in {equal}"
    notes = [f"note: {text}" for text in results.notes]
    return "\n".join([repr(table(headings, rows, decides="difference")), counts, *notes])


def _properties(activation: str) -> str:
    """What the function is, without training: moments, gain, parameters, time."""
    rows, times = [], []
    for name in (REFERENCE, activation):
        layer, single = (models.activation_layer(_activation(name), channels) for channels in (64, 1))
        assert layer is not None and single is not None
        learned = sum(p.numel() for p in layer.parameters())
        try:
            found = activations.moments(single.double().eval())
            numbers = [f"{found.mean:.3f}", f"{found.variance:.3f}", f"{calculate_gain(single):.3f}"]
        except (ConvcraftError, RuntimeError):  # not a function of one value alone
            numbers = ["–"] * 3
        rows.append([_label(name) if name == activation else "ReLU", *numbers, str(learned)])
        step = functools.partial(_step, layer.float(), torch.randn(256, 64, 8, 8, requires_grad=True))
        times.append(statistics.median(timeit.repeat(step, number=1, repeat=15)))
    cells = [[*row, f"{spent / times[0]:.2f}x"] for row, spent in zip(rows, times, strict=True)]
    return repr(table(["function", "mean", "variance", "gain", "parameters of 64 channels", "time"], cells))


def _step(layer: nn.Module, x: Tensor) -> None:
    layer(x).sum().backward()


def _check(activation: str) -> None:
    """Raise unless it makes a layer that keeps the shape."""
    made = _activation(activation)
    layer = _factory.call("enter", activation, lambda: models.activation_layer(made, 64))
    y = _factory.call("enter", activation, lambda: layer(torch.randn(4, 64, 8, 8)))
    if not isinstance(y, Tensor) or y.shape != (4, 64, 8, 8):
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ConvcraftError(f"enter: the activation must keep the shape (4, 64, 8, 8), got {got}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; misuse raises ConvcraftError, which is exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m convcraft enter",
        description="Compare an activation of your own with ReLU on four small tasks, as the book does it.",
        epilog="FACTORY is a module class, a function without arguments (or with `channels`) that makes a "
        "layer, or a function of one tensor, in MODULE (a dotted name, or the path of a .py file); or a name "
        "of the catalogue such as silu.",
    )
    parser.add_argument("activation", metavar="MODULE:FACTORY", help="what makes the activation")
    parser.add_argument("--quick", action="store_true", help="three seeds at one rate: a look, not a result")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (all cores)")
    options = parser.parse_args(list(arguments or ()))
    name = options.activation
    if ":" in name and name.rpartition(":")[0].endswith(".py"):  # the other processes may be elsewhere
        name = os.path.abspath(name)
    elif ":" not in name:
        activations.catalog()[name]  # raises for an unknown name
    study = entry(name)
    _check(name)
    print(_properties(name), "\n", flush=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = options.jobs or cores
    results = run_study(study, jobs=jobs, vectorized=True, quick=options.quick, progress=True)
    print(_report(results, _label(name)))
    return 0
