"""Differences of macro F1 and of the score: against their definitions, and what test and interval promise."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import f1_score

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure import joint as joint_module
from so8t_engine.measure.joint import contrast, joint, macro_f1s, scores
from so8t_engine.measure.metrics import GIVEN, summary

GOOD = np.array([[0.95, 0.03, 0.01, 0.005, 0.005], [0.04, 0.9, 0.04, 0.01, 0.01], [0.01, 0.04, 0.91, 0.03, 0.01], [0.005, 0.005, 0.03, 0.95, 0.01]])  # fmt: skip
FAIR = np.array([[0.93, 0.04, 0.015, 0.005, 0.01], [0.1, 0.8, 0.06, 0.02, 0.02], [0.04, 0.08, 0.8, 0.06, 0.02], [0.03, 0.02, 0.1, 0.82, 0.03]])  # fmt: skip
STRICT = np.array([[0.8, 0.1, 0.05, 0.03, 0.02], [0.03, 0.9, 0.04, 0.02, 0.01], [0.02, 0.06, 0.88, 0.03, 0.01], [0.01, 0.01, 0.02, 0.95, 0.01]])  # fmt: skip
LAX = np.array([[0.99, 0.005, 0.005, 0, 0], [0.2, 0.7, 0.06, 0.02, 0.02], [0.1, 0.1, 0.7, 0.08, 0.02], [0.1, 0.02, 0.08, 0.78, 0.02]])  # fmt: skip
EVEN, UNEVEN = np.full(4, 0.25), np.array([0.55, 0.2, 0.15, 0.1])
ALL = np.ones(4, dtype=bool)


def together(shares, first, second, alike):
    """The true joint table, (4, 5, 5), of two models: with probability `alike` they give the same where both can."""
    cells = np.zeros((4, 5, 5))
    for k, share in enumerate(shares):
        common = np.minimum(first[k], second[k])
        left, right = first[k] - common, second[k] - common
        rest = np.outer(left, right) / left.sum() if left.sum() > 1e-12 else 0
        cells[k] = share * (alike * (np.diag(common) + rest) + (1 - alike) * np.outer(first[k], second[k]))
    return cells


def levelled(shares, first, second, statistic):
    """Both, the better one answering so often nothing that can be parsed that `statistic` is the same."""

    def value(table):
        return statistic((shares[:, None] * table)[None], ALL)[0]

    if value(first) < value(second):
        return levelled(shares, second, first, statistic)[::-1]
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        worse = first * (1 - middle) + middle * np.eye(5)[4]
        low, high = (middle, high) if value(worse) > value(second) else (low, middle)
    return worse, second


def labels_of(counts):
    """(expected, first, second) labels that make this joint table of counts."""
    where = np.repeat(np.arange(counts.size), counts.ravel())
    return [[names[i] for i in part] for names, part in zip((CLASSES, GIVEN, GIVEN), np.unravel_index(where, counts.shape), strict=True)]  # fmt: skip


def sampled(cells, rows, seed):
    return np.random.default_rng(seed).multinomial(rows, cells.ravel()).reshape(cells.shape)


@pytest.mark.parametrize("seed", range(5))
def test_the_values_are_those_of_each_models_summary(seed):
    labels = labels_of(sampled(together(UNEVEN, FAIR, LAX, 0.5), 60, seed))
    one, other = (summary(labels[0], given) for given in labels[1:])
    counts = joint(*labels)
    f1, score = contrast(counts, macro_f1s), contrast(counts, scores)
    assert (f1.first, f1.second) == pytest.approx((one.macro_f1.value, other.macro_f1.value), abs=1e-12)
    for found, model in ((score.first, one), (score.second, other)):
        assert found == pytest.approx((model.accuracy.value + model.macro_f1.value) / 2, abs=1e-12)
    assert f1.difference.value == f1.second - f1.first and f1.rows == 60


def test_a_class_that_one_model_alone_brings_in_counts_against_that_model_alone():
    expected = ["ALLOW"] * 20 + ["DENY"] * 20
    first, second = list(expected), list(expected)
    first[0], second[1] = "DENY", "ESCALATION"  # a class that no row expects
    found = contrast(joint(expected, first, second), macro_f1s)
    assert found.first == pytest.approx(f1_score(expected, first, average="macro"))
    assert found.second == pytest.approx(f1_score(expected, second, average="macro", zero_division=0))
    assert found.second < 0.67 < found.first
    assert found.p == 1.0  # swapping the two answers swaps who brought it in


@pytest.mark.parametrize("statistic", [macro_f1s, scores])
def test_p_is_the_share_of_all_ways_to_swap_that_differ_as_much(statistic):
    """Every one of them tried, with scikit-learn's F1."""
    shown = set()
    for seed in range(8):
        counts = sampled(together(UNEVEN, FAIR, LAX, 0.8), 45, seed)
        expected, first, second = (np.array(part) for part in labels_of(counts))
        differ = np.flatnonzero(first != second)
        if not 3 <= len(differ) <= 10:
            continue

        def number(given, expected=expected):
            present = [c for c in CLASSES if c in expected or c in given]
            f1 = f1_score(expected, given, labels=present, average="macro", zero_division=0)
            return f1 if statistic is macro_f1s else (f1 + (expected == given).mean()) / 2

        found = []
        for swaps in product([False, True], repeat=len(differ)):
            one, other = first.copy(), second.copy()
            at = differ[list(swaps)]
            one[at], other[at] = second[at], first[at]
            found.append(number(other) - number(one))
        reference = np.mean(np.abs(found) >= abs(found[0]) - 1e-12)
        p = contrast(joint(expected, first, second), statistic).p
        assert p == pytest.approx(reference, abs=0.025)  # 4,999 draws
        shown.add(round(reference, 2))
    assert len(shown) > 3


