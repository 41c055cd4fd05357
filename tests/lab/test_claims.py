"""The ledger of claims: reading, settling, recording, and how it is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import ledger_page
from convcraft import ConvcraftError
from convcraft.lab import claims, statistics
from convcraft.lab.claims import cards, criteria, ledger
from convcraft.lab.experiments import Contrast
from convcraft.lab.experiments.contrasts import Evidence, judge

SMALL = (Path(__file__).parent / "three_claims.yml").read_text(encoding="utf-8")


ALL = {"values": 0.0, "rule": True}


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A ledger of three entries, in the place of the real one."""
    path = tmp_path / "claims.yml"
    path.write_text(SMALL, encoding="utf-8")
    monkeypatch.setattr(ledger, "LEDGER", path)
    return path


def recorded(path: Path, **entries: dict) -> None:
    """Give a ledger the verdicts that `tools/claims_record.py` would have written."""
    known = {claim_id.replace("_", "-"): entry for claim_id, entry in entries.items()}
    path.with_name("verdicts.json").write_text(json.dumps(known), encoding="utf-8")


def settled(**change) -> claims.Claim:
    known = {
        "verdict": "holds",
        "evidence": "Equal on 100,000 values.",
        "where": "02_x#claim-relu-definition",
    }
    return replace(claims.load()["relu-definition"], **{**known, **change})


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


def test_every_claim_says_how_strongly_it_is_made_and_what_decides_it():
    for claim in claims.load().values():
        assert claim.strength in ("does", "may", "always") and claim.test
        assert bool(claim.criterion) is not bool(claim.untestable), claim.id
        assert all(setting.measure for setting in claim.criterion), claim.id
        assert all(a.date >= "2026-11-28" and a.old != a.new and a.reason for a in claim.amendments), claim.id
        assert claim.untestable or not all(setting.at_scale for setting in claim.criterion), claim.id


def test_every_criterion_evaluates_and_can_come_out_for_and_against():
    """A value that a condition asks for gives "shows" or "opposite"; the rule makes a word of them."""

    def value_for(condition):
        if condition.truth is not None:
            return condition.truth
        if condition.text.startswith("beyond"):
            return condition.high + 1
        low, high = max(condition.low, -1e12), min(condition.high, 1e12)
        return (low + high) / 2

    for claim in claims.load().values():
        for_it = {setting.name: value_for(setting.shows) for setting in claim.criterion}
        judged = criteria.judge_settings(claim.id, claim.criterion, for_it)
        assert {outcome["result"] for outcome in judged.values()} <= {"shows"}, claim.id
        assert claim.untestable or criteria.verdict(claim.rule, ["shows"] * len(judged)) == "holds"
        for setting in claim.criterion:
            if setting.opposite is not None:
                assert setting.result(value_for(setting.opposite)) == "opposite", (claim.id, setting.name)


def test_an_entry_knows_what_it_waits_for():
    assert settled(verdict=None, chapter="outlook").waits_for == "the chapter 'Outlook'"


