"""Proximal steps after the steps of any torch optimizer, in the metric of that optimizer."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, NAdam, Optimizer, RAdam, RMSprop

from ..errors import ConvcraftError
from ._checks import strength
from .steps import shrink, shrink_groups

AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer)
#: (parameter group, states of its parameters) -> one rate, or a tensor of rates for each parameter
Rates = Callable[[dict[str, Any], list[dict[str, Any]]], float | list[Tensor]]
_HANDLE = "_convcraft_proximal"


def proximal(
    optimizer: AnyOptimizer, l1: float = 0.0, group: float = 0.0, *, dim: int = 0, rates: Rates | None = None
) -> AnyOptimizer:
    r"""Let an optimizer minimize the loss plus L1 and group-lasso penalties, with weights exactly zero.

    Formula: after each step of the optimizer, :math:`w \leftarrow \arg\min_x \tfrac12 \sum_i (x_i - w_i)^2 /
    r_i + \lambda_1 \sum_i |x_i| + \lambda_g \sum_g \sqrt{n_g} \|x_g\|`: soft thresholds
    :math:`r_i \lambda_1`, then group thresholds :math:`r_i \lambda_g`. The rate :math:`r_i` is
    what the optimizer multiplies a steady gradient by, so that the points where it comes to rest are those of
    the penalized loss:

    - SGD: lr (1 - dampening) / (1 - momentum), Nesterov's or not;
    - Adam, AdamW and NAdam: lr / (sqrt(v) + eps) for each weight, v the corrected second moment;
    - RMSprop: the same with its own average, divided by 1 - momentum;
    - Adagrad and Adamax: lr over the root of the sum, or the largest, of the squared gradients;
    - RAdam and Adadelta: likewise what they multiply the gradient by.

    Under Adam the metric so differs from weight to weight: weights with small gradients have large rates and
    reach zero first, but the penalized loss is the same. The rate is read after each step, and so follows
    schedulers and per-group learning rates. Parameters without a gradient are left alone.

    The strengths stand in the parameter groups as "l1" and "group", where `state_dict` keeps them and each
    group may have its own: a group that has them already keeps them (see `decay_groups`, to spare biases and
    normalizations). The optimizer is changed by a hook and returned. A copy by `deepcopy` or `pickle` has no
    hooks: call `proximal(copy)` for it again.

    Args:
        optimizer: one of those above, or any other with `rates`.
        l1: :math:`\lambda_1` for the groups without an own, not negative.
        group: :math:`\lambda_g` for the groups without an own, not negative.
        dim: the dimension that counts the groups of weights, as in `group_lasso`.
        rates: for other optimizers: from a parameter group and the states of those of its parameters that
            have a gradient, one rate or a list of a tensor for each.

    Raises ConvcraftError when optimizer is none, or one whose rates are not known and are not given; when a
    strength is negative or no number; when dim is not a dimension of a parameter that it counts for. Source:
    Parikh and Boyd (2014), Proximal Algorithms; Duchi, Hazan and Singer (2011), Adaptive Subgradient Methods,
    for the metric; Simon, Friedman, Hastie and Tibshirani (2013), A Sparse-Group Lasso, for the order of the
    two thresholds. Chapter: L1 and L2 penalties.

    >>> w = torch.nn.Parameter(torch.tensor([0.05, 1.0]))
    >>> optimizer = proximal(torch.optim.SGD([w], lr=0.1), l1=1.0)
    >>> w.sum().mul(0).backward()
    >>> _ = optimizer.step()
    >>> w.tolist()
    [0.0, 0.8999999761581421]
    """
    if not isinstance(optimizer, Optimizer):
        raise ConvcraftError(
            f"proximal: optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}; "
            "build it first, then wrap it"
        )
    if rates is None:
        rates = next((known for kind, known in _RATES.items() if isinstance(optimizer, kind)), None)
    if rates is None:
        raise ConvcraftError(
            f"proximal: the rates of {type(optimizer).__name__} are not known, only those of "
            f"{', '.join(kind.__name__ for kind in _RATES)} and AdamW; "
            'pass rates=, for example rates=lambda group, states: group["lr"]'
        )
    defaults = {"l1": strength("proximal", "l1", l1), "group": strength("proximal", "group", group)}
    for parameter_group in optimizer.param_groups:
        for key in defaults:
            strength("proximal", f"{key} of a parameter group", parameter_group.get(key, 0.0))
        if parameter_group.get("group", group):
            _check_dim(parameter_group["params"], dim)
    for parameter_group in optimizer.param_groups:
        for key, value in defaults.items():
            parameter_group.setdefault(key, value)

    @torch.no_grad()
    def after(changed: Optimizer, args: Any, kwargs: Any) -> None:
        for parameter_group in changed.param_groups:
            soft, lasso = (parameter_group.get(key, value) for key, value in defaults.items())
            tensors = [p for p in parameter_group["params"] if p.grad is not None]
            if not tensors or not (soft or lasso):
                continue
            if lasso:  # a strength may have come since, and parameters
                _check_dim(tensors, dim)
            found = rates(parameter_group, [changed.state[p] for p in tensors])
            if soft:
                shrink(tensors, _times(found, soft))
            if lasso:
                shrink_groups(tensors, _times(found, lasso), dim)

    if (previous := getattr(optimizer, _HANDLE, None)) is not None:
        previous.remove()
    setattr(optimizer, _HANDLE, optimizer.register_step_post_hook(after))
    return optimizer


def _check_dim(tensors: list[Tensor], dim: int) -> None:
    for p in tensors:
        if not -p.dim() <= dim < max(1, p.dim()):
            raise ConvcraftError(
                f"proximal: dim must be a dimension of every parameter, got {dim} for shape "
                f"{tuple(p.shape)}; give biases a parameter group with group=0"
            )


def _times(rates: float | list[Tensor], factor: float) -> Any:
    if isinstance(rates, list):
        return torch._foreach_mul(rates, factor)
    return float(rates) * factor


def _sgd(group: dict[str, Any], states: list[dict[str, Any]]) -> float:
    momentum, rate = group["momentum"], float(group["lr"])
    return rate * (1 - group["dampening"]) / (1 - momentum) if momentum else rate


def _inverse(roots: list[Tensor], eps: float, lr: float, corrections: list[float] | None = None) -> list[Tensor]:
    """lr / (root / correction + eps) for each tensor; the roots are overwritten."""
    if corrections is not None:
        torch._foreach_div_(roots, corrections)
    torch._foreach_add_(roots, eps)
    torch._foreach_reciprocal_(roots)
    torch._foreach_mul_(roots, lr)
    return roots


def _adam(group: dict[str, Any], states: list[dict[str, Any]]) -> list[Tensor]:
    key = "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"
    decay = float(group["betas"][1])
    corrections = [math.sqrt(1 - decay ** float(state["step"])) for state in states]
    roots = list(torch._foreach_sqrt([state[key] for state in states]))
    return _inverse(roots, group["eps"], float(group["lr"]), corrections)


def _rmsprop(group: dict[str, Any], states: list[dict[str, Any]]) -> list[Tensor]:
    squares = [state["square_avg"] for state in states]
    if group["centered"]:
        means = [state["grad_avg"] for state in states]
        squares = list(torch._foreach_addcmul(squares, means, means, value=-1))
    roots = list(torch._foreach_sqrt(squares))
    return _inverse(roots, group["eps"], float(group["lr"]) / (1 - group["momentum"]))


def _adagrad(group: dict[str, Any], states: list[dict[str, Any]]) -> list[Tensor]:
    slower = 1 + (float(states[0]["step"]) - 1) * group["lr_decay"]
    roots = list(torch._foreach_sqrt([state["sum"] for state in states]))
    return _inverse(roots, group["eps"], float(group["lr"]) / slower)


def _adamax(group: dict[str, Any], states: list[dict[str, Any]]) -> list[Tensor]:
    largest = [state["exp_inf"].clone() for state in states]  # torch adds eps to it already
    return _inverse(largest, 0.0, float(group["lr"]))


def _radam(group: dict[str, Any], states: list[dict[str, Any]]) -> float | list[Tensor]:
    decay, step, lr = float(group["betas"][1]), float(states[0]["step"]), float(group["lr"])
    correction = 1 - decay**step
    most = 2 / (1 - decay) - 1
    length = most - 2 * step * decay**step / correction
    if length <= 5:  # too few squares for an average: plain momentum
        return lr
    part = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    roots = list(torch._foreach_sqrt([state["exp_avg_sq"] for state in states]))
    return _inverse(roots, group["eps"], lr * math.sqrt(part * correction))


def _adadelta(group: dict[str, Any], states: list[dict[str, Any]]) -> list[Tensor]:
    eps, rate = group["eps"], float(group["lr"])
    ratios = [(state["acc_delta"] + eps).div_(state["square_avg"] + eps) for state in states]
    return [ratio.sqrt_().mul_(rate) for ratio in ratios]


#: The optimizers of torch whose steps are a rate times a gradient.
_RATES: dict[type[Optimizer], Rates] = {
    SGD: _sgd,
    Adam: _adam,  # and AdamW, which is one
    NAdam: _adam,
    RMSprop: _rmsprop,
    Adagrad: _adagrad,
    Adamax: _adamax,
    RAdam: _radam,
    Adadelta: _adadelta,
}
