"""The bench on tiny sizes: what it counts, compares, prints and writes. No test looks at a time."""

import json

import pytest
import torch

from convcraft import ConvcraftError
from convcraft.lab import bench
from convcraft.lab.bench import cases, images, report


def test_compare_interleaves_and_counts_rounds():
    order = []
    times = bench.compare({name: lambda name=name: order.append(name) for name in "abc"}, rounds=6)
    assert all(len(seconds) == 6 and min(seconds) >= 0 for seconds in times.values())
    rounds = [order[i : i + 3] for i in range(0, len(order), 3)]
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds) and len({tuple(r) for r in rounds}) > 1


def test_saved_bytes_are_those_of_the_formula():
    x = torch.randn(16)
    assert bench.saved_bytes(torch.tanh, x) == 4
    assert bench.saved_bytes(lambda v: v * torch.sigmoid(v), x) == 8
    assert bench.saved_bytes(lambda v: v + 1, x) == 0


def test_ratio_states_median_quartiles_and_interval():
    ratio = bench.Ratio("relu", "forward", "contiguous", (2,), (0.5, 1.0, 1.5, 2.0, 2.5), 1.0)
    assert ratio.median == 1.5 and ratio.quartiles == (1.0, 2.0)
    low, high = ratio.interval()
    assert 0.5 <= low <= ratio.median <= high <= 2.5
    assert ratio.record()["ratios"] == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_main_measures_prints_and_writes(tmp_path, capsys):
    path = tmp_path / "record.json"
    arguments = ["--quick", "--allocator", "default", "--json", str(path)]
    before = torch.get_num_threads()
    assert bench.main(arguments) == 0
    assert torch.get_num_threads() == before
    text = capsys.readouterr().out
    record = json.loads(path.read_text(encoding="utf-8"))
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    assert record["provenance"]["command"].startswith("python -m convcraft bench --quick")
    assert {"versions", "hardware", "threads", "rounds", "allocator"} <= set(record["provenance"])
    measured = {(r["case"], r["what"], r["layout"]) for r in record["ratios"]}
    for name in cases.NAMES:
        for layout in ("contiguous", "channels_last"):
            assert (name, "forward", layout) in measured and (name, "forward+backward", layout) in measured
        assert name in text
    assert ("3x3 convolution", "alone, forward+backward", "contiguous") in measured
    assert ("x*sigmoid(x)", "training step", "contiguous") in measured
    assert all(len(r["ratios"]) >= 5 and min(r["ratios"]) > 0 for r in record["ratios"])


def test_only_measures_what_was_asked_for(capsys):
    assert bench.main(["activations", "--quick", "--only", "mish", "--allocator", "default"]) == 0
    text = capsys.readouterr().out
    assert "mish" in text and "tanh" not in text and "training step" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["activatoins"], r"unknown topic of bench 'activatoins': did you mean 'activations'"),
        (["--only", "taanh"], r"unknown activation 'taanh': did you mean 'tanh'"),
        (["activations", "--rounds", "0", "--only", "relu"], r"rounds must be at least 1, got 0"),
    ],
    ids=str,
)
def test_misuse_is_refused(arguments, message):
    with pytest.raises(ConvcraftError, match=message):
        bench.main([*arguments, "--allocator", "default"])


def test_a_wrong_value_stops_the_bench(monkeypatch):
    monkeypatch.setattr(cases.activations, "relu", lambda x: x)
    with pytest.raises(ConvcraftError, match="relu must agree with torch.nn"):
        cases.case("relu", (2, 3, 4, 4), "contiguous", 1)


def test_allocator_setting_is_named_where_there_is_one(monkeypatch):
    class Library:
        calls = []

        def mallopt(self, *setting):
            self.calls.append(setting)

    monkeypatch.setattr(report.ctypes, "CDLL", lambda name: Library())
    assert report.pin_memory().startswith("M_MMAP_MAX=0, M_TRIM_THRESHOLD=")
    assert (-4, 0) in Library.calls and len(Library.calls) == 3
    monkeypatch.setattr(report.ctypes, "CDLL", lambda name: object())
    assert report.pin_memory() == "default (no mallopt here)"


def test_augmentation_is_measured_against_loops_that_do_the_same(capsys):
    assert bench.main(["augmentation", "--quick", "--allocator", "default"]) == 0
    text = capsys.readouterr().out
    for name in ("flip+affine", "flip+shift", "erase", "brightness+contrast", "mixup", "cutmix"):
        assert name in text
    x = torch.rand(400, 2, 8, 8)
    torch.manual_seed(0)
    for name, (ours, loop) in images.pairs(400, 8).items():
        if "over" in name:  # one of ours over another
            continue
        first, second = ours(x), loop(x)
        assert abs(first.mean() - second.mean()) < 0.03 and abs(first.std() - second.std()) < 0.03, name


def test_augmentation_refuses_a_case_that_changes_nothing(monkeypatch):
    monkeypatch.setattr(images, "pairs", lambda count, side: {"nothing": (lambda x: x, lambda x: x)})
    with pytest.raises(ConvcraftError, match="nothing must change the images"):
        images.augmentations((2, 1, 4, 4), "contiguous", 1)
