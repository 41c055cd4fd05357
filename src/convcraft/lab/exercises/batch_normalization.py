"""Checks of the exercises of the chapter "Batch normalization"."""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convcraft.lab import data
from convcraft.lab.exercises.framework import Check, Complaint, by_name, compare
from convcraft.lab.exercises.kinds import takes
from convcraft.lab.randomness import forked
from convcraft.lab.training import evaluate


@takes("g, x and gamma")
def gradient_ladder(answer: Callable[..., dict[str, Tensor]]) -> Iterator[Complaint]:
    """A function (g, x, gamma) -> the gradients by hat, rho, v, d, mu and x of gamma * (x - mu) * rho."""
    with forked(0):
        x, g = 2 + 3 * torch.randn(2, 7, 3, dtype=torch.float64)
        gamma = torch.randn(3, dtype=torch.float64)
    lines = {"x": x.clone().requires_grad_()}
    lines["mu"] = lines["x"].mean(0)
    lines["d"] = lines["x"] - lines["mu"]
    lines["v"] = lines["d"].square().mean(0)
    lines["rho"] = (lines["v"] + 1e-5) ** -0.5
    lines["hat"] = lines["d"] * lines["rho"]
    right = torch.autograd.grad(gamma * lines["hat"], list(lines.values()), g)
    got = answer(g, x, gamma)
    if not isinstance(got, dict):
        yield f"the function must return a dict of gradients; got {type(got).__name__}."
    for name, wanted in reversed(list(zip(lines, right, strict=True))):
        if name not in got:
            yield f"the gradient by {name} comes next."
        if wrong := compare(got[name], wanted, f"the gradient by {name}", tolerance=1e-8):
            yield wrong.because(f"{name} is the first that is wrong: {_USES[name]}.")


_USES = {
    "hat": "it is used once, times gamma",
    "rho": "it is used for all examples, which add up",
    "v": "the derivative of rho by v is -rho^3 / 2",
    "d": "it is used twice, in v and in hat, and two gradients add up",
    "mu": "it is subtracted from every example",
    "x": "it is used twice, in d and in the mean",
}


@takes("g, x and eps")
def rms_norm_backward(answer: Callable[[Tensor, Tensor, float], Tensor]) -> Iterator[Complaint]:
    """A function (g, x, eps) -> gradient by x of y = x / sqrt(mean of x^2 + eps), along the last axis."""
    with forked(0):
        x, g = torch.randn(2, 3, 7, dtype=torch.float64)
    for scale, eps in ((1.0, 1e-5), (1e-2, 1e-3)):
        values = (scale * x).requires_grad_()
        r = torch.rsqrt(values.square().mean(-1, keepdim=True) + eps)
        (right,) = torch.autograd.grad(values * r, values, g)
        values, r = values.detach(), r.detach()
        hat = values * r
        got = torch.as_tensor(answer(g, values, eps))
        if got.shape != right.shape:
            yield f"the gradient has shape {tuple(got.shape)}, but should have shape {tuple(right.shape)}."
        if torch.allclose(got, right, atol=1e-9):
            continue
        if torch.allclose(got, r * g, atol=1e-9):
            yield "the root depends on x, too: a part along x has to be taken away."
        along = hat * (g * hat).mean(-1, keepdim=True)
        if torch.allclose(got, r * (g - g.mean(-1, keepdim=True) - along), atol=1e-9):
            yield "no mean is subtracted in the forward pass, so none is in the backward pass."
        if torch.allclose(got, g - along, atol=1e-9):
            yield "the factor 1 / sqrt(mean of x^2 + eps) in front is missing."
        yield compare(got.numpy(), right.numpy(), f"the gradient for eps = {eps:g}", tolerance=1e-9)


@takes("norm and linear")
def fold_forward(answer: Callable[[nn.BatchNorm1d, nn.Linear], nn.Linear]) -> Iterator[Complaint]:
    """A function (norm, linear) -> a linear layer that does both, for a normalization before the layer."""
    with forked(0):
        norm, linear = nn.BatchNorm1d(5), nn.Linear(5, 3)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        for _ in range(30):
            norm(4 + 3 * torch.randn(16, 5))
        norm.eval()
        x = 4 + 3 * torch.randn(10, 5)
    weight = linear.weight.detach().clone()
    with torch.no_grad():
        right, scale = linear(norm(x)), norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # type: ignore
        folded = answer(norm, linear)
        if not isinstance(folded, nn.Linear):
            yield f"the function must return a linear layer; got {type(folded).__name__}."
        if not torch.equal(linear.weight, weight):
            yield "the given layer was changed: make a new one."
        got = folded(x)
        if torch.allclose(got, right, atol=1e-4):
            return
        if torch.allclose(folded.weight, weight * scale, atol=1e-5):
            yield "the weights are right, the bias is not: what becomes of beta - scale * running_mean?"
    if wrong := compare(got.numpy(), right.numpy(), "the output", tolerance=1e-4):
        yield wrong.because("the weights are not right: each input has its own scale. Is that a row or a column?")


