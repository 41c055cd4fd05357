"""One run of a study, a function of (arm, rate, seed) alone, and the task that a worker gets."""

import json
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from convcraft._restore import host_random_state
from convcraft.errors import ConvcraftError
from convcraft.lab.data.splits import Splits
from convcraft.lab.experiments.score import of_training, score, withhold
from convcraft.lab.experiments.study import MEASURED, RESERVED, Study
from convcraft.lab.experiments.to_json import rounded
from convcraft.lab.experiments.version import compiled
from convcraft.lab.randomness import forked, stream
from convcraft.lab.training import fit, seeded
from convcraft.lab.training.fit import DivergedError

Record = dict[str, Any]


class Key(NamedTuple):
    """Which run: phase ("tuning" or "final"), arm, learning rate (None: the study has none), seed."""

    phase: str
    arm: str
    rate: float | None
    seed: int

    def __str__(self) -> str:
        rate = "" if self.rate is None else f", rate {self.rate:g}"
        return f"{self.phase} run of {self.arm!r}{rate}, seed {self.seed}"


@dataclass(frozen=True)
class Task:
    """What one worker does at a time: some runs of a study; it can be pickled and sent to another machine.

    The worker needs convcraft, not the file of the study: `source` is its text. `study` is the study itself
    if it does not come from a file. `changes` are those of `Study.reduced`.
    """

    name: str
    source: str | None
    keys: tuple[Key, ...]
    device: str = "cpu"
    vectorized: bool = False
    changes: Mapping[str, Any] | None = None
    study: Study | None = None

    def resolve(self) -> Study:
        """The study, with its changes."""
        study = self.study if self.source is None else compiled(self.name, self.source)
        assert study is not None
        return study.reduced(self.changes) if self.changes else study


def run_one(study: Study, key: Key, device: str) -> Record:
    """Do a run; one that diverges counts as chance. Raises ConvcraftError without the measure that chooses."""
    cpu = time.process_time()
    splits = splits_of(study, key.arm, device, key.seed)
    error = ""
    try:
        measures = (_train if study.run is None else _call)(study, key, splits, device)
        name = study.select[0]
        if study.tuned and study.run is not None:
            if name not in measures and key.phase == "tuning":
                raise ConvcraftError(
                    f"run must return the measure that chooses the rate, {name!r}; got {sorted(measures)}. Return "
                    'it, or name another by select=("…", "max").'
                )
            if name in measures and not np.isfinite(last(measures[name])):
                raise DivergedError(f"training stopped: {name} is {last(measures[name])}")
    except DivergedError as stopped:
        measures, error = diverged_measures(study, key, splits), str(stopped)
    return record_of(key, measures, error, time.process_time() - cpu)


def _train(study: Study, key: Key, splits: Splits, device: str) -> dict[str, Any]:
    assert study.model is not None
    model = seeded(lambda: study.model(study.arms[key.arm]), key.seed).to(device)  # type: ignore[misc]
    settings = study.settings_of_fit(key.arm, key.rate)
    history = fit(model, withhold(splits), seed=key.seed, progress=False, **settings)
    measures = of_training(history, key.phase == "final", study.curves)
    if key.phase == "final":
        measures |= measure_final(study, key, splits, model)
    return measures


def measure_final(study: Study, key: Key, splits: Splits, model: torch.nn.Module) -> dict[str, Any]:
    """The score of a trained network, and what the study measures of it."""
    measures = score(model, splits, study.settings_of_fit(key.arm, key.rate).get("loss", "cross_entropy"))
    if study.measure is not None:
        further = dict(study.measure(model, splits, study.arms[key.arm], key.seed))
        taken = (*RESERVED, *MEASURED, "updates", "last_quarter", "test_correct")
        _refuse_names(further, taken)
        measures |= further
    return measures


