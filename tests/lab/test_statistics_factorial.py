"""Shares of variance: by hand, as scipy has them where it does, and intervals that cover."""

import numpy as np
import pytest
import torch
from scipy import stats

from convcraft import ConvcraftError
from convcraft.lab.statistics import variance_shares


def design(*levels):
    """One label a value and factor ("a", "b", ...; the last one without a name), of every combination."""
    grid = np.indices(levels).reshape(len(levels), -1)
    return dict(zip("abcde", grid[:-1], strict=False)), grid[-1]


def test_two_factors_by_hand():
    """Cell means 1, 3 | 5, 11 with two values each, one below and one above the mean."""
    values = [0, 2, 2, 4, 4, 6, 10, 12]
    factors, _ = design(2, 2, 2)
    found = variance_shares(values, factors)
    # grand mean 5; a: 2, 8; b: 3, 7; left in the cells: 1, -1, -1, 1; each value is 1 off its cell
    squares = {"a": 8 * 9, "b": 8 * 4, "a x b": 8 * 1, "residual": 8 * 1}
    assert {e.name: e.sum_of_squares for e in found.effects} == pytest.approx(squares)
    assert {e.name: e.share for e in found.effects} == pytest.approx({k: v / 120 for k, v in squares.items()})
    assert [e.df for e in found.effects] == [1, 1, 1, 4]
    assert [e.name for e in found.effects] == ["a", "b", "a x b", "residual"]
    assert found["a"].f == pytest.approx(72 / (8 / 4)) and found["a"].partial.mean == pytest.approx(72 / 80)
    assert found["a"].p == pytest.approx(stats.f.sf(36, 1, 4))


@pytest.mark.parametrize("levels", [2, 5])
def test_one_factor_is_the_one_way_analysis_of_scipy(levels):
    groups = np.random.default_rng(levels).normal(size=(levels, 6)) + np.arange(levels)[:, None] / 4
    found = variance_shares(groups.ravel(), {"arm": np.repeat(np.arange(levels), 6)})
    expected = stats.f_oneway(*groups)
    assert (found["arm"].f, found["arm"].p) == pytest.approx((expected.statistic, expected.pvalue))
    between = 6 * ((groups.mean(1) - groups.mean()) ** 2).sum()
    assert found["arm"].share == pytest.approx(between / ((groups - groups.mean()) ** 2).sum())


def test_a_block_makes_of_two_arms_the_paired_test_of_scipy():
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=9)
    a, b = seeds + rng.normal(0, 0.2, 9), seeds + rng.normal(0.2, 0.2, 9)
    arm, seed = [0] * 9 + [1] * 9, [*range(9)] * 2
    found = variance_shares([*a, *b], {"arm": arm}, block=seed)
    expected = stats.ttest_rel(a, b)
    assert (found["arm"].f, found["arm"].p) == pytest.approx((expected.statistic**2, expected.pvalue))
    assert found["block"].df == found["residual"].df == found["residual"].freedom == 8
    assert found["arm"].p < variance_shares([*a, *b], {"arm": arm})["arm"].p


def test_the_squares_are_what_linear_models_explain():
    """Each effect adds its columns to a least-squares fit; in a balanced design the order does not matter."""
    factors, _ = design(2, 3, 2, 2)
    y = np.random.default_rng(3).normal(size=24)
    found = variance_shares(y, factors)
    dummies = {name: np.eye(codes.max() + 1)[codes] for name, codes in factors.items()}

    def explained(names):
        columns = [np.ones((24, 1))]
        for name in names:
            product = columns[0]
            for part in name.split(" x "):
                product = (product[:, :, None] * dummies[part][:, None]).reshape(24, -1)
            columns.append(product)
        x = np.hstack(columns)
        return ((x @ np.linalg.lstsq(x, y, rcond=None)[0] - y.mean()) ** 2).sum()

    names = ["c", "b", "a", "b x c", "a x c", "a x b", "a x b x c"]
    for i, name in enumerate(names):
        gained = explained(names[: i + 1]) - explained(names[:i])
        assert found[name].sum_of_squares == pytest.approx(gained, abs=1e-10)
    assert sum(e.share for e in found.effects) == pytest.approx(1)
    assert sum(e.df for e in found.effects) == 23


