"""Differences in F1 between two models that answered the same rows, from a paired table: pure numbers.

A paired table counts rows by expected class, the first side's answer and the second's: shape (4, 5, 5), CLASSES by GIVEN
by GIVEN, int64. F1 is no share of rows, so what holds for shares (McNemar's test, Tango's interval) does not hold here.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.metrics import GIVEN, class_totals, f1_scores, occurring
from so8t_engine.measure.statistics import Z

SWAPS = 5_000
TINY = 1e-12  # two tables of the same score may differ in the last bit
FIRST, SECOND = np.triu_indices(len(GIVEN), 1)  # the ten pairs of unequal answers
EACH = np.arange(len(CLASSES))


@dataclass(frozen=True)
class Spread:
    """A difference, second minus first, and how far it may lie from the truth.

    low, high: its 95 % interval, None where no row tells how the sides differ. variance: of what one row adds to it.
    """

    value: float
    low: float | None
    high: float | None
    variance: float


def swap_test(table: np.ndarray, seed: int) -> tuple[float, float]:
    """Two-sided p of the differences in macro F1 and in score: how often they come out as large by chance alone.

    If neither model is better, which of them gave which of the two answers to a row is a coin's toss. So the answers of
    each row are swapped, or not, 5,000 times; p is the share of draws at least as far from 0, the real one counted
    among them (Phipson and Smyth, "Permutation p-values should never be zero", 2010). Exact whatever the confusions,
    if both models err alike; no bootstrap has to guess a distribution. Rows of one kind are alike, so a draw is one
    binomial number for each kind. The same table and seed give the same p, and so do swapped sides.

    Of 20,000 samples of 200 rows on which two models whose confusions differ much (one allows too much, one too little)
    have the same true macro F1, p was at most 0.05 in FIGURE in 100.
    """
    pairs = table[:, FIRST, SECOND] + table[:, SECOND, FIRST]
    row, pair = np.nonzero(pairs)
    if not len(row):
        return 1.0, 1.0
    drawn = np.random.default_rng(seed).binomial(pairs[row, pair][:, None], 0.5, size=(len(row), SWAPS))
    moved = np.hstack([np.zeros((len(row), 1)), drawn - table[row, FIRST[pair], SECOND[pair]][:, None]])  # 0: as it is
    change = np.zeros((len(row), len(CLASSES), len(GIVEN)))
    change[np.arange(len(row)), row, FIRST[pair]] = 1
    change[np.arange(len(row)), row, SECOND[pair]] = -1
    hits, totals = change[:, EACH, EACH].T @ moved, change.sum(1)[:, EACH].T @ moved
    first, second = table.sum(2), table.sum(1)
    before = _macro_and_score(np.diag(first)[:, None] + hits, class_totals(first)[:, None] + totals, table.sum())
    after = _macro_and_score(np.diag(second)[:, None] - hits, class_totals(second)[:, None] - totals, table.sum())
    far = np.abs(after - before)
    macro, score = (far >= far[:, :1] - TINY).mean(1)  # the first is the real one
    return float(macro), float(score)


def _macro_and_score(hits: np.ndarray, totals: np.ndarray, rows: int) -> np.ndarray:
    """Macro F1 over the classes that occur, and its mean with accuracy, of (4, m) right ones and totals: (2, m)."""
    macro = (2 * hits / np.maximum(totals, 1)).sum(0) / (totals > 0).sum(0)
    return np.stack([macro, (macro + hits.sum(0) / rows) / 2])


def differing(table: np.ndarray) -> np.ndarray:
    """The rows to which the sides gave different answers, each kind counted with its mirror image: (4, 5, 5)."""
    return (table + table.transpose(0, 2, 1)) * (1 - np.eye(len(GIVEN), dtype=np.int64))


def spreads(table: np.ndarray) -> dict[str, Spread]:
    """The spread of the differences in F1 of each class (by its name), in "macro_f1" and in "score".

    The interval is the normal one, with the variance of what each row adds (the delta method) and, as Bonett and Price
    do for shares ("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
    Journal of Educational and Behavioral Statistics 37, 2012), one row more in each direction, of the kinds on which
    the sides differ. Without them a difference seen on three rows would pass for surer than it is.
    FIGURES
    """
    first, second = _weights(table.sum(2)), _weights(table.sum(1))
    return {name: _spread(table, first[i], second[i]) for i, name in enumerate((*CLASSES, "macro_f1", "score"))}


def _weights(counts: np.ndarray) -> np.ndarray:
    """How the four F1 and accuracy (columns) make up the four F1, macro F1 and score (rows) of one side: (6, 5)."""
    classes = occurring(counts)
    macro = np.append(classes / classes.sum(), 0.0)
    accuracy = np.append(np.zeros(len(CLASSES)), 1.0)
    return np.vstack([np.eye(len(CLASSES), len(GIVEN)), macro, (macro + accuracy) / 2])


def _spread(table: np.ndarray, first: np.ndarray, second: np.ndarray) -> Spread:
    value, worth = _worth(table, first, second)
    value = value if abs(value) > TINY else 0.0
    variance = float((table * worth**2).sum() / table.sum())
    telling = np.abs(worth) > TINY
    telling = differing(table) * (telling | telling.transpose(0, 2, 1))
    if not telling.any():
        return Spread(value, None, None, variance)
    more = table + 2 * telling / telling.sum()
    middle, worth = _worth(more, first, second)
    reach = Z * sqrt((more * worth**2).sum()) / float(more.sum())
    return Spread(value, max(min(middle - reach, value), -1.0), min(max(middle + reach, value), 1.0), variance)


def _worth(table: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """The difference, and how far a row of each kind lifts it, times all rows: shape (4, 5, 5), 0 in the mean."""
    before, after = (_measured(table.sum(axis), weights) for axis, weights in ((2, first), (1, second)))
    return after[0] - before[0], after[1][:, None, :] - before[1][:, :, None]


def _measured(counts: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The weighted sum of the F1 of each class and accuracy, and how far a row of each kind lifts it, times all rows."""
    scores, rows = f1_scores(counts), counts.sum()
    accuracy = np.trace(counts) / rows
    pull = weights[:-1] / np.maximum(class_totals(counts), 1) * rows  # of one row more in a class's total
    lift = -np.append(pull * scores, 0.0)[None, :] - (pull * scores)[:, None] - weights[-1] * accuracy
    lift[EACH, EACH] += 2 * pull + weights[-1]
    return float(weights[:-1] @ scores + weights[-1] * accuracy), lift
