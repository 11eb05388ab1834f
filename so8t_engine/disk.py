"""What a file system does when the power fails or another program looks: flush, replace, delete and lock.

The only module that knows POSIX from Windows.
"""

import errno
import mmap
import os
import random
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TypeVar

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


PASSING = 2**25
"""Bytes of a file that pass before they are forgotten: enough for the disk to be busy."""


def let_pass(file: BinaryIO, start: int, stop: int) -> None:
    """Say that the bytes from `start` to `stop` were read or written and won't be needed soon: `forget` now and then.

    For large files that pass through once: they push nothing out of memory that other programs use, and their next part
    comes to lie in memory that the processor's cache still holds.
    """
    if start // PASSING < stop // PASSING:
        forget(file, stop)


def forget(file: BinaryIO, stop: int = 0) -> None:
    """Have a file's bytes before `stop` (0: all) written to the disk soon, and those that are there dropped from memory.

    What was synced before is read from the disk itself afterwards. Waits for nothing; Windows and macOS have no such
    call.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, stop, os.POSIX_FADV_DONTNEED)


BLOCK = 2**22
"""Bytes that go to the disk, or come from it, at once where they pass the system's cache by."""


def direct_block() -> memoryview:
    """Memory for `BLOCK` bytes to or from a file of `open_direct`: it begins with a page."""
    return memoryview(mmap.mmap(-1, BLOCK))


def open_direct(path: Path, mode: str) -> FileIO:
    """Open a file without a buffer and, where the system and its file system can, past the system's cache.

    Wherever that is not the end of the file, whole pages must be read or written, from a multiple of a page on and in
    a `direct_block`. Windows and macOS have no such call.
    """
    if hasattr(os, "O_DIRECT"):
        try:
            return _Direct(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_DIRECT, 0o666))
        except OSError as error:
            if error.errno != errno.EINVAL:  # said by a file system that can't
                raise
    return FileIO(path, mode)


class _Direct(FileIO):
    """Goes through the cache from the moment on at which the file system refuses to pass it by: some say so only here."""

    def write(self, data: memoryview) -> int:
        return self._tried(super().write, data)

    def readinto(self, room: memoryview) -> int:
        return self._tried(super().readinto, room)

    def _tried(self, call: Callable[[memoryview], int], data: memoryview) -> int:
        try:
            return call(data)
        except OSError as error:
            flags = fcntl.fcntl(self, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                raise
        fcntl.fcntl(self, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return call(data)


class DirectFile:
    """A new large file, written past the system's cache where that can be. For one thread; `sync` for any.

    A byte that goes through the cache is copied into memory that the system has to find, and pushes out another.

    Attributes:
        written: bytes handed to the system.
    """

    def __init__(self, path: Path) -> None:
        self._file, self._block, self._held = open_direct(path, "wb"), direct_block(), 0
        self.written = 0

    def write(self, data: memoryview) -> None:
        """Add bytes. Less than a block of them waits here for more."""
        while data:
            count = min(len(data), BLOCK - self._held)
            self._block[self._held : self._held + count] = data[:count]
            self._held, data = self._held + count, data[count:]
            if self._held == BLOCK:
                self._hand_over(BLOCK)
                self.written, self._held = self.written + BLOCK, 0

    def finish(self) -> None:
        """Write what waits: in whole pages, then cut to size."""
        self._hand_over(-(-self._held // mmap.PAGESIZE) * mmap.PAGESIZE)
        size = self.written + self._held
        self._file.truncate(size)
        self.written, self._held = size, 0

    def sync(self) -> None:
        """Bring what was written to the disk itself; it is read from there afterwards."""
        os.fsync(self._file.fileno())
        forget(self._file)

    def close(self) -> None:
        """Close it. What waits is lost."""
        self._file.close()

    def _hand_over(self, count: int) -> None:
        rest = self._block[:count]
        while rest:
            rest = rest[self._file.write(rest) :]


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


def append_lines(path: Path, lines: list[str]) -> None:
    """Add lines (without their ends) to a UTF-8 file, on lines of their own even behind half a one. Raises OSError."""
    data = "".join(line + "\n" for line in lines).encode("utf-8")
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                data = b"\n" + data
        file.write(data)


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone may read: all of it or nothing. Raises FileExistsError, never overwrites.

    Two callers must not write the same file at once: hold a FolderLock.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            _keep_from_others(temporary)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            raise FileExistsError(17, "already there", str(path))
        retried(lambda: os.rename(temporary, path), path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def delete_folder(path: Path) -> None:
    """Delete a folder and all in it."""
    retried(lambda: shutil.rmtree(path), path)


class FolderLock:
    """Only one holder at a time, of all processes and threads. The system frees the lock when the process dies.

    Raises Busy on entering when another one still holds it after `patience` seconds.
    """

    def __init__(self, folder: Path, name: str = ".lock", patience: float = 0.0) -> None:
        self.path = folder / name
        self.patience = patience

    def __enter__(self) -> "FolderLock":
        deadline = time.monotonic() + self.patience
        self._file = self.path.open("a+b")
        while True:
            try:
                _lock(self._file.fileno())
                return self
            except OSError:
                if time.monotonic() >= deadline:
                    self._file.close()
                    raise Busy("run.locked", where=str(self.path.parent)) from None
            time.sleep(random.uniform(0.001, 0.004))

    def __exit__(self, *_: object) -> None:
        self._file.close()  # closing frees the lock


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _keep_from_others(path: Path) -> None:
        """Leave rights to the present user alone, who is named by SID: a name may be ambiguous or in any script."""
        tools = Path(os.environ["SYSTEMROOT"]) / "System32"
        quiet = {"check": True, "capture_output": True, "creationflags": subprocess.CREATE_NO_WINDOW}
        try:
            user = subprocess.run([tools / "whoami.exe", "/user", "/fo", "csv", "/nh"], **quiet).stdout
            sid = re.search(rb"S-1-[0-9-]+", user)[0].decode("ascii")
            subprocess.run([tools / "icacls.exe", path, "/inheritance:r", "/grant:r", f"*{sid}:F"], **quiet)
        except (subprocess.SubprocessError, TypeError) as error:
            raise PermissionError(13, f"its rights can't be restricted ({error})", str(path)) from error

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _keep_from_others(path: Path) -> None:
        """Nothing is left to do: the file was made with mode 0600."""
