"""Two reports side by side."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._tables import number, table_html, table_text
from .finding import Finding

if TYPE_CHECKING:
    from .report import Report

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side, the first as "before"."""

    before: Report
    after: Report

    def _keys(self, report: Report) -> dict[tuple[str, str], Finding]:
        return {(finding.name, finding.layer): finding for finding in report.findings}

    @property
    def gone(self) -> tuple[Finding, ...]:
        """Findings of the first report that the second has not."""
        after = self._keys(self.after)
        return tuple(f for key, f in self._keys(self.before).items() if key not in after)

    @property
    def new(self) -> tuple[Finding, ...]:
        """Findings of the second report that the first has not."""
        before = self._keys(self.before)
        return tuple(f for key, f in self._keys(self.after).items() if key not in before)

    @property
    def kept(self) -> tuple[Finding, ...]:
        """Findings of both, as the second has them."""
        before = self._keys(self.before)
        return tuple(f for key, f in self._keys(self.after).items() if key in before)

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
        return "\n".join(
            [*(lines or ["the same findings: none"]), "", table_text(self._HEADINGS, self._rows())]
        )

    def _repr_html_(self) -> str:
        head = str(self).partition("\n\n")[0]
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in head.split("\n"))
        return f"<ul>{lines}</ul>{table_html(self._HEADINGS, self._rows())}"
