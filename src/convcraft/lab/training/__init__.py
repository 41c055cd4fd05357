"""Training one network (`fit`), or many copies of it at once (`fit_together`; over a grid, `fit_many`)."""

from convcraft.lab.training.fit import DivergedError, fit, seeded
from convcraft.lab.training.history import Epoch, History
from convcraft.lab.training.losses import Evaluation, correct, evaluate, predict_probabilities
from convcraft.lab.training.many import Sweep, fit_many
from convcraft.lab.training.together import Trained, fit_together, reason_against

__all__ = [
    "DivergedError",
    "Epoch",
    "Evaluation",
    "History",
    "Sweep",
    "Trained",
    "correct",
    "evaluate",
    "fit",
    "fit_many",
    "fit_together",
    "predict_probabilities",
    "reason_against",
    "seeded",
]
