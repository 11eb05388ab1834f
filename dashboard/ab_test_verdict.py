"""Which model is better and how sure that is, as one sentence with its figures, and what one does next."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from dashboard import cards, numbers
from dashboard.ab_test_figures import PLAIN, name_of, points, probability, rate
from dashboard.ab_test_wishes import SIDES
from dashboard.bridge import Page
from dashboard.evaluate_cards import model_name, when
from dashboard.evaluate_figures import excluded, interval
from dashboard.evaluate_wishes import key
from so8t_engine import FinishedAbTest


def kind(winner: str | None, code: str) -> str:
    """Which answer it is: "better_base", "better_retrained", "unsafe", "undecided" or "equal"."""
    return f"better_{winner}" if code == "better" else code


def kind_of(one: FinishedAbTest) -> str:
    """The same of a finished test."""
    return kind(one.results["winner"]["winner"], one.results["winner"]["code"])


def mark(one: FinishedAbTest, page: Page) -> str:
    """The verdict in a word or two, for a list."""
    found = kind_of(one)
    return f'<em class="so-ab-mark so-ab-mark-{escape(found)}">{escape(page.t(f"ab_test.mark.{found}"))}</em>'


def deciding(one: FinishedAbTest, metric: str = "") -> Mapping | None:
    """The difference that the rule looks at, or that in another measure of the same mode."""
    rule = one.results["winner"]["rule"]
    return one.results["modes"][rule["mode"]]["pairing"]["differences"][metric or rule["metric"]]


def sentence(one: FinishedAbTest, page: Page) -> str:
    """The verdict in plain words."""
    found = kind_of(one)
    if found == "undecided":
        needed = (deciding(one) or {}).get("rows_needed")
        if needed:
            return page.t("ab_test.verdict.undecided_rows", rows=numbers.count(needed))
    if found == "unsafe":
        more = one.results["winner"]["rule"]["more_unsafe"]
        return page.t(f"ab_test.verdict.unsafe_{more}")
    return page.t(f"ab_test.verdict.{found}")


def verdict_card(one: FinishedAbTest, page: Page) -> str:
    """Whom was compared on what, the sentence, the figures that it stands on, and the next step."""
    found = kind_of(one)
    return (
        f'<section class="so-card so-ab-verdict so-ab-verdict-{found}" data-card="verdict" data-verdict="{found}">'
        f'<div class="so-ab-verdict-head"><div>{_whom(one, page)}</div>{_tools(one, page)}</div>'
        f'<h2 class="so-ab-sentence">{escape(sentence(one, page))}</h2>{_ground(one, page)}{_next(one, found, page)}</section>'
    )


def _whom(one: FinishedAbTest, page: Page) -> str:
    data = one.results["data"]
    rows = page.t("evaluate.progress.rows", rows=numbers.count(data["rows"]))
    about = f"{escape(Path(data['file']).name)} · {escape(rows)} · {when(one, page)}"
    names = {side: one.results["models"][side]["name"] for side in SIDES}
    left_out = excluded({**data["excluded"], "too_long": data["too_long"]}, page)
    left_out = f"{page.t('evaluate.excluded.title')}: {left_out}" if left_out else ""
    lines = "".join(f'<p class="so-evaluate-about">{line}</p>' for line in (about, escape(left_out)) if line)
    return pair(names["base"], names["retrained"], page) + lines + _doubts(one, page)


def _doubts(one: FinishedAbTest, page: Page) -> str:
    """What stands in the way of trusting the verdict; "" when nothing does."""
    base, retrained = (one.results["models"][side] for side in SIDES)
    told = []
    if base["weights"] == retrained["weights"]:
        told.append(page.error("ab_test.same", "what", {}))
    if base["system"] != retrained["system"]:
        told.append(page.t("ab_test.verdict.other_system"))
    if not one.results["data"]["checked_against"]:
        told.append(page.t("ab_test.verdict.unchecked"))
    return "".join(f'<p class="so-caution">{escape(doubt)}</p>' for doubt in told)


def pair(base: str, retrained: str, page: Page) -> str:
    """Whom the test compares, each in its colour."""
    told = "".join(
        f'<span><i class="so-ab-key so-ab-key-{side}" aria-hidden="true"></i>{escape(_named(side, name, page))}</span>'
        for side, name in zip(SIDES, (base, retrained), strict=True)
    )
    return f'<p class="so-ab-pair">{told}</p>'


def _named(side: str, name: str, page: Page) -> str:
    role, told = page.t(f"ab_test.side.{side}"), model_name(name, page)
    return told if role == told else f"{role}: {told}"


def _tools(one: FinishedAbTest, page: Page) -> str:
    path, copy = escape(str(one.folder)), escape(page.t("evaluate.head.folder"))
    return (
        f'<div class="so-actions"><a class="so-button so-small" href="/ab_tests/{key(one.folder)}/report" target="_blank" '
        f'rel="noopener">{escape(page.t("evaluate.head.report"))}</a>'
        f'<button type="button" class="so-button so-small" data-copy="{path}" data-done="{escape(page.t("copy.done"))}" '
        f'aria-label="{copy}" title="{copy}">{copy}</button></div>'
    )


def _ground(one: FinishedAbTest, page: Page) -> str:
    """The difference that decided, with its interval and p; for the guard, that of unsafe ALLOW too, whose p is raw."""
    rule, unsafe = one.results["winner"]["rule"], deciding(one, "unsafe_allow")
    lines = _told(rule["metric"], [rule[side] for side in SIDES], deciding(one), "adjusted", page)
    if kind_of(one) == "unsafe":
        lines += _told("unsafe_allow", [rule[f"unsafe_{side}"] for side in SIDES], unsafe, "raw", page)
    mode = page.t("ab_test.verdict.mode", mode=page.t(f"evaluate.mode.{rule['mode']}"))
    blind = "" if unsafe else f'<p class="so-caution">{escape(page.t("ab_test.verdict.no_guard"))}</p>'
    return f'<ul class="so-ab-ground">{lines}</ul><p class="so-evaluate-about">{escape(mode)}</p>{blind}'


def _told(metric: str, values: Sequence[float], found: Mapping, kind_: str, page: Page) -> str:
    """A measure: what it was and is, the difference with its interval, and p ("adjusted" or "raw")."""
    plain, p = metric in PLAIN, found["p_adjusted" if kind_ == "adjusted" else "p"]
    words, help_ = (escape(page.t(f"ab_test.verdict.p_{kind_}{end}")) for end in ("", "_help"))
    return (
        f"<li><span>{escape(name_of(metric, page))}</span><span>{' → '.join(rate(one, metric, page) for one in values)}</span><b>{points(found['value'], page, plain=plain)}</b>"
        f'<small>{interval(found, plain=plain)}</small><span title="{help_}">{words} {probability(p)}</span></li>'
    )


def _next(one: FinishedAbTest, found: str, page: Page) -> str:
    """What one does now."""
    side = one.results["winner"]["winner"]
    steps = []
    if side:
        key_ = escape(one.results["models"][side]["key"])
        words = escape(page.t(f"ab_test.next.export_{side}"))
        steps.append(f'<a class="so-button so-primary" href="?tab=export" data-open-tab="export" data-winner="{key_}">{words}</a>')
    if found in ("undecided", "equal"):
        steps.append(f'<button type="button" class="so-button" data-more-rows>{escape(page.t("ab_test.next.more_rows"))}</button>')
    if found in ("unsafe", "better_base"):
        words = escape(page.t("ab_test.next.broken"))
        steps.append(f'<button type="button" class="so-button" data-change="broken" data-go>{words}</button>')
        steps.append(cards.tab_link("config", page.t("ab_test.next.retrain"), kind="so-button"))
    said = escape(page.t(f"ab_test.next.{found}"))
    return f'<div class="so-ab-next"><p>{said}</p><div class="so-actions">{"".join(steps)}</div></div>'
