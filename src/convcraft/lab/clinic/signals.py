"""Illnesses of units, signals and weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convcraft.lab.clinic.cases import CLASSES, Case, Maker, case, he_, mlp, vectors


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


CASES: dict[str, Maker] = {
    "dead-units": dead_units,
    "saturated-units": saturated_units,
    "vanishing-gradient": vanishing_gradient,
    "exploding-gradient": exploding_gradient,
    "activation-drift": activation_drift,
    "constant-weights": constant_weights,
    "initialization-mismatch": initialization_mismatch,
    "not-finite": not_finite,
}
