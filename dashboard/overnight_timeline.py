"""The stages of a chain as a vertical timeline: what waits, what runs and how far, what came out and where it lies."""

from collections.abc import Mapping
from functools import partial
from html import escape
from pathlib import Path

from dashboard import cards, job_cards, numbers
from dashboard.bridge import Page
from dashboard.overnight_chain import Chain, Stage, of_snapshot
from dashboard.overnight_figures import figure
from dashboard.overnight_now import Now, now
from dashboard.overnight_progress import COMMAND
from so8t_engine import STAGES, Snapshot

DETAILS = {"train": "train", "evaluate": "evaluate", "ab_test": "ab_test", "export": "export", "ollama": "export"}
"""The tab that shows more of a stage."""

Details = Mapping[str, str]
"""Further HTML under a stage, by its name."""


def situation(snapshot: Snapshot, page: Page) -> str:
    """The chain that runs; what kept it from opening; "" once it has opened and ended, as its folder tells of that."""
    chain = of_snapshot(snapshot)
    if chain and not snapshot.active:
        return ""
    words = partial(_words, page)
    return job_cards.situation(snapshot, page, COMMAND, words, lambda: _running_card(snapshot, chain, page), "")


def _words(page: Page, key: str, **facts: object) -> str:
    return page.t(f"overnight.ended.{key}", **facts)


def _running_card(snapshot: Snapshot, chain: Chain | None, page: Page) -> str:
    if chain is None:
        words = page.t("overnight.now.opening")
        return cards.card(words, cards.bar(None, words), kind="so-overnight-live", name="chain")
    title = page.t("state.stopping" if snapshot.state == "stopping" else "overnight.live.title")
    about = page.t("overnight.live.resumed" if snapshot.pipeline.resumed else "overnight.live.begun")
    return cards.card(
        title, f'<p class="so-overnight-about">{escape(about)}</p>{timeline(chain, page, now(snapshot, page))}',
        aside=count(chain, page), kind="so-overnight-live", name="chain",
    )  # fmt: skip


def count(chain: Chain, page: Page) -> str:
    """How many of the stages are done."""
    return f'<span class="so-aside">{escape(page.t("overnight.live.count", done=chain.done, total=len(chain.stages)))}</span>'


def waiting(page: Page) -> str:
    """The stages of a chain that nobody has begun."""
    return timeline(Chain("", "", tuple(Stage(name) for name in STAGES), finished=False), page)


def timeline(chain: Chain, page: Page, present: Now | None = None, details: Details | None = None) -> str:
    """All stages, in order. present: how far the one is that runs."""
    items = "".join(_item(stage, page, present, (details or {}).get(stage.name, "")) for stage in chain.stages)
    return f'<ol class="so-stages">{items}</ol>'


def _item(stage: Stage, page: Page, present: Now | None, more: str) -> str:
    name = page.t(f"overnight.stage.{stage.name}")
    runs = present if stage.state == "running" else None
    body = _running(stage, runs, page) if runs else _ended(stage, page)
    state = escape(page.t(f"overnight.state.{stage.state}"))
    took = f" · {escape(numbers.duration(stage.seconds, page.language))}" if stage.seconds and stage.state != "skipped" else ""
    current = ' aria-current="step"' if runs else ""
    return (
        f'<li class="so-stage so-stage-{stage.state}" data-stage="{stage.name}"{current}><i aria-hidden="true"></i>'
        f"<header><h3>{escape(name)}</h3><span>{state}{took}</span></header>{body}{more}</li>"
    )


def _running(stage: Stage, present: Now, page: Page) -> str:
    label = page.t("overnight.now.bar", stage=page.t(f"overnight.stage.{stage.name}"))
    told = "".join(f"<span>{escape(words)}</span>" for words in (present.count, present.left))
    return (
        f"{cards.bar(present.share, label)}"
        f'<p class="so-stage-line"><span>{escape(present.about)}</span>{told}</p>{_figures(present.figures)}'
    )


def _ended(stage: Stage, page: Page) -> str:
    words = _line(stage, page)
    line = f'<p class="so-stage-line">{escape(words)}</p>' if words else ""
    told = [figure(stage.name, name, text, page) for name, text in stage.figures.items()]
    return line + _figures(told) + _links(stage, page)


def _line(stage: Stage, page: Page) -> str:
    """What a stage will do, or why it was not done, or not again; a failure is told above the timeline."""
    if stage.state == "waiting":
        return page.t(f"overnight.about.{stage.name}")
    if stage.state == "not_needed":
        return page.t("overnight.why.not_needed")
    return page.error(stage.code, "what", dict(stage.facts)) if stage.state in ("skipped", "kept") and stage.code else ""


def _figures(told) -> str:
    cells = "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in told)
    return f'<dl class="so-stage-figures">{cells}</dl>' if cells else ""


def _links(stage: Stage, page: Page) -> str:
    """Where its details are: the tab that shows them, and the folder, named from the runs folder on: the whole of a long
    path would take a second line, and what stands below would jump when the stage ends."""
    if not stage.folders or stage.state not in ("finished", "kept", "failed"):
        return ""
    tab = DETAILS.get(stage.name)
    link = cards.tab_link(tab, page.t("overnight.details", tab=page.t(f"tab.{tab}"))) if tab else ""
    folder, runs = Path(stage.folders[-1]), page.bridge.engine.runs_folder.resolve()
    short = folder.relative_to(runs).as_posix() if folder.is_relative_to(runs) else ""
    return f'<p class="so-stage-links">{link}{cards.copyable(str(folder), page, short)}</p>'
