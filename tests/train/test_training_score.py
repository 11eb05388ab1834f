"""The four-class score while training: it is true, it comes when it is due, and the training knows nothing of it."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made import row, write_rows
from safetensors.torch import load_file

from so8t_engine import config, runs
from so8t_engine import events as e
from so8t_engine.answer.format import CLASSES
from so8t_engine.data.sources import fingerprint, read
from so8t_engine.data.split import cut
from so8t_engine.data.template import Template
from so8t_engine.measure.metrics import summary
from so8t_engine.model.load import load_model, load_tokenizer, pick_device
from so8t_engine.model.score import score
from so8t_engine.model.so8t import attach
from so8t_engine.model.voices import BASE, Voices
from so8t_engine.progress import describe
from so8t_engine.train import watch as watching
from so8t_engine.train.loop import train
from so8t_engine.train.state import random_states
from so8t_engine.train.watch import Learner, Watch

ALWAYS = 1e-9
"""Minutes: after every step."""

NAMES = ("accuracy", "macro_f1", "unsafe_allow", "over_refusal")


class CancelAfter:
    """A cancel token that is set at the n-th look, and counts the looks."""

    def __init__(self, looks: float = math.inf) -> None:
        self.looks, self.seen = looks, 0

    def is_set(self) -> bool:
        self.seen += 1
        return self.seen > self.looks


@pytest.fixture
def settings(tiny_settings):
    """Sixteen validation rows, which are more than one batch may hold, scored after every step of four."""
    return changed(tiny_settings, **{"data.validation_share": 0.4, "evaluate.every_minutes": ALWAYS})


def changed(settings, **changes):
    return config.from_values(config.to_values(settings) | changes)


def trained(settings, name, token=None):
    """One try at the run of that name: the run and the events of the try."""
    folder = settings.resolve(settings.runs) / name
    known = fingerprint(settings.resolve(settings.dataset))
    run = runs.Run.at(folder) if folder.exists() else runs.create(folder, settings, known)
    return run, list(train(settings, run, token or CancelAfter()))


def scores(events):
    return [event for event in events if isinstance(event, e.ValidationScored)]


def plain(events):
    """The facts of events, without what depends on the clock and the place."""
    return [event.model_dump(exclude={"time", "seconds", "folder"}) for event in events]


def told(events):
    """All that the training says of itself."""
    return plain(x for x in events if isinstance(x, e.StepFinished | e.ValidationFinished | e.CheckpointSaved))


def steps_of(events):
    return next(event.steps for event in events if isinstance(event, e.TrainingPlanned))


def assert_same_state(one, other):
    """Adapter, optimizer and random generators of the last checkpoint are the same to the last bit."""
    for name in ("state.safetensors", "adapter/adapter_model.safetensors"):
        a, b = (load_file(sorted(run.checkpoints.glob("step-*"))[-1] / name) for run in (one, other))
        assert a.keys() == b.keys()
        assert all(a[key].equal(b[key]) for key in a), name


MODES = {
    "dropout": {},
    "bfloat16": {"model.dtype": "bfloat16"},
    "8bit": {"model.quantization": "8bit", "train.optimizer": "adamw_8bit", "train.gradient_checkpointing": True},
}


@pytest.mark.parametrize("mode", MODES)
def test_a_watched_training_is_bit_identical(settings, mode):
    settings = changed(settings, **MODES[mode])
    assert settings.so8t.dropout > 0
    alone, before = trained(changed(settings, **{"evaluate.every_minutes": 0}), "alone")
    watched, after = trained(settings, "watched")
    assert told(after) == told(before)
    assert_same_state(watched, alone)
    assert scores(before) == []
    assert [event.step for event in scores(after)] == list(range(1, steps_of(after) + 1))


def test_the_last_score_is_that_of_the_saved_model(settings, tmp_path):
    """Read anew from disk, with the prompts of the split: system texts in place, prompts over the limit left out."""
    long = " ".join(["the garden"] * 200)
    own = [row(i, CLASSES[i % 4], system=f"Rule {i}." if i % 3 else "", input=long if i % 5 == 0 else "")
           for i in range(80)]  # fmt: skip
    file = write_rows(tmp_path / "own.jsonl", own)
    # Learned a little: a model that gives one class to all would not tell one prompt from another.
    settings = changed(settings, **{"dataset": str(file), "data.system_prompt": "Decide.", "data.max_length": 170,
                                    "train.epochs": 6, "evaluate.every_minutes": 10})  # fmt: skip
    run, events = trained(settings, "run")
    last = scores(events)[-1]
    voices = Voices(settings.resolve(settings.base_model), settings.model)
    parts = cut(read(file).samples, settings).validation
    asked = [(voices.template.prompt_ids(s.prompt, system=s.system or "Decide."), s.label) for s in parts]
    asked = [(prompt, label) for prompt, label in asked if len(prompt) <= 170]
    assert 0 < len(asked) < len(parts)

    def measured(voice):
        found = dict(score(voices, voice, [prompt for prompt, _ in asked]))
        given = [CLASSES[int(np.argmax(found[i]))] for i in range(len(asked))]
        whole = summary([label for _, label in asked], given)
        return [len(asked), *(getattr(whole, name).value for name in NAMES)]

    wanted = measured(voices.learn(run.final_model))
    assert [last.rows, *(getattr(last, name) for name in NAMES)] == wanted
    assert measured(BASE) != wanted, "the base model must decide otherwise, or this proves little"


def test_log_likelihoods_are_those_of_the_saved_model(settings):
    """The decisions alone would hide a small difference."""
    run, _ = trained(settings, "run")
    voices = Voices(settings.resolve(settings.base_model), settings.model)
    voice = voices.learn(run.final_model)
    model = attached(settings, dropout=0.5).eval()
    state = load_file(run.final_model / "adapter_model.safetensors")
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weight.data.copy_(state[name.replace(".default", "")])
    prompts = [voices.template.prompt_ids(sample.prompt) for sample in read(settings.resolve(settings.dataset)).samples]
    wanted, found = dict(score(voices, voice, prompts)), dict(score(Learner(model, voices.template), "", prompts))
    assert all(found[i] == pytest.approx(wanted[i], abs=1e-4) for i in range(len(prompts)))
    assert any(dict(score(voices, BASE, prompts))[i] != pytest.approx(wanted[i], abs=1e-2) for i in range(len(prompts)))


def test_a_run_is_scored_at_its_end_and_never_when_told_so(settings):
    default = changed(settings, **{"evaluate.every_minutes": 10, "train.epochs": 0.5})
    _, events = trained(default, "default")
    assert [event.step for event in scores(events)] == [steps_of(events)]
    kinds = [type(event) for event in events]
    assert kinds.index(e.CheckpointSaved) < kinds.index(e.ValidationScored) < kinds.index(e.ModelSaved)
    for name, change in {"off": {"evaluate.every_minutes": 0}, "no_rows": {"data.validation_share": 0}}.items():
        assert scores(trained(changed(default, **change), name)[1]) == []


def attached(settings, dropout=0.2):
    base = load_model(settings.resolve(settings.base_model), settings.model, pick_device())
    base.gradient_checkpointing_enable({"use_reentrant": False})
    base.enable_input_require_grads()
    so8t = settings.so8t
    model = attach(base, r=so8t.r, alpha=so8t.alpha, dropout=dropout, targets=so8t.targets, rotate=so8t.rotate, seed=1)
    return model.train()


@pytest.fixture
def watch(settings):
    """`watch(model, minutes)`: a watch over a model that nobody trains."""
    template = Template(load_tokenizer(settings.resolve(settings.base_model)))
    samples = read(settings.resolve(settings.dataset)).samples

    def make(model, minutes=1.0):
        return Watch(model, template, samples, changed(settings, **{"evaluate.every_minutes": minutes}), room=200)

    return make


def test_the_clock_counts_minutes_from_the_last_score(settings, watch, monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    watch = watch(attached(settings), minutes=2.0)
    now.seconds += 119
    assert not watch.due
    now.seconds += 2
    assert watch.due
    assert len(list(watch.look(1, CancelAfter()))) == 1
    assert not watch.due
    now.seconds += 121
    assert watch.due


def picture(model):
    """All that a training could stumble over, as values to compare."""
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "checkpointing": {name: getattr(module, "gradient_checkpointing", None) for name, module in model.named_modules()},
        "learned": {name: (weight.requires_grad, weight.grad) for name, weight in model.named_parameters()},
        "weights": {name: weight.detach().clone() for name, weight in model.named_parameters()},
        "use_cache": model.config.use_cache,
        "random": (random_states()["torch"].tolist(), np.random.get_state()[1].tolist(), random.getstate()),
        "torch": (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
                  torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
    }  # fmt: skip


FAULTS = {"none": 1, "stopped": 0, "full": 0, "spoiled": 0}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_look_leaves_everything_as_it_was(settings, watch, monkeypatch, fault):
    model = attached(settings)
    if fault == "spoiled":  # a run that has diverged: NaN must not come out as a decision
        next(weight for weight in model.parameters() if weight.requires_grad).data.fill_(math.nan)
    look = watch(model).look(1, CancelAfter(1 if fault == "stopped" else math.inf))
    if fault == "full":
        fill_memory(monkeypatch, rows=0)
    before = picture(model)
    assert len(list(look)) == FAULTS[fault]
    after = picture(model)
    torch.testing.assert_close(after.pop("weights"), before.pop("weights"), rtol=0, atol=0, equal_nan=True)
    assert after == before


def fill_memory(monkeypatch, rows, seen=None):
    """Memory that holds so many rows in a forward pass of the score; the training's own are left alone."""
    forward = Learner.forward

    def full(self, ids, *rest):
        assert not self.model.training
        if seen is not None:
            seen.append(len(ids))
        if len(ids) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, *rest)

    monkeypatch.setattr(Learner, "forward", full)


