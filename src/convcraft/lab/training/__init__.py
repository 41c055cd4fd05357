"""Training one network (`fit`), or many at once (`fit_together`, `adam_together`; grids: `fit_many`)."""

from convcraft.lab.training.adam import adam_together
from convcraft.lab.training.fit import DivergedError, fit, seeded
from convcraft.lab.training.history import Epoch, History
from convcraft.lab.training.losses import Evaluation, correct, evaluate, predict_probabilities
from convcraft.lab.training.many import Sweep, fit_many
from convcraft.lab.training.together import Trained, fit_together, reason_against

__all__ = [
    "DivergedError", "Epoch", "Evaluation", "History", "Sweep", "Trained", "adam_together", "correct",
    "evaluate", "fit", "fit_many", "fit_together", "predict_probabilities", "reason_against", "seeded",
]  # fmt: skip
