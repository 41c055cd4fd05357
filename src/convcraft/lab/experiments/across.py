"""The activations of the book's studies side by side: one function against ReLU, task by task.

A task is a network trained on one data set with the activation varied, at its long budget. Only results that
follow the protocol are read; arms that break one of its rules (a rate at the edge, a loss still falling) are
left out. Differences are in units of the task's seed deviation, the standard deviation over seeds within a
function (of runs that did not collapse), and positive where the function is better than ReLU. Accuracies,
forecast errors and bounds thus share one axis.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from convcraft.lab.experiments.contrasts import Judged, judge
from convcraft.lab.experiments.recorded import Values
from convcraft.lab.experiments.results import Results, load
from convcraft.lab.experiments.study import Contrast
from convcraft.lab.statistics import Interval


class Task(NamedTuple):
    """Where to find a task: the study, the arm of each function, and the measure ("-" before it: lower is
    better); `chosen_by` is the measure on the validation part, written the same way."""

    study: str
    arms: Mapping[str, str]
    measure: str = "test_accuracy"
    chosen_by: str = "validation_accuracy"


class Effect(NamedTuple):
    """A function minus ReLU in a task: the interval in seed deviations, and how it is judged."""

    task: str
    function: str
    interval: Interval
    judged: Judged

    @property
    def verdict(self) -> str:
        """After Holm's adjustment "ahead" or "behind", else "equal" (within a point) or "open"."""
        word = self.judged.verdict.split(",")[0]
        if word in ("higher", "lower"):
            return "ahead" if self.interval.mean > 0 else "behind"
        return "equal" if word == "equal" else "open"


def _arms(pattern: str, functions: str) -> dict[str, str]:
    return {name: pattern.format(name) for name in functions.split()}


_LEAGUE = "relu leaky_relu elu selu gelu silu mish tanh sigmoid leaky_relu_0.25 prelu prelu_channel swish"
_SLOPES = ("0.01", "0.05", "0.1", "0.2", "0.3", "0.5", "0.8")
_DATA = {
    "digits as they are": "as it is",
    "half the pixels zero": "half zero",
    "nine tenths zero": "nine tenths zero",
    "heavy tails": "heavy tails",
    "noise": "noise 1",
    "more noise": "noise 2",
}
_LOSS = {"chosen_by": "-validation_loss"}


def _tasks() -> dict[str, Task]:
    found = {
        "convolutional": Task("activation_league", _arms("cnn-{}", _LEAGUE)),
        "recurrent": Task("activation_league", _arms("rnn-{}", _LEAGUE)),
    }
    for name, part in _DATA.items():
        found[name] = Task("choosing_data", _arms(f"mlp-{part}-{{}}", "relu tanh elu silu"))
    for part in ("0 to 1", "-1 to 0", "-1 to 1", "standardized"):
        found[f"convolutional, {part}"] = Task("choosing_data", _arms(f"cnn-{part}-{{}}", "relu tanh"))
    for depth in (4, 12):
        slopes = {f"leaky, slope {s}": f"{depth}-{s}" for s in _SLOPES}
        found[f"{depth} layers"] = Task("leaky_slope", {"relu": f"{depth}-0", **slopes})
    same = {name: " ".join([name] * 3) for name in ("relu", "elu", "tanh")}
    found["few digits, convolutional"] = Task("images_mixtures", same)
    for series in ("linear", "mackey-glass", "taxi"):
        for net in ("dense", "tcn", "rnn", "gru"):
            functions = "relu tanh sigmoid silu" if net == "dense" else "relu tanh"
            arms = _arms(f"{series}, {net}, {{}}", functions)
            found[f"{series}, {net}"] = Task("series", arms, "-mase", **_LOSS)
    hidden = _arms("{}, linear", "relu tanh sigmoid silu")
    found["anomalies"] = Task("series_anomalies_long", hidden, "auroc", **_LOSS)
    decoders = {"relu": "sigmoid", "tanh": "hidden tanh", "silu": "hidden silu"}
    found["autoencoder"] = Task("generation_digits", decoders, "bound", **_LOSS)
    for net in ("mean", "cnn", "gru"):
        found[f"messages, {net}"] = Task("recurrent_messages", _arms(f"{net}, {{}}", "relu tanh"), **_LOSS)
    new = ("prelu", "silu", "swish", "acon", "frelu", "dynamic relu", "glu", "kan")
    found["equal parameters"] = Task("outlook_dynamic", {name: name for name in ("relu", *new)})
    return found


