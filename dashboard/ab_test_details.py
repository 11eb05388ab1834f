"""The details of an A/B test as HTML: every test that was made, the classes, the format and the times of the answers."""

from collections.abc import Mapping
from html import escape

from dashboard import cards, confusion, numbers
from dashboard.ab_test_figures import PLAIN, difference, favours, name_of, none_of, probability
from dashboard.ab_test_wishes import SIDES
from dashboard.bridge import Page
from dashboard.evaluate_details import FORMATS, Mode, pace, seconds_of
from dashboard.evaluate_figures import table, value

TESTED = ("score", "accuracy", "macro_f1", "unsafe_allow", "over_refusal")
"""The differences that are tested together, the one that names the winner first."""

PARTS = dict(zip(SIDES, ("first", "second"), strict=True))
"""How a pairing calls the sides."""


def tests(mode: Mode, page: Page) -> str:
    """Each difference with its test: is it more than chance?"""
    name, part = mode
    t = page.t
    heads = [(t("ab_test.figures.metric"), ""), (t("ab_test.tests.decided"), "")]
    heads += [(t("ab_test.figures.difference"), t("ab_test.figures.difference_help"))]
    heads += [(t(f"ab_test.tests.{head}"), t(f"ab_test.tests.{head}_help")) for head in ("relative", "p", "adjusted", "effect")]
    rows = [_test(metric, part["pairing"]["differences"][metric], page) for metric in TESTED]
    note = f'<p class="so-note">{escape(t("ab_test.tests.note"))}</p>'
    title = t("ab_test.tests.title")
    return cards.card(title, table(heads, rows, "so-ab-tests", title) + note, name=f"tests-{name}")


def _test(metric: str, found: Mapping | None, page: Page) -> list[str]:
    label = escape(name_of(metric, page))
    if found is None:
        return [label, cards.missing(none_of(metric, page))]
    plain, test = metric in PLAIN, found["test"]
    method = f"<small>{escape(page.t(f'ab_test.tests.{test}'))}</small>"
    moved = difference(found, page, "", plain=plain)
    return [
        label + method, _decided(metric, found, page), moved, _relative(found["relative"], page), probability(found["p"]),
        probability(found["p_adjusted"]), _effect(found["effect"], page),
    ]  # fmt: skip


def _relative(moved: float | None, page: Page) -> str:
    return cards.missing(page.t("ab_test.tests.no_relative")) if moved is None else f"{100 * moved:+.1f} %"


def _effect(effect: Mapping[str, float | None], page: Page) -> str:
    """Every effect size of a test by its name, with what small and large mean on hover."""
    told = [
        f'<span class="so-ab-effect" title="{escape(page.t(f"ab_test.effect.{name}_help"))}">{escape(page.t(f"ab_test.effect.{name}"))} '
        f"{numbers.fixed(size, 2)}</span>"
        for name, size in effect.items()
        if size is not None
    ]
    return "".join(told) or cards.missing(page.t("ab_test.effect.none"))


def _decided(metric: str, found: Mapping, page: Page) -> str:
    """Who is better in it, or what it would take to know."""
    side = favours(metric, found)
    if side:
        return f'<span class="so-ab-won so-ab-won-{side}">{escape(page.t(f"ab_test.tests.better_{side}"))}</span>'
    needed = found["rows_needed"]
    more = f"<small>{escape(page.t('ab_test.tests.more', rows=numbers.count(needed)))}</small>" if needed else ""
    words = page.t("ab_test.tests.open" if found["value"] else "ab_test.tests.same")
    return f'<span class="so-ab-won">{escape(words)}</span>{more}'


def matrices(mode: Mode, page: Page) -> str:
    """Both confusion matrices side by side."""
    name, part = mode
    pairing = part["pairing"]
    sides = "".join(
        f'<div><h3 class="so-ab-matrix-of"><i class="so-ab-key so-ab-key-{side}" aria-hidden="true"></i>{escape(page.t(f"ab_test.side.{side}"))}</h3>'
        f"{confusion.matrix(f'ab-{name}-{side}', name, pairing[which]['confusion'], page, side)}</div>"
        for side, which in PARTS.items()
    )
    note = f'<p class="so-evaluate-about">{escape(page.t("evaluate.confusion.note"))}</p>'
    body = f'<div class="so-pair">{sides}</div>{note}'
    return cards.card(page.t("ab_test.classes.matrices"), body, name=f"matrices-{name}")


def classes(mode: Mode, page: Page) -> str:
    """How each class is met by both."""
    title = page.t("ab_test.classes.title")
    return cards.card(title, _class_table(mode[1]["pairing"], title, page), name=f"classes-{mode[0]}")


