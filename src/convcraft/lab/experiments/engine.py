"""Running a study: tuning, the choice of the rates, the final runs, and what is saved along the way."""

import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from convcraft._checks import check_known
from convcraft.errors import ConvcraftError
from convcraft.lab.experiments import executors, store
from convcraft.lab.experiments.provenance import content_of, stated
from convcraft.lab.experiments.results import Results
from convcraft.lab.experiments.run import Key, Record, Task
from convcraft.lab.experiments.study import RESERVED, Study
from convcraft.lab.experiments.tuning import choose_rates, count, plan_final, plan_tuning
from convcraft.lab.experiments.vectorized import groups, reason_against
from convcraft.lab.experiments.version import load_study, place, version
from convcraft.lab.training.progress import Bar

Records = dict[Key, Record]


class _Engine:
    """The state of one call of `run_study`."""

    def __init__(self, study: Study, task: Task, jobs: int, scheduler: str | None, say: Callable[[str], None]):
        self.study, self.task, self.jobs, self.scheduler, self.say = study, task, jobs, scheduler, say
        self.partial: store.Partial | None = None
        self.session, self.start = uuid.uuid4().hex[:12], time.perf_counter()
        self.records: Records = {}
        self.elapsed: dict[str, float] = {}
        self.together: set[str] = set()  # the arms whose runs are trained together

    def resume(self, partial: store.Partial) -> None:
        self.partial = partial
        partial.open()
        for content in partial.read():
            self.records[store.key_of(content["run"])] = content["run"]
            session = content["session"]
            self.elapsed[session] = max(self.elapsed.get(session, 0.0), content["elapsed"])

    def go(self, bar: Bar) -> None:
        if self.task.vectorized:
            reasons: dict[str, list[str]] = {}
            for arm in self.study.arms:
                reasons.setdefault(reason_against(self.study, arm), []).append(arm)
            self.together = set(reasons.pop("", []))
            for reason, some in reasons.items():
                self.say(f"one by one, for {reason}: {', '.join(some)}")
        while keys := plan_tuning(self.study, self.records.values()):
            self.phase(keys, bar)
        final = plan_final(self.study, choose_rates(self.study, self.records.values()))
        self.phase(final, bar)
        arms = list(self.study.arms)
        keys = [key for key in self.records if key.phase == "tuning" and key.arm in self.study.arms]
        keys.sort(key=lambda key: (arms.index(key.arm), key.rate, self.study.tuning_seeds.index(key.seed)))
        self.records = {key: self.records[key] for key in (*keys, *final)}

    def phase(self, keys: Sequence[Key], bar: Bar) -> None:
        missing = [key for key in keys if key not in self.records]
        bar.advance(len(keys) - len(missing))
        for records in executors.map_unordered(self.tasks(missing), jobs=self.jobs, scheduler=self.scheduler):
            for record in records:
                self.keep(record)
                bar.advance(1)

    def tasks(self, keys: Sequence[Key]) -> list[Task]:
        """The tasks for the workers: one run each, or the runs of an arm together where its network allows it."""
        together = [key for key in keys if key.arm in self.together]
        alone = [(key,) for key in keys if key.arm not in self.together]
        return [
            *(replace(self.task, keys=group, vectorized=True) for group in groups(together)),
            *(replace(self.task, keys=key, vectorized=False) for key in alone),
        ]

    def content(self) -> dict[str, Any]:
        """Everything that is to be saved."""
        how = {
            "jobs": self.jobs if self.scheduler is None else None,
            "scheduler": self.scheduler is not None,
            "vectorized": sorted(self.together),
        }
        runs, elapsed = list(self.records.values()), list(self.elapsed.values())
        return content_of(self.study, self.task, runs, how, elapsed)

    def keep(self, record: Record) -> None:
        now, final = time.perf_counter() - self.start, record["phase"] == "final" and not record["diverged"]
        self.elapsed[self.session] = now
        if self.partial is not None:
            if final and self.study.trains and not {"updates", "last_quarter"} <= record.keys():
                raise ConvcraftError(
                    f"a study must state its budget: run must return 'updates' and 'last_quarter'; got "
                    f"{sorted(record.keys() - set(RESERVED))}. Train with experiments.train_and_score, or say "
                    "Study(trains=False) where no network is trained to convergence. Nothing was written."
                )
            self.partial.save(record, self.session, now)
        self.records[store.key_of(record)] = record
        if final:
            _check_contrasts(self.study, record, record["arm"])


def _check_contrasts(study: Study, measured: Collection[str], arm: str | None = None) -> None:
    """Raise ConvcraftError if a contrast (of an arm) names a measure that does not exist."""
    for contrast in study.contrasts:
        if arm is None or arm in contrast.arms:
            check_known("measure of a contrast", contrast.measure, measured)


