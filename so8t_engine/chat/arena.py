"""Blind rounds: who is which stays hidden until the vote, and what the votes say of each pair of models.

Votes stand in runs/chat/votes.jsonl, one JSON object a line, and are only ever added to.
"""

import json
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from so8t_engine.chat.conversation import Conversation
from so8t_engine.chat.reply import Told
from so8t_engine.disk import retried, sync_folder
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.measure.statistics import sign_test
from so8t_engine.record import Record
from so8t_engine.voice import ORIGINAL

CHOICES = ("left", "right", "tie", "bad")
"""bad: both are."""

SURE = 0.05
"""A pair counts as decided when the sign test's p is below this."""


class Candidate(Record):
    """A side as it was voted on. weights: hash of what answered the last prompt."""

    key: str
    name: str
    weights: str


class Vote(Record):
    """One line of the file. time: seconds since 1970; left and right as shown; prompts: turns before the vote."""

    time: float
    conversation: str
    left: Candidate
    right: Candidate
    choice: Literal["left", "right", "tie", "bad"]
    prompts: int


def swapped() -> bool:
    """The toss that decides whether the sides of a new blind conversation are turned round."""
    return secrets.choice((False, True))


def veil(told: Told) -> Told:
    """What may be known of an answer before the vote: nothing that would tell whose it is, its pace included."""
    return replace(
        told, model="", weights="", first_token=None, first_shown=None, tokens=0, tokens_per_second=None, audit=None,
        error="chat.side_failed" if told.error else "", facts={},
    )  # fmt: skip


def vote(file: Path, conversation: Conversation, choice: str) -> Vote:
    """Store a person's vote on a conversation; on the disk when this returns.

    Raises BadInput unless `choice` is one of CHOICES and both sides have answered the last prompt of a blind
    conversation without a vote, EngineError "chat.unwritten" when the disk refuses.
    """
    if choice not in CHOICES:
        raise BadInput("chat.bad_vote", choice=str(choice)[:40], choices=", ".join(CHOICES))
    if not conversation.blind:
        raise BadInput("chat.not_blind")
    if conversation.vote:
        raise BadInput("chat.voted")
    if not conversation.turns:
        raise BadInput("chat.nothing_asked")
    answers = conversation.turns[-1].answers
    if any(told.ended == "failed" or not told.weights for told in answers):
        raise BadInput("chat.unfair_vote")
    left, right = (
        Candidate(key=side.key, name=told.model or side.name, weights=told.weights)
        for side, told in zip(conversation.sides, answers, strict=True)
    )
    given = Vote(
        time=time.time(), conversation=conversation.id, left=left, right=right, choice=choice,
        prompts=len(conversation.turns),
    )  # fmt: skip
    _append(file, given)
    return given


def votes(file: Path) -> list[Vote]:
    """Every vote, oldest first: the first of each conversation. A line that is no vote is passed over."""
    if not file.exists():
        return []
    found: dict[str, Vote] = {}
    for line in file.read_bytes().splitlines():
        try:
            given = Vote.model_validate(json.loads(line))
        except (ValueError, RecursionError):
            continue  # half a line: the power failed in it
        found.setdefault(given.conversation, given)
    return list(found.values())


def results(given: Iterable[Vote]) -> list[dict[str, Any]]:
    """What the votes say of each pair of weights, the pair with the newest vote first.

    {"left", "right": names; "left_weights", "right_weights"; "wins", "losses": of left; "ties"; "bad": both bad;
    "share": wins / (wins + losses); "low", "high": its exact 95 % interval; "p": of the two-sided sign test;
    "decided": p < 0.05}. share, low, high and p are None where no vote has preferred one.
    The original stands on the right, so that the share is that of what was retrained. A model against itself is left
    out: it says nothing of models.
    """
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    for vote in given:
        if vote.left.weights == vote.right.weights:
            continue
        first, second = sorted((vote.left, vote.right), key=lambda side: (side.key == ORIGINAL, side.weights))
        key = (first.weights, second.weights)
        known = pairs.pop(key, {"wins": 0, "losses": 0, "ties": 0, "bad": 0})
        count = {"tie": "ties", "bad": "bad"}.get(vote.choice)
        if count is None:
            preferred = vote.left if vote.choice == "left" else vote.right
            count = "wins" if preferred is first else "losses"
        known[count] += 1
        pairs[key] = known | {"left": first.name, "right": second.name}
    return [
        {"left_weights": left, "right_weights": right, **known, **_judged(known["wins"], known["losses"])}
        for (left, right), known in reversed(pairs.items())
    ]


def _judged(wins: int, losses: int) -> dict[str, Any]:
    if wins + losses == 0:
        return {"share": None, "low": None, "high": None, "p": None, "decided": False}
    p, share, low, high = sign_test(wins, losses)
    return {"share": share, "low": low, "high": high, "p": p, "decided": p < SURE}


def _append(file: Path, given: Vote) -> None:
    """Add a line of its own, even after half a line, and secure it."""
    line = given.model_dump_json().encode("utf-8") + b"\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with retried(lambda: file.open("a+b"), file) as stream:
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(file.parent)
    except OSError as error:
        raise EngineError("chat.unwritten", where=str(file), reason=error.strerror or error) from error
