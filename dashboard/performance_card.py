"""What a training has cost, as HTML: speed, memory, energy, and a bar of where its time went."""

from html import escape

from dashboard import cards, numbers
from dashboard.bridge import Page
from so8t_engine import Snapshot, events

PHASES = ("data", "forward", "backward", "optimizer", "validation", "checkpoint", "other")
"""In the order of the bar; each has its colour."""


def performance_card(snapshot: Snapshot, page: Page) -> str:
    """The newest report of the run on view; "" before there is one."""
    told = snapshot.performance
    if told is None:
        return ""
    first, last = numbers.count(told.from_step + 1), numbers.count(told.to_step)
    time = numbers.duration(told.seconds, page.language)
    about = f'<span class="so-aside">{escape(page.t("performance.about", first=first, last=last, time=time))}</span>'
    body = cards.tiles(_tiles(told, page)) + _bar(told, page) + _legend(told, page)
    if told.file:
        body += f'<p class="so-note">{escape(page.t("performance.file"))} {cards.copyable(told.file, page)}</p>'
    return cards.card(page.t("performance.title"), body, aside=about, kind="so-performance", name="performance")


def _tiles(told: events.PerformanceMeasured, page: Page) -> list[tuple[str, str, str]]:
    on_card = told.vram_peak is not None
    memory = numbers.gib(told.vram_peak if on_card else told.ram_peak).removesuffix(" GiB")
    tiles = [
        (page.t("performance.tokens"), numbers.rate(told.tokens_per_second), " tokens/s"),
        (page.t("performance.samples"), numbers.fixed(told.samples_per_second, 1), escape(page.t("performance.samples_unit"))),
        (page.t("performance.step_median"), *_seconds(told.step_p50)),
        (page.t("performance.step_slow"), *_seconds(told.step_p95)),
        (page.t("performance.vram" if on_card else "performance.ram"), memory, " GiB"),
    ]  # fmt: skip
    if told.joules_per_1000_tokens is not None:
        tiles.append((page.t("performance.energy"), numbers.fixed(told.joules_per_1000_tokens, 1), " J"))
    return tiles


def _seconds(value: float) -> tuple[str, str]:
    """A step's time, with its unit: three digits of it."""
    return (numbers.fixed(value, 2), " s") if value >= 1 else (numbers.fixed(1000 * value, 0), " ms")


def _bar(told: events.PerformanceMeasured, page: Page) -> str:
    parts = "".join(
        f'<i class="so-phase-{name}" style="flex-grow:{share:.5f}" title="{escape(words)}"></i>'
        for name, share, words in _shares(told, page)
    )
    label = ", ".join(words for _, _, words in _shares(told, page))
    return f'<div class="so-phases" role="img" aria-label="{escape(page.t("performance.time"))}: {escape(label)}">{parts}</div>'


def _legend(told: events.PerformanceMeasured, page: Page) -> str:
    """The shares in figures. Said to a screen reader by the bar."""
    items = "".join(
        f'<li><i class="so-phase-{name}"></i>{escape(page.t(f"performance.phase.{name}"))} '
        f"<b>{numbers.percent(100 * share)}</b></li>"
        for name, share, _ in _shares(told, page)
    )
    return f'<ul class="so-phase-names" aria-hidden="true">{items}</ul>'


def _shares(told: events.PerformanceMeasured, page: Page) -> list[tuple[str, float, str]]:
    """Name, share and words of each phase that there was."""
    return [
        (name, told.shares[name], f"{page.t(f'performance.phase.{name}')} {numbers.percent(100 * told.shares[name])}")
        for name in PHASES
        if name in told.shares
    ]
