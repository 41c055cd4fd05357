"""The bench on tiny sizes: what it counts, compares, prints and writes. No test looks at a time."""

import json

import pytest
import torch

import benchmarks as bench
from benchmarks import cases, goals, images, models, report, timing, training, waits
from convcraft import ConvcraftError


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


def test_the_times_that_the_host_waits_are_counted():
    x = torch.arange(4.0)
    assert waits.waits(lambda: x.relu().sum()) == 0
    assert waits.waits(lambda: x.sum().item(), lambda: x[x > 1], lambda: x.sum()) == 2
    line = waits.summary().partition(": ")[2]
    counts = {name: float(count) for count, _, name in (part.partition(" ") for part in line.split(", "))}
    assert counts.pop("a sampled pass of record") <= 1 and counts.pop("every 100 updates of fit") <= 4
    assert len(counts) == 4 and not any(counts.values()), line


def test_ratio_states_median_quartiles_and_interval():
    ratio = bench.Ratio("relu", "forward", "contiguous", (2,), (0.5, 1.0, 1.5, 2.0, 2.5), 1.0)
    assert ratio.median == 1.5 and ratio.quartiles == (1.0, 2.0)
    low, high = ratio.interval()
    assert 0.5 <= low <= ratio.median <= high <= 2.5
    assert ratio.record()["ratios"] == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_main_measures_prints_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "cores", lambda: 1)  # the processes have a test of their own
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
    assert ("vectorized", "4 networks, wall time", "convnet, batch 64") in measured
    assert all(len(r["ratios"]) >= 5 and min(r["ratios"]) > 0 for r in record["ratios"])


def test_only_measures_what_was_asked_for(capsys):
    assert bench.main(["activations", "--quick", "--only", "mish", "--allocator", "default"]) == 0
    text = capsys.readouterr().out
    assert "mish" in text and "tanh" not in text and "training step" not in text
    assert f"ATen's kernels for {torch.backends.cpu.get_cpu_capability()}" in text.splitlines()[0]


def test_it_says_what_it_is_measuring_before_it_measures(monkeypatch, capsys):
    def fail(*settings):
        raise ConvcraftError("measured")

    monkeypatch.setattr(bench, "case", fail)
    with pytest.raises(ConvcraftError, match="measured"):
        bench.main(["activations", "--quick", "--only", "mish", "--allocator", "default"])
    assert capsys.readouterr().err == "measuring mish, 2x4x8x8 contiguous\n"


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


def test_an_input_of_exactly_zero_does_not_stop_the_bench(monkeypatch):
    monkeypatch.setattr(cases, "_inputs", lambda shape, layout: (torch.zeros(shape), torch.ones(shape)))
    assert len(cases.case("relu", (2, 3, 4, 4), "contiguous", 5)) == 2


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


def test_the_textbook_and_torch_compile_stand_beside_ours(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda function: function)  # what it compiles is torch's affair
    arguments = ["activations", "--quick", "--only", "elu", "--compile", "--allocator", "default"]
    assert bench.main(arguments) == 0
    heading, *rows = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith(("case", "elu"))
    ]
    assert "textbook" in heading and "compiled" in heading and len(rows) == 4
    (first, *_) = cases.case("elu", (2, 3, 4, 4), "contiguous", 5, compile=True)
    assert {len(ratios) for ratios in first.rivals.values()} == {5} and min(first.rivals["compiled"]) > 0
    assert first.record()["rivals"].keys() == {"textbook", "compiled"}


