"""One row of four-class data, checked field by field."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from so8t_engine.answer.format import CLASSES
from so8t_engine.errors import BadInput

_JAPANESE = re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u3400-\u4dbf\u4e00-\u9fff]")


@dataclass(frozen=True)
class Sample:
    """A request, the class it belongs to, and (for training) the whole answer.

    line is the physical line of the file, from 1; output is "" for rows that only serve classification.
    """

    line: int
    instruction: str
    label: str
    input: str = ""
    output: str = ""
    system: str = ""
    domain: str = ""
    id: str = ""

    @property
    def prompt(self) -> str:
        """What the user says: the instruction, and the input below it."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction

    @property
    def content_hash(self) -> str:
        """32 hex digits that two rows share exactly when they ask the same thing.

        Neither the answer nor the label counts, so that a request never stands on both sides of a split.
        """
        parts = (unicodedata.normalize("NFC", text.strip()) for text in (self.system, self.instruction, self.input))
        return hashlib.sha256("\x1f".join(parts).encode("utf-8")).hexdigest()[:32]

    @property
    def language(self) -> str:
        """"ja" when the request holds any kana or kanji, else "en"."""
        return "ja" if _JAPANESE.search(self.prompt) else "en"


def sample(row: Any, *, line: int, where: str) -> Sample:
    """A Sample from one JSON value. Raises BadInput that names what is wrong with it."""
    if not isinstance(row, dict):
        raise BadInput("data.not_object", where=where, kind=type(row).__name__)
    for name in ("instruction", "four_class_label"):
        if name not in row:
            raise BadInput("data.field_missing", where=where, field=name)
    texts = {name: row.get(name) or "" for name in ("instruction", "input", "output", "system", "domain_label")}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise BadInput("data.not_text", where=where, field=name, kind=type(value).__name__)
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise BadInput("data.broken_letter", where=where, field=name)
    if not texts["instruction"].strip():
        raise BadInput("data.field_empty", where=where, field="instruction")
    if row["four_class_label"] not in CLASSES:
        label = str(row["four_class_label"])[:40]
        raise BadInput("data.bad_label", where=where, label=label, classes=", ".join(CLASSES))
    return Sample(
        line, texts["instruction"], row["four_class_label"], texts["input"], texts["output"], texts["system"],
        texts["domain_label"], str(row.get("id", "")),
    )  # fmt: skip
