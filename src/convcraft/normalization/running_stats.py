"""Running statistics made exact over given batches, and batch normalization that stays as it is."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConvcraftError
from ._checks import check_enough

__all__ = ["freeze_batch_norm", "recalibrate_batch_norm"]

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def _layers(function: str, model: nn.Module) -> dict[str, Any]:
    """Every batch normalization with running statistics, by name."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, _BATCH_NORM)}
    kept = {name: m for name, m in found.items() if m.running_mean is not None and m.running_var is not None}
    if not kept:
        got = "none" if not found else f"{len(found)} without any (track_running_stats=False)"
        raise ConvcraftError(
            f"{function}: model must have a batch normalization with running statistics, got {got}; "
            "use convcraft.normalization.BatchNorm2d with track_running_stats=True"
        )
    return kept


class _Population:
    """Count, mean and sum of squared deviations of each channel over all that was seen, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        """Chan, Golub and LeVeque's rule for the union of two sets."""
        values = x.detach().transpose(0, 1).flatten(1)
        values = values.to(torch.float32 if values.is_mps else torch.float64)
        count = values.shape[1]
        if not count:
            return
        mean = values.mean(1)
        squares = (values - mean.unsqueeze(1)).square().sum(1)
        total = self.count + count
        shift = mean - self.mean
        self.mean = self.mean + shift * (count / total)
        self.squares = self.squares + squares + shift.square() * (self.count * count / total)
        self.count = total


def _input(batch: Any, number: int, model: nn.Module) -> Tensor:
    """The input of a batch, which may be a pair of input and target."""
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor):
        raise ConvcraftError(
            f"recalibrate_batch_norm: batches must yield tensors, or pairs that begin with one, got "
            f"{type(x).__name__} in batch {number}; map the loader to what the model takes"
        )
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != x.device:
        raise ConvcraftError(
            f"recalibrate_batch_norm: batches must be on the model's device {parameter.device}, got "
            f"{x.device} in batch {number}; use batch.to({str(parameter.device)!r})"
        )
    return x


def _collect(
    population: _Population, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    x = args[0] if args else kwargs["input"]
    if x.dim() > 1:
        check_enough("recalibrate_batch_norm", x, x.shape[0] * x.shape[2:].numel(), "per channel in a batch")
    population.add(x)


@contextmanager
def _collecting(model: nn.Module, layers: dict[str, Any]) -> Iterator[dict[str, _Population]]:
    """Batch statistics in these layers, which keep none meanwhile, eval mode in all others; all is put
    back."""
    modes = [(module, module.training) for module in model.modules()]
    tracking = {name: layer.track_running_stats for name, layer in layers.items()}
    seen = {name: _Population() for name in layers}
    hooks = []
    try:
        for module, _ in modes:
            module.training = False
        for name, layer in layers.items():
            layer.training, layer.track_running_stats = True, False
            collect = functools.partial(_collect, seen[name])
            hooks.append(layer.register_forward_pre_hook(collect, with_kwargs=True))
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
        for name, layer in layers.items():
            layer.track_running_stats = tracking[name]
        for module, mode in modes:
            module.training = mode


def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Any]) -> nn.Module:
    r"""Replace the running statistics by those of the whole of the given batches.

    Formula: over all n values of a channel in all batches, :math:`\mu = \frac1n \sum x` and the unbiased
    :math:`\frac{1}{n-1} \sum (x - \mu)^2`, combined over the batches without loss of accuracy. That is
    not the average of the batches' variances, which lacks the variance between the batches.

    The batches pass once through the model, with batch normalization in training mode, so that a deeper
    layer sees what it sees in training, and everything else in eval mode, since the running statistics
    serve prediction, where there is no dropout. Use large batches that look like those at prediction,
    without augmentation that is not used there. Weights, modes, random state and gradients stay as they
    are; `num_batches_tracked` becomes the number of batches. Layers frozen by :func:`freeze_batch_norm`
    keep their statistics and use them.

    Args:
        model: with at least one batch normalization with running statistics; changed in place.
        batches: an iterable of inputs, or of tuples or lists that begin with the input, as a DataLoader
            gives.

    Returns:
        The model.

    Raises:
        ConvcraftError: when the model has no batch normalization with running statistics, the batches
            are none, are no tensors or are on another device, or a channel has a single value. Then
            nothing is changed.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm1d(1))
        >>> data = [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])]
        >>> norm = recalibrate_batch_norm(model, data)[0]
        >>> norm.running_mean, norm.running_var
        (tensor([3.]), tensor([6.6667]))

    Source: Wu and Johnson (2021), Rethinking "Batch" in BatchNorm, section 3. Chapter 9.
    """
    layers = {
        name: layer
        for name, layer in _layers("recalibrate_batch_norm", model).items()
        if not _is_frozen(layer)
    }
    if not layers:
        raise ConvcraftError(
            "recalibrate_batch_norm: model must have a batch normalization that is not frozen, got "
            "frozen ones only; recalibrate before freeze_batch_norm"
        )
    number = 0
    with torch.no_grad(), _collecting(model, layers) as seen:
        for number, batch in enumerate(batches, start=1):
            model(_input(batch, number, model))
    if number == 0:
        raise ConvcraftError(
            "recalibrate_batch_norm: batches must yield at least one batch, got none; "
            "an iterator that has been used up yields nothing, give a list or a DataLoader"
        )
    for name, layer in layers.items():
        population = seen[name]
        if population.count > 1 and isinstance(population.mean, Tensor):
            layer.running_mean.copy_(population.mean)
            layer.running_var.copy_(population.squares / (population.count - 1))
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.fill_(number)
    return model


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """`train` of a frozen layer: eval mode, whatever was asked for."""
    return type(module).train(module, False)


def _is_frozen(module: nn.Module) -> bool:
    own = module.__dict__.get("train")
    return isinstance(own, functools.partial) and own.func is _stay


def freeze_batch_norm(model: nn.Module, affine: bool = True) -> nn.Module:
    r"""Let every batch normalization use its running statistics for good, also after `model.train()`.

    Formula: :math:`y = w_c (x - \mu_c) (v_c + \epsilon)^{-1/2} + b_c` with constant :math:`\mu, v`, and
    constant w and b if `affine`.

    For fine-tuning with small batches. The layers stay what they are, with the same parameters, buffers
    and `state_dict`; their `train` method keeps them in eval mode. Copies (`copy.deepcopy`, `pickle`)
    are frozen too. Loading a `state_dict` still replaces the statistics. Setting `layer.training = True`
    by hand undoes it for that layer until the next `model.train()`.

    Args:
        model: with at least one batch normalization with running statistics; changed in place.
        affine: let weight and bias of the layers get no gradient either (`requires_grad=False`).

    Returns:
        The model.

    Raises:
        ConvcraftError: when the model has no batch normalization, or one without running statistics,
            which has nothing to freeze. Then nothing is changed.

    Example:
        >>> model = freeze_batch_norm(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
        >>> model.train().training, model[1].training
        (True, False)

    Chapter 9.
    """
    layers = _layers("freeze_batch_norm", model)
    for name, module in model.named_modules():
        if isinstance(module, _BATCH_NORM) and name not in layers:
            raise ConvcraftError(
                f"freeze_batch_norm: model must have running statistics in every batch normalization, got "
                f"none in {name!r} (track_running_stats=False); replace that layer first"
            )
    for layer in layers.values():
        layer.train = functools.partial(_stay, layer)
        layer.train()
        if affine:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
    return model
