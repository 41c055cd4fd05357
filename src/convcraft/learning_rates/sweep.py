"""The range test: the loss while the learning rate grows from step to step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ConvcraftError
from ._batches import Loss, check_count, check_model, check_positive, cycle, evaluate
from ._state import preserved

__all__ = ["RangeTest", "range_test"]


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw, and the rates that it suggests.

    Attributes:
        rates: learning rate of each step.
        losses: loss on the batch of that step, before the step.
        smoothed: the losses averaged over their neighbours, nothing lagging behind.
        steepest: where the smoothed loss falls fastest per decade of the rate; None when it falls nowhere.
        lowest: where the smoothed loss is lowest.
        largest: the largest rate whose smoothed loss is not above the first; None when nothing diverged.
        suggestion: a rate to start from; None when the test shows none.
        why: how the suggestion comes about, in a sentence.
        diverged: whether the test was ended by the loss.

    Example:
        >>> result = RangeTest((0.1, 1.0), (2.0, 1.0), (2.0, 1.0), 0.3, 1.0, None, 0.1, "…", False)
        >>> print(result)
        range test: 2 steps, rates 0.1 to 1, did not diverge
        suggestion 0.1: …

    Chapter 5.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    lowest: float
    largest: float | None
    suggestion: float | None
    why: str
    diverged: bool

    def __str__(self) -> str:
        end = "diverged" if self.diverged else "did not diverge"
        ends = f"rates {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        head = f"range test: {len(self.rates)} steps, {ends}, {end}"
        name = "no suggestion" if self.suggestion is None else f"suggestion {self.suggestion:.3g}"
        return f"{head}\n{name}: {self.why}"


def range_test(
    model: nn.Module,
    batches: Iterable[Any],
    optimizer: Optimizer,
    loss: Loss = F.cross_entropy,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    divergence: float = 4.0,
) -> RangeTest:
    r"""Train for some steps at growing learning rates, note the loss, and put everything back.

    Formula: step i of n runs at :math:`\eta_i = \eta_{low} (\eta_{high} / \eta_{low})^{i / (n - 1)}`. The
    test ends early when the loss is not finite, or when its running mean is above
    :math:`m + (d - 1) \max(|m|, |\ell_0| / 10)`, with m the lowest running mean so far, :math:`\ell_0` the
    mean of the first five losses and d for `divergence`.

    Args:
        model: in the mode that the training will have.
        batches: what can be iterated over again: a DataLoader, a list. Each batch is (input, target),
            (input, input, …, target) or ({name: input}, target).
        optimizer: over the parameters of the model; momentum and decay are its own. With several groups the
            rate goes to the group with the largest rate, and the others keep their ratio to it.
        loss: (output, target) to a tensor of one number.
        low, high: the first and the last rate.
        steps: the number of steps, 3 or more.
        divergence: how many times the lowest running loss ends the test.

    What is put back, bit for bit, also after an error: parameters, buffers, gradients, train and eval modes,
    the state and the settings of the optimizer, torch's random state on the CPU and on the devices of the
    model, and generators that modules hold. Not put back: the random state of Python and NumPy, the position
    of an iterator, and what hooks of the user's own have changed.

    Raises:
        ConvcraftError: when the model has nothing to train, the optimizer holds none of it, the batches are
            not of this form, too few, or on another device, the loss is not a scalar or not finite at the
            start, or low, high, steps or divergence are out of range.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Linear(4, 1)
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> result = range_test(model, [(x, x.sum(1, keepdim=True))], optimizer, nn.MSELoss(), high=100.0)
        >>> result.diverged, 0.001 < result.suggestion < result.largest < 10
        (True, True)

    Source: Smith (2017), Cyclical Learning Rates for Training Neural Networks, section 3.3. Chapter 5.
    """
    check_model("range_test", model)
    check_positive("range_test", "low", low)
    if check_positive("range_test", "high", high) <= low:
        raise ConvcraftError(f"range_test: high must be above low = {low!r}, got {high!r}")
    check_count("range_test", "steps", steps, least=3)
    if check_positive("range_test", "divergence", divergence) <= 1:
        raise ConvcraftError(f"range_test: divergence must be above 1, got {divergence!r}")
    ratios = _ratios(model, optimizer)
    rates = [low * (high / low) ** (i / (steps - 1)) for i in range(steps)]
    losses: list[float] = []
    diverged = False
    with preserved(model, optimizer), torch.enable_grad():
        for p in (*model.parameters(), *(p for group in optimizer.param_groups for p in group["params"])):
            p.grad = None
        watch = _Watch(divergence)
        for rate, batch in zip(rates, cycle("range_test", batches, steps), strict=True):
            for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
                _set_rate(group, rate * ratio)
            value = _step(model, batch, optimizer, loss)
            if not losses and not math.isfinite(value):
                raise ConvcraftError(
                    f"range_test: the loss must be finite at the start, got {value}; "
                    "look at the input and the initialization first"
                )
            diverged = watch.has_left(value)
            if math.isfinite(value):
                losses.append(value)
            if diverged:
                break
    return _suggest(rates[: len(losses)], losses, diverged)


def _step(model: nn.Module, batch: Any, optimizer: Optimizer, loss: Loss) -> float:
    """One step of training; the loss before it."""
    values: list[Tensor] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = evaluate("range_test", model, batch, loss)
        value.backward()
        values.append(value.detach())
        return value

    optimizer.step(closure)  # type: ignore[arg-type]
    return values[0].item()


def _ratios(model: nn.Module, optimizer: Any) -> list[float]:
    if not isinstance(optimizer, Optimizer):
        raise ConvcraftError(
            f"range_test: optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not held & {id(p) for p in model.parameters()}:
        raise ConvcraftError(
            "range_test: optimizer must hold parameters of the model, got none of them; "
            "build it from model.parameters()"
        )
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    largest = max(rates)
    return [rate / largest if largest > 0 else 1.0 for rate in rates]


def _set_rate(group: dict[str, Any], rate: float) -> None:
    """In place where the rate is a tensor, as compiled steps need it."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


