"""Exercises on augmentation: right answers pass, and typical wrong answers are told what is wrong."""

import math

import pytest
import torch
from torch import nn

from convcraft import augmentation
from convcraft.lab.exercises import check


def turned(degrees, x, y, sign=1, about=True):
    c, s = math.cos(math.radians(degrees)), sign * math.sin(math.radians(degrees))
    turn, point = torch.tensor([[c, s], [-s, c]]), torch.tensor([x, y])
    return torch.cat([turn, (point - turn @ point if about else point)[:, None]], 1)


def flip_each(images, generator, p=0.5):
    where = torch.rand(len(images), generator=generator) < p
    return torch.where(where.view(-1, 1, 1, 1), images.flip(-1), images)


def flip_all(images, generator):
    return images.flip(-1) if torch.rand((), generator=generator) < 0.5 else images


def copies_needed(n, rho, goal):
    if goal <= n:
        return 0
    return math.ceil((goal - n) / (n - rho * goal)) if rho * goal < n else math.inf


def halves(x, y):
    return (x[10:], y[10:]), (x[:10], y[:10])


def split_first(x, y, augment, copies):
    (train, labels), held = halves(x, y)
    more = [augment(train) for _ in range(copies)]
    return (torch.cat([train, *more]), labels.repeat(copies + 1)), held


def copy_first(x, y, augment, copies):
    x, y = torch.cat([x, *(augment(x) for _ in range(copies))]), y.repeat(copies + 1)
    order = torch.randperm(len(x))
    return halves(x[order], y[order])


def changed(change):
    """split_first with one thing changed."""

    def split(x, y, augment, copies):
        return change(*split_first(x, y, augment, copies))

    return split


RIGHT = {
    "untouched-share": 1 / 18,
    "cutmix-corner": 1 / 16,
    "worth-of-copies": lambda n, k, rho: n * (k + 1) / (1 + k * rho),
    "copies-needed": copies_needed,
    "noise-is-decay": lambda std: 2 * std**2,
    "turn-about-a-point": turned,
    "one-draw-each": flip_each,
    "no-leak": split_first,
    "which-conclusion-augmentation": "c",
    "your-augmentation": lambda: augmentation.RandomShift(1, p=0.5),
}

WRONG = [
    ("untouched-share", 1 / 2, "flip alone"),
    ("untouched-share", 1 / 9, "shift alone"),
    ("untouched-share", 1 / 6, "both axes"),
    ("untouched-share", 1 / 8, "not two"),
    ("untouched-share", 0.3, "the share is 0.3: too large"),
    ("cutmix-corner", 0.25, "lies outside"),
    ("cutmix-corner", 0.9375, "own class"),
    ("cutmix-corner", 0.125, "two edges"),
    ("cutmix-corner", 0.5, "the share is 0.5: too large"),
    ("worth-of-copies", 100, "function of n"),
    ("worth-of-copies", lambda n, k, rho: n * (k + 1), "add nothing"),
    ("worth-of-copies", lambda n, k, rho: n * (1 + k * (1 - rho)), "like one another"),
    ("worth-of-copies", lambda n, k, rho: n, "the worth for"),
    ("copies-needed", 3, "function of n"),
    ("copies-needed", lambda n, rho, goal: max(0, math.ceil(goal / n) - 1), "a new image"),
    ("copies-needed", lambda *a: copies_needed(*a) or -1, "the number of copies"),
    ("noise-is-decay", 0.1, "function of the standard deviation"),
    ("noise-is-decay", lambda std: std**2, "multiplies w"),
    ("noise-is-decay", lambda std: 2 * std, "variance"),
    ("noise-is-decay", lambda std: 0.0, "the weight_decay for noise"),
    ("turn-about-a-point", 3, "function of degrees"),
    ("turn-about-a-point", lambda d, x, y: turned(d, x, y, sign=-1), "clockwise"),
    ("turn-about-a-point", lambda d, x, y: turned(d, x, y, about=False), "must stay"),
    ("turn-about-a-point", lambda d, x, y: torch.eye(2), "shape"),
    ("turn-about-a-point", lambda d, x, y: torch.zeros(2, 3), "differ"),
    ("one-draw-each", 3, "function of images"),
    ("one-draw-each", flip_all, "once for each image"),
    ("one-draw-each", lambda x, g: flip_each(x, None), "same seed differ"),
    ("one-draw-each", lambda x, g: x[:3], "shape of the images"),
    ("one-draw-each", lambda x, g: x.flip(-2), "neither the image"),
    ("one-draw-each", lambda x, g: flip_each(x, g, 0.9), "about half"),
    ("one-draw-each", lambda x, g: flip_each(x, torch.Generator().manual_seed(3)), "nothing is drawn"),
    ("no-leak", 3, "function of images"),
    ("no-leak", copy_first, "in both parts"),
    ("no-leak", lambda x, y, augment, copies: (x, y, x), "two pairs"),
    ("no-leak", changed(lambda t, v: (t, (augmented(v[0]), v[1]))), "as they are"),
    ("no-leak", changed(lambda t, v: ((t[0], t[1].sort().values), v)), "label of another"),
    ("no-leak", changed(lambda t, v: ((t[0], t[1][:50]), v)), "160 images and 50 labels"),
    ("no-leak", changed(lambda t, v: (t, (v[0][:5], v[1][:5]))), "a fifth"),
    ("no-leak", lambda x, y, augment, copies: halves(x, y), "not 40"),
    ("which-conclusion-augmentation", "a", "had A been learned"),
    ("which-conclusion-augmentation", "b", "left to learn"),
    ("which-conclusion-augmentation", "d", "at least one point"),
    ("which-conclusion-augmentation", "x", "one letter of a, b, c, d"),
    ("your-augmentation", nn.Identity(), "function without arguments"),
    ("your-augmentation", nn.Identity, "20 more"),
    ("your-augmentation", 3, "function without arguments"),
    ("your-augmentation", lambda: 3, "must return a module"),
    ("your-augmentation", lambda: augmentation.RandomRotation(10), "20 more"),
    (
        "your-augmentation",
        lambda: augmentation.RandomAffine(shift=1.5),
        "at most 2",
    ),
]


def augmented(x):
    return x + 0.25


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes(name):
    result = check(name, RIGHT[name])
    assert result, repr(result)


@pytest.mark.parametrize("name", RIGHT)
def test_no_answer_is_not_wrong_but_open(name):
    result = check(name, ...)
    assert not result and "Not answered yet" in repr(result)


@pytest.mark.parametrize(("name", "answer", "said"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_answer_is_told_why(name, answer, said):
    result = check(name, answer)
    assert not result and said in repr(result), repr(result)
