"""The report: printing, HTML, plots, comparison and JSON."""

import json
import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convcraft import ConvcraftError
from convcraft.diagnostics import Comparison, Finding, LayerStatistics, Report, diagnose
from convcraft.lab import clinic


def report(name="dead-units", twin=False):
    return diagnose(*(clinic.healthy if twin else clinic.sick)(name))


def test_the_table_is_aligned_and_the_findings_follow():
    text = str(report())
    summary, table, *findings = text.split("\n\n")
    assert "192 examples in 3 batches, loss" in summary and "severe" in summary
    lines = table.split("\n")
    assert lines[0].split() == "layer kind mean std zeros dead saturated gradient update".split()
    assert (
        len(lines) == 6
        and len({line.index(k) for line, k in zip(lines, ["kind", "linear"], strict=False)}) == 1
    )
    ends = {re.search(r"dead", lines[0]).end()} | {re.search(r"\d+\.\d %\s+\d+\.\d( %)", lines[2]).end()}
    assert len(ends) == 1
    assert all(len(line) <= 110 for line in text.split("\n")[1:])
    body = "\n".join(findings)
    for part in (
        "severe: dead-units at 3",
        "64 of 64 units (100 %)",
        "why:",
        "do:",
        "see: the chapter on Act",
    ):
        assert part in body


def test_a_finding_holds_what_it_says():
    finding = next(f for f in report().findings if f.name == "dead-units")
    assert finding.layer == "3" and finding.numbers["dead"] == 1.0 and finding.numbers["units"] == 64
    assert finding.severity == "severe" and finding.rank == 0 and finding.chapter == "Activations"


def test_nothing_found():
    healthy = report(twin=True)
    assert healthy.healthy and healthy.findings == () and "nothing found" in str(healthy)
    assert not report().healthy and len(report().severe) >= 1 and "dead-units" in report()
    assert tuple(report()) == report().findings


def test_html_is_escaped():
    class Odd(nn.Module):
        def forward(self, x):
            return x

    model = nn.Sequential(nn.Linear(3, 3))
    model.add_module("<b>", nn.Linear(3, 3))
    text = diagnose(model, torch.randn(4, 3))._repr_html_()
    assert "&lt;b&gt;" in text and "<b>" not in text and text.count("<tr>") == 3
    assert "<strong>severe: dead-units</strong> at <code>3</code>" in report()._repr_html_()


def test_json_and_back():
    first = report()
    again = Report.from_json(first.to_json())
    assert again == first and again.findings[0] == first.findings[0]
    assert json.loads(first.to_json())["layers"][0]["name"] == "0"


def test_json_through_a_file(tmp_path):
    first = report("not-finite")
    first.to_json(tmp_path / "report.json")
    for source in (tmp_path / "report.json", str(tmp_path / "report.json")):
        again = Report.from_json(source)
        assert str(again) == str(first)
    layer = LayerStatistics("a", "relu", "activation", mean=math.nan, std=math.inf)
    odd = Report("inf", 0, (layer,), (Finding("nan", "note", "inf", "nan", {"x": -math.inf}),))
    text = odd.to_json()
    assert json.loads(text)["layers"][0]["std"] == "inf"  # the standard knows no infinity
    back = Report.from_json(text)
    assert back.layers[0].std == math.inf and math.isnan(back.layers[0].mean) and back.model == "inf"
    assert back.findings[0].layer == "inf" and back.findings[0].numbers == {"x": -math.inf}


def test_comparison():
    sick, well = report(), report(twin=True)
    change = sick.compare(well)
    assert isinstance(change, Comparison) and change.new == () and change.kept == ()
    assert {f.name for f in change.gone} == {f.name for f in sick.findings}
    assert "gone: severe, dead-units at 3" in str(change) and "new:" not in str(change)
    assert "new: severe, dead-units at 3" in str(well.compare(sick))
    assert "stays: severe, dead-units at 3" in str(sick.compare(sick)) and "then" in str(change)
    assert "the same findings: none" in str(well.compare(well))
    assert change._repr_html_().count("<tr>") == 6


def test_plot():
    chart = report("softmax-before-cross-entropy").plot()
    titles = [ax.get_title(loc="left") for ax in chart.axes]
    assert titles == [
        "standard deviation",
        "gradient at the output",
        "gradient at the weights",
        "update / weights",
        "share",
    ]
    assert chart.alt.startswith("Sequential: ") and "4 layers" in chart.alt
    assert report().plot(alt="Mine.", theme="dark").alt == "Mine."


def test_layers_are_reached_by_name():
    assert report()["3"].kind == "relu" and report()["3"].dead == 1.0


ERRORS = [
    (lambda: report()["relu"], "unknown layer 'relu'"),
    (lambda: report().compare(3), "other must be a Report, got int"),
    (lambda: Report("M", 0, (), ()).plot(), "must have layers"),
    (lambda: Report.from_json("{}"), "must be a report of format 1"),
    (lambda: Report.from_json("[1]"), "must be a report of format 1"),
    (lambda: Report.from_json('{"format": 2}'), "must be a report of format 1"),
    (lambda: Report.from_json("nonsense"), "must be a report of format 1, got 'nonsense'"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[m for _, m in ERRORS])
def test_misuse(call, message):
    with pytest.raises(ConvcraftError, match=message):
        call()


def test_importing_diagnostics_does_not_import_matplotlib():
    import subprocess
    import sys

    code = (
        "import sys, convcraft.diagnostics\n"
        "print('matplotlib' in sys.modules, 'convcraft.lab' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["False", "False"]


def test_the_loss_is_the_mean_over_the_batches():
    case = clinic.healthy("dead-units")
    wanted = [float(F.cross_entropy(case.model(x), y).detach()) for x, y in case.batch]
    assert diagnose(*case).loss == pytest.approx(sum(wanted) / 3, rel=1e-6)
