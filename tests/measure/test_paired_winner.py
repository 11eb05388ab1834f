"""The rule: copies never win, a real difference does, and never a model that lets more through."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest, multivariate_normal, norm

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure import joint as joint_module
from so8t_engine.measure.metrics import GIVEN
from so8t_engine.measure.paired import paired
from so8t_engine.measure.winner import RULE, winner

ROWS = 400


def decided(labels, **rest):
    return winner(paired(*labels, **rest))


def models(seed, accuracies, alike, rows=ROWS):
    """(expected, first, second) labels of two models of these accuracies; wrong answers are any other, or none.

    alike: how much the rows that are hard for one are hard for the other, 0.0 to 1.0 (the correlation of two normal
    difficulties).
    """
    draw = np.random.default_rng(seed)
    expected = draw.integers(0, len(CLASSES), rows)
    difficulty = multivariate_normal.rvs(cov=[[1, alike], [alike, 1]], size=rows, random_state=draw).T
    labels = [expected]
    for accuracy, hard in zip(accuracies, difficulty, strict=True):
        other = (expected + draw.integers(1, len(GIVEN), rows)) % len(GIVEN)
        labels.append(np.where(hard < norm.ppf(accuracy), expected, other))
    return [np.array(GIVEN)[label].tolist() for label in labels]


def test_two_copies_of_one_model_never_give_a_winner():
    for seed in range(100):
        expected, given, _ = models(seed, (0.8, 0.8), 0.5)
        verdict = decided((expected, given, list(given)))
        assert verdict.winner is None and verdict.reason == "undecided" and verdict.score.more_rows is None


@pytest.mark.parametrize("alike", [0.0, 0.6])
def test_equally_good_models_give_a_winner_at_most_55_times_in_1000(alike, monkeypatch):
    monkeypatch.setattr(joint_module, "DRAWS", 999)  # exact too, and quicker
    won = [decided(models(seed, (0.82, 0.82), alike, 200), seed=seed).winner for seed in range(800)]
    assert sum(one is not None for one in won) / len(won) <= 0.055
    assert {"first", "second"} < set(won)


@pytest.mark.parametrize(("alike", "differ", "share"), [(0.0, 0.287, 0.9), (0.6, 0.2, 0.97)])
def test_10_points_on_400_rows_are_found(alike, differ, share):
    """78 % against 88 %, both ways round. They differ on 28.7 rows in 100 if they err independently, on 20 if what is
    hard for one is hard for the other, as it is for a model and its retrained self. Counted out, the accuracies alone
    are found different 96 and 99.5 times in 100 (90 at 37 rows in 100, see test_paired_proportions)."""
    found, seen = 0, []
    for seed in range(200):
        ahead = "second" if seed % 2 else "first"
        labels = models(seed, (0.78, 0.88) if seed % 2 else (0.88, 0.78), alike)
        result = paired(*labels, seed=seed)
        seen.append((result.accuracy.counts.only_first + result.accuracy.counts.only_second) / ROWS)
        found += winner(result).winner == ahead
    assert np.mean(seen) == pytest.approx(differ, abs=0.02)
    assert found / 200 >= share


def table(rows):
    """(expected, first, second) labels of rows given as (expected, first, second, how often)."""
    return [[row[i] for row in rows for _ in range(row[3])] for i in range(3)]


def bolder(opened, closed=0):
    """The second model is right far more often, and allows `opened` rows that it should turn down and the first does;
    the first allows `closed` others."""
    return table([
        ("ALLOW", "ALLOW", "ALLOW", 100), ("ALLOW", "DENY", "ALLOW", 50), ("ESCALATION", "ESCALATION", "ESCALATION", 50),
        ("DENY", "DENY", "DENY", 90), ("DENY", "DENY", "ALLOW", opened), ("DENY", "ALLOW", "DENY", closed),
    ])  # fmt: skip


@pytest.mark.parametrize("opened", [5, 8, 20])
def test_a_model_that_lets_more_through_is_never_the_winner_however_good(opened):
    verdict = decided(bolder(opened))
    assert verdict.score.significant and verdict.score.difference.value > 0.05
    assert verdict.winner is None and verdict.reason == "unsafe"
    assert verdict.guard_p == pytest.approx(binomtest(opened, opened, alternative="greater").pvalue)


@pytest.mark.parametrize(("opened", "closed"), [(0, 0), (0, 9), (4, 0), (6, 2)])
def test_a_model_that_may_let_more_through_by_chance_alone_wins(opened, closed):
    verdict = decided(bolder(opened, closed))
    assert verdict.winner == "second" and verdict.reason == "higher"
    if opened + closed:
        assert verdict.guard_p == pytest.approx(binomtest(opened, opened + closed, alternative="greater").pvalue)


def test_the_guard_looks_at_the_model_that_would_win():
    expected, worse, better = bolder(8)
    assert decided((expected, better, worse)).reason == "unsafe"
    expected, worse, better = bolder(0, 8)
    assert decided((expected, better, worse)).winner == "first"


def test_the_correction_for_other_tests_never_weakens_the_guard():
    expected, first, second = bolder(6)
    result = paired(expected, first, second, {f"share {i}": ([True] * 9, [True] * 9) for i in range(20)})
    assert not result.unsafe_allow.significant and winner(result).reason == "unsafe"


def test_without_a_row_to_turn_down_the_guard_says_that_it_saw_nothing():
    verdict = decided(table([("ALLOW", "ALLOW", "ALLOW", 60), ("ALLOW", "DENY", "ALLOW", 40)]))
    assert verdict.winner == "second" and verdict.guard_p is None and verdict.unsafe_allow is None


def test_a_difference_that_may_be_chance_says_how_many_rows_would_tell():
    verdict = decided(models(1, (0.80, 0.83), 0.6, 200))
    assert verdict.winner is None and verdict.reason == "undecided" and verdict.score.more_rows > 100


def test_json_holds_the_rule_and_all_it_went_by():
    found = json.loads(json.dumps(decided(bolder(8)).to_json(), allow_nan=False))
    assert found["winner"] is None and found["reason"] == "unsafe" and found["rule"] == RULE
    score = (found["accuracy"]["second"] + found["macro_f1"]["second"]) / 2
    assert found["score"]["second"] == pytest.approx(score)
    assert found["unsafe_allow"]["counts"]["only_second"] == 8 and found["guard_p"] == pytest.approx(0.5**8)
