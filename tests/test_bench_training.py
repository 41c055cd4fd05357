"""The bench of many small trainings, on a few examples: all ways train the same. No test looks at a time."""

import json

import pytest

import benchmarks as bench
from benchmarks import training
from convcraft import ConvcraftError


def test_every_way_trains_the_networks_of_one_by_one():
    for network in training.NETWORKS:
        rest = ([0, 1, 2], network, 2, 16, 64)
        assert training.vectorized(*rest) == pytest.approx(training.one_by_one(*rest), rel=1e-3)
        assert len(set(training.one_by_one(*rest))) == 3


def test_the_quick_bench_measures_every_way_prints_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "cores", lambda: 2)
    path = tmp_path / "record.json"
    assert bench.main(["training", "--quick", "--allocator", "default", "--json", str(path)]) == 0
    ratios = json.loads(path.read_text(encoding="utf-8"))["ratios"]
    ways = ["one by one", "vectorized", "2 processes", "vectorized, 2 processes"]
    assert [r["case"] for r in ratios] == 2 * [*ways[:2], *ways]
    assert all(len(r["ratios"]) == 5 and min(r["ratios"]) > 0 for r in ratios)
    assert all(value == 1 for r in ratios if r["case"] == "one by one" for value in r["ratios"])
    assert {"quartiles", "interval", "median"} <= set(ratios[0])
    text = capsys.readouterr().out
    assert "models x epochs per second" in text and "4 networks, wall time: vectorized, 2 processes" in text


def test_throughput_is_that_of_the_medians():
    ratio = bench.Ratio(
        "vectorized", "4 networks, wall time", "batch 64", (64, 1, 8, 8), (0.5, 0.4, 0.6), 20.0
    )
    assert training.per_second([ratio]).endswith("\n  100.0  batch 64, 4 networks, wall time: vectorized")
    assert training.per_second([]) == ""


def test_on_one_core_there_are_no_processes(monkeypatch):
    monkeypatch.setattr(training, "cores", lambda: 1)
    found = training.throughput("perceptron", 32, 1, models=2, examples=64)
    assert [r.case for r in found] == 2 * ["one by one", "vectorized"]
    assert {r.shape[0] for r in found} == {32}


def test_a_way_that_trains_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(training, "cores", lambda: 1)
    monkeypatch.setattr(training, "vectorized", lambda seeds, *rest: training.one_by_one([9, 8], *rest))
    with pytest.raises(ConvcraftError, match="bench: vectorized must train the networks"):
        training.throughput("perceptron", 16, 1, models=2, examples=512)
