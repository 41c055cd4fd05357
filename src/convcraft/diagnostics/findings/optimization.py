"""Gradients that do not arrive, steps that are too large or too small, and decay where it does not belong."""

import math
from collections.abc import Iterator

from torch.nn.modules.batchnorm import _NormBase

from ..._table import number
from .. import thresholds
from ..evidence import Evidence
from ..finding import Finding
from .catalogue import find, listed


def no_gradient(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that backward does not reach, or reaches with zeros only."""
    facts = evidence.gradients
    missing = [fact.name for fact in facts if not fact.given]
    if missing:
        everything = len(missing) == len(facts)
        count = f"{len(missing)} of {len(facts)} parameters"
        message = f"{count} that require a gradient get none: {listed(missing)}."
        yield find("no-gradient", everything, missing[0].rpartition(".")[0], message, parameters=len(missing))
    if evidence.nonfinite is not None:
        return
    # a gradient of exactly zero: held back for a step, without effect, or dead for good
    normed = {f"{layer.name}.bias" for layer in evidence.graph or () if layer.normalization is not None}
    silent = {f.name: f for f in facts if f.given and f.norm == 0 and f.name not in normed}
    unfed = [name for name in silent if _layer(name) in evidence.unfed]
    waiting = [name for name in silent if name in evidence.revived]
    dead = [name for name in silent if name not in evidence.revived and name not in unfed]
    zeros = [name for name in dead if silent[name].size == 0 and not name.endswith("bias")]
    everything = len(dead) + len(missing) == len(facts)
    if zeros and not everything:
        message = (
            f"{len(dead)} of {len(facts)} parameters get a gradient of exactly zero, and still do when the "
            f"others have moved: {listed(dead)}. All zero are {listed(zeros)}."
        )
        yield find("dead-branch", "severe", zeros[0].rpartition(".")[0], message, parameters=len(dead))
    elif dead:
        moving = {_layer(fact.name) for fact in facts if fact.norm > 0}
        whole = any(_layer(name) not in moving for name in dead)
        severity = "severe" if everything else "warning" if whole else "note"
        message = f"{len(dead)} of {len(facts)} parameters get a gradient of exactly zero: {listed(dead)}."
        yield find("no-gradient", severity, dead[0].rpartition(".")[0], message, parameters=len(dead))
    elif unfed:
        message = f"No example of the batch reaches {len(unfed)} of {len(facts)} parameters: {listed(unfed)}."
        yield find("no-gradient", "note", unfed[0].rpartition(".")[0], message, parameters=len(unfed))
    if waiting:
        message = (
            f"{len(waiting)} of {len(facts)} parameters get a gradient once the others have moved: {listed(waiting)}."
        )
        yield find("no-gradient", "note", waiting[0].rpartition(".")[0], message, parameters=len(waiting))


def _layer(parameter: str) -> str:
    """The layer that a parameter belongs to, also where its weight is computed from it."""
    module, computed, _ = parameter.partition(".parametrizations.")
    return module if computed else parameter.rpartition(".")[0]


def not_optimized(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that require a gradient but that the optimizer does not hold."""
    groups = getattr(evidence.optimizer, "param_groups", None)
    if groups is None:
        return
    held = {id(p) for group in groups for p in group["params"]}
    wanted = [(n, p) for n, p in evidence.model.named_parameters() if p.requires_grad]
    missing = [name for name, p in wanted if id(p) not in held]
    if missing:
        everything, layer = len(missing) == len(wanted), missing[0].rpartition(".")[0]
        message = f"The optimizer lacks {len(missing)} of {len(wanted)} parameters: {listed(missing)}."
        yield find("not-optimized", everything, layer, message, parameters=len(missing))


def decay(evidence: Evidence) -> Iterator[Finding]:
    """Weight decay on biases and on the scales of normalizations."""
    groups = getattr(evidence.optimizer, "param_groups", None)
    if groups is None:
        return
    decayed = {id(p): float(g.get("weight_decay", 0) or 0) for g in groups for p in g["params"]}
    names = [
        name
        for name, p in evidence.model.named_parameters()
        if p.dim() <= 1 and p.requires_grad and decayed.get(id(p), 0.0) > 0
    ]
    if names:
        norms = sum(isinstance(m, _NormBase) for m in evidence.model.modules())
        rate = max(decayed.values())
        message = f"Weight decay {number(rate)} acts on {len(names)} biases and scales: {listed(names)}."
        numbers = {"parameters": len(names), "weight_decay": rate, "normalizations": norms}
        yield find("decayed-biases-and-norms", "note", "", message, **numbers)


def updates(evidence: Evidence) -> Iterator[Finding]:
    """The change of the weights in one step over the weights, or over their usual size where that is more.

    Weights that started at zero are replaced by their first steps, as they should be.
    """
    ratios = {fact.name: fact.change / max(fact.size, fact.usual) for fact in evidence.steps}
    if not ratios:
        return
    name = max(ratios, key=lambda name: ratios[name])
    fastest, layer = ratios[name], name.rpartition(".")[0]
    usual = f"{number(thresholds.UPDATE_USUAL)} is usual."
    if fastest > thresholds.UPDATE_LARGE:
        message = f"One step changes {name} by {number(fastest)} of its norm; {usual}"
        yield find("update-too-large", fastest > thresholds.UPDATE_SEVERE, layer, message, ratio=fastest)
    fastest = max(fact.change / (fact.size or fact.usual) for fact in evidence.steps)
    limit = thresholds.UPDATE_SMALL_TRAINED if evidence.trained else thresholds.UPDATE_SMALL
    norms = {fact.name: fact.norm for fact in evidence.gradients}
    slope = max(norms.get(fact.name, 0.0) / (fact.size or fact.usual) for fact in evidence.steps)
    if fastest < limit and (fastest > 0 or slope > thresholds.SLOPE):  # else no rate moves these weights
        groups = getattr(evidence.optimizer, "param_groups", [])
        # a schedule may begin with next to nothing
        scheduled = any(float(group["lr"]) < float(group.get("initial_lr", 0.0)) for group in groups)
        rates = ", ".join(dict.fromkeys(number(float(group["lr"])) for group in groups))
        message = (
            f"One step changes no weight by more than {number(fastest)} of its norm; {usual} The learning "
            f"rate is {rates}."
        )
        yield find("update-too-small", "note" if scheduled else "warning", layer, message, ratio=fastest)


def rise(evidence: Evidence) -> Iterator[Finding]:
    """A step that raises the loss on the batch that it was made for."""
    facts, calls = evidence.stepped, evidence.loss_calls
    if evidence.negated:
        message = f"The loss is the negative of {calls[0].name}: each step raises what should fall."
        yield find("step-raises-loss", "severe", "", message, loss=evidence.loss or 0.0)
        return
    if facts is None or not math.isfinite(facts.before):
        return
    maximize = any(group.get("maximize") for group in getattr(evidence.optimizer, "param_groups", []))
    if maximize and not calls:
        return  # a reward, which is meant to rise
    constant = max((abs(call.uniform) for call in calls if call.uniform), default=0.0)
    times = (facts.after - facts.before) / max(abs(facts.before), constant / 10, 1e-12)
    up = facts.cosine > thresholds.UPHILL and (maximize or not evidence.trained)
    lost = not math.isfinite(facts.after) or times > thresholds.RISE_SEVERE
    if not (up or lost or times > thresholds.RISE_WARNING):
        return
    reason = " The optimizer maximizes." if maximize else " The step goes up the gradient." if up else ""
    moved = f"from {number(facts.before)} to {number(facts.after)}"
    message = f"One step takes the loss on its own batch {moved}.{reason}"
    yield find("step-raises-loss", up or lost, "", message, **vars(facts))


ALWAYS = (no_gradient, not_optimized, decay)
CHECKS = (updates, rise)
