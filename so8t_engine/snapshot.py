"""What the page shows: an immutable picture of the engine, folded from events.

`fold(snapshot, event) -> snapshot` is pure, so a reload, a second window and a replay after a crash all see the
same thing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace

from so8t_engine import events as e

LOG_LENGTH = 500
"""Events kept for the readable log."""

STATES = ("idle", "running", "stopping", "finished", "stopped", "failed", "interrupted")

QUIET = (
    e.HardwareSampled, e.StepFinished, e.EvaluationProgressed, e.ConversionProgressed, e.FidelityProgressed,
    e.UploadProgressed, e.AbTestProgressed, e.AbTestMeasured, e.JapaneseAnswerChecked,
)  # fmt: skip
"""Too many for the log."""

CURVES = (
    "steps", "validations", "scores", "checkpoints", "resumes", "hardware", "dataset", "lengths", "model", "plan",
    "memory", "performance",
)  # fmt: skip
"""What the tries of a run add to, one after the other."""

_CHUNK = 256


@dataclass(frozen=True)
class Series:
    """A growing list of events of one kind that shares its past: appending copies at most one chunk."""

    chunks: tuple[tuple[e.Event, ...], ...] = ()

    def append(self, event: e.Event) -> "Series":
        """This series with `event` at its end."""
        if self.chunks and len(self.chunks[-1]) < _CHUNK:
            return Series((*self.chunks[:-1], (*self.chunks[-1], event)))
        return Series((*self.chunks, (event,)))

    def until(self, step: int) -> "Series":
        """This series without the events after `step`."""
        kept = Series()
        for event in self:
            if event.step <= step:
                kept = kept.append(event)
        return kept

    def __iter__(self) -> Iterator[e.Event]:
        for chunk in self.chunks:
            yield from chunk

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    @property
    def last(self) -> e.Event | None:
        return self.chunks[-1][-1] if self.chunks else None


@dataclass(frozen=True)
class Snapshot:
    """The engine at one moment.

    version: grows with every event; equal versions mean that nothing changed.
    state: one of STATES; "interrupted" is a run whose process died.
    command: what the job does, by the name of its command ("StartTraining").
    memory: what is in memory at once: as it was planned, or smaller since memory was full; the plan's bytes are then gone.
    checks: of the present verification, in order; the last one may still be under way.
    scores: four-class scores of the validation rows while training.
    performance: what the newest try that has told it has cost.
    evaluation, evaluating, evaluated: of the present evaluation: what it is about, how far it is, what it has found.
    export, exporting, exported, fidelity: of the present export: what it is about, how far its present part is, the
        files that are whole, how they compare with the model. created, pushed: what Ollama has of it.
    ab_test, ab_testing, ab_measured, ab_finished: of the present A/B test: what it is about, how far it is, the newest
        figures of each mode, the verdict.
    japanese, japanese_checked, japanese_finished: of the present Japanese test.
    pipeline, stages, pipeline_finished: of the present overnight chain; its last stage may still be under way. What
        the stage itself tells stands in the fields of its kind.
    failure: the event that ended a failed job.
    warnings: events that a person should see although the job goes on (a checkpoint that could not be written, one
        that was put aside, rows skipped, memory that was full).
    """

    version: int = 0
    state: str = "idle"
    job: str = ""
    command: str = ""
    started: float = 0.0
    ended: float = 0.0
    run: str = ""
    folder: str = ""
    resumed: bool = False
    dataset: e.DatasetRead | None = None
    lengths: e.LengthsCounted | None = None
    model: e.ModelLoaded | None = None
    plan: e.TrainingPlanned | None = None
    memory: e.MemoryPlanned | None = None
    steps: Series = field(default_factory=Series)
    validations: Series = field(default_factory=Series)
    checkpoints: Series = field(default_factory=Series)
    resumes: Series = field(default_factory=Series)
    hardware: Series = field(default_factory=Series)
    rotation_error: float | None = None
    performance: e.PerformanceMeasured | None = None
    saved: e.ModelSaved | None = None
    checks: tuple[e.CheckStarted | e.CheckFinished, ...] = ()
    verified: e.VerificationFinished | None = None
    scores: Series = field(default_factory=Series)
    evaluation: e.EvaluationOpened | None = None
    evaluating: e.EvaluationProgressed | None = None
    evaluated: tuple[e.ModeEvaluated | e.BenchmarkFinished, ...] = ()
    evaluation_finished: e.EvaluationFinished | None = None
    export: e.ExportOpened | None = None
    exporting: e.ConversionProgressed | e.FidelityProgressed | e.UploadProgressed | None = None
    exported: tuple[e.GgufWritten | e.GgufKept, ...] = ()
    fidelity: tuple[e.FidelityMeasured | e.FidelitySkipped, ...] = ()
    created: e.ModelCreated | None = None
    pushed: e.ModelPushed | None = None
    export_finished: e.ExportFinished | None = None
    ab_test: e.AbTestOpened | None = None
    ab_testing: e.AbTestProgressed | None = None
    ab_measured: tuple[e.AbTestMeasured, ...] = ()
    ab_finished: e.AbTestFinished | None = None
    japanese: e.JapaneseTestOpened | None = None
    japanese_checked: tuple[e.JapaneseAnswerChecked, ...] = ()
    japanese_finished: e.JapaneseTestFinished | None = None
    pipeline: e.PipelineOpened | None = None
    stages: tuple[e.StageStarted | e.StageFinished, ...] = ()
    pipeline_finished: e.PipelineFinished | None = None
    failure: e.JobFailed | None = None
    warnings: tuple[e.Event, ...] = ()
    log: tuple[e.Event, ...] = ()

    @property
    def active(self) -> bool:
        """Whether a job is under way."""
        return self.state in ("running", "stopping")

    @property
    def stage(self) -> str:
        """The stage of the overnight chain that is under way; "" when none is."""
        last = self.stages[-1] if self.stages else None
        return last.stage if isinstance(last, e.StageStarted) else ""

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        resumed = self.resumes.last.step if self.resumes.last else 0
        return max(self.steps.last.step if self.steps.last else 0, resumed)

    @property
    def tokens_per_second(self) -> float | None:
        """Real tokens a second over the last twenty steps of this try."""
        recent = [s for s in (self.steps.chunks[-1] if self.steps.chunks else ())[-20:] if s.time >= self.started]
        seconds = sum(s.seconds for s in recent)
        return sum(s.tokens for s in recent) / seconds if seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Time to the last step at the pace of this try, validation and checkpoints included."""
        if not (self.plan and self.steps.last and self.state == "running"):
            return None
        begun = [s for s in self.steps if s.time >= self.started]
        if len(begun) < 3:
            return None
        pace = (begun[-1].time - begun[0].time) / (len(begun) - 1)
        return pace * (self.plan.steps - self.step)


