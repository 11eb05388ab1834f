"""A GGUF file on its way: written under a temporary name, hashed as it is written, read again before it is named."""

import hashlib
import os
import struct
from contextlib import closing, suppress
from pathlib import Path

import gguf
from gguf import GGUFWriter

from so8t_engine.disk import DirectFile, direct_block, open_direct, retried, sync_folder
from so8t_engine.errors import EngineError

PART = ".part"
"""Ends the name of a file that is not whole yet."""


def padded(size: int) -> int:
    """`size` up to the next multiple of GGUF's alignment."""
    return GGUFWriter.ggml_pad(size, gguf.GGUF_DEFAULT_ALIGNMENT)


class Output:
    """One file. `begin`, `write` for every piece of every tensor in order, `finish`, a last `check`, `verify`,
    `publish`; or `discard`.

    For one thread at a time, but that another one may `check` what is written meanwhile.

    Attributes:
        path: its name once it is whole. part: its name until then.
        size: bytes of the whole file; known after `begin`. sha256: of all of it, in hex; known after `finish`.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self.part = path.with_name(path.name + PART)
        self.size, self.sha256 = 0, ""
        self._tensors = self._written = self._read = 0
        self._hash, self._found, self._head = hashlib.sha256(), hashlib.sha256(), b""
        self._file: DirectFile | None = None
        self._again = None

    def begin(self, head: GGUFWriter, sizes: list[int]) -> None:
        """Write the head. sizes: bytes of each tensor's data, in order."""
        with closing(head):
            head.write_header_to_file(self.part)
            head.write_kv_data_to_file()
            head.write_ti_data_to_file()
        data = self.part.read_bytes()
        self._tensors = len(sizes)
        self._file, self._again, self._block = DirectFile(self.part), open_direct(self.part, "rb"), direct_block()
        self._put(memoryview(data))
        self._pad()
        self.size = self._written + sum(map(padded, sizes))

    def write(self, data: memoryview, last: bool) -> None:
        """Add the next bytes of the present tensor; `last` when it ends with them."""
        self._put(data)
        if last:
            self._pad()

    def finish(self) -> None:
        """Write what is left over."""
        self._file.finish()
        self.sha256 = self._hash.hexdigest()

    def check(self) -> int:
        """Bring what is written so far to the disk itself, and read from there what was not read again before.

        Gives the number of bytes read.
        """
        start, stop = self._read, self._file.written
        self._file.sync()
        while self._read < stop and (count := self._again.readinto(self._block)):
            self._head = self._head or bytes(self._block[:16])
            self._found.update(self._block[:count])
            self._read += count
        return self._read - start

    def verify(self) -> None:
        """Close the file. Format, number of tensors, size and hash of what was read again must be what was meant.

        Raises EngineError "export.damaged" when one of them differs.
        """
        self._close()
        size = self.part.stat().st_size
        if struct.unpack("<IIQ", self._head.ljust(16, b"\0")) != (gguf.GGUF_MAGIC, gguf.GGUF_VERSION, self._tensors):
            raise EngineError("export.damaged", where=str(self.part), reason="GGUF")
        if size != self.size:
            raise EngineError("export.damaged", where=str(self.part), reason=f"{size} / {self.size} bytes")
        if self._found.digest() != self._hash.digest():
            raise EngineError("export.damaged", where=str(self.part), reason="SHA-256")

    def publish(self) -> None:
        """Give the whole file its name, in place of an older one. Raises EngineError "disk.held"."""
        retried(lambda: os.replace(self.part, self.path), self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Close and remove what is not whole; does nothing after `publish`. What can't be removed is written over next time."""
        with suppress(OSError):
            self._close()
        with suppress(OSError, EngineError):
            retried(lambda: self.part.unlink(missing_ok=True), self.part)

    def _put(self, data: memoryview) -> None:
        self._hash.update(data)
        self._file.write(data)
        self._written += len(data)

    def _pad(self) -> None:
        self._put(memoryview(bytes(padded(self._written) - self._written)))

    def _close(self) -> None:
        for file in (self._file, self._again):
            if file:
                file.close()
