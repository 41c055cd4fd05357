"""What `diagnose` looks for: one small module per family, each a list of checks on the evidence."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..evidence import Evidence
from ..finding import Finding
from . import losses, modes, norms, optimization, signals, weights
from .catalogue import KINDS, Kind, listed, names

__all__ = ["CHECKS", "KINDS", "Kind", "find_all", "names"]

Check = Callable[[Evidence], Iterator[Finding]]

#: Checks that also tell something about a model whose values are not finite.
ALWAYS: tuple[Check, ...] = (*signals.ALWAYS, *weights.ALWAYS, *norms.ALWAYS, *optimization.ALWAYS)
CHECKS: tuple[Check, ...] = (
    *signals.CHECKS, *weights.CHECKS, *losses.CHECKS, *norms.CHECKS, *optimization.CHECKS, *modes.CHECKS,
)  # fmt: skip


def find_all(evidence: Evidence) -> tuple[Finding, ...]:
    """The gravest finding of each kind, at its first layer, with a list of the others; the severe ones first."""
    checks = ALWAYS if evidence.nonfinite is not None else (*ALWAYS, *CHECKS)
    kinds: dict[str, list[Finding]] = {}
    for check in checks:
        for finding in check(evidence):
            kinds.setdefault(finding.name, []).append(finding)
    joined = []
    for found in kinds.values():
        gravest = min(found, key=lambda finding: finding.rank)
        others = [finding.layer or "the model" for finding in found if finding is not gravest]
        also = f" Also at {listed(others)}." if others else ""
        joined.append(replace(gravest, message=gravest.message + also))
    return tuple(sorted(joined, key=lambda finding: finding.rank))
