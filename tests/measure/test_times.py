"""Two sides' times against scipy's tests, counts by hand, and what an interval promises."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon

from so8t_engine.measure.latency import latency
from so8t_engine.measure.times import Change, compare_times


def drawn(rows, faster=1.0, seed=0):
    """Times of two sides: long rows are long for both."""
    draw = np.random.default_rng(seed)
    length = draw.lognormal(0, 0.5, rows)
    return length * draw.lognormal(0, 0.2, rows), faster * length * draw.lognormal(0, 0.2, rows)


@pytest.mark.parametrize("rows", [5, 30, 51, 400])
def test_tests_and_interval_equal_scipys(rows):
    first, second = drawn(rows, 0.9)
    second[:2] = first[:2]  # equally long: left out by Wilcoxon's test
    found, reference = compare_times(first, second), ttest_rel(second, first)
    assert found.p == pytest.approx(wilcoxon(second[2:], first[2:]).pvalue, abs=1e-12)
    if rows > 50:  # below, scipy counts on zeros and gives up the exact distribution for them
        assert found.p == pytest.approx(wilcoxon(second, first, zero_method="wilcox", method="approx").pvalue, abs=1e-3)
    assert found.t_p == pytest.approx(reference.pvalue, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval()), abs=1e-12)
    assert found.cohens_dz == pytest.approx(reference.statistic / rows**0.5)  # t = dz * sqrt(n)


def test_known_figures_of_six_rows():
    """All six faster: p = 2 / 2**6. Then the smallest change (rank 1 of 21) goes the other way: p = 4 / 2**6."""
    first = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    found = compare_times(first, [0.9, 1.7, 2.5, 3.3, 4.1, 4.9])
    assert found.p == pytest.approx(2 / 64) and found.rank_biserial == -1
    found = compare_times(first, [1.1, 1.7, 2.5, 3.3, 4.1, 4.9])
    assert found.p == pytest.approx(4 / 64) and found.rank_biserial == pytest.approx((1 - 20) / 21)
    assert found.first == latency(first) and found.rows == 6
    assert (found.mean.value, found.mean.relative) == pytest.approx((-3.4 / 6, -3.4 / 21))
    assert (found.median.value, found.median.relative) == pytest.approx((-0.6, -0.6 / 3.5))


def test_swapped_sides_negate_and_mirror():
    first, second = drawn(60, 0.8)
    found, other = compare_times(first, second), compare_times(second, first)
    assert (found.low, found.high) == pytest.approx((-other.high, -other.low))
    assert (found.p, found.t_p) == pytest.approx((other.p, other.t_p))
    assert (found.rank_biserial, found.cohens_dz) == pytest.approx((-other.rank_biserial, -other.cohens_dz))


def test_equal_times_differ_by_nothing():
    found = compare_times([1.0, 2.0], [1.0, 2.0])
    assert (found.mean, found.low, found.high, found.p, found.t_p) == (Change(0.0, 0.0), 0, 0, 1, 1)
    assert found.rank_biserial is None and found.cohens_dz is None


@pytest.mark.parametrize("rows", [1, 9])
def test_what_cannot_be_told_is_none(rows):
    """One row, or nine that all took a tenth of a second longer: nothing says how such differences vary."""
    found = compare_times([i / 10 for i in range(rows)], [(i + 1) / 10 for i in range(rows)])
    assert found.mean.value == pytest.approx(0.1)
    assert (found.low, found.high, found.t_p, found.cohens_dz) == (None, None, None, None)
    assert compare_times([0.0], [0.1]).mean.relative is None


def test_tests_are_wrong_at_most_5_times_in_100_and_the_interval_holds_95():
    """Of 4,000 other samples 5.3 and 4.8 were wrong, and 95.2 held."""
    samples, wrong, held = 1_000, np.zeros(2), 0
    for seed in range(samples):
        first, second = drawn(100, seed=seed)
        found = compare_times(first, second)
        wrong += np.array([found.p, found.t_p]) <= 0.05
        held += found.low <= 0 <= found.high
    assert (wrong / samples <= 0.055).all(), wrong
    assert 0.93 <= held / samples <= 0.97


def test_json_is_plain():
    plain = json.loads(json.dumps(compare_times([1.0, 2.0, 0.0], [1.5, 2.25, 0.5]).to_json(), allow_nan=False))
    assert plain["first"]["p50"] == 1.0 and plain["mean"]["relative"] == pytest.approx(1.25 / 3)


@pytest.mark.parametrize("times", [([], []), ([1.0], []), ([1.0], [-1.0]), ([1.0], [float("nan")])])
def test_times_that_cannot_be_are_an_error_not_a_number(times):
    with pytest.raises(ValueError):
        compare_times(*times)
