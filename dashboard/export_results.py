"""One finished export: its files with their hashes, how they decide, and how one uses them in Ollama."""

from html import escape
from pathlib import Path

from dashboard import cards, export_gate, numbers
from dashboard.bridge import Page
from dashboard.export_cards import kind_name, model_name, when
from so8t_engine import FinishedExport


def shown(one: FinishedExport, page: Page) -> str:
    """The whole right side for one export."""
    parts = [_files(one, page), _gate(one, page), _ollama(one, page)]
    return f'<div class="so-exported" data-shown="{escape(one.id)}">{"".join(parts)}</div>'


def empty(page: Page) -> str:
    """Before the first export: what it is for."""
    link = cards.tab_link("train", page.t("export.result.train_first"))
    body = f'<p class="so-empty">{escape(page.t("export.result.empty"))}</p><p class="so-export-about">{link}</p>'
    return cards.card(page.t("export.result.empty_title"), body, name="no-exports")


def _files(one: FinishedExport, page: Page) -> str:
    results = one.results
    heads = "".join(
        f'<th scope="col">{escape(page.t(f"export.result.{name}"))}</th>' for name in ("name", "bytes", "sha256")
    )
    rows = "".join(
        f"<tr><td>{cards.code(file['file'])}<small>{escape(kind_name(file['quantization'], page))}</small></td>"
        f"<td>{numbers.file_size(file['bytes'])}</td>"
        f"<td>{cards.copyable(file['sha256'], page, short=file['sha256'][:12])}</td></tr>"
        for file in results["files"]
    )
    table = (
        f'<div class="so-export-scroll"><table class="so-table so-export-files"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    took = page.t("export.result.took", time=numbers.duration(results["seconds"], page.language))
    about = f'<p class="so-export-about">{when(one, page)} · {escape(took)}</p>'
    folder = (
        f'<div class="so-export-folder"><span>{escape(page.t("export.result.folder"))}</span>'
        f"{cards.copyable(str(one.folder), page)}"
        f"{cards.button('open', page.t('export.result.open'), kind='so-small', what=one.id)}</div>"
    )
    return cards.card(model_name(results["model"]["name"], page), about + table + folder, name="files")


def _gate(one: FinishedExport, page: Page) -> str:
    fidelity = one.fidelity
    if fidelity and fidelity["files"] and one.results["gate"]["outcome"] != "not measured":
        rows = export_gate.of_file(fidelity)
        return export_gate.gate_card(rows, export_gate.drifted(fidelity, rows, page), page)
    code = one.results["gate"]["code"]
    why = (
        f"{page.error(code, 'what', {})} {page.error(code, 'hint', {})}" if code else page.t("export.gate.not_measured")
    )
    return cards.card(page.t("export.gate.title"), f'<p class="so-empty">{escape(why)}</p>', name="gate")


def _ollama(one: FinishedExport, page: Page) -> str:
    pushed, drifted = one.results["push"], one.results["gate"]["outcome"] == "failed"
    aside = "" if drifted else cards.button("push", page.t("export.push.push"), kind="so-small", what=one.id)
    if pushed:
        head = page.t("export.push.pushed", name=pushed["name"])
        asked = page.t("export.push.asked", version=pushed["version"])
        thinking = page.t(f"export.push.thinking_{pushed['thinking']}")
        lead = (
            f'<p class="so-pushed">{escape(head)}</p><p class="so-export-about">{escape(asked)} '
            f"{cards.badge(pushed['label'])} {escape(thinking)}</p>"
            + _command(page.t("export.push.run"), f"ollama run {pushed['name']}", page)
        )
        aside = ""
    else:
        words = "export.gate.some_failed" if drifted else "export.push.not_pushed"
        lead = f'<p class="so-empty">{escape(page.t(words))}</p>'
    return cards.card(page.t("export.push.title"), lead + _by_hand(one, page), aside=aside, name="push")


def _by_hand(one: FinishedExport, page: Page) -> str:
    """`ollama create` with the Modelfile, for those who prefer it."""
    file = one.folder / one.results["modelfile"]
    name = one.results["push"]["name"] if one.results["push"] else Path(one.results["files"][0]["file"]).stem.lower()
    command = f'ollama create {name} -f "{file}"'
    return (
        f'<details class="so-by-hand" data-keep="by-hand"><summary>{escape(page.t("export.push.by_hand"))}</summary>'
        f"<p>{escape(page.t('export.push.by_hand_help'))} {escape(page.t('export.thinking.unknown'))}</p>"
        f"{_command('', command, page)}</details>"
    )


def _command(label: str, command: str, page: Page) -> str:
    name = f"<span>{escape(label)}</span>" if label else ""
    return f'<div class="so-command">{name}{cards.copyable(command, page, short=command)}</div>'
