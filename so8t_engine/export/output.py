"""A GGUF file on its way: written under a temporary name, hashed as it is written, read again before it is named."""

import hashlib
import os
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

import gguf
from gguf import GGUFWriter

from so8t_engine.disk import forget, let_pass, retried, sync_folder
from so8t_engine.errors import EngineError

PART = ".part"
"""Ends the name of a file that is not whole yet."""

BLOCK = 2**20
"""Bytes that are read again at once."""


def padded(size: int) -> int:
    """`size` up to the next multiple of GGUF's alignment."""
    return GGUFWriter.ggml_pad(size, gguf.GGUF_DEFAULT_ALIGNMENT)


class Output:
    """One file. `begin`, `write` for every piece of every tensor in order, `finish`, `check`, `publish`; or `discard`.

    For one thread at a time.

    Attributes:
        path: its name once it is whole. part: its name until then.
        size: bytes of the whole file; known after `begin`. sha256: of all of it, in hex; known after `finish`.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self.part = path.with_name(path.name + PART)
        self.size, self.sha256 = 0, ""
        self._tensors = 0
        self._file: BinaryIO | None = None

    def begin(self, head: GGUFWriter, sizes: list[int]) -> None:
        """Write the head. sizes: bytes of each tensor's data, in order."""
        with closing(head):
            head.write_header_to_file(self.part)
            head.write_kv_data_to_file()
            head.write_ti_data_to_file()
        self._hash = hashlib.sha256(self.part.read_bytes())
        self._tensors = len(sizes)
        self._file = self.part.open("ab")
        self._written = self._file.tell()
        self._pad()
        self.size = self._written + sum(map(padded, sizes))

    def write(self, data: memoryview, last: bool) -> None:
        """Add the next bytes of the present tensor; `last` when it ends with them."""
        self._hash.update(data)
        self._file.write(data)
        let_pass(self._file, self._written, self._written + len(data))
        self._written += len(data)
        if last:
            self._pad()

    def finish(self) -> None:
        """Bring all of it to the disk itself, and close it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        forget(self._file)
        self._file.close()
        self.sha256 = self._hash.hexdigest()

    def check(self, told: Callable[[int], None], stop: Callable[[], bool]) -> None:
        """Read the file from its start to its end: format, number of tensors, size and hash must be what was meant.

        told: is given the number of bytes of each block read. stop: ends it early.
        Raises EngineError "export.damaged" when one of them differs.
        """
        digest, size, block = hashlib.sha256(), 0, memoryview(bytearray(BLOCK))
        with self.part.open("rb", buffering=0) as file:
            head = struct.unpack("<IIQ", file.read(16).ljust(16, b"\0"))
            file.seek(0)
            while count := file.readinto(block):
                if stop():
                    return
                digest.update(block[:count])
                let_pass(file, size, size + count)
                size += count
                told(count)
        if head != (gguf.GGUF_MAGIC, gguf.GGUF_VERSION, self._tensors):
            raise EngineError("export.damaged", where=str(self.part), reason="GGUF")
        if size != self.size:
            raise EngineError("export.damaged", where=str(self.part), reason=f"{size} / {self.size} bytes")
        if digest.hexdigest() != self.sha256:
            raise EngineError("export.damaged", where=str(self.part), reason="SHA-256")

    def publish(self) -> None:
        """Give the whole file its name, in place of an older one. Raises EngineError "disk.held"."""
        retried(lambda: os.replace(self.part, self.path), self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Close and remove what is not whole; does nothing after `publish`. What can't be removed is written over next time."""
        with suppress(OSError, EngineError):  # a full disk is told again on closing
            if self._file:
                self._file.close()
        with suppress(OSError, EngineError):
            retried(lambda: self.part.unlink(missing_ok=True), self.part)

    def _pad(self) -> None:
        zeros = bytes(padded(self._written) - self._written)
        self._hash.update(zeros)
        self._file.write(zeros)
        self._written += len(zeros)
