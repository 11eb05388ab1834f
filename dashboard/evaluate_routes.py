"""Evaluations over HTTP, as pieces of HTML: the list, one of them, its cases, two compared, the report, the wrong cases.

An evaluation is looked up by its key among those that the engine lists: no part of an address ever joins a path.
"""

from functools import lru_cache, partial
from typing import Literal

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from dashboard import evaluate_cards, evaluate_cases, evaluate_compare, evaluate_results, pieces
from dashboard.bridge import Bridge, Page
from dashboard.evaluate_wishes import find, key
from dashboard.pieces import drawn, fresh
from so8t_engine import BadInput, EngineError, EvaluationComparison, FinishedEvaluation

REPORT = "evaluation_report.html"

Mode = Literal["scored", "generated"]
Label = Literal["", "ALLOW", "ESCALATION", "DENY", "REFUSE", "none"]


def add_evaluate_routes(app: FastAPI, bridge: Bridge) -> None:
    """The routes below /evaluations. They only read."""
    page = partial(pieces.page_of, bridge=bridge)

    @app.get("/evaluations")
    def listed(language: str = "") -> Response:
        return fresh(JSONResponse(_listed(bridge, page(language))))

    @app.get("/evaluations/{wanted}")
    def one(wanted: str, language: str = "") -> Response:
        return drawn(page(language), lambda: _shown(bridge, wanted, page(language)))

    @app.get("/evaluations/{wanted}/cases")
    def cases(
        wanted: str, mode: Mode, expected: Label = "", given: Label = "", number: int = 0, language: str = ""
    ) -> Response:
        def draw() -> str:
            found = _measured(find(bridge, wanted), mode)
            return evaluate_cases.cases(found, mode, expected, given, number, page(language))

        return drawn(page(language), draw)

    @app.get("/evaluations/{wanted}/with/{other}")
    def compared(wanted: str, other: str, mode: Mode, language: str = "") -> Response:
        def draw() -> str:
            first, second = find(bridge, other), find(bridge, wanted)
            if mode not in first.results["modes"]:
                return evaluate_compare.without_mode(page(language))
            return evaluate_compare.comparison_card(second, first, _comparison(first, second, mode), page(language))

        return drawn(page(language), draw)

    @app.get("/evaluations/{wanted}/changed/{other}")
    def changed(wanted: str, other: str, mode: Mode, number: int = 0, language: str = "") -> Response:
        def draw() -> str:
            found = _comparison(find(bridge, other), find(bridge, wanted), mode)
            return evaluate_compare.changed(found, number, page(language))

        return drawn(page(language), draw)

    @app.get("/evaluations/{wanted}/report")
    def report(wanted: str, language: str = "") -> Response:
        return drawn(
            page(language),
            lambda: pieces.report(find(bridge, wanted).folder / REPORT, "evaluate.no_report"),
            pieces.REPORT,
        )

    @app.get("/evaluations/{wanted}/wrong.jsonl")
    def wrong(wanted: str, mode: Mode, language: str = "") -> Response:
        def draw() -> tuple[str, str]:
            found = _measured(find(bridge, wanted), mode)
            return f"wrong-{mode}-{found.id}.jsonl", evaluate_cases.wrong_rows(found, mode)

        return pieces.rows_file(page(language), draw)


def _listed(bridge: Bridge, page: Page) -> dict:
    """The models to choose from and every evaluation. keys: newest first."""
    found = bridge.engine.evaluations()
    snapshot = bridge.engine.snapshot()
    running = key(snapshot.evaluation.folder) if snapshot.active and snapshot.evaluation else ""
    begun = [place for place in bridge.engine.interrupted() if key(place.folder) != running]
    try:
        models = evaluate_cards.options(bridge.engine.voices(bridge.settings()), page)
    except EngineError:
        models = ""  # the note under the button says what is wrong with the settings
    return {
        "models": models,
        "keys": [key(one.folder) for one in found],
        "list": evaluate_cards.listed(found, page),
        "interrupted": evaluate_cards.interrupted(begun, page),
        "empty": evaluate_results.empty(page),
    }


def _shown(bridge: Bridge, wanted: str, page: Page) -> str:
    one, found = find(bridge, wanted), bridge.engine.evaluations()
    others = [other for other in found if other.folder != one.folder]
    return evaluate_results.shown(one, others, newest=found[0].folder == one.folder, page=page)


def _measured(one: FinishedEvaluation, mode: str) -> FinishedEvaluation:
    if mode not in one.results["modes"]:
        raise BadInput("evaluate.not_measured", where=str(one.folder), mode=mode)
    return one


def _comparison(first: FinishedEvaluation, second: FinishedEvaluation, mode: str) -> EvaluationComparison:
    """Kept while a person turns its pages: the intervals take a moment."""
    for one in (first, second):
        _measured(one, mode)
    return _compared(_Pair(first, second), mode)


class _Pair:
    """Two evaluations, equal to another pair of the same files as they were written."""

    def __init__(self, first: FinishedEvaluation, second: FinishedEvaluation) -> None:
        self.first, self.second = first, second
        self._same = tuple((one.place.results, one.place.results.stat().st_mtime_ns) for one in (first, second))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pair) and self._same == other._same

    def __hash__(self) -> int:
        return hash(self._same)


@lru_cache(8)
def _compared(pair: _Pair, mode: str) -> EvaluationComparison:
    return pair.first.compared(pair.second, mode)
