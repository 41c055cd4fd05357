"""Training and evaluation that compute different functions."""

from collections.abc import Iterator

from .. import thresholds
from ..evidence import Evidence
from ..finding import Finding
from .catalogue import find


def unexplained(evidence: Evidence) -> Iterator[Finding]:
    """A difference that stays when dropout and batch normalization are switched off in both modes."""
    facts = evidence.modes
    if facts is None:
        return
    if facts.random is not None and facts.random > thresholds.OUTPUT_TOLERANCE:
        share = f"{100 * facts.random:.1f} % of the output's norm"
        message = f"Two passes in eval mode over the same batch differ by {share}."
        if facts.noise:
            message += " They draw noise other than dropout, as a model that samples does."
        severity = "note" if facts.noise else "warning"
        yield find("random-evaluation", severity, facts.random_layer, message, difference=facts.random)
    if facts.unexplained is not None and facts.unexplained > thresholds.OUTPUT_TOLERANCE:
        message = (
            "With dropout and batch normalization switched off, the outputs in training and in evaluation "
            f"mode differ by {100 * facts.unexplained:.1f} % of the output's norm."
        )
        layer = facts.unexplained_layer
        yield find("train-eval-mismatch", "warning", layer, message, difference=facts.unexplained)


CHECKS = (unexplained,)
