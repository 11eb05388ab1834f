"""The four classes scored over one shared prefix: the same numbers as reading every whole sequence."""

import random

import pytest
import torch
from canary import make_run
from made import DEMO_MODEL

from so8t_engine.answer.format import CLASSES
from so8t_engine.data.template import Template
from so8t_engine.model import score as scoring
from so8t_engine.model.cache import empty
from so8t_engine.model.load import load_tokenizer
from so8t_engine.model.score import Branches, score
from so8t_engine.model.voices import BASE, Voices
from so8t_engine.settings import ModelSettings

SEVERAL = Branches((700, 800), ((5, 6, 7, 8), (5, 9, 8), (10, 8), (5, 6, 11, 12, 8)))
"""Classes of unequal length, some with the same beginning."""


@pytest.fixture(scope="module")
def voices(tmp_path_factory, loud_model):
    found = Voices(loud_model, ModelSettings())
    folder = make_run(tmp_path_factory.mktemp("runs"), loud_model, **{"so8t.alpha": 400}).final_model
    return found, [BASE, found.learn(folder)]


def prompts(count, longest=40):
    chance = random.Random(0)
    return [[1, *(chance.randrange(10, 2900) for _ in range(chance.randrange(longest)))] for _ in range(count)]


def whole(voices, voice, prompt, branches):
    """Log-likelihoods from one pass over each whole sequence."""
    found = []
    for suffix in branches.suffixes:
        start = [*prompt, *branches.prefix]
        ids = torch.tensor([[*start, *suffix]])
        places = torch.arange(ids.shape[1])[None]
        with torch.inference_mode():
            logits = voices.forward(ids, places, None, empty(), [voice], ids.shape[1])[0].log_softmax(-1)
        found.append(sum(logits[len(start) - 1 + i, token].item() for i, token in enumerate(suffix)))
    return found


def best(values):
    return max(range(len(values)), key=values.__getitem__)


@pytest.mark.parametrize("branches", [None, SEVERAL], ids=["demo", "several"])
def test_decisions_are_those_of_whole_sequences(voices, monkeypatch, branches):
    found, names = voices
    if branches:
        monkeypatch.setattr(Branches, "of", classmethod(lambda cls, template: branches))
    branches = Branches.of(found.template)
    asked = prompts(120)
    for voice in names:
        scores = dict(score(found, voice, asked))
        assert sorted(scores) == list(range(len(asked)))
        for index, prompt in enumerate(asked):
            wanted = whole(found, voice, prompt, branches)
            assert scores[index] == pytest.approx(wanted, abs=2e-3)
            assert best(scores[index]) == best(wanted)
    if branches != SEVERAL:  # whose shortest class is always the likeliest
        assert len({best(values) for values in scores.values()}) > 1, "the prompts must decide, not the classes alone"


@pytest.mark.parametrize("name", ["demo", "phi35"])
def test_branches_are_the_tokens_of_the_true_answer(name, request):
    folder = DEMO_MODEL if name == "demo" else request.getfixturevalue("shared") / "phi35-tokenizer"
    template = Template(load_tokenizer(folder))
    branches = Branches.of(template)
    for label, suffix in zip(CLASSES, branches.suffixes, strict=True):
        text = template.tokenizer.decode([*branches.prefix, *suffix])
        assert text == f"<final>分類結果: {label}\n"
        written = template.text_ids(f"<final>分類結果: {label}\n信頼度: 0.90\n")
        assert written[: len(branches.prefix) + len(suffix)] == [*branches.prefix, *suffix]
    assert len({suffix[0] for suffix in branches.suffixes}) > 1


def test_a_full_memory_halves_the_batch_and_loses_no_prompt(voices, monkeypatch):
    found, names = voices
    asked = prompts(40)
    wanted = dict(score(found, names[1], asked))
    scored, sizes = scoring._scored, []

    def small(voices, voice, batch, branches):
        sizes.append(len(batch))
        if len(batch) > 4:
            raise torch.OutOfMemoryError("full")
        return scored(voices, voice, batch, branches)

    monkeypatch.setattr(scoring, "_scored", small)
    halved = dict(score(found, names[1], asked))
    assert halved.keys() == wanted.keys() and max(sizes) > 4
    assert all(halved[index] == pytest.approx(wanted[index], abs=1e-3) for index in wanted)

    monkeypatch.setattr(scoring, "_scored", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(torch.OutOfMemoryError):
        list(score(found, names[1], asked))