def test_interactions_beyond_the_order_go_to_the_residual():
    factors, _ = design(2, 2, 3, 2)
    y = np.random.default_rng(0).normal(size=24)
    whole, pairs, main = (variance_shares(y, factors, order=order) for order in (None, 2, 1))
    left = whole["residual"].share + whole["a x b x c"].share
    assert pairs["residual"].share == pytest.approx(left) and len(pairs.effects) == 7
    assert pairs["residual"].df == whole["residual"].df + 2
    assert [e.name for e in main.effects if " x " in e.name] == []
    assert pairs["c", "a"] == pairs["a x c"] == pairs["c x a"]


def test_the_order_of_the_runs_and_the_kind_of_label_do_not_matter():
    factors, seed = design(2, 3, 4)
    y = np.random.default_rng(0).normal(size=24)
    expected = variance_shares(y, factors, block=seed)
    order = np.random.default_rng(1).permutation(24)
    words = {"a": [("no", "yes")[i] for i in factors["a"][order]], "b": torch.tensor(factors["b"][order])}
    found = variance_shares(torch.tensor(y[order]), words, block=list(seed[order]))
    for one, other in zip(expected.effects, found.effects, strict=True):
        assert one.name == other.name and one.share == pytest.approx(other.share)


def test_a_shift_and_a_scale_do_not_matter():
    factors, _ = design(2, 3, 4)
    y = np.random.default_rng(0).normal(size=24)
    first, second = variance_shares(y, factors), variance_shares(1e6 + 1e-3 * y, factors)
    assert [e.share for e in first.effects] == pytest.approx([e.share for e in second.effects], rel=1e-4)


def test_without_replicates_nothing_is_tested():
    factors, _ = design(2, 2, 1)
    found = variance_shares([0, 1, 2, 4], factors)
    assert found["residual"].share == 0.0 and found["residual"].df == 0
    assert found["a"].f is None and found["a"].p is None and found["a"].partial is None
    exact = variance_shares([0, 0, 1, 1, 2, 2, 3, 3], design(2, 2, 2)[0])  # replicates without any noise
    assert exact["a"].f is None and exact["a x b"].share == pytest.approx(0)


@pytest.mark.parametrize("size", [0.0, 0.3, 1.0])
def test_the_interval_covers_the_partial_share_as_often_as_it_says(size):
    """3 x 2 cells of 5 runs; a moves the mean by -size, 0, +size, so that lambda / N is 2 size^2 / 3."""
    factors, _ = design(3, 2, 5)
    rng, trials = np.random.default_rng(11), 500
    true = (2 * size**2 / 3) / (1 + 2 * size**2 / 3)
    noise = rng.normal(size=(trials, 30)) + size * (factors["a"] - 1)
    found = [variance_shares(y, factors)["a"].partial for y in noise]
    hits = sum(interval.contains(true) for interval in found)
    # an effect of 0 is never below the interval's lower end of 0: that side alone can miss
    assert stats.binomtest(hits, trials, 0.975 if size == 0 else 0.95).pvalue > 1e-3


def test_the_test_errs_as_often_as_it_says():
    factors, seed = design(2, 2, 4)
    rng = np.random.default_rng(12)
    y = rng.normal(size=(400, 16)) + 3 * rng.normal(size=(400, 4))[:, seed]
    wrong = sum(variance_shares(values, factors, block=seed)["a x b"].p < 0.05 for values in y)
    assert stats.binomtest(int(wrong), 400, 0.05).pvalue > 1e-3


@pytest.mark.parametrize("noise", [1e-3, 1e-5])
def test_the_interval_of_a_huge_effect_is_narrow(noise):
    """By F = lambda / df / (chi2 / df of the residual), which holds where lambda is large."""
    factors, _ = design(2, 10)
    y = factors["a"] + noise * np.random.default_rng(0).normal(size=20)
    found = variance_shares(y, factors)["a"]
    ends = found.f * stats.chi2.ppf([0.025, 0.975], 18) / 18
    assert 1 - found.partial.low == pytest.approx(20 / (ends[0] + 20), rel=1e-2)
    assert 1 - found.partial.high == pytest.approx(20 / (ends[1] + 20), rel=1e-2)


