"""The left side of the Overnight tab: the form with its button, the chain that can go on, and the list of chains."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dashboard import cards, job_cards, numbers
from dashboard.bridge import Page
from dashboard.export_cards import kind_name, ollama_asking
from dashboard.overnight_chain import Chain
from dashboard.overnight_progress import COMMAND
from so8t_engine import STAGES, EngineError, Run, Settings, Snapshot

SWITCHES = ("accept_visible_thinking", "sound")
"""Settings of the chain that are on or off."""

TEXTS = ("retrained", "ollama_name")
"""Settings of the chain that are words."""


def head(snapshot: Snapshot, page: Page) -> str:
    """Title, the one button, and why it can't be pressed or what it does."""
    why = "" if snapshot.active else _why_not(page)
    return job_cards.head(snapshot, page, COMMAND, lambda key, **facts: page.t(f"overnight.form.{key}", **facts), why=why)


def _why_not(page: Page) -> str:
    """What the form lacks; "" when nothing, or when the settings have faults, which are told first."""
    try:
        settings = page.bridge.settings()
    except EngineError:
        return ""
    chain = settings.pipeline
    if set(STAGES) <= set(chain.skip):
        return page.t("overnight.form.nothing")
    if "train" in chain.skip and not finished_runs(page):
        return page.t("overnight.form.no_run")
    if "ollama" not in chain.skip and not chain.accept_visible_thinking:
        return page.t("overnight.form.no_consent")
    return ""


def finished_runs(page: Page) -> list[Run]:
    """The runs that a chain without training can begin with, newest first."""
    return [run for run in page.bridge.engine.runs() if run.finished]


def form(page: Page) -> str:
    """What is decided. Every field shows the draft of the settings: overnight.js keeps it so, and sends what is changed."""
    said, planned = values(page), plan(page)

    def t(key: str) -> str:
        return escape(page.t(f"overnight.form.{key}"))

    def pick(name: str, label: str, about: str, attributes: str = "") -> str:
        checked = " checked" if said.get(name) else ""
        return (
            f'<label class="so-pick"><input type="checkbox" name="{name}"{checked}><span><b>{escape(label)}</b>'
            f"<small{attributes}>{escape(about)}</small></span></label>"
        )

    def stage(name: str) -> str:
        found = pick(f"stage-{name}", page.t(f"overnight.stage.{name}"), planned.get(name, ""), f' data-about="{name}"')
        return f'<div class="so-stage-pick">{found}{under.get(name, "")}</div>'

    under = {"train": _run_field(said, page), "ollama": _ollama_fields(said, page)}
    try_ = f'<button type="button" class="so-button so-small" data-try-sound>{t("try")}</button>'
    return (
        f'<div class="so-overnight-form"><fieldset class="so-field"><legend>{t("stages")}</legend>{"".join(map(stage, STAGES))}</fieldset>'
        f'<fieldset class="so-field"><legend>{t("telling")}</legend>'
        f'<div class="so-tell">{pick("sound", page.t("overnight.form.sound"), page.t("overnight.form.sound_help"))}{try_}</div>'
        f'<p class="so-tell-trouble" data-part="silenced" role="status" hidden>{t("silenced")}</p>'
        f"{pick('notices', page.t('overnight.form.notices'), page.t('overnight.form.notices_help'))}"
        f'<p class="so-tell-trouble" data-part="denied" role="status" hidden>{t("notices_denied")}</p>'
        f"</fieldset></div>"
    )


def _run_field(said: Mapping[str, Any], page: Page) -> str:
    hidden = " hidden" if said["stage-train"] else ""
    return (
        f'<div class="so-field so-under" data-part="run"{hidden}><label for="overnight-run">'
        f'{escape(page.t("overnight.form.run"))}</label><select id="overnight-run" name="retrained"></select></div>'
    )


def _ollama_fields(said: Mapping[str, Any], page: Page) -> str:
    hidden, agreed = "" if said["stage-ollama"] else " hidden", " checked" if said["accept_visible_thinking"] else ""
    name, example = escape(page.t("overnight.form.name")), escape(page.t("overnight.form.name_example"))
    return (
        f'<div class="so-field so-under" data-part="pushing"{hidden}><label for="overnight-name">{name}</label>'
        f'<input id="overnight-name" name="ollama_name" type="text" value="{escape(said["ollama_name"])}" placeholder="{example}" '
        f'spellcheck="false" autocomplete="off" autocapitalize="off">'
        f'<div class="so-ollama" data-part="ollama" role="status">{ollama_asking(page)}</div>'
        f'<small class="so-ollama-note">{escape(page.t("overnight.form.ollama_note"))}</small>'
        f'<div class="so-consent"><b>{escape(page.t("export.thinking.title"))}</b>'
        f'<p data-part="thinking">{escape(page.t("export.thinking.unknown"))}</p>'
        f'<label class="so-pick"><input type="checkbox" name="accept_visible_thinking"{agreed}>'
        f"<span>{escape(page.t('export.form.consent'))}</span></label></div></div>"
    )


