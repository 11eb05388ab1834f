"""A conversation as the page gets it: plain values, and before the vote nothing that tells which side is which."""

from typing import Any

from so8t_engine.chat.arena import veil
from so8t_engine.chat.conversation import Conversation
from so8t_engine.chat.reply import Told
from so8t_engine.errors import EngineError


def picture(view: Conversation) -> dict[str, Any]:
    """Everything that a page shows of a conversation at rest; `Desk` adds the version and what is under way."""
    sides = [{"key": "", "name": ""} if view.veiled else side.model_dump() for side in view.sides]
    return {
        "conversation": view.id,
        "blind": view.blind,
        "revealed": bool(view.vote),
        "speaking": False,
        "sides": sides,
        "system": view.system,
        "sampling": view.sampling.model_dump(),
        "vote": view.vote or None,
        "turns": [turn_picture(turn.prompt, turn.answers, view.veiled) for turn in view.turns],
    }


def turn_picture(prompt: str, answers: tuple[Told, Told], veiled: bool) -> dict[str, Any]:
    """One turn, finished or under way."""
    return {"prompt": prompt, "answers": [(veil(told) if veiled else told).to_json() for told in answers]}


def refusal_picture(refusal: EngineError | None) -> dict[str, Any] | None:
    """Why nothing can be asked now."""
    return refusal and {"code": refusal.code, "where": refusal.where, "facts": refusal.facts}
