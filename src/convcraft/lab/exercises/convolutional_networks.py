"""Checks for the exercises of the chapter "Convolutional networks"."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data
from convcraft.lab.exercises.framework import Check, Complaint, Hint, by_name, compare
from convcraft.reference import conv2d, receptive_field


def field(answer: Callable[[list[tuple[int, int, int]]], int]) -> Iterator[Complaint]:
    """A function of layers (kernel, stride, dilation) that returns the width of the receptive field."""
    cases: list[tuple[str, list[tuple[int, int, int]]]] = [
        ("no layer at all sees one pixel", []),
        ("one 3x3 layer", [(3, 1, 1)]),
        ("its own stride does not widen a layer's field, only that of later layers", [(3, 2, 1)]),
        ("the strides of all layers before multiply", [(3, 2, 1), (2, 2, 1), (3, 1, 1)]),
        ("dilation spreads the kernel", [(3, 1, 1), (3, 1, 4)]),
        ("stride and dilation together", [(5, 2, 1), (3, 3, 2), (3, 1, 3)]),
    ]
    for why, layers in cases:
        got, wanted = answer(layers), receptive_field(layers)
        if wrong := compare(got, wanted, f"the field of {layers}"):
            yield wrong.because(f"For {layers}: {why}.")


def backward(answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Iterator[Complaint]:
    """A function (g, w) -> dL/dx for y = correlate(x, w), where g = dL/dy."""
    generator = np.random.default_rng(0)
    for n, k in ((5, 3), (6, 2), (3, 3)):
        m = n - k + 1
        g, w = generator.normal(size=(m, m)), generator.normal(size=(k, k))
        wanted = _input_gradient(g, w)
        got = answer(g.copy(), w.copy())
        wrong = compare(got, wanted, f"the gradient for a {n}x{n} image and a {k}x{k} kernel")
        if wrong is None:
            continue
        if np.shape(got) == (m - k + 1,) * 2:
            yield f"{wrong} Pad g with k - 1 zeros on each side: pixels on the border have a gradient too."
        if np.shape(got) != wanted.shape or len(wrong.stages) == 1:
            yield wrong
        if np.allclose(got, _input_gradient(g, w[::-1, ::-1])):
            yield "The kernel is the wrong way round: w[u, v] carries g[i, j] back to (i + u, j + v)."
        i, j = np.argwhere(~np.isclose(got, wanted))[0]
        where = f"For a {n}x{n} image and a {k}x{k} kernel the derivative by pixel ({i}, {j}) is wrong"
        yield Hint(
            f"{where}. Which outputs does that pixel enter, and with which weight each?",
            f"{where}: {np.asarray(got)[i, j]:.4g}. Sum g[i - u, j - v] w[u, v] over the kernel.",
            f"{where}: {np.asarray(got)[i, j]:.4g}, but should be {wanted[i, j]:.4g}.",
        )


def _input_gradient(g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Full cross-correlation of g with the kernel turned by half a turn."""
    return conv2d(g[None, None], w[::-1, ::-1][None, None], padding=len(w) - 1)[0, 0]


def blind_pixels(net: nn.Module) -> Iterator[Complaint]:
    """A network for 8x8 digits whose every logit may depend on every part of the image."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, 8, 8, generator=generator).requires_grad_()
    y = net(x)
    if tuple(y.shape) != (64, 10):
        yield f"for 64 images the network should return logits of shape (64, 10), got {tuple(y.shape)}."
    (gradient,) = torch.autograd.grad(y.abs().sum(), x)
    unseen = int((gradient.abs().sum((0, 1)) == 0).sum())
    if unseen:
        yield f"{unseen} of the 64 pixels have no influence on any output. Compare kernel and stride."
    count = sum(p.numel() for p in net.parameters())
    if count > 20_000:
        yield f"every pixel counts now, but with {count:,} parameters; the repair needs fewer than 20,000."


def _canvas() -> tuple[Tensor, Tensor]:
    """The validation digits in the middle of a 16x16 canvas, as the chapter scales them, and their labels."""
    digits = data.load("digits")
    return F.pad(digits.validation.x / digits.train.x.std(), (4, 4, 4, 4)), digits.validation.y


def shift_proof(net: Callable[[Tensor], Tensor]) -> Iterator[Complaint]:
    """A trained network that reads centred digits and loses little when they move by one pixel."""
    x, y = _canvas()

    def accuracy(images: Tensor) -> float:
        with torch.no_grad():
            logits: Any = net(images)
        return float((logits.argmax(1) == y).float().mean())

    here = accuracy(x)
    moved = float(np.mean([accuracy(x.roll(move, (2, 3))) for move in ((1, 0), (-1, 0), (0, 1), (0, -1))]))
    if here < 0.85:
        yield f"it reads {here:.0%} of the centred digits; 85% are asked for. Train longer or change the rate."
    if here - moved > 0.02:
        yield f"it reads {here:.1%} centred, {moved:.1%} a pixel off: a loss of more than two points."


def border_tells(kernel: Any) -> Iterator[Complaint]:
    """A 3x3 kernel whose zero-padded map has another mean for a dot in the first column than in the last."""
    weight = np.asarray(kernel, dtype=np.float64)
    if weight.shape != (3, 3):
        yield f"Give a kernel of three rows and three columns; got shape {weight.shape}."
    images = np.zeros((2, 1, 8, 8))
    images[0, 0, 4, 0] = images[1, 0, 4, 7] = 1
    first, last = conv2d(images, weight[None, None], padding=1).mean((1, 2, 3))
    if np.isclose(first, last):
        yield (
            f"The average is {first:.4g} for both images. Write down the map of the first image: which of "
            "the nine weights have no place to be written to, and which for the second image?"
        )


CHECKS: dict[str, Check] = by_name(blind_pixels, shift_proof, border_tells) | {
    "receptive-field": field,
    "convolution-backward": backward,
}
