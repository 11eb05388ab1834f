"""What an answer in Japanese must show: checks that are passed or not. Pure text, no model.

An empty answer passes none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from so8t_engine.export.japanese_numbers import stated
from so8t_engine.export.japanese_text import (
    bare,
    folded,
    hiragana_alone,
    japanese_shares,
    json_object,
    list_items,
    normal,
    polite,
    refuses,
    repeated_share,
    says,
    sentences,
)  # fmt: skip

EDITION = 1
"""To be raised when a check judges otherwise than before: results of two editions can't be compared."""

MOST_REPEATED = 0.3
"""Share of an answer's grams (`japanese_text.GRAM` characters) that may have stood in it before."""

LEAST_KANA = 0.15
"""Of the letters of a longer Japanese text: without kana it is Chinese."""

KANA_FROM = 20
"""Letters from which on kana are expected."""

LEAST_IN_STYLE = 0.75
"""Share of the sentences that must end politely: a heading or a list may stand between them."""


class Check(Protocol):
    """One thing that an answer must show. kind: as the file of prompts names it. name: what a person reads."""

    kind: ClassVar[str]

    @property
    def name(self) -> str: ...

    def passes(self, text: str) -> bool: ...


@dataclass(frozen=True)
class Answered:
    """It does not decline to answer, and is not the question over again (see also `Prompt.passed`)."""

    question: str = ""
    kind: ClassVar[str] = "answered"

    @property
    def name(self) -> str:
        return "質問に答えている"

    def passes(self, text: str) -> bool:
        return folded(text) not in ("", folded(self.question)) and not refuses(text)


@dataclass(frozen=True)
class Fact:
    """It says one of these; blanks and case don't count."""

    any: tuple[str, ...]
    kind: ClassVar[str] = "fact"

    @property
    def name(self) -> str:
        return f"「{self.any[0]}」などの内容がある" if len(self.any) > 1 else f"「{self.any[0]}」がある"

    def passes(self, text: str) -> bool:
        return says(text, self.any)


@dataclass(frozen=True)
class Absent:
    """It says none of these."""

    any: tuple[str, ...]
    kind: ClassVar[str] = "absent"

    @property
    def name(self) -> str:
        return "・".join(f"「{word}」" for word in self.any) + "を使わない"

    def passes(self, text: str) -> bool:
        return bool(text.strip()) and not says(text, self.any)


@dataclass(frozen=True)
class Only:
    """It says one of these and nothing else, but for marks around it, 「答えは」 and 「です」."""

    any: tuple[str, ...]
    kind: ClassVar[str] = "only"

    @property
    def name(self) -> str:
        return f"「{self.any[0]}」とだけ答える"

    def passes(self, text: str) -> bool:
        return bare(text) in map(bare, self.any)


@dataclass(frozen=True)
class Number:
    """The number that it gives as its answer is one of these (`japanese_numbers.stated`)."""

    values: tuple[int, ...]
    units: tuple[str, ...] = ()
    kind: ClassVar[str] = "number"

    @property
    def name(self) -> str:
        unit = self.units[0] if self.units else ""
        return f"答えの数が {self.values[0]:,}{unit}"

    def passes(self, text: str) -> bool:
        return stated(normal(text).casefold(), self.units) in self.values


@dataclass(frozen=True)
class Order:
    """It names these in this order; each has several spellings."""

    words: tuple[tuple[str, ...], ...]
    kind: ClassVar[str] = "order"

    @property
    def name(self) -> str:
        return "→".join(spellings[0] for spellings in self.words) + " の順"

    def passes(self, text: str) -> bool:
        whole, places = folded(text), []
        for spellings in self.words:
            found = [place for word in spellings if (place := whole.find(folded(word))) >= 0]
            if not found:
                return False
            places.append(min(found))
        return places == sorted(places)


@dataclass(frozen=True)
class Length:
    """Characters without blanks."""

    least: int
    most: int
    kind: ClassVar[str] = "length"

    @property
    def name(self) -> str:
        return f"{self.least}〜{self.most} 字"

    def passes(self, text: str) -> bool:
        return self.least <= len(folded(text)) <= self.most


