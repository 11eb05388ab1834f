"""The line that is always visible: what runs now, how far it is, what the machine does, Stop.

The element's data attributes carry the same to the page's title and favicon (page.js).
"""

from collections.abc import Sequence
from html import escape

from dashboard import ab_test_cards, cards, numbers, overnight_progress
from dashboard.bridge import Page
from dashboard.evaluate_cards import seconds_left
from dashboard.export_progress import stage_now, whole
from so8t_engine import Snapshot

TABS = {
    "StartTraining": "train", "RunEvaluation": "evaluate", "RunAbTest": "ab_test", "ExportModel": "export",
    "RunPipeline": "overnight", "RunJapaneseTest": "overnight", "StartVerification": "config",
}  # fmt: skip
"""Where a job is watched: that tab has a dot while it runs."""

SPARK_SAMPLES = 60
"""Hardware samples in a sparkline: the last two minutes."""


def header(snapshot: Snapshot, page: Page) -> str:
    """The header's HTML."""
    share = progress(snapshot)
    overall = overnight_progress.whole(snapshot) if snapshot.command == overnight_progress.COMMAND else share
    percent = "" if overall is None else f"{100 * overall:.0f}"
    state = {"stopping": "running", "stopped": "idle", "interrupted": "failed"}.get(snapshot.state, snapshot.state)
    parts = _now(snapshot, page)
    line = " · ".join(text for _, text in parts)
    words = "".join(f'<span class="so-now-{kind}">{escape(text)}</span>' for kind, text in parts)
    stop = cards.button(
        "stop", page.t("header.stop"), kind="so-small so-danger", off=snapshot.state == "stopping",
        title=_stop_title(snapshot, page),
    ) if snapshot.active else ""  # fmt: skip
    return (
        f'<div class="so-header-row" data-state="{state}" data-percent="{percent}" data-job="{escape(snapshot.job)}" '
        f'data-command="{escape(command(snapshot, page))}" data-tab="{TABS.get(snapshot.command, "")}" data-version="{snapshot.version}">'
        f'<a class="so-name" href="?tab=train" data-open-tab="train">SO8T <b>Studio</b></a>'
        f'{_languages(page)}'
        f'<div class="so-now so-is-{escape(snapshot.state)}" role="status" title="{escape(line)}">'
        f'<i class="so-dot" aria-hidden="true"></i><span>{words}</span></div>'
        f'{_machine(snapshot, page)}{stop}</div>'
        + (cards.bar(share, page.t("header.progress")) if snapshot.active else '<div class="so-bar so-idle"></div>')
    )


def _stop_title(snapshot: Snapshot, page: Page) -> str:
    """What Stop does, or is doing; only a training has steps and checkpoints."""
    stopping = snapshot.state == "stopping"
    if snapshot.command == "StartTraining":
        return page.t("train.stopping_note" if stopping else "header.stop_title")
    return page.t("header.stopping_other" if stopping else "header.stop_title_other")


def command(snapshot: Snapshot, page: Page) -> str:
    """What the job does, as a noun."""
    return page.t(f"command.{snapshot.command}") if snapshot.command else ""


def progress(snapshot: Snapshot) -> float | None:
    """The share of the steps that are done, of the rows of the mode that is measured, of the A/B test's decisions, or of
    the export's work; in an overnight chain that of its present stage.

    None before it is known.
    """
    if snapshot.command == overnight_progress.COMMAND:
        return overnight_progress.share(snapshot)
    if snapshot.command == ab_test_cards.COMMAND:
        now = snapshot.ab_testing
        return now.done / now.total if now and now.total else None
    if snapshot.export and snapshot.active:
        return whole(snapshot)
    if snapshot.evaluating:
        return snapshot.evaluating.done / snapshot.evaluating.total if snapshot.evaluating.total else None
    if not snapshot.plan or not snapshot.plan.steps:
        return None
    return min(1.0, snapshot.step / snapshot.plan.steps)


