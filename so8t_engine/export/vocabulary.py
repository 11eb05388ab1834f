"""The vocabulary of a SentencePiece tokenizer as GGUF holds it, from `tokenizer.model` or from `tokenizer.json` alone.

llama.cpp cuts text by joining neighbours again and again, the pair with the highest score first. The scores come from
`tokenizer.model` where there is one, as llama.cpp's own converter takes them. A model saved by transformers 5 has only
`tokenizer.json`: there the order of its merges gives scores with the same effect (that converter gives every piece the
same score, and cuts text wrongly from then on).
"""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from so8t_engine.errors import ModelError

ADDED_SCORE = -1000.0
UNUSED_SCORE = -10000.0
"""As llama.cpp's converter writes them; neither is ever compared, as such tokens are no product of a join."""

PIECE_TYPES = {2: TokenType.UNKNOWN, 3: TokenType.CONTROL, 5: TokenType.UNUSED, 6: TokenType.BYTE}
"""By SentencePiece's number for the type of a piece; any other is NORMAL."""


@dataclass
class Vocabulary:
    """Text, score and type of each token, by id."""

    tokens: list[bytes]
    scores: list[float]
    types: list[TokenType]

    def put(self, id: int, text: str, score: float, type: TokenType) -> None:
        """Say what the token `id` is; ids beyond the model's rows are left out, as it can't speak them."""
        if id < len(self.tokens):
            self.tokens[id], self.scores[id], self.types[id] = text.encode("utf-8"), score, type


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The `size` tokens of the model in `folder`; ids that no file names are unused.

    Raises ModelError "export.bad_tokenizer" when a file can't be read, "export.wrong_tokenizer" when it is of another
    kind (byte-level BPE and the like), "export.tokenizers_differ" when `tokenizer.model` is not the tokenizer that the
    model was trained with.
    """
    found = Vocabulary(
        [f"[PAD{id}]".encode() for id in range(size)], [UNUSED_SCORE] * size, [TokenType.UNUSED] * size
    )  # fmt: skip
    tokenizer = _json(folder / "tokenizer.json")
    try:
        model = folder / "tokenizer.model"
        pieces = _model_pieces(model) if model.is_file() else _json_pieces(tokenizer["model"], folder)
        for id, piece in enumerate(pieces):
            found.put(id, *piece)
        for text, id in _json(folder / "added_tokens.json").items():
            found.put(id, text, ADDED_SCORE, TokenType.USER_DEFINED)
        # In the same order as llama.cpp's converter: the later file wins.
        decoder = _json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
        for id, token in [*decoder.items(), *((token["id"], token) for token in tokenizer["added_tokens"])]:
            kind = TokenType.CONTROL if token.get("special") else TokenType.USER_DEFINED
            found.put(int(id), token["content"], ADDED_SCORE, kind)
        trained = {id: text for text, id in tokenizer["model"]["vocab"].items() if id < size}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise ModelError("export.bad_tokenizer", where=str(folder), reason=repr(error)) from None
    if strangers := sorted(id for id, text in trained.items() if found.tokens[id] != text.encode()):
        first = strangers[0]
        facts = {"id": first, "trained": trained[first], "found": found.tokens[first].decode(errors="replace")}
        raise ModelError("export.tokenizers_differ", where=str(folder), count=len(strangers), **facts)
    return found


def _json(file: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing when it is not there."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found
    except (OSError, ValueError) as error:
        raise ModelError("export.bad_tokenizer", where=str(file), reason=error) from None


def _json_pieces(model: dict[str, Any], folder: Path) -> Iterator[tuple[str, float, TokenType]]:
    """Text, score and type of each piece of a `tokenizer.json`, by id."""
    if model["type"] != "BPE" or not model.get("byte_fallback"):
        raise ModelError("export.wrong_tokenizer", where=str(folder / "tokenizer.json"), kind=model["type"])
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(model["merges"]):
        ranks.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), rank)
    vocabulary = {id: text for text, id in model["vocab"].items()}
    for id in range(max(vocabulary) + 1):
        text = vocabulary.get(id, f"[PAD{id}]")
        if id not in vocabulary:
            kind = TokenType.UNUSED
        elif text == model.get("unk_token"):
            kind = TokenType.UNKNOWN
        else:
            kind = TokenType.BYTE if re.fullmatch("<0x[0-9A-F]{2}>", text) else TokenType.NORMAL
        yield text, -float(ranks.get(text, len(ranks))), kind


def _model_pieces(file: Path) -> Iterator[tuple[str, float, TokenType]]:
    """Text, score and type of each piece of a `tokenizer.model`, by id.

    A protobuf (sentencepiece_model.proto): field 1 is repeated and holds a piece, with 1 text, 2 score, 3 type.
    """
    for number, piece in _fields(file.read_bytes()):
        if number == 1:
            fields = dict(_fields(piece))
            yield fields[1].decode("utf-8"), fields.get(2, 0.0), PIECE_TYPES.get(fields.get(3, 1), TokenType.NORMAL)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a protobuf message: int, float for 32 bits, bytes for the rest."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(message, place)
        elif wire == 5:
            (value,) = struct.unpack_from("<f", message, place)
            place += 4
        elif wire in (1, 2):
            length, place = (8, place) if wire == 1 else _varint(message, place)
            value, place = message[place : place + length], place + length
            if place > len(message):
                raise ValueError("cut short")
        else:
            raise ValueError(f"wire type {wire}")
        yield number, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
