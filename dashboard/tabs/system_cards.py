"""The HTML of the System tab: the audit log's state, its answers, a verdict on it, and what this program stands on."""

import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import metadata

from dashboard import cards, numbers
from dashboard.bridge import Page
from so8t_engine import AuditCondition, AuditEntry, AuditVerdict, Engine, config

SHOWN = 200
"""Answers in the table; the log holds them all."""

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "gguf", "gradio")

PERIODS = ("", "week", "today")
"""Filters by time; "" is all of it."""

ALL: Mapping[str, str] = {"label": "", "period": "", "model": ""}
"""The filters of a page that has just been opened: "" lets everything through."""

FILTERED = """
const chosen = (name) => {
  const group = element.querySelector(`[data-filter="${name}"]`);
  return group.matches("select") ? group.value : group.querySelector('[aria-pressed="true"]').value;
};
const tell = () => trigger("click", { do: "filter", label: chosen("label"), period: chosen("period"), model: chosen("model") });
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-filter] button");
  if (!button) return;
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
  tell();
});
element.addEventListener("change", tell);
"""
"""Script: a filter shows itself as chosen at once, then all three are told; the bar is not drawn anew under the hand."""


def log_card(engine: Engine, entries: Sequence[AuditEntry], page: Page) -> str:
    """How far the log is and where it lies, with the button that verifies it; above it what is plainly wrong."""
    state = engine.audit.condition()
    trouble = cards.refused(page, state.fault) if state.fault else ""
    if not state.records and not state.fault:
        return cards.card(page.t("system.audit.title"), _empty(page), name="audit")
    button = cards.button("verify", page.t("system.audit.verify"), kind="so-primary")
    body = cards.facts(_facts(state, entries, page))
    note = f'<p class="so-note">{escape(page.t("system.audit.note"))}</p>'
    return trouble + cards.card(page.t("system.audit.title"), body + note, aside=button, name="audit")


def _empty(page: Page) -> str:
    link = cards.tab_link("chat", page.t("system.audit.open_chat"), kind="so-button")
    return f'<p class="so-empty">{escape(page.t("system.audit.empty"))}</p><div class="so-actions">{link}</div>'


def _facts(state: AuditCondition, entries: Sequence[AuditEntry], page: Page) -> Iterable[tuple[str, str]]:
    unfinished = sum(not entry.finished for entry in entries)
    parts = page.t("system.audit.answers", answers=numbers.count(len(entries)))
    if unfinished:
        parts += page.t("system.audit.unfinished", count=numbers.count(unfinished))
    records = numbers.count(state.records) if not state.fault else cards.missing(page.t("system.audit.unknown"))
    yield page.t("system.audit.records"), f"{records} <small>{escape(parts)}</small>"
    if entries:
        yield page.t("system.audit.since"), moment(entries[-1].time)
        yield page.t("system.audit.latest"), f"{moment(entries[0].time)} <small>{cards.age(entries[0].time)}</small>"
    if state.mac:
        yield page.t("system.audit.mac"), cards.copyable(state.mac, page, short=f"{state.mac[:8]}…{state.mac[-8:]}")
    yield page.t("system.audit.file"), cards.copyable(str(state.file), page)


def checking(page: Page) -> str:
    """What stands where the verdict will be."""
    words = escape(page.t("system.verdict.checking"))
    return cards.card("", f'<p class="so-empty">{words}</p>{cards.bar(None, page.t("system.verdict.checking"))}')


def verdict_card(verdict: AuditVerdict, seconds: float, page: Page) -> str:
    """Whole, or broken with the line and the reason; and what is genuine either way."""
    told = dict(verdict.told())
    when = page.t("system.verdict.when", clock=numbers.clock(time.time()), seconds=f"{seconds:.2f}")
    rest = [("audit.torn", "what"), ("audit.torn", "hint")]
    notes = [page.error(code, part, told[code]) for code, part in rest if code in told]
    if verdict.faults:
        first, *others = verdict.faults
        more = [page.error(fault.code, "what", fault.facts) for fault in others]
        more += [page.error("audit.genuine", "what", told["audit.genuine"])] if "audit.genuine" in told else []
        hint = page.error(first.code, "hint", first.facts)
        return cards.trouble(page, page.error(first.code, "what", first.facts), where=first.where, hint=hint,
                             items=[*more, *notes, when])  # fmt: skip
    rows = [
        (page.t("system.audit.records"), numbers.count(verdict.records)),
        (page.t("system.audit.mac"), cards.copyable(verdict.mac, page, short=f"{verdict.mac[:8]}…{verdict.mac[-8:]}")),
    ]
    what = f'<p class="so-what">{escape(page.t("system.verdict.whole"))}</p>'
    after = "".join(f'<p class="so-hint">{escape(note)}</p>' for note in [*notes, when])
    return f'<section class="so-card so-verdict" role="status">{what}{cards.facts(rows)}{after}</section>'


def answers_head(page: Page) -> str:
    """The title over filters and table."""
    return f'<header class="so-card-head"><h2>{escape(page.t("system.table.title"))}</h2></header>'


