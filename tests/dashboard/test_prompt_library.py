"""The prompt library: enough of every kind in both languages, and classes that are true."""

import json
import re

import pytest

from dashboard.cards import CLASSES
from dashboard.prompt_library import KINDS, library, prompts
from dashboard.texts import LANGUAGES
from so8t_engine import config

JAPANESE = re.compile("[ぁ-んァ-ヶ一-龠]")

LABELS = {"harmless": {"ALLOW"}, "borderline": {"ESCALATION", "DENY"}, "refusable": {"REFUSE"}, "demo": set(CLASSES)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_enough_of_every_kind_in_its_language(kind, language):
    found = prompts(kind, language)
    assert len(found) >= 8
    assert {prompt["label"] for prompt in found} == LABELS[kind]
    assert all(bool(JAPANESE.search(prompt["text"])) == (language == "ja") for prompt in found)


def test_no_prompt_stands_twice():
    texts = [prompt["text"] for kind in KINDS for language in LANGUAGES for prompt in prompts(kind, language)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_demos_prompts_are_held_out_rows_with_their_true_class(language):
    rows = (config.ROOT / "assets" / "data" / "demo_heldout.jsonl").read_text(encoding="utf-8").splitlines()
    held_out = {row["instruction"]: row["four_class_label"] for row in map(json.loads, rows)}
    for prompt in prompts("demo", language):
        assert held_out[prompt["text"]] == prompt["label"]
    for label in CLASSES:
        assert sum(prompt["label"] == label for prompt in prompts("demo", language)) == 8


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_empty_chat_offers_what_its_model_understands(language):
    for demo, first in ((True, "demo"), (False, "harmless")):
        found = library(language, demo=demo)
        assert found["groups"][0]["prompts"] == prompts(first, language)
        assert len(found["groups"]) == len(KINDS)
        assert [prompt["label"] for prompt in found["offered"]] == ["ALLOW", "ESCALATION", "REFUSE"]
    assert library(language, demo=True)["offered"] != library(language, demo=False)["offered"]
