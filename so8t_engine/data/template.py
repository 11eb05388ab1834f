"""Turn a row into token ids, with the answer's tokens marked.

The chat template and what people typed are encoded apart: the template by the full tokenizer, the text by a copy of
it that knows no added token. A typed `<|end|>` or `</s>` therefore becomes ordinary pieces, never a control token.
"""

import json
from dataclasses import dataclass
from functools import cached_property

from tokenizers import Tokenizer

from so8t_engine.answer.format import label_span, neutralise
from so8t_engine.data.samples import Sample
from so8t_engine.errors import BadInput, ModelError

_SLOT = "\ue000{}\ue001"
"""Stands for a text while the template is rendered: private-use characters that no text is left with."""

SPEAKERS = ("user", "assistant")
"""The roles of a conversation's turns."""


@dataclass(frozen=True)
class Example:
    """One row as numbers. All lists have one entry a token.

    ids: token ids of prompt, answer and the end token.
    answer_start: index of the first token of the answer; from there on every token is learned.
    label: indices (start, end) of the tokens of the class in 分類結果; None when the answer shows none.
    """

    ids: tuple[int, ...]
    answer_start: int
    label: tuple[int, int] | None


class Template:
    """The chat template of one tokenizer (a transformers fast tokenizer with a chat template).

    Raises ModelError when the tokenizer has no chat template.
    """

    def __init__(self, tokenizer) -> None:
        if not tokenizer.chat_template:
            raise ModelError("model.no_chat_template", where=str(tokenizer.name_or_path))
        self.tokenizer = tokenizer
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        backend["added_tokens"] = []
        backend["post_processor"] = None  # it would add a beginning-of-text token to every piece
        self._plain = Tokenizer.from_str(json.dumps(backend))

    def text_ids(self, text: str) -> list[int]:
        """Ids of `text` as plain text: whatever it says, no control token."""
        return self._plain.encode(text).ids

    def prompt_ids(self, prompt: str, *, system: str = "", history: list[dict[str, str]] | None = None) -> list[int]:
        """Ids up to the point where the assistant begins to speak.

        history: earlier turns as {"role": "user" or "assistant", "content": text}. Raises BadInput for another role:
        the template would leave such a turn out, or take it for the system's.
        Our section tags are neutralised in all but the system text, in what the assistant is said to have said too: it
        may have been typed. White space around a text is dropped, as the template tokens of Phi-3 swallow it anyway.
        """
        for turn in history or []:
            if turn["role"] not in SPEAKERS:
                raise BadInput("chat.unknown_role", role=str(turn["role"])[:40], roles=", ".join(SPEAKERS))
        turns = [{"role": "system", "content": system}] if system.strip() else []
        turns += [*(history or []), {"role": "user", "content": prompt}]
        return self._ids(turns)

    def example(self, sample: Sample, system_prompt: str = "") -> Example:
        """The row with its answer, ready to be learned."""
        prompt = self.prompt_ids(sample.prompt, system=sample.system or system_prompt)
        encoding = self._plain.encode(sample.output)
        label = self._label_tokens(sample.output, encoding.offsets, len(prompt))
        return Example((*prompt, *encoding.ids, self.end_id), len(prompt), label)

    @cached_property
    def end_id(self) -> int:
        """The token with which the assistant ends its turn (`<|end|>` in Phi-3)."""
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _SLOT.format(0)}]
        rendered = self.tokenizer.apply_chat_template(turns, tokenize=False)
        return self._template_ids(rendered.rpartition(_SLOT.format(0))[2])[0]

    def _ids(self, turns: list[dict[str, str]]) -> list[int]:
        texts = [(t["content"] if t["role"] == "system" else neutralise(t["content"])).strip() for t in turns]
        slots = [{"role": turn["role"], "content": _SLOT.format(i)} for i, turn in enumerate(turns)]
        rest = self.tokenizer.apply_chat_template(slots, tokenize=False, add_generation_prompt=True)
        ids: list[int] = []
        for i, text in enumerate(texts):
            before, _, rest = rest.partition(_SLOT.format(i))
            ids += self._template_ids(before) + self.text_ids(text)
        return ids + self._template_ids(rest)

    def _template_ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    @staticmethod
    def _label_tokens(output: str, offsets: list[tuple[int, int]], start: int) -> tuple[int, int] | None:
        span = label_span(output)
        if span is None:
            return None
        inside = [i for i, (a, b) in enumerate(offsets) if a < span[1] and b > span[0]]
        return start + inside[0], start + inside[-1] + 1
