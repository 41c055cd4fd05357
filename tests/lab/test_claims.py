"""The ledger of claims: reading, settling, recording, and how it is shown."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from convcraft import ConvcraftError
from convcraft.lab import claims
from convcraft.lab.claims import cards, ledger

SMALL = (Path(__file__).parent / "three_claims.yml").read_text(encoding="utf-8")


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A ledger of three entries, in the place of the real one."""
    path = tmp_path / "claims.yml"
    path.write_text(SMALL, encoding="utf-8")
    monkeypatch.setattr(ledger, "LEDGER", path)
    return path


def settled(**change) -> claims.Claim:
    known = {
        "verdict": "holds",
        "evidence": "Equal on 100,000 values.",
        "where": "02_x#claim-relu-definition",
    }
    entry = claims.load()["relu-definition"]
    return type(entry)(**{**entry.__dict__, "study": None, **known, **change})


class Outline(HTMLParser):
    """Checks that tags close in order, and keeps text, ids and links."""

    VOID = {"br", "input", "circle", "path", "rect"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


# The ledger


def test_the_ledger_holds_152_claims_of_the_five_articles():
    entries = claims.load()
    assert len(entries) == 152
    assert all(key == claim.id for key, claim in entries.items())
    assert {article for claim in entries.values() for article in claim.articles} == set(claims.ARTICLES)
    assert {claim.chapter for claim in entries.values()} == set(claims.CHAPTERS)
    assert sum(claim.chapter in ("convnets", "activations") for claim in entries.values()) == 59
    assert sum(claim.kind == "code" for claim in entries.values()) == 22


def test_the_ledger_is_in_english_and_names_a_section_for_each_source():
    text = claims.LEDGER.read_text(encoding="utf-8")
    assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text)
    for claim in claims.load().values():
        assert all(re.fullmatch(r"a[1-5] §\S+", source) for source in claim.sources), claim.id


def test_load_gives_a_new_dict_each_time():
    first = claims.load()
    first.clear()
    assert len(claims.load()) == 152


def test_an_entry_knows_what_it_waits_for():
    assert settled(verdict=None, study="depth_grid").waits_for == "the study depth_grid"
    assert settled(verdict=None, chapter="outlook").waits_for == "chapter 17, Outlook"
    assert claims.chapter_number("outlook") == 17


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just a sentence", "expected a YAML list"),
        (SMALL + SMALL, "'relu-definition' stands twice"),
        (SMALL.replace("chapter: dropout", "chapter: droput"), "sample-runs: chapter: expected one of"),
        (SMALL.replace("kind: code", "kind: magic"), "sample-runs: kind"),
        (SMALL.replace("expected: holds", "expected: maybe"), "relu-definition: expected"),
        (SMALL.replace("  study: some_study", "  verdict: perhaps"), "sample-runs: verdict"),
        (SMALL.replace("  test: None possible.", "  remark: none"), "future: expected fields among"),
        (SMALL.replace("  test: None possible.\n", ""), r"future: expected a value for \['test'\]"),
    ],
)
def test_a_ledger_that_does_not_fit_says_which_entry(tmp_path, text, message):
    path = tmp_path / "claims.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConvcraftError, match=message):
        claims.load(path)


def test_a_missing_ledger_is_named(tmp_path):
    with pytest.raises(ConvcraftError, match="nowhere.yml, which does not exist"):
        claims.load(tmp_path / "nowhere.yml")


# Settling


@pytest.mark.parametrize(
    ("claim_id", "holds", "words"),
    [
        ("relu-definition", True, "[Holds]"),
        ("relu-definition", False, "[False]"),
        ("relu-definition", "with conditions", "[Holds with conditions]"),
        ("future", None, "[Cannot be tested]"),
        ("sample-runs", False, "[Code broken]"),
        ("sample-runs", True, "[Holds]"),
    ],
)
def test_settle_says_the_verdict_in_words(small, capsys, claim_id, holds, words):
    claims.settle(claim_id, holds, "Equal on 5 of 5 values.")
    printed = capsys.readouterr().out
    assert printed.startswith(f"{words} {claim_id}\n")
    assert "Equal on 5 of 5 values." in printed and "Sources: a" in printed