def values(page: Page) -> dict[str, Any]:
    """What the form shows: the chain's settings as the draft has them, right or wrong, by the names of its fields."""
    said = page.bridge.draft.view().values
    skip = said.get("pipeline.skip")
    skip = skip if isinstance(skip, list | tuple) else ()
    found: dict[str, Any] = {f"stage-{name}": name not in skip for name in STAGES}
    found |= {name: said.get(f"pipeline.{name}") is True for name in SWITCHES}
    return found | {name: str(said.get(f"pipeline.{name}") or "") for name in TEXTS}


def plan(page: Page) -> dict[str, str]:
    """What each stage will do with the present settings; {} while they have faults."""
    try:
        settings = page.bridge.settings()
    except EngineError:
        return {}
    facts = _facts(settings, page)
    return {name: page.t(f"overnight.plan.{name}", **facts.get(name, {})) for name in STAGES}


def _facts(settings: Settings, page: Page) -> Mapping[str, Mapping[str, str]]:
    export = settings.export
    return {
        "train": {"epochs": f"{settings.train.epochs:g}", "dataset": settings.resolve(settings.dataset).name},
        "ab_test": {"metric": page.t(f"overnight.plan.metric_{settings.ab_test.metric}")},
        "export": {
            "kinds": " + ".join(kind_name(kind, page) for kind in export.quantizations),
            "prompts": numbers.count(export.gate_prompts),
        },
    }


def run_options(runs: Sequence[Run], page: Page) -> str:
    """The runs that can be chosen; the first choice is whichever is the newest then."""
    newest = f'<option value="">{escape(page.t("overnight.form.run_newest"))}</option>'
    return newest + "".join(f'<option value="{escape(run.id)}">{escape(run.id)}</option>' for run in runs)


# Chains on disk


def unfinished(chain: Chain | None, page: Page) -> str:
    """The newest chain that can go on: where it stands, from where, and the button; "" when there is none."""
    if chain is None or chain.next is None:
        return ""
    following = page.t(f"overnight.stage.{chain.next.name}")
    again = [stage for stage in chain.stages if stage.state in ("finished", "kept")]
    choices = f'<option value="">{escape(page.t("overnight.unfinished.next", stage=following))}</option>' + "".join(
        f'<option value="{stage.name}">'
        f"{escape(page.t('overnight.unfinished.again', stage=page.t(f'overnight.stage.{stage.name}')))}</option>"
        for stage in again
    )
    about = page.t("overnight.unfinished.about", done=chain.done, total=len(chain.stages))
    body = (
        f'<p class="so-overnight-about">{when(chain)} · {escape(about)}</p>'
        f'<div class="so-field"><label for="overnight-from">{escape(page.t("overnight.unfinished.from"))}</label>'
        f'<select id="overnight-from" name="from">{choices}</select><small>{escape(page.t("overnight.unfinished.note"))}</small></div>'
    )
    return cards.card(page.t("overnight.unfinished.title"), body, aside=go_on(chain, page), name="unfinished")


def go_on(chain: Chain, page: Page) -> str:
    """The button that goes on with a chain where it was not finished."""
    return cards.button("go_on", page.t("overnight.unfinished.go_on"), what=chain.id)


def listed(found: Sequence[Chain], page: Page) -> str:
    """Every chain as a button that shows it."""
    if not found:
        return f'<p class="so-empty">{escape(page.t("overnight.list.empty"))}</p>'
    return f'<ul class="so-exports">{"".join(_entry(one, page) for one in found)}</ul>'


def _entry(one: Chain, page: Page) -> str:
    return (
        f'<li><button type="button" data-chain="{escape(one.id)}"><strong>{when(one)}</strong>'
        f'<em class="so-chain-{outcome(one)}">{escape(page.t(f"overnight.outcome.{outcome(one)}"))}</em>'
        f"<small>{escape(_told(one, page))}</small></button></li>"
    )


def _told(one: Chain, page: Page) -> str:
    """What came of it: who has won and how Ollama calls it; before its end, how far it is."""
    if not one.finished:
        return page.t("overnight.unfinished.about", done=one.done, total=len(one.stages))
    parts = [page.t(f"overnight.winner.{one.winner or 'none'}") if one.stage("ab_test").state == "finished" else ""]
    parts += [f"Ollama: {one.pushed}" if one.pushed else "", numbers.duration(one.seconds, page.language)]
    return " · ".join(filter(None, parts))


def outcome(one: Chain) -> str:
    """How a chain stands: "finished", "failed" or "interrupted"."""
    if one.finished:
        return "finished"
    return "failed" if one.failed else "interrupted"


def when(one: Chain) -> str:
    """Day and time of its beginning."""
    return escape(numbers.date(one.created)) if one.created is not None else cards.code(one.id)
