"""What was measured, a line a row, written as it comes: an evaluation that was interrupted goes on behind its last line."""

import json
from pathlib import Path

from so8t_engine.disk import append_lines
from so8t_engine.evaluations import lines


class Journal:
    """The lines of one mode. entries: by the row's index, those of an earlier try included."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries: dict[int, dict] = {entry["index"]: entry for entry in (lines(file) if file.exists() else ())}

    def append(self, entries: list[dict]) -> None:
        """Add lines, on lines of their own even behind half a one. Raises OSError."""
        append_lines(self.file, [json.dumps(entry, ensure_ascii=False) for entry in entries])
        self.entries |= {entry["index"]: entry for entry in entries}
