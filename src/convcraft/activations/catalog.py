"""The catalogue: what is known of each element-wise activation, and how to find one by name."""

import functools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._checks import check_floating, check_known
from .._table import table_html, table_text
from ..errors import ConvcraftError, unknown
from . import exponentials, gates, rectifiers, sigmoids, softmaxes
from .definitions import DEFINITIONS
from .quadrature import Moments, moments, value_and_slope


class Parameter(NamedTuple):
    """The one parameter of an activation."""

    name: str  #: as the function calls it
    default: float  #: its value where none is given
    bounds: tuple[float, float]  #: the ends of a sensible range


class Source(NamedTuple):
    """Where an activation was published."""

    author: str  #: family names
    year: int  #: of publication
    title: str  #: of the paper or book

    def __str__(self) -> str:
        return f"{self.author} ({self.year}), {self.title}"


@dataclass(frozen=True)
class Entry:
    """What is known of one activation; calling it evaluates it, with another parameter when one is given."""

    name: str
    formula: str  # TeX
    derivative: str  # TeX
    range: tuple[float, float]
    range_text: str
    smooth: str  # "C0", "C1" or "Cinf"
    lipschitz: float
    cost: float
    initialization: str
    parameter: Parameter | None
    source: Source
    function: Callable[..., Tensor] = field(repr=False)
    module: type[nn.Module] = field(repr=False)
    zero_centred: bool = False
    monotonic: bool = True

    def __call__(self, x: Tensor, parameter: float | None = None) -> Tensor:
        return self.function(x, **self._keywords(parameter))

    def slope(self, x: Tensor, parameter: float | None = None) -> Tensor:
        """f'(x) elementwise, with another parameter when one is given."""
        return derivative(self.name, x, **self._keywords(parameter))

    def _keywords(self, parameter: float | None) -> dict[str, float]:
        if parameter is None:
            return {}
        if self.parameter is None:
            raise ConvcraftError(f"{self.name} has no parameter, got parameter={parameter!r}; leave it out")
        return {self.parameter.name: parameter}

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean and second moments under N(0, 1), with the default parameter."""
        return moments(DEFINITIONS[self.name][0])

    mean = property(lambda self: self.moments.mean, doc="E f(z), z ~ N(0, 1).")
    second_moment = property(lambda self: self.moments.second, doc="E f(z)^2, z ~ N(0, 1).")
    derivative_second_moment = property(lambda self: self.moments.derivative_second, doc="E f'(z)^2, z ~ N(0, 1).")


_MOMENTS = ("E f", "E f^2", "E f'^2")
_HEADINGS = ("name", "range", "centred", "monotonic", "smooth", "Lipschitz", *_MOMENTS, "cost", "source")


class Catalog(Mapping[str, Entry]):
    """Ordered mapping from the name of an activation to its `Entry`; printed, an aligned table."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise unknown("activation", name, self._entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table as text, without the heading."""
        return [
            (
                entry.name,
                entry.range_text,
                "yes" if entry.zero_centred else "no",
                "yes" if entry.monotonic else "no",
                entry.smooth,
                *(f"{value:z.4f}" for value in (entry.lipschitz, *entry.moments)),  # z: no "-0.0000"
                f"{entry.cost:.1f}",
                f"{entry.source.author} ({entry.source.year})",
            )
            for entry in self.values()
        ]

    def __repr__(self) -> str:
        return table_text(_HEADINGS, self.rows())

    def _repr_html_(self) -> str:
        return table_html(_HEADINGS, self.rows())


def _prelu(input: Tensor, weight: float | Tensor = 0.25) -> Tensor:
    """PReLU with a slope that may be a number, so that it can be called like the others."""
    if not isinstance(weight, Tensor):
        weight = torch.tensor(weight, device=input.device, dtype=input.dtype)
    return rectifiers.prelu(input, weight)


#: Every public function and class of the families.
_NAMED: dict[str, Any] = {
    name: getattr(family, name)
    for family in (rectifiers, exponentials, sigmoids, gates, softmaxes)
    for name in family.__all__
}
#: Every function by name, element-wise or not.
_FUNCTIONS = {name: value for name, value in _NAMED.items() if name.islower()} | {"prelu": _prelu}


@functools.lru_cache(maxsize=1)
def catalog() -> Catalog:
    r"""Everything known of every element-wise activation, as an ordered mapping from name to `Entry`.

    Formula: the moments are :math:`E f(z)`, :math:`E f(z)^2` and :math:`E f'(z)^2` for :math:`z \sim N(0,
    1)`, by quadrature with the default parameter; the cost is the time of forward and backward on one CPU
    core relative to ReLU, as measured on large tensors.

    Raises ConvcraftError from `catalog()[name]` when the name is not known; it lists the near matches.
    Chapter: Activations.

    >>> entry = catalog()["leaky_relu"]
    >>> entry.parameter.default, round(entry.second_moment, 5)
    (0.01, 0.50005)
    """
    entries = {}
    modules = {name.lower(): value for name, value in _NAMED.items() if isinstance(value, type)}
    text = Path(__file__).with_name("catalog.toml").read_text(encoding="utf-8")
    for name, facts in tomllib.loads(text).items():
        facts["source"], facts["range"] = Source(*facts["source"]), tuple(facts["range"])
        facts["parameter"] = Parameter(*facts["parameter"]) if "parameter" in facts else None
        module = modules[name.replace("_", "")]
        entries[name] = Entry(name, function=_FUNCTIONS[name], module=module, **facts)
    return Catalog(entries)


def get(name: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Resolve the name of an activation to its function; anything callable is returned as it is.

    Formula: `get("relu")` is `relu`; `get("prelu")` takes a number or a tensor as slope, 0.25 by default.

    Names are those in `catalog()`, "softmax" and "log_softmax". Raises ConvcraftError when the name is not
    known (it lists the near matches) or the argument is neither a name nor callable. Chapter: Activations.

    >>> get("relu")(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    if isinstance(name, str):
        check_known("activation", name, _FUNCTIONS)
        return _FUNCTIONS[name]
    if callable(name):
        return name
    raise ConvcraftError(f"activation must be a name or a callable, got {type(name).__name__}; see catalog()")


def derivative(name: str | Callable[..., Tensor], x: Tensor, **parameters: Any) -> Tensor:
    r"""Evaluate the derivative of an activation element by element.

    Formula: :math:`f'(x)` as derived in the book for a name of the catalogue; by autograd for any other callable.

    Args:
        name: a name in `catalog()`, or an element-wise function.
        x: any shape, floating-point; the result has its shape and dtype.
        parameters: keywords of the function, for example `negative_slope=0.2`.

    Raises ConvcraftError when the name is not known, x is not a floating-point tensor, or the function
    changes shape. Chapter: Activations.

    >>> derivative("tanh", torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.4200])
    """
    check_floating("derivative", x)
    if isinstance(name, str):
        check_known("activation", name, DEFINITIONS)
        return DEFINITIONS[name][1](x, **parameters)
    return value_and_slope(functools.partial(get(name), **parameters), x)[1]
