"""An Ollama model as a side of the chat: its text goes through the same Reply as that of our own models."""

import threading
from collections.abc import Callable

from so8t_engine.answer.format import neutralise
from so8t_engine.chat.reply import Reply
from so8t_engine.chat.sides import Guest
from so8t_engine.chat.speaker import Question
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.ollama import Ollama, Words

CONTEXT = 4096
"""Tokens of prompt and answer: beyond it llama.cpp would use Phi-3's long rope factors for every prompt."""


def ask(guest: Guest, question: Question, reply: Reply) -> Callable[[], None]:
    """Have an Ollama model answer into `reply` on a thread of its own; returns at once.

    What it gives back ends the connection, from any thread: a stop then need not wait for the next token. Whatever
    goes wrong ends in `reply.fail`.
    """
    ollama = Ollama(guest.address)
    words = ollama.chat(guest.name, _messages(question), _options(question))
    threading.Thread(
        target=_answer, args=(ollama, words, guest, reply), name="ollama-answer", daemon=True
    ).start()  # fmt: skip
    return words.close


def _answer(ollama: Ollama, words: Words, guest: Guest, reply: Reply) -> None:
    try:
        reply.end(_spoken(ollama, words, guest, reply))
    except EngineError as error:
        reply.fail(error)
    except Exception as error:  # a fault of ours: the page must not wait for ever
        reply.fail(EngineError("chat.unexpected", reason=type(error).__name__))
    finally:
        words.close()


def _spoken(ollama: Ollama, words: Words, guest: Guest, reply: Reply) -> str:
    """Feed the whole answer; why it ended, in the words of `reply.end`."""
    digest = dict(ollama.models()).get(guest.name)
    if digest is None:
        raise BadInput("chat.unknown_side", where=guest.address, key=guest.key)
    reply.begin(guest.name, digest)
    for piece in words:
        reply.feed(piece)
        if reply.over:
            break
    if reply.stopping:
        return "stopped"
    return "length" if words.ended == "length" else "complete"


def _messages(question: Question) -> list[dict[str, str]]:
    """The conversation as Ollama takes it; our section tags are made harmless in all that may have been typed."""
    system = [{"role": "system", "content": question.system}] if question.system.strip() else []
    said = [*question.history, {"role": "user", "content": question.prompt}]
    return system + [{"role": turn["role"], "content": neutralise(turn["content"])} for turn in said]


def _options(question: Question) -> dict[str, float | int]:
    sampling = question.sampling
    return {
        "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
        "num_predict": sampling.max_tokens, "num_ctx": CONTEXT,
    }  # fmt: skip
