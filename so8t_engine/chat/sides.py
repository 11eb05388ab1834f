"""Who can answer: the original model, every run that has an adapter, and what Ollama lists."""

import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from so8t_engine.errors import BadInput, EngineError
from so8t_engine.ollama import Ollama
from so8t_engine.settings import Settings
from so8t_engine.voice import ORIGINAL, RUN, Voice, listed_runs, name_at, resolve, run_of, written

OLLAMA = "ollama:"
"""A key is ORIGINAL, RUN + id, or OLLAMA + name of the model."""

OLLAMA_SECONDS = 0.5
"""How long a list may wait for Ollama."""

FRESH_SECONDS = 5.0
"""How long what Ollama has listed is taken for true."""


@dataclass(frozen=True)
class Guest:
    """A model that Ollama runs. key: "ollama:<name>"; address: where Ollama answers."""

    key: str
    name: str
    address: str


def side(key: str, root: Path, settings: Settings) -> Voice | Guest:
    """Whom a key means; Ollama is not asked. Raises BadInput as `resolve` does."""
    if key.startswith(OLLAMA):
        return Guest(key, key.removeprefix(OLLAMA), settings.ollama.address)
    return resolve(key, root, settings)


def name_of(key: str, root: Path) -> str:
    """What a person reads for a key. Reads no weights; what is not there any more keeps the name in its key."""
    run = run_of(key, root)
    if run:
        return next((name_at(run, step) for step, *_ in written(run)), run.id)
    return key.removeprefix(RUN).removeprefix(OLLAMA)


def check_listed(guest: Guest) -> None:
    """Raises BadInput when Ollama does not list this model, EngineError when it does not answer."""
    if guest.name not in dict(Ollama(guest.address).models(OLLAMA_SECONDS)):
        raise BadInput("chat.unknown_side", where=guest.address, key=guest.key[:80])


def choices(root: Path, settings: Settings) -> list[dict[str, str]]:
    """{"key", "name", "detail"} of everything that can answer: original, runs newest first, Ollama's models.

    detail: the base model's folder name; of an Ollama model the beginning of its digest.
    """
    found = [{"key": ORIGINAL, "name": ORIGINAL, "detail": settings.resolve(settings.base_model).name}]
    for run, step, own in listed_runs(root):
        base = own.resolve(own.base_model).name
        found.append({"key": RUN + run.id, "name": name_at(run, step), "detail": base})
    for name, digest in _listing(settings.ollama.address).models():
        found.append({"key": OLLAMA + name, "name": name, "detail": digest.removeprefix("sha256:")[:12]})
    return found


def defaults(root: Path, settings: Settings) -> tuple[str, str]:
    """Keys of left and right at the first start: the original and, of the runs on its base, the newest finished one.

    Where none has finished the newest with an adapter; where there is none the original once more.
    """
    base = settings.resolve(settings.base_model)
    fitting = [
        (run, step) for run, step, own in listed_runs(root)
        if own.resolve(own.base_model) == base and own.model == settings.model
    ]  # fmt: skip
    finished = [run for run, step in fitting if step is None]
    right = next(iter([*finished, *(run for run, _ in fitting)]), None)
    return ORIGINAL, RUN + right.id if right else ORIGINAL


class _Listing:
    """What Ollama lists at an address, asked at most every few seconds and on a thread that nobody has to wait for."""

    def __init__(self, address: str) -> None:
        self._ollama = Ollama(address)
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._asked = -FRESH_SECONDS
        self._found: list[tuple[str, str]] = []

    def models(self) -> list[tuple[str, str]]:
        """(name, digest) of each model, none where Ollama is not there; after OLLAMA_SECONDS what was known before."""
        with self._lock:
            if time.monotonic() - self._asked >= FRESH_SECONDS and not (self._asking and self._asking.is_alive()):
                self._asked = time.monotonic()
                self._asking = threading.Thread(target=self._ask, name="ollama-list", daemon=True)
                self._asking.start()
            asking = self._asking
        if asking:
            asking.join(OLLAMA_SECONDS)
        return self._found

    def _ask(self) -> None:
        try:
            self._found = self._ollama.models(OLLAMA_SECONDS)
        except EngineError:
            self._found = []


@lru_cache(8)
def _listing(address: str) -> _Listing:
    return _Listing(address)
