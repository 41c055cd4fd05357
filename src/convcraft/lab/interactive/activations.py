"""Any function in the catalog and its derivative, with a slider for its parameter."""

import re
from collections.abc import Sequence
from typing import Any

import torch

from convcraft import activations
from convcraft.errors import ConvcraftError

from .component import InteractiveFigure, figure

# Round values for a slider, by the name of the parameter; those within its bounds are used.
STEPS: dict[str, tuple[float, ...]] = {
    "negative_slope": (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0),
    "weight": (-0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0),
    "alpha": (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
    "beta": (0.0, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0),
}
LABELS = {"negative_slope": "negative slope", "weight": "slope a", "alpha": "α", "beta": "β"}
GREEK = {"alpha": "α", "beta": "β", "lambda": "λ", "sigma": "σ", "Phi": "Φ"}


def activation_explorer(start: str = "leaky_relu", functions: Sequence[str] | None = None) -> InteractiveFigure:
    r"""Draw f and f' of any activation in the catalog, with a slider for its parameter.

    A line of text gives the formula, the range and, for :math:`z \sim N(0, 1)`, the moments :math:`E f(z)`,
    :math:`E f(z)^2` and :math:`E f'(z)^2` at that parameter. Softmax is left out: it acts on a vector, and so has no
    curve.

    Args:
        start: the function shown first.
        functions: list of str. The functions to choose from; by default all of `convcraft.activations.catalog()`.

    Raises ConvcraftError for a function that is not in the catalog, and for a `start` that is not among `functions`.
    Chapter: Activations.

    >>> activation_explorer("elu", ["relu", "elu"])
    <InteractiveFigure: function, α; 10 frames>
    """
    catalog = activations.catalog()
    names = list(functions) if functions is not None else list(catalog)
    if not names:
        raise ConvcraftError("functions: expected at least one name of the catalog, got none")
    entries = {name: catalog[name] for name in names}
    z = torch.linspace(-6.5, 6.5, 131, dtype=torch.float64)

    def frame(function: str, parameter: float | None) -> dict[str, Any]:
        entry = entries[function]
        panels = [
            {"title": "f(z)", "series": [{"name": "f", "y": entry(z, parameter)}], "ylim": (-2.0, 6.5)},
            {"title": "f′(z)", "series": [{"name": "f′", "y": entry.slope(z, parameter)}], "ylim": (-0.6, 1.3)},
        ]
        return {"panels": panels, "text": _describe(entry, parameter)}

    sliders = {name: _slider(e.parameter) for name, e in entries.items() if e.parameter is not None}
    controls: dict[str, Any] = {"function": names, "parameter": sliders} if sliders else {"function": names}
    return figure(
        frame if sliders else lambda function: frame(function, None),
        controls,
        x=z,
        xlabel="z",
        start={"function": start},
        alt=(
            "Two panels: an activation function f and its derivative f′ for z from −6.5 to 6.5. "
            "The function can be chosen, and where it has a parameter a slider moves it."
        ),
    )


def _slider(parameter: Any) -> tuple[str, list[float], float]:
    low, high = parameter.bounds
    values = {v for v in STEPS.get(parameter.name, ()) if low <= v <= high} | {float(parameter.default)}
    if len(values) < 3:
        values |= {round(low + (high - low) * k / 10, 4) for k in range(11)}
    return (LABELS.get(parameter.name, parameter.name.replace("_", " ")), sorted(values), float(parameter.default))


def _describe(entry: Any, parameter: float | None) -> str:
    moments = activations.moments(lambda z: entry(z, parameter))
    # Smallest and largest value, on a fine grid and at two points far out.
    y = entry(torch.cat([torch.linspace(-60, 60, 24001), torch.tensor([-1e4, 1e4])]).to(torch.float64), parameter)
    low, high = float(y.min()), float(y.max())
    least = "−∞" if low < -50 else f"{low + 0.0:.3g}".replace("-", "−")
    most = "∞" if high > 50 else f"{high:.3g}"
    return (
        f"{plain(entry.formula)}; range {least} to {most}; for z ~ N(0, 1): E f = {_number(moments.mean)}, "
        f"E f² = {_number(moments.second)}, E f′² = {_number(moments.derivative_second)}"
    )


def _number(value: float) -> str:
    return f"{0.0 if abs(value) < 5e-4 else value:.3f}".replace("-", "−")


def plain(tex: str) -> str:
    """A short formula in TeX as a line of plain text."""
    text = tex
    for _ in range(3):
        text = re.sub(r"\\t?frac\{((?:[^{}]|\{[^{}]*\})*)\}\{((?:[^{}]|\{[^{}]*\})*)\}", r"(\1) / (\2)", text)
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\^\{([^{}]+)\}", r"^(\1)", text)
    text = re.sub(r"\\(alpha|beta|lambda|sigma|Phi)\b", lambda m: GREEK[m.group(1)], text)
    text = text.replace(r"\quad", " ").replace("\\ ", " ").replace("\\,", " ")
    text = re.sub(r"\\(max|min|log|tanh|exp)", r"\1", text)
    text = text.replace(r"\le", "≤").replace("-", "−")
    text = re.sub(r"\(([^()\s])\) / (?=[(\w])", r"\1 / ", text)
    text = re.sub(r" / \((\w)\) ", r"/\1 · ", text)
    return re.sub(r"\s+", " ", text).strip()
