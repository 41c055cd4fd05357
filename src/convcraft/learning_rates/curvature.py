"""The sharpest direction of the loss, and the largest rate at which gradient descent survives it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._batch import Loss, evaluate, resolve_loss, split, taker
from .._checks import Generator, as_number, check_count, check_generator, check_learns, check_number
from .._restore import preserved
from ..errors import ConvcraftError

Vector = list[Tensor]


@dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalue of a Hessian, and how well it is known. Chapter: Learning rates.

    >>> float(Sharpness(4.0, 1e-6, 12, True, False))
    4.0
    """

    value: float  #: the eigenvalue (the largest, not the largest in size)
    residual: float  #: norm of H v - lambda v: an eigenvalue lies within this distance
    iterations: int  #: Hessian-vector products computed
    converged: bool  #: whether the residual is below tolerance times the largest size of an eigenvalue
    shifted: bool  #: whether a more negative eigenvalue had to be moved out of the way

    def __float__(self) -> float:
        return self.value


def sharpness(
    model: nn.Module,
    batch: Any,
    loss: Loss = F.cross_entropy,
    iterations: int = 200,
    tolerance: float = 1e-3,
    generator: Generator = None,
) -> Sharpness:
    r"""Largest eigenvalue of the Hessian of the loss by the parameters, by power iteration.

    Formula: :math:`v \leftarrow H v / \lVert H v \rVert`, :math:`\lambda = v^T H v`, where :math:`H v` is
    the gradient of :math:`g^T v` (Pearlmutter 1994): the Hessian is never formed. When the eigenvalue
    largest in size is negative, or two are alike in size, the iteration goes on with :math:`H + \sigma I`,
    where :math:`\sigma` is that size, and the same is subtracted at the end.

    Args:
        model: in the mode for which the answer is wanted: eval for a function of the batch alone.
        batch: (input, target), (input, input, …, target), ((input, input), target), ({name: input}, target),
            or a mapping with its target under "target", "label", "y" or their plurals.
        loss: (output, target) to a tensor of one number, a name such as "mse", or None where the model
            returns its loss.
        iterations: the most Hessian-vector products.
        tolerance: the residual, relative to the largest size of an eigenvalue, that ends the iteration.
        generator: for the starting vector, on the CPU; None starts from the same vector every time.

    Parameters, buffers, gradients, mode and random state are left as they were. Random layers draw once.

    Raises ConvcraftError when the model has nothing to train, the batch is not of this form or on another device, the
    loss is not a scalar, it or its second derivative is not finite, or iterations or tolerance are out of range.
    Source: Pearlmutter (1994), Fast Exact Multiplication by the Hessian; LeCun, Simard and Pearlmutter (1993),
    Automatic Learning Rate Maximization by On-Line Estimation of the Hessian's Eigenvectors. Chapter: Learning rates.

    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> inputs = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> round(sharpness(model, (inputs, torch.zeros(2, 1)), nn.MSELoss()).value, 3)
    4.0
    """
    trained = check_learns("sharpness", model)
    check_count("sharpness", "iterations", iterations)
    check_number("sharpness", "tolerance", tolerance, 0, above=True)
    check_generator("sharpness", generator, torch.empty(0, device="cpu"), "start")
    generator = generator or torch.Generator().manual_seed(0)
    function = resolve_loss("sharpness", loss)
    given = split("sharpness", batch, model, taker(loss))
    with preserved(model), torch.enable_grad():
        value = evaluate("sharpness", model, given, function)
        if not math.isfinite(value.item()):
            raise ConvcraftError(f"sharpness: the loss must be finite, got {value.item()}")
        slopes = torch.autograd.grad(value, trained, create_graph=True, materialize_grads=True)
        curved = [slope for slope in slopes if slope.requires_grad]
        start, again = (  # standard normal, the same on every device
            [torch.randn(p.shape, generator=generator).to(p.device, p.dtype) for p in trained] for _ in range(2)
        )
        # power iteration, with a shift once the eigenvalue largest in size is seen not to be the largest
        v, before, sigma, radius = _unit(start), None, 0.0, 0.0
        eigenvalue = residual = 0.0
        for i in range(1, iterations + 1):
            along = [part for part, slope in zip(v, slopes, strict=True) if slope.requires_grad]
            if along:  # H v, the gradient of the gradient along v
                w = list(torch.autograd.grad(curved, trained, along, retain_graph=True, materialize_grads=True))
            else:
                w = [torch.zeros_like(part) for part in v]
            eigenvalue, size = _dot(v, w), math.sqrt(_dot(w, w))
            if not math.isfinite(size):
                raise ConvcraftError(
                    f"sharpness: the second derivative of the loss must be finite, got a Hessian-vector product "
                    f"of norm {size}; look for a root or a division at 0 in the model and the loss"
                )
            radius = max(radius, size)
            if radius == 0:
                return Sharpness(0.0, 0.0, i, True, False)
            residual = _distance(w, v, eigenvalue)
            found = residual <= tolerance * radius
            if found and (eigenvalue > 0 or sigma > 0):
                return Sharpness(eigenvalue, residual, i, True, sigma > 0)
            late = eigenvalue < 0 and i == iterations // 2
            following = _unit([a + sigma * b for a, b in zip(w, v, strict=True)])
            # two of opposite sign and like size: every second vector is the same, and none is an eigenvector
            tied = before is not None and _distance(following, before) <= 0.1 * residual / size
            before, v = v, following
            if sigma == 0 and (found or tied or late):
                sigma, v, before = radius, _unit(again), None
        return Sharpness(eigenvalue, residual, iterations, False, sigma > 0)


