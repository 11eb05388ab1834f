"""The System tab: the audit log's answers and the proof that none was tampered with; versions and places."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from dashboard import cards
from dashboard.bridge import Page, TabParts
from dashboard.tabs import system_cards
from so8t_engine import AuditEntry, EngineError

_PRESSED = "studio.presses(element, trigger)"

_QUIET = {"show_progress": "hidden", "api_visibility": "private"}

Updates = dict[Any, Any]
"""From a component to its new value; components that are not in it stay as they are."""


def build(page: Page) -> TabParts:
    """The tab's components and handlers. The timer keeps only the log's revision fresh: see `_SystemTab`."""
    tab = _SystemTab(page)
    return TabParts([tab.revision], lambda snapshot: [tab.seen()])


class _SystemTab:
    """The tab of one page. Each window has filters of its own; a change of the log draws each window's table anew."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.engine = page.bridge.engine
        self.revision = gr.Textbox("", visible="hidden", container=False)
        self.chosen = gr.State(dict(system_cards.ALL))
        with gr.Row(elem_classes="so-grid so-system", equal_height=False):
            with gr.Column(elem_classes="so-left", min_width=0):
                waiting = cards.card(page.t("system.audit.title"), cards.skeleton(6))
                self.log = gr.HTML(waiting, apply_default_css=False, js_on_load=_PRESSED, elem_id="system-audit")
                self.verdict = gr.HTML("", apply_default_css=False, elem_id="system-verdict")
                gr.HTML(system_cards.machine_card(self.engine, page), apply_default_css=False, elem_id="system-machine")
            with (
                gr.Column(elem_classes="so-right", min_width=0),
                gr.Column(elem_classes="so-card so-audit", min_width=0, elem_id="system-answers"),
            ):
                gr.HTML(system_cards.answers_head(page), apply_default_css=False)
                self.filters = gr.HTML(
                    "", apply_default_css=False, js_on_load=system_cards.FILTERED, elem_id="system-filters"
                )  # fmt: skip
                self.table = gr.HTML(cards.skeleton(8), apply_default_css=False)
        self._wire()

    def seen(self) -> str:
        """Equal strings mean an equal table."""
        return f"{self.engine.audit.revision()} {self.engine.chat.veiled_since()}"

    def _answers(self, **wanted: Any) -> list[AuditEntry]:
        """The answers of the log; during a blind conversation its own do not tell which model gave them."""
        veiled = self.engine.chat.veiled_since()
        if veiled is None:
            return self.engine.audit.answers(**wanted)
        model = wanted.pop("model", None)
        found = self.engine.audit.answers(**wanted)
        found = [replace(entry, model="") if entry.time >= veiled else entry for entry in found]
        return [entry for entry in found if not model or entry.model == model]

    def _wire(self) -> None:
        drawn = [self.log, self.filters, self.table]
        self.revision.change(self._drawn, [self.chosen], drawn, **_QUIET)
        self.filters.click(self._filtered, None, [self.chosen, self.table], trigger_mode="always_last", **_QUIET)
        self.log.click(self._verified, None, [self.verdict], **_QUIET)

    def _drawn(self, chosen: Mapping[str, str]) -> Updates:
        """All that follows from the log."""
        try:
            entries = self._answers()
        except EngineError as error:
            return {self.log: cards.refused(self.page, error), self.table: ""}
        models = list(dict.fromkeys(entry.model for entry in entries if entry.model))
        return {
            self.log: system_cards.log_card(self.engine, entries, self.page),
            self.filters: system_cards.filters(models, chosen, self.page) if entries else "",
            self.table: self._table(chosen),
        }

    def _filtered(self, event: gr.EventData) -> Updates:
        chosen = {name: str(event._data.get(name) or "") for name in system_cards.ALL}
        return {self.chosen: chosen, self.table: self._table(chosen)}

    def _table(self, chosen: Mapping[str, str]) -> str:
        try:
            found = self._answers(
                label=chosen["label"] or None, model=chosen["model"] or None, since=system_cards.since(chosen["period"]),
            )  # fmt: skip
            return system_cards.table(found, len(self.engine.audit.answers()), self.page)
        except EngineError as error:
            return cards.refused(self.page, error)

    def _verified(self) -> Iterator[str]:
        yield system_cards.checking(self.page)
        begun = time.monotonic()
        try:
            verdict = self.engine.audit.verify()
        except EngineError as error:
            yield cards.refused(self.page, error)
        else:
            yield system_cards.verdict_card(verdict, time.monotonic() - begun, self.page)
