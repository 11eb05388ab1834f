"""How an answer in Japanese is read: normal forms, sentences, lists, JSON, refusals. Pure text.

Full-width and half-width forms are read alike (NFKC).
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

GRAM = 6
"""Characters whose recurrence counts as a repetition."""

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


def refuses(text: str) -> bool:
    """Whether an answer declines in words."""
    return _REFUSAL.search(normal(text)) is not None


def normal(text: str) -> str:
    """NFKC."""
    return unicodedata.normalize("NFKC", text)


def folded(text: str) -> str:
    """NFKC, in small letters, without blanks."""
    return "".join(normal(text).casefold().split())


def says(text: str, words: Sequence[str]) -> bool:
    """Whether one of `words` stands in `text`; blanks and case don't count."""
    whole = folded(text)
    return any(folded(word) in whole for word in words)


def bare(text: str) -> str:
    """The folded text without marks around it, 「答えは」 before it and 「です」 behind it."""
    inside = _OPENING.sub("", folded(text).strip(_AROUND))
    return _CLOSING.sub("", inside.strip(_AROUND)).strip(_AROUND)


def sentences(text: str) -> list[str]:
    """Its sentences without their ends; a line is one at the least."""
    whole = _FIGURE_POINT.sub("", normal(text.replace("…", "〜")))
    parts = (part.strip() for part in _SENTENCE_ENDS.split(whole))
    return [part for part in parts if part.strip(_AROUND)]


def polite(sentence: str) -> bool:
    """Whether it ends with です, ます or the like."""
    return _POLITE.search(sentence.rstrip(_AROUND)) is not None


def japanese_shares(text: str) -> tuple[int, float, float]:
    """(letters, share of them that is Japanese, share that is kana); the shares are 0.0 without letters."""
    letters = [letter for letter in normal(text) if letter.isalpha() or letter == "〇"]
    japanese, kana = (sum(bool(kind.match(letter)) for letter in letters) for kind in (_JAPANESE, _KANA))
    return len(letters), japanese / max(1, len(letters)), kana / max(1, len(letters))


def hiragana_alone(text: str) -> bool:
    """Whether it has letters, all of them hiragana."""
    letters = [letter for letter in normal(text) if letter.isalnum()]
    return bool(letters) and all(_HIRAGANA.match(letter) for letter in letters)


def repeated_share(text: str) -> float:
    """Which share of its grams has stood in it before; 1.0 when something stands four times in a row."""
    whole = folded(text)
    if _LOOP.search(whole):
        return 1.0
    grams = [whole[place : place + GRAM] for place in range(len(whole) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def list_items(text: str) -> int:
    """Items of a list: the numbers 1, 2, 3 … as far as they go on, else lines with a mark; 0 where there is no list."""
    plain = normal("".join(_CIRCLED.get(letter, letter) for letter in text))
    count = 0
    for match in _NUMBERED.finditer(plain):
        number = int(match[1]) if match[1] else _KANJI_FIGURES[match[2]]
        if number == count + 1:
            count = number
        elif number != count:
            break
    return count or len(_BULLET.findall(plain))


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that an answer consists of, in a code fence or without; None when it is something else."""
    fenced = _FENCE.match(text.strip())
    with suppress(ValueError, RecursionError):
        found = json.loads(fenced.group(1) if fenced else text)
        return found if isinstance(found, dict) else None
    return None