def test_a_full_memory_halves_the_batch_or_costs_the_score_and_never_the_training(settings, monkeypatch):
    whole, events = trained(settings, "whole")
    sizes = []
    fill_memory(monkeypatch, rows=2, seen=sizes)
    _, after = trained(settings, "halved")
    assert max(sizes) > 2
    assert plain(scores(after)) == plain(scores(events))
    fill_memory(monkeypatch, rows=0)
    none, after = trained(settings, "none")
    assert scores(after) == [] and none.finished
    assert told(after) == told(events)
    assert_same_state(none, whole)


def test_a_stop_amid_a_score_leaves_none_and_loses_nothing(settings):
    whole, events = trained(settings, "whole")
    # Four looks at the token in the first step, then one for each of the two batches of its score.
    stopped, first = trained(settings, "stopped", CancelAfter(5))
    assert [x.step for x in first if isinstance(x, e.StepFinished)] == [1]
    assert scores(first) == []
    stopped, second = trained(settings, "stopped")
    assert [x.step for x in second if isinstance(x, e.Resumed)] == [1]
    assert plain(scores(second)) == plain(scores(events))[1:]
    assert_same_state(stopped, whole)


def test_a_stop_amid_the_last_score_leaves_it_for_the_next_try(settings):
    settings = changed(settings, **{"evaluate.every_minutes": 10})
    token = CancelAfter()
    _, events = trained(settings, "whole", token)
    # The last looks of all: one for each of the two batches, and one before the model is saved.
    stopped, first = trained(settings, "stopped", CancelAfter(token.seen - 2))
    assert max(x.step for x in first if isinstance(x, e.StepFinished)) == steps_of(events)
    assert scores(first) == [] and not stopped.finished
    stopped, second = trained(settings, "stopped")
    assert stopped.finished and plain(scores(second)) == plain(scores(events))
    assert not [x for x in second if isinstance(x, e.StepFinished)]


def test_the_console_tells_what_was_measured_and_no_more():
    event = e.ValidationScored(
        step=40, rows=25, accuracy=0.92, macro_f1=0.9, unsafe_allow=0.04, over_refusal=None, seconds=1
    )
    assert (
        describe(event)
        == "four classes at step 40, 25 validation rows: unsafe ALLOW 4.0%, accuracy 92.0%, macro F1 90.0%"
    )
