"""The data sets of the book: `load(name) -> Splits(train, validation, test)`, as tensors."""

from convcraft.lab.data.command import main
from convcraft.lab.data.images import load, names
from convcraft.lab.data.planted import mackey_glass, ratings, seasonal
from convcraft.lab.data.sequences import Messages, Recordings, mfcc, recall, sms, spoken_digits
from convcraft.lab.data.splits import Split, Splits, stratified_order
from convcraft.lab.data.tables import Ratings, Series, Visits, leave_one_out, movielens, msweb, nab, nab_names

__all__ = [
    "Messages", "Ratings", "Recordings", "Series", "Split", "Splits", "Visits", "leave_one_out", "load",
    "mackey_glass", "main", "mfcc", "movielens", "msweb", "nab", "nab_names", "names", "ratings", "recall",
    "seasonal", "sms", "spoken_digits", "stratified_order",
]  # fmt: skip