def test_settle_says_when_the_evidence_differs_from_what_was_expected(small, capsys):
    claims.settle("relu-definition", False, "Differs on 3 of 5 values.")
    assert "Expected: Holds, before the experiment" in capsys.readouterr().out
    claims.settle("relu-definition", True, "Equal on 5 values.")
    assert "Expected" not in capsys.readouterr().out


def test_settle_shows_the_correction_only_where_there_is_something_to_correct(small, capsys):
    claims.settle("sample-runs", False, "NameError after 0 lines.")
    assert "Correction: It does not." in capsys.readouterr().out
    claims.settle("sample-runs", True, "Ran in 1 of 1 runs.")
    assert "It does not." not in capsys.readouterr().out
    claims.settle("sample-runs", "with conditions", "Ran in 1 of 2 runs.", correction="Only on  Tuesdays.")
    assert "Conditions: Only on Tuesdays." in capsys.readouterr().out


def test_settle_agrees_or_disagrees_with_the_ledger(small, capsys):
    small.write_text(
        SMALL.replace("test: None possible.", "test: x\n  verdict: untestable\n  evidence: A forecast.")
    )
    claims.settle("future", None, "A forecast, as before.")
    assert "[Cannot be tested] future" in capsys.readouterr().out
    with pytest.raises(
        ConvcraftError, match=r"ledger says 'untestable' for 'future', the evidence says 'holds'"
    ):
        claims.settle("future", True, "Seen 3 times.")
    with pytest.raises(ConvcraftError, match="claims reopen future"):
        claims.settle("future", False, "Seen 0 times.")


def test_an_unknown_claim_lists_near_matches():
    with pytest.raises(
        ConvcraftError, match="unknown claim 'relu-definitoin': did you mean 'relu-definition'"
    ):
        claims.settle("relu-definitoin", True, "1 of 1.")
    with pytest.raises(ConvcraftError, match="no id is near to it"):
        claims.open_claim("zzzzzzzz")


@pytest.mark.parametrize("holds", ["holds", "no", 2, 0.5, [], "true"])
def test_settle_refuses_other_words(small, holds):
    with pytest.raises(ConvcraftError, match="expected True, False, 'with conditions' or None, got"):
        claims.settle("relu-definition", holds, "Equal on 5 values.")


@pytest.mark.parametrize("evidence", ["", "  \n", None, 3])
def test_settle_wants_a_sentence(small, evidence):
    with pytest.raises(ConvcraftError, match="evidence: expected a sentence"):
        claims.settle("future", None, evidence)


def test_settle_wants_a_number_unless_nothing_can_be_measured(small, capsys):
    with pytest.raises(ConvcraftError, match="expected at least one number, got 'They are equal.'"):
        claims.settle("relu-definition", True, "They are equal.")
    claims.settle("future", None, "A forecast.")
    assert "A forecast." in capsys.readouterr().out


def test_open_claim_names_the_study(small, capsys):
    claims.open_claim("sample-runs")
    printed = capsys.readouterr().out
    assert printed.startswith("[Open] sample-runs") and "Waits for: the study some_study." in printed
    with pytest.raises(
        ConvcraftError, match="'future', for which the ledger names none; settle it in chapter 17"
    ):
        claims.open_claim("future")
    small.write_text(SMALL.replace("  study: some_study", "  verdict: holds\n  evidence: Ran 1 time."))
    with pytest.raises(ConvcraftError, match="which the ledger has settled"):
        claims.open_claim("sample-runs")


