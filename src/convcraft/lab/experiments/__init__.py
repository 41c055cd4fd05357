"""Studies: arms x learning rates x seeds, run anywhere, resumed after a crash, saved with provenance.

A study is a file that defines ``STUDY = Study(...)``; ``python -m convcraft study NAME`` runs it, and
``load(NAME)`` returns its results.
"""

from convcraft.lab.experiments.command import main
from convcraft.lab.experiments.contrasts import Contrasts, Judged
from convcraft.lab.experiments.engine import run_study
from convcraft.lab.experiments.results import Results, load
from convcraft.lab.experiments.score import train_and_score
from convcraft.lab.experiments.study import Contrast, Study
from convcraft.lab.experiments.version import load_study, names, version

__all__ = [
    "Contrast", "Contrasts", "Judged", "Results", "Study", "load", "load_study", "main", "names",
    "run_study", "train_and_score", "version",
]  # fmt: skip