@takes("sizes, means and variances")
def merge_statistics(answer: Callable[..., tuple[float, float]]) -> Iterator[Complaint]:
    """A function (sizes, means, variances) -> mean and biased variance of all batches together."""
    with forked(0):
        for sizes in ((8, 8, 8), (2, 5, 9)):
            batches = [torch.randn(n).double() + 3 * i for i, n in enumerate(sizes)]
            means = [float(b.mean()) for b in batches]
            variances = [float(b.var(correction=0)) for b in batches]
            everything = torch.cat(batches)
            mean, variance = (float(v) for v in answer(sizes, means, variances))
            if wrong := compare(mean, everything.mean(), f"the mean for sizes {sizes}"):
                yield wrong.because("A batch counts as often as it has examples.")
            weights = torch.tensor(sizes).double() / sum(sizes)
            within = float(weights @ torch.tensor(variances).double())
            if math.isclose(variance, within):
                yield "that is the mean of the variances: the variance between the means is missing."
            what = f"the variance for sizes {sizes}"
            yield compare(variance, everything.var(correction=0), what)


@takes("the number of channels, such as a class")
def mend_the_layer(answer: Callable[[int], nn.Module]) -> Iterator[Complaint]:
    """A class (channels) -> a batch normalization that behaves as torch's in both modes."""
    with forked(0):
        ours, theirs = answer(3), nn.BatchNorm1d(3)
        batches = [2 + 3 * torch.randn(6, 3) for _ in range(3)]
    if not isinstance(ours, nn.Module):
        yield f"the layer must be a torch.nn.Module; got {type(ours).__name__}."
    for x in batches:
        got, right = ours(x), theirs(x)
        if not torch.allclose(got, right, atol=1e-4):
            yield "in training mode the output is not that of the statistics of the batch (biased variance)."
    missing = {"running_mean", "running_var"} - set(ours.state_dict())
    if missing:
        yield f"{' and '.join(sorted(missing))} would not be saved with the model: use register_buffer."
    mean, variance = ours.get_buffer("running_mean"), ours.get_buffer("running_var")
    if mean.requires_grad or variance.requires_grad:
        yield "the running statistics keep the graph of every batch: update them under no_grad."
    if not torch.allclose(mean, theirs.running_mean, atol=1e-5):  # type: ignore[arg-type]
        yield "the running mean is not (1 - m) r + m s with m = 0.1."
    if not torch.allclose(variance, theirs.running_var, rtol=1e-4):  # type: ignore[arg-type]
        yield "the running variance takes the unbiased variance of the batch, n / (n - 1) times the biased."
    x = torch.full((4, 3), 5.0)
    before, got = mean.clone(), ours.eval()(x)
    if not torch.allclose(got, theirs.eval()(x), atol=1e-4):
        yield "after eval() the output must come from the running statistics, also where gradients are on."
    if not torch.equal(before, ours.get_buffer("running_mean")):
        yield "after eval() the running statistics still move."


@takes("the width")
def batches_of_two(answer: Callable[[int], nn.Module]) -> Iterator[Complaint]:
    """A function (width) -> a normalization with which a network learns from batches of two."""
    probe = answer(32)
    if not isinstance(probe, nn.Module):
        yield f"the function must return a torch.nn.Module; got {type(probe).__name__}."
    with forked(0), torch.no_grad():
        x = torch.randn(64, 32)
        small, large = (float(probe.train()(scale * x).std()) for scale in (1.0, 100.0))
    if not large < 10 * small:
        yield "that does not normalize: a hundred times the input gives a hundred times the output."
    splits, scores = data.load("digits").standardized(), []
    for seed in range(2):
        with forked(seed):
            layers: list[nn.Module] = [nn.Flatten()]
            for inputs in (64, 32, 32):
                layers += [nn.Linear(inputs, 32), answer(32), nn.ReLU()]
            net = nn.Sequential(*layers, nn.Linear(32, 10))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            for rows in torch.cat([torch.randperm(300) for _ in range(6)]).split(2):
                loss = F.cross_entropy(net.train()(splits.train.x[rows]), splits.train.y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        scores.append(evaluate(net, splits.validation).accuracy)
    score = sum(scores) / 2
    if not score >= 0.85:
        yield f"batches of two: {score:.0%} of the validation part is right; 85 % is asked for."


CHECKS: dict[str, Check] = by_name(
    gradient_ladder, rms_norm_backward, fold_forward, merge_statistics, mend_the_layer, batches_of_two
)
