"""The vocabulary from either form of a SentencePiece tokenizer."""

import json
import shutil

import pytest
import sentencepiece
from gguf import GGUFReader, TokenType
from gguf_bases import export
from made import DEMO_MODEL

from so8t_engine.errors import ModelError
from so8t_engine.export.vocabulary import read_vocabulary


@pytest.fixture
def json_only(base, tmp_path):
    """As transformers 5 saves a model."""
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    for name in ("tokenizer.model", "added_tokens.json"):
        (folder / name).unlink()
    return folder


def test_pieces_are_what_sentencepiece_reads():
    library = sentencepiece.SentencePieceProcessor(model_file=str(DEMO_MODEL / "tokenizer.model"))
    found = read_vocabulary(DEMO_MODEL, 3072)
    ids = range(3, library.vocab_size())  # 0 to 2 are named by later files too
    assert found.tokens[3:3000] == [library.id_to_piece(id).encode() for id in ids]
    assert found.scores[3:3000] == [library.get_score(id) for id in ids]
    assert [type == TokenType.BYTE for type in found.types[3:3000]] == [library.is_byte(id) for id in ids]


def test_both_forms_name_the_same_tokens_and_rank_joins_alike(json_only, base):
    both, one = read_vocabulary(base, 3072), read_vocabulary(json_only, 3072)
    assert one.tokens == both.tokens and one.types == both.types
    merged = {
        "".join(merge.split(" "))
        for merge in json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["model"]["merges"]
    }
    ids = [id for id, token in enumerate(both.tokens) if token.decode() in merged]
    assert len(ids) > 1000
    assert sorted(ids, key=one.scores.__getitem__) == sorted(ids, key=both.scores.__getitem__)


def test_special_tokens_template_and_flags_are_in_the_file(json_only, tmp_path):
    export(json_only, None, tmp_path, "f16")
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "model-f16.gguf").fields.items()}
    assert fields["tokenizer.chat_template"] == (DEMO_MODEL / "chat_template.jinja").read_text(encoding="utf-8")
    assert fields["tokenizer.ggml.eos_token_id"] == 3000 and fields["tokenizer.ggml.add_bos_token"] is False
    types = fields["tokenizer.ggml.token_type"]
    assert fields["tokenizer.ggml.tokens"][3007] == "<|end|>" and types[3007] == TokenType.CONTROL
    assert types[2] == TokenType.USER_DEFINED and types[3071] == TokenType.UNUSED


def spoil(folder, file, change):
    path = folder / file
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t["model"].update(byte_fallback=False), "export.wrong_tokenizer"),
        (lambda t: t["model"].update(type="WordPiece"), "export.wrong_tokenizer"),
        (lambda t: t["model"].pop("merges"), "export.bad_tokenizer"),
        (lambda t: t["added_tokens"][0].pop("id"), "export.bad_tokenizer"),
    ],
)
def test_a_tokenizer_that_cannot_be_stored_is_refused(json_only, change, code):
    spoil(json_only, "tokenizer.json", change)
    with pytest.raises(ModelError) as caught:
        read_vocabulary(json_only, 3072)
    assert caught.value.code == code


@pytest.mark.parametrize("length", [0, 1, 7, 20000])
def test_a_damaged_tokenizer_model_is_named(base, tmp_path, length):
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    data = (folder / "tokenizer.model").read_bytes()
    (folder / "tokenizer.model").write_bytes(b"\xff" + data[1:length])
    with pytest.raises(ModelError) as caught:
        read_vocabulary(folder, 3072)
    assert caught.value.code == "export.bad_tokenizer"


def test_a_tokenizer_model_of_another_model_is_refused(base, tmp_path):
    """llama.cpp would read other tokens than the model was trained on. Cut between two pieces it is no damaged file."""
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    spoil(folder, "tokenizer.json", lambda t: t["model"]["vocab"].update({"zzz": t["model"]["vocab"].pop("th")}))
    with pytest.raises(ModelError) as caught:
        read_vocabulary(folder, 3072)
    assert (caught.value.code, caught.value.facts["trained"], caught.value.facts["found"]) == (
        "export.tokenizers_differ", "zzz", "th",
    )  # fmt: skip


def test_tokens_beyond_the_models_rows_are_left_out(base):
    found = read_vocabulary(base, 3005)
    assert len(found.tokens) == len(found.scores) == len(found.types) == 3005
    assert found.tokens[3004] == b"<|placeholder3|>"