#: every task, by what it is called in the figures
TASKS = _tasks()


@cache
def _load(study: str) -> Results:
    return load(study)


def _sound(task: Task) -> dict[str, str]:
    """The arms that break no rule of the protocol."""
    result = _load(task.study)
    weak = {arm for arms in result.shortcomings.values() for arm in arms}
    return {name: arm for name, arm in task.arms.items() if arm not in weak}


def _values(task: Task, arm: str, measure: str) -> Values:
    """A measure of the final runs, signed so that larger is better."""
    sign, name = (-1, measure[1:]) if measure.startswith("-") else (1, measure)
    values = sign * _load(task.study).values(name, arm)
    return values if values.ndim == 1 else values[:, -1]


def _deviation(task: Task, functions: Sequence[str]) -> float:
    """The standard deviation over seeds within a function, without collapsed runs, pooled over functions."""
    spread = []
    for arm in (task.arms[name] for name in functions):
        kept = ~_load(task.study).collapsed(arm, task.measure.removeprefix("-"))
        spread.append(_values(task, arm, task.measure)[kept].var(ddof=1))
    return float(np.sqrt(np.mean(spread)))


def effects(tasks: Mapping[str, Task] = TASKS) -> list[Effect]:
    """Every function minus ReLU in every task, judged with Holm's adjustment over all of them.

    Tasks whose ReLU breaks a rule are left out. Chapter: Outlook.
    """
    found, contrasts, evidence = [], [], []
    for name, task in tasks.items():
        arms = _sound(task)
        if "relu" not in arms:
            continue
        for function in (f for f in arms if f != "relu"):
            measure = task.measure.removeprefix("-")
            contrast = Contrast(arms[function], arms["relu"], measure, family="book")
            found.append((name, function, _deviation(task, list(arms))))
            contrasts.append(contrast)
            evidence.append(_load(task.study).evidence(contrast))
    rows = []
    for (name, function, unit), judged in zip(found, judge(contrasts, evidence), strict=True):
        sign = -1 if tasks[name].measure.startswith("-") else 1
        whole = judged.interval
        mean, *ends = (sign * value / unit for value in (whole.mean, whole.low, whole.high))
        rows.append(Effect(name, function, Interval(mean, min(ends), max(ends), whole.n), judged))
    return rows


class Choice(NamedTuple):
    """A task with the function that validation chose for it, the default of the other tasks, and the test
    score of the first minus that of the second at each seed, in seed deviations of the task."""

    task: str
    chosen: str
    default: str
    gains: Values


def nested_choice(menu: Sequence[str] = ("relu", "tanh", "silu"), tasks: Mapping[str, Task] = TASKS) -> list[Choice]:
    """What choosing the function per task by validation gains over one default for all.

    Tasks: those in which no function on the menu breaks a rule. In each, the function with the best mean
    validation score over the seeds is chosen. Its default has the best mean validation rank over all other
    tasks; ties go to the first on the menu. Both are then scored on the test part. Chapter: Outlook.
    """
    sound = {name: task for name, task in tasks.items() if set(menu) <= _sound(task).keys()}
    scores = np.array([[_values(t, t.arms[f], t.chosen_by).mean() for f in menu] for t in sound.values()])
    ranks = scores.argsort(1).argsort(1)  # (tasks, functions), like the scores
    found = []
    for row, (name, task) in enumerate(sound.items()):
        chosen = menu[int(scores[row].argmax())]
        default = menu[int(np.delete(ranks, row, 0).mean(0).argmax())]
        test = {f: _values(task, task.arms[f], task.measure) for f in (chosen, default)}
        found.append(Choice(name, chosen, default, (test[chosen] - test[default]) / _deviation(task, menu)))
    return found
