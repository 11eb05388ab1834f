"""Shares with their 95 % intervals as a person reads them, and the small pieces that the Evaluate tab is made of."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from dashboard import cards, numbers
from dashboard.bridge import Page

Estimate = Mapping[str, float]
"""{"value", "low", "high"}, shares from 0.0 to 1.0."""

UNPARSEABLE = ""
"""Given where an answer names no class."""

FEW = 5
"""Rows of a class below which the interval of macro F1 is too narrow."""


def share(value: float | None, decimals: int = 1) -> str:
    """0.874 as 87.4 %."""
    return numbers.percent(None if value is None else 100 * value, decimals)


def value(estimate: Estimate | None, why: str = "", *, plain: bool = False) -> str:
    """The value and, smaller, its interval: 87.4 % [84.1, 90.2]; `plain` for a score that is no share: 0.861.

    A dash with the reason `why` where nothing was measured.
    """
    if estimate is None:
        return cards.missing(why)
    head = numbers.fixed(estimate["value"], 3) if plain else share(estimate["value"])
    return f'<span class="so-estimate"><b>{head}</b><small>{interval(estimate, plain=plain)}</small></span>'


def interval(estimate: Estimate, *, plain: bool = False) -> str:
    """[84.1, 90.2]"""
    low, high = (
        numbers.fixed(estimate[end], 3) if plain else numbers.fixed(100 * estimate[end], 1) for end in ("low", "high")
    )
    return f"[{low}, {high}]"


def whisker(estimate: Estimate | None, kind: str = "") -> str:
    """The interval as a line from 0 to 100 %, the value as a point on it."""
    if estimate is None:
        return '<div class="so-whisker" aria-hidden="true"></div>'
    low, high, at = (100 * estimate[name] for name in ("low", "high", "value"))
    return (
        f'<div class="so-whisker {kind}" aria-hidden="true"><i style="left:{low:.2f}%;width:{high - low:.2f}%"></i>'
        f'<b style="left:{at:.2f}%"></b></div>'
    )


def table(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], kind: str = "", caption: str = "") -> str:
    """A table of figures. heads: (words, help on hover); rows: HTML, the first cell of each is its head.

    A row of two cells among more columns is a remark: its second cell reaches to the end.
    """
    top = "".join(
        f'<th scope="col"{f" title={chr(34)}{escape(help_)}{chr(34)}" if help_ else ""}>{escape(words)}</th>'
        for words, help_ in heads
    )
    body = ""
    for first, *rest in rows:
        wide = f' colspan="{len(heads) - 1}"' if len(rest) == 1 < len(heads) - 1 else ""
        body += f'<tr><th scope="row">{first}</th>{"".join(f"<td{wide}>{cell}</td>" for cell in rest)}</tr>'
    title = f'<caption class="so-unseen">{escape(caption)}</caption>' if caption else ""
    return (
        f'<div class="so-figures-scroll"><table class="so-table so-figures {kind}">{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def square(counts: Iterable[tuple[str, str, int]], rows: int) -> str:
    """Who got the rows right: (kind, words, count) with the share of `rows`."""
    cells = "".join(
        f'<div class="so-square-{kind}"><dt>{escape(words)}</dt>'
        f"<dd><b>{numbers.count(count)}</b><small>{share(count / rows if rows else None)}</small></dd></div>"
        for kind, words, count in counts
    )
    return f'<dl class="so-square">{cells}</dl>'


def given(label: str, page: Page) -> str:
    """A class that was given, or that none was."""
    if label in cards.CLASSES:
        return cards.badge(label)
    words = escape(page.t("evaluate.confusion.unparseable"))
    return f'<span class="so-badge so-other" title="{words}"><i>?</i>{words}</span>'


def class_counts(confusion: Sequence[Sequence[int]]) -> dict[str, int]:
    """Rows that expect each class."""
    return {name: sum(row) for name, row in zip(cards.CLASSES, confusion, strict=True)}


def hits(name: str, confusion: Sequence[Sequence[int]]) -> tuple[int, int]:
    """(hits, rows) of "unsafe_allow", "over_refusal" or "accuracy" in a table of counts."""
    allow, _, deny, refuse = range(len(cards.CLASSES))
    if name == "unsafe_allow":
        return sum(confusion[row][allow] for row in (deny, refuse)), sum(map(sum, (confusion[deny], confusion[refuse])))
    if name == "over_refusal":
        return confusion[allow][deny] + confusion[allow][refuse], sum(confusion[allow])
    return sum(confusion[i][i] for i in range(len(cards.CLASSES))), sum(map(sum, confusion))


def caution(summary: Mapping, page: Page) -> str:
    """Why macro F1, or its interval, is not to be trusted here; "" when there is no reason."""
    support = {name: summary["classes"][name]["support"] for name in cards.CLASSES}
    absent = [name for name, rows in support.items() if not rows]
    few = [name for name, rows in support.items() if 0 < rows < FEW]
    told = [
        page.t(key, classes=", ".join(names))
        for key, names in (("evaluate.lead.macro_f1_absent", absent), ("evaluate.lead.macro_f1_few", few))
        if names
    ]
    return f'<p class="so-caution">{escape(" ".join(told))}</p>' if told else ""


def excluded(counts: Mapping[str, int], page: Page) -> str:
    """How many rows were left out and why, in words; "" when none was."""
    reasons = ("training", "validation", "duplicates", "limit", "too_long")
    told = [
        page.t(f"evaluate.excluded.{reason}", count=numbers.count(counts[reason]))
        for reason in reasons
        if counts.get(reason)
    ]
    return ("、" if page.language == "ja" else ", ").join(told)


def moment(created: str) -> float | None:
    """Seconds since 1970 of a time as the results write it, 2026-11-22T22:00:00+0000; None for anything else."""
    try:
        return datetime.strptime(created, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None
