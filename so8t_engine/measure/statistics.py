"""How sure a count makes: pure numbers."""

from collections.abc import Sequence
from math import ceil, sqrt
from statistics import NormalDist

LEVEL = 0.05
"""A difference is decided when its p value, adjusted for being one of several, is not above this."""

POWER = 0.8
Z = 1.959963984540054  # the normal distribution's 97.5th percentile


def sign_test(wins: int, losses: int) -> tuple[float, float, float, float]:
    """(p, share, low, high) of `wins` among the decided comparisons; ties are left out before.

    p: exact two-sided probability of a result at least this uneven when neither side is better.
    share: wins / (wins + losses). low, high: its exact 95 % interval (Clopper-Pearson), 0.0 to 1.0.
    Equals scipy.stats.binomtest(wins, wins + losses). Raises ValueError where nothing was decided.
    """
    from scipy.special import bdtr, betaincinv  # late: loading it takes longer than opening the page

    if wins < 0 or losses < 0 or wins + losses == 0:
        raise ValueError(f"{wins} wins and {losses} losses")
    total = wins + losses
    p = min(1.0, 2.0 * float(bdtr(min(wins, losses), total, 0.5)))
    low = float(betaincinv(wins, losses + 1, 0.025)) if wins else 0.0
    high = float(betaincinv(wins + 1, losses, 0.975)) if losses else 1.0
    return p, wins / total, low, high


def wilson(hits: int, total: int) -> tuple[float, float]:
    """(low, high): Wilson's 95 % score interval of the share hits / total, 0.0 to 1.0.

    Holds the true share near 95 times in 100 even where few hits are expected (92 to 97 times from one hit on), and
    is not [0, 0] when none came: 0 of 100 gives 0.0 to 0.037. Wilson, JASA 22, 1927; recommended for small counts by
    Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16, 2001. The exact
    interval of Clopper and Pearson would hold it 97 to 99 times: wider than the 95 % it is named after.
    Equals scipy.stats.binomtest(hits, total).proportion_ci(method="wilson"). Raises ValueError unless
    0 <= hits <= total and total > 0.
    """
    if not 0 <= hits <= total or total == 0:
        raise ValueError(f"{hits} hits among {total}")
    share = hits / total
    middle = share + Z * Z / (2 * total)
    reach = Z * sqrt(share * (1 - share) / total + (Z / (2 * total)) ** 2)
    low, high = (middle - reach) / (1 + Z * Z / total), (middle + reach) / (1 + Z * Z / total)
    return (low if hits else 0.0), (high if hits < total else 1.0)  # exact at the ends, where rounding leaves 1e-18


def tango(only_first: int, only_second: int, rows: int) -> tuple[float, float]:
    """(low, high): Tango's 95 % score interval of the difference of two shares of the same rows, -1.0 to 1.0.

    only_first, only_second: rows that count for one side alone; rows: all of them. The difference is
    (only_second - only_first) / rows; rows that count for both sides or for none tell only through `rows`.
    Holds every difference that the score test with the likeliest other parameters does not refute (Tango, Statistics in
    Medicine 17, 1998), so it is not [0, 0] where no row counts for one side alone: 0 and 0 of 100 give -0.037 to 0.037.
    200,000 samples of each of 60 kinds, 50 to 400 rows: where four rows or more are expected that count for one side
    alone it held the truth 94 to 96 times in 100; Newcombe's square-and-add 95 to 99, Bonett and Price's 95 to 100.
    Raises ValueError unless the counts fit into `rows` and rows > 0.
    """
    if min(only_first, only_second) < 0 or only_first + only_second > rows or rows == 0:
        raise ValueError(f"{only_first} and {only_second} among {rows}")
    return -_highest(only_second, only_first, rows), _highest(only_first, only_second, rows)


def _highest(only_first: int, only_second: int, rows: int) -> float:
    """The highest difference that the score test does not refute, by halving."""
    found = only_second - only_first
    low, high = found / rows, 1.0
    for _ in range(40):  # to 1e-12
        middle = (low + high) / 2
        slope = (2 * rows - found) * middle - only_first - only_second
        root = sqrt(max(slope * slope + 8 * rows * only_first * middle * (1 - middle), 0.0))
        share = (root - slope) / (4 * rows)  # the likeliest share of the rows that count for the first side alone
        if (rows * middle - found) ** 2 > Z * Z * rows * (2 * share + middle * (1 - middle)):
            high = middle
        else:
            low = middle
    return low


def holm(ps: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """p values adjusted for being several, in the same order: at most 5 in 100 families hold a false one <= 0.05.

    weights: which share of the 5 % each bears, in any unit; equal without. Holm, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6, 1979, which holds however the tests hang together.
    Unweighted it equals statsmodels' multipletests(method="holm").
    """
    weights = [1.0] * len(ps) if weights is None else weights
    order = sorted(range(len(ps)), key=lambda i: ps[i] / weights[i])
    adjusted, left, highest = [0.0] * len(ps), sum(weights), 0.0
    for i in order:
        highest = max(highest, min(1.0, ps[i] * left / weights[i]))
        adjusted[i] = highest
        left -= weights[i]
    return adjusted


def rows_for(difference: float, variance: float, level: float) -> int:
    """Rows at which 80 in 100 samples decide a paired difference of this size at this level (two-sided), about.

    variance: of what one row adds to the difference; difference: not 0. For a difference of shares this is Connor's
    formula for McNemar's test ("Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43, 1987).
    """
    at_level, at_power = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(POWER)
    return ceil(((at_level * sqrt(variance + difference**2) + at_power * sqrt(variance)) / difference) ** 2)
