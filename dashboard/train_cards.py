"""What the Train tab shows, as HTML: from a snapshot to one card each. The tab itself is in tabs/train.py."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from dashboard import cards, numbers
from dashboard.bridge import Page, Unfinished
from dashboard.header import TABS, progress
from so8t_engine import EngineError, Run, Settings, Snapshot, events

SHOWN_CHECKPOINTS = 10

CURVES = ("loss", "decisions", "label_nll", "learning_rate", "speed")
HARDWARE = ("cpu", "ram", "gpu", "vram", "temperature", "power")


def can_resume(snapshot: Snapshot) -> bool:
    """Whether the run on view has not come to its end and nothing runs."""
    ended_early = snapshot.state in ("stopped", "failed", "interrupted")
    return ended_early and bool(snapshot.run) and not Run.at(snapshot.folder).finished


def decide(snapshot: Snapshot, page: Page) -> str:
    """The settings that Start will use, and the one primary action."""
    try:
        settings, faults = page.bridge.settings(), 0
    except EngineError as error:
        settings, faults = None, len(getattr(error, "faults", ())) or 1
    draft = page.bridge.draft
    dirty = f'<span class="so-unsaved">{escape(page.t("train.unsaved"))}</span>' if draft.dirty else ""
    rows = [(page.t("train.config"), f"<b>{escape(draft.file.name)}</b> {dirty}")]
    rows += _choices(settings, page) if settings else []
    note = _why_not(snapshot, page, faults)
    link = cards.tab_link("config", page.t("train.edit_config"))
    body = cards.facts(rows) + f'<p class="so-note">{note or escape(page.t("train.start_note"))} {link}</p>'
    return cards.card(page.t("train.title"), body, aside=_action(snapshot, page, bool(note)), name="decide")


def _action(snapshot: Snapshot, page: Page, off: bool) -> str:
    if snapshot.active and snapshot.command == "StartTraining":
        stopping = snapshot.state == "stopping"
        label = page.t("train.stopping" if stopping else "train.stop")
        return cards.button("stop", label, kind="so-primary so-danger", off=stopping)
    buttons = cards.button("start", page.t("train.start"), kind="so-primary", off=off)
    if can_resume(snapshot) and snapshot.state == "stopped":  # otherwise the card of the trouble offers it
        buttons = cards.button("resume", page.t("train.resume"), what=snapshot.run) + buttons
    return f'<div class="so-actions">{buttons}</div>'


def _why_not(snapshot: Snapshot, page: Page, faults: int) -> str:
    """Why the primary action can't be pressed, or what happens when it has been; "" when all is well."""
    if snapshot.state == "stopping" and snapshot.command == "StartTraining":
        return escape(page.t("train.stopping_note"))
    if snapshot.active and snapshot.command != "StartTraining":
        return escape(page.t("train.busy_note", command=page.t(f"command.{snapshot.command}")))
    if snapshot.active:
        return escape(page.t("train.stop_note"))
    return escape(page.t("train.faults_note", count=faults)) if faults else ""


def _choices(settings: Settings, page: Page) -> list[tuple[str, str]]:
    train = settings.train
    batch = train.batch_size * train.gradient_accumulation
    return [
        (page.t("train.base_model"), cards.code(settings.base_model)),
        (page.t("train.dataset"), cards.code(settings.dataset)),
        (page.t("train.epochs"), f"{train.epochs:g}"),
        (page.t("train.batch"), f"{batch:,} <small>({train.batch_size:,} × {train.gradient_accumulation:,})</small>"),
        (page.t("train.quantization"), escape(settings.model.quantization)),
    ]


def situation(snapshot: Snapshot, page: Page) -> str:
    """The first run's welcome, a failure, an interruption, and the calm warnings; "" when there is nothing to say."""
    found = []
    if not snapshot.run and snapshot.state == "idle":
        demo = cards.button("demo", page.t("train.start_demo"))
        text = escape(page.t("train.empty"))
        found.append(f'<section class="so-card so-welcome"><p>{text}</p><div class="so-actions">{demo}</div></section>')
    elsewhere = snapshot.command in TABS and TABS[snapshot.command] != "train"  # that tab tells of its own failures
    if snapshot.failure and snapshot.state == "failed" and not elsewhere:
        found.append(_failure(snapshot, snapshot.failure, page))
    if snapshot.state == "interrupted":
        found.append(_interrupted(snapshot, page))
    found += [_warning(event, page) for event in _latest_of_each_kind(snapshot.warnings)]
    return "".join(found)


