"""The desk of the chat: one conversation on view, at most one question at a time, both sides answering at once.

Everything a page shows is in `picture`. Loads no torch: the speaker does, with the first question.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from so8t_engine import config, runs
from so8t_engine.audit import Audit
from so8t_engine.chat import arena, conversation, sides, transcript
from so8t_engine.chat.conversation import Conversation, Side, Turn
from so8t_engine.chat.picture import picture, refusal_picture, turn_picture
from so8t_engine.chat.round import Round
from so8t_engine.chat.sides import Guest
from so8t_engine.chat.speaker import Speaker
from so8t_engine.errors import BadInput, Busy, EngineError, SettingsError
from so8t_engine.settings import Settings
from so8t_engine.voice import Voice

LONGEST_TEXT = 32_000
"""Characters of a prompt, and of a system text."""

LOOK_SECONDS = 1.0
"""How often `wait` looks whether asking has become possible or impossible."""


class Desk:
    """The chat of one runs folder. Methods may be called from any thread.

    While answers are under way everything but `picture`, `wait`, `stop`, `tune`, `choices` and `export` raises Busy.

    Args:
        runs_folder: where runs lie; conversations and votes are kept in its `chat`.
        settings: gives the settings of now: the base model of "original", the first sampling, Ollama's address. While
            it raises SettingsError nothing can be asked, but everything can be looked at.
    """

    def __init__(self, runs_folder: Path, settings: Callable[[], Settings], speaker: Speaker, audit: Audit) -> None:
        self._root, self._folder = runs_folder, runs.chat_folder(runs_folder)
        self._settings, self._speaker, self._audit = settings, speaker, audit
        self._sound = Settings()
        self._commands = threading.RLock()  # one wish of a person at a time; never taken by a thread that answers
        self._changed = threading.Condition()  # guards what follows; nobody is called while it is held
        self._view: Conversation | None = None
        self._round: Round | None = None
        self._unstored: EngineError | None = None
        self._picture: dict[str, Any] = {"version": 0}
        self._past: list[dict[str, Any]] = []

    def picture(self) -> dict[str, Any]:
        """What is on view now, JSON-ready; nobody may change it. The newest conversation after a start."""
        self._opened()
        if self._round is None:
            refusal = self._refusal()
            with self._changed:
                if self._round is None and refusal != self._picture["refusal"]:
                    self._publish({**self._picture, "refusal": refusal})
        return self._picture

    def wait(self, version: int, seconds: float) -> dict[str, Any]:
        """The picture as soon as its version is another one, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            shown = self.picture()
            left = deadline - time.monotonic()
            if shown["version"] != version or left <= 0:
                return shown
            with self._changed:
                self._changed.wait_for(lambda: self._picture["version"] != version, min(left, LOOK_SECONDS))

    def ask(self, prompt: str) -> None:
        """Ask both sides; returns when both are at it. After a vote this begins a new blind conversation."""
        with self._commands:
            view = self._quiet()
            prompt = _prompt(prompt)
            self._start(self._begun(view) if view.vote else view, prompt, 0)

    def regenerate(self) -> None:
        """Ask the last prompt again, drawing with the next seed; its answers are replaced."""
        with self._commands:
            view, last = self._without_last()
            self._start(view, last.prompt, last.tries + 1)

    def edit(self, prompt: str) -> None:
        """Replace the last turn by another prompt."""
        with self._commands:
            view, _ = self._without_last()
            self._start(view, _prompt(prompt), 0)

    def stop(self) -> None:
        """End the answers under way; what was shown of them stays."""
        present = self._round
        if present:
            present.stop()

    def choose(self, left: str, right: str) -> None:
        """Who answers from now on; a new conversation begins when there are turns."""
        with self._commands:
            view = self._quiet()
            settings = self._settings()
            pair = [sides.side(key, self._root, settings) for key in (left, right)]
            for one in pair:
                if isinstance(one, Guest):
                    sides.check_listed(one)
            if view.chosen != (left, right):
                self._put(self._new((left, right), view.blind, view))

    def tune(self, *, system: str | None, sampling: dict[str, Any]) -> None:
        """How the next prompts are asked; `system` None leaves each model its own. Raises SettingsError."""
        with self._commands:
            present = self._opened().sampling.model_dump()
            values = {f"chat.{name}": value for name, value in (present | sampling).items()}
            tuned = config.from_values(values, where="chat").chat
            system = None if system is None else _text(system, "system")
            with self._changed:
                update = {"system": system, "sampling": tuned, "tuned": True}
                self._view = self._view.model_copy(update=update)
                self._show()

    def set_blind(self, on: bool) -> None:
        """Hide or show who answers; a new conversation begins when there are turns."""
        with self._commands:
            view = self._quiet()
            if view.blind != on:
                self._put(self._new(view.chosen, on, view))

    def vote(self, choice: str) -> None:
        """Give the one vote of a blind conversation, "left", "right", "tie" or "bad", and reveal the sides."""
        with self._commands:
            view = self._quiet()
            arena.vote(self._votes, view, choice)
            voted = view.model_copy(update={"vote": choice})
            self._put(voted, self._stored(voted))

    def new(self) -> None:
        """Begin a conversation between the same sides."""
        with self._commands:
            view = self._quiet()
            if view.turns:
                self._put(self._begun(view))

    def open(self, id: str) -> None:
        """Put a stored conversation on view."""
        with self._commands:
            view = self._quiet()
            if view.id != id:
                self._put(self._loaded(id))

    def delete(self, id: str) -> None:
        """Put a conversation into the trash; a new one begins when it was on view."""
        with self._commands:
            view = self._quiet()
            conversation.trash(self._folder, id)
            if view.id == id:
                self._put(self._begun(view))

    def restore(self, id: str) -> None:
        """Bring a conversation back from the trash; it comes on view again unless another one has begun."""
        with self._commands:
            view = self._quiet()
            conversation.restore(self._folder, id)
            if not view.turns:
                self._put(self._loaded(id))

    def choices(self) -> dict[str, Any]:
        """{"sides": who can answer, "conversations": newest first, "results": of the votes}; see sides and arena."""
        stored = [
            {"id": one.id, "title": one.title, "created": one.created, "turns": one.turns, "blind": one.blind}
            for one in conversation.stored(self._folder)
        ]
        results = arena.results(arena.votes(self._votes))
        return {"sides": sides.choices(self._root, self._known()), "conversations": stored, "results": results}

    def veiled_since(self) -> float | None:
        """When the blind conversation on view began that awaits its vote; None when none does.

        Until the vote nothing that tells of an answer since then may name its model.
        """
        view = self._view
        return view.created if view and view.veiled else None

    def export(self, id: str, form: str) -> tuple[str, str]:
        """(file name, text) of a conversation as "md" or "json": only what was shown."""
        view = self._opened()
        return transcript.export(view if view.id == id else self._loaded(id), form)

    @property
    def _votes(self) -> Path:
        return self._folder / "votes.jsonl"

    def _opened(self) -> Conversation:
        """The conversation on view; the first time the newest one that was stored."""
        if self._view is None:
            with self._commands:
                if self._view is None:
                    stored = conversation.stored(self._folder)
                    chosen = sides.defaults(self._root, self._known()) if not stored else None
                    self._put(self._loaded(stored[0].id) if chosen is None else self._new(chosen, False))
        return self._view

    def _known(self) -> Settings:
        """The settings of now; while those have faults the last that had none."""
        with suppress(SettingsError):
            self._sound = self._settings()
        return self._sound

    def _loaded(self, id: str) -> Conversation:
        """A stored conversation, with a vote that was given but could not be stored in it any more."""
        found = conversation.load(self._folder, id)
        given = {vote.conversation: vote.choice for vote in arena.votes(self._votes)} if found.veiled else {}
        return found.model_copy(update={"vote": given.get(id, found.vote)})

    def _begun(self, view: Conversation) -> Conversation:
        """A new conversation after `view`."""
        return self._new(view.chosen, view.blind, view)

    def _new(self, chosen: tuple[str, str], blind: bool, before: Conversation | None = None) -> Conversation:
        """A conversation without turns; the sides of a blind one are shuffled."""
        swapped = blind and arena.swapped()
        left, right = (Side(key=key, name=sides.name_of(key, self._root)) for key in chosen)
        if before and before.tuned:
            values = {"system": before.system, "sampling": before.sampling, "tuned": True}
        else:
            values = {"sampling": self._known().chat}
        shown = (right, left) if swapped else (left, right)
        return conversation.begin(shown, blind=blind, swapped=swapped, **values)

    def _quiet(self) -> Conversation:
        """The conversation on view. Raises Busy while answers are under way, EngineError while it can't be stored."""
        view = self._opened()
        if self._round:
            raise Busy("chat.speaking")
        if self._unstored:
            self._unstored = self._stored(view)
        if self._unstored:
            raise self._unstored
        return view

    def _without_last(self) -> tuple[Conversation, Turn]:
        """The conversation before its last turn, and that turn."""
        view = self._quiet()
        if view.vote:
            raise BadInput("chat.voted")
        if not view.turns:
            raise BadInput("chat.nothing_asked")
        return view.model_copy(update={"turns": view.turns[:-1]}), view.turns[-1]

    def _start(self, view: Conversation, prompt: str, tries: int) -> None:
        settings = self._settings()
        pair = tuple(sides.side(side.key, self._root, settings) for side in view.sides)
        if any(isinstance(one, Voice) for one in pair) and (refusal := self._speaker.refusal()):
            raise refusal
        named = tuple(Side(key=one.key, name=one.name) for one in pair)
        view = view.model_copy(update={"sides": named})
        present = Round(view, prompt, tries, self._audit, self._heard)
        with self._changed:
            self._view, self._round = view, present
            self._show()
        present.begin(pair, self._speaker)

    def _heard(self) -> None:
        """Something of an answer under way has changed; called by the threads that answer."""
        with self._changed:
            present = self._round
            if present is None or present.closing:
                return
            present.closing = all(told.state == "done" for told in present.told)
            self._show_last(present)
            if not present.closing:
                return
            view = self._view.model_copy(update={"turns": (*self._view.turns, present.turn())})
        fault = self._stored(view)  # a flush to the disk: nobody who looks has to wait for it
        with self._changed:
            self._view = self._view.model_copy(update={"turns": view.turns})  # it may have been tuned meanwhile
            self._round, self._unstored = None, fault
            self._show()

    def _stored(self, view: Conversation) -> EngineError | None:
        try:
            conversation.save(self._folder, view)
        except EngineError as fault:
            return fault
        except Exception as error:  # the thread that answers must live on
            return EngineError("chat.unwritten", where=str(self._folder), reason=f"{type(error).__name__}: {error}")
        return None

    def _put(self, view: Conversation, fault: EngineError | None = None) -> None:
        with self._changed:
            self._view, self._unstored = view, fault
            self._show()

    def _refusal(self) -> dict[str, Any] | None:
        """Why nothing can be asked now."""
        if self._unstored or all(side.key.startswith(sides.OLLAMA) for side in self._view.sides):
            return refusal_picture(self._unstored)
        return refusal_picture(self._speaker.refusal())

    def _show(self) -> None:
        """Build the picture anew; `_changed` is held."""
        shown = picture(self._view)
        self._past = shown["turns"]
        shown = {**shown, "refusal": self._picture.get("refusal")}
        self._publish(shown if self._round is None else self._with_last(shown, self._round))

    def _show_last(self, present: Round) -> None:
        """Build the turn under way alone: this happens with every token; `_changed` is held."""
        self._publish(self._with_last(self._picture, present))

    def _with_last(self, shown: dict[str, Any], present: Round) -> dict[str, Any]:
        last = turn_picture(present.prompt, present.told, self._view.veiled)
        return {**shown, "speaking": True, "turns": [*self._past, last]}

    def _publish(self, shown: dict[str, Any]) -> None:
        self._picture = {**shown, "version": self._picture["version"] + 1}
        self._changed.notify_all()


def _prompt(text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise BadInput("chat.empty")
    return _text(text, "prompt")


def _text(text: str, field: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise BadInput("chat.too_long", length=f"{len(text):,}", limit=f"{LONGEST_TEXT:,}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInput("data.broken_letter", where=field, field=field) from None
    return text
