"""The checks of the exercises on generation accept what is right and say what is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from answers import is_told, passes


def kl(mean, log_variance):
    return 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(1)


def draw(mean, log_variance):
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def half_cut_off(mean, log_variance):
    z = draw(mean, log_variance)
    return 0.5 * z + 0.5 * z.detach()


MASS = lambda p: (2 * p - 1) / math.log(p / (1 - p))  # noqa: E731


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("kl-by-hand", kl),
        ("grey-pixels", MASS),
        ("hidden-deviation", lambda pixels: math.sqrt(pixels / 2)),
        ("draw-with-gradient", draw),
    ],
)
def test_right_answers_pass(name, answer):
    passes(name, answer)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("kl-by-hand", lambda m, v: 2 * kl(m, v), "one half"),
        ("kl-by-hand", lambda m, v: kl(m, 2 * v), "not the standard deviation"),
        ("kl-by-hand", lambda m, v: kl(m, v).mean(), "shape ()"),
        ("grey-pixels", lambda p: 1.0, "0 or 1"),
        ("grey-pixels", lambda p: -MASS(p), "sign"),
        ("grey-pixels", lambda p: 1 / MASS(p), "multiply"),
        ("hidden-deviation", lambda pixels: pixels / 2, "variance"),
        ("hidden-deviation", lambda pixels: math.sqrt(pixels), "2 sigma^2"),
        ("hidden-deviation", lambda pixels: math.sqrt(2 / pixels), "upside down"),
        ("hidden-deviation", lambda pixels: math.sqrt(0.5), "the mean"),
        ("draw-with-gradient", lambda m, v: 3, "a tensor of draws"),
        ("draw-with-gradient", lambda m, v: draw(m + 1, v), "the mean that was given"),
        ("draw-with-gradient", lambda m, v: draw(m, 2 * v), "is the variance"),
        ("draw-with-gradient", lambda m, v: draw(m, 4 * v), "the standard deviation of the draws"),
        ("draw-with-gradient", lambda m, v: draw(m, v).detach(), "cut off"),
        ("draw-with-gradient", lambda m, v: torch.normal(m, (0.5 * v).exp()), "with respect to mean is zero"),
        ("draw-with-gradient", lambda m, v: draw(m, v.detach()), "with respect to log_variance is zero"),
        ("draw-with-gradient", half_cut_off, "the gradient of"),
    ],
)
def test_slips_are_named(name, answer, said):
    is_told(name, answer, said)


def test_a_check_that_draws_leaves_the_random_state_of_the_reader_alone():
    before = torch.get_rng_state()
    passes("draw-with-gradient", draw)
    assert torch.equal(torch.get_rng_state(), before)
