"""What a person asks for at the A/B test tab, as the engine's command: a new test, or an interrupted one again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.bridge import Bridge
from dashboard.evaluate_wishes import file_of, key
from so8t_engine import BadInput, FinishedAbTest, RunAbTest

SIDES = ("base", "retrained")


def find(bridge: Bridge, wanted: str) -> FinishedAbTest:
    """The finished test of a key. Raises BadInput when there is none."""
    for finished in bridge.engine.ab_tests():
        if key(finished.folder) == wanted:
            return finished
    raise BadInput("ab_test.unknown", where=wanted[:40])


def start(bridge: Bridge, form: Mapping[str, Any]) -> None:
    """Test as the form says.

    form: base and retrained (keys of voices), rows ("test" or "file"), file (its path). Raises EngineError for what
    can't be meant, before anything is begun.
    """
    settings = bridge.settings_with()
    models = {side: str(form.get(side) or "") for side in SIDES}
    if not models["retrained"]:
        raise BadInput("ab_test.no_retrained", where=str(bridge.engine.runs_folder))
    known = [voice.key for voice in bridge.engine.voices(settings)]
    for model in models.values():
        if model not in known:
            raise BadInput("voice.unknown", where=model[:200], runs=str(bridge.engine.runs_folder))
    data = file_of(settings, str(form.get("file") or "")) if form.get("rows") == "file" else ""
    bridge.engine.submit(RunAbTest(settings=settings, test_data=data, **models))


def go_on(bridge: Bridge, wanted: str) -> None:
    """Take up an interrupted test with the settings that it was begun with. Raises EngineError."""
    place = next((place for place in bridge.engine.interrupted_ab_tests() if key(place.folder) == wanted), None)
    if place is None:
        raise BadInput("ab_test.unknown", where=wanted[:40])
    plan = plan_of(place.plan)
    if plan is None:
        raise BadInput("ab_test.bad_plan", where=str(place.plan))
    bridge.engine.submit(
        RunAbTest(
            settings=bridge.settings_with(plan.settings), base=plan.base, retrained=plan.retrained,
            test_data=plan.file if plan.split == "file" else "", output=str(place.folder),
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a test was begun with. settings: those that shape the answers, {"seed": 42, …}."""

    base: str
    retrained: str
    modes: tuple[str, ...]
    file: str
    split: str
    settings: dict[str, Any]


def plan_of(file: Path) -> Plan | None:
    """The plan in this file; None where it can't be read."""
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        asked = plan["settings"]
        settings = {f"{group}.{name}": value for group in ("evaluate", "ab_test") for name, value in asked[group].items()}
        return Plan(
            str(plan["base"]), str(plan["retrained"]), tuple(map(str, plan["modes"])), str(plan["file"]),
            str(plan["split"]), settings | {"seed": asked["seed"]},
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
