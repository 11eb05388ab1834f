"""The folder of an evaluation: what was asked, so that the same question can go on and another one can't mix in.

plan.json, rows.jsonl       written first: what is measured, and the rows
scored.jsonl, generated.jsonl   what was measured so far, a line a row
evaluation_results.json and the reports, written last
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from so8t_engine.disk import write_whole
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.evaluate.rows import Rows
from so8t_engine.runs import Evaluation
from so8t_engine.voice import Voice


@dataclass(frozen=True)
class Plan:
    """An evaluation's folder, made or taken up again.

    resumed: whether an earlier try had begun with it. weights: SHA-256 of the weights of that try, "" for none.
    """

    place: Evaluation
    asked: dict
    resumed: bool
    weights: str

    def settle(self, weights: str) -> None:
        """Note which weights answer. Raises BadInput when an earlier try was made with others."""
        if self.weights and self.weights != weights:
            raise BadInput("evaluate.other_weights", where=str(self.place.folder))
        _store(self.place.plan, self.asked | {"weights": weights})


def open_plan(folder: Path, voice: Voice, rows: Rows, modes: tuple[str, ...], asked: dict) -> Plan:
    """Make the folder, or take up the interrupted evaluation that it holds.

    asked: the settings that shape the answers. Raises BadInput when the folder holds something else, a finished
    evaluation, or one of another model, other rows or other settings; EngineError when it can't be written.
    """
    place = Evaluation(folder.resolve())
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _told(rows, voice)).encode("utf-8")
    wanted = {
        "version": 1, "model": voice.key, "modes": list(modes), "settings": asked,
        "file": str(rows.file), "split": rows.split, "rows": hashlib.sha256(lines).hexdigest(),
    }  # fmt: skip
    if place.results.exists():
        raise BadInput("evaluate.finished", where=str(place.folder))
    if place.plan.exists():
        old = _read(place.plan)
        differing = [name for name, value in wanted.items() if old.get(name) != value]
        if differing:
            raise BadInput("evaluate.other_plan", where=str(place.folder), names=", ".join(differing))
        return Plan(place, wanted, True, old.get("weights", ""))
    if place.folder.exists() and any(path.name != ".lock" for path in place.folder.iterdir()):
        raise BadInput("evaluate.folder_taken", where=str(place.folder))
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        write_whole(place.rows, lines)
    except OSError as error:
        raise EngineError("evaluate.unwritten", where=str(place.folder), reason=error.strerror or error) from None
    _store(place.plan, wanted)
    return Plan(place, wanted, False, "")


def _told(rows: Rows, voice: Voice) -> list[dict]:
    return [
        {
            "index": index, "hash": row.content_hash, "line": row.line, "id": row.id, "prompt": row.prompt,
            "system": row.system or voice.system, "expected": row.label, "domain": row.domain, "language": row.language,
        }
        for index, row in enumerate(rows.samples)
    ]  # fmt: skip


def _read(file: Path) -> dict:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _store(file: Path, values: dict) -> None:
    try:
        write_whole(file, json.dumps(values, ensure_ascii=False, indent=1).encode("utf-8"))
    except OSError as error:
        raise EngineError("evaluate.unwritten", where=str(file), reason=error.strerror or error) from None
