"""What a person asks for at the Evaluate tab, as the engine's command: a new evaluation, or an interrupted one again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.bridge import Bridge
from so8t_engine import BadInput, FinishedEvaluation, RunEvaluation, config

MODES = ("scored", "generated", "benchmarks")


def key(folder: str | Path) -> str:
    """The name of an evaluation on the page: it tells nothing, and nothing can be reached by making one up."""
    return hashlib.sha256(str(Path(folder).resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def find(bridge: Bridge, wanted: str) -> FinishedEvaluation:
    """The finished evaluation of a key. Raises BadInput when there is none."""
    for finished in bridge.engine.evaluations():
        if key(finished.folder) == wanted:
            return finished
    raise BadInput("evaluate.unknown", where=wanted[:40])


def start(bridge: Bridge, form: Mapping[str, Any]) -> None:
    """Evaluate as the form says.

    form: model (a key of a voice), rows ("test" or "file"), file (its path), limit (text, "" for none), and a switch
    for each of MODES. Raises EngineError for what can't be meant, before anything is begun.
    """
    limit = str(form.get("limit") or "").strip() or "0"
    settings = bridge.settings_with({"evaluate.limit": int(limit) if limit.isdecimal() and limit.isascii() else limit})
    model = str(form.get("model") or "")
    if model not in [voice.key for voice in bridge.engine.voices(settings)]:
        raise BadInput("voice.unknown", where=model[:200], runs=str(bridge.engine.runs_folder))
    modes = {mode: form.get(mode) is True for mode in MODES}
    if not any(modes.values()):
        raise BadInput("evaluate.no_mode")
    data = file_of(settings, str(form.get("file") or "")) if form.get("rows") == "file" else ""
    bridge.engine.submit(RunEvaluation(settings=settings, model=model, test_data=data, **modes))


def go_on(bridge: Bridge, wanted: str) -> None:
    """Take up an interrupted evaluation with the settings that it was begun with. Raises EngineError."""
    place = next((place for place in bridge.engine.interrupted() if key(place.folder) == wanted), None)
    if place is None:
        raise BadInput("evaluate.unknown", where=wanted[:40])
    plan = plan_of(place.plan)
    if plan is None:
        raise BadInput("evaluate.bad_plan", where=str(place.plan))
    bridge.engine.submit(
        RunEvaluation(
            settings=bridge.settings_with(plan.settings), model=plan.model, output=str(place.folder),
            test_data=plan.file if plan.split == "file" else "", **{mode: mode in plan.modes for mode in MODES},
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What an evaluation was begun with. settings: those that shape the answers, {"seed": 42, …}."""

    model: str
    modes: tuple[str, ...]
    file: str
    split: str
    settings: dict[str, Any]


def plan_of(file: Path) -> Plan | None:
    """The plan in this file; None where it can't be read."""
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        settings = {"evaluate." + name: value for name, value in plan["settings"]["evaluate"].items()}
        return Plan(
            str(plan["model"]), tuple(map(str, plan["modes"])), str(plan["file"]), str(plan["split"]),
            settings | {"seed": plan["settings"]["seed"]},
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def file_of(settings: config.Settings, text: str) -> str:
    """The file whose path was typed or pasted, perhaps in the quotation marks of "Copy as path". Raises BadInput."""
    named = text.strip().strip('"').strip()
    if not named:
        raise BadInput("evaluate.no_path")
    try:
        file = settings.resolve(named)
        found = file.is_file()
    except (OSError, ValueError):  # a name that no system could have
        raise BadInput("evaluate.no_file", where=named[:200]) from None
    if not found:
        raise BadInput("evaluate.no_file", where=str(file))
    return str(file)
