"""Differences of macro F1 and of the score between two models on the same rows: pure numbers."""

from collections.abc import Callable, Sequence

import numpy as np

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.bootstrap import TINY, bca
from so8t_engine.measure.contrast import ALPHA, Contrast, Difference
from so8t_engine.measure.metrics import GIVEN, confusion

DRAWS = 4_999
"""With the observed one a round 5,000, of which 5 in 100 are a whole number: the test is exact."""

Tables = np.ndarray
"""Confusion tables, shape (m, 4, 5): CLASSES expected, GIVEN given, counts or fractions of rows."""


def joint(expected: Sequence[str], first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """Counts of rows by expected class, and what the first and the second model gave: (4, 5, 5) int64.

    Raises ValueError as `confusion` does for each model.
    """
    for given in (first, second):
        confusion(expected, given)
    number = {label: i for i, label in enumerate(GIVEN)}  # GIVEN begins with CLASSES
    counts = np.zeros((len(CLASSES), len(GIVEN), len(GIVEN)), dtype=np.int64)
    np.add.at(counts, tuple([number[label] for label in labels] for labels in (expected, first, second)), 1)
    return counts


def macro_f1s(tables: Tables, classes: np.ndarray) -> np.ndarray:
    """Macro F1 of each table, (m,), over the classes marked in `classes`, (4,) or (m, 4) bool; see metrics.summary."""
    hits = np.diagonal(tables, axis1=1, axis2=2)
    total = tables.sum(2) + tables.sum(1)[:, : len(CLASSES)]
    f1 = 2 * hits / np.where(total > 0, total, 1)
    return (f1 * classes).sum(1) / classes.sum(-1)


def scores(tables: Tables, classes: np.ndarray) -> np.ndarray:
    """The mean of accuracy and macro F1 of each table, (m,); `classes` as in `macro_f1s`."""
    rows = tables.sum((1, 2))
    accuracy = np.trace(tables, axis1=1, axis2=2) / np.where(rows > 0, rows, 1)
    return (accuracy + macro_f1s(tables, classes)) / 2


def contrast(counts: np.ndarray, statistic: Callable[[Tables, np.ndarray], np.ndarray], seed: int = 0) -> Contrast:
    """Both models' `statistic` (`macro_f1s` or `scores`), its difference, interval and p, from their `joint` table.

    Each model's macro F1 is taken over the classes that occur with it, as in its Summary. The same counts and seed give
    the same numbers.

    p is the paired randomization test's: if neither model is better, what the two gave for a row might as well have
    been given the other way round, so the difference is compared with those of DRAWS random swaps (Noreen, "Computer-
    Intensive Methods for Testing Hypotheses", 1989; Yeh, "More accurate tests for the statistical significance of
    result differences", COLING 2000). It is exact for two models that err alike, on any number of rows.

    The interval is the paired bootstrap's, BCa (see `bca`): rows are drawn with both their answers. The rows that
    differ are what it knows, and where they are few it is too narrow: without a remedy it holds the truth 84 to 92
    times in 100 where fewer than 10 are expected, and is [0, 0] where there is none. The remedy is that of Bonett and
    Price ("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", Journal of
    Educational and Behavioral Statistics 37, 2012): before drawing, one row that the first model alone gets right and
    one that the second alone does are added, each spread over the classes as the rows are and over the wrong answers
    evenly.
    """
    first, second = counts.sum(2)[None], counts.sum(1)[None]
    one, other = (float(statistic(table, _occurring(table[0]))[0]) for table in (first, second))
    low, high = _interval(counts, statistic, seed)
    value = other - one
    p = _randomized(counts, lambda tables: statistic(tables, _occurring(tables)), value, seed)
    return Contrast(
        rows=int(counts.sum()), first=one, second=other,
        difference=Difference(value, min(low, value), max(high, value)),
        relative=value / one if one else None,
        test="randomization", p=p, adjusted=p, significant=p <= ALPHA, more_rows=None,
    )  # fmt: skip


def _occurring(tables: np.ndarray) -> np.ndarray:
    """Which of the four classes are expected or given in each table: (…, 4) bool."""
    return tables.sum(-1) + tables.sum(-2)[..., : len(CLASSES)] > 0


def _interval(counts: np.ndarray, statistic: Callable, seed: int) -> tuple[float, float]:
    added = _added(counts).reshape(2, -1)
    mine, theirs = _occurring(counts.sum(2)), _occurring(counts.sum(1))

    def difference(draws: np.ndarray) -> np.ndarray:  # (m, 100 + 2): the cells, then the two added rows
        tables = (draws[:, :-2] + draws[:, -2:] @ added).reshape(-1, *counts.shape)
        return statistic(tables.sum(2), theirs) - statistic(tables.sum(3), mine)

    return bca(np.append(counts.ravel(), [1, 1]), difference, seed)


def _added(counts: np.ndarray) -> np.ndarray:
    """The two rows of Bonett and Price, spread over the cells: (2, 4, 5, 5), each of sum 1."""
    rows = np.zeros((2, *counts.shape))
    for number, share in enumerate(counts.sum((1, 2)) / counts.sum()):
        wrong = [i for i in range(len(GIVEN)) if i != number]
        rows[0, number, number, wrong] = rows[1, number, wrong, number] = share / len(wrong)
    return rows


def _randomized(counts: np.ndarray, statistic: Callable[[Tables], np.ndarray], value: float, seed: int) -> float:
    """The share of DRAWS + 1 swaps, the observed one among them, whose difference is at least as far from 0."""
    left, right = np.triu_indices(len(GIVEN), 1)
    straight, crossed = counts[:, left, right], counts[:, right, left]
    expected, pair = np.nonzero(straight + crossed)
    if not len(pair):
        return 1.0
    here = np.arange(len(pair))
    moved = np.zeros((len(pair), *counts.shape[:2]))  # what one row that goes straight moves within the first table
    moved[here, expected, left[pair]], moved[here, expected, right[pair]] = 1, -1
    crossing = np.tensordot(straight[expected, pair], moved, 1)
    together = counts.sum(2) + counts.sum(1)
    total = (straight + crossed)[expected, pair]
    draws = np.random.default_rng(seed).binomial(total, 0.5, size=(DRAWS, len(pair)))
    first = counts.sum(2) - crossing + np.tensordot(draws, moved, 1)
    found = statistic(together - first) - statistic(first)
    return (1 + int((np.abs(found) >= abs(value) - TINY).sum())) / (DRAWS + 1)
