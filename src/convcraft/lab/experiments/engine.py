"""Running a study: tuning, the choice of the rates, the final runs, and what is put on disk meanwhile."""

from __future__ import annotations

import math
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convcraft.errors import ConvcraftError, unknown
from convcraft.lab.experiments import executors, provenance, store
from convcraft.lab.experiments.plain import plain
from convcraft.lab.experiments.results import Results
from convcraft.lab.experiments.runs import Key, Record, Unit, last
from convcraft.lab.experiments.sources import load_study, results_folder, version
from convcraft.lab.experiments.study import Study

Records = dict[Key, Record]


def plan_tuning(study: Study) -> list[Key]:
    """Every arm at every rate from every tuning seed; none where there is nothing to choose."""
    if not study.tuned:
        return []
    return [
        Key("tuning", arm, rate, seed)
        for arm in study.arms
        for rate in study.rates
        for seed in study.tuning_seeds
    ]


def plan_final(study: Study, rates: Mapping[str, float | None]) -> list[Key]:
    """Every arm at its rate from every seed."""
    return [Key("final", arm, rates[arm], seed) for arm in study.arms for seed in study.seeds]


def choose_rates(study: Study, runs: Iterable[Record]) -> dict[str, float | None]:
    """The rate of each arm with the best mean of the measure that chooses; of equal ones the lower mean
    validation loss wins."""
    if not study.tuned:
        return dict.fromkeys(study.arms, study.rates[0] if study.rates else None)
    measure, direction = study.select
    sign = -1.0 if direction == "max" else 1.0
    grouped: dict[str, dict[float, list[Record]]] = {arm: {} for arm in study.arms}
    for run in runs:
        if run["phase"] == "tuning" and run["arm"] in grouped:
            grouped[run["arm"]].setdefault(run["rate"], []).append(run)
    return {arm: _best(rates, measure, sign) for arm, rates in grouped.items()}


def _best(rates: Mapping[float, Sequence[Record]], measure: str, sign: float) -> float:
    def mean(rate: float, name: str, empty: float) -> float:
        values = [last(run.get(name)) for run in rates[rate]]
        return round(float(np.mean([empty if math.isnan(v) else v for v in values])), 9)

    # A regression has no accuracy: a run that diverged must not look better for it.
    missing = any(
        math.isnan(last(r.get(measure))) for runs in rates.values() for r in runs if not r["diverged"]
    )
    order = {
        rate: (
            0.0 if missing else sign * mean(rate, measure, sign * math.inf),
            mean(rate, "validation_loss", math.inf),
        )
        for rate in rates
    }
    return min(order, key=lambda rate: order[rate])


class _Engine:
    """The state of one call of `run_study`."""

    def __init__(
        self, study: Study, unit: Unit, jobs: int, scheduler: str | None, say: Callable[[str], None]
    ):
        self.study, self.unit, self.jobs, self.scheduler, self.say = study, unit, jobs, scheduler, say
        self.partial: store.Partial | None = None
        self.session, self.start = uuid.uuid4().hex[:12], time.perf_counter()
        self.records: Records = {}
        self.elapsed: dict[str, float] = {}

    def resume(self, partial: store.Partial) -> None:
        self.partial = partial
        partial.open()
        for content in partial.read():
            self.records[store.key_of(content["run"])] = content["run"]
            session = content["session"]
            self.elapsed[session] = max(self.elapsed.get(session, 0.0), content["elapsed"])

    def go(self, bar: Any) -> dict[str, float | None]:
        tuning = plan_tuning(self.study)
        self.phase(tuning, bar)
        rates = choose_rates(self.study, [self.records[key] for key in tuning])
        self.phase(plan_final(self.study, rates), bar)
        keys = [*tuning, *plan_final(self.study, rates)]
        self.records = {key: self.records[key] for key in keys}  # in the order of the plan
        return rates

    def phase(self, keys: Sequence[Key], bar: Any) -> None:
        missing = [key for key in keys if key not in self.records]
        bar.update(len(keys) - len(missing))
        for records in executors.map_unordered(self.units(missing), jobs=self.jobs, scheduler=self.scheduler):
            for record in records:
                self.keep(record)
                bar.update(1)

    def units(self, keys: Sequence[Key]) -> list[Unit]:
        from dataclasses import replace

        return [replace(self.unit, keys=(key,), vectorized=False) for key in keys]

    def keep(self, record: Record) -> None:
        if record["phase"] == "final" and not record["diverged"]:
            for contrast in self.study.contrasts:
                if contrast.measure not in record:
                    raise unknown("measure of a contrast", contrast.measure, record)
        now = time.perf_counter() - self.start
        self.elapsed[self.session] = now
        if self.partial is not None:
            self.partial.save(record, self.session, now)
        self.records[store.key_of(record)] = record


