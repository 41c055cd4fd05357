"""What `diagnose` returns: the layers, the findings, and ways to read, draw, compare and keep them."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._table import number, table_html, table_text
from ..errors import ConvcraftError, unknown
from .finding import SEVERITIES, Finding
from .layer_statistics import HEADINGS, LayerStatistics, row

if TYPE_CHECKING:
    from ..plotting.chart import Chart

_FORMAT = 1
#: what is drawn in one panel, its quantities, and its scale
_PANELS = (
    ("standard deviation", ("std",), "log"),
    ("gradient at the output", ("gradient",), "log"),
    ("gradient at the weights", ("weight_gradient",), "log"),
    ("update / weights", ("update",), "log"),
    ("share", ("zeros", "dead", "saturated"), "linear"),
)


@dataclass(frozen=True)
class Report:
    """The result of `diagnose`; prints as a summary, a table of the layers and the findings."""

    model: str  #: name of the model's class
    parameters: int  #: number of parameters
    layers: tuple[LayerStatistics, ...]  #: statistics of each layer, in the order in which they run
    findings: tuple[Finding, ...]  #: the severe ones first
    loss: float | None = None  #: of the batches, and of a guess that gives every class the same probability
    uniform_loss: float | None = None
    batches: int = 1  #: how much data was looked at
    examples: int = 0
    device: str = "cpu"  #: of the model
    skipped: tuple[str, ...] = ()  #: what could not be looked at, and why
    torch: str = ""

    def of(self, severity: str) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    @property
    def severe(self) -> tuple[Finding, ...]:
        """The findings that keep the model from training, or make its result wrong."""
        return self.of("severe")

    @property
    def healthy(self) -> bool:
        """Whether nothing severe and no warning was found."""
        return all(finding.severity == "note" for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __contains__(self, name: object) -> bool:
        return any(finding.name == name for finding in self.findings)

    def __getitem__(self, name: str) -> LayerStatistics:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise unknown("layer", name, [layer.name for layer in self.layers])

    def summary(self) -> str:
        """One line: the model, the data, the loss and the number of findings."""
        loss = "no loss" if self.loss is None else f"loss {number(self.loss)}"
        if self.uniform_loss is not None:
            loss += f" (uniform guess {number(self.uniform_loss)})"
        counts = [f"{len(self.of(s))} {s}" for s in SEVERITIES if self.of(s)]
        return (
            f"{self.model}: {self.parameters:,} parameters on {self.device}, {self.examples} examples in "
            f"{self.batches} batch{'es' if self.batches != 1 else ''}, {loss}; "
            f"{', '.join(counts) if counts else 'nothing found'}"
        )

    def __str__(self) -> str:
        parts = [self.summary(), table_text(HEADINGS, [row(layer) for layer in self.layers])]
        parts += [str(finding) for finding in self.findings]
        parts += [f"not looked at: {text}" for text in self.skipped]
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        return f"<Report: {self.summary()}>"

    def _repr_html_(self) -> str:
        rows = []
        for finding in self.findings:
            place = f" at <code>{html.escape(finding.layer)}</code>" if finding.layer else ""
            rows.append(
                f"<li><strong>{finding.severity}: {html.escape(finding.name)}</strong>{place}. "
                f"{html.escape(finding.message)} <em>{html.escape(finding.why)}</em> "
                f"{html.escape(finding.remedy)} (see {finding.chapter})</li>"
            )
        skipped = "".join(f"<li>not looked at: {html.escape(text)}</li>" for text in self.skipped)
        return (
            f"<div class='convcraft-report'><p>{html.escape(self.summary())}</p>"
            f"<ul>{''.join(rows)}{skipped}</ul>"
            f"{table_html(HEADINGS, [row(layer) for layer in self.layers])}</div>"
        )

    def plot(self, *, alt: str | None = None, theme: str = "light") -> Chart:
        """Draw spread, gradient and shares against the layers; matplotlib is imported when this is called.

        Raises ConvcraftError when the report has no layers.
        """
        if not self.layers:
            raise ConvcraftError("plot: the report must have layers, got none; diagnose a model with some")
        alt = alt or f"{self.summary()}. Spread, gradients and shares of {len(self.layers)} layers in order."
        from .. import plotting

        panels: list[dict[str, Any]] = []
        for title, quantities, scale in _PANELS:
            x: dict[str, list[int]] = {}
            series: dict[str, list[float]] = {}
            for quantity in quantities:
                name = quantity if len(quantities) > 1 else " "  # one line needs no name
                points = [(i, getattr(layer, quantity)) for i, layer in enumerate(self.layers, 1)]
                points = [(i, v) for i, v in points if v is not None and math.isfinite(v)]
                points = [(i, v) for i, v in points if v or scale == "linear"]
                if points:
                    x[name], series[name] = [i for i, _ in points], [v for _, v in points]
            if series:
                panel = {"title": title, "x": x, "series": series, "yscale": scale, "markers": True}
                panels.append({**panel, "xlim": (0.5, len(self.layers) + 0.5)})
        return plotting.panels(panels, columns=2, alt=alt, xlabel="layer", theme=theme)

    def compare(self, other: Report) -> Comparison:
        """The findings gone, new and unchanged from this report to another, and the layers side by side.

        Raises ConvcraftError when other is not a Report.
        """
        if not isinstance(other, Report):
            raise ConvcraftError(
                f"compare: other must be a Report, got {type(other).__name__}; pass what diagnose returned"
            )
        return Comparison(self, other)

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as JSON text, written to a file where one is named; NaN and infinities as strings."""
        text = json.dumps({"format": _FORMAT, **_plain(asdict(self))}, indent=1, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> Report:
        """A report from JSON text, or from a file (a Path, or a name that ends in .json).

        Raises ConvcraftError when it is not a report, or has a later format.
        """
        text = source
        if isinstance(source, Path) or (source.strip().endswith(".json") and "{" not in source):
            text = Path(source).read_text(encoding="utf-8")
        try:
            values = json.loads(str(text))
            if values.pop("format") != _FORMAT:
                raise KeyError("format")
            values = _restored(values)
            values["layers"] = tuple(LayerStatistics.from_dict(layer) for layer in values["layers"])
            values["findings"] = tuple(Finding(**finding) for finding in values["findings"])
            values["skipped"] = tuple(values["skipped"])
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConvcraftError(
                f"from_json: source must be a report of format {_FORMAT}, got {str(text)[:40]!r} "
                f"({type(error).__name__}); pass what to_json wrote"
            ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _restored(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {k: _restored(item, k) for k, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    strings = ("name", "kind", "role", "layer", "message", "model")
    return float(value) if value in ("nan", "inf", "-inf") and key not in strings else value


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side, the first as "before"."""

    before: Report
    after: Report

    def _select(self, of: Report, other: Report, in_both: bool) -> tuple[Finding, ...]:
        known = {(finding.name, finding.layer) for finding in other.findings}
        return tuple(f for f in of.findings if ((f.name, f.layer) in known) == in_both)

    #: findings of the first report that the second does not have, of the second alone, and of both
    gone = property(lambda self: self._select(self.before, self.after, False))
    new = property(lambda self: self._select(self.after, self.before, False))
    kept = property(lambda self: self._select(self.after, self.before, True))

    def _rows(self) -> list[tuple[str, ...]]:
        after = {layer.name: layer for layer in self.after.layers}
        rows = []
        for old in self.before.layers:
            new = after.get(old.name)
            if new is None:
                continue
            cells = [old.name or "(model)", old.kind]
            for quantity in ("std", "dead", "gradient", "update"):
                cells += [number(getattr(old, quantity)), number(getattr(new, quantity))]
            rows.append(tuple(cells))
        return rows

    _HEADINGS = ("layer", "kind", "std", "then", "dead", "then", "gradient", "then", "update", "then")

    def __str__(self) -> str:
        lines = []
        for label, findings in (("gone", self.gone), ("new", self.new), ("stays", self.kept)):
            for finding in findings:
                place = f" at {finding.layer}" if finding.layer else ""
                lines.append(f"{label}: {finding.severity}, {finding.name}{place}")
        lines = lines or ["the same findings: none"]
        return "\n".join([*lines, "", table_text(self._HEADINGS, self._rows())])

    def _repr_html_(self) -> str:
        head = str(self).partition("\n\n")[0]
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in head.split("\n"))
        return f"<ul>{lines}</ul>{table_html(self._HEADINGS, self._rows())}"
