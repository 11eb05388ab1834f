"""Pieces of HTML that every tab is made of. Whatever comes from outside is escaped here, and only here."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from dashboard import numbers
from dashboard.bridge import Page
from so8t_engine import EngineError, SettingsError, config

CLASSES = ("ALLOW", "ESCALATION", "DENY", "REFUSE")
"""Always in this order, each with its letter and its colour."""


def card(title: str, body: str, *, aside: str = "", kind: str = "", name: str = "") -> str:
    """A card. `body` and `aside` (right of the title) are HTML, `kind` further CSS classes."""
    head = f'<header class="so-card-head"><h2>{escape(title)}</h2>{aside}</header>' if title else ""
    label = f' data-card="{escape(name)}"' if name else ""
    return f'<section class="so-card {kind}"{label}>{head}{body}</section>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of label and value. The values are HTML."""
    lines = "".join(f"<div><dt>{escape(label)}</dt><dd>{value}</dd></div>" for label, value in rows)
    return f'<dl class="so-facts">{lines}</dl>'


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers: label, value (HTML), small text beside it (HTML)."""
    cells = "".join(
        f'<div class="so-tile"><span class="so-tile-name">{escape(label)}</span>'
        f'<span class="so-tile-value">{value}<small>{unit}</small></span></div>'
        for label, value, unit in items
    )
    return f'<div class="so-tiles">{cells}</div>'


def button(do: str, label: str, *, kind: str = "", what: str = "", off: bool = False, title: str = "") -> str:
    """A button whose press reaches the tab's handler as `do`, with `what` as its object."""
    attributes = f'data-do="{escape(do)}" data-what="{escape(what)}"'
    if off:
        attributes += ' disabled aria-disabled="true"'
    if title:
        attributes += f' title="{escape(title)}"'
    return f'<button type="button" class="so-button {kind}" {attributes}>{escape(label)}</button>'


def tab_link(tab: str, label: str, *, kind: str = "so-link") -> str:
    """A link that opens another tab of this page; `kind` "so-button" makes it look like what mends a trouble."""
    return f'<a class="{kind}" href="?tab={tab}" data-open-tab="{tab}">{escape(label)}</a>'


def code(text: str) -> str:
    """A name or a path; it may break anywhere."""
    return f'<code class="so-code">{escape(text)}</code>'


def copyable(path: str, page: Page, short: str = "") -> str:
    """A path, short when it lies in the project, with a button that copies the whole of it; or a hash shown as `short`."""
    label, folder = escape(page.t("copy.label")), Path(path)
    if not short:
        short = folder.relative_to(config.ROOT).as_posix() if folder.is_relative_to(config.ROOT) else path
    return (
        f'<span class="so-copy">{code(short)}<button type="button" class="so-icon" data-copy="{escape(path)}" '
        f'data-done="{escape(page.t("copy.done"))}" title="{label}" aria-label="{label}">{COPY_ICON}</button></span>'
    )


def missing(reason: str) -> str:
    """A dash for what was not measured; the reason stands on hover and is read to a screen reader."""
    return (
        f'<span class="so-missing" title="{escape(reason)}">{numbers.DASH}'
        f'<span class="so-unseen">{escape(reason)}</span></span>'
    )


def badge(label: str, count: int | None = None) -> str:
    """A class with its letter in its colour, and how many there are."""
    known = label if label in CLASSES else "other"
    letter = label[0] if label in CLASSES else "?"
    number = f"<b>{count:,}</b>" if count is not None else ""
    name = escape(label)
    return f'<span class="so-badge so-{known.lower()}" title="{name}"><i>{escape(letter)}</i>{name}{number}</span>'


def age(moment: float) -> str:
    """How long ago; page.js keeps it true without asking the server."""
    return f'<time class="so-age" data-at="{moment:.0f}" title="{numbers.date(moment)}">{numbers.date(moment)}</time>'


def bar(share: float | None, label: str) -> str:
    """A thin progress bar; None while the end is unknown."""
    if share is None:
        return f'<div class="so-bar so-unknown" role="progressbar" aria-label="{escape(label)}"><i></i></div>'
    percent = 100 * min(max(share, 0.0), 1.0)
    return (
        f'<div class="so-bar" role="progressbar" aria-label="{escape(label)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent:.0f}"><i style="width:{percent:.2f}%"></i></div>'
    )


def skeleton(lines: int) -> str:
    """Grey lines where a card's content will be."""
    return '<div class="so-skeleton" aria-hidden="true">' + "<i></i>" * lines + "</div>"


def trouble(
    page: Page, what: str, *, where: str = "", hint: str = "", items: Sequence[str] = (), details: str = "",
    actions: str = "", calm: bool = False,
) -> str:  # fmt: skip
    """What happened, where, what to do, one button that mends it (HTML), and the details folded.

    items: the single faults, when there are several.
    """
    parts = [f'<p class="so-what">{escape(what)}</p>']
    if where:
        parts.append(f'<p class="so-where">{escape(page.t("trouble.where"))} {code(where)}</p>')
    if items:
        parts.append("<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>")
    if hint:
        parts.append(f'<p class="so-hint">{escape(hint)}</p>')
    if details:
        parts.append(
            f'<details data-keep="details"><summary>{escape(page.t("trouble.details"))}</summary>'
            f"<pre>{escape(details)}</pre></details>"
        )
    if actions:
        parts.append(f'<div class="so-actions">{actions}</div>')
    kind, role = ("so-warning", "status") if calm else ("so-trouble", "alert")
    return f'<section class="so-card {kind}" role="{role}">{"".join(parts)}</section>'


def refused(page: Page, error: EngineError, actions: str = "") -> str:
    """The card of an error that met a person's wish, with every fault of the settings if that is what it was."""
    faults: Sequence[EngineError] = error.faults if isinstance(error, SettingsError) else ()
    items = [
        f"{fault.where}: {page.error(fault.code, 'what', fault.facts)} {page.error(fault.code, 'hint', fault.facts)}"
        for fault in faults
    ]
    what, hint = page.error(error.code, "what", error.facts), page.error(error.code, "hint", error.facts)
    return trouble(page, what, where="" if faults else error.where, hint=hint, items=items, actions=actions)


COPY_ICON = (
    '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path fill="none" stroke="currentColor" '
    'stroke-width="1.3" d="M5.5 5.5h7v8h-7zM3.5 10.5v-8h7"/></svg>'
)
