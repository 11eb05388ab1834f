"""One value of a YAML text replaced in place: comments, order and all other lines stay as they were typed."""

import re
from typing import Any

import yaml

from so8t_engine import config_text
from so8t_engine.errors import SettingsError


def changed(text: str, path: str, value: Any) -> str:
    """`text` with `value` at "train.epochs". A text that defies editing is written anew below its first comment.

    Raises SettingsError when the text can't be read as YAML.
    """
    wanted, _, _ = config_text.values(text, "config")
    config_text.put(wanted, path, value)
    edited = _edited(text, path, value)
    if edited is not None and _says(edited, wanted):
        return edited
    comment = re.match(r"(?:[ \t]*(?:#.*)?\n)*", text)
    return comment.group() + config_text.dump(wanted)


def _says(text: str, wanted: dict[str, Any]) -> bool:
    """Whether `text` reads as `wanted` (compared as text too: a NaN is not equal to itself)."""
    try:
        found, _, _ = config_text.values(text, "config")
    except SettingsError:
        return False
    return found == wanted or repr(found) == repr(wanted)


def _edited(text: str, path: str, value: Any) -> str | None:
    """The text with the value put in its place, or None where there is no plain way."""
    root = config_text.compose(text)
    *groups, name = path.split(".")
    if root is None:
        return _appended(text, groups, name, value)
    node = root
    for group in groups:
        inner = _child(node, group)
        if inner is None:
            return _appended(text, groups, name, value) if node is root and not root.flow_style else None
        node = inner
    if not isinstance(node, yaml.MappingNode):
        return _put_over(text, node, f"{{{name}: {_inline(value)}}}")
    old = _child(node, name)
    if old is not None:
        return _replaced(text, node, old, value)
    if node is root and not root.flow_style:
        return _appended(text, groups, name, value)
    return _inserted(text, node, name, value)


def _child(node: yaml.Node, name: str) -> yaml.Node | None:
    """The value under `name`; of two, the last counts, as it does for the reader."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in reversed(node.value) if key.value == name), None)


def _replaced(text: str, group: yaml.MappingNode, old: yaml.Node, value: Any) -> str:
    column = next(key.start_mark.column for key, node in group.value if node is old)
    rest_of_line = text[_end(old) :].partition("\n")[0]
    block = isinstance(value, str) and "\n" in value and not group.flow_style
    if block and (getattr(old, "style", None) in ("|", ">") or not rest_of_line.strip()):
        return _put_over(text, old, _block(value, column))
    return _put_over(text, old, _inline(value))


def _put_over(text: str, old: yaml.Node, new: str) -> str:
    start, end = old.start_mark.index, _end(old)
    before = text[:start]
    if isinstance(old, yaml.CollectionNode) and not old.flow_style:
        before = before.rstrip()  # back to the name and its colon: a block may stand no deeper than its name
    if before.endswith(":"):
        before += " "
    old_ends_line, new_ends_line = text[start:end].endswith("\n"), new.endswith("\n")
    if old_ends_line and not new_ends_line:
        new += "\n"
    if new_ends_line and not old_ends_line:
        new = new.removesuffix("\n")
    return before + new + text[end:]


def _end(node: yaml.Node) -> int:
    """Where the node's text ends. A block list's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _inserted(text: str, group: yaml.MappingNode, name: str, value: Any) -> str:
    """A new name: last between braces, else first of its group."""
    if group.flow_style:
        at = group.end_mark.index - 1
        return text[:at] + (", " if group.value else "") + f"{name}: {_inline(value)}" + text[at:]
    first = group.value[0][0].start_mark
    return text[: first.index] + f"{name}: {_inline(value)}\n" + " " * first.column + text[first.index :]


def _appended(text: str, groups: list[str], name: str, value: Any) -> str:
    """A new name, or a new group with it, at the end of the text."""
    start = text if not text or text.endswith("\n") else text + "\n"
    line = f"{name}: {_inline(value)}\n"
    for group in reversed(groups):
        line = f"{group}:\n  {line}"
    return start + line


def _inline(value: Any) -> str:
    """The value on one line, fit to stand between brackets too."""
    return config_text.dump([value]).strip()[1:-1]


def _block(value: str, column: int) -> str:
    """The value as a block below its name, which stands at `column`; one line where a block can't hold it."""
    dumped = config_text.dump({"x": value})
    first, *lines = dumped.removeprefix("x: ").splitlines(keepends=True)
    return first + "".join(" " * column + line if line.strip() else line for line in lines)
