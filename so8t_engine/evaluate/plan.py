"""The folder of an evaluation or an A/B test: the same question can go on in it, and another one can't mix in.

plan.json, rows.jsonl       written first: what is measured, and the rows
a journal a mode (and side) what was measured so far, a line a row
the results and the reports written last
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from so8t_engine.disk import write_whole
from so8t_engine.errors import BadInput, EngineError
from so8t_engine.evaluate.rows import Rows
from so8t_engine.runs import AbTest, Evaluation


@dataclass
class Plan:
    """The folder of what is to be measured, made or taken up again.

    resumed: whether an earlier try had begun with it. weights: SHA-256 of the weights that answer, by the model's part
    ("model" in an evaluation, "base" and "retrained" in an A/B test), those of an earlier try included.
    """

    place: Evaluation | AbTest
    asked: dict
    resumed: bool
    weights: dict[str, str]

    def settle(self, weights: dict[str, str]) -> None:
        """Note which weights answer. Raises BadInput when an earlier try was made with others."""
        if any(self.weights.get(part, digest) != digest for part, digest in weights.items()):
            raise BadInput("evaluate.other_weights", where=str(self.place.folder))
        self.weights = self.weights | weights
        store(self.place.plan, self.asked | {"weights": self.weights})


def open_plan(place: Evaluation | AbTest, rows: Rows, system: str, asked: dict) -> Plan:
    """Make the folder, or take up the interrupted work that it holds.

    system: the system prompt of rows that have none of their own.
    asked: the models, the modes, and the settings that shape the answers. Raises BadInput when the folder holds
    something else, results, or the work on other models, other rows or with other settings; EngineError when it can't
    be written.
    """
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _told(rows, system)).encode("utf-8")
    wanted = {
        "version": 1, **asked, "file": str(rows.file), "split": rows.split, "rows": hashlib.sha256(lines).hexdigest(),
    }  # fmt: skip
    if place.results.exists():
        raise BadInput("evaluate.finished", where=str(place.folder))
    if place.plan.exists():
        old = _read(place.plan)
        differing = [name for name, value in wanted.items() if old.get(name) != value]
        if differing:
            raise BadInput("evaluate.other_plan", where=str(place.folder), names=", ".join(differing))
        return Plan(place, wanted, True, old.get("weights", {}))
    if place.folder.exists() and any(path.name != ".lock" for path in place.folder.iterdir()):
        raise BadInput("evaluate.folder_taken", where=str(place.folder))
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        write_whole(place.rows, lines)
    except OSError as error:
        raise EngineError("evaluate.unwritten", where=str(place.folder), reason=error.strerror or error) from None
    store(place.plan, wanted)
    return Plan(place, wanted, False, {})


def store(file: Path, values: dict) -> None:
    """Write `values` as JSON, in whole. Raises EngineError "evaluate.unwritten" when the disk refuses."""
    try:
        write_whole(file, json.dumps(values, ensure_ascii=False, indent=1).encode("utf-8"))
    except OSError as error:
        raise EngineError("evaluate.unwritten", where=str(file), reason=error.strerror or error) from None


def _told(rows: Rows, system: str) -> list[dict]:
    return [
        {
            "index": index, "hash": row.content_hash, "line": row.line, "id": row.id, "prompt": row.prompt,
            "system": row.system or system, "expected": row.label, "domain": row.domain, "language": row.language,
        }
        for index, row in enumerate(rows.samples)
    ]  # fmt: skip


def _read(file: Path) -> dict:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
