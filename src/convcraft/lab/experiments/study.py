"""What a study is: the arms, the grid, the seeds, what is done in a run, and the contrasts that decide."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Self

from convcraft._checks import check_all_known, check_count, check_known
from convcraft.errors import ConvcraftError
from convcraft.lab.experiments.to_json import plain
from convcraft.lab.randomness import check_seed

Arm = dict[str, Any]
MEASURED = ("train_loss", "validation_loss", "validation_accuracy", "test_accuracy", "test_loss")
#: what the engine itself writes into the record of a run
RESERVED = ("phase", "arm", "rate", "seed", "diverged", "error", "cpu_seconds")
_QUICK = ("arms", "rates", "seeds", "tuning_seeds", "fit")
#: this many rates, the best on the first tuning seeds, are run from all of them
KEPT = 3
_NOT_FIT = ("model", "splits", "seed", "progress", "device")


@dataclass(frozen=True)
class Contrast:
    r"""A comparison stated before the runs: arm `a` minus arm `b` in one measure, on the same seeds.

    :math:`d_s = m_a(s) - m_b(s)`, judged by the paired t test of :math:`\bar d = 0`, adjusted by Holm's method within
    `family` (by default all contrasts of the same measure), and by the equivalence test with `margin` (by default 0.01
    for accuracies, and none for other measures). `claim` is the id of the claim that it decides. With `against=(c, d)`
    it is an interaction, (a - b) - (c - d): whether going from b to a helps more than from d to c.

    Raises ConvcraftError when `a` is `b`, for a margin that is not above 0, and for an `against` that is not another
    pair. Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure. Chapter: Activations.

    >>> Contrast("leaky_relu", "relu").margin, str(Contrast("a", "b", against=("c", "d")))
    (0.01, '(a - b) - (c - d)')
    """

    a: str
    b: str
    measure: str = "test_accuracy"
    claim: str | None = None
    margin: float | None = None
    family: str | None = None
    against: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.against is not None:
            object.__setattr__(self, "against", tuple(self.against))
            pairs = ((self.a, self.b), (self.b, self.a))
            if len(self.against) != 2 or len(set(self.against)) < 2 or self.against in pairs:
                raise ConvcraftError(
                    f"against must be two arms that make another pair; got {self.against!r} beside "
                    f"{self.a!r} and {self.b!r}. Pass for example against=('c', 'd')."
                )
        if self.a == self.b:
            raise ConvcraftError(f"a contrast compares two arms; got {self.a!r} twice. Name another arm.")
        if self.margin is None and self.measure.endswith("accuracy"):
            object.__setattr__(self, "margin", 0.01)
        if self.margin is not None and not self.margin > 0:
            raise ConvcraftError(
                f"margin of a contrast must be above 0; got {self.margin}. Pass the largest difference that "
                "does not matter."
            )
        if self.family is None:
            object.__setattr__(self, "family", self.measure)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, those of `against` last."""
        return (self.a, self.b, *(self.against or ()))

    def __str__(self) -> str:
        difference = f"{self.a} - {self.b}"
        return f"({difference}) - ({self.against[0]} - {self.against[1]})" if self.against else difference


