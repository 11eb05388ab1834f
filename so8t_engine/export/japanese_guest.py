"""A model in Ollama that takes the Japanese test.

It is asked as the chat asks: Ollama leaves the thinking in the text (`think` false), so that our filter sees the whole
answer. https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion
"""

import time
from typing import Any

from so8t_engine.answer.format import HIDDEN_SECTIONS
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.export.japanese_answer import Hearing, NotMeasured, Spoken
from so8t_engine.export.japanese_prompts import Prompt
from so8t_engine.ollama import Ollama, Words, ended_by

OLLAMA = "ollama:"
"""A key is this and the model's name."""

CONTEXT = 4096
"""Tokens of prompt and answer: beyond it llama.cpp would use Phi-3's long rope factors for every prompt."""


class OllamaCandidate:
    """The model `name` of the Ollama at `address`; an `export.japanese_answer.Candidate`.

    A model whose template names our tags was trained in our format.

    Raises BadInput "japanese.no_such_model", and EngineErrors of so8t_engine.ollama.
    """

    def __init__(self, address: str, name: str, limit: int, seed: int) -> None:
        self._ollama = Ollama(address)
        self.name, self.weights = self._listed(name)
        self.key, self.run, self.model = OLLAMA + self.name, "ollama", self.name
        self._options = {
            "temperature": 0, "seed": seed, "num_predict": limit, "num_ctx": CONTEXT,
            "repeat_penalty": 1.0,  # Ollama's 1.1 would choose other words than the likeliest ones
        }  # fmt: skip
        self._plain = False
        self._facts: dict[str, Any] = {}

    def load(self) -> None:
        """Ask Ollama about the model; Ollama itself loads it for the first answer."""
        shown = self._ollama.show(self.name)
        template, details = str(shown.get("template") or ""), shown.get("details")
        self._plain = not any(f"<{section}>" in template for section in HIDDEN_SECTIONS)
        details = details if isinstance(details, dict) else {}
        self._facts = {
            "kind": "ollama", "ollama": self._ollama.version()[:40],
            "quantization": str(details.get("quantization_level") or "")[:40] or None, "plain": self._plain,
            "system": bool(shown.get("system")),
        }  # fmt: skip

    def ask(self, prompt: Prompt, cancel) -> Spoken | None:
        """See Candidate. What Ollama could not answer is NotMeasured, as long as Ollama itself is still there."""
        words = self._ollama.chat(self.name, prompt.messages, self._options)
        begun = time.monotonic()
        try:
            with ended_by(cancel, words.close):
                hearing = Hearing(self._plain)
                for piece in words:
                    hearing.feed(piece)
        except EngineError as error:
            if cancel.is_set():
                return None
            self._still_there(error)
            raise NotMeasured(error) from None
        if cancel.is_set():
            return None
        seconds = max(0.0, time.monotonic() - begun - (words.load_seconds or 0.0))
        ended = "length" if words.ended == "length" else "stop"
        return Spoken(hearing.end(), words.tokens, seconds, _pace(words), ended)

    def check(self) -> None:
        """Raises EngineError "japanese.weights_changed" when the name stands for another model by now."""
        if self._listed(self.name)[1] != self.weights:
            raise EngineError("japanese.weights_changed", where=self.name)

    def facts(self) -> dict[str, object]:
        """See Candidate."""
        return self._facts

    def close(self) -> None:
        """There is nothing to free: Ollama unloads its models by itself."""

    def _listed(self, name: str) -> tuple[str, str]:
        """(whole name, digest): without a tag "latest" is meant, and case does not count."""
        models = self._ollama.models()
        wanted = {name.lower(), f"{name}:latest".lower()}
        for known, digest in models:
            if known.lower() in wanted:
                return known, digest
        known = ", ".join(known for known, _ in models) or "-"
        raise BadInput("japanese.no_such_model", where=self._ollama.address, name=name[:100], known=known[:400])

    def _still_there(self, error: EngineError) -> None:
        """Raises an error that every further question would meet too."""
        refused = error.code == "ollama.refused" and error.facts["status"].startswith("4")
        if error.code == "ollama.silent" or refused:
            raise error
        self._ollama.version()


def _pace(words: Words) -> tuple[int, float] | None:
    return (words.tokens, words.write_seconds) if words.tokens and words.write_seconds else None
