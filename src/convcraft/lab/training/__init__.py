"""Training one network (`fit`), or all rates and seeds of an arm at once (`fit_many`)."""

from convcraft.lab.training.fit import DivergedError, fit, seeded
from convcraft.lab.training.history import Epoch, History
from convcraft.lab.training.losses import Evaluation, evaluate, predict_probabilities
from convcraft.lab.training.many import Sweep, fit_many

__all__ = [
    "DivergedError",
    "Epoch",
    "Evaluation",
    "History",
    "Sweep",
    "evaluate",
    "fit",
    "fit_many",
    "predict_probabilities",
    "seeded",
]
