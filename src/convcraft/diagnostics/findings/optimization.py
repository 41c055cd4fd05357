"""Gradients that do not arrive, steps that are too large or too small, and decay where it does not belong."""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn.modules.batchnorm import _NormBase

from .. import thresholds
from .._evidence import Evidence
from .._tables import number
from ..finding import Finding
from .catalogue import find

__all__ = ["ALWAYS", "CHECKS"]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")


def no_gradient(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that backward does not reach, or reaches with zeros only."""
    facts = evidence.gradients
    missing = [fact.name for fact in facts if not fact.given]
    if missing:
        everything = len(missing) == len(facts)
        yield find(
            "no-gradient",
            "severe" if everything else "warning",
            missing[0].rpartition(".")[0],
            f"{len(missing)} of {len(facts)} parameters that require a gradient get none: "
            f"{_listed(missing)}.",
            parameters=len(missing),
        )
    normed = {layer.name for layer in evidence.graph or () if layer.normalization is not None}
    silent = [fact.name for fact in facts if fact.given and fact.norm == 0]
    silent = [n for n in silent if not (n.endswith(".bias") and n.removesuffix(".bias") in normed)]
    # zeros in the last layer or in the scale of a branch hold the gradient back for one step, on purpose
    zeros = any(fact.size == 0 and not fact.name.endswith("bias") for fact in facts)
    if silent and evidence.nonfinite is None:
        everything = len(silent) + len(missing) == len(facts)
        yield find(
            "no-gradient",
            "note" if zeros and not everything else "severe" if everything else "warning",
            silent[0].rpartition(".")[0],
            f"{len(silent)} of {len(facts)} parameters get a gradient of exactly zero: {_listed(silent)}."
            + (" Weights of zero elsewhere may explain it." if zeros else ""),
            parameters=len(silent),
        )


def _held(evidence: Evidence) -> set[int] | None:
    groups = getattr(evidence.optimizer, "param_groups", None)
    return None if groups is None else {id(p) for group in groups for p in group["params"]}


def not_optimized(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that require a gradient and that the optimizer does not hold."""
    held = _held(evidence)
    if held is None:
        return
    wanted = [(n, p) for n, p in evidence.model.named_parameters() if p.requires_grad]
    missing = [name for name, p in wanted if id(p) not in held]
    if missing:
        everything = len(missing) == len(wanted)
        yield find(
            "not-optimized",
            "severe" if everything else "warning",
            missing[0].rpartition(".")[0],
            f"The optimizer does not hold {len(missing)} of {len(wanted)} parameters: {_listed(missing)}.",
            parameters=len(missing),
        )


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
        yield find(
            "decayed-biases-and-norms",
            "note",
            "",
            f"Weight decay {number(rate)} acts on {len(names)} biases and scales: {_listed(names)}.",
            parameters=len(names),
            weight_decay=rate,
            normalizations=norms,
        )


def updates(evidence: Evidence) -> Iterator[Finding]:
    """The change of the weights in one step over the weights."""
    found = [layer for layer in evidence.layers if layer.update is not None]
    sizes = {layer.name: layer.update for layer in found if layer.update is not None}
    finite = {name: u for name, u in sizes.items() if u != float("inf")}
    if not finite:
        return
    largest = max(finite, key=lambda name: finite[name])
    if finite[largest] > thresholds.UPDATE_LARGE:
        yield find(
            "update-too-large",
            "severe" if finite[largest] > thresholds.UPDATE_SEVERE else "warning",
            largest,
            f"One step changes the weights of {largest} by {number(finite[largest])} of their norm; "
            f"{number(thresholds.UPDATE_USUAL)} is usual.",
            ratio=finite[largest],
        )
    fastest = finite[largest]
    if fastest < thresholds.UPDATE_SMALL:
        yield find(
            "update-too-small",
            "warning",
            largest,
            f"One step changes no layer's weights by more than {number(fastest)} of their norm; "
            f"{number(thresholds.UPDATE_USUAL)} is usual.",
            ratio=fastest,
        )


ALWAYS = (no_gradient, not_optimized, decay)
CHECKS = (updates,)
