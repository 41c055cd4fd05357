"""The learner's edition: the chapters as notebooks that read well in JupyterLab and in any plain editor.

    python tools/learners_edition.py [--to learn] [--outputs] [--fresh]

The book's notebooks are written in MyST, which Sphinx understands and an editor shows raw. Here every role
and directive becomes plain Markdown: citations with authors and year, "Figure 7.2" and "(7.3)" as the book
numbers them, admonitions as block quotes, solutions folded. The numbers come from `_build/names.json`, which
building the book leaves behind. A file that was changed since it was written is never overwritten: with
--fresh it is kept under another name, else it stays as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import posixpath
import re
import sys
from collections.abc import Mapping

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell
from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.richtext import Text

from convcraft.lab import claims

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ROOT / "_build" / "names.json"
ROLE = re.compile(r"\{([\w:+-]+)\}`([^`]+)`")
TITLED = re.compile(r"(.*?)\s*<([^<>]+)>", re.DOTALL)
FENCE = re.compile(r"^\s*(`{3,}|:{3,}|~{3,})\s*(?:\{([\w:-]+)\}\s*(.*))?")
EQUATION = re.compile(r"\$\$(.*?)\$\$ *\(([\w:-]+)\)", re.DOTALL)
TARGET = re.compile(r"^\(([\w:-]+)\)=\n?", re.MULTILINE)
SPAN = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\]\([^)]*\))*)\]\{[^}]*\}")
SOLUTION = re.compile(
    r"^`{3,}\{solution-(?:start|end)\}[ \t]*([\w-]*)[^\n]*\n(?::[^\n]*\n)*`{3,}[ \t]*$", re.MULTILINE
)
INLINE_CODE = re.compile(r"(?<![}`])`[^`\n]+`")
FOLDED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
SETUP = """\
import importlib.util

