"""A GGUF file becomes a model of Ollama: upload, create, look, ask, and only then the name.

The model is made as NAME:candidate-<hash>. Ollama must show for it what was sent, and it must answer a question with a
class; then the asked name is given to it and the candidate's name deleted. Until then whatever had the name keeps it.
A push that broke off is repeated from the start, but a file that Ollama has is not sent again. The file of a model that
was replaced goes when Ollama starts the next time: it then deletes what no name needs.
https://github.com/ollama/ollama/blob/main/docs/api.md#create-a-model
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from so8t_engine import events as e
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.export.model_card import ModelCard, version_number
from so8t_engine.export.model_name import ModelName
from so8t_engine.export.question import answer_of
from so8t_engine.export.upload import disk_full, upload
from so8t_engine.ollama import Lines, Ollama, ended_by

OLDEST = (0, 5, 5)
"""The first version whose /api/create takes `files` (https://github.com/ollama/ollama/releases/tag/v0.5.5)."""

_VERDICTS = ("push.shown_differs", "push.no_class")
"""The check has failed and would fail again: the candidate is of no use."""


def push(
    address: str, name: str, gguf: Path, sha256: str, card: ModelCard, consent: bool, cancel
) -> Iterator[e.Event]:  # fmt: skip
    """Bring a finished GGUF file into the Ollama at `address`, under `name`.

    Args:
        address: that of the settings (`ollama.address`); nobody else is asked, by no proxy and no redirect.
        name: [[host/]namespace/]model[:tag]; what has it already is replaced, after the check.
        sha256: of the file, in hex.
        consent: whether a person has agreed that clients of Ollama can see the thinking (`model_card.raw_thinking`).
        cancel: anything with `is_set()`. A stopped push leaves the name as it was.

    Yields:
        UploadProgressed, ModelCreated, ModelPushed.

    Raises:
        BadInput: "push.no_consent", "push.bad_name", "push.reserved_tag"; nothing was sent.
        EngineError: "push.too_old", "push.create_failed", "push.create_unfinished", "push.shown_differs",
            "push.no_class", those of `upload`, and those of so8t_engine.ollama. Until the check has been passed the
            name is as it was. Where the check could not be made, the candidate stays: its file is not sent again.
    """
    if not consent:
        raise BadInput("push.no_consent", name=name[:100])
    asked = ModelName.parse(name)
    candidate = str(asked.candidate(sha256))
    ollama, digest, begun = Ollama(address), f"sha256:{sha256}", time.monotonic()
    version = _new_enough(ollama)
    yield from _bring(ollama, gguf, digest, cancel)
    if cancel.is_set():
        return
    answer = None
    try:
        _create(address, candidate, digest, card, cancel)
        if not cancel.is_set():
            _check_shown(ollama, candidate, digest, card)
            yield e.ModelCreated(candidate=candidate)
            answer = answer_of(address, candidate, cancel)
    except EngineError as error:
        if error.code in _VERDICTS:
            _forget(ollama, candidate)
        raise
    if answer is None or cancel.is_set():
        _forget(ollama, candidate)
        return
    ollama.copy(candidate, str(asked))
    _check_shown(ollama, str(asked), digest, card)
    ollama.delete(candidate)
    yield e.ModelPushed(
        name=str(asked), version=version, label=answer.label, thinking=answer.thinking, seconds=time.monotonic() - begun
    )  # fmt: skip


def stands(address: str, name: str, sha256: str) -> bool:
    """Whether the Ollama at `address` has a model of that name, made of the file with that hash.

    Raises EngineError, those of so8t_engine.ollama.
    """
    try:
        shown = Ollama(address).show(name)
    except EngineError as error:
        if error.code == "ollama.refused" and error.facts["status"] == "404":
            return False
        raise
    return _made_of(shown, f"sha256:{sha256}")


def _made_of(shown: dict[str, Any], digest: str) -> bool:
    """Whether the weights of what Ollama shows are that file: its line FROM ends in blobs/sha256-…"""
    return digest.replace(":", "-") in str(shown.get("modelfile") or "")


def _new_enough(ollama: Ollama) -> str:
    version = ollama.version()
    number = version_number(version)
    if number is None or number < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EngineError("push.too_old", where=ollama.address, version=version[:40], oldest=oldest)
    return version


def _bring(ollama: Ollama, gguf: Path, digest: str, cancel) -> Iterator[e.UploadProgressed]:
    """Send the file, unless Ollama has it."""
    if not ollama.has_blob(digest):
        yield from upload(ollama.address, gguf, digest, cancel)
        return
    try:
        size = gguf.stat().st_size
    except OSError as error:
        raise EngineError("push.unreadable", where=str(gguf), reason=error.strerror) from None
    yield e.UploadProgressed(file=gguf.name, sent=size, total=size, seconds=0.0)


def _create(address: str, name: str, digest: str, card: ModelCard, cancel) -> None:
    """Have Ollama make the model. It refuses with a status or, once it has begun, with an error line at status 200."""
    body = {
        "model": name, "files": {"model.gguf": digest}, "template": card.template, "system": card.system,
        "parameters": card.parameters, "license": card.license, "stream": True,
    }  # fmt: skip
    lines = Lines(address, "/api/create", {key: value for key, value in body.items() if value != ""})
    status = ""
    try:
        with ended_by(cancel, lines.close):
            for said in lines:
                status = str(said.get("status"))[:200]
    except EngineError as error:
        if error.code != "ollama.refused" and not lines.failure:
            raise
        reason = error.facts["reason"]
        code = "push.disk_full" if disk_full(lines.failure or reason) else "push.create_failed"
        raise EngineError(code, where=address, reason=reason) from None
    if status != "success" and not cancel.is_set():
        raise EngineError("push.create_unfinished", where=address, status=status)


def _check_shown(ollama: Ollama, name: str, digest: str, card: ModelCard) -> None:
    """Compare what Ollama shows with what was sent. Raises EngineError "push.shown_differs"."""
    shown = ollama.show(name)
    found = {key: str(shown.get(key) or "") for key in ("template", "system", "license", "parameters")}
    differing = [key for key in ("template", "system", "license") if found[key] != getattr(card, key)]
    held = _parameters(found["parameters"])
    sent = {key: value if isinstance(value, list) else [value] for key, value in card.parameters.items()}
    if any(held.get(key) != value for key, value in sent.items()):
        differing.append("parameters")
    if not _made_of(shown, digest):
        differing.append("weights")
    if differing:
        raise EngineError("push.shown_differs", where=ollama.address, name=name, what=", ".join(differing))


def _parameters(shown: str) -> dict[str, list[Any]]:
    """Of lines such as `stop    "<|end|>"`, one for each value, in Go's spelling."""
    found: dict[str, list[Any]] = {}
    for line in shown.splitlines():
        key, _, value = line.strip().partition(" ")
        try:
            read = json.loads(value)
        except ValueError:
            read = value.strip()
        found.setdefault(key, []).append(read)
    return found


def _forget(ollama: Ollama, candidate: str) -> None:
    """Delete the candidate; that this fails is no news beside what has gone wrong before."""
    with suppress(EngineError):
        ollama.delete(candidate)
