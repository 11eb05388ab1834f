"""The Train tab: start, watch, stop and resume a training."""

import json

import gradio as gr

from dashboard import cards, charts, train_cards
from dashboard.bridge import Page, TabParts
from dashboard.log import log
from dashboard.performance_card import performance_card
from so8t_engine import EngineError, Snapshot

PRESSED = "studio.presses(element, trigger)"
"""Every button of a card tells its wish through the card's own click event."""

DRAWN = "studio.draws(props, watch)"
"""A component that shows nothing: it carries the figures to page.js."""


def build(page: Page) -> TabParts:
    """The tab's components, their handlers, and what the timer keeps fresh."""
    notice = gr.HTML("", apply_default_css=False, js_on_load=PRESSED, elem_id="train-notice")
    situation = _card(0, "train-situation")
    with gr.Row(elem_classes="so-grid", equal_height=False):
        with gr.Column(elem_classes="so-left", min_width=0):
            decide = _card(6, "train-decide", page.t("train.title"))
            unfinished = _card(0, "train-unfinished")
            run = _card(8, "train-run", page.t("run.title"))
            checkpoints = _card(3, "train-checkpoints", page.t("checkpoints.title"))
            history = _card(8, "train-log", page.t("log.title"))
        with gr.Column(elem_classes="so-right", min_width=0):
            progress = _card(4, "train-progress")
            _charts(page, "chart.curves", train_cards.CURVES, train_cards.axis_switch(page))
            _charts(page, "chart.hardware", train_cards.HARDWARE, "")
            performance = _card(0, "train-performance")
    figures = [
        gr.HTML("{}", html_template="", apply_default_css=False, js_on_load=DRAWN, elem_classes="so-carrier")
        for _ in range(2)
    ]

    def obey(event: gr.EventData) -> str:
        return _obey(event, page)

    for component in (notice, situation, decide, unfinished):
        component.click(obey, outputs=[notice], show_progress="hidden", api_visibility="private", trigger_mode="multiple")

    def draw(snapshot: Snapshot) -> list[str]:
        return [
            train_cards.situation(snapshot, page),
            train_cards.decide(snapshot, page),
            train_cards.unfinished_card(snapshot, page, [] if snapshot.active else page.bridge.unfinished()),
            train_cards.run_card(snapshot, page),
            train_cards.checkpoints_card(snapshot, page),
            cards.card(page.t("log.title"), log(snapshot, page), name="log"),
            train_cards.progress_card(snapshot, page),
            performance_card(snapshot, page),
            json.dumps(charts.curves(snapshot, page)),
            json.dumps(charts.hardware(snapshot, page)),
        ]

    outputs = [situation, decide, unfinished, run, checkpoints, history, progress, performance, *figures]
    return TabParts(outputs, draw)


def _card(lines: int, name: str, title: str = "") -> gr.HTML:
    """A card's place, with grey lines where its content will be, so that nothing jumps."""
    first = cards.card(title, cards.skeleton(lines)) if lines else ""
    return gr.HTML(first, apply_default_css=False, js_on_load=PRESSED, elem_id=name)


def _charts(page: Page, title: str, names: tuple[str, ...], aside: str) -> None:
    body = train_cards.chart_slots(names, page)
    no_card = f'<span class="so-aside so-if-no-card">{page.t("chart.no_card")}</span>'
    aside = f'<div class="so-actions">{aside}</div>' if aside else no_card
    gr.HTML(cards.card(page.t(title), body, aside=aside), apply_default_css=False, js_on_load="studio.slots(element)")


def _obey(event: gr.EventData, page: Page) -> str:
    """Do what a button asked for; a refusal comes back as a card, a success clears the last one."""
    wish, what = event._data.get("do"), event._data.get("what", "")
    try:
        match wish:
            case "start":
                page.bridge.start()
            case "demo":
                page.bridge.start_demo()
            case "resume":
                page.bridge.resume(what)
            case "stop":
                page.bridge.engine.cancel()
    except EngineError as error:
        dismiss = cards.button("dismiss", page.t("keys.close"), kind="so-small")
        about_settings = error.code.startswith("config.")
        fix = cards.tab_link("config", page.t("train.edit_config"), kind="so-button") if about_settings else ""
        return cards.refused(page, error, fix + dismiss)
    return ""
