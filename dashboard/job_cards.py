"""What every tab that starts a job has: the one button with its reason, how the job ended, and a press that was refused."""

from collections.abc import Callable
from html import escape

from dashboard import cards
from dashboard.bridge import Page
from so8t_engine import EngineError, Snapshot, events

Words = Callable[..., str]
"""From the last part of a key, and facts, to the tab's own words of it."""


SETTINGS = ("config.", "model.", "ollama.")
"""Failures whose codes begin so are mended in the settings."""


def head(snapshot: Snapshot, page: Page, command: str, words: Words, *, more: str = "", why: str = "") -> str:
    """Title, the one button, and why it can't be pressed or what it does.

    more: HTML behind what it does. why: what the tab's form lacks, "" when nothing.
    """
    button, said = _action(snapshot, page, command, words, more, why)
    return (
        f'<header class="so-card-head"><h2>{escape(words("title"))}</h2>{button}</header>'
        f'<p class="so-job-note" role="status">{said}</p>'
    )


def _action(snapshot: Snapshot, page: Page, command: str, words: Words, more: str, why: str) -> tuple[str, str]:
    if snapshot.active and snapshot.command == command:
        stopping = snapshot.state == "stopping"
        label = words("stopping" if stopping else "stop")
        said = words("stopping_note" if stopping else "stop_note")
        return cards.button("stop", label, kind="so-primary so-danger", off=stopping), escape(said)
    said, off = " ".join(filter(None, (escape(why or words("note")), more))), bool(why)
    if snapshot.active:
        said, off = escape(words("busy", command=page.t(f"command.{snapshot.command}"))), True
    else:
        try:
            page.bridge.settings()
        except EngineError as error:
            counted = words("faults", count=len(getattr(error, "faults", ())) or 1)
            said, off = f"{escape(counted)} {cards.tab_link('config', page.t('train.edit_config'))}", True
    return cards.button("start", words("start"), kind="so-primary", off=off), said


def situation(
    snapshot: Snapshot, page: Page, command: str, words: Words, running: Callable[[], str], again: str
) -> str:  # fmt: skip
    """How far the tab's job is, why it failed, or that it was stopped; "" when there is nothing to say.

    words: of its progress; running: draws the job under way; again: the button (HTML) that goes on, "" for none.
    """
    if snapshot.command != command:
        return ""
    if snapshot.active:
        return running()
    if snapshot.failure:
        return failure(snapshot.failure, page, again)
    if snapshot.state == "stopped":
        return cards.trouble(page, words("stopped"), hint=words("stopped_hint") if again else "", actions=again, calm=True)
    return ""


def failure(failed: events.JobFailed, page: Page, again: str) -> str:
    """The card of a job that failed, with the button (HTML) that goes on and the way to the settings where they mend it."""
    what, hint = (page.error(failed.code, part, failed.facts) for part in ("what", "hint"))
    mend = cards.tab_link("config", page.t("train.edit_config"), kind="so-button")
    actions = again + (mend if failed.code.startswith(SETTINGS) else "")
    return cards.trouble(page, what, where=failed.where, hint=hint, details=failed.details, actions=actions)


def declined(page: Page, error: EngineError) -> str:
    """The card of a press that was refused: with the way to the settings where they are wrong, and one to close it."""
    about_settings = error.code.startswith("config.")
    fix = cards.tab_link("config", page.t("train.edit_config"), kind="so-button") if about_settings else ""
    close = f'<button type="button" class="so-button so-small" data-do="dismiss">{escape(page.t("keys.close"))}</button>'
    return cards.refused(page, error, fix + close)
