"""What a case is, and the parts that cases are built from."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 5
Net = TypeVar("Net", bound=nn.Module)


class Case(NamedTuple):
    """A model with what a training step needs: a batch (or list of batches), a loss and an optimizer."""

    model: nn.Module
    batch: Any
    loss: Callable[..., Tensor]
    optimizer: torch.optim.Optimizer


Maker = Callable[[bool], Case]


def vectors(n: int = 64, features: int = 20) -> tuple[Tensor, Tensor]:
    """Standardized features of `n` examples around one centre a class, and the classes."""
    y = torch.arange(n) % CLASSES
    x = torch.randn(CLASSES, features)[y] + torch.randn(n, features)
    return (x - x.mean()) / x.std(), y


def images(n: int = 64, channels: int = 1, size: int = 8) -> tuple[Tensor, Tensor]:
    """The same as images (n, channels, size, size)."""
    x, y = vectors(n, channels * size * size)
    return x.view(n, channels, size, size), y


def he_(model: Net, gain: float = math.sqrt(2.0)) -> Net:
    """Normal weights of variance gain^2 / fan-in in hidden layers, 1 / fan-in in the last; zero biases."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers:
        scale = 1.0 if layer is layers[-1] else gain
        nn.init.normal_(layer.weight, std=scale / math.sqrt(layer.weight[0].numel()))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model


def mlp(hidden: int, activation: Callable[[], nn.Module], features: int = 20, width: int = 64) -> nn.Sequential:
    """A stack of `hidden` hidden layers, with torch's default initialization."""
    sizes = [features] + [width] * hidden
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


class Hidden(nn.Module):
    """A hidden layer with ReLU, a change of its values that knows the mode, and an output layer."""

    def __init__(self, change: Callable[[Tensor, bool], Tensor]) -> None:
        super().__init__()
        self.hidden, self.output, self.change = nn.Linear(20, 64), nn.Linear(64, CLASSES), change

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.change(F.relu(self.hidden(x)), self.training))


def conv_net(
    *, bias: bool = False, dropout: float = 0.0, norm: Callable[[int], nn.Module] = nn.BatchNorm2d
) -> nn.Module:
    """Two convolutions with normalization and ReLU, global pooling and a linear layer."""
    dropped = [nn.Dropout(dropout)] if dropout else []
    first = nn.Conv2d(1, 16, 3, padding=1, bias=bias), norm(16), nn.ReLU(), *dropped
    second = nn.Conv2d(16, 16, 3, padding=1, bias=bias), norm(16), nn.ReLU()
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)
    return he_(nn.Sequential(*first, *second, *head))


def case(
    model: nn.Module, batch: Any, learning_rate: float = 0.05, *, parameters: Any = None, weight_decay: float = 0.0
) -> Case:
    """With cross-entropy and SGD."""
    held = model.parameters() if parameters is None else parameters
    optimizer = torch.optim.SGD(held, learning_rate, weight_decay=weight_decay)
    return Case(model, batch, F.cross_entropy, optimizer)
