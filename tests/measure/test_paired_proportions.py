"""McNemar's exact test and Tango's interval against scipy, against their definitions, and counted out exactly."""

from functools import cache
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, binomtest, norm

from so8t_engine.measure.contrast import Difference, more_of, more_pairs
from so8t_engine.measure.proportions import proportions, tango
from so8t_engine.measure.statistics import sign_test

Z = 1.959963984540054
small = st.integers(0, 40)
tango_once = cache(tango)


def hits(both, only_first, only_second, neither):
    """(first, second) hits or misses that make these counts."""
    sizes = [both, only_first, only_second, neither]
    return np.repeat([True, True, False, False], sizes), np.repeat([True, False, True, False], sizes)


def outcomes(rows, discordant, difference):
    """(only_first, only_second, probability) of every outcome that matters, for these true shares."""
    shares = binom.pmf(np.arange(rows + 1), rows, discordant)
    for differ in np.flatnonzero(shares > 1e-7):
        seconds = binom.pmf(np.arange(differ + 1), differ, (discordant + difference) / 2 / discordant)
        for second in np.flatnonzero(seconds > 1e-6):
            yield int(differ - second), int(second), shares[differ] * seconds[second]


@cache
def rejected(rows, discordant, difference, alpha):
    """How often the exact test says p <= alpha, when these shares are true: counted out."""
    found = 0.0
    for differ, share in enumerate(binom.pmf(np.arange(rows + 1), rows, discordant)):
        if share < 1e-9 or not differ:
            continue
        most = int(binom.ppf(alpha / 2, differ, 0.5))
        while most >= 0 and sign_test(most, differ - most)[0] > alpha:
            most -= 1
        if most >= 0:
            lean = (discordant + difference) / 2 / discordant
            found += share * (binom.cdf(most, differ, lean) + binom.sf(differ - most - 1, differ, lean))
    return found


@given(small, small, small, small)
def test_p_is_scipys_binomial_test_of_the_rows_that_differ(both, only_first, only_second, neither):
    assume(both + only_first + only_second + neither)
    found = proportions(*hits(both, only_first, only_second, neither))
    counts = found.counts
    assert (counts.both, counts.only_first, counts.only_second, counts.neither) == (both, only_first, only_second, neither)
    assert found.first == pytest.approx((both + only_first) / found.rows)
    assert found.second - found.first == pytest.approx(found.difference.value)
    if both + only_first:
        assert found.first * (1 + found.relative) == pytest.approx(found.second)
    else:
        assert found.relative is None
    if only_first + only_second == 0:
        assert found.p == 1.0 and found.effect is None
        return
    test = binomtest(only_second, only_first + only_second)
    assert found.p == pytest.approx(test.pvalue, abs=1e-9)
    interval = test.proportion_ci(0.95, method="exact")
    g = test.statistic - 0.5, interval.low - 0.5, interval.high - 0.5
    assert (found.effect.value, found.effect.low, found.effect.high) == pytest.approx(g, abs=1e-9)


def test_the_promise_of_the_test_is_kept_whatever_is_true():
    """Two models equally good: significant at most 5 times in 100, counted out; Holm's family asks for less still."""
    for rows in (50, 200, 400):
        for discordant in (0.01, 0.03, 0.1, 0.25, 0.5, 1.0):
            assert rejected(rows, discordant, 0.0, 0.05) <= 0.05


def test_a_difference_of_10_points_on_400_rows_is_found_unless_the_models_differ_on_more_than_37_rows_in_100():
    """78 % against 88 % differ on 28.7 rows in 100 when they err independently, on fewer when they err together."""
    independent = 0.78 * 0.12 + 0.22 * 0.88
    assert rejected(400, 0.2, 0.1, 0.05) > 0.99
    assert rejected(400, independent, 0.1, 0.05) > 0.95
    assert rejected(400, 0.365, 0.1, 0.05) > 0.9 > rejected(400, 0.375, 0.1, 0.05)
    assert rejected(400, 0.25, 0.1, 0.05 / 5) > 0.9 > rejected(400, independent, 0.1, 0.05 / 5)  # in a family of five


