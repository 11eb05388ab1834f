"""What an answer in Japanese must show: checks that are passed or not. Pure text, no model.

Every check reads full-width and half-width forms alike (NFKC). An empty answer passes none.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from so8t_engine.export.japanese_numbers import stated

GRAM = 6
"""Characters whose recurrence counts as a repetition."""

MOST_REPEATED = 0.3
"""Share of an answer's grams that may have stood in it before."""

LEAST_KANA = 0.15
"""Of the letters of a longer Japanese text: without kana it is Chinese."""

KANA_FROM = 20
"""Letters from which on kana are expected."""

LEAST_IN_STYLE = 0.75
"""Share of the sentences that must end politely: a heading or a list may stand between them."""

_SENTENCE_ENDS = re.compile(r"[。.!?\n]+")
_FIGURE_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_AROUND = "「」『』\"'“”()[]【】。.、,!?:;・*` "
_OPENING = re.compile(r"^(?:答え|回答|解答|正解)(?:は|:)")
_CLOSING = re.compile(r"(?:です|だ|である|になります|となります|でしょう|と呼びます|といいます|と言います)$")
_POLITE = re.compile(
    r"(?:です|ます|でした|ました|ません|でしょう|ましょう|ください|下さい|くださいませ|ませ)"
    r"(?:か|ね|よ|よね|が|から|ので|けれど|けど)?$"
)
_LOOP = re.compile(r"(.{2,16}?)\1{3}|(.)\2{7}", re.DOTALL)
_CIRCLED = {circled: f"\n{number}. " for number, circled in enumerate("①②③④⑤⑥⑦⑧⑨⑩", 1)}
_KANJI_FIGURES = {figure: number for number, figure in enumerate("一二三四五六七八九十", 1)}
_NUMBERED = re.compile(r"(?:^|[\s。、,;])\(?(?:(\d{1,2})(?:[.):、]|\s)(?!\d)|([一二三四五六七八九十])[.):、])")
_BULLET = re.compile(r"(?:^|\n)\s*[・\-*•●◦‣–—]\s*\S")
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL | re.IGNORECASE)
_KANA = re.compile(r"[ぁ-ゖゝゞァ-ヺーヽヾ]")
_HIRAGANA = re.compile(r"[ぁ-ゖゝゞー]")
_JAPANESE = re.compile(r"[ぁ-ゖゝゞァ-ヺーヽヾ々〆〇㐀-䶿一-鿿豈-﫿\U00020000-\U0003134f]")
_REFUSAL = re.compile(
    r"(?:お答え|回答|返答|お手伝い|お教え|お応え|説明|支援)(?:を|は|が|に|には|する|すること|差し上げること)*"
    r"(?:でき(?:ません|かね)|(?:いた|致)?しかね|差し?控え|お断り)"
    r"|(?:お答え|回答|返答)(?:は|が|すること)*できない"
    r"|(?:質問|依頼|要望|リクエスト)(?:に|には|は|を)(?:お)?(?:応じ|対応|受け|答え|応え).{0,8}(?:ません|かね)"
    r"|(?:AI|人工知能|言語モデル)(?:なので|のため|として|ですので).{0,30}ません"
    r"|^[^。]{0,40}(?:わかりません|分かりません|存じません|知りません|わからない|分からない)[。\s]*$"
    r"|\bI\s?(?:can(?:no|['’])t|am (?:unable|not able)|['’]m (?:unable|not able))\b",
    re.IGNORECASE,
)


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
        return _folded(text) not in ("", _folded(self.question)) and not refuses(text)


@dataclass(frozen=True)
class Fact:
    """It says one of these; blanks and case don't count."""

    any: tuple[str, ...]
    kind: ClassVar[str] = "fact"

    @property
    def name(self) -> str:
        return f"「{self.any[0]}」などの内容がある" if len(self.any) > 1 else f"「{self.any[0]}」がある"

    def passes(self, text: str) -> bool:
        return _says(text, self.any)


@dataclass(frozen=True)
class Absent:
    """It says none of these."""

    any: tuple[str, ...]
    kind: ClassVar[str] = "absent"

    @property
    def name(self) -> str:
        return "・".join(f"「{word}」" for word in self.any) + "を使わない"

    def passes(self, text: str) -> bool:
        return bool(text.strip()) and not _says(text, self.any)


@dataclass(frozen=True)
class Only:
    """It says one of these and nothing else, but for marks around it, 「答えは」 and 「です」."""

    any: tuple[str, ...]
    kind: ClassVar[str] = "only"

    @property
    def name(self) -> str:
        return f"「{self.any[0]}」とだけ答える"

    def passes(self, text: str) -> bool:
        bare = _OPENING.sub("", _folded(text).strip(_AROUND))
        bare = _CLOSING.sub("", bare.strip(_AROUND)).strip(_AROUND)
        return bare in {_folded(word).strip(_AROUND) for word in self.any}


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
        return stated(_normal(text).casefold(), self.units) in self.values


