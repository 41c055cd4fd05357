"""Fast paths: where torch's kernel is slow or keeps a second tensor, ours runs; elsewhere torch's does.

- Mish and softsign: the formula of `definitions` in blocks that stay in the cache, with a hand-written
  backward.
- tanh: oneDNN's kernel instead of MKL's where MKL runs without its fast instructions, which is on CPUs of
  other makers than Intel; both round to within 1e-7 of the value.
- ELU, CELU, SELU: the output is kept for the backward pass and not the input, so that nothing is added to
  what the next layer keeps anyway.
- hardsigmoid: torch's kernels, given the second derivative that they lack.

Small tensors, other devices, tensor subclasses and compiled code take torch's kernel: there it is as fast.
The order of the checks matters: on a small tensor they are all that is added to torch's own time.
"""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._blocks import MISH, MISH_SLOPE, SOFTSIGN, SOFTSIGN_SLOPE, in_blocks
from .definitions import DEFINITIONS, SELU_ALPHA, SELU_SCALE

# From how many elements on the fast path gains more than its few calls from Python cost.
MISH_FROM = 1 << 16
SOFTSIGN_FROM = 1 << 18
TANH_FROM = 1 << 18
RESULT_FROM = 1 << 20

_FLOATS = (torch.float32, torch.float64)
_ORDINARY = (Tensor, torch.nn.Parameter)
_is_compiling, _is_tracing = torch.compiler.is_compiling, torch.jit.is_tracing
_is_transforming: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_aten = torch.ops.aten
_hardsigmoid_backward = _aten.hardsigmoid_backward.default
_SIXTH = math.nextafter(1 / 6, 1)  # not below 1/6, so that -3 and 3 give exactly 0 and 1


def _ordinary(x: Tensor) -> bool:
    """Whether this is a tensor and nothing that stands for one, outside of compilers and tracers."""
    return not _is_compiling() and type(x) in _ORDINARY and not _is_tracing()


def _plain(x: Tensor, least: int) -> bool:
    """Whether it is one of so many elements, on the CPU and in single or double precision."""
    return _ordinary(x) and x.numel() >= least and x.is_cpu and x.dtype in _FLOATS


def _has_memory(x: Tensor) -> bool:
    """Whether this is a tensor of numbers, not one that stands for a batch, as in batched gradients."""
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    return True


@functools.cache
def mkl_is_slow() -> bool:
    """Whether MKL runs without its fast instructions, and oneDNN is there to take its place."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    if os.environ.get("MKL_ENABLE_INSTRUCTIONS", "AVX512").upper().startswith(("SSE", "AVX2")):
        return True
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        described = platform.processor()
    return "GenuineIntel" not in described and "AuthenticAMD" in described


# blocks, kept input


def _together(in_dims: tuple[int | None, ...], *tensors: Tensor) -> list[Tensor]:
    """Move the mapped dimension of each to the front, and repeat those that have none."""
    size = next(t.shape[d] for t, d in zip(tensors, in_dims, strict=True) if d is not None)
    return [
        t.unsqueeze(0).expand(size, *t.shape) if d is None else t.movedim(d, 0)
        for t, d in zip(tensors, in_dims, strict=True)
    ]


def _mish_second(x: Tensor) -> Tensor:
    """Second derivative: 2 w' + x w'' with w = m / (m + 1), m = e + e^2 / 2, e = e^x."""
    bounded = x.clamp(-100, 20)
    e = torch.exp(bounded)
    q, d = e * (1 + e), 1 + e + 0.5 * e * e
    first = q / (d * d)
    return 2 * first + bounded * (e * (1 + 2 * e) / (d * d) - 2 * first * q / d)


def _softsign_second(x: Tensor) -> Tensor:
    return -2 * torch.sign(x) / (1 + x.abs()) ** 3


_VALUE: dict[str, Callable[[Tensor], Tensor]] = {
    "mish": functools.partial(in_blocks, MISH),
    "softsign": functools.partial(in_blocks, SOFTSIGN),
}
_SLOPE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mish": functools.partial(in_blocks, MISH_SLOPE),
    "softsign": functools.partial(in_blocks, SOFTSIGN_SLOPE),
}
_SECOND: dict[str, Callable[[Tensor], Tensor]] = {
    "mish": _mish_second,
    "softsign": _softsign_second,
}


class _Slope(torch.autograd.Function):
    """grad * f'(x), itself differentiable in both."""

    @staticmethod
    def forward(grad: Tensor, x: Tensor, name: str) -> Tensor:
        if not (_has_memory(grad) and _has_memory(x)):
            return grad * DEFINITIONS[name][1](x)
        return _SLOPE[name](x, grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        grad, x, ctx.name = inputs
        ctx.save_for_backward(grad, x)
        ctx.save_for_forward(grad, x)

    @staticmethod
    def _bend(ctx: Any) -> Tensor:
        grad, x = ctx.saved_tensors
        return grad * _SECOND[ctx.name](x)

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
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], grad: Tensor, x: Tensor, name: str
    ) -> tuple[Tensor, int]:
        return _Slope.apply(*_together(in_dims[:2], grad, x), name), 0


