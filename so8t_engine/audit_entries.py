"""What the audit log tells of each answer, for a page: read once, then only what has been added."""

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer: its opening record joined with its closing one.

    time: seconds since 1970 when it was about to be shown. model: hash of the weights. label: the class, "" when none
    was named. confidence: 0.0 to 1.0, None when not given. ended: why it ended, "" when it never did (the program
    died between the first character and the last).
    """

    number: int
    time: float
    model: str
    label: str
    confidence: float | None = None
    ended: str = ""

    @property
    def finished(self) -> bool:
        return bool(self.ended)


class Entries:
    """The answers in a log that grows. Shows what stands there; whether it is genuine is `verify`'s to say.

    Methods may be called from any thread.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._reading = threading.Lock()
        self._forget()

    def read(self) -> list[Entry]:
        """Every answer, oldest first. Raises OSError when the log can't be read."""
        with self._reading:
            try:
                with self.file.open("rb") as log:
                    if not self._goes_on(log):
                        self._forget()
                    log.seek(self._size)
                    self._take(log)
            except FileNotFoundError:
                self._forget()
            return list(self._found.values())

    def _forget(self) -> None:
        self._found: dict[int, Entry] = {}
        self._size, self._end = 0, b""

    def _goes_on(self, log) -> bool:
        """Whether what was read is still there, as far as its last line tells."""
        log.seek(self._size - len(self._end))
        return log.read(len(self._end)) == self._end

    def _take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if not line.endswith(b"\n"):
                break  # being written just now, or torn
            self._size, self._end = self._size + len(line), line
            try:
                record = json.loads(line)
                self._join(record)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # no record of ours

    def _join(self, record: dict) -> None:
        if record["kind"] == "opened":
            number = int(record["seq"])
            self._found[number] = Entry(number, float(record["time"]), str(record["model"]), str(record["label"]))
        elif record["of"] in self._found:
            confidence = record["confidence"]
            self._found[record["of"]] = replace(
                self._found[record["of"]], ended=str(record["ended"]),
                confidence=float(confidence) if confidence is not None else None,
            )  # fmt: skip
