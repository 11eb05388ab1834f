"""The judge of an audit log: reads all of it and says whether anything was changed, deleted, moved or added."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from so8t_engine.audit_chain import HEAD, KEY, LOG, MAC_DIGITS, Head, Keys, follows, head_in, is_torn, keys_in, unseal
from so8t_engine.errors import BadInput, EngineError

_LONGEST_LINE = 65_536
"""Bytes; our records are a hundredth of it. A longer line is read, and found wrong, in pieces."""


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    records: lines that are genuine, from the first one up to the first fault; answers, unfinished (openings without
    closing), first and last (time of the first and last record, seconds since 1970) and mac (of the last one) are
    about these.
    torn: bytes after the last committed line that an interrupted write has left; nobody saw that answer.
    faults: what is wrong, the first bad line first; empty when the log is whole.
    """

    file: Path
    records: int = 0
    answers: int = 0
    unfinished: int = 0
    first: float | None = None
    last: float | None = None
    mac: str = ""
    torn: int = 0
    faults: tuple[EngineError, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.faults

    def told(self) -> list[tuple[str, dict[str, str]]]:
        """What can be said beside the faults: codes of sentences (see `errors.sentence`) with their facts."""
        first, last = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at or 0)) for at in (self.first, self.last))
        facts = {
            "records": self.records, "answers": self.answers, "unfinished": self.unfinished, "first": first,
            "last": last, "mac": self.mac, "bytes": self.torn,
        }  # fmt: skip
        codes = [("audit.whole" if self.whole else "audit.genuine")] if self.records else []
        if self.whole and not self.records:
            codes.append("audit.empty")
        if self.torn:
            codes.append("audit.torn")
        return [(code, {name: str(value) for name, value in facts.items()}) for code in codes]


def verify(file: Path, expect: str = "") -> Verdict:
    """Read the log `file` (or the log in that folder) from its first line to its end; writes nothing.

    expect: a MAC that was noted earlier; a log in which it no longer occurs is older than that, or another one.
    Raises BadInput when there is no such log or `expect` is no MAC, EngineError when it can't be read.
    """
    file = file / LOG if file.is_dir() else file
    if expect and (len(expect) != MAC_DIGITS or set(expect) - set("0123456789abcdefABCDEF")):
        raise BadInput("audit.bad_mac", mac=expect)
    if not file.is_file() and not (file.name == LOG and (file.parent / HEAD).is_file()):
        raise BadInput("audit.no_log", where=str(file))
    try:
        return _verify(file, expect.lower())
    except OSError as error:
        raise EngineError("audit.unreadable", where=str(file), reason=error.strerror or error) from error


def _verify(file: Path, expect: str) -> Verdict:
    try:
        keys = keys_in(file.parent)
    except EngineError as error:
        return Verdict(file, faults=(error,))
    head, head_fault = _head_or_fault(file.parent, keys)  # before the log, which may grow while it is read
    reading = _Reading(file, keys, head, expect)
    fault = reading.to_the_end()
    if head and (fault or reading.torn) and reading.size >= head.size and _head_or_fault(file.parent, keys)[0] != head:
        return _verify(file, expect)  # a record was being written while we read
    if fault and head_fault and head_fault.code == "audit.head_bad" and reading.count == 0:
        fault, head_fault = EngineError("audit.key_wrong", where=str(file.parent / KEY)), None
    not_met = EngineError("audit.not_met", where=str(file), mac=expect) if expect and not reading.met else None
    return reading.verdict(tuple(filter(None, (fault, head_fault, not_met))))


def _head_or_fault(folder: Path, keys: Keys) -> tuple[Head | None, EngineError | None]:
    try:
        return head_in(folder, keys), None
    except EngineError as error:
        return None, error


class _Reading:
    """One way through a log: where it is, and what it has counted."""

    def __init__(self, file: Path, keys: Keys, head: Head | None, expect: str) -> None:
        self.file, self.keys, self.head = file, keys, head
        self.expect = bytes.fromhex(expect)
        self.count = self.size = self.answers = self.torn = 0
        self.last = keys.genesis
        self.first_time: float | None = None
        self.last_time: float | None = None
        self.unfinished: set[int] = set()
        self.met = False
        self.fits_head = head is None or head.count == 0

    def to_the_end(self) -> EngineError | None:
        """Read until the end or the first line that is wrong, and say what is wrong with it."""
        for line in _lines(self.file):
            mac = follows(self.keys, self.last, line)
            if mac is None:
                rest, left = self.file.stat().st_size - self.size, self.head.size - self.size if self.head else 0
                if not is_torn(line) or 0 < left <= rest:
                    return self._fault(line)
                self.torn = rest if self.head and left <= 0 else 0
                break
            self._take(line, mac)
        if self.head and self.size < self.head.size:
            where, missing = f"{self.file}:{self.count + 1}", self.head.count - self.count
            return EngineError("audit.cut_short", where=where, line=self.count + 1, missing=missing)
        return None if self.fits_head else EngineError("audit.head_differs", where=str(self.file.parent / HEAD))

    def verdict(self, faults: tuple[EngineError, ...]) -> Verdict:
        mac = self.last.hex() if self.count else ""
        counts = self.count, self.answers, len(self.unfinished)
        return Verdict(self.file, *counts, self.first_time, self.last_time, mac, self.torn, faults)

    def _take(self, line: bytes, mac: bytes) -> None:
        record = json.loads(line)  # ours, as its MAC proves
        if record["kind"] == "opened":
            self.answers += 1
            self.unfinished.add(record["seq"])
        else:
            self.unfinished.discard(record["of"])
        self.first_time = self.first_time if self.count else record["time"]
        self.last_time = record["time"]
        self.count, self.size, self.last = self.count + 1, self.size + len(line), mac
        self.met = self.met or mac == self.expect
        if self.head and self.size == self.head.size:
            self.fits_head = (self.count, mac) == (self.head.count, self.head.last)

    def _fault(self, line: bytes) -> EngineError:
        number, where = self.count + 1, f"{self.file}:{self.count + 1}"
        try:
            record = json.loads(unseal(line)[0])
            seq, previous = record["seq"], bytes.fromhex(record["previous"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return EngineError("audit.not_a_record", where=where, line=number)
        code = "audit.out_of_place" if follows(self.keys, previous, line) else "audit.edited"
        return EngineError(code, where=where, line=number, number=seq)


def _lines(file: Path) -> Iterator[bytes]:
    if not file.exists():
        return
    with file.open("rb") as stream:
        while line := stream.readline(_LONGEST_LINE):
            yield line
