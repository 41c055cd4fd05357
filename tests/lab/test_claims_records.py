"""Keeping notebooks and ledger in step: record, reopen, check, and the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convcraft import ConvcraftError
from convcraft.lab import claims
from convcraft.lab.claims import cards

SMALL = (Path(__file__).parent / "three_claims.yml").read_text(encoding="utf-8")


@pytest.fixture
def small(tmp_path) -> Path:
    """A ledger of three entries."""
    path = tmp_path / "claims.yml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def notebook(folder: Path, name: str, *records: dict | None) -> None:
    """A notebook whose first cells carry these records."""
    outputs = [{"output_type": "display_data", "data": {}, "metadata": {cards.RECORD: r}} for r in records]
    cells = [{"cell_type": "markdown", "source": ""}, {"cell_type": "code", "source": "", "outputs": outputs}]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")


def record(claim_id: str, verdict: str | None, evidence: str = "Equal on 5 values.", **more) -> dict:
    return {"id": claim_id, "verdict": verdict, "evidence": evidence, **more}


def test_record_writes_what_is_settled_and_leaves_the_rest_as_it_is(small, tmp_path):
    book = tmp_path / "book"
    evidence = (
        "Equal on 100,000 values: " + "no difference at all, " * 12 + "and so on: 'quoted' # no comment."
    )
    notebook(book, "02_activations", record("relu-definition", "holds", evidence))
    notebook(book, "07_dropout", record("sample-runs", "code-broken", correction="It stops."))
    assert claims.record(book, small) == ["relu-definition", "sample-runs"]
    text = small.read_text(encoding="utf-8")
    before, after = re.split(r"(?m)^(?=- id)", SMALL), re.split(r"(?m)^(?=- id)", text)
    assert before[0] == after[0] and before[3] == after[3]
    assert after[1].endswith("\n# ===== a comment between entries =====\n")
    assert max(map(len, text.splitlines())) <= 120
    entries = claims.load(small)
    assert entries["relu-definition"].evidence == evidence
    assert entries["relu-definition"].where == "02_activations#claim-relu-definition"
    assert entries["sample-runs"].correction == "It stops." and entries["sample-runs"].study is None
    assert claims.record(book, small) == [] and small.read_text(encoding="utf-8") == text


def test_record_then_reopen_gives_the_same_bytes(tmp_path):
    path, book = tmp_path / "claims.yml", tmp_path / "book"
    original = claims.LEDGER.read_bytes()
    path.write_bytes(original)
    untouched = [c.id for c in claims.load().values() if c.verdict is None and not c.study]
    chosen = untouched[::7] or pytest.skip("every claim is settled")
    notebook(book, "02_x", *(record(i, "false", f"Measured {n} times.") for n, i in enumerate(chosen)))
    assert claims.record(book, path) == chosen
    assert all(claims.load(path)[i].verdict == "false" for i in chosen)
    assert claims.reopen(chosen, path) == chosen
    assert path.read_bytes() == original


def test_record_renews_evidence_but_not_a_verdict(small, tmp_path):
    book = tmp_path / "book"
    notebook(book, "02_x", record("relu-definition", "holds"))
    claims.record(book, small)
    notebook(book, "02_x", record("relu-definition", "holds", "Equal on 6 values."))
    assert claims.record(book, small) == ["relu-definition"]
    assert claims.load(small)["relu-definition"].evidence == "Equal on 6 values."
    notebook(book, "02_x", record("relu-definition", "false"))
    with pytest.raises(ConvcraftError, match="says 'false', the ledger 'holds'; if the notebook is right"):
        claims.record(book, small)
    assert claims.reopen(["relu-definition"], small) == ["relu-definition"]
    assert claims.record(book, small) == ["relu-definition"]


def test_record_removes_a_correction_that_is_taken_back(small, tmp_path):
    notebook(tmp_path / "book", "07_x", record("sample-runs", "holds", correction=None))
    claims.record(tmp_path / "book", small)
    assert claims.load(small)["sample-runs"].correction is None
    notebook(tmp_path / "book", "07_x", record("sample-runs", "holds", correction="New."))
    claims.record(tmp_path / "book", small)
    assert claims.load(small)["sample-runs"].correction == "New."
    assert list(re.findall(r"(?m)^  (\w+):", small.read_text().split("- id: ")[2]))[-5:] == [
        "correction",
        "test",
        "verdict",
        "evidence",
        "where",
    ]


def test_record_refuses_two_cards_and_unknown_ids(small, tmp_path):
    book = tmp_path / "book"
    notebook(book, "01_x", record("future", "untestable"))
    notebook(book, "02_x", record("future", "untestable"))
    with pytest.raises(ConvcraftError, match=r"settled twice, in 01_x#claim-future and in 02_x#claim-future"):
        claims.record(book, small)
    notebook(book, "02_x", record("futur", "untestable"))
    with pytest.raises(ConvcraftError, match="unknown claim 'futur'"):
        claims.record(book, small)
    with pytest.raises(ConvcraftError, match="expected the folder of the notebooks"):
        claims.collect(tmp_path / "nothing")


def test_check_says_every_difference(small, tmp_path):
    book = tmp_path / "book"
    notebook(
        book, "02_x", record("relu-definition", "holds"), record("sample-runs", None, study="some_study")
    )
    assert claims.check(book, small) == [
        "02_x#claim-relu-definition: verdict: the ledger says None, the notebook 'holds'"
    ]
    claims.record(book, small)
    assert claims.check(book, small) == []
    notebook(book, "03_x", record("relu-definition", "holds"), record("nobody", "holds"))
    assert [p.split(": ", 1)[1][:22] for p in claims.check(book, small)] == [
        "settled twice, before ",
        "the ledger has no clai",
    ]
    (book / "03_x.ipynb").unlink()
    notebook(book, "02_x", record("relu-definition", "false", "Other 1."))
    assert {p.split(": ")[1] for p in claims.check(book, small)} == {"verdict", "evidence"}
    notebook(book, "02_x", record("relu-definition", None))
    problems = claims.check(book, small)
    assert (
        "shown as open, but the ledger says 'holds'" in problems[0]
        and "no notebook settles it" in problems[1]
    )


def test_command_line(small, tmp_path, capsys):
    def run(*arguments: str) -> int:
        return claims.main(["--ledger", str(small), "--book", str(tmp_path / "book"), *arguments])

    notebook(tmp_path / "book", "02_x", record("relu-definition", "holds"))
    assert run() == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "3 claims: 3 open"
    assert "sample-runs  (study some_study)" in printed[2]
    assert run("check") == 1
    assert run("record") == 0
    assert run("check") == 0
    printed = capsys.readouterr().out
    assert "1 entries changed." in printed and "Notebooks and ledger agree." in printed
    assert run("list") == 0
    assert capsys.readouterr().out.startswith("3 claims: 1 holds, 2 open\n")
    assert run("reopen", "relu-definition") == 0
    assert small.read_text(encoding="utf-8") == SMALL


def test_command_line_without_options_reads_the_ledger_of_the_package(capsys):
    assert claims.main([]) == 0
    assert capsys.readouterr().out.startswith("152 claims: ")
