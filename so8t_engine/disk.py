"""What a file system does when the power fails or another program looks: flush, replace, delete and lock.

The only module that knows POSIX from Windows.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from so8t_engine.errors import Busy, EngineError

T = TypeVar("T")

_SHARING_VIOLATIONS = {5, 32, 33}
"""WinError access denied, sharing violation, lock violation: a virus scanner or an indexer holds the file."""

_PATIENCE_SECONDS = 2.5


def retried(action: Callable[[], T], path: Path) -> T:
    """Run `action`; on Windows try again for 2.5 s while another program holds `path`, then name it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return action()
        except OSError as error:
            if getattr(error, "winerror", None) not in _SHARING_VIOLATIONS:
                raise
            if time.monotonic() > deadline:
                raise EngineError("disk.held", where=str(path), reason=error.strerror) from error
            time.sleep(0.05)


def sync_file(path: Path) -> None:
    """Make the system write the file's bytes to the disk itself. Windows flushes writable handles only."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the folder's list of names durable. Windows has no such call and does it by itself."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either all of it or what it held before, whatever happens."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        retried(lambda: os.replace(temporary, path), path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def delete_folder(path: Path) -> None:
    """Delete a folder and all in it."""
    retried(lambda: shutil.rmtree(path), path)


class FolderLock:
    """Only one process at a time may write into a folder. The system frees the lock when the process dies.

    Raises Busy on entering when another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"

    def __enter__(self) -> "FolderLock":
        self._file = self.path.open("a+b")
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.close()
            raise Busy("run.locked", where=str(self.path.parent)) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # closing frees the lock


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
