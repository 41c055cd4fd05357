"""What the helpers accept (tensors, arrays, lists, intervals), and the checks on it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from convcraft.errors import ConvcraftError


def array(value: Any, name: str) -> np.ndarray:
    """Return a tensor (on any device), array or list of numbers as float64; anything else raises ConvcraftError."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64).numpy()
    if isinstance(value, Sequence) and any(isinstance(v, torch.Tensor) for v in value):
        value = [array(v, name) for v in value]
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConvcraftError(f"{name}: expected numbers, got {type(value).__name__}: {error}") from error


def mapping(value: Any, name: str, singular: str) -> dict[str, Any]:
    """Return a non-empty mapping of names to data as a plain dict; anything else raises ConvcraftError."""
    if not isinstance(value, Mapping):
        raise ConvcraftError(f"{name}: expected a dict of name: {singular}, got {type(value).__name__}")
    if not value:
        raise ConvcraftError(f"{name}: expected at least one {singular}, got none")
    return {str(k): v for k, v in value.items()}


def band(value: Any, length: int, name: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Split y or (y, low, high); raises ConvcraftError unless each part is as long as x."""
    low = high = None
    if isinstance(value, tuple) and len(value) == 3 and np.ndim(array(value[0], name)) == 1:
        value, low, high = value
        low, high = array(low, name), array(high, name)
    y = array(value, name)
    for part, label in ((y, "y"), (low, "low"), (high, "high")):
        if part is not None and part.shape != (length,):
            raise ConvcraftError(
                f"series {name!r}: expected {label} with one value for each of the {length} of x, "
                f"got shape {tuple(part.shape)}"
            )
    return y, low, high


def triple(value: Any, name: str) -> tuple[float, float, float]:
    """Return (centre, low, high) of an interval: an object with mean, low and high, three numbers, or one."""
    if all(hasattr(value, field) for field in ("mean", "low", "high")) and not callable(value.mean):
        return float(value.mean), float(value.low), float(value.high)
    if isinstance(value, Iterable) and not isinstance(value, (str, torch.Tensor, np.ndarray)):
        parts = tuple(float(v) for v in value)
        if len(parts) == 3:
            return parts[0], parts[1], parts[2]
        raise ConvcraftError(f"{name!r}: expected (mean, low, high), got {len(parts)} numbers")
    try:
        centre = float(value)
    except (TypeError, ValueError) as error:
        raise ConvcraftError(
            f"{name!r}: expected an interval with mean, low and high, or a number, got {type(value).__name__}"
        ) from error
    return centre, centre, centre


def t_quantile(level: float, df: int) -> float:
    """The q with P(|T| < q) = level for Student's t, by quadrature over T = sqrt(df) tan(angle)."""
    # without SciPy, which the library does not need
    angle = np.linspace(0.0, np.pi / 2, 200_001)
    density = np.cos(angle) ** (df - 1)
    share = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(df) * np.tan(np.interp(level, share / share[-1], angle)))