if importlib.util.find_spec("convcraft") is None:
    print("This notebook needs convcraft. In a copy of its repository: make lab.")
    print("In a kernel of your own: %pip install 'PATH/TO/THE/COPY[plot,data]'")"""


class Edition:
    """Turns one notebook after the other into plain Markdown, by the names that the book gives to things."""

    def __init__(self, names: Mapping[str, Mapping[str, str]], references: BibliographyData) -> None:
        self.names, self.references = names, references
        self.page, self.solving, self.works = "", "", "References"
        self.cited: list[str] = []
        self.unknown: list[str] = []

    def convert(self, nb: nbformat.NotebookNode, page: str, outputs: bool) -> nbformat.NotebookNode:
        """The learner's edition of one notebook of the book; `page` is its name there."""
        self.page, self.cited, self.solving = page, [], ""
        has_list = any(re.search(r"^## References", cell.source, re.MULTILINE) for cell in nb.cells)
        self.works = "References" if has_list else "Works-cited"
        cells: list[nbformat.NotebookNode] = [new_code_cell(SETUP)]
        for cell in nb.cells:
            if cell.cell_type == "code":
                cells += self.code(cell, outputs)
            elif text := self.markdown(cell.source).strip():
                cells.append(new_markdown_cell(text))
        if self.cited and self.works != "References":
            listed = "\n".join(f"- {self.reference(key)}" for key in dict.fromkeys(self.cited))
            cells.append(new_markdown_cell(f"### Works cited\n\n{listed}"))
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number:03d}"
        found = nbformat.from_dict({**nb, "cells": cells})
        nbformat.validate(found)
        return found

    def code(self, cell: nbformat.NotebookNode, outputs: bool) -> list[nbformat.NotebookNode]:
        """A code cell, folded where the book folds it, and the caption of its figure beneath."""
        made = new_code_cell(cell.source)
        if outputs:
            made.outputs, made.execution_count = cell.outputs, cell.execution_count
        if self.solving or FOLDED & set(cell.metadata.get("tags", [])):
            made.metadata["jupyter"] = {"source_hidden": True}
        if self.solving:
            made.metadata["jupyter"]["outputs_hidden"] = True
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if not figure:
            return [made]
        number = self.names.get(figure.get("name", ""), {}).get("text", "Figure")
        caption = self.inline(" ".join(figure.get("caption", "").split()))
        return [made, new_markdown_cell(f"*{number}.* {caption}")]

    def markdown(self, text: str) -> str:
        """Markdown without any MyST in it; the text of a solution is folded."""
        text = EQUATION.sub(self.equation, TARGET.sub("", text))
        made = []
        for number, part in enumerate(SOLUTION.split(text)):
            if number % 2:  # the label of the exercise where a solution starts, "" where it ends
                self.solving = self.names.get(part, {}).get("text", "the exercise") if part else ""
            elif shown := self.blocks(part.split("\n")).strip():
                made.append(_folded(f"Solution to {self.solving}", shown) if self.solving else shown)
        return "\n\n".join(made)

    def equation(self, found: re.Match[str]) -> str:
        number = self.names.get(found[2], {}).get("text", "").strip("()")
        return f"$${found[1].rstrip()}\n\\tag{{{number}}}\n$$" if number else f"$${found[1]}$$"

    def blocks(self, lines: list[str]) -> str:
        """Lines with directives in them; those of a directive are taken out and rendered as a whole."""
        made: list[str] = []
        plain: list[str] = []

        def flush() -> None:
            made.append(self.inline("\n".join(plain)))
            plain.clear()

        at = 0
        while at < len(lines):
            fence = FENCE.match(lines[at])
            if not fence:
                plain.append(lines[at])
                at += 1
                continue
            end = _end(lines, at, fence[1])
            flush()
            inside = lines[at + 1 : end]
            if fence[2]:
                made.append(self.directive(fence[2], fence[3].strip(), inside))
            elif fence[1][0] == ":":
                made.append(self.blocks(inside))
            else:
                made.append("\n".join(lines[at : end + 1]))
            at = end + 1
        flush()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(made))

    def directive(self, name: str, title: str, lines: list[str]) -> str:
        """One directive in plain Markdown."""
        options = {}
        while lines and (option := re.match(r"^\s*:([\w-]+):\s*(.*)$", lines[0])):
            options[option[1]] = option[2].strip()
            lines = lines[1:]
        body, title = self.blocks(lines).strip(), self.inline(title)
        if name == "exercise-start":
            number = self.names.get(options.get("label", ""), {}).get("text", "Exercise")
            return f"#### {number}" + (f": {title}" if title else "") + "\n"
        if name == "predict-start":
            return f"> **Predict, then run.** {title}\n"
        if name in ("exercise-end", "predict-end"):
            return ""
        if name == "dropdown":
            return _folded(title or "More", body)
        if name == "math":
            return f"$$\n{chr(10).join(lines)}\n$$"
        if name in ("bibliography", "tableofcontents"):
            return ""
        if name == "code-block":
            return f"```{title}\n{chr(10).join(lines)}\n```"
        head = title if name == "admonition" else f"{name.capitalize()}. {title}".rstrip(". ")
        return "\n".join(f"> {line}".rstrip() for line in [f"**{head}**", "", *body.split("\n")]) + "\n"

    def inline(self, text: str) -> str:
        """Text without directives: its roles become links, its spans with attributes plain text."""
        kept: list[str] = []

        def keep(code: re.Match[str]) -> str:
            kept.append(code[0])
            return f"\0{len(kept) - 1}\0"

        text = INLINE_CODE.sub(keep, ROLE.sub(self.role, text))
        text = SPAN.sub(r"\1", text)
        return re.sub("\0(\\d+)\0", lambda place: kept[int(place[1])], text)

    def role(self, found: re.Match[str]) -> str:
        """What a role says, as plain Markdown."""
        role, content = found[1], found[2]
        titled = TITLED.fullmatch(content)
        shown, target = (titled[1], titled[2]) if titled else ("", content)
        if role.startswith("cite"):
            return self.citation(role, [key.strip() for key in content.split(",")])
        if role == "download":
            return f"{shown or target} (`book/{target}`)"
        if role in ("ref", "numref", "eq", "doc"):
            return self.link(role, shown, target)
        if role == "claim":
            claim = claims.load()[target]
            return f"**{claim.label}.** {shown or claim.claim} (`{target}` in the ledger)"
        self.unknown.append(f"{self.page}: {found[0]}")
        return f"`{shown or target}`"

    def link(self, role: str, shown: str, target: str) -> str:
        page = posixpath.normpath(posixpath.join("/", posixpath.dirname(self.page), target)).lstrip("/")
        place = self.names.get(page if role == "doc" else target)
        if place is None:
            self.unknown.append(f"{self.page}: {target}")
            return shown or target
        text = place["text"]
        if role == "numref" and "%s" in shown:
            text = shown.replace("%s", re.sub(r"^\D*", "", text))
        elif shown:
            text = shown
        if role == "numref" or role == "eq":
            return text
        if place["page"] == self.page and not place["title"]:
            return text
        there = os.path.relpath(place["page"], os.path.dirname(self.page)) + ".ipynb"
        heading = place["title"].replace(" ", "-")
        return f"[{text}]({'' if place['page'] == self.page else there}#{heading})"

    def citation(self, role: str, keys: list[str]) -> str:
        self.cited += [key for key in keys if key in self.references.entries]
        texts = []
        for key in keys:
            entry = self.references.entries.get(key)
            if entry is None:
                self.unknown.append(f"{self.page}: {key}")
                texts.append(key)
                continue
            year = entry.fields.get("year", "")
            about = f"{_authors(entry)} ({year})" if role == "cite:t" else f"{_authors(entry)}, {year}"
            texts.append(f'[{about}](#{self.works} "{_title(entry)}")')
        joined = "; ".join(texts)
        return joined if role == "cite:t" else f"({joined})"

    def reference(self, key: str) -> str:
        entry = self.references.entries[key]
        names = [_plain(" ".join([*p.last_names, *p.first_names])) for p in entry.persons.get("author", [])]
        where = [entry.fields[f] for f in ("journal", "booktitle", "publisher", "note") if f in entry.fields]
        parts = [f"{', '.join(names)} ({entry.fields.get('year', '')})", f"*{_title(entry)}*", *where[:1]]
        return ". ".join(map(_plain, parts)) + "."


