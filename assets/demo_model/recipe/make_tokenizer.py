"""Train the demo tokenizer: SentencePiece BPE with byte fallback, and the same thing as tokenizer.json.

    python assets/demo_model/recipe/make_tokenizer.py [--out FOLDER]

Structure, special tokens and flags are those of Phi-3.5. Pieces never cross a change of script
(kanji, hiragana, katakana, Latin, other) nor a section tag: the training text is cut there beforehand,
so plain SentencePiece (and llama.cpp) encodes that way without a pre-tokenizer.
"""

import argparse
import io
import json
import re
import sys
from pathlib import Path

import sentencepiece

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2])]

import corpus  # noqa: E402

SEED = 11
SAMPLES = 20_000
PIECES = 3000
CUT = "\x1f"
SPECIAL = (  # in the order and with the flags of Phi-3.5
    ("<|endoftext|>", False),
    ("<|assistant|>", True),
    ("<|placeholder1|>", True),
    ("<|placeholder2|>", True),
    ("<|placeholder3|>", True),
    ("<|placeholder4|>", True),
    ("<|system|>", True),
    ("<|end|>", True),
    ("<|placeholder5|>", True),
    ("<|placeholder6|>", True),
    ("<|user|>", True),
)
# One unit each: a tag; a leading particle; a run of one script (a space belongs to the Latin word after it).
_UNIT = re.compile(
    r"</?(?:think-task|think-safety|think-policy|final)>"
    r"|を|[にはがのでとも](?=[ぁ-ん])|[ぁ-ゑん]+|[ァ-ヴー]+|[一-龥々]+| ?[A-Za-z']+| ?[0-9]| "
    r"|[^\sA-Za-z0-9ぁ-んァ-ヴー一-龥々]"
)


def cut(text):
    """`text` with a mark wherever a piece may not reach across."""
    units = _UNIT.findall(text.replace("\n", ""))
    return ("" if units and units[0][0].isascii() and units[0][0].isalpha() else CUT) + CUT.join(units)


def train():
    """The SentencePiece model as bytes."""
    draw = corpus.Corpus(SEED)
    lines = [text for _ in range(SAMPLES) for text in draw.sample() if text]
    lines += [*corpus.every_word()] * 20
    kana = "".join(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30F7)])) + "ー、。・「」！？（）："
    ascii_ = "".join(map(chr, range(0x21, 0x7F)))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([cut(line) for line in lines]),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        split_digits=True,
        split_by_unicode_script=False,  # `cut` does it, finer
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=1.0,
        required_chars=kana + ascii_,
        pretokenization_delimiter=CUT,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def as_json(model):
    """The same tokenizer in the form of Phi-3.5's tokenizer.json."""
    reader = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [reader.id_to_piece(i) for i in range(reader.vocab_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        if reader.is_byte(i) or reader.is_control(i) or reader.is_unknown(i):
            continue
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        splits = [pair for pair in splits if pair[0] in ids and pair[1] in ids]
        merges += [(-reader.get_score(i), ids[left], ids[right], left, right) for left, right in splits]
    merges.sort()
    added = [_added(0, "<unk>", False), _added(1, "<s>", False), _added(2, "</s>", True, special=False)]
    added += [_added(len(pieces) + i, token, rstrip) for i, (token, rstrip) in enumerate(SPECIAL)]
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [sequence],
            "pair": [sequence, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": ids,
            "merges": [f"{left} {right}" for _, _, _, left, right in merges],
        },
    }


def _added(number, content, rstrip, special=True):
    flags = {"single_word": False, "lstrip": False, "rstrip": rstrip, "normalized": False, "special": special}
    return {"id": number, "content": content, **flags}


def settings(added):
    """tokenizer_config.json, after Phi-3.5's."""
    decoder = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added}
    return {
        "add_bos_token": False,
        "add_eos_token": False,
        "add_prefix_space": None,
        "added_tokens_decoder": decoder,
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "extra_special_tokens": {},
        "legacy": False,
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }


def write(folder):
    """Write every tokenizer file into `folder`."""
    model = train()
    table = as_json(model)
    added = table["added_tokens"]
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    names = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<unk>"}
    (folder / "tokenizer.model").write_bytes(model)
    for name, content in (
        ("tokenizer.json", table),
        ("tokenizer_config.json", settings(added)),
        ("special_tokens_map.json", {name: {"content": token, **plain} for name, token in names.items()}),
        ("added_tokens.json", {token["content"]: token["id"] for token in added[3:]}),
    ):
        text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
        (folder / name).write_bytes(text.encode("utf-8"))
    return len(table["model"]["vocab"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parent)
    print(write(parser.parse_args().out), "pieces")


if __name__ == "__main__":
    main()