def _now(snapshot: Snapshot, page: Page) -> list[tuple[str, str]]:
    """ "再学習", the run, "step 142/600", "残り 1分40秒": as many of them as are known, each with its kind."""
    if not snapshot.command:
        return [("state", page.t("state.idle"))]
    parts = [("command", command(snapshot, page))]
    if not snapshot.active:
        parts.append(("state", page.t(f"state.{snapshot.state}")))
    if snapshot.run:
        parts.append(("run", snapshot.run))
    if snapshot.command == overnight_progress.COMMAND:
        return parts + _stage(snapshot, page)
    if snapshot.plan:
        parts.append(("steps", f"step {snapshot.step:,}/{snapshot.plan.steps:,}"))
    if now := snapshot.evaluating if snapshot.active else None:
        parts.append(("steps", f"{page.t(f'evaluate.mode.{now.mode}')} {now.done:,}/{now.total:,}"))
    if snapshot.export and snapshot.active:
        parts.append(("steps", stage_now(snapshot, page)))
    left = seconds_left(now) if now else snapshot.seconds_left
    if tested := snapshot.ab_testing if snapshot.active and snapshot.command == ab_test_cards.COMMAND else None:
        parts.append(("steps", f"{ab_test_cards.at_work(tested, page)} {tested.done:,}/{tested.total:,}"))
        left = tested.seconds_left if tested.done < tested.total else None
    return parts + _left(left, snapshot, page)


def _stage(snapshot: Snapshot, page: Page) -> list[tuple[str, str]]:
    """ "3/6 A/Bテスト", "240/500", "残り 4分": of the present stage of an overnight chain."""
    if not snapshot.active:
        return []
    told = (overnight_progress.place(snapshot, page), overnight_progress.count(snapshot, page))
    return [("steps", text) for text in told if text] + _left(overnight_progress.left(snapshot), snapshot, page)


def _left(seconds: float | None, snapshot: Snapshot, page: Page) -> list[tuple[str, str]]:
    """The time left, or that the job is about to stop."""
    if snapshot.state == "stopping":
        return [("state", page.t("state.stopping"))]
    if seconds is None:
        return []
    return [("left", page.t("header.left", time=numbers.duration(seconds, page.language)))]


def _languages(page: Page) -> str:
    links = []
    for language, name in (("ja", "日本語"), ("en", "English")):
        current = ' aria-current="true"' if language == page.language else ""
        links.append(f'<a href="/{language}/" lang="{language}" data-language="{language}"{current}>{name}</a>')
    return f'<nav class="so-languages" aria-label="{escape(page.t("header.language"))}">{"".join(links)}</nav>'


def _machine(snapshot: Snapshot, page: Page) -> str:
    """Three small numbers of the card; without one, CPU and RAM. Nothing is measured while nothing runs."""
    last = snapshot.hardware.last
    if last is None or not snapshot.active:
        note = escape(page.t("header.measured_later"))
        name = escape(page.bridge.engine.card() or "CPU")
        return (
            f'<div class="so-machine so-quiet" title="{note}"><span class="so-gauge"><b>{name}</b></span>'
            f'<span class="so-unseen">{note}</span></div>'
        )
    samples = snapshot.hardware.chunks[-2:]
    recent = [sample for chunk in samples for sample in chunk][-SPARK_SAMPLES:]
    if last.gpu_name is None:
        figures = [
            ("CPU", f"{last.cpu:.0f} %", [s.cpu for s in recent], 100.0),
            ("RAM", numbers.gib(last.ram_used), [s.ram_used for s in recent], float(last.ram_total)),
        ]
    else:
        figures = [
            ("GPU", numbers.percent(last.gpu, 0), [s.gpu for s in recent], 100.0),
            ("VRAM", numbers.gib(last.vram_used), [s.vram_used for s in recent], float(last.vram_total or 0)),
            (page.t("header.temperature"), numbers.fixed(last.temperature, 0, " °C"),
             [s.temperature for s in recent], 100.0),
        ]  # fmt: skip
    cells = "".join(
        f'<span class="so-gauge"><small>{escape(name)}</small><b>{escape(value)}</b>{sparkline(values, top)}</span>'
        for name, value, values, top in figures
    )
    return f'<div class="so-machine">{cells}</div>'


def sparkline(values: Sequence[float | None], top: float) -> str:
    """A small curve of the last values between 0 and `top`."""
    measured = [value for value in values if value is not None]
    if len(measured) < 2 or top <= 0:
        return '<svg class="so-spark" viewBox="0 0 40 16" aria-hidden="true"></svg>'
    width = 40 / (len(measured) - 1)
    points = " ".join(f"{i * width:.1f},{15 - 14 * min(v / top, 1.0):.1f}" for i, v in enumerate(measured))
    return f'<svg class="so-spark" viewBox="0 0 40 16" aria-hidden="true"><polyline points="{points}"/></svg>'
