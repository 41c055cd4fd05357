"""What `diagnose` looks for: one small module a family, each a list of checks on the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .. import _evidence
from ..finding import Finding
from . import losses, modes, norms, optimization, signals, units, weights
from .catalogue import KINDS, Kind, names

__all__ = ["CHECKS", "KINDS", "Kind", "find_all", "names"]

Check = Callable[["_evidence.Evidence"], Iterator[Finding]]

#: Checks that say something of a model whose values are not finite too.
ALWAYS: tuple[Check, ...] = (*signals.ALWAYS, *weights.ALWAYS, *norms.ALWAYS, *optimization.ALWAYS)
CHECKS: tuple[Check, ...] = (
    *signals.CHECKS,
    *units.CHECKS,
    *weights.CHECKS,
    *losses.CHECKS,
    *norms.CHECKS,
    *optimization.CHECKS,
    *modes.CHECKS,
)


def find_all(evidence: _evidence.Evidence) -> tuple[Finding, ...]:
    """Every finding, the severe ones first."""
    checks = ALWAYS if evidence.nonfinite is not None else (*ALWAYS, *CHECKS)
    found = [finding for check in checks for finding in check(evidence)]
    return tuple(sorted(found, key=lambda finding: finding.rank))
