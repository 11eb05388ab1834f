"""How far the present stage of the overnight chain is: each kind of stage tells it in fields of its own."""

from dataclasses import dataclass

from dashboard import export_progress, numbers, texts, train_cards
from dashboard.bridge import Page
from dashboard.evaluate_cards import seconds_left
from dashboard.evaluate_figures import share
from so8t_engine import Snapshot, events

RATES = ("accuracy", "macro_f1", "unsafe_allow", "over_refusal")


@dataclass(frozen=True)
class Now:
    """share: 0.0 to 1.0, None while that is not known. In words: count, how much of how much; left, the time until its
    end; about, what is being done. figures: (label, value) of what is known so far."""

    share: float | None = None
    count: str = ""
    left: str = ""
    about: str = ""
    figures: tuple[tuple[str, str], ...] = ()


def now(snapshot: Snapshot, page: Page) -> Now:
    """The stage that is under way."""
    match snapshot.stage:
        case "train":
            return _train(snapshot, page)
        case "evaluate":
            return _evaluate(snapshot, page)
        case "ab_test":
            return _ab_test(snapshot, page)
        case "export":
            return _export(snapshot, page)
        case "ollama":
            return _push(snapshot, page)
        case "japanese_test":
            return _japanese(snapshot, page)
    return Now(about=page.t("overnight.now.opening"))


def _train(snapshot: Snapshot, page: Page) -> Now:
    plan, last, validation = snapshot.plan, snapshot.steps.last, snapshot.validations.last
    about = page.t(train_cards.stage(snapshot))
    if plan is None or not plan.steps:
        return Now(about=about)
    figures = [
        (page.t("tile.loss"), numbers.loss(last.loss)) if last else None,
        (page.t("tile.val_loss"), numbers.loss(validation.loss)) if validation else None,
        (page.t("tile.speed"), f"{numbers.rate(speed)} tokens/s") if (speed := snapshot.tokens_per_second) else None,
    ]
    return Now(
        min(1.0, snapshot.step / plan.steps), f"step {snapshot.step:,} / {plan.steps:,}", _left(snapshot.seconds_left, page), about,
        tuple(filter(None, figures)),
    )  # fmt: skip


def _evaluate(snapshot: Snapshot, page: Page) -> Now:
    told, opened = snapshot.evaluating, snapshot.evaluation
    if told is None or opened is None:
        return Now(about=page.t("evaluate.progress.loading" if opened else "evaluate.progress.opening"))
    measured = [event for event in snapshot.evaluated if isinstance(event, events.ModeEvaluated)]
    figures = tuple(
        (f"{page.t(f'evaluate.mode.{event.mode}')} {page.t('evaluate.lead.accuracy')}", share(event.accuracy[0]))
        for event in measured
    )
    return Now(
        told.done / told.total if told.total else None, _count("rows", told.done, told.total, page), _left(seconds_left(told), page),
        page.t(f"evaluate.mode.{told.mode}"), figures,
    )  # fmt: skip


def _ab_test(snapshot: Snapshot, page: Page) -> Now:
    told = snapshot.ab_testing
    if told is None:
        return Now(about=page.t("evaluate.progress.loading" if snapshot.ab_test else "evaluate.progress.opening"))
    side = page.t(f"overnight.side.{told.side}")
    about = page.t("overnight.now.decides", side=side, mode=page.t(f"evaluate.mode.{told.mode}"))
    figures = tuple(pair for event in snapshot.ab_measured[-1:] for pair in _sides(event, page))
    return Now(
        told.done / told.total if told.total else None, _count("decisions", told.done, told.total, page), _left(told.seconds_left, page), about,
        figures,
    )  # fmt: skip


def _sides(event: events.AbTestMeasured, page: Page) -> list[tuple[str, str]]:
    """Base → retrained of each rate that both have."""
    pairs = ((name, event.base.get(name), event.retrained.get(name)) for name in RATES)
    return [
        (page.t(f"evaluate.lead.{name}"), f"{_rate(name, base[0])} → {_rate(name, retrained[0])}")
        for name, base, retrained in pairs
        if base and retrained
    ]


def _rate(name: str, value: float) -> str:
    """Macro F1 is no share of rows."""
    return numbers.fixed(value, 3) if name == "macro_f1" else share(value)


def _export(snapshot: Snapshot, page: Page) -> Now:
    if snapshot.export is None:
        return Now(about=page.t("export.progress.opening"))
    count, left, about = export_progress.told(export_progress.at(snapshot), snapshot, page)
    told = export_progress.stage_now(snapshot, page), about
    return Now(export_progress.whole(snapshot), count, left, " · ".join(filter(None, told)))


def _push(snapshot: Snapshot, page: Page) -> Now:
    """The files are there: what is left is to send one, and to try what Ollama makes of it."""
    if snapshot.created:
        return Now(about=page.t("export.stage_help.create"))
    last = snapshot.exporting
    if not isinstance(last, events.UploadProgressed):
        return Now(about=page.t("export.progress.opening"))
    count, left, file = export_progress.told("upload", snapshot, page)
    about = f"{page.t('export.stage.upload')} · {file}"
    return Now(last.sent / last.total if last.total else None, count, left, about)


def _japanese(snapshot: Snapshot, page: Page) -> Now:
    opened, checked = snapshot.japanese, snapshot.japanese_checked
    if opened is None or not checked:
        return Now(about=page.t("overnight.now.opening"))
    last = checked[-1]
    seconds = sum(one.seconds for one in checked)
    left = _left(seconds / len(checked) * (last.total - last.done), page) if last.done < last.total else ""
    return Now(
        last.done / last.total, _count("questions", last.done, last.total, page), left,
        page.t("overnight.now.asked", model=opened.name, category=category(last.category, page)), _passed(checked, page),
    )  # fmt: skip


def _passed(checked: tuple[events.JapaneseAnswerChecked, ...], page: Page) -> tuple[tuple[str, str], ...]:
    """The share of checks passed so far, by category."""
    totals: dict[str, list[int]] = {}
    for one in checked:
        passed_of = totals.setdefault(one.category, [0, 0])
        passed_of[0] += one.passed
        passed_of[1] += one.checks
    return tuple((category(name, page), share(passed / of)) for name, (passed, of) in totals.items() if of)


def category(name: str, page: Page) -> str:
    """What a person reads for a category of the Japanese test."""
    return texts.known(f"overnight.category.{name}", page.language) or name


def _count(of: str, done: int, total: int, page: Page) -> str:
    """of: "rows", "decisions" or "questions"."""
    return page.t(f"overnight.now.{of}", done=f"{done:,}", total=f"{total:,}") if total else ""


def _left(seconds: float | None, page: Page) -> str:
    return "" if seconds is None else page.t("header.left", time=numbers.duration(seconds, page.language))
