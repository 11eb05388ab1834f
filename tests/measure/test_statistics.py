"""The sign test against scipy's reference and against what its interval promises."""

from functools import cache
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from so8t_engine.measure.statistics import sign_test

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
