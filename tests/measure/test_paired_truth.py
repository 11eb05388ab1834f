"""What the A/B test promises, in samples drawn from models whose truth is known."""

from functools import cache

import numpy as np
import pytest
from made_pairs import BALANCED, FAIR, LOOSE, TIGHT, UNBALANCED, cells, labels_of, right_in, tables
from scipy.stats import binom

from so8t_engine.measure import paired_f1
from so8t_engine.measure.paired import SHARES, compare, shifts
from so8t_engine.measure.paired_f1 import swap_test
from so8t_engine.measure.statistics import LEVEL, rows_for, sign_test
from so8t_engine.measure.winner import winner

PAIRS = {
    "balanced": cells(BALANCED, right_in(0.78), right_in(0.88), 0),
    "unbalanced": cells(UNBALANCED, LOOSE, TIGHT, 0.3),
}
"""The first: ten points apart, independent errors. The second: one allows too much, one too little."""

sign_test_once = cache(lambda wins, losses: sign_test(wins, losses)[0])


def truth(probabilities):
    """The true difference of each metric."""
    first, second = probabilities.sum(2), probabilities.sum(1)
    shares = ("accuracy", "unsafe_allow", "over_refusal")
    found = {name: float(part(second, name) - part(first, name)) for name in shares}
    found["macro_f1"] = float(macro(second) - macro(first))
    return found | {"score": (found["accuracy"] + found["macro_f1"]) / 2}


def part(counts, name):
    rows, counting = SHARES[name]
    return (counts * counting)[rows].sum() / counts[rows].sum()


def macro(counts):
    return (2 * np.diagonal(counts) / (counts.sum(1) + counts.sum(0)[:4])).mean()


@pytest.mark.parametrize("rows", [200, 400])
@pytest.mark.parametrize("kind", PAIRS)
def test_the_intervals_hold_the_true_difference_95_times_in_100(kind, rows):
    """Of 2,000 other samples balanced / unbalanced held, in percent:
    200 rows: accuracy 95.7 / 95.2, macro F1 95.4 / 95.2, unsafe ALLOW 94.5 / 96.0, over-refusal 94.2 / 95.2,
    score 95.3 / 94.8; 400 rows: 95.0 / 94.9, 94.8 / 95.0, 95.7 / 95.0, 95.1 / 95.1 and 94.8 / 95.0."""
    true, samples = truth(PAIRS[kind]), 1_000
    held = dict.fromkeys(true, 0)
    for table in tables(PAIRS[kind], rows, samples):
        found = shifts(table)
        for name, value in true.items():
            held[name] += found[name].low <= value <= found[name].high
    for name, count in held.items():
        assert 0.93 <= count / samples <= 0.97, f"{name} of {true[name]:.3f} held in {count} of {samples}"


@pytest.mark.parametrize("rows", [20, 50, 200, 400])
@pytest.mark.parametrize("differing", [0.01, 0.05, 0.1, 0.3, 0.6])
def test_mcnemars_test_is_wrong_at_most_5_times_in_100(rows, differing):
    """By exact enumeration: each side alone is right on half of the rows on which the two differ."""
    wrong = 0.0
    for total in range(1, rows + 1):
        weight = binom.pmf(total, rows, differing)
        if weight > 1e-6:
            refuted = [wins for wins in range(total + 1) if sign_test_once(wins, total - wins) <= LEVEL]
            wrong += weight * binom.pmf(refuted, total, 0.5).sum()
    assert wrong <= 0.05


def equally_good():
    """Two models of unlike confusions and the same true macro F1: a loose one, and a tight one with so many errors put
    right that it comes level."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        better = (1 - middle) * np.array(TIGHT) + middle * np.eye(4, 5)
        probabilities = cells(UNBALANCED, LOOSE, better, 0.3)
        low, high = (low, middle) if truth(probabilities)["macro_f1"] > 0 else (middle, high)
    return probabilities


@pytest.mark.parametrize("kind", ["alike", "unlike"])
def test_the_swap_test_is_wrong_at_most_5_times_in_100(kind, monkeypatch):
    """With 199 swaps instead of 5,000, which makes p coarser, not wrong. Of 20,000 samples alike / unlike were wrong,
    in percent: 4.8 / 5.0 in macro F1, on 200 rows 4.8 / 5.2."""
    monkeypatch.setattr(paired_f1, "SWAPS", 199)
    probabilities = cells(UNBALANCED, FAIR, FAIR, 0.5) if kind == "alike" else equally_good()
    samples = 5_000
    wrong = np.zeros(2)
    for seed, table in enumerate(tables(probabilities, 400, samples)):
        wrong += np.array(swap_test(table, seed)) <= LEVEL
    assert truth(probabilities)["macro_f1"] == pytest.approx(0, abs=1e-9)
    assert wrong[0] / samples <= 0.055, wrong
    if kind == "alike":  # the unlike pair is not equal in score
        assert wrong[1] / samples <= 0.055, wrong


def test_two_copies_of_one_model_never_have_a_winner():
    for seed, table in enumerate(tables(PAIRS["balanced"], 400, 100)):
        expected, first, _ = labels_of(table)
        found = winner(compare(expected, first, list(first), seed))
        assert (found.winner, found.code) == (None, "equal")


def test_ten_points_on_400_rows_have_a_winner_nine_times_in_ten():
    """Of 2,000 other samples 93.1 in 100 had."""
    found = [winner(compare(*labels_of(t), seed)) for seed, t in enumerate(tables(PAIRS["balanced"], 400, 150))]
    assert not [one for one in found if one.winner == "first"]
    assert sum(one.winner == "second" for one in found) >= 135


@pytest.mark.parametrize(("only_first", "only_second"), [(0.02, 0.05), (0.1, 0.15), (0.0, 0.03)])
def test_so_many_rows_as_are_said_to_be_needed_decide_8_times_in_10(only_first, only_second):
    difference, differing = only_second - only_first, only_first + only_second
    rows = rows_for(difference, differing - difference**2, 0.025)
    decided = 0.0
    for total in range(1, rows + 1):
        weight = binom.pmf(total, rows, differing)
        if weight > 1e-6:
            refuted = [wins for wins in range(total + 1) if sign_test_once(wins, total - wins) <= 0.025]
            decided += weight * binom.pmf(refuted, total, only_second / differing).sum()
    assert 0.7 <= decided <= 0.87
