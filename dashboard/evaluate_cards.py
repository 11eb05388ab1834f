"""The left side of the Evaluate tab, and what runs: the form, its button, the progress, and the lists of evaluations."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from dashboard import cards, job_cards, numbers
from dashboard.bridge import Page
from dashboard.evaluate_figures import excluded, moment, share
from dashboard.evaluate_wishes import MODES, key, plan_of
from so8t_engine import FinishedAbTest, FinishedEvaluation, Snapshot, Voice, events

COMMAND = "RunEvaluation"

DEFAULTS = ("scored", "generated")
"""The modes that are on at first: the benchmarks take long and need data of their own."""

PARTS = {"scored": ("scored",), "generated": ("alone", "generated"), "benchmarks": ("benchmarks",)}
"""The lines of progress that a mode has."""


def head(snapshot: Snapshot, page: Page) -> str:
    """Title, the one button, and why it can't be pressed or what it does."""
    return job_cards.head(snapshot, page, COMMAND, lambda key, **facts: page.t(f"evaluate.form.{key}", **facts))


def form(page: Page) -> str:
    """What is decided: model, rows, modes, limit. Its choices live in the page; the models are filled in by evaluate.js."""

    def t(key: str) -> str:
        return escape(page.t(f"evaluate.form.{key}"))

    modes = "".join(
        f'<label class="so-choice"><input type="checkbox" name="{mode}"{" checked" if mode in DEFAULTS else ""}>'
        f"<span>{escape(page.t(f'evaluate.mode.{mode}'))}<small>{t(f'{mode}_help')}</small></span></label>"
        for mode in MODES
    )
    return (
        f'<div class="so-evaluate-form"><div class="so-ask"><label for="evaluate-model">{t("model")}'
        f'</label><select id="evaluate-model" name="model"></select></div>'
        f"{rows_choice('evaluate', t)}"
        f'<fieldset class="so-ask"><legend>{t("measure")}</legend>{modes}</fieldset>'
        f'<div class="so-ask so-ask-limit"><label for="evaluate-limit">{t("limit")}</label>'
        f'<input id="evaluate-limit" name="limit" inputmode="numeric" autocomplete="off" placeholder="{t("limit_none")}" '
        f'aria-describedby="evaluate-limit-note"><small id="evaluate-limit-note">{t("limit_help")}</small></div></div>'
    )


def rows_choice(tab: str, t: Callable[[str], str]) -> str:
    """The choice between the rows that were kept for testing and a file. t: the form's words, as HTML."""
    choices = "".join(
        f'<label class="so-choice"><input type="radio" name="{tab}-rows" value="{name}" data-rows{" checked" if name == "test" else ""}>'
        f"<span>{t(name)}<small>{t(f'{name}_help')}</small></span></label>"
        for name in ("test", "file")
    )
    path = (
        f'<input type="text" name="file" aria-label="{t("file_path")}" placeholder="{t("file_path")}" spellcheck="false" '
        f'autocomplete="off" disabled>'
    )
    return f'<fieldset class="so-ask"><legend>{t("rows")}</legend>{choices}{path}</fieldset>'


def options(voices: Sequence[Voice], page: Page, chosen: str = "") -> str:
    """The models that can be chosen. chosen: the key of the one that is, "" for the first."""
    return "".join(
        f'<option value="{escape(voice.key)}"{" selected" if voice.key == chosen else ""}>{escape(model_name(voice.name, page))}</option>'
        for voice in voices
    )


def model_name(name: str, page: Page) -> str:
    """What a person reads for a model."""
    return page.t("evaluate.form.original") if name == "original" else name


# What runs


def situation(snapshot: Snapshot, page: Page) -> str:
    """How far the present evaluation is, why it failed, or that it was stopped; "" when there is nothing to say."""
    return job_cards.situation(
        snapshot, page, COMMAND, lambda key: page.t(f"evaluate.progress.{key}"), lambda: _progress(snapshot, page),
        _again(snapshot, page),
    )  # fmt: skip


def _again(snapshot: Snapshot, page: Page) -> str:
    """The button that goes on with what was measured."""
    if snapshot.evaluation is None:
        return ""
    wanted = key(snapshot.evaluation.folder)
    return cards.button("go_on", page.t("evaluate.progress.go_on"), what=wanted)


