"""The checks of the exercises on recurrent networks accept what is right and say what is wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convcraft.lab.exercises import check


def gru(x, h, W, U, b, d, *, old=True, reset_first=True, bias_in=True, reset_used=True):
    now, past = nn.functional.linear(x, W, b), nn.functional.linear(h, U, d)
    size = h.shape[1]
    first, second = (now + past)[:, : 2 * size].sigmoid().chunk(2, 1)
    r, z = (first, second) if reset_first else (second, first)
    own = past[:, 2 * size :]
    if not bias_in:
        own = own - d[2 * size :]
    new = torch.tanh(now[:, 2 * size :] + (r if reset_used else 1) * own + (0 if bias_in else d[2 * size :]))
    return z * h + (1 - z) * new if old else (1 - z) * h + z * new


def test_right_answers_pass():
    assert check("gru-by-hand", gru)
    assert check("bias-for-a-lag", lambda lag, share: math.log(1 / (share ** (-1 / lag) - 1)))
    assert check("last-true-state", lambda s, n: s[torch.arange(len(s)), n - 1])
    assert check("share-of-repeats", lambda train, test: sum(t in train for t in test) / len(test))
    assert check("speaker-as-label", "C") and check("a-lag-that-a-gru-fails", 37)


def test_the_lag_is_that_of_the_gate():
    gate = 1 / (1 + math.exp(-2))
    assert gate**36 > 0.01 > gate**37


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("gru-by-hand", lambda *a: gru(*a, old=False), "wrong side"),
        ("gru-by-hand", lambda *a: gru(*a, reset_first=False), "order reset, update, new"),
        ("gru-by-hand", lambda *a: gru(*a, bias_in=False), "with its bias"),
        ("gru-by-hand", lambda *a: gru(*a, reset_used=False), "lacks the reset gate"),
        ("gru-by-hand", lambda *a: gru(*a)[:2], "of the shape of h"),
        ("gru-by-hand", lambda *a: 2 * gru(*a), "the next state"),
        ("bias-for-a-lag", lambda lag, share: math.log(lag), "rule of thumb"),
        ("bias-for-a-lag", lambda lag, share: math.log(share / (1 - share)), "for one step"),
        ("bias-for-a-lag", lambda lag, share: math.log(share ** (-1 / lag) - 1), "sign"),
        ("bias-for-a-lag", lambda lag, share: share ** (1 / lag), "that is the gate"),
        ("last-true-state", lambda s, n: s[:, -1], "after the padding"),
        ("last-true-state", lambda s, n: s[torch.arange(3), n % 5], "off by one"),
        ("last-true-state", lambda s, n: s, "one state for each sequence"),
        ("last-true-state", lambda s, n: s[:, 0], "the states"),
        ("share-of-repeats", lambda a, b: len(set(a) & set(b)) / len(set(b)), "each of them is scored"),
        ("share-of-repeats", lambda a, b: len(set(a) & set(b)) / len(b), "counts twice"),
        ("share-of-repeats", lambda a, b: 1.0, "the share"),
        ("speaker-as-label", "A", "known speaker"),
        ("speaker-as-label", "B", "one split"),
        ("speaker-as-label", "D", "few speakers"),
        ("a-lag-that-a-gru-fails", 36, "Round up"),
        ("a-lag-that-a-gru-fails", 7, "zero bias"),
        ("gru-by-hand", 3, "must be a function"),
    ],
)
def test_slips_are_named(name, answer, said):
    result = check(name, answer)
    assert not result and said in repr(result)
