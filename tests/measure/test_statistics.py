"""The sign test and Wilson's interval against scipy's references and against what they promise."""

from functools import cache
from math import comb, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest

from so8t_engine.measure.statistics import holm, sign_test, tango, wilson

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


def profile_score(only_first, only_second, rows, difference):
    """z of the score test that two shares of the same rows differ by so much, with the other parameter where scipy
    finds the likelihood highest: what Tango's interval is made of."""

    def unlikelihood(share):
        cells = (share, share + difference, 1 - 2 * share - difference)
        counts = (only_first, only_second, rows - only_first - only_second)
        return -sum(n * log(max(p, 1e-300)) for n, p in zip(counts, cells, strict=True) if n)

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    share = minimize_scalar(unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return (only_second - only_first - rows * difference) / sqrt(rows * (2 * share + difference - difference**2))


@pytest.mark.parametrize("counts", [(13, 29, 400), (2, 9, 106), (7, 1, 21), (40, 20, 160), (3, 0, 50), (0, 4, 4)])
def test_tangos_interval_ends_where_the_score_test_refutes(counts):
    low, high = tango(*counts)
    if low > -1:
        assert profile_score(*counts, low) == pytest.approx(1.95996, abs=1e-3)
    if high < 1:
        assert profile_score(*counts, high) == pytest.approx(-1.95996, abs=1e-3)


def test_tangos_interval_of_published_counts():
    """Airway hyper-responsiveness of 21 children (7 before alone, 1 after alone): -0.517 to -0.026, in Fagerland,
    Lydersen and Laake, Statistics in Medicine 33, 2014."""
    assert tango(7, 1, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert tango(0, 0, 100) == pytest.approx((-0.03699, 0.03699), abs=1e-5)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 300))
def test_tangos_interval_holds_the_value_and_mirrors(only_first, only_second, more):
    rows = only_first + only_second + more
    low, high = tango(only_first, only_second, rows)
    assert -1 <= low <= (only_second - only_first) / rows <= high <= 1
    assert tango(only_second, only_first, rows) == pytest.approx((-high, -low))


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 3, 9), (3, -1, 9), (5, 5, 9)])
def test_counts_that_do_not_fit_are_an_error_not_a_number(counts):
    with pytest.raises(ValueError):
        tango(*counts)


def test_holm_equals_statsmodels():
    """statsmodels 0.15.0's multipletests(method="holm"): the i-th smallest of m (from 0) times m - i, never below one
    before it, at most 1."""
    assert holm([0.01, 0.04, 0.03, 0.005, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.5])
    assert holm([0.02, 0.02, 1.0, 0.3, 0.049]) == pytest.approx([0.1, 0.1, 1.0, 0.6, 0.147])
    assert holm([0.03]) == [0.03] and holm([]) == []


def test_weighted_holm_by_hand():
    """Half of the level for the first: p / (w / sum of the weights left), and never below one before it."""
    assert holm([0.02, 0.03, 0.04], [2, 1, 1]) == pytest.approx([0.04, 0.06, 0.06])
    assert holm([0.2, 0.001, 0.3], [2, 1, 1]) == pytest.approx([0.3, 0.004, 0.3])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_adjusted_p_values_are_no_smaller_and_follow_their_p_value(ps, data):
    adjusted = holm(ps)
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))
    order = data.draw(st.permutations(range(len(ps))))
    assert holm([ps[i] for i in order]) == pytest.approx([adjusted[i] for i in order])
    assert holm(ps, [3.0] * len(ps)) == pytest.approx(adjusted)