def _progress(snapshot: Snapshot, page: Page) -> str:
    opened = snapshot.evaluation
    if opened is None:
        words = page.t("evaluate.progress.opening")
        return cards.card(words, cards.bar(None, words), kind="so-evaluate-progress", name="evaluating")
    facts = [model_name(opened.name, page), Path(opened.file).name]
    facts.append(page.t("evaluate.progress.rows", rows=numbers.count(opened.rows)))
    if opened.resumed:
        facts.append(page.t("evaluate.progress.resumed"))
    about = f'<p class="so-evaluate-about">{escape(" · ".join(facts))}</p>'
    left_out = excluded(opened.excluded, page)
    if left_out:
        about += f'<p class="so-evaluate-about">{escape(page.t("evaluate.excluded.title"))}: {escape(left_out)}</p>'
    lines = "".join(_line(part, mode, snapshot, page) for mode in opened.modes for part in PARTS[mode])
    tested = "".join(f"<li>{_benchmark(event, page)}</li>" for event in _of(snapshot, events.BenchmarkFinished))
    more = f'<ul class="so-evaluate-tested">{tested}</ul>' if tested else ""
    return cards.card(
        _stage(snapshot, page), f'{about}<ol class="so-evaluate-lines">{lines}</ol>{more}', kind="so-evaluate-progress",
        name="evaluating",
    )  # fmt: skip


def _stage(snapshot: Snapshot, page: Page) -> str:
    if snapshot.state == "stopping":
        return page.t("state.stopping")
    if snapshot.evaluating is None:
        return page.t("evaluate.progress.loading")
    last = snapshot.evaluation.modes[-1] if snapshot.evaluation else ""
    if last != "benchmarks" and any(event.mode == last for event in _of(snapshot, events.ModeEvaluated)):
        return page.t("evaluate.progress.finishing")
    return page.t("evaluate.progress.title")


def _of(snapshot: Snapshot, kind: type) -> Iterator:
    return (event for event in snapshot.evaluated if isinstance(event, kind))


def _line(part: str, mode: str, snapshot: Snapshot, page: Page) -> str:
    """One line: name, bar, done of total, time left; what was found once it is done."""
    now = snapshot.evaluating
    found = next((event for event in _of(snapshot, events.ModeEvaluated) if event.mode == mode), None)
    name = escape(page.t(f"evaluate.mode.{part}"))
    label = page.t("evaluate.progress.bar", mode=page.t(f"evaluate.mode.{part}"))
    if found or (part == "alone" and now and now.mode == "generated"):
        return line_row("done", name, cards.bar(1.0, label), "", page.t("evaluate.progress.done"), _lead(found, part, page))
    if now is None or now.mode != part:
        return line_row("waiting", name, cards.bar(0.0, label), "", page.t("evaluate.progress.waiting"), "")
    share_ = now.done / now.total if now.total else None
    detail = escape(now.detail) or (escape(page.t("evaluate.progress.alone_help")) if part == "alone" else "")
    count = f"{now.done:,} / {now.total:,}" if now.total else ""
    return line_row("now", name, cards.bar(share_, label), count, _left(now, page), detail)


def line_row(state: str, name: str, bar: str, count: str, left: str, detail: str) -> str:
    """A line of progress. name, bar, count and detail are HTML."""
    return (
        f'<li class="so-line so-line-{state}"><b>{name}</b>{bar}<span>{count}</span><span>{escape(left)}</span>'
        f"<small>{detail}</small></li>"
    )


def _left(now: events.EvaluationProgressed, page: Page) -> str:
    left = seconds_left(now)
    return "" if left is None else page.t("header.left", time=numbers.duration(left, page.language))


def seconds_left(now: events.EvaluationProgressed) -> float | None:
    """Until the mode ends, at the pace of this try; None before a row is done and after the last one."""
    fresh = now.done - now.begun
    return now.seconds / fresh * (now.total - now.done) if fresh > 0 and now.done < now.total else None


