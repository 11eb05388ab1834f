"""A/B tests as a page reads them: their figures, and the rows on which the two models differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from so8t_engine.errors import sentence
from so8t_engine.evaluations import joined, readable, results_in
from so8t_engine.runs import AbTest

VERSION = 1
SIDES = ("base", "retrained")
PARTS = {
    "id": str, "created": str, "seconds": float, "models": dict, "data": dict, "machine": dict, "settings": dict,
    "modes": dict, "winner": dict,
}  # fmt: skip
"""What results must hold, and as what."""

CHANGES = {
    (False, True): "fixed",
    (True, False): "broken",
    (False, False): "both_wrong",
    (True, True): "both_right",
}
"""By whether the base, and whether the retrained model, was right."""


@dataclass(frozen=True)
class Finished:
    """One A/B test with results. results: ab_test_results.json as it stands."""

    place: AbTest
    results: dict

    @property
    def id(self) -> str:
        return self.place.id

    @property
    def folder(self) -> Path:
        return self.place.folder

    def cases(self, mode: str) -> list[dict]:
        """The rows that both models have decided in this mode; see `cases`."""
        return cases(self.place, mode)

    def verdict(self, part: str, language: str) -> str:
        """The sentence on who won and why ("what"), or on what to do next ("hint")."""
        found = self.results["winner"]
        return verdict(found["winner"], found["code"], found["facts"], part, language)


def read(folder: Path) -> Finished:
    """The A/B test in this folder. Raises BadInput when it has no results, or results that can't be read."""
    place = AbTest(folder)
    return Finished(place, results_in(place.results, VERSION, PARTS))


def finished(root: Path) -> list[Finished]:
    """Every A/B test with readable results under `root` and in its runs, newest first."""
    return readable(AbTest.all(root), read)


def interrupted(root: Path) -> list[AbTest]:
    """A/B tests that were begun and have no results, newest first."""
    return [place for place in AbTest.all(root) if not place.results.exists()]


def verdict(winner: str | None, code: str, facts: Mapping[str, str], part: str, language: str) -> str:
    """The sentence `part` ("what" or "hint") of a verdict, as AbTestFinished and the results hold it."""
    side = winner if code == "better" else facts["side"] if code == "unsafe" else None
    metric = sentence(f"ab_test.by_{facts['metric']}", "what", language, {})
    return sentence(
        f"ab_test.{code}_{side}" if side else f"ab_test.{code}", part, language, {**facts, "metric": metric}
    )


def about(rows: int) -> str:
    """How many rows would be needed, as a person is told: an estimate has two digits, and is rounded up."""
    step = 10 ** max(len(str(rows)) - 2, 0)
    return f"{-(-rows // step) * step:,}"


def cases(place: AbTest, mode: str) -> list[dict]:
    """The rows of rows.jsonl that both models have decided in this mode, in their order.

    Each holds its line of either journal under "base" and "retrained", and under "change" one of CHANGES.
    Raises BadInput when the rows can't be read.
    """
    rows = joined(place.rows, {side: place.answers(side, mode) for side in SIDES})
    both = [row for row in rows if all(side in row for side in SIDES)]
    return [row | {"change": CHANGES[tuple(row[side]["given"] == row["expected"] for side in SIDES)]} for row in both]
