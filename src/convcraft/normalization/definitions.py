r"""The formulas of normalization and their derivatives, as the chapter derives them.

Everything here is one formula. Let :math:`x_1, \dots, x_n` be the n numbers that are normalized
together: one channel of the whole batch (batch normalization), one sample (layer), one group of channels
of one sample (group), one channel of one sample (instance). With the biased variance

.. math:: \mu = \frac1n \sum_i x_i, \qquad v = \frac1n \sum_i (x_i - \mu)^2, \qquad r = (v + \epsilon)^{-1/2},
    \qquad \hat x_i = (x_i - \mu) r, \qquad y_i = w_i \hat x_i + b_i .

**Backward.** Let :math:`g_i` be the derivative of the loss by :math:`y_i` and :math:`h_i = w_i g_i` that by
:math:`\hat x_i`. The derivatives by the parameters are :math:`\sum g_i \hat x_i` and :math:`\sum g_i`,
over all elements that share the parameter. For the input, :math:`x_j` acts in three ways: directly,
through the mean and through the variance. From

.. math:: \frac{\partial \mu}{\partial x_j} = \frac1n, \qquad
    \frac{\partial v}{\partial x_j} = \frac2n (x_j - \mu), \qquad
    \frac{\partial r}{\partial v} = -\frac12 r^3

(the derivative of v through the mean vanishes, since :math:`\sum (x_i - \mu) = 0`) follows

.. math:: \frac{\partial \hat x_i}{\partial x_j} = r \Big(\delta_{ij} - \frac1n - \frac1n \hat x_i
    \hat x_j\Big),

and summed against :math:`h_i`

.. math:: \frac{\partial L}{\partial x_j} = r \Big(h_j - \frac1n \sum_i h_i - \hat x_j \frac1n \sum_i
    h_i \hat x_i\Big).

In words: from the gradient that arrives, the part along the constant vector and the part along :math:`\hat x` are
taken away, and the rest is scaled by r. So the gradient of the input sums to zero over each set, and is orthogonal to
:math:`\hat x` up to :math:`\epsilon`. An implementation that treats the statistics as constants leaves both parts in.

Source: Ioffe and Szegedy (2015), Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift. Chapter: Batch normalization.
"""

import torch
from torch import Tensor

__all__ = ["moments", "normalize", "normalize_backward"]


def moments(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    r"""Mean and biased variance over `dims`, which are kept with size 1; in two passes, for accuracy.

    Formula: :math:`\mu = \frac1n \sum x_i` and :math:`v = \frac1n \sum (x_i - \mu)^2`. The shorter
    :math:`\frac1n \sum x_i^2 - \mu^2` is the difference of two large numbers when
    :math:`\mu \gg \sqrt v`, and can come out negative.

    >>> moments(torch.tensor([1e4, 1e4 + 1]), (0,))
    (tensor([10000.5000]), tensor([0.2500]))
    """
    mean = x.mean(dims, keepdim=True)
    return mean, (x - mean).square().mean(dims, keepdim=True)


def normalize(
    x: Tensor, dims: tuple[int, ...], eps: float, weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    r"""Subtract the mean over `dims`, divide by the root of variance plus eps, scale and shift.

    Formula: :math:`y = w (x - \mu) (v + \epsilon)^{-1/2} + b` with w and b in shapes that broadcast with x.

    >>> normalize(torch.tensor([1.0, 3.0]), (0,), 0.0)
    tensor([-1.,  1.])
    """
    mean, variance = moments(x, dims)
    y = (x - mean) * torch.rsqrt(variance + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def normalize_backward(
    grad: Tensor, x: Tensor, dims: tuple[int, ...], eps: float, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""(gradient of the input, grad * normalized input); the second, summed, is the gradient of the weight.

    Formula: :math:`r (h - \overline{h} - \hat x\, \overline{h \hat x})` with :math:`h = w g` and bars
    for means over `dims`.

    >>> x = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    >>> grad = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    >>> by_autograd, = torch.autograd.grad(normalize(x, (0,), 0.1), x, grad)
    >>> torch.allclose(normalize_backward(grad, x, (0,), 0.1)[0], by_autograd)
    True
    """
    mean, variance = moments(x, dims)
    r = torch.rsqrt(variance + eps)
    hat = (x - mean) * r
    h = grad if weight is None else grad * weight
    along = (h * hat).mean(dims, keepdim=True)
    return r * (h - h.mean(dims, keepdim=True) - hat * along), grad * hat
