"""The range test: the loss while the learning rate grows from step to step."""

import copy
import math
import statistics
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from .._batch import Batch, Loss, cycle, evaluate, resolve_loss, taker
from .._checks import check_count, check_learns, check_number, check_optimizer
from .._restore import preserved
from ..errors import ConvcraftError


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw, and the rates that it suggests. Chapter: Learning rates.

    >>> result = RangeTest((0.1, 1.0), (2.0, 1.0), (2.0, 1.0), 0.3, 1.0, None, 0.1, "…", False)
    >>> print(result)
    range test: 2 steps, rates 0.1 to 1, did not diverge
    suggestion 0.1: …
    """

    rates: tuple[float, ...]  #: learning rate of each step
    losses: tuple[float, ...]  #: loss on the batches of that step, before the step
    #: straight lines fitted to as many neighbours everywhere, at the ends on one side
    smoothed: tuple[float, ...]
    #: where these lines fall fastest per decade of the rate; None when the loss does not fall by more than its noise
    steepest: float | None
    lowest: float  #: where the smoothed loss is lowest
    #: the largest rate whose smoothed loss is not above the first, its noise aside; None when nothing diverged
    largest: float | None
    suggestion: float | None  #: a rate to start from; None when the test shows none
    why: str  #: how the suggestion comes about, in a sentence
    diverged: bool  #: whether the test was ended by the loss

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
    accumulate: int = 1,
    scaler: torch.amp.GradScaler | None = None,
) -> RangeTest:
    r"""Train for some steps at growing learning rates, note the loss, and put everything back.

    Formula: step i of n runs at :math:`\eta_i = \eta_{low} (\eta_{high} / \eta_{low})^{i / (n - 1)}`. The test ends
    early when the loss is not finite, or when its running mean is above :math:`m + (d - 1) \max(|m|, |\ell_0| / 10)`,
    with m the lowest running mean so far, :math:`\ell_0` the mean of the first five losses and d for `divergence`.

    Args:
        model: in the mode that the training will have.
        batches: what can be iterated over again: a DataLoader, a list. Each batch is (input, target),
            (input, input, …, target), ((input, input), target), ({name: input}, target), or a mapping
            with its target under "target", "label", "y" or their plurals.
        optimizer: over the parameters of the model; momentum and decay are its own. With several groups the
            rate goes to the group with the largest rate, and the others keep their ratio to it.
        loss: (output, target) to a tensor of one number, a name such as "mse", or None where the model
            returns its loss.
        low, high: the first and the last rate.
        steps: the number of steps, 3 or more.
        divergence: how many times the lowest running loss ends the test.
        accumulate: batches whose gradients are averaged for one step.
        scaler: of the loss, as training with float16 uses it.

    What is put back, bit for bit, also after an error: parameters, buffers, gradients, modes, the optimizer
    and the scaler, every random state. The position of an iterator is not.

    Raises ConvcraftError when the model has nothing to train, the optimizer holds none of it, the batches are
    not of this form, too few, or on another device, the loss is not a scalar or not finite at the start, or
    low, high, steps or divergence are out of range. Source: Smith (2017), Cyclical Learning Rates for
    Training Neural Networks, section 3.3. Chapter: Learning rates.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(4, 1)
    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> result = range_test(model, [(x, x.sum(1, keepdim=True))], optimizer, nn.MSELoss(), high=100.0)
    >>> result.diverged, 0.001 < result.suggestion < result.largest < 10
    (True, True)
    """
    check_learns("range_test", model)
    check_number("range_test", "low", low, 0, above=True)
    if check_number("range_test", "high", high, 0, above=True) <= low:
        raise ConvcraftError(f"range_test: high must be above low = {low!r}, got {high!r}")
    check_count("range_test", "steps", steps, least=3)
    if check_number("range_test", "divergence", divergence, 0, above=True) <= 1:
        raise ConvcraftError(f"range_test: divergence must be above 1, got {divergence!r}")
    check_count("range_test", "accumulate", accumulate)
    if scaler is not None and (isinstance(scaler, type) or not hasattr(scaler, "scale")):
        got = f"the class {scaler.__name__}" if isinstance(scaler, type) else type(scaler).__name__
        raise ConvcraftError(
            f"range_test: scaler must be a torch.amp.GradScaler, got {got}; leave it out where the training has none"
        )
    check_optimizer("range_test", optimizer, model)
    if scaler is not None and isinstance(optimizer, torch.optim.LBFGS):
        raise ConvcraftError(
            "range_test: optimizer must do without a closure where a scaler is given, got LBFGS; leave out scaler"
        )
    function = resolve_loss("range_test", loss)
    started = [float(group["lr"]) for group in optimizer.param_groups]
    ratios = [rate / max(started) if max(started) > 0 else 1.0 for rate in started]
    rates = [low * (high / low) ** (i / (steps - 1)) for i in range(steps)]
    losses: list[float] = []
    diverged, mean, lowest, floor = False, 0.0, math.inf, 0.0
    with preserved(model, optimizer, batches), _kept(scaler), torch.enable_grad():
        for p in (*model.parameters(), *(p for group in optimizer.param_groups for p in group["params"])):
            p.grad = None
        source = cycle("range_test", batches, model, steps * accumulate, taker(loss))
        for rate in rates:
            for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate * ratio)  # in place, as compiled steps need it
                else:
                    group["lr"] = rate * ratio
            value = _step(model, list(islice(source, accumulate)), optimizer, function, scaler)
            if not losses and not math.isfinite(value):
                raise ConvcraftError(
                    f"range_test: the loss must be finite at the start, got {value}; "
                    "look at the input and the initialization first"
                )
            if not math.isfinite(value):
                diverged = True
                break
            losses.append(value)
            mean += (value - mean) / min(len(losses), 5)  # batches differ: the first five are only averaged
            if len(losses) == 5:
                floor = abs(mean) / 10
            if mean > lowest + (divergence - 1) * max(abs(lowest), floor):
                diverged = True
                break
            if len(losses) >= 5:
                lowest = min(lowest, mean)
    return _suggest(rates[: len(losses)], losses, diverged)


def _step(model: nn.Module, batches: list[Batch], optimizer: Optimizer, loss: Any, scaler: Any) -> float:
    """One step of training; the loss before it, averaged over the batches."""
    values: list[Tensor] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for batch in batches:
            value = evaluate("range_test", model, batch, loss) / len(batches)
            (value if scaler is None else scaler.scale(value)).backward()
            total = value.detach() + total.to(value)
        values.append(total)
        return total

    if scaler is None:
        optimizer.step(closure)  # type: ignore[arg-type]
    else:
        closure()
        scaler.step(optimizer)
        scaler.update()
    return values[0].item()


@contextmanager
def _kept(scaler: Any) -> Iterator[None]:
    """Put a scaler back as it was; None is nothing to put back."""
    before = copy.deepcopy(vars(scaler)) if scaler is not None else {}
    try:
        yield
    finally:
        if scaler is not None:
            vars(scaler).clear()
            vars(scaler).update(before)


_CERTAIN = 4.0  # standard errors by which a loss must fall for the fall to be more than noise


def _lines(losses: list[float], reach: int) -> tuple[list[float], list[float]]:
    """Value and slope by step of straight lines through 2 * reach + 1 neighbours, as many at the ends."""
    n, values, slopes = len(losses), [], []
    width = min(2 * reach + 1, n)
    for i in range(n):
        start = min(max(i - reach, 0), n - width)
        window, middle = losses[start : start + width], start + (width - 1) / 2
        squares = sum((j - middle) ** 2 for j in range(start, start + width)) or 1.0
        slope = sum((j - middle) * y for j, y in enumerate(window, start)) / squares
        values.append(sum(window) / width + slope * (i - middle))
        slopes.append(slope)
    return values, slopes


def _suggest(rates: list[float], losses: list[float], diverged: bool) -> RangeTest:
    reach = max(1, len(losses) // 20)
    smoothed, slopes = _lines(losses, reach)
    at_lowest = min(range(len(losses)), key=smoothed.__getitem__)
    # the standard deviation of a loss about its course, from second differences, robustly
    seconds = [abs(a - 2 * b + c) for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
    noise = statistics.median_high(seconds) / (0.6745 * math.sqrt(6)) if seconds else 0.0
    lowest, error = rates[at_lowest], noise * math.sqrt(2 / (2 * reach + 1))
    first = sum(losses[: 2 * reach + 1]) / len(losses[: 2 * reach + 1])
    fall = first - smoothed[at_lowest]
    # only where a tenth of the fall lies behind: before, a slope is noise
    down = [i for i in range(1, at_lowest) if smoothed[i] <= first - fall / 10 and slopes[i] < 0]
    largest = steepest = suggestion = None
    if diverged:
        high = max(first, smoothed[at_lowest]) + error
        largest = next((rates[i] for i in reversed(range(len(rates))) if smoothed[i] <= high), rates[0])
    if down and fall > _CERTAIN * error:
        steepest = rates[min(down, key=slopes.__getitem__)]
        suggestion = min(steepest, lowest / 3)
        fastest = suggestion == steepest
        choice = "the loss falls fastest there" if fastest else "a third of the rate of lowest loss"
        why = f"{choice}; lowest loss {smoothed[at_lowest]:.3g} at {lowest:.3g}, from {first:.3g} at first"
    elif largest is not None and largest / 10 > rates[0]:
        suggestion = largest / 10
        why = "a tenth of the rate at which the loss rises; before, it does not fall by more than its noise"
    else:
        advice = ", it only rises: try a smaller low" if diverged else ": try a larger high, or more steps"
        why = f"the loss falls nowhere on the way{advice}"
    curves = tuple(rates), tuple(losses), tuple(smoothed)
    return RangeTest(*curves, steepest, lowest, largest, suggestion, why, diverged)
