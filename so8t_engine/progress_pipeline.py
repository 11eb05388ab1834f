"""The lines on an overnight chain: headings of its stages, how each ended, and all of it at the end."""

from so8t_engine import events as e
from so8t_engine.ab_tests import verdict
from so8t_engine.errors import sentence
from so8t_engine.snapshot import Snapshot


def describe(event: e.Event, snapshot: Snapshot, language: str) -> str:
    """Lines on an event of the chain, "" for any other. snapshot: as it is after the event."""
    match event:
        case e.PipelineOpened():
            going_on = " (going on with it)" if event.resumed else ""
            return f"overnight chain {event.pipeline} in {event.folder}{going_on}: {', '.join(event.stages)}"
        case e.StageStarted():
            stages = snapshot.pipeline.stages
            return f"\n== {stages.index(event.stage) + 1}/{len(stages)} {event.stage}"
        case e.StageFinished():
            return "   " + _ended(event, language)
        case e.PipelineFinished():
            return _summary(event, snapshot, language)
    return ""


def clock(seconds: float) -> str:
    """83 -> "1:23"; 4983 -> "1:23:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _ended(event: e.StageFinished, language: str) -> str:
    """How a stage ended: time and figures, or why it was not run."""
    parts = [event.outcome.replace("_", " ")]
    if event.outcome in ("finished", "kept"):
        parts[0] += f" in {clock(event.seconds)}"
        parts += [f"{name} {value}" for name, value in event.figures.items()]
    elif event.outcome == "not_needed":  # the retrained model has not won: if one is better, it is the base
        parts.append(verdict("base", event.code, event.facts, "what", language))
    else:
        parts.append(sentence(event.code, "what", language, event.facts))
    return f"{event.stage}: {'; '.join(filter(None, parts))}"


def _summary(event: e.PipelineFinished, snapshot: Snapshot, language: str) -> str:
    ended = [one for one in snapshot.stages if isinstance(one, e.StageFinished)]
    tested = any(one.stage == "ab_test" and one.outcome != "skipped" for one in ended)
    winner = f"winner: {event.winner or 'none'}" if tested else ""
    pushed = f"in Ollama: ollama run {event.pushed}" if event.pushed else ""
    lines = ["", *(f"   {_ended(one, language)}" for one in ended), winner, pushed]
    return "\n".join([*filter(None, lines), f"complete_pipeline_results.json in {event.folder}"])
