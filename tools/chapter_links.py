"""Sphinx extension: where a docstring ends in "Chapter 2." or "Chapter: Activations.", link to that page.

A chapter that is not in the table of contents yet stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# "Chapter 2" or "Chapter: Activations." with whatever line break the docstring has before the number.
NAMED = re.compile(r"\bChapter(?:(?P<gap>\s+)(?P<number>\d+)\b|: (?P<title>[A-Za-z][\w ]*)(?=\.))")


def pages(documents: Iterable[str]) -> dict[str, str]:
    """The page of each chapter by its number ("2") and by the words of its file name ("activations")."""
    found = {}
    for document in documents:
        match = re.fullmatch(r"book/(\d+)_(\w+)", document)
        if match:
            found[str(int(match[1]))] = found[match[2].replace("_", " ")] = document
    if "book/claims" in documents:
        found["the claims ledger"] = "book/claims"
    return found


def link(text: str, known: dict[str, str]) -> str:
    """The text with a link at every chapter that has a page."""

    def replace(match: re.Match[str]) -> str:
        name = match["number"] or match["title"].lower()
        if name not in known:
            return match[0]
        shown = f"Chapter {match['number']}" if match["number"] else match["title"]
        before = "" if match["number"] else "Chapter: "
        return f"{before}:doc:`{shown} </{known[name]}>`"

    return NAMED.sub(replace, text)


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Change the lines of one docstring in place."""
    lines[:] = link("\n".join(lines), pages(app.env.found_docs)).split("\n")


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
