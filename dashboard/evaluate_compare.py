"""Two evaluations on the rows that both have measured: is one better, and what has changed?"""

from collections.abc import Mapping
from html import escape

from dashboard import cards, numbers
from dashboard.bridge import Page
from dashboard.evaluate_cards import model_name, when
from dashboard.evaluate_cases import beside, paged
from dashboard.evaluate_figures import square, table, value
from so8t_engine import EvaluationComparison, FinishedEvaluation

SURE = 0.05
"""Below this probability a difference is told as one."""

RATES = ("unsafe_allow", "over_refusal", "accuracy", "macro_f1")


def comparison_card(one: FinishedEvaluation, other: FinishedEvaluation, found: EvaluationComparison, page: Page) -> str:
    """Verdict, figures, and the rows by who got them right. `found` has the other one first: it is what one starts from."""
    rows = escape(page.t("evaluate.compare.rows", rows=numbers.count(found.rows)))
    mode = escape(page.t(f"evaluate.mode.{found.mode}"))
    body = (
        f'<p class="so-evaluate-about">{mode} · {rows}</p>{_verdict(found, page)}<div class="so-pair">'
        f"<div>{_figures(one, other, found, page)}</div><div>{_square(found, page)}</div></div>{_changed_head(found, page)}"
        f'<div data-part="changed">{changed(found, 0, page)}</div>'
    )
    return cards.card(
        page.t("evaluate.compare.title"), body, aside=_close(page), kind="so-comparison", name="comparison"
    )


def without_mode(page: Page) -> str:
    """The card where the other one was not measured in this mode."""
    words = escape(page.t("evaluate.compare.no_mode"))
    return cards.card(
        page.t("evaluate.compare.title"), f'<p class="so-empty">{words}</p>', aside=_close(page), name="comparison"
    )


def _close(page: Page) -> str:
    return f'<button type="button" class="so-button so-small" data-uncompare>{escape(page.t("evaluate.compare.close"))}</button>'


def _verdict(found: EvaluationComparison, page: Page) -> str:
    """McNemar's test in words that a person can act on."""
    decided = numbers.count(found.only_first + found.only_second)
    if found.p is None:
        said, why, then, kind = page.t("evaluate.compare.same"), "", page.t("evaluate.compare.advice_same"), "even"
    else:
        why = page.t("evaluate.compare.odds", rows=decided, p=chance(found.p, page))
        if found.p < SURE:
            better = "better_second" if found.only_first > found.only_second else "better_first"
            said, then, kind = page.t(f"evaluate.compare.{better}"), page.t("evaluate.compare.advice_sure"), "sure"
        else:
            said, then, kind = page.t("evaluate.compare.unsure"), page.t("evaluate.compare.advice_unsure"), "even"
    rest = ("" if page.language == "ja" else " ").join(filter(None, (why, then)))
    return (
        f'<div class="so-compared so-compared-{kind}"><p class="so-what">{escape(said)}</p><p>{escape(rest)}</p></div>'
    )


def chance(p: float, page: Page) -> str:
    """A probability in per cent: 42 %, 3.5 %, 0.05 %, under 0.01 %."""
    percent = 100 * p
    if percent < 0.01:
        return page.t("evaluate.compare.rare")
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %" if percent >= 1 else f"{percent:.2f} %"


def _figures(one: FinishedEvaluation, other: FinishedEvaluation, found: EvaluationComparison, page: Page) -> str:
    first, second = found.first.to_json(), found.second.to_json()

    def name(side: str, which: FinishedEvaluation) -> str:
        return f"{page.t(f'evaluate.compare.{side}')}: {model_name(which.results['model']['name'], page)} · {when(which, page)}"

    heads = [("", ""), (page.t("evaluate.compare.other"), name("other", other)), (page.t("evaluate.compare.this"), name("this", one)),
             (page.t("evaluate.compare.difference"), "")]  # fmt: skip
    rows = []
    for rate in RATES:
        plain, why = rate == "macro_f1", page.t(f"evaluate.lead.{'accuracy' if rate == 'macro_f1' else rate}_none")
        cells = [value(side[rate], why, plain=plain) for side in (first, second)]
        rows.append(
            [escape(page.t(f"evaluate.lead.{rate}")), *cells, _difference(first[rate], second[rate], plain, page)]
        )
    whose = "".join(f"<li>{escape(name(*pair))}</li>" for pair in (("other", other), ("this", one)))
    return f'{table(heads, rows, "so-compared-figures")}<ul class="so-whose">{whose}</ul>'


def _difference(first: Mapping | None, second: Mapping | None, plain: bool, page: Page) -> str:
    if first is None or second is None:
        return numbers.DASH
    moved = second["value"] - first["value"]
    return f"{moved:+.3f}" if plain else escape(page.t("evaluate.compare.points", value=f"{100 * moved:+.1f}"))


def _square(found: EvaluationComparison, page: Page) -> str:
    """Both right, one alone, neither."""
    counts = {
        "both": found.both,
        "only_second": found.only_first,
        "only_first": found.only_second,
        "neither": found.neither,
    }
    told = [(name, page.t(f"evaluate.compare.{name}"), count) for name, count in counts.items()]
    return square(told, found.rows)


def _changed_head(found: EvaluationComparison, page: Page) -> str:
    note = f"<small>{escape(page.t('evaluate.compare.changed_note'))}</small>" if found.changed else ""
    return f'<h3 class="so-changed-head">{escape(page.t("evaluate.compare.changed"))}{note}</h3>'


def changed(found: EvaluationComparison, number: int, page: Page) -> str:
    """One page of the cases that the two decide differently."""
    if not found.changed:
        return f'<p class="so-empty">{escape(page.t("evaluate.compare.changed_none"))}</p>'
    names = [page.t(f"evaluate.compare.{side}") for side in ("other", "this")]
    return paged(
        found.changed, number, lambda pair: beside(zip(names, pair, strict=True), found.mode, page), page
    )
