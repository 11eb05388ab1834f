"""As much of Go's text/template as a chat template of Ollama needs, and Ollama's rule for the tags around thinking.

Knows text, fields of the dot, strings, true and false, `eq`, `and`, `or`, `not`, `if … else if … else … end`, `range …
end`, and the trimming by `{{-` and `-}}`. Anything else is a TemplateError, as is a field that the dot does not have.
"""

import re

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r'"[^"]*"|\.\w*|\w+')


class TemplateError(ValueError):
    """What Go would refuse to parse or to execute."""


class GoTemplate:
    """A parsed template. Raises TemplateError."""

    def __init__(self, text: str) -> None:
        self._parts = _parts(text)
        self._nodes, ended_by = self._list()
        if ended_by:
            raise TemplateError(f"unexpected {{{{{ended_by}}}}}")

    def render(self, dot: dict) -> str:
        """The text for `dot`, whose keys stand for a Go value's fields."""
        return _rendered(self._nodes, dot)

    def thinking_tags(self) -> tuple[str, str]:
        """Ollama's InferTags: what stands first and last in the list of nodes around `.Thinking`, in a range over
        `.Messages`; the last such place counts. ("", "") without one."""
        found = ["", ""]
        _infer(self._nodes, False, found)
        return found[0], found[1]

    def _list(self) -> tuple[list, str]:
        """Nodes up to an action that ends the list, and that action."""
        nodes: list = []
        while self._parts:
            kind, content = self._parts.pop(0)
            head = content.split(" ")[0]
            if kind == "text":
                nodes.append(("text", content))
            elif head in ("end", "else"):
                return nodes, content
            elif head in ("if", "range"):
                nodes.append(self._branch(head, content.removeprefix(head)))
            else:
                nodes.append(("value", _words(content)))
        return nodes, ""

    def _branch(self, head: str, pipe: str) -> tuple:
        inside, ended_by = self._list()
        otherwise: list = []
        if ended_by.startswith("else if ") and head == "if":
            otherwise = [self._branch("if", ended_by.removeprefix("else if"))]
        elif ended_by == "else":
            otherwise, ended_by = self._list()
        if ended_by != "end" and not ended_by.startswith("else if "):
            raise TemplateError("unexpected EOF")
        return head, _words(pipe), inside, otherwise


def _parts(text: str) -> list[tuple[str, str]]:
    """("text", …) and ("action", …) in turn; Go makes no node of an empty text."""
    parts, place, trim = [], 0, False
    for found in _ACTION.finditer(text):
        before = text[place : found.start()]
        before = before.lstrip() if trim else before
        parts.append(("text", before.rstrip() if found[1] else before))
        parts.append(("action", found[2]))
        place, trim = found.end(), bool(found[3])
    rest = text[place:]
    parts.append(("text", rest.lstrip() if trim else rest))
    if any("{{" in content for kind, content in parts if kind == "text"):
        raise TemplateError("unclosed action")
    return [(kind, content) for kind, content in parts if content or kind == "action"]


def _words(pipe: str) -> list[str]:
    words = _WORD.findall(pipe)
    known = ("eq", "and", "or", "not", "true", "false")
    if not words or _WORD.sub("", pipe).strip() or any(word[0] not in '".' and word not in known for word in words):
        raise TemplateError(f"can't read {{{{{pipe}}}}}")
    return words


def _value(words: list[str], dot: dict) -> object:
    first, values = words[0], [_operand(word, dot) for word in words[1:]]
    if first == "eq":
        return values[0] in values[1:]
    if first == "not":
        return not values[0]
    if first in ("and", "or"):
        return next((v for v in values if bool(v) is (first == "or")), values[-1])
    if values:
        raise TemplateError(f"can't give arguments to {first}")
    return _operand(first, dot)


def _operand(word: str, dot: dict) -> object:
    if word[0] == '"':
        return word[1:-1]
    if word in ("true", "false"):
        return word == "true"
    if word[1:] not in dot:
        raise TemplateError(f"can't evaluate field {word[1:]}")
    return dot[word[1:]]


def _rendered(nodes: list, dot: dict) -> str:
    out = ""
    for kind, *rest in nodes:
        if kind == "text":
            out += rest[0]
        elif kind == "value":
            out += str(_value(rest[0], dot))
        elif kind == "if":
            out += _rendered(rest[1] if _value(rest[0], dot) else rest[2], dot)
        else:
            items = _value(rest[0], dot)
            out += "".join(_rendered(rest[1], item) for item in items) if items else _rendered(rest[2], dot)
    return out


def _infer(nodes: list, in_messages: bool, found: list[str]) -> None:
    for kind, *rest in nodes:
        if kind == "text":
            continue
        if ".Thinking" in rest[0] and in_messages:
            for place, node in ((0, nodes[0]), (1, nodes[-1])):
                if node[0] == "text":
                    found[place] = node[1].strip()
        if kind != "value":
            inside = ".Messages" in rest[0] if kind == "range" else in_messages
            _infer(rest[1], inside, found)
            _infer(rest[2], inside, found)
