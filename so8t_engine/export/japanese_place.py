"""The folder of a Japanese test: what is asked of which model, so that the same test can go on and no other mixes in.

plan.json       written first: the model, the prompts, the settings
answers.jsonl   what was answered so far, a line an answer
*_japanese_llm_performance_test_*.md and .json, written last
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from so8t_engine.disk import append_lines, write_whole
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.evaluations import lines
from so8t_engine.runs import JapaneseTest

VERSION = 1


@dataclass
class Place:
    """A test's folder, made or taken up again.

    plan: what is asked; "weights" is "" until a model has been loaded for it. created: seconds since 1970. resumed:
    whether an earlier try had begun with it.
    entries: the newest line of each prompt, by its id.
    """

    paths: JapaneseTest
    plan: dict[str, Any]
    resumed: bool
    entries: dict[str, dict]

    @classmethod
    def open(cls, folder: Path, asked: dict[str, Any]) -> "Place":
        """Make the folder, or take up the interrupted test that it holds.

        asked: model, prompts and settings. Raises BadInput when the folder holds something else, a finished test, or
        one that asks for something else; EngineError "japanese.unwritten".
        """
        paths, wanted = JapaneseTest(folder.resolve()), {"version": VERSION, **asked}
        if paths.results:
            raise BadInput("japanese.finished", where=str(paths.folder))
        if paths.plan.exists():
            old = _read(paths.plan)
            differing = [name for name, value in wanted.items() if old.get(name) != value]
            if differing or not isinstance(old.get("created"), int | float):
                names = ", ".join(differing) or "created"
                raise BadInput("japanese.other_plan", where=str(paths.folder), names=names)
            return cls(paths, old, True, _entries(paths.answers))
        if paths.folder.exists() and any(path.name != ".lock" for path in paths.folder.iterdir()):
            raise BadInput("japanese.folder_taken", where=str(paths.folder))
        place = cls(paths, wanted | {"created": time.time(), "weights": ""}, False, {})
        with writing(paths.folder):
            paths.folder.mkdir(parents=True, exist_ok=True)
        place.store(paths.plan, place.plan)
        return place

    @property
    def created(self) -> float:
        return self.plan["created"]

    def settle(self, weights: str) -> None:
        """Note which weights answer. Raises BadInput when an earlier try was made with others."""
        if self.plan.get("weights") not in ("", weights):
            raise BadInput("japanese.other_weights", where=str(self.paths.folder))
        self.plan["weights"] = weights
        self.store(self.paths.plan, self.plan)

    def add(self, entry: dict) -> None:
        """Keep an answer."""
        with writing(self.paths.answers):
            append_lines(self.paths.answers, [json.dumps(entry, ensure_ascii=False)])
        self.entries[entry["prompt"]] = entry

    def store(self, file: Path, values: dict) -> None:
        """Write a JSON file."""
        with writing(file):
            write_whole(file, json.dumps(values, ensure_ascii=False, indent=1).encode("utf-8"))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system refuses into EngineError "japanese.unwritten" that names the file."""
    try:
        yield
    except OSError as error:
        raise EngineError("japanese.unwritten", where=str(path), reason=error.strerror or error) from None


def _entries(file: Path) -> dict[str, dict]:
    found = [entry for entry in (lines(file) if file.exists() else []) if isinstance(entry, dict)]
    return {entry["prompt"]: entry for entry in found if isinstance(entry.get("prompt"), str)}


def _read(file: Path) -> dict:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
