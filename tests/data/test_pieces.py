"""Tokens back into text, one at a time: never half a character, and never anything that the whole does not say."""

import random

import pytest
from made import DEMO_MODEL

from so8t_engine.data.pieces import TextStream, end_ids
from so8t_engine.data.template import Template
from so8t_engine.model.load import load_tokenizer

TEXTS = [
    "<think-task>日本語 𠮷野家🍣 a  b</think-task>\n x",
    "分類結果: ALLOW\n信頼度: 0.95\n理由: 家族👨‍👩‍👧‍👦と e\u0301 の話。",
    "  two  spaces, a tab\tand\n\nlines ",
    "κόσμε ﷽ 한국어 ไทย",
]


@pytest.fixture(params=["demo", "phi35"])
def tokenizer(request):
    if request.param == "demo":
        return load_tokenizer(DEMO_MODEL)
    return load_tokenizer(request.getfixturevalue("shared") / "phi35-tokenizer")


def fed(tokenizer, ids):
    stream = TextStream(tokenizer)
    return [stream.feed(token) for token in ids]


@pytest.mark.parametrize("text", TEXTS)
def test_what_comes_out_is_what_went_in(tokenizer, text):
    ids = Template(tokenizer).text_ids(text)
    assert "".join(fed(tokenizer, ids)).lstrip(" ") == text.lstrip(" ")


@pytest.mark.parametrize("text", TEXTS)
def test_an_answer_cut_anywhere_shows_a_beginning_of_the_text_without_half_characters(tokenizer, text):
    ids = Template(tokenizer).text_ids(text)
    for stop in range(len(ids)):
        shown = "".join(fed(tokenizer, ids[:stop]))
        assert text.lstrip(" ").startswith(shown.lstrip(" ")) and "\ufffd" not in shown


def test_bytes_that_are_no_character_end_no_stream(tokenizer):
    """Every mixture of byte tokens and words comes out as some text, and text after the broken bytes is still right."""
    chance = random.Random(0)
    numbers = [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in range(256)]
    words = Template(tokenizer).text_ids("はい、そうです。 yes it is")
    for _ in range(300):
        ids = [chance.choice(numbers if chance.random() < 0.5 else words) for _ in range(30)]
        shown = "".join(fed(tokenizer, [*ids, *words]))
        assert shown.endswith("そうです。 yes it is")


def test_every_control_token_ends_an_answer(tokenizer):
    ends = end_ids(tokenizer, [5])
    assert 5 in ends and {tokenizer.convert_tokens_to_ids(t) for t in ("<|end|>", "<|user|>", "</s>")} <= ends
    assert not ends & set(Template(tokenizer).text_ids("</s><|end|><|user|> 普通の文"))
