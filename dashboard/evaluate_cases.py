"""Lists of cases: what was asked, expected and given, how sure the model was, and the answer as it may be shown."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TypeVar

from dashboard import cards, numbers
from dashboard.bridge import Page
from dashboard.evaluate_figures import UNPARSEABLE, given, hits
from dashboard.evaluate_wishes import key
from so8t_engine import FinishedEvaluation

SHOWN = 50
"""Cases on a page."""

LONG = 400
"""Characters of a prompt or an answer that stand open; the whole of a longer one unfolds."""

NONE = "none"
"""In an address: given, where the answer named no class."""

Case = TypeVar("Case")


def cases_card(page: Page) -> str:
    """The card's place; evaluate.js fills it."""
    body = f'<div data-part="cases">{cards.skeleton(5)}</div>'
    return f'<section class="so-card so-cases" data-card="cases" tabindex="-1" aria-label="{escape(page.t("evaluate.cases.title"))}">{body}</section>'


def chosen(one: FinishedEvaluation, mode: str, expected: str, told: str) -> list[dict]:
    """The cases of a cell, or, for expected "", every wrong one, the most harmful first."""
    if not expected:
        return one.wrong(mode)
    wanted = UNPARSEABLE if told == NONE else told
    return [
        case for case in one.cases() if mode in case and case["expected"] == expected and case[mode]["given"] == wanted
    ]


def cases(one: FinishedEvaluation, mode: str, expected: str, told: str, number: int, page: Page) -> str:
    """One page of a cell's cases, or of every wrong one where `expected` is ""; pages count from 0."""
    found = chosen(one, mode, expected, told)
    correct, rows = hits("accuracy", one.results["modes"][mode]["summary"]["confusion"])
    title = escape(page.t("evaluate.cases.title"))
    name = UNPARSEABLE if told == NONE else told
    about = (
        f"{given(expected, page)}<span>→</span>{given(name, page)}"
        if expected
        else escape(page.t("evaluate.cases.wrong"))
    )
    back = ""
    if expected:
        words = escape(page.t("evaluate.cases.all_wrong"))
        back = f'<button type="button" class="so-button so-small" data-expected="" data-given="">{words}</button>'
    help_ = escape(page.t("evaluate.cases.export_help"))
    link = (
        f'<a class="so-button so-small" href="/evaluations/{key(one.folder)}/wrong.jsonl?mode={mode}" download title="{help_}">'
        f"{escape(page.t('evaluate.cases.export'))}</a>"
    )
    head = (
        f'<header class="so-card-head"><div class="so-cases-title"><h2>{title}</h2><p class="so-cases-about">{about}</p></div>'
        f'<div class="so-actions">{back}{link if correct < rows else ""}</div></header>'
    )
    if not found:
        words = page.t("evaluate.cases.none_cell" if expected else "evaluate.cases.none_wrong")
        return f'{head}<p class="so-empty">{escape(words)}</p>'
    return head + paged(found, number, lambda case: _case(case, mode, page), page)


def paged(found: Sequence[Case], number: int, draw: Callable[[Case], str], page: Page) -> str:
    """So many of `found` as stand on a page, and the way to the others."""
    last = (len(found) - 1) // SHOWN
    number = min(max(number, 0), last)
    rows = "".join(draw(case) for case in found[number * SHOWN : (number + 1) * SHOWN])
    return f'<ol class="so-case-list" tabindex="0">{rows}</ol>{_pages(len(found), number, last, page)}'


def _pages(total: int, number: int, last: int, page: Page) -> str:
    first, end = number * SHOWN + 1, min(total, (number + 1) * SHOWN)
    words = page.t(
        "evaluate.cases.count", first=numbers.count(first), last=numbers.count(end), total=numbers.count(total)
    )

    def step(key_: str, target: int) -> str:
        off = "" if 0 <= target <= last else " disabled"
        return f'<button type="button" class="so-button so-small" data-page="{target}"{off}>{escape(page.t(key_))}</button>'

    buttons = step("evaluate.cases.before", number - 1) + step("evaluate.cases.after", number + 1) if last else ""
    label = escape(page.t("evaluate.cases.page"))
    return f'<nav class="so-case-pages" aria-label="{label}"><span role="status">{escape(words)}</span>{buttons}</nav>'


def _case(case: Mapping, mode: str, page: Page) -> str:
    entry = case[mode]
    decision = (
        f'<p class="so-decided"><span>{escape(page.t("evaluate.cases.expected"))}</span>{cards.badge(case["expected"])}'
        f"<span>{escape(page.t('evaluate.cases.given'))}</span>{given(entry['given'], page)}</p>"
    )
    right = f"{decision}{_probabilities(case, page)}"
    return (
        f'<li class="so-case"><div class="so-case-words">{prompt(case, page)}{_final(case, mode, page)}{_about(case, mode, page)}</div>'
        f'<div class="so-case-sure">{right}</div></li>'
    )


