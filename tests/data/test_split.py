"""Splits: disjoint by what is asked, the same every time, in proportion class by class."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from so8t_engine.answer.format import CLASSES
from so8t_engine.data.samples import Sample
from so8t_engine.data.split import split

SHARES = {"validation_share": 0.1, "test_share": 0.1}

samples = st.lists(
    st.builds(
        Sample,
        line=st.integers(1, 99),
        instruction=st.sampled_from([f"q{i}" for i in range(60)]),
        label=st.sampled_from(CLASSES),
        output=st.sampled_from(["", "a", "b"]),
    ),
    min_size=1,
    max_size=120,
)


@given(samples, st.integers(0, 5))
def test_every_row_stands_in_one_set_and_equal_requests_in_the_same(rows, seed):
    parts = split(rows, seed=seed, **SHARES)
    sets = (parts.train, parts.validation, parts.test)
    assert Counter(map(id, rows)) == Counter(id(row) for part in sets for row in part)
    hashes = [{row.content_hash for row in part} for part in sets]
    assert not hashes[0] & hashes[1] and not hashes[0] & hashes[2] and not hashes[1] & hashes[2]


@given(samples, st.integers(0, 5), st.randoms())
def test_the_order_of_the_file_does_not_matter(rows, seed, chance):
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert split(rows, seed=seed, **SHARES).record() == split(shuffled, seed=seed, **SHARES).record()


def test_shares_hold_class_by_class_and_the_seed_decides():
    rows = [Sample(i, f"q{i}", CLASSES[i % 4 if i < 400 else 0]) for i in range(1000)]
    random.Random(0).shuffle(rows)
    parts = split(rows, seed=1, **SHARES)
    for label, total in {"ALLOW": 700, "ESCALATION": 100, "DENY": 100, "REFUSE": 100}.items():
        for part, share in ((parts.train, 0.8), (parts.validation, 0.1), (parts.test, 0.1)):
            assert sum(row.label == label for row in part) == total * share
    assert split(rows, seed=2, **SHARES).record() != parts.record()


def test_white_space_and_unicode_form_do_not_make_a_request_new():
    one, other = Sample(1, "ガーデン", "ALLOW"), Sample(2, " カ\u3099ーテ\u3099ン\n", "ALLOW")
    assert one.content_hash == other.content_hash
    assert Sample(1, "a", "ALLOW", input="b").content_hash != Sample(1, "a\nb", "ALLOW").content_hash