def _folded(title: str, body: str) -> str:
    """Text that opens on a click, its title in bold."""
    return f"<details>\n<summary><b>{title}</b></summary>\n\n{body}\n\n</details>\n"


def _end(lines: list[str], start: int, fence: str) -> int:
    """The line that closes the fence opened at `start`."""
    closing = re.compile(rf"^\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")
    return next((at for at in range(start + 1, len(lines)) if closing.match(lines[at])), len(lines))


def _plain(text: str) -> str:
    return str(Text.from_latex(text)).replace('"', "'")


def _title(entry: Entry) -> str:
    return " ".join(_plain(entry.fields.get("title", "")).split())


def _authors(entry: Entry) -> str:
    people = entry.persons.get("author", [])
    names = [_plain(" ".join(person.prelast_names + person.last_names)) for person in people]
    return names[0] + " et al." if len(names) > 2 else " and ".join(names)


class Folder:
    """The folder of the learner's edition, with a note of what was written into it."""

    NOTE = ".edition.json"

    def __init__(self, folder: pathlib.Path, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh
        note = folder / self.NOTE
        self.written: dict[str, str] = json.loads(note.read_text("utf-8")) if note.exists() else {}

    def write(self, name: str, text: str) -> str:
        """Write a file unless the learner has changed it; what was done, in a word or two."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text("utf-8") if path.exists() else None
        if before == text:
            return "as it was"
        done = "written"
        if before is not None and _digest(before) != self.written.get(name):
            if not self.fresh:
                return "kept: you have changed it (make lab FRESH=1 puts a new one beside yours)"
            mine = next(
                other
                for number in range(1, 1000)
                if not (other := path.with_stem(f"{path.stem}.mine-{number}")).exists()
            )
            path.rename(mine)
            done = f"written; yours is now {mine.name}"
        path.write_text(text, "utf-8")
        self.written[name] = _digest(text)
        (self.folder / self.NOTE).write_text(json.dumps(self.written, indent=1) + "\n", "utf-8")
        return done


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pages() -> list[pathlib.Path]:
    """The notebooks of the book's table of contents, without the two that are made of the ledger."""
    listed = re.findall(r"file: (\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
    found = [ROOT / f"{page}.ipynb" for page in listed]
    return [path for path in found if path.exists() and path.stem not in ("claims", "second_edition")]


def convert_all(outputs: bool) -> tuple[dict[str, str], list[str]]:
    """The text of every notebook of the edition by its path, and what could not be resolved."""
    edition = Edition(json.loads(NAMES.read_text("utf-8")), parse_file(str(ROOT / "book" / "references.bib")))
    found = {}
    for path in pages():
        page = path.relative_to(ROOT).with_suffix("").as_posix()
        made = edition.convert(nbformat.read(path, as_version=4), page, outputs)
        found[path.relative_to(ROOT / "book").as_posix()] = nbformat.writes(made) + "\n"
    return found, edition.unknown


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", default="learn", help="the folder to write to (default: learn)")
    parser.add_argument("--outputs", action="store_true", help="keep the stored outputs (default: cleared)")
    parser.add_argument("--fresh", action="store_true", help="set aside what you have changed; write it anew")
    arguments = parser.parse_args()
    if not NAMES.exists():
        print("The book's numbers are missing: build it first (make book).", file=sys.stderr)
        return 1
    texts, unknown = convert_all(arguments.outputs)
    folder = Folder(ROOT / arguments.to, arguments.fresh)
    for name, text in texts.items():
        print(f"{arguments.to}/{name}: {folder.write(name, text)}")
    print("\n".join(f"unknown: {what}" for what in unknown), file=sys.stderr, end="\n" if unknown else "")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
