"""Runs the model on the batches, in training and in evaluation mode, and gathers the evidence."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._batch import Batch, loss_value, own_loss, run, short
from .._graph import Graph, successors, tensors
from .._restore import seed_all
from ..errors import ConvcraftError
from . import thresholds
from ._evidence import Evidence, GradientFacts, NonFinite
from ._examine import Examiner
from ._locate import locate, not_finite
from ._losses import LossWatch
from ._modes import compare_modes
from ._watch import Watcher

Loss = Callable[..., Any] | None


def gather(
    original: nn.Module,
    model: nn.Module,
    batches: list[Batch],
    loss: Loss,
    optimizer: Any,
    own_optimizer: Any,
    seed: int,
) -> Evidence:
    """The evidence on `original`, by runs of `model`, which is a copy of it or is restored by the caller."""
    evidence = Evidence(original, optimizer, None, batch_size=batches[0].examples)
    evidence.examples = sum(batch.examples for batch in batches)
    modes = {module: module.training for module in model.modules()}
    _compare(evidence, model, batches[0])
    evidence.graph = _graph(evidence, model, batches[0])
    model.train()
    evidence.frozen = {name for name, module in model.named_modules() if not module.training}
    _training_mode(model, modes)
    _train(evidence, model, batches, loss, own_optimizer, seed)
    _trained(evidence)
    return evidence


def _training_mode(model: nn.Module, modes: dict[nn.Module, bool]) -> None:
    """Back to evaluation mode with what was in it inside a model that is in training mode."""
    if modes[model]:
        for module, training in modes.items():
            if not training:
                module.training = False


def _graph(evidence: Evidence, model: nn.Module, batch: Batch) -> Graph | None:
    try:
        return successors(model, batch.kwargs if batch.kwargs else batch.args)
    except Exception as error:  # the model's own code runs here
        evidence.skipped.append(f"what follows which layer ({type(error).__name__}: {short(error)})")
        return None


def _compare(evidence: Evidence, model: nn.Module, batch: Batch) -> None:
    try:
        evidence.modes = compare_modes(model, batch)
    except Exception as error:  # the model's own code runs here; the pass in training mode will tell
        evidence.skipped.append(f"the outputs in both modes ({type(error).__name__}: {short(error)})")


def _train(
    evidence: Evidence, model: nn.Module, batches: list[Batch], loss: Loss, optimizer: Any, seed: int
) -> None:
    """Forward and backward on every batch, and one step of the optimizer after the last."""
    seed_all(model, seed)
    examiner = Examiner(model, tensors([(batch.args, batch.kwargs) for batch in batches]))
    watcher = Watcher(model, examiner, every_function=True)
    squares: dict[str, float] = {}
    given: set[str] = set()
    losses: list[float] = []
    try:
        watcher.attach()
        with torch.enable_grad():
            for batch in batches:
                model.zero_grad(set_to_none=True)
                value = _forward(evidence, model, batch, loss)
                if value is not None:
                    losses.append(float(value.detach()))
                    _backward(value)
                    _parameters(model, squares, given)
            sound = all(math.isfinite(number) for number in (*losses, *squares.values()))
            if given and optimizer is not None and sound:
                _step(evidence, optimizer)
    finally:
        watcher.detach()
        examiner.detach()
    evidence.layers = tuple(examiner.statistics())
    evidence.inputs, evidence.norms = list(examiner.inputs.values()), list(examiner.norms.values())
    evidence.loss = sum(losses) / len(losses) if losses else None
    if losses:
        evidence.gradients = [
            GradientFacts(name, name in given, math.sqrt(squares.get(name, 0.0)), _norm(p.detach()))
            for name, p in evidence.model.named_parameters()
            if p.requires_grad
        ]
    evidence.nonfinite = _nonfinite(evidence, model, batches[0])


def _forward(evidence: Evidence, model: nn.Module, batch: Batch, loss: Loss) -> Tensor | None:
    """The loss of a batch; None where there is none to be had."""
    watch = LossWatch()
    with watch:
        output = _output(evidence, model, batch)
        value = loss_value("diagnose", output, batch, loss) if loss is not None else own_loss(output)
    evidence.loss_calls += watch.calls
    if value is not None and loss is None and not value.requires_grad:
        value = None
    if value is not None:
        if not value.requires_grad:
            evidence.skipped.append("the gradients (the loss does not depend on a parameter by a gradient)")
        return value
    if not any("no loss was given" in text for text in evidence.skipped):
        evidence.skipped.append("gradients, loss and update ratios (no loss was given)")
    return None


def _output(evidence: Evidence, model: nn.Module, batch: Batch) -> Any:
    try:
        return run("diagnose", model, batch)
    except ConvcraftError as error:
        cause = error.__cause__
        if not isinstance(cause, ValueError) or "more than 1 value per channel" not in str(cause):
            raise
        evidence.failure = str(cause)
        for module in model.modules():
            if "norm" in type(module).__name__.lower():
                module.eval()
        return batch(model)


def _backward(value: Tensor) -> None:
    if value.requires_grad:
        value.backward()


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values.to(torch.promote_types(values.dtype, torch.float32))))


def _parameters(model: nn.Module, squares: dict[str, float], given: set[str]) -> None:
    """Add up the squares of the gradients' norms."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
            squares[name] = squares.get(name, 0.0) + _norm(grad) ** 2
            given.add(name)


def _step(evidence: Evidence, optimizer: Any) -> None:
    try:
        optimizer.step()
    except Exception as error:  # an optimizer of another kind, one that needs a closure for example
        evidence.skipped.append(f"the update ratios ({type(error).__name__}: {short(error)})")


def _nonfinite(evidence: Evidence, model: nn.Module, batch: Batch) -> NonFinite | None:
    """The first place where a value is not finite: data, weights, forward pass, loss, gradients."""
    for tensor in tensors((batch.args, batch.kwargs)):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return NonFinite("", "the batch", not_finite(tensor))
    for name, parameter in evidence.model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return NonFinite(name.rpartition(".")[0], f"the parameter {name}", not_finite(parameter))
    bad = [layer for layer in evidence.layers if not layer.finite]
    wrong_loss = evidence.loss is not None and not math.isfinite(evidence.loss)
    if bad or wrong_loss:
        found = None
        with contextlib.suppress(Exception):
            found = locate(model, batch)
        if found is None:
            found = NonFinite(bad[0].name, "the output", "NaN") if bad else NonFinite("", "the loss", "NaN")
        return found
    for layer in reversed(evidence.layers):
        if layer.gradient is not None and not math.isfinite(layer.gradient):
            return NonFinite(layer.name, "the gradient at the output", "NaN or infinity")
    for fact in evidence.gradients:
        if not math.isfinite(fact.norm):
            return NonFinite(fact.name.rpartition(".")[0], f"the gradient of {fact.name}", "NaN or infinity")
    return None


def _trained(evidence: Evidence) -> None:
    """Whether the model has left its initialization, by the optimizer's state, the counters or the loss."""
    counted = any(
        isinstance(count := getattr(module, "num_batches_tracked", None), Tensor) and int(count) > 0
        for module in evidence.model.modules()
    )
    calls = [c for c in evidence.loss_calls if c.name in ("cross_entropy", "nll_loss") and c.uniform]
    learned = bool(calls) and calls[0].value < thresholds.LEARNED * (calls[0].uniform or 0.0)
    evidence.trained = counted or learned or bool(getattr(evidence.optimizer, "state", None))
