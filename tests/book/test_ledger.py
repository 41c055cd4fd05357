"""The committed notebooks settle the ledger: every claim of a written chapter, once, as the ledger says."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

import claims_record
import ledger_page
from convcraft.lab import claims
from convcraft.lab.claims.criteria import verdict

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"

BY_HAND_AT_MOST = 0

LEDGER = claims.load()
CARDS = [card for card in claims_record.collect(BOOK) if card.data["verdict"] is not None]
SETTLED = [claim for claim in LEDGER.values() if claim.verdict is not None]


def html_of(page: str) -> str:
    """All the HTML that the cells of a committed notebook show."""
    cells = json.loads((BOOK / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs)


def test_every_claim_is_settled_once():
    for claim in LEDGER.values():
        assert claim.verdict is not None, f"{claim.id} is open"
        here = [card.where for card in CARDS if card.id == claim.id]
        assert len(here) == 1, f"{claim.id} is settled in {here}"
    ids = [card.id for card in CARDS]
    assert sorted(ids) == sorted(set(ids))


def test_notebooks_and_ledger_agree():
    """Verdict, outcomes, evidence, place; `python tools/claims_record.py` brings them into step."""
    assert claims_record.check(BOOK) == []


def test_verdicts_by_hand_only_become_fewer():
    """A claim whose cell passes outcomes is off the list for good: lower the number with each of them."""
    by_hand = [claim.id for claim in LEDGER.values() if claim.literal]
    assert len(by_hand) <= BY_HAND_AT_MOST


def test_a_settled_claim_has_evidence_and_a_place():
    pages = {claim.where.partition("#")[0] for claim in SETTLED}
    html = {page: html_of(page) for page in pages}
    for claim in SETTLED:
        assert re.search(r"\d", claim.evidence) or claim.verdict == "untestable", (
            "a verdict rests on a number"
        )
        assert len(claim.evidence) > 20
        page, _, anchor = claim.where.partition("#")
        assert anchor == f"claim-{claim.id}"
        assert html[page].count(f'id="{anchor}"') == 1


def test_outcomes_are_those_of_the_criterion_and_give_the_verdict():
    for claim in SETTLED:
        if claim.outcomes:
            wanted = [s.name for s in claim.criterion if not s.at_scale or s.name in claim.outcomes]
            assert list(claim.outcomes) == wanted, claim.id
            results = [outcome["result"] for outcome in claim.outcomes.values()]
            assert verdict(claim.rule, results) == claim.verdict, claim.id


def test_a_claim_that_holds_only_in_part_says_where_the_line_runs():
    partial = [claim for claim in SETTLED if claim.verdict != "holds"]
    assert [claim.id for claim in partial if not claim.correction] == []


def test_a_changed_verdict_names_its_cause():
    changed = ledger_page.changes()
    assert [c.id for c in changed.claims if not (c.cause and changed.reason(c))] == []


def test_criteria_name_studies_that_exist():
    known = {path.stem for path in (BOOK / "studies").glob("*.py")}
    assert {study for claim in LEDGER.values() for study in claim.studies} <= known


def test_the_page_of_the_ledger_is_up_to_date():
    """Re-run book/claims.ipynb after the ledger has changed."""
    page = html_of("claims")
    for part in (ledger_page.summary(), ledger_page.table()):
        assert part._repr_html_() in page


@pytest.fixture(scope="module")
def page_of_ledger(tmp_path_factory) -> str:
    """Address of a page with nothing but the ledger: the rows and their script need no built book."""
    path = tmp_path_factory.mktemp("ledger") / "claims.html"
    head = '<!doctype html><html><head><meta charset="utf-8"><style>body { margin: 1rem }</style></head>'
    path.write_text(f"{head}<body>{ledger_page.table()._repr_html_()}</body></html>", encoding="utf-8")
    return path.as_uri()


@pytest.mark.browser
def test_the_ledger_is_searched_and_filtered_by_keyboard_from_a_file(page_of_ledger, browser):
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(page_of_ledger)
        rows, count = page.locator(".cc-ledger details:visible"), page.locator(".cc-filters output")
        assert count.inner_text() == "152 of 152 claims" and rows.count() == 152
        page.focus(".cc-filters input")
        page.keyboard.type("dead relu")
        found = rows.count()
        assert 0 < found < 152 and count.inner_text() == f"{found} of 152 claims"
        page.keyboard.press("Tab")
        page.keyboard.type("Act")
        assert 0 < rows.count() <= found
        assert set(rows.evaluate_all("rows => rows.map(row => row.dataset.c)")) == {"activations"}
        page.click(".cc-filters button")
        page.wait_for_function("document.querySelectorAll('.cc-ledger details[hidden]').length === 0")
        rows.first.locator("summary").focus()
        page.keyboard.press("Enter")
        assert rows.first.locator("dl").is_visible()
        assert (
            page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        )
        page.close()


@pytest.mark.browser
def test_the_ledger_finds_stems_and_synonyms_and_says_when_nothing_fits(page_of_ledger, browser):
    page = browser.new_page()
    page.goto(page_of_ledger)
    rows, none = page.locator(".cc-ledger details:visible"), page.locator(".cc-none")
    number = {}
    for words in ("batch norm", "BatchNorm", "recalibrate", "co-adaptation", "coadaptation", "normalizing"):
        page.fill(".cc-filters input", words)
        number[words] = rows.count()
        assert number[words] > 0 and not none.is_visible(), words
    assert number["BatchNorm"] >= 15 and number["co-adaptation"] == number["coadaptation"]
    page.fill(".cc-filters input", "zzzz")
    assert rows.count() == 0 and none.is_visible()
    page.close()


@pytest.mark.browser
def test_the_address_keeps_the_filters_and_opens_a_claim(page_of_ledger, browser):
    page = browser.new_page()
    page.goto(page_of_ledger)
    page.fill(".cc-filters input", "dead")
    page.select_option("select[name=c]", "activations")
    rows = page.locator(".cc-ledger details:visible")
    found, address = rows.count(), page.url
    assert "q=dead" in address and "c=activations" in address
    page.goto("about:blank")
    page.go_back()
    page.wait_for_function(
        "n => document.querySelectorAll('.cc-ledger details:not([hidden])').length === n", arg=found
    )
    assert page.input_value(".cc-filters input") == "dead"
    page.goto("about:blank")
    page.goto(page_of_ledger + "#ledger-dropout-reduces-co-adaptation")
    assert page.locator("#ledger-dropout-reduces-co-adaptation").is_visible()
    assert page.locator(".cc-ledger details[open]").count() == 1
    page.close()


@pytest.mark.browser
def test_the_ledger_opens_without_script(page_of_ledger, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_of_ledger)
    rows = page.locator(".cc-ledger details:visible")
    assert rows.count() == 152 and not page.locator(".cc-filters").is_visible()
    rows.first.locator("summary").click()
    assert rows.first.locator("dl").is_visible()
    context.close()
