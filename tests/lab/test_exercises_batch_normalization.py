"""The checks of the exercises on batch normalization accept what is right and say what is wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convcraft.lab.exercises import check, names

NAMES = {
    "two-examples",
    "forgetting-the-start",
    "rms-norm-backward",
    "fold-forward",
    "merge-statistics",
    "mend-the-layer",
    "batches-of-two",
}


def rms(g, x, eps, factor=True, project=True, centre=False):
    r = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    hat = x * r
    out = g - hat * (g * hat).mean(-1, keepdim=True) if project else g
    out = out - g.mean(-1, keepdim=True) if centre else out
    return r * out if factor else out


def fold(norm, linear, bias=True, new=True):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - scale * norm.running_mean
    folded = nn.Linear(linear.in_features, linear.out_features) if new else linear
    folded.weight.copy_(linear.weight * scale)
    folded.bias.copy_(linear.bias + linear.weight @ shift if bias else linear.bias)
    return folded


def merge(sizes, means, variances, between=True, weighted=True):
    n = torch.tensor(sizes).double() if weighted else torch.ones(len(sizes)).double()
    w, m, v = n / n.sum(), torch.tensor(means).double(), torch.tensor(variances).double()
    mean = w @ m
    return mean, w @ v + (w @ (m - mean) ** 2 if between else 0)


class Layer(nn.Module):
    """A right batch normalization whose faults can be switched on."""

    fault = ""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        mean, variance = torch.zeros(channels), torch.ones(channels)
        if self.fault == "attributes":
            self.running_mean, self.running_var = mean, variance
        else:
            self.register_buffer("running_mean", mean)
            self.register_buffer("running_var", variance)

    def forward(self, x):
        training = torch.is_grad_enabled() if self.fault == "mode" else self.training
        mean, var = self.running_mean.clone(), self.running_var.clone()
        if training or self.fault == "always":
            new = x * self.weight if self.fault == "graph" else x
            seen = new.mean(0), new.var(0, correction=self.fault != "biased")
            if self.fault == "graph":
                self.running_mean, self.running_var = (
                    0.9 * a + 0.1 * b for a, b in zip((mean, var), seen, strict=True)
                )
            else:
                share = 0.9 if self.fault == "momentum" else 0.1
                with torch.no_grad():
                    self.running_mean += share * (seen[0] - self.running_mean)
                    self.running_var += share * (seen[1] - self.running_var)
        if training:
            mean, var = x.mean(0), x.var(0, correction=self.fault == "unbiased output")
        return self.weight * (x - mean) / (var + 1e-5).sqrt() + self.bias


def with_fault(fault):
    return type("Faulty", (Layer,), {"fault": fault})


def ladder(g, x, gamma, *, until=6, slip=1.0):
    """The gradients line by line; `until` leaves the last ones out, `slip` is a factor on that by rho."""
    mu = x.mean(0)
    d = x - mu
    rho = ((d * d).mean(0) + 1e-5) ** -0.5
    by_hat = g * gamma
    by_rho = slip * (by_hat * d).sum(0)
    by_v = -0.5 * by_rho * rho**3
    by_d = by_hat * rho + by_v * 2 * d / len(x)
    by_mu = -by_d.sum(0)
    found = {"hat": by_hat, "rho": by_rho, "v": by_v, "d": by_d, "mu": by_mu, "x": by_d + by_mu / len(x)}
    return dict(list(found.items())[:until])


RIGHT = [
    ("two-examples", (-1, 3)),
    ("forgetting-the-start", 44),
    ("gradient-ladder", ladder),
    ("useless-parameters", 40),
    ("which-conclusion-batch-norm", "b"),
    ("rms-norm-backward", rms),
    ("fold-forward", fold),
    ("merge-statistics", merge),
    ("mend-the-layer", Layer),
    ("mend-the-layer", nn.BatchNorm1d),
    ("batches-of-two", nn.LayerNorm),
    ("batches-of-two", lambda width: nn.GroupNorm(4, width)),
]
WRONG = [
    ("two-examples", (1,), "Give 2 numbers"),
    ("two-examples", (-1, 1), "come after it"),
    ("two-examples", (1 - math.sqrt(2), 1 + math.sqrt(2)), "the biased deviation"),
    ("two-examples", (0, 0), "the output for 3"),
    ("forgetting-the-start", 43, "1.08 %"),
    ("forgetting-the-start", 2, "share of the new batch"),
    ("forgetting-the-start", 10, "by a factor"),
    ("forgetting-the-start", 20, "the number of updates"),
    ("gradient-ladder", 1.0, "must be a function"),
    ("gradient-ladder", lambda g, x, gamma: g, "must return a dict"),
    ("gradient-ladder", lambda *a: ladder(*a, until=4), "the gradient by mu comes next"),
    ("gradient-ladder", lambda *a: ladder(*a, slip=2.0), "rho is the first that is wrong"),
    ("useless-parameters", 20, "length of a unit's weights"),
    ("which-conclusion-batch-norm", "a", "the interval of that difference"),
    ("rms-norm-backward", 1.0, "must be a function"),
    ("rms-norm-backward", lambda g, x, eps: g.sum(), "shape"),
    ("rms-norm-backward", lambda g, x, eps: rms(g, x, eps, project=False), "along x"),
    ("rms-norm-backward", lambda g, x, eps: rms(g, x, eps, centre=True), "no mean"),
    ("rms-norm-backward", lambda g, x, eps: rms(g, x, eps, factor=False), "in front"),
    ("rms-norm-backward", lambda g, x, eps: 0 * g, "the gradient for"),
    ("fold-forward", None, "must be a function"),
    ("fold-forward", lambda norm, linear: norm, "must return a linear layer"),
    ("fold-forward", lambda norm, linear: fold(norm, linear, new=False), "make a new one"),
    ("fold-forward", lambda norm, linear: fold(norm, linear, bias=False), "the bias is not"),
    ("fold-forward", lambda norm, linear: nn.Linear(5, 3), "a row or a column"),
    ("merge-statistics", 1.0, "must be a function"),
    ("merge-statistics", lambda *a: merge(*a, weighted=False), "as often as it has examples"),
    ("merge-statistics", lambda *a: merge(*a, between=False), "between the means"),
    ("merge-statistics", lambda *a: (merge(*a)[0], 0.0), "the variance for"),
    ("mend-the-layer", 3, "must be a function"),
    ("mend-the-layer", lambda channels: torch.relu, "must be a torch.nn.Module"),
    ("mend-the-layer", with_fault("unbiased output"), "biased variance"),
    ("mend-the-layer", with_fault("attributes"), "register_buffer"),
    ("mend-the-layer", with_fault("graph"), "under no_grad"),
    ("mend-the-layer", with_fault("momentum"), "m = 0.1"),
    ("mend-the-layer", with_fault("biased"), "takes the unbiased"),
    ("mend-the-layer", with_fault("mode"), "after eval() the output"),
    ("mend-the-layer", with_fault("always"), "still move"),
    ("batches-of-two", "layer norm", "must be a function"),
    ("batches-of-two", lambda width: width, "must return a torch.nn.Module"),
    ("batches-of-two", lambda width: nn.Identity(), "does not normalize"),
    ("batches-of-two", nn.BatchNorm1d, "85 % is asked for"),
]


def test_every_exercise_of_the_chapter_has_a_check():
    assert set(names()) >= NAMES


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right(name, answer):
    result = check(name, answer)
    assert result, repr(result)


@pytest.mark.parametrize(("name", "answer", "says"), WRONG)
def test_wrong(name, answer, says):
    result = check(name, answer)
    assert not result and says in result.message, repr(result)
