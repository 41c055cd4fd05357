"""A list of dataclasses that prints as an aligned table."""

from __future__ import annotations

import html
from typing import Generic, TypeVar

Row = TypeVar("Row")


class Table(list[Row], Generic[Row]):
    """A list whose repr is a table; a subclass says the headings and the cells of a row."""

    headings: tuple[str, ...] = ()

    def cells(self, row: Row) -> tuple[str, ...]:
        """The text of the cells of one row."""
        return (str(row),)

    def __repr__(self) -> str:
        rows = [self.headings, *(self.cells(row) for row in self)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.headings))]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in self.headings)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in self.cells(row)) + "</tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
