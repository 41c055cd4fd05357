"""Batch normalization, as a function and as modules."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_dimensions, check_floating, check_number
from . import _accuracy
from ._checks import check_channels, check_each_channel, check_enough, check_running


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r"""Normalize each channel by its mean and variance: over the batch in training, by running averages else.

    Formula: over the n = N L numbers of channel c, :math:`\mu_c = \frac1n \sum x`,
    :math:`v_c = \frac1n \sum (x - \mu_c)^2` and :math:`y = w_c (x - \mu_c) (v_c + \epsilon)^{-1/2} + b_c`. In
    training the running averages move: :math:`r \leftarrow (1 - m) r + m s` with momentum m, where s is
    the mean, and for the variance the unbiased :math:`\frac{n}{n-1} v_c`. The gradient, with
    :math:`h = w g`, :math:`\rho = (v + \epsilon)^{-1/2}` and bars for means over the channel, is

    .. math:: \frac{\partial L}{\partial x} =
        \rho \big(h - \overline{h} - \hat x\, \overline{h \hat x}\big), \qquad
        \frac{\partial L}{\partial w} = \sum g \hat x, \qquad \frac{\partial L}{\partial b} = \sum g,

    which `convcraft.normalization.definitions` derives.

    Args:
        input: (N, C) or (N, C, ...), floating-point.
        running_mean, running_var: (C,), or None; changed in place in training.
        weight, bias: w and b, of shape (C,), or None for 1 and 0.
        training: use the statistics of the batch, and move the running ones.

    Raises ConvcraftError when the input is not a floating-point tensor or has fewer than two dimensions, the number of
    channels does not fit, eps is negative (or 0, in training), a channel has a single value in training, or the
    running statistics are missing else. Source: Ioffe and Szegedy (2015), Batch Normalization: Accelerating Deep
    Network Training by Reducing Internal Covariate Shift. Chapter: Batch normalization.

    >>> x = torch.tensor([[1.0], [3.0]])
    >>> batch_norm(x, None, None, training=True).round(decimals=3)
    tensor([[-1.],
            [ 1.]])
    """
    check_floating("batch_norm", input)
    check_number("batch_norm", "eps", eps, 0, above=training)  # by 0 a constant channel would be divided
    check_dimensions("batch_norm", input, tuple(range(2, 65)), "(N, C) or (N, C, ...)")
    statistics = {"running_mean": running_mean, "running_var": running_var}
    check_each_channel("batch_norm", input, **statistics, weight=weight, bias=bias)
    if not training:
        check_running("batch_norm", "training", running_mean, running_var)
    if not training or not isinstance(input, Tensor):
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    count = input.shape[0] * input.shape[2:].numel()
    check_enough("batch_norm", input, count, "per channel")
    if _accuracy.is_careless(input) and _accuracy.are_eager(input, weight, bias):
        y, mean, variance = _accuracy.batch_norm(input, weight, bias, eps)
        with torch.no_grad():
            for running, value in ((running_mean, mean), (running_var, variance)):
                if running is not None:
                    running.mul_(1 - momentum).add_(value.detach().to(running.dtype), alpha=momentum)
        return y
    return F.batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Statistics and momentum of torch's modules; arguments, parameters, buffers and loading are theirs."""

    _dimensions: tuple[tuple[int, ...], str]

    def forward(self, input: Tensor) -> Tensor:
        name = type(self).__name__
        check_floating(name, input)
        check_dimensions(name, input, *self._dimensions)
        check_channels(name, input, "the module", self.num_features)
        momentum = 0.0 if self.momentum is None else self.momentum
        counter = self.num_batches_tracked if self.training and self.track_running_stats else None
        if counter is not None and self.momentum is None:  # the average over all batches so far
            momentum = 1.0 / (1.0 + float(counter))
        keeps = not self.training or self.track_running_stats
        running = (self.running_mean, self.running_var) if keeps else (None, None)
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        y = batch_norm(input, *running, self.weight, self.bias, by_batch, momentum, self.eps)
        if counter is not None:  # last, so that a batch that was refused is not counted
            counter.add_(1)
        return y


class BatchNorm1d(_BatchNorm, nn.BatchNorm1d):
    """Module of :func:`batch_norm` for (N, C) and (N, C, L), a drop-in for `torch.nn.BatchNorm1d`."""

    _dimensions = ((2, 3), "(N, C) or (N, C, L)")


class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """Module of :func:`batch_norm` for (N, C, H, W), a drop-in for `torch.nn.BatchNorm2d`.

    >>> list(BatchNorm2d(3).state_dict())
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """

    _dimensions = ((4,), "(N, C, H, W)")


class BatchNorm3d(_BatchNorm, nn.BatchNorm3d):
    """Module of :func:`batch_norm` for (N, C, D, H, W), a drop-in for `torch.nn.BatchNorm3d`."""

    _dimensions = ((5,), "(N, C, D, H, W)")


class SyncBatchNorm(nn.SyncBatchNorm):
    """Module of :func:`batch_norm` with the statistics of all processes of `process_group` together: torch's.

    `SyncBatchNorm.convert_sync_batchnorm(model)` replaces the batch norms of a model, those of this package too. In
    training it needs a GPU and `torch.distributed`: on CPU tensors torch raises ValueError once a process group is
    joined. In eval mode, and without a process group, it is a batch norm on every device. `examples/data_parallel.py`
    trains one network with it, and on the CPU with the same in two sums. Chapter: Batch normalization.

    >>> model = SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Conv2d(1, 2, 3), BatchNorm2d(2)))
    >>> type(model[1]).__name__
    'SyncBatchNorm'
    """
