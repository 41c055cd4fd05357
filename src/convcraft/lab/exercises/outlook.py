"""Checks of the exercises of the chapter "Outlook"."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from scipy import integrate, stats

from convcraft import activations
from convcraft.errors import ConvcraftError
from convcraft.lab.claims.criteria import Condition
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes

_POWER = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)


@takes("a tensor")
def function_of_your_own(answer: Callable[..., Any]) -> Iterator[Complaint]:
    """A function of a tensor that is nonlinear, finite, not in the catalogue, and keeps a signal alive."""
    x = torch.linspace(-6, 6, 401, dtype=torch.float64, requires_grad=True)
    y = answer(x)
    if not isinstance(y, torch.Tensor) or y.shape != x.shape:
        yield "the function must return a tensor of the shape of its input."
    if not bool(torch.isfinite(y.detach()).all()):
        yield "values between -6 and 6 are not finite."
    with torch.no_grad():
        one_by_one = torch.stack([answer(value) for value in x.detach()[::40]])
    if wrong := compare(y[::40], one_by_one, "the values of a part of the input", tolerance=1e-9):
        yield f"{wrong} It must treat each value alone."
    if not y.requires_grad:
        yield "no gradient gets through: write it with operations of torch."
    (slope,) = torch.autograd.grad(y.sum(), x)
    if not bool(torch.isfinite(slope).all()):
        yield "slopes between -6 and 6 are not finite."
    if float(slope.max() - slope.min()) < 1e-3:
        yield "that is a straight line: layers of it collapse into one."
    with torch.no_grad():
        for name, entry in activations.catalog().items():
            if entry.function is None:
                continue
            try:
                known = entry.function(x)
            except (ConvcraftError, RuntimeError, TypeError):
                continue
            if isinstance(known, torch.Tensor) and known.shape == y.shape and torch.allclose(known, y):
                yield f"that is {name}, which the book has measured already."
    density = torch.from_numpy(stats.norm.pdf(x.detach().numpy()))
    if float((density * y.detach() ** 2).sum() * (x[1] - x[0]).detach()) < 1e-3:
        yield "of standard normal input hardly anything is left: its second moment is below 0.001."


def _seeds(deviation: float, difference: float, power: float = _POWER) -> int:
    return math.ceil((power * deviation / difference) ** 2)


_ASKED = ("measure", "rates", "seeds", "shows", "opposite")


def registered_test(answer: Any) -> Iterator[Complaint]:
    """A plan of a comparison that decides, written as a dictionary."""
    if not isinstance(answer, Mapping) or set(answer) != set(_ASKED):
        yield f"give a dictionary with the keys {', '.join(_ASKED)}; got {answer!r}."
    if answer["measure"] != "test accuracy":
        yield "what is claimed is an accuracy on images that nobody has seen: neither training nor validation."
    if answer["rates"] != "each its own":
        yield "at one common rate the function for which it was found has the advantage."
    needed = _seeds(0.8, 0.3)
    if not isinstance(answer["seeds"], int) or answer["seeds"] < needed:
        yield f"{answer['seeds']} seeds are too few to see 0.3 points at a deviation of 0.8."
    try:
        shows, opposite = (Condition.parse(str(answer[key])) for key in ("shows", "opposite"))
    except ConvcraftError as error:
        yield str(error)
    if not (shows.low >= 0 and math.isinf(shows.high)):
        yield "the claim says more accuracy: what shows it has to lie above a number."
    if not (opposite.high <= 0 and math.isinf(opposite.low)):
        yield "the opposite has to lie below a number, or the plan cannot lose."


CHECKS: dict[str, Check] = by_name(function_of_your_own, registered_test) | {
    "seeds-for-a-difference": formula(
        _seeds,
        [(0.8, 0.3), (0.5, 0.3), (0.8, 1.0)],
        "the number of seeds for a deviation of {0} and a difference of {1}",
        (
            lambda s, d: _seeds(s, d, stats.norm.ppf(0.975)),
            "so many seeds see it in half of the cases only: the interval's end lies at zero on average.",
        ),
        (lambda s, d: math.floor((_POWER * s / d) ** 2), "so many seeds are not quite enough: round up."),
        (lambda s, d: math.ceil(2 * (_POWER * s / d) ** 2), "that is for two groups; here differences are paired."),
        (lambda s, d: _seeds(s, d, sum(stats.norm.ppf((0.95, 0.8)))), "95 % is the quantile of a one-sided test."),
    ),
    "best-of-equals": formula(
        lambda k: integrate.quad(lambda z: z * k * stats.norm.pdf(z) * stats.norm.cdf(z) ** (k - 1), -9, 9)[0],
        [(2,), (5,), (20,)],
        "the lead of the best of {0} equal functions",
        (lambda k: 0.0, "each has that on average. The one that is picked has not."),
        (lambda k: math.sqrt(2 * math.log(k)), "that is the limit for very many, and an upper bound."),
        (lambda k: float(stats.norm.ppf(1 - 1 / k)), "that is a quantile; the mean of the maximum is larger."),
        tolerance=0.03,
    ),
}