def run_study(
    study: Study | str | Path,
    *,
    jobs: int = 1,
    device: str = "cpu",
    scheduler: str | None = None,
    vectorized: bool | None = None,
    quick: bool = False,
    changes: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] | None = None,
) -> Results:
    """Run a study, or the part of it that is missing, and return its results.

    Tuning chooses a rate for each arm, as `Study` says; then every arm is run at its rate from every seed.
    Each run is a function of (arm, rate, seed) alone.

    A study given by its name, or by the path of its file, keeps every finished run on disk, resumes where it
    was stopped, and is saved as `results/NAME.json` beside the folder of the studies, or as a .json file
    beside its own. With `quick`, with `changes` (as for `Study.reduced`), or given as an object, it is run in
    memory and no file is touched.

    Args:
        study: name of a study, path of its .py file, or a `Study`.
        jobs: processes of this machine, one thread each.
        device: "cpu" or "cuda".
        scheduler: "tcp://HOST:PORT" of a Dask scheduler, instead of processes.
        vectorized: train the runs of an arm together by `fit_many`; None: on a GPU only.
        folder: the folder of the studies.
        progress: a bar with the time left; None: only where somebody is watching.
        say: called with a message on the arms that are not trained together, and why.

    Raises ConvcraftError for an unknown study, if there are results of another version, if a run fails, and
    if a file cannot be written. Chapter: Activations.

    >>> study = Study(arms={"a": {"add": 0.0}, "b": {"add": 0.5}}, seeds=range(3),
    ...               run=lambda arm, rate, seed, splits, final: {"score": arm["add"] * (1 + seed)})
    >>> run_study(study).difference("b", "a", "score")
    1.000 [-0.242, 2.242]
    """
    stored = not isinstance(study, Study) and not quick and changes is None
    loaded = study if isinstance(study, Study) else load_study(study, folder)
    if jobs < 1:
        raise ConvcraftError(f"jobs must be 1 or more; got {jobs}. Pass the number of processes.")
    _check_device(device, here=scheduler is None)
    if quick:
        changes = {**quick_changes(loaded), **(changes or {})}
    together = device != "cpu" if vectorized is None else vectorized
    object_ = loaded if loaded.source is None else None
    task = Task(loaded.name, loaded.source, (), device, together, changes, object_)
    engine = _Engine(task.resolve(), task, jobs, scheduler, say or (lambda text: None))
    if not stored or isinstance(study, Study):
        return _finish(engine, progress)
    return _run_stored(engine, place(study, folder)[1], progress)


def _run_stored(engine: _Engine, path: Path, progress: bool | None) -> Results:
    study, device = engine.study, engine.task.device
    assert study.source is not None
    current = version(study.source)
    if path.exists():
        return _already_done(path, study, current)
    manifest = {"version": current, "device": device, "vectorized": engine.task.vectorized}
    partial = store.Partial(path.with_name(f".{study.name}"), manifest)
    with store.locked(partial.folder / "lock"):
        if path.exists():  # another process has just finished it
            partial.remove()
            return _already_done(path, study, current)
        engine.resume(partial)
        results = _finish(engine, progress)
        store.write_result(path, results.content)
        partial.remove()
    return results


def _already_done(path: Path, study: Study, current: str) -> Results:
    content = store.read_result(path)
    store.check_version(path, content["version"], current)
    if any(content.get(key) != value for key, value in stated(study).items()):
        _check_contrasts(study, Results(content).measures)
        content |= stated(study)
        store.write_result(path, content)
    return Results(content)


def _finish(engine: _Engine, progress: bool | None) -> Results:
    study, watched = engine.study, sys.stderr is not None and sys.stderr.isatty()
    pause = 0.1 if watched else 30.0  # between two lines of a log
    with Bar(count(study), progress, "run", desc=study.name, leave=True, mininterval=pause) as bar:
        engine.go(bar)
    return Results(engine.content())


def quick_changes(study: Study) -> dict[str, Any]:
    """What `--quick` changes unless the study says otherwise: two seeds, one tuning seed, one epoch."""
    changes: dict[str, Any] = {"seeds": study.seeds[:2], "tuning_seeds": study.tuning_seeds[:1]}
    if study.run is None:
        changes["fit"] = {"epochs": 1}
    return {**changes, **study.quick}


def _check_device(device: str, here: bool) -> None:
    """Raise ConvcraftError unless the device is of a known kind and, if the runs are done here, present."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ConvcraftError(f'device must be "cpu" or "cuda"; got {device!r}. Pass one of the two.')
    if here and kind == "cuda" and not torch.cuda.is_available():
        raise ConvcraftError(f"device {device!r}: torch finds no GPU here. Leave out --device, or install CUDA.")
