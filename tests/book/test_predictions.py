"""The Sphinx extension that folds an answer away beneath its question, on pages of its own."""

from __future__ import annotations

import pathlib
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.application import Sphinx

ROOT = pathlib.Path(__file__).resolve().parents[2]
START = "```{predict-start} Is $x^2$ larger than *x*?\n```"
END = "```{predict-end}\n```"


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    sys.modules.pop("predictions", None)

    def built(*sources: str) -> tuple[str, str]:
        cells = [new_markdown_cell(source) for source in sources]
        answer = new_code_cell(
            "4 > 2", metadata={"tags": ["hide-input"], "mystnb": {"code_prompt_show": "Ask"}}
        )
        answer.outputs = [new_output("execute_result", {"text/plain": "True"}, execution_count=1)]
        cells.insert(2, answer)
        nbformat.write(new_notebook(cells=cells), tmp_path / "index.ipynb")
        (tmp_path / "conf.py").write_text(
            "extensions = ['myst_nb', 'predictions']\nnb_execution_mode = 'off'\n"
            "myst_enable_extensions = ['dollarmath']\nkeep_warnings = False\n"
        )
        warnings = tmp_path / "warnings.txt"
        with warnings.open("w") as stream:
            app = Sphinx(tmp_path, tmp_path, tmp_path / "out", tmp_path / "tree", "html", None, None, stream)
            app.build()
        return (tmp_path / "out" / "index.html").read_text("utf-8"), warnings.read_text("utf-8")

    return built


def test_the_answer_is_folded_below_the_question(build):
    page, warnings = build("# Page", START, "It is.", END, "After.")
    start, end = page.index('<details class="cc-predict">'), page.index("It is.")
    assert (
        "Predict, then run" in page[start:end]
        and "<em>x</em>" in page[start:end]
        and "Ask" in page[start:end]
    )
    assert "math" in page[start : page.index("</summary>", start)]
    assert end < page.index("</details>", end) < page.index("After.")
    assert "True" in page[start:end]
    assert "predict" not in warnings


@pytest.mark.parametrize(
    ("sources", "warning"),
    [
        (("# Page", START, "## Heading", END), "without a predict-end in the same section"),
        (("# Page", "Text.", END), "without a predict-start"),
    ],
)
def test_a_lone_start_or_end_is_a_warning(build, sources, warning):
    assert warning in build(*sources)[1]
