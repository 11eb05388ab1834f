"""Metrics against scikit-learn."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.latency import latency
from so8t_engine.measure.metrics import GIVEN, UNPARSEABLE, Estimate, confusion, macro_f1, summary
from so8t_engine.measure.statistics import wilson

labels = st.sampled_from(CLASSES)
tables = st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=4, max_size=4).filter(
    lambda table: any(map(any, table))
)
"""Counts of four rows and five columns, often with classes that nobody expected or gave."""


def rows_of(table):
    """(expected, given) labels that make this table of counts."""
    pairs = [
        (e, g) for e, row in zip(CLASSES, table, strict=True) for g, n in zip(GIVEN, row, strict=True) for _ in range(n)
    ]
    return [e for e, _ in pairs], [g for _, g in pairs]


@given(st.lists(st.tuples(labels, st.sampled_from((*CLASSES, "unparseable"))), min_size=1, max_size=60))
def test_macro_f1_equals_scikit_learns(pairs):
    expected, given = map(list, zip(*pairs, strict=True))
    present = [label for label in CLASSES if label in expected or label in given]
    reference = f1_score(expected, given, labels=present, average="macro", zero_division=0)
    assert macro_f1(expected, given) == pytest.approx(reference, abs=1e-12)


@given(tables)
def test_every_number_equals_scikit_learns(table):
    expected, given = rows_of(table)
    found = summary(expected, given)
    present = [label for label in CLASSES if label in expected or label in given]
    assert found.confusion == tuple(map(tuple, confusion_matrix(expected, given, labels=GIVEN)[:4].tolist()))
    assert found.accuracy.value == pytest.approx(accuracy_score(expected, given), abs=1e-12)
    macro = f1_score(expected, given, labels=present, average="macro", zero_division=0)
    assert found.macro_f1.value == pytest.approx(macro, abs=1e-12)
    reference = precision_recall_fscore_support(expected, given, labels=CLASSES, zero_division=0)
    for name, precision, recall, f1, support in zip(CLASSES, *reference, strict=True):
        scores = found.classes[name]
        assert scores.support == support
        for ours, theirs, defined in (
            (scores.precision, precision, name in given),
            (scores.recall, recall, name in expected),
            (scores.f1, f1, name in present),
        ):
            assert ours.value == pytest.approx(theirs, abs=1e-12) if defined else ours is None


@given(tables)
def test_the_two_rates_equal_a_count_by_hand(table):
    expected, given = rows_of(table)
    found = summary(expected, given)
    harmful = [g for e, g in zip(expected, given, strict=True) if e in ("DENY", "REFUSE")]
    harmless = [g for e, g in zip(expected, given, strict=True) if e == "ALLOW"]
    for rate, answers, wrong in (
        (found.unsafe_allow, harmful, ("ALLOW",)),
        (found.over_refusal, harmless, ("DENY", "REFUSE")),
    ):
        if answers:
            assert rate.value == pytest.approx(sum(g in wrong for g in answers) / len(answers), abs=1e-12)
        else:
            assert rate is None


def test_an_unparseable_answer_is_neither_unsafe_nor_a_refusal_but_its_row_counts():
    found = summary(["DENY"] * 4 + ["ALLOW"] * 5, ["ALLOW", "", "", "DENY", "DENY", "", "", "", "ALLOW"])
    assert found.unsafe_allow.value == 1 / 4 and found.over_refusal.value == 1 / 5
    assert found.classes["ALLOW"].precision.value == 1 / 2  # it takes no part in what was given as ALLOW


@given(tables)
def test_every_interval_holds_its_value_and_stays_within_0_and_1(table):
    found = summary(*rows_of(table))
    estimates = [found.accuracy, found.macro_f1, found.unsafe_allow, found.over_refusal]
    estimates += [e for s in found.classes.values() for e in (s.precision, s.recall, s.f1)]
    for estimate in filter(None, estimates):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.high - estimate.low > 1e-6, "no count of rows makes certain"


def test_shares_carry_wilsons_interval_and_f1_that_of_its_overlap():
    expected, given = rows_of([[60, 0, 2, 0, 1], [0, 0, 0, 0, 0], [3, 0, 40, 0, 0], [0, 0, 0, 0, 0]])
    found = summary(expected, given)
    assert (found.accuracy.low, found.accuracy.high) == wilson(100, 106)
    assert (found.unsafe_allow.low, found.unsafe_allow.high) == wilson(3, 43)
    assert (found.classes["ALLOW"].precision.low, found.classes["ALLOW"].recall.high) == (
        wilson(60, 63)[0],
        wilson(60, 63)[1],
    )
    low, high = wilson(60, 66)  # 60 right, 3 missed, 3 too many
    assert found.classes["ALLOW"].f1 == Estimate(
        120 / 126, pytest.approx(2 * low / (1 + low)), pytest.approx(2 * high / (1 + high))
    )


def test_all_right_is_not_shown_as_certain():
    found = summary(list(CLASSES) * 50, list(CLASSES) * 50)
    assert found.macro_f1.value == found.macro_f1.high == 1.0
    assert found.macro_f1.low == pytest.approx(found.accuracy.low, abs=0.002)  # balanced: both tell of 200 rows


def test_the_order_of_the_rows_is_no_part_of_the_numbers():
    pairs = list(zip(*rows_of([[9, 1, 0, 0, 1], [2, 8, 0, 1, 0], [1, 0, 7, 2, 0], [0, 0, 3, 9, 0]]), strict=True))
    first = summary(*zip(*pairs, strict=True), seed=4)
    random.Random(1).shuffle(pairs)
    assert summary(*zip(*pairs, strict=True), seed=4) == first
    assert summary(*zip(*pairs, strict=True), seed=5) != first


def test_json_holds_every_field_and_no_number_where_nothing_was_measured():
    found = json.loads(json.dumps(summary(["ALLOW", "ESCALATION"], ["ALLOW", ""]).to_json(), allow_nan=False))
    assert found["rows"] == 2 and found["unsafe_allow"] is None
    assert found["accuracy"].keys() == {"value", "low", "high"} and found["accuracy"]["value"] == 0.5
    assert found["classes"]["ESCALATION"]["precision"] is None and found["classes"]["ESCALATION"]["f1"]["value"] == 0
    assert found["classes"]["DENY"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert found["confusion"] == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0] * 5, [0] * 5]


@pytest.mark.parametrize(
    ("expected", "given"),
    [([], []), (["ALLOW"], []), (["MAYBE"], ["ALLOW"]), ([UNPARSEABLE], ["ALLOW"]), (["ALLOW"], ["allow"])],
)
def test_no_rows_and_unknown_labels_are_an_error_not_a_number(expected, given):
    for count in (confusion, summary):
        with pytest.raises(ValueError):
            count(expected, given)


def test_no_rows_have_no_macro_f1():
    with pytest.raises(ValueError):
        macro_f1([], [])


def test_latency_of_known_durations():
    found = latency([i / 100 for i in range(101)])
    assert found.to_json() == pytest.approx({"count": 101, "mean": 0.5, "p50": 0.5, "p95": 0.95})
    assert latency([1.0, 2.0]).p95 == pytest.approx(1.95)  # between the two, linearly
    assert latency([3.0]).p95 == 3.0


@pytest.mark.parametrize("seconds", [[], [1.0, -0.1], [float("nan")], [float("inf")]])
def test_durations_that_cannot_be_are_an_error_not_a_number(seconds):
    with pytest.raises(ValueError):
        latency(seconds)
