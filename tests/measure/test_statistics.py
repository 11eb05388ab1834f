"""The sign test and Wilson's interval against scipy's references and against what they promise."""

from functools import cache
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from so8t_engine.measure.statistics import sign_test, wilson

sign_test_once = cache(sign_test)


def test_all_small_counts_equal_scipys_binomial_test():
    for wins in range(31):
        for losses in range(31):
            if wins + losses == 0:
                continue
            test = binomtest(wins, wins + losses)
            interval = test.proportion_ci(0.95, method="exact")
            assert sign_test(wins, losses) == pytest.approx((test.pvalue, test.statistic, *interval), abs=1e-9)


@pytest.mark.parametrize("total", [1, 2, 5, 10, 33, 100])
def test_the_interval_holds_the_true_share_at_least_95_times_in_100(total):
    """By exact enumeration: over all outcomes, the probability of those whose interval holds the true share."""
    for true in [i / 97 for i in range(1, 97)]:
        covered = 0.0
        for wins in range(total + 1):
            _, _, low, high = sign_test_once(wins, total - wins)
            if low <= true <= high:
                covered += comb(total, wins) * true**wins * (1 - true) ** (total - wins)
        assert covered >= 0.95 - 1e-9


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_swapping_the_sides_mirrors_the_numbers(wins, losses):
    if wins + losses == 0:
        return
    p, share, low, high = sign_test(wins, losses)
    other_p, other_share, other_low, other_high = sign_test(losses, wins)
    assert 0.0 <= low <= share <= high <= 1.0 and 0.0 <= p <= 1.0
    assert (p, share) == pytest.approx((other_p, 1 - other_share))
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low))


def test_known_figures_of_a_person_who_voted_ten_times():
    assert sign_test(8, 2)[0] == pytest.approx(0.109375)  # 2 * (1 + 10 + 45) / 1024: not decided
    assert sign_test(9, 1)[0] == pytest.approx(0.021484375)  # 2 * (1 + 10) / 1024: decided
    assert sign_test(5, 5)[0] == 1.0


@pytest.mark.parametrize("counts", [(0, 0), (-1, 3), (3, -1)])
def test_nothing_decided_is_an_error_not_a_number(counts):
    with pytest.raises(ValueError):
        sign_test(*counts)


def test_wilsons_interval_equals_scipys():
    for total in (1, 2, 7, 30, 200):
        for hits in range(total + 1):
            reference = binomtest(hits, total).proportion_ci(0.95, method="wilson")
            assert wilson(hits, total) == pytest.approx(tuple(reference), abs=1e-12)


@pytest.mark.parametrize("rows", [200, 500])
@pytest.mark.parametrize("asked", [0.25, 0.5])
def test_wilsons_interval_of_a_rate_holds_the_truth_93_to_97_times_in_100(rows, asked):
    """By exact enumeration, where each row is asked with probability `asked`, from one expected hit on."""
    totals = np.arange(1, rows + 1)
    weights = binom.pmf(totals, rows, asked)
    limits = {total: np.array([wilson(hits, total) for hits in range(total + 1)]).T for total in totals[weights > 1e-6]}
    for true in (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5):
        if rows * asked * true < 1:
            continue
        held = sum(
            weights[total - 1] * binom.pmf(np.flatnonzero((low <= true) & (true <= high)), total, true).sum()
            for total, (low, high) in limits.items()
        )
        assert 0.93 <= held <= 0.97, f"{true}: {held:.4f}"


def test_no_hit_is_not_certainty():
    assert wilson(0, 100) == (0.0, pytest.approx(0.03699, abs=1e-5))
    assert wilson(100, 100) == (pytest.approx(0.96301, abs=1e-5), 1.0)


@pytest.mark.parametrize("counts", [(0, 0), (-1, 3), (4, 3)])
def test_a_share_of_nothing_is_an_error_not_a_number(counts):
    with pytest.raises(ValueError):
        wilson(*counts)
