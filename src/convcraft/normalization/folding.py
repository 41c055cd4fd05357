"""Folding batch normalization into the layer before it, for prediction."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .. import _batch
from .._checks import check_module
from .._restore import random_state
from .._table import Table
from .._trace import tensors, twin
from ..errors import ConvcraftError
from . import batch
from ._calls import Calls, follow
from ._symbols import Unproven
from .running_stats import Frozen

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FOLDABLE = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)
BATCH_NORM = nn.modules.batchnorm._BatchNorm
_FORWARDS = (BATCH_NORM.forward, nn.SyncBatchNorm.forward, batch._BatchNorm.forward)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-3}  # of the largest output; lower precision: 0.1


class FoldedLinear(nn.Linear):
    """A linear layer that took over a batch normalization: it takes (N, features) only, as that did.

    Raises ConvcraftError when the input has another number of dimensions; batch normalization would have
    taken dimension 1 for the channels.

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


class FoldedNorm(nn.Sequential):
    """What is left of a layer that joins batch normalization with an activation: its children, in order."""


@dataclass(frozen=True)
class Folding:
    """A batch normalization, and the layer that can take it over, or why none can."""

    norm: str
    layer: str | None
    reason: str = ""


class FoldingReport(Table[Folding]):
    """The batch normalizations of a model; prints as a table."""

    headings = ("batch normalization", "folded into", "why not")

    def cells(self, row: Folding) -> tuple[str, ...]:
        return row.norm or "the model itself", row.layer or "-", row.reason


def _joined(norm: nn.Module) -> bool:
    """Whether a subclass of batch norm normalizes and then applies its children in order, by trial."""
    if {name for name, _ in norm.named_children()} - {"drop", "act"}:
        return False
    twin: Any = copy.deepcopy(norm).cpu().double()
    twin.__dict__.pop("forward", None)
    with torch.no_grad(), random_state(twin, seed=0):
        for values in (*twin._parameters.values(), *twin._buffers.values()):
            if values is not None and values.is_floating_point():
                values.copy_(torch.rand(values.shape, device="cpu") + 0.5)
        dimensions = 3 if isinstance(norm, nn.BatchNorm1d) else 5 if isinstance(norm, nn.BatchNorm3d) else 4
        shape = (3, twin.num_features, 4, 4, 4)[:dimensions]
        x = 4 * torch.randn(shape, dtype=torch.float64, device="cpu")
        parts = twin.running_mean, twin.running_var, twin.weight, twin.bias
        expected = nn.functional.batch_norm(x, *parts, False, 0.0, twin.eps)
        for child in twin.children():
            expected = child(expected)
        try:
            return torch.equal(twin(x), expected)
        except Exception:  # whatever a forward of the user's own raises
            return False


def _obstacle(layer: Any, norm: Any) -> str:
    """What in the two modules themselves prevents folding, or nothing."""
    if not isinstance(layer, FOLDABLE):
        return f"it follows a {type(layer).__name__}, not a convolution or a linear layer"
    plain = next(kind for kind in FOLDABLE if isinstance(layer, kind))
    if any(
        getattr(type(layer), name, None) is not getattr(plain, name, None) or name in vars(layer)
        for name in ("forward", "_conv_forward", "__call__")
    ):
        return f"{type(layer).__name__} has a forward of its own"
    if parametrize.is_parametrized(layer) or not isinstance(layer._parameters.get("weight"), nn.Parameter):
        return "the weight of the layer is computed (a parametrization)"
    if isinstance(layer.weight, nn.UninitializedParameter):
        return "the layer has no weight yet; run one batch first"
    if parametrize.is_parametrized(norm) or any(getattr(m, hook) for m in (layer, norm) for hook in _HOOKS):
        return "hooks or parametrizations are attached to it or to the layer before it"
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no running statistics (track_running_stats=False)"
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if norm.num_features != channels:
        return f"it has {norm.num_features} channels, the layer before it {channels}"
    if "forward" in vars(norm) or (type(norm).forward not in _FORWARDS and not _joined(norm)):
        return f"{type(norm).__name__} has a forward of its own"
    return ""


