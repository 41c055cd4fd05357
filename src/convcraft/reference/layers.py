"""Convolution, pooling, softmax and the arithmetic of shapes in NumPy, float64, as derived in the book."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ConvcraftError
from .activations import Array

__all__ = [
    "avg_pool2d", "conv2d", "cross_entropy", "log_softmax", "max_pool2d", "output_size", "receptive_field", "softmax",
]  # fmt: skip

Pair = int | Sequence[int]


def _pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """One number for both axes or one for each, at least `least`."""
    values = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(values) != 2 or any(int(v) != v or v < least for v in values):
        raise ConvcraftError(f"{name} must be one or two whole numbers of at least {least}, got {value!r}")
    return int(values[0]), int(values[1])


def output_size(n: int, k: int, s: int = 1, p: int = 0, d: int = 1) -> int:
    """Length of an axis after a convolution or pooling: floor((n + 2p - d(k - 1) - 1) / s) + 1.

    Args: n input length, k kernel size, s stride, p padding on each side, d dilation.
    Raises ConvcraftError where the kernel does not fit into the padded input.

    >>> output_size(8, k=3, p=1), output_size(8, k=2, s=2)
    (8, 4)
    """
    for name, value, least in (("n", n, 1), ("k", k, 1), ("s", s, 1), ("p", p, 0), ("d", d, 1)):
        if value < least:
            raise ConvcraftError(f"output_size: {name} must be at least {least}, got {value}")
    reach = d * (k - 1) + 1
    if n + 2 * p < reach:
        raise ConvcraftError(
            f"output_size: the kernel reaches over {reach} positions but the padded input has {n + 2 * p}; "
            "use a smaller kernel or more padding"
        )
    return (n + 2 * p - reach) // s + 1


def receptive_field(layers: Iterable[Sequence[int]]) -> int:
    """Width of the region that a unit of the last layer sees: 1 + sum of (k - 1) d times the strides before.

    Args: layers, first to last, each (kernel size), (kernel size, stride) or (kernel size, stride, dilation).

    >>> receptive_field([(3, 1), (3, 1)]), receptive_field([(3, 1), (2, 2), (3, 1)])
    (5, 8)
    """
    field, jump = 1, 1
    for layer in layers:
        if not 1 <= len(layer) <= 3 or any(value < 1 for value in layer):
            raise ConvcraftError(
                "receptive_field: each layer must be (kernel size, stride, dilation), the last two optional, "
                f"all at least 1, got {tuple(layer)!r}"
            )
        kernel, stride, dilation = (*layer, 1, 1)[:3]
        field += (kernel - 1) * dilation * jump
        jump *= stride
    return field


def _images(function: str, x: npt.ArrayLike) -> Array:
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 4:
        raise ConvcraftError(f"{function}: x must have the four axes (N, C, H, W), got shape {array.shape}")
    return array


def _windows(x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Array:
    """Every patch under the kernel: a view of shape (N, C, rows out, columns out, *kernel)."""
    axes = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    shape = (*x.shape[:2], *(output_size(n, k, s, 0, d) for n, k, s, d in axes), *kernel)
    n, c, h, w = x.strides
    steps = (n, c, h * stride[0], w * stride[1], h * dilation[0], w * dilation[1])
    return np.lib.stride_tricks.as_strided(x, shape, steps, writeable=False)


def _padded(x: Array, padding: tuple[int, int], value: float) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=value)


def conv2d(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlate images with kernels: y[n,o,i,j] = b[o] + sum w[o,c,u,v] x[n,c,si+du,sj+dv] over c,u,v.

    Args: x (N, C, H, W); w (O, C / groups, k, k); b (O,). Zeros are padded.

    >>> conv2d(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    images, kernels = _images("conv2d", x), np.asarray(w, dtype=np.float64)
    fits = kernels.ndim == 4 and images.shape[1] == kernels.shape[1] * groups
    if groups < 1 or not fits or len(kernels) % groups:
        raise ConvcraftError(
            "conv2d: w must have shape (O, C / groups, rows, columns) with O a multiple of groups, "
            f"got {kernels.shape} for x of shape {images.shape} and groups={groups}"
        )
    bias = np.zeros(len(kernels)) if b is None else np.asarray(b, dtype=np.float64)
    if bias.shape != (len(kernels),):
        raise ConvcraftError(f"conv2d: b must have shape ({len(kernels)},), got {bias.shape}")
    images = _padded(images, _pair("conv2d: padding", padding, 0), 0.0)
    size = (kernels.shape[2], kernels.shape[3])
    steps, spread = _pair("conv2d: stride", stride, 1), _pair("conv2d: dilation", dilation, 1)
    patches = _windows(images, size, steps, spread)
    n, _, rows, columns = patches.shape[:4]
    grouped = patches.reshape(n, groups, -1, rows, columns, *size)
    weights = kernels.reshape(groups, -1, *kernels.shape[1:])
    y = np.einsum("ngcijuv,gocuv->ngoij", grouped, weights, optimize=True)
    return y.reshape(n, len(kernels), rows, columns) + bias[:, None, None]


def max_pool2d(x: npt.ArrayLike, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Array:
    """Largest value under each window; the stride is the kernel size by default; -inf is padded.

    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return _pool("max_pool2d", x, kernel_size, stride, padding, -np.inf).max(axis=(-2, -1))


