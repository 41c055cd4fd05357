"""Networks for activations of the last ten years: input-dependent ones, gates, bumps and sines."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from convcraft import activations
from convcraft._checks import check_known
from convcraft.lab.models.networks import MLP


class Bumps(nn.Module):
    r"""SiLU of each channel, then Gaussian bumps of it: followed by a linear layer, one layer of a KAN.

    .. math:: x \mapsto \big(\mathrm{silu}(x), e^{-((x - c_1) / h)^2}, \dots\big), \quad c_{k+1} - c_k = h

    so that each weight of the next layer becomes a learned function of one number. `count` centres lie evenly
    from -reach to reach; (N, C, ...) becomes (N, C (count + 1), ...). Source: Liu et al. (2024), KAN:
    Kolmogorov-Arnold Networks, with splines in place of the bumps; Li (2024), Kolmogorov-Arnold Networks
    are Radial Basis Function Networks. Chapter: Outlook.

    >>> Bumps(5)(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 18, 4, 4])
    """

    def __init__(self, count: int = 5, reach: float = 2.0) -> None:
        super().__init__()
        self.step = 2 * reach / (count - 1)
        self.centres = [-reach + k * self.step for k in range(count)]

    def forward(self, x: Tensor) -> Tensor:
        bumps = [torch.exp(-(((x - centre) / self.step) ** 2)) for centre in self.centres]
        return torch.cat([nn.functional.silu(x), *bumps], 1)


class Skip(nn.Module):
    """A layer and a connection around it: x + f(x).

    >>> Skip(nn.Tanh())(torch.zeros(2))
    tensor([0., 0.])
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


#: name -> (layer for a number of channels, how many times as many it reads, how many outputs per channel it makes)
ADAPTIVE: dict[str, tuple[Callable[[int], nn.Module], int, int]] = {
    "relu": (lambda channels: nn.ReLU(), 1, 1),
    "prelu": (nn.PReLU, 1, 1),
    "silu": (lambda channels: nn.SiLU(), 1, 1),
    "swish": (lambda channels: activations.Swish(num_parameters=channels), 1, 1),
    "acon": (activations.AconC, 1, 1),
    "frelu": (activations.FReLU, 1, 1),
    "dynamic relu": (activations.DynamicReLU, 1, 1),
    "glu": (lambda channels: nn.GLU(1), 2, 1),
    "kan": (lambda channels: Bumps(), 1, 6),
}


def adaptive_net(function: str, widths: Sequence[int]) -> nn.Sequential:
    """Convolutions of 8x8 images, each with a function of `ADAPTIVE` and 2x2 pooling; then a linear layer.

    A gate needs two maps for each of its outputs, and bumps turn one into six: the convolutions before and
    after them are sized for that. Raises ConvcraftError for an unknown function. Chapter: Outlook.

    >>> adaptive_net("glu", (4, 8))(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    check_known("function", function, ADAPTIVE)
    layer, reads, makes = ADAPTIVE[function]
    net, channels = nn.Sequential(), 1
    for width in widths:
        net.extend((nn.Conv2d(channels, reads * width, 3, padding=1), layer(width), nn.MaxPool2d(2)))
        channels = makes * width
    side = 8 // 2 ** len(widths)
    return net.append(nn.Flatten()).append(nn.Linear(channels * side * side, 10))


def adaptive_widths(function: str, like: Sequence[int] = (12, 24)) -> tuple[int, ...]:
    """Widths for which `adaptive_net` comes closest to its number of parameters with ReLU and widths `like`.

    >>> adaptive_widths("relu"), adaptive_widths("glu")
    ((12, 24), (8, 19))
    """

    def size(name: str, widths: Sequence[int]) -> int:
        return sum(p.numel() for p in adaptive_net(name, widths).parameters())

    target = size("relu", like)
    ways = [(first, second) for first in range(2, like[0] + 1) for second in range(3 * first // 2, 3 * first)]
    near = min(ways, key=lambda widths: abs(size(function, widths) - target))
    return like if size(function, like) == target else near  # type: ignore[return-value]


def sine_mlp(widths: Sequence[int], frequency: float = 30.0) -> MLP:
    r"""An MLP with the sine as activation, initialized as a SIREN: every hidden unit begins in its curved range.

    Weights of the first layer are uniform within :math:`\pm\omega / n`, the others within :math:`\pm\sqrt{6 / n}`,
    for n inputs and the `frequency` :math:`\omega`, which here is in the weights. Source: Sitzmann,
    Martel, Bergman, Lindell and Wetzstein (2020), Implicit Neural Representations with Periodic Activation
    Functions. Chapter: Outlook.

    >>> sine_mlp((1, 8, 1)).layers.linear1.weight.abs().max() > 1
    tensor(True)
    """
    net = MLP(widths, activation=torch.sin)
    with torch.no_grad():
        for depth, layer in enumerate(m for m in net.modules() if isinstance(m, nn.Linear)):
            n = layer.in_features
            bound = math.sqrt(6 / n) if depth else frequency / n
            layer.weight.uniform_(-bound, bound)
    return net
