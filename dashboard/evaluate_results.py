"""One finished evaluation as HTML: the two rates that matter first, then where it fails, how sure it is, how fast."""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from dashboard import cards, confusion, evaluate_charts, evaluate_details, numbers
from dashboard.bridge import Page
from dashboard.evaluate_cards import model_name, when
from dashboard.evaluate_cases import cases_card
from dashboard.evaluate_details import Mode
from dashboard.evaluate_figures import caution, excluded, given, hits, table, value, whisker
from dashboard.evaluate_provenance import provenance
from dashboard.evaluate_wishes import key
from so8t_engine import FinishedEvaluation


def shown(one: FinishedEvaluation, others: Sequence[FinishedEvaluation], newest: bool, page: Page) -> str:
    """Everything that was measured. `data-figures` holds the charts; evaluate.js draws them into their places."""
    modes = list(one.results["modes"].items())
    cards_ = [_head(one, others, newest, page), _lead(modes, page)]
    if modes:
        cards_ += [
            switch([name for name, _ in modes], page), '<div data-part="comparison" hidden></div>',
            *(of_mode(mode, lambda found: _breakdown(found, page)) for mode in modes),
            cases_card(page),
            *(of_mode(mode, lambda found: evaluate_details.sure_and_groups(found, page)) for mode in modes),
            *(of_mode(mode, lambda found: evaluate_details.speed(found, page)) for mode in modes),
        ]  # fmt: skip
    cards_ += [evaluate_details.benchmarks(one.results["benchmarks"], page), provenance(one, page)]
    figures = escape(json.dumps(_figures(modes, page), ensure_ascii=False))
    names = " ".join(name for name, _ in modes)
    return (
        f'<div class="so-evaluated" data-shown="{key(one.folder)}" data-modes="{names}" data-figures="{figures}">'
        f"{''.join(cards_)}</div>"
    )


def _figures(modes: Sequence[Mode], page: Page) -> dict:
    found = {}
    for name, part in modes:
        found[f"confusion-{name}"] = evaluate_charts.matrix(name, part["summary"]["confusion"], page)
        if part["calibration"]:
            found[f"reliability-{name}"] = evaluate_charts.reliability(part["calibration"], page)
    return found


def of_mode(mode: Mode, draw: Callable[[Mode], str]) -> str:
    """What belongs to one mode; the page shows one mode at a time."""
    return f'<div class="so-of-mode" data-of="{mode[0]}">{draw(mode)}</div>'


def empty(page: Page) -> str:
    """Before the first evaluation: what it is for."""
    text, lead = (escape(page.t(f"evaluate.empty.{name}")) for name in ("text", "lead"))
    return cards.card(page.t("evaluate.empty.title"), f'<p class="so-empty">{text}</p><p class="so-empty">{lead}</p>')


def _head(one: FinishedEvaluation, others: Sequence[FinishedEvaluation], newest: bool, page: Page) -> str:
    """Whose results these are, the report, and whom to compare them with."""
    data = one.results["data"]
    about = " · ".join(
        [
            escape(Path(data["file"]).name), escape(page.t("evaluate.progress.rows", rows=numbers.count(data["rows"]))),
            when(one, page), *([escape(page.t("evaluate.head.newest"))] if newest else []),
        ]
    )  # fmt: skip
    left_out = excluded({**data["excluded"], "too_long": data["too_long"]}, page)
    left_out = f"{page.t('evaluate.excluded.title')}: {left_out}" if left_out else ""
    doubt = (
        "" if data["checked_against"] else f'<p class="so-caution">{escape(page.t("evaluate.excluded.unknown"))}</p>'
    )
    path, copy = escape(str(one.folder)), escape(page.t("evaluate.head.folder"))
    report = f"/evaluations/{key(one.folder)}/report"
    tools = (
        f'<a class="so-button so-small" href="{report}" target="_blank" rel="noopener">{escape(page.t("evaluate.head.report"))}</a>'
        f'<button type="button" class="so-button so-small" data-copy="{path}" data-done="{escape(page.t("copy.done"))}" '
        f'aria-label="{copy}" title="{copy}">{copy}</button>'
    )
    return (
        f'<section class="so-card so-evaluated-head" data-card="evaluated"><div><h2>'
        f"{escape(model_name(one.results['model']['name'], page))}</h2><p>{about}</p>"
        f"{f'<p>{escape(left_out)}</p>' if left_out else ''}{doubt}</div>"
        f'<div class="so-evaluated-tools"><div class="so-actions">{tools}</div>{_choose_other(one, others, page)}</div></section>'
    )


def _choose_other(one: FinishedEvaluation, others: Sequence[FinishedEvaluation], page: Page) -> str:
    """The other evaluations, those of the same data first."""
    same = [other for other in others if other.results["data"]["sha256"] == one.results["data"]["sha256"]]
    rest = [other for other in others if other not in same]

    def group(words: str, members: Sequence[FinishedEvaluation]) -> str:
        if not members:
            return ""
        lines = "".join(
            f'<option value="{key(other.folder)}">{escape(model_name(other.results["model"]["name"], page))} · {when(other, page)}'
            f" · {escape(page.t('evaluate.progress.rows', rows=numbers.count(other.results['data']['rows'])))}</option>"
            for other in members
        )
        return f'<optgroup label="{escape(words)}">{lines}</optgroup>'

    if not others or not one.results["modes"]:
        return ""
    groups = group(page.t("evaluate.head.compare_same"), same) + group(page.t("evaluate.head.compare_other"), rest)
    none = f'<option value="">{escape(page.t("evaluate.head.compare_none"))}</option>'
    label = escape(page.t("evaluate.head.compare"))
    return f'<label class="so-compare-with"><span>{label}</span><select data-compare>{none}{groups}</select></label>'


