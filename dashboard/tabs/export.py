"""The Export tab: choose and start, watch, see what came out and how it decides, use it.

The timer keeps fresh what runs; finished exports are fetched by export.js from dashboard/export_routes.py, so that no
window asks the disk, or Ollama, each second.
"""

import gradio as gr

from dashboard import cards, export_cards, export_progress, export_wishes, job_cards
from dashboard.bridge import Page, TabParts
from so8t_engine import EngineError, Snapshot

WISHES = "studio.exporting.wishes(element, trigger)"
FOLLOWS = "studio.exporting.follows(props, watch)"
LISTENS = "studio.exporting.listens(element)"


def build(page: Page) -> TabParts:
    """The tab's components, their handlers, and what the timer keeps fresh."""
    with gr.Row(elem_classes="so-grid so-export", equal_height=False):
        with gr.Column(elem_classes="so-left", min_width=0):
            with gr.Column(elem_classes="so-card so-export-decide", min_width=0, elem_id="export-decide"):
                head = _html(export_cards.head(Snapshot(), page), "export-head", WISHES)
                _html(export_cards.form(page), "export-form", "studio.exporting.remembers(element)")
            _html(_list(page), "export-list", LISTENS)
        with gr.Column(elem_classes="so-right", min_width=0):
            notice = _html("", "export-notice", LISTENS)
            situation = _html("", "export-situation", LISTENS)
            waiting = cards.card(page.t("export.result.files"), cards.skeleton(6))
            _html(f'<div data-part="results" aria-live="polite">{waiting}</div>', "export-results", LISTENS)
    seen = gr.HTML("", html_template="", apply_default_css=False, js_on_load=FOLLOWS, elem_classes="so-carrier")

    def obey(event: gr.EventData) -> str:
        return _obey(event, page)

    head.click(obey, outputs=[notice], show_progress="hidden", api_visibility="private", trigger_mode="multiple")

    def draw(snapshot: Snapshot) -> list[str]:
        return [export_cards.head(snapshot, page), export_progress.situation(snapshot, page), revision(snapshot, page)]

    return TabParts([head, situation, seen], draw)


def revision(snapshot: Snapshot, page: Page) -> str:
    """Equal strings mean equal lists of models and exports, as far as this process has changed them."""
    saved = len(snapshot.checkpoints) > 0, snapshot.saved is not None, snapshot.export_finished is not None
    return f"{snapshot.job} {snapshot.state} {saved} {hash(page.bridge.draft.text)}"


def _html(first: str, name: str, script: str) -> gr.HTML:
    return gr.HTML(first, apply_default_css=False, js_on_load=script, elem_id=name)


def _list(page: Page) -> str:
    body = f'<div data-part="list">{cards.skeleton(4)}</div>'
    return cards.card(page.t("export.list.title"), body, name="exports")


def _obey(event: gr.EventData, page: Page) -> str:
    """Do what a button asked for; a refusal comes back as a card, a success clears the last one."""
    wish, form = event._data.get("do"), event._data
    what = str(form.get("what") or "")
    try:
        match wish:
            case "start":
                export_wishes.start(page.bridge, form)
            case "push":
                export_wishes.push(page.bridge, what, form)
            case "go_on":
                export_wishes.go_on(page.bridge, form)
            case "open":
                export_wishes.open_folder(page.bridge, what)
            case "stop":
                page.bridge.engine.cancel()
    except EngineError as error:
        return job_cards.declined(page, error)
    return ""