def test_it_prints_a_table():
    found = variance_shares([0, 2, 2, 4, 4, 6, 10, 12], design(2, 2, 2)[0])
    lines = str(found).splitlines()
    assert lines[0].split() == ["effect", "share", "df", "F", "p", "partial", "share"]
    assert lines[1].startswith("a         60.0 %   1  36.0  0.0039  0.900 [")
    assert lines[-1].split() == ["residual", "6.7", "%", "4"]
    assert repr(found) == str(found)


FOUR = {"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: variance_shares([1, 2, 3, np.nan], FOUR), "1 not finite"),
        (lambda: variance_shares([1, 1, 1, 1], FOUR), "must vary"),
        (lambda: variance_shares([1, 2, 3, 4], {}), "at least one factor"),
        (lambda: variance_shares([1, 2, 3, 4], FOUR, order=0), "order=0"),
        (lambda: variance_shares([1, 2, 3, 4], FOUR, order=3), "order=3"),
        (lambda: variance_shares([1, 2, 3, 4], {"a": [0, 1, 1]}), "factor 'a'.*3 labels"),
        (lambda: variance_shares([1, 2, 3, 4], {"a": [7] * 4}), "1 levels"),
        (lambda: variance_shares([1, 2, 3, 4], {"a": [[0], [0], [1], [1]]}), "list of labels"),
        (lambda: variance_shares([1, 2, 3, 4], {"a": 5}), "list of labels"),
        (lambda: variance_shares([1, 2, 3, 4], {"a": [0, 1, 1, 1]}), "with 1 to 3"),
        (lambda: variance_shares([1, 2], {"a": [0, 1], "b": [0, 1]}), "'a', 'b' equally often"),
        (lambda: variance_shares([1, 2, 3, 4], FOUR, block=[1, 2, 3, 4]), "'block' equally often"),
        (lambda: variance_shares([1, 2, 3, 4], {"block": [0, 0, 1, 1]}), "called block"),
        (lambda: variance_shares([1, 2, 3, 4], FOUR, level=95), "level"),
        (lambda: variance_shares([1, 2, 3, 5], FOUR)["c"], "effect"),
        (lambda: variance_shares([1, 2, 3, 5], FOUR)["a", "c"], "a x c"),
    ],
)
def test_misuse_is_named(call, named):
    with pytest.raises(ConvcraftError, match=named):
        call()


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_of_a_share_in_a_large_design_without_any_effect(seed):
    """scipy's noncentral F is nan where its value is too small to hold."""
    runs = [(a, b, c, run) for a in range(8) for b in range(3) for c in range(3) for run in range(10)]
    values = np.random.default_rng(seed).normal(size=len(runs))
    factors = {name: [run[i] for run in runs] for i, name in enumerate("abc")}
    found = variance_shares(values, factors, block=[run for *_, run in runs])
    effects = [effect for effect in found.effects if effect.name != "residual"]
    assert all(0 <= effect.partial.low <= effect.partial.high < 0.1 for effect in effects)


def test_an_effect_that_varies_from_seed_to_seed_is_tested_against_that_unless_pooling_is_asked_for():
    """The paired t test of the effect of `a`, whose size depends on the seed; `b` has none."""
    rng = np.random.default_rng(9)
    runs = [(a, b, seed) for a in range(2) for b in range(2) for seed in range(8)]
    sway = rng.normal(0.3, 1.0, 8)
    values = [a * sway[seed] + rng.normal(0, 0.1) for a, b, seed in runs]
    factors = {"a": [a for a, _, _ in runs], "b": [b for _, b, _ in runs]}
    seeds = [seed for _, _, seed in runs]
    found = variance_shares(values, factors, block=seeds)["a"]
    means = np.array(values).reshape(2, 2, 8).mean(1)  # (a, seeds)
    assert found.p == pytest.approx(stats.ttest_rel(*means).pvalue)
    assert variance_shares(values, factors, block=seeds, pooled=True)["a"].f > 2 * found.f
