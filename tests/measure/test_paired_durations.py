"""Paired durations against scipy, against the definitions where scipy has none, and against what they promise."""

import json
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, ttest_rel, wilcoxon

from so8t_engine.measure.durations import durations, shift, signed_rank

rounded = st.lists(st.integers(-4, 4), min_size=1, max_size=9)
"""Differences of a coarse clock: many 0, many alike."""


def means_of_two(differences):
    return sorted((a + b) / 2 for a, b in combinations_with_replacement(differences, 2))


@pytest.mark.parametrize("pairs", [1, 2, 5, 6, 20, 50, 51, 200])
def test_p_equals_scipys(pairs):
    for seed in range(20):
        differences = np.random.default_rng(seed).normal(0.2, 1, pairs)
        method = "exact" if pairs <= 50 else "asymptotic"
        p, rank_biserial = signed_rank(differences)
        reference = wilcoxon(differences, method=method)
        assert p == pytest.approx(reference.pvalue, abs=1e-9)
        ranks = np.argsort(np.argsort(abs(differences))) + 1
        assert rank_biserial == pytest.approx((ranks * np.sign(differences)).sum() / ranks.sum())


@given(rounded)
def test_p_of_a_coarse_clock_is_exact(differences):
    """By trying every combination of signs, as the definition says."""
    p, rank_biserial = signed_rank(np.array(differences, dtype=float))
    decided = np.array([d for d in differences if d])
    if not len(decided):
        assert (p, rank_biserial) == (1.0, None)
        return
    ranks = rankdata(abs(decided))
    sums = np.array(list(product([0, 1], repeat=len(decided)))) @ ranks
    seen = ranks[decided > 0].sum()
    assert p == pytest.approx(min(1, 2 * min((sums <= seen).mean(), (sums >= seen).mean())), abs=1e-12)
    assert rank_biserial == pytest.approx((ranks * np.sign(decided)).sum() / ranks.sum())


def test_p_of_a_coarse_clock_and_many_rows_equals_scipys():
    differences = np.random.default_rng(0).integers(-3, 5, 300).astype(float)
    reference = wilcoxon(differences, zero_method="wilcox", correction=False, method="asymptotic")
    assert signed_rank(differences)[0] == pytest.approx(reference.pvalue, rel=1e-9)


@pytest.mark.parametrize("pairs", [1, 2, 5, 6, 7, 13, 40])
def test_the_shift_is_the_median_of_the_means_and_its_interval_what_the_test_lets_stand(pairs):
    differences = np.random.default_rng(pairs).normal(1, 2, pairs)
    found = shift(differences)
    means = means_of_two(differences)
    assert found.value == pytest.approx(np.median(means), abs=1e-12)
    edges = [means[0] - 1, *means, means[-1] + 1]
    between = [(a, b) for a, b in zip(edges, edges[1:], strict=False) if wilcoxon(differences - (a + b) / 2).pvalue > 0.05]
    if pairs < 6:
        assert found.low is None and found.high is None and len(between) == len(edges) - 1
    else:
        assert (found.low, found.high) == pytest.approx((between[0][0], between[-1][1]), abs=1e-12)


def test_the_shift_of_many_rows_equals_that_of_all_means():
    differences = np.random.default_rng(1).standard_t(3, 151)
    found, means = shift(differences), np.array(means_of_two(differences))
    assert found.value == pytest.approx(np.median(means), abs=1e-12)
    for limit, outside in ((found.low, -1e-9), (found.high, 1e-9)):
        assert min(abs(means - limit)) < 1e-12
        assert signed_rank(differences - limit - outside)[0] <= 0.05 < signed_rank(differences - limit + outside)[0]


def test_many_rows_need_no_table_of_all_means():
    """20,000 rows have 200 million of them, 1.6 GB."""
    found = shift(np.random.default_rng(0).normal(0.5, 1, 20_000))
    assert 0.47 < found.low < found.value < found.high < 0.53


