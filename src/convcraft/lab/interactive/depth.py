"""A batch passing through a deep network, for any gain, activation and bias."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convcraft import activations
from convcraft._checks import check_count
from convcraft.errors import ConvcraftError

from .component import InteractiveFigure, figure

GAINS = (0.5, 0.75, 1.0, 1.25, 1.41, 1.67, 2.0, 2.5)
BIASES = ("zero", "torch default", "std 0.5", "std 1")
FUNCTIONS = ("identity", "relu", "leaky_relu", "gelu", "silu", "selu", "tanh", "sigmoid")
SHOWN = (1, 2, 4, 8, 16)
BINS, EDGE = 29, 3.625  # width 0.25, the middle bin around zero


def depth_explorer(
    inputs: Tensor | None = None,
    *,
    functions: Sequence[str] = FUNCTIONS,
    gains: Sequence[float] = GAINS,
    width: int = 256,
    seed: int = 0,
) -> InteractiveFigure:
    r"""Send a batch through 16 layers and show how its activations are distributed along the way.

    Layer by layer :math:`h_l = f(W_l h_{l-1} + b_l)` with :math:`W_l` of standard deviation
    :math:`\text{gain} / \sqrt{n_\text{in}}` and a bias that is zero, torch's default
    (uniform within :math:`\pm 1 / \sqrt{n_\text{in}}`), or normal. Every setting uses the same draws, scaled.

    Args:
        inputs: (n, d) tensor. The batch; 128 rows of `width` values from N(0, 1) by default.
        functions: list of str. Names in the catalog, and "identity".
        gains: list of float. The gains to choose from, in order.
        width: units per layer.
        seed: for the weights, the biases and the default batch.

    Raises ConvcraftError for a batch that is not (n, d) and finite, for no functions or gains, for an unknown
    function, and for a width below 2. Chapter: Activations.

    >>> depth_explorer(functions=["relu"], gains=[1.0, 1.41, 2.0], width=16)
    <InteractiveFigure: activation, bias, gain; 12 frames>
    """
    check_count("depth_explorer", "width", width, 2)
    for name, given, what in (("functions", functions, "name"), ("gains", gains, "number")):
        if not len(given):
            raise ConvcraftError(f"{name}: expected at least one {what}, got none")
    generator = torch.Generator().manual_seed(seed)
    if inputs is None:
        inputs = torch.randn(128, width, generator=generator)
    if not isinstance(inputs, Tensor) or inputs.ndim != 2 or not inputs.numel() or not inputs.isfinite().all():
        shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ConvcraftError(f"inputs: expected a finite tensor (n, d), got {shape}")
    #: for each layer the weight with gain 1, torch's default bias and a normal bias
    layers: list[tuple[Tensor, ...]] = []
    for fan_in in (inputs.shape[1], *[width] * (max(SHOWN) - 1)):
        weight = torch.randn(width, fan_in, generator=generator) / fan_in**0.5
        uniform = (2 * torch.rand(width, generator=generator) - 1) / fan_in**0.5
        layers.append((weight, uniform, torch.randn(width, generator=generator)))
    batch = inputs.detach().to("cpu", torch.float32)
    results: dict[str, dict[str, Tensor]] = {name: _propagate(name, batch, layers, gains) for name in functions}
    centres = torch.linspace(-EDGE, EDGE, BINS + 1, dtype=torch.float64)[:-1] + EDGE / BINS
    depth = range(1, max(SHOWN) + 1)

    def frame(activation: str, gain: float, bias: str) -> dict[str, Any]:
        at = (list(gains).index(gain), BIASES.index(bias))
        result = {key: value[at] for key, value in results[activation].items()}
        bars: dict[str, Any] = {"kind": "bar", "ylim": (0.0, 0.25), "digits": 2, "xlabel": "activation"}
        panels = [
            {"title": f"layer {layer}", "series": [{"name": "", "y": heights}], **bars}
            for layer, heights in zip(SHOWN, result["heights"], strict=True)
        ]
        panels[0]["ylabel"] = "share"
        line: dict[str, Any] = {"x": list(depth), "yscale": "log", "ylim": (1e-8, 1e8), "xlabel": "layer"}
        panels.append({"title": "deviation σ", "series": [{"name": "", "y": result["std"]}], "kind": "line", **line})
        zeros, dead, last = float(result["zeros"]), int(result["dead"]), float(result["std"][-1])
        text = f"At layer 16: σ {_number(last)}, zeros {100 * zeros:.0f} %, dead units {dead} of {width}"
        return {"panels": panels, "text": text}

    first = {"activation": "relu" if "relu" in functions else functions[0]}
    if 1.41 in gains:
        first |= {"gain": 1.41}  # type: ignore[dict-item]
    return figure(
        frame,
        {"activation": list(functions), "bias": list(BIASES), "gain": list(gains)},
        x=centres,
        start=first,
        columns=3,
        alt=(
            "Five histograms show the activations at layers 1, 2, 4, 8 and 16 of a network, and a line their standard "
            "deviation by layer on a logarithmic scale. Activation, bias and gain of the weights can be changed."
        ),
    )


@torch.no_grad()
def _propagate(name: str, batch: Tensor, layers: list[tuple[Tensor, ...]], gains: Sequence[float]) -> dict[str, Tensor]:
    """All gains and biases of one activation at once; each result is (gains, biases, …)."""
    function = (lambda x: x) if name == "identity" else activations.get(name)
    gain = torch.tensor(list(gains), dtype=torch.float32).view(-1, 1, 1, 1)
    h = batch.expand(len(gains), len(BIASES), *batch.shape)
    heights, std = [], []
    for layer, (weight, uniform, normal) in enumerate(layers, 1):
        bias = torch.stack([torch.zeros_like(normal), uniform, 0.5 * normal, normal])[:, None, :]
        h = function(torch.matmul(h, weight.T) * gain + bias)
        std.append(h.std(dim=(-2, -1)))
        if layer in SHOWN:  # the share of values in each bin; what lies beyond the last bin is in none
            place = torch.floor((h + EDGE) * (BINS / (2 * EDGE))).clamp(-1, BINS).long().flatten(2) + 1
            count = torch.zeros(*h.shape[:2], BINS + 2).scatter_add_(2, place, torch.ones(place.shape))
            heights.append(count[..., 1:-1] / place.shape[-1])
    zero = h == 0
    return {
        "heights": torch.stack(heights, dim=2),
        "std": torch.stack(std, dim=-1),
        "zeros": zero.float().mean(dim=(-2, -1)),
        "dead": zero.all(dim=-2).sum(dim=-1),
    }


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if 1e-3 <= value < 1e4:
        return f"{value:.3g}"
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa}·10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
