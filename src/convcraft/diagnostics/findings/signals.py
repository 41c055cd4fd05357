"""Signals: through depth and time, and in units that carry none."""

import math
from collections.abc import Iterator, Sequence
from statistics import linear_regression

from ..._table import number
from .. import thresholds
from ..evidence import Evidence
from ..finding import Finding
from .catalogue import find


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """The first place where a value is NaN or infinite."""
    found = evidence.nonfinite
    if found is not None:
        where = f" at {found.layer}" if found.layer else ""
        message = (
            f"The first value that is not finite ({found.kind}) is in {found.what}{where}; nothing else that "
            "depends on the values was judged."
        )
        yield find("not-finite", "severe", found.layer, message)


def fitted_factor(values: Sequence[float]) -> float:
    """Factor from the first to the last value of the straight line through the logarithms."""
    steps = range(len(values))
    slope = linear_regression(steps, [math.log(max(v, 1e-300)) for v in values]).slope
    return math.exp(min(max(slope * steps[-1], -700.0), 700.0))


def drift(evidence: Evidence) -> Iterator[Finding]:
    """The spread within the units, activation by activation."""
    readouts = ("softmax", "log_softmax", "softmin", "logsigmoid", "glu")
    found = [layer for layer in evidence.layers if layer.role == "activation" and not layer.gate]
    layers = [layer for layer in found if layer.kind not in readouts and layer.signal is not None]
    if len(layers) < thresholds.DRIFT_LAYERS:
        small = {layer.name for layer in evidence.graph or () if layer.residual}  # ends of branches, on purpose
        layers = [x for x in evidence.weight_layers()[:-1] if x.name.partition(":")[0] not in small]
    # a branch that ends in zeros, as at the start of a residual network, has no spread yet
    layers = [layer for layer in layers if layer.signal]
    values = [layer.signal for layer in layers if layer.signal is not None]
    if len(values) < thresholds.DRIFT_LAYERS:
        return
    factor = fitted_factor(values)
    away = max(factor, 1 / factor)
    if away < thresholds.DRIFT_WARNING:
        return
    message = (
        f"The standard deviation within a unit goes from {number(values[0])} at {layers[0].name} to "
        f"{number(values[-1])} at {layers[-1].name}: a factor of {number(factor)} over {len(values)} layers."
    )
    numbers = {"first": values[0], "last": values[-1], "factor": factor, "layers": len(values)}
    yield find("activation-drift", away >= thresholds.DRIFT_SEVERE, "", message, **numbers)


def gradient(evidence: Evidence) -> Iterator[Finding]:
    """The gradient's norm at the outputs of the layers with weights, first against last."""
    reached: dict[str, float] = {}  # a module called several times counts with its largest gradient
    for layer in evidence.weight_layers():
        name = layer.name.partition(":")[0]
        if layer.gradient is not None:
            reached[name] = max(layer.gradient, reached.get(name, 0.0))
    names, slopes = list(reached), list(reached.values())
    if len(slopes) >= 3 and slopes[-1] > 0:
        ratio = slopes[0] / slopes[-1]
        small, large = ratio < thresholds.VANISHING_WARNING, ratio > thresholds.EXPLODING_WARNING
        severe = ratio < thresholds.VANISHING_SEVERE or ratio > thresholds.EXPLODING_SEVERE
        weights = [p for name, p in evidence.model.named_parameters() if not name.endswith("bias")]
        matrices = [p.detach() for p in weights if p.dim() > 1]
        usual = [math.sqrt(p.shape[0] / p.numel()) if p.numel() else 0.0 for p in matrices]
        # zero, or so near that it may have been a few steps ago
        tiny = [not float(p.square().mean().sqrt()) > 0.1 * size for p, size in zip(matrices, usual, strict=True)]
        few = 0 < sum(tiny) <= len(matrices) / 3
        zeros = ratio == 0 and not all(bool(p.any()) for p in weights) or small and few  # these explain it
        if (small or large) and not zeros:
            message = (
                f"The gradient's norm is {number(slopes[0])} at {names[0]} and {number(slopes[-1])} at "
                f"{names[-1]}: a ratio of {number(ratio)} over {len(slopes)} layers."
            )
            kind = "vanishing-gradient" if small else "exploding-gradient"
            yield find(kind, severe, names[0], message, first=slopes[0], last=slopes[-1], ratio=ratio)
            return
    gradients = math.sqrt(sum(fact.norm**2 for fact in evidence.gradients))
    size = math.sqrt(sum(fact.size**2 for fact in evidence.gradients))
    if size and gradients / size > thresholds.GRADIENT_NORM_SEVERE:
        message = (
            f"The norm of all gradients is {number(gradients)}, that of all parameters {number(size)}: a "
            f"ratio of {number(gradients / size)}."
        )
        yield find("exploding-gradient", "severe", "", message, gradients=gradients, parameters=size)


def in_time(evidence: Evidence) -> Iterator[Finding]:
    """The gradient at the first step of a sequence against the largest."""
    slopes = {name: values for name, values in evidence.in_time.items() if len(values) > 2}
    for layer in evidence.weight_layers():  # a cell is called step by step
        name, _, call = layer.name.partition(":")
        if layer.kind == "recurrent" and layer.gradient is not None and name not in evidence.in_time:
            slopes.setdefault(name, []).append(layer.gradient)
    for name, values in slopes.items():
        ratio = values[0] / max(values) if max(values) > 0 else 1.0
        cut = ratio == 0 and len(values) < 64  # by a detach(), not by underflow
        if len(values) < 3 or ratio >= thresholds.TIME_NOTE or cut or values[-1] == 0:
            continue
        severity = "warning" if ratio < thresholds.TIME_WARNING else "note"
        message = (
            f"The gradient's norm is {number(max(values))} at most over {len(values)} steps of a sequence "
            f"and {number(values[0])} at the first: a ratio of {number(ratio)}."
        )
        yield find("gradient-vanishes-in-time", severity, name, message, ratio=ratio, steps=len(values))


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
        yield find("dead-units", severity, layer.name, message, dead=layer.dead, units=layer.units, seen=layer.seen)


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
            f"{100 * (1 - thresholds.SATURATED):.1f} % of a limit, where its slope is below a twentieth of its largest."
        )
        yield find("saturated-units", severity, layer.name, message, saturated=layer.saturated)


def attention(evidence: Evidence) -> Iterator[Finding]:
    """Attention that has chosen before it has learned anything."""
    for name, spread in evidence.attention.items():
        if evidence.trained or spread < thresholds.ATTENTION_WARNING:
            continue
        message = f"Before training, a query's scores have a standard deviation of {number(spread)} over its keys."
        yield find("saturated-attention", spread >= thresholds.ATTENTION_SEVERE, name, message, spread=spread)


ALWAYS = (not_finite,)
CHECKS = (drift, gradient, in_time, dead, saturated, attention)
