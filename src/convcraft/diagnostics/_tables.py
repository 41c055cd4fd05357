"""Aligned tables as text and as HTML, and numbers short enough for them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

ABSENT = "-"


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"


def share(value: float | None) -> str:
    """A percentage, or a dash."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{100 * value:.1f} %"


def table_text(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first two to the left, the numbers to the right."""
    lines = [tuple(headings), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def table_html(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as an HTML table."""
    head = "".join(f"<th>{html.escape(h)}</th>" for h in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
