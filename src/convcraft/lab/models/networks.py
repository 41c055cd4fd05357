"""Networks of fully connected and of convolutional layers, and how an activation becomes a layer."""

import contextlib
import copy
import inspect
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from convcraft import activations
from convcraft._checks import check_known
from convcraft.errors import ConvcraftError
from convcraft.lab.randomness import check_seed, forked

Activation = str | type[nn.Module] | nn.Module | Callable[..., Any] | None


class Elementwise(nn.Module):
    """A function of a tensor as a layer, so that hooks see it.

    >>> import torch
    >>> Elementwise(torch.sin)(torch.zeros(2))
    tensor([0., 0.])
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def activation_layer(activation: Activation, channels: int = 1) -> nn.Module | None:
    """A fresh layer for an activation: a name, a module class or factory, a module, a function, or None.

    A class or factory is called without arguments, or with `channels` where that is the one argument that it
    requires. A module is copied. A function of one tensor is wrapped, so that hooks see it. Raises
    ConvcraftError for an unknown name, listing the near matches, and for anything else. Chapter: Activations.

    >>> import torch
    >>> activation_layer(torch.tanh)
    Elementwise(tanh)
    >>> activation_layer(lambda: nn.LeakyReLU(0.2))
    LeakyReLU(negative_slope=0.2)
    >>> activation_layer(lambda channels: nn.PReLU(channels), channels=16)
    PReLU(num_parameters=16)
    """
    if activation is None:
        return None
    if isinstance(activation, str):
        activation = activations.catalog()[activation].module
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    if not callable(activation):
        raise ConvcraftError(
            f"activation must be a name, a module class, a factory, a function or None; got {activation!r}. "
            "Pass for example 'relu' or torch.nn.ReLU."
        )
    required: list[str] | None = None  # where Python cannot tell, as for built-ins
    with contextlib.suppress(TypeError, ValueError):
        parameters = inspect.signature(activation).parameters.values()
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        required = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
    if required not in ([], ["channels"]) and not isinstance(activation, type):
        return Elementwise(activation)
    layer = activation() if not required else activation(channels) if required == ["channels"] else None
    if not isinstance(layer, nn.Module):
        raise ConvcraftError(
            f"activation must make a torch.nn.Module when called without arguments, or with channels; {activation!r} "
            f"{f'made {type(layer).__name__}' if layer is not None else f'requires {required}'}. Pass a module class, "
            "a function that makes a module, or a function of one tensor."
        )
    return layer


class MLP(nn.Module):
    r"""Fully connected network: linear layers with an activation between neighbours.

    .. math:: h_l = f(W_l h_{l-1} + b_l), \qquad \text{the last layer without } f

    `widths` are the sizes from input to output; an input of any shape (N, ...) with widths[0] entries per example
    is flattened. `activation` is a name in the catalog, a module class or factory, a function, or None for a stack of
    linear layers. The layers are named linear1, act1, linear2, ...; each has torch's default initialization. Raises
    ConvcraftError for fewer than two widths, a width below 1, or an unknown activation. Source: Rumelhart, Hinton and
    Williams (1986), Learning representations by back-propagating errors. Chapter: Activations.

    >>> import torch
    >>> model = MLP((64, 32, 10), activation=nn.Tanh)
    >>> model(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    >>> [name for name, _ in model.layers.named_children()]
    ['flatten', 'linear1', 'act1', 'linear2']
    """

    def __init__(self, widths: Sequence[int], *, activation: Activation = "relu", bias: bool = True) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ConvcraftError(
                f"widths must hold at least two sizes of 1 or more; got {tuple(widths)}. Pass (64, 128, 10)."
            )
        self.widths = tuple(widths)
        self.layers = nn.Sequential()
        self.layers.add_module("flatten", nn.Flatten())
        for depth, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
            self.layers.add_module(f"linear{depth}", nn.Linear(fan_in, fan_out, bias=bias))
            layer = activation_layer(activation, fan_out) if depth < len(widths) - 1 else None
            if layer is not None:
                self.layers.add_module(f"act{depth}", layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


POOLS = ("max", "avg", "stride", "none")
HEADS = ("dense", "global_avg", "global_max")


class ConvNet(nn.Module):
    """Convolutional network: a convolution, activation and halving pooling per entry of `channels`, then a head.

    `pool`: "max", "avg" (2x2), "stride" (the convolution itself has stride 2) or "none". `head`: "dense" (flatten, a
    hidden layer of `hidden` units unless 0, a linear layer), "global_avg" or "global_max" (one number per channel,
    a linear layer). Takes images (N, in_channels, size, size), or of other sizes where the head is global; returns
    logits (N, classes). `features` and `head` are Sequentials with named layers (conv1, act1, pool1, ...; flatten,
    hidden, act, output). Raises ConvcraftError for an unknown pool, head or activation, an even kernel, and a size too
    small to be pooled that often. Source: LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to
    document recognition. Chapter: Convolutional networks.

    >>> import torch
    >>> model = ConvNet((8, 16), activation=nn.ReLU)
    >>> model(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    >>> model.features(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 16, 2, 2])
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32),
        *,
        in_channels: int = 1,
        classes: int = 10,
        size: int = 8,
        activation: Activation = "relu",
        pool: str = "max",
        head: str = "dense",
        hidden: int = 64,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        check_known("pool", pool, POOLS)
        check_known("head", head, HEADS)
        if not channels or min(channels) < 1:
            raise ConvcraftError(
                f"channels must hold one number of 1 or more per layer; got {tuple(channels)}. Try (16, 32)."
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConvcraftError(
                f"kernel_size must be odd, so that padding keeps the size; got {kernel_size}. Pass 3 or 5."
            )
        if pool in ("max", "avg") and size < 2 ** len(channels):
            raise ConvcraftError(
                f"size must be at least {2 ** len(channels)} to be halved {len(channels)} times; got {size}. "
                "Use fewer channels, larger images or pool='none'."
            )
        self.features = nn.Sequential()
        for depth, (c_in, c_out) in enumerate(pairwise((in_channels, *channels)), start=1):
            stride = 2 if pool == "stride" else 1
            conv = nn.Conv2d(c_in, c_out, kernel_size, stride=stride, padding=kernel_size // 2)
            self._add(self.features, f"conv{depth}", conv)
            self._add(self.features, f"act{depth}", activation_layer(activation, c_out))
            pooling = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}.get(pool)
            self._add(self.features, f"pool{depth}", None if pooling is None else pooling(2))
            size = (size + 1) // 2 if pool == "stride" else size // 2 if pool != "none" else size
        self.head = nn.Sequential()
        width = channels[-1] * size * size if head == "dense" else channels[-1]
        if head != "dense":
            whole = nn.AdaptiveAvgPool2d(1) if head == "global_avg" else nn.AdaptiveMaxPool2d(1)
            self._add(self.head, "global_pool", whole)
        self._add(self.head, "flatten", nn.Flatten())
        if head == "dense" and hidden:
            self._add(self.head, "hidden", nn.Linear(width, hidden))
            self._add(self.head, "act", activation_layer(activation, hidden))
            width = hidden
        self._add(self.head, "output", nn.Linear(width, classes))

    @staticmethod
    def _add(stack: nn.Sequential, name: str, layer: nn.Module | None) -> None:
        if layer is not None:
            stack.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


_MODELS: dict[str, Callable[..., nn.Module]] = {"convnet": ConvNet, "mlp": MLP}


def names() -> list[str]:
    """Names of the models that `build` knows. Chapter: Convolutional networks.

    >>> names()
    ['convnet', 'mlp']
    """
    return list(_MODELS)


def build(name: str, *, seed: int | None = None, **arguments: Any) -> nn.Module:
    """Build a model by name; with a `seed`, initialize it from that and leave the global random state alone.

    Raises ConvcraftError for an unknown name, listing the near matches. Chapter: Convolutional networks.

    >>> import torch
    >>> first, second = (build("mlp", widths=(4, 3), activation=None, seed=1) for _ in range(2))
    >>> torch.equal(first.layers.linear1.weight, second.layers.linear1.weight)
    True
    """
    check_known("model", name, _MODELS)
    if seed is None:
        return _MODELS[name](**arguments)
    with forked(check_seed(seed)):
        return _MODELS[name](**arguments)
