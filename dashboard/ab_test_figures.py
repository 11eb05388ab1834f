"""Two models in figures: both values, their difference with its interval around zero, and who got the rows right.

The same table fills while a test runs and stands in its results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from dashboard import cards, numbers
from dashboard.ab_test_wishes import SIDES
from dashboard.bridge import Page
from dashboard.evaluate_figures import Estimate, interval, share, square, value
from so8t_engine import events

METRICS = ("accuracy", "macro_f1", "unsafe_allow", "over_refusal")
"""Those that both models have a value of, in the order of the page."""

LOWER = ("unsafe_allow", "over_refusal")
"""Less of it is better."""

PLAIN = ("macro_f1", "score")
"""Scores from 0.0 to 1.0 that are no share of rows."""

REACHES = (0.05, 0.1, 0.25, 0.5, 1.0)
"""How far the plots of differences may reach to each side: the least of these that holds every interval."""


@dataclass(frozen=True)
class Row:
    """One measure of both models. difference: retrained less base. None where nothing was measured.

    favours: "base" or "retrained" where the test has decided which is better in it, "" where it has not.
    """

    metric: str
    base: Estimate | None
    retrained: Estimate | None
    difference: Estimate | None
    favours: str = ""


def measured(event: events.AbTestMeasured | None) -> list[Row]:
    """The rows of what has come so far; empty ones before that."""
    if event is None:
        return [Row(metric, None, None, None) for metric in METRICS]
    sides = (event.base, event.retrained, event.difference)
    return [Row(metric, *(_estimate(side.get(metric)) for side in sides)) for metric in METRICS]


def _estimate(figure: events.Figure | None) -> Estimate | None:
    return None if figure is None else dict(zip(("value", "low", "high"), figure, strict=True))


def compared(pairing: Mapping) -> list[Row]:
    """The rows of a finished pairing."""
    first, second, differences = (pairing[name] for name in ("first", "second", "differences"))
    return [
        Row(metric, first[metric], second[metric], differences[metric], favours(metric, differences[metric]))
        for metric in METRICS
    ]


def favours(metric: str, difference: Mapping | None) -> str:
    """Which side is better in it: "base", "retrained", or "" where that is not decided."""
    if difference is None or not difference["decided"]:
        return ""
    return "retrained" if (difference["value"] < 0) == (metric in LOWER) else "base"


def figures(rows: Sequence[Row], page: Page, why: str = "") -> str:
    """The table. why: the reason of a dash; "" takes the measure's own."""
    reach = next(
        (
            size
            for size in REACHES
            if all(max(abs(r.difference["low"]), abs(r.difference["high"])) <= size for r in rows if r.difference)
        ),
        REACHES[-1],
    )
    if not any(row.difference for row in rows):
        reach = REACHES[-1]
    t = page.t
    heads = [t("ab_test.figures.metric"), t("ab_test.side.base"), t("ab_test.side.retrained"), t("ab_test.figures.difference")]
    names = ("metric", "base", "retrained", "difference")
    top = "".join(
        f'<th role="columnheader" scope="col" class="so-ab-{name}">{_key(name)}{escape(words)}</th>'
        for name, words in zip(names, heads, strict=True)
    )
    top += f'<th role="columnheader" scope="col" class="so-ab-axis">{_axis(reach, page)}</th>'
    body = "".join(_row(row, reach, page, why) for row in rows)
    caption = escape(t("ab_test.figures.caption"))
    return (
        f'<table role="table" class="so-ab-figures"><caption class="so-unseen">{caption}</caption>'
        f'<thead role="rowgroup"><tr role="row">{top}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
    )


def _key(side: str) -> str:
    """A side's colour; nothing for another column."""
    return f'<i class="so-ab-key so-ab-key-{side}" aria-hidden="true"></i>' if side in SIDES else ""


def _axis(reach: float, page: Page) -> str:
    """Which side of zero is whose, and how far the plot reaches."""
    base, retrained = (escape(page.t(f"ab_test.figures.favours_{side}")) for side in ("base", "retrained"))
    end = f"{100 * reach:.0f}"
    return (
        f'<span class="so-ab-sides"><span>← {base}</span><span>{retrained} →</span></span>'
        f'<span class="so-ab-ticks" aria-hidden="true"><i>{end}</i><i>0</i><i>{end}</i></span>'
    )


