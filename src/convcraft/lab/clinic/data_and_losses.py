"""Illnesses of the data, of the loss, and of what differs between training and evaluation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab.clinic.cases import CLASSES, Case, Hidden, by_name, case, he_, images, mlp, vectors


def initial_loss(ill: bool) -> Case:
    """The last layer's weights are thirty times too large; the twin's have LeCun's scale."""
    model = he_(mlp(1, nn.ReLU))
    with torch.no_grad():
        model.get_parameter("2.weight").mul_(30.0 if ill else 1.0)
    return case(model, vectors(), 0.001)


def softmax_before_cross_entropy(ill: bool) -> Case:
    """The model ends in softmax, and the loss is cross-entropy; the twin returns its logits."""
    model = he_(mlp(1, nn.ReLU))
    if ill:
        model.append(nn.Softmax(1))
    return case(model, vectors())


def unbounded_loss(ill: bool) -> Case:
    """The loss is F.nll_loss, and the model ends in a linear layer; the twin ends in log-softmax."""
    model, (x, y) = he_(mlp(1, nn.ReLU)), vectors()
    if not ill:
        model.append(nn.LogSoftmax(1))
    return Case(model, (x, y), F.nll_loss, torch.optim.SGD(model.parameters(), 0.05))


def inputs_not_standardized(ill: bool) -> Case:
    """Images as bytes from 0 to 255; the twin's have mean 0 and variance 1."""
    x, y = images()
    layers = nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, CLASSES)
    model = he_(nn.Sequential(*layers))
    pixels = (x * 60 + 120).clamp(0, 255).round()
    return case(model, (pixels if ill else x, y), 0.001 if ill else 0.05)


def train_eval_mismatch(ill: bool) -> Case:
    """In training mode the hidden values are multiplied by 1.5; the twin's are not."""
    return case(he_(Hidden(lambda x, training: x * 1.5 if ill and training else x)), vectors())


def random_evaluation(ill: bool) -> Case:
    """F.dropout without training=self.training drops in evaluation too; the twin passes it."""
    model = Hidden(lambda x, training: F.dropout(x, 0.2) if ill else F.dropout(x, 0.2, training=training))
    return case(he_(model), vectors())


def _regression(n: int = 64) -> tuple[Tensor, Tensor]:
    """Standardized features (n, 20) and a standardized target (n, 1) that they explain."""
    x, _ = vectors(n)
    y = x[:, :3].sum(1, keepdim=True) + x[:, 3:4].relu()
    return x, (y - y.mean()) / y.std()


def _regressor(last: nn.Module | None = None) -> nn.Sequential:
    layers = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1)]
    return he_(nn.Sequential(*layers, *([last] if last is not None else [])))


def broadcast_loss(ill: bool) -> Case:
    """The output has the shape (64, 1) and the target (64,); the twin's target is (64, 1) too."""
    model, (x, y) = _regressor(), _regression()

    def squared(output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean()

    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    return Case(model, (x, y.squeeze(1) if ill else y), squared, optimizer)


def output_range(ill: bool) -> Case:
    """A sigmoid at the output and standardized targets; the twin scales the targets into [0, 1]."""
    model, (x, y) = _regressor(nn.Sigmoid()), _regression()
    scaled = (y - y.min()) / (y.max() - y.min())
    return Case(model, (x, y if ill else scaled), F.mse_loss, torch.optim.SGD(model.parameters(), 0.05))


CASES = by_name(
    initial_loss, softmax_before_cross_entropy, unbounded_loss, inputs_not_standardized, train_eval_mismatch,
    random_evaluation, broadcast_loss, output_range,
)  # fmt: skip