def test_a_ledger_that_does_not_fit_says_which_entry(tmp_path):
    path = tmp_path / "claims.yml"
    for text, message in [
        ("just a sentence", "expected a YAML list"),
        (SMALL + SMALL, "'relu-definition' occurs twice"),
        (SMALL.replace("chapter: dropout", "chapter: droput"), "sample-runs: chapter: expected one of"),
        (SMALL.replace("kind: code", "kind: magic"), "sample-runs: kind"),
        (SMALL.replace("expected: holds", "expected: maybe"), "relu-definition: expected"),
        (SMALL.replace("strength: may", "strength: can"), "future: strength: expected one of"),
        (SMALL.replace("cause: criterion", "cause: luck"), "relu-definition: cause"),
        (
            SMALL.replace("  test: None possible.", "  remark: none"),
            r"future: expected a value for \['test'\]",
        ),
        (SMALL.replace("  test: None possible.", "  verdict: holds"), "future: expected fields among"),
        (SMALL.replace("below 0.01", "under 0.01"), "relu-definition: criterion: expected 'true', 'false'"),
        (SMALL.replace("unit: points", "unit: percent"), "unit: expected 'points' or 'share'"),
        (SMALL.replace("      measure: difference\n", ""), "criterion: expected settings with fields among"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConvcraftError, match=message):
            claims.load(path)


def test_a_missing_ledger_is_named(tmp_path):
    with pytest.raises(ConvcraftError, match="nowhere.yml, which does not exist"):
        claims.load(tmp_path / "nowhere.yml")


# The rule


def test_the_rule_for_each_strength():
    shows, opposite, neither = "shows", "opposite", "neither"
    table = {
        "does": ["holds", "holds-with-conditions", "not-supported", "false", "false", "not-supported"],
        "may": ["holds", "holds", "holds", "false", "not-supported", "not-supported"],
        "always": ["holds", "false", "not-supported", "false", "false", "not-supported"],
        "code": ["holds", *["holds-with-conditions"] * 2, *["code-broken"] * 3],
    }
    cases = [
        [shows, shows],
        [shows, opposite],
        [shows, neither],
        [opposite, opposite],
        [opposite, neither],
        [neither, neither],
    ]
    for strength, words in table.items():
        assert [criteria.verdict(strength, case) for case in cases] == words, strength
    assert criteria.verdict("does", [shows, opposite, neither]) == "holds-with-conditions"
    assert set(claims.STRENGTHS) == set(table)


def test_conditions_ask_the_whole_interval():
    interval = statistics.Interval(0.02, 0.005, 0.035, 10)
    for text, outcome, met in [
        ("above 0", interval, True),
        ("above 0.01", interval, False),
        ("below 0.04", interval, True),
        ("within 0.04", interval, True),
        ("within 0.03", interval, False),
        ("beyond 0.001", interval, True),
        ("beyond 0.01", interval, False),
        ("from 0.005 to 0.04", interval, True),
        ("from 0 to 0", 0, True),
        ("above -1e-3", (0.1, 0.0, 0.2), True),
        ("true", np.bool_(True), True),
        ("false", True, False),
    ]:
        assert claims.Condition.parse(text).met(outcome) is met, (text, outcome)


def test_a_contrast_has_to_survive_holm_and_an_equality_its_test():
    rng = np.random.default_rng(0)
    a = rng.normal(0.5, 0.01, 10)
    found = [statistics.difference(a + 0.01 + rng.normal(0, 0.012, 10), a) for _ in range(8)]
    rows = judge(
        [Contrast("a", "b", family="f", margin=0.05)] * 8, [Evidence(one, {}, None) for one in found]
    )
    above, within = (claims.Condition.parse(text) for text in ("above 0", "within 0.05"))
    lost = [row for row in rows if row.interval.low > 0 and row.adjusted >= 0.05]
    assert lost and not any(above.met(row) for row in lost) and all(above.met(row.interval) for row in lost)
    assert all(within.met(row) for row in rows)
    equal = statistics.tost(a, a + rng.normal(0, 0.001, 10), margin=0.01)
    assert within.met(equal) and not claims.Condition.parse("within 0.001").met(equal)


# Settling


def test_settle_computes_the_verdict(small, capsys):
    for outcomes, words in [
        (ALL, "[Holds]"),
        ({**ALL, "large network": 2.0}, "[Not supported]"),
        ({**ALL, "rule": False}, "[Holds with conditions]"),
        ({"values": (0.3, 0.2, 0.4), "rule": False}, "[False]"),
        ({"values": None, "rule": True}, "[Not supported]"),
    ]:
        claims.settle("relu-definition", outcomes, "Equal on 5 of 5 values.")
        printed = capsys.readouterr().out
        assert printed.startswith(f"{words} relu-definition\n"), printed
    assert "values: not measured (decides nothing); rule: yes (shows it)." in printed
    claims.settle("sample-runs", {"as printed": True, "share": 0.9}, "Ran once, 1 of 1.")
    assert "[Holds with conditions] sample-runs" in capsys.readouterr().out
    claims.settle("future", None, "A forecast.")
    assert "[Cannot be tested] future" in capsys.readouterr().out


def test_outcomes_are_shown_in_the_unit_of_the_setting(small, capsys):
    claims.settle("relu-definition", {"values": (-0.004, -0.012, 0.004), "rule": True}, "Equal on 5 values.")
    assert "values: −0.4 [−1.2, 0.4] points (shows it)" in capsys.readouterr().out
    setting = claims.load()["sample-runs"].criterion[1]
    assert setting.in_words(setting.shows) == "from 40 to 60 %" and setting.shown(0.5) == "50 %"
    one = claims.load()["relu-definition"].criterion[0]
    assert (one.in_words(one.shows), one.in_words(None)) == ("below 1 point", "")


def test_settle_says_what_is_wrong_with_the_outcomes(small):
    for claim_id, outcomes, message in [
        (
            "relu-definition",
            {**ALL, "valeus": 1},
            "unknown setting of 'relu-definition' in outcomes 'valeus': did you mean 'values'",
        ),
        ("relu-definition", {**ALL, "zzz": 1}, "outcomes 'zzz': Known: large network, rule, values"),
        ("relu-definition", {"rule": True}, r"got none for \['values'\]; None says that it was not measured"),
        (
            "relu-definition",
            {**ALL, "values": True},
            "expected a number, an interval or a contrast for 'values'",
        ),
        ("relu-definition", {**ALL, "rule": 1.0}, "expected True or False for 'rule'"),
        ("relu-definition", {**ALL, "values": float("nan")}, "or a contrast, got nan"),
        ("relu-definition", {**ALL, "values": (1, 2, 3)}, "expected a number, an interval"),
        ("relu-definition", {**ALL, "values": "many"}, "expected a number, an interval"),
        ("future", {"x": 1}, r"has no settings \(A forecast.\); pass None"),
    ]:
        with pytest.raises(ConvcraftError, match=message):
            claims.settle(claim_id, outcomes, "Equal on 5 values.")


def test_settle_refuses_a_verdict_by_hand(small, capsys):
    for word in (True, False, "with conditions", "holds", None, 2):
        with pytest.raises(
            ConvcraftError, match="(?s)expected what was measured in each setting, got .*'values'"
        ):
            claims.settle("relu-definition", word, "Equal on 5 values.")
    with pytest.raises(ConvcraftError, match="expected None, since it cannot be tested, got True"):
        claims.settle("future", True, "Seen 3 times.")
    claims.settle("sample-runs", False, "NameError after 0 lines.")
    assert capsys.readouterr().out.startswith("[Code broken] sample-runs")
    with pytest.raises(
        ConvcraftError, match="expected a mapping, True, False or 'with conditions', got 'no'"
    ):
        claims.settle("sample-runs", "no", "Ran 1 time.")


def test_the_cells_of_the_first_edition_still_settle_until_they_pass_outcomes(small, capsys):
    recorded(small, relu_definition={"verdict": "false", "evidence": "Differs on 3.", "literal": True})
    claims.settle("relu-definition", False, "Differs on 3 of 5 values.")
    assert capsys.readouterr().out.startswith("[False] relu-definition")
    with pytest.raises(ConvcraftError, match="the ledger says 'false' .* the evidence says 'holds'"):
        claims.settle("relu-definition", True, "Equal on 5 values.")
    claims.settle("relu-definition", ALL, "Equal on 5 values.")
    assert capsys.readouterr().out.startswith("[Holds] relu-definition")


def test_settle_agrees_with_the_ledger_unless_it_settles_anew(small, capsys, monkeypatch):
    recorded(small, relu_definition={"verdict": "holds", "evidence": "Equal on 5.", "outcomes": {"rule": {}}})
    claims.settle("relu-definition", ALL, "Equal on 5 values.")
    with pytest.raises(
        ConvcraftError, match="evidence says 'holds-with-conditions'; find out which is right"
    ):
        claims.settle("relu-definition", {**ALL, "rule": False}, "Differs on 3 values.")
    monkeypatch.setenv("CONVCRAFT_SETTLE", "anew")
    claims.settle("relu-definition", {**ALL, "rule": False}, "Differs on 3 values.")
    assert "[Holds with conditions]" in capsys.readouterr().out


def test_settle_shows_correction_and_expectation(small, capsys):
    claims.settle("sample-runs", False, "NameError after 0 lines.")
    printed = capsys.readouterr().out
    assert "Correction: It does not." in printed and "Expected" not in printed
    claims.settle("sample-runs", True, "Ran in 1 of 1 runs.")
    printed = capsys.readouterr().out
    assert "Remark: It does not." in printed and "Expected: Code broken, before the experiment" in printed
    claims.settle("sample-runs", "with conditions", "Ran in 1 of 2 runs.", correction="Only on  Tuesdays.")
    assert "Conditions: Only on Tuesdays." in capsys.readouterr().out


def test_an_unknown_claim_lists_near_matches():
    with pytest.raises(
        ConvcraftError, match="unknown claim 'relu-definitoin': did you mean 'relu-definition'"
    ):
        claims.settle("relu-definitoin", True, "1 of 1.")
    with pytest.raises(ConvcraftError, match="unknown claim 'zzzzzzzz': Known: "):
        claims.open_claim("zzzzzzzz")


def test_settle_wants_a_sentence_with_a_number_unless_nothing_can_be_measured(small, capsys):
    for evidence in ("", "  \n", None, 3):
        with pytest.raises(ConvcraftError, match="evidence: expected a sentence"):
            claims.settle("future", None, evidence)
    with pytest.raises(ConvcraftError, match="expected at least one number, got 'They are equal.'"):
        claims.settle("relu-definition", ALL, "They are equal.")
    claims.settle("future", None, "A forecast.")
    assert "A forecast." in capsys.readouterr().out


def test_open_claim_names_its_chapter(small, capsys):
    claims.open_claim("sample-runs")
    printed = capsys.readouterr().out
    assert printed.startswith("[Open] sample-runs") and "Waits for: the chapter 'Dropout'." in printed
    recorded(small, sample_runs={"verdict": "holds", "evidence": "Ran 1 time."})
    with pytest.raises(ConvcraftError, match="which the ledger has settled"):
        claims.open_claim("sample-runs")


def test_settle_shows_in_a_notebook_through_its_display(small, monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", shown.append)
    assert claims.settle("relu-definition", ALL, "Equal on `5` values.") is None
    data, metadata = shown[0]._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    assert metadata[cards.RECORD] == {
        "id": "relu-definition",
        "verdict": "holds",
        "evidence": "Equal on `5` values.",
        "outcomes": {
            "values": {"value": "0 points", "result": "shows"},
            "rule": {"value": "yes", "result": "shows"},
        },
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


def test_each_verdict_has_words_and_an_icon_of_its_own():
    cards_html = {v: claims.Card(settled(verdict=v))._repr_html_() for v in [*claims.VERDICTS, None]}
    icons = {v: re.search(r"<svg.*?</svg>", html).group(0) for v, html in cards_html.items()}
    assert len(set(icons.values())) == 7
    for verdict, html in cards_html.items():
        assert (claims.VERDICTS.get(verdict) or "Open") in Outline(html).text


def test_card_is_deterministic_and_small():
    assert claims.Card(settled())._repr_html_() == claims.Card(settled())._repr_html_()
    assert len(claims.Card(settled())._repr_html_()) < 4000


def test_a_card_in_a_folder_of_evidence_finds_the_ledger(tmp_path, monkeypatch):
    (tmp_path / "evidence").mkdir()
    monkeypatch.chdir(tmp_path / "evidence")
    assert 'href="../claims.html#ledger-relu-definition"' in claims.Card(settled())._repr_html_()


# The page


def test_the_table_holds_every_claim_as_plain_html():
    html = ledger_page.table()._repr_html_()
    page = Outline(html)
    rows = [attrs for tag, attrs in page.tags if tag == "dl"]
    assert [row["id"] for row in rows] == [f"ledger-{claim_id}" for claim_id in claims.load()]
    assert sum(tag == "summary" for tag, _ in page.tags) == 152, "a row opens without a script"
    form = next(attrs for tag, attrs in page.tags if tag == "form")
    assert "hidden" in form, "without script there is nothing to filter with"
    assert {attrs["name"] for tag, attrs in page.tags if tag == "select"} == {"c", "v", "a"}
    assert len(html.encode()) < 600_000
    assert not re.search(r"(src|href)=.?https?:|@import|url\(", html)


def test_a_row_shows_all_that_decides(small):
    entry = claims.load()["relu-definition"]
    outcomes = {
        "values": {"value": "0 points", "result": "shows"},
        "rule": {"value": "yes", "result": "shows"},
    }
    done = replace(
        entry, verdict="holds", evidence="Equal.", where="evidence/relu#claim-x", outcomes=outcomes
    )
    text = Outline(ledger_page.table([done])._repr_html_()).text
    for part in (
        "Activation functions and regularization in CNNs (a1), §2.1",
        "does",
        "values: largest difference. Shows it: below 1 point; opposite: above 1 point. 0 points shows it",
        "large network (at scale): difference. Shows it: within 0.5. not run yet",
        "Compare on 10^5 values.",
        "2026-11-28. Before: One value. Now: Many values. Reason: One proves nothing.",
        "Holds, before any experiment.",
        "Holds with conditions, if any one setting showed the opposite.",
        "False. Criterion.",
        "evidence: relu",
    ):
        assert part in text, part
    assert "not evaluated yet" in ledger_page.table([replace(done, outcomes={})])._repr_html_()
    assert "A way to measure it." in ledger_page.table([claims.load()["future"]])._repr_html_()


def test_the_table_links_a_settled_claim_to_its_card_and_says_what_an_open_one_waits_for():
    waiting = settled(verdict=None, evidence=None, where=None)
    html = ledger_page.table([settled(), waiting])._repr_html_()
    assert '<a href="02_x.html#claim-relu-definition"' in html and "Equal on 100,000 values." in html
    assert "the chapter &#x27;Activations&#x27;." in html
    assert "relu-definition" in repr(ledger_page.table()) and "Open" in repr(ledger_page.table([waiting]))
    assert "an earlier edition." in ledger_page.table([settled(where=None)])._repr_html_()


def test_synonyms_find_each_other():
    for text, word in [
        ("Batch normalization rescues it", "batchnorm"),
        ("statistics measured anew", "recalibrat"),
        ("coupling of parameters", "coadapt"),
        ("dying ReLU", "dead"),
        ("weight decay", "ridge"),
    ]:
        assert word in ledger_page.keywords(text), text
    assert ledger_page.keywords("nothing of the kind") == ""


def test_changed_verdicts_are_listed_with_their_cause(small):
    recorded(small, relu_definition={"verdict": "holds", "evidence": "Equal on 5."})
    changed = ledger_page.changes()
    assert [claim.id for claim in changed.claims] == ["relu-definition"]
    assert repr(changed) == "relu-definition: False -> Holds (Criterion): One proves nothing."
    text = Outline(changed._repr_html_()).text
    assert "ReLU is max(0,x)." in text and "Criterion. One proves nothing." in text
    assert repr(ledger_page.changes([])) == "No verdict of the first edition has changed."


def test_the_summary_counts_every_claim_once():
    rows = ledger_page.summary().rows()
    assert len(rows) == len(claims.CHAPTERS) + 1 and rows[-1][0] == "All"
    assert all(sum(numbers[:-1]) == numbers[-1] for _, numbers in rows)
    assert rows[-1][1][-1] == 152 == sum(numbers[-1] for _, numbers in rows[:-1])
    one = ledger_page.summary([settled()])
    assert one.rows()[1] == ("Activations", [1, 0, 0, 0, 0, 0, 0, 1])
    assert Outline(one._repr_html_()).text.count("Convolutional networks") == 1
    assert repr(one).splitlines()[2].split()[:2] == ["Activations", "1"]


def test_the_command_counts_and_lists_what_is_open(small, capsys):
    recorded(small, relu_definition={"verdict": "holds", "evidence": "Equal on 5.", "literal": True})
    assert claims.main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("3 claims: 1 holds, 2 open\n")
    assert "verdict by hand  activations" in printed and "open             dropout" in printed
