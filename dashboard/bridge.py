"""What a tab is given: the engine, the draft of the settings, and the words of its language."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dashboard import texts
from so8t_engine import Busy, Engine, EngineError, Run, Settings, Snapshot, StartTraining, StartVerification, config

if TYPE_CHECKING:
    from dashboard.draft import Draft

DEMO = config.CONFIGS / "demo.yaml"

SHOWN_UNFINISHED = 5
"""Unfinished runs offered for resuming; older ones are found in the list of all runs."""


@dataclass(frozen=True)
class Unfinished:
    """A run that can go on: `step` of `steps` are secured in its newest checkpoint; `steps` is None before the plan."""

    run: Run
    step: int
    steps: int | None
    created: str


@dataclass
class Bridge:
    """The engine and the draft, and the few wishes that a page has of them."""

    engine: Engine
    draft: Draft
    _progress: dict[str, tuple[int, Unfinished]] = field(default_factory=dict)
    _parsed: tuple[str, Settings | EngineError] | None = None

    def state(self, snapshot: Snapshot) -> tuple:
        """Equal states mean an equal page."""
        draft = self.draft
        shown = snapshot.job, snapshot.run, snapshot.version, str(draft.file), draft.dirty, hash(draft.text)
        return *shown, self.engine.audit.revision()

    def settings(self) -> Settings:
        """The draft's settings. Raises SettingsError with every fault; parsed once for each text."""
        if self._parsed is None or self._parsed[0] != self.draft.text:
            try:
                found: Settings | EngineError = self.draft.settings()
            except EngineError as error:
                found = error
            self._parsed = (self.draft.text, found)
        if isinstance(self._parsed[1], EngineError):
            raise self._parsed[1]
        return self._parsed[1]

    def settings_with(self, changes: Mapping[str, Any] | None = None) -> Settings:
        """The draft's settings with `changes`; runs are looked for, and results left, where the page lists them."""
        values = config.to_values(self.settings()) | {"runs": str(self.engine.runs_folder)}
        return config.from_values(values | dict(changes or {}))

    def start(self) -> None:
        """Train with the draft, in a run of its own: an unfinished one is never taken over or discarded."""
        self.engine.submit(StartTraining(settings=self.settings(), resume="never"))

    def verify(self) -> None:
        """Find out whether the draft can be trained with."""
        self.engine.submit(StartVerification(settings=self.settings()))

    def start_demo(self) -> None:
        """Train with the demo's settings, beside the other runs."""
        settings = config.load(DEMO).model_copy(update={"runs": str(self.engine.runs_folder)})
        self.engine.submit(StartTraining(settings=settings, resume="never"))

    def resume(self, run_id: str) -> None:
        """Let a run go on where its newest checkpoint stands, with its own settings. Where the draft is of this very
        run, what it says of memory is taken, so that a run whose card was full can go on with less."""
        run = next((run for run in self.engine.runs() if run.id == run_id), None)
        if run is None:  # shown, but made elsewhere: only the run on view can be meant
            snapshot = self.engine.snapshot()
            if not snapshot.run or snapshot.run != run_id:
                raise EngineError("run.missing", where=str(self.engine.runs_folder), name=run_id)
            run = Run.at(snapshot.folder)
        settings = run.settings()
        with suppress(EngineError):  # a draft with faults says nothing
            if self.settings().fingerprint() == settings.fingerprint():
                settings = settings.with_memory_of(self.settings())
        self.engine.submit(StartTraining(settings=settings, output=str(run.folder), resume="auto"))

    def show_newest(self) -> None:
        """Put the newest stored run on view, so that the page opens with what happened last."""
        newest = next(iter(self.engine.runs()), None)
        if newest is not None:
            try:
                self.engine.show(newest)
            except Busy:
                return

    def unfinished(self) -> list[Unfinished]:
        """The newest runs that have not come to their end; one that was refused before its plan has nothing to go on."""
        found: list[Unfinished] = []
        for run in self.engine.runs():
            if not run.finished and (progress := self._progress_of(run)).steps is not None:
                found.append(progress)
            if len(found) == SHOWN_UNFINISHED:
                break
        return found

    def _progress_of(self, run: Run) -> Unfinished:
        size = run.events_file.stat().st_size if run.events_file.exists() else 0
        known = self._progress.get(run.id)
        if known is None or known[0] != size:
            self._progress[run.id] = known = (size, _read_progress(run))
        return known[1]


def _read_progress(run: Run) -> Unfinished:
    """Looks only at the few lines that tell of checkpoints and the plan: a run may hold 100,000 others."""
    step, steps = 0, None
    if run.events_file.exists():
        with run.events_file.open("rb") as file:
            for line in file:
                if b'"CheckpointSaved"' in line or b'"TrainingPlanned"' in line:
                    try:
                        event = json.loads(line)
                    except ValueError:
                        continue  # half a line: the writer died in it
                    step = event.get("step", step)
                    steps = event.get("steps", steps)
    return Unfinished(run, step, steps, run.record.get("created", ""))


@dataclass(frozen=True)
class Page:
    """One page: its language and the bridge to the engine."""

    language: str
    bridge: Bridge

    def t(self, key: str, **facts: object) -> str:
        """The words of `key` in the language of the page."""
        return texts.text(key, self.language, **facts)

    def error(self, code: str, part: str, facts: dict[str, str]) -> str:
        """The engine's sentence for an error: "what" or "hint"."""
        return texts.error_sentence(code, part, self.language, facts)


@dataclass(frozen=True)
class TabParts:
    """What the page's timer keeps fresh in a tab.

    draw: from a snapshot to one value for each of `outputs`. It is pure; the frame sends only what has changed.
    """

    outputs: Sequence[Any] = ()
    draw: Callable[[Snapshot], Sequence[Any]] = lambda snapshot: ()
