"""Finished evaluations as a page reads them: their figures, their cases, and two of them side by side."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from so8t_engine.errors import BadInput
from so8t_engine.measure.metrics import Summary, summary
from so8t_engine.measure.statistics import sign_test
from so8t_engine.runs import Evaluation, Work

T = TypeVar("T")

VERSION = 1
MODES = ("scored", "generated")
REFUSING = ("DENY", "REFUSE")
PARTS = {
    "id": str, "created": str, "seconds": float, "model": dict, "data": dict, "machine": dict, "settings": dict,
    "modes": dict, "benchmarks": list,
}  # fmt: skip
"""What results must hold, and as what."""


@dataclass(frozen=True)
class Finished:
    """One evaluation with results. results: evaluation_results.json as it stands."""

    place: Evaluation
    results: dict

    @property
    def id(self) -> str:
        return self.place.id

    @property
    def folder(self) -> Path:
        return self.place.folder

    def cases(self) -> list[dict]:
        """Every row with what was given; see `cases`."""
        return cases(self.place)

    def wrong(self, mode: str) -> list[dict]:
        """The cases that were given another class than expected, or none, the most harmful first."""
        found = (c for c in self.cases() if mode in c and c[mode]["given"] != c["expected"])
        return sorted(found, key=lambda case: (harm(case["expected"], case[mode]["given"]), case["index"]))

    def compared(self, other: "Finished", mode: str) -> "Comparison":
        """This one and another on the rows (by content and expected class) that both have measured in this mode.

        Raises BadInput when there is none.
        """
        return _compared(self, other, mode)


@dataclass(frozen=True)
class Comparison:
    """Two evaluations on the rows that both have measured.

    rows: how many they share. first, second: their metrics on these rows. both, neither: rows that both, or none, got
    right; only_first, only_second: rows that one alone got right.
    p: exact two-sided probability that two equally good models differ so unevenly (the sign test on the rows that one
    alone got right, which is McNemar's exact test); None where there is no such row.
    changed: (case of the first, case of the second) where the given class differs, those that lost the right one first.
    """

    mode: str
    rows: int
    first: Summary
    second: Summary
    both: int
    neither: int
    only_first: int
    only_second: int
    p: float | None
    changed: tuple[tuple[dict, dict], ...]


def read(folder: Path) -> Finished:
    """The evaluation in this folder. Raises BadInput when it has no results, or results that can't be read."""
    place = Evaluation(folder)
    return Finished(place, results_in(place.results, VERSION, PARTS))


def finished(root: Path) -> list[Finished]:
    """Every evaluation with readable results under `root` and in its runs, newest first."""
    return readable(Evaluation.all(root), read)


def interrupted(root: Path) -> list[Evaluation]:
    """Evaluations that were begun and have no results, newest first."""
    return [place for place in Evaluation.all(root) if not place.results.exists()]


def cases(place: Evaluation) -> list[dict]:
    """The rows of rows.jsonl, each with "scored" and "generated" as far as they were measured.

    Raises BadInput when the rows can't be read.
    """
    return joined(place.rows, {mode: place.answers(mode) for mode in MODES})


def results_in(file: Path, version: int, parts: dict[str, type]) -> dict:
    """The results in a file. Raises BadInput when there are none, when they are of another version, and when one of
    `parts` is missing or of another type."""
    try:
        results = _results(file, file.stat().st_mtime_ns)
    except FileNotFoundError:
        raise BadInput("evaluate.no_results", where=str(file.parent)) from None
    except (OSError, ValueError) as error:
        raise BadInput("evaluate.bad_results", where=str(file), reason=error) from None
    if results.get("version") != version:
        raise BadInput("evaluate.bad_results", where=str(file), reason=f"version {results.get('version')}")
    lacking = [name for name, kind in parts.items() if not isinstance(results.get(name), kind)]
    if lacking:
        raise BadInput("evaluate.bad_results", where=str(file), reason=f"no {', '.join(lacking)}")
    return results


def readable(places: Iterable[Work], read: Callable[[Path], T]) -> list[T]:
    """What `read` finds in these folders; what was interrupted, or is of another version, is left out."""
    found = []
    for place in places:
        with suppress(BadInput):
            found.append(read(place.folder))
    return found


def joined(rows: Path, journals: dict[str, Path]) -> list[dict]:
    """The rows of a file, each with its line of every journal that has one, under the journal's name.

    Raises BadInput when the rows can't be read.
    """
    try:
        found = {row["index"]: row for row in lines(rows)}
    except (OSError, KeyError) as error:
        raise BadInput("evaluate.bad_results", where=str(rows), reason=error) from None
    for name, file in journals.items():
        for entry in lines(file) if file.exists() else ():
            if entry.get("index") in found:
                found[entry["index"]][name] = entry
    return list(found.values())


def _compared(first: Finished, second: Finished, mode: str) -> Comparison:
    left, right = ({(c["hash"], c["expected"]): c for c in one.cases() if mode in c} for one in (first, second))
    shared = [(left[key], right[key]) for key in left if key in right]
    if not shared:
        raise BadInput("evaluate.nothing_shared", first=first.id, second=second.id)
    expected = [a["expected"] for a, _ in shared]
    hits = [(a[mode]["given"] == a["expected"], b[mode]["given"] == b["expected"]) for a, b in shared]
    only_first, only_second = hits.count((True, False)), hits.count((False, True))
    changed = [pair for pair in shared if pair[0][mode]["given"] != pair[1][mode]["given"]]
    changed.sort(key=lambda pair: (pair[0][mode]["given"] != pair[0]["expected"], pair[0]["index"]))
    return Comparison(
        mode=mode, rows=len(shared),
        first=summary(expected, [a[mode]["given"] for a, _ in shared]),
        second=summary(expected, [b[mode]["given"] for _, b in shared]),
        both=hits.count((True, True)), neither=hits.count((False, False)), only_first=only_first,
        only_second=only_second, p=sign_test(only_first, only_second)[0] if only_first + only_second else None,
        changed=tuple(changed),
    )  # fmt: skip


def harm(expected: str, given: str) -> int:
    """0: what should be turned down was allowed; 1: what may be answered was turned down; 2: the rest."""
    if given == "ALLOW" and expected in REFUSING:
        return 0
    return 1 if expected == "ALLOW" and given in REFUSING else 2


def lines(file: Path) -> list[dict]:
    """Every whole line of a file of JSON objects. Half a line is what a power failure left. Raises OSError."""
    found = []
    for line in file.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


@lru_cache(256)
def _results(file: Path, _written: int) -> dict:
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
