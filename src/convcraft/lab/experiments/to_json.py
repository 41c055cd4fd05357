"""Plain data: what JSON holds without loss, and numbers rounded to the digits that are kept."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from convcraft.errors import ConvcraftError

DIGITS = 6


def plain(value: Any, where: str) -> Any:
    """A copy made of dicts, lists, strings, finite numbers, booleans and None; tuples become lists.

    Raises ConvcraftError, naming the place, for anything else.

    >>> plain({"widths": (64, 10)}, "arm")
    {'widths': [64, 10]}
    """
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple, range)):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    got = f"{value!r} ({type(value).__name__})"
    if isinstance(value, Mapping):
        got = "a dict whose keys are not all strings"
    raise ConvcraftError(
        f"{where} must be plain data that JSON can hold: dict with string keys, list, string, finite number, "
        f"True, False or None; got {got}. Put a name there, and make the object from it in model or run."
    )


def rounded(value: Any, where: str) -> Any:
    """A measure as JSON stores it: floats to 6 significant digits; arrays and tensors as lists.

    Values that are not finite become None. Raises ConvcraftError for anything but numbers, lists of them,
    booleans and strings.

    >>> rounded(torch.tensor([1 / 3, float("nan")]), "loss")
    [0.333333, None]
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().tolist()
    elif isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [rounded(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise ConvcraftError(
        f"{where} must be a number, a string, or a list, array or tensor of numbers; got "
        f"{type(value).__name__}. Return plain numbers under names of their own."
    )
