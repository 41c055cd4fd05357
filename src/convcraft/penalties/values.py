"""Penalties as numbers with a gradient, each in one pass over all parameters."""

import math
from typing import Any

import torch
from torch import Tensor

from ._checks import Parameters, broadcast, check_dimension, needs_autograd, parameters, rows, strength


class _Elastic(torch.autograd.Function):
    """l1 sum |w| + l2 sum w^2, l2 > 0, with the gradient l1 sign(w) + 2 l2 w, each by one call for all tensors."""

    @staticmethod
    def forward(ctx: Any, l1: float, l2: float, *tensors: Tensor) -> Tensor:
        ctx.l1, ctx.l2 = l1, l2
        ctx.save_for_backward(*tensors)
        with torch.no_grad():
            total = torch.stack(torch._foreach_norm(tensors, 2)).square_().sum() * l2
            if l1:
                # On the CPU the kernel of the 1-norm takes twice as long as abs and sum.
                cpu = tensors[0].device.type == "cpu"
                sums = [w.abs().sum() for w in tensors] if cpu else torch._foreach_norm(tensors, 1)
                total.add_(torch.stack(list(sums)).sum() * l1)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tensors, l1, l2 = ctx.saved_tensors, ctx.l1, ctx.l2
        (gradient,) = gradients
        if torch.is_grad_enabled() or needs_autograd([gradient]):  # let autograd see the formula
            return None, None, *(gradient * (l1 * w.sign() + 2 * l2 * w) for w in tensors)
        factor = gradient.item() if gradient.device.type == "cpu" else gradient
        if not l1:
            slopes = torch._foreach_mul(tensors, 2 * l2 * factor)
        else:
            slopes = torch._foreach_sign(tensors)
            torch._foreach_mul_(slopes, l1 * factor)
            if isinstance(factor, float):
                torch._foreach_add_(slopes, tensors, alpha=2 * l2 * factor)
            else:
                torch._foreach_add_(slopes, torch._foreach_mul(tensors, 2 * l2 * factor))
        return None, None, *slopes


def _elastic(tensors: list[Tensor], l1: float, l2: float) -> Tensor:
    together = len({(w.device, w.dtype) for w in tensors}) == 1
    if l2 and together and not needs_autograd(tensors):  # for l1 alone torch is as fast
        return _Elastic.apply(l1, l2, *tensors)
    device = tensors[0].device
    return sum(
        ((l1 * w.abs().sum() + l2 * w.square().sum()).to(device) for w in tensors),
        torch.zeros((), device=device, dtype=tensors[0].dtype),
    )


def l1_penalty(p: Parameters) -> Tensor:
    r"""Sum the absolute values of all parameters.

    Formula: :math:`\sum_i |w_i|`, with the gradient :math:`\text{sign}(w_i)`, which is 0 at 0. By gradient
    steps alone no weight becomes exactly 0: see `proximal`.

    p is a model, its parameters, or one tensor, floating-point; each counts once. Returns a tensor without dimensions,
    which can be differentiated twice. Raises ConvcraftError without parameters, or for one that is not floating-point.
    Source: Tibshirani (1996), Regression Shrinkage and Selection via the Lasso. Chapter: L1 and L2 penalties.

    >>> l1_penalty([torch.tensor([1.0, -2.0]), torch.tensor([[3.0]])])
    tensor(6.)
    """
    return _elastic(parameters("l1_penalty", p), 1, 0)


def l2_penalty(p: Parameters) -> Tensor:
    r"""Sum the squares of all parameters, without a factor 1/2.

    Formula: :math:`\sum_i w_i^2`, with the gradient :math:`2 w_i`. The `weight_decay` of torch's optimizers
    adds :math:`\lambda w_i`, and so is this penalty times :math:`\lambda / 2`.

    Argument, result and errors are those of :func:`l1_penalty`. Source: Hoerl and Kennard (1970), Ridge
    Regression: Biased Estimation for Nonorthogonal Problems. Chapter: L1 and L2 penalties.

    >>> l2_penalty([torch.tensor([1.0, -2.0]), torch.tensor([[3.0]])])
    tensor(14.)
    """
    return _elastic(parameters("l2_penalty", p), 0, 1)


