"""Is recipe A better than recipe B? A comparison of your own, with everything that the book's studies have.

Run it from anywhere: `python -m convcraft study examples/a_or_b.py`. It can be stopped, goes on where it was,
and leaves a_or_b.json beside this file; `convcraft.lab.experiments.load("examples/a_or_b.py")` reads it.
"""

from torch import nn

from convcraft.lab import data
from convcraft.lab.experiments import Contrast, Study


def splits(arm):  # your data: data.Splits(train, validation, test, name, classes); the test part is withheld
    return data.load("digits").standardized()


def model(arm):  # your network, made anew for every seed
    dropout = nn.Dropout(arm["dropout"])
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), dropout, nn.Linear(64, 10))


STUDY = Study(
    arms={"A": {"dropout": 0.0}, "B": {"dropout": 0.5}},  # each has its own best rate, from ten seeds
    rates=(0.01, 0.03, 0.1, 0.3),  # goes on by itself while the best rate lies at an end
    splits=splits,
    model=model,
    fit={"updates": 2000, "batch_size": 50, "flat": 0.01},  # stops when the validation loss is flat
    contrasts=(Contrast("B", "A", margin=0.01),),  # stated before the runs; equal means within a point
)
