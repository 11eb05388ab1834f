"""The A/B test's numbers against references, counts by hand, and what must hold for any two models."""

import json
import random
from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_pairs import FAIR, GOOD, UNBALANCED, cells, labels_of, tables
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.metrics import GIVEN, UNPARSEABLE, summary
from so8t_engine.measure.paired import METRICS, ClassShift, compare, measured, paired_table
from so8t_engine.measure.paired_f1 import Shift, f1_shift, f1_variance
from so8t_engine.measure.statistics import holm, tango

answers = st.sampled_from(GIVEN)
rows = st.lists(st.tuples(st.sampled_from(CLASSES), answers, answers), min_size=1, max_size=40)
few = hypothesis_settings(max_examples=40)


def sides(rows):
    """(expected, first, second) from rows of three."""
    return [list(one) for one in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def sample():
    """300 rows on which a good model meets a fair one."""
    return labels_of(tables(cells(UNBALANCED, FAIR, GOOD, 0.3), 300, 1, seed=5)[0])


@given(rows)
@few
def test_values_are_the_second_less_the_first_as_scikit_learn_measures_them(rows):
    expected, first, second = sides(rows)
    found = compare(expected, first, second)
    right, macro = [], []
    for given_labels in (first, second):
        present = [label for label in CLASSES if label in expected or label in given_labels]
        right.append(accuracy_score(expected, given_labels))
        macro.append(f1_score(expected, given_labels, labels=present, average="macro", zero_division=0))
    assert found.first == summary(expected, first) and found.second == summary(expected, second)
    assert found.differences["accuracy"].value == pytest.approx(right[1] - right[0], abs=1e-12)
    assert found.differences["macro_f1"].value == pytest.approx(macro[1] - macro[0], abs=1e-12)
    score = (right[1] + macro[1] - right[0] - macro[0]) / 2
    assert found.differences["score"].value == pytest.approx(score, abs=1e-12)
    hits = [(e == a, e == b) for e, a, b in rows]
    assert (found.both, found.only_first, found.only_second, found.neither) == (
        hits.count((True, True)), hits.count((True, False)), hits.count((False, True)), hits.count((False, False)),
    )  # fmt: skip


@given(rows)
@few
def test_rates_and_classes_compare_what_each_side_has_and_nothing_else(rows):
    found = compare(*sides(rows))
    for name in ("unsafe_allow", "over_refusal"):
        before, after = measured(found.first, name), measured(found.second, name)
        difference = found.differences[name]
        assert (difference is None) == (before is None)
        if difference:
            assert difference.value == pytest.approx(after - before, abs=1e-12)
            assert difference.relative == (pytest.approx((after - before) / before) if before else None)
    for label in CLASSES:
        for name in ("recall", "f1"):
            before, after = (getattr(side.classes[label], name) for side in (found.first, found.second))
            shift = getattr(found.classes[label], name)
            assert (shift is None) == (before is None or after is None)
            if shift:
                assert shift.value == pytest.approx(after.value - before.value, abs=1e-12)


@given(rows)
@few
def test_swapped_sides_negate_every_value_and_mirror_every_interval(rows):
    expected, first, second = sides(rows)
    found, other = compare(expected, first, second), compare(expected, second, first)
    pairs = [(found.differences[name], other.differences[name]) for name in METRICS]
    for label in CLASSES:
        pairs += [(getattr(found.classes[label], n), getattr(other.classes[label], n)) for n in ("recall", "f1")]
    for one, mirrored in pairs:
        assert (one is None) == (mirrored is None)
        if one:
            assert -1 <= one.low <= one.value <= one.high <= 1
            expected_shift = (-mirrored.value, -mirrored.high, -mirrored.low)
            assert (one.value, one.low, one.high) == pytest.approx(expected_shift, abs=1e-9)
    for name in METRICS:
        one, mirrored = found.differences[name], other.differences[name]
        if one:
            assert (one.p, one.p_adjusted, one.decided) == (mirrored.p, mirrored.p_adjusted, mirrored.decided)
            assert one.rows_needed == mirrored.rows_needed and one.test == mirrored.test
            if "cohens_g" in one.effect and one.effect["cohens_g"] is not None:
                assert one.effect["cohens_g"] == pytest.approx(-mirrored.effect["cohens_g"])


def test_the_order_of_the_rows_is_no_part_of_the_numbers(sample):
    shuffled = list(zip(*sample, strict=True))
    random.Random(1).shuffle(shuffled)
    assert compare(*sides(shuffled), seed=4) == compare(*sample, seed=4)


def test_p_of_shares_is_mcnemars_exact_one():
    """The two p values are those of statsmodels 0.15.0, mcnemar([[300, 13], [29, 58]], exact=True) and of
    [[90, 2], [9, 5]]: 2 * P(Binomial(b + c, 1/2) <= min(b, c))."""
    for both, only_first, only_second, neither, p in (
        (300, 13, 29, 58, 0.019520472782460274),
        (90, 2, 9, 5, 0.0654296875),
    ):
        found = compare(
            ["ALLOW"] * (both + only_first + only_second + neither),
            ["ALLOW"] * (both + only_first) + ["ESCALATION"] * (only_second + neither),
            ["ALLOW"] * both + ["ESCALATION"] * only_first + ["ALLOW"] * only_second + ["ESCALATION"] * neither,
        )
        difference = found.differences["accuracy"]
        assert difference.test == "mcnemar" and difference.p == pytest.approx(p, abs=1e-12)
        assert difference.p == pytest.approx(binomtest(only_first, only_first + only_second).pvalue, abs=1e-12)
        assert (difference.low, difference.high) == tango(only_first, only_second, found.rows)
        assert difference.effect["odds_ratio"] == pytest.approx(only_second / only_first)
        assert difference.effect["cohens_g"] == pytest.approx(only_second / (only_first + only_second) - 0.5)


def test_rates_are_tested_on_the_rows_that_they_speak_of():
    """Of 60 rows to turn down the first allows 12 alone, the second 3 alone; of 40 to allow, it refuses 1 and 5."""
    expected = ["DENY"] * 30 + ["REFUSE"] * 30 + ["ALLOW"] * 40
    first = ["ALLOW"] * 12 + ["DENY"] * 18 + ["REFUSE"] * 30 + ["DENY"] * 1 + ["ALLOW"] * 39
    second = ["DENY"] * 30 + ["ALLOW"] * 3 + ["REFUSE"] * 27 + ["ALLOW"] * 35 + ["REFUSE"] * 5
    found = compare(expected, first, second).differences
    assert found["unsafe_allow"].value == -9 / 60 and found["unsafe_allow"].p == pytest.approx(binomtest(3, 15).pvalue)
    assert (found["unsafe_allow"].low, found["unsafe_allow"].high) == tango(12, 3, 60)
    assert found["over_refusal"].value == 4 / 40 and found["over_refusal"].p == pytest.approx(binomtest(1, 6).pvalue)


def test_p_of_macro_f1_equals_a_count_of_every_possible_swap():
    """Twelve rows with unequal answers have 4,096 swaps: all of them, against 5,000 drawn ones."""
    expected = ["ALLOW"] * 8 + ["ESCALATION"] * 6 + ["DENY"] * 6 + ["REFUSE"] * 6
    first, second = list(expected), list(expected)
    for i, wrong in zip(
        (0, 1, 2, 8, 9, 14, 15, 20, 21),
        ["DENY", "DENY", "", "ALLOW", "DENY", "REFUSE", "ALLOW", "DENY", ""],
        strict=True,
    ):
        first[i] = wrong
    second[3], second[10], second[16] = "DENY", "ALLOW", "ESCALATION"
    differ = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    assert len(differ) == 12

    def both(one, other):
        macro = [f1_of(expected, labels) for labels in (one, other)]
        right = [sum(map(str.__eq__, expected, labels)) / len(expected) for labels in (one, other)]
        return abs(macro[1] - macro[0]), abs(macro[1] + right[1] - macro[0] - right[0]) / 2

    real, counted = both(first, second), [0, 0]
    for swaps in product((False, True), repeat=12):
        one, other = list(first), list(second)
        for i in (i for i, swap in zip(differ, swaps, strict=True) if swap):
            one[i], other[i] = other[i], one[i]
        for k, drawn in enumerate(both(one, other)):
            counted[k] += drawn >= real[k] - 1e-12
    found = compare(expected, first, second).differences
    for name, count in zip(("macro_f1", "score"), counted, strict=True):
        assert 0.01 < count / 4096 < 0.5
        assert found[name].test == "permutation" and found[name].p == pytest.approx(count / 4096, abs=0.02)


def f1_of(expected, given_labels):
    """Macro F1 by hand; every class is expected."""
    scores = []
    for label in CLASSES:
        hits = sum(e == g == label for e, g in zip(expected, given_labels, strict=True))
        scores.append(2 * hits / (expected.count(label) + given_labels.count(label)))
    return sum(scores) / len(scores)


def test_variance_is_what_the_jackknife_finds(sample):
    """Leaving each row out once tells what one row adds: to first order the same (Efron and Tibshirani 1993, 11)."""
    table = 10 * paired_table(*sample)
    total = table.sum()
    kinds, names = np.argwhere(table), (*CLASSES, "macro_f1", "score")
    weights = table[tuple(kinds.T)]
    left_out = []
    for kind in kinds:
        less = table.copy()
        less[tuple(kind)] -= 1
        left_out.append([f1_shift(less, name).value for name in names])
    added = (total - 1) * (np.average(left_out, axis=0, weights=weights) - np.array(left_out))
    found = [f1_variance(table, name) for name in names]
    assert found == pytest.approx(np.average(added**2, axis=0, weights=weights), rel=0.02)


def test_p_values_are_adjusted_together_and_half_of_the_level_is_the_scores(sample):
    found = compare(*sample).differences
    assert list(found) == list(METRICS)
    adjusted = holm([one.p for one in found.values()], [1, 1, 1, 1, 4])
    assert [one.p_adjusted for one in found.values()] == pytest.approx(adjusted)
    assert all(one.decided == (one.p_adjusted <= 0.05) for one in found.values())
    assert found["score"].decided and found["score"].rows_needed is None


def test_a_difference_that_cannot_be_measured_is_none_and_takes_no_share_of_the_level():
    found = compare(["ESCALATION"] * 20, ["ESCALATION"] * 20, ["ESCALATION"] * 14 + ["DENY"] * 6)
    assert found.differences["unsafe_allow"] is None and found.differences["over_refusal"] is None
    assert found.differences["score"].p_adjusted == pytest.approx(2 * found.differences["score"].p)
    assert found.classes["ALLOW"] == ClassShift(None, None) and found.classes["DENY"].recall is None
    assert found.classes["DENY"].f1 is None  # the first never gave it


def test_equal_answers_differ_by_nothing(sample):
    found = compare(sample[0], sample[1], sample[1])
    for one in found.differences.values():
        assert (one.value, one.low, one.high, one.p, one.p_adjusted) == (0, 0, 0, 1, 1)
        assert not one.decided and one.rows_needed is None and set(one.effect.values()) == {None}
    assert {shift for one in found.classes.values() for shift in (one.recall, one.f1)} == {Shift(0.0, 0.0, 0.0)}


def test_a_zero_from_unequal_answers_is_not_shown_as_certain():
    found = compare(["ALLOW"] * 30, ["DENY"] * 30, ["REFUSE"] * 30)  # both always wrong, each in its own way
    for name in ("accuracy", "macro_f1", "over_refusal", "score"):
        one = found.differences[name]
        assert one.value == 0 and one.low < -0.05 and one.high > 0.05 and one.p == 1 and one.rows_needed is None
    never_right = compare(["ALLOW"] * 9, ["ALLOW"] * 9, [UNPARSEABLE] * 9)
    assert never_right.differences["macro_f1"].value == -1 and never_right.differences["macro_f1"].high > -1


def test_rows_needed_counts_rows_of_the_whole_set_not_of_the_rate_alone():
    """Only a quarter of the rows expects DENY or REFUSE, so four times as many are needed as the rate itself wants."""
    expected = ["DENY"] * 50 + ["ESCALATION"] * 150
    first = ["ALLOW"] * 4 + ["DENY"] * 46 + ["ESCALATION"] * 150
    second = ["DENY"] * 49 + ["ALLOW"] * 1 + ["ESCALATION"] * 150
    one = compare(expected, first, second).differences["unsafe_allow"]
    variance = 5 / 50 - (3 / 50) ** 2
    wanted = ((2.4977 * sqrt(variance + 0.06**2) + 0.8416 * sqrt(variance)) / 0.06) ** 2  # level 0.05 / 2 / 4 others
    assert not one.decided and one.rows_needed == pytest.approx(4 * (wanted - 50), rel=0.15)


def test_rows_needed_of_the_score_follow_from_its_effect_and_its_half_of_the_level():
    found = compare(*labels_of(tables(cells(UNBALANCED, FAIR, GOOD, 0.3), 60, 1, seed=5)[0])).differences["score"]
    spread = found.value / found.effect["cohens_dz"]
    wanted = ((2.2414 * sqrt(spread**2 + found.value**2) + 0.8416 * spread) / found.value) ** 2  # level 0.025
    assert not found.decided and found.rows_needed == pytest.approx(wanted - 60, abs=1.5)


def test_the_effect_does_not_grow_with_the_rows(sample):
    once, thrice = compare(*sample).differences, compare(*(3 * labels for labels in sample)).differences
    for name in METRICS:
        assert once[name].effect == pytest.approx(thrice[name].effect)
        assert thrice[name].p <= once[name].p
        assert thrice[name].high - thrice[name].low < once[name].high - once[name].low


def test_json_is_plain_and_holds_every_field(sample):
    found = compare(*sample)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["rows"] == 300 == plain["both"] + plain["only_first"] + plain["only_second"] + plain["neither"]
    assert plain["first"] == json.loads(json.dumps(found.first.to_json()))
    assert list(plain["differences"]) == list(METRICS)
    assert plain["differences"]["score"].keys() == {
        "value", "low", "high", "relative", "p", "p_adjusted", "decided", "test", "effect", "rows_needed",
    }  # fmt: skip
    assert plain["classes"]["DENY"]["f1"].keys() == {"value", "low", "high"}


@pytest.mark.parametrize(
    "labels",
    [
        ([], [], []),
        (["ALLOW"], ["ALLOW"], []),
        (["ALLOW"], [], ["ALLOW"]),
        ([""], ["ALLOW"], ["ALLOW"]),
        (["ALLOW"], ["ALLOW"], ["no"]),
    ],
)
def test_no_rows_and_unknown_labels_are_an_error_not_a_number(labels):
    with pytest.raises(ValueError):
        compare(*labels)