def _row(row: Row, reach: float, page: Page, why: str) -> str:
    plain = row.metric in PLAIN
    why = why or none_of(row.metric, page)
    lower = f"<small>{escape(page.t('ab_test.figures.lower'))}</small>" if row.metric in LOWER else ""
    cells = "".join(
        f'<td role="cell" class="so-ab-{side}"><i class="so-ab-name" aria-hidden="true">{_key(side)}{escape(page.t(f"ab_test.side.{side}"))}</i>'
        f"{value(found, why, plain=plain)}</td>"
        for side, found in (("base", row.base), ("retrained", row.retrained))
    )
    told = difference(row.difference, page, why, plain=plain)
    return (
        f'<tr role="row" data-metric="{row.metric}"><th role="rowheader" scope="row" class="so-ab-metric">{escape(name_of(row.metric, page))}{lower}</th>'
        f'{cells}<td role="cell" class="so-ab-difference"><i class="so-ab-name" aria-hidden="true">'
        f"{escape(page.t('ab_test.figures.difference'))}</i>{told}</td>"
        f'<td role="cell" class="so-ab-axis">{plot(row, reach)}</td></tr>'
    )


def name_of(metric: str, page: Page) -> str:
    """What a person reads for a measure."""
    return page.t(f"ab_test.metric.{metric}") if metric in ("score", "format") else page.t(f"evaluate.lead.{metric}")


def none_of(metric: str, page: Page) -> str:
    """Why a measure has no value."""
    return page.t(f"evaluate.lead.{metric if metric in LOWER else 'accuracy'}_none")


def difference(found: Estimate | None, page: Page, why: str, *, plain: bool) -> str:
    """+4.2 points with its interval below; a dash where nothing was measured."""
    if found is None:
        return cards.missing(why)
    return f'<span class="so-estimate"><b>{points(found["value"], page, plain=plain)}</b><small>{interval(found, plain=plain)}</small></span>'


def points(moved: float, page: Page, *, plain: bool) -> str:
    """A difference of shares in percentage points, +4.2 points; of a score as it is, +0.042. Zero has no sign."""
    told = f"{moved:+.3f}" if plain else f"{100 * moved:+.1f}"
    told = told if float(told) else told[1:]
    return told if plain else escape(page.t("evaluate.compare.points", value=told))


def rate(found: float | None, metric: str, page: Page) -> str:
    """One side's value of a measure without its interval."""
    if found is None:
        return cards.missing(none_of(metric, page))
    return numbers.fixed(found, 3) if metric in PLAIN else share(found)


def plot(row: Row, reach: float) -> str:
    """The difference's interval as a line around zero, its value as a point; to the right the retrained model is better."""
    found = row.difference
    if found is None:
        return '<div class="so-ab-plot" aria-hidden="true"></div>'
    turn = -1.0 if row.metric in LOWER else 1.0
    low, at, high = sorted(50 + 50 * turn * max(-1.0, min(1.0, found[end] / reach)) for end in ("low", "value", "high"))
    danger = row.metric == "unsafe_allow" and row.favours == "base"
    kind = " so-ab-danger" if danger else f" so-ab-for-{row.favours}" if row.favours else ""
    return (
        f'<div class="so-ab-plot{kind}" aria-hidden="true"><i style="left:{low:.2f}%;width:{high - low:.2f}%"></i>'
        f'<b style="left:{at:.2f}%"></b></div>'
    )


def changes(fixed: int, broken: int, both: int, neither: int, page: Page) -> str:
    """Rows that one alone, both, or neither got right."""
    counts = {"fixed": fixed, "broken": broken, "both": both, "neither": neither}
    kinds = {"fixed": "only_first", "broken": "only_second"}
    told = [(kinds.get(name, name), page.t(f"ab_test.changes.{name}"), count) for name, count in counts.items()]
    return square(told, sum(counts.values()))


def probability(p: float | None, why: str = "") -> str:
    """0.034, or < 0.001; a dash with its reason for None."""
    if p is None:
        return cards.missing(why)
    return "&lt; 0.001" if p < 0.001 else numbers.fixed(p, 3)
