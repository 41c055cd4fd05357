"""The pages of the book by kind, and what is read from their notebooks."""

from __future__ import annotations

import functools
import json
import pathlib
import re
from collections.abc import Iterator

import nbformat
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))


def _listed(entries: list[dict]) -> Iterator[str]:
    for entry in entries:
        yield entry["file"]
        yield from _listed(entry.get("sections", []))


#: Every page by the name of its file, in the order of the table of contents.
PAGES = [CONTENTS["root"], *(page for part in CONTENTS["parts"] for page in _listed(part["chapters"]))]
NOTEBOOKS = sorted(BOOK.glob("*.ipynb")) + sorted(BOOK.glob("evidence/*.ipynb"))
EVIDENCE = [path for path in NOTEBOOKS if path.parent.name == "evidence"]
APART = ("how_a_claim_is_tested", "claims", "second_edition", "use_it_in_your_project")
CHAPTERS = [path for path in NOTEBOOKS if path not in EVIDENCE and path.stem not in APART]


@functools.cache
def read(path: pathlib.Path) -> nbformat.NotebookNode:
    """A notebook, which is read once for all tests: nothing may change it."""
    return nbformat.read(path, as_version=4)


def code_cells(nb: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(nb: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")


def headings(nb: nbformat.NotebookNode) -> list[str]:
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1", "", prose(nb), flags=re.M | re.S)
    return [m.strip() for m in re.findall(r"^#{1,3} (.*)$", text, flags=re.M)]


def output_text(cell: nbformat.NotebookNode) -> str:
    """All the text that a cell shows."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts += [
            value if isinstance(value, str) else json.dumps(value)
            for kind, value in output.get("data", {}).items()
            if "text" in kind
        ]
    return "\n".join(parts)


def paragraphs(text: str) -> list[str]:
    """Running text: no headings, lists, tables, quotations, directives, mathematics."""
    plain = re.sub(r"^(`{3,}|:{3,}).*?^\1\s*$|^\$\$.*?^\$\$[^\n]*$", "", text, flags=re.M | re.S)
    found = [part.strip() for part in re.split(r"\n\s*\n", plain)]
    return [part for part in found if part and not re.match(r"([#>|:`({$]|[-*+] |\d+\. )", part)]


def solution_cells(nb: nbformat.NotebookNode) -> dict[str, list]:
    """The code cells inside each solution."""
    found: dict[str, list] = {}
    label = None
    for cell in nb.cells:
        if cell.cell_type == "code" and label:
            found[label].append(cell)
        elif cell.cell_type == "markdown":
            for kind, name in re.findall(r"\{solution-(start|end)\} *([\w-]*)", cell.source):
                label = name if kind == "start" else None
                if label:
                    found[label] = []
    return found
