"""One number of two models on the same rows, and how many more rows would decide which is better: pure numbers."""

from dataclasses import asdict, dataclass
from math import ceil, sqrt
from statistics import NormalDist

ALPHA = 0.05
"""A difference is significant from this probability down."""

POWER = 0.8
"""How surely a difference as large as the one seen would be found by the rows that `more_rows` asks for."""

NORMAL = NormalDist()


@dataclass(frozen=True)
class Difference:
    """A measured difference, the second model's value less the first's, with its 95 % interval.

    low <= value <= high, in the unit of what differs. low and high are None where so few pairs bound nothing.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Discordance:
    """Rows by which model hit them; a hit is whatever the rate counts, so in `unsafe_allow` it is a fault."""

    both: int
    only_first: int
    only_second: int
    neither: int


@dataclass(frozen=True)
class Contrast:
    """One number of two models on the same `rows`.

    first, second: the number itself, 0.0 to 1.0. difference: second less first. relative: the difference as a share of
    `first`; None where that is 0. test: "mcnemar" or "randomization". p: two-sided probability of a difference at least
    this large when neither model is better; 1.0 where they differ in no row. adjusted: p after the correction for the
    other tests of its family (equal to p where it stands alone). significant: adjusted <= ALPHA.
    more_rows: about how many further rows would decide it; None where it is decided or the difference is 0.
    counts: None unless the number is a share of rows. effect: Cohen's g, -0.5 to 0.5, the share of rows that the second
    alone hit among those that only one hit, less one half, with its exact interval; 0.05 is called small, 0.15 medium,
    0.25 large (Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, chapter 5). None where no row
    differs or the number is no share of rows.
    """

    rows: int
    first: float
    second: float
    difference: Difference
    relative: float | None
    test: str
    p: float
    adjusted: float
    significant: bool
    more_rows: int | None
    counts: Discordance | None = None
    effect: Difference | None = None

    def to_json(self) -> dict:
        """Plain dicts, numbers and None: every field by its name."""
        return asdict(self)


def more_pairs(rows: int, discordant: int, value: float, alpha: float) -> int | None:
    """How many rows beyond these McNemar's test needs: two-sided at `alpha`, power POWER, shares as seen here.

    discordant: rows that one model alone hit; value: difference of the shares; None when it is 0.
    n = (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2, where psi is the discordant share and d the difference: Connor,
    "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43, 1987. The exact
    test is a little more careful than the asymptotic one it is made for, which 1 / |d| further rows make good: its power,
    counted out, is then 79 to 81 % where it would be 76 to 79. The seen difference is itself uncertain, and so is this
    number: "about".
    """
    if not value:
        return None
    share, sure, power = discordant / rows, NORMAL.inv_cdf(1 - alpha / 2), NORMAL.inv_cdf(POWER)
    needed = ((sure * sqrt(share) + power * sqrt(max(share - value * value, 0.0))) / value) ** 2 + 1 / abs(value)
    return max(1, ceil(needed) - rows)


def more_of(rows: int, difference: Difference, alpha: float) -> int | None:
    """How many rows beyond these a test of any mean-like number needs: two-sided at `alpha`, power POWER.

    n = rows ((z_a + z_b) s / d)^2, where d is the difference and s its standard error, read off the 95 % interval's
    width: an error that falls with the square root of the rows. None when d is 0 or the interval is unbounded.
    """
    if not difference.value or difference.low is None or difference.high is None:
        return None
    error = (difference.high - difference.low) / (2 * NORMAL.inv_cdf(1 - ALPHA / 2))
    reach = NORMAL.inv_cdf(1 - alpha / 2) + NORMAL.inv_cdf(POWER)
    return max(1, ceil(rows * (reach * error / difference.value) ** 2) - rows)
