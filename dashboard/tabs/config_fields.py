"""One setting on the page: its widget, the caption under it, and the way between YAML value and widget value."""

import math
import re
from html import escape
from typing import Any

import gradio as gr

from dashboard.bridge import Page
from so8t_engine import EngineError, config

LONG = ("data.system_prompt", "so8t.targets", "so8t.rotate", "base_model", "dataset", "train.optimizer")
"""Fields that take the whole width of their card."""

_LAYERS = (config.AUTO, *config.Settings().so8t.targets)
"""Offered wherever names of layers are asked for; any other name can be typed."""

_LINES = {"data.system_prompt": 3}


def element_id(path: str) -> str:
    """The path as the id of an element: `train.learning_rate` is `train-learning_rate`."""
    return path.replace(".", "-")


def widget(field: config.FieldInfo, value: Any, page: Page) -> Any:
    """The input for one setting. It refuses nothing: faults are told at the field, with what was typed still there."""
    common = {
        "label": field.label(page.language),
        "value": shown(field, value),
        "elem_id": element_id(field.path),
        "elem_classes": [f"so-setting-{field.kind}"],
        "interactive": True,
    }
    match field.kind:
        case "int" | "float":
            return gr.Number(step=1 if field.kind == "int" else _step(field), **common)
        case "bool":
            return gr.Checkbox(**common)
        case "choice":
            return gr.Radio(choices=list(field.choices), **common)
        case "names":
            return gr.Dropdown(choices=list(_LAYERS), multiselect=True, allow_custom_value=True, **common)
    lines = _LINES.get(field.path, 1)
    return gr.Textbox(lines=lines, max_lines=3 * lines, **common)


def shown(field: config.FieldInfo, value: Any) -> Any:
    """What the widget shows of a value from the YAML, right or wrong; nothing where it has no way to show it."""
    match field.kind:
        case "int" | "float":
            return _number(value)
        case "bool":
            return value if isinstance(value, bool) else None
        case "choice":
            return value if value in field.choices else None
        case "names":
            names = [value] if value == config.AUTO else value
            return [str(name) for name in names] if isinstance(names, list | tuple) else []
    return "" if value is None else str(value)


def meant(field: config.FieldInfo, value: Any) -> Any:
    """The YAML value that a person means who put `value` in the widget."""
    match field.kind:
        case "int":
            return int(value) if isinstance(value, float) and value.is_integer() else value
        case "float":
            return float(value) if isinstance(value, int) else value
        case "names":
            names = [name.strip() for name in value or [] if name.strip()]
            return config.AUTO if names == [config.AUTO] else names
        case "text":
            return value or ""
    return value


def caption(field: config.FieldInfo, fault: EngineError | None, page: Page) -> str:
    """What the setting does, or what is wrong with it; the stylesheet puts bounds and unit at the widget's right."""
    if fault is None:
        words = re.sub("`(.+?)`", r'<code class="so-code">\1</code>', escape(field.help(page.language)))
    else:
        what, hint = fault_words(field, fault, page)
        words = f'<span class="so-fault">{escape(what)} {escape(hint)}</span>'
    unit = page.t(f"config.unit.{field.unit}") if field.unit else ""
    title = f"{field.path} · {page.t('config.range.default', value=_default(field, page))}"
    return (
        f'<p class="so-caption" id="{element_id(field.path)}-note" title="{escape(title)}">'
        f'{words}<span class="so-bounds">{escape(bounds(field, page))}</span>'
        f'<span class="so-unit">{escape(unit)}</span></p>'
    )


def fault_words(field: config.FieldInfo, fault: EngineError, page: Page) -> tuple[str, str]:
    """What is wrong with a setting and what to do, naming it by its label."""
    label = field.label(page.language)
    facts = {**fault.facts, "field": label}
    what, hint = page.error(fault.code, "what", facts), page.error(fault.code, "hint", facts)
    if not label[-1].isascii():
        what = what.replace(f"{label} ", label)  # only Latin words stand apart in a Japanese sentence
    return what, hint


def bounds(field: config.FieldInfo, page: Page) -> str:
    """The values that are allowed, in words; "" where everything is."""
    if field.low is None or field.high is None:
        return ""
    name = "above" if field.low_excluded else "below" if field.high_excluded else "closed"
    return page.t(f"config.range.{name}", low=f"{field.low:,.10g}", high=f"{field.high:,.10g}")


def _default(field: config.FieldInfo, page: Page) -> str:
    match field.default:
        case bool():
            return page.t("config.range.on" if field.default else "config.range.off")
        case tuple():
            return ", ".join(field.default) or page.t("config.range.nothing")
    return str(field.default) or page.t("config.range.nothing")


def _step(field: config.FieldInfo) -> float:
    """How far the arrows of a number go: a hundredth of a small range, one in a wide one."""
    return 0.01 if field.high is not None and field.high <= 1 else 1.0


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number
