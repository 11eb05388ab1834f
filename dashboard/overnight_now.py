"""What the present stage of the overnight chain is doing, in words and figures; how far it is, overnight_progress knows."""

from dataclasses import dataclass, replace

from dashboard import export_progress, numbers, overnight_progress, texts, train_cards
from dashboard.bridge import Page
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
    seconds = overnight_progress.left(snapshot)
    left = "" if seconds is None else page.t("header.left", time=numbers.duration(seconds, page.language))
    found = Now(share=overnight_progress.share(snapshot), left=left, about=page.t("overnight.now.opening"))
    match snapshot.stage:
        case "train":
            return _train(snapshot, page, found)
        case "evaluate" if snapshot.evaluation:
            return _evaluate(snapshot, page, found)
        case "ab_test" if snapshot.ab_test:
            return _ab_test(snapshot, page, found)
        case "export" if snapshot.export:
            return _export(snapshot, page, found)
        case "ollama" if snapshot.created:
            return replace(found, share=None, about=page.t("export.stage_help.create"))
        case "ollama" if isinstance(snapshot.exporting, events.UploadProgressed):
            return _upload(snapshot, page, found)
        case "japanese_test" if snapshot.japanese:
            return _japanese(snapshot, page, found)
    return found


def _train(snapshot: Snapshot, page: Page, found: Now) -> Now:
    plan, last, validation = snapshot.plan, snapshot.steps.last, snapshot.validations.last
    speed = snapshot.tokens_per_second
    figures = [
        (page.t("tile.loss"), numbers.loss(last.loss)) if last else None,
        (page.t("tile.val_loss"), numbers.loss(validation.loss)) if validation else None,
        (page.t("tile.speed"), f"{numbers.rate(speed)} tokens/s") if speed else None,
    ]
    count = f"step {snapshot.step:,} / {plan.steps:,}" if plan else ""
    about = page.t(train_cards.stage(snapshot))
    return replace(found, count=count, about=about, figures=tuple(filter(None, figures)))


def _evaluate(snapshot: Snapshot, page: Page, found: Now) -> Now:
    last = snapshot.evaluating
    if last is None:
        return replace(found, about=page.t("evaluate.progress.loading"))
    measured = [event for event in snapshot.evaluated if isinstance(event, events.ModeEvaluated)]
    figures = tuple(
        (f"{page.t('evaluate.lead.accuracy')} ({page.t(f'evaluate.mode.{event.mode}')})", share(event.accuracy[0]))
        for event in measured
    )
    about = " · ".join(filter(None, (page.t(f"evaluate.mode.{last.mode}"), last.detail)))
    return replace(found, count=_count("rows", last.done, last.total, page), about=about, figures=figures)


def _ab_test(snapshot: Snapshot, page: Page, found: Now) -> Now:
    last = snapshot.ab_testing
    if last is None:
        return replace(found, about=page.t("evaluate.progress.loading"))
    side, mode = page.t(f"overnight.side.{last.side}"), page.t(f"evaluate.mode.{last.mode}")
    return replace(
        found, count=_count("decisions", last.done, last.total, page),
        about=page.t("overnight.now.decides", side=side, mode=mode),
        figures=tuple(pair for event in snapshot.ab_measured[-1:] for pair in _sides(event, page)),
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


def _export(snapshot: Snapshot, page: Page, found: Now) -> Now:
    count, left, about = export_progress.told(export_progress.at(snapshot), snapshot, page)
    words = export_progress.stage_now(snapshot, page), about
    return replace(found, count=count, left=left, about=" · ".join(filter(None, words)))


def _upload(snapshot: Snapshot, page: Page, found: Now) -> Now:
    count, left, file = export_progress.told("upload", snapshot, page)
    return replace(found, count=count, left=left, about=f"{page.t('export.stage.upload')} · {file}")


def _japanese(snapshot: Snapshot, page: Page, found: Now) -> Now:
    """The original is asked first, then the winner."""
    checked = snapshot.japanese_checked
    name = page.t("overnight.side.base") if snapshot.japanese.model == "original" else snapshot.japanese.name
    if not checked:
        return replace(found, about=page.t("overnight.now.asks", model=name))
    last = checked[-1]
    return replace(
        found, count=_count("questions", last.done, last.total, page),
        about=page.t("overnight.now.asked", model=name, category=category(last.category, page)),
        figures=_passed(checked, page),
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

