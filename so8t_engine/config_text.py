"""YAML text to plain values, with the line of every name. Knows nothing of which settings there are."""

import math
from typing import Any

import yaml

from so8t_engine.errors import EngineError, SettingsError

_DEPTH = 2
"""A config is groups of values: names further down belong to no setting, and YAML allows endless ones."""


class _Loader(yaml.SafeLoader):
    """YAML without dates: a folder called 2026-05-01 is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """One line a setting, lists in brackets, texts of several lines as blocks."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)
_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))
)


def _style(text: str) -> str | None:
    if any(sign in text for sign in "\r\x85\u2028\u2029\ufeff"):
        return '"'  # PyYAML loses these line ends in every other style
    return "|" if "\n" in text else None


_REASONS = {
    "found character '\\t'": "config.tab",
    "mapping values are not allowed": "config.colon",
    "could not find expected ':'": "config.colon",
    "expected <block end>": "config.indent",
    "found unexpected end of stream": "config.quote",
    "expected ',' or": "config.bracket",
    "that cannot start any token": "config.character",
    "special characters are not allowed": "config.character",
}
"""What PyYAML says, and our code for it. The first that fits counts."""


def values(text: str, where: str) -> tuple[dict[str, Any], dict[str, int], list[EngineError]]:
    """The values, the line of every name by its path, and a fault for each name that stands twice.

    Raises SettingsError when the text is no YAML, or not made of names and values.
    """
    try:
        node = compose(text)
        found = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError([_not_yaml(error, text, where)], where=where) from None
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise SettingsError([EngineError("config.not_mapping", where=where)], where=where)
    lines, doubles = _lines(node)
    return found, lines, [EngineError("config.double", where=f"{where}:{at}", field=name) for name, at in doubles]


def compose(text: str) -> yaml.Node | None:
    """The text as a tree that knows where each part stands. Raises yaml.YAMLError."""
    return yaml.compose(text, Loader=_Loader)


def dump(value: Any) -> str:
    """A value as YAML that reads back to the same."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=math.inf
    )


def override(item: str) -> tuple[str, Any]:
    """The path and the value of a "key=value" as of `--set`; the value is YAML. Raises EngineError."""
    path, separator, value = item.partition("=")
    if not separator or not path.strip():
        raise EngineError("config.bad_override", where="--set", text=item)
    try:
        return path.strip(), yaml.load(value, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise EngineError("config.bad_override", where="--set", text=item) from None


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at "train.epochs", making the groups on the way."""
    *groups, name = path.split(".")
    for group in groups:
        inner = values.get(group)
        if not isinstance(inner, dict):
            inner = values[group] = {}
        values = inner
    values[name] = value


def get(values: Any, path: str, default: Any) -> Any:
    """The value at "train.epochs", or `default` where there is none."""
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            return default
        values = values[name]
    return values


def _not_yaml(error: Exception, text: str, where: str) -> EngineError:
    reason = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    code = next((code for words, code in _REASONS.items() if words in reason), "config.not_yaml")
    opened = code in ("config.quote", "config.bracket")  # the line where it opens says more than where the text ends
    mark = getattr(error, "context_mark" if opened else "problem_mark", None)
    line = mark.line + 1 if mark else None
    if isinstance(error, yaml.reader.ReaderError):  # it counts characters, not lines
        line = text.count("\n", 0, error.position) + 1
    return EngineError(code, where=f"{where}:{line}" if line else where, reason=reason)


def _lines(node: yaml.Node | None, prefix: str = "", depth: int = _DEPTH) -> tuple[dict[str, int], list]:
    """The line of every name by its path, and the names that stand twice."""
    lines: dict[str, int] = {}
    doubles: list[tuple[str, int]] = []
    if not isinstance(node, yaml.MappingNode) or not depth:
        return lines, doubles
    for key, value in node.value:
        path, line = f"{prefix}{key.value}", key.start_mark.line + 1
        if path in lines:
            doubles.append((path, line))
        lines[path] = line
        inner, inner_doubles = _lines(value, f"{path}.", depth - 1)
        lines |= inner
        doubles += inner_doubles
    return lines, doubles
