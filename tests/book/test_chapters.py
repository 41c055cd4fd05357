"""What every chapter must be: run from top to bottom, whole, with small cells and short paragraphs."""

from __future__ import annotations

import json
import re
import statistics

import nbformat
import pytest
from pages import (
    CHAPTERS,
    EVIDENCE,
    NOTEBOOKS,
    code_cells,
    headings,
    output_text,
    paragraphs,
    prose,
    read,
    solution_cells,
    tags,
)

SECTIONS = ("In practice", "Exercises", "What we do not know", "References")
CASE_STUDIES = ("images", "recurrent_networks", "recommenders", "series", "generation", "outlook")
MOST_OUTPUT = 250_000  # bytes of one cell
WHOLE_LEDGER = (
    600_000  # bytes of the one cell that shows every claim, with its criterion, outcomes and amendments
)
LONGEST_CELL, MEDIAN_CELL, WIDEST = 25, 8, 80  # lines of code; columns
LONG_PARAGRAPH = 90  # words
MOST_WORDS, MOST_BADGES = 5_000, 12


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request):
    return read(request.param)


@pytest.fixture(params=CHAPTERS, ids=lambda p: p.stem)
def chapter(request):
    return read(request.param)


@pytest.fixture(params=EVIDENCE, ids=lambda p: p.stem)
def evidence(request):
    return read(request.param)


def lines_of(source: str) -> int:
    return sum(bool(line.strip()) for line in source.splitlines())


def test_there_are_chapters():
    assert {"convolutional_networks", "activations"} <= {path.stem for path in CHAPTERS}


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
            assert "raises-exception" in tags(c), c.source


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
    longest = max(code_cells(chapter), key=lambda c: lines_of(c.source))
    assert lines_of(longest.source) <= LONGEST_CELL, longest.source[:200]
    shown = [lines_of(c.source) for c in code_cells(chapter) if "hide-input" not in tags(c)]
    assert statistics.median(shown) <= MEDIAN_CELL


def test_paragraphs_are_short(chapter):
    words = sorted(len(p.split()) for p in paragraphs(prose(chapter)))
    assert len(words) >= 20, "so few paragraphs that there is hardly any text"
    long = [p for p in paragraphs(prose(chapter)) if len(p.split()) > LONG_PARAGRAPH]
    assert len(long) <= 0.1 * len(words), f"{len(long)} of {len(words)} too long, as: {long[0][:200]}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_sections(path):
    """The parts that every chapter has, in their order."""
    found = headings(read(path))
    places = []
    for section in SECTIONS:
        match = [i for i, h in enumerate(found) if section.lower() in h.lower()]
        assert match, f"no section {section!r}; the headings are {found}"
        places.append(match[0])
    assert places == sorted(places), f"sections out of order: {found}"


def test_the_summary_comes_first(chapter):
    """One bold paragraph below the title: what the reader will know, with numbers."""
    text = paragraphs(chapter.cells[0].source)[0]
    assert text.startswith("**") and text.endswith("**") and re.search(r"\d", text), text


def test_code_fits_the_page(chapter):
    wide = [line for c in code_cells(chapter) for line in c.source.splitlines() if len(line) > WIDEST]
    assert wide == []


def test_evidence_code_fits_the_page(evidence):
    wide = [line for c in code_cells(evidence) for line in c.source.splitlines() if len(line) > WIDEST]
    assert wide == []
    assert max(lines_of(c.source) for c in code_cells(evidence)) <= LONGEST_CELL


def test_folded_code_says_what_it_does(chapter):
    for c in code_cells(chapter):
        if "hide-input" in tags(c):
            title = c.metadata.get("mystnb", {}).get("code_prompt_show", "")
            assert len(title.split()) >= 3, f"no title: {c.source[:80]}"


def test_a_chapter_is_short_and_settles_nothing(chapter):
    words = len(re.sub(r"^(`{3,}|\$\$).*?^\1\s*$", "", prose(chapter), flags=re.M | re.S).split())
    assert words <= MOST_WORDS
    assert not any(re.search(r"\b(settle|open_claim)\(", c.source) for c in code_cells(chapter))
    assert 1 <= len(re.findall(r"\{claim\}`", prose(chapter))) <= MOST_BADGES


def test_evidence_leads_back_to_its_chapter(evidence):
    assert re.search(r"\{doc\}`[^`]*<\.\./\w+>`|\{doc\}`\.\./\w+`", evidence.cells[0].source)


def test_a_prediction_has_a_question_and_no_heading(chapter):
    inside = False
    for line in prose(chapter).splitlines():
        if fence := re.match(r"```\{predict-(start|end)\} *(.*)", line):
            kind, question = fence.groups()
            assert inside == (kind == "end"), f"predictions do not nest: {question}"
            inside = kind == "start"
            assert not inside or question.rstrip().endswith("?"), question
            assert "`" not in question, f"a fence ends at a backtick: {question}"
        assert not (inside and re.match("#+ ", line)), line
    assert not inside


def test_equations_are_numbered_where_cited(chapter):
    text = prose(chapter)
    labels = set(re.findall(r"\$\$ *\(([\w:-]+)\)", text)) | set(re.findall(r":label: *(eq-[\w-]+)", text))
    for cited in re.findall(r"\{eq\}`([\w:-]+)`", text):
        assert cited in labels or cited.startswith("eq-"), f"{cited} is cited and not there"
    assert labels, "no numbered equation"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_exercises_have_checked_solutions(path):
    chapter = read(path)
    text = prose(chapter)
    exercises = re.findall(r"\{exercise(?:-start)?\}.*?:label: *([\w-]+)", text, flags=re.S)
    solved = re.findall(r"\{solution(?:-start)?\} *([\w-]+)", text)
    fewest = 4 if path.stem in CASE_STUDIES else 6
    assert len(set(exercises)) >= fewest, f"{len(set(exercises))} exercises"
    assert set(solved) == set(exercises), f"without solution: {set(exercises) - set(solved)}"
    assert len(re.findall(r"\{solution-start\}[^\n]*\n:class: *dropdown", text)) == len(solved), (
        "a solution is open"
    )
    for label, cells in solution_cells(chapter).items():
        assert any("✓" in output_text(c) for c in cells), (
            f"the solution of {label} shows no check that passed"
        )
        assert not any("✗" in output_text(c) and "✓" not in output_text(c) for c in cells), label


def test_no_plotting_outside_the_figure_helpers(chapter):
    for c in code_cells(chapter):
        assert not re.search(r"\bplt\.|matplotlib", c.source), (
            f"a page draws by convcraft.plotting: {c.source[:120]}"
        )
