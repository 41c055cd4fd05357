"""The learner's edition: plain notebooks that read well and run in JupyterLab."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pybtex.database import parse_string

from convcraft.lab import claims

ROOT = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("learners_edition", ROOT / "tools" / "learners_edition.py")
edition = importlib.util.module_from_spec(spec)
spec.loader.exec_module(edition)

MYST = re.compile(r"\{[\w:+-]+\}`|^\s*:{3,}|^\s*`{3,}\s*\{|^\([\w:-]+\)=|\$\$ *\(eq-|\]\{\.", re.MULTILINE)
NAMES = {
    "eq-a": {"page": "book/dropout", "anchor": "equation-eq-a", "text": "(7.1)", "title": ""},
    "fig-a": {"page": "book/dropout", "anchor": "fig-a", "text": "Figure 7.2", "title": "A caption"},
    "other": {"page": "book/penalties", "anchor": "other", "text": "Ridge, again", "title": "Ridge, again"},
    "ex-a": {"page": "book/dropout", "anchor": "ex-a", "text": "Exercise 7.3", "title": "Exercise"},
}
LABEL = f"**{claims.load()['relu-definition'].label}.**"
BIB = "@article{lee2020, author={Lee, Ann and Xu, Bo and Diaz, Cy}, year={2020}, title={On {Things}}}"


def convert(*sources: str, tags: list[str] | None = None) -> list:
    nb = new_notebook(cells=[new_markdown_cell(source) for source in sources])
    nb.cells.append(new_code_cell("1 + 1", metadata={"tags": tags or []}))
    made = edition.Edition(NAMES, parse_string(BIB, "bibtex")).convert(nb, "book/dropout", outputs=False)
    return made.cells


@pytest.mark.parametrize(
    ("myst", "plain"),
    [
        ("see {eq}`eq-a` and {numref}`fig-a`", "see (7.1) and Figure 7.2"),
        ("$$\nx = 1\n$$ (eq-a)", "$$\nx = 1\n\\tag{7.1}\n$$"),
        ("{cite:t}`lee2020` say", '[Lee et al. (2020)](#Works-cited "On Things") say'),
        ("known {cite}`lee2020`", 'known ([Lee et al., 2020](#Works-cited "On Things"))'),
        ("{ref}`a penalty <other>`", "[a penalty](penalties.ipynb#Ridge,-again)"),
        ("(here)=\n## Title", "## Title"),
        ("{claim}`It is <relu-definition>`", f"{LABEL} It is (`relu-definition` in the ledger)"),
        (":::{admonition} Think\n:class: tip\nWhy?\n:::", "> **Think**\n>\n> Why?"),
        ("`{eq}` in code stays", "`{eq}` in code stays"),
    ],
)
def test_myst_becomes_plain_markdown(myst, plain):
    assert convert(myst)[1].source.strip() == plain


def test_text_that_opens_on_a_click_is_folded():
    assert convert(":::{dropdown} Why\nSo: {eq}`eq-a`\n:::")[1].source.startswith(
        "<details>\n<summary><b>Why</b></summary>\n\nSo: (7.1)"
    )


def test_a_solution_is_folded_text_and_code():
    start = "```{solution-start} ex-a\n:class: dropdown\n```\nBecause."
    cells = convert("before", start)
    assert "Solution to Exercise 7.3" in cells[2].source and cells[2].source.startswith("<details>")
    assert cells[3].metadata.jupyter == {"source_hidden": True, "outputs_hidden": True}
    after = convert(start + "\n```{solution-end}\n```\nafter")
    assert after[1].source.endswith("after") and "jupyter" not in after[2].metadata


def test_what_the_book_folds_is_folded():
    assert convert("text", tags=["hide-input"])[2].metadata.jupyter == {"source_hidden": True}


def test_an_unknown_name_is_reported():
    made = edition.Edition(NAMES, parse_string(BIB, "bibtex"))
    made.convert(new_notebook(cells=[new_markdown_cell("{ref}`nowhere`")]), "book/dropout", outputs=False)
    assert made.unknown == ["book/dropout: nowhere"]


def test_what_a_learner_changed_is_never_lost(tmp_path):
    def write(text, fresh=False):
        return edition.Folder(tmp_path, fresh).write("a.ipynb", text)

    path = tmp_path / "a.ipynb"
    assert write("one") == "written" and write("one") == "as it was" and write("two") == "written"
    path.write_text("mine")
    assert write("three").startswith("kept") and path.read_text() == "mine"
    assert "a.mine-1.ipynb" in write("three", fresh=True)
    assert path.read_text() == "three" and (tmp_path / "a.mine-1.ipynb").read_text() == "mine"


def test_no_myst_is_left_in_the_notebooks_offered_for_download(site):
    served = sorted((site / "_sources" / "book").rglob("*.ipynb"))
    pages = [path.relative_to(ROOT / "book") for path in edition.pages()]
    assert {path.relative_to(site / "_sources" / "book") for path in served} >= set(pages)
    for page in pages:
        nb = nbformat.read(site / "_sources" / "book" / page, as_version=4)
        nbformat.validate(nb)
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                text = re.sub(r"^```.*?^```|`[^`\n]+`", "", cell.source, flags=re.M | re.S)
                assert not MYST.search(text), f"{page}: {MYST.search(text)[0]!r} in {cell.source[:200]}"


@pytest.fixture
def lab(site, tmp_path):
    """A JupyterLab on a folder with one chapter, in which an exercise is answered wrongly and rightly."""
    texts, _ = edition.convert_all(outputs=False)
    name = next(name for name in texts if name.startswith("output_layers"))
    nb = nbformat.reads(texts[name], as_version=4)
    asked = re.search(r'check\("([\w-]+)"', "\n".join(c.source for c in nb.cells if c.cell_type == "code"))[1]
    nb.cells += [new_code_cell(f'check("{asked}", None)'), new_code_cell('print("all", "cells", "ran")')]
    (tmp_path / "book").mkdir()
    for folder in ("studies", "results"):
        shutil.copytree(ROOT / "book" / folder, tmp_path / "book" / folder)
    (tmp_path / "learn").mkdir()
    nbformat.write(nb, tmp_path / "learn" / "chapter.ipynb")
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
    ]
    command += [f"--ServerApp.port={port}", str(tmp_path / "learn")]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/api").close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"{address}/lab/tree/chapter.ipynb"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.browser
def test_a_chapter_reads_well_and_runs_in_jupyterlab(lab, browser):
    page = browser.new_page()
    page.set_default_timeout(400_000)
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .jp-RenderedMarkdown", state="attached")
    # A command that comes before the kernel is ready is lost, or asks for a kernel in a dialog.
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    ended = re.compile("all cells ran|Traceback")
    page.locator(".jp-OutputArea-output", has_text=ended).first.wait_for(state="attached")
    shown = page.locator(".jp-Notebook").inner_text()
    outputs = page.locator(".jp-OutputArea-output").all_inner_texts()
    page.close()
    assert "⚠" not in shown and not re.search(r"\{(ref|eq|cite|numref)\b|:::", shown)
    assert not any("Traceback" in text for text in outputs)
    assert any("✗" in text for text in outputs) and any("✓" in text for text in outputs)
