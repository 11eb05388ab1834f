"""What Ollama is told beside the weights: template, system text, parameters, licence; and the Modelfile that says the same."""

import pytest
from go_template import GoTemplate, TemplateError
from made import DEMO_MODEL

from so8t_engine.export.model_card import (
    PARAMETERS,
    TEMPLATE,
    ModelCard,
    card_of,
    raw_thinking,
)
from so8t_engine.export.modelfile import write_modelfile

TALKS = [
    [("user", "質問 {{ .System }}")],
    [("system", "指示\n二行目"), ("user", "質問")],
    [("system", ""), ("user", "質問")],
    [("user", "一"), ("assistant", "<final>分類結果: ALLOW</final>"), ("user", "<|end|> \"二\"\n\n")],
    [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")],
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    from so8t_engine.model.load import load_tokenizer

    return load_tokenizer(DEMO_MODEL)


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("thought", [{}, {"Thinking": "考え"}], ids=["before 0.9", "since 0.9"])
def test_the_template_gives_the_text_that_the_model_was_trained_on(tokenizer, talk, thought):
    said = [{"Role": role, "Content": text, **thought} for role, text in talk]
    turns = [{"role": role, "content": text} for role, text in talk]
    wanted = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert GoTemplate(TEMPLATE).render({"Messages": said}) == wanted


def test_ollama_reads_the_tags_around_all_thinking_from_the_template():
    assert GoTemplate(TEMPLATE).thinking_tags() == ("<think-task>", "</think-policy>")


def test_every_stop_is_a_token_of_its_own(tokenizer):
    assert set(PARAMETERS["stop"]) <= set(tokenizer.get_added_vocab())


def test_the_card_has_the_system_text_of_the_training_and_the_licence_of_the_base_model(tmp_path):
    (tmp_path / "LICENSE").write_text("MIT License\n…", encoding="utf-8")
    card = card_of(" 四つに分類する。\n", tmp_path)
    assert (card.system, card.license) == ("四つに分類する。", "MIT License\n…")
    assert (card.template, card.parameters) == (TEMPLATE, PARAMETERS)


def test_a_model_trained_without_a_system_text_gets_none(tmp_path):
    card = card_of("", tmp_path)
    assert (card.system, card.license) == ("", "")
    assert "SYSTEM" not in write_modelfile(tmp_path, "m.gguf", card).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "version, place",
    [("0.5.5", "answer"), ("0.8.0", "answer"), ("0.9.0", "asked"), ("v0.9.6-rc0", "asked"), ("0.12.4", "asked"),
     ("0.12.5", "field"), ("1.0.0", "field"), ("unknown", "answer")],
)  # fmt: skip
def test_no_version_hides_the_thinking(version, place):
    assert raw_thinking(version) == place


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """(instruction, argument) by the rule of Ollama's parser: an argument is over at the first line end at which its
    quotation marks are closed."""
    found, word, value = [], "", ""
    for line in text.splitlines(keepends=True):
        if not word:
            word, _, line = line.partition(" ")
        value += line
        bare = value.strip()
        quotes = '"""' if bare.startswith('"""') else '"' if bare.startswith('"') else ""
        if not quotes or (bare.endswith(quotes) and len(bare) >= 2 * len(quotes)):
            found.append((word, bare[len(quotes) : len(bare) - len(quotes)]))
            word = value = ""
    assert not word
    return found


def test_the_modelfile_says_what_is_pushed(tmp_path):
    card = ModelCard(system="一行目\n# 二行目\n\n最後", license='"AS IS"\nFROM nowhere\n\tSTOP "x"\n')
    file = write_modelfile(tmp_path, "borea f16.gguf", card)
    assert b"\r" not in file.read_bytes()
    stops = [("PARAMETER", f'stop "{stop}"') for stop in PARAMETERS["stop"]]
    assert read_modelfile(file.read_text(encoding="utf-8")) == [
        ("FROM", "./borea f16.gguf"), ("TEMPLATE", card.template), ("SYSTEM", card.system),
        ("PARAMETER", "num_ctx 4096"), ("PARAMETER", "temperature 0"), *stops, ("LICENSE", card.license),
    ]  # fmt: skip


def test_what_a_modelfile_cannot_hold_does_not_end_an_argument(tmp_path):
    file = write_modelfile(tmp_path, "m.gguf", ModelCard(system='so """\nFROM elsewhere'))
    assert [word for word, _ in read_modelfile(file.read_text(encoding="utf-8"))].count("FROM") == 1


@pytest.mark.parametrize(
    "text", ["{{ if .Messages }}", "{{ end }}", "{{ .Messages | upper }}", "{{ nothing }}", "{{ .Role"]
)
def test_the_reader_of_templates_refuses_what_it_does_not_know(text):
    with pytest.raises(TemplateError):
        GoTemplate(text)
    with pytest.raises(TemplateError):
        GoTemplate("{{ .Role }}").render({"Content": "a"})
