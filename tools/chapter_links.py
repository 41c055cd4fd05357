"""Sphinx extension: where a docstring ends in "Chapter: Activations.", link to that page.

A chapter that is not in the table of contents yet stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# "Chapter: Activations." with whatever line break the docstring has before the title.
NAMED = re.compile(r"\bChapter:\s+(?P<title>[A-Za-z][\w ]*)(?=\.)")


def pages(documents: Iterable[str]) -> dict[str, str]:
    """The page of each chapter by the words of its file name ("activations")."""
    found = {d.removeprefix("book/").replace("_", " "): d for d in documents if re.fullmatch(r"book/\w+", d)}
    if "book/claims" in documents:
        found["the claims ledger"] = "book/claims"
    return found


def link(text: str, known: dict[str, str]) -> str:
    """The text with a link at every chapter that has a page."""

    def replace(match: re.Match[str]) -> str:
        page = known.get(match["title"].lower())
        return f"Chapter: :doc:`{match['title']} </{page}>`" if page else match[0]

    return NAMED.sub(replace, text)


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Change the lines of one docstring in place."""
    lines[:] = link("\n".join(lines), pages(app.env.found_docs)).split("\n")


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
