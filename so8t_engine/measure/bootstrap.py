"""The interval of a statistic of a table of counts, by resampling its rows: pure numbers."""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

REPLICATES = 2_000
TINY = 1e-12  # two tables of the same score may differ in the last bit
NORMAL = NormalDist()


def bca(counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> tuple[float, float]:
    """(low, high): the 95 % BCa bootstrap interval of `statistic` over the rows that `counts` counts.

    counts: whole numbers >= 0 of any shape, one cell for each kind of row, at least one row in all.
    statistic: takes tables of the shape (m, *counts.shape) to m values; it also sees the table with one row less, so
    it must bear an empty one. The same seed and counts give the same interval: the order of the rows is no part of it.

    Rows drawn with replacement make a multinomial draw of the table, so 2,000 replicates are 2,000 such draws, exactly.
    BCa (bias-corrected and accelerated: Efron, "Better bootstrap confidence intervals", JASA 82, 1987; Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 14) moves the percentiles for bias and skewness;
    the acceleration comes from the jackknife. The interval always holds the value itself.

    Where every replicate has the same value (all answers right, say) the bootstrap knows nothing: low == high. A caller
    must not show that as certainty.
    """
    kinds = np.flatnonzero(counts)
    rows = counts.ravel()[kinds]
    total = int(rows.sum())

    def values(draws: np.ndarray) -> np.ndarray:
        tables = np.zeros((len(draws), counts.size), dtype=draws.dtype)
        tables[:, kinds] = draws
        return statistic(tables.reshape(-1, *counts.shape))

    value = float(values(rows[None])[0])
    replicates = values(np.random.default_rng(seed).multinomial(total, rows / total, size=REPLICATES))
    if np.ptp(replicates) <= TINY:
        return value, value
    influence = _influence(rows, values(rows - np.eye(len(rows), dtype=rows.dtype)))
    low, high = np.quantile(replicates, _levels(value, replicates, rows, influence))
    return min(float(low), value), max(float(high), value)


def _influence(rows: np.ndarray, without: np.ndarray) -> np.ndarray:
    """How much one row of each kind lifts the value: mean of the leave-one-out values less its own, shape of `rows`."""
    return (rows * without).sum() / rows.sum() - without


def _levels(value: float, replicates: np.ndarray, rows: np.ndarray, influence: np.ndarray) -> list[float]:
    """The two shares of the replicates between which the interval lies; 0.025 and 0.975 without bias and skewness."""
    below = np.mean(replicates < value - TINY) + np.mean(np.abs(replicates - value) <= TINY) / 2
    edge = 0.5 / len(replicates)  # a value outside all replicates would lie infinitely far out
    bias = NORMAL.inv_cdf(min(max(float(below), edge), 1 - edge))
    spread = float((rows * influence**2).sum())
    skewness = float((rows * influence**3).sum()) / (6 * spread**1.5) if spread else 0.0
    shifted = [bias + NORMAL.inv_cdf(level) for level in (0.025, 0.975)]
    return [NORMAL.cdf(bias + z / (1 - skewness * z)) for z in shifted]