class _Watch:
    """Tells when the loss has left its course: not finite, or its running mean far above the best so far.

    Batches differ, so the first five losses are only averaged.
    """

    def __init__(self, divergence: float) -> None:
        self.divergence, self.seen, self.average = divergence, 0, 0.0
        self.best, self.floor = math.inf, 0.0

    def has_left(self, value: float) -> bool:
        if not math.isfinite(value):
            return True
        self.seen += 1
        self.average += (value - self.average) / min(self.seen, 5)
        if self.seen == 5:
            self.floor = abs(self.average) / 10
        limit = self.best + (self.divergence - 1) * max(abs(self.best), self.floor)
        if self.average > limit:
            return True
        if self.seen >= 5:
            self.best = min(self.best, self.average)
        return False


def _smooth(losses: list[float], reach: int) -> list[float]:
    """Mean over the neighbours up to `reach` steps away, fewer at the ends, as many on either side."""
    out = []
    for i in range(len(losses)):
        r = min(reach, i, len(losses) - 1 - i)
        window = losses[i - r : i + r + 1]
        out.append(sum(window) / len(window))
    return out


def _suggest(rates: list[float], losses: list[float], diverged: bool) -> RangeTest:
    smoothed = _smooth(losses, max(1, len(losses) // 20))
    at_lowest = min(range(len(losses)), key=smoothed.__getitem__)
    logs = [math.log10(rate) for rate in rates]
    slopes = [(smoothed[i + 1] - smoothed[i - 1]) / (logs[i + 1] - logs[i - 1]) for i in range(1, at_lowest)]
    lowest = rates[at_lowest]
    largest = None
    if diverged:
        high = max(smoothed[0], smoothed[at_lowest])
        largest = next((rates[i] for i in reversed(range(len(rates))) if smoothed[i] <= high), rates[0])
    steepest = None
    if slopes and min(slopes) < 0:
        steepest = rates[1 + min(range(len(slopes)), key=slopes.__getitem__)]
    if steepest is None:
        suggestion = None
        advice = ", it only rises: try a smaller low" if diverged else ": try a larger high, or more steps"
        why = f"the loss falls nowhere on the way{advice}"
    else:
        suggestion = min(steepest, lowest / 3)
        choice = "the loss falls fastest there"
        if suggestion != steepest:
            choice = "a third of the rate of lowest loss"
        lowest_loss, first_loss = smoothed[at_lowest], smoothed[0]
        why = f"{choice}; lowest loss {lowest_loss:.3g} at {lowest:.3g}, from {first_loss:.3g} at first"
    return RangeTest(
        tuple(rates), tuple(losses), tuple(smoothed), steepest, lowest, largest, suggestion, why, diverged
    )
