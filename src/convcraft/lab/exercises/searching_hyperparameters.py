"""Checks of the exercises of the chapter "Searching hyperparameters"."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes


@takes("a NumPy generator")
def log_uniform_rate(answer: Any) -> Iterator[Complaint]:
    """A function that draws a learning rate between 1e-4 and 1, every factor of ten equally often."""
    rng = np.random.default_rng(0)
    draws = np.array([float(answer(rng)) for _ in range(4000)])
    if draws.min() < 1e-4 * (1 - 1e-9) or draws.max() > 1 + 1e-9:
        span = f"{draws.min():.2g} to {draws.max():.2g}"
        yield f"The rates must lie between 0.0001 and 1; yours reach from {span}."
    if (draws < 0.01).mean() < 0.1:
        yield "Few of your rates are below 0.01, half of the factors of ten. Draw the exponent instead."
    for limit, share in ((0.001, 0.25), (0.01, 0.5), (0.1, 0.75)):
        found = (draws < limit).mean()
        if abs(found - share) > 0.04:
            yield f"Each factor of ten should be hit equally often; {found:.0%} are below {limit}."


def _surplus(count: int, accuracy: float, size: int) -> float:
    generator = torch.Generator().manual_seed(0)
    trials, chance = torch.full((4000, count), float(size)), torch.full((4000, count), accuracy)
    draws = torch.binomial(trials, chance, generator=generator)
    return float((draws / size).max(1).values.mean()) - accuracy


@takes("the number of candidates, the accuracy and the size of the test set")
def winner_by_luck(answer: Any) -> Iterator[Complaint]:
    """How much the best of n scores exceeds the truth when all candidates are equally good."""
    value = float(answer(1, 0.9, 200))
    if abs(value) > 0.004:
        yield f"With a single candidate nothing is chosen, so the expected surplus is 0; got {value:.3f}."
    for count, accuracy, size in ((10, 0.9, 200), (40, 0.9, 200), (40, 0.95, 2000)):
        right = _surplus(count, accuracy, size)
        got = float(answer(count, accuracy, size))
        what = f"the surplus for {count} candidates of accuracy {accuracy} and {size} images"
        yield compare(got, right, what, tolerance=0.15 * right + 5e-4)


def two_reports(answer: Any) -> Iterator[Complaint]:
    """By how many points two reports are too good: the best of 5 on 100 images, of 500 on 10,000."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        yield "The answer must be two numbers, in percentage points: for the first report and the second."
    right = 100 * _surplus(5, 0.9, 100), 100 * _surplus(500, 0.9, 10_000)
    if max(answer) < 0.1:
        yield "In percentage points, please: multiply the shares by 100."
    if answer[0] < answer[1]:
        yield (
            "So more trials would make the second report the worse one. The noise of a score falls with the "
            "root of the number of images; how fast does the best of n grow with n?"
        )
    for name, mine, value in zip(("first", "second"), right, answer, strict=True):
        yield compare(value, mine, f"the surplus of the {name} report", tolerance=0.12)


def _trials(share: float, chance: float) -> float:
    return math.log(1 - chance) / math.log1p(-share)


CHECKS: dict[str, Check] = by_name(log_uniform_rate, winner_by_luck, two_reports) | {
    "trials-to-hit": formula(
        lambda share, chance: math.ceil(_trials(share, chance) - 1e-12),
        [(0.05, 0.95), (0.1, 0.9), (0.01, 0.5)],
        "the trials for a share of {:g} and a probability of {:g}",
        (_trials, "The number of trials is a whole one, and the probability must be reached: round up."),
        (lambda *case: math.floor(_trials(*case)), "The probability must be reached: round up."),
        (lambda share, chance: chance / share, "Chances do not add up. Start from the chance that all miss."),
        (lambda s, p: math.ceil(_trials(s, 1 - p) - 1e-12), "Take 1 minus it, the chance that all trials miss."),
        arguments="the share of the space that is good and the probability",
    )
}
