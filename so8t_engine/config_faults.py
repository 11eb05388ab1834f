"""What pydantic finds wrong with a value, in our words: its own sentences are English only."""

import reprlib
from collections.abc import Mapping
from typing import Any

from so8t_engine.errors import EngineError

_CODES = {
    "extra_forbidden": "config.unknown", "invalid_key": "config.unknown",
    "greater_than": "config.too_small", "greater_than_equal": "config.too_small",
    "less_than": "config.too_large", "less_than_equal": "config.too_large",
    "too_short": "config.empty", "string_too_short": "config.empty",
    "literal_error": "config.choice",
    "int_type": "config.not_whole", "int_parsing": "config.not_whole", "int_parsing_size": "config.not_whole",
    "int_from_float": "config.not_whole",
    "float_type": "config.not_number", "float_parsing": "config.not_number", "finite_number": "config.not_number",
    "bool_type": "config.not_switch", "bool_parsing": "config.not_switch",
    "string_type": "config.not_text", "string_unicode": "config.not_text",
    "tuple_type": "config.not_list",
    "model_type": "config.not_group", "model_attributes_type": "config.not_group",
    "rotate_not_target": "config.rotate_not_target", "auto_not_alone": "config.auto_not_alone", "shares": "config.shares",
    "address": "config.address",
}  # fmt: skip

_LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}

_NO_VALUE = {"config.not_whole", "config.not_number", "config.not_switch", "config.not_text", "config.choice"}
"""Codes which a name without any value gets: it is then simply empty."""


def fault(item: Any, where: str, places: Mapping[str, str], choices: Mapping[str, tuple[str, ...]]) -> EngineError:
    """One of pydantic's errors as ours; the fact `field` is the path of the setting.

    places: where each path stands ("a.yaml:12"); a path that is not in it gets `where`.
    choices: the allowed words of each setting that has such.
    """
    code = _CODES.get(item["type"], "config.type")
    steps = [str(part) for part in item["loc"] if isinstance(part, str) or item["type"] == "invalid_key"]
    path = ".".join(steps)
    context = item.get("ctx", {})
    if item["input"] is None and code in _NO_VALUE:
        code = "config.empty"
    bound = next((f"{sign} {context[name]:.10g}" for name, sign in _LIMITS.items() if name in context), "")
    return EngineError(
        code, where=places.get(path, where), field=path, value=_shown(item["input"]), bound=bound,
        choices=", ".join(choices.get(path, ())), names=context.get("names", ""),
    )  # fmt: skip


def _shown(value: Any) -> str:
    """The value as it stands in the file, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return value if 0 < len(value) <= 60 and value.isprintable() else reprlib.repr(value)
    return reprlib.repr(value)
