"""A conversation with two sides: what was asked and what each side has shown, one file each, written whole.

    runs/chat/
        <id>.json       conversations with at least one finished turn
        trash/          deleted ones
        votes.jsonl     see arena
"""

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from so8t_engine import runs
from so8t_engine.answer.hidden import NO_ANSWER
from so8t_engine.chat.reply import Told
from so8t_engine.disk import retried, sync_folder, write_whole
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.record import Record
from so8t_engine.settings import ChatSettings

TITLE_CHARACTERS = 60

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


class Side(Record):
    """Who answers in a column: key and name as of `sides`."""

    key: str
    name: str


class Turn(Record):
    """One prompt and the finished answers of both columns, left and right as shown.

    tries: how often it was asked before; each try draws with the next seed.
    """

    prompt: str
    answers: tuple[Told, Told]
    tries: int = 0


class Conversation(Record):
    """Everything that a stored conversation holds; no hidden text.

    created: seconds since 1970. sides: left and right as shown; `swapped` when the shuffle of a blind one has turned
    round what was chosen. system: a text for both sides, None for each model's own. tuned: whether a person has set
    system or sampling, which a new conversation then takes over. vote: "" until it is given.
    """

    id: str
    created: float
    sides: tuple[Side, Side]
    blind: bool = False
    swapped: bool = False
    vote: str = ""
    system: str | None = None
    sampling: ChatSettings = ChatSettings()
    tuned: bool = False
    turns: tuple[Turn, ...] = ()

    @property
    def veiled(self) -> bool:
        """Whether nobody may know yet which side is which."""
        return self.blind and not self.vote

    @property
    def chosen(self) -> tuple[str, str]:
        """The keys in the order in which they were chosen."""
        left, right = (side.key for side in self.sides)
        return (right, left) if self.swapped else (left, right)

    @property
    def title(self) -> str:
        """The beginning of the first prompt."""
        line = " ".join(self.turns[0].prompt.split()) if self.turns else ""
        return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"

    def history(self, column: int) -> tuple[dict[str, str], ...]:
        """What the model of a column is told of the earlier turns: prompts, and what it has shown itself.

        A turn in which it has shown nothing is left out.
        """
        said: list[dict[str, str]] = []
        for turn in self.turns:
            told = turn.answers[column]
            if told.ended != "failed" and told.text.strip() not in ("", NO_ANSWER):
                said.append({"role": "user", "content": turn.prompt})
                said.append({"role": "assistant", "content": told.text})
        return tuple(said)


@dataclass(frozen=True)
class Summary:
    """A line of the list of conversations. created: seconds since 1970; turns: how many."""

    id: str
    title: str
    created: float
    turns: int
    blind: bool


def begin(sides: tuple[Side, Side], **values: Any) -> Conversation:
    """A new conversation without turns."""
    return Conversation(id=runs.new_id(), created=time.time(), sides=sides, **values)


def save(folder: Path, conversation: Conversation) -> None:
    """Write the file whole: it holds this or what it held before. Raises EngineError "chat.unwritten"."""
    file = folder / f"{conversation.id}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, conversation.model_dump_json(indent=1).encode("utf-8"))
    except (OSError, EngineError) as error:
        reason = error.facts.get("reason", error.code) if isinstance(error, EngineError) else error.strerror or error
        raise EngineError("chat.unwritten", where=str(file), reason=reason) from error


def load(folder: Path, id: str) -> Conversation:
    """A stored conversation. Raises BadInput for one that is not there, damaged, or no conversation."""
    file = _file(folder, id)
    try:
        return _read(file)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput("chat.unknown_conversation", where=str(file), name=id) from error


def stored(folder: Path) -> list[Summary]:
    """Every conversation in the folder, newest first. What can't be read is passed over and stays where it is."""
    found = []
    for file in folder.glob("*.json") if folder.is_dir() else ():
        with suppress(OSError, ValueError, RecursionError):
            status = file.stat()
            found.append(_summary(file, status.st_mtime_ns, status.st_size))
    return sorted(found, key=lambda summary: summary.created, reverse=True)


def trash(folder: Path, id: str) -> None:
    """Put a conversation aside, from where `restore` brings it back. Raises BadInput when there is none."""
    _move(folder, folder / "trash", id)


def restore(folder: Path, id: str) -> None:
    """Bring a conversation back. Raises BadInput when it is not in the trash."""
    _move(folder / "trash", folder, id)


def _move(source: Path, target: Path, id: str) -> None:
    old, new = _file(source, id), _file(target, id)
    if not old.is_file():
        raise BadInput("chat.unknown_conversation", where=str(source), name=id)
    try:
        target.mkdir(exist_ok=True)
        retried(lambda: os.replace(old, new), old)
        sync_folder(target)
    except OSError as error:
        raise EngineError("chat.unwritten", where=str(old), reason=error.strerror or error) from error


def _file(folder: Path, id: str) -> Path:
    if not _ID.fullmatch(id):
        raise BadInput("chat.unknown_conversation", where=str(folder), name=id[:40])
    return folder / f"{id}.json"


def _read(file: Path) -> Conversation:
    """Raises ValueError for what is no conversation of this name."""
    found = Conversation.model_validate(json.loads(file.read_bytes()))
    if found.id != file.stem or not _ID.fullmatch(found.id):
        raise ValueError(file.name)
    return found


@lru_cache(10_000)
def _summary(file: Path, _written: int, _bytes: int) -> Summary:
    found = _read(file)
    return Summary(found.id, found.title, found.created, len(found.turns), found.blind)
