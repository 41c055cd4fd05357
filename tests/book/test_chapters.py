"""What every chapter must be: run from top to bottom, whole, with small cells and short paragraphs."""

from __future__ import annotations

import json
import pathlib
import re
import statistics

import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
CHAPTERS = [p for p in NOTEBOOKS if re.match(r"\d\d_", p.name)]
SECTIONS = (
    "What you will be able to do",
    "What the articles say",
    "In practice",
    "Exercises",
    "What we do not know",
    "References",
)
MOST_OUTPUT = 250_000  # bytes of one cell
WHOLE_LEDGER = (
    600_000  # bytes of the one cell that shows every claim, with its criterion, outcomes and amendments
)
LONGEST_CELL, MEDIAN_CELL = 25, 8  # lines of code
LONG_PARAGRAPH = 90  # words


def read(path: pathlib.Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request):
    return read(request.param)


@pytest.fixture(params=CHAPTERS, ids=lambda p: p.stem)
def chapter(request):
    return read(request.param)


def code_cells(nb):
    return [c for c in nb.cells if c.cell_type == "code"]


def prose(nb) -> str:
    return "\n\n".join(c.source for c in nb.cells if c.cell_type == "markdown")


def headings(nb) -> list[str]:
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1", "", prose(nb), flags=re.M | re.S)
    return [m.strip() for m in re.findall(r"^#{1,3} (.*)$", text, flags=re.M)]


def output_text(cell) -> str:
    """All the text that a cell shows."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts += [
            v if isinstance(v, str) else json.dumps(v)
            for k, v in output.get("data", {}).items()
            if "text" in k
        ]
    return "\n".join(parts)


def lines_of(source: str) -> int:
    return sum(bool(line.strip()) for line in source.splitlines())


def paragraphs(nb) -> list[str]:
    """Running text: no headings, lists, tables, quotations, directives, mathematics."""
    found = []
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^(`{3,}|:{3,}|\$\$).*?^\1\s*$", "", cell.source, flags=re.M | re.S)
            found += [p.strip() for p in re.split(r"\n\s*\n", text)]
    return [p for p in found if p and not re.match(r"([#>|:`({$]|[-*+] |\d+\. )", p)]


def test_there_are_chapters():
    assert [p.stem for p in CHAPTERS][:2] == ["01_convolutional_networks", "02_activations"]


def test_valid_and_run_in_order(notebook):
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert notebook.metadata.kernelspec.name == "python3"


def test_written_by_the_runner(notebook):
    """Nothing that an editor or a clock leaves behind: `make notebooks` was run last."""
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "mystnb"}, cell.metadata
        assert re.fullmatch(r"[0-9a-f]{10}(-\d+)?", cell.id), cell.id


def test_no_error_that_is_not_meant(notebook):
    for c in code_cells(notebook):
        if any(o.output_type == "error" for o in c.outputs):
            assert "raises-exception" in c.metadata.get("tags", []), c.source


def test_outputs_are_clean_and_small(notebook):
    for c in code_cells(notebook):
        text = json.dumps(c.outputs)
        most = WHOLE_LEDGER if c.source == "ledger_page.table()" else MOST_OUTPUT
        assert len(text) < most, f"{len(text)} bytes from {c.source[:60]!r}"
        assert not re.search(r"/(home|tmp|root|work|Users)/|[A-Z]:\\\\Users", text), c.source
        assert not any(o.get("name") == "stderr" for o in c.outputs), c.source
        assert "it/s]" not in text and "s/it]" not in text, (
            f"a progress bar in the output of {c.source[:60]!r}"
        )


def test_figures_have_number_caption_and_alt(notebook):
    for c in code_cells(notebook):
        if any("image/png" in o.get("data", {}) for o in c.outputs):
            meta = c.metadata.get("mystnb", {})
            interactive = any("text/html" in o.get("data", {}) for o in c.outputs)
            assert meta.get("image", {}).get("alt") or interactive, f"no alternative text: {c.source[:120]}"
            if not interactive:
                assert meta.get("figure", {}).get("name", "").startswith("fig-"), f"no name: {c.source[:120]}"
                assert len(meta["figure"].get("caption", "")) > 20, f"no caption: {c.source[:120]}"


def test_figures_are_cited(chapter):
    text = prose(chapter)
    for c in code_cells(chapter):
        name = c.metadata.get("mystnb", {}).get("figure", {}).get("name")
        assert name is None or f"`{name}`" in text or f"<{name}>" in text, f"{name} is never mentioned"


def test_code_cells_are_short(chapter):
    lengths = [lines_of(c.source) for c in code_cells(chapter)]
    longest = max(code_cells(chapter), key=lambda c: lines_of(c.source))
    assert max(lengths) <= LONGEST_CELL, f"{max(lengths)} lines: {longest.source[:200]}"
    assert statistics.median(lengths) <= MEDIAN_CELL


def test_paragraphs_are_short(chapter):
    words = sorted(len(p.split()) for p in paragraphs(chapter))
    assert len(words) >= 20, "so few paragraphs that there is hardly any text"
    long = [p for p in paragraphs(chapter) if len(p.split()) > LONG_PARAGRAPH]
    assert len(long) <= 0.1 * len(words), f"{len(long)} of {len(words)} too long, as: {long[0][:200]}"


def test_sections(chapter):
    """The parts that every chapter has, in their order."""
    found = headings(chapter)
    places = []
    for section in SECTIONS:
        match = [i for i, h in enumerate(found) if section.lower() in h.lower()]
        assert match, f"no section {section!r}; the headings are {found}"
        places.append(match[0])
    assert places == sorted(places), f"sections out of order: {found}"


def test_equations_are_numbered_where_cited(chapter):
    text = prose(chapter)
    labels = set(re.findall(r"\$\$ *\(([\w:-]+)\)", text)) | set(re.findall(r":label: *(eq-[\w-]+)", text))
    for cited in re.findall(r"\{eq\}`([\w:-]+)`", text):
        assert cited in labels or cited.startswith("eq-"), f"{cited} is cited and not there"
    assert labels, "no numbered equation"


def test_exercises_have_checked_solutions(chapter):
    text = prose(chapter)
    exercises = re.findall(r"\{exercise(?:-start)?\}.*?:label: *([\w-]+)", text, flags=re.S)
    solved = re.findall(r"\{solution(?:-start)?\} *([\w-]+)", text)
    assert len(set(exercises)) >= 6, f"{len(set(exercises))} exercises"
    assert set(solved) == set(exercises), f"without solution: {set(exercises) - set(solved)}"
    assert len(re.findall(r"\{solution-start\}[^\n]*\n:class: *dropdown", text)) == len(solved), (
        "a solution is open"
    )
    for label, cells in solution_cells(chapter).items():
        assert any("✓" in output_text(c) for c in cells), (
            f"the solution of {label} shows no check that passed"
        )
        assert not any("✗" in output_text(c) and "✓" not in output_text(c) for c in cells), label


def solution_cells(nb) -> dict[str, list]:
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


def test_no_plotting_outside_the_figure_helpers(chapter):
    for c in code_cells(chapter):
        assert not re.search(r"\bplt\.|matplotlib", c.source), (
            f"a page draws by convcraft.plotting: {c.source[:120]}"
        )
