"""What a person asks for at the Overnight tab, as the engine's command or as a change of the draft."""

from typing import Any

from dashboard.bridge import Bridge
from dashboard.overnight_cards import SWITCHES, TEXTS
from dashboard.overnight_chain import DONE, of_stored
from so8t_engine import STAGES, BadInput, RunPipeline, StoredPipeline, config

RENEWED = ("pipeline.ollama_name", "pipeline.accept_visible_thinking", "pipeline.sound", "ollama.address")
"""What a chain that goes on takes from the form: where it is sent, and the consent, which is given anew."""


def find(bridge: Bridge, wanted: str) -> StoredPipeline:
    """The chain with this id. Raises BadInput when there is none."""
    for stored in bridge.engine.pipelines():
        if stored.id == wanted:
            return stored
    raise BadInput("pipeline.unknown", where=wanted[:40])


def change(bridge: Bridge, field: str, value: Any) -> None:
    """Put what was changed in the form into the draft, where every window and the Config tab see it.

    field: the name of a field of the form. Raises EngineError while the draft can't be read.
    """
    stage = field.removeprefix("stage-")
    if stage in STAGES and field != stage:
        skip = bridge.draft.view().values["pipeline.skip"]
        left_out = {*(skip if isinstance(skip, list | tuple) else ()), stage}
        if value is True:
            left_out.discard(stage)
        bridge.draft.change("pipeline.skip", [name for name in STAGES if name in left_out])
    elif field in SWITCHES:
        bridge.draft.change(f"pipeline.{field}", value is True)
    elif field in TEXTS:
        bridge.draft.change(f"pipeline.{field}", str(value or "").strip())


def start(bridge: Bridge) -> None:
    """Begin a chain of its own with the draft: an unfinished one is never taken over."""
    bridge.engine.submit(RunPipeline(settings=bridge.settings_with(), resume="never"))


def go_on(bridge: Bridge, wanted: str, again: str = "") -> None:
    """Take up a chain with the settings that it was begun with, but for RENEWED; stages that were left out in the form
    since then, and are not done, are left out.

    again: a stage that is done anew with all that follow, "" for none. Raises EngineError.
    """
    stored = find(bridge, wanted)
    draft, held = config.to_values(bridge.settings()), config.to_values(stored.settings())
    undone = [stage.name for stage in of_stored(stored).stages if stage.state not in DONE]
    left_out = {*held["pipeline.skip"], *(name for name in draft["pipeline.skip"] if name in undone)}
    values = held | {name: draft[name] for name in RENEWED}
    values |= {"pipeline.skip": [name for name in STAGES if name in left_out], "runs": str(bridge.engine.runs_folder)}
    force = (again,) if again in STAGES else ()
    bridge.engine.submit(RunPipeline(settings=config.from_values(values), output=str(stored.folder), force=force))
