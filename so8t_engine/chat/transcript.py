"""A conversation as a text to keep: only what was shown."""

import json
import re
import time
from typing import Any

from so8t_engine.chat.conversation import Conversation
from so8t_engine.chat.reply import Told
from so8t_engine.errors import BadInput

LETTERS = ("A", "B")
"""The names of the sides before the vote."""


def export(conversation: Conversation, form: str) -> tuple[str, str]:
    """(file name, text) as "md" or "json". Before the vote a blind one names its sides A and B and gives no timings."""
    if form not in ("md", "json"):
        raise BadInput("chat.bad_form", form=form[:40])
    content = _content(conversation)
    text = _markdown(content) if form == "md" else json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    return f"chat-{conversation.id}.{form}", text


def _content(conversation: Conversation) -> dict[str, Any]:
    names = LETTERS if conversation.veiled else tuple(side.name for side in conversation.sides)
    return {
        "id": conversation.id,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(conversation.created)),
        "blind": conversation.blind,
        "vote": conversation.vote or None,
        "models": list(names),
        "system": conversation.system,
        "sampling": conversation.sampling.model_dump(),
        "turns": [
            {
                "prompt": turn.prompt,
                "answers": [
                    _answer(told, letter if conversation.veiled else told.model or name, conversation.veiled)
                    for told, name, letter in zip(turn.answers, names, LETTERS, strict=True)
                ],
            }
            for turn in conversation.turns
        ],
    }


def _answer(told: Told, name: str, veiled: bool) -> dict[str, Any]:
    content = {
        "model": name, "text": told.text, "label": told.label, "confidence": told.confidence, "reason": told.reason,
        "answer": told.answer, "ended": told.ended,
    }  # fmt: skip
    if not veiled:
        timings = ("first_token", "first_shown", "tokens", "tokens_per_second")
        content |= {timing: getattr(told, timing) for timing in timings}
    return content


def _markdown(content: dict[str, Any]) -> str:
    """Texts of people and models stand in fences: they are shown as they are, whatever they hold."""
    sampling = " · ".join(f"{name} {value}" for name, value in content["sampling"].items())
    lines = [f"# {' | '.join(content['models'])}", "", f"{content['created']} · {sampling}", ""]
    if content["vote"]:
        lines += [f"vote: {content['vote']}", ""]
    if content["system"] is not None:
        lines += ["## system", "", *_fenced(content["system"]), ""]
    for number, turn in enumerate(content["turns"], 1):
        lines += [f"## {number}", "", *_fenced(turn["prompt"]), ""]
        for answer in turn["answers"]:
            lines += [f"### {answer['model']}", "", " · ".join(_facts(answer)), "", *_fenced(answer["text"]), ""]
    return "\n".join(lines)


def _facts(answer: dict[str, Any]) -> list[str]:
    facts = [answer["label"] or "—"]
    if answer["confidence"] is not None:
        facts.append(f"{answer['confidence']:.2f}")
    facts.append(answer["ended"])
    for name, unit in (("first_token", "s"), ("first_shown", "s"), ("tokens", ""), ("tokens_per_second", "")):
        value = answer.get(name)
        if value is not None:
            facts.append(f"{name} {value:.2f} {unit}".rstrip() if isinstance(value, float) else f"{name} {value}")
    return facts


def _fenced(text: str) -> list[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]
