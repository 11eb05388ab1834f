"""How rows are shared out among packs, and what a pack holds of them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from so8t_engine.data.batches import pack, share_out
from so8t_engine.data.template import Example

LENGTHS = st.lists(st.integers(1, 400), max_size=40)


@given(LENGTHS, st.integers(1, 1000), st.integers(1, 4))
def test_every_row_lies_in_one_pack_and_no_pack_is_too_large(lengths, most, multiple):
    packs = share_out(lengths, most, multiple)
    assert sorted(row for rows in packs for row in rows) == list(range(len(lengths)))
    assert len(packs) % multiple == 0
    assert all(sum(lengths[row] for row in rows) <= max([most, *lengths]) for rows in packs)


@given(LENGTHS, st.integers(400, 1000))
def test_packs_are_few_and_alike(lengths, most):
    packs = [rows for rows in share_out(lengths, most) if rows]
    filled = sorted(sum(lengths[row] for row in rows) for rows in packs)
    assert len(packs) <= 2 * sum(lengths) / most + 1  # two that are not half full would be one
    if filled:
        assert filled[-1] - filled[0] <= max(lengths)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8))
def test_a_pack_holds_every_token_once_and_learns_the_answers_alone(lengths):
    draw = torch.Generator().manual_seed(0)
    examples = [
        Example(tuple(torch.randint(9, (length,), generator=draw).tolist()), 1 + length // 3, (length - 1, length))
        for length in lengths
    ]
    whole = pack(examples)
    assert list(whole.lengths) == sorted(lengths, reverse=True)
    for place, example in enumerate(sorted(examples, key=lambda example: -len(example.ids))):
        start, end = whole.starts[place], whole.starts[place + 1]
        assert whole.ids[start:end].tolist() == list(example.ids)
        assert whole.positions[start:end].tolist() == list(range(len(example.ids)))
        learned = (whole.places >= start) & (whole.places < end)
        assert whole.targets[learned].tolist() == list(example.ids[example.answer_start :])
        assert whole.label[learned].tolist() == [False] * (len(example.ids) - example.answer_start - 1) + [True]
