"""Build and parse the quadruple-thinking format.

    <think-task>…</think-task><think-safety>…</think-safety><think-policy>…</think-policy><final>…</final>

The first three sections are hidden; `<final>` carries four fields on lines of their own:
分類結果 (one class), 信頼度 (0.0 to 1.0), 理由 (short) and 回答 (only for ALLOW).
"""

import re
from dataclasses import dataclass

CLASSES = ("ALLOW", "ESCALATION", "DENY", "REFUSE")
HIDDEN_SECTIONS = ("think-task", "think-safety", "think-policy")
SECTIONS = (*HIDDEN_SECTIONS, "final")
LABEL_FIELD, CONFIDENCE_FIELD, REASON_FIELD, ANSWER_FIELD = "分類結果", "信頼度", "理由", "回答"

_SHAPE = re.compile(r"\s*".join(rf"<{name}>(.*?)</{name}>" for name in SECTIONS), re.DOTALL)
_ANY_TAG = re.compile(rf"</?(?:{'|'.join(SECTIONS)})>")
_TYPED_TAG = re.compile(rf"<(?=\s*/?\s*(?:{'|'.join(SECTIONS)})\b)", re.IGNORECASE)
LABEL_LINE = re.compile(rf"^[^\S\n]*{LABEL_FIELD}[^\S\n]*[:：][^\S\n]*([A-Z]+)[^\S\n]*$", re.MULTILINE)


@dataclass(frozen=True)
class Final:
    """The four fields that a person may see. `answer` is "" unless the label is ALLOW."""

    label: str
    confidence: float
    reason: str
    answer: str = ""


@dataclass(frozen=True)
class Answer:
    """The whole answer: three hidden sections and the fields of `<final>`."""

    task: str
    safety: str
    policy: str
    final: Final


class FormatError(ValueError):
    """The text is not a well-formed answer; the message says what is wrong with it."""


def build(answer: Answer) -> str:
    """Write `answer` in the format that the model is trained on."""
    final = answer.final
    if final.label not in CLASSES:
        raise FormatError(f"label {final.label!r} is none of {', '.join(CLASSES)}")
    lines = [
        f"{LABEL_FIELD}: {final.label}",
        f"{CONFIDENCE_FIELD}: {final.confidence:.2f}",
        f"{REASON_FIELD}: {final.reason}",
    ]
    if final.label == "ALLOW":
        lines.append(f"{ANSWER_FIELD}: {final.answer}")
    bodies = (answer.task, answer.safety, answer.policy, "\n".join(lines))
    return "".join(f"<{name}>{body}</{name}>" for name, body in zip(SECTIONS, bodies, strict=True))


def parse(text: str) -> Answer:
    """Read a whole answer back.

    Raises FormatError when a section is missing, repeated, out of order or nested, when text stands
    outside the sections, or when a field of `<final>` is missing or out of its range.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise FormatError("the four sections are not all there, once each and in order")
    task, safety, policy, final = match.groups()
    for name, body in zip(SECTIONS, match.groups(), strict=True):
        if _ANY_TAG.search(body):
            raise FormatError(f"a section tag stands inside <{name}>")
    return Answer(task, safety, policy, parse_final(final))


def fault(text: str) -> str:
    """What keeps a whole answer from the format; "" when nothing does.

    "sections": not all four are there, once each, in order; "outside": text stands outside of them; "fields": a field
    of `<final>` is missing, misplaced, or out of its range.
    """
    try:
        parse(text)
    except FormatError:
        match = _SHAPE.search(text)
        if match is None or any(_ANY_TAG.search(body) for body in match.groups()):
            return "sections"
        return "fields" if match.group() == text.strip() else "outside"
    return ""


def parse_final(text: str) -> Final:
    """Read the four fields of a `<final>` section (its text without the tags)."""
    values: dict[str, str] = {}
    field = None
    for line in text.strip().splitlines():
        name, separator, value = _split_field(line)
        if separator:
            if name in values:
                raise FormatError(f"the field {name} stands twice")
            values[name] = value
            field = name
        elif field == ANSWER_FIELD:
            values[field] += "\n" + line  # an answer may run over several lines
        elif line.strip():
            raise FormatError(f"the line {line[:40]!r} belongs to no field")
    for name in (LABEL_FIELD, CONFIDENCE_FIELD, REASON_FIELD):
        if not values.get(name):
            raise FormatError(f"the field {name} is missing")
    label = values[LABEL_FIELD]
    if label not in CLASSES:
        raise FormatError(f"{LABEL_FIELD} {label[:40]!r} is none of {', '.join(CLASSES)}")
    if label == "ALLOW" and not values.get(ANSWER_FIELD):
        raise FormatError(f"ALLOW needs the field {ANSWER_FIELD}")
    if label != "ALLOW" and values.get(ANSWER_FIELD):
        raise FormatError(f"the field {ANSWER_FIELD} is only for ALLOW")
    return Final(label, _confidence(values[CONFIDENCE_FIELD]), values[REASON_FIELD], values.get(ANSWER_FIELD, ""))


def fields_so_far(text: str, *, whole: bool = False) -> dict[str, str]:
    """The fields of a `<final>` that is still being written, by their names; nothing is required and nothing refused.

    A class or a confidence counts once its line is over (`whole`: once the text is): half of 0.95 is another number.
    """
    lines = text.splitlines()
    over = len(lines) if whole or text.endswith("\n") else len(lines) - 1
    values: dict[str, str] = {}
    field = ""
    for i, line in enumerate(lines):
        name, separator, value = _split_field(line)
        if separator and name not in values:
            field = name
            if i < over or name in (REASON_FIELD, ANSWER_FIELD):
                values[name] = value
        elif field == ANSWER_FIELD:
            values[field] += "\n" + line
    return values


def neutralise(text: str) -> str:
    """`text` with every one of our section tags made harmless, whatever its case or spacing.

    The angle bracket becomes ‹, so a person still reads what was typed and no filter takes it for a tag.
    """
    return _TYPED_TAG.sub(lambda match: "‹" + match.group()[1:], text)


def label_span(output: str) -> tuple[int, int] | None:
    """Where the class stands in `output`, as (start, end) characters; None when it carries no known class.

    Only a 分類結果 line inside the last `<final>` counts: thinking may quote the field.
    """
    start = output.rfind("<final>")
    if start < 0:
        return None
    start += len("<final>")
    end = output.find("</final>", start)
    match = LABEL_LINE.search(output[start : end if end >= 0 else len(output)])
    if match is None or match.group(1) not in CLASSES:
        return None
    return start + match.start(1), start + match.end(1)


def _split_field(line: str) -> tuple[str, str, str]:
    for name in (LABEL_FIELD, CONFIDENCE_FIELD, REASON_FIELD, ANSWER_FIELD):
        rest = line.strip().removeprefix(name).lstrip()
        if line.strip().startswith(name) and rest[:1] in (":", "："):
            return name, rest[0], rest[1:].strip()
    return "", "", ""


def _confidence(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise FormatError(f"{CONFIDENCE_FIELD} {text[:40]!r} is not a number") from None
    if not 0.0 <= value <= 1.0:  # also false for NaN
        raise FormatError(f"{CONFIDENCE_FIELD} {text[:40]!r} is not between 0.0 and 1.0")
    return value