def test_four_fixed_rows_and_none_broken_are_no_proof():
    """A plain bootstrap's interval leaves 0 out here; the exact p is 2 / 2^4."""
    counts = np.zeros((4, 5, 5), dtype=int)
    for k in range(4):
        counts[k, k, k], counts[k, 4, k] = 99, 1
    found = contrast(counts, scores)
    assert found.p == pytest.approx(0.125, abs=0.015) and not found.significant


def test_exchanging_the_models_leaves_p_and_mirrors_the_interval():
    counts = sampled(together(UNEVEN, FAIR, GOOD, 0.7), 300, 1)
    here, there = (contrast(table, macro_f1s) for table in (counts, counts.swapaxes(1, 2)))
    assert here.p == there.p and here.difference.value == pytest.approx(-there.difference.value)
    assert (here.difference.low, here.difference.high) == pytest.approx(
        (-there.difference.high, -there.difference.low), abs=0.004
    )
    assert contrast(counts, macro_f1s) == here != contrast(counts, macro_f1s, seed=1)


def test_with_many_rows_that_differ_the_interval_is_scipys_paired_bca():
    counts = sampled(together(UNEVEN, FAIR, GOOD, 0.2), 800, 3)
    expected, first, second = (np.array(part) for part in labels_of(counts))
    numbers = [np.array([GIVEN.index(label) for label in part]) for part in (expected, first, second)]

    def difference(e, one, other, axis):
        tables = [
            np.stack([((e == c) & (g == d)).sum(axis) for c in range(4) for d in range(5)], -1).reshape(-1, 4, 5)
            for g in (one, other)
        ]
        return np.squeeze(macro_f1s(tables[1], ALL) - macro_f1s(tables[0], ALL))

    reference = bootstrap(numbers, difference, paired=True, n_resamples=6_000, batch=500, method="BCa", rng=1)
    found = contrast(counts, macro_f1s).difference
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval), abs=0.004)


def test_no_row_that_differs_is_not_certainty():
    counts = np.zeros((4, 5, 5), dtype=int)
    counts[range(4), range(4), range(4)] = 50
    found = contrast(counts, macro_f1s)
    assert found.p == 1.0 and found.difference.value == 0.0
    assert -0.03 < found.difference.low < -0.008 and 0.008 < found.difference.high < 0.03


CASES = [
    # shares, first, second, alike, rows, statistic, equal: the second model is as good as the first
    pytest.param(EVEN, GOOD, GOOD, 0.0, 400, macro_f1s, True, id="alike-27"),
    pytest.param(UNEVEN, FAIR, FAIR, 0.8, 200, scores, True, id="few-differ-9"),
    pytest.param(UNEVEN, STRICT, LAX, 0.8, 200, scores, True, id="equal-but-otherwise-41"),
    pytest.param(UNEVEN, FAIR, GOOD, 0.8, 400, macro_f1s, False, id="better-35"),
]


@pytest.mark.parametrize(("shares", "first", "second", "alike", "rows", "statistic", "equal"), CASES)
def test_what_test_and_interval_promise(shares, first, second, alike, rows, statistic, equal, monkeypatch):
    monkeypatch.setattr(joint_module, "DRAWS", 999)  # exact too, and quicker
    if equal:
        first, second = levelled(shares, first, second, statistic)
    cells, samples = together(shares, first, second, alike), 1_000
    true = statistic(cells.sum(1)[None], ALL)[0] - statistic(cells.sum(2)[None], ALL)[0]
    assert (abs(true) < 1e-9) == equal
    found = [contrast(sampled(cells, rows, seed), statistic, seed) for seed in range(samples)]
    held = np.mean([one.difference.low - 1e-9 <= true <= one.difference.high + 1e-9 for one in found])
    assert 0.93 <= held <= 0.97
    if equal:
        assert np.mean([one.significant for one in found]) <= 0.055


@pytest.mark.parametrize("labels", [([], [], []), (["ALLOW"], ["ALLOW"], []), (["ALLOW"], ["ALLOW"], ["allow"]), ([""], ["ALLOW"], ["ALLOW"])])  # fmt: skip
def test_labels_that_cannot_be_are_an_error_not_a_number(labels):
    with pytest.raises(ValueError):
        joint(*labels)
