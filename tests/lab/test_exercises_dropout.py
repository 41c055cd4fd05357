"""The checks of the exercises on dropout accept what is right and say what is wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convcraft import dropout
from convcraft.lab.exercises import check, names

VARIANCE = 0.5 - 1 / (2 * math.pi)


class Mended(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full_like(x, 1 - self.p)) / (1 - self.p)


class Always(Mended):
    def forward(self, x):
        self.train()
        return super().forward(x)


class OneMask(Mended):
    def __init__(self, p):
        super().__init__(p)
        self.mask = torch.bernoulli(torch.full((400, 500), 1 - p)) / (1 - p)

    def forward(self, x):
        return x * self.mask if self.training else x


class Shared(Mended):
    def forward(self, x):
        return super().forward(torch.ones_like(x[:1])) * x if self.training else x


class Keeps(Mended):
    def __init__(self, p):
        super().__init__(1 - p)


class Unscaled(Mended):
    def forward(self, x):
        return super().forward(x) * (1 - self.p) if self.training else x


class Half(Mended):
    def __init__(self, p):
        super().__init__(0.5)


def masks(model, x, samples):
    drops = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for module in drops:
        module.train()
    with torch.no_grad():
        mean = torch.stack([model(x).softmax(1) for _ in range(samples)]).mean(0)
    for module in drops:
        module.eval()
    return mean


def mean_logits(model, x, samples):
    return dropout.mc_predict(model, x, samples).mean.softmax(1)


def everything_on(model, x, samples):
    model.train()
    with torch.no_grad():
        mean = torch.stack([model(x).softmax(1) for _ in range(samples)]).mean(0)
    model.eval()
    return mean


def left_on(model, x, samples):
    model[4].train()
    with torch.no_grad():
        return torch.stack([model(x).softmax(1) for _ in range(samples)]).mean(0)


def off(model, x, samples):
    with torch.no_grad():
        return model(x).softmax(1)


RIGHT = [
    ("keep-or-drop", (0.1, 0.9, 0.9)),
    ("unit-variance", lambda w, x, p: p / (1 - p) * (w * x).square().sum()),
    ("dropout-as-ridge", lambda n, p: n * p / (1 - p)),
    ("block-seeds", lambda p, b: 1 - (1 - p) ** (1 / b**2)),
    ("mean-depth", lambda blocks, last: sum(1 - k / blocks * last for k in range(1, blocks + 1))),
    ("relu-variance-shift", lambda p: VARIANCE / (VARIANCE + p / (1 - p) / 2)),
    ("mend-the-dropout", Mended),
    ("mend-the-dropout", nn.Dropout),
    ("masks-on-norms-off", masks),
    ("noise-that-cancels", [[1.0, -1.0], [0.0, 0.0]]),
    ("which-conclusion-dropout", "b"),
    ("your-dropout", (0.7, 0.006)),
]
NAMES = {name for name, _ in RIGHT}
WRONG = [
    ("keep-or-drop", (0.1, 0.9), "Give 3 numbers"),
    ("keep-or-drop", 0.1, "Give 3 numbers"),
    ("keep-or-drop", (0.9, 0.9, 0.9), "probability of dropping"),
    ("keep-or-drop", (0.5, 0.9, 0.9), "nn.Dropout(0.9) keeps"),
    ("keep-or-drop", (0.1, 0.1, 0.9), "1, not 0"),
    ("keep-or-drop", (0.1, 0.5, 0.9), "the article's function keeps"),
    ("keep-or-drop", (0.1, 0.9, 0.1), "retaining"),
    ("keep-or-drop", (0.1, 0.9, 0.5), "the paper's"),
    ("unit-variance", 1.0, "must be a function"),
    ("unit-variance", lambda w, x, p: p * (1 - p) * (w * x).square().sum(), "counts squared"),
    ("unit-variance", lambda w, x, p: (1 - p) / p * (w * x).square().sum(), "changed places"),
    ("unit-variance", lambda w, x, p: p / (1 - p) * (w @ x) ** 2, "square first"),
    ("unit-variance", lambda w, x, p: (p / (1 - p) * (w * x).square().sum()).sqrt(), "standard deviation"),
    ("unit-variance", lambda w, x, p: p, "the variance at"),
    ("dropout-as-ridge", 0.5, "must be a function"),
    ("dropout-as-ridge", lambda n, p: p / (1 - p), "are n"),
    ("dropout-as-ridge", lambda n, p: n * p, "divided by 1 - p"),
    ("dropout-as-ridge", lambda n, p: n * (1 - p) / p, "changed places"),
    ("dropout-as-ridge", lambda n, p: 3.0, "alpha for n"),
    ("block-seeds", 0.1, "must be a function"),
    ("block-seeds", lambda p, b: p / b**2, "overlap"),
    ("block-seeds", lambda p, b: 1 - (1 - p) ** (1 / b), "covers b^2"),
    ("block-seeds", lambda p, b: p / 2, "the probability for"),
    ("mean-depth", 3, "must be a function"),
    ("mean-depth", lambda blocks, last: blocks * (1 - last), "rate of the last"),
    ("mean-depth", lambda blocks, last: blocks * (1 - last / 2), "(L + 1) / 2"),
    ("mean-depth", lambda blocks, last: blocks, "the expected number"),
    ("relu-variance-shift", 0.4, "must be a function"),
    ("relu-variance-shift", lambda p: 1 + p / (1 - p) / 2 / VARIANCE, "upside down"),
    ("relu-variance-shift", lambda p: 1 - p, "mean of 0.399"),
    ("relu-variance-shift", lambda p: 1.0, "the ratio at p"),
    ("mend-the-dropout", 0.5, "must be a function"),
    ("mend-the-dropout", lambda p: p, "return a module"),
    ("mend-the-dropout", Always, "ask self.training"),
    ("mend-the-dropout", OneMask, "draw a new one"),
    ("mend-the-dropout", Shared, "one for every element"),
    ("mend-the-dropout", Keeps, "keeps as many"),
    ("mend-the-dropout", Half, "are zero at p"),
    ("mend-the-dropout", Unscaled, "divide by what is kept"),
    ("masks-on-norms-off", None, "must be a function"),
    ("masks-on-norms-off", lambda model, x, samples: 3, "one tensor"),
    ("masks-on-norms-off", everything_on, "running statistics"),
    ("masks-on-norms-off", left_on, "put it back"),
    ("masks-on-norms-off", off, "layer is off"),
    ("masks-on-norms-off", lambda *a: dropout.mc_predict(*a).mean, "do not sum to 1"),
    ("masks-on-norms-off", mean_logits, "softmax of the mean logits"),
    ("masks-on-norms-off", lambda *a: masks(*a).roll(1, 1), "off by up to"),
    ("noise-that-cancels", [1.0, -1.0], "shape (2, 2)"),
    ("noise-that-cancels", [[0.0, 0.0], [0.0, 0.0]], "adds no noise either"),
    ("noise-that-cancels", [[1.0, 2.0], [-1.0, -2.0]], "rows are channels"),
    ("noise-that-cancels", [[1.0, 2.0], [3.0, 4.0]], "can it be zero"),
    ("which-conclusion-dropout", "a", "interval of their difference"),
    ("which-conclusion-dropout", "ab", "one letter of a, b, c, d"),
    ("your-dropout", 0.5, "Give 2 numbers"),
    ("your-dropout", (0.0, 0.05), "must be from 0.01"),
    ("your-dropout", (0.5, 0.05), "nats above that without dropout; 0.015 below"),
]


def test_every_exercise_of_the_chapter_has_a_check():
    assert set(names()) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_open(name):
    assert "Not answered yet" in repr(check(name, ...))


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right(name, answer):
    result = check(name, answer)
    assert result, repr(result)


@pytest.mark.parametrize(("name", "answer", "says"), WRONG)
def test_wrong(name, answer, says):
    result = check(name, answer)
    assert not result and says in result.message, repr(result)