def _settings(study: Study) -> dict[str, Any]:
    settings: dict[str, Any] = {"arms": study.arms, "rates": list(study.rates), "seeds": list(study.seeds)}
    settings["tuning_seeds"] = list(study.tuning_seeds) if study.tuned else []
    settings["select"] = list(study.select)
    if study.run is None:
        settings["fit"] = (
            {arm: _described(study.settings_of_fit(arm, None)) for arm in study.arms}
            if callable(study.fit) and not study.rates
            else "a function"
            if callable(study.fit)
            else _described(study.fit)
        )
    return settings


def _described(settings: Mapping[str, Any]) -> dict[str, Any]:
    def one(value: Any) -> Any:
        try:
            return plain(value, "fit")
        except ConvcraftError:
            return getattr(value, "__name__", type(value).__name__)

    return {key: one(value) for key, value in settings.items()}


def _content(engine: _Engine, device: str) -> dict[str, Any]:
    study, runs = engine.study, list(engine.records.values())
    return {
        "study": study.name,
        "title": study.title,
        "format": store.FORMAT,
        "version": None if study.source is None else version(study.source),
        "provenance": {
            "command": shlex.join(["python", "-m", "convcraft", "study", study.name]),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(sum(engine.elapsed.values()), 1),
            "cpu_seconds": round(sum(run["cpu_seconds"] for run in runs), 1),
            "calls": len(engine.elapsed),
            "jobs": engine.jobs,
            "scheduler": engine.scheduler is not None,
            "device": device,
            "vectorized": engine.unit.vectorized,
            "hardware": provenance.hardware(device),
            "packages": provenance.packages(),
            "data": provenance.data_of(study),
        },
        "settings": _settings(study),
        "contrasts": contrasts_of(study),
        "runs": runs,
    }


def contrasts_of(study: Study) -> list[dict[str, Any]]:
    """The contrasts as they stand in a result."""
    return [dict(vars(contrast)) for contrast in study.contrasts]


class _NoBar:
    def update(self, count: int) -> None:
        pass

    def close(self) -> None:
        pass


def _bar(study: Study, wanted: bool | None) -> Any:
    from convcraft.lab.training.progress import somebody_watches

    if not (somebody_watches() if wanted is None else wanted):
        return _NoBar()
    from tqdm.auto import tqdm

    total = len(plan_tuning(study)) + len(study.arms) * len(study.seeds)
    watched = sys.stderr is not None and sys.stderr.isatty()
    return tqdm(
        total=total, unit="run", desc=study.name, mininterval=0.1 if watched else 30.0, dynamic_ncols=True
    )


