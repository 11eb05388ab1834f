"""The difference of two shares on its own: the accuracy of the same hits, less the adjustment."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from so8t_engine.measure.paired import compare, compare_shares

hits = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(hits)
def test_it_is_what_the_accuracy_of_the_same_hits_says(pairs):
    first, second = zip(*pairs, strict=True)
    assume(first != second)  # where every answer is the same, `compare` knows more than the hits tell
    found = compare_shares(first, second)
    labels = [["ALLOW" if hit else "DENY" for hit in side] for side in (first, second)]
    accuracy = compare(["ALLOW"] * len(pairs), *labels).differences["accuracy"]
    assert (found.value, found.low, found.high, found.p, found.effect) == (
        accuracy.value, accuracy.low, accuracy.high, accuracy.p, accuracy.effect,
    )  # fmt: skip
    assert found.p_adjusted == found.p and found.decided == (found.p <= 0.05)


def test_by_hand():
    first, second = [True] * 6 + [False] * 14, [True] * 4 + [False] * 2 + [True] * 9 + [False] * 5
    found = compare_shares(first, second)
    assert (found.value, found.relative) == (pytest.approx(7 / 20), pytest.approx(7 / 6))
    assert found.p == pytest.approx(binomtest(9, 11).pvalue) and not found.decided and found.rows_needed > 0
    more = compare_shares(first * 3, second * 3)
    assert more.decided and more.rows_needed is None
    with pytest.raises(ValueError, match="2 and 1 rows"):
        compare_shares([True, False], [True])
