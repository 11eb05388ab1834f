"""The one filter between a model's answer and anybody who may see it. It fails closed.

Text comes out only from a `<final>` that follows the three thinking sections, each opened and closed once, in order.
Anything else that looks like a tag of ours (repeated, out of order, misspelt as in `<Final>` or `< /final >`, of
another name that begins with "think" or "final", in full-width letters, with accents or invisible characters in it) seals the
filter: nothing more comes out of that answer. How the text is cut into pieces makes no difference.
"""

import re
import unicodedata
from contextlib import suppress

from so8t_engine.answer.format import (
    CLASSES,
    HIDDEN_SECTIONS,
    LABEL_LINE,
    SECTIONS,
    Final,
    FormatError,
    parse_final,
)

NO_ANSWER = "回答を表示できません。(There is no answer that can be shown.)"
"""What a person sees when no `<final>` came."""

_ORDER = tuple(tag for name in SECTIONS for tag in (f"<{name}>", f"</{name}>"))
_BEFORE_FINAL = 2 * len(HIDDEN_SECTIONS)
_INSIDE_FINAL = _BEFORE_FINAL + 1

_BRACKET = re.compile("[<≮＜﹤]")
_STEMS = ("think", "final")
_FILLERS = "\u115f\u1160"
"""Letters by their category, and yet invisible."""


class ThinkingFilter:
    """Feed it an answer as it comes; what `feed` and `close` give back may be shown, and nothing else.

    The text of `<final>` is held back until its class is known, so that an audit record can be made before the first
    character is shown; where `<final>` ends without naming a class, it comes out at its end.

    Attributes:
        label: the class, known from the first shown character on; "" before, or when `<final>` names none.
        final: after `close`, the four fields of `<final>`; None when they are not all there.
        sealed: whether a tag stood where none may stand; nothing comes out any more.
        complete: whether `</final>` has come.
    """

    def __init__(self) -> None:
        self.label = ""
        self.final: Final | None = None
        self.sealed = False
        self._place = 0  # index in _ORDER of the tag that must come next
        self._undecided = ""  # a piece that may yet turn out to be a tag
        self._waiting = ""  # text of <final> before its class is known
        self._shown: list[str] = []
        self._closed = False

    @property
    def complete(self) -> bool:
        return self._place == len(_ORDER)

    @property
    def thinking(self) -> bool:
        """Whether the answer is still in front of `<final>`."""
        return self._place <= _BEFORE_FINAL and not self.sealed

    @property
    def untagged(self) -> bool:
        """Whether nothing has come that is a tag of ours, looks like one, or may yet become one."""
        return self._place == 0 and not self.sealed and not self._undecided

    def feed(self, text: str) -> str:
        """Take the next piece of the answer; give back what may be shown of it."""
        if self._closed:
            return ""
        self._undecided += text
        out = ""
        while self._undecided and not self.sealed:
            bracket = _BRACKET.search(self._undecided)
            before = self._undecided[: bracket.start()] if bracket else self._undecided
            out += self._text(before)
            self._undecided = self._undecided[len(before) :]
            if bracket is None:
                break
            length = self._tag_length()
            if length is None:  # the next piece decides
                break
            if length:
                out += self._tag(self._undecided[:length])
            else:
                length = 1
                out += self._text(self._undecided[0])
            self._undecided = self._undecided[length:]
        if self.sealed:
            self._undecided = self._waiting = ""
        if out:
            self._shown.append(out)
        return out

    def close(self) -> str:
        """End the answer; give back the message that stands for an answer of which nothing was shown, else "".

        A piece that is still undecided is dropped: it may have been the beginning of a tag.
        """
        self._closed = True
        self._undecided = self._waiting = ""
        if self.complete and not self.sealed:
            with suppress(FormatError):
                final = parse_final("".join(self._shown))
                if final.label == self.label:  # the class that was known when the text came out is the one that counts
                    self.final = final
        return "" if "".join(self._shown).strip() else NO_ANSWER

    def _text(self, text: str) -> str:
        if self._place == _BEFORE_FINAL and text.strip():
            self.sealed = True  # something stands between </think-policy> and <final>
        if self._place != _INSIDE_FINAL or self.sealed:
            return ""
        if self.label:
            return text
        self._waiting += text
        self._find_label(self._waiting.rfind("\n") + 1)  # in whole lines only
        return self._release() if self.label else ""

    def _tag(self, tag: str) -> str:
        if self.complete or tag != _ORDER[self._place]:
            self.sealed = True
            return ""
        self._place += 1
        if not self.complete:
            return ""
        self._find_label(len(self._waiting))  # it may stand on the last line
        return self._release()

    def _find_label(self, end: int) -> None:
        for match in LABEL_LINE.finditer(self._waiting, 0, end):
            if match.group(1) in CLASSES:
                self.label = match.group(1)
                return

    def _release(self) -> str:
        waiting, self._waiting = self._waiting, ""
        return waiting

    def _tag_length(self) -> int | None:
        """How many characters of `_undecided` (a bracket and what follows) are a tag; 0: none; None: more is needed.

        A tag that is not the one expected here counts as one as soon as its name begins like ours.
        """
        text = self._undecided
        expected = "" if self.complete else _ORDER[self._place]
        if expected and text.startswith(expected):
            return len(expected)
        if expected.startswith(text):
            return None
        name = _name(text)
        if any(name.startswith(stem) for stem in _STEMS):
            return len(text)
        return None if any(stem.startswith(name) for stem in _STEMS) else 0


def _name(text: str) -> str:
    """The letters after a bracket as a reader sees them: small, plain, without blanks, slashes, bars, invisible signs."""
    seen = ""
    for letter in (letter for sign in text[1:] for letter in unicodedata.normalize("NFKD", sign).lower()):
        blank = letter.isspace()
        if not blank and (unicodedata.category(letter)[0] in "CM" or letter in _FILLERS):
            continue
        if not seen and (blank or letter in "/\\|"):
            continue
        if not letter.isalpha():
            return seen + "\0"  # a name that ends before it is ours
        seen += letter
        if len(seen) >= max(map(len, _STEMS)):
            break
    return seen
