"""Which file keeps which event of a job.

A training writes into its run, a chain into a folder of its own. The run that is trained in a chain gets what happens
from its opening to the end of that stage, so that it can be shown like any other run: later stages are none of its own.
"""

from so8t_engine import events as e
from so8t_engine.runs import Pipeline, Run

CHAIN = (e.PipelineOpened, e.StageStarted, e.StageFinished, e.PipelineFinished)
"""What a run is not told."""


class Ledger:
    """The files of one job. For one thread at a time."""

    def __init__(self) -> None:
        self._early: list[e.Event] = []
        self._job = ""
        self._chain: _Book | None = None
        self._run: _Book | None = None

    def write(self, event: e.Event) -> None:
        """Keep `event`. What comes before a file is open goes into it first; a full disk delays, and loses nothing."""
        match event:
            case e.JobStarted():
                self._job = event.job
            case e.PipelineOpened():
                self._chain = _Book(Pipeline.at(event.folder), self._early)
            case e.RunOpened():
                begun = e.JobStarted(job=self._job, command="StartTraining", time=event.time)
                self._run = _Book(Run.at(event.folder), [begun] if self._chain else self._early)
        if self._chain:
            self._chain.write(event)
        if self._run and not isinstance(event, CHAIN):
            self._run.write(event)
        if not (self._chain or self._run):
            self._early.append(event)
        if isinstance(event, e.StageFinished) and self._run and event.outcome != "failed":
            self._run.write(e.JobFinished(job=self._job, seconds=event.seconds, time=event.time))
            self._run = None


class _Book:
    """One file, and what a full disk has kept out of it so far."""

    def __init__(self, place: Run | Pipeline, waiting: list[e.Event]) -> None:
        self._place, self._waiting = place, list(waiting)

    def write(self, event: e.Event) -> None:
        self._waiting.append(event)
        try:
            self._place.append(self._waiting)
        except OSError:
            return  # written with the next event
        self._waiting = []
