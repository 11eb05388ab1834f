"""Metrics against scikit-learn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from so8t_engine.answer.format import CLASSES
from so8t_engine.measure.metrics import macro_f1

labels = st.sampled_from(CLASSES)


@given(st.lists(st.tuples(labels, st.sampled_from((*CLASSES, "unparseable"))), min_size=1, max_size=60))
def test_macro_f1_equals_scikit_learns(pairs):
    expected, given = map(list, zip(*pairs, strict=True))
    present = [label for label in CLASSES if label in expected or label in given]
    reference = f1_score(expected, given, labels=present, average="macro", zero_division=0)
    assert macro_f1(expected, given) == pytest.approx(reference, abs=1e-12)


def test_no_rows_is_an_error_not_a_number():
    with pytest.raises(ValueError):
        macro_f1([], [])