def avg_pool2d(x: npt.ArrayLike, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Array:
    """Mean under each window; the stride is the kernel size by default; zeros are padded and counted.

    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    return _pool("avg_pool2d", x, kernel_size, stride, padding, 0.0).mean(axis=(-2, -1))


def _pool(function: str, x: npt.ArrayLike, size: Pair, stride: Pair | None, padding: Pair, fill: float) -> Array:
    kernel = _pair(f"{function}: kernel_size", size, 1)
    step = kernel if stride is None else _pair(f"{function}: stride", stride, 1)
    margin = _pair(f"{function}: padding", padding, 0)
    if any(2 * p > k for p, k in zip(margin, kernel, strict=True)):
        raise ConvcraftError(f"{function}: padding must be at most half kernel_size {kernel}; got {margin}")
    return _windows(_padded(_images(function, x), margin, fill), kernel, step, (1, 1))


def softmax(x: npt.ArrayLike, axis: int = -1) -> Array:
    """e^(x_i) / sum over j of e^(x_j), computed after the largest value is subtracted.

    >>> softmax([1000.0, 1000.0])
    array([0.5, 0.5])
    """
    return np.exp(log_softmax(x, axis))


def log_softmax(x: npt.ArrayLike, axis: int = -1) -> Array:
    """x_i - log sum over j of e^(x_j), computed after the largest value is subtracted.

    >>> log_softmax([0.0, 0.0]).round(4)
    array([-0.6931, -0.6931])
    """
    array = np.asarray(x, dtype=np.float64)
    shifted = array - array.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def cross_entropy(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean over the rows of -log softmax(logits)[label].

    Args: logits (N, classes); labels (N,), whole numbers from 0 to classes - 1.

    >>> round(cross_entropy([[0.0, 0.0]], [1]), 4)
    0.6931
    """
    rows, classes = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if rows.ndim != 2 or classes.shape != rows.shape[:1] or classes.dtype.kind not in "iu":
        raise ConvcraftError(
            "cross_entropy: logits must have shape (N, classes) and labels be N whole numbers, "
            f"got shapes {rows.shape} and {classes.shape}, labels of dtype {classes.dtype}"
        )
    if classes.size and not 0 <= classes.min() <= classes.max() < rows.shape[1]:
        raise ConvcraftError(
            f"cross_entropy: labels must lie between 0 and {rows.shape[1] - 1}, got {classes.min()} to {classes.max()}"
        )
    return float(-log_softmax(rows)[np.arange(len(rows)), classes].mean())
