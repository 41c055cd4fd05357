"""Fast paths: where torch's kernel is slow or keeps a second tensor, ours runs; elsewhere torch's does.

- Mish and softsign: a formula of six operations on a large tensor reads and writes main memory six times. On
  blocks of 32,768 elements a thread it does so in the cache; main memory is read once and written once.
- ELU, CELU, SELU take as long as torch's, but keep their output for the backward pass and not their input:
  between two layers that adds nothing, since the next layer keeps its input anyway, where torch adds 4 bytes
  for each number.

Small tensors, other devices, tensor subclasses and compiled code take torch's kernel: there it is as fast.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._eager import flat, has_memory, is_dense, is_eager
from .definitions import DEFINITIONS, SELU_ALPHA, SELU_SCALE

# From how many elements on a path of our own gains more than its few calls from Python cost.
MISH_FROM = 1 << 16
SOFTSIGN_FROM = 1 << 18
RESULT_FROM = 1 << 20
ELEMENTS_A_THREAD = 1 << 15

#: (block of x, block of the gradient or None, block of the result, three spare blocks) -> None
Kernel = Callable[[Tensor, Tensor | None, Tensor, tuple[Tensor, ...]], None]
_aten = torch.ops.aten


# blocks, kept input


def _mish(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """x m / (m + 1) with m = e + e^2 / 2, e = e^x: half of the n in `definitions.mish`."""
    e, m, _ = spare
    torch.clamp(x, max=20, out=e)
    e.exp_()
    torch.addcmul(e, e, e, value=0.5, out=m)
    torch.add(m, 1, out=e)
    torch.mul(m.div_(e), x, out=out)


def _mish_slope(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """grad (m + x (e + e^2) / (m + 1)) / (m + 1)."""
    assert grad is not None
    e, m, d = spare
    torch.clamp(x, -100, 20, out=d)
    torch.exp(d, out=e)
    torch.addcmul(e, e, e, value=0.5, out=m)
    e.addcmul_(e, e).mul_(d)
    torch.add(m, 1, out=d)
    m.addcdiv_(e, d).div_(d)
    torch.mul(m, grad, out=out)


def _softsign(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """x / (1 + |x|)."""
    d = spare[0]
    torch.abs(x, out=d)
    torch.div(x, d.add_(1), out=out)


def _softsign_slope(x: Tensor, grad: Tensor | None, out: Tensor, spare: tuple[Tensor, ...]) -> None:
    """grad / (1 + |x|)^2, divided twice so that the square does not overflow."""
    assert grad is not None
    d = spare[0]
    torch.abs(x, out=d)
    torch.div(grad, d.add_(1), out=out)
    out.div_(d)


def _in_blocks(kernel: Kernel, x: Tensor, grad: Tensor | None = None) -> Tensor:
    """Apply a kernel block by block. The result has the memory format of x."""
    if not is_dense(x):
        x = x.contiguous()
    out = torch.empty_like(x)
    if grad is not None and grad.stride() != x.stride():
        grad = out.copy_(grad)
    size = max(1, min(ELEMENTS_A_THREAD * torch.get_num_threads(), x.numel()))
    spare = x.new_empty(3, size).unbind(0)
    xs, outs = flat(x).split(size), flat(out).split(size)
    grads = [None] * len(xs) if grad is None else flat(grad).split(size)
    for block, slope, result in zip(xs, grads, outs, strict=True):
        kernel(block, slope, result, tuple(s[: len(block)] for s in spare))
    return out


def _mish_second(x: Tensor) -> Tensor:
    """Second derivative: 2 w' + x w'' with w = m / (m + 1), m = e + e^2 / 2, e = e^x."""
    bounded = x.clamp(-100, 20)
    e = torch.exp(bounded)
    q, d = e * (1 + e), 1 + e + 0.5 * e * e
    first = q / (d * d)
    return 2 * first + bounded * (e * (1 + 2 * e) / (d * d) - 2 * first * q / d)


#: Value, value of the derivative times a gradient, second derivative.
_KERNELS: dict[str, tuple[Kernel, Kernel, Callable[[Tensor], Tensor]]] = {
    "mish": (_mish, _mish_slope, _mish_second),
    "softsign": (_softsign, _softsign_slope, lambda x: -2 * torch.sign(x) / (1 + x.abs()) ** 3),
}


