"""The loss at the start, what it is computed on, and what the first layer is fed."""

import math
from collections.abc import Iterator

from ..._table import number
from .. import thresholds
from ..evidence import Evidence
from ..finding import Finding
from .catalogue import find

#: Functions used to compute cosines.
_COSINES = {"normalize", "cosine_similarity", "norm", "vector_norm"}
#: (loss, content of its input) -> what is wrong with that
_MISUSED = {
    ("cross_entropy", "probabilities"): "probabilities: a softmax was applied before it",
    ("cross_entropy", "log-probabilities"): "log-probabilities: log-softmax is applied twice, which only costs time",
    ("nll_loss", "probabilities"): "probabilities, where it expects the output of log-softmax",
    ("binary_cross_entropy_with_logits", "probabilities"): "values within (0, 1): a sigmoid was applied before it",
}


def initial(evidence: Evidence) -> Iterator[Finding]:
    """The loss of an untrained classifier against that of a uniform guess."""
    if evidence.trained:
        return
    for call in evidence.loss_calls[:1]:
        if call.uniform is None or call.name not in ("cross_entropy", "nll_loss"):
            continue
        if call.name == "nll_loss" and call.content != "log-probabilities":
            continue
        # in nats per example, whatever the reduction
        excess = (call.value / call.uniform - 1) * math.log(max(call.classes, 2)) if call.uniform else 0.0
        if excess <= thresholds.INITIAL_LOSS_NOTE:
            continue
        severity: str | bool = call.value > thresholds.INITIAL_LOSS_SEVERE * call.uniform
        behind = evidence.graph.behind(-1) if evidence.graph else []
        if excess <= thresholds.INITIAL_LOSS_WARNING or _COSINES & {o.name for o in behind}:
            severity = "note"  # usual, or the logits are cosines, whose scale somebody has chosen
        message = (
            f"The loss is {number(call.value)}; a guess that gives each of the {call.classes} classes the "
            f"same probability has {number(call.uniform)}."
        )
        yield find("initial-loss", severity, "", message, loss=call.value, uniform=call.uniform, classes=call.classes)


def softmax(evidence: Evidence) -> Iterator[Finding]:
    """Probabilities where logits are expected, and the other way round."""
    for call in evidence.loss_calls[:1]:
        if what := _MISUSED.get((call.name, call.content)):
            severity = "severe" if call.content == "probabilities" else "warning"
            message = f"{call.name} is given {what}."
            yield find("softmax-before-cross-entropy", severity, "", message, classes=call.classes)


def unbounded(evidence: Evidence) -> Iterator[Finding]:
    """The negative log-likelihood of values that are not logarithms of probabilities."""
    for call in evidence.loss_calls[:1]:
        if call.name == "nll_loss" and call.content == "values":
            message = (
                "nll_loss is given values that are not the logarithms of probabilities; it is "
                f"{number(call.value)} and can fall without bound."
            )
            yield find("unbounded-loss", "severe", "", message, loss=call.value, classes=call.classes)


def inputs(evidence: Evidence) -> Iterator[Finding]:
    """Mean and spread of what the first layers are fed."""
    low, high = thresholds.INPUT_STD
    for facts in evidence.inputs:
        shift = abs(facts.mean) / facts.std if facts.std else 0.0
        # features that never vary (a border of zeros) have no scale to speak of
        varies = facts.is_batch and facts.smallest > 1e-6 * facts.largest
        ratio = facts.largest / facts.smallest if varies else 1.0
        wrong = []
        if facts.std and not low <= facts.std <= high:
            wrong.append(f"standard deviation {number(facts.std)}")
        if shift > thresholds.INPUT_SHIFT:
            wrong.append(f"mean {number(facts.mean)}, which is {number(shift)} standard deviations from 0")
        if ratio > thresholds.INPUT_RATIO:
            wrong.append(f"features with standard deviations from {number(facts.smallest)} to {number(facts.largest)}")
        if not wrong:
            continue
        very_low, very_high = thresholds.INPUT_STD_SEVERE
        severe = not very_low <= facts.std <= very_high
        message = f"The input of {facts.layer or 'the model'} has {' and '.join(wrong)}."
        yield find("inputs-not-standardized", severe, facts.layer, message, mean=facts.mean, std=facts.std, ratio=ratio)


def broadcast(evidence: Evidence) -> Iterator[Finding]:
    """An output and a target of different shapes, each value of one compared with each of the other."""
    if evidence.broadcast is not None:
        output, target = evidence.broadcast
        message = (
            f"The output has the shape {output} and the target {target}: every output is compared with every "
            "target, of all examples."
        )
        yield find("broadcast-loss", "severe", "", message, examples=output[0])


def output_range(evidence: Evidence) -> Iterator[Finding]:
    """Targets that the activation at the output cannot reach."""
    facts = evidence.output
    classes = any("entropy" in call.name or call.name == "nll_loss" for call in evidence.loss_calls)
    if facts is None or classes or facts.outside < thresholds.OUT_OF_REACH_WARNING:
        return
    message = (
        f"The model ends in {facts.kind}, from {number(facts.low)} to {number(facts.high)}; the targets go from "
        f"{number(facts.smallest)} to {number(facts.largest)}, {100 * facts.outside:.0f} % of them out of reach."
    )
    severe = facts.outside >= thresholds.OUT_OF_REACH_SEVERE
    numbers = {"outside": facts.outside, "smallest": facts.smallest, "largest": facts.largest}
    yield find("output-range", severe, facts.layer, message, **numbers)


CHECKS = (initial, softmax, unbounded, inputs, broadcast, output_range)
