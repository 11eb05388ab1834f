"""What Ollama must know of a model beside its weights: template, system text, parameters, licence.

**Where the thinking goes.** Ollama never keeps a model's thoughts to itself; it can only hand them over apart from the
answer. Since 0.9.0 it takes the tags around the thinking from the TEMPLATE: in a `range` over `.Messages` it looks for
`.Thinking`, and the text before and after it are the tags (thinking/template.go, InferTags). Then everything from the
first tag to the second goes into the field `thinking` and only the rest into `content` (thinking/parser.go). TEMPLATE
names `<think-task>` and `</think-policy>` that way, in a branch that is never rendered: earlier thoughts are no part of
a prompt that the model was trained on, and an Ollama before 0.9.0 has no such field. With Go's own text/template, the
published rule gives our two tags and the template the text of the tokenizer's chat template.

A client still gets the thoughts: in `thinking`, which `ollama run` prints unless it is told --hidethinking, or in the
text, when it sends `think` false. So whoever pushes a model must consent (`raw_thinking`).
https://github.com/ollama/ollama/blob/main/docs/api.md, https://ollama.com/blog/thinking
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from so8t_engine.answer.format import HIDDEN_SECTIONS

OPENING, CLOSING = f"<{HIDDEN_SECTIONS[0]}>", f"</{HIDDEN_SECTIONS[-1]}>"
"""Between them stands all that a model thinks."""

TEMPLATE = (
    '{{ range .Messages }}{{ if eq .Role "system" }}{{ if .Content }}<|system|>\n'
    "{{ .Content }}<|end|>\n"
    '{{ end }}{{ else if eq .Role "user" }}<|user|>\n'
    "{{ .Content }}<|end|>\n"
    '{{ else if eq .Role "assistant" }}<|assistant|>\n'
    f"{{{{ if false }}}}{OPENING}{{{{ .Thinking }}}}{CLOSING}{{{{ end }}}}{{{{ .Content }}}}<|end|>\n"
    "{{ end }}{{ end }}<|assistant|>\n"
)
"""Phi-3.5's chat template as a Go template. https://github.com/ollama/ollama/blob/main/docs/template.md"""

PARAMETERS = {
    "num_ctx": 4096,  # tokens; beyond it llama.cpp takes Phi-3's long rope factors for every prompt
    "temperature": 0,
    "stop": ["<|end|>", "<|endoftext|>", "<|user|>", "<|system|>", "<|assistant|>"],
}

_BESIDE_SINCE, _APART_SINCE = (0, 9, 0), (0, 12, 5)
_NUMBER = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class ModelCard:
    """template: Go's; system: the first message of every conversation; parameters: Ollama's; license: its text."""

    template: str = TEMPLATE
    system: str = ""
    parameters: dict[str, Any] = field(default_factory=lambda: dict(PARAMETERS))
    license: str = ""


def card_of(system: str, base: Path) -> ModelCard:
    """The card of a model that was trained with the system text `system` on the model in `base`.

    A model that was trained without a system text gets none: its decisions were checked without one. The licence is the
    base model's file LICENSE, where there is one.
    """
    return ModelCard(system=system.strip(), license=_license(base))


def version_number(version: str) -> tuple[int, int, int] | None:
    """(0, 12, 6) of "0.12.6" or "0.12.6-rc1"; None of what is no version."""
    found = _NUMBER.match(version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def raw_thinking(version: str) -> Literal["answer", "asked", "field"]:
    """Where a client finds the thinking sections with an Ollama of that version. There is none that hides them.

    "answer": in the text, with all their tags. "asked": in the text, unless the client sends `think` true, as
    `ollama run` does; then apart, as below. "field": apart, in `thinking`, unless the client sends `think` false
    (https://github.com/ollama/ollama/pull/12533); `ollama run` prints them all the same.
    """
    number = version_number(version)
    if number is None or number < _BESIDE_SINCE:
        return "answer"
    return "field" if number >= _APART_SINCE else "asked"


def _license(model: Path) -> str:
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
        file = model / name
        if file.is_file():
            return file.read_text(encoding="utf-8-sig", errors="replace")
    return ""