def _failure(snapshot: Snapshot, failure: events.JobFailed, page: Page) -> str:
    about_settings = failure.code.startswith(("config.", "data.", "model."))
    actions = cards.tab_link("config", page.t("train.edit_config"), kind="so-button") if about_settings else ""
    if can_resume(snapshot) and failure.code != "run.other_settings":
        actions = cards.button("resume", page.t("train.resume"), what=snapshot.run) + actions
    elif not about_settings:
        actions = cards.button("start", page.t("train.start_again"))
    return cards.trouble(
        page, page.error(failure.code, "what", failure.facts), where=failure.where,
        hint=page.error(failure.code, "hint", failure.facts), details=failure.details, actions=actions,
    )  # fmt: skip


def _interrupted(snapshot: Snapshot, page: Page) -> str:
    saved = max((checkpoint.step for checkpoint in snapshot.checkpoints), default=0)
    action = cards.button("resume", page.t("train.resume"), what=snapshot.run)
    hint = page.t("train.interrupted_hint", step=saved) if saved else page.t("train.interrupted_at_start")
    return cards.trouble(
        page, page.t("train.interrupted", run=snapshot.run), hint=hint,
        actions=action if can_resume(snapshot) else "", calm=True,
    )  # fmt: skip


def _warning(event: events.Event, page: Page) -> str:
    match event:
        case events.CheckpointFailed():
            what = page.t("warning.checkpoint", step=event.step, what=page.error(event.code, "what", event.facts))
            hint = page.error(event.code, "hint", event.facts)
            return cards.trouble(page, what, where=event.where, hint=hint, calm=True)
        case events.CheckpointPutAside():
            what, hint = page.t("warning.put_aside"), page.t("warning.put_aside_hint")
            return cards.trouble(page, what, where=event.folder, hint=hint, details=event.reason, calm=True)
        case events.PackHalved():
            return cards.trouble(page, halved(event, page), hint=page.t("warning.halved_hint"), calm=True)
        case events.DatasetRead():
            what = page.t("warning.skipped", count=event.skipped)
            return cards.trouble(page, what, where=event.file, details=event.first_skipped, calm=True)
        case events.LengthsCounted():
            what = page.t("warning.too_long", count=event.too_long, limit=event.max_length)
            return cards.trouble(page, what, hint=page.t("warning.too_long_hint", longest=event.longest), calm=True)
    return ""


def halved(event: events.PackHalved, page: Page) -> str:
    """What had to give way in a step whose memory was full."""
    if event.after == event.before:
        return page.t("warning.recomputed", step=event.step, layers=event.recomputed)
    return page.t("warning.halved", step=event.step, before=numbers.count(event.before), after=numbers.count(event.after))


def _latest_of_each_kind(warnings: Sequence[events.Event]) -> list[events.Event]:
    """A full disk fails at every interval: one card for it is enough."""
    return list({type(event): event for event in warnings}.values())


def stage(snapshot: Snapshot) -> str:
    """What a running training is at: the key of its words."""
    if snapshot.saved or (snapshot.plan and snapshot.step >= snapshot.plan.steps):
        return "stage.saving"
    begun = [event for event in snapshot.log if event.time >= snapshot.started]
    if any(step.time >= snapshot.started for step in snapshot.steps.chunks[-1:] and snapshot.steps.chunks[-1][-1:]):
        return "stage.training"
    if any(isinstance(event, events.ModelLoaded) for event in begun):
        return "stage.first_step"
    if any(isinstance(event, events.LengthsCounted) for event in begun):
        return "stage.model"
    return "stage.data"