@dataclass(frozen=True, eq=False)
class Study:
    """An experiment: every arm at several learning rates for tuning, then at its rate from every seed.

    Give either `splits(arm) -> Splits` and `model(arm) -> Module`, trained by `training.fit` with the keywords
    `fit` (a dict, or a function of the arm, or of the arm and the rate, that returns one) and measured by
    `measure(model, splits, arm, seed) -> dict`; or `run(arm, rate, seed, splits, final) -> dict` for anything
    but "train one network" (`train_and_score` does most of it). During tuning the test part is withheld. If
    each seed has its own training images, use `splits(arm, seed) -> Splits`, with one test part for all.

    Tuning runs all rates from the first three tuning seeds; while an arm's best rate is at an end of its grid,
    the grid is extended there by its own step, up to three times; then it runs the best three from all tuning
    seeds. The smallest rate within a standard error of the best one is chosen, preferably not an end of the
    grid. With at most one rate nothing is tuned.

    Args:
        arms: name -> plain data, whatever tells one arm from another.
        rates: the learning rates of all arms.
        seeds, tuning_seeds: of the final runs, and of the runs that choose the rate; no seed may be in both.
        contrasts: the comparisons, stated beforehand.
        quick: what `--quick` replaces: entries "arms", "rates", "seeds", "tuning_seeds", "fit".
        select: the measure that chooses the rate, and "max" or "min"; the last entry of a list counts.
        diverged: what a diverged run counts as in further measures, for example {"dead_share": 1.0}.
        first: how many tuning seeds to run all rates from, before the best three are run from the rest.
        extensions: how often the grid of an arm may be extended.
        curves: the measures that the final runs keep as a whole curve; the others keep their last entry.
        short: arms whose budget is short on purpose, beside others with a long one.
        trains: False where no network is trained to convergence, so that no budget has to be stated.

    Raises ConvcraftError if any of this is unusable. Chapter: Activations.

    >>> from convcraft.lab.experiments import run_study
    >>> study = Study(arms={"a": {"width": 8}}, seeds=range(2),
    ...               run=lambda arm, rate, seed, splits, final: {"width": arm["width"] + seed})
    >>> run_study(study).values("width", "a")
    array([8., 9.])
    """

    arms: Mapping[str, Arm]
    rates: Sequence[float] = ()
    seeds: Sequence[int] = range(10)
    tuning_seeds: Sequence[int] = range(100, 110)
    splits: Callable[..., Any] | None = None
    model: Callable[[Arm], Any] | None = None
    measure: Callable[..., Mapping[str, Any]] | None = None
    run: Callable[..., Mapping[str, Any]] | None = None
    fit: Mapping[str, Any] | Callable[..., Mapping[str, Any]] = field(default_factory=dict)
    contrasts: Sequence[Contrast] = ()
    quick: Mapping[str, Any] = field(default_factory=dict)
    select: tuple[str, str] = ("validation_accuracy", "max")
    diverged: Mapping[str, Any] = field(default_factory=dict)
    first: int = 3
    extensions: int = 3
    curves: Sequence[str] = ()
    short: Sequence[str] = ()
    trains: bool = True
    name: str = field(default="", init=False)
    title: str = field(default="", init=False)
    source: str | None = field(default=None, init=False, repr=False)
    splits_by_seed: bool = field(default=False, init=False, repr=False)
    _takes_rate: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if not isinstance(self.arms, Mapping) or not self.arms:
            raise ConvcraftError(
                f"arms must be a dict with one arm or more; got {self.arms!r}. Pass {{name: plain data}}."
            )
        set_(self, "arms", plain(self.arms, "arms"))
        rates = tuple(float(rate) for rate in self.rates)
        if any(not (rate > 0 and math.isfinite(rate)) for rate in rates) or len(set(rates)) < len(rates):
            raise ConvcraftError(
                f"rates must be finite numbers above 0, none twice; got {list(rates)}. Pass for example "
                "(0.01, 0.03, 0.1), or () where nothing is tuned."
            )
        set_(self, "rates", rates)
        for name in ("seeds", "tuning_seeds"):
            seeds = tuple(check_seed(seed) for seed in getattr(self, name))
            if not seeds or len(set(seeds)) < len(seeds):
                raise ConvcraftError(
                    f"{name} must hold one seed or more, none twice; got {list(seeds)}. Pass for example range(10)."
                )
            set_(self, name, seeds)
        for name in ("contrasts", "select", "curves", "short"):
            set_(self, name, tuple(getattr(self, name)))
        set_(self, "_takes_rate", callable(self.fit) and len(inspect.signature(self.fit).parameters) > 1)
        by_seed = callable(self.splits) and len(inspect.signature(self.splits).parameters) > 1
        set_(self, "splits_by_seed", by_seed)
        set_(self, "diverged", plain(dict(self.diverged), "diverged"))
        common = sorted(set(self.seeds) & set(self.tuning_seeds))
        if common and self.tuned:
            raise ConvcraftError(
                f"seeds and tuning_seeds must not overlap; got {common} in both. The rate would be chosen on "
                "the runs that it is judged by; take other tuning seeds."
            )
        if len(self.select) != 2 or self.select[1] not in ("min", "max"):
            raise ConvcraftError(
                f'select must be a measure and "min" or "max"; got {self.select!r}. Pass for example '
                '("validation_loss", "min").'
            )
        check_count("Study", "first", self.first)
        check_count("Study", "extensions", self.extensions, 0)
        if (self.run is None) == (self.model is None):
            got = "neither" if self.run is None else "both"
            raise ConvcraftError(
                f"a study needs either run or model; got {got}. Give model(arm) to train a network, or "
                "run(arm, rate, seed, splits, final) for anything else."
            )
        if self.run is not None and (self.measure is not None or self.fit):
            raise ConvcraftError(
                "run does everything itself; got measure or fit as well. Measure within run, or give model."
            )
        if self.model is not None and self.splits is None:
            raise ConvcraftError("splits is needed to train a model; got None. Give splits(arm) -> Splits.")
        for name in ("splits", "model", "measure", "run"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise ConvcraftError(f"{name} must be a function; got {value!r}. Define it with def.")
        if self.model is not None:
            check_known("measure to select by", self.select[0], MEASURED[:3])
        if not callable(self.fit):
            _check_fit(self.fit, bool(self.rates), knows_rate=False)
        for contrast in self.contrasts:
            check_all_known("arm of a contrast", contrast.arms, self.arms)
            if self.model is not None and self.measure is None:
                check_known("measure of a contrast", contrast.measure, MEASURED)
        check_all_known("entry of quick", self.quick, _QUICK)
        check_all_known("arm in short", self.short, self.arms)

    @property
    def tuned(self) -> bool:
        """Whether there are rates to choose from."""
        return len(self.rates) > 1

    def settings_of_fit(self, arm: str, rate: float | None) -> dict[str, Any]:
        """The keywords of `training.fit` for an arm at a rate."""
        fit: Any = self.fit
        if not callable(fit):
            settings = dict(fit)
        else:
            settings = dict(fit(self.arms[arm], rate) if self._takes_rate else fit(self.arms[arm]))
            _check_fit(settings, bool(self.rates), self._takes_rate)
        if rate is not None:
            settings["learning_rate"] = rate
        return settings

    def reduced(self, changes: Mapping[str, Any]) -> Self:
        """The same study with other "arms" (names suffice), "rates", "seeds", "tuning_seeds", "fit" entries.

        Contrasts with an arm that is left out are left out as well. Raises ConvcraftError for any other entry.
        """
        given = dict(changes)
        check_all_known("entry of changes", given, _QUICK)
        if "arms" in given and not isinstance(given["arms"], Mapping):
            names = [given["arms"]] if isinstance(given["arms"], str) else list(given["arms"])
            check_all_known("arm", names, self.arms)
            given["arms"] = {name: self.arms[name] for name in names}
        if "fit" in given:
            given["fit"] = _merged(self.fit, given["fit"], self._takes_rate)
        kept = given.get("arms", self.arms)
        contrasts = tuple(c for c in self.contrasts if kept.keys() >= set(c.arms))
        short = tuple(arm for arm in self.short if arm in kept)
        result = replace(self, contrasts=contrasts, short=short, **given)
        result.identify(self.name, self.title, self.source)
        return result

    def identify(self, name: str, title: str, source: str | None) -> None:
        """Note the name, the title and the source text of the file that the study comes from."""
        for key, value in (("name", name), ("title", title), ("source", source)):
            object.__setattr__(self, key, value)


def _merged(fit: Any, entries: Mapping[str, Any], takes_rate: bool) -> Any:
    if not callable(fit):
        return {**fit, **entries}
    if takes_rate:
        return lambda arm, rate: {**fit(arm, rate), **entries}
    return lambda arm: {**fit(arm), **entries}


@cache
def _entries_of_fit() -> frozenset[str]:
    """What a study may set of `training.fit`."""
    from convcraft.lab.training import fit

    return frozenset(inspect.signature(fit).parameters) - frozenset(_NOT_FIT)


def _check_fit(settings: Mapping[str, Any], rates: bool, knows_rate: bool) -> None:
    check_all_known("entry of fit", settings, _entries_of_fit())
    if rates and "learning_rate" in settings:
        raise ConvcraftError("fit must not hold learning_rate when the study has rates; got both. Drop one.")
    if rates and settings.get("optimizer") is not None and not knows_rate:
        raise ConvcraftError(
            "fit with an optimizer must be a function of (arm, rate), or the optimizer will not know the "
            "rate; got one that does not take it. Write def fit(arm, rate): ..."
        )
