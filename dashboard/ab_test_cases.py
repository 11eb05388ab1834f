"""The cases behind an A/B test: where the two decide differently, or what lies in a cell of one's matrix."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from dashboard import cards, numbers
from dashboard.ab_test_wishes import SIDES
from dashboard.bridge import Page
from dashboard.evaluate_cases import NONE, beside, paged, row_of
from dashboard.evaluate_figures import UNPARSEABLE, given
from dashboard.evaluate_wishes import key
from so8t_engine import FinishedAbTest

CHANGES = ("differ", "fixed", "broken", "both_wrong")
"""The filters. "differ": the two gave another class, whoever is right."""


@dataclass(frozen=True)
class Choice:
    """Which cases: those of a filter (`change`), or, where `expected` is named, of a cell of one side's matrix."""

    mode: str
    change: str = "differ"
    side: str = ""
    expected: str = ""
    given: str = ""

    @property
    def cell(self) -> bool:
        """Whether a cell is meant."""
        return bool(self.side and self.expected)

    def holds(self, case: Mapping) -> bool:
        """Whether the case is among them."""
        if self.cell:
            wanted = UNPARSEABLE if self.given == NONE else self.given
            return case["expected"] == self.expected and case[self.side]["given"] == wanted
        if self.change == "differ":
            return case["base"]["given"] != case["retrained"]["given"]
        return case["change"] == self.change


def cases_card(page: Page) -> str:
    """The card's place; ab_test.js fills it."""
    body = f'<div data-part="cases">{cards.skeleton(5)}</div>'
    return f'<section class="so-card so-cases" data-card="cases" tabindex="-1" aria-label="{escape(page.t("evaluate.cases.title"))}">{body}</section>'


def cases(one: FinishedAbTest, choice: Choice, number: int, page: Page) -> str:
    """One page of the chosen cases with the filters above; pages count from 0."""
    every = one.cases(choice.mode)
    found = [case for case in every if choice.holds(case)]
    head = _head(one, every, choice, bool(found), page)
    if not found:
        words = page.t("evaluate.cases.none_cell" if choice.cell else f"ab_test.cases.none_{choice.change}")
        return f'{head}<p class="so-empty">{escape(words)}</p>'
    return head + paged(found, number, lambda case: _case(case, choice.mode, page), page)


def _head(one: FinishedAbTest, every: list[dict], choice: Choice, any_: bool, page: Page) -> str:
    """The title, what is chosen, the file of it, and the filters with their counts."""
    about = ""
    if choice.cell:
        name = UNPARSEABLE if choice.given == NONE else choice.given
        side = escape(page.t(f"ab_test.side.{choice.side}"))
        about = f'<p class="so-cases-about">{side}: {given(choice.expected, page)}<span>→</span>{given(name, page)}</p>'
    link = ""
    if any_:
        asked = {"mode": choice.mode, "change": choice.change, "side": choice.side, "expected": choice.expected}
        address = escape(f"/ab_tests/{key(one.folder)}/cases.jsonl?{urlencode(asked | {'given': choice.given})}")
        link = (
            f'<a class="so-button so-small" href="{address}" download title="{escape(page.t("ab_test.cases.export_help"))}">'
            f"{escape(page.t('ab_test.cases.export'))}</a>"
        )
    return (
        f'<header class="so-card-head so-ab-cases-head"><div class="so-cases-title"><h2>{escape(page.t("evaluate.cases.title"))}</h2>'
        f'{about}</div><div class="so-actions">{link}</div></header>{_filters(every, choice, page)}'
    )


def _filters(every: list[dict], choice: Choice, page: Page) -> str:
    def button(change: str) -> str:
        count = sum(Choice(choice.mode, change).holds(case) for case in every)
        pressed = str(not choice.cell and change == choice.change).lower()
        words, help_ = (escape(page.t(f"ab_test.cases.{change}{end}")) for end in ("", "_help"))
        return (
            f'<button type="button" data-change="{change}" aria-pressed="{pressed}" title="{help_}">'
            f"{words} <b>{numbers.count(count)}</b></button>"
        )

    buttons = "".join(map(button, CHANGES))
    label = escape(page.t("ab_test.cases.filter"))
    return f'<div class="so-segments so-ab-filters" role="group" aria-label="{label}">{buttons}</div>'


def _case(case: Mapping, mode: str, page: Page) -> str:
    change = case["change"]
    chip = f'<span class="so-ab-change so-ab-{change}">{escape(page.t(f"ab_test.change.{change}"))}</span>'
    told = [case["id"], page.t("evaluate.cases.line", line=case["line"]), case["domain"]]
    about = f'<p class="so-case-about">{escape(" · ".join(filter(None, told)))}</p>'
    if case["system"]:
        words = escape(page.t("evaluate.cases.system"))
        about += f"<details><summary>{words}</summary><pre>{escape(case['system'])}</pre></details>"
    sides = ((page.t(f"ab_test.side.{side}"), {**case, mode: case[side]}) for side in SIDES)
    return beside(sides, mode, page, head=chip, foot=about)


def rows(one: FinishedAbTest, choice: Choice) -> str:
    """The chosen cases as rows of a dataset (JSONL), with what each side gave beside them."""
    found = (case for case in one.cases(choice.mode) if choice.holds(case))
    return "".join(json.dumps(_row(case), ensure_ascii=False) + "\n" for case in found)


def _row(case: Mapping) -> dict:
    told = ("given", "probabilities", "confidence", "final", "format")
    sides = {side: {name: case[side][name] for name in told if name in case[side]} for side in SIDES}
    return row_of(case) | {"change": case["change"]} | sides
