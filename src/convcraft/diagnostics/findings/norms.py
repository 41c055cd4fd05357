"""Normalization: what comes before it, what it is fed, and the mode it is in."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from ..._table import number
from ..._trace import Graph, Operation
from .. import thresholds
from ..evidence import Evidence
from ..finding import Finding
from .catalogue import find, listed


def _modules(evidence: Evidence) -> dict[str, _BatchNorm]:
    return {n: m for n, m in evidence.model.named_modules() if isinstance(m, _BatchNorm)}


def bias(evidence: Evidence) -> Iterator[Finding]:
    """Layers whose bias the normalization right after them removes."""
    if evidence.graph is None:
        return
    modules = dict(evidence.model.named_modules())
    found = []
    for layer in evidence.graph:
        own = getattr(layer.module, "bias", None)
        if layer.normalization is None or not isinstance(own, Tensor) or layer.kind == "recurrent":
            continue
        norm = modules[layer.normalization]
        single = isinstance(norm, nn.GroupNorm) and norm.num_groups == own.numel()
        if not (single or isinstance(norm, _BatchNorm | _InstanceNorm)):
            continue  # it does not subtract each channel's own mean
        if isinstance(layer.module, nn.Linear) and isinstance(norm, _InstanceNorm):
            continue
        found.append((layer.name, own.numel()))
    if found:
        names, count = [name for name, _ in found], sum(n for _, n in found)
        message = (
            f"{len(found)} layer{'s' if len(found) != 1 else ''} with a bias right before a normalization "
            f"({listed(names)}): {count} parameters without effect."
        )
        yield find("bias-before-normalization", "note", names[0], message, layers=len(found), parameters=count)


def dropout(evidence: Evidence) -> Iterator[Finding]:
    """Dropout from which the values reach a batch normalization without another normalization in between."""
    graph = evidence.graph
    if graph is None:
        return
    for operation in graph.operations:
        reached = _first_batch_norm(graph, operation) if _is_dropout(operation) else ""
        if reached:
            rate = getattr(operation.target, "p", None)
            drops = "" if rate is None else f", which drops {100 * float(rate):.0f} %,"
            message = f"The values of {operation.name}{drops} reach the batch normalization {reached}."
            numbers = {} if rate is None else {"p": float(rate)}
            yield find("dropout-before-batch-norm", "warning", operation.name, message, **numbers)


def _is_dropout(operation: Operation) -> bool:
    if isinstance(operation.target, nn.Module):
        name = type(operation.target).__name__.lower()
        return "dropout" in name and bool(getattr(operation.target, "p", 1) or 0)
    return operation.kind == "other" and "dropout" in operation.name


def _first_batch_norm(graph: Graph, start: Operation) -> str:
    waiting, seen = list(start.users), set[int]()
    while waiting:
        operation = graph.operations[waiting.pop()]
        if operation.index in seen:
            continue
        seen.add(operation.index)
        if isinstance(operation.target, _BatchNorm):
            return operation.name
        if isinstance(operation.target, nn.GroupNorm | nn.LayerNorm | _InstanceNorm):
            continue
        waiting.extend(operation.users)
    return ""


def small_batch(evidence: Evidence) -> Iterator[Finding]:
    """Batch statistics of few examples."""
    if not _modules(evidence):
        return
    facts = [f for f in evidence.norms if f.name in _modules(evidence)]
    examples = min((f.examples for f in facts), default=evidence.batch_size)
    values = min((f.values for f in facts), default=evidence.batch_size)
    if evidence.failure is None and examples >= thresholds.BATCH_SMALL:
        return
    severe = evidence.failure is not None or examples <= thresholds.BATCH_SEVERE
    message = f"Batch statistics of {examples} example{'s' if examples != 1 else ''}, {values} values a channel"
    if evidence.failure is not None:
        message += f"; training mode refuses the batch: {evidence.failure.split(chr(10))[0][:100]}"
    layer = facts[0].name if facts else next(iter(_modules(evidence)))
    yield find("batch-norm-small-batch", severe, layer, f"{message}.", examples=examples, values=values)


def eval_mode(evidence: Evidence) -> Iterator[Finding]:
    """Batch normalization in eval mode although the model is being trained."""
    training = evidence.model.training
    if not training and evidence.optimizer is None:
        return
    found = []
    for name, module in _modules(evidence).items():
        learns = not module.affine or any(p.requires_grad for p in module.parameters(recurse=False))
        meant = name in evidence.frozen or not learns
        if not module.training and module.track_running_stats and not meant:
            found.append(name)
    if found:
        of = "a model that is in training mode" if training else "a model that is given with its optimizer"
        message = f"{len(found)} of {len(_modules(evidence))} batch normalizations are in eval mode, in {of}."
        yield find("batch-norm-eval-mode", "warning", found[0], message, layers=len(found))


def running(evidence: Evidence) -> Iterator[Finding]:
    """Running statistics against those of the batches, in units of the batches'.

    After n steps with momentum m, the share (1 - m)^n of a running statistic is still its initial value, unless
    it was recalibrated, which leaves none of that. The two cannot be told apart, so a fit with either will do.
    """
    modules = _modules(evidence)
    for facts in evidence.norms:
        module = modules.get(facts.name)
        if module is None or module.running_mean is None or module.running_var is None:
            continue
        count = module.num_batches_tracked
        if count is not None and int(count) == 0 and not bool(module.running_mean.any()):
            continue  # nothing has been averaged yet
        mean, var = torch.stack(facts.means).mean(0), torch.stack(facts.variances).mean(0)  # (C,)
        alive = var > 1e-8 * var.max()
        if not bool(alive.any()) or not bool(torch.isfinite(var).all()):
            continue
        lag = (1 - module.momentum) ** int(count) if count is not None and module.momentum else 0.0
        shift, ratio = min(_distance(module, mean, var, alive, left) for left in (0.0, lag))
        if shift <= thresholds.RUNNING_SHIFT and ratio <= thresholds.RUNNING_RATIO:
            continue
        message = (
            f"The running means are {number(shift)} standard deviations from those of the batches on "
            f"average, the running variances differ by a factor of {number(ratio)}."
        )
        yield find("batch-norm-running-statistics", "warning", facts.name, message, shift=shift, ratio=ratio)


def _distance(module: _BatchNorm, mean: Tensor, var: Tensor, alive: Tensor, left: float) -> tuple[float, float]:
    """Distance of means in standard deviations, ratio of variances, where `left` of the start remains."""
    assert module.running_mean is not None and module.running_var is not None
    spread = (var + module.eps).sqrt()
    shift = ((module.running_mean.float() - (1 - left) * mean) / spread)[alive].abs().mean()
    expected = left + (1 - left) * var
    logs = ((module.running_var.float().clamp(min=0) + module.eps) / (expected + module.eps)).log()
    return float(shift), math.exp(min(float(logs[alive].abs().mean()), 700.0))


ALWAYS = (bias, dropout, small_batch, eval_mode)
CHECKS = (running,)
