"""Contrasts, judged: the paired difference, its adjusted p-value, and whether the arms are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcraft._table import Table
from convcraft.lab.experiments.study import Contrast
from convcraft.lab.statistics import Equivalence, Interval, holm, paired_difference, tost

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Judged:
    """A contrast with what the runs say: `interval` (95 %) of a - b, `p`, `adjusted` (Holm), `equivalence`.

    `verdict` is "higher" or "lower" where the adjusted p is below 0.05, "equal" where the difference is
    shown to lie within the margin, "both" of these as "higher, within the margin", else "undecided".

    Chapter: Activations.
    """

    contrast: Contrast
    interval: Interval
    p: float
    adjusted: float
    equivalence: Equivalence | None

    a = property(lambda self: self.contrast.a)
    b = property(lambda self: self.contrast.b)
    measure = property(lambda self: self.contrast.measure)
    claim = property(lambda self: self.contrast.claim)
    margin = property(lambda self: self.contrast.margin)
    family = property(lambda self: self.contrast.family)

    @property
    def equivalent(self) -> bool:
        """Whether the difference is shown to be smaller than the margin."""
        return self.equivalence is not None and self.equivalence.equivalent

    @property
    def verdict(self) -> str:
        """What is decided, in a word or two."""
        if self.adjusted < 0.05:
            direction = "higher" if self.interval.mean > 0 else "lower"
            return f"{direction}, within the margin" if self.equivalent else direction
        return "equal" if self.equivalent else "undecided"

    def __str__(self) -> str:
        difference = f"{self.a} - {self.b}, {self.measure}: {self.interval}"
        return f"{difference}, p = {self.adjusted:.2g} (Holm): {self.verdict}"


class Contrasts(Table[Judged]):
    """The judged contrasts of a study; prints as a table."""

    headings = ("contrast", "measure", "difference", "p", "p (Holm)", "family", "equal within", "verdict")

    def cells(self, row: Judged) -> tuple[str, ...]:
        within = "" if row.margin is None else f"±{row.margin:g}: {'yes' if row.equivalent else 'not shown'}"
        return (
            f"{row.a} - {row.b}",
            row.measure,
            row.interval.format(4),
            f"{row.p:.2g}",
            f"{row.adjusted:.2g}",
            str(row.family),
            within,
            row.verdict,
        )


def paired_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sided p of the paired t test; of differences that are all the same 0, or 1 where that is 0."""
    from scipy import stats

    difference = first - second
    if np.ptp(difference) == 0:
        return float(difference[0] == 0)
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def judge(contrasts: Sequence[Contrast], pairs: Sequence[Pair]) -> Contrasts:
    """Judge contrasts from the values of both arms, with Holm's adjustment in each family."""
    p = np.array([paired_p(*pair) for pair in pairs])
    adjusted = p.copy()
    for family in {contrast.family for contrast in contrasts}:
        rows = [i for i, contrast in enumerate(contrasts) if contrast.family == family]
        adjusted[rows] = holm(p[rows])
    found: list[Any] = []
    for contrast, (a, b), raw, holmed in zip(contrasts, pairs, p, adjusted, strict=True):
        equivalence = None if contrast.margin is None else tost(a, b, contrast.margin)
        found.append(Judged(contrast, paired_difference(a, b), float(raw), float(holmed), equivalence))
    return Contrasts(found)
