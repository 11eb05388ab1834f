"""Exports of a tiny run that has learned one answer by heart, and what is found in their folders."""

import hashlib
import json
import threading
from pathlib import Path

from canary import CANARY, make_run
from gguf import GGUFReader
from made import row, write_rows

from so8t_engine import config
from so8t_engine import events as e
from so8t_engine.answer.format import CLASSES
from so8t_engine.export.suite import Wish, export
from so8t_engine.voice import named

BOTH = ("f16", "q8_0")


class Bench:
    """A runs folder with one run, rows to compare on, and exports of it.

    root: the runs folder. events: those of the newest export.
    """

    def __init__(self, folder: Path, base: Path, **settings: object) -> None:
        self.folder, self.root = folder, folder / "runs"
        self.rows = write_rows(folder / "rows.jsonl", [row(i, CLASSES[i % 4]) for i in range(40)])
        self.root.mkdir(exist_ok=True)
        common = {"dataset": str(self.rows), "data.test_share": 0.3}
        self.run = make_run(self.root, base, **common)
        self.values = {"base_model": str(base), "runs": str(self.root), "export.gate_prompts": 6, **common, **settings}
        self.events: list[e.Event] = []

    @property
    def settings(self):
        return config.from_values(self.values)

    @property
    def voice(self):
        return named("retrained", self.root, self.settings)

    def export(self, folder: Path | None = None, cancel=None, seen=None, **wish) -> list[e.Event]:
        """An export to its end; `seen` is given each event."""
        self.events = []
        wish = Wish(**{"quantizations": BOTH} | wish)
        for event in export(
            self.settings, self.voice, folder or self.folder / "out", wish, cancel or threading.Event()
        ):
            self.events.append(event)
            if seen:
                seen(event)
        return self.events

    def of(self, kind) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def disturb(folder: Path, kind: str, tensor: str = "output_norm.weight") -> Path:
    """Turn the signs of half of one tensor round, and have the folder believe that the file was written so."""
    (file,) = folder.glob(f"*-{kind}.gguf")
    found = next(one for one in GGUFReader(file).tensors if one.name == tensor)
    start, size = found.data_offset, found.n_bytes // 2
    data = bytearray(file.read_bytes())
    for place in range(start + 3, start + size, 4):  # the sign stands in the last byte of a float32
        data[place] ^= 0x80
    file.write_bytes(data)
    manifest = read(folder / "MANIFEST.json")
    manifest["files"][kind]["sha256"] = sha256(file)
    (folder / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    return file


def leaks(folder: Path, events: list[e.Event]) -> list[str]:
    """Where the mark in the model's thinking turns up: names of files, kinds of events."""
    files = [path.name for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    return files + [type(event).__name__ for event in events if CANARY in event.to_json()]
