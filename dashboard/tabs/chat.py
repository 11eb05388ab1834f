"""The Chat tab: one frame that chat.js fills from the engine's desk. Nothing of a conversation is kept in widgets."""

from html import escape

import gradio as gr

from dashboard import cards
from dashboard.bridge import Page, TabParts
from dashboard.tabs.config_fields import bounds
from so8t_engine import config

STARTED = "studio.chat(element)"

SIDES = ("left", "right")
VOTES = ("left", "right", "tie", "bad")
"""In the order of the keys 1 to 4."""

RESULT_COUNTS = ("wins", "losses", "ties", "bad")


def build(page: Page) -> TabParts:
    """The frame; the timer has nothing to keep fresh in it."""
    gr.HTML(frame(page), apply_default_css=False, js_on_load=STARTED, elem_id="so-chat")
    return TabParts()


def frame(page: Page) -> str:
    """The tab's skeleton: every label is in it, and a template for each thing that comes in numbers."""
    rail = _history(page) + _results(page) + _settings(page)
    panel = _head(page) + _turns(page) + _vote(page) + _composer(page)
    return (
        f'<div class="so-chat" data-language="{page.language}">'
        f'<section class="so-card so-chat-panel" aria-label="{_t(page, "chat.title")}">{panel}</section>'
        f'<div class="so-chat-rail">{rail}</div>'
        f"{_library(page)}{_templates(page)}</div>"
    )


def _t(page: Page, key: str) -> str:
    return escape(page.t(key))


def _button(page: Page, do: str, key: str, kind: str = "", inner: str = "") -> str:
    """A button that chat.js obeys; with `inner` (an icon) its words are for the pointer and for screen readers."""
    words = _t(page, key)
    label = f' title="{words}" aria-label="{words}"' if inner else ""
    look = "so-icon" if inner else "so-button"
    return f'<button type="button" class="{look} {kind}" data-chat="{do}"{label}>{inner or words}</button>'


def _head(page: Page) -> str:
    """Blind mode, export and a new conversation; under them a side each, in the order of the columns."""
    switch = (
        f'<label class="so-chat-switch" title="{_t(page, "chat.blind.help")}">'
        f'<input type="checkbox" role="switch" data-chat="blind"><i></i>{_t(page, "chat.blind.switch")}</label>'
    )
    exports = "".join(
        f'<a class="so-link" data-export="{form}" download>{_t(page, f"chat.do.{form}")}</a>' for form in ("md", "json")
    )
    tools = (
        f'{switch}<span class="so-chat-space"></span><span class="so-chat-exports" data-part="exports" hidden>'
        f"<small>{_t(page, 'chat.do.export')}</small>{exports}</span>"
        f"{_button(page, 'new', 'chat.do.new', 'so-small')}"
    )
    sides = "".join(
        f'<div class="so-side" data-side="{side}"><i class="so-side-mark" aria-hidden="true"></i>'
        f'<strong data-part="letter" hidden>{_t(page, f"chat.blind.{letter}")}</strong>'
        f'<select data-choose="{side}" aria-label="{_t(page, f"chat.model_{side}")}"></select>'
        f'<small data-part="weights"></small></div>'
        for side, letter in zip(SIDES, "ab", strict=True)
    )
    return f'<header class="so-chat-head"><div class="so-chat-tools">{tools}</div><div class="so-sides">{sides}</div></header>'


def _turns(page: Page) -> str:
    """The conversation, and what stands there while it is empty."""
    empty = (
        f'<div class="so-chat-empty" data-part="empty" hidden><p class="so-chat-lead">{_t(page, "chat.empty.title")}</p>'
        f'<p data-part="open-text">{_t(page, "chat.empty.text")}</p>'
        f'<p data-part="blind-text" hidden>{_t(page, "chat.empty.blind")}</p>'
        f'<p class="so-chat-caption">{_t(page, "chat.empty.examples")}</p>'
        f'<div class="so-chips" data-part="offered"></div></div>'
    )
    return (
        f'<div class="so-chat-body" data-part="body" tabindex="0" role="region" aria-label="{_t(page, "chat.turns")}">'
        f'<div class="so-chat-first" data-part="first">{cards.skeleton(4)}</div>{empty}'
        f'<ol class="so-turns" data-part="turns"></ol></div>'
        f'<div class="so-unseen" role="log" aria-live="polite" aria-label="{_t(page, "chat.done_log")}" data-part="log">'
        f'</div><div class="so-chat-end">{_button(page, "end", "chat.to_end", "so-small")}</div>'
    )


