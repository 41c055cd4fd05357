"""The checks of the exercises on learning rates accept what is right and say what is wrong."""

import math

import pytest
from torch.optim import lr_scheduler

from convcraft.lab.exercises import check, names


def steps(condition, share):
    return math.ceil(math.log(share) / math.log1p(-1 / condition))


def exact_steps(condition, share):
    return math.log(share) / math.log1p(-1 / condition)


def adam_step(g, rate, beta1, beta2, eps):
    return rate * g / (abs(g) + eps)


def uncorrected(g, rate, beta1, beta2, eps):
    return rate * (1 - beta1) * g / (math.sqrt((1 - beta2) * g * g) + eps)


def cosine(optimizer, epochs, steps):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)


def too_short(optimizer, epochs, steps):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)


def too_long(optimizer, epochs, steps):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=2 * epochs * steps)


def linear(optimizer, epochs, steps):
    return lr_scheduler.LinearLR(optimizer, 1.0, 1e-6, total_iters=epochs * steps)


CURVES = {"A": "raise", "B": "decay", "C": "lower", "D": "keep"}
RIGHT = [
    ("stable-rate", 0.5),
    ("rate-with-momentum", 0.004),
    ("steps-to-shrink", steps),
    ("first-step-of-adam", adam_step),
    ("mend-the-cosine", cosine),
    ("your-schedule", lambda share: 0.01**share),
    ("edge-with-momentum", 1.9),
    ("read-the-curves", CURVES),
]
WRONG = [
    ("stable-rate", 2 / 3, "an entry of the diagonal"),
    ("stable-rate", 1.0, "smallest eigenvalue"),
    ("stable-rate", 0.25, "may be twice that"),
    ("stable-rate", 1 / 3, "the best rate"),
    ("stable-rate", 7.0, "is 7: too large"),
    ("rate-with-momentum", 0.1, "The other way round"),
    ("rate-with-momentum", 0.02 * 0.9 / 0.98, "1 / (1 - 0.9)"),
    ("rate-with-momentum", 0.2, "one of the two factors"),
    ("rate-with-momentum", 0.003, "is 0.003: too small"),
    ("steps-to-shrink", 459, "must be a function"),
    ("steps-to-shrink", exact_steps, "Round up"),
    ("steps-to-shrink", lambda c, s: math.floor(exact_steps(c, s)), "Round up"),
    ("steps-to-shrink", lambda c, s: -exact_steps(c, s), "negative"),
    ("steps-to-shrink", lambda c, s: 459.0, "condition number 2 and share 0.5"),
    ("first-step-of-adam", 0.01, "must be a function"),
    ("first-step-of-adam", lambda *a: -adam_step(*a), "The size is right"),
    ("first-step-of-adam", uncorrected, "without the correction"),
    ("first-step-of-adam", lambda g, rate, *_: rate * g, "gradient descent"),
    ("first-step-of-adam", lambda g, rate, *_: math.copysign(rate, g), "eps 0.01"),
    ("mend-the-cosine", 100, "must be a function"),
    ("mend-the-cosine", lambda *_: 0.1, "must return a scheduler"),
    ("mend-the-cosine", too_short, "rises again"),
    ("mend-the-cosine", too_long, "should end at 0"),
    ("mend-the-cosine", linear, "After a quarter"),
    ("your-schedule", 0.1, "must be a function"),
    ("your-schedule", lambda share: 2.0, "between 0 and 1"),
    ("your-schedule", lambda share: 0.5, "below 0.9"),
    ("your-schedule", lambda share: 1.0, "at most a tenth"),
    ("your-schedule", lambda share: float(share < 0.9), "above half of its largest"),
    ("edge-with-momentum", 0.1, "changes its sign"),
    ("edge-with-momentum", 10.0, "effective rate"),
    ("edge-with-momentum", 1.0, "does move"),
    ("edge-with-momentum", 3.8, "ratio of the edges"),
    ("read-the-curves", "B", "must be a dict"),
    ("read-the-curves", CURVES | {"A": "pray"}, "The remedies are"),
    ("read-the-curves", CURVES | {"A": "lower"}, "still falling"),
    ("read-the-curves", CURVES | {"B": "keep"}, "noisy level"),
    ("read-the-curves", CURVES | {"C": "decay"}, "side of the edge"),
    ("read-the-curves", CURVES | {"D": "raise"}, "anything to mend"),
]


def test_every_check_is_tested():
    tested = {name for name, _ in RIGHT}
    assert tested == {name for name, *_ in WRONG} and tested <= set(names())


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[name for name, _ in RIGHT])
def test_right(name, answer):
    result = check(name, answer)
    assert result, result.message


@pytest.mark.parametrize(
    ("name", "answer", "message"), WRONG, ids=[f"{row[0]}-{i}" for i, row in enumerate(WRONG)]
)
def test_wrong(name, answer, message):
    result = check(name, answer)
    assert not result
    assert message in result.message