def largest_stable_rate(
    curvature: float | Sharpness,
    momentum: float = 0.0,
    *,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> float:
    r"""The rate above which gradient descent leaves a quadratic minimum of this curvature.

    Formula: :math:`2 / \lambda` for plain gradient descent; :math:`2 (1 + \mu) / ((1 - \tau) \lambda)` with
    momentum :math:`\mu` and dampening :math:`\tau`; :math:`2 (1 + \mu) / ((1 + 2 \mu) \lambda)` with
    Nesterov momentum; each as torch.optim.SGD steps, and with :math:`\lambda + ` weight_decay for
    :math:`\lambda`. Infinite when that is not positive.

    It holds for steps on the whole loss, near a minimum: noise of small batches lowers the edge, and training
    at a larger rate can move to where the curvature is smaller. It says nothing of Adam, whose steps are
    scaled for each parameter.

    Args:
        curvature: the largest eigenvalue of the Hessian, a number or what `sharpness` returns.
        momentum: in [0, 1).
        dampening: in [0, 1); 0 with nesterov.
        nesterov: with momentum.
        weight_decay: 0 or more; coupled, as torch.optim.SGD's.

    Raises ConvcraftError when curvature is not a finite number or an argument is outside its range. Source:
    Polyak (1964), Some Methods of Speeding Up the Convergence of Iteration Methods; Cohen, Kaur, Li, Kolter
    and Talwalkar (2021), Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability,
    appendix B. Chapter: Learning rates.

    >>> largest_stable_rate(4.0), largest_stable_rate(4.0, momentum=0.9)
    (0.5, 0.95)
    """
    value = curvature.value if isinstance(curvature, Sharpness) else curvature
    if as_number(value) is None:
        raise ConvcraftError(
            f"largest_stable_rate: curvature must be a finite number or a Sharpness, got {curvature!r}"
        )
    for name, share in (("momentum", momentum), ("dampening", dampening)):
        if (number := as_number(share)) is None or not 0 <= number < 1:
            raise ConvcraftError(f"largest_stable_rate: {name} must be in [0, 1), got {share!r}")
    if nesterov and (momentum == 0 or dampening != 0):
        raise ConvcraftError(
            "largest_stable_rate: nesterov needs momentum above 0 and dampening 0, "
            f"got momentum={momentum!r} and dampening={dampening!r}"
        )
    bend = value + check_number("largest_stable_rate", "weight_decay", weight_decay, 0)
    if bend <= 0:
        return math.inf
    if nesterov:
        return 2 * (1 + momentum) / ((1 + 2 * momentum) * bend)
    if momentum == 0:
        return 2 / bend
    return 2 * (1 + momentum) / ((1 - dampening) * bend)


def _dot(first: Vector, second: Vector) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(first, second, strict=True))


def _distance(first: Vector, second: Vector, factor: float = 1.0) -> float:
    error = [a - factor * b for a, b in zip(first, second, strict=True)]
    return math.sqrt(_dot(error, error))


def _unit(vector: Vector) -> Vector:
    length = math.sqrt(_dot(vector, vector))
    return [part / length for part in vector] if length > 0 else vector
