"""Units that say nothing: dead ones, and saturated ones."""

from collections.abc import Iterator

from ..._table import number
from .. import thresholds
from ..evidence import Evidence
from ..finding import Finding
from .catalogue import find


def dead(evidence: Evidence) -> Iterator[Finding]:
    """Units of a rectifier that were zero on everything seen."""
    for layer in evidence.layers:
        if layer.dead is None or layer.dead < thresholds.DEAD_WARNING:
            continue
        severity = "severe" if layer.dead >= thresholds.DEAD_SEVERE else "warning"
        message = (
            f"{len(layer.dead_units)} of {layer.units} units ({100 * layer.dead:.0f} %) were zero on all "
            f"{layer.seen:,} values seen of each."
        )
        if layer.seen < thresholds.DEAD_SEEN:
            severity = "note"
            message += " That is too little data to tell a dead unit from a quiet one."
        numbers = {"dead": layer.dead, "units": layer.units, "seen": layer.seen}
        yield find("dead-units", severity, layer.name, message, **numbers)


def saturated(evidence: Evidence) -> Iterator[Finding]:
    """Activations with two limits whose values lie at them; gates and the output are meant to."""
    last = max((i for i, layer in enumerate(evidence.layers) if layer.role == "weights"), default=-1)
    for i, layer in enumerate(evidence.layers):
        if layer.saturated is None or layer.gate or i > last:
            continue
        if layer.saturated < thresholds.SATURATED_WARNING:
            continue
        severity = "severe" if layer.saturated >= thresholds.SATURATED_SEVERE else "warning"
        if evidence.trained and severity == "warning":
            severity = "note"  # a trained unit may have made up its mind
        message = (
            f"{100 * layer.saturated:.0f} % of the values of {layer.kind} lie within "
            f"{100 * (1 - thresholds.SATURATED):.1f} % of a limit, where its slope is below a twentieth of "
            "its largest."
        )
        yield find("saturated-units", severity, layer.name, message, saturated=layer.saturated)


def attention(evidence: Evidence) -> Iterator[Finding]:
    """Attention that has chosen before it has learned anything."""
    for name, spread in evidence.attention.items():
        if evidence.trained or spread < thresholds.ATTENTION_WARNING:
            continue
        message = f"Before training, a query's scores have a standard deviation of {number(spread)} over its keys."
        yield find("saturated-attention", spread >= thresholds.ATTENTION_SEVERE, name, message, spread=spread)


CHECKS = (dead, saturated, attention)
