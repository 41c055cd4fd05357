"""Checks of the exercises of the chapter "Recurrent networks"."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convcraft.lab.exercises.framework import Check, by_name, compare
from convcraft.lab.exercises.kinds import formula, takes

_TRAIN = ["see you", "win a prize", "see you", "ok", "call me"]
_TEST = ["ok", "win a prize", "ok", "lunch?", "are you there"]


@takes("x, h, W, U, b and d")
def gru_by_hand(answer: Callable[..., Any]) -> str | None:
    """A step of a GRU: x (n, inputs), h (n, hidden), W, U, b, d as in torch -> the next state (n, hidden)."""
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    x, h, parameters = draw(5, 3), draw(5, 4), (draw(12, 3), draw(12, 4), draw(12), draw(12))
    right = nn.functional.linear  # torch's order: reset, update, new
    now, past = right(x, parameters[0], parameters[2]), right(h, parameters[1], parameters[3])
    reset, keep = (now + past)[:, :8].sigmoid().chunk(2, 1)

    def state(keep: Tensor, new: Tensor) -> Tensor:
        return keep * h + (1 - keep) * new

    new = torch.tanh(now[:, 8:] + reset * past[:, 8:])
    got = answer(x, h, *parameters)
    if not isinstance(got, Tensor) or got.shape != h.shape:
        return f"the next state must be a tensor of the shape of h, {tuple(h.shape)}."
    slips = {
        "the gate z is on the wrong side: in torch it multiplies the old state.": state(1 - keep, new),
        "the reset gate multiplies U h + d, with its bias.": state(
            keep, torch.tanh(now[:, 8:] + reset * (past[:, 8:] - parameters[3][8:]) + parameters[3][8:])
        ),
        "the rows of W and U come in the order reset, update, new.": state(
            reset, torch.tanh(now[:, 8:] + keep * past[:, 8:])
        ),
        "the candidate lacks the reset gate.": state(keep, torch.tanh((now + past)[:, 8:])),
    }
    for why, value in slips.items():
        if torch.allclose(got.double(), value):
            return why
    return compare(got, state(keep, new), "the next state")


@takes("states and lengths")
def last_true_state(answer: Callable[..., Any]) -> str | None:
    """States (n, T, hidden) and lengths (n,) -> the state after the last true step, (n, hidden)."""
    states = torch.arange(3 * 5 * 2).reshape(3, 5, 2).double()
    lengths = torch.tensor([2, 5, 1])
    got = answer(states, lengths)
    if not isinstance(got, Tensor) or got.shape != (3, 2):
        return "give one state for each sequence, of shape (n, hidden)."
    if torch.equal(got.double(), states[:, -1]):
        return "that is the state after the padding, which has gone on changing it."
    if torch.equal(got.double(), states[torch.arange(3), lengths % 5]):
        return "off by one: a sequence of length 2 ends at step 1, counted from 0."
    return compare(got, states[torch.arange(3), lengths - 1], "the states")


@takes("train and test")
def share_of_repeats(answer: Callable[[Sequence[str], Sequence[str]], Any]) -> str | None:
    """Texts of two parts -> the share of the test texts that also stand in the training part."""
    got = answer(list(_TRAIN), list(_TEST))
    if np.isclose(float(got), 2 / 4):
        return "count the test texts, not the different ones: each of them is scored."
    if np.isclose(float(got), 2 / 5):
        return "the text that stands twice in the test part counts twice."
    return compare(got, 3 / 5, "the share")


CHECKS: dict[str, Check] = by_name(gru_by_hand, last_true_state, share_of_repeats) | {
    "bias-for-a-lag": formula(
        lambda lag, share: -math.log(share ** (-1 / lag) - 1),
        [(20, 0.5), (100, 0.5), (100, 0.9)],
        "the bias for a lag of {0} and a share of {1}",
        (lambda lag, share: -math.log(1 / share - 1), "that keeps the share for one step; each step multiplies it."),
        (lambda lag, share: math.log(share ** (-1 / lag) - 1), "the sign is wrong: an open gate has a large bias."),
        (lambda lag, share: share ** (1 / lag), "that is the gate. Which bias does sigmoid send there?"),
        (lambda lag, share: math.log(lag), "that is the rule of thumb, which keeps about a share of 1/e."),
    )
}
