"""The HTML of the Config tab: heads, the state of the draft, and the list of all faults."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from dashboard import cards
from dashboard.bridge import Page
from dashboard.draft import PRESETS, View
from dashboard.tabs import config_fields
from so8t_engine import EngineError, config

FILES = "files"
"""The group of the settings that stand in no group of the YAML."""


def groups(fields: Iterable[config.FieldInfo]) -> list[tuple[str, list[config.FieldInfo]]]:
    """The cards of the form in order, each with its fields."""
    found: dict[str, list[config.FieldInfo]] = {}
    for field in fields:
        group = field.path.partition(".")[0] if "." in field.path else FILES
        found.setdefault(group, []).append(field)
    return list(found.items())


def by_field(view: View) -> dict[str, EngineError]:
    """The first fault of each field that has a place in the form."""
    found: dict[str, EngineError] = {}
    for fault in view.faults:
        path = fault.facts.get("field", "")
        if path in view.values:
            found.setdefault(path, fault)
    return found


def head(group: str, page: Page) -> str:
    """The title of a card of the form."""
    title, words = page.t(f"config.group.{group}"), page.t(f"config.group_help.{group}")
    return _head(title, words)


NAMES = """
const tell = (field) => {
  const set = field.querySelector("fieldset"), note = field.querySelector(".so-caption");
  if (set) set.setAttribute("aria-label", set.querySelector("[data-testid=block-info]").textContent.trim());
  (set ? [set] : field.querySelectorAll("input, textarea")).forEach((it) => it.setAttribute("aria-describedby", note.id));
};
const form = element.closest(".so-config");
requestAnimationFrame(() => form.querySelectorAll(".so-field").forEach(tell));
form.addEventListener("focusin", (event) => {
  const field = event.target.closest(".so-field");
  if (field) tell(field); // Gradio may have drawn it anew
});
"""
"""Script: a screen reader hears a group's name, and with each control its help or fault; Gradio says neither."""


def text_head(page: Page) -> str:
    """The title of the YAML card."""
    return _head(page.t("config.yaml"), page.t("config.yaml_help"))


def _head(title: str, words: str) -> str:
    return f'<header class="so-card-head so-config-head"><h2>{escape(title)}</h2><p>{escape(words)}</p></header>'


def file_label(file: Path, folder: Path, page: Page) -> str:
    """A config's name in the picker; a file from elsewhere with its whole path."""
    if file.parent.resolve() != folder.resolve():
        return str(file)
    return page.t("config.picker_preset", name=file.stem) if file.stem in PRESETS else file.stem


def state(view: View, page: Page, *, drawn: bool = True) -> str:
    """Whether the draft is saved and how many faults it has, on one line that never changes its height.

    drawn: whether this window has been brought up to date since it was opened. Before that nothing can be typed in it:
    what a window is brought up to date with would wipe it out.
    """
    saved = "dirty" if view.dirty else "saved"
    parts = [f'<span class="so-mark so-{saved}">{escape(page.t(f"config.state.{saved}"))}</span>']
    if view.faults:
        words = page.t("config.state.faults", count=len(view.faults))
        parts.append(f'<a class="so-mark so-bad" href="#config-check">{escape(words)}</a>')
    else:
        parts.append(f'<span class="so-mark so-good">{escape(page.t("config.state.good"))}</span>')
    mark = " data-drawn" if drawn else ""
    return f'<div class="so-config-state" role="status"{mark}>{"".join(parts)}</div>'


def check(view: View, page: Page) -> str:
    """Every fault with its line and what to do, or the way to the next tab."""
    if not view.faults:
        link = cards.tab_link("train", page.t("config.check.next"))
        body = f'<p class="so-check-good"><span>{escape(page.t("config.check.good"))}</span>{link}</p>'
        return cards.card("", body, name="check")
    words = page.t("config.check.bad", count=len(view.faults))
    rows = "".join(_fault(fault, view, page) for fault in sorted(view.faults, key=lambda fault: _line(fault) or 0))
    body = f'<p class="so-what">{escape(words)}</p><ol class="so-faults">{rows}</ol>'
    return cards.card("", body, kind="so-trouble", name="check")


def _fault(fault: EngineError, view: View, page: Page) -> str:
    what, hint = page.error(fault.code, "what", fault.facts), page.error(fault.code, "hint", fault.facts)
    line = _line(fault)
    place = escape(page.t("config.check.line", line=line) if line else fault.where)
    path = fault.facts.get("field", "")
    if path in view.values:
        place = f'<a href="#{config_fields.element_id(path)}">{place}</a>'
    return f'<li><span class="so-place">{place}</span> {escape(what)} <span class="so-hint">{escape(hint)}</span></li>'


def _line(fault: EngineError) -> int | None:
    line = fault.where.rpartition(":")[2]
    return int(line) if line.isdigit() else None
