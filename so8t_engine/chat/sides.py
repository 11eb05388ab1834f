"""Who can answer: the original model, every run that has an adapter, and what Ollama lists."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from so8t_engine import checkpoint, runs
from so8t_engine.errors import BadInput, CheckpointError, EngineError
from so8t_engine.ollama import Ollama
from so8t_engine.runs import MANIFEST, Run
from so8t_engine.settings import ModelSettings, Settings

ORIGINAL = "original"
RUN = "run:"
OLLAMA = "ollama:"
"""A key is ORIGINAL, RUN + id, or OLLAMA + name of the model."""

LISTED_RUNS = 50
LONGEST_ID = 200
"""Characters; systems refuse longer names with an error."""

OLLAMA_SECONDS = 0.5
"""How long a list may wait for Ollama."""

FRESH_SECONDS = 5.0
"""How long what Ollama has listed is taken for true."""


@dataclass(frozen=True)
class Voice:
    """A model of ours that can answer.

    key: "original" or "run:<id>". name: what a person reads, with the step where the run has not finished.
    base: folder of the base model. adapter: folder with adapter_config.json, None for the base itself.
    model: how the base is held. system: the system prompt that it was trained with, "" for none.
    """

    key: str
    name: str
    base: Path
    adapter: Path | None
    model: ModelSettings
    system: str


@dataclass(frozen=True)
class Guest:
    """A model that Ollama runs. key: "ollama:<name>"; address: where Ollama answers."""

    key: str
    name: str
    address: str


def resolve(key: str, root: Path, settings: Settings) -> Voice:
    """The voice of a key, its files verified. Reads the runs under `root` and changes nothing.

    A run speaks with its final model; unfinished, with its newest whole checkpoint. Raises BadInput for a key that
    nobody has, for a run without an adapter, and for one whose settings can't be read.
    """
    if key == ORIGINAL:
        return Voice(
            key, ORIGINAL, settings.resolve(settings.base_model), None, settings.model, settings.data.system_prompt
        )  # fmt: skip
    run = _run(key, root)
    if run is None:
        raise BadInput("chat.unknown_side", key=key[:80])
    own = run.settings()
    for step, folder, adapter in _written(run):
        try:
            _verified(folder, (folder / MANIFEST).stat().st_mtime_ns)
        except (OSError, CheckpointError):
            continue  # just deleted, or damaged: the one before it may do
        named = _name(run, step)
        return Voice(key, named, own.resolve(own.base_model), adapter, own.model, own.data.system_prompt)
    raise BadInput("chat.no_adapter", where=str(run.folder), name=run.id)


def side(key: str, root: Path, settings: Settings) -> Voice | Guest:
    """Whom a key means; Ollama is not asked. Raises BadInput as `resolve` does."""
    if key.startswith(OLLAMA):
        return Guest(key, key.removeprefix(OLLAMA), settings.ollama.address)
    return resolve(key, root, settings)


def name_of(key: str, root: Path) -> str:
    """What a person reads for a key. Reads no weights; what is not there any more keeps the name in its key."""
    run = _run(key, root)
    if run:
        return next((_name(run, step) for step, *_ in _written(run)), run.id)
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
    for run, step, own in _listed_runs(root):
        base = own.resolve(own.base_model).name
        found.append({"key": RUN + run.id, "name": _name(run, step), "detail": base})
    for name, digest in _listing(settings.ollama.address).models():
        found.append({"key": OLLAMA + name, "name": name, "detail": digest.removeprefix("sha256:")[:12]})
    return found


def defaults(root: Path, settings: Settings) -> tuple[str, str]:
    """Keys of left and right at the first start: the original and, of the runs on its base, the newest finished one.

    Where none has finished the newest with an adapter; where there is none the original once more.
    """
    base = settings.resolve(settings.base_model)
    fitting = [
        (run, step) for run, step, own in _listed_runs(root)
        if own.resolve(own.base_model) == base and own.model == settings.model
    ]  # fmt: skip
    finished = [run for run, step in fitting if step is None]
    right = next(iter([*finished, *(run for run, _ in fitting)]), None)
    return ORIGINAL, RUN + right.id if right else ORIGINAL


def _run(key: str, root: Path) -> Run | None:
    """The run that a key names; it may only be one right under `root`."""
    name = key.removeprefix(RUN)
    if key.startswith(RUN) and Path(name).name == name and len(name) <= LONGEST_ID and runs.is_run(root / name):
        return Run.at(root / name)
    return None


def _listed_runs(root: Path) -> Iterator[tuple[Run, int | None, Settings]]:
    """The newest runs with an adapter: (run, step or None when finished, settings). Reads no weights."""
    count = 0
    for run in runs.all_runs(root):
        if count == LISTED_RUNS:
            return
        step, *written = next(_written(run), (None,))
        with suppress(OSError, EngineError):  # a run whose settings can't be read can't be chosen
            if written:
                own = _settings(run, run.config_file.stat().st_mtime_ns)
                count += 1
                yield run, step, own


def _candidates(run: Run) -> Iterator[tuple[int | None, Path, Path]]:
    """(step, folder with the manifest, folder with the adapter), the best first; the final model has no step."""
    if run.finished:
        yield None, run.final_model, run.final_model
    folders = [path for path in run.checkpoints.glob("step-*") if path.name.split("-")[1].isdecimal()]
    for folder in sorted(folders, key=lambda path: path.name, reverse=True):
        yield int(folder.name.split("-")[1]), folder, folder / "adapter"


def _written(run: Run) -> Iterator[tuple[int | None, Path, Path]]:
    """The candidates that were written to their end; whether they are still whole is for `resolve`."""
    for step, folder, adapter in _candidates(run):
        if (folder / MANIFEST).exists() and (adapter / "adapter_config.json").exists():
            yield step, folder, adapter


def _name(run: Run, step: int | None) -> str:
    return run.id if step is None else f"{run.id} · step {step}"


@lru_cache(256)
def _verified(folder: Path, _written: int) -> checkpoint.Checkpoint:
    """A whole folder. Its bytes are read once: hashing a large adapter takes seconds."""
    return checkpoint.verify(folder)


@lru_cache(256)
def _settings(run: Run, _written: int) -> Settings:
    return run.settings()


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
