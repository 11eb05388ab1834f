"""The left side of the A/B test tab, and what runs: the form, its button, progress and figures, and the lists of tests."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from dashboard import ab_test_figures, cards, job_cards, numbers
from dashboard.ab_test_verdict import mark, pair
from dashboard.ab_test_wishes import SIDES, plan_of
from dashboard.bridge import Page
from dashboard.evaluate_cards import line_row, lines_of, model_name, options, rows_choice, when
from dashboard.evaluate_figures import excluded
from dashboard.evaluate_wishes import key
from so8t_engine import EngineError, FinishedAbTest, Snapshot, Voice, events

COMMAND = "RunAbTest"


def head(snapshot: Snapshot, page: Page) -> str:
    """Title, the one button, and why it can't be pressed or what decides."""
    return job_cards.head(
        snapshot, page, COMMAND, lambda key, **facts: page.t(f"ab_test.form.{key}", **facts), more=_rule(page)
    )


def _rule(page: Page) -> str:
    """By what the winner is chosen, and where that is set; "" where the settings can't be read."""
    try:
        rule = page.bridge.settings().ab_test
    except EngineError:
        return ""
    mode, metric = page.t(f"evaluate.mode.{rule.mode}"), ab_test_figures.name_of(rule.metric, page)
    link = cards.tab_link("config", page.t("ab_test.form.change_rule"))
    return f"{escape(page.t('ab_test.form.rule', mode=mode, metric=metric))} {link}"


def form(page: Page) -> str:
    """What is decided: two models and the rows. Its choices live in the page; the models are filled in by ab_test.js."""

    def t(key: str) -> str:
        return escape(page.t(f"ab_test.form.{key}"))

    models = "".join(
        f'<div class="so-ask"><label for="ab-test-{side}"><i class="so-ab-key so-ab-key-{side}" aria-hidden="true"></i>{t(side)}</label>'
        f'<select id="ab-test-{side}" name="{side}"></select></div>'
        for side in SIDES
    )
    return f'<div class="so-ab-form">{models}<div data-part="no-runs"></div>{rows_choice("ab-test", t)}</div>'


def models(voices: Sequence[Voice], page: Page) -> dict[str, str]:
    """The options of each side: at first the original, and the newest run that has come to its end."""
    runs = [voice for voice in voices if voice.run]
    newest = next((voice for voice in runs if voice.name == voice.run.name), next(iter(runs), None))
    return {"base": options(voices, page), "retrained": options(runs, page, chosen=newest.key if newest else "")}


def no_runs(page: Page) -> str:
    """Instead of a retrained model: where one comes from."""
    link = cards.tab_link("train", page.t("ab_test.form.to_train"))
    return f'<p class="so-caution">{escape(page.t("ab_test.form.no_runs"))} {link}</p>'


# What runs


def situation(snapshot: Snapshot, page: Page) -> str:
    """How far the present test is and what it shows so far, why it failed, or that it was stopped; "" for nothing."""
    return job_cards.situation(
        snapshot, page, COMMAND, lambda key: page.t(f"ab_test.progress.{key}"), lambda: _running(snapshot, page),
        _again(snapshot, page),
    )  # fmt: skip


def _again(snapshot: Snapshot, page: Page) -> str:
    """The button that goes on with what was decided."""
    if snapshot.ab_test is None:
        return ""
    return cards.button("go_on", page.t("ab_test.progress.go_on"), what=key(snapshot.ab_test.folder))


def _running(snapshot: Snapshot, page: Page) -> str:
    opened = snapshot.ab_test
    if opened is None:
        words = page.t("evaluate.progress.opening")
        return cards.card(words, cards.bar(None, words), kind="so-evaluate-progress", name="ab-testing")
    told = [Path(opened.file).name, page.t("evaluate.progress.rows", rows=numbers.count(opened.rows))]
    told += [page.t("ab_test.progress.resumed")] if opened.resumed else []
    about = f'<p class="so-evaluate-about">{escape(" · ".join(told))}</p>'
    left_out = excluded(opened.excluded, page)
    if left_out:
        about += f'<p class="so-evaluate-about">{escape(page.t("evaluate.excluded.title"))}: {escape(left_out)}</p>'
    body = f'{pair(opened.base_name, opened.retrained_name, page)}{about}<ol class="so-evaluate-lines">{_line(snapshot, page)}</ol>'
    progress = cards.card(_stage(snapshot, page), body, kind="so-evaluate-progress", name="ab-testing")
    return progress + "".join(_so_far(mode, snapshot, page) for mode in opened.modes)


