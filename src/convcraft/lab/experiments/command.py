"""`python -m convcraft study NAME`: run a study; `--list`: the studies and how far each has got."""

import argparse
import importlib
import os
import sys
from functools import partial
from pathlib import Path

from convcraft.errors import ConvcraftError
from convcraft.lab.experiments import store
from convcraft.lab.experiments.engine import run_study
from convcraft.lab.experiments.study import Study
from convcraft.lab.experiments.tuning import count
from convcraft.lab.experiments.version import load_study, names, place, version


def state(name: str, folder: str | None = None) -> tuple[str, int | None, str]:
    """Title, number of runs, and how far a study has got."""
    try:
        study = load_study(name, folder)
    except ConvcraftError as error:
        return str(error), None, "not usable"
    return study.title, count(study), progress(study, place(name, folder)[1])


def progress(study: Study, path: Path) -> str:
    """How far a study has got: "not run", "n of m runs", "done", "of another version", "broken"."""
    assert study.source is not None
    current = version(study.source)
    partial = store.Partial(path.with_name(f".{study.name}"), {"version": current})
    try:
        if path.exists():
            store.check_version(path, store.read_result(path)["version"], current)
            return "done"
        if partial.check() is None:
            return "not run"
    except store.OtherVersionError:
        return "of another version"
    except ConvcraftError:
        return "broken"
    return f"{sum(1 for _ in partial.read())} of {count(study)} runs"


def main(argv: list[str] | None = None) -> int:
    """`python -m convcraft study NAME`: run a study, or list them; 130 where it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m convcraft study",
        description="Run a study, or resume it; the result is written to results/NAME.json, or beside a "
        "file of your own.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of a study, or path of a .py file")
    parser.add_argument("--list", action="store_true", help="list the studies and how far each has got")
    parser.add_argument("--quick", action="store_true", help="a small version, in memory; writes nothing")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core; one on a GPU)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="run on the workers of a Dask cluster")
    together = "train the runs of an arm together (default: on a GPU)"
    parser.add_argument("--vectorized", action=argparse.BooleanOptionalAction, help=together)
    parser.add_argument("--folder", help="folder of the studies (default: book/studies)")
    given = parser.parse_args(argv)
    if given.list:
        found = names(given.folder)
        width = max(map(len, found), default=0)
        for name in found:
            title, total, how = state(name, given.folder)
            print(f"{name:{width}}  {how:18}  {'' if total is None else f'{total} runs':>9}  {title}")
        return 0
    if given.name is None:
        parser.error("NAME is missing; --list shows the studies")
    importlib.import_module("scipy")  # before anything is trained: the intervals at the end need it
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = given.jobs if given.jobs is not None else 1 if given.device != "cpu" else cores
    try:
        same = {name: getattr(given, name) for name in ("device", "scheduler", "vectorized", "quick", "folder")}
        results = run_study(given.name, jobs=jobs, progress=True, say=partial(print, file=sys.stderr), **same)
    except KeyboardInterrupt:
        print("\ninterrupted; finished runs are kept, and the same command resumes the study", file=sys.stderr)
        return 130
    print(results)
    if lost := sum(run["diverged"] for run in results.runs if run["phase"] == "tuning"):
        print(f"{lost} tuning runs diverged and count as chance")
    if results.content["contrasts"] and len(results.seeds) > 1:
        print(f"\n{results.contrasts()}")
    if not given.quick:
        print(f"\n{place(given.name, given.folder)[1]}")
    return 0
