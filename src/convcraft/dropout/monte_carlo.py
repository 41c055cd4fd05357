"""Prediction with dropout left on: the mean and the variance over many random passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._checks import check_generator
from ..errors import ConvcraftError
from .drop_block import DropBlock2d
from .drop_path import DropPath
from .dropout import GaussianDropout

__all__ = ["Prediction", "mc_predict"]

_DROPOUT = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    GaussianDropout,
    DropBlock2d,
    DropPath,
)


class Prediction(NamedTuple):
    """Mean and variance over the random passes, each of the shape of the model's output.

    Example:
        >>> Prediction(torch.ones(1), torch.zeros(1)).mean
        tensor([1.])
    """

    mean: Tensor
    """Over the passes."""
    variance: Tensor
    """Over the passes, with T - 1 in the denominator."""


def _drops(module: nn.Module) -> bool:
    """Whether this module drops at random in training mode, and does nothing else there."""
    if isinstance(module, _DROPOUT):
        return module.p > 0
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return float(module.dropout) > 0
    # In eval mode a fused kernel runs here, which leaves out the dropout layers inside.
    return isinstance(module, nn.TransformerEncoderLayer) and module.dropout.p > 0


@contextmanager
def _dropout_only(model: nn.Module, ours: bool) -> Iterator[None]:
    """Training mode for dropout, eval mode for the rest; afterwards every module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    generators = [
        (module, module.generator) for module in model.modules() if isinstance(module, _DROPOUT)
        and isinstance(getattr(module, "generator", None), torch.Generator)
    ]  # fmt: skip
    try:
        for module, _ in modes:
            module.training = _drops(module)
        if ours:
            for module, _ in generators:
                module.generator = None
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module, generator in generators:
            module.generator = generator


def _random_state(x: Any, generator: torch.Generator | None) -> Any:
    """Nothing without a generator; with one, torch's global generators are put back afterwards."""
    if generator is None:
        return nullcontext()
    devices = [x.device] if isinstance(x, Tensor) and x.is_cuda else []
    return torch.random.fork_rng(devices)


def mc_predict(
    model: nn.Module, x: Any, samples: int = 30, generator: torch.Generator | None = None
) -> Prediction:
    r"""Mean and variance of the model's output over random dropout masks (Monte-Carlo dropout).

    Formula: with the outputs :math:`y_1, \dots, y_T` of T passes, :math:`\bar y = \frac{1}{T} \sum_t y_t` and
    :math:`s^2 = \frac{1}{T - 1} \sum_t (y_t - \bar y)^2`, summed up by Welford's method.

    Dropout layers (`convcraft.dropout`, torch's, and the dropout inside of recurrent layers, attention
    and transformer encoders) run in training mode, everything else in eval mode: batch normalization
    uses its running statistics and changes none. Afterwards every submodule is in the mode that it was
    in. No gradient is kept. Without `generator` the passes draw from torch's global generator as any
    dropout does (and from the generators of the layers that have one); with it the result depends on it
    alone, and the global generators are put back as they were.

    Args:
        model: with at least one dropout layer of p > 0. Dropout called as a function cannot be seen, or
            switched on.
        x: the model's input; a tuple is passed as several arguments.
        samples: the number T of passes, at least 2.
        generator: a CPU generator, for a result that can be repeated.

    Returns:
        `Prediction(mean, variance)`, each of the shape of the output, in float32 for half-precision output.

    Raises:
        ConvcraftError: when samples is below 2, the model has no dropout layer or returns no
            floating-point tensor, or the generator is not on the CPU.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))
        >>> mean, variance = mc_predict(model, torch.ones(3, 4), samples=20)
        >>> mean.shape, bool((variance > 0).all())
        (torch.Size([3, 2]), True)

    Source: Gal and Ghahramani (2016), Dropout as a Bayesian Approximation: Representing Model
    Uncertainty in Deep Learning. Chapter 7.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
        raise ConvcraftError(
            f"mc_predict: samples must be an integer of at least 2, got {samples!r}; "
            "one pass has no variance, 30 or more give a usable one"
        )
    if not any(_drops(module) for module in model.modules()):
        raise ConvcraftError(
            "mc_predict: model must have a dropout layer with p > 0, got none; "
            "add convcraft.dropout.Dropout, and use the layer where forward calls torch.nn.functional.dropout"
        )
    check_generator("mc_predict", generator, torch.empty(0, device="cpu"))
    arguments = x if isinstance(x, tuple) else (x,)
    mean = spread = None
    with _random_state(arguments[0], generator), _dropout_only(model, generator is not None), torch.no_grad():
        if generator is not None:
            seed = torch.empty((), dtype=torch.int64, device="cpu").random_(generator=generator)
            torch.manual_seed(int(seed))
        for number in range(1, samples + 1):
            y = model(*arguments)
            if not isinstance(y, Tensor) or not y.is_floating_point():
                got = y.dtype if isinstance(y, Tensor) else type(y).__name__
                raise ConvcraftError(
                    f"mc_predict: model must return one floating-point tensor, got {got}; "
                    "wrap it in a module that returns the tensor of interest"
                )
            y = y.to(torch.promote_types(y.dtype, torch.float32))
            if mean is None or spread is None:
                mean, spread = y.clone(), torch.zeros_like(y)
                continue
            deviation = y - mean
            mean += deviation / number
            spread += deviation * (y - mean)
    assert mean is not None and spread is not None
    return Prediction(mean, spread / (samples - 1))