def _vote(page: Page) -> str:
    """The four votes with their keys; after the vote, who was who."""
    buttons = "".join(
        f'<button type="button" class="so-button so-small" data-vote="{choice}" disabled><kbd>{number}</kbd>'
        f"{_t(page, f'chat.vote.{choice}')}</button>"
        for number, choice in enumerate(VOTES, 1)
    )
    return (
        f'<div class="so-vote" data-part="vote" role="group" tabindex="-1" aria-label="{_t(page, "chat.vote.title")}" hidden>'
        f'<p data-part="vote-note"></p><div class="so-actions" data-part="votes">{buttons}</div>'
        f'<div class="so-actions" data-part="voted" hidden>{_button(page, "new", "chat.vote.next", "so-small")}</div></div>'
    )


def _composer(page: Page) -> str:
    """The one input. Its button sends, and stops while an answer comes."""
    editing = (
        f'<p class="so-chat-editing" data-part="editing" hidden><span>{_t(page, "chat.input.editing")}</span>'
        f"{_button(page, 'edit-cancel', 'chat.do.edit_cancel', 'so-small')}</p>"
    )
    return (
        f'<div data-part="notice"></div><form class="so-composer" data-part="composer">{editing}'
        f'<textarea rows="1" data-part="input" aria-label="{_t(page, "chat.input.label")}" '
        f'placeholder="{_t(page, "chat.input.placeholder")}" aria-describedby="so-chat-note"></textarea>'
        f'<div class="so-composer-row">{_button(page, "library", "chat.do.library", "so-small")}'
        f'<p id="so-chat-note" data-part="note"></p>'
        f'<button type="submit" class="so-button so-primary" data-part="send" disabled>{_t(page, "chat.do.send")}</button>'
        f"</div></form>"
    )


def _history(page: Page) -> str:
    body = (
        f'<p class="so-chat-undo" data-part="undo" role="status" hidden><span></span>'
        f"{_button(page, 'undo', 'chat.do.undo', 'so-small')}</p>"
        f'<p class="so-empty" data-part="no-history" hidden>{_t(page, "chat.history.empty")}</p>'
        f'<ul class="so-history" data-part="history"></ul>'
    )
    return cards.card(page.t("chat.history.title"), body, name="history")


def _results(page: Page) -> str:
    body = '<p class="so-empty" data-part="no-results"></p><ul class="so-results" data-part="results"></ul>'
    return cards.card(page.t("chat.results.title"), body, name="results")


def _settings(page: Page) -> str:
    """The system prompt and the sampling, worded and bounded as in the config."""
    system = (
        f'<label for="so-chat-system">{_t(page, "chat.settings.system")}</label>'
        f'<textarea id="so-chat-system" rows="2" data-tune="system" aria-describedby="so-chat-system-note"></textarea>'
        f'<p class="so-chat-caption" id="so-chat-system-note" data-help>{_t(page, "chat.settings.system_help")}</p>'
    )
    fields = "".join(_field(field, page) for field in config.fields() if field.path.startswith("chat."))
    note = f'<p class="so-chat-caption">{_t(page, "chat.settings.note")}</p>'
    return (
        f'<details class="so-card so-chat-settings" data-card="tuning"><summary><h2>{_t(page, "chat.settings.title")}</h2>'
        f'</summary><div class="so-tune">{system}</div>{fields}{note}</details>'
    )


