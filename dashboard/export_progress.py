"""What runs at the Export tab: its stages with progress, and how it ended."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from dashboard import cards, job_cards, numbers
from dashboard.bridge import Page
from dashboard.export_cards import COMMAND, kind_name, model_name
from dashboard.export_gate import share
from so8t_engine import Snapshot, events

STAGES = ("write", "check", "gate", "upload", "create")


def situation(snapshot: Snapshot, page: Page) -> str:
    """How far the present export is, why it failed, or that it was stopped; "" when there is nothing to say."""
    return job_cards.situation(
        snapshot, page, COMMAND, lambda key: page.t(f"export.progress.{key}"), lambda: _progress(snapshot, page),
        _go_on(snapshot, page),
    )  # fmt: skip


def _go_on(snapshot: Snapshot, page: Page) -> str:
    """The button that goes on with the files that are whole; a file that has drifted would drift again."""
    drifted = snapshot.failure and snapshot.failure.code == "export.drifted"
    return cards.button("go_on", page.t("export.progress.go_on")) if snapshot.export and not drifted else ""


def _progress(snapshot: Snapshot, page: Page) -> str:
    opened = snapshot.export
    if opened is None:
        words = page.t("export.progress.opening")
        return cards.card(words, cards.bar(None, words), kind="so-export-progress", name="exporting")
    told = [model_name(opened.name, page), " + ".join(kind_name(kind, page) for kind in opened.quantizations)]
    told += [f"Ollama: {opened.push}"] if opened.push else []
    told += [page.t("export.progress.resumed")] if opened.resumed else []
    wanted = stages(opened)
    present = _present(snapshot, wanted)
    lines = "".join(_line(stage, wanted.index(stage), present, snapshot, page) for stage in wanted)
    title = page.t("state.stopping" if snapshot.state == "stopping" else "export.progress.title")
    body = f'<p class="so-export-about">{escape(" · ".join(told))}</p><ol class="so-export-lines">{lines}</ol>'
    return cards.card(title, body, kind="so-export-progress", name="exporting")


def stages(opened: events.ExportOpened) -> list[str]:
    """The stages that this export has."""
    left_out = ([] if opened.gate else ["gate"]) + ([] if opened.push else ["upload", "create"])
    return [stage for stage in STAGES if stage not in left_out]


def _present(snapshot: Snapshot, wanted: Sequence[str]) -> int:
    """The index of the stage that is under way; behind the last one when all is done but the end."""
    last, count = snapshot.exporting, len(snapshot.export.quantizations)
    written = len(snapshot.exported) >= count
    skipped = any(isinstance(event, events.FidelitySkipped) for event in snapshot.fidelity)
    sending = isinstance(last, events.UploadProgressed)
    done = {
        "write": written or (isinstance(last, events.ConversionProgressed) and last.stage == "check"),
        "check": written,
        "gate": sending or skipped or len(snapshot.fidelity) >= count,
        "upload": snapshot.created is not None or (sending and last.sent >= last.total),
        "create": snapshot.pushed is not None,
    }
    return next((index for index, stage in enumerate(wanted) if not done[stage]), len(wanted))


def whole(snapshot: Snapshot) -> float:
    """How far the export is: each stage counts the same, for nobody knows yet how long the later ones take."""
    wanted = stages(snapshot.export)
    present = _present(snapshot, wanted)
    part = _part(wanted[present], snapshot) if present < len(wanted) else None
    return (present + (part or 0.0)) / len(wanted)


def at(snapshot: Snapshot) -> str:
    """The stage that is under way: one of STAGES."""
    wanted = stages(snapshot.export)
    return wanted[min(_present(snapshot, wanted), len(wanted) - 1)]


def stage_now(snapshot: Snapshot, page: Page) -> str:
    """The name of the stage that is under way."""
    return page.t(f"export.stage.{at(snapshot)}")


def _part(stage: str, snapshot: Snapshot) -> float | None:
    """The share of a stage under way that is done; None while that is not known."""
    match snapshot.exporting:
        case events.ConversionProgressed(stage=now, done=done, total=total) if now == stage and total:
            return done / total
        case events.UploadProgressed(sent=sent, total=total) if stage == "upload" and total:
            return sent / total
        case events.FidelityProgressed() as told if stage == "gate":
            parts = _parts(snapshot)
            before = parts.index(told.quantization)
            return (before + (told.done / told.total if told.total else 0)) / len(parts)
    return None


def _parts(snapshot: Snapshot) -> tuple[str, ...]:
    """Who goes through the prompts, in order: the model first, then each file."""
    return "", *snapshot.export.quantizations


def _line(stage: str, index: int, present: int, snapshot: Snapshot, page: Page) -> str:
    """One line: name, bar, how much of how much, time left; under it what is done, or what came out."""
    name = page.t(f"export.stage.{stage}")
    label = page.t("export.progress.bar", stage=name)
    if index < present:
        return _row(
            "done", name, cards.bar(1.0, label), "", page.t("export.progress.done"), _found(stage, snapshot, page)
        )
    if index > present:
        return _row("waiting", name, cards.bar(0.0, label), "", page.t("export.progress.waiting"), "")
    count, left, about = told(stage, snapshot, page)
    bar = cards.bar(_part(stage, snapshot), label)
    return _row("now", name, bar, count, left, about or page.t(f"export.stage_help.{stage}"))


def _row(state: str, name: str, bar: str, count: str, left: str, detail: str) -> str:
    return (
        f'<li class="so-export-line so-export-{state}"><b>{escape(name)}</b>{bar}<span>{escape(count)}</span>'
        f"<span>{escape(left)}</span><small>{escape(detail)}</small></li>"
    )


def _found(stage: str, snapshot: Snapshot, page: Page) -> str:
    """What a stage that is done has found."""
    if stage == "write" and snapshot.exported and all(isinstance(e, events.GgufKept) for e in snapshot.exported):
        return page.t("export.progress.kept")
    if stage == "check":
        return " · ".join(
            f"{kind_name(event.quantization, page)} {numbers.file_size(event.bytes)}" for event in snapshot.exported
        )
    if stage == "gate":
        if any(isinstance(event, events.FidelitySkipped) for event in snapshot.fidelity):
            return page.t("export.progress.skipped")
        return _agreements(snapshot, page)
    return ""


def _agreements(snapshot: Snapshot, page: Page) -> str:
    measured = (event for event in snapshot.fidelity if isinstance(event, events.FidelityMeasured))
    return " · ".join(
        page.t("export.progress.passed", kind=kind_name(event.quantization, page), share=share(event.agreement[0]))
        for event in measured
    )


def told(stage: str, snapshot: Snapshot, page: Page) -> tuple[str, str, str]:
    """(how much of how much, time left, what is done) of the stage that is under way."""
    match snapshot.exporting:
        case events.ConversionProgressed(stage=now) as last if now == stage:
            return _bytes(last.done, last.total, last.seconds), _left(last.done, last.total, last.seconds, page), ""
        case events.UploadProgressed() as last if stage == "upload":
            left = _left(last.sent, last.total, last.seconds, page)
            return _bytes(last.sent, last.total, last.seconds), left, Path(last.file).name
        case events.FidelityProgressed() as last if stage == "gate":
            who = kind_name(last.quantization, page) if last.quantization else page.t("export.progress.model")
            count = page.t("export.progress.count", done=f"{last.done:,}", total=f"{last.total:,}")
            after = len(snapshot.export.quantizations) - _parts(snapshot).index(last.quantization)
            left = _left(last.done, last.total * (1 + after), last.seconds, page)
            return (
                count,
                left,
                " · ".join(filter(None, (_agreements(snapshot, page), page.t("export.progress.asked", who=who)))),
            )
    return "", "", ""


def _bytes(done: int, total: int, seconds: float) -> str:
    pace = f" · {done / seconds / 1e6:,.0f} MB/s" if done and seconds > 0.2 else ""
    return f"{numbers.file_size(done)} / {numbers.file_size(total)}{pace}"


def _left(done: int, total: int, seconds: float, page: Page) -> str:
    """At an even pace; "" before there is one."""
    if not done or seconds < 0.5:
        return ""
    return page.t("header.left", time=numbers.duration((total - done) * seconds / done, page.language))