def progress_card(snapshot: Snapshot, page: Page) -> str:
    """Stage, step, epoch, time left, speed and losses, with a thin bar."""
    share, last, plan = progress(snapshot), snapshot.steps.last, snapshot.plan
    if snapshot.command and snapshot.command != "StartTraining":
        title = f"{page.t(f'command.{snapshot.command}')} · {page.t(f'state.{snapshot.state}')}"
    elif snapshot.active:
        title = page.t("state.stopping" if snapshot.state == "stopping" else stage(snapshot))
    else:
        title = page.t(f"state.{snapshot.state}")
    unmeasured = cards.missing(page.t("train.not_yet"))
    percent = f'<span class="so-percent">{100 * share:.1f} %</span>' if share is not None else ""
    total = f" / {plan.steps:,}" if plan else ""
    epochs = f" / {plan.epochs:g}" if plan else ""
    validation = snapshot.validations.last
    speed = snapshot.tokens_per_second
    time_label, time_value = _time(snapshot, page)
    body = cards.bar(share if share is not None or snapshot.active else 0.0, page.t("header.progress")) + cards.tiles([
        (page.t("tile.step"), f"{snapshot.step:,}" if plan else unmeasured, total),
        (page.t("tile.epoch"), f"{last.epoch:.2f}" if last else unmeasured, epochs),
        (time_label, time_value or unmeasured, ""),
        (page.t("tile.speed"), numbers.rate(speed) if speed else unmeasured, " tokens/s" if speed else ""),
        (page.t("tile.loss"), numbers.loss(last.loss) if last else unmeasured, ""),
        (page.t("tile.val_loss"), numbers.loss(validation.loss) if validation else unmeasured, ""),
    ])  # fmt: skip
    return cards.card(title, body + _outcome(snapshot, page), aside=percent, kind=f"so-is-{snapshot.state}",
                      name="progress")  # fmt: skip


def _time(snapshot: Snapshot, page: Page) -> tuple[str, str]:
    if snapshot.active:
        left = snapshot.seconds_left
        return page.t("tile.left"), numbers.duration(left, page.language) if left is not None else ""
    took = snapshot.ended - snapshot.started
    return page.t("tile.took"), numbers.duration(took, page.language) if took > 0 else ""


def _outcome(snapshot: Snapshot, page: Page) -> str:
    """What came out and where it lies."""
    if snapshot.state != "finished" or not snapshot.saved:
        return ""
    saved = snapshot.saved
    text = escape(page.t("train.outcome", size=numbers.file_size(saved.bytes)))
    return f'<p class="so-outcome">{text} {cards.copyable(saved.folder, page)}</p>'


def run_card(snapshot: Snapshot, page: Page) -> str:
    """The run on view: its folder, its data by class, its model."""
    title = page.t("run.title")
    if not snapshot.run:
        return cards.card(title, f'<p class="so-empty">{escape(page.t("run.empty"))}</p>', name="run")
    rows = [
        (page.t("run.id"), cards.code(snapshot.run)),
        (page.t("run.folder"), cards.copyable(snapshot.folder, page)),
    ]
    if snapshot.dataset:
        data = snapshot.dataset
        badges = "".join(cards.badge(label, data.classes.get(label, 0)) for label in cards.CLASSES)
        splits = " · ".join(f"{escape(page.t(f'split.{name}'))} {count:,}" for name, count in data.splits.items())
        rows.append((page.t("run.data"), f"{cards.code(Path(data.file).name)} {data.rows:,}{page.t('run.rows')}"))
        rows.append((page.t("run.classes"), f'<span class="so-badges">{badges}</span>'))
        rows.append((page.t("run.splits"), splits))
    if snapshot.model:
        rows += _model(snapshot.model, page)
    if snapshot.memory:
        rows += _memory(snapshot.memory, page)
    rows.append((page.t("run.rotation"), _rotation(snapshot, page)))
    return cards.card(title, cards.facts(rows), name="run")


def _model(model: events.ModelLoaded, page: Page) -> list[tuple[str, str]]:
    share = 100 * model.trainable / model.parameters if model.parameters else 0.0
    return [
        (page.t("run.model"), cards.code(Path(model.folder).name)),
        (page.t("run.parameters"), f"{numbers.millions(model.parameters)} <small>({escape(page.t('run.trainable'))} "
                                   f"{numbers.millions(model.trainable)}, {share:.1f} %)</small>"),
        (page.t("run.device"), escape(f"{model.device} · {model.dtype} · {model.quantization}")),
    ]  # fmt: skip


