"""The endpoint /think without its HTTP: who may ask, what may be asked, and the answer that leaves the program."""

import hmac
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so8t_engine import runs
from so8t_engine.audit import Audit
from so8t_engine.chat.reply import Reply
from so8t_engine.chat.speaker import Question, Speaker
from so8t_engine.errors import BadInput, Busy, EngineError
from so8t_engine.settings import Settings
from so8t_engine.voice import ORIGINAL, RUN, Voice, resolve

FIELDS = ("prompt", "history", "system")
ROLES = ("user", "assistant")

MINUTE = 60.0

LONGEST_TOKEN = 4096
"""Bytes of the token file that are looked at."""


@dataclass(frozen=True)
class Request:
    """What somebody asks. system: None when the model is to have the system prompt that it was trained with."""

    prompt: str
    history: tuple[dict[str, str], ...] = ()
    system: str | None = None

    @property
    def characters(self) -> int:
        return len(self.prompt) + len(self.system or "") + sum(len(turn["content"]) for turn in self.history)


class Think:
    """Answers single requests: checks them, has a model speak, and gives back what may be shown.

    Methods may be called from any thread.

    Args:
        settings: gives the settings of now; each request asks anew.
        speaker: has the model.
        audit: the log.
        runs_folder: where the runs lie.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, settings: Callable[[], Settings], speaker: Speaker, audit: Audit, runs_folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._settings, self._speaker, self._audit, self._runs_folder = settings, speaker, audit, runs_folder
        self._rate = Rate(clock)
        self._placing = threading.Lock()
        self._under_way: list[Reply] = []

    def admit(self, authorization: str) -> int:
        """Let a request in by its Authorization header, before its body is read; gives the bytes the body may have.

        Raises EngineError: "think.unauthorized", "think.no_token" when the token that is asked for can't be read,
        "think.too_many" when there were too many in the last minute.
        """
        settings = self._settings()
        if settings.think.token_file:
            _check_token(settings.resolve(settings.think.token_file), authorization)
        wait = self._rate.take(settings.think.requests_per_minute)
        if wait:
            raise Busy("think.too_many", limit=settings.think.requests_per_minute, seconds=math.ceil(wait))
        return longest_body(settings)

    def read(self, body: bytes) -> Request:
        """The request in a body of JSON. Raises BadInput that names what is wrong with it."""
        return checked(_values(body), self._settings().think.max_characters)

    def ask(self, request: Request, model: str | None = None, over: Callable[[], None] = lambda: None) -> Reply:
        """Begin the answer; its thread calls `over` when it has ended.

        model: "original", the id of a run, or "" for the newest finished one; None as the settings say.
        Raises EngineError: "think.line_full", and why no model can answer now.
        """
        settings = self._settings()
        reply = Reply(self._audit, request.prompt, lambda: over() if reply.told.state == "done" else None)
        self._place(reply, settings.think.waiting)
        try:
            voice = self._voice(settings.think.model if model is None else model, settings)
            system = voice.system if request.system is None else request.system
            self._speaker.ask(voice, Question(request.prompt, request.history, system, settings.chat), reply)
        except BaseException:
            with self._placing:
                self._under_way.remove(reply)
            raise
        return reply

    @staticmethod
    def result(reply: Reply) -> dict[str, Any]:
        """What leaves the program once `reply` is over: only what may be shown.

        label is None when no class was named, confidence None when none was given; `final` then says that nothing can be
        shown, or holds what the model wrote without its fields. Raises EngineError when the answer could not be ended.
        """
        told = reply.told
        if told.error:
            raise EngineError(told.error, **told.facts)
        if told.ended == "stopped":
            raise EngineError("think.stopped")
        return {
            "final": told.text, "label": told.label or None, "confidence": told.confidence, "reason": told.reason,
            "audit_id": told.audit,
        }  # fmt: skip

    def _place(self, reply: Reply, waiting: int) -> None:
        """Give the reply a place. One that has not begun waits; when none has begun the first one is about to."""
        with self._placing:
            self._under_way = [other for other in self._under_way if other.told.state != "done"]
            not_begun = sum(other.told.state == "waiting" for other in self._under_way)
            if not_begun >= waiting + (not_begun == len(self._under_way)):
                raise Busy("think.line_full", waiting=not_begun, seconds=1)
            self._under_way.append(reply)

    def _voice(self, model: str, settings: Settings) -> Voice:
        if not model:
            newest = next((run.id for run in runs.all_runs(self._runs_folder) if run.finished), "")
            model = newest or ORIGINAL
        return resolve(model if model == ORIGINAL else RUN + model.removeprefix(RUN), self._runs_folder, settings)


def longest_body(settings: Settings) -> int:
    """Bytes: every character as JSON's longest escape (a surrogate pair), and the names around the texts."""
    return 12 * settings.think.max_characters + 16_384


def checked(values: dict[str, Any], limit: int) -> Request:
    """The request that `values` are. Raises BadInput; limit: characters of all texts together."""
    if unknown := [str(name)[:40] for name in values if name not in FIELDS]:
        raise BadInput("think.unknown_field", fields=", ".join(unknown), known=", ".join(FIELDS))
    if "prompt" not in values:
        raise BadInput("think.no_prompt")
    texts = {name: values[name] for name in ("prompt", "system") if name in values}
    history = values.get("history", [])
    if not isinstance(history, list):
        raise BadInput("think.bad_history", turn="")
    for number, turn in enumerate(history, start=1):
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            raise BadInput("think.bad_history", turn=number)
        if turn["role"] not in ROLES:
            raise BadInput("chat.unknown_role", role=str(turn["role"])[:40], roles=", ".join(ROLES))
        texts[f"history {number}"] = turn["content"]
    for field, text in texts.items():
        if not isinstance(text, str):
            raise BadInput("think.not_text", field=field)
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
            raise BadInput("data.broken_letter", field=field)
    if not values["prompt"].strip():
        raise BadInput("think.no_prompt")
    request = Request(values["prompt"], tuple(dict(turn) for turn in history), values.get("system"))
    if request.characters > limit:
        raise BadInput("think.too_long", length=request.characters, limit=limit)
    return request


def _values(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise BadInput("think.not_json", reason=reason) from None
    if not isinstance(values, dict):
        raise BadInput("think.not_json", reason=type(values).__name__)
    return values


def _check_token(file: Path, authorization: str) -> None:
    """Read at each request, so that it can be changed; without a token in the file nobody is let in."""
    try:
        with file.open("rb") as stream:
            wanted = stream.readline(LONGEST_TOKEN).removeprefix(b"\xef\xbb\xbf").strip()
    except OSError:
        wanted = b""
    if not wanted:
        raise EngineError("think.no_token", where=str(file))
    scheme, _, given = authorization.partition(" ")
    same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), wanted)  # headers are bytes, read as Latin-1
    if not same or scheme.lower() != "bearer":
        raise BadInput("think.unauthorized")


class Rate:
    """Counts what was let in during the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def take(self, limit: int) -> float:
        """Let one in (0.0), or give the seconds until there is room for it."""
        with self._lock:
            now = self._clock()
            while self._taken and now - self._taken[0] >= MINUTE:
                self._taken.popleft()
            if len(self._taken) < limit:
                self._taken.append(now)
                return 0.0
            return self._taken[len(self._taken) - limit] + MINUTE - now