@pytest.mark.parametrize("counts", [(7, 1, 21), (3, 12, 100), (0, 5, 40), (20, 20, 200), (1, 30, 400), (5, 5, 10)])
def test_tangos_interval_follows_from_its_definition(counts):
    """The differences that the score test does not reject, the nuisance share being found by a search."""
    only_first, only_second, rows = counts

    def score(d):
        def unlikely(q):
            cells = (only_first, q), (only_second, q + d), (rows - only_first - only_second, 1 - 2 * q - d)
            return -sum(count * log(share) for count, share in cells if count)

        bounds = max(0.0, -d) + 1e-13, (1 - d) / 2 - 1e-13
        q = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (only_second - only_first - rows * d) / sqrt(rows * (2 * q + d - d * d))

    low, high = tango(*counts)
    value = (only_second - only_first) / rows
    assert low == pytest.approx(brentq(lambda d: score(d) - Z, -1 + 1e-9, value - 1e-9), abs=1e-5)
    assert high == pytest.approx(brentq(lambda d: score(d) + Z, value + 1e-9, 1 - 1e-9), abs=1e-5)


def test_tangos_interval_of_a_published_table():
    """Airway hyper-responsiveness before and after, 1 and 7 of 21: Fagerland, Lydersen and Laake, Statistics in
    Medicine 33, 2014."""
    assert tango(7, 1, 21) == pytest.approx((-0.517, -0.026), abs=0.0005)


@pytest.mark.parametrize("rows", [100, 200, 400])
def test_tangos_interval_holds_the_truth_93_to_97_times_in_100(rows):
    """Counted out, from 4 expected rows that differ on."""
    for discordant, lean in [(0.01, 0), (0.02, 0.5), (0.04, 0), (0.04, 0.9), (0.08, 0.6), (0.15, 0.3), (0.3, 0.3)]:
        if rows * discordant < 4:
            continue
        true, held = discordant * lean, 0.0
        for only_first, only_second, chance in outcomes(rows, discordant, true):
            low, high = tango_once(only_first, only_second, rows)
            held += chance * (low <= true <= high)
        assert 0.93 <= held <= 0.97, f"{discordant} {true}: {held:.4f}"


@given(small, small, small)
def test_exchanging_the_models_mirrors_interval_and_p(only_first, only_second, same):
    assume(only_first + only_second + same)
    here = proportions(*hits(same, only_first, only_second, 0))
    there = proportions(*hits(same, only_second, only_first, 0))
    assert -1 <= here.difference.low <= here.difference.value <= here.difference.high <= 1
    assert here.p == there.p
    assert (here.difference.low, here.difference.high) == pytest.approx(
        (-there.difference.high, -there.difference.low), abs=1e-12
    )


def test_no_row_that_differs_is_not_certainty():
    found = proportions([True] * 90 + [False] * 10, [True] * 90 + [False] * 10)
    assert found.difference.value == 0.0 and found.p == 1.0
    assert found.difference.high == -found.difference.low == pytest.approx(Z * Z / (100 + Z * Z))


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
@pytest.mark.parametrize("shares", [(0.02, 0.01), (0.05, 0.02), (0.1, 0.03), (0.1, 0.05), (0.3, 0.1), (0.5, 0.2)])
def test_so_many_rows_find_the_difference_8_times_in_10(shares, alpha):
    """Counted out. The rows asked for and those at hand make the whole, however many are at hand."""
    discordant, difference = shares
    at_hand = 100
    needed = at_hand + more_pairs(at_hand, discordant * at_hand, -difference, alpha)
    assert 0.785 <= rejected(needed, discordant, difference, alpha) <= 0.815
    assert more_pairs(200, discordant * 200, difference, alpha) == max(1, needed - 200)


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_so_many_rows_find_any_number_8_times_in_10(alpha):
    """Its standard error falls with the square root of the rows."""
    value, error, rows = -0.03, 0.02, 250
    more = more_of(rows, Difference(value, value - Z * error, value + Z * error), alpha)
    there = error * sqrt(rows / (rows + more))
    assert norm.cdf(abs(value) / there - norm.ppf(1 - alpha / 2)) == pytest.approx(0.8, abs=0.002)


def test_no_number_of_rows_decides_what_does_not_differ():
    assert more_pairs(100, 20, 0.0, 0.05) is None
    assert more_of(100, Difference(0.0, -0.1, 0.1), 0.05) is None
    assert more_of(4, Difference(0.3, None, None), 0.05) is None


@pytest.mark.parametrize("pair", [([], []), ([True], []), ([True], [True, False])])
def test_rows_that_are_no_pairs_are_an_error_not_a_number(pair):
    with pytest.raises(ValueError):
        proportions(*pair)


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 3, 9), (3, -1, 9), (5, 5, 9)])
def test_counts_that_cannot_be_are_an_error_not_an_interval(counts):
    with pytest.raises(ValueError):
        tango(*counts)