def _lead(modes: Sequence[Mode], page: Page) -> str:
    """The two rates large, accuracy and macro F1 below, a column for each mode."""
    if not modes:
        return (
            f'<section class="so-card"><p class="so-empty">{escape(page.t("evaluate.lead.unmeasured"))}</p></section>'
        )
    columns = "".join(_lead_of(name, part["summary"], page) for name, part in modes)
    return f'<section class="so-card so-lead" data-card="lead">{columns}</section>'


def _lead_of(mode: str, summary: Mapping, page: Page) -> str:
    large = "".join(_rate(name, summary, page) for name in ("unsafe_allow", "over_refusal"))
    correct, rows = hits("accuracy", summary["confusion"])
    accuracy_hits = page.t("evaluate.lead.hits", hits=numbers.count(correct), rows=numbers.count(rows))
    f1_note = escape(page.t("evaluate.lead.macro_f1_note"))
    small = (
        f'<div><dt title="{escape(accuracy_hits)}">{escape(page.t("evaluate.lead.accuracy"))}</dt>'
        f"<dd>{value(summary['accuracy'])}</dd></div>"
        f'<div><dt title="{f1_note}">{escape(page.t("evaluate.lead.macro_f1"))}</dt>'
        f"<dd>{value(summary['macro_f1'], plain=True)}</dd></div>"
    )
    lost = sum(row[-1] for row in summary["confusion"])
    unread = page.t("evaluate.lead.unparseable", rows=numbers.count(rows), count=numbers.count(lost)) if lost else ""
    return (
        f'<div class="so-lead-mode"><h3>{escape(page.t(f"evaluate.mode.{mode}"))}'
        f"<small>{escape(page.t(f'evaluate.mode.{mode}_how'))}</small></h3>"
        f'<div class="so-rates">{large}</div><dl class="so-lead-rest">{small}</dl>'
        f"{f'<p class={chr(34)}so-caution{chr(34)}>{escape(unread)}</p>' if unread else ''}{caution(summary, page)}</div>"
    )


def _rate(name: str, summary: Mapping, page: Page) -> str:
    """One of the two rates that come first: large, with its interval and what it counts."""
    found = summary[name]
    count, rows = hits(name, summary["confusion"])
    told = page.t("evaluate.lead.hits", hits=numbers.count(count), rows=numbers.count(rows)) if found else ""
    return (
        f'<div class="so-rate" data-rate="{name}"><h4>{escape(page.t(f"evaluate.lead.{name}"))}</h4>'
        f"<p>{value(found, page.t(f'evaluate.lead.{name}_none'))}</p>{whisker(found, f'so-whisker-{name}')}"
        f"<small>{escape(page.t(f'evaluate.lead.{name}_of'))}{f'<span>{escape(told)}</span>' if told else ''}</small></div>"
    )


def switch(modes: Sequence[str], page: Page) -> str:
    """Which mode the details below belong to."""
    if len(modes) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-mode="{mode}" aria-pressed="false">{escape(page.t(f"evaluate.mode.{mode}"))}</button>'
        for mode in modes
    )
    label = escape(page.t("evaluate.mode.label"))
    return (
        f'<div class="so-mode-switch"><span>{label}</span>'
        f'<div class="so-segments" role="group" aria-label="{label}">{buttons}</div></div>'
    )


def _breakdown(mode: Mode, page: Page) -> str:
    """The matrix with a button over each of its cells, and the classes one by one."""
    name, part = mode
    note = f'<p class="so-evaluate-about">{escape(page.t("evaluate.confusion.note"))}</p>'
    drawn = confusion.matrix(f"confusion-{name}", name, part["summary"]["confusion"], page)
    body = f'<div class="so-breakdown"><div>{drawn}{note}</div>{_classes(part["summary"], page)}</div>'
    return cards.card(page.t("evaluate.confusion.title"), body, name=f"confusion-{name}")


def _classes(summary: Mapping, page: Page) -> str:
    t = page.t
    heads = [
        (t("evaluate.confusion.class"), ""),
        (t("evaluate.confusion.support"), t("evaluate.confusion.support_help")),
    ]
    heads += [
        (t(f"evaluate.confusion.{name}"), t(f"evaluate.confusion.{name}_help"))
        for name in ("precision", "recall", "f1")
    ]
    why = {"precision": t("evaluate.confusion.never_given"), "recall": t("evaluate.confusion.never_expected")}
    rows = []
    for name in cards.CLASSES:
        found = summary["classes"][name]
        shares = [
            value(found[part], why.get(part, why["recall"]), plain=part == "f1")
            for part in ("precision", "recall", "f1")
        ]
        rows.append([given(name, page), numbers.count(found["support"]), *shares])
    return table(heads, rows, "so-classes", t("evaluate.confusion.classes"))
