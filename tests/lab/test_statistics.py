"""Intervals and tests: equal to scipy's, and right as often as they say."""

import numpy as np
import pytest
import torch
from scipy import stats

from convcraft import ConvcraftError
from convcraft.lab.statistics import (
    Estimate,
    Interval,
    bootstrap_interval,
    crossed,
    crossed_interval,
    difference,
    expected_calibration_error,
    holm,
    paired_difference,
    perfect_calibration_error,
    t_interval,
    tost,
    wilson,
)


def within_sampling_error(hits, trials, level):
    """Whether a share of hits is one that a coverage of `level` gives in 999 of 1000 simulations."""
    return stats.binomtest(int(hits), trials, level).pvalue > 1e-3


def test_the_t_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(0.9, 0.02, 10)
    for level in (0.9, 0.95):
        found = t_interval(values, level)
        expected = stats.ttest_1samp(values, 0).confidence_interval(level)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        assert found.mean == pytest.approx(values.mean()) and (found.n, found.level) == (10, level)


@pytest.mark.parametrize("n", [3, 10])
def test_the_t_interval_covers_the_mean_as_often_as_it_says(n):
    samples = np.random.default_rng(1).normal(2.0, 1.0, (4000, n))
    assert within_sampling_error(sum(t_interval(s).contains(2.0) for s in samples), 4000, 0.95)


def test_equal_values_never_give_an_interval_without_width():
    for interval in (t_interval([0.5] * 4), bootstrap_interval([0.5] * 4), t_interval([0.0] * 3)):
        assert interval.low < interval.mean < interval.high
    n, step = 5, 1 / 500
    assert t_interval([0.9] * n, step=step).high - 0.9 == pytest.approx(stats.t.ppf(0.975, n - 1) * step / n)
    a, b = np.array([0.90, 0.92, 0.94]), np.array([0.88, 0.90, 0.92])  # all differ by 0.02, the step
    found = difference(a, b)
    assert found.error == pytest.approx(0.02 / 3) and 0.05 < found.p < 0.5
    assert tost(a, a, 0.001).equivalent and not tost(a, a, 0.001, step=1 / 500).equivalent


def test_crossed_intervals_cover_over_seeds_and_images_where_those_over_seeds_do_not():
    """10 seeds, 200 images that differ in how hard they are for both arms, true difference 0.02."""
    rng, hits, narrow, trials = np.random.default_rng(3), 0, 0, 600
    for _ in range(trials):
        image, skill = rng.normal(0, 1.2, 200), rng.normal(0, 0.1, (2, 10, 1))
        own = rng.normal(0, 0.8, (2, 1, 200))  # what is hard for one arm only
        chance = stats.norm.cdf(1.5 + image + own + skill)
        a, b = (rng.random((2, 10, 200)) < chance).astype(float)
        hits += crossed_interval(a, b).contains(0.0)
        narrow += paired_difference(a.mean(1), b.mean(1)).contains(0.0)
    assert 0.93 <= hits / trials <= 0.99 and narrow / trials < 0.85
    wide = crossed(a - b)
    assert wide.half_width(0.95) == pytest.approx(wide.interval().high - wide.mean)
    assert crossed(np.ones((3, 4))).error > 0


def test_the_variances_over_seeds_and_over_images_add_up():
    seeds, images = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 3.0, 4.0])
    both = seeds.var(ddof=1) / 3 + images.var(ddof=1) / 4
    assert crossed(seeds[:, None] + images).error ** 2 == pytest.approx(both)
    noise = np.outer([1.0, 0.0, -1.0], [1.0, -1.0, 1.0, -1.0])  # in no mean, and so in both of their variances
    rest = (noise**2).sum() / (2 * 3) / (3 * 4)
    assert crossed(seeds[:, None] + images + noise).error ** 2 == pytest.approx(both - rest)


def test_the_power_of_an_equality_is_how_often_it_is_shown():
    rng = np.random.default_rng(5)
    for spread in (0.006, 0.012, 0.03):
        samples = rng.normal(0, spread, (2000, 10))
        shown = np.mean([tost(s, 0 * s, 0.01).equivalent for s in samples])
        assert Estimate(0.0, spread / 10**0.5, 9, 10).power(0.01) == pytest.approx(shown, abs=0.06)


def test_perfect_calibration_has_an_error_and_a_calibrated_model_lies_within_it():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 500)
    both = np.stack([p, 1 - p], 1)
    perfect = perfect_calibration_error(both, draws=400)
    found = [expected_calibration_error(both, rng.random(500) > p) for _ in range(400)]
    assert perfect.mean == pytest.approx(np.mean(found), abs=0.002) and perfect.mean > 0.02
    assert 0.92 < np.mean([perfect.contains(one) for one in found]) <= 0.98
    assert expected_calibration_error(both, np.zeros(500, int)) > perfect.high


