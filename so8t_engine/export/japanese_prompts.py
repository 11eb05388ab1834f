"""What the Japanese test asks and checks, as assets/prompts/japanese_test.toml says."""

import hashlib
import json
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any

from so8t_engine.config import ROOT
from so8t_engine.export.japanese_checks import EDITION, SUBSTANCE, Answered, Check, check

FILE = ROOT / "assets" / "prompts" / "japanese_test.toml"

CATEGORIES = {
    "understanding": "理解", "generation": "生成", "reasoning": "推論", "dialogue": "対話", "terms": "専門用語",
}  # fmt: skip
"""Key and Japanese name, in the order of the reports."""


@dataclass(frozen=True)
class Prompt:
    """turns: user, assistant, user …; the last one is answered. checks: the first is that it does not refuse."""

    id: str
    category: str
    turns: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def messages(self) -> list[dict[str, str]]:
        """The turns as {"role", "content"}, oldest first."""
        speakers = ("user", "assistant")
        return [{"role": speakers[place % 2], "content": text} for place, text in enumerate(self.turns)]

    def passed(self, text: str) -> list[bool]:
        """What `text` passes of the checks, in their order.

        What declines, or shows nothing of what was asked for, is no answer and passes none: any sentence is short,
        polite or Japanese.
        """
        passed = [one.passes(text) for one in self.checks]
        substance = any(hit for hit, one in zip(passed, self.checks, strict=True) if isinstance(one, SUBSTANCE))
        return passed if passed[0] and substance else [False] * len(passed)


@dataclass(frozen=True)
class Paper:
    """All prompts. sha256: of their content and the edition of the checks; results under another one can't be compared
    with these."""

    prompts: tuple[Prompt, ...]
    sha256: str


@cache
def paper() -> Paper:
    """The test as it ships."""
    with FILE.open("rb") as file:
        found = tomllib.load(file)["prompt"]
    prompts = tuple(map(_prompt, found))
    # Not the file's bytes: its line ends may be Windows' own.
    content = json.dumps([EDITION, found], ensure_ascii=False, sort_keys=True)
    return Paper(prompts, hashlib.sha256(content.encode("utf-8")).hexdigest())


def _prompt(found: dict[str, Any]) -> Prompt:
    turns = tuple(found["turns"])
    return Prompt(found["id"], found["category"], turns, (Answered(turns[-1]), *map(check, found["checks"])))