def _call(study: Study, key: Key, splits: Splits | None, device: str) -> dict[str, Any]:
    assert study.run is not None
    final = key.phase == "final"
    given = splits if final or splits is None else withhold(splits)
    measures = dict(study.run(study.arms[key.arm], key.rate, key.seed, given, final))
    _refuse_names(measures, RESERVED)
    return measures


def _refuse_names(measures: Mapping[str, Any], taken: tuple[str, ...]) -> None:
    for name in measures:
        if name in taken:
            raise ConvcraftError(f"a measure must have a name of its own; got {name!r}. Choose another name.")


def last(value: Any) -> float:
    """The number that counts: the value, or the last of a list; nan where there is none."""
    if isinstance(value, (list, tuple, np.ndarray, torch.Tensor)):
        value = value[-1] if len(value) else None
    return float("nan") if value is None else float(value)


def diverged_measures(study: Study, key: Key, splits: Splits | None) -> dict[str, Any]:
    """What a run with a loss that was not finite counts as: chance accuracy, and no loss."""
    chance = 0.0 if splits is None else splits.chance
    measures: dict[str, Any] = {}
    if study.run is None:
        measures = {"train_loss": [None], "validation_loss": [None], "validation_accuracy": [chance]}
        if key.phase == "final":
            measures |= dict.fromkeys(study.curves)  # missing, since a curve has one length in all runs
    elif study.select[0].endswith("accuracy"):
        measures[study.select[0]] = chance
    if key.phase == "final":
        measures |= {"test_accuracy": chance, "test_loss": None, **study.diverged}
    return measures


def record_of(key: Key, measures: Mapping[str, Any], error: str, cpu: float) -> Record:
    """The record of a run: what it was, whether it diverged, its time, its measures."""
    record: Record = {**key._asdict(), "diverged": bool(error), "error": error, "cpu_seconds": float(f"{cpu:.2g}")}
    return record | {name: rounded(value, name) for name, value in measures.items()}


def splits_of(study: Study, arm: str, device: str, seed: int | None = None) -> Any:
    """The data of an arm on a device (and of a seed, by default the first); loaded once per process."""
    if study.splits is None:
        return None
    own = (study.seeds[0] if seed is None else seed,) if study.splits_by_seed else ()
    return _splits(study.splits, json.dumps(study.arms[arm], sort_keys=True), own, device)


@lru_cache(maxsize=32)
def _splits(load: Any, arm: str, seed: tuple[int, ...], device: str) -> Splits:
    with forked(0):
        splits = load(json.loads(arm), *seed)
    if not isinstance(splits, Splits):
        raise ConvcraftError(f"splits must return Splits; got {type(splits).__name__}. Use data.load.")
    return splits.to(device)


@contextmanager
def surroundings(seed: int, device: str) -> Iterator[None]:
    """One thread, seeded generators, and interrupts that are not swallowed; all is restored afterwards."""
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.enter_context(host_random_state())
        stack.enter_context(forked(stream(seed, "noise"), device))
        stack.enter_context(_interrupts())
        torch.set_num_threads(1)
        random.seed(seed)
        np.random.seed(stream(seed, "noise") % 2**32)
        yield


@contextmanager
def _interrupts() -> Iterator[None]:
    """An interrupt within the block is raised at its end even if the code inside has handled it.

    On Ctrl-C `fit` returns the epochs so far; half a run must not pass for a whole one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def explained(study: Study, key: Key) -> Iterator[None]:
    """Turn any error into a ConvcraftError that says which run failed, and where in the file of the study."""
    try:
        yield
    except Exception as error:
        file = f"{study.name}.py"
        lines = [f for f in traceback.extract_tb(sys.exc_info()[2]) if f.filename == file]
        place = f" ({file}, line {lines[-1].lineno}, in {lines[-1].name})" if lines else ""
        kind = "" if isinstance(error, ConvcraftError) else f"{type(error).__name__}: "
        raise ConvcraftError(
            f"the {key} failed{place}: {kind}{error} Finished runs are kept; fix the study and call again."
        ) from error
