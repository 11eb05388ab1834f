"""The Overnight tab: choose the stages and start, watch them one after the other, see what came of it.

The timer keeps fresh what runs and what the form shows of the draft; chains on the disk are fetched by overnight.js from
dashboard/overnight_routes.py, so that no window asks the disk each second.
"""

import json

import gradio as gr

from dashboard import cards, job_cards, overnight_cards, overnight_timeline, overnight_wishes
from dashboard.bridge import Page, TabParts
from dashboard.overnight_progress import COMMAND
from so8t_engine import EngineError, Snapshot

WISHES = "studio.overnight.wishes(element, trigger)"
FOLLOWS = "studio.overnight.follows(props, watch)"
LISTENS = "studio.overnight.listens(element)"


def build(page: Page) -> TabParts:
    """The tab's components, their handlers, and what the timer keeps fresh."""
    with gr.Row(elem_classes="so-grid so-overnight", equal_height=False):
        with gr.Column(elem_classes="so-left", min_width=0):
            with gr.Column(elem_classes="so-card so-overnight-decide", min_width=0, elem_id="overnight-decide"):
                head = _html(overnight_cards.head(Snapshot(), page), "overnight-head", WISHES)
                _html(overnight_cards.form(page), "overnight-form", "studio.overnight.form(element)")
            _html('<div data-part="unfinished"></div>', "overnight-unfinished", LISTENS)
            _html(_list(page), "overnight-list", LISTENS)
        with gr.Column(elem_classes="so-right", min_width=0):
            notice = _html("", "overnight-notice", LISTENS)
            situation = _html("", "overnight-situation", LISTENS)
            first = cards.card(page.t("overnight.live.stages"), cards.skeleton(12))
            _html(f'<div data-part="results" aria-live="polite">{first}</div>', "overnight-results", LISTENS)
    carried = gr.HTML("{}", html_template="", apply_default_css=False, js_on_load=FOLLOWS, elem_classes="so-carrier")

    def obey(event: gr.EventData) -> object:
        return _obey(event, page)

    # Every change of the form is a wish of its own: none may be lost because another is under way.
    head.click(obey, outputs=[notice], show_progress="hidden", api_visibility="private", trigger_mode="multiple")

    def draw(snapshot: Snapshot) -> list[str]:
        return [
            overnight_cards.head(snapshot, page), overnight_timeline.situation(snapshot, page), told(snapshot, page),
        ]  # fmt: skip

    return TabParts([head, situation, carried], draw)


def told(snapshot: Snapshot, page: Page) -> str:
    """What overnight.js follows: the form's values and what each stage would do; whether a chain runs; and the revision
    of the lists, as far as this process has changed them."""
    finished = snapshot.saved is not None, snapshot.pipeline_finished is not None
    return json.dumps({
        "values": overnight_cards.values(page), "plan": overnight_cards.plan(page),
        "active": snapshot.active and snapshot.command == COMMAND,
        "revision": f"{snapshot.job} {snapshot.state} {finished}",
    }, ensure_ascii=False)  # fmt: skip


def _html(first: str, name: str, script: str) -> gr.HTML:
    return gr.HTML(first, apply_default_css=False, js_on_load=script, elem_id=name)


def _list(page: Page) -> str:
    body = f'<div data-part="list">{cards.skeleton(4)}</div>'
    return cards.card(page.t("overnight.list.title"), body, name="chains")


def _obey(event: gr.EventData, page: Page) -> object:
    """Do what a button or a field asked for; a refusal comes back as a card, a success clears the last one."""
    wish, said = event._data.get("do"), event._data
    what = str(said.get("what") or "")
    try:
        match wish:
            case "change":
                overnight_wishes.change(page.bridge, what, said.get("value"))
                return gr.skip()
            case "start":
                overnight_wishes.start(page.bridge)
            case "go_on":
                overnight_wishes.go_on(page.bridge, what, str(said.get("again") or ""))
            case "stop":
                page.bridge.engine.cancel()
    except EngineError as error:
        return job_cards.declined(page, error)
    return ""