class _Slope(torch.autograd.Function):
    """grad * f'(x), itself differentiable in both."""

    @staticmethod
    def forward(grad: Tensor, x: Tensor, name: str) -> Tensor:
        if not (has_memory(grad) and has_memory(x)):
            return grad * DEFINITIONS[name][1](x)
        return _in_blocks(_KERNELS[name][1], x, grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        grad, x, ctx.name = inputs
        ctx.save_for_backward(grad, x)
        ctx.save_for_forward(grad, x)

    @staticmethod
    def _bend(ctx: Any) -> Tensor:
        grad, x = ctx.saved_tensors
        return grad * _KERNELS[ctx.name][2](x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first = second = None
        if ctx.needs_input_grad[0]:
            first = _Slope.apply(grads[0], ctx.saved_tensors[1], ctx.name)
        if ctx.needs_input_grad[1]:
            second = grads[0] * _Slope._bend(ctx)
        return first, second, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        of_grad, of_x = tangents[:2]
        total = torch.zeros_like(ctx.saved_tensors[0])
        if of_grad is not None:
            total = total + _Slope.apply(of_grad, ctx.saved_tensors[1], ctx.name)
        if of_x is not None:
            total = total + of_x * _Slope._bend(ctx)
        return total

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], grad: Tensor, x: Tensor, name: str) -> tuple[Tensor, int]:
        mapped = [(grad, in_dims[0]), (x, in_dims[1])]
        size = next(t.shape[d] for t, d in mapped if d is not None)
        parts = [t.expand(size, *t.shape) if d is None else t.movedim(d, 0) for t, d in mapped]
        return _Slope.apply(*parts, name), 0


class _Value(torch.autograd.Function):
    """f(x) that keeps x, with a backward pass that can be differentiated again."""

    @staticmethod
    def forward(x: Tensor, name: str) -> Tensor:
        return _in_blocks(_KERNELS[name][0], x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.name = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Slope.apply(grads[0], ctx.saved_tensors[0], ctx.name), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _Slope.apply(tangents[0], ctx.saved_tensors[0], ctx.name)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, name: str) -> tuple[Tensor, int | None]:
        return _Value.apply(x, name), in_dims[0]


def mish(x: Tensor) -> Tensor:
    return _Value.apply(x, "mish") if is_eager(x, MISH_FROM) else F.mish(x)


def softsign(x: Tensor) -> Tensor:
    # Without a gradient torch's three operations are as fast.
    if torch.is_grad_enabled() and is_eager(x, SOFTSIGN_FROM) and x.requires_grad:
        return _Value.apply(x, "softsign")
    return F.softsign(x)


# kept output


class _Elu(torch.autograd.Function):
    """torch's kernel of scale * (x if x > 0 else alpha (e^(rate x) - 1)), which keeps the output only."""

    @staticmethod
    def forward(x: Tensor, alpha: float, scale: float, rate: float) -> Tensor:
        return _aten.elu(x, alpha, scale, rate)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.constants = inputs[1:]
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return _Elu.jvp(ctx, grads[0]), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _aten.elu_backward(tangents[0], *ctx.constants, True, ctx.saved_tensors[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *constants: float) -> tuple[Tensor, int | None]:
        return _Elu.apply(x, *constants), in_dims[0]


def _keeps_result(x: Tensor, inplace: bool, alpha: float) -> bool:
    """Whether the output tells the slope, which for a negative alpha it does not, and is worth keeping."""
    wanted = torch.is_grad_enabled() and not inplace and alpha >= 0
    return wanted and is_eager(x, RESULT_FROM) and x.requires_grad


def elu(x: Tensor, alpha: float, inplace: bool) -> Tensor:
    return _Elu.apply(x, alpha, 1.0, 1.0) if _keeps_result(x, inplace, alpha) else F.elu(x, alpha, inplace)


def celu(x: Tensor, alpha: float, inplace: bool) -> Tensor:
    if _keeps_result(x, inplace, alpha):
        return _Elu.apply(x, alpha, 1.0, 1.0 / alpha)
    return F.celu(x, alpha, inplace)


def selu(x: Tensor, inplace: bool) -> Tensor:
    keeps = _keeps_result(x, inplace, 1.0)
    return _Elu.apply(x, SELU_ALPHA, SELU_SCALE, 1.0) if keeps else F.selu(x, inplace)