def _memory(memory: events.MemoryPlanned, page: Page) -> list[tuple[str, str]]:
    twice = page.t("run.twice", recomputed=memory.recomputed, layers=memory.layers)
    kernels = page.t(f"run.attention.{memory.attention}")
    packs = escape(page.t("run.pack_size", pack=numbers.count(memory.pack)))
    rows = [(page.t("run.packs"), f"{packs} <small>({escape(twice)} · {escape(kernels)})</small>")]
    if memory.bytes is not None:
        told = page.t("run.of_room", need=numbers.gib(memory.bytes), room=numbers.gib(memory.room))
        rows.append((page.t("run.memory"), escape(told)))
    return rows


def _rotation(snapshot: Snapshot, page: Page) -> str:
    if snapshot.rotation_error is None:
        return cards.missing(page.t("run.rotation_missing"))
    return f'<span title="{escape(page.t("run.rotation_help"))}">{numbers.small(snapshot.rotation_error)}</span>'


def checkpoints_card(snapshot: Snapshot, page: Page) -> str:
    """The newest checkpoints: step, age, size."""
    newest = list(snapshot.checkpoints)[-SHOWN_CHECKPOINTS:][::-1]
    title = page.t("checkpoints.title")
    if not newest:
        return cards.card(title, f'<p class="so-empty">{escape(page.t("checkpoints.empty"))}</p>', name="checkpoints")
    rows = "".join(
        f'<tr title="{escape(saved.folder)}"><td>step {saved.step:,}</td><td>{cards.age(saved.time)}</td>'
        f'<td>{numbers.file_size(saved.bytes)}</td></tr>'
        for saved in newest
    )  # fmt: skip
    heads = "".join(f"<th>{escape(page.t(f'checkpoints.{name}'))}</th>" for name in ("step", "age", "size"))
    table = f'<table class="so-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return cards.card(title, table, name="checkpoints")


def unfinished_card(snapshot: Snapshot, page: Page, found: Sequence[Unfinished]) -> str:
    """Other runs that can go on; the one on view has its button at the top."""
    others = [item for item in found if item.run.id != snapshot.run]
    if not others or snapshot.active:
        return ""
    rows = "".join(
        f"<li><span>{cards.code(item.run.id)}<small>step {item.step:,}{f' / {item.steps:,}' if item.steps else ''}"
        f"</small></span>{cards.button('resume', page.t('train.resume'), what=item.run.id, kind='so-small')}</li>"
        for item in others
    )
    return cards.card(page.t("unfinished.title"), f'<ul class="so-list">{rows}</ul>', name="unfinished")


def chart_slots(names: Sequence[str], page: Page) -> str:
    """The places of charts; page.js draws into them."""
    slots = "".join(
        f'<figure class="so-chart" data-chart="{name}"><figcaption>{escape(page.t(f"chart.{name}_title"))}'
        f"<small>{escape(page.t(f'chart.{name}_unit'))}</small></figcaption>"
        f'<div class="so-plot" role="img" aria-label="{escape(page.t(f"chart.{name}_title"))}"></div>'
        f'<p class="so-no-data">{escape(page.t("chart.no_data"))}</p></figure>'
        for name in names
    )
    return f'<div class="so-charts">{slots}</div>'


def axis_switch(page: Page) -> str:
    """step, tokens or time on the x axis of the curves; and the full data."""
    buttons = "".join(
        f'<button type="button" data-axis="{axis}" aria-pressed="{str(axis == "step").lower()}">'
        f"{escape(page.t(f'axis.{axis}'))}</button>"
        for axis in ("step", "tokens", "time")
    )
    csv = f'<a class="so-link" href="/curves.csv" download>{escape(page.t("chart.csv"))}</a>'
    label = escape(page.t("axis.label"))
    return f'{csv}<div class="so-segments" role="group" aria-label="{label}">{buttons}</div>'
