"""Whether one model answers faster than another on the same rows: pure numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import floor, sqrt

import numpy as np

from so8t_engine.measure.contrast import ALPHA, NORMAL, Difference
from so8t_engine.measure.latency import Latency, latency

EXACT = 50
"""Up to so many pairs the signed ranks' distribution is counted out; above it is normal to three digits."""


@dataclass(frozen=True)
class TTest:
    """The paired t-test, for those who look for it: a second answer to the same question, which decides nothing.

    mean: the mean difference in seconds, its 95 % interval. t: the statistic, of pairs - 1 degrees of freedom. p:
    two-sided. d_z: the mean difference over the differences' standard deviation (Cohen 1988, chapter 2).
    """

    mean: Difference
    t: float
    p: float
    d_z: float


@dataclass(frozen=True)
class Durations:
    """Two models' times for the same rows, in seconds.

    pairs: rows timed with both. first, second: each model's own. shift: second less first, below 0 where the second is
    faster: the Hodges-Lehmann estimate, the median of the means of any two differences, and its interval. relative: the
    shift as a share of the first's p50; None where that is 0.
    p: two-sided, Wilcoxon's signed-rank test. rank_biserial: of the ranks, the share that speaks for a larger second
    less the share against it, -1.0 to 1.0 (Kerby, "The simple difference formula", Comprehensive Psychology 3, 2014);
    None where no pair differs. adjusted, significant, more_rows: as in Contrast, rows being pairs.
    t_test: None where the differences don't vary, or with one pair.
    """

    pairs: int
    first: Latency
    second: Latency
    shift: Difference
    relative: float | None
    p: float
    adjusted: float
    significant: bool
    more_rows: int | None
    rank_biserial: float | None
    t_test: TTest | None

    def to_json(self) -> dict:
        """Plain dicts, numbers and None: every field by its name."""
        return asdict(self)


def durations(first: Sequence[float], second: Sequence[float]) -> Durations:
    """How two models' times for the same rows differ; seconds, both in the same order of rows.

    What the tests can't see: times are only comparable when the two models took turns on an otherwise idle machine.
    One after the other, a card that warms up is a difference too, and a significant one.
    Raises ValueError as `latency` does, and for sequences of unequal length.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} durations")
    own = latency(first), latency(second)
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    p, rank_biserial = signed_rank(differences)
    moved = shift(differences)
    return Durations(
        pairs=len(differences), first=own[0], second=own[1], shift=moved,
        relative=moved.value / own[0].p50 if own[0].p50 else None,
        p=p, adjusted=p, significant=p <= ALPHA, more_rows=None, rank_biserial=rank_biserial,
        t_test=_t_test(differences),
    )  # fmt: skip


def signed_rank(differences: np.ndarray) -> tuple[float, float | None]:
    """(p, matched rank-biserial correlation) of Wilcoxon's signed-rank test, two-sided; (1.0, None) where all are 0.

    Differences of 0 are left out, equal ones share their mean rank (Wilcoxon, Biometrics Bulletin 1, 1945). Up to EXACT
    others p is exact, shared ranks included; above it is the normal approximation, corrected for shared ranks.
    Equals scipy.stats.wilcoxon.
    """
    decided = differences[differences != 0]
    if not len(decided):
        return 1.0, None
    _, where, sizes = np.unique(np.abs(decided), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(sizes) - sizes + 1)[where]  # twice the mean rank: whole numbers
    above, total = int(doubled[decided > 0].sum()), int(doubled.sum())
    if len(decided) <= EXACT:
        chances = _rank_sums(doubled)
        p = 2 * min(chances[: above + 1].sum(), chances[above:].sum())
    else:
        p = 2 * NORMAL.cdf(-abs(above - total / 2) / sqrt(float((doubled.astype(np.float64) ** 2).sum()) / 4))
    return min(1.0, float(p)), 2 * above / total - 1


def shift(differences: np.ndarray) -> Difference:
    """The Hodges-Lehmann estimate of the differences' middle, with the 95 % interval that belongs to the signed ranks.

    The interval holds the shifts that Wilcoxon's test would not reject: it runs between two of the ordered means of any
    two differences, one with itself too (Hodges and Lehmann, Annals of Mathematical Statistics 34, 1963; Hollander,
    Wolfe and Chicken, "Nonparametric Statistical Methods", 2014, chapter 3). Under 6 pairs there is no such interval.
    """
    ordered, n = np.sort(differences), len(differences)
    means = n * (n + 1) // 2
    middle = (_mean_of_two(ordered, (means + 1) // 2) + _mean_of_two(ordered, means // 2 + 1)) / 2
    if n <= EXACT:
        chances = np.cumsum(_rank_sums(np.arange(1, n + 1)))
        rank = int(np.searchsorted(chances, ALPHA / 2, side="right"))
    else:
        spread = sqrt(n * (n + 1) * (2 * n + 1) / 24)
        rank = floor(means / 2 - NORMAL.inv_cdf(1 - ALPHA / 2) * spread) + 1
    if rank == 0:
        return Difference(middle, None, None)
    low, high = _mean_of_two(ordered, rank), _mean_of_two(ordered, means + 1 - rank)
    return Difference(middle, min(low, middle), max(high, middle))


def _rank_sums(ranks: np.ndarray) -> np.ndarray:
    """The probability of each sum, from 0 up, of ranks of which each is in it or not, as a coin falls."""
    chances = np.ones(1)
    for rank in ranks.tolist():
        out, within = np.pad(chances, (0, rank)), np.pad(chances, (rank, 0))
        chances = (out + within) / 2
    return chances


def _mean_of_two(ordered: np.ndarray, rank: int) -> float:
    """The `rank`th smallest (from 1) of the means of any two of the ordered numbers, one with itself too.

    Found by halving, counting the means below: n^2 / 2 of them would not fit in memory for many rows.
    """
    low, high = ordered[0], ordered[-1]
    for _ in range(60):
        middle = (low + high) / 2
        pairs = np.searchsorted(ordered, 2 * middle - ordered, side="right").sum()
        itself = np.searchsorted(ordered, middle, side="right")
        low, high = (low, middle) if (pairs + itself) // 2 >= rank else (middle, high)
    return float(high)


def _t_test(differences: np.ndarray) -> TTest | None:
    from scipy.special import stdtr, stdtrit  # late: loading it takes longer than opening the page

    n = len(differences)
    if n < 2 or not np.ptp(differences):
        return None
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    t = mean / (deviation / sqrt(n))
    reach = float(stdtrit(n - 1, 1 - ALPHA / 2)) * deviation / sqrt(n)
    return TTest(Difference(mean, mean - reach, mean + reach), t, 2 * float(stdtr(n - 1, -abs(t))), mean / deviation)
