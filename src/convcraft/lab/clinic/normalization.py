"""Illnesses of batch normalization and of what stands before it."""

import torch
from torch import nn

from convcraft.lab.clinic.cases import Case, by_name, case, conv_net, images


def bias_before_normalization(ill: bool) -> Case:
    """Convolutions with a bias before batch normalization; the twin's have none."""
    return case(conv_net(bias=ill), images())


def dropout_before_batch_norm(ill: bool) -> Case:
    """Dropout between two normalized convolutions; the twin has none there."""
    return case(conv_net(dropout=0.3 if ill else 0.0), images())


def batch_norm_small_batch(ill: bool) -> Case:
    """Batch normalization on batches of 4; the twin normalizes over groups of channels."""

    def group_norm(channels: int) -> nn.Module:
        return nn.GroupNorm(4, channels)

    return case(conv_net(norm=nn.BatchNorm2d if ill else group_norm), images(4))


def batch_norm_eval_mode(ill: bool) -> Case:
    """A model in training mode with a batch normalization in eval mode; the twin's is in training mode."""
    model = conv_net()
    if ill:
        model.get_submodule("1").eval()
    return case(model, images())


def batch_norm_running_statistics(ill: bool) -> Case:
    """Running statistics of other data, three times as wide and shifted; the twin's are of its own."""
    model = conv_net()
    x, y = images()
    with torch.no_grad():
        for _ in range(60):
            model(3 * x + 4 if ill else x)
    return case(model, (x, y))


CASES = by_name(
    bias_before_normalization, dropout_before_batch_norm, batch_norm_small_batch, batch_norm_eval_mode,
    batch_norm_running_statistics,
)  # fmt: skip