def _stage(snapshot: Snapshot, page: Page) -> str:
    now = snapshot.ab_testing
    if snapshot.state == "stopping":
        return page.t("state.stopping")
    if now is None:
        return page.t("ab_test.progress.loading")
    if now.total and now.done >= now.total:
        return page.t("evaluate.progress.finishing")
    return page.t("ab_test.progress.title")


def _line(snapshot: Snapshot, page: Page) -> str:
    """Bar, decisions done of all, time left, and who decides how now."""
    now = snapshot.ab_testing
    name, label = escape(page.t("ab_test.progress.decisions")), page.t("header.progress")
    if now is None:
        return line_row("waiting", name, cards.bar(0.0, label), "", page.t("evaluate.progress.waiting"), "")
    left = now.seconds_left if now.done < now.total else None
    words = "" if left is None else page.t("header.left", time=numbers.duration(left, page.language))
    bar = cards.bar(now.done / now.total if now.total else None, label)
    return line_row("now", name, bar, f"{now.done:,} / {now.total:,}", words, escape(at_work(now, page)))


def at_work(now: events.AbTestProgressed, page: Page) -> str:
    """Which model decides now, and how."""
    mode = page.t(f"evaluate.mode.{now.mode}")
    return page.t("ab_test.progress.at_work", side=page.t(f"ab_test.side.{now.side}"), mode=mode)


def _so_far(mode: str, snapshot: Snapshot, page: Page) -> str:
    """The figures of a mode as they come. Its place is there before the first row."""
    found = next((event for event in snapshot.ab_measured if event.mode == mode), None)
    rows, total = (found.rows, found.total) if found else (0, snapshot.ab_test.rows)
    counts = (found.fixed, found.broken, found.both, found.neither) if found else (0, 0, 0, 0)
    aside = page.t("ab_test.progress.rows", rows=numbers.count(rows), total=numbers.count(total))
    why = "" if found else page.t("ab_test.progress.not_yet")
    note = escape(page.t("ab_test.progress.preliminary"))
    body = (
        f"{ab_test_figures.figures(ab_test_figures.measured(found), page, why)}"
        f'{ab_test_figures.changes(*counts, page)}<p class="so-note">{note}</p>'
    )
    aside = f'<span class="so-aside">{escape(aside)}</span>'
    return cards.card(page.t(f"evaluate.mode.{mode}"), body, aside=aside, kind="so-ab-pairing", name=f"so-far-{mode}")


# What was tested


def listed(found: Sequence[FinishedAbTest], page: Page) -> str:
    """Every finished test as a button that shows it."""
    if not found:
        return f'<p class="so-empty">{escape(page.t("ab_test.list.empty"))}</p>'
    return f'<ul class="so-evaluations">{"".join(_entry(one, page) for one in found)}</ul>'


def _entry(one: FinishedAbTest, page: Page) -> str:
    results = one.results
    names = " → ".join(escape(model_name(results["models"][side]["name"], page)) for side in SIDES)
    rows = page.t("evaluate.progress.rows", rows=numbers.count(results["data"]["rows"]))
    return (
        f'<li><button type="button" data-ab-test="{key(one.folder)}"><strong>{names}</strong>{mark(one, page)}'
        f"<small>{escape(Path(results['data']['file']).name)} · {escape(rows)} · {when(one, page)}</small></button></li>"
    )


def interrupted(places: Sequence, page: Page) -> str:
    """Tests that were begun and can go on, each with how far it is; "" when there is none."""
    rows = "".join(_begun(place, page) for place in places)
    if not rows:
        return ""
    return cards.card(page.t("ab_test.interrupted.title"), f'<ul class="so-list">{rows}</ul>', name="ab-interrupted")


def _begun(place, page: Page) -> str:
    plan = plan_of(place.plan)
    if plan is None:
        return f"<li><span>{cards.code(place.id)}<small>{escape(page.t('evaluate.interrupted.unread'))}</small></span></li>"
    total = lines_of(place.rows)
    told = [Path(plan.file).name]
    for mode in plan.modes:
        done = min(lines_of(place.answers(side, mode)) for side in SIDES)
        told.append(f"{page.t(f'evaluate.mode.{mode}')} {done:,} / {total:,}")
    names = " → ".join(model_name(name.removeprefix("run:"), page) for name in (plan.base, plan.retrained))
    button = cards.button("go_on", page.t("ab_test.progress.go_on"), what=key(place.folder), kind="so-small")
    return f"<li><span>{cards.code(names)}<small>{escape(' · '.join(told))}</small></span>{button}</li>"