def _plan(model: nn.Module) -> FoldingReport:
    """For each batch normalization the layer that provably feeds it and nothing else, or the reason."""
    norms = {name: m for name, m in model.named_modules() if isinstance(m, BATCH_NORM)}
    try:
        calls = follow(model, (*FOLDABLE, BATCH_NORM))
    except Unproven as error:
        return FoldingReport(Folding(name, None, str(error)) for name in norms)
    modules = dict(model.named_modules())

    def judge(name: str, norm: nn.Module) -> Folding:
        found = sorted({way.before[name] for way in calls if way.count[name]})
        if not found:
            return Folding(name, None, "the forward pass does not call it")
        (alone, layer), *others = found
        if others:
            return Folding(name, None, f"it follows {layer!r} or {others[0][1]!r}, depending on a branch")
        if not alone:
            return Folding(name, None, f"it follows {layer!r}, not a convolution or a linear layer")
        uses = (_use(way, name, layer) for way in calls)
        around = [m for outer, m in modules.items() if _within(layer, outer) != _within(name, outer)]
        if any(getattr(module, hook) for module in around for hook in _HOOKS):
            return Folding(name, None, f"a hook is attached to a module between it and {layer!r}")
        reason = _obstacle(modules[layer], norm) or next(filter(None, uses), "")
        return Folding(name, None if reason else layer, reason)

    plan = FoldingReport(judge(name, norm) for name, norm in norms.items())
    folded = [row for row in plan if row.layer is not None]
    try:
        without = calls
        if folded:  # the same parameters, in a model in which nothing is left of these normalizations
            bare = twin(model)
            for row in folded:
                layer: Any = bare.get_submodule(str(row.layer))
                norm = bare.get_submodule(row.norm)
                layer._parameters["bias"] = nn.Parameter(torch.empty(0))
                norm.__class__, norm.__dict__ = nn.Identity, nn.Identity().eval().__dict__
            without = follow(bare, FOLDABLE)
        if [way.log for way in without] == [way.log for way in calls]:
            return plan
        reason = "without it the forward pass does something else"
    except Unproven as error:
        reason = str(error)
    return FoldingReport(Folding(row.norm, None, row.reason if row.layer is None else reason) for row in plan)


def _within(name: str, prefix: str) -> bool:
    """Whether a module lies inside another one, by their names."""
    return name != prefix and f"{name}.".startswith(f"{prefix}." if prefix else "")


def _use(calls: Calls, norm: str, layer: str) -> str:
    """What else a pass does with a normalization and the layer before it, or nothing."""
    for name, what in ((norm, "it"), (layer, f"{layer!r}")):
        if calls.count[name] > 1:
            return f"{what} is called {calls.count[name]} times"
        if calls.reads.get(name):
            return f"the forward pass reads {', '.join(sorted(calls.reads[name]))} of {what}"
    if calls.count[norm] != calls.count[layer]:
        return f"a pass calls {layer!r} without it"
    if calls.count[layer] and calls.readers[layer] != 1:
        return f"the output of {layer!r} has {calls.readers[layer]} readers"
    return ""


