"""The only renderer of tables, as aligned text and as HTML, and a list that prints as one."""

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

Row = TypeVar("Row")
#: A number, or several with what joins them: "3.2e-05", "12.5 %", "0.81 [0.79, 0.83]", "3/8", "1 to 2"
_NUMERIC = re.compile(r"(?:[\d\s.,:/%()\[\]<>=~*+±×−–-]|(?<=\d)e(?=[+-]?\d)|(?<=\d)x(?=\d)|\bto\b|inf|nan)+")


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    if value is None:
        return "-"
    plain = value == 0 or not math.isfinite(value) or 1e-3 <= abs(value) < 1e5
    return f"{value:.3g}" if plain else f"{value:.1e}"


def share(value: float | None) -> str:
    """A percentage, or a dash."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def _numeric(rows: Sequence[Sequence[str]], columns: int) -> list[bool]:
    """Which columns hold nothing but numbers; the first names the row."""
    return [i > 0 and all(not row[i] or _NUMERIC.fullmatch(row[i]) for row in rows) for i in range(columns)]


def table_text(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns, those of numbers to the right."""
    body = [tuple(row) for row in rows]
    right = _numeric(body, len(headings))
    lines = [tuple(headings), *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def table_html(headings: Sequence[str], rows: Iterable[Sequence[str]], decides: int | None = None) -> str:
    """The same as HTML; numbers and intervals are not wrapped, the column `decides` is bold."""
    body = [tuple(row) for row in rows]
    rules = [["text-align:right", "white-space:nowrap"] * right for right in _numeric(body, len(headings))]
    if decides is not None:
        rules[decides].append("font-weight:600")
    styles = [f' style="{";".join(rule)}"' if rule else "" for rule in rules]

    def line(cells: Sequence[str], tag: str, scope: str = "") -> str:
        return "".join(
            f"<{tag}{scope}{style}>{html.escape(cell)}</{tag}>" for cell, style in zip(cells, styles, strict=True)
        )

    lines = "".join(f"<tr>{line(row, 'td')}</tr>" for row in body)
    head = line(headings, "th", ' scope="col"')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


class Table(list[Row], Generic[Row]):
    """A list whose repr is a table; a subclass says the headings and the cells of a row."""

    headings: tuple[str, ...] = ()
    decides: int | None = None  # the column that is bold

    def cells(self, row: Row) -> tuple[str, ...]:
        """The text of the cells of one row."""
        return (str(row),)

    def __repr__(self) -> str:
        return table_text(self.headings, map(self.cells, self))

    def _repr_html_(self) -> str:
        return table_html(self.headings, map(self.cells, self), self.decides)


class TextTable(Table[tuple[str, ...]]):
    """Rows of text under headings of their own."""

    def __init__(self, headings: Iterable[str], rows: Iterable[tuple[str, ...]], decides: int | None = None) -> None:
        super().__init__(rows)
        self.headings, self.decides = tuple(headings), decides

    def cells(self, row: tuple[str, ...]) -> tuple[str, ...]:
        return row
