"""What a normalization accepts."""

from typing import Any

from torch import Tensor

from ..errors import ConvcraftError


def check_channels(function: str, input: Any, name: str, channels: int) -> None:
    """Refuse an input whose dimension 1 does not fit what is given for each channel."""
    if isinstance(input, Tensor) and input.shape[1] != channels:
        raise ConvcraftError(
            f"{function}: input must have {channels} channels in dimension 1, as many as {name} has, got "
            f"{input.shape[1]} (shape {tuple(input.shape)}); set num_features to {input.shape[1]}"
        )


def check_each_channel(function: str, input: Any, **given: Tensor | None) -> None:
    """Refuse an input whose channels do not fit one of the tensors given, by name."""
    for name, values in given.items():
        if isinstance(values, Tensor):
            check_channels(function, input, name, values.shape[-1])


def check_enough(function: str, input: Any, count: int, what: str) -> None:
    """Refuse statistics of a single number, whose variance is 0 whatever the number."""
    if count == 1:
        raise ConvcraftError(
            f"{function}: training needs more than 1 value {what}, got shape {tuple(input.shape)}; use a "
            "larger batch, drop the last incomplete one, or call model.eval()"
        )


def check_running(function: str, argument: str, mean: Any, variance: Any) -> None:
    """Refuse to normalize by running statistics that are not there."""
    if mean is None or variance is None:
        missing = "running_mean" if mean is None else "running_var"
        raise ConvcraftError(
            f"{function}: {missing} must be given with {argument}=False, got None; "
            f"pass the running statistics, or {argument}=True"
        )
