"""The audit log: what was answered, when and by which weights, provable afterwards and without any text in it.

    runs/audit/
        log.jsonl    a record before an answer is shown and one at its end, each linked to the one before by a MAC
        head.json    how many records were committed, and the last MAC
        key          the secret of all MACs, for its owner alone

Prompt, thinking and answer enter as HMACs only. A record counts once it is in the log and in the head, both flushed
to the disk; what a crash left behind in the log alone is adopted when it is whole, and cut off when it is not.
"""

import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so8t_engine.audit_chain import (
    HEAD,
    KEY,
    KEY_BYTES,
    LOG,
    Head,
    Keys,
    ends_with,
    follows,
    head_in,
    is_torn,
    keys_in,
    seal,
)
from so8t_engine.audit_entries import Entries, Entry
from so8t_engine.audit_verdict import Verdict, verify
from so8t_engine.disk import FolderLock, retried, sync_folder, write_private, write_whole
from so8t_engine.errors import Busy, EngineError

__all__ = ["Audit", "Condition", "Entry", "Verdict", "verify"]

PATIENCE_SECONDS = 5.0
"""How long a record waits for others to be written."""


@dataclass(frozen=True)
class Condition:
    """The log at a glance, without reading it all: records committed, the last MAC, and what is plainly wrong."""

    file: Path
    records: int = 0
    mac: str = ""
    fault: EngineError | None = None


class Audit:
    """The log in one folder; it is made with the first record. Threads and processes may write at once.

    Every method raises EngineError: "audit.locked" when others write for too long, "audit.unwritable" when the disk
    is full or refuses (the next call may work again), "audit.broken" and others when the log was tampered with:
    nothing is then written, and so no answer is shown.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / LOG
        self._entries = Entries(self.log)

    def open(self, *, model: str, label: str, prompt: str, thinking: str) -> int:
        """Commit that an answer is about to be shown; on the disk when this returns. Gives the record's number.

        model: hash of the weights. label: the class, "" when none is named. prompt, thinking: only HMACs are stored.
        """
        nonce = secrets.token_bytes(16)

        def facts(keys: Keys) -> dict[str, Any]:
            return {
                "kind": "opened", "model": model, "label": label, "prompt": _hmac(keys.prompt, prompt),
                "nonce": nonce.hex(), "thinking": _hmac(keys.thinking, thinking, nonce),
            }  # fmt: skip

        with self._alone():
            if not self._exists():
                self._create()
            return self._append(facts)

    def close(self, number: int, *, shown: str, confidence: float | None, ended: str) -> None:
        """Add how the answer of the opening record `number` ended. shown: only its HMAC is stored."""

        def facts(keys: Keys) -> dict[str, Any]:
            return {
                "kind": "closed", "of": number, "confidence": confidence, "ended": ended,
                "shown": _hmac(keys.shown, shown),
            }  # fmt: skip

        with self._alone():
            self._append(facts)

    def answers(self, *, label: str | None = None, model: str | None = None, since: float = 0.0) -> list[Entry]:
        """The answers in the log, newest first; those of one class, of one model, from a time on (seconds since 1970)."""
        return [
            entry for entry in reversed(self._read())
            if label in (None, entry.label) and model in (None, entry.model) and entry.time >= since
        ]  # fmt: skip

    def condition(self) -> Condition:
        """Whether the log could take a record now, and how far it is."""
        if not self._exists():
            return Condition(self.log)
        try:
            head = self._adopted(*self._committed())
        except EngineError as fault:
            return Condition(self.log, fault=fault)
        except OSError as error:
            return Condition(self.log, fault=self._unreadable(error))
        return Condition(self.log, head.count, head.last.hex() if head.count else "")

    def revision(self) -> tuple[int, ...]:
        """Equal while nothing has changed in the folder."""
        found: list[int] = []
        for name in (LOG, HEAD, KEY):
            try:
                status = (self.folder / name).stat()
                found += [status.st_mtime_ns, status.st_size]
            except OSError:
                found.append(-1)
        return tuple(found)

    def verify(self) -> Verdict:
        """Read the whole log and judge it."""
        return verify(self.log)

    def _read(self) -> list[Entry]:
        try:
            return self._entries.read()
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> EngineError:
        return EngineError("audit.unreadable", where=str(self.log), reason=error.strerror or error)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile. Who waits stands in line: who has just written can't push in again."""
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
                sync_folder(self.folder.parent)
            with ExitStack() as held:
                with FolderLock(self.folder, ".next", PATIENCE_SECONDS):
                    held.enter_context(FolderLock(self.folder, ".lock", PATIENCE_SECONDS))
                yield
        except Busy:
            raise EngineError("audit.locked", where=str(self.folder)) from None
        except OSError as error:
            raise EngineError("audit.unwritable", where=str(self.folder), reason=error.strerror or error) from error

    def _exists(self) -> bool:
        return self.log.exists() or (self.folder / HEAD).exists()

    def _create(self) -> None:
        """The key, then the head: a log without either was never ours. A key that a crash has left alone is used."""
        if not (self.folder / KEY).exists():
            write_private(self.folder / KEY, secrets.token_hex(KEY_BYTES).encode("ascii"))
        keys = keys_in(self.folder)
        write_whole(self.folder / HEAD, Head(0, 0, keys.genesis).to_bytes(keys))

    def _committed(self) -> tuple[Keys, Head]:
        keys = keys_in(self.folder)
        head = head_in(self.folder, keys)
        if not ends_with(self.log, head):
            raise self._broken()
        return keys, head

    def _append(self, facts: Callable[[Keys], dict[str, Any]]) -> int:
        keys, committed = self._committed()
        head = self._adopted(keys, committed)
        record = {"seq": head.count + 1, "time": round(time.time(), 3), **facts(keys)}
        line, mac = seal(keys, head.last, record)
        try:
            self._write(head.size, line)
            write_whole(self.folder / HEAD, Head(head.count + 1, head.size + len(line), mac).to_bytes(keys))
        except (OSError, EngineError):
            with suppress(OSError, EngineError):  # what stays is cut off or adopted by the next record
                if head_in(self.folder, keys) == committed:
                    os.truncate(self.log, head.size)
            raise
        return record["seq"]

    def _adopted(self, keys: Keys, head: Head) -> Head:
        """The head as it would be, had no crash come between a record and its head."""
        if not self.log.exists():
            return head
        with self.log.open("rb") as file:
            file.seek(head.size)
            for line in file:
                mac = follows(keys, head.last, line)
                if mac is None and is_torn(line):
                    break
                if mac is None:
                    raise self._broken()
                head = Head(head.count + 1, head.size + len(line), mac)
        return head

    def _write(self, size: int, line: bytes) -> None:
        """Put `line` behind the first `size` bytes of the log; what else stood there is cut off."""
        new = not self.log.exists()
        with retried(lambda: self.log.open("ab"), self.log) as file:
            file.truncate(size)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(self.folder)

    def _broken(self) -> EngineError:
        return EngineError("audit.broken", where=str(self.log), folder=self.folder)


def _hmac(key: bytes, text: str, salt: bytes = b"") -> str:
    """Of any text that a model or a person may produce, half of a surrogate pair included."""
    return hmac.digest(key, salt + text.encode("utf-8", "surrogatepass"), "sha256").hex()
