"""One finished A/B test as HTML: the verdict first, then the differences, the cases behind them, and how it was measured."""

import json
from collections.abc import Mapping, Sequence
from html import escape

from dashboard import ab_test_details, ab_test_figures, cards, evaluate_charts
from dashboard.ab_test_cases import cases_card
from dashboard.ab_test_provenance import provenance, rule_card
from dashboard.ab_test_verdict import verdict_card
from dashboard.ab_test_wishes import SIDES
from dashboard.bridge import Page
from dashboard.evaluate_details import Mode
from dashboard.evaluate_figures import caution
from dashboard.evaluate_results import of_mode, switch
from dashboard.evaluate_wishes import key
from so8t_engine import FinishedAbTest


def shown(one: FinishedAbTest, page: Page) -> str:
    """Everything that was measured. `data-figures` holds the charts; ab_test.js draws them into their places."""
    decides = one.results["winner"]["rule"]["mode"]
    modes = sorted(one.results["modes"].items(), key=lambda mode: mode[0] != decides)
    try:
        parts = _parts(one, modes, page)
        figures = escape(json.dumps(_figures(modes, page), ensure_ascii=False))
    except (KeyError, TypeError, AttributeError, IndexError):  # a file that somebody has edited
        parts, modes, figures = [cards.trouble(page, page.t("ab_test.unread"), where=str(one.place.results))], [], "{}"
    names = " ".join(name for name, _ in modes)
    return (
        f'<div class="so-evaluated so-ab-tested" data-shown="{key(one.folder)}" data-modes="{names}" '
        f'data-decides="{escape(decides)}" data-figures="{figures}">{"".join(parts)}</div>'
    )


def _parts(one: FinishedAbTest, modes: Sequence[Mode], page: Page) -> list[str]:
    return [
        verdict_card(one, page), switch([name for name, _ in modes], page),
        *(of_mode(mode, lambda found: _lead(found, page)) for mode in modes),
        *(of_mode(mode, lambda found: ab_test_details.tests(found, page)) for mode in modes),
        *(of_mode(mode, lambda found: ab_test_details.matrices(found, page)) for mode in modes),
        cases_card(page),
        *(of_mode(mode, lambda found: ab_test_details.classes(found, page)) for mode in modes),
        *(of_mode(mode, lambda found: ab_test_details.format_and_times(found, page)) for mode in modes),
        rule_card(one, page), provenance(one, page),
    ]  # fmt: skip


def _figures(modes: Sequence[Mode], page: Page) -> dict:
    return {
        f"ab-{name}-{side}": evaluate_charts.matrix(name, part["pairing"][which]["confusion"], page)
        for name, part in modes
        for side, which in zip(SIDES, ("first", "second"), strict=True)
    }


def empty(page: Page) -> str:
    """Before the first test: what it is for."""
    text, lead = (escape(page.t(f"ab_test.empty.{name}")) for name in ("text", "lead"))
    body = f'<p class="so-empty">{text}</p><p class="so-empty">{lead}</p>'
    return cards.card(page.t("ab_test.empty.title"), body, name="no-ab-test")


def _lead(mode: Mode, page: Page) -> str:
    """Both models' values, their differences around zero, and who got the rows right."""
    name, part = mode
    pairing: Mapping = part["pairing"]
    counts = (pairing[count] for count in ("only_second", "only_first", "both", "neither"))
    body = (
        f"{ab_test_figures.figures(ab_test_figures.compared(pairing), page)}{ab_test_figures.changes(*counts, page)}"
        f'{caution(pairing["second"], page)}<p class="so-note">{escape(page.t("ab_test.figures.note"))}</p>'
    )
    return cards.card(page.t("ab_test.figures.title"), body, kind="so-ab-pairing", name=f"figures-{name}")
