"""A table on a page: HTML in the book, aligned text in a plain editor."""

from collections.abc import Iterable, Sequence
from typing import Any

from convcraft._table import TextTable
from convcraft.errors import ConvcraftError


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], decides: str | None = None) -> TextTable:
    """Show rows under headings; `decides` names the column that the text argues from, which is set in bold.

    Cells are shown as ``str`` gives them; columns of numbers and intervals are aligned to the right and do
    not wrap. Five columns fit on a phone.

    Raises :class:`~convcraft.ConvcraftError` when a row has another number of cells than there are headings,
    or `decides` is not one of them.

    >>> table(["optimizer", "accuracy"], [["SGD", "0.91 [0.90, 0.92]"], ["Adam", "0.93 [0.92, 0.94]"]])
    optimizer           accuracy
    SGD        0.91 [0.90, 0.92]
    Adam       0.93 [0.92, 0.94]
    """
    names = tuple(headings)
    body = tuple(tuple(str(cell) for cell in row) for row in rows)
    for row in body:
        if len(row) != len(names):
            raise ConvcraftError(f"rows: expected {len(names)} cells, one for each heading, got {row!r}")
    if decides is not None and decides not in names:
        raise ConvcraftError(f"decides: expected one of the headings {list(names)}, got {decides!r}")
    return TextTable(names, body, None if decides is None else names.index(decides))
