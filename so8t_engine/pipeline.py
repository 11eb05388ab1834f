"""The overnight chain: one stage after the other, each where an earlier try has left it. A generator of events.

complete_pipeline_results.json is written before a stage begins, with the folder that it will use, and when it has
ended: whenever the process dies, the next try knows what is done and where the rest goes on.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from so8t_engine import config, pipelines, runs
from so8t_engine import events as e
from so8t_engine.data.sources import fingerprint
from so8t_engine.errors import BadInput, Busy, EngineError
from so8t_engine.model.memory import give_back
from so8t_engine.pipeline_chain import Chain
from so8t_engine.pipeline_checks import check, check_names, leave_out
from so8t_engine.pipeline_record import Entry, Record
from so8t_engine.pipeline_stages import CHAIN, Stage
from so8t_engine.runs import Pipeline, Run
from so8t_engine.settings import STAGES, Settings

FREE = (
    "pipeline.skip", "pipeline.ollama_name", "pipeline.accept_visible_thinking", "pipeline.sound", "ollama.", "think.",
    "checkpoint.",
)  # fmt: skip
"""May be changed before a chain goes on: no result of an earlier stage depends on them."""


def open_pipeline(settings: Settings, output: str, resume: str = "auto") -> tuple[Pipeline, bool]:
    """The chain that a command means, and whether an earlier try has begun it. Nothing is written.

    output: the chain's own folder; "" for the newest unfinished chain of the same settings, or a new one; with `resume`
        "never" for a new one.
    Raises BadInput when the folder holds something else, or a chain of other settings.
    """
    root = settings.resolve(settings.runs)
    if not output:
        for stored in pipelines.stored(root) if resume == "auto" else ():
            if not stored.finished and _goes_on(stored, settings):
                return stored.place, True
        return Pipeline.at(Pipeline.new(root).folder), False
    place = Pipeline.at(output)
    if place.results.exists():
        if names := _differing(pipelines.read(place.folder), settings):
            raise BadInput("pipeline.other_settings", where=str(place.folder), names=", ".join(names))
        return place, True
    begun = (place.config_file.name, place.results.name, ".lock")  # of a try that was killed before its first results
    there = place.folder.iterdir() if place.folder.is_dir() else [place.folder] if place.folder.exists() else []
    if any(not path.name.startswith(begun) for path in there):
        raise BadInput("pipeline.folder_taken", where=str(place.folder))
    return place, False


def pipeline(
    settings: Settings, place: Pipeline, resumed: bool, skip: Sequence[str], force: Sequence[str], cancel
) -> Iterator[e.Event]:
    """Run the chain in `place` to its end; what an earlier try has finished is kept.

    Args:
        settings: those of earlier tries, but for what FREE names.
        place, resumed: as `open_pipeline` gives them.
        skip: stages to leave out, beside those of the settings.
        force: stages to do anew although an earlier try has finished them, with all that follow.
        cancel: anything with `is_set()`. A stopped chain goes on with the same stage.

    Yields:
        PipelineOpened, StageStarted and StageFinished with the stage's own events between them, PipelineFinished.

    Raises:
        BadInput, EngineError: what would stop a later stage for sure, before anything is written; that of a stage,
            behind its StageFinished.
        Busy: another process is at work on it.
    """
    left_out = frozenset(skip) | frozenset(settings.pipeline.skip)
    check_names(left_out, force)
    with ExitStack() as held:
        if resumed:
            _lock(held, place)
        chain = Chain(settings, Record.open(place), left_out)
        _force(chain.record, force)
        leave_out(chain)
        check(chain)
        if not resumed:
            chain.record.make()
            _lock(held, place)
        chain.record.begin(settings)
        yield e.PipelineOpened(pipeline=place.id, folder=str(place.folder), stages=STAGES, resumed=resumed)
        for stage in CHAIN:
            yield from _stage(chain, stage, cancel)
            if cancel.is_set():
                return
        yield _finished(chain)


def _lock(held: ExitStack, place: Pipeline) -> None:
    try:
        held.enter_context(place.lock())
    except Busy:
        raise Busy("pipeline.locked", where=str(place.folder)) from None


def _force(record: Record, force: Sequence[str]) -> None:
    """Forget the first of these stages that is finished, and all behind it."""
    for number, name in enumerate(STAGES):
        if name in force and record.stages[name].state == "finished":
            record.forget(STAGES[number:])
            return


def _stage(chain: Chain, stage: Stage, cancel) -> Iterator[e.Event]:
    """One stage: to its end, or why it is not done now."""
    entry = chain.record.stages[stage.name]
    if entry.state == "skipped":
        yield _told(stage, entry, "skipped")
        return
    if chain.ended and STAGES.index(stage.name) > STAGES.index("ab_test"):
        verdict = chain.record.verdict
        entry = chain.record.stages[stage.name] = Entry("not_needed", code=verdict["code"], facts=verdict["facts"])
        chain.record.save()
        yield _told(stage, entry, "not_needed")
        return
    try:
        if _kept(chain, stage, entry):
            yield _told(stage, entry, "kept")
            return
        yield from _worked(chain, stage, entry, cancel)
    except Exception as error:
        _failed(chain.record, entry, error)
        yield _told(stage, entry, "failed")
        raise


def _kept(chain: Chain, stage: Stage, entry: Entry) -> bool:
    """Whether an earlier try has come to the end of the stage, even if it could not note that any more."""
    if entry.state not in ("finished", "running", "failed") or not stage.whole(chain, entry):
        return False
    if entry.state != "finished":
        _note(chain, stage, entry)
    return True


def _worked(chain: Chain, stage: Stage, entry: Entry, cancel) -> Iterator[e.Event]:
    entry.folders = [str(folder) for folder in stage.folders(chain, entry)]
    entry.state, entry.code, entry.where, entry.facts = "running", "", "", {}
    entry.results, entry.figures = {}, {}
    chain.record.save()
    yield e.StageStarted(stage=stage.name)
    begun = time.monotonic()
    try:
        yield from stage.work(chain, entry, cancel)
    finally:
        entry.seconds += time.monotonic() - begun
        give_back()  # what the stage has held: a model may hang in a ring of references
    if cancel.is_set():
        chain.record.save()
        return
    _note(chain, stage, entry)
    yield _told(stage, entry, "finished")


def _note(chain: Chain, stage: Stage, entry: Entry) -> None:
    """The stage has come to its end: keep what it has found."""
    entry.results, entry.figures = stage.results(chain, entry)
    entry.state, entry.code, entry.where, entry.facts = "finished", "", "", {}
    chain.record.save()


def _failed(record: Record, entry: Entry, error: Exception) -> None:
    """Keep why. Where even that can't be written, the error itself matters more."""
    entry.state = record.state = "failed"
    if isinstance(error, EngineError):
        entry.code, entry.where, entry.facts = error.code, error.where, error.facts
    else:
        entry.code, entry.where = "engine.unexpected", ""
        entry.facts = {"reason": f"{type(error).__name__}: {error}"}
    with suppress(EngineError):
        record.save()


