"""Sums over the values that pass through one layer; nothing is moved off the device until somebody reads it."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from . import thresholds
from .hooks import LayerCall
from .layer_statistics import LayerStatistics

FOLD = 256  # so many steps' numbers are kept as tensors before they are put together
#: Activations with a flat piece at zero: a unit can be zero on everything and get no gradient.
RECTIFIERS = {"relu", "relu6", "hardswish", "hardsigmoid", "threshold", "softshrink", "hardshrink"}
#: Activations with two limits: their middle and half their height.
LIMITS = dict.fromkeys(("tanh", "hardtanh", "softsign"), (0.0, 1.0))
LIMITS |= dict.fromkeys(("sigmoid", "hardsigmoid"), (0.5, 0.5))
#: Those among them whose values are never negative: there the sign is 0 or 1.
NONNEGATIVE = {"relu", "relu6", "hardsigmoid"}
_SMALL = 1 << 17  # number of values below which calls cost more than sums


def wide(dtype: torch.dtype) -> torch.dtype | None:
    """The dtype to sum in where the values' own is too narrow, or None."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else None


class Series:
    """Pairs (step, number or row of numbers) that stay on the device until somebody reads them.

    All tensors of one series have one shape and one device.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Tensor]] = []
        self.folded: list[tuple[int, list[float]]] = []

    def append(self, step: int, value: Tensor) -> None:
        """Keep a number without waiting for the device."""
        self.waiting.append((step, value))

    def fold(self) -> list[tuple[int, list[float]]]:
        """Move what is waiting off the device, all in one go; returns (step, list of numbers) for everything so far."""
        waiting, self.waiting = self.waiting, []
        if waiting:
            rows = torch.stack([value.reshape(-1) for _, value in waiting]).double().tolist()
            self.folded += [(step, row) for (step, _), row in zip(waiting, rows, strict=True)]
        return self.folded

    def __len__(self) -> int:
        return len(self.waiting)


class Tally:
    """Sum, sum of squares, zeros, saturated values and gradients of one call, step by step."""

    sample = 1 << 14  # shares are counted on at most this many values

    def __init__(self, call: LayerCall) -> None:
        self.call = call
        self.units = 0
        self.seen = 0
        self.rows: list[tuple[int, int, int, Any, Any, Any, Any]] = []
        self.slopes = Series()
        self.folded: list[tuple[float, ...]] = []  # step, n, sampled, sum, norm, nonzero, saturation
        self.alive: Tensor | None = None
        self.gate = False
        self.limits = LIMITS.get(call.kind)
        if call.kind == "hardtanh" and call.module is not None:
            low, high = float(call.module.min_val), float(call.module.max_val)  # type: ignore[arg-type]
            self.limits = (low + high) / 2, (high - low) / 2
        self.counts_zeros = call.role == "activation" and call.kind not in ("softmax", "log_softmax")
        self.rectifier = call.kind in RECTIFIERS
        self.without_units = False

    def add(self, value: Tensor, step: int) -> None:
        """Take in the values of one pass: a handful of kernels, and no wait for the device."""
        dim, n = self.call.unit_dim, value.numel()
        dtype = wide(value.dtype)
        if dim is not None and self.units not in (0, value.shape[dim]):
            # a size that changes from pass to pass is a length or a width: units are no longer counted
            self.without_units, self.rectifier, self.alive = True, False, None
            self.units = self.seen = 0
            self.rows = [(*row[:3], row[3].sum(), *row[4:]) for row in self.rows]
        if self.without_units:
            dim = None
        if dim is None or not self.rectifier:
            total = value.sum(dtype=dtype)
        elif dim == 1 and value.dim() > 2 and n <= _SMALL and value.is_contiguous():
            total = value.sum(0, dtype=dtype).flatten(1).sum(1)  # in two steps, which is faster for small images
        else:
            total = value.sum([d for d in range(value.dim()) if d != dim % value.dim()], dtype=dtype)
        if dim is not None:
            self.units = value.shape[dim]
            self.seen += n // self.units
        norm = torch.linalg.vector_norm(value, dtype=dtype)
        nonzero = saturation = None
        sampled = n
        if self.counts_zeros:
            part = value
            if n > self.sample and value.dim() > 1:
                part = value[: max(1, self.sample * value.shape[0] // n)]
                sampled = part.numel()
            sign = part.sign() if self.call.kind in NONNEGATIVE else part.sign().abs_()
            nonzero = sign.sum(dtype=torch.float32)
            if self.limits is not None:
                middle, half = self.limits
                away = part - middle if middle else part
                saturation = away.abs().sub_(half * thresholds.SATURATED).sign_().sum(dtype=torch.float32)
        self.rows.append((step, n, sampled, total, norm, nonzero, saturation))

    def __len__(self) -> int:
        return len(self.rows)

    def gradient(self, value: Tensor, step: int) -> None:
        """Take in the gradient at this call's output."""
        self.slopes.append(step, torch.linalg.vector_norm(value.detach(), dtype=wide(value.dtype)))

    def fold(self) -> None:
        """Move what is waiting off the device, all in one go."""
        rows, self.rows = self.rows, []
        if rows:
            totals = [row[3] for row in rows]
            if self.rectifier and totals[0].dim():
                stacked = torch.stack(totals)
                alive = (stacked != 0).any(0)
                self.alive = alive if self.alive is None else self.alive | alive
                sums = stacked.sum(1)
            else:
                sums = torch.stack(totals)
            norms = torch.stack([row[4] for row in rows])
            nothing = norms.new_full((), math.nan)
            nonzero = torch.stack([nothing if row[5] is None else row[5] for row in rows])
            saturation = torch.stack([nothing if row[6] is None else row[6] for row in rows])
            columns = torch.stack([c.double() for c in (sums, norms, nonzero, saturation)], 1).tolist()
            self.folded += [(*row[:3], *column) for row, column in zip(rows, columns, strict=True)]

    # reading

    def statistics(self) -> LayerStatistics:
        """The numbers over all steps."""
        self.fold()
        n = sum(row[1] for row in self.folded)
        mean = sum(row[3] for row in self.folded) / n if n else None
        square = sum(row[4] ** 2 for row in self.folded) / n if n else None
        zeros, saturated = self._share(5, zeros=True), self._share(6, zeros=False)
        dead = () if self.alive is None else tuple((~self.alive).nonzero().flatten().tolist())
        std = None
        if mean is not None and square is not None:
            std = math.sqrt(max(square - mean**2, 0.0)) if math.isfinite(square) else math.nan
        return LayerStatistics(
            self.call.name,
            self.call.kind,
            self.call.role,
            units=self.units,
            seen=self.seen,
            mean=mean,
            std=std,
            zeros=zeros,
            dead=len(dead) / self.units if self.alive is not None else None,
            dead_units=dead,
            saturated=saturated,
            gradient=root_mean_square([value for _, (value,) in self.slopes.fold()]),
            finite=square is None or math.isfinite(square),
            gate=self.gate,
        )

    def _share(self, column: int, *, zeros: bool) -> float | None:
        rows = [row for row in self.folded if not math.isnan(row[column])]
        sampled = sum(row[2] for row in rows)
        if not sampled:
            return None
        total = sum(row[column] for row in rows)
        return 1 - total / sampled if zeros else (1 + total / sampled) / 2

    def history(self, quantity: str) -> dict[int, float]:
        """step -> number."""
        self.fold()
        if quantity == "gradient":
            return {step: value for step, (value,) in self.slopes.fold()}
        found = {}
        for step, n, sampled, total, norm, nonzero, saturation in self.folded:
            mean = total / n
            found[int(step)] = {
                "mean": mean,
                "std": math.sqrt(max(norm**2 / n - mean**2, 0.0)) if math.isfinite(norm) else math.nan,
                "zeros": 1 - nonzero / sampled,
                "saturated": (1 + saturation / sampled) / 2,
            }[quantity]
        return found


class ExactTally(Tally):
    """The same with every value counted, and the standard deviation within each unit as well."""

    sample = 1 << 62

    def __init__(self, call: LayerCall) -> None:
        super().__init__(call)
        self.variances: list[Tensor] = []
        self.shape: tuple[int, ...] = ()

    def add(self, value: Tensor, step: int) -> None:
        super().add(value, step)
        self.shape = tuple(value.shape)
        dim = self.call.unit_dim
        if dim is not None:
            others = [d for d in range(value.dim()) if d != dim % value.dim()]
            self.variances.append(value.float().var(others, correction=0).mean())

    def statistics(self) -> LayerStatistics:
        found = super().statistics()
        if not self.variances:
            return found
        variance = float(torch.stack(self.variances).mean())
        return replace(found, signal=math.sqrt(variance) if variance >= 0 else math.nan)


def root_mean_square(values: list[float]) -> float | None:
    """The root mean square of numbers; None if there are none."""
    return math.sqrt(sum(v * v for v in values) / len(values)) if values else None
