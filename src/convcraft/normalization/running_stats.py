"""Running statistics made exact over given batches, and batch normalization that stays as it is."""

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .. import _batch
from .._checks import check_module
from .._restore import modes
from ..errors import ConvcraftError
from ._checks import check_enough

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def _layers(function: str, model: Any) -> dict[str, Any]:
    """Every batch normalization with running statistics, by name."""
    check_module(function, model)
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

    def add(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pre-hook: Chan, Golub and LeVeque's rule for the union of two sets."""
        x = args[0] if args else kwargs["input"]
        if x.dim() > 1:
            examples = x.shape[0] * x.shape[2:].numel()
            check_enough("recalibrate_batch_norm", x, examples, "per channel in a batch")
        values = x.detach().transpose(0, 1).flatten(1)  # (C, everything else)
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

    def over_ranks(self, like: Tensor) -> None:
        """The union of what all processes saw, in two sums; every process gets it."""
        wide = torch.float32 if like.is_mps else torch.float64
        zero = torch.zeros(like.shape, dtype=wide, device=like.device)
        mean, squares = zero + self.mean, zero + self.squares  # (C,)
        sums = torch.cat([mean * self.count, zero.new_tensor([float(self.count)])])
        dist.all_reduce(sums)
        total = int(sums[-1])
        if total:
            together = sums[:-1] / total
            squares = squares + self.count * (mean - together).square()
            dist.all_reduce(squares)
            self.count, self.mean, self.squares = total, together, squares


@contextmanager
def _collecting(model: nn.Module, layers: dict[str, Any]) -> Iterator[dict[str, _Population]]:
    """Batch statistics in these layers, which keep none meanwhile, eval mode in all others."""
    tracking = {name: layer.track_running_stats for name, layer in layers.items()}
    seen = {name: _Population() for name in layers}
    hooks = []
    with modes(model):
        try:
            for module in model.modules():
                module.training = False
            for name, layer in layers.items():
                layer.training, layer.track_running_stats = True, False
                hooks.append(layer.register_forward_pre_hook(seen[name].add, with_kwargs=True))
            yield seen
        finally:
            for hook in hooks:
                hook.remove()
            for name, layer in layers.items():
                layer.track_running_stats = tracking[name]


def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Any]) -> nn.Module:
    r"""Replace the running statistics by those of the whole of the given batches.

    Formula: over all n values of a channel in all batches, :math:`\mu = \frac1n \sum x` and the unbiased
    :math:`\frac{1}{n-1} \sum (x - \mu)^2`, combined over the batches without loss of accuracy. That is
    not the average of the batches' variances, which lacks the variance between the batches.

    The batches pass once through the model, with batch normalization in training mode, so that a deeper
    layer sees what it sees in training, and everything else in eval mode, since the running statistics
    serve prediction, without dropout. Use large batches that look like those at prediction,
    without augmentation that is not used there. Weights, modes, random state and gradients stay as they
    are; `num_batches_tracked` becomes the number of batches. Layers frozen by :func:`freeze_batch_norm`
    keep their statistics and use them. Where torch.distributed is initialized every process calls this with
    its own batches, and all get the statistics of the whole; layers of `SyncBatchNorm` do too.

    `torch.optim.swa_utils.update_bn` averages the variances of the batches and keeps dropout on.

    Args:
        model: with at least one batch normalization with running statistics; changed in place.
        batches: an iterable of batches as a DataLoader gives them: inputs, or inputs and targets in tuples,
            lists or mappings; targets that `forward` does not take are left out.

    Returns the model. Raises ConvcraftError when the model has no batch normalization with running statistics, there
    are no batches, one holds no tensor or is on another device, or a channel has a single value. Then nothing is
    changed. Source: Wu and Johnson (2021), Rethinking "Batch" in BatchNorm, section 3. Chapter: Batch normalization.

    >>> model = nn.Sequential(nn.BatchNorm1d(1))
    >>> data = [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])]
    >>> norm = recalibrate_batch_norm(model, data)[0]
    >>> norm.running_mean, norm.running_var
    (tensor([3.]), tensor([6.6667]))
    """
    kept = _layers("recalibrate_batch_norm", model)
    layers = {name: layer for name, layer in kept.items() if not _is_frozen(layer)}
    if not layers:
        raise ConvcraftError(
            "recalibrate_batch_norm: model must have a batch normalization that is not frozen, got "
            "frozen ones only; recalibrate before freeze_batch_norm"
        )
    number = 0
    with torch.no_grad(), _collecting(model, layers) as seen:
        for batch in _batch.batches("recalibrate_batch_norm", batches, model, "nobody"):
            _batch.run("recalibrate_batch_norm", model, batch)
            number += 1
    if dist.is_available() and dist.is_initialized():
        for name, layer in layers.items():
            seen[name].over_ranks(layer.running_mean)
        counted = next(iter(layers.values())).running_mean.new_tensor([float(number)])
        dist.all_reduce(counted)
        number = int(counted)
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