def _told(stage: Stage, entry: Entry, outcome: str) -> e.StageFinished:
    code = "pipeline.kept" if outcome == "kept" else entry.code
    return e.StageFinished(
        stage=stage.name, outcome=outcome, seconds=entry.seconds, folder=entry.folders[-1] if entry.folders else "",
        code=code, where=entry.where, facts=entry.facts, figures=entry.figures,
    )  # fmt: skip


def _finished(chain: Chain) -> e.PipelineFinished:
    record = chain.record
    record.state = "finished"
    record.save()
    return e.PipelineFinished(
        folder=str(record.place.folder), winner=record.winner, pushed=record.pushed, seconds=record.seconds
    )


def _goes_on(stored: pipelines.Stored, settings: Settings) -> bool:
    """Whether `settings` are those of the chain, and its training can go on with the dataset as it is now."""
    try:
        train = stored.results["stages"]["train"]
        if _differing(stored, settings):
            return False
        begun = [Path(folder) for folder in train["folders"] if runs.is_run(Path(folder))]
        if train["state"] not in ("running", "failed") or not begun:
            return True
        return Run.at(begun[0]).record["dataset"] == fingerprint(settings.resolve(settings.dataset))
    except BadInput:
        return False


def _differing(stored: pipelines.Stored, settings: Settings) -> list[str]:
    """The settings in which the two differ, as "name: old -> new"."""
    before, after = _shaping(stored.settings()), _shaping(settings)
    return [f"{name}: {before[name]} -> {after[name]}" for name in after if before[name] != after[name]]


def _shaping(settings: Settings) -> dict[str, object]:
    """What shapes the results of a chain; paths as absolute ones."""
    values = config.to_values(settings) | {
        name: str(settings.resolve(getattr(settings, name))) for name in ("base_model", "dataset", "runs")
    }
    return {name: value for name, value in values.items() if not name.startswith(FREE)}
