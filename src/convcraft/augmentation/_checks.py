"""What an augmentation accepts, and errors that name the argument."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._checks import DISCRETE, as_number, check_choice, check_device, check_dimensions, check_number, check_tensor
from ..errors import ConvcraftError

Number = float | Tensor
#: one number, or one for each channel
Levels = float | Sequence[float]
#: the ends of an interval, or one number that gives both
Range = float | tuple[float, float]
PADDINGS = ("zeros", "border", "reflection")
INTERPOLATIONS = ("bilinear", "nearest")


def check_images(function: str, images: Any, exact: bool | None = None) -> None:
    """Require a tensor (N, C, H, W), floating-point where values are computed and not only moved (exact)."""
    other = "" if exact is None else ", or interpolation='nearest' for masks of integers"
    also = DISCRETE if exact else frozenset()
    check_tensor(function, "images", images, also, convert=f"images.float() / 255 for bytes{other}")
    advice = "use images[None] for one image, images[:, None] for one channel"
    check_dimensions(function, images, (4,), "(N, C, H, W)", "images", advice)


def holds(condition: Tensor) -> bool:
    """Whether a condition holds everywhere; True where values cannot be read (compiling, torch.func).

    On a device that the host would have to wait for, the check is left to the device, as torch's losses do
    with labels: its error comes with a later operation.
    """
    if torch.compiler.is_compiling():
        return True
    try:
        if condition.device.type == "cpu":
            return bool(condition.all())
        torch._assert_async(condition.all(), "convcraft: an argument of an augmentation is out of range")
    except RuntimeError:
        pass
    return True


def is_number(value: Any) -> bool:
    return as_number(value) is not None


def check_each(function: str, name: str, value: Any, condition: Any, what: str) -> None:
    """Require that a parameter, one number or one for each image, is `what`, as `condition` tells."""
    if not (holds(condition) if isinstance(condition, Tensor) else condition):
        raise ConvcraftError(f"{function}: {name} must be {what}, got {value!r}")


def check_range(
    function: str, name: str, value: Any, centre: float = 0.0, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """(low, high) as it is, or centre - value to centre + value for one number."""
    if is_number(value):
        value = check_number(function, name, value, 0.0)
        pair = (centre - value, centre + value)
    elif isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value)):
        pair = (float(value[0]), float(value[1]))
    else:
        raise ConvcraftError(f"{function}: {name} must be a number from 0 on or (low, high), got {value!r}")
    if pair[0] > pair[1] or pair[0] < low or pair[1] > high:
        raise ConvcraftError(
            f"{function}: {name} must reach from a lower to a higher value, both in [{low}, {high}], got {pair}"
        )
    return pair


def per_image(function: str, name: str, value: Any, images: Tensor) -> Number:
    """A number, or a tensor of one for each image, in the precision that positions are computed in."""
    if not isinstance(value, Tensor):
        return check_number(function, name, value)
    if value.dim() > 1 or (value.dim() == 1 and value.size(0) != images.size(0)):
        raise ConvcraftError(
            f"{function}: {name} must be one number, or a tensor with one for each of the {images.size(0)} "
            f"images, got shape {tuple(value.shape)}"
        )
    if value.dtype == torch.bool or value.is_complex():
        raise ConvcraftError(f"{function}: {name} must hold real numbers, got {value.dtype}")
    check_device(function, name, value.device, images, "images")
    if value.is_floating_point() and not holds(value.isfinite()):
        raise ConvcraftError(f"{function}: {name} must be finite, got {value.detach()}")
    return value.to(precision(images))


def check_sampling(function: str, padding: Any, fill: Any, interpolation: Any) -> None:
    """Require a known padding and interpolation, and no fill value that the padding would not use."""
    check_choice(function, "interpolation", interpolation, INTERPOLATIONS)
    check_choice(function, "padding", padding, PADDINGS)
    check_levels(function, "fill", fill)
    if padding != "zeros" and not is_zero(fill):
        raise ConvcraftError(
            f"{function}: fill needs padding='zeros', got padding={padding!r} and fill={fill!r}; "
            "leave one of the two out"
        )


def check_levels(function: str, name: str, value: Any, also: str = "") -> None:
    """Refuse what is neither a finite number nor a sequence of them."""
    several = isinstance(value, tuple | list) and value and all(map(is_number, value))
    if not several and not is_number(value):
        raise ConvcraftError(
            f"{function}: {name} must be a finite number, or a tuple or list of one for each channel{also}, "
            f"got {value!r}"
        )


def check_clip(function: str, clip: Any) -> None:
    """Refuse what is neither None nor a pair (low, high) of numbers or of channels' numbers."""
    if clip is None:
        return
    if not isinstance(clip, tuple | list) or len(clip) != 2:
        raise ConvcraftError(
            f"{function}: clip must be None or a pair (low, high), got {clip!r}; use (0.0, 1.0) for images in [0, 1]"
        )
    for end in clip:
        check_levels(function, "clip", end)
    ends = [tuple(end) if isinstance(end, tuple | list) else (end,) for end in clip]
    low, high = (end * max(map(len, ends)) if len(end) == 1 else end for end in ends)
    if len(low) != len(high) or any(a > b for a, b in zip(low, high, strict=True)):
        raise ConvcraftError(f"{function}: clip must be (low, high) with low <= high, got {clip!r}")


def is_zero(value: Levels) -> bool:
    return not any(value) if isinstance(value, tuple | list) else value == 0


def levels(function: str, name: str, value: Levels, images: Tensor) -> Number:
    """A number, or one for each channel shaped (1, C, 1, 1)."""
    if not isinstance(value, tuple | list):
        return as_number(value) or 0.0
    if len(value) != (channels := images.size(1)):
        raise ConvcraftError(
            f"{function}: {name} must hold one number for each of the {channels} channels, got {len(value)}"
        )
    return torch.tensor(value, dtype=precision(images), device=images.device).view(1, -1, 1, 1)


def precision(images: Tensor) -> torch.dtype:
    """What positions and parameters are computed in: float64 for what float32 does not hold, else float32."""
    exact = (torch.float64, torch.int32, torch.int64)
    return torch.float64 if images.dtype in exact else torch.float32


def check_shift(function: str, name: str, value: Any) -> tuple[float, float]:
    """The largest shift along x and along y, from one number for both or a pair, 0 or more."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(is_number(most) and most >= 0 for most in pair):
        raise ConvcraftError(
            f"{function}: {name} must be a number of pixels from 0 on, or a pair (x, y), got {value!r}"
        )
    return (pair[0], pair[1])
