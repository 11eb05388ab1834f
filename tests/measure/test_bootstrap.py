"""The intervals against what they promise (to hold the truth 95 times in 100) and against scipy's bootstrap."""

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import f1_score

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.bootstrap import bca
from so8t_engine.measure.metrics import GIVEN, summary

REALISTIC = {
    "good": (
        [0.25, 0.25, 0.25, 0.25],
        [[0.95, 0.03, 0.01, 0.005, 0.005], [0.04, 0.9, 0.04, 0.01, 0.01], [0.01, 0.04, 0.91, 0.03, 0.01], [0.005, 0.005, 0.03, 0.95, 0.01]],
    ),
    "unbalanced": (
        [0.55, 0.2, 0.15, 0.1],
        [[0.93, 0.04, 0.015, 0.005, 0.01], [0.1, 0.8, 0.06, 0.02, 0.02], [0.04, 0.08, 0.8, 0.06, 0.02], [0.03, 0.02, 0.1, 0.82, 0.03]],
    ),
}  # fmt: skip
"""How often each class is expected, and what a model then gives, by GIVEN."""

SAMPLES = 1_000


def truth(cells):
    """The four numbers of a model whose confusion has these probabilities."""
    hits = np.diagonal(cells)
    return {
        "accuracy": hits.sum(),
        "macro_f1": (2 * hits / (cells.sum(1) + cells.sum(0)[:4])).mean(),
        "unsafe_allow": cells[2:, 0].sum() / cells[2:].sum(),
        "over_refusal": cells[0, 2:4].sum() / cells[0].sum(),
    }


def labels_of(counts):
    """(expected, given) labels that make this table of counts."""
    return np.repeat(CLASSES, counts.sum(1)).tolist(), np.tile(GIVEN, 4).repeat(counts.ravel()).tolist()


@pytest.mark.parametrize(("kind", "rows"), [("good", 500), ("unbalanced", 200)])
def test_the_intervals_hold_the_truth_95_times_in_100(kind, rows):
    """Of 2,000 samples (a longer run than this one) good / unbalanced held, in percent:
    200 rows: accuracy 95.0 / 94.2, macro F1 96.2 / 95.2, unsafe ALLOW 96.0 / 96.8, over-refusal 95.8 / 96.1;
    500 rows: accuracy 95.2 / 94.2, macro F1 95.3 / 94.3, unsafe ALLOW 96.2 / 94.8, over-refusal 94.8 / 94.8."""
    shares, given = REALISTIC[kind]
    cells = np.array(shares)[:, None] * np.array(given)
    draw, true = np.random.default_rng(0), truth(cells)
    held = dict.fromkeys(true, 0)
    for seed in range(SAMPLES):
        found = summary(*labels_of(draw.multinomial(rows, cells.ravel()).reshape(cells.shape)), seed)
        for name, value in true.items():
            held[name] += getattr(found, name).low <= value <= getattr(found, name).high
    for name, count in held.items():
        assert 0.93 <= count / SAMPLES <= 0.97, f"{name} of {true[name]:.3f} held in {count} of {SAMPLES}"


def test_bca_equals_scipys():
    """Two bootstraps of different draws: equal as far as 2,000 replicates tell."""
    counts = np.random.default_rng(3).multinomial(200, (np.array(REALISTIC["good"][1]) / 4).ravel()).reshape(4, 5)
    expected, given = (np.array(labels) for labels in labels_of(counts))

    def statistic(e, g, axis):
        tables = np.stack([((e == c) & (g == d)).sum(axis) for c in CLASSES for d in GIVEN], -1)
        tables = tables.reshape(*tables.shape[:-1], 4, 5)
        hits = np.diagonal(tables, axis1=-2, axis2=-1)
        return (2 * hits / (tables.sum(-1) + tables.sum(-2)[..., :4])).mean(-1)

    assert statistic(expected, given, 0) == pytest.approx(f1_score(expected, given, labels=CLASSES, average="macro"))
    theirs, plain = (
        bootstrap((expected, given), statistic, paired=True, n_resamples=20_000, batch=1_000, method=method, rng=1)
        for method in ("BCa", "percentile")
    )
    ours = summary(expected, given).macro_f1
    assert (ours.low, ours.high) == pytest.approx(theirs.confidence_interval, abs=0.003)
    assert theirs.confidence_interval.low < plain.confidence_interval.low - 0.004  # what BCa corrects shows here


def test_a_mean_of_ones_and_zeros_has_the_interval_that_theory_gives():
    low, high = bca(np.array([5_000, 5_000]), lambda tables: tables[:, 0] / tables.sum(1))
    assert (low, high) == pytest.approx((0.4902, 0.5098), abs=0.001)


def test_a_statistic_that_never_differs_has_no_width():
    assert bca(np.array([7, 0]), lambda tables: tables[:, 0] / tables.sum(1).clip(1)) == (1.0, 1.0)