def _folded(layer: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer that does both, computed in float64."""
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)  # (C,)
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
        grouped = weight.unflatten(0, (layer.groups, -1))  # (groups, C_in / groups, C_out / groups, ...)
        by_output = scale.view(layer.groups, 1, -1, *(1,) * (weight.dim() - 2))
        return (grouped * by_output).flatten(0, 1), bias
    return weight * scale.view(-1, *(1,) * (weight.dim() - 1)), bias


def _fold(layer: Any, norm: Any) -> None:
    """Change both modules in place, so that everything that refers to them sees the same."""
    with torch.no_grad():
        weight, bias = _folded(layer, norm)
    dtype, trained = layer.weight.dtype, layer.weight.requires_grad
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=trained)
    layer.bias = nn.Parameter(bias.to(dtype), requires_grad=trained)
    if isinstance(layer, nn.Linear):
        layer.__class__ = FoldedLinear
    children = {name: child for name, child in norm.named_children() if not isinstance(child, Frozen)}
    left = FoldedNorm() if children else nn.Identity()
    for name, child in children.items():
        left.add_module(name, child)
    norm.__class__, norm.__dict__ = type(left), left.eval().__dict__


def _check(function: str, model: Any) -> None:
    check_module(function, model)
    training = [name or "the model itself" for name, module in model.named_modules() if module.training]
    if training:
        raise ConvcraftError(
            f"{function}: model must be in eval mode, got training mode in {', '.join(training[:3])}; "
            "call model.eval(): in training the statistics are those of the batch, which no layer can hold"
        )
    if not any(isinstance(module, BATCH_NORM) for module in model.modules()):
        raise ConvcraftError(f"{function}: model must have a batch normalization to fold, got none")


def folding_report(model: nn.Module) -> FoldingReport:
    """What :func:`fold_batch_norm` does with each batch normalization of a model, or why it does nothing.

    Raises ConvcraftError when a part of the model is in training mode, or it has no batch normalization.
    Chapter: Batch normalization.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    >>> folding_report(model)
    batch normalization  folded into  why not
    1                    0
    3                    -            it follows '2', not a convolution or a linear layer
    """
    _check("folding_report", model)
    return _plan(model)


def fold_batch_norm(model: nn.Module, strict: bool = False, example: Any = None) -> nn.Module:
    r"""A copy of the model, for prediction, whose batch normalizations are part of the layers before them.

    Formula: with :math:`s_c = w_c (v_c + \epsilon)^{-1/2}` from the running statistics, the layer's
    weight becomes :math:`s_c W_c` for output channel c, and its bias
    :math:`s_c (b_c - \mu_c) + \beta_c`. The result is equal up to rounding; it is computed in float64.

    A convolution (transposed and grouped ones too) or a linear layer takes over a batch normalization where
    every way through `forward` calls both once, one after the other, and nothing else reads the layer's
    output or the parameters of the two. This is established by running `forward` on symbols in place of
    tensors, on both sides of each branch, with and without each optional argument, and once more without the
    normalizations. What cannot be established stays as it is; :func:`folding_report` tells the reasons. The
    folded normalization becomes `nn.Identity`, or the activation that it was joined with. The result replaces
    `model(...)` with the attributes that the model has now; its parts called alone are the folded parts.

    torch's `torch.nn.utils.fusion.fuse_conv_bn_eval` does this for a given pair.

    Args:
        model: in eval mode; it is not changed.
        strict: refuse the model unless every batch normalization can be folded.
        example: a batch on which the outputs before and after are compared as well.

    Returns a copy in eval mode. Raises ConvcraftError when a part of the model is in training mode, it has no batch
    normalization, none can be folded, or, if strict, one cannot; the message says which and why. Also when the outputs
    on `example` differ by more than rounding, and when a linear layer that was folded is called with another number of
    dimensions than two. Source: Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference, section 3.2. Chapter: Batch normalization.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> x = torch.ones(1, 1, 5, 5)
    >>> folded = fold_batch_norm(model, example=x)
    >>> folded[1], torch.allclose(folded(x), model(x), atol=1e-6)
    (Identity(), True)
    """
    _check("fold_batch_norm", model)
    plan = _plan(model)
    left = [row for row in plan if row.layer is None]
    if left and (strict or len(left) == len(plan)):
        raise ConvcraftError(
            f"fold_batch_norm: model must have {'only' if strict else 'some'} batch normalizations that "
            f"can be folded, got {left[0].norm!r}: {left[0].reason}; keep this model as it is"
            + (", or use strict=False" if strict else "")
        )
    computed = (v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor) and v.grad_fn)
    result = copy.deepcopy(model, {id(v): v.detach().clone() for v in computed})
    modules = dict(result.named_modules())
    for row in plan:
        if row.layer is not None:
            _fold(modules[row.layer], modules[row.norm])
    if example is None:
        return result.eval()
    given = _batch.split("fold_batch_norm", example, model, "nobody")
    outputs = []
    for candidate in (model, result):
        with torch.no_grad(), random_state(model, seed=0):
            outputs.append(list(tensors(_batch.run("fold_batch_norm", candidate, copy.deepcopy(given)))))
    for before, after in zip(*outputs, strict=True):
        same = before.shape == after.shape
        error = float((before - after).double().abs().max()) if same and before.numel() else 0.0
        size = float(before.double().abs().max()) if before.numel() else 0.0
        if not same or error > _ROUNDING.get(before.dtype, 0.1) * max(size, 1e-3):
            raise ConvcraftError(
                "fold_batch_norm: the outputs on example must stay the same, got a difference of "
                f"{error:.2g} in values of up to {size:.2g}; keep this model as it is"
            )
    return result.eval()
