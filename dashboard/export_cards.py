"""The left side of the Export tab: the form with its button, how Ollama stands, and the list of exports."""

from collections.abc import Mapping, Sequence
from html import escape

from dashboard import job_cards, numbers
from dashboard.bridge import Page
from dashboard.export_wishes import KINDS
from so8t_engine import FinishedExport, Snapshot, Voice

COMMAND = "ExportModel"

CHOSEN = ("f16", "q8_0")
"""The files that are on at first."""


def head(snapshot: Snapshot, page: Page) -> str:
    """Title, the one button, and why it can't be pressed or what it does."""
    return job_cards.head(snapshot, page, COMMAND, lambda key, **facts: page.t(f"export.form.{key}", **facts))


def form(page: Page) -> str:
    """What is decided: run, files, name in Ollama, consent. Runs and Ollama's state are filled in by export.js."""

    def t(key: str) -> str:
        return escape(page.t(f"export.form.{key}"))

    kinds = "".join(
        f'<label class="so-pick"><input type="checkbox" name="{kind}"{" checked" if kind in CHOSEN else ""}>'
        f'<span><b>{escape(page.t(f"export.kind.{kind}.name"))}</b><em data-size="{kind}"></em>'
        f"<small>{escape(page.t(f'export.kind.{kind}.help'))}</small></span></label>"
        for kind in KINDS
    )
    return (
        f'<div class="so-export-form"><div class="so-field"><label for="export-model">{t("model")}</label>'
        f'<select id="export-model" name="model"></select></div>'
        f'<fieldset class="so-field"><legend>{t("kinds")}</legend>{kinds}</fieldset>'
        f'<fieldset class="so-field"><legend>{t("check")}</legend><label class="so-pick">'
        f'<input type="checkbox" name="gate" checked><span><b>{t("gate")}</b><small>{t("gate_help")}</small></span></label></fieldset>'
        f'<div class="so-field"><label for="export-name">{t("name")}</label>'
        f'<input id="export-name" name="name" type="text" placeholder="{t("name_example")}" spellcheck="false" '
        f'autocomplete="off" autocapitalize="off" aria-describedby="export-name-note">'
        f'<small id="export-name-note">{t("name_help")}</small>'
        f'<div class="so-ollama" data-part="ollama" role="status">{ollama_asking(page)}</div>'
        f'<div class="so-consent" data-part="consent" hidden><b>{escape(page.t("export.thinking.title"))}</b>'
        f'<p data-part="thinking">{escape(page.t("export.thinking.unknown"))}</p>'
        f'<label class="so-pick"><input type="checkbox" name="consent"><span>{t("consent")}</span></label></div>'
        f"</div></div>"
    )


def options(voices: Sequence[Voice], page: Page) -> str:
    """The models that can be chosen: the runs first, as they are what one exports."""
    runs = [voice for voice in voices if voice.run]
    rest = [voice for voice in voices if not voice.run]
    return "".join(
        f'<option value="{escape(voice.key)}">{escape(model_name(voice.name, page))}</option>'
        for voice in [*runs, *rest]
    )


def sizes(found: Mapping[str, int], page: Page) -> dict[str, str]:
    """About how large each kind of file will be."""
    return {kind: page.t("export.form.size", size=numbers.file_size(size)) for kind, size in found.items()}


def model_name(name: str, page: Page) -> str:
    """What a person reads for a model."""
    return page.t("export.form.original") if name == "original" else name


def kind_name(kind: str, page: Page) -> str:
    """What a person reads for a kind of file."""
    return page.t(f"export.kind.{kind}.name") if kind in KINDS else kind


# Ollama's state


def ollama_asking(page: Page) -> str:
    """While nobody knows yet."""
    return _ollama_line("asking", page.t("export.ollama.asking"))


def ollama_ready(version: str, page: Page) -> str:
    return _ollama_line("ready", page.t("export.ollama.ready", version=version))


def ollama_too_old(version: str, oldest: str, page: Page) -> str:
    return _ollama_line("bad", page.t("export.ollama.too_old", version=version, oldest=oldest), _again_link(page))


def ollama_silent(page: Page) -> str:
    """It does not answer: files can be written all the same."""
    hint = f"<small>{escape(page.t('export.ollama.silent_hint'))}</small>"
    return _ollama_line("bad", page.t("export.ollama.silent"), _again_link(page), hint)


def _ollama_line(kind: str, words: str, button: str = "", hint: str = "") -> str:
    return f'<p class="so-ollama-{kind}"><i aria-hidden="true"></i><span>{escape(words)}</span>{button}</p>{hint}'


def _again_link(page: Page) -> str:
    words = escape(page.t("export.ollama.again"))
    return f'<button type="button" class="so-button so-small" data-ask-ollama>{words}</button>'


# What was exported


def listed(found: Sequence[FinishedExport], page: Page) -> str:
    """Every export as a button that shows it."""
    if not found:
        return f'<p class="so-empty">{escape(page.t("export.list.empty"))}</p>'
    return f'<ul class="so-exports">{"".join(_entry(one, page) for one in found)}</ul>'


def _entry(one: FinishedExport, page: Page) -> str:
    results = one.results
    files = " + ".join(
        f"{kind_name(file['quantization'], page)} {numbers.file_size(file['bytes'])}" for file in results["files"]
    )
    outcome = {"passed": "passed", "failed": "failed"}.get(results["gate"]["outcome"], "")
    mark = f'<em class="so-gate-{outcome}">{escape(page.t(f"export.gate.{outcome}"))}</em>' if outcome else ""
    pushed = f" · Ollama: {results['push']['name']}" if results["push"] else ""
    return (
        f'<li><button type="button" data-export-shown="{escape(one.id)}"><strong>{escape(model_name(results["model"]["name"], page))}'
        f"</strong>{mark}<small>{escape(files)}</small><small>{when(one, page)}{escape(pushed)}</small></button></li>"
    )


def when(one: FinishedExport, page: Page) -> str:
    """Day and time of an export."""
    return escape(str(one.results["created"])[:16].replace("T", " "))
