"""How far the stage of the overnight chain is that is under way: its place, its count, its share, its time left.

What earlier stages have left on the snapshot does not count: `Snapshot.stage` says whose figures are meant.
"""

from dashboard.bridge import Page
from dashboard.evaluate_cards import PARTS, seconds_left
from dashboard.export_progress import stage_now
from dashboard.export_progress import whole as export_whole
from so8t_engine import Snapshot, events

COMMAND = "RunPipeline"


def place(snapshot: Snapshot, page: Page) -> str:
    """ "3/6 A/Bテスト"; "" between two stages."""
    if not (snapshot.stage and snapshot.pipeline):
        return ""
    stages = snapshot.pipeline.stages
    return f"{stages.index(snapshot.stage) + 1}/{len(stages)} {page.t(f'overnight.stage.{snapshot.stage}')}"


def count(snapshot: Snapshot, page: Page) -> str:
    """ "240/500", or what the stage is at; "" before that is known."""
    done, total = _done(snapshot)
    told = f"{done:,}/{total:,}" if total else ""
    match snapshot.stage:
        case "train" if told:
            return f"step {told}"
        case "evaluate" if told:
            return f"{page.t(f'evaluate.mode.{snapshot.evaluating.mode}')} {told}"
        case "export":
            return stage_now(snapshot, page) if snapshot.export else ""
        case "ollama":
            return page.t("export.stage.create" if snapshot.created else "export.stage.upload")
    return told


def share(snapshot: Snapshot) -> float | None:
    """How much of the stage is done, 0.0 to 1.0; None before that is known."""
    if snapshot.stage == "export":
        return export_whole(snapshot) if snapshot.export else None
    done, total = _done(snapshot)
    number, parts = _part(snapshot)
    return (number + min(1.0, done / total)) / parts if total else None


def whole(snapshot: Snapshot) -> float | None:
    """How much of the chain is done: each stage counts the same, for nobody knows yet how long the later ones take."""
    if snapshot.pipeline is None:
        return None
    ended = {event.stage for event in snapshot.stages if isinstance(event, events.StageFinished)}
    return (len(ended) + (share(snapshot) or 0.0)) / len(snapshot.pipeline.stages)


def left(snapshot: Snapshot) -> float | None:
    """Seconds to the end of the stage at the pace of this try; None where that is not known."""
    match snapshot.stage:
        case "train":
            return snapshot.seconds_left
        case "evaluate" if snapshot.evaluating:
            number, parts = _part(snapshot)
            return seconds_left(snapshot.evaluating) if number == parts - 1 else None
        case "ab_test" if snapshot.ab_testing:
            return snapshot.ab_testing.seconds_left
        case "japanese_test" if snapshot.japanese_checked:
            done, total = _done(snapshot)
            asked = snapshot.japanese_checked
            return sum(one.seconds for one in asked) / len(asked) * (total - done)
    return None


def _part(snapshot: Snapshot) -> tuple[int, int]:
    """(number, parts): an evaluation goes through the rows once for each of its parts; number counts from 0."""
    opened, told = snapshot.evaluation, snapshot.evaluating
    if snapshot.stage != "evaluate" or not (opened and told):
        return 0, 1
    parts = [part for mode in opened.modes for part in PARTS[mode]]
    return (parts.index(told.mode), len(parts)) if told.mode in parts else (0, 1)


def _done(snapshot: Snapshot) -> tuple[int, int]:
    """(done, total) of what the stage counts; total is 0 before that is known."""
    match snapshot.stage:
        case "train" if snapshot.plan:
            return snapshot.step, snapshot.plan.steps
        case "evaluate" if told := snapshot.evaluating:
            return told.done, told.total
        case "ab_test" if told := snapshot.ab_testing:
            return told.done, told.total
        case "ollama" if isinstance(told := snapshot.exporting, events.UploadProgressed):
            return told.sent, told.total
        case "japanese_test" if opened := snapshot.japanese:
            before = 0 if opened.model == "original" else opened.prompts  # the original is asked first
            asked = snapshot.japanese_checked
            return before + (asked[-1].done if asked else 0), 2 * opened.prompts
    return 0, 0
