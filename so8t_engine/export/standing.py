"""Whether an Ollama answers, and what a push to it would mean."""

from dataclasses import dataclass
from typing import Literal

from so8t_engine.export.model_card import raw_thinking, version_number
from so8t_engine.export.ollama import OLDEST
from so8t_engine.ollama import Ollama


@dataclass(frozen=True)
class Standing:
    """version: Ollama's. oldest: the first version that a model can be pushed to; new_enough: whether this one is that.
    thinking: where its clients find the thinking sections (`model_card.raw_thinking`)."""

    version: str
    oldest: str
    new_enough: bool
    thinking: Literal["answer", "asked", "field"]


def standing(address: str) -> Standing:
    """Ask the Ollama at `address`. Raises EngineError, those of so8t_engine.ollama."""
    version = Ollama(address).version()[:40]
    number = version_number(version)
    new_enough = number is not None and number >= OLDEST
    return Standing(version, ".".join(map(str, OLDEST)), new_enough, raw_thinking(version))
