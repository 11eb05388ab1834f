"""Calibration against a slow count by hand, scikit-learn, and decisions that are calibrated by construction."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from so8t_engine.measure.calibration import calibration

written = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
"""Confidences as a model writes them: often on the edge of a bin."""


@given(st.lists(st.tuples(written, st.booleans()), min_size=1, max_size=60))
def test_written_confidences_equal_a_count_by_hand(pairs):
    bins = [[] for _ in range(10)]
    for said, was in pairs:
        hundredths = round(said * 100)
        bins[max(0, -(-hundredths // 10) - 1)].append((Fraction(hundredths, 100), was))  # (0.6, 0.7] holds 0.70
    found = calibration(*zip(*pairs, strict=True))
    assert [one.count for one in found.bins] == list(map(len, bins))
    ece = Fraction(0)
    for one, members in zip(found.bins, bins, strict=True):
        if not members:
            assert one.confidence is None and one.accuracy is None
            continue
        confidence = sum(said for said, _ in members) / len(members)
        accuracy = Fraction(sum(was for _, was in members), len(members))
        assert (one.confidence, one.accuracy) == pytest.approx((float(confidence), float(accuracy)), abs=1e-12)
        ece += abs(accuracy - confidence) * len(members) / len(pairs)
    assert found.ece == pytest.approx(float(ece), abs=1e-12)
    brier = sum((Fraction(round(said * 100), 100) - was) ** 2 for said, was in pairs) / len(pairs)
    assert found.brier == pytest.approx(float(brier), abs=1e-12)


def test_curve_and_brier_score_equal_scikit_learns():
    draw = np.random.default_rng(0)
    said, was = draw.random(5_000), draw.random(5_000) < 0.6
    found = calibration(said, was)
    accuracy, confidence = calibration_curve(was, said, n_bins=10)
    assert [one.accuracy for one in found.bins] == pytest.approx(accuracy, abs=1e-12)
    assert [one.confidence for one in found.bins] == pytest.approx(confidence, abs=1e-12)
    assert found.brier == pytest.approx(brier_score_loss(was, said), abs=1e-12)


def test_perfectly_calibrated_decisions_have_no_error_and_overconfident_ones_have_theirs():
    draw = np.random.default_rng(0)
    said = draw.random(200_000)
    was = draw.random(200_000) < said
    found = calibration(said, was)
    assert found.ece < 0.005
    assert found.brier == pytest.approx(1 / 6, abs=0.002)  # the mean of c (1 - c) over 0 to 1
    assert calibration(said**0.5, was).ece == pytest.approx(1 / 6, abs=0.005)  # the mean of sqrt(c) - c
    assert calibration([0.9] * 10, [True] * 5 + [False] * 5).ece == pytest.approx(0.4)


def test_json_holds_the_curve_with_its_empty_bins():
    found = json.loads(json.dumps(calibration([0.0, 0.7, 1.0], [False, True, True]).to_json(), allow_nan=False))
    assert found["rows"] == 3 and [one["count"] for one in found["bins"]] == [1, 0, 0, 0, 0, 0, 1, 0, 0, 1]
    assert found["bins"][6] == {"low": 0.6, "high": 0.7, "count": 1, "confidence": 0.7, "accuracy": 1.0}
    assert found["bins"][1]["accuracy"] is None


@pytest.mark.parametrize("said", [[], [0.5, 0.5], [1.01], [-0.01], [float("nan")]])
def test_confidences_that_cannot_be_are_an_error_not_a_number(said):
    with pytest.raises(ValueError):
        calibration(said, [True] if said else [])
