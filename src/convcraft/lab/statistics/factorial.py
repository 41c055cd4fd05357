"""How much of the variation of a result each factor of a full factorial design explains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcraft._table import table_text
from convcraft.errors import ConvcraftError, unknown
from convcraft.lab.statistics.intervals import Interval, check_level, sample_of

BLOCK, RESIDUAL = "block", "residual"


@dataclass(frozen=True)
class Effect:
    """One line of a table of variance: a main effect ("a"), an interaction ("a x b"), the block or the rest.

    `share` is its part of the total sum of squares. `f` and `p` test it against its noise, and `partial` is
    SS / (SS + SS of the noise) with its interval; all three are None where nothing is left to test against.
    Chapter: Combining techniques.
    """

    name: str
    sum_of_squares: float
    df: int
    share: float
    f: float | None = None
    p: float | None = None
    partial: Interval | None = None
    freedom = property(lambda self: self.df)  #: the name of df before


@dataclass(frozen=True)
class VarianceShares:
    """The effects of a factorial design, largest share first, and what is left; prints as a table.

    `shares["a"]` is a main effect, `shares["a", "b"]` an interaction in either order, `shares["residual"]` and
    `shares["block"]` the two other lines. An unknown one raises ConvcraftError. Chapter: Combining techniques.
    """

    effects: tuple[Effect, ...]
    n: int

    def __getitem__(self, key: str | tuple[str, ...]) -> Effect:
        name = key if isinstance(key, str) else " x ".join(key)
        for effect in self.effects:
            if effect.name == name or sorted(effect.name.split(" x ")) == sorted(name.split(" x ")):
                return effect
        raise unknown("effect", name, [effect.name for effect in self.effects])

    def __str__(self) -> str:
        rows = []
        for e in self.effects:
            tests = ("", "", "")
            if e.f is not None and e.p is not None and e.partial is not None:
                tests = (f"{e.f:.1f}", f"{e.p:.2g}", str(e.partial))
            rows.append((e.name, f"{100 * e.share:.1f} %", str(e.df), *tests))
        return table_text(("effect", "share", "df", "F", "p", "partial share"), rows)

    __repr__ = __str__


def _balanced(sample: NDArray[np.float64], factors: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """The values as an array with one axis for each factor and a last one for replicates."""
    coded, shape = [], []  # the level of each value as a number from 0, and how many levels there are
    for name, labels in factors.items():
        given: Any = labels.tolist() if hasattr(labels, "tolist") else labels  # arrays and tensors
        places: dict[Any, int] = {}
        try:
            codes = np.array([places.setdefault(label, len(places)) for label in given], dtype=np.int64)
        except TypeError:
            raise ConvcraftError(
                f"factor {name!r} must have a list of labels such as text or numbers, one for each value; got "
                f"{labels!r:.60}. Name each level."
            ) from None
        if len(codes) != sample.size or len(places) < 2:
            raise ConvcraftError(
                f"factor {name!r} must have one label for each of the {sample.size} values, and at least 2 levels; "
                f"got {len(codes)} labels of {len(places)} levels. Leave out what does not vary."
            )
        coded.append(codes)
        shape.append(len(places))
    cell = np.ravel_multi_index(coded, shape)
    counts = np.bincount(cell, minlength=math.prod(shape))
    if counts.min() != counts.max():
        raise ConvcraftError(
            f"factors must make a full, balanced design, every one of the {len(counts)} combinations of "
            f"{', '.join(map(repr, factors))} equally often; got combinations with {counts.min()} to "
            f"{counts.max()} values. Run what is missing, and count a diverged run as chance."
        )
    return sample[np.argsort(cell, kind="stable")].reshape(*shape, -1)


def _sum_of_squares(table: NDArray[np.float64], axes: tuple[int, ...]) -> float:
    """That of the interaction of these axes: the mean over all others, less what fewer of them explain."""
    others = tuple(set(range(table.ndim)) - set(axes))
    effect = table.mean(axis=others, keepdims=True)
    for axis in axes:
        effect = effect - effect.mean(axis=axis, keepdims=True)
    return float(np.square(effect).sum()) * (table.size / effect.size)


def _partial(f: float, df: int, rest: int, scale: int, n: int, level: float) -> Interval:
    """The share of an effect against its noise, as if that had `scale` degrees of freedom."""
    from scipy import optimize, stats

    def noncentrality(probability: float) -> float:
        if f > 1e6:  # the spread of the residual is all that matters, and ncf runs out of digits
            return float(f * df * stats.chi2.ppf(1 - probability, rest) / rest)

        def gap(size: float) -> float:
            below = stats.ncf.cdf(f, df, rest, size) if size else stats.f.cdf(f, df, rest)
            return float(np.nan_to_num(below)) - probability  # scipy returns nan where it is too small to hold

        if gap(0.0) <= 0:
            return 0.0
        high = 10.0 * (f * df + n)
        while gap(high) > 0:
            high *= 4
        return float(optimize.brentq(gap, 0.0, high, xtol=1e-9 * high))

    low, high = (noncentrality((1 + sign * level) / 2) for sign in (1, -1))
    estimate = f * df / (f * df + scale)
    return Interval(estimate, low / (low + n), high / (high + n), n, level)


def variance_shares(
    values: ArrayLike,
    factors: Mapping[str, ArrayLike],
    *,
    order: int | None = None,
    block: ArrayLike | None = None,
    pooled: bool = False,
    level: float = 0.95,
) -> VarianceShares:
    r"""Share of each main effect and interaction in the variance of the results of a full factorial design.

    With :math:`\bar y_S` the mean over everything but the factors in S, the effect of S is what its proper subsets
    leave, :math:`e_S = \sum_{T \subseteq S} (-1)^{|S| - |T|}\, \bar y_T`, and its share is
    :math:`\sum e_S^2 / \sum (y - \bar y)^2`, both sums over all N values. Since the design is balanced, the
    shares of all effects and of the residual add up to 1.

    `values` (N,) holds one number for each run, `factors` maps a name to the levels, in the same order:
    every combination of levels must occur equally often. Interactions of more than `order` factors (None:
    all) go to the residual. `block` names the unit that is the same in all combinations, such as the seed;
    its main effect is taken out of the residual, which makes the tests sharper where some seeds are better
    throughout, and each effect is tested against its own interaction with the block: an effect that varies
    from seed to seed is no less noisy because others are stable. `pooled=True` tests all of them against the
    whole residual, as if no effect depended on the seed.

    F and p are those of the analysis of variance with fixed effects. The partial share
    :math:`SS / (SS + SS_{\text{residual}})` estimates :math:`\lambda / (\lambda + N)`, where
    :math:`\lambda = \sum e_S^2 / \sigma^2` of the true effects; the interval is that of the latter, by the
    noncentral F distribution. Its estimate is too large by about (df of the effect) / N where there is no
    effect, and may then lie above the interval. All three assume normal noise of equal variance.

    Raises ConvcraftError for values that are not finite or do not vary, unusable labels, a design that is not
    full and balanced, an `order` outside 1 to the number of factors, and a level outside (0, 1). Source: Fisher
    (1925), Statistical Methods for Research Workers; Steiger (2004), Beyond the F Test: Effect Size Confidence
    Intervals and Tests of Close Fit in the Analysis of Variance and Contrast Analysis. Chapter: Combining techniques.

    >>> runs = [(a, b, seed) for a in "xy" for b in (1, 2) for seed in range(3)]
    >>> values = [{"x": 0, "y": 3}[a] + b + 0.1 * seed for a, b, seed in runs]
    >>> found = variance_shares(values, {"a": [a for a, _, _ in runs], "b": [b for _, b, _ in runs]})
    >>> [(e.name, round(e.share, 3)) for e in found.effects]
    [('a', 0.898), ('b', 0.1), ('a x b', 0.0), ('residual', 0.003)]
    """
    from scipy import stats

    check_level(level)
    sample, names = sample_of(values), list(factors)
    most = len(names) if order is None else order
    if not names or not isinstance(most, int) or not 1 <= most <= len(names):
        raise ConvcraftError(
            f"factors must name at least one factor, and order lie between 1 and their number; got "
            f"{len(names)} factors and order={order!r}. Pass order=2 for main effects and pairs."
        )
    taken = {BLOCK, RESIDUAL} & set(names)
    if taken:
        raise ConvcraftError(
            f"factors must not be called {' or '.join(sorted(taken))}, the other lines of the table; rename them."
        )
    table = _balanced(sample, factors if block is None else {**factors, BLOCK: block})
    table = table - table.mean()
    total = float(np.square(table).sum())
    if total == 0:
        raise ConvcraftError("values must vary, or no variance is left to share; all are equal.")
    sets = [axes for size in range(1, most + 1) for axes in combinations(range(len(names)), size)]
    lines = {" x ".join(names[axis] for axis in axes): axes for axes in sets}
    if block is not None:
        lines[BLOCK] = (len(names),)
    squares = {name: _sum_of_squares(table, axes) for name, axes in lines.items()}
    dfs = {name: math.prod(table.shape[a] - 1 for a in axes) for name, axes in lines.items()}
    n, rest = table.size, table.size - 1 - sum(dfs.values())
    residual = max(0.0, total - sum(squares.values())) if rest else 0.0
    found = []
    for name, square in squares.items():
        df, against, noise = dfs[name], rest, residual
        if block is not None and not pooled and name != BLOCK:  # against the effect's interaction with the block
            against = df * (table.shape[len(names)] - 1)
            noise = _sum_of_squares(table, (*lines[name], len(names)))
        effect = Effect(name, square, df, square / total)
        if against and noise > 1e-12 * total:  # less is rounding
            f = square / df / (noise / against)
            p = float(stats.f.sf(f, df, against))
            effect = replace(effect, f=f, p=p, partial=_partial(f, df, against, rest, n, level))
        found.append(effect)
    found.sort(key=lambda effect: -effect.share)
    return VarianceShares((*found, Effect(RESIDUAL, residual, rest, residual / total)), n)