@dataclass(frozen=True)
class Sentences:
    """How many sentences it has."""

    least: int
    most: int
    kind: ClassVar[str] = "sentences"

    @property
    def name(self) -> str:
        return f"{self.least} 文" if self.least == self.most else f"{self.least}〜{self.most} 文"

    def passes(self, text: str) -> bool:
        return self.least <= len(sentences(text)) <= self.most


@dataclass(frozen=True)
class Japanese:
    """At least this share of its letters is Japanese, and a longer text has kana."""

    least: float
    kind: ClassVar[str] = "japanese"

    @property
    def name(self) -> str:
        return f"文字の {self.least:.0%} 以上が日本語"

    def passes(self, text: str) -> bool:
        letters, share, kana = japanese_shares(text)
        return letters > 0 and share >= self.least and (letters < KANA_FROM or kana >= LEAST_KANA)


@dataclass(frozen=True)
class Kana:
    """Every letter is hiragana."""

    kind: ClassVar[str] = "kana"

    @property
    def name(self) -> str:
        return "ひらがなだけ"

    def passes(self, text: str) -> bool:
        return hiragana_alone(text)


@dataclass(frozen=True)
class Repetition:
    """It does not go round in circles."""

    kind: ClassVar[str] = "repetition"

    @property
    def name(self) -> str:
        return "同じ言葉を繰り返さない"

    def passes(self, text: str) -> bool:
        return bool(text.strip()) and repeated_share(text) <= MOST_REPEATED


@dataclass(frozen=True)
class Listed:
    """It is a list of so many items: numbered from 1, else with a mark on each line."""

    items: int
    kind: ClassVar[str] = "list"

    @property
    def name(self) -> str:
        return f"{self.items} 項目の一覧"

    def passes(self, text: str) -> bool:
        return list_items(text) == self.items


@dataclass(frozen=True)
class Json:
    """It is one JSON object with exactly these keys, in a code fence or without. numbers: keys with a number."""

    keys: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    kind: ClassVar[str] = "json"

    @property
    def name(self) -> str:
        return f"項目が {'・'.join(self.keys)} の JSON だけ"

    def passes(self, text: str) -> bool:
        found = json_object(text)
        if found is None or set(found) != set(self.keys):
            return False
        return all(isinstance(found[key], int | float) and not isinstance(found[key], bool) for key in self.numbers)


@dataclass(frozen=True)
class Field:
    """It is a JSON object in which `key` has one of these values."""

    key: str
    any: tuple[str, ...]
    kind: ClassVar[str] = "field"

    @property
    def name(self) -> str:
        return f"JSON の{self.key}が「{self.any[0]}」"

    def passes(self, text: str) -> bool:
        found = json_object(text) or {}
        return self.key in found and folded(str(found[self.key])) in {folded(word) for word in self.any}


@dataclass(frozen=True)
class Style:
    """Its sentences end with です or ます, or (polite: false) none of them does."""

    polite: bool
    kind: ClassVar[str] = "style"

    @property
    def name(self) -> str:
        return "です・ます体" if self.polite else "だ・である体"

    def passes(self, text: str) -> bool:
        endings = [polite(sentence) for sentence in sentences(text)]
        if not endings:
            return False
        return sum(endings) >= LEAST_IN_STYLE * len(endings) if self.polite else not any(endings)


KINDS: dict[str, Callable[..., Check]] = {
    one.kind: one
    for one in (
        Answered, Fact, Absent, Only, Number, Order, Length, Sentences, Japanese, Kana, Repetition, Listed, Json, Field,
        Style,
    )
}  # fmt: skip
"""By the name that the file of prompts calls them."""

SUBSTANCE = (Fact, Only, Number, Order, Listed, Json, Field)
"""Kinds that see what an answer says; the others see how it is written."""


def check(described: Mapping[str, Any]) -> Check:
    """The check of one entry of the file of prompts. Raises KeyError or TypeError for one that is not right."""
    facts = {name: _frozen(value) for name, value in described.items() if name != "kind"}
    return KINDS[described["kind"]](**facts)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
