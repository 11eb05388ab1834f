"""The two ways to measure a decision: the likeliest class (scored), and the class that the whole answer names (generated)."""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from so8t_engine import events as e
from so8t_engine.answer.format import CLASSES, CONFIDENCE_FIELD, fault, fields_so_far
from so8t_engine.answer.hidden import ThinkingFilter
from so8t_engine.data.pieces import TextStream
from so8t_engine.errors import EngineError
from so8t_engine.evaluate.journal import Journal
from so8t_engine.model.answers import Written, write
from so8t_engine.model.score import score
from so8t_engine.model.voices import Voices
from so8t_engine.settings import EvaluateSettings

TOLD_SECONDS = 0.5
"""Between two progress events."""

WARM = 8
"""Tokens that a model writes before answers are timed."""

AFTER = 4
"""Tokens that a complete answer may still take (blank lines) before it is cut: then text stands outside the sections."""


@dataclass
class Work:
    """What both modes work on.

    prompts: (index of the row, token ids). cancel: anything with `is_set()`.
    """

    voices: Voices
    voice: str
    prompts: Sequence[tuple[int, list[int]]]
    cancel: object

    def left(self, journal: Journal) -> list[tuple[int, list[int]]]:
        return [(index, ids) for index, ids in self.prompts if index not in journal.entries]


@dataclass(frozen=True)
class Pace:
    """What this try did: rows and tokens in seconds. An earlier try's part is in none of them."""

    rows: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def __add__(self, other: "Pace") -> "Pace":
        return Pace(self.rows + other.rows, self.seconds + other.seconds, self.tokens + other.tokens)


def shuffled(indexes: Iterable[int], seed: int) -> list[int]:
    """The rows in an order drawn by the seed: any number from the front is a fair sample of all."""
    return np.random.default_rng(seed).permutation(sorted(indexes)).tolist()


def scored(work: Work, journal: Journal) -> Iterator[e.Event]:
    """Score the rows that the journal lacks. Gives back the Pace. A stop leaves what was measured in the journal."""
    waiting, begun = work.left(journal), time.monotonic()
    meter = _Meter("scored", len(work.prompts), len(work.prompts) - len(waiting))
    yield meter.event()
    entries: list[dict] = []
    done = 0
    for place, values in score(work.voices, work.voice, [ids for _, ids in waiting]):
        likely = np.exp(np.array(values) - max(values))
        shares = (likely / likely.sum()).tolist()
        given = CLASSES[int(np.argmax(values))]
        chances = dict(zip(CLASSES, shares, strict=True))
        entries.append({"index": waiting[place][0], "given": given, "probabilities": chances})
        done += 1
        if meter.due():
            _kept(journal, entries)
            yield meter.event(done)
            if work.cancel.is_set():
                break
    _kept(journal, entries)
    yield meter.event(done)
    return Pace(done, time.monotonic() - begun)


def generated(work: Work, journal: Journal, settings: EvaluateSettings, alone: Container[int]) -> Iterator[e.Event]:
    """Have the rows that the journal lacks answered in whole: those in `alone` first, one at a time.

    Gives back the Pace of the answers written side by side.
    """
    apart = [prompt for prompt in work.prompts if prompt[0] in alone]
    beside = [prompt for prompt in work.prompts if prompt[0] not in alone]
    pace = Pace()
    if apart:
        yield from _written(replace(work, prompts=apart), journal, "alone", 1, settings.max_tokens)
    if beside and not work.cancel.is_set():
        work = replace(work, prompts=beside)
        pace = yield from _written(work, journal, "generated", settings.batch_size, settings.max_tokens)
    return pace


def warm(work: Work) -> None:
    """Have the first prompt answered for a few tokens that nobody counts: what is run first takes longer."""
    for _ in write(work.voices, work.voice, [work.prompts[0][1]], limit=WARM, rows=1, watch=lambda _: lambda _: False):
        pass


def _written(work: Work, journal: Journal, mode: str, rows: int, limit: int) -> Iterator[e.Event]:
    """Answer so many rows side by side. Gives back the Pace."""
    waiting = work.left(journal)
    begun, done, tokens = time.monotonic(), 0, 0
    meter = _Meter(mode, len(work.prompts), len(work.prompts) - len(waiting))
    entries: list[dict] = []
    listeners: dict[int, _Listener] = {}

    def watch(place: int) -> Callable[[int], bool]:
        listener = listeners[place] = _Listener(work.voices)
        return lambda token: listener.feed(token) or work.cancel.is_set()  # a stop ends every answer at its next token

    yield meter.event()
    for answer in write(work.voices, work.voice, [ids for _, ids in waiting], limit=limit, rows=rows, watch=watch):
        if work.cancel.is_set():
            break  # this answer may have been cut short
        entry = listeners.pop(answer.index).entry(answer)
        entries.append({"index": waiting[answer.index][0], **entry, "alone": rows == 1})
        done, tokens = done + 1, tokens + answer.tokens
        if meter.due() or rows == 1:
            _kept(journal, entries)
            yield meter.event(done)
    _kept(journal, entries)
    yield meter.event(done)
    return Pace(done, time.monotonic() - begun, tokens)


class _Listener:
    """Reads one answer as it comes: the whole of it stays here, only what may be shown leaves."""

    def __init__(self, voices: Voices) -> None:
        self._stream = TextStream(voices.template.tokenizer)
        self._filter = ThinkingFilter()
        self._text: list[str] = []
        self._shown: list[str] = []
        self._after = 0

    def feed(self, token: int) -> bool:
        """Take a token; True when nothing that counts can follow."""
        if self._filter.complete:
            self._after += 1
        piece = self._stream.feed(token)
        self._text.append(piece)
        self._shown.append(self._filter.feed(piece))
        return self._filter.sealed or self._after >= AFTER or (self._filter.complete and self._outside())

    def entry(self, answer: Written) -> dict:
        """The answer's line in the journal."""
        complete = self._filter.complete
        message = self._filter.close()
        shown = "".join(self._shown)
        said = fields_so_far(shown, whole=complete).get(CONFIDENCE_FIELD, "")
        wrong = fault("".join(self._text)) if complete or answer.ended != "length" else "cut"
        return {
            "given": self._filter.label, "confidence": _share(said), "final": message or shown,
            "format": wrong or "whole", "tokens": answer.tokens, "first_seconds": answer.first_seconds,
            "seconds": answer.seconds,
        }  # fmt: skip

    def _outside(self) -> bool:
        """Whether text stands behind `</final>`."""
        return bool("".join(self._text).rpartition("</final>")[2].strip())


class _Meter:
    """Says how far a mode is, now and then."""

    def __init__(self, mode: str, total: int, begun: int) -> None:
        self._mode, self._total, self._begun = mode, total, begun
        self._started = self._told = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._told >= TOLD_SECONDS

    def event(self, done: int = 0) -> e.EvaluationProgressed:
        self._told = time.monotonic()
        return e.EvaluationProgressed(
            mode=self._mode, done=self._begun + done, total=self._total, seconds=self._told - self._started,
            begun=self._begun,
        )  # fmt: skip


def _kept(journal: Journal, entries: list[dict]) -> None:
    """Write what is not yet written. Raises EngineError when the disk refuses; what stands there stays."""
    if not entries:
        return
    try:
        journal.append(entries)
    except OSError as error:
        raise EngineError("evaluate.unwritten", where=str(journal.file), reason=error.strerror or error) from None
    entries.clear()


def _share(text: str) -> float | None:
    with suppress(ValueError):
        value = float(text)
        return value if 0.0 <= value <= 1.0 else None
    return None
