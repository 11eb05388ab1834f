"""The demo that ships with the product: its data, its tokenizer, its model."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from so8t_engine.answer import format as answer_format

ROOT = Path(__file__).resolve().parent.parent
MODEL, DATA = ROOT / "assets" / "demo_model", ROOT / "assets" / "data"
sys.path.insert(0, str(MODEL / "recipe"))

import corpus  # noqa: E402
import make_data  # noqa: E402
import make_tokenizer  # noqa: E402
import phrases  # noqa: E402

ODD = ("", " ", "  two  spaces ", "\n\ttab", "鬱 髙 𠮷 🙂👩‍👩‍👧", "ﾊﾝｶｸ ＡＢＣ é ü ß", "عربي", "a\u200bb", "x" * 300)


def _rows(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def train():
    return _rows("demo_four_class.jsonl")


@pytest.fixture(scope="module")
def held():
    return _rows("demo_heldout.jsonl")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def pieces():
    return sentencepiece.SentencePieceProcessor(model_file=str(MODEL / "tokenizer.model"))


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()


def _prompt(tokenizer, text):
    message = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"]


def test_every_answer_parses_and_carries_the_class_of_its_row(train, held):
    for row in train + held:
        parsed = answer_format.parse(row["output"])
        assert parsed.final.label == row["four_class_label"]
        assert row["four_class_label"] == phrases.POLICY[row["action"], row["domain_label"]]
        assert row["input"] == "" and row["thinking_format"] == "quadruple"
        assert row["safety_label"] == phrases.SAFETY_LABEL[row["four_class_label"]]


def test_classes_and_languages_are_even(train, held):
    assert (len(train), len(held)) == (3600, 500)
    for rows in (train, held):
        counts = Counter((row["language"], row["four_class_label"]) for row in rows)
        assert len(counts) == 8
        assert max(counts.values()) - min(counts.values()) <= 1


def test_no_kind_of_action_and_no_group_of_object_decides_the_class_alone():
    for part, names in ((0, phrases.KINDS), (1, phrases.GROUPS)):
        for name in names:
            assert len({label for cell, label in phrases.POLICY.items() if cell[part] == name}) > 1


def test_held_out_rows_share_neither_pair_nor_phrasing_nor_text_with_training_rows(train, held):
    for key in ("pair", "phrasing", "instruction", "id"):
        assert not {row[key] for row in train} & {row[key] for row in held}, key
    for key in ("instruction", "id"):
        assert len({row[key] for row in train + held}) == len(train) + len(held), key
    assert len({row["pair"] for row in held}) == len(held)
    for language in phrases.LANGUAGES:
        assert not set(phrases.PHRASINGS[language]) & set(phrases.HELD_OUT_PHRASINGS[language])
        assert not set(phrases.CONTEXTS[language]) & set(phrases.HELD_OUT_CONTEXTS[language])


def test_each_verb_and_each_object_occurs_in_training(train):
    seen = {row["pair"] for row in train}
    verbs = {pair.split("+")[0] for pair in seen}
    things = {pair.split(":")[0] + pair.split("+")[1] for pair in seen}
    assert len(verbs) == sum(len(forms) for table in phrases.VERBS.values() for forms in table.values())
    assert len(things) == 2 * sum(map(len, phrases.OBJECTS.values()))


def test_the_pretraining_corpus_holds_no_held_out_pair_phrasing_or_context():
    draw = corpus.Corpus(1)
    banned = {}
    for language in phrases.LANGUAGES:
        held = phrases.held_out_pairs(language)
        assert not held & set(draw.pairs[language])
        assert not set(corpus._PHRASINGS[language]) & set(phrases.HELD_OUT_PHRASINGS[language])
        assert not set(corpus._CONTEXTS[language]) & set(phrases.HELD_OUT_CONTEXTS[language])
        named = phrases.objects(language)
        banned[language] = [
            form.format(o=named[group][o]).lower()
            for kind, v, group, o in held
            for form in phrases.VERBS[language][kind][v]
        ]
    for _ in range(4000):
        prompt, _output = draw.sample()
        if prompt is not None:
            language = "en" if prompt.isascii() else "ja"
            text = prompt.lower()
            assert not any(words in text for words in banned[language]), prompt
            assert not any(context in prompt for context in phrases.HELD_OUT_CONTEXTS[language])


def test_the_script_writes_the_same_bytes_again(tmp_path):
    for path in make_data.write(tmp_path):
        assert path.read_bytes() == (DATA / path.name).read_bytes()


def test_both_tokenizer_files_give_the_same_ids(tokenizer, pieces, train, held):
    texts = [text for row in train[:800] + held for text in (row["instruction"], row["output"])] + list(ODD)
    got = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for text, ids in zip(texts, got, strict=True):
        assert ids == pieces.encode(text), text


def test_tokenizer_json_follows_from_tokenizer_model():
    made = make_tokenizer.as_json((MODEL / "tokenizer.model").read_bytes())
    assert made == json.loads((MODEL / "tokenizer.json").read_text(encoding="utf-8"))


def test_any_text_survives_the_tokenizer(tokenizer, pieces, held):
    for text in [*ODD, *(row["output"] for row in held[:50])]:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
        assert tokenizer.unk_token_id not in pieces.encode(text)


def test_a_class_is_one_piece_and_samples_are_short(tokenizer, pieces, train, held):
    for label in answer_format.CLASSES:
        assert len(pieces.encode(f"分類結果: {label}")) == len(pieces.encode("分類結果:")) + 1
    lengths = [len(pieces.encode(row["instruction"]) + pieces.encode(row["output"])) + 5 for row in train + held]
    assert max(lengths) <= 110
    assert sum(lengths) / len(lengths) <= 90


def test_the_chat_template_gives_the_ids_of_its_parts(tokenizer, held):
    user, assistant, end = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>", "<|end|>"])
    for row in held[:40]:
        parts = [tokenizer(row[name], add_special_tokens=False)["input_ids"] for name in ("instruction", "output")]
        messages = [
            {"role": "user", "content": row["instruction"]},
            {"role": "assistant", "content": row["output"]},
        ]
        whole = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
        assert whole == [user, *parts[0], end, assistant, *parts[1], end, tokenizer.eos_token_id]
        assert _prompt(tokenizer, row["instruction"]) == [user, *parts[0], end, assistant]


def test_the_model_is_a_small_phi3_with_long_rope(model, tokenizer):
    settings = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    assert settings["architectures"] == ["Phi3ForCausalLM"] and "auto_map" not in settings
    assert type(model).__name__ == "Phi3ForCausalLM"
    assert model.config.rope_parameters["rope_type"] == "longrope"
    half = model.config.hidden_size // model.config.num_attention_heads // 2
    for name in ("short_factor", "long_factor"):
        assert len(settings["rope_scaling"][name]) == half
    assert settings["original_max_position_embeddings"] == 4096
    assert len(tokenizer) <= settings["vocab_size"]
    assert settings["eos_token_id"] == settings["pad_token_id"] == tokenizer.eos_token_id
    assert tokenizer.convert_tokens_to_ids("<|end|>") in model.generation_config.eos_token_id
    files = [path for path in MODEL.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 20 * 2**20


def test_the_base_speaks_the_format(model, tokenizer, held):
    prompts = [_prompt(tokenizer, row["instruction"]) for row in held[:8]]
    batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")  # on the left, as the tokenizer says
    with torch.inference_mode():
        ids = model.generate(**batch, max_new_tokens=110, do_sample=False)
    good = 0
    for new in ids[:, batch["input_ids"].shape[1] :]:
        try:
            answer_format.parse(tokenizer.decode(new, skip_special_tokens=True))
            good += 1
        except answer_format.FormatError:
            pass
    assert good >= 7


def test_the_base_does_not_know_the_classes(model, tokenizer, pieces, held):
    classes = [pieces.encode(f"分類結果: {label}")[-1] for label in answer_format.CLASSES]
    opening = pieces.encode("<final>分類結果:")
    rows = held[:120]
    prompts = [_prompt(tokenizer, row["instruction"]) + opening for row in rows]
    width = max(map(len, prompts))
    ids = torch.tensor([prompt + [tokenizer.pad_token_id] * (width - len(prompt)) for prompt in prompts])
    last = torch.tensor([len(prompt) - 1 for prompt in prompts])
    with torch.inference_mode():
        hidden = model.model(ids).last_hidden_state[torch.arange(len(rows)), last]
        guesses = model.lm_head(hidden)[:, classes].argmax(-1).tolist()
    right = sum(answer_format.CLASSES[g] == row["four_class_label"] for g, row in zip(guesses, rows, strict=True))
    assert right / len(rows) < 0.45
