"""Checks of the exercises of the chapter "Data augmentation"."""

import math
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor, nn

from convcraft import augmentation
from convcraft.lab import data, models
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate, fit, seeded


@takes("degrees, x and y")
def turn_about_a_point(answer: Callable[[float, float, float], Tensor]) -> Iterator[Complaint]:
    """A function (degrees, x, y) -> the (2, 3) map that turns counterclockwise about the position (x, y)."""
    for degrees, x, y in ((90.0, 0.0, 0.0), (30.0, 0.0, 0.0), (90.0, 2.0, -1.0), (-40.0, 3.0, 5.0)):
        angle = math.radians(degrees)
        c, s = math.cos(angle), math.sin(angle)
        right = torch.tensor([[c, s, x - c * x - s * y], [-s, c, y + s * x - c * y]])
        got = torch.as_tensor(answer(degrees, x, y), dtype=torch.float32)
        what = f"the map for {degrees:g} degrees about ({x:g}, {y:g})"
        if got.shape == (2, 3) and not torch.allclose(got, right, atol=1e-5):
            if torch.allclose(got[:, :2], right[:, :2].T, atol=1e-5):
                yield f"{what} turns clockwise: y points downwards, so the signs of the sines change places."
            if torch.allclose(got[:, :2], right[:, :2], atol=1e-5):
                fixed = got[:, :2] @ torch.tensor([x, y]) + got[:, 2]
                yield f"{what} moves the point itself, to ({fixed[0]:.2f}, {fixed[1]:.2f}); it must stay."
        yield compare(got, right, what, tolerance=1e-5)


@takes("images and a generator")
def one_draw_each(answer: Callable[[Tensor, torch.Generator], Tensor]) -> Iterator[Complaint]:
    """A function (images, generator) that mirrors each image of the batch with probability 1/2."""
    images = torch.rand(200, 1, 4, 5, generator=torch.Generator().manual_seed(1))
    with forked(0):
        first = answer(images, torch.Generator().manual_seed(0))
    with forked(5):
        again = answer(images, torch.Generator().manual_seed(0))
        other = answer(images, torch.Generator().manual_seed(1))
    if not isinstance(first, Tensor) or first.shape != images.shape:
        yield f"the result must have the shape of the images, {tuple(images.shape)}."
    if not torch.equal(first, again):
        yield "two calls with generators of the same seed differ: take all draws from the generator."
    flipped = (first == images.flip(-1)).flatten(1).all(1)
    kept = (first == images).flatten(1).all(1)
    if not bool((flipped | kept).all()):
        yield "an image came out that is neither the image itself nor its mirror image (left to right)."
    share = float(flipped.float().mean())
    if share in (0.0, 1.0):
        yield "either all images of the batch are mirrored or none: draw once for each image."
    if torch.equal(first, other):
        yield "another seed mirrors the same images: nothing is drawn."
    if not 0.35 < share < 0.65:
        yield f"{share:.0%} of 200 images were mirrored; about half should be."


Part = tuple[Tensor, Tensor]


@takes("images, labels, augment and copies")
def no_leak(answer: Callable[..., tuple[Part, Part]]) -> Iterator[Complaint]:
    """A function (images, labels, augment, copies) -> (train, validation), each (images, labels)."""
    # Image number i has the value i everywhere, and augmenting adds 0.25: every copy tells where it is from.
    labels = torch.arange(50) % 5
    images = torch.arange(50.0).view(-1, 1, 1, 1).expand(50, 1, 2, 2).clone()
    with forked(0):
        parts = answer(images, labels, lambda x: x + 0.25, 3)
    if len(tuple(parts)) != 2 or any(len(tuple(part)) != 2 for part in parts):
        yield "return two pairs: (training images, labels), (validation images, labels)."
    origins, values = [], []
    for x, y in parts:
        if len(x) != len(y):
            yield f"a part has {len(x)} images and {len(y)} labels."
        values.append(x.flatten(1)[:, 0])
        origins.append(values[-1].floor().long())
        if bool((labels[origins[-1]] != y).any()):
            yield "some images have the label of another one: copy the labels in the order of the images."
    if shared := len(set(origins[0].tolist()) & set(origins[1].tolist())):
        yield f"{shared} of the images are in both parts, as copies. Split first, then make copies."
    if bool((values[1] != origins[1]).any()) or len(origins[1]) != len(set(origins[1].tolist())):
        yield "the validation part must hold images as they are, each once: it takes the place of the test."
    if len(origins[1]) != 10:
        yield f"the validation part should hold a fifth of the images, 10; it holds {len(origins[1])}."
    if len(origins[0]) != 40 * 4:
        yield f"the training part should hold 40 images and 3 copies of each, not {len(origins[0])} in all."


