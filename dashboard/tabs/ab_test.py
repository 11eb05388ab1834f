"""The A/B test tab: choose two models and start, watch the figures fill, read the verdict and the cases behind it.

The timer keeps fresh what runs; finished tests are fetched by ab_test.js from dashboard/ab_test_routes.py, so that no
window asks the disk each second.
"""

import gradio as gr

from dashboard import ab_test_cards, ab_test_wishes, cards, job_cards
from dashboard.bridge import Page, TabParts
from so8t_engine import EngineError, Snapshot

WISHES = "studio.abTest.wishes(element, trigger)"
FOLLOWS = "studio.abTest.follows(props, watch)"
LISTENS = "studio.abTest.listens(element)"


def build(page: Page) -> TabParts:
    """The tab's components, their handlers, and what the timer keeps fresh."""
    with gr.Row(elem_classes="so-grid so-judging", equal_height=False):
        with gr.Column(elem_classes="so-left", min_width=0):
            with gr.Column(elem_classes="so-card so-judging-decide", min_width=0, elem_id="ab-test-decide"):
                head = _html(ab_test_cards.head(Snapshot(), page), "ab-test-head", WISHES)
                _html(ab_test_cards.form(page), "ab-test-form", "studio.abTest.remembers(element)")
            _html('<div data-part="interrupted"></div>', "ab-test-interrupted", LISTENS)
            waiting = f'<div data-part="list">{cards.skeleton(4)}</div>'
            _html(cards.card(page.t("ab_test.list.title"), waiting, name="ab-tests"), "ab-test-list", LISTENS)
        with gr.Column(elem_classes="so-right", min_width=0):
            notice = _html("", "ab-test-notice", LISTENS)
            situation = _html("", "ab-test-situation", LISTENS)
            waiting = cards.card(page.t("ab_test.form.title"), cards.skeleton(9))
            _html(f'<div data-part="results" aria-live="polite">{waiting}</div>', "ab-test-results", LISTENS)
    seen = gr.HTML("", html_template="", apply_default_css=False, js_on_load=FOLLOWS, elem_classes="so-carrier")

    def obey(event: gr.EventData) -> str:
        return _obey(event, page)

    head.click(obey, outputs=[notice], show_progress="hidden", api_visibility="private", trigger_mode="multiple")

    def draw(snapshot: Snapshot) -> list[str]:
        return [ab_test_cards.head(snapshot, page), ab_test_cards.situation(snapshot, page), revision(snapshot, page)]

    return TabParts([head, situation, seen], draw)


def revision(snapshot: Snapshot, page: Page) -> str:
    """Equal strings mean equal lists of models and tests, as far as this process has changed them."""
    tested = snapshot.ab_finished is not None, snapshot.saved is not None
    return f"{snapshot.job} {snapshot.state} {tested} {hash(page.bridge.draft.text)}"


def _html(first: str, name: str, script: str) -> gr.HTML:
    return gr.HTML(first, apply_default_css=False, js_on_load=script, elem_id=name)


def _obey(event: gr.EventData, page: Page) -> str:
    """Do what a button asked for; a refusal comes back as a card, a success clears the last one."""
    wish, form = event._data.get("do"), event._data
    try:
        match wish:
            case "start":
                ab_test_wishes.start(page.bridge, form)
            case "go_on":
                ab_test_wishes.go_on(page.bridge, str(form.get("what") or ""))
            case "stop":
                page.bridge.engine.cancel()
    except EngineError as error:
        return job_cards.declined(page, error)
    return ""
