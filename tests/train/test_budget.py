"""The plan of a training's memory: the fastest that fits, and an honest one where nothing does."""

import math

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from transformers import Phi3Config, Phi3ForCausalLM

from so8t_engine.data.batches import share_out
from so8t_engine.model.packed import PackedModel
from so8t_engine.model.so8t import attach
from so8t_engine.settings import TrainSettings
from so8t_engine.train.budget import (
    FIXED,
    MARGIN,
    OPTIMIZER_BYTES,
    OVERHEAD_TOKENS,
    RECOMPUTED,
    activations,
    choose,
    shape_of,
)

CARD, CPU = torch.device("cuda", 0), torch.device("cpu")
LOADED = 3 * 2**20
"""Bytes that lie on the card before the first step."""

STEPS = st.lists(st.lists(st.integers(2, 300), min_size=1, max_size=12), min_size=1, max_size=5)
MIB = st.floats(0.0, 60.0)


@pytest.fixture(scope="module")
def model():
    """Twelve layers, so that there is something to choose."""
    torch.manual_seed(0)
    small = Phi3Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=12, num_attention_heads=2,
        num_key_value_heads=1, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return PackedModel(attach(Phi3ForCausalLM(small), r=4, alpha=8.0, dropout=0.0, targets=["qkv_proj"], rotate=[]))


@pytest.fixture
def card(monkeypatch):
    """`card(free)`: a card with so many bytes free beside what is loaded."""

    def put(free):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (int(free), 80 * 2**30))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device=None: LOADED)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device=None: LOADED)

    return put


def free_for(room):
    """Bytes that must be free so that so many may be taken above what a pack always takes."""
    return math.ceil((FIXED + LOADED + room * 2**20) / (1 - MARGIN)) - LOADED


def packs_of(steps, size, processes):
    return [[sum(step[row] for row in rows) for rows in share_out(step, size, processes)] for step in steps]


def seconds(model, plan, steps, processes):
    """What the plan takes by the same rule of thumb: tokens, and so many more for each pack."""
    count = sum(map(len, packs_of(steps, plan.pack, processes)))
    return (sum(map(sum, steps)) + OVERHEAD_TOKENS * count) / processes * (1 + RECOMPUTED * plan.recomputed / model.layers)


def need(model, train, steps, processes, size, recomputed):
    """Bytes at the peak, told anew: loaded, moments, gradients beside a second pack, and the fullest pack."""
    packs = packs_of(steps, size, processes)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    beside = 4 if any(len(step) > processes for step in packs) else 0
    fullest = max(tokens for step in packs for tokens in step)
    return int(LOADED + trained * (beside + OPTIMIZER_BYTES[train.optimizer])) + activations(
        shape_of(model), fullest, recomputed
    )


UNHURT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


@UNHURT
@given(STEPS, MIB, MIB, st.integers(1, 3), st.booleans())
def test_more_memory_is_never_slower(model, card, steps, less, more, processes, twice):
    train = TrainSettings(gradient_checkpointing=twice)
    less, more = sorted((less, more))
    card(free_for(less))
    small = choose(model, train, steps, processes, CARD)
    card(free_for(more))
    large = choose(model, train, steps, processes, CARD)
    assume(small.bytes <= small.room)
    assert large.bytes <= large.room
    assert seconds(model, large, steps, processes) <= seconds(model, small, steps, processes) * (1 + 1e-9)


@UNHURT
@given(STEPS, MIB, st.integers(1, 3), st.booleans(), st.sampled_from([0, 100, 400]))
def test_the_plan_keeps_to_the_room_when_anything_does(model, card, steps, mib, processes, twice, max_tokens):
    train = TrainSettings(gradient_checkpointing=twice, max_tokens=max_tokens)
    longest = max(map(max, steps))
    card(free_for(mib))
    plan = choose(model, train, steps, processes, CARD)
    assert plan.pack >= longest and (not max_tokens or plan.pack == max(longest, max_tokens))
    assert plan.recomputed <= (model.layers if twice else 0)
    assert plan.bytes == need(model, train, steps, processes, plan.pack, plan.recomputed)
    sizes = [max_tokens] if max_tokens else [*range(longest, max(map(sum, steps)) + 1, 50)]
    fits = [
        size for size in sizes
        if need(model, train, steps, processes, max(size, longest), model.layers if twice else 0) <= plan.room
    ]  # fmt: skip
    if longest in fits or (max_tokens and fits):
        assert plan.bytes <= plan.room
    if plan.bytes > plan.room:
        assert (plan.pack, plan.recomputed) == (max(longest, max_tokens), model.layers if twice else 0)


def test_where_there_is_room_all_of_a_step_is_one_pack_and_nothing_is_computed_twice(model, card):
    card(40 * 2**30)
    plan = choose(model, TrainSettings(gradient_checkpointing=True), [[100, 90, 80], [20]], 1, CARD)
    assert (plan.pack, plan.recomputed) == (270, 0) and plan.bytes <= plan.room


def test_layers_are_computed_twice_only_as_far_as_memory_asks_for_it(model, card):
    train, steps = TrainSettings(gradient_checkpointing=True), [[1000]]
    most, least = (need(model, train, steps, 1, 1000, twice) for twice in (0, model.layers))
    chosen = []
    for share in (0.0, 0.5, 1.0):
        room = least + share * (most - least)
        card(math.ceil(room / (1 - MARGIN)) - LOADED)
        plan = choose(model, train, steps, 1, CARD)
        assert plan.bytes <= plan.room
        chosen.append(plan.recomputed)
    assert chosen[0] == model.layers and 0 < chosen[1] < model.layers and chosen[2] == 0


def test_where_nothing_fits_the_plan_is_the_longest_row_with_all_layers_computed_twice(model, card):
    card(0)
    for twice in (True, False):
        plan = choose(model, TrainSettings(gradient_checkpointing=twice), [[30, 200, 100], [50]], 1, CARD)
        assert (plan.pack, plan.recomputed) == (200, model.layers if twice else 0)
        assert plan.bytes > plan.room, "it says so"


def test_a_person_may_say_how_much_of_the_card_is_theirs(model, card):
    card(40 * 2**30)
    steps, gib = [[4000] * 8], 0.4
    plan = choose(model, TrainSettings(memory_gib=gib), steps, 1, CARD)
    assert plan.bytes <= plan.room == int((1 - MARGIN) * gib * 2**30)
    assert plan.pack < choose(model, TrainSettings(), steps, 1, CARD).pack


def test_what_others_hold_of_the_card_is_not_planned_with(model, card):
    """A person allows 0.4 GiB; 0.3 are there."""
    free = int(0.3 * 2**30)
    card(free)
    plan = choose(model, TrainSettings(memory_gib=0.4), [[4000] * 8], 1, CARD)
    assert plan.bytes <= plan.room == int((1 - MARGIN) * (free + LOADED))


def test_without_a_card_the_answer_is_plain(model):
    steps = [[30, 200], [50]]
    plan = choose(model, TrainSettings(), steps, 1, CPU)
    assert (plan.pack, plan.recomputed, plan.bytes, plan.room) == (2048, 0, None, None)
    plan = choose(model, TrainSettings(max_tokens=64, gradient_checkpointing=True), steps, 1, CPU)
    assert (plan.pack, plan.recomputed) == (200, model.layers), "no pack is smaller than a row"
