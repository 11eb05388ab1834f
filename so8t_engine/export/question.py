"""The one question that a model in Ollama must answer with a class before it gets its name.

The answer goes into the thinking filter and nowhere else: not into an event, an error or a log.
"""

from dataclasses import dataclass
from typing import Any, Literal

from so8t_engine.answer.hidden import ThinkingFilter
from so8t_engine.errors import EngineError
from so8t_engine.export.model_card import CLOSING, OPENING
from so8t_engine.ollama import Lines, ended_by

QUESTION = "明日の会議の議題を三つ提案してください。"
LONGEST_ANSWER = 1024
"""Tokens."""


@dataclass(frozen=True)
class Answer:
    """label: the class. thinking: where Ollama has put the thinking sections, "field" (apart) or "answer"."""

    label: str
    thinking: Literal["field", "answer"]


def answer_of(address: str, model: str, cancel) -> Answer | None:
    """Ask `model` as any client would, without `think`; None when `cancel` was set before it had answered.

    Raises:
        EngineError: "push.no_class" when the answer is over and names none, else those of so8t_engine.ollama.
    """
    body = {
        "model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": True,
        "options": {"num_predict": LONGEST_ANSWER}, "keep_alive": 0,  # the graphics card is free again at once
    }  # fmt: skip
    lines = Lines(address, "/api/chat", body)
    heard = _Heard()
    try:
        with ended_by(cancel, lines.close):
            for said in lines:
                heard.take(said)
                if heard.over:
                    lines.close()
    except EngineError as error:
        if lines.failure and heard.begun:  # some of Ollama's errors quote what the model has said
            raise EngineError(error.code, where=address, reason="error") from None
        raise
    if heard.label:
        return Answer(heard.label, "field" if heard.apart else "answer")
    if cancel.is_set():
        return None
    if not heard.over:
        raise EngineError("ollama.broken", where=address, reason="EOF")
    raise EngineError("push.no_class", where=address, name=model, ended=heard.ended)


class _Heard:
    """The answer as it comes: put together again where Ollama has taken its thinking out.

    Attributes:
        begun: whether anything has come. apart: whether thinking came in a field of its own.
        label: the class, once it is known. ended: why the answer is over: "stop", "length" or "sealed".
    """

    def __init__(self) -> None:
        self.begun = self.apart = False
        self.ended = ""
        self._open = False
        self._filter = ThinkingFilter()

    @property
    def label(self) -> str:
        return self._filter.label

    @property
    def over(self) -> bool:
        return bool(self.ended or self.label)

    def take(self, said: dict[str, Any]) -> None:
        """One line of Ollama's."""
        self.begun = True
        message = said.get("message")
        if isinstance(message, dict):
            self._think(str(message.get("thinking") or ""))
            self._speak(str(message.get("content") or ""))
        if self._filter.sealed:
            self.ended = "sealed"
        elif said.get("done") is True:
            self.ended = str(said.get("done_reason") or "stop")[:40]

    def _think(self, text: str) -> None:
        if text:
            self._filter.feed(text if self._open else OPENING + text)
            self.apart = self._open = True

    def _speak(self, text: str) -> None:
        if text:
            self._filter.feed(CLOSING + text if self._open else text)
            self._open = False
