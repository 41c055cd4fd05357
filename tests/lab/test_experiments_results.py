"""What follows from the runs: values, intervals, differences, contrasts, tables, charts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from convcraft import ConvcraftError
from convcraft.lab.experiments import Contrast, Study, load, run_study
from convcraft.lab.statistics import holm, t_interval, tost

SCORES = {"a": [0.50, 0.52, 0.54, 0.50], "b": [0.60, 0.63, 0.66, 0.59], "c": [0.501, 0.519, 0.541, 0.499]}


def run(arm, rate, seed, splits, final):
    if not final:
        return {"validation_accuracy": [0.0, rate], "gap": rate + seed}
    value = arm["scores"][seed]
    return {"test_accuracy": value, "layers": [value, 2 * value], "kind": "text", "count": seed}


@pytest.fixture(scope="module")
def results():
    return run_study(
        Study(
            arms={name: {"scores": scores} for name, scores in SCORES.items()},
            rates=(0.1, 0.2, 0.3),
            seeds=range(4),
            tuning_seeds=(8, 9),
            extensions=0,
            run=run,
            contrasts=(
                Contrast("b", "a", claim="b-is-better"),
                Contrast("c", "a", margin=0.005),
                Contrast("a", "b", family="alone"),
                Contrast("a", "c", measure="count"),
            ),
        )
    )


def test_values_are_in_the_order_of_the_seeds(results):
    assert results.values("test_accuracy", "b").tolist() == SCORES["b"]
    assert results.values("layers", "a").shape == (4, 2) and results.seeds == [0, 1, 2, 3]
    assert results.measures == ["test_accuracy", "layers", "kind", "count"] and results.arms == [
        "a",
        "b",
        "c",
    ]


def test_intervals_and_differences_are_those_of_the_statistics(results):
    assert results.interval("test_accuracy", "a") == t_interval(SCORES["a"])
    assert results.intervals("test_accuracy", 0.9)["c"] == t_interval(SCORES["c"], 0.9)
    a, b = np.array(SCORES["a"]), np.array(SCORES["b"])
    assert results.difference("b", "a") == t_interval(b - a)


def test_contrasts_are_judged_with_holm_in_each_family(results):
    better, same, alone, count = results.contrasts()
    a, b, c = (np.array(SCORES[name]) for name in "abc")
    p = [stats.ttest_rel(b, a).pvalue, stats.ttest_rel(c, a).pvalue]
    assert np.allclose([better.p, same.p], p) and np.allclose([better.adjusted, same.adjusted], holm(p))
    assert np.isclose(alone.adjusted, p[0]) and better.interval == t_interval(b - a)
    assert better.verdict == "higher" and alone.verdict == "lower" and better.claim == "b-is-better"
    assert same.equivalence == tost(c, a, 0.005) and same.equivalent and same.verdict == "equal"
    assert count.p == 1 and count.verdict == "undecided" and count.equivalence is None
    assert [row.family for row in results.contrasts("alone")] == ["alone"]
    assert results.contrasts("alone")[0].adjusted == alone.adjusted


def test_contrasts_print_as_a_table(results):
    text = repr(results.contrasts())
    assert "b - a" in text and "0.1050 [" in text and "±0.005: yes" in text and "higher" in text
    assert "<td>b - a</td>" in results.contrasts()._repr_html_()
    assert str(results.contrasts()[0]).endswith("higher")


def test_a_difference_that_is_always_the_same_is_not_certain():
    """As if one of the seeds lay a step off."""
    study = Study(
        arms={"a": {"x": 0}, "b": {"x": 1}},
        seeds=range(3),
        run=lambda arm, rate, seed, splits, final: {"score": arm["x"] + seed, "same": seed},
        contrasts=(Contrast("b", "a", "score"), Contrast("b", "a", "same", margin=0.1)),
    )
    different, same = run_study(study).contrasts()
    assert 0.05 < different.p < 0.2 and different.verdict == "undecided"
    assert different.interval.low < 1 < different.interval.high
    assert same.p == 1 and same.verdict == "equal"


def test_a_difference_can_be_significant_and_small():
    study = Study(
        arms={"a": {"x": 0.0}, "b": {"x": 0.0005}},
        seeds=range(8),
        run=lambda arm, rate, seed, splits, final: {
            "test_accuracy": arm["x"] + 1e-4 * seed**2 + arm["x"] * seed
        },
        contrasts=(Contrast("b", "a"), Contrast("a", "b")),
    )
    verdicts = [row.verdict for row in run_study(study).contrasts()]
    assert verdicts == ["higher, within the margin", "lower, within the margin"]


def test_tuning_gives_rates_by_seeds(results):
    assert results.tuning("gap", "a").tolist() == [[8.1, 9.1], [8.2, 9.2], [8.3, 9.3]]
    assert results.tuning("validation_accuracy", "b").shape == (3, 2, 2)
    with pytest.raises(ConvcraftError, match="unknown measure of the tuning runs 'test_accuracy'"):
        results.tuning("test_accuracy", "a")


def test_all_runs_as_a_structured_array(results):
    table = results.structured()
    assert len(table) == 3 * 3 * 2 + 3 * 4 and table.dtype["seed"].kind == "i"
    final = table[table["phase"] == "final"]
    assert final[final["arm"] == "b"]["test_accuracy"].tolist() == SCORES["b"]
    assert np.isnan(table[0]["test_accuracy"]) and table[0]["validation_accuracy"] == 0.1
    assert final[0]["layers"] == 1.0 and final[0]["kind"] == "text" and not table["diverged"].any()
    assert np.isnan(table[0]["count"]) and final["count"].tolist() == [0, 1, 2, 3] * 3


def test_the_table_has_a_row_an_arm(results):
    text = repr(results.table())
    assert text.splitlines()[0].split() == ["arm", "rate", "test_accuracy", "count", "diverged"]
    assert "0.3*" in text and "0 of 4" in text and "0.620 [0.570, 0.670]" in text
    assert "count" not in repr(results.table("test_accuracy")) and "0.6200" in repr(results.table(digits=4))
    assert repr(results.table(["layers"])).splitlines()[1].split() == ["a", "0.3*", "-", "0", "of", "4"]
    assert "<table>" in results._repr_html_() and text in repr(results)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda r: r.values("test_acuracy", "a"),
            "unknown measure 'test_acuracy': did you mean 'test_accuracy'",
        ),
        (lambda r: r.values("test_accuracy", "d"), "unknown arm 'd'"),
        (lambda r: r.interval("layers", "a"), "must be one number for each run; got lists of 2"),
        (lambda r: r.values("kind", "a"), "'kind' must be numbers"),
        (lambda r: r.table("kin"), "unknown measure 'kin'"),
    ],
)
def test_questions_without_an_answer(ask, message, results):
    with pytest.raises(ConvcraftError, match=message):
        ask(results)


def test_lists_of_different_lengths_are_no_array():
    study = Study(arms={"a": {}}, run=lambda arm, rate, seed, splits, final: {"x": [0.0] * seed})
    with pytest.raises(ConvcraftError, match="'x' must have the same length in all runs"):
        run_study(study).values("x", "a")


def test_one_seed_has_a_value_and_no_interval():
    study = Study(arms={"a": {}}, seeds=(0,), run=lambda *_: {"x": 0.25})
    assert "0.250" in repr(run_study(study)) and "[" not in repr(run_study(study))


def test_results_are_loaded_by_name_and_by_path_without_the_study(folder, tmp_path, monkeypatch):
    folder.write("tiny")
    ran = run_study("tiny")
    path = folder.results / "tiny.json"
    for found in (load("tiny"), load("tiny", folder=folder.studies), load(path), load(str(path))):
        assert found.runs == ran.runs and found.version == ran.version and found.name == "tiny"
    with pytest.raises(ConvcraftError, match="unknown study 'tinny': did you mean 'tiny'"):
        load("tinny")
    folder.write("other")
    with pytest.raises(ConvcraftError, match="found no result at .*other.json.*study other"):
        load("other")
    (folder.studies / "tiny.py").unlink()
    assert load("tiny").runs == ran.runs
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("pathlib.Path.cwd", lambda: tmp_path / "empty")
    assert load(path).best_rates == ran.best_rates


def test_charts_of_results(results):
    plotting = pytest.importorskip("convcraft.plotting")
    pytest.importorskip("matplotlib")
    axes = plotting.learning_rates(results, alt="Rates.").axes[0]
    assert {line.get_label() for line in axes.get_lines()} >= {"a", "b", "c"}
    one = plotting.learning_rates({"b": results}, alt="One.").axes[0]
    assert [line.get_label() for line in one.get_lines()] == ["b"]
    with pytest.raises(ConvcraftError, match="unknown arm 'd'"):
        plotting.learning_rates({"d": results}, alt="None.")
    chart = plotting.differences(results.contrasts()[:2], alt="Two differences.", percent=True)
    assert [label.get_text() for label in chart.axes[0].get_yticklabels()] == ["b − a", "c − a"]
    assert plotting.intervals(results.intervals("test_accuracy"), alt="All.").alt == "All."


def test_curves_against_the_rate(results):
    sweep = results.sweeps()["a"]
    assert sweep.learning_rates == [0.1, 0.2, 0.3] and sweep.validation_accuracy.shape == (3, 2, 2)
    assert results.sweeps("gap")["a"].validation_accuracy.shape == (3, 2, 1)
