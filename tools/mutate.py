"""Do the tests notice a mistake? Put one into the source at a time, and print those that no test notices.

    python tools/mutate.py [-j 2] [--only diagnostics/] [--list]

`mutants.yml` beside this file holds the mistakes: a file below src/convcraft, a piece of one line that occurs
there once, and what it becomes. Each is made in a copy of the source, on which the tests of that module are
run until one fails. A mistake that survives asks for a test of behaviour. The exit status is 1 when one
survives, or when the list no longer fits the source.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

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
        """The test files, those most likely to notice first."""
        parts = pathlib.PurePath(self.file).with_suffix("").parts
        parts = parts[1:] if (lab := parts[0] == "lab") else parts
        pattern = self.tests or f"tests/{'lab/' if lab else ''}test_{parts[0].strip('_')}*.py"
        found = sorted(str(p.relative_to(ROOT)) for one in pattern.split() for p in ROOT.glob(one))
        if not found:
            raise SystemExit(f"no tests for {self.file}: there is no {pattern}")
        return found


def survives(mutant: Mutant) -> bool:
    """Whether the tests pass in spite of the mistake."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        path = copy / "convcraft" / mutant.file
        path.write_text(path.read_text("utf-8").replace(mutant.old, mutant.new), "utf-8")
        environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n0"]
        done = subprocess.run(
            [*command, *mutant.test_files()],
            cwd=ROOT,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    if done.returncode not in (0, 1, 2):
        raise SystemExit(f"pytest ended with status {done.returncode} on {mutant}")
    return done.returncode == 0


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
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for number, (mutant, survived) in enumerate(zip(tried, pool.map(survives, tried), strict=True), 1):
            print(f"{number:4d}/{len(tried)}  {'SURVIVED' if survived else 'noticed '}  {mutant}", flush=True)
            survivors += [mutant] * survived
    print(f"{len(tried) - len(survivors)} of {len(tried)} noticed, {len(survivors)} survived.")
    return int(bool(survivors or gone))


if __name__ == "__main__":
    sys.exit(main())