def fold(snapshot: Snapshot, event: e.Event) -> Snapshot:
    """The snapshot after `event`."""
    changes = _changes(snapshot, event)
    if not isinstance(event, QUIET):
        changes["log"] = (*snapshot.log[-(LOG_LENGTH - 1) :], event)
    return replace(snapshot, version=snapshot.version + 1, **changes)


def replay(past: Iterable[e.Event]) -> Snapshot:
    """The picture of a stored run or chain. A job without an end was interrupted: its process died."""
    snapshot = Snapshot()
    for event in past:
        snapshot = fold(snapshot, event)
    return replace(snapshot, state="interrupted") if snapshot.active else snapshot


def with_history(snapshot: Snapshot, past: Iterable[e.Event]) -> Snapshot:
    """`snapshot` of a job that goes on with a run or a chain, with the curves that its earlier tries have left."""
    old = replay(past)
    return replace(snapshot, version=snapshot.version + 1, **{name: getattr(old, name) for name in CURVES})


def _anew() -> dict:
    """Nothing but the job and the curves: a chain that goes on tells its stages again."""
    kept = ("version", "state", "job", "command", "started", "ended", "log", *CURVES)
    return {one.name: getattr(Snapshot(), one.name) for one in fields(Snapshot) if one.name not in kept}


def _until(s: Snapshot, step: int) -> dict:
    """The curves without what an earlier try has drawn beyond `step`."""
    return {name: getattr(s, name).until(step) for name in ("steps", "validations", "scores")}


