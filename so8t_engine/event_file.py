"""A file of events, one a line: what a run or a chain has lived through."""

from collections.abc import Iterator
from pathlib import Path

from so8t_engine.disk import append_lines
from so8t_engine.events import Event


def read(file: Path) -> Iterator[Event]:
    """Every event in order. A last line cut by a power failure is left out."""
    if not file.exists():
        return
    with file.open("rb") as lines:
        for line in lines:
            try:
                yield Event.from_json(line)
            except ValueError:
                continue  # half a line: the writer died in it


def append(file: Path, events: list[Event]) -> None:
    """Add events at the end, on lines of their own even after half a line."""
    append_lines(file, [event.to_json() for event in events])
