"""Stages by script: what they do, leave behind and find is told beforehand, so that the chain itself can be looked at."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from so8t_engine import events as e
from so8t_engine import pipeline, runs
from so8t_engine.pipeline_chain import Chain
from so8t_engine.pipeline_record import Entry
from so8t_engine.settings import STAGES

BETTER = {"winner": "retrained", "code": "better", "facts": {"metric": "score"}, "rule": {}}
OPEN = {"winner": None, "code": "undecided", "facts": {"metric": "score", "rows_needed": "90"}, "rule": {}}
WORSE = {"winner": "base", "code": "better", "facts": {"metric": "score"}, "rule": {}}


@dataclass
class Stage:
    """One scripted stage; it is whole once a file "done" lies in its folder."""

    name: str
    script: "Script"

    def folders(self, chain: Chain, entry: Entry) -> list[Path]:
        known = entry.folders and entry.state != "skipped"
        return [Path(entry.folders[0]) if known else chain.root / f"{self.name}-{runs.new_id()}"]

    def whole(self, chain: Chain, entry: Entry) -> bool:
        return (entry.folder / "done").exists()

    def work(self, chain: Chain, entry: Entry, cancel) -> Iterator[e.Event]:
        self.script.diary.append(self.name)
        entry.folder.mkdir(exist_ok=True, parents=True)
        yield e.EvaluationFinished(folder=str(entry.folder), seconds=1.0)
        self.script.during.get(self.name, lambda: None)()
        if not cancel.is_set():
            (entry.folder / "done").touch()

    def results(self, chain: Chain, entry: Entry) -> tuple[dict, dict[str, str]]:
        found = {"ab_test": {"winner": self.script.verdict}, "ollama": {"name": "night:latest"}}
        return found.get(self.name, {"from": self.name}), {"figure": self.name}


@dataclass
class Script:
    """Chains of scripted stages.

    during: what happens in the middle of a stage. diary: the stages that were run, in order. events: of the newest try.
    """

    settings: object
    verdict: dict = field(default_factory=lambda: BETTER)
    during: dict[str, Callable[[], None]] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)
    events: list[e.Event] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)

    def install(self, monkeypatch) -> "Script":
        monkeypatch.setattr(pipeline, "CHAIN", tuple(Stage(name, self) for name in STAGES))
        monkeypatch.setattr(pipeline, "check", lambda chain: None)
        return self

    def run(self, output: str = "", skip: tuple[str, ...] = (), force: tuple[str, ...] = ()) -> list[str]:
        """One try; gives back the stages that were run in it."""
        self.diary, self.events = [], []
        self.cancel.clear()
        self.place, resumed = pipeline.open_pipeline(self.settings, output)
        for event in pipeline.pipeline(self.settings, self.place, resumed, skip, force, self.cancel):
            self.events.append(event)
        return self.diary

    @property
    def outcomes(self) -> dict[str, str]:
        """By stage, of the newest try."""
        return {event.stage: event.outcome for event in self.events if isinstance(event, e.StageFinished)}

    @property
    def held(self) -> dict:
        """What complete_pipeline_results.json holds."""
        return json.loads(self.place.results.read_text(encoding="utf-8"))

    def folders(self) -> dict[str, str]:
        return {name: entry["folders"][0] for name, entry in self.held["stages"].items() if entry["folders"]}
