"""Read JSONL files of four-class rows. A bad line is named by file and physical line; nothing is dropped unasked."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from so8t_engine.data.samples import Sample, sample
from so8t_engine.errors import BadInput

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Dataset:
    """The good rows of a file, and what was skipped because the config said so."""

    file: Path
    samples: tuple[Sample, ...]
    skipped: tuple[BadInput, ...] = ()


def read(file: Path, *, on_bad_row: str = "error") -> Dataset:
    """All rows of `file`.

    on_bad_row: "error" raises the first fault, "skip" leaves bad rows out and keeps their faults in `skipped`.
    Raises BadInput when the file is missing, unreadable, or holds no good row.
    """
    samples, skipped = [], []
    for item in rows(file):
        if isinstance(item, Sample):
            samples.append(item)
        elif on_bad_row == "skip":
            skipped.append(item)
        else:
            raise item
    if not samples:
        raise BadInput("data.no_rows", where=str(file), skipped=len(skipped))
    return Dataset(file, tuple(samples), tuple(skipped))


def rows(file: Path) -> Iterator[Sample | BadInput]:
    """Each row of `file`, or the fault that stands in its place. Blank lines hold no row."""
    for number, line in enumerate(_content(file).split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            yield sample(_json(line, where), line=number, where=where)
        except BadInput as fault:
            yield fault


def fingerprint(file: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    return hashlib.sha256(_content(file)).hexdigest()


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes().removeprefix(_BOM)
    except FileNotFoundError:
        raise BadInput("data.missing", where=str(file)) from None
    except OSError as error:
        raise BadInput("data.unreadable", where=str(file), reason=error.strerror or error) from None


def _json(line: bytes, where: str) -> Any:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput("data.not_utf8", where=where, position=error.start + 1) from None
    try:
        return json.loads(text, object_pairs_hook=_no_double_keys, parse_constant=_no_nan)
    except _Refused as refused:
        raise BadInput(refused.code, where=where, **refused.facts) from None
    except json.JSONDecodeError as error:
        raise BadInput("data.not_json", where=where, reason=error.msg, column=error.colno) from None
    except RecursionError:
        raise BadInput("data.not_json", where=where, reason="nested too deeply", column=1) from None


class _Refused(Exception):
    """JSON that Python would take and we do not."""

    def __init__(self, code: str, **facts: str) -> None:
        super().__init__(code)
        self.code, self.facts = code, facts


def _no_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Refused("data.double_key", field=next(name for name in names if names.count(name) > 1))
    return row


def _no_nan(name: str) -> NoReturn:
    raise _Refused("data.not_number", value=name)