def _accuracies(module: nn.Module, seed: int) -> tuple[float, float]:
    """Test accuracy on digits, as they are and shifted, of a network trained on 100 behind a module."""
    digits = data.load("digits")
    train, test = digits.train.subset(100, seed=seed), digits.test
    with forked(seed):
        shifted = augmentation.RandomShift(1)(test.x)
    net = nn.Sequential(module, seeded(lambda: models.ConvNet((8, 16), hidden=32), seed))
    parts = data.Splits(train, train, train, "digits", digits.classes)
    fit(net, parts, epochs=100, batch_size=32, learning_rate=0.03, seed=seed, progress=False)
    return evaluate(net, test).accuracy, evaluate(net, data.Split(shifted, test.y)).accuracy


@cache
def _without(seed: int) -> tuple[float, float]:
    return _accuracies(nn.Identity(), seed)


def your_augmentation(answer: Callable[[], nn.Module]) -> Iterator[Complaint]:
    """A function that returns a module: what it does to 100 digits makes the network robust to shifts."""
    if isinstance(answer, nn.Module) or not callable(answer):
        yield "The answer must be a function without arguments that returns a module, as nn.Identity is."
    gains = []
    for seed in range(2):
        module = answer()
        if not isinstance(module, nn.Module):
            yield f"the function must return a module; got {type(module).__name__}."
        pairs = zip(_accuracies(module, seed), _without(seed), strict=True)
        gains.append([after - before for after, before in pairs])
    clean, moved = (sum(gain) / 2 for gain in zip(*gains, strict=True))
    if moved < 0.2:
        yield f"on shifted digits the accuracy changes by {100 * moved:+.1f} points; 20 more are asked for."
    if clean < -0.02:
        yield (
            f"on shifted digits you gain {100 * moved:.1f} points, but on the digits as they are you lose "
            f"{-100 * clean:.1f}; at most 2 may go."
        )


def _copies_needed(n: int, rho: float, goal: int) -> float:
    if goal <= n:
        return 0
    return math.ceil((goal - n) / (n - rho * goal)) if rho * goal < n else math.inf


_BY_VARIANCE = "the noise enters the squared error by its variance, not by its standard deviation."

CHECKS: dict[str, Check] = by_name(turn_about_a_point, one_draw_each, no_leak, your_augmentation) | {
    "worth-of-copies": formula(
        lambda n, k, rho: n * (k + 1) / (1 + k * rho),
        [(100, 4, 0.0), (100, 4, 0.5), (200, 1, 0.9), (50, 1000, 0.8)],
        "the worth for n = {}, k = {}, rho = {}",
        (lambda n, k, rho: n * (k + 1), "copies that are all equal (rho = 1) add nothing."),
        (
            lambda n, k, rho: n * (1 + k * (1 - rho)),
            "copies are like one another, not only like their original. Divide the variance of one value by "
            "that of the mean.",
        ),
    ),
    "copies-needed": formula(
        _copies_needed,
        [(40, 0.0, 100), (40, 0.5, 60), (40, 0.5, 79), (40, 0.5, 80), (40, 0.5, 200), (100, 0.5, 90)],
        "the number of copies for n = {}, rho = {}, goal = {}",
        (lambda n, rho, goal: max(0, math.ceil(goal / n) - 1), "so it is where each copy is a new image (rho = 0)."),
    ),
    "noise-is-decay": formula(
        lambda std: 2 * std**2,
        [(0.0,), (0.1,), (0.3,), (2.0,)],
        "the weight_decay for noise of {}",
        (lambda std: std**2, "that is the factor of the sum of squares; weight_decay multiplies w."),
        (lambda std: std, _BY_VARIANCE),
        (lambda std: 2 * std, _BY_VARIANCE),
        arguments="the standard deviation",
    ),
}
