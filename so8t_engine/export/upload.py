"""A file on its way into Ollama's store, piece by piece: POST /api/blobs/sha256:<digest>.

Ollama hashes what arrives: 201 says that it is what the digest promises, 400 that it is not. Half a file is thrown away.
No proxy is used and no redirect followed. https://github.com/ollama/ollama/blob/main/docs/api.md#push-a-blob
"""

import os
import re
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from so8t_engine.errors import EngineError
from so8t_engine.events import UploadProgressed
from so8t_engine.ollama import CONNECT_SECONDS, LONGEST_LINE, SILENCE_SECONDS, ended_by, reason_in

PIECE = 1 << 20
"""Bytes."""

TOLD_SECONDS = 0.25
"""Between two events."""

_DISK_FULL = re.compile(r"no space left|not enough space|disk quota|disk is full", re.IGNORECASE)


def upload(address: str, file: Path, digest: str, cancel) -> Iterator[UploadProgressed]:
    """Send `file`; it takes the memory of one piece, whatever the file's size.

    Args:
        digest: "sha256:" and 64 hex digits.
        cancel: anything with `is_set()`. Once set, the connection is cut and the iteration ends.

    Raises:
        EngineError: "push.unreadable", "push.file_changed", "ollama.silent", "push.cut" (the connection broke),
            "push.disk_full", "push.digest", "ollama.refused".
    """
    try:
        source = file.open("rb")
    except OSError as error:
        raise EngineError("push.unreadable", where=str(file), reason=error.strerror) from None
    with source, closing(_connected(address)) as connection:
        sending = _Sending(connection, source, file)
        wire = connection.sock
        try:
            with ended_by(cancel, lambda: _cut(wire)):
                sending.begin(digest)
                yield from sending.pieces()
                if not cancel.is_set():
                    _accepted(connection.getresponse(), address)
        except (OSError, HTTPException) as error:
            if not cancel.is_set():  # else what broke is what was cut
                sent, reason = f"{sending.sent / 2**20:.0f} MiB", str(error) or type(error).__name__
                raise EngineError("push.cut", where=address, sent=sent, reason=reason) from None


def disk_full(reason: str) -> bool:
    """Whether Ollama's words say that its disk is full, on Linux, macOS or Windows."""
    return _DISK_FULL.search(reason) is not None


class _Sending:
    """One request with a file for its body. sent: bytes that have left; total: the file's size at the start."""

    def __init__(self, connection: HTTPConnection, source: BinaryIO, file: Path) -> None:
        self.sent, self.total = 0, os.fstat(source.fileno()).st_size
        self._connection, self._source, self._file = connection, source, file

    def begin(self, digest: str) -> None:
        connection = self._connection
        connection.putrequest("POST", f"/api/blobs/{digest}", skip_accept_encoding=True)
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(self.total))
        connection.endheaders()

    def pieces(self) -> Iterator[UploadProgressed]:
        """Send the file to its end, or until Ollama says something: before the end it speaks only to refuse."""
        buffer = memoryview(bytearray(PIECE))
        begun = told = time.monotonic()
        while self.sent < self.total:
            count = self._read(buffer[: self.total - self.sent])
            if not self._send(buffer[:count]):
                return
            self.sent += count
            now = time.monotonic()
            if now - told >= TOLD_SECONDS or self.sent == self.total:
                told = now
                yield UploadProgressed(file=self._file.name, sent=self.sent, total=self.total, seconds=now - begun)

    def _read(self, into: memoryview) -> int:
        try:
            count = self._source.readinto(into)
        except OSError as error:
            raise EngineError("push.unreadable", where=str(self._file), reason=error.strerror) from None
        if not count:
            raise EngineError("push.file_changed", where=str(self._file))
        return count

    def _send(self, piece: memoryview) -> bool:
        """Whether the piece has left; not, when an answer arrives. TLS has messages of its own: there none is seen."""
        wire = self._connection.sock
        if isinstance(self._connection, HTTPSConnection):
            wire.sendall(piece)
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(wire, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while piece:
                ready = selector.select(SILENCE_SECONDS)
                if not ready:
                    raise TimeoutError(f"{SILENCE_SECONDS:.0f} s")
                if ready[0][1] & selectors.EVENT_READ:
                    return False
                piece = piece[wire.send(piece) :]
        return True


def _connected(address: str) -> HTTPConnection:
    parts = urlsplit(address)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
    except OSError as error:
        raise EngineError("ollama.silent", where=address, reason=str(error) or type(error).__name__) from None
    connection.sock.settimeout(SILENCE_SECONDS)
    return connection


def _accepted(answer: HTTPResponse, address: str) -> None:
    """201: stored; 200: it was there. Anything else is raised."""
    body = answer.read(LONGEST_LINE)
    if answer.status in (200, 201):
        return
    reason = reason_in(body, answer.reason)
    if disk_full(reason):
        raise EngineError("push.disk_full", where=address, reason=reason)
    if answer.status == 400 and "digest mismatch" in reason:
        raise EngineError("push.digest", where=address, reason=reason)
    raise EngineError("ollama.refused", where=address, status=answer.status, reason=reason)


def _cut(wire: socket.socket) -> None:
    with suppress(OSError):  # ended from the other side
        wire.shutdown(socket.SHUT_RDWR)