def run_study(
    study: Study | str,
    *,
    jobs: int = 1,
    device: str = "cpu",
    scheduler: str | None = None,
    vectorized: bool | None = None,
    quick: bool = False,
    changes: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> Results:
    r"""Run a study, or what is missing of it, and return its results.

    Tuning: every arm at every rate :math:`\eta` from every tuning seed :math:`s`; then
    :math:`\eta^*_a = \arg\max_\eta \operatorname{mean}_s \mathrm{acc}_{val}(a, \eta, s)`, and every arm at
    its own :math:`\eta^*_a` from every seed. Each run is a function of (arm, rate, seed) alone.

    A study given by its name keeps every finished run on disk, goes on where it was stopped, and ends in
    `results/NAME.json` beside the folder of the studies. With `quick`, with `changes` (as `Study.reduced`
    takes them), or given as an object, it is run in memory and no file is touched.

    Args:
        study: name of a study, or a `Study`.
        jobs: processes of this machine, one thread each.
        device: "cpu" or "cuda".
        scheduler: "tcp://HOST:PORT" of a Dask scheduler, instead of processes.
        vectorized: train the runs of an arm together by `fit_many`; None: on a GPU only.
        folder: the folder of the studies.
        progress: a bar with the time left; None: where somebody watches.

    Raises ConvcraftError for an unknown study, where results of another version stand in the way, where a run
    fails, and where the disk refuses.

    >>> study = Study(arms={"a": {"add": 0.0}, "b": {"add": 0.5}}, seeds=range(3),
    ...               run=lambda arm, rate, seed, splits, final: {"score": arm["add"] + seed})
    >>> run_study(study).difference("b", "a", "score")
    0.500 [0.500, 0.500]

    Chapter: Activations.
    """
    stored = isinstance(study, str) and not quick and changes is None
    loaded = load_study(study, folder) if isinstance(study, str) else study
    if jobs < 1:
        raise ConvcraftError(f"jobs must be 1 or more; got {jobs}. Pass the number of processes.")
    _check_device(device)
    if quick:
        changes = {**quick_changes(loaded), **(changes or {})}
    together = device != "cpu" if vectorized is None else vectorized
    object_ = loaded if loaded.source is None else None
    unit = Unit(loaded.name, loaded.source, (), device, together, changes, object_)
    engine = _Engine(unit.resolve(), unit, jobs, scheduler, lambda text: None)
    if not stored:
        return _finish(engine, device, progress)
    return _run_stored(engine, results_folder(folder), progress)


def _run_stored(engine: _Engine, folder: Path, progress: bool | None) -> Results:
    study, device = engine.study, engine.unit.device
    assert study.source is not None
    path, current = folder / f"{study.name}.json", version(study.source)
    if path.exists():
        return _already_done(path, study, current)
    manifest = {"version": current, "device": device, "vectorized": engine.unit.vectorized}
    partial = store.Partial(folder / f".{study.name}", manifest)
    with store.locked(partial.folder / "lock"):
        engine.resume(partial)
        results = _finish(engine, device, progress)
        store.write_result(path, results.content)
        partial.remove()
    return results


def _already_done(path: Path, study: Study, current: str) -> Results:
    content = store.read_result(path)
    store.check_version(path, content["version"], current)
    if content["contrasts"] != contrasts_of(study) or content["title"] != study.title:
        content |= {"contrasts": contrasts_of(study), "title": study.title}
        store.write_result(path, content)
    return Results(content)


def _finish(engine: _Engine, device: str, progress: bool | None) -> Results:
    bar = _bar(engine.study, progress)
    try:
        engine.go(bar)
    finally:
        bar.close()
    return Results(_content(engine, device))


def quick_changes(study: Study) -> dict[str, Any]:
    """What `--quick` changes: two seeds, one tuning seed and, of training, one epoch, unless the study says
    otherwise."""
    changes: dict[str, Any] = {"seeds": study.seeds[:2], "tuning_seeds": study.tuning_seeds[:1]}
    if study.run is None:
        changes["fit"] = {"epochs": 1}
    return {**changes, **study.quick}


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ConvcraftError(f'device must be "cpu" or "cuda"; got {device!r}. Pass one of the two.')
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConvcraftError(
            f"device {device!r}: torch finds no GPU here. Leave out --device, or install CUDA."
        )
