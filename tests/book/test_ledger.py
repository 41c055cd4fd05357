"""The committed notebooks settle the ledger: every claim of a written chapter, once, as the ledger says."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from convcraft.lab import claims

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"

# Chapters (keys as in claims.yml) that are still to be written: their claims may be open.
# Whoever writes a chapter takes it out.
NOT_YET_WRITTEN = (
    "case-images",
    "case-speech",
    "case-text",
    "case-recommender",
    "case-series",
    "case-generative",
    "outlook",
)

LEDGER = claims.load()
CARDS = [card for card in claims.collect(BOOK) if card.data["verdict"] is not None]
WRITTEN = [claim for claim in LEDGER.values() if claim.chapter not in NOT_YET_WRITTEN]
SETTLED = [claim for claim in LEDGER.values() if claim.verdict is not None]


def html_of(page: str) -> str:
    """All the HTML that the cells of a committed notebook show."""
    cells = json.loads((BOOK / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs)


def test_chapters_not_yet_written_are_chapters_without_a_page():
    assert set(NOT_YET_WRITTEN) <= set(claims.CHAPTERS)
    for chapter in NOT_YET_WRITTEN:
        number = claims.chapter_number(chapter)
        assert not list(BOOK.glob(f"{number:02}_*.ipynb")), f"{chapter} is written: take it off the list"


@pytest.mark.parametrize("claim", WRITTEN, ids=lambda claim: claim.id)
def test_a_claim_of_a_written_chapter_is_settled_once_or_names_its_study(claim):
    here = [card.where for card in CARDS if card.id == claim.id]
    assert len(here) == 1 or (not here and claim.study), f"settled in {here}, study {claim.study}"


def test_no_claim_is_settled_twice():
    ids = [card.id for card in CARDS]
    assert sorted(ids) == sorted(set(ids))


def test_notebooks_and_ledger_agree():
    """Verdict, evidence and place; `python -m convcraft claims record` brings the ledger up to date."""
    assert claims.check(BOOK) == []


@pytest.mark.parametrize("claim", SETTLED, ids=lambda claim: claim.id)
def test_a_settled_claim_has_evidence_and_a_place(claim):
    assert claim.evidence and claim.study is None
    assert re.search(r"\d", claim.evidence) or claim.verdict == "untestable", "a verdict rests on a number"
    assert len(claim.evidence) > 20
    page, _, anchor = claim.where.partition("#")
    assert anchor == f"claim-{claim.id}"
    assert html_of(page).count(f'id="{anchor}"') == 1


def test_a_claim_that_holds_only_in_part_says_where_the_line_runs():
    partial = [claim for claim in SETTLED if claim.verdict != "holds"]
    assert [claim.id for claim in partial if not claim.correction] == []


def test_a_claim_of_a_written_chapter_that_waits_is_shown_as_open():
    shown = {card.id for card in claims.collect(BOOK) if card.data["verdict"] is None}
    waiting = {claim.id for claim in WRITTEN if claim.verdict is None}
    assert waiting == shown & waiting, f"not shown as open: {sorted(waiting - shown)}"


def test_the_page_of_the_ledger_is_up_to_date():
    """Re-run book/claims.ipynb after the ledger has changed."""
    page = html_of("claims")
    for part in (claims.summary(), claims.table()):
        assert part._repr_html_() in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_ledger_is_searched_and_filtered_by_keyboard_from_a_file(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto((site / "book" / "claims.html").as_uri())
    shown = page.locator(".cc-ledger tbody tr:visible")
    assert page.inner_text(".cc-filters output") == "152 of 152 claims" and shown.count() == 152
    page.focus(".cc-filters input")
    page.keyboard.type("dead relu")
    found = shown.count()
    assert 0 < found < 152 and page.inner_text(".cc-filters output") == f"{found} of 152 claims"
    page.keyboard.press("Tab")
    page.keyboard.type("2 Act")
    assert 0 < shown.count() <= found
    assert set(shown.evaluate_all("rows => rows.map(row => row.dataset.c)")) == {"activations"}
    page.click(".cc-filters button")
    page.wait_for_function("document.querySelectorAll('.cc-ledger tbody tr[hidden]').length === 0")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    page.close()


@pytest.mark.browser
def test_the_ledger_is_a_table_without_script(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "book" / "claims.html").as_uri())
    assert page.locator(".cc-ledger tbody tr:visible").count() == 152
    assert not page.locator(".cc-filters").is_visible()
    context.close()
    assert (site / "book" / "claims.html").stat().st_size <= 400_000
