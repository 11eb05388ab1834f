"""The general benchmarks: which there are, where each one's data is looked for, and how a file's rows are read."""

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from so8t_engine.errors import BadInput
from so8t_engine.settings import ROOT

GROUPS = {
    "glue": ("sst2", "mrpc", "qqp"),
    "superglue": ("boolq", "cb", "copa"),
    "japanese": ("jcommonsenseqa", "jnli", "jsquad"),
}
"""Every benchmark, in the order in which they run."""

DEFINITIONS = ROOT / "configs" / "benchmarks"

_SPLITS = dict.fromkeys(("validation", "valid", "val", "dev"), "validation") | {"train": "train"}
_FILE = re.compile(rf"(?:(?P<task>.+?)[-_.])?(?P<split>{'|'.join(_SPLITS)})[-_.](?:.*\.)?(?:jsonl|json|parquet)")
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.")


@dataclass(frozen=True)
class Task:
    """One benchmark.

    texts: fields of a row that must hold a text. labels: names of the answers to choose from, in the order of their
    numbers; () where the model writes and a row has `answers`. harness: the definition that lm-evaluation-harness runs.
    """

    group: str
    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    harness: dict[str, Any]

    @classmethod
    def load(cls, group: str, name: str) -> "Task":
        """The task as its file in configs/benchmarks defines it."""
        definition = yaml.safe_load((DEFINITIONS / f"{name}.yaml").read_text(encoding="utf-8"))
        texts, labels = definition.pop("texts"), definition.pop("labels", ())
        return cls(group, name, tuple(texts), tuple(labels), definition)


def choose(names: Sequence[str]) -> list[Task]:
    """The tasks of these groups and single names, each once. Raises BadInput for a name that is neither."""
    for name in names:
        if name not in GROUPS and not any(name in tasks for tasks in GROUPS.values()):
            known = ", ".join([*GROUPS, *(task for tasks in GROUPS.values() for task in tasks)])
            raise BadInput("benchmarks.unknown_task", where="benchmarks.tasks", name=name, known=known)
    return [
        Task.load(group, task)
        for group, tasks in GROUPS.items()
        for task in tasks
        if group in names or task in names
    ]  # fmt: skip


def read(task: Task, files: Sequence[Path]) -> list[dict[str, Any]]:
    """All rows of these files, with the fields that the task's templates name. Raises BadInput for a bad file or row."""
    rows = [_row(task, raw, where) for file in files for where, raw in _raw(file)]
    if not rows:
        raise BadInput("benchmarks.no_rows", where=str(files[0]))
    return rows


def draw(rows: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` of the rows, drawn by the seed, in their order; all of them when there are no more, or for 0."""
    if not 0 < count < len(rows):
        return rows
    return [rows[index] for index in sorted(random.Random(seed).sample(range(len(rows)), count))]


def find(name: str, folder: Path, split: str) -> list[Path]:
    """The files of a split ("validation", "train"): in the task's own folder, or in `folder` under the task's name.

    Of several versions the newest, of a file in parts all of them. Raises BadInput "benchmarks.data_missing" with the
    place looked for when there is none, and when a part is missing.
    """
    try:
        inside = [sub for sub in sorted(folder.iterdir(), reverse=True) if sub.is_dir() and _plain(sub.name) == name]
        for place, prefixes in [*((sub, ("", name)) for sub in inside), (folder, (name,))]:
            found = [file for file in sorted(place.iterdir()) if _holds(file, prefixes, split)]
            if found:
                return _whole(found)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise BadInput("benchmarks.unreadable", where=str(folder), reason=error.strerror or error) from None
    raise BadInput("benchmarks.data_missing", where=str(folder / name), split=split)


def _holds(file: Path, prefixes: tuple[str, ...], split: str) -> bool:
    match = _FILE.fullmatch(file.name.lower())
    return bool(match) and _SPLITS[match["split"]] == split and _plain(match["task"] or "") in prefixes


def _plain(name: str) -> str:
    """A folder's or file's name as a task is called: BoolQ, SST-2, jsquad-v1.3 are boolq, sst2, jsquad."""
    return re.sub(r"[-_.]", "", re.sub(r"[-_]v\d[\d.]*$", "", name.lower()))


def _whole(found: list[Path]) -> list[Path]:
    """Of these files of one split the last one, with its other parts if it is one of several."""
    last = _SHARD.search(found[-1].name)
    if not last:
        return found[-1:]
    parts = [file for file in found if (part := _SHARD.search(file.name)) and part[1] == last[1]]
    if len(parts) != int(last[1]):
        raise BadInput("benchmarks.part_missing", where=str(found[-1]), found=len(parts), wanted=int(last[1]))
    return parts


def _raw(file: Path) -> Iterator[tuple[str, Any]]:
    """Each row of a file with its place."""
    try:
        if file.suffix.lower() == ".parquet":
            import pyarrow.parquet  # comes with the harness

            rows: Sequence[Any] = pyarrow.parquet.read_table(file).to_pylist()
        else:
            text = file.read_bytes().decode("utf-8-sig")
            whole = _parsed(text)
            if isinstance(whole, dict) and "data" in whole:
                yield from _questions(file, whole)
                return
            rows = whole if isinstance(whole, list) else text.split("\n")
    except (OSError, ValueError) as error:  # pyarrow's errors are among these two
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise BadInput("benchmarks.unreadable", where=str(file), reason=reason) from None
    for number, row in enumerate(rows, start=1):
        where = f"{file}:{number}"
        if isinstance(row, str) and not row.strip():
            continue
        yield where, _object(row, where) if isinstance(row, str) else row


def _parsed(text: str) -> Any:
    """The JSON that a file is as a whole; None when it isn't: then each line is one."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _object(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BadInput("benchmarks.unreadable", where=where, reason=error) from None


def _questions(file: Path, whole: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The questions of a file in SQuAD's form: articles of paragraphs of questions."""
    try:
        for article in whole["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield f"{file}: {question.get('id', '')}", {**question, "context": paragraph["context"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput("benchmarks.unreadable", where=str(file), reason=f"not in SQuAD's form ({error})") from None


def _row(task: Task, raw: Any, where: str) -> dict[str, Any]:
    """A row with the fields that the templates name and no others."""
    if not isinstance(raw, dict):
        raise BadInput("benchmarks.unreadable", where=where, reason="not an object")
    for field in task.texts:
        if not isinstance(raw.get(field), str):
            raise BadInput("benchmarks.no_text", where=where, field=field)
    row = {field: raw[field] for field in task.texts}
    if task.labels:
        return row | {"label": _label(task, raw.get("label"), where)}
    return row | {"answers": {"text": _answers(raw.get("answers"), where)}}


def _label(task: Task, label: Any, where: str) -> int:
    """The number of a label that is given by its name, its number, or as true or false."""
    if isinstance(label, str) and label in task.labels:
        return task.labels.index(label)
    if isinstance(label, int) and 0 <= label < len(task.labels):
        return int(label)
    raise BadInput("benchmarks.bad_label", where=where, label=label, known=", ".join(task.labels))


def _answers(answers: Any, where: str) -> list[str]:
    """The texts of SQuAD's answers, as a list of answers or as one object of lists."""
    texts = answers.get("text") if isinstance(answers, dict) else answers
    if not isinstance(texts, list):
        raise BadInput("benchmarks.no_text", where=where, field="answers")
    found = [one.get("text") if isinstance(one, dict) else one for one in texts]
    if not found or not all(isinstance(one, str) for one in found):
        raise BadInput("benchmarks.no_text", where=where, field="answers")
    return found
