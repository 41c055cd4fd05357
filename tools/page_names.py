"""Sphinx extension: write down what the book calls each figure, equation, exercise and section.

The learner's edition (learners_edition.py) takes its numbers from the file that this leaves beside the
pages, `_build/names.json`, so that notebook and page agree. One entry for each label: the page, the anchor,
and the text of a link to it ("Figure 7.2", "(7.3)", "Exercise 7.1", the title of a section).
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

KINDS = {"figure": "Figure {}", "table": "Table {}", "exercise": "Exercise {}", "displaymath": "({})"}


def names(env: Any) -> dict[str, dict[str, str]]:
    """Page, anchor and text of every label of the book."""
    std, math = env.get_domain("std"), env.get_domain("math")
    found: dict[str, dict[str, str]] = {}
    for label, (page, anchor, *_) in std.anonlabels.items():
        title = str(std.labels.get(label, ("", "", ""))[2])
        text = _number(env, page, anchor) or title
        if page and text:
            found[label] = {"page": page, "anchor": anchor, "text": text, "title": title}
    for label, (page, number) in math.equations.items():
        text = _number(env, page, f"equation-{label}") or f"({number})"
        found[label] = {"page": page, "anchor": f"equation-{label}", "text": text, "title": ""}
    for page, title in env.titles.items():
        found.setdefault(page, {"page": page, "anchor": "", "text": title.astext(), "title": title.astext()})
    return dict(sorted(found.items()))


def _number(env: Any, page: str, anchor: str) -> str:
    """What a numbered thing is called; "" for anything else."""
    for kind, numbers in env.toc_fignumbers.get(page, {}).items():
        if anchor in numbers:
            return KINDS.get(kind, "{}").format(".".join(map(str, numbers[anchor])))
    return ""


def write(app: Any, error: Exception | None) -> None:
    """Leave the names beside the pages."""
    if error is None and app.builder.format == "html":
        path = pathlib.Path(app.outdir).parent / "names.json"
        path.write_text(json.dumps(names(app.env), indent=1, ensure_ascii=False) + "\n", "utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