def test_settle_shows_in_a_notebook_through_its_display(small, monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", shown.append)
    assert claims.settle("relu-definition", True, "Equal on `5` values.") is None
    data, metadata = shown[0]._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    assert metadata == {
        cards.RECORD: {"id": "relu-definition", "verdict": "holds", "evidence": "Equal on `5` values."}
    }


# The card


def test_card_escapes_and_closes_everything():
    card = claims.Card(
        settled(evidence="1 < 2 & <script>alert(1)</script> `x<y`", claim="<i>a</i>", verdict="false")
    )
    html = card._repr_html_()
    page = Outline(html)
    assert "<script" not in html and "<i>" not in html and "<code>x&lt;y</code>" in html
    assert "1 < 2 & <script>alert(1)</script> x<y" in page.text
    assert "http" not in html, "a card asks for nothing from elsewhere"


def test_card_has_anchor_words_icon_and_titles():
    page = Outline(claims.Card(settled())._repr_html_())
    article = next(attrs for tag, attrs in page.tags if tag == "article")
    assert (article["id"], article["data-verdict"]) == ("claim-relu-definition", "holds")
    assert "Holds" in page.text and any(tag == "svg" for tag, _ in page.tags)
    titles = [attrs["title"] for tag, attrs in page.tags if tag == "abbr"]
    assert titles == [claims.ARTICLES[key] for key in ("a1", "a3", "a4")]
    assert ("a", "claims.html#ledger-relu-definition") in [
        (tag, attrs.get("href")) for tag, attrs in page.tags
    ]


@pytest.mark.parametrize("verdict", [*claims.VERDICTS, None])
def test_each_verdict_has_words_and_an_icon_of_its_own(verdict):
    cards_html = {v: claims.Card(settled(verdict=v))._repr_html_() for v in [*claims.VERDICTS, None]}
    icons = {v: re.search(r"<svg.*?</svg>", html).group(0) for v, html in cards_html.items()}
    assert len(set(icons.values())) == 6
    assert (claims.VERDICTS.get(verdict) or "Open") in Outline(cards_html[verdict]).text


def test_card_is_deterministic_and_small():
    assert claims.Card(settled())._repr_html_() == claims.Card(settled())._repr_html_()
    assert len(claims.Card(settled())._repr_html_()) < 4000


# The page


def test_the_table_holds_every_claim_as_plain_html():
    html = claims.table()._repr_html_()
    page = Outline(html)
    rows = [attrs for tag, attrs in page.tags if tag == "tr" and "id" in attrs]
    assert [row["id"] for row in rows] == [f"ledger-{claim_id}" for claim_id in claims.load()]
    form = next(attrs for tag, attrs in page.tags if tag == "form")
    assert "hidden" in form, "without script there is nothing to filter with"
    assert {attrs["name"] for tag, attrs in page.tags if tag == "select"} == {"c", "v", "a"}
    assert len(html.encode()) < 330_000
    assert not re.search(r"(src|href)=.?https?:|@import|url\(", html)


def test_the_table_links_a_settled_claim_to_its_card_and_says_what_an_open_one_waits_for():
    waiting = settled(verdict=None, evidence=None, where=None, study="learning_rate_sweep")
    html = claims.table([settled(), waiting])._repr_html_()
    assert '<a href="02_x.html#claim-relu-definition"' in html and "Equal on 100,000 values." in html
    assert "Waits for the study learning_rate_sweep." in html
    assert "relu-definition" in repr(claims.table()) and "Open" in repr(claims.table([waiting]))
    assert "Settled." in claims.table([settled(where=None)])._repr_html_()


def test_the_summary_counts_every_claim_once():
    rows = claims.summary().rows()
    assert len(rows) == 18 and rows[-1][0] == "All"
    assert all(sum(numbers[:-1]) == numbers[-1] for _, numbers in rows)
    assert rows[-1][1][-1] == 152 == sum(numbers[-1] for _, numbers in rows[:-1])
    one = claims.summary([settled()])
    assert one.rows()[1] == ("2 Activations", [1, 0, 0, 0, 0, 0, 1])
    assert Outline(one._repr_html_()).text.count("Convolutional networks") == 1
    assert repr(one).splitlines()[2].split()[:2] == ["2", "Activations"]
