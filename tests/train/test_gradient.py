"""The gradient of a step: the same whatever its packs, and the same after memory was full."""

import threading
from contextlib import nullcontext

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import StopsAfter, row, write_rows
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from so8t_engine import EngineError, checkpoint, config, runs
from so8t_engine import events as e
from so8t_engine.data.sources import fingerprint, read
from so8t_engine.data.template import Template
from so8t_engine.model.load import load_tokenizer
from so8t_engine.model.packed import PackedModel
from so8t_engine.model.so8t import attach
from so8t_engine.train import gradient as module
from so8t_engine.train.budget import Budget
from so8t_engine.train.gradient import Gradient
from so8t_engine.train.loop import train
from so8t_engine.train.ranks import Ranks

LABEL_WEIGHT, PET = 3.0, 0.5


@pytest.fixture
def examples(tiny_model, rows_file):
    template = Template(load_tokenizer(tiny_model))
    return [template.example(sample) for sample in read(rows_file).samples[:9]]


@pytest.fixture
def adapted(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    adapted = attach(model, r=4, alpha=8.0, dropout=0.0, targets=["qkv_proj", "o_proj"], rotate=["o_proj"], seed=1)
    draw = torch.Generator().manual_seed(2)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # B and the rotations begin at zero, where half of the gradients are zero too
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    return PackedModel(adapted)


def gradient_of(model, most, longest, may_recompute=False):
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return Gradient(
        model, Budget(most, 0), may_recompute, LABEL_WEIGHT, longest, scaler, Ranks(), torch.device("cpu"),
        lambda name: nullcontext(),
    )  # fmt: skip


def added_up(gradient, examples, cancel=None):
    """What a step yields, its figures, and copies of its gradients."""
    told, steps = [], gradient.of_step(examples, 7, PET, cancel or threading.Event())
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            found = [None if p.grad is None else p.grad.clone() for p in gradient.parameters]
            gradient.drop()
            return told, end.value and end.value(), found


def assert_near(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(st.integers(1, 700))
def test_the_gradient_of_a_step_is_the_same_whatever_a_pack_may_hold(adapted, examples, most):
    longest = max(len(example.ids) for example in examples)
    _, sums, wanted = added_up(gradient_of(adapted, 10**6, longest), examples)
    _, same, found = added_up(gradient_of(adapted, most, longest), examples)
    assert_near(found, wanted)
    assert all(float(part.abs().max()) > 0 for part in wanted)
    assert (same.tokens, same.labels) == (sums.tokens, sums.labels)
    assert [same.mean, same.label_mean] == pytest.approx([sums.mean, sums.label_mean], rel=1e-5)


def full_once(monkeypatch, where, call):
    """Memory is full in the n-th pack from now on, once, on its way there or back.

    Returns the states of torch's generator at the beginning of each pack.
    """
    states, real = [], module.answer_loss

    def fault(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB\nand more lines")

    def answer_loss(*arguments):
        states.append(torch.get_rng_state())
        weighted, own, hidden = real(*arguments)
        if len(states) == call:
            if where == "forward":
                fault()
            hidden.register_hook(fault)
        return weighted, own, hidden

    monkeypatch.setattr(module, "answer_loss", answer_loss)
    return states


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_step_that_found_no_room_begins_again_with_half_the_pack(monkeypatch, adapted, examples, where):
    longest = max(len(example.ids) for example in examples)
    _, sums, wanted = added_up(gradient_of(adapted, 10**6, longest), examples)
    gradient = gradient_of(adapted, 3 * longest, longest)
    assert len(gradient.packs(examples)) > 2
    states = full_once(monkeypatch, where, 2)
    torch.manual_seed(4)
    told, same, found = added_up(gradient, examples)
    halved = max(longest, 3 * longest // 2)
    assert [(x.step, x.before, x.after, x.recomputed) for x in told] == [(7, 3 * longest, halved, 0)]
    assert gradient.most == halved
    assert states[2].equal(states[0]), "the second try draws what the first one drew"
    assert_near(found, wanted)  # nothing of the first pack is counted twice
    assert same.mean == pytest.approx(sums.mean, rel=1e-5)


def test_the_draws_of_the_second_try_are_those_of_the_first(monkeypatch, tiny_model, examples):
    """With dropout and packs that stay as they are, the step is the same to the last bit: layers are computed twice."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    dropping = PackedModel(attach(model, r=4, alpha=8.0, dropout=0.3, targets=["qkv_proj"], rotate=[], seed=1)).train()
    longest = max(len(example.ids) for example in examples)
    torch.manual_seed(4)
    _, sums, wanted = added_up(gradient_of(dropping, longest, longest), examples)
    full_once(monkeypatch, "backward", 2)
    torch.manual_seed(4)
    told, same, found = added_up(gradient_of(dropping, longest, longest, may_recompute=True), examples)
    assert [(x.before, x.after, x.recomputed) for x in told] == [(longest, longest, dropping.layers)]
    assert same == sums
    assert all(one.equal(other) for one, other in zip(found, wanted, strict=True))


def test_layers_are_computed_twice_only_where_the_settings_allow_it(monkeypatch, adapted, examples):
    longest = max(len(example.ids) for example in examples)
    full_once(monkeypatch, "forward", 1)
    with pytest.raises(torch.OutOfMemoryError):
        added_up(gradient_of(adapted, longest, longest), examples)


def test_a_stop_between_two_packs_leaves_no_gradient(adapted, examples):
    longest = max(len(example.ids) for example in examples)
    told, sums, found = added_up(gradient_of(adapted, longest, longest), examples, StopsAfter(3))
    assert (told, sums) == ([], None)
    assert all(part is None for part in found)


def changed(tiny_settings, **values):
    flat = {name.replace("__", "."): value for name, value in values.items()}
    return config.from_values(config.to_values(tiny_settings) | {"so8t.dropout": 0.0, "train.max_tokens": 384} | flat)


def new_run(settings, name):
    folder = settings.resolve(settings.runs) / name
    return runs.create(folder, settings, fingerprint(settings.resolve(settings.dataset)))


def figures(events):
    return [figure for x in events if isinstance(x, e.StepFinished) for figure in (x.loss, x.label_nll, x.gradient_norm)]


def assert_near_weights(one, other):
    a, b = (load_file(run.final_model / "adapter_model.safetensors") for run in (one, other))
    assert a.keys() == b.keys()
    assert all(torch.allclose(a[name], b[name], rtol=0, atol=1e-5) for name in a)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_run_whose_memory_was_full_ends_like_one_with_small_packs_from_the_start(monkeypatch, tiny_settings, where):
    small = changed(tiny_settings, train__max_tokens=192)
    straight = new_run(small, "straight")
    wanted = list(train(small, straight, threading.Event()))
    large = changed(tiny_settings)
    run = new_run(large, "full")
    full_once(monkeypatch, where, 4)  # the second pack of the second step
    events = list(train(large, run, threading.Event()))
    planned = next(x for x in events if isinstance(x, e.MemoryPlanned))
    halved = [x for x in events if isinstance(x, e.PackHalved)]
    assert [(x.step, x.before, x.after) for x in halved] == [(2, planned.pack, planned.pack // 2)]
    assert events.index(halved[0]) < next(i for i, x in enumerate(events) if isinstance(x, e.StepFinished) and x.step == 2)
    assert figures(events) == pytest.approx(figures(wanted), rel=1e-5)
    assert_near_weights(run, straight)


def test_a_validation_that_found_no_room_begins_again_with_half_the_pack(monkeypatch, tiny_settings):
    settings = changed(tiny_settings, data__validation_share=0.4)
    wanted = list(train(settings, new_run(settings, "straight"), threading.Event()))
    real, looked = module.answer_loss, []

    def answer_loss(model, *rest):
        looked.append(model.training)
        if looked.count(False) == 2:  # after one pack has counted
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, *rest)

    monkeypatch.setattr(module, "answer_loss", answer_loss)
    events = list(train(settings, new_run(settings, "full"), threading.Event()))
    halved = next(x for x in events if isinstance(x, e.PackHalved))
    validated, once = ([x for x in told if isinstance(x, e.ValidationFinished)] for told in (events, wanted))
    assert [x.step for x in validated] == [x.step for x in once] and validated[0].step == halved.step
    assert [x.loss for x in validated] == pytest.approx([x.loss for x in once], rel=1e-5)
    assert isinstance(events[-1], e.ModelSaved)


def test_where_no_row_finds_room_the_run_fails_and_its_last_checkpoint_is_good(monkeypatch, tiny_settings):
    settings = changed(tiny_settings)
    straight, run = new_run(settings, "straight"), new_run(settings, "full")
    wanted = list(train(settings, straight, threading.Event()))
    first = list(train(settings, run, StopsAfter(7)))
    done = max(x.step for x in first if isinstance(x, e.StepFinished))
    assert 0 < done < 8

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB\nand more lines")

    second = []
    with monkeypatch.context() as patch, pytest.raises(EngineError) as caught:
        patch.setattr(module, "answer_loss", full)
        for event in train(settings, run, threading.Event()):
            second.append(event)
    assert caught.value.code == "train.out_of_memory" and "\n" not in caught.value.facts["reason"]
    halved = [x for x in second if isinstance(x, e.PackHalved)]
    longest = next(x.longest for x in second if isinstance(x, e.LengthsCounted))
    assert halved[-1].after == longest and [x.before for x in halved[1:]] == [x.after for x in halved[:-1]]
    found, faults = checkpoint.newest_good(run.checkpoints)
    assert (found.step, faults) == (done, [])
    third = list(train(settings, run, threading.Event()))
    assert figures(first) + figures(third) == figures(wanted)


def test_rows_longer_than_the_limit_are_told_of_and_left_out_whole(monkeypatch, tmp_path, tiny_settings):
    rows = [row(i, ("ALLOW", "DENY")[i % 2]) for i in range(12)]
    rows += [row(90 + i, "DENY", input="長い話です。" * 200) for i in range(3)]
    settings = changed(
        tiny_settings, dataset=str(write_rows(tmp_path / "long.jsonl", rows)), data__max_length=400,
        data__test_share=0, data__validation_share=0, train__epochs=1,
    )  # fmt: skip
    seen, real = [], module.pack

    def packed(part):
        seen.extend(part)
        return real(part)

    monkeypatch.setattr(module, "pack", packed)
    events = list(train(settings, new_run(settings, "long"), threading.Event()))
    counted = next(x for x in events if isinstance(x, e.LengthsCounted))
    assert (counted.too_long, counted.max_length) == (3, 400) and counted.longest > 400
    template = Template(load_tokenizer(settings.resolve(settings.base_model)))
    prompt = settings.data.system_prompt
    whole = [template.example(sample, prompt) for sample in read(settings.resolve(settings.dataset)).samples]
    kept = [example for example in whole if len(example.ids) <= 400]
    assert sorted(example.ids for example in seen) == sorted(example.ids for example in kept)
    assert sum(x.tokens for x in events if isinstance(x, e.StepFinished)) == sum(len(example.ids) for example in kept)
