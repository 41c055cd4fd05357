"""Do the tests notice a mistake? Put one into the source at a time, and print those that no test notices.

    python tools/mutate.py [-j 2] [--only diagnostics/] [--list]

`mutants.yml` beside this file holds the mistakes: a file below src/convcraft, a piece of one line that occurs
there once, and what it becomes. Each is made in a copy of the source, on which the tests of that module, or
those that the list names, are run until one fails. A mistake that survives asks for a test of behaviour. The exit
status is 1 when one survives, or when the list no longer fits the source.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess

import hypothesis  # noqa: F401  (the tests need it, and torch)
import pytest
import torch  # noqa: F401
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "convcraft"


@dataclass(frozen=True)
class Mutant:
    """One mistake, and the tests that should notice it (by default those of its module)."""

    file: str
    old: str
    new: str
    tests: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.old}  ->  {self.new}"

    @property
    def applies(self) -> bool:
        """Whether the source still has this piece, once."""
        path = SOURCE / self.file
        return path.exists() and path.read_text("utf-8").count(self.old) == 1

    def test_files(self) -> list[str]:
        """The test files, or single tests (`file::test`), in the order in which they are run."""
        parts = pathlib.PurePath(self.file).with_suffix("").parts
        parts = parts[1:] if (lab := parts[0] == "lab") else parts
        pattern = self.tests or f"tests/{'lab/' if lab else ''}test_{parts[0].strip('_')}*.py"
        named = [one.partition("::") for one in pattern.split()]
        found = [f"{p.relative_to(ROOT)}{mark}{test}" for file, mark, test in named for p in sorted(ROOT.glob(file))]
        if not found:
            raise SystemExit(f"no tests for {self.file}: there is no {pattern}")
        return found


def run_tests(tests: list[str], source: pathlib.Path) -> None:
    """Run the tests on this copy of the source; ends the process with pytest's status."""
    os.environ.update(PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1", MPLBACKEND="agg")
    os.chdir(ROOT)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(source))
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:nbval", "-n0"]
    os._exit(pytest.main([*options, *tests]))


def try_all(mutants: list[Mutant], jobs: int) -> Iterator[tuple[Mutant, bool]]:
    """Each mistake with whether it survives, as they are found out.

    Every mistake has a process of its own, forked from this one: it has imported what takes seconds, and not the
    package itself.
    """
    fork = multiprocessing.get_context("fork")
    waiting = list(reversed(mutants))
    running = dict[int, tuple[Mutant, BaseProcess, tempfile.TemporaryDirectory[str]]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant, folder = waiting.pop(), tempfile.TemporaryDirectory()
            source = pathlib.Path(folder.name) / "src"
            shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            path = source / "convcraft" / mutant.file
            path.write_text(path.read_text("utf-8").replace(mutant.old, mutant.new), "utf-8")
            process = fork.Process(target=run_tests, args=(mutant.test_files(), source))
            process.start()
            running[process.sentinel] = mutant, process, folder
        for sentinel in connection.wait(list(running)):
            mutant, process, folder = running.pop(sentinel)
            process.join()
            folder.cleanup()
            if process.exitcode not in (0, 1):  # the tests could not be run
                raise SystemExit(f"pytest ended with status {process.exitcode} on {mutant}")
            yield mutant, process.exitcode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-j", "--jobs", type=int, default=2, help="how many mistakes to try at a time")
    parser.add_argument("--only", default="", help="only files whose path contains this")
    parser.add_argument("--list", action="store_true", help="print the mistakes and whether they still apply")
    arguments = parser.parse_args()
    listed = yaml.safe_load((ROOT / "tools" / "mutants.yml").read_text("utf-8"))
    mutants = [mutant for entry in listed if arguments.only in (mutant := Mutant(**entry)).file]
    gone = [mutant for mutant in mutants if not mutant.applies]
    for mutant in gone:
        print(f"does not apply  {mutant}")
    if arguments.list:
        for mutant in mutants:
            print(mutant)
        return int(bool(gone))
    tried = [mutant for mutant in mutants if mutant.applies]
    survivors = []
    for number, (mutant, survived) in enumerate(try_all(tried, arguments.jobs), 1):
        print(f"{number:4d}/{len(tried)}  {'SURVIVED' if survived else 'noticed '}  {mutant}", flush=True)
        survivors += [mutant] * survived
    print(f"{len(tried) - len(survivors)} of {len(tried)} noticed, {len(survivors)} survived.")
    return int(bool(survivors or gone))


if __name__ == "__main__":
    sys.exit(main())