def _changes(s: Snapshot, event: e.Event) -> dict:
    match event:
        case e.JobStarted():
            return {"state": "running", "job": event.job, "command": event.command, "started": event.time, "ended": 0.0}
        case e.StopRequested():
            return {"state": "stopping"}
        case e.RunOpened():
            fresh = {} if event.resumed else {name: getattr(Snapshot(), name) for name in CURVES if name != "hardware"}
            return {"run": event.run, "folder": event.folder, "resumed": event.resumed, **fresh}
        case e.JobFinished():
            return {"state": "finished", "ended": event.time}
        case e.JobStopped():
            return {"state": "stopped", "ended": event.time}
        case e.JobFailed():
            return {"state": "failed", "ended": event.time, "failure": event}
        case e.DatasetRead():
            return {"dataset": event, "warnings": (*s.warnings, event) if event.skipped else s.warnings}
        case e.LengthsCounted():
            return {"lengths": event, "warnings": (*s.warnings, event) if event.too_long else s.warnings}
        case e.ModelLoaded():
            return {"model": event}
        case e.TrainingPlanned():
            return {"plan": event}
        case e.MemoryPlanned():
            return {"memory": event}
        case e.PackHalved():
            smaller = {"pack": event.after, "recomputed": event.recomputed, "bytes": None, "room": None}
            memory = s.memory and s.memory.model_copy(update=smaller)
            return {"memory": memory, "warnings": (*s.warnings, event)}
        case e.Resumed():
            return {"resumes": s.resumes.append(event), **_until(s, event.step), "saved": None, "failure": None}
        case e.StepFinished():
            seen = event.rotation_error if event.rotation_error is not None else s.rotation_error
            again = s.steps.last is not None and event.step <= s.steps.last.step  # a try without a checkpoint begins anew
            kept = _until(s, event.step - 1) if again else {"steps": s.steps}
            return {**kept, "steps": kept["steps"].append(event), "rotation_error": seen}
        case e.ValidationFinished():
            return {"validations": s.validations.append(event)}
        case e.ValidationScored():
            return {"scores": s.scores.append(event)}
        case e.CheckpointSaved():
            return {"checkpoints": s.checkpoints.append(event)}
        case e.CheckpointFailed() | e.CheckpointPutAside():
            return {"warnings": (*s.warnings, event)}
        case e.HardwareSampled():
            return {"hardware": s.hardware.append(event)}
        case e.PerformanceMeasured():
            return {"performance": event}
        case e.ModelSaved():
            return {"saved": event}
        case e.CheckStarted():
            return {"checks": (*s.checks, event)}
        case e.CheckFinished():
            return {"checks": (*s.checks[:-1], event)}
        case e.VerificationFinished():
            return {"verified": event}
        case e.EvaluationOpened():
            return {"evaluation": event}
        case e.EvaluationProgressed():
            return {"evaluating": event}
        case e.ModeEvaluated() | e.BenchmarkFinished():
            return {"evaluated": (*s.evaluated, event)}
        case e.EvaluationFinished():
            return {"evaluation_finished": event}
        case e.ExportOpened():
            return {"export": event}
        case e.ConversionProgressed() | e.FidelityProgressed() | e.UploadProgressed():
            return {"exporting": event}
        case e.GgufWritten() | e.GgufKept():
            return {"exported": (*s.exported, event)}
        case e.FidelityMeasured() | e.FidelitySkipped():
            return {"fidelity": (*s.fidelity, event)}
        case e.ModelCreated():
            return {"created": event}
        case e.ModelPushed():
            return {"pushed": event}
        case e.ExportFinished():
            return {"export_finished": event}
        case e.AbTestOpened():
            return {"ab_test": event, "ab_testing": None, "ab_measured": (), "ab_finished": None}
        case e.AbTestProgressed():
            return {"ab_testing": event}
        case e.AbTestMeasured():
            return {"ab_measured": (*(one for one in s.ab_measured if one.mode != event.mode), event)}
        case e.AbTestFinished():
            return {"ab_finished": event}
        case e.JapaneseTestOpened():
            return {"japanese": event, "japanese_checked": (), "japanese_finished": None}
        case e.JapaneseAnswerChecked():
            return {"japanese_checked": (*s.japanese_checked, event)}
        case e.JapaneseTestFinished():
            return {"japanese_finished": event}
        case e.PipelineOpened():
            return _anew() | {"pipeline": event}
        case e.StageStarted():
            return {"stages": (*s.stages, event)}
        case e.StageFinished():
            begun = s.stages and s.stages[-1] == e.StageStarted(stage=event.stage, time=s.stages[-1].time)
            return {"stages": (*(s.stages[:-1] if begun else s.stages), event)}
        case e.PipelineFinished():
            return {"pipeline_finished": event}
    return {}
