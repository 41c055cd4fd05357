"""Folding batch normalization into the layer before it, for prediction."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from ..errors import ConvcraftError
from . import batch

__all__ = ["FoldedLinear", "fold_batch_norm"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FOLDABLE = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)
_LEAVES = (
    "torch.nn.", "torch.ao.nn.", "convcraft.activations.", "convcraft.dropout.", "convcraft.normalization."
)  # fmt: skip
_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_FORWARDS = (_BATCH_NORM.forward, nn.SyncBatchNorm.forward, batch._BatchNorm.forward)


class FoldedLinear(nn.Linear):
    """A linear layer that took over a batch normalization: it takes (N, features) only, as that did.

    Raises:
        ConvcraftError: when the input has another number of dimensions; batch normalization would have taken
            dimension 1 for the channels.

    Example:
        >>> FoldedLinear(2, 3)(torch.ones(4, 2)).shape
        torch.Size([4, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, Tensor) and input.dim() != 2:
            raise ConvcraftError(
                f"FoldedLinear: input must have shape (N, {self.in_features}), got {tuple(input.shape)}: the "
                "batch normalization that was folded in had its channels in dimension 1; do not fold it"
            )
        return super().forward(input)


class _Pair(NamedTuple):
    layer: str
    norm: str


class _Tracer(fx.Tracer):
    """Looks into no module that has a meaning of its own here."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = type(m).__module__.startswith(_LEAVES)
        return isinstance(m, (*_FOLDABLE, _BATCH_NORM)) or (known and not isinstance(m, nn.Sequential))


def _names(model: nn.Module) -> dict[str, nn.Module]:
    """Every name of every module, shared ones under each of their names."""
    return dict(model.named_modules(remove_duplicate=False))


def _traced_pairs(model: nn.Module) -> list[_Pair] | None:
    """Normalizations whose input is a layer used once, for them alone; None where torch.fx cannot trace."""
    try:
        graph = _Tracer().trace(model)
    except Exception:  # whatever the user's forward raises on symbols
        return None
    modules = _names(model)
    calls = [node for node in graph.nodes if node.op == "call_module"]
    used = Counter(id(modules[str(node.target)]) for node in calls)
    # A weight that is read outside of its layer would change there too.
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(modules[str(node.target)], _BATCH_NORM) or not isinstance(before, fx.Node):
            continue
        if before.op != "call_module" or len(before.users) != 1 or str(before.target) in read:
            continue
        layer = modules[str(before.target)]
        if used[id(layer)] == 1 and used[id(modules[str(node.target)])] == 1:
            pairs.append(_Pair(str(before.target), str(node.target)))
    return pairs


def _sequential_pairs(model: nn.Module) -> list[_Pair]:
    """Neighbours in an nn.Sequential, neither of them registered anywhere else."""
    modules = _names(model)
    registered = Counter(id(module) for module in modules.values())
    pairs = []
    for name, module in modules.items():
        if type(module).forward is not nn.Sequential.forward or registered[id(module)] > 1:
            continue
        children = list(module.named_children())
        for (first, layer), (second, norm) in zip(children, children[1:], strict=False):
            if registered[id(layer)] == 1 and registered[id(norm)] == 1 and isinstance(norm, _BATCH_NORM):
                prefix = f"{name}." if name else ""
                pairs.append(_Pair(prefix + first, prefix + second))
    return pairs


def _obstacle(layer: nn.Module, norm: nn.Module) -> str | None:
    """Why this normalization cannot be folded into this layer, or None."""
    if not isinstance(layer, _FOLDABLE):
        return f"a {type(layer).__name__} stands before it, not a convolution or a linear layer"
    plain = next(kind for kind in _FOLDABLE if isinstance(layer, kind))
    if type(layer).forward is not plain.forward:
        return f"{type(layer).__name__} has a forward of its own"
    if type(norm).forward not in _FORWARDS:
        return f"{type(norm).__name__} has a forward of its own"
    if parametrize.is_parametrized(layer) or "weight" not in layer._parameters:
        return "the weight of the layer is computed (a parametrization)"
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, hook) for module in (layer, norm) for hook in hooks):
        return "hooks are attached to it or to the layer before it"
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no running statistics (track_running_stats=False)"
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if norm.num_features != channels:
        return f"it has {norm.num_features} channels, the layer before it {channels}"
    return None


def _folded(layer: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer that does both, computed in float64."""
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double()
    if layer.bias is not None:
        shift = shift + layer.bias.double()
    bias = shift * scale
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    weight = layer.weight.double()
    if isinstance(layer, _TRANSPOSED):  # (in, out / groups, ...): the groups lie along the inputs
        grouped = weight.unflatten(0, (layer.groups, -1))
        by_output = scale.view(layer.groups, 1, -1, *(1,) * (weight.dim() - 2))
        return (grouped * by_output).flatten(0, 1), bias
    return weight * scale.view(-1, *(1,) * (weight.dim() - 1)), bias


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _fold(model: nn.Module, pair: _Pair) -> None:
    layer: Any = model.get_submodule(pair.layer)
    norm: Any = model.get_submodule(pair.norm)
    with torch.no_grad():
        weight, bias = _folded(layer, norm)
    dtype, trained = layer.weight.dtype, layer.weight.requires_grad
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=trained)
    layer.bias = nn.Parameter(bias.to(dtype), requires_grad=trained)
    if isinstance(layer, nn.Linear):
        layer.__class__ = FoldedLinear
    _replace(model, pair.norm, nn.Identity())