def test_values_may_be_tensors():
    assert t_interval(torch.tensor([1.0, 2.0, 3.0])) == t_interval([1, 2, 3])


def test_the_bootstrap_is_that_of_scipy_and_a_function_of_its_seed():
    values = np.random.default_rng(0).exponential(1, 20)
    found = bootstrap_interval(values, np.median, level=0.9, resamples=999, seed=3)
    expected = stats.bootstrap(
        (values,), np.median, n_resamples=999, confidence_level=0.9, rng=np.random.default_rng(3)
    ).confidence_interval
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found == bootstrap_interval(values, np.median, level=0.9, resamples=999, seed=3)
    assert found != bootstrap_interval(values, np.median, level=0.9, resamples=999, seed=4)
    assert (
        bootstrap_interval(values, lambda sample: float(sample.max()), method="percentile").mean
        == values.max()
    )


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says(draw):
    """Of the mean of 200 values; for few values every bootstrap falls short of its level."""
    rng, trials = np.random.default_rng(2), 600
    samples = getattr(rng, draw)(size=(trials, 200))
    true = 1.0 if draw == "exponential" else 0.0
    hits = sum(bootstrap_interval(s, resamples=599, seed=i).contains(true) for i, s in enumerate(samples))
    assert within_sampling_error(hits, trials, 0.95)


def test_the_global_random_state_is_untouched():
    before = np.random.get_state()[1].copy()
    bootstrap_interval([1.0, 2.0, 4.0])
    assert np.array_equal(before, np.random.get_state()[1])


def test_the_paired_difference_is_the_interval_of_the_differences():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 8))
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    found = paired_difference(a, b)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert paired_difference(b, a).mean == pytest.approx(-found.mean)


def test_the_paired_difference_covers_as_often_as_it_says():
    """Whatever the seeds do to both arms."""
    rng = np.random.default_rng(8)
    seeds = rng.exponential(5.0, (4000, 8))
    a, b = seeds + rng.normal(0.3, 1.0, (4000, 8)), seeds + rng.normal(0.0, 0.5, (4000, 8))
    hits = sum(paired_difference(x, y).contains(0.3) for x, y in zip(a, b, strict=True))
    assert within_sampling_error(hits, 4000, 0.95)


def test_pairing_pays_when_seeds_matter():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 1, 10)
    found = paired_difference(seeds + 0.1, seeds + rng.normal(0, 0.01, 10))
    assert found.low > 0 and found.high - found.low < 0.1


@pytest.mark.parametrize("paired", [True, False])
def test_tost_is_two_one_sided_tests_of_scipy(paired):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 0.01, (2, 12))
    found = tost(a, b, 0.01, paired=paired)
    test = (
        stats.ttest_rel
        if paired
        else lambda x, y, alternative: stats.ttest_ind(x, y, equal_var=False, alternative=alternative)
    )
    expected = max(
        test(a + 0.01, b, alternative="greater").pvalue, test(a - 0.01, b, alternative="less").pvalue
    )
    assert found.p == pytest.approx(expected)
    inside = -0.01 < found.interval90.low and found.interval90.high < 0.01
    assert found.equivalent == (found.p < 0.05) == inside
    assert found.interval90.level == 0.9