def beside(sides: Iterable[tuple[str, Mapping]], mode: str, page: Page, head: str = "", foot: str = "") -> str:
    """A case that several models have decided: (name, the case as that one decided it). head, foot: HTML around it."""
    told = list(sides)
    said = "".join(
        f'<div><p class="so-decided"><span>{escape(name)}</span>{given(case[mode]["given"], page)}</p>{_said(case, mode, page)}</div>'
        for name, case in told
    )
    case = told[0][1]
    expected = f'<p class="so-decided"><span>{escape(page.t("evaluate.cases.expected"))}</span>{cards.badge(case["expected"])}{head}</p>'
    return (
        f'<li class="so-case so-changed"><div class="so-case-words">{prompt(case, page)}{expected}{foot}</div>'
        f'<div class="so-sides-said">{said}</div></li>'
    )


def _said(case: Mapping, mode: str, page: Page) -> str:
    """The answer as shown, or the probability of the given class."""
    if mode == "generated":
        return f'<div class="so-case-final">{folded(case["generated"]["final"], page)}</div>'
    entry = case["scored"]
    return f'<p class="so-case-about">{escape(page.t("evaluate.cases.probability"))} {numbers.fixed(entry["probabilities"][entry["given"]], 2)}</p>'


def prompt(case: Mapping, page: Page) -> str:
    """What was asked; a long one is folded."""
    return f'<p class="so-case-prompt">{folded(case["prompt"], page)}</p>'


def folded(text: str, page: Page) -> str:
    """A text whose part beyond LONG characters unfolds."""
    if len(text) <= LONG:
        return escape(text)
    words = escape(page.t("evaluate.cases.whole"))
    return (
        f'{escape(text[:LONG])}<span class="so-fold"><button type="button" class="so-link" data-unfold aria-expanded="false">'
        f"… {words}</button><span hidden>{escape(text[LONG:])}</span></span>"
    )


def _final(case: Mapping, mode: str, page: Page) -> str:
    """The answer as a person would see it, where answers were written; its class where another mode is on view."""
    entry = case.get("generated")
    if not entry:
        return ""
    beside = given(entry["given"], page) if mode != "generated" else ""
    return (
        f'<p class="so-case-said">{escape(page.t("evaluate.cases.final"))}{beside}</p>'
        f'<div class="so-case-final">{folded(entry["final"], page)}</div>'
    )


def _probabilities(case: Mapping, page: Page) -> str:
    """The four scored probabilities as small bars, where they were scored."""
    entry = case.get("scored")
    if not entry:
        return ""
    rows = "".join(
        f'<div class="so-{name.lower()}" title="{name}"><dt><i aria-hidden="true">{name[0]}</i><span class="so-unseen">{name}</span></dt>'
        f'<dd><span style="width:{100 * entry["probabilities"][name]:.1f}%"></span></dd>'
        f"<dd>{numbers.fixed(entry['probabilities'][name], 2)}</dd></div>"
        for name in cards.CLASSES
    )
    label = escape(page.t("evaluate.cases.probability"))
    return f'<p class="so-case-said">{label}</p><dl class="so-chances">{rows}</dl>'


def _about(case: Mapping, mode: str, page: Page) -> str:
    """Where the row comes from, and what the answer said of itself."""
    told = [case["id"], page.t("evaluate.cases.line", line=case["line"]), case["domain"]]
    entry = case.get("generated")
    if entry:
        sure = entry["confidence"]
        told.append(
            page.t("evaluate.cases.confidence", value=numbers.fixed(sure, 2))
            if sure is not None
            else page.t("evaluate.cases.no_confidence")
        )
        if entry["format"] != "whole":
            told.append(page.t(f"evaluate.format.{entry['format']}"))
    system = ""
    if case["system"]:
        words = escape(page.t("evaluate.cases.system"))
        system = f"<details><summary>{words}</summary><pre>{escape(case['system'])}</pre></details>"
    return f'<p class="so-case-about">{escape(" · ".join(filter(None, told)))}</p>{system}'


def wrong_rows(one: FinishedEvaluation, mode: str) -> str:
    """Every wrong case as a row of a dataset (JSONL), with what was given beside it."""
    return "".join(json.dumps(_row(case, mode), ensure_ascii=False) + "\n" for case in one.wrong(mode))


def _row(case: Mapping, mode: str) -> dict:
    entry = case[mode]
    return row_of(case) | {"given": entry["given"]} | {
        name: entry[name] for name in ("probabilities", "confidence", "final", "format") if name in entry
    }  # fmt: skip


def row_of(case: Mapping) -> dict:
    """The case as a row of a dataset: what was asked and what is expected."""
    row = {"id": case["id"], "instruction": case["prompt"], "input": "", "four_class_label": case["expected"]}
    return row | {name: text for name, text in (("system", case["system"]), ("domain_label", case["domain"])) if text}