def _left(model: nn.Module) -> Iterator[str]:
    return (name for name, module in model.named_modules() if isinstance(module, _BATCH_NORM))


def fold_batch_norm(model: nn.Module, strict: bool = False) -> nn.Module:
    r"""A copy of the model, for prediction, whose batch normalizations are part of the layers before them.

    Formula: with :math:`s_c = w_c (v_c + \epsilon)^{-1/2}` from the running statistics, the layer's
    weight becomes :math:`s_c W_c` for output channel c, and its bias
    :math:`s_c (b_c - \mu_c) + \beta_c`. The result is equal up to rounding; it is computed in float64.

    Convolutions, transposed ones (grouped or not) and linear layers are folded where the normalization
    is the only user of their only call. `torch.fx` finds these pairs; in a model that it cannot trace,
    neighbours in an `nn.Sequential` are taken. Each folded normalization is replaced by `nn.Identity`,
    so that the model keeps its class and its names. Others stay as they are, and are exact too.

    Args:
        model: in eval mode; it is not changed.
        strict: refuse the model unless every batch normalization can be folded.

    Returns:
        A copy in eval mode.

    Raises:
        ConvcraftError: when a part of the model is in training mode, it has no batch normalization, none
            can be folded, or, if strict, one cannot; the message says which and why. Also when a linear
            layer that was folded is called with another number of dimensions than two.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> folded = fold_batch_norm(model)
        >>> x = torch.ones(1, 1, 5, 5)
        >>> folded[1], torch.allclose(folded(x), model(x), atol=1e-6)
        (Identity(), True)

    Source: Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference, section 3.2. Chapter 9.
    """
    training = [name or "the model itself" for name, module in model.named_modules() if module.training]
    if training:
        raise ConvcraftError(
            f"fold_batch_norm: model must be in eval mode, got training mode in {', '.join(training[:3])}; "
            "call model.eval(): in training the statistics are those of the batch, which no layer can hold"
        )
    if next(_left(model), None) is None:
        raise ConvcraftError(
            "fold_batch_norm: model must have a batch normalization, got none; there is nothing to fold"
        )
    result = copy.deepcopy(model)
    pairs = _traced_pairs(result)
    if pairs is None:
        pairs = _sequential_pairs(result)
    reasons: dict[str, str] = {}
    for pair in pairs:
        reason = _obstacle(result.get_submodule(pair.layer), result.get_submodule(pair.norm))
        if reason is None:
            _fold(result, pair)
        else:
            reasons[pair.norm] = reason
    left = list(_left(result))
    if left and (strict or len(left) == len(list(_left(model)))):
        name = left[0]
        reason = reasons.get(name, "it does not follow a layer whose only use it is")
        raise ConvcraftError(
            f"fold_batch_norm: model must have {'only' if strict else 'some'} batch normalizations that "
            f"can be folded, got {name!r}: {reason}; keep this model as it is"
            + (", or use strict=False" if strict else "")
        )
    return result.eval()
