"""The overnight chain as the page shows it: one picture, from the engine's snapshot while it runs, from its folder after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dashboard.evaluate_figures import moment
from so8t_engine import STAGES, Snapshot, StoredPipeline, events

DONE = ("finished", "kept", "skipped", "not_needed")
"""States of a stage that the chain goes on after."""


@dataclass(frozen=True)
class Stage:
    """One stage. state: "waiting", "running", "interrupted" (begun, and a person or the end of its process broke it off),
    or an outcome of events.StageFinished. seconds: None before it has begun. folders: where its results lie; for the
    Japanese test that of the base model and that of the winner. results: what the chain's file says of it, {} while the
    chain runs. The other fields are those of events.StageFinished."""

    name: str
    state: str = "waiting"
    seconds: float | None = None
    folders: tuple[str, ...] = ()
    code: str = ""
    where: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """One chain. stages: all of them, in order. finished: whether it has come to its end. winner: of the A/B test, None
    when there was none. pushed: the name in Ollama. created: seconds since 1970, None where that is not known."""

    id: str
    folder: str
    stages: tuple[Stage, ...]
    finished: bool
    winner: str | None = None
    pushed: str = ""
    seconds: float | None = None
    created: float | None = None

    @property
    def next(self) -> Stage | None:
        """The first stage that has not come to its end: there the chain goes on. None when all have."""
        return next((stage for stage in self.stages if stage.state not in DONE), None)

    @property
    def failed(self) -> Stage | None:
        """The stage that has failed."""
        return next((stage for stage in self.stages if stage.state == "failed"), None)

    @property
    def done(self) -> int:
        """How many stages have come to their end."""
        return sum(stage.state in DONE for stage in self.stages)

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next((stage for stage in self.stages if stage.name == name), Stage(name))


def of_snapshot(snapshot: Snapshot) -> Chain | None:
    """The chain that the engine runs, or has just run; None before it has opened."""
    opened, over = snapshot.pipeline, snapshot.pipeline_finished
    if opened is None:
        return None
    told = {event.stage: event for event in snapshot.stages}
    stages = tuple(_told(name, told.get(name), snapshot) for name in opened.stages)
    end = {"winner": over.winner, "pushed": over.pushed, "seconds": over.seconds} if over else {}
    return Chain(opened.pipeline, opened.folder, stages, over is not None, **end)


def _told(name: str, event: events.StageStarted | events.StageFinished | None, snapshot: Snapshot) -> Stage:
    match event:
        case events.StageFinished():
            folders = (event.folder,) if event.folder else ()
            return Stage(name, event.outcome, event.seconds, folders, event.code, event.where, event.facts, event.figures)
        case events.StageStarted():
            return Stage(name, "running" if snapshot.active else "interrupted")
    return Stage(name)


def of_stored(stored: StoredPipeline) -> Chain:
    """The chain as its folder holds it. Raises KeyError, TypeError or AttributeError for a file that somebody has edited."""
    held = stored.results
    stages = tuple(_held(name, held["stages"][name]) for name in STAGES)
    return Chain(
        stored.id, str(stored.folder), stages, stored.finished, held["winner"], held["pushed"], held["seconds"],
        moment(held["created"]),
    )  # fmt: skip


def _held(name: str, entry: Mapping[str, Any]) -> Stage:
    state = "interrupted" if entry["state"] == "running" else entry["state"]
    seconds = None if state == "waiting" else float(entry["seconds"])
    return Stage(
        name, state, seconds, tuple(map(str, entry["folders"])), str(entry["code"]), str(entry["where"]),
        dict(entry["facts"]), dict(entry["figures"]), dict(entry["results"]),
    )  # fmt: skip