class _Value(torch.autograd.Function):
    """f(x) that keeps x, with a backward pass that can be differentiated again."""

    @staticmethod
    def forward(x: Tensor, name: str) -> Tensor:
        return _VALUE[name](x)

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
    return _Value.apply(x, "mish") if _plain(x, MISH_FROM) else F.mish(x)


def softsign(x: Tensor) -> Tensor:
    # Without a gradient torch's three operations are as fast.
    if torch.is_grad_enabled() and _plain(x, SOFTSIGN_FROM) and x.requires_grad:
        return _Value.apply(x, "softsign")
    return F.softsign(x)


class _Hardsigmoid(torch.autograd.Function):
    """torch's kernels for value and slope; where the slope is differentiated again, the formula of the slope.

    The context is filled in `forward`, which costs half of what `setup_context` does and bars the
    transforms of torch.func.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return F.hardsigmoid(x)

    @staticmethod
    def _slope(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > -3) & (x < 3), grad / 6, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        if torch.is_grad_enabled() or not _has_memory(grads[0]):
            return _Hardsigmoid._slope(ctx, grads[0])
        return _hardsigmoid_backward(grads[0], *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _Hardsigmoid._slope(ctx, tangents[0])


def hardsigmoid(x: Tensor, inplace: bool) -> Tensor:
    """Under compilers and transforms, x / 6 + 1/2 cut to [0, 1]: torch's kernel has no second derivative."""
    if inplace or not torch.is_grad_enabled():
        return F.hardsigmoid(x, inplace)
    if _ordinary(x) and not _is_transforming():
        return _Hardsigmoid.apply(x) if x.requires_grad else F.hardsigmoid(x)
    if not (isinstance(x, Tensor) and x.requires_grad):
        return F.hardsigmoid(x)
    if x.dtype in _FLOATS:
        return F.hardtanh(torch.rsub(x, 0.5, alpha=-_SIXTH), 0.0, 1.0)
    return (F.hardtanh(x.float() + 3, 0.0, 6.0) / 6).to(x.dtype)


# kept output


class _Result(torch.autograd.Function):
    """A function whose derivative is computed from its output, by torch's kernels; keeps the output only."""

    @staticmethod
    def forward(x: Tensor, name: str, constants: tuple[float, ...]) -> Tensor:
        return _forward(x, name, constants)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.name, ctx.constants = inputs
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _backward(grads[0], ctx.saved_tensors[0], ctx.name, ctx.constants), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _backward(tangents[0], ctx.saved_tensors[0], ctx.name, ctx.constants)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, name: str, constants: tuple[float, ...]
    ) -> tuple[Tensor, int | None]:
        return _Result.apply(x, name, constants), in_dims[0]


def _forward(x: Tensor, name: str, constants: tuple[float, ...]) -> Tensor:
    if name == "tanh":
        return in_blocks(None, x)
    return _aten.elu(x, *constants)


def _backward(grad: Tensor, result: Tensor, name: str, constants: tuple[float, ...]) -> Tensor:
    if name == "tanh":
        return _aten.tanh_backward(grad, result)
    return _aten.elu_backward(grad, *constants, True, result)


def tanh(x: Tensor) -> Tensor:
    if _is_compiling() or not mkl_is_slow():
        return torch.tanh(x)
    if _plain(x, TANH_FROM) and x.dtype == torch.float32:
        return _Result.apply(x, "tanh", ())
    return torch.tanh(x)


def _keeps_result(x: Tensor, inplace: bool, sign: float) -> bool:
    return (
        torch.is_grad_enabled() and not inplace and sign >= 0 and _plain(x, RESULT_FROM) and x.requires_grad
    )


def elu(x: Tensor, alpha: float, inplace: bool) -> Tensor:
    if _keeps_result(x, inplace, alpha):
        return _Result.apply(x, "elu", (alpha, 1.0, 1.0))
    return F.elu(x, alpha, inplace)


def celu(x: Tensor, alpha: float, inplace: bool) -> Tensor:
    if _keeps_result(x, inplace, alpha):
        return _Result.apply(x, "elu", (alpha, 1.0, 1.0 / alpha))
    return F.celu(x, alpha, inplace)


def selu(x: Tensor, inplace: bool) -> Tensor:
    if _keeps_result(x, inplace, 1.0):
        return _Result.apply(x, "elu", (SELU_ALPHA, SELU_SCALE, 1.0))
    return F.selu(x, inplace)
