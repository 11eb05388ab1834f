"""The only writer of folders that must survive a power failure, and the only judge of them.

A folder is whole when its `MANIFEST.json` names every file with size and SHA-256 and all of them agree. The manifest
is written last, by temporary file and `os.replace`, after every other file has been flushed to the disk: whatever
moment the power fails at, a folder is either whole or recognisably not.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from so8t_engine.disk import delete_folder, retried, sync_file, sync_folder, write_whole
from so8t_engine.errors import CheckpointError, EngineError
from so8t_engine.runs import MANIFEST

ASIDE = "aside-"
"""Prefix of a folder that did not verify."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose manifest has been verified."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def step(self) -> int:
        return self.manifest["step"]

    @property
    def bytes(self) -> int:
        """Size of all files without the manifest."""
        return sum(entry["bytes"] for entry in self.manifest["files"].values())


def write(folder: Path, step: int, fill: Callable[[Path], None], fingerprints: dict[str, Any]) -> Checkpoint:
    """Make `folder`, let `fill(folder)` write its files, secure them, and verify them from the disk.

    Raises CheckpointError when the disk is full or refuses; what was written is then removed.
    """
    try:
        folder.mkdir(parents=True)
        fill(folder)
        files = {}
        for file in _files(folder):
            sync_file(file)
            files[file.relative_to(folder).as_posix()] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for inner in [path for path in folder.rglob("*") if path.is_dir()]:
            sync_folder(inner)
        manifest = {"step": step, "files": files, "fingerprints": fingerprints}
        write_whole(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode("utf-8"))
        sync_folder(folder.parent)
        return verify(folder)
    except (OSError, EngineError, SafetensorError) as error:  # safetensors has an error of its own for a full disk
        if folder.exists() and not (folder / MANIFEST).exists():
            delete_folder(folder)
        if isinstance(error, EngineError):
            raise
        raise CheckpointError("checkpoint.unwritten", where=str(folder), reason=error) from error


def verify(folder: Path) -> Checkpoint:
    """Read every byte of `folder` and compare it with the manifest. Raises CheckpointError when they differ."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files = manifest["files"]
        for name, entry in files.items():
            if (folder / name).stat().st_size != entry["bytes"]:
                raise CheckpointError("checkpoint.damaged", where=str(folder / name), reason="size")
            if _sha256(folder / name) != entry["sha256"]:
                raise CheckpointError("checkpoint.damaged", where=str(folder / name), reason="SHA-256")
        if not isinstance(manifest["step"], int) or not isinstance(manifest["fingerprints"], dict):
            raise CheckpointError("checkpoint.damaged", where=str(folder), reason=MANIFEST)
    except FileNotFoundError as error:
        raise CheckpointError("checkpoint.incomplete", where=str(folder), file=Path(error.filename).name) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError("checkpoint.damaged", where=str(folder), reason=repr(error)) from None
    return Checkpoint(folder, manifest)


def save(folder: Path, step: int, fill: Callable[[Path], None], fingerprints: dict[str, Any], keep: int) -> Checkpoint:
    """Write a new checkpoint of `step` into the folder of checkpoints, then delete what `keep` leaves no room for."""
    name = f"step-{step:08d}-{secrets.token_hex(2)}"  # never a name that was used before: folders are not reused
    saved = write(folder / name, step, fill, fingerprints)
    with suppress(OSError, EngineError):  # what another program holds now is deleted after the next save
        _rotate(folder, keep, saved)
    return saved


def _rotate(folder: Path, keep: int, newest: Checkpoint) -> None:
    """Delete the oldest checkpoints by their manifests' step until `keep` are left.

    Never deleted: `newest` (a damaged one that Windows would not let us put aside may claim a higher step), and the
    last two good ones.

    Folders put aside without a manifest (writing them was cut short) hold nothing of use and go as well.
    """
    by_step = sorted(_with_manifest(folder), key=lambda item: (item[0], item[1].stat().st_mtime_ns), reverse=True)
    kept = [newest.folder]
    for _, path in by_step:
        if len(kept) < 2 and path not in kept and _is_good(path):
            kept.append(path)
    for _, path in by_step:
        if path in kept:
            continue
        if len(kept) < keep:
            kept.append(path)
        else:
            _delete(path)
    for path in folder.glob(f"{ASIDE}*"):
        if not (path / MANIFEST).exists():
            delete_folder(path)


def newest_good(folder: Path) -> tuple[Checkpoint | None, list[CheckpointError]]:
    """The checkpoint with the highest step that verifies, and the faults of those that were put aside on the way."""
    faults: list[CheckpointError] = []
    folders = [path for path in folder.glob("step-*") if path.is_dir()] if folder.is_dir() else []
    for path in sorted(folders, key=lambda p: (p.name.split("-")[1], p.stat().st_mtime_ns), reverse=True):
        try:
            return verify(path), faults
        except CheckpointError as fault:
            faults.append(fault)
            _put_aside(path)
    return None, faults


def write_only(folder: Path, step: int, fill: Callable[[Path], None], fingerprints: dict[str, Any]) -> Checkpoint:
    """Write `folder`, which stands alone (`final_model`), replacing what an interrupted try has left there."""
    if folder.exists():
        delete_folder(folder)
    return write(folder, step, fill, fingerprints)


def _delete(folder: Path) -> None:
    """Delete a checkpoint, its manifest first: half deleted, it must not be trusted."""
    retried((folder / MANIFEST).unlink, folder)
    delete_folder(folder)


def _put_aside(folder: Path) -> None:
    target = folder.with_name(ASIDE + folder.name)
    try:
        retried(lambda: os.replace(folder, target), folder)
    except (OSError, EngineError):
        return  # a file in it is open elsewhere: it stays, and is refused again next time


def _with_manifest(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("step-*"):
        try:
            found.append((int(json.loads((path / MANIFEST).read_bytes())["step"]), path))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _is_good(folder: Path) -> bool:
    try:
        verify(folder)
    except CheckpointError:
        return False
    return True


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
