"""Illnesses of units, signals and weights."""

import torch
from torch import Tensor, nn

from convcraft.lab.clinic.cases import CLASSES, Case, by_name, case, he_, mlp, vectors


def dead_units(ill: bool) -> Case:
    """The biases of a hidden layer are -6, so that its ReLU never fires; the twin's are zero."""
    model = he_(mlp(2, nn.ReLU))
    batches = [vectors() for _ in range(3)]
    with torch.no_grad():
        model.get_submodule("2").bias.fill_(-6.0 if ill else 0.0)  # type: ignore[operator]
    return case(model, batches)


def saturated_units(ill: bool) -> Case:
    """The weights before tanh are twenty times too large; the twin's have Xavier's scale."""
    model = he_(mlp(2, nn.Tanh), 20.0 if ill else 1.0)
    return case(model, vectors())


def vanishing_gradient(ill: bool) -> Case:
    """Eight layers of sigmoid with torch's default initialization; the twin has ReLU and He's."""
    model = mlp(8, nn.Sigmoid) if ill else he_(mlp(8, nn.ReLU))
    return case(model, vectors(256))


def exploding_gradient(ill: bool) -> Case:
    """Ten layers of ReLU with weights four times as large as He's; the twin has He's."""
    model = he_(mlp(10, nn.ReLU), 4 * 2**0.5 if ill else 2**0.5)
    return case(model, vectors(256))


def activation_drift(ill: bool) -> Case:
    """Twelve layers of ReLU with torch's default initialization; the twin has He's."""
    model = mlp(12, nn.ReLU)
    return case(model if ill else he_(model), vectors(256))


def constant_weights(ill: bool) -> Case:
    """Every weight of the hidden layer is 0.05; the twin has random ones."""
    model = he_(mlp(1, nn.ReLU))
    if ill:
        nn.init.constant_(model.get_parameter("0.weight"), 0.05)
    return case(model, vectors())


def initialization_mismatch(ill: bool) -> Case:
    """Eight layers of SELU with 0.4 of the weights' scale that it needs; the twin has LeCun's."""
    return case(he_(mlp(8, nn.SELU), 0.4 if ill else 1.0), vectors())


class _Logarithm(nn.Module):
    """log(|x|) or log(1 + |x|)."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x.relu() + self.shift)


def not_finite(ill: bool) -> Case:
    """A layer takes the logarithm of a ReLU, which can be zero; the twin adds one before."""
    layers = (nn.Linear(20, 64), _Logarithm(0.0 if ill else 1.0), nn.Linear(64, CLASSES))
    return case(he_(nn.Sequential(*layers)), vectors())


class _Reader(nn.Module):
    """A recurrent layer over (n, steps, 20) of which the last state, or the mean of all, is read."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.rnn, self.output, self.last = nn.RNN(20, 32, batch_first=True), nn.Linear(32, CLASSES), last

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.output(states[:, -1] if self.last else states.mean(1))


def gradient_vanishes_in_time(ill: bool) -> Case:
    """The last of 50 states of a recurrent layer is read; the twin reads the mean of all."""
    x, y = vectors()
    return case(_Reader(last=ill), (x.unsqueeze(1) + torch.randn(len(x), 50, 20), y))


class _Attention(nn.Module):
    """Attention of one head over 10 parts of the input, with a residual connection."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.lift = nn.Linear(2, 64)
        self.norm = nn.LayerNorm(64)
        self.query, self.key, self.value = (nn.Linear(64, 64, bias=False) for _ in range(3))
        self.output, self.scale = nn.Linear(64, CLASSES), scale
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=64**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x.view(-1, 10, 2))  # (n, 10, 64)
        h = self.norm(x)
        weights = (self.query(h) @ self.key(h).mT * self.scale).softmax(-1)  # (n, 10, 10)
        return self.output((x + weights @ self.value(h)).mean(1))


def saturated_attention(ill: bool) -> Case:
    """Scores that are not divided by the square root of 64; the twin's are."""
    return case(_Attention(1.0 if ill else 64**-0.5), vectors())


class _Gated(nn.Module):
    """x + alpha * branch(x) with alpha = 0."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * self.branch(x)


def dead_branch(ill: bool) -> Case:
    """A branch behind a gate of zero ends in zeros as well; the twin's ends in random weights."""
    model = he_(nn.Sequential(nn.Linear(20, 64), _Gated(), nn.ReLU(), nn.Linear(64, CLASSES)))
    if ill:
        nn.init.zeros_(model.get_parameter("1.branch.2.weight"))
    return case(model, vectors())


CASES = by_name(
    dead_units, saturated_units, vanishing_gradient, exploding_gradient, activation_drift, constant_weights,
    initialization_mismatch, not_finite, gradient_vanishes_in_time, saturated_attention, dead_branch,
)  # fmt: skip