def test_the_t_test_equals_scipys():
    draw = np.random.default_rng(0)
    first, second = draw.lognormal(0, 0.4, 40), draw.lognormal(0.1, 0.4, 40)
    found = durations(first, second).t_test
    reference = ttest_rel(second, first)
    assert (found.t, found.p) == pytest.approx((reference.statistic, reference.pvalue), abs=1e-12)
    assert (found.mean.low, found.mean.high) == pytest.approx(tuple(reference.confidence_interval()), abs=1e-12)
    difference = second - first
    assert found.mean.value == pytest.approx(difference.mean())
    assert found.d_z == pytest.approx(difference.mean() / difference.std(ddof=1))


def answers(draw, rows, faster=0.0):
    """Times of two models for the same rows: long answers are long with both, each with noise and hiccups of its own."""
    length = draw.lognormal(0, 0.6, rows)
    first, second = (length * draw.lognormal(0, 0.1, rows) + 0.5 * (draw.random(rows) < 0.02) for _ in range(2))
    return first, second - faster


@pytest.mark.parametrize("rows", [6, 8, 10])
def test_equally_fast_models_are_called_different_at_most_5_times_in_100_on_few_rows(rows):
    """Counted out: every combination of signs is equally likely then."""
    sizes = np.random.default_rng(0).random(rows)
    called = [signed_rank(sizes * signs)[0] <= 0.05 for signs in product([-1, 1], repeat=rows)]
    assert 0.02 < np.mean(called) <= 0.05


@pytest.mark.parametrize("rows", [60, 300])
def test_equally_fast_models_are_called_different_at_most_55_times_in_1000(rows):
    """A longer run than this one, 50,000 samples: Wilcoxon 4.9 and 5.2 times in 100, t 4.7 and 5.1."""
    draw, samples = np.random.default_rng(rows), 4_000
    pairs = [answers(draw, rows) for _ in range(samples)]
    assert np.mean([signed_rank(second - first)[0] <= 0.05 for first, second in pairs]) <= 0.055
    first, second = np.array(pairs).swapaxes(0, 1)
    assert np.mean(ttest_rel(second, first, axis=1).pvalue <= 0.05) <= 0.055  # ours is the same, see above


@pytest.mark.parametrize("rows", [30, 100])
def test_the_interval_of_the_shift_holds_the_truth_93_to_97_times_in_100(rows):
    draw, samples, held = np.random.default_rng(0), 1_000, 0
    for _ in range(samples):
        first, second = answers(draw, rows, faster=0.05)
        found = shift(second - first)
        held += found.low <= -0.05 <= found.high
    assert 0.93 <= held / samples <= 0.97


def test_a_faster_second_model_is_told_as_such():
    first, second = answers(np.random.default_rng(0), 200, faster=0.1)
    found = durations(first, second)
    assert found.pairs == 200 and found.first.p50 == pytest.approx(np.median(first))
    assert found.shift.high < 0 and found.significant and found.rank_biserial < -0.3
    assert found.relative == pytest.approx(found.shift.value / np.median(first))
    assert durations(second, first).shift.value == pytest.approx(-found.shift.value)


def test_times_that_do_not_vary_make_no_t():
    assert durations([1.0, 2.0], [1.5, 2.5]).t_test is None
    assert durations([1.0], [2.0]).t_test is None
    same = durations([1.0, 2.0], [1.0, 2.0])
    assert same.p == 1.0 and same.rank_biserial is None and same.shift.value == 0.0


def test_json_says_none_where_nothing_is_known():
    found = json.loads(json.dumps(durations([0.0, 1.0], [0.0, 1.5]).to_json(), allow_nan=False))
    assert found["shift"] == {"value": 0.25, "low": None, "high": None}
    assert found["pairs"] == 2 and found["relative"] == pytest.approx(0.5) and found["first"]["count"] == 2
    assert durations([0.0], [1.0]).relative is None


@pytest.mark.parametrize("pair", [([], []), ([1.0], [1.0, 2.0]), ([1.0], [-1.0]), ([1.0], [float("nan")])])
def test_durations_that_are_no_pairs_are_an_error_not_a_number(pair):
    with pytest.raises(ValueError):
        durations(*pair)
