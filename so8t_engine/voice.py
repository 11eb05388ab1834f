"""Whose weights speak: the original model, a run with its adapter, or a model in a folder of its own."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from so8t_engine import checkpoint, runs
from so8t_engine.errors import BadInput, CheckpointError, EngineError
from so8t_engine.runs import MANIFEST, Run
from so8t_engine.settings import ModelSettings, Settings

ORIGINAL = "original"
RUN = "run:"
"""A key is ORIGINAL or RUN + id."""

LISTED_RUNS = 50
LONGEST_ID = 200
"""Characters; systems refuse longer names with an error."""


@dataclass(frozen=True)
class Voice:
    """A model of ours that can answer.

    key: "original", "run:<id>", or the folder of a model. name: what a person reads, with the step where the run has
    not finished.
    base: folder of the base model. adapter: folder with adapter_config.json, None for the base itself.
    model: how the base is held. system: the system prompt that it was trained with, "" for none.
    run: folder of the run it comes from, None for the others.
    """

    key: str
    name: str
    base: Path
    adapter: Path | None
    model: ModelSettings
    system: str
    run: Path | None = None


def resolve(key: str, root: Path, settings: Settings) -> Voice:
    """The voice of a key, its files verified. Reads the runs under `root` and changes nothing.

    A run speaks with its final model; unfinished, with its newest whole checkpoint. Raises BadInput for a key that
    nobody has, for a run without an adapter, and for one whose settings can't be read.
    """
    if key == ORIGINAL:
        return Voice(
            key, ORIGINAL, settings.resolve(settings.base_model), None, settings.model, settings.data.system_prompt
        )  # fmt: skip
    run = run_of(key, root)
    if run is None:
        raise BadInput("chat.unknown_side", key=key[:80])
    return _of_run(run)


def named(name: str, root: Path, settings: Settings) -> Voice:
    """The voice that a person means on the command line: "original", id or folder of a run, or folder of a model.

    Raises BadInput "voice.unknown" for anything else, and as `resolve` does.
    """
    if name == ORIGINAL or run_of(name, root):
        return resolve(name, root, settings)
    with suppress(BadInput):
        return _of_run(runs.find(root, name))
    folder = Path(name)
    if folder.is_dir():
        own = folder.resolve()
        return Voice(str(own), own.name, own, None, settings.model, settings.data.system_prompt)
    raise BadInput("voice.unknown", where=name[:LONGEST_ID], runs=str(root))


def run_of(key: str, root: Path) -> Run | None:
    """The run that a key names; it may only be one right under `root`."""
    name = key.removeprefix(RUN)
    if key.startswith(RUN) and Path(name).name == name and len(name) <= LONGEST_ID and runs.is_run(root / name):
        return Run.at(root / name)
    return None


def listed(root: Path, settings: Settings) -> list[Voice]:
    """The original and every run with an adapter, newest first. Reads no weights."""
    found = [resolve(ORIGINAL, root, settings)]
    for run, step, own in listed_runs(root):
        adapter = next(written(run))[2]
        found.append(_voice(run, step, adapter, own))
    return found


def listed_runs(root: Path) -> Iterator[tuple[Run, int | None, Settings]]:
    """The newest runs with an adapter: (run, step or None when finished, settings). Reads no weights."""
    count = 0
    for run in runs.all_runs(root):
        if count == LISTED_RUNS:
            return
        step, *found = next(written(run), (None,))
        with suppress(OSError, EngineError):  # a run whose settings can't be read can't be chosen
            if found:
                own = _settings(run, run.config_file.stat().st_mtime_ns)
                count += 1
                yield run, step, own


def written(run: Run) -> Iterator[tuple[int | None, Path, Path]]:
    """(step, folder with the manifest, folder with the adapter), the best first; the final model has no step.

    All were written to their end; whether they are still whole is for `resolve`.
    """
    for step, folder, adapter in _candidates(run):
        if (folder / MANIFEST).exists() and (adapter / "adapter_config.json").exists():
            yield step, folder, adapter


def name_at(run: Run, step: int | None) -> str:
    """What a person reads for a run, with the step where it has not finished."""
    return run.id if step is None else f"{run.id} · step {step}"


def _of_run(run: Run) -> Voice:
    own = run.settings()
    for step, folder, adapter in written(run):
        try:
            _verified(folder, (folder / MANIFEST).stat().st_mtime_ns)
        except (OSError, CheckpointError):
            continue  # just deleted, or damaged: the one before it may do
        return _voice(run, step, adapter, own)
    raise BadInput("chat.no_adapter", where=str(run.folder), name=run.id)


def _voice(run: Run, step: int | None, adapter: Path, own: Settings) -> Voice:
    base = own.resolve(own.base_model)
    return Voice(RUN + run.id, name_at(run, step), base, adapter, own.model, own.data.system_prompt, run.folder)


def _candidates(run: Run) -> Iterator[tuple[int | None, Path, Path]]:
    if run.finished:
        yield None, run.final_model, run.final_model
    folders = [path for path in run.checkpoints.glob("step-*") if path.name.split("-")[1].isdecimal()]
    for folder in sorted(folders, key=lambda path: path.name, reverse=True):
        yield int(folder.name.split("-")[1]), folder, folder / "adapter"


@lru_cache(256)
def _verified(folder: Path, _written: int) -> checkpoint.Checkpoint:
    """A whole folder. Its bytes are read once: hashing a large adapter takes seconds."""
    return checkpoint.verify(folder)


@lru_cache(256)
def _settings(run: Run, _written: int) -> Settings:
    return run.settings()
