"""The protocol: rates, budgets, collapses, seeds and images crossed, interactions."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from convcraft import ConvcraftError
from convcraft.__main__ import main
from convcraft.lab import data, models
from convcraft.lab.experiments import Contrast, Study, load, load_study, run_study, train_and_score
from convcraft.lab.experiments.score import bits, last_quarter, which_right
from convcraft.lab.statistics import crossed_interval, wilson
from convcraft.lab.training import DivergedError


def tuned(score, **keywords):
    """The results of a study whose tuning runs score `score(rate, seed)`."""

    def run(arm, rate, seed, splits, final):
        return {"validation_accuracy": score(rate, seed)}

    settings = {"arms": {"a": {}}, "rates": (0.01, 0.02, 0.04), "seeds": (0,), "run": run}
    return run_study(Study(**{**settings, **keywords}))


def seeds_at(results, rate):
    return sum(r["phase"] == "tuning" and r["rate"] == rate for r in results.runs)


def test_the_grid_goes_on_by_its_own_step_until_the_best_rate_is_not_at_its_end():
    peak = tuned(lambda rate, seed: -abs(np.log(rate / 0.16)))
    assert peak.rates_of("a") == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]
    assert peak.best_rates == {"a": 0.16} and peak.at_edge == []
    low = tuned(lambda rate, seed: -abs(np.log(rate / 0.005)))
    assert low.rates_of("a")[:3] == [0.0025, 0.005, 0.01] and low.best_rates == {"a": 0.005}
    never = tuned(lambda rate, seed: rate)
    assert len(never.rates_of("a")) == 6 and never.at_edge == ["a"] == never.shortcomings["rate at the edge"]
    assert "rate at the edge: a" in repr(never) and "validation_accuracy max" in repr(never)
    assert len(tuned(lambda rate, seed: rate, extensions=0).rates_of("a")) == 3


def test_three_seeds_for_all_rates_and_all_seeds_for_the_best_three():
    grid = (0.01, 0.02, 0.04, 0.08, 0.16)
    found = tuned(lambda rate, seed: -abs(np.log(rate / 0.04)), rates=grid)
    assert [seeds_at(found, rate) for rate in grid] == [3, 10, 10, 10, 3]
    table = found.tuning("validation_accuracy", "a")
    assert table.shape == (5, 10) and np.isnan(table).sum() == 2 * 7
    assert found.sweeps()["a"].validation_accuracy.shape == (5, 3, 1)
    assert [seeds_at(tuned(lambda rate, seed: rate == 0.04, rates=grid, first=10), r) for r in grid] == [
        10
    ] * 5


def test_of_rates_within_a_standard_error_the_smallest_is_taken():
    def noisy(gap):
        return lambda rate, seed: (
            {0.02: 0.9 - gap, 0.04: 0.9, 0.08: 0.9 - gap}.get(rate, 0.0) + 0.1 * (seed % 2)
        )

    grid, error = (0.01, 0.02, 0.04, 0.08, 0.16), 0.1 * (10 / 9 / 4) ** 0.5 / 10**0.5
    assert tuned(noisy(0.9 * error), rates=grid).best_rates == {"a": 0.02}
    assert tuned(noisy(1.1 * error), rates=grid).best_rates == {"a": 0.04}


@pytest.mark.parametrize(
    ("select", "bad"), [(("loss", "min"), float("nan")), (("validation_accuracy", "max"), 0.1)]
)
def test_runs_that_diverge_are_not_left_out_of_the_mean(select, bad):
    """The rate 0.04 is best in all runs but those that diverge."""

    def run(arm, rate, seed, splits, final):
        good = 0.9 if rate == 0.04 else 0.8 if rate == 0.02 else 0.1
        accuracy = bad if rate == 0.04 and seed == 101 else good
        return {"validation_accuracy": accuracy, "loss": accuracy if np.isnan(accuracy) else 1 - accuracy}

    study = Study(
        arms={"a": {}},
        rates=(0.01, 0.02, 0.04, 0.08),
        seeds=(0,),
        tuning_seeds=(100, 101),
        run=run,
        select=select,
    )
    assert run_study(study).best_rates == {"a": 0.02}


def test_a_curve_that_falls_by_more_than_one_percent_in_its_last_quarter_is_still_falling():
    assert last_quarter([4.0, 3.0, 3.5, 3.2], range(1, 5)) == [3.0, 3.2] and last_quarter([1.0], [1]) == [1.0]
    assert last_quarter(range(40, 0, -1), range(1, 41)) == [11, 9, 6, 3, 1]

    def run(arm, rate, seed, splits, final):
        return {
            "score": seed,
            "updates": 100,
            "last_quarter": [1.0, 1.0 - arm["fall"] * 0.5, 1.0 - arm["fall"]],
        }

    falls = {"flat": 0.009, "falling": 0.02, "brief": 0.3, "rising": -0.5}
    arms = {name: {"fall": fall} for name, fall in falls.items()}
    found = run_study(Study(arms=arms, seeds=range(3), run=run, short=("brief",)))
    assert found.still_falling == ["falling"] == found.shortcomings["still falling"]
    assert found.fall("falling") == pytest.approx(0.02) and found.fall("rising") == 0
    assert found.updates == dict.fromkeys(falls, 100) and "100, falling" in repr(found)
    unknown = run_study(Study(arms={"a": {}}, seeds=range(3), run=lambda *_: {"score": 1}))
    assert unknown.shortcomings == {"budget unknown": ["a"]} and unknown.fall("a") is None
    assert run_study(Study(arms={"a": {}}, run=lambda *_: {"score": 1}, trains=False)).shortcomings == {}
    with pytest.raises(ConvcraftError, match="unknown arm in short 'bref'"):
        Study(arms=arms, run=run, short=("bref",))
    for name in ("first", "extensions"):
        with pytest.raises(ConvcraftError, match=f"{name} must be a whole number"):
            Study(arms=arms, run=run, **{name: -1})


def digits(arm):
    return data.load("digits").standardized().flattened()


def train(arm, rate, seed, splits, final):
    net = models.build("mlp", widths=(64, *arm["hidden"], 10), activation="relu", seed=seed)
    return train_and_score(net, splits, seed=seed, final=final, updates=32, learning_rate=0.05)


def test_train_and_score_returns_what_the_protocol_wants():
    study = Study(
        arms={"none": {"hidden": []}, "8": {"hidden": [8]}}, seeds=range(3), splits=digits, run=train,
        contrasts=(Contrast("none", "8"),), short=("none", "8"),
    )  # fmt: skip
    found = run_study(study)
    assert found.updates == {"none": 32, "8": 32} and found.shortcomings == {}
    right = {
        arm: np.stack([bits(r["test_correct"], 500) for r in found.runs if r["arm"] == arm]) for arm in "8"
    }
    assert np.allclose(right["8"].mean(1), found.values("test_accuracy", "8"))
    assert found.interval("test_accuracy", "8") == crossed_interval(right["8"])
    (judged,) = found.contrasts()
    assert (
        judged.interval == found.difference("none", "8") and judged.interval.high - judged.interval.low > 0.02
    )
    assert judged.half_width > 0.01 and judged.power < 0.8 and "not reachable" in repr(found.contrasts())
    assert found.contrasts().named("none - 8") == judged
    with pytest.raises(ConvcraftError, match="unknown contrast '8 - none, test_accuracy'"):
        found.contrasts().named("8 - none")


def test_runs_that_diverged_have_no_images_and_leave_those_of_the_others():
    def run(arm, rate, seed, splits, final):
        if seed == 1:
            raise DivergedError("training stopped: the loss is nan")
        return train({"hidden": []}, rate, seed, splits, final)

    found = run_study(Study(arms={"a": {}}, seeds=range(4), splits=digits, run=run))
    right = np.stack([bits(r["test_correct"], 500) for r in found.runs if not r["diverged"]])
    assert found.collapses == {"a": wilson(1, 4)}
    assert found.interval("test_accuracy", "a") == crossed_interval(right)


def test_which_images_were_right_is_a_bit_for_each():
    net, part = models.build("mlp", widths=(64, 10), activation=None, seed=0), digits({}).test
    right = (net(part.x).argmax(1) == part.y).numpy()
    assert (bits(which_right(net, part), len(part)) == right).all()
    assert len(which_right(net, part)) < len(part) / 5
    assert which_right(models.build("mlp", widths=(64, 1), seed=0), data.Split(part.x, part.x[:, :1])) == ""


ARMS = {"sure": [0.90] * 10, "risky": [0.92] * 6 + [0.1] * 4, "worse": [0.90] * 9 + [0.5]}


def collapsing(arm, rate, seed, splits, final):
    return {"test_accuracy": arm["values"][seed] + 0.001 * ((seed * arm["k"]) % 5), "test_loss": float(seed)}


def test_collapses_are_a_rate_of_their_own_and_the_rest_is_judged_without_them():
    arms = {name: {"values": values, "k": k} for k, (name, values) in enumerate(ARMS.items(), start=2)}
    study = Study(
        arms=arms, seeds=range(10), run=collapsing, trains=False,
        contrasts=(Contrast("risky", "sure"), Contrast("risky", "sure", measure="test_loss", family="loss")),
    )  # fmt: skip
    found = run_study(study)
    assert found.collapses == {"risky": wilson(4, 10), "worse": wilson(1, 10)}
    assert found.collapsed("risky").tolist() == [False] * 6 + [True] * 4
    rest = found.interval("test_accuracy", "risky")
    assert rest.n == 6 and rest.low > 0.9 and "collapsed" in repr(found)
    judged, loss = found.contrasts()
    assert judged.interval.n == 6 and judged.interval.mean == pytest.approx(0.02, abs=0.004)
    assert judged.collapses == {"risky": wilson(4, 10)} and judged.p_collapses == pytest.approx(0.125)
    assert judged.verdict == "higher" and not judged.equivalent and "40 % [17, 69]" in repr(found.contrasts())
    assert loss.interval.n == 6 and loss.interval.mean == 0
    arms["risky"]["values"] = [0.92] * 11 + [0.1] * 9
    arms["sure"]["values"] = [0.9] * 20
    more = run_study(Study(arms=arms, seeds=range(20), run=collapsing, contrasts=(Contrast("risky", "sure"),))
                     .reduced({"arms": ["risky", "sure"]}))  # fmt: skip
    assert more.contrasts()[0].p_collapses < 0.05 and more.contrasts()[0].verdict == "mixed"
    arms["risky"]["values"] = [0.9, *[0.1] * 0, 0.2]
    with pytest.raises(ConvcraftError, match="must both train at two or more seeds"):
        run_study(Study(arms=arms, seeds=range(2), run=collapsing)).difference("risky", "sure")


def test_two_effects_are_compared_by_the_interval_of_their_difference():
    values = {"a": 0.5, "b": 0.4, "c": 0.7, "d": 0.68}

    def run(arm, rate, seed, splits, final):
        wobble = np.random.default_rng([seed, arm["i"]]).normal(0, 0.005)
        return {"test_accuracy": values[arm["name"]] + wobble}

    arms = {name: {"name": name, "i": i} for i, name in enumerate(values)}
    stated = (Contrast("a", "b", against=("c", "d")), Contrast("c", "d"))
    found = run_study(Study(arms=arms, seeds=range(8), run=run, contrasts=stated))
    both, second = found.contrasts()
    v = {name: found.values("test_accuracy", name) for name in values}
    expected = (v["a"] - v["b"]) - (v["c"] - v["d"])
    assert both.interval.mean == pytest.approx(expected.mean()) and both.interval.low > 0.06
    assert both.adjusted == pytest.approx(2 * both.p) and second.adjusted == second.p
    assert "(a - b) - (c - d)" in repr(found.contrasts()) and both.verdict == "higher"
    for against in (("c", "c"), ("b", "a"), ("c",)):
        with pytest.raises(ConvcraftError, match="against must be two arms"):
            Contrast("a", "b", against=against)
    with pytest.raises(ConvcraftError, match="unknown arm of a contrast 'e'"):
        Study(arms=arms, run=run, contrasts=(Contrast("a", "b", against=("c", "e")),))


BAD = {
    "without a budget": (", trains=False", "", "must state its budget: run must return 'updates'"),
    "tuning seeds that are final seeds": ("range(9, 12)", "range(3)", "must not overlap"),
    "a contrast of an unknown arm": (
        'Contrast("b", "a"',
        'Contrast("c", "a"',
        "unknown arm of a contrast 'c'",
    ),
    "a contrast of an unknown measure": (
        'measure="score"',
        'measure="skore"',
        "unknown measure of a contrast",
    ),
}
OWN = '''"""A study of somebody else."""

from convcraft.lab.experiments import Contrast, Study


def run(arm, rate, seed, splits, final):
    return {"validation_accuracy": rate, "score": arm["x"] * (1 + 0.1 * seed)}


STUDY = Study(
    arms={"a": {"x": 1}, "b": {"x": 2}}, rates=(0.1, 0.2), seeds=range(3), tuning_seeds=range(9, 12),
    run=run, contrasts=(Contrast("b", "a", measure="score"),), trains=False,
)
'''


def test_a_study_is_run_from_the_path_of_its_file_and_its_result_lies_beside_it(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "own.py"
    path.write_text(OWN)
    assert main(["study", "mine/own.py", "--jobs", "1"]) == 0 and "b - a" in capsys.readouterr().out
    assert sorted(p.name for p in path.parent.iterdir()) == ["own.json", "own.py"]
    found = load(path)
    assert found.best_rates and load("mine/own.py").runs == found.runs == load(path.with_suffix(".json")).runs
    assert load_study(path).name == "own" and run_study("mine/own.py").runs == found.runs
    for name, (old, new, message) in BAD.items():
        before = path.with_suffix(".json").read_bytes()
        assert old in OWN, name
        path.write_text(OWN.replace(old, new).replace("0.1 * seed", "0.2 * seed"))
        assert main(["study", "mine/own.py", "--jobs", "1"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and (message in error or "another version" in error), name
        assert path.with_suffix(".json").read_bytes() == before
        other = tmp_path / f"{name.replace(' ', '_')}.py"  # without a result so far
        other.write_text(OWN.replace(old, new))
        assert main(["study", str(other), "--jobs", "1"]) == 2 and message in capsys.readouterr().err
        assert not other.with_suffix(".json").exists()
    with pytest.raises(ConvcraftError, match="no study at mine/owl.py"):
        run_study("mine/owl.py")


def test_bits_are_plain_text():
    packed = base64.b64encode(np.packbits([1, 0, 1, 1, 0, 0, 0, 0, 1])).decode()
    assert bits(packed, 9).tolist() == [1, 0, 1, 1, 0, 0, 0, 0, 1]
