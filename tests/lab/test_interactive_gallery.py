"""The gallery: what it shows, without a script and by keyboard, and what it refuses."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch

from convcraft import ConvcraftError
from convcraft.lab import interactive
from convcraft.lab.interactive.gallery import png, strip

EYE = torch.eye(8).expand(3, 1, 8, 8)
SETS = {"as it is": {"eyes": EYE}, "mirrored <b>": {"half": EYE.flip(-1) / 2, "whole": EYE.flip(-1)}}


def shown(**options):
    return interactive.gallery(SETS, alt='Some "eyes".', title="Choose", **options)


def test_images_are_white_at_0_and_black_at_1():
    pillow = pytest.importorskip("PIL.Image", reason="Pillow reads what we write")
    row = strip(np.stack([np.eye(4), 2 * np.eye(4) - 1]))
    assert row.shape == (6, 12) and row[1, 1] == row[1, 7] == 0 and row[1, 2] == row[0, 0] == 255
    picture = pillow.open(io.BytesIO(png(row)))
    assert picture.mode == "L" and np.array_equal(np.asarray(picture), row)


def test_html_holds_every_set_and_escapes_what_it_is_given():
    text = shown(notes={"as it is": "1 < 2"}).html()
    assert text.count('type="radio"') == 2 and text.count(" checked>") == 1
    assert len(re.findall('src="data:image/png;base64,', text)) == 3
    assert "mirrored &lt;b&gt;" in text and "1 &lt; 2" in text and "&quot;eyes&quot;" in text
    assert "<script" not in text and "#ID" not in text
    assert text == shown(notes={"as it is": "1 < 2"}).html()


def test_a_notebook_gets_html_and_a_still():
    data, metadata = shown()._repr_mimebundle_()
    assert base64.b64decode(data["image/png"])[1:4] == b"PNG"
    assert data["text/plain"] == repr(shown()) == "<Gallery: as it is, mirrored <b>>"
    assert metadata["image/png"]["alt"] == 'Some "eyes".'


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: interactive.gallery(SETS, alt=" "), "alt: expected a sentence"),
        (lambda: interactive.gallery({}, alt="x"), "sets: expected at least one choice"),
        (lambda: interactive.gallery({"a": {}}, alt="x"), "sets: expected at least one choice"),
        (lambda: shown(notes={"other": "x"}), "notes: expected names of choices, as it is, mirrored"),
        (
            lambda: interactive.gallery({"a": {"b": torch.zeros(2, 3, 4, 4)}}, alt="x"),
            r"a, b: expected images \(N, H, W\) or \(N, 1, H, W\), at least one, got shape \(2, 3, 4, 4\)",
        ),
        (lambda: interactive.gallery({"a": {"b": torch.zeros(0, 4, 4)}}, alt="x"), "at least one, got"),
    ],
)
def test_misuse_says_what_was_expected(call, said):
    with pytest.raises(ConvcraftError, match=said):
        call()


@pytest.mark.parametrize("script", [True, False])
def test_a_reader_chooses_by_mouse_and_by_keyboard(browser, tmp_path, script):
    page_file = tmp_path / "index.html"
    page_file.write_text(f"<!doctype html><title>G</title>{shown().html()}", encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 800}, java_script_enabled=script)
    page = context.new_page()
    page.goto(page_file.as_uri())
    rows = page.locator("div > div")

    def visible():
        return [rows.nth(k).is_visible() for k in range(2)]

    assert visible() == [True, False]
    page.get_by_text("mirrored <b>", exact=True).click()
    assert visible() == [False, True]
    page.keyboard.press("ArrowLeft")
    assert visible() == [True, False]
    if script:
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    context.close()
