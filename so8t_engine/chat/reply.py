"""One answer under way: from a model's text to what a person may see, with its record in the audit log.

Everything that answers (the chat's sides, /think, an Ollama model) feeds its text through a Reply, and everything that
shows an answer reads `Reply.told`: there is no other way from a model to a person.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

from so8t_engine.answer.format import ANSWER_FIELD, CONFIDENCE_FIELD, REASON_FIELD, fields_so_far
from so8t_engine.answer.hidden import NO_ANSWER, ThinkingFilter
from so8t_engine.audit import Audit
from so8t_engine.errors import EngineError

ENDED = ("complete", "length", "stopped", "sealed", "failed")
"""Why an answer ended: `</final>` or the end token came, its longest length was reached, a person stopped it, the
filter shut, an error."""


@dataclass(frozen=True)
class Told:
    """What may be known of an answer at one moment; holds no hidden text.

    state: "waiting" (for its turn or for the model to load), "thinking", "answering" or "done".
    text: what `<final>` has said so far, or the message that stands for it.
    label: the class, "" while unknown or when none was named. confidence: 0.0 to 1.0. reason, answer: the fields.
    formal: once done, whether `<final>` held all its fields and nothing else.
    ended: one of ENDED, once done.
    first_token, first_shown: seconds from the question, or from when the model was loaded for it, to the first token
        and to the first visible character.
    tokens: tokens produced; tokens_per_second: from the first token to the last.
    model: name of what answered; weights: its hash. audit: number of its record in the audit log.
    error: the code of what went wrong, with `facts` for its sentences.
    """

    state: str = "waiting"
    text: str = ""
    label: str = ""
    confidence: float | None = None
    reason: str = ""
    answer: str = ""
    formal: bool = False
    ended: str = ""
    first_token: float | None = None
    first_shown: float | None = None
    tokens: int = 0
    tokens_per_second: float | None = None
    model: str = ""
    weights: str = ""
    audit: int | None = None
    error: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict:
        """Plain values."""
        return asdict(self)


class Reply:
    """Takes the text of one answer and tells what may be shown.

    The thread that produces the answer calls `begin`, `feed`, `end` and `fail`; any thread may read `told`, call
    `stop` and `wait`. The audit record is committed before the first character appears in `told`. Once the answer is
    over nothing changes any more.

    Args:
        audit: the log.
        prompt: what was asked; only its HMAC is stored.
        changed: called after every change of `told`.
    """

    def __init__(self, audit: Audit, prompt: str, changed: Callable[[], None] = lambda: None) -> None:
        self.told = Told()
        self.stopping = False
        self._audit, self._prompt, self._changed = audit, prompt, changed
        self._filter = ThinkingFilter()
        self._thinking: list[str] = []
        self._asked = time.monotonic()
        self._first = 0.0
        self._ended = threading.Event()

    def begin(self, model: str, weights: str, ready: float = 0.0) -> None:
        """The model that will answer is ready; `weights` is its hash.

        ready: `time.monotonic()` when it was last loaded: the figures count from there where it was after the question.
        """
        self._asked = max(self._asked, ready)
        self._tell(state="thinking", model=model, weights=weights)

    def feed(self, text: str) -> None:
        """Take what one more token has brought (text may be "" while a character is not whole)."""
        if self._ended.is_set():
            return
        now = time.monotonic()
        if not self.told.tokens:
            self._first = now
        tokens = self.told.tokens + 1
        pace = (tokens - 1) / (now - self._first) if tokens > 1 and now > self._first else None
        timing = {"tokens": tokens, "tokens_per_second": pace, "first_token": self._first - self._asked}
        if self._filter.thinking:
            self._thinking.append(text)
        shown = self._filter.feed(text)
        if shown:
            self._show(shown, timing)
        else:
            self._tell(**timing)

    @property
    def over(self) -> bool:
        """Whether nothing that may yet come could be shown: the producer should end the answer."""
        return self._filter.complete or self._filter.sealed or self.stopping

    def end(self, ended: str) -> None:
        """The answer is over; what `<final>` lacks is not made up. `ended` is "complete", "length" or "stopped"."""
        if self._ended.is_set():
            return
        if self._filter.sealed:
            ended = "sealed"
        message = self._filter.close()
        if message:
            self._show(message, {})
        self._close(ended)
        self._finish(ended=ended, formal=self._filter.final is not None)

    def fail(self, error: EngineError) -> None:
        """The answer can't go on. What was shown stays."""
        if self._ended.is_set():
            return
        try:
            if self.told.audit is not None:
                # It may be the log itself that failed; the record then stays without its end.
                with suppress(EngineError):
                    self._close("failed")
        finally:
            self._finish(ended="failed", error=error.code, facts={**error.facts, "where": error.where})

    def stop(self) -> None:
        """Ask the producer to end the answer after its present token."""
        self.stopping = True

    def wait(self, seconds: float | None = None) -> bool:
        """Return once the answer is over, or after `seconds`; whether it is over."""
        return self._ended.wait(seconds)

    def _show(self, text: str, timing: dict) -> None:
        if self.told.audit is None:
            record = self._audit.open(
                model=self.told.weights, label=self._filter.label, prompt=self._prompt,
                thinking="".join(self._thinking).partition("<final>")[0],
            )  # fmt: skip
            self._thinking = []
            timing = {**timing, "audit": record, "first_shown": time.monotonic() - self._asked}
        text = self.told.text + text
        if text == NO_ANSWER:
            self._tell(text=text, **timing)
            return
        fields = fields_so_far(text, whole=self._filter.complete)
        self._tell(
            state="answering", text=text, label=self._filter.label, confidence=_confidence(fields.get(CONFIDENCE_FIELD)),
            reason=fields.get(REASON_FIELD, ""), answer=fields.get(ANSWER_FIELD, ""), **timing,
        )  # fmt: skip

    def _close(self, ended: str) -> None:
        told = self.told
        assert told.audit is not None  # something was shown, the message at least
        self._audit.close(told.audit, shown=told.text, confidence=told.confidence, ended=ended)

    def _finish(self, **changes: object) -> None:
        self._tell(state="done", **changes)
        self._thinking = []
        self._ended.set()
        self._changed()

    def _tell(self, **changes: object) -> None:
        self.told = replace(self.told, **changes)
        self._changed()


def _confidence(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None