def _class_table(pairing: Mapping, title: str, page: Page) -> str:
    t = page.t
    heads = [(t("evaluate.confusion.class"), ""), (t("evaluate.confusion.support"), t("evaluate.confusion.support_help"))]
    for measure in ("recall", "f1"):
        words, help_ = t(f"evaluate.confusion.{measure}"), t(f"evaluate.confusion.{measure}_help")
        heads += [(f"{words}: {t(f'ab_test.side.{side}')}", help_) for side in SIDES]
        heads += [(f"{words}: {t('ab_test.figures.difference')}", t("ab_test.figures.difference_help"))]
    rows = []
    for label in cards.CLASSES:
        first, second = (pairing[which]["classes"][label] for which in PARTS.values())
        cells = [cards.badge(label), numbers.count(first["support"])]
        for measure, why in (("recall", "never_expected"), ("f1", "never_given")):
            reason, plain = t(f"evaluate.confusion.{why}"), measure == "f1"
            cells += [value(one[measure], reason, plain=plain) for one in (first, second)]
            cells += [difference(pairing["classes"][label][measure], page, reason, plain=plain)]
        rows.append(cells)
    return table(heads, rows, "so-ab-classes", title)


def format_and_times(mode: Mode, page: Page) -> str:
    """Scored: rows a second. Generated: how many answers are in the format, and how long they took."""
    name, part = mode
    if name == "generated":
        return _format(part, page) + _times(part["times"], page)
    rows = [(page.t(f"ab_test.side.{side}"), part[side]["rows_per_second"]) for side in SIDES]
    why = page.t("evaluate.latency.unmeasured")
    told = [(side, escape(page.t("evaluate.latency.rows", value=pace(each))) if each else cards.missing(why)) for side, each in rows]
    return cards.card(page.t("evaluate.latency.title"), cards.facts(told), name="times-scored")


def _format(part: Mapping, page: Page) -> str:
    found, t = part["format"], page.t
    heads = [(t("evaluate.format.share"), "")] + [(t(f"ab_test.side.{side}"), "") for side in SIDES]
    rows = []
    for kind in FORMATS:
        counts = [part[side]["format"]["counts"] for side in SIDES]
        mark = f'<i class="so-format-mark so-format-{kind}"></i>{escape(t(f"evaluate.format.{kind}"))}'
        rows.append([mark, *(numbers.count(count.get(kind, 0)) for count in counts)])
    moved = found["difference"]
    lead = cards.facts([
        *((t(f"ab_test.side.{side}"), value(found[side])) for side in SIDES),
        (t("ab_test.figures.difference"), f"{difference(moved, page, '', plain=False)} <small>p {probability(moved['p'])}</small>"),
    ])  # fmt: skip
    help_ = f'<p class="so-evaluate-about">{escape(t("evaluate.format.share_help"))}</p>'
    body = f'<div class="so-pair"><div class="so-ab-format">{lead}{help_}</div>{table(heads, rows, "so-formats")}</div>'
    return cards.card(t("evaluate.format.title"), body, name="format-generated")


def _times(times: Mapping | None, page: Page) -> str:
    """Answers written one at a time, those of one row by both models in turn."""
    t, title = page.t, page.t("ab_test.times.title")
    if not times:
        return cards.card(title, f'<p class="so-empty">{escape(t("ab_test.times.none"))}</p>', name="times-generated")
    heads = [("", "")]
    for quantile in ("p50", "p95"):
        heads += [(f"{quantile}: {t(f'ab_test.side.{side}')}", t(f"evaluate.latency.{quantile}_help")) for side in SIDES]
    heads += [(t(f"ab_test.times.{head}"), t(f"ab_test.times.{head}_help")) for head in ("moved", "wilcoxon", "t", "effect")]
    rows = [_time(name, times[name], page) for name in ("first_token", "answer")]
    turns = t("ab_test.times.in_turns" if times["in_turns"] else "ab_test.times.apart")
    note = t("ab_test.times.note", count=numbers.count(times["answer"]["rows"]), turns=turns)
    body = table(heads, rows, "so-ab-times", title) + f'<p class="so-note">{escape(note)}</p>'
    return cards.card(title, body, name="times-generated")


def _time(name: str, found: Mapping, page: Page) -> list[str]:
    cells = [
        seconds_of(found[which][quantile]) for quantile in ("p50", "p95") for which in PARTS.values()
    ]  # fmt: skip
    ends = f"<small>[{_moved(found['low'])}, {_moved(found['high'])}]</small>" if found["low"] is not None else ""
    moved = f'<span class="so-estimate"><b>{_moved(found["mean"]["value"])}</b>{ends}</span>'
    why = page.t("ab_test.times.same")
    size = cards.missing(why) if found["rank_biserial"] is None else f"{found['rank_biserial']:+.2f}"
    tested = [probability(found["p"], why), probability(found["t_p"], why), size]
    return [escape(page.t(f"evaluate.latency.{name}")), *cells, moved, *tested]


def _moved(seconds: float) -> str:
    """-12 ms, or +1.24 s."""
    return f"{'+' if seconds >= 0 else '-'}{seconds_of(abs(seconds))}"
