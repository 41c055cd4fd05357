"""How the layers of stacked copies are computed: for all copies in one call of torch, where there is one.

Under vmap a layer sees the tensors of one copy. Here it is given those of all copies, with the index of the
dimension that counts the copies. Images are kept as (n, copies, channels, height, width) with the channels
last in memory, so that a convolution becomes a grouped one and pooling sees one image of many channels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab.randomness import forked, stream
from convcraft.lab.training.losses import device_of

Form = Callable[..., tuple[Tensor, int]]


class _Across(torch.autograd.Function):
    """Calls `form` with the tensors of all copies, from within vmap; `original` where nothing is stacked."""

    @staticmethod
    def forward(form: Form, original: Callable[[Tensor], Tensor], *tensors: Tensor | None) -> Tensor:
        assert tensors[0] is not None
        return original(tensors[0])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], form: Form, original: Any, *tensors: Any) -> Any:
        return form(in_dims[2], *tensors)


def _one_image(x: Tensor, dim: int) -> Tensor:
    """(n, copies * channels, height, width), channels last, from a stack of images."""
    return x.movedim(dim, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)


def _convolution(layer: Any, dim: int | None, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, int]:
    copies = len(weight)
    groups = layer.groups if dim is None else copies * layer.groups
    x = x if dim is None else _one_image(x, dim)
    weight, bias = weight.flatten(0, 1), None if bias is None else bias.flatten()  # (copies * C_out, ...)
    y = F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups)
    return y.unflatten(1, (copies, -1)), 1  # (n, copies, channels, height, width)


def _by_channel(original: Callable[[Tensor], Tensor], dim: int, x: Tensor) -> tuple[Tensor, int]:
    """A layer that treats each channel of an image alone."""
    return original(_one_image(x, dim)).unflatten(1, (x.shape[dim], -1)), 1


def _linear(dim: int | None, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, int]:
    if dim is None:  # the same (n, ..., features) for all copies
        y = F.linear(x, weight.flatten(0, 1), None if bias is None else bias.flatten())
        return y.unflatten(-1, weight.shape[:2]), y.ndim - 1  # (n, ..., copies, C_out)
    x = x.movedim(dim, 0)  # (copies, n, ..., features)
    rows, weight = x.flatten(1, -2), weight.transpose(1, 2)  # (copies, all rows, C_in), (copies, C_in, C_out)
    y = rows.bmm(weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, weight)
    return y.view(*x.shape[:-1], y.shape[-1]), 0


_BY_CHANNEL = (nn.Upsample, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def _form(layer: nn.Module) -> Form | None:
    """How a layer is computed for all copies at once; None: it is left to vmap."""
    kind = type(layer)
    if kind is nn.Linear:
        return _linear
    if kind is nn.Conv2d and layer.padding_mode == "zeros":
        return partial(_convolution, layer)
    if kind in _BY_CHANNEL and not getattr(layer, "return_indices", False):
        return partial(_by_channel, layer.forward)
    return None


def compute_across(template: nn.Module) -> None:
    """Make the layers of a template, called under vmap, compute all copies in one call."""
    for layer in template.modules():
        form = _form(layer)
        if form is not None:
            layer.forward = _across(layer, form, layer.forward)


def _across(layer: nn.Module, form: Form, original: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    named = [name for name in ("weight", "bias") if hasattr(layer, name)]

    def forward(x: Tensor) -> Tensor:
        if x.ndim < 2 or (form is not _linear and x.ndim != 4):  # one example, or not images
            return original(x)
        return _Across.apply(form, original, x, *(getattr(layer, name) for name in named))

    return forward


class Noise:
    """The random streams: layers that draw are called copy by copy, each from the stream of its seed.

    A copy thus gets the dropout masks and augmentations that `fit` draws from its seed.
    """

    def __init__(self, template: nn.Module, names: Sequence[str], seeds: Sequence[int]) -> None:
        self.device = device_of(template)
        #: any tensor of the forward pass that is stacked; the input of a layer may be the same for all copies
        self.stacked: Tensor | None = None
        self.states = []
        for seed in seeds:
            with forked(stream(seed, "noise"), self.device):
                self.states.append(get_random_state(self.device))
        for name in names:
            layer = template.get_submodule(name)
            layer.forward = self._alone(layer, layer.forward)

    def _alone(self, layer: nn.Module, original: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def form(dim: int | None, x: Tensor, stacked: Tensor) -> tuple[Tensor, int]:
            parts = []
            with forked(0, self.device):
                for place, part in enumerate([x] * len(stacked) if dim is None else x.unbind(dim)):
                    set_random_state(self.states[place], self.device)
                    parts.append(original(part))
                    self.states[place] = get_random_state(self.device)
            return torch.stack(parts), 0

        return lambda x: _Across.apply(form, original, x, self.stacked) if layer.training else original(x)

    def keep(self, rows: list[int]) -> None:
        self.states = [self.states[row] for row in rows]


def get_random_state(device: torch.device) -> list[Tensor]:
    """The states of torch's global generators, of the CPU and of a GPU in use."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def set_random_state(state: list[Tensor], device: torch.device) -> None:
    """Restore the states that `get_random_state` returned."""
    torch.set_rng_state(state[0])
    for cuda in state[1:]:
        torch.cuda.set_rng_state(cuda, device)
