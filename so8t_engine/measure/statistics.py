"""How sure a count makes: pure numbers."""

from math import sqrt


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
    z = 1.959963984540054  # the normal distribution's 97.5th percentile
    share = hits / total
    middle = share + z * z / (2 * total)
    reach = z * sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low, high = (middle - reach) / (1 + z * z / total), (middle + reach) / (1 + z * z / total)
    return (low if hits else 0.0), (high if hits < total else 1.0)  # exact at the ends, where rounding leaves 1e-18