def _field(field: config.FieldInfo, page: Page) -> str:
    name = field.path.rpartition(".")[2]
    unit = page.t(f"config.unit.{field.unit}") if field.unit else ""
    limits = " ".join(part for part in (bounds(field, page), unit) if part)
    mode = "numeric" if field.kind == "int" else "decimal"
    return (
        f'<div class="so-tune"><label for="so-chat-{name}">{escape(field.label(page.language))}'
        f"<small>{escape(limits)}</small></label>"
        f'<input id="so-chat-{name}" data-tune="{name}" inputmode="{mode}" autocomplete="off" '
        f'aria-describedby="so-chat-{name}-note">'
        f'<p class="so-chat-caption" id="so-chat-{name}-note" data-help>{escape(field.help(page.language))}</p></div>'
    )


def _library(page: Page) -> str:
    label = _t(page, "chat.library.title")
    search = _t(page, "chat.library.search")
    return (
        f'<dialog class="so-dialog so-library" data-part="library" aria-label="{label}"><header><h2>{label}</h2>'
        f'<form method="dialog"><button class="so-button so-small">{_t(page, "chat.dismiss")}</button></form></header>'
        f'<input type="search" data-part="search" placeholder="{search}" aria-label="{search}">'
        f'<p class="so-chat-caption">{_t(page, "chat.library.help")}</p>'
        f'<div class="so-library-list" data-part="prompts"></div>'
        f'<p class="so-empty" data-part="no-prompts" role="status" hidden>{_t(page, "chat.library.none")}</p></dialog>'
    )


def _templates(page: Page) -> str:
    badge = '<span class="so-badge" data-part="badge" hidden><i></i><span></span><b></b></span>'
    answer = (
        f'<article class="so-answer"><h3 data-part="name"></h3>'
        f'<p class="so-answer-state" data-part="state"><i></i><span></span></p>'
        f'<p class="so-decision" data-part="verdict" hidden>{badge}<span data-part="reason"></span></p>'
        f'<div class="so-answer-text" data-part="text"></div><p class="so-answer-note" data-part="ended" hidden></p>'
        f'<div data-part="trouble"></div><div class="so-answer-foot"><span data-part="figures"></span>'
        f'<button type="button" class="so-icon" data-part="copy" data-copy="" data-done="{_t(page, "copy.done")}" '
        f'title="{_t(page, "chat.do.copy")}" aria-label="{_t(page, "chat.do.copy")}" hidden>{cards.COPY_ICON}</button>'
        f"</div></article>"
    )
    turn = (
        f'<li class="so-turn"><div class="so-prompt"><p data-part="prompt"></p><span class="so-prompt-tools">'
        f"{_button(page, 'edit', 'chat.do.edit', inner=EDIT_ICON)}"
        f"{_button(page, 'regenerate', 'chat.do.regenerate', inner=AGAIN_ICON)}</span></div>"
        f'<div class="so-answers"></div></li>'
    )
    conversation = (
        f'<li><button type="button" class="so-history-open" data-chat="open"><span></span><small></small></button>'
        f"{_button(page, 'delete', 'chat.do.delete', inner=DELETE_ICON)}</li>"
    )
    counts = "".join(
        f'<div><dt>{_t(page, f"chat.results.{name}")}</dt><dd data-count="{name}"></dd></div>' for name in RESULT_COUNTS
    )
    result = (
        f'<li><p class="so-result-pair"></p><p class="so-result-share"><small></small><b></b></p>'
        f'<p class="so-result-verdict"></p><dl class="so-result-counts">{counts}</dl></li>'
    )
    prompt = f'<button type="button" class="so-chip" data-chat="take"><span data-part="words"></span>{badge}</button>'
    parts = {"answer": answer, "turn": turn, "conversation": conversation, "result": result, "prompt": prompt}
    return "".join(f'<template data-template="{name}">{html}</template>' for name, html in parts.items())


def _icon(path: str) -> str:
    return (
        '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path fill="none" stroke="currentColor" '
        f'stroke-width="1.3" stroke-linecap="round" stroke-linejoin="round" d="{path}"/></svg>'
    )


EDIT_ICON = _icon("M2.5 13.5l.7-3L11 2.7l2.3 2.3-7.8 7.8zM9.5 4.2l2.3 2.3")
AGAIN_ICON = _icon("M13 8a5 5 0 1 1-1.6-3.7M13 2.5v2.8h-2.8")
DELETE_ICON = _icon("M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9")