@dataclass(frozen=True)
class Order:
    """It names these in this order; each has several spellings."""

    words: tuple[tuple[str, ...], ...]
    kind: ClassVar[str] = "order"

    @property
    def name(self) -> str:
        return "→".join(spellings[0] for spellings in self.words) + " の順"

    def passes(self, text: str) -> bool:
        folded, places = _folded(text), []
        for spellings in self.words:
            found = [place for word in spellings if (place := folded.find(_folded(word))) >= 0]
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
        return self.least <= len(_folded(text)) <= self.most


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
        return self.least <= len(_sentences(text)) <= self.most


@dataclass(frozen=True)
class Japanese:
    """At least this share of its letters is Japanese, and a longer text has kana."""

    least: float
    kind: ClassVar[str] = "japanese"

    @property
    def name(self) -> str:
        return f"文字の {self.least:.0%} 以上が日本語"

    def passes(self, text: str) -> bool:
        letters = [letter for letter in _normal(text) if letter.isalpha() or letter == "〇"]
        if not letters:
            return False
        share = sum(bool(_JAPANESE.match(letter)) for letter in letters) / len(letters)
        kana = sum(bool(_KANA.match(letter)) for letter in letters) / len(letters)
        return share >= self.least and (len(letters) < KANA_FROM or kana >= LEAST_KANA)


@dataclass(frozen=True)
class Kana:
    """Every letter is hiragana."""

    kind: ClassVar[str] = "kana"

    @property
    def name(self) -> str:
        return "ひらがなだけ"

    def passes(self, text: str) -> bool:
        letters = [letter for letter in _normal(text) if letter.isalnum()]
        return bool(letters) and all(_HIRAGANA.match(letter) for letter in letters)


@dataclass(frozen=True)
class Repetition:
    """It does not go round in circles."""

    kind: ClassVar[str] = "repetition"

    @property
    def name(self) -> str:
        return "同じ言葉を繰り返さない"

    def passes(self, text: str) -> bool:
        folded = _folded(text)
        grams = [folded[place : place + GRAM] for place in range(len(folded) - GRAM + 1)]
        again = 1 - len(set(grams)) / len(grams) if grams else 0.0
        return bool(folded) and again <= MOST_REPEATED and not _LOOP.search(folded)


@dataclass(frozen=True)
class Listed:
    """It is a list of so many items: numbered from 1, else with a mark on each line."""

    items: int
    kind: ClassVar[str] = "list"

    @property
    def name(self) -> str:
        return f"{self.items} 項目の一覧"

    def passes(self, text: str) -> bool:
        return _items(_normal("".join(_CIRCLED.get(letter, letter) for letter in text))) == self.items


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
        found = _object(text)
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
        found = _object(text) or {}
        return self.key in found and _folded(str(found[self.key])) in {_folded(word) for word in self.any}


@dataclass(frozen=True)
class Style:
    """Its sentences end with です or ます, or (polite: false) none of them does."""

    polite: bool
    kind: ClassVar[str] = "style"

    @property
    def name(self) -> str:
        return "です・ます体" if self.polite else "だ・である体"

    def passes(self, text: str) -> bool:
        endings = [bool(_POLITE.search(sentence.rstrip(_AROUND))) for sentence in _sentences(text)]
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


def refuses(text: str) -> bool:
    """Whether an answer declines in words."""
    return _REFUSAL.search(_normal(text)) is not None


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _folded(text: str) -> str:
    """NFKC, in small letters, without blanks."""
    return "".join(_normal(text).casefold().split())


def _says(text: str, words: tuple[str, ...]) -> bool:
    folded = _folded(text)
    return any(_folded(word) in folded for word in words)


def _sentences(text: str) -> list[str]:
    whole = _FIGURE_POINT.sub("", _normal(text.replace("…", "〜")))
    return [part.strip() for part in _SENTENCE_ENDS.split(whole) if part.strip(_AROUND)]


def _items(text: str) -> int:
    """Items of a list: the numbers 1, 2, 3 … as far as they go on, else lines with a mark; 0 where there is no list."""
    count = 0
    for number in _numbered(text):
        if number == count + 1:
            count = number
        elif number != count:
            break
    return count or len(_BULLET.findall(text))


def _numbered(text: str) -> Iterator[int]:
    return (int(match[1]) if match[1] else _KANJI_FIGURES[match[2]] for match in _NUMBERED.finditer(text))


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that an answer consists of; None when it is something else."""
    fenced = _FENCE.match(text.strip())
    with suppress(ValueError, RecursionError):
        found = json.loads(fenced.group(1) if fenced else text)
        return found if isinstance(found, dict) else None
    return None