def filters(models: Sequence[str], chosen: Mapping[str, str], page: Page) -> str:
    """Three filters: class, time, and the model where there are several."""
    labels = [("", escape(page.t("system.filter.all")))]
    labels += [(name, f'<i class="so-dot-{name.lower()}"></i>{name}') for name in cards.CLASSES]
    periods = [(name, escape(page.t(f"system.filter.{name or 'all'}"))) for name in PERIODS]
    options = "".join(
        f'<option value="{escape(model)}"{" selected" if model == chosen["model"] else ""}>'
        f"{escape(model[:12] or page.t('system.filter.all_models'))}</option>"
        for model in ("", *models)
    )
    name = escape(page.t("system.filter.model"))
    hidden = " hidden" if len(models) < 2 else ""
    return (
        f'<div class="so-audit-filters">{_segments("label", labels, chosen, page)}'
        f"{_segments('period', periods, chosen, page)}"
        f'<select class="so-audit-select" data-filter="model" aria-label="{name}" title="{name}"{hidden}>{options}</select>'
        "</div>"
    )


def _segments(name: str, choices: Sequence[tuple[str, str]], chosen: Mapping[str, str], page: Page) -> str:
    buttons = "".join(
        f'<button type="button" value="{value}" aria-pressed="{str(value == chosen[name]).lower()}">{words}</button>'
        for value, words in choices
    )
    label = escape(page.t(f"system.filter.{name}"))
    return f'<div class="so-segments" role="group" aria-label="{label}" data-filter="{name}">{buttons}</div>'


def table(found: Sequence[AuditEntry], total: int, page: Page) -> str:
    """The newest answers of those that the filters let through, and how many there are of how many."""
    if not total:
        return f'<p class="so-empty so-audit-none">{escape(page.t("system.table.empty"))}</p>'
    if not found:
        return f'<p class="so-empty so-audit-none">{escape(page.t("system.table.none"))}</p>'
    heads = "".join(
        f"<th>{escape(page.t(f'system.table.{name}'))}</th>"
        for name in ("number", "time", "label", "confidence", "ended", "model")
    )
    rows = "".join(_row(entry, page) for entry in found[:SHOWN])
    title = escape(page.t("system.table.title"))
    key = "all" if len(found) == total else "some"
    key += "_cut" if len(found) > SHOWN else ""
    count = page.t(f"system.count.{key}", shown=SHOWN, found=numbers.count(len(found)), total=numbers.count(total))
    return (
        f'<div class="so-audit-scroll" tabindex="0" role="region" aria-label="{title}"><table class="so-table so-audit-table">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="so-audit-count" role="status">{escape(count)}</p>'
    )


def _row(entry: AuditEntry, page: Page) -> str:
    label = cards.badge(entry.label) if entry.label else cards.missing(page.t("system.table.no_label"))
    sure = entry.confidence
    confidence = numbers.fixed(sure, 2) if sure is not None else cards.missing(page.t("system.table.no_confidence"))
    ended = entry.ended or "unfinished"
    tone = {"sealed": "so-bad", "failed": "so-bad", "unfinished": "so-open"}.get(ended, "")
    words, why = page.t(f"system.ended.{ended}"), page.t(f"system.ended_help.{ended}")
    weights = cards.copyable(entry.model, page, short=entry.model[:8]) if entry.model else cards.missing(
        page.t("system.table.no_model")
    )  # fmt: skip
    return (
        f"<tr><td>{entry.number:,}</td><td>{moment(entry.time)}</td><td>{label}</td><td>{confidence}</td>"
        f'<td><span class="so-ended {tone}" title="{escape(why)}">{escape(words)}</span></td><td>{weights}</td></tr>'
    )


def machine_card(engine: Engine, page: Page) -> str:
    """The versions of the main libraries, and where things lie. Reads what is installed; loads none of it."""
    card = engine.card()
    versions = [(name, _version(name, page)) for name in LIBRARIES]
    places = [
        ("Python", f"{escape(platform.python_version())} {cards.copyable(sys.executable, page)}"),
        (page.t("system.machine.system"), escape(f"{platform.system()} {platform.release()}")),
        (page.t("system.machine.gpu"), escape(card) if card else cards.missing(page.t("chart.no_card"))),
        (page.t("system.machine.runs"), cards.copyable(str(engine.runs_folder), page)),
        (page.t("system.machine.program"), cards.code(str(config.ROOT))),
    ]
    body = f'{cards.facts(places)}<div class="so-versions">{cards.facts(versions)}</div>'
    return cards.card(page.t("system.machine.title"), body, name="machine")


def _version(name: str, page: Page) -> str:
    try:
        return escape(metadata.version(name))
    except metadata.PackageNotFoundError:
        return cards.missing(page.t("system.machine.not_installed"))


def moment(at: float) -> str:
    """Day and time to the second."""
    return f"{numbers.date(at)[:10]} {numbers.clock(at)}"


def since(period: str) -> float:
    """From when on an answer is of this period: local midnight, or seven days ago."""
    now = time.time()
    midnight = (*time.localtime(now)[:3], 0, 0, 0, 0, 0, -1)
    return {"": 0.0, "week": now - 7 * 86400, "today": time.mktime(midnight)}[period]
