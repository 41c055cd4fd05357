"""Studies: arms x learning rates x seeds, run anywhere, resumed after a crash, saved with provenance.

A study is a file that defines ``STUDY = Study(...)``; ``python -m convcraft study NAME`` runs it, and
``load(NAME)`` gives its results.
"""

from convcraft.lab.experiments.engine import run_study
from convcraft.lab.experiments.judged import Contrasts, Judged
from convcraft.lab.experiments.results import Results, load
from convcraft.lab.experiments.sources import load_study, names, version
from convcraft.lab.experiments.study import Contrast, Study

__all__ = [
    "Contrast",
    "Contrasts",
    "Judged",
    "Results",
    "Study",
    "load",
    "load_study",
    "main",
    "names",
    "run_study",
    "version",
]


def main(argv: list[str] | None = None) -> int:
    """`python -m convcraft study NAME`: run a study, or list them."""
    from convcraft.lab.experiments.command import main as command

    return command(argv)
