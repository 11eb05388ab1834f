"""Token ids back into text, one at a time: a character comes out once all its bytes are there."""

from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

_LOST = "\ufffd"
"""Stands for bytes that are no character."""


class TextStream:
    """Decodes one answer as it comes.

    Args:
        tokenizer: a transformers fast tokenizer.
    """

    def __init__(self, tokenizer) -> None:
        self._tokenizer: Tokenizer = tokenizer.backend_tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, token: int) -> str:
        """The text that this token makes whole; "" while a character is cut. What is cut at the end never comes out."""
        try:
            return self._stream.step(self._tokenizer, token) or ""
        except Exception:  # the tokenizers library's own class: bytes that are no character spoil what came before them
            self._stream = DecodeStream(skip_special_tokens=True)
            return _LOST + (self._stream.step(self._tokenizer, token) or "")


def end_ids(tokenizer, known: Iterable[int] = ()) -> frozenset[int]:
    """Every id that ends an answer: all control tokens of the tokenizer, and those `known` to the model.

    A model that writes any control token has left its turn: nothing after it belongs to the answer.
    """
    return frozenset((*tokenizer.added_tokens_decoder, *known))