@pytest.mark.parametrize("paired", [True, False])
def test_tost_errs_no_more_often_than_it_says(paired):
    """At a true difference of exactly the margin, equivalence may be declared in 5 % of the cases."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.5, 0.1, (3000, 10)), rng.normal(0.0, 0.1, (3000, 10))
    wrong = sum(tost(x, y, 0.5, paired=paired).equivalent for x, y in zip(a, b, strict=True))
    assert within_sampling_error(wrong, 3000, 0.05)


def test_tost_without_spread_goes_by_the_difference():
    assert tost([1, 2, 3], [1, 2, 3], 0.1).p < 1e-6 and tost([1, 2, 3], [1, 2, 3], 0.1).equivalent
    assert tost([1, 1], [0, 0], 0.5, paired=False).p > 0.99
    assert "not shown" in str(tost([1, 1], [0, 0], 0.5)) and "±0.5" in repr(tost([1, 1], [1, 1], 0.5))


def test_holm_adjusts_as_by_hand_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)
    assert holm([0.02]) == pytest.approx([0.02])


def test_holm_keeps_the_chance_of_any_false_call():
    p = np.random.default_rng(5).uniform(size=(4000, 6))
    calls = sum((holm(row) < 0.05).any() for row in p)
    assert stats.binomtest(int(calls), 4000, 0.05, alternative="greater").pvalue > 1e-3


def test_wilson_is_that_of_scipy_and_covers():
    found = wilson(9, 10, 0.9)
    expected = stats.binomtest(9, 10).proportion_ci(0.9, method="wilson")
    assert (found.low, found.high) == (expected.low, expected.high) and found.mean == 0.9
    assert wilson(0, 20).low == 0.0 and wilson(20, 20).high == 1.0


@pytest.mark.parametrize(("share", "n"), [(0.9, 200), (0.97, 500), (0.5, 40)])
def test_wilson_covers_as_often_as_it_says(share, n):
    """A proportion is discrete: its coverage is what the counts allow, near the level, and known exactly."""
    covering = np.array([wilson(k, n).contains(share) for k in range(n + 1)])
    exact = float(stats.binom.pmf(np.arange(n + 1), n, share)[covering].sum())
    assert abs(exact - 0.95) < 0.015
    hits = covering[np.random.default_rng(6).binomial(n, share, 3000)].sum()
    assert within_sampling_error(hits, 3000, exact)


def test_the_calibration_error_of_probabilities_that_are_true_is_small():
    rng = np.random.default_rng(7)
    p = rng.dirichlet(np.ones(5), 50_000)
    labels = (p.cumsum(1) < rng.uniform(size=(50_000, 1))).sum(1)
    assert expected_calibration_error(p, labels) < 0.01
    sharpened = p**3 / (p**3).sum(1, keepdims=True)
    assert expected_calibration_error(sharpened, labels) > 0.1


def test_the_calibration_error_is_the_formula():
    p = np.array([[0.6, 0.4], [0.3, 0.7], [0.95, 0.05], [0.95, 0.05]])
    labels = np.array([0, 0, 0, 1])
    # bins of width 1/2 hold all four in (1/2, 1]; of width 1/4: two in (1/2, 3/4], two in (3/4, 1]
    assert expected_calibration_error(p, labels, bins=2) == pytest.approx(abs(2 / 4 - (0.6 + 0.7 + 1.9) / 4))
    expected = 0.5 * abs(0.5 - 0.65) + 0.5 * abs(0.5 - 0.95)
    assert expected_calibration_error(p, labels, bins=4) == pytest.approx(expected)
    assert expected_calibration_error(torch.tensor(p), torch.tensor(labels), bins=4) == pytest.approx(
        expected
    )


def test_the_edge_of_a_bin_belongs_to_the_bin_below():
    p = [[0.75, 0.25], [0.75, 0.25], [0.76, 0.24], [0.76, 0.24]]
    expected = 0.5 * abs(1.0 - 0.75) + 0.5 * abs(0.0 - 0.76)
    assert expected_calibration_error(p, [0, 0, 1, 1], bins=4) == pytest.approx(expected)


def test_an_interval_prints_and_contains():
    interval = Interval(-0.0004, -0.0123, 0.0119, 10)
    assert str(interval) == repr(interval) == "0.000 [-0.012, 0.012]"
    assert interval.format(1, percent=True) == "0.0 % [-1.2, 1.2]"
    assert interval.format(4) == "-0.0004 [-0.0123, 0.0119]"
    assert interval.contains(0.0119) and interval.contains(-0.0123)
    assert not interval.contains(0.012) and not interval.contains(-0.0124)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: t_interval([1.0]), "values"),
        (lambda: t_interval([[1.0, 2.0]]), "values"),
        (lambda: t_interval([1.0, np.nan]), "1 not finite"),
        (lambda: t_interval([1.0, 2.0], 1.5), "level"),
        (lambda: bootstrap_interval([1.0, 2.0], level=0.0), "level"),
        (lambda: bootstrap_interval([1.0]), "values"),
        (lambda: paired_difference([1, 2], [1, 2, 3]), "same seeds"),
        (lambda: tost([1, 2], [1, 2], 0.0), "margin"),
        (lambda: tost([1, 2], [1], 0.1, paired=False), "b must be"),
        (lambda: holm([0.5, 1.5]), "p_values"),
        (lambda: wilson(3, 2), "k=3, n=2"),
        (lambda: wilson(0, 0), "n=0"),
        (lambda: wilson(1, 2, 95), "level"),
        (lambda: expected_calibration_error([[0.5, 0.5]], [0, 1]), "shapes"),
        (lambda: expected_calibration_error([[0.5, 0.5]], [0], bins=0), "bins=0"),
        (lambda: expected_calibration_error([[3.0, -1.0]], [0]), "softmax"),
    ],
)
def test_misuse_is_named(call, named):
    with pytest.raises(ConvcraftError, match=named):
        call()