def _lead(found: events.ModeEvaluated | None, part: str, page: Page) -> str:
    """The first figures of a mode that is done."""
    if found is None or part == "alone":
        return ""
    pairs = ((name, getattr(found, name)) for name in ("unsafe_allow", "over_refusal", "accuracy"))
    told = (f"{page.t(f'evaluate.lead.{name}')} {share(estimate[0])}" for name, estimate in pairs if estimate)
    return escape(" · ".join(told))


def _benchmark(event: events.BenchmarkFinished, page: Page) -> str:
    if event.outcome != "measured":
        why = page.error(event.code, "what", event.facts)
        return f"{escape(event.task)} <small>{escape(page.t('evaluate.benchmarks.not_run'))}: {escape(why)}</small>"
    values = ", ".join(f"{name} {share(value)}" for name, (value, _) in event.metrics.items())
    return escape(page.t("evaluate.benchmarks.measured", task=event.task, values=values))


# What was measured


def listed(found: Sequence[FinishedEvaluation], page: Page) -> str:
    """Every finished evaluation as a button that shows it."""
    if not found:
        return f'<p class="so-empty">{escape(page.t("evaluate.list.empty"))}</p>'
    return f'<ul class="so-evaluations">{"".join(_entry(one, page) for one in found)}</ul>'


def _entry(one: FinishedEvaluation, page: Page) -> str:
    results = one.results
    name, file = model_name(results["model"]["name"], page), Path(results["data"]["file"]).name
    rows = page.t("evaluate.progress.rows", rows=numbers.count(results["data"]["rows"]))
    told = []
    for mode, part in results["modes"].items():
        rates = (part["summary"][rate] for rate in ("unsafe_allow", "over_refusal", "accuracy"))
        cells = "".join(f"<span>{share(rate['value']) if rate else numbers.DASH}</span>" for rate in rates)
        told.append(
            f'<span class="so-evaluation-line"><span>{escape(page.t(f"evaluate.mode.{mode}"))}</span>{cells}</span>'
        )
    figures = "".join(told) or f'<span class="so-evaluation-line">{escape(page.t("evaluate.list.no_modes"))}</span>'
    return (
        f'<li><button type="button" data-evaluation="{key(one.folder)}"><strong>{escape(name)}</strong>'
        f"<small>{escape(file)} · {escape(rows)} · {when(one, page)}</small>{figures}</button></li>"
    )


def list_heads(page: Page) -> str:
    """The names of the three figures in the list."""
    cells = "".join(
        f"<span>{escape(page.t(f'evaluate.lead.{name}'))}</span>"
        for name in ("unsafe_allow", "over_refusal", "accuracy")
    )
    return f'<p class="so-evaluation-line so-evaluation-heads" aria-hidden="true"><span></span>{cells}</p>'


def when(one: FinishedEvaluation | FinishedAbTest, page: Page) -> str:
    """Day and time of an evaluation or an A/B test."""
    at = moment(one.results["created"])
    return numbers.date(at) if at is not None else escape(str(one.results["created"]))


def interrupted(places: Sequence, page: Page) -> str:
    """Evaluations that were begun and can go on, each with how far it is; "" when there is none."""
    rows = "".join(_begun(place, page) for place in places)
    if not rows:
        return ""
    return cards.card(page.t("evaluate.interrupted.title"), f'<ul class="so-list">{rows}</ul>', name="interrupted")


def _begun(place, page: Page) -> str:
    plan = plan_of(place.plan)
    if plan is None:
        return f"<li><span>{cards.code(place.id)}<small>{escape(page.t('evaluate.interrupted.unread'))}</small></span></li>"
    total = lines_of(place.rows)
    told = [Path(plan.file).name]
    told += [
        f"{page.t(f'evaluate.mode.{mode}')} {lines_of(place.answers(mode)):,} / {total:,}"
        for mode in plan.modes
        if mode in DEFAULTS
    ]
    name = model_name(plan.model.removeprefix("run:"), page)
    button = cards.button("go_on", page.t("evaluate.progress.go_on"), what=key(place.folder), kind="so-small")
    return f"<li><span>{cards.code(name)}<small>{escape(' · '.join(told))}</small></span>{button}</li>"


def lines_of(file: Path) -> int:
    """How many lines a journal has; 0 where there is none."""
    try:
        return file.read_bytes().count(b"\n")
    except OSError:
        return 0