class Frozen(nn.Module):
    """Marks a frozen layer and keeps what restores it; without parameters and buffers.

    It is a child, because `SyncBatchNorm.convert_sync_batchnorm` moves the children of a layer to the one
    that takes its place. That one is then frozen as well.

    >>> freeze_batch_norm(nn.Sequential(nn.BatchNorm1d(2)))[0].frozen
    Frozen()
    """

    def __init__(self, learned: dict[str, bool]) -> None:
        super().__init__()
        self.learned = learned  # requires_grad of the parameters before
        _watch()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _watch()


@functools.cache
def _watch() -> None:
    """Let torch tell, once and for all, when a module is marked."""
    nn.modules.module.register_module_module_registration_hook(_signed)


def _signed(module: nn.Module, name: str, child: Any) -> None:
    if isinstance(child, Frozen) and isinstance(module, _BATCH_NORM):
        module.__dict__["train"] = functools.partial(_stay, module)
        module.train()


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """`train` of a frozen layer: eval mode, whatever was asked for."""
    return type(module).train(module, False)


def _is_frozen(module: nn.Module) -> bool:
    return isinstance(module._modules.get("frozen"), Frozen)


def freeze_batch_norm(model: nn.Module, affine: bool = True) -> nn.Module:
    r"""Let every batch normalization use its running statistics for good, also after `model.train()`.

    Formula: :math:`y = w_c (x - \mu_c) (v_c + \epsilon)^{-1/2} + b_c` with constant :math:`\mu, v`, and
    constant w and b if `affine`.

    For fine-tuning with small batches. The layers stay what they are, with the same parameters, buffers
    and `state_dict`; their `train` method keeps them in eval mode. Copies (`copy.deepcopy`, `pickle`) are
    frozen too, and so are the layers that `SyncBatchNorm.convert_sync_batchnorm` puts in their place.
    Loading a `state_dict` still replaces the statistics. Setting `layer.training = True` by hand lasts until
    the next `model.train()`; :func:`unfreeze_batch_norm` undoes all of it.

    Args:
        model: with at least one batch normalization with running statistics; changed in place.
        affine: let weight and bias of the layers get no gradient either (`requires_grad=False`).

    Returns the model. Raises ConvcraftError when model is not a module, or has no batch normalization, or one without
    running statistics, which has nothing to freeze. Then nothing is changed. Chapter: Batch normalization.

    >>> model = freeze_batch_norm(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
    >>> model.train().training, model[1].training
    (True, False)
    """
    layers = _layers("freeze_batch_norm", model)
    for name, module in model.named_modules():
        if isinstance(module, _BATCH_NORM) and name not in layers:
            raise ConvcraftError(
                f"freeze_batch_norm: model must have running statistics in every batch normalization, got "
                f"none in {name!r} (track_running_stats=False); replace that layer first"
            )
    for layer in layers.values():
        if not _is_frozen(layer):
            layer.frozen = Frozen({name: p.requires_grad for name, p in layer.named_parameters()})
        layer.train()
        if affine:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
    return model


def unfreeze_batch_norm(model: nn.Module) -> nn.Module:
    r"""Undo :func:`freeze_batch_norm`: train and eval mode work again, and what learned before learns again.

    Formula: as before :func:`freeze_batch_norm`; the statistics are those of the frozen layers.

    The layers take the mode of the model, which is changed in place and returned; other layers are left alone. Raises
    ConvcraftError when model is not a module, or none of its layers is frozen. Chapter: Batch normalization.

    >>> model = freeze_batch_norm(nn.Sequential(nn.BatchNorm2d(2)).train())
    >>> unfreeze_batch_norm(model)[0].training
    True
    """
    check_module("unfreeze_batch_norm", model)
    frozen = [module for module in model.modules() if _is_frozen(module)]
    if not frozen:
        raise ConvcraftError(
            "unfreeze_batch_norm: model must have a frozen batch normalization, got none; "
            "only freeze_batch_norm freezes layers"
        )
    for layer in frozen:
        sign: Any = layer._modules.pop("frozen")
        del layer.__dict__["train"]
        layer.train(model.training)
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(sign.learned.get(name, True))
    return model
