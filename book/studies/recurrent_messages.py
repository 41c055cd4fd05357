"""Spam among text messages: four small networks, and whether tanh beats ReLU in them.

Varied: the network (mean of the embeddings and a dense layer; 1-d convolution; GRU; one Transformer block)
and its activation (tanh or ReLU; in the GRU the candidate; the Transformer has ReLU in its branch). The 5,171
distinct messages, a stratified half for training, 500 for validation, 2,000 for the test. Words, numbers as
one word and signs; the 1,500 most frequent of the training part, the first 32 of each message. Embeddings of
16 numbers, 24 hidden units.

Adam, each arm at its own rate, until the validation losses are flat or for 400 updates of 64 messages; the
weights of the lowest validation loss count. Measured on the test part: accuracy and which messages are right,
average precision, and the share of spam that is missed where no message is falsely alarmed.

Reduced, to finish in minutes on two cores: one size, 32 words of each message.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from convcraft.lab import data, models
from convcraft.lab.data import Split
from convcraft.lab.experiments import Study
from convcraft.lab.experiments.score import last_quarter, which_right
from convcraft.lab.training import adam_together

WORDS, LENGTH, SIZES = 1500, 32, (2671, 3171)
SEEDS, TUNING = tuple(range(10)), tuple(range(100, 110))


def words(text: str) -> list[str]:
    """Words in lower case, "0" for any number, and signs."""
    return re.findall(r"[a-z']+|0|[^\sa-z0']", re.sub(r"\d+", "0", text.lower()))


@cache
def parts() -> data.Splits:
    """The messages as numbers of words, with 0 on the left."""
    found = data.sms()
    order = data.stratified_order(found.spam, seed=0)
    texts, spam = [words(found.texts[k]) for k in order], found.spam[order].astype(np.int64)
    counts = Counter(word for text in texts[: SIZES[0]] for word in text)
    number = {word: k for k, (word, _) in enumerate(counts.most_common(WORDS - 2), start=2)}
    x = torch.zeros(len(texts), LENGTH, dtype=torch.int64)
    for row, text in zip(x, texts, strict=True):
        if known := [number.get(word, 1) for word in text[:LENGTH]]:
            row[-len(known) :] = torch.tensor(known)
    y = torch.from_numpy(spam)
    cuts = (0, *SIZES, len(texts))
    three = (Split(x[a:b], y[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True))
    return data.Splits(*three, "messages", ("ham", "spam"))


def splits(arm: dict) -> data.Splits:
    """The same for all arms."""
    return parts()


def model(arm: dict) -> nn.Module:
    """The network of an arm."""
    return models.TextNet(arm["kind"], WORDS, 16, 24, 2, length=LENGTH, activation=arm["activation"])


@cache
def trained(arm: str, rate: float, seeds: tuple[int, ...]) -> dict[int, Any]:
    """The networks of all seeds, trained in one loop."""
    given = parts()
    settings = {"updates": 400, "look_every": 25, "batch_size": 64, "learning_rate": rate}
    copies = [{"seed": seed} for seed in seeds]
    found = adam_together(
        lambda: model(json.loads(arm)),
        given.train,
        given.validation,
        copies,
        loss="cross_entropy",
        **settings,
    )
    return {one.seed: one for one in found}


def run(arm: dict, rate: float, seed: int, splits: data.Splits, final: bool) -> dict[str, Any]:
    """Train with the other seeds of the phase; of final runs the test part."""
    one = trained(json.dumps(arm), rate, SEEDS if seed in SEEDS else TUNING)[seed]
    losses, updates = one.history.validation_loss, one.history.updates
    found: dict[str, Any] = {"validation_loss": float(np.nanmin(losses))}
    if final:
        with torch.no_grad():
            scores = one.model(splits.test.x)
        margin, spam = (scores[:, 1] - scores[:, 0]).numpy(), splits.test.y.numpy() == 1
        found["test_accuracy"] = float((scores.argmax(-1) == splits.test.y).float().mean())
        found["test_correct"] = which_right(one.model, splits.test)
        found["average_precision"] = float(average_precision_score(spam, margin))
        found["missed"] = float((margin[spam] <= margin[~spam].max()).mean())
        found |= {"updates": updates[-1], "last_quarter": last_quarter(losses, updates)}
    return found


KINDS = {"mean": "relu tanh", "cnn": "relu tanh", "gru": "tanh relu", "transformer": "relu"}
STUDY = Study(
    arms={
        f"{kind}, {activation}": {"kind": kind, "activation": activation}
        for kind, both in KINDS.items()
        for activation in both.split()
    },
    rates=(0.001, 0.003, 0.01),
    seeds=SEEDS,
    tuning_seeds=TUNING,
    splits=splits,
    run=run,
    select=("validation_loss", "min"),
    quick={"arms": ("mean, relu", "mean, tanh"), "rates": (0.003,)},
)
