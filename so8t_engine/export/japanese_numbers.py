"""Numbers in Japanese text: 1,680, １６８０, 千六百八十, 1680.0 and 1万2千 are read for what they are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

_DIGITS = "〇一二三四五六七八九"
_ZERO = "零"
_SMALL = {"十": 10, "百": 100, "千": 1000}
_LARGE = {"万": 10**4, "億": 10**8, "兆": 10**12}

_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_KANJI = _DIGITS + _ZERO
_PART = re.compile(rf"(?P<plain>{_PLAIN})|(?P<kanji>[{_KANJI}]+)|(?P<times>[十百千万億兆])")
_NUMBER = re.compile(rf"(?:{_PLAIN}|[{_KANJI}十百千])(?:{_PLAIN}|[{_KANJI}十百千万億兆])*")

_MARK = re.compile(r"(?:答え?|こたえ|解答|回答|正解|結論)\s*(?:は|:|=|→|が)\s*")
_CLOSING = r"(?:です|だ|である|になります|となります|でしょう)?"
_ENDS = re.compile(r"[。!?\n]")


@dataclass(frozen=True)
class Number:
    """A number where it stands in a text. rest: what follows it. digits: whether a digit such as 7 is in it."""

    value: Decimal
    start: int
    rest: str
    digits: bool

    def counts(self, units: Sequence[str]) -> bool:
        """Whether one of `units` follows at once; any number does where no unit is asked for."""
        return not units or self.rest.lstrip().startswith(tuple(units))


def numbers(text: str) -> list[Number]:
    """Every number in `text`, which has to be in NFKC; a sign before it is no part of it."""
    return list(_numbers(text))


def stated(text: str, units: Sequence[str]) -> Decimal | None:
    """The number that `text` (in NFKC) gives as its answer; None when it gives none.

    It is the number behind the last 「答えは」 or "答え:" (behind the last = there); where nothing is marked so, a
    sentence that holds nothing but a number; else the last number that one of `units` follows, and where none does the
    last one with a digit. So a right number on the way to another answer does not count.
    """
    marks = list(_MARK.finditer(text))
    if marks:
        told = _ENDS.split(text[marks[-1].end() :].lstrip(), maxsplit=1)[0].rpartition("=")[2]
        behind = numbers(told)
        if behind:
            return next((one for one in behind if one.counts(units)), behind[0]).value
    found = numbers(text)
    for sentence in _ENDS.split(text):
        alone = numbers(sentence)
        if len(alone) == 1 and _bare(sentence, alone[0], units):
            return alone[0].value
    fitting = [one for one in found if units and one.counts(units)] or [one for one in found if one.digits]
    return fitting[-1].value if fitting else None


def _bare(sentence: str, number: Number, units: Sequence[str]) -> bool:
    """Whether nothing stands around the number but its unit (and a few letters that end the word) and 「です」."""
    unit = rf"(?:(?:{'|'.join(map(re.escape, units))})\w{{0,4}}?)?" if units else ""
    return not sentence[: number.start].strip() and bool(re.fullmatch(rf"\s*{unit}\s*{_CLOSING}\s*", number.rest))


def _numbers(text: str) -> Iterator[Number]:
    for match in _NUMBER.finditer(text):
        value = _value(match.group())
        if value is not None:
            digits = any(letter.isdecimal() for letter in match.group())
            yield Number(value, match.start(), text[match.end() :], digits)


def _value(text: str) -> Decimal | None:
    """None for what is no number, such as 3二."""
    total = group = Decimal(0)
    digits: Decimal | None = None
    for part in _PART.finditer(text):
        if part["times"] in _LARGE:
            group += digits or 0
            total, group, digits = total + (group or 1) * _LARGE[part["times"]], Decimal(0), None
        elif part["times"]:
            group, digits = group + (1 if digits is None else digits) * _SMALL[part["times"]], None
        elif digits is not None:
            return None
        elif part["plain"]:
            digits = Decimal(part["plain"].replace(",", ""))
        else:
            digits = Decimal("".join(str(max(0, _DIGITS.find(letter))) for letter in part["kanji"]))
    return total + group + (digits or 0)