def elastic_net(p: Parameters, l1: float, l2: float) -> Tensor:
    r"""Weigh the sum of absolute values and the sum of squares together.

    Formula: :math:`\lambda_1 \sum_i |w_i| + \lambda_2 \sum_i w_i^2` with the strengths l1 and l2.

    Parameters, result and errors are those of :func:`l1_penalty`; a strength that is negative or not finite
    raises ConvcraftError too. Source: Zou and Hastie (2005), Regularization and Variable Selection via the
    Elastic Net. Chapter: L1 and L2 penalties.

    >>> elastic_net(torch.tensor([1.0, -2.0]), l1=1.0, l2=0.5)
    tensor(5.5000)
    """
    tensors = parameters("elastic_net", p)
    return _elastic(tensors, strength("elastic_net", "l1", l1), strength("elastic_net", "l2", l2))


class _Group(torch.autograd.Function):
    """sum_g sqrt(n_g) |w_g| with the gradient sqrt(n_g) w / |w_g|, 0 for a group of zeros.

    Value and gradient take 0.13 to 0.23 of autograd's time for weights of a million parameters, 0.6 for small ones.
    """

    @staticmethod
    def forward(ctx: Any, dim: int, *tensors: Tensor) -> Tensor:
        groups = [rows(w, dim) for w in tensors]
        norms = [torch.linalg.vector_norm(g, dim=1) for g in groups]
        ctx.dim = dim
        ctx.save_for_backward(*tensors, *norms)
        sums = [n.sum() * math.sqrt(max(1, g.size(1))) for n, g in zip(norms, groups, strict=True)]
        return torch.stack(sums).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        tensors, norms = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        slopes = []
        for w, n in zip(tensors, norms, strict=True):
            groups = rows(w, ctx.dim)
            if torch.is_grad_enabled():
                n = _norms(groups)
            scale = math.sqrt(max(1, groups.size(1))) * gradients[0] / torch.where(n == 0, 1, n)
            slopes.append(w * broadcast(scale, w, ctx.dim))
        return None, *slopes


def _norms(groups: Tensor) -> Tensor:
    """Norm of each group, whose gradient at a group of zeros is 0."""
    squares = groups.square().sum(1)
    zero = squares == 0
    return torch.where(zero, torch.ones_like(squares), squares).sqrt() * zero.logical_not()


def group_lasso(p: Parameters, dim: int = 0) -> Tensor:
    r"""Sum the Euclidean norms of groups of parameters, so that whole groups become zero together.

    Formula: :math:`\sum_g \sqrt{n_g}\, \|w_g\|_2` over the groups g of :math:`n_g` members; a group is what
    has the same index in dimension `dim`: with 0 the weights of one output unit of a linear layer or a
    convolution, with 1 those of one input. A bias has groups of one, so that its part is an L1 penalty. The
    gradient of a group of zeros is 0.

    Parameters, result and errors are those of :func:`l1_penalty`; a parameter without the dimension dim
    raises ConvcraftError too. Source: Yuan and Lin (2006), Model Selection and Estimation in Regression with
    Grouped Variables; Wen, Wu, Wang, Chen and Li (2016), Learning Structured Sparsity in Deep Neural
    Networks. Chapter: L1 and L2 penalties.

    >>> group_lasso(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor(7.0711)
    """
    tensors = parameters("group_lasso", p)
    for w in tensors:
        check_dimension("group_lasso", w, dim)
    if len({w.device for w in tensors}) == 1 and not needs_autograd(tensors):
        return _Group.apply(dim, *tensors)
    total = torch.zeros((), device=tensors[0].device, dtype=tensors[0].dtype)
    for w in tensors:
        groups = rows(w, dim)
        total = total + (math.sqrt(max(1, groups.size(1))) * _norms(groups).sum()).to(total.device)
    return total