def test_a_torch_compile_that_does_not_work_is_said(monkeypatch):
    def broken(function):
        raise RuntimeError("no compiler\nlong trace")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ConvcraftError, match="--compile needs .* RuntimeError: no compiler; leave it out"):
        bench.main(["activations", "--quick", "--compile", "--only", "relu"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConvcraftError, match="device must be one that torch can use, got 'cuda'"):
        bench.main(["activations", "--quick", "--device", "cuda"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_it_measures_on_a_gpu(capsys):
    assert bench.main(["--quick", "--device", "cuda"]) == 0
    assert torch.cuda.get_device_name() in capsys.readouterr().out


def test_on_a_gpu_the_clock_waits_for_it(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(True))
    monkeypatch.setattr(torch, "get_default_device", lambda: torch.device("cuda"))
    assert timing.clock_for(1)() > 0 and waited == [True]


def test_nothing_but_the_candidates_is_timed():
    modes = []
    with timing.device_of_new_tensors("meta"):
        assert torch.zeros(1).device.type == "meta"
        bench.compare({"a": lambda: modes.append(torch._C._len_torch_function_stack())}, rounds=1)
        assert torch.zeros(1).device.type == "meta"
    assert set(modes) == {0} and torch.zeros(1).device.type == "cpu"


GOAL_OF = [
    ("relu", "forward", "contiguous", (64, 64, 32, 32), 1.1),
    ("relu", "forward", "contiguous", (8, 16, 8, 8), 1.6),
    ("mish", "forward+backward", "channels_last", (64, 64, 32, 32), 0.8),
    ("mish", "training step", "contiguous", (64, 3, 32, 32), None),
    ("tanh", "alone, forward+backward", "contiguous", (64, 32, 32, 32), None),
    ("dropout 0.5", "forward", "contiguous", (64, 64, 32, 32), 0.12),
    ("dropout 0.1", "forward", "contiguous", (64, 64, 32, 32), 0.35),
    ("dropout 0.2, textbook", "forward", "contiguous", (64, 64, 32, 32), 0.6),
    ("dropout2d 0.2", "forward", "contiguous", (64, 64, 32, 32), 1.1),
    ("batch_norm", "forward", "contiguous", (64, 64, 32, 32), 0.9),
    ("batch_norm", "forward", "channels_last", (64, 64, 32, 32), 1.1),
    ("erase", "a batch", "contiguous", (256, 3, 32, 32), 0.2),
    ("elastic_net", "value+gradient", "", (37_248,), 0.4),
    ("elastic_net", "value+gradient", "", (4_621_680,), 0.8),
    ("record every 10", "training step", "", (64, 1, 8, 8), 1.1),
    ("record every 1", "training step", "", (64, 1, 8, 8), None),
    ("vectorized", "16 networks, processor time", "perceptron, batch 16", (16, 1, 8, 8), 0.5),
    ("vectorized, 2 processes", "16 networks, wall time", "convnet, batch 32", (32, 1, 8, 8), 0.25),
    ("vectorized, 2 processes", "16 networks, wall time", "convnet, batch 64", (64, 1, 8, 8), 0.4),
    ("2 processes", "16 networks, wall time", "batch 64", (64, 1, 8, 8), None),
]


@pytest.mark.parametrize(("case", "what", "layout", "shape", "aim"), GOAL_OF)
def test_goals(case, what, layout, shape, aim):
    assert goals.goal(bench.Ratio(case, what, layout, shape, (1.0,), 1.0)) == aim


def test_missed_goals_are_listed_the_furthest_first():
    large = (64, 64, 32, 32)
    found = [
        bench.Ratio("relu", "forward", "contiguous", large, (1.2,), 1.0),
        bench.Ratio("elu", "forward", "contiguous", large, (1.104,), 1.0),  # 1.10 as it is printed
        bench.Ratio("mish", "forward", "contiguous", large, (1.6,), 1.0),
        bench.Ratio("mish", "training step", "contiguous", large, (9.0,), 1.0),
    ]
    first, second, third = goals.missed(found).splitlines()
    assert (
        first == "goals met: 1 of 3"
        and "1.60, goal 0.80: mish" in second
        and "1.20, goal 1.10: relu" in third
    )
    assert goals.missed(found[3:]) == ""


def test_penalties_and_steps_do_what_the_loops_do():
    model = models.stack(2, 5)
    parameters = list(model.parameters())
    values, _ = models._penalty_actions(model)
    for ours, loop in zip(values["ours"](), values["base"](), strict=True):
        torch.testing.assert_close(ours, loop)
    before = [p.detach().clone() for p in parameters]
    models.loop_step(parameters, 0.1)
    for p, q in zip(parameters, before, strict=True):
        torch.testing.assert_close(p.detach(), torch.nn.functional.softshrink(q, 0.1))


def test_a_penalty_that_differs_from_the_loop_stops_the_bench(monkeypatch):
    monkeypatch.setattr(models.penalties, "elastic_net", lambda p, l1, l2: torch.ones(()))
    with pytest.raises(ConvcraftError, match="elastic_net must agree with the loop"):
        models.penalty_ratios(5, ((2, 4),))


def test_recording_is_measured_on_the_same_training_steps():
    found = models.record_ratios(5, quick=True)
    assert [r.case for r in found] == ["record every 50", "record every 1"]
    assert all(len(r.ratios) == 5 and min(r.ratios) > 0 for r in found)
