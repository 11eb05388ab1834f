"""The card of the verification before a run: the button, and the list of checks as it fills in."""

from html import escape

from dashboard import cards, numbers
from dashboard.bridge import Page
from so8t_engine import EngineError, Snapshot, events

COMMAND = "StartVerification"

MARKS = {"pass": "✓", "warn": "!", "fail": "✕", "skipped": "–"}
"""Beside its colour an outcome has a sign, and a word for a screen reader."""


def verify_card(snapshot: Snapshot, page: Page) -> str:
    """What was found so far, each check with what to do; before the first verification, what it is for."""
    parts = [_summary(snapshot, page)]
    if snapshot.checks:
        rows = "".join(_row(event, snapshot, page) for event in snapshot.checks)
        parts.append(f'<ol class="so-checks">{rows}</ol>')
    action, note = _action(snapshot, page)
    parts.append(f'<p class="so-note">{escape(note)}</p>' if note else "")
    return cards.card(page.t("verify.title"), "".join(parts), aside=action, kind="so-verify", name="verify")


def _action(snapshot: Snapshot, page: Page) -> tuple[str, str]:
    """The button, and why it can't be pressed; "" when it can."""
    if snapshot.active and snapshot.command == COMMAND:
        stopping = snapshot.state == "stopping"
        label = page.t("verify.stopping" if stopping else "verify.stop")
        return cards.button("stop", label, kind="so-danger", off=stopping), ""
    note = ""
    if snapshot.active:
        note = page.t("verify.busy", command=page.t(f"command.{snapshot.command}"))
    else:
        try:
            page.bridge.settings()
        except EngineError as error:
            note = page.t("verify.faults", count=len(getattr(error, "faults", ())) or 1)
    return cards.button("verify", page.t("verify.start"), off=bool(note)), note


def _summary(snapshot: Snapshot, page: Page) -> str:
    """The bar while it runs; then the verdict, the counts and where the results lie."""
    if snapshot.command != COMMAND:
        return f'<p class="so-empty">{escape(page.t("verify.empty"))}</p>'
    if snapshot.active:
        done = [event for event in snapshot.checks if isinstance(event, events.CheckFinished)]
        started = [event for event in snapshot.checks if isinstance(event, events.CheckStarted)]
        share = len(done) / started[-1].total if started else None
        return cards.bar(share, page.t("verify.progress"))
    if snapshot.failure:
        what, hint = (page.error(snapshot.failure.code, part, snapshot.failure.facts) for part in ("what", "hint"))
        return cards.trouble(page, what, where=snapshot.failure.where, hint=hint, details=snapshot.failure.details)
    verdict = snapshot.verified
    if verdict is None:
        return f'<p class="so-empty">{escape(page.t("verify.stopped"))}</p>'
    kind = "bad" if verdict.failed else "warned" if verdict.warned else "good"
    counts = {"pass": verdict.passed, "warn": verdict.warned, "fail": verdict.failed, "skipped": verdict.skipped}
    told = [page.t("verify.count", outcome=page.t(f"verify.outcome.{n}"), count=c) for n, c in counts.items() if c]
    took = numbers.duration(verdict.seconds, page.language)
    told.append(page.t("verify.when", clock=numbers.clock(verdict.time), time=took))
    return (
        f'<p class="so-verify-verdict so-{kind}" role="status">{escape(page.t(f"verify.{kind}"))}</p>'
        f'<p class="so-verify-counts">{escape(" · ".join(told))}</p>'
        f'<p class="so-verify-counts">{escape(page.t("verify.results"))} {cards.copyable(verdict.folder, page)}</p>'
    )


def _row(event: events.CheckStarted | events.CheckFinished, snapshot: Snapshot, page: Page) -> str:
    """One check: sign, name, what was found and what to do, seconds."""
    name = escape(page.t(f"verify.check.{event.name}"))
    if isinstance(event, events.CheckStarted):
        if not snapshot.active:
            return ""  # its end is not known: the job ended in it
        words = escape(page.t("verify.looking"))
        return f'<li class="so-check so-check-now"><i></i><b>{name}</b><div><p>{words}</p></div><span></span></li>'
    facts = event.facts
    if event.outcome == "skipped":
        facts = facts | {"check": page.t(f"verify.check.{facts['check']}")}
    parts = [f"<p>{escape(page.error(event.code, 'what', facts))}</p>"]
    if event.outcome in ("warn", "fail"):
        parts.append(f'<p class="so-check-hint">{escape(page.error(event.code, "hint", facts))}</p>')
        parts.append(_places(event, page))
    if event.details:
        parts.append(
            f'<details data-keep="{event.name}"><summary>{escape(page.t("trouble.details"))}</summary>'
            f"<pre>{escape(event.details)}</pre></details>"
        )
    word = escape(page.t(f"verify.outcome.{event.outcome}"))
    seconds = "" if event.outcome == "skipped" else numbers.fixed(event.seconds, 1, " s")
    mark = f'<i title="{word}"><span aria-hidden="true">{MARKS[event.outcome]}</span><span class="so-unseen">{word}</span></i>'
    return (
        f'<li class="so-check so-check-{event.outcome}">{mark}<b>{name}</b><div>{"".join(parts)}</div>'
        f"<span>{seconds}</span></li>"
    )


def _places(event: events.CheckFinished, page: Page) -> str:
    """The rows that are wrong, each with its line; else the one place."""
    if not event.faults:
        place = f'<p class="so-where">{escape(page.t("trouble.where"))} {cards.code(event.where)}</p>'
        return place if event.where else ""
    rows = "".join(
        f"<li>{cards.code(fault.where)} {escape(page.error(fault.code, 'what', fault.facts))}</li>"
        for fault in event.faults
    )
    return f"<ul>{rows}</ul>"
