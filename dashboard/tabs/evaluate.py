"""The Evaluate tab: choose and start, watch, read the results, compare.

The timer keeps fresh what runs; finished evaluations are fetched by evaluate.js from dashboard/evaluate_routes.py, so
that no window asks the disk each second.
"""

import gradio as gr

from dashboard import cards, evaluate_cards, evaluate_wishes, job_cards
from dashboard.bridge import Page, TabParts
from so8t_engine import EngineError, Snapshot

WISHES = "studio.evaluation.wishes(element, trigger)"
FOLLOWS = "studio.evaluation.follows(props, watch)"
LISTENS = "studio.evaluation.listens(element)"


def build(page: Page) -> TabParts:
    """The tab's components, their handlers, and what the timer keeps fresh."""
    with gr.Row(elem_classes="so-grid so-judging", equal_height=False):
        with gr.Column(elem_classes="so-left", min_width=0):
            with gr.Column(elem_classes="so-card so-judging-decide", min_width=0, elem_id="evaluate-decide"):
                head = _html(evaluate_cards.head(Snapshot(), page), "evaluate-head", WISHES)
                _html(evaluate_cards.form(page), "evaluate-form", "studio.evaluation.remembers(element)")
            _html('<div data-part="interrupted"></div>', "evaluate-interrupted", LISTENS)
            _html(_list(page), "evaluate-list", LISTENS)
        with gr.Column(elem_classes="so-right", min_width=0):
            notice = _html("", "evaluate-notice", LISTENS)
            situation = _html("", "evaluate-situation", LISTENS)
            waiting = cards.card(page.t("evaluate.form.title"), cards.skeleton(9))
            _html(f'<div data-part="results" aria-live="polite">{waiting}</div>', "evaluate-results", LISTENS)
    seen = gr.HTML("", html_template="", apply_default_css=False, js_on_load=FOLLOWS, elem_classes="so-carrier")

    def obey(event: gr.EventData) -> str:
        return _obey(event, page)

    head.click(obey, outputs=[notice], show_progress="hidden", api_visibility="private", trigger_mode="multiple")

    def draw(snapshot: Snapshot) -> list[str]:
        return [evaluate_cards.head(snapshot, page), evaluate_cards.situation(snapshot, page), revision(snapshot, page)]

    return TabParts([head, situation, seen], draw)


def revision(snapshot: Snapshot, page: Page) -> str:
    """Equal strings mean equal lists of models and evaluations, as far as this process has changed them."""
    saved = len(snapshot.checkpoints) > 0, snapshot.saved is not None
    return f"{snapshot.job} {snapshot.state} {saved} {hash(page.bridge.draft.text)}"


def _html(first: str, name: str, script: str) -> gr.HTML:
    return gr.HTML(first, apply_default_css=False, js_on_load=script, elem_id=name)


def _list(page: Page) -> str:
    body = f'<div data-part="list">{cards.skeleton(6)}</div>'
    return cards.card(page.t("evaluate.list.title"), evaluate_cards.list_heads(page) + body, name="evaluations")


def _obey(event: gr.EventData, page: Page) -> str:
    """Do what a button asked for; a refusal comes back as a card, a success clears the last one."""
    wish, form = event._data.get("do"), event._data
    try:
        match wish:
            case "start":
                evaluate_wishes.start(page.bridge, form)
            case "go_on":
                evaluate_wishes.go_on(page.bridge, str(form.get("what") or ""))
            case "stop":
                page.bridge.engine.cancel()
    except EngineError as error:
        return job_cards.declined(page, error)
    return ""
