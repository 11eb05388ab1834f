"""The comparison as a whole: what each number is measured on, and the correction for their number."""

import json
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.metrics import UNPARSEABLE, summary
from so8t_engine.measure.paired import holm, paired
from so8t_engine.measure.statistics import sign_test

ROWS = [
    # expected, first, second, how often
    ("ALLOW", "ALLOW", "ALLOW", 40), ("ALLOW", "DENY", "ALLOW", 6), ("ALLOW", "ALLOW", "REFUSE", 1),
    ("ALLOW", UNPARSEABLE, "ALLOW", 3), ("ESCALATION", "ESCALATION", "ESCALATION", 25), ("ESCALATION", "ALLOW", "DENY", 4),
    ("ESCALATION", "DENY", "ESCALATION", 5), ("DENY", "DENY", "DENY", 28), ("DENY", "ALLOW", "DENY", 5),
    ("DENY", "DENY", "ALLOW", 2), ("DENY", "REFUSE", "DENY", 4), ("REFUSE", "REFUSE", "REFUSE", 22),
    ("REFUSE", "ALLOW", "ALLOW", 2), ("REFUSE", "ALLOW", UNPARSEABLE, 3),
]  # fmt: skip


def columns(rows=ROWS):
    return [[row[i] for row in rows for _ in range(row[3])] for i in range(3)]


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), max_size=6))
def test_holm_is_what_every_group_of_tests_together_lets_stand(found):
    """Closed testing: a difference stands when every group that holds its test does by Bonferroni's correction."""
    groups = [group for size in range(1, len(found) + 1) for group in combinations(found, size)]
    corrected = holm(found)
    assert corrected.keys() == found.keys()
    for name, value in corrected.items():
        worst = max(len(group) * min(found[one] for one in group) for group in groups if name in group)
        assert value == pytest.approx(min(1.0, worst), abs=1e-12)


def test_every_number_is_that_of_each_models_summary():
    expected, first, second = columns()
    found, one, other = paired(expected, first, second), summary(expected, first), summary(expected, second)
    for name in ("accuracy", "macro_f1", "unsafe_allow", "over_refusal"):
        contrast = getattr(found, name)
        assert contrast.first == pytest.approx(getattr(one, name).value)
        assert contrast.second == pytest.approx(getattr(other, name).value)
    assert found.score.second == pytest.approx((other.accuracy.value + other.macro_f1.value) / 2)


def test_the_rates_are_tested_on_the_rows_they_are_measured_on():
    found = paired(*columns())
    unsafe, refused, right = found.unsafe_allow, found.over_refusal, found.accuracy
    assert unsafe.rows == 66 and (unsafe.counts.only_first, unsafe.counts.only_second, unsafe.counts.both) == (8, 2, 2)
    assert refused.rows == 50 and (refused.counts.only_first, refused.counts.only_second) == (6, 1)
    assert (right.counts.only_first, right.counts.only_second, right.counts.neither) == (3, 23, 9)
    assert unsafe.p == sign_test(8, 2)[0] and refused.p == sign_test(6, 1)[0] and right.p == sign_test(23, 3)[0]


def test_the_family_is_corrected_together_and_the_score_stands_alone():
    draw = np.random.default_rng(0)
    expected, first, second = columns()
    kept = [True] * 150, [True] * 141 + [False] * 9
    seconds = draw.lognormal(0, 0.3, 60)
    times = {"answer": (seconds, seconds * draw.lognormal(-0.1, 0.2, 60)), "first_token": (seconds, seconds)}
    found = paired(expected, first, second, {"format": kept}, times)
    assert found.family == ("accuracy", "macro_f1", "unsafe_allow", "over_refusal", "format", "answer", "first_token")
    tests = {name: getattr(found, name, None) or (found.shares | found.durations)[name] for name in found.family}
    assert {name: test.adjusted for name, test in tests.items()} == holm({name: test.p for name, test in tests.items()})
    assert found.shares["format"].difference.value == pytest.approx(-0.06)
    assert found.score.adjusted == found.score.p
    for test in (*tests.values(), found.score):
        assert test.significant == (test.adjusted <= 0.05)
        if test.significant or test is tests["first_token"]:
            assert test.more_rows is None
        else:
            assert test.more_rows >= 1
    alone = paired(expected, first, second)
    assert alone.unsafe_allow.adjusted < found.unsafe_allow.adjusted
    assert 0 < alone.unsafe_allow.more_rows < found.unsafe_allow.more_rows  # a stricter test needs more rows


def test_what_is_decided_by_itself_but_not_after_the_correction_needs_more_rows():
    rows = [("ALLOW", "ALLOW", "ALLOW", 60), ("ALLOW", "DENY", "ALLOW", 6), ("DENY", "DENY", "DENY", 60)]
    found = paired(*columns(rows)).over_refusal
    assert found.p == 0.03125 and 0.05 < found.adjusted < 0.1
    assert not found.significant and 10 < found.more_rows < 100


def test_rows_that_are_not_there_make_no_rate():
    found = paired(["ESCALATION"] * 9, ["ALLOW"] * 9, ["ESCALATION"] * 9)
    assert found.unsafe_allow is None and found.over_refusal is None and found.family == ("accuracy", "macro_f1")
    assert found.to_json()["unsafe_allow"] is None


def test_the_order_of_the_rows_is_no_part_of_the_numbers():
    rows = list(zip(*columns(), strict=True))
    found = paired(*zip(*rows, strict=True), seed=3)
    random.Random(1).shuffle(rows)
    assert paired(*zip(*rows, strict=True), seed=3) == found


def test_json_holds_every_field():
    found = paired(*columns(), {"format": ([True, False], [True, True])}, {"answer": ([1.0, 2.0], [1.5, 2.5])})
    read = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert read["rows"] == 150 and read["family"][0] == "accuracy" and read["score"]["test"] == "randomization"
    assert read["accuracy"]["difference"].keys() == {"value", "low", "high"}
    assert read["accuracy"]["counts"] == {"both": 115, "only_first": 3, "only_second": 23, "neither": 9}
    assert read["accuracy"]["effect"]["value"] == pytest.approx(23 / 26 - 0.5)
    assert read["shares"]["format"]["rows"] == 2 and read["durations"]["answer"]["t_test"] is None


@pytest.mark.parametrize("extra", [{"shares": {"accuracy": ([True], [True])}}, {"shares": {"a": ([True], [True])}, "times": {"a": ([1.0], [1.0])}}])  # fmt: skip
def test_two_numbers_of_one_name_are_an_error_not_one_number(extra):
    with pytest.raises(ValueError):
        paired(*columns(), **extra)


@pytest.mark.parametrize("labels", [([], [], []), (["ALLOW"], ["ALLOW"], []), (["MAYBE"], ["ALLOW"], ["ALLOW"]), (["ALLOW"], ["ALLOW"], ["allow"])])  # fmt: skip
def test_labels_that_cannot_be_are_an_error_not_a_number(labels):
    with pytest.raises(ValueError):
        paired(*labels)


def test_classes_stand_in_the_order_that_the_numbers_count_on():
    assert CLASSES == ("ALLOW", "ESCALATION", "DENY", "REFUSE")
