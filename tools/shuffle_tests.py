"""Run the unit tests in one process in shuffled order, as proof that none of them needs another.

    python tools/shuffle_tests.py [--seed 0] [arguments of pytest ...]

The files are shuffled, and the tests inside each. Without arguments it runs tests/; the seed is printed.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Shuffle:
    """A pytest plugin: the order of the files and of the tests inside each is drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        draw = random.Random(self.seed)
        by_file: dict[pathlib.Path, list[pytest.Item]] = {}
        for item in items:
            by_file.setdefault(item.path, []).append(item)
        files = list(by_file.values())
        draw.shuffle(files)
        for tests in files:
            draw.shuffle(tests)
        items[:] = [item for tests in files for item in tests]

    def pytest_report_header(self) -> str:
        return f"shuffled with seed {self.seed}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    args, rest = parser.parse_known_args()
    named = any(pathlib.Path(argument.split("::")[0]).exists() for argument in rest)
    paths = [] if named else [str(ROOT / "tests")]
    return pytest.main(["-n0", "-p", "no:randomly", *rest, *paths], plugins=[Shuffle(args.seed)])


if __name__ == "__main__":
    sys.exit(main())
