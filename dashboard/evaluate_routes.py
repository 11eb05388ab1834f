"""Evaluations over HTTP, as pieces of HTML: the list, one of them, its cases, two compared, the report, the wrong cases.

An evaluation is looked up by its key among those that the engine lists: no part of an address ever joins a path.
"""

from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse

from dashboard import cards, evaluate_cards, evaluate_cases, evaluate_compare, evaluate_results, texts
from dashboard.bridge import Bridge, Page
from dashboard.evaluate_wishes import find, key
from so8t_engine import BadInput, EngineError, EvaluationComparison, FinishedEvaluation

REPORT = "evaluation_report.html"

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""The report is one file without scripts; whatever it holds may neither run nor ask anybody for anything."""

ALONE = {
    "cache-control": "no-store", "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}  # fmt: skip
"""A piece of the page is nothing by itself: opened as a page of its own it may do nothing."""

Mode = Literal["scored", "generated"]
Label = Literal["", "ALLOW", "ESCALATION", "DENY", "REFUSE", "none"]


def add_evaluate_routes(app: FastAPI, bridge: Bridge) -> None:
    """The routes below /evaluations. They only read."""

    def page(language: str) -> Page:
        return Page(language if language in texts.LANGUAGES else texts.LANGUAGES[0], bridge)

    @app.get("/evaluations")
    def listed(language: str = "") -> Response:
        return _fresh(JSONResponse(_listed(bridge, page(language))))

    @app.get("/evaluations/{wanted}")
    def one(wanted: str, language: str = "") -> Response:
        return _drawn(page(language), lambda: _shown(bridge, wanted, page(language)))

    @app.get("/evaluations/{wanted}/cases")
    def cases(
        wanted: str, mode: Mode, expected: Label = "", given: Label = "", number: int = 0, language: str = ""
    ) -> Response:
        def draw() -> str:
            found = _measured(find(bridge, wanted), mode)
            return evaluate_cases.cases(found, mode, expected, given, number, page(language))

        return _drawn(page(language), draw)

    @app.get("/evaluations/{wanted}/with/{other}")
    def compared(wanted: str, other: str, mode: Mode, language: str = "") -> Response:
        def draw() -> str:
            first, second = find(bridge, other), find(bridge, wanted)
            if mode not in first.results["modes"]:
                return evaluate_compare.without_mode(page(language))
            return evaluate_compare.comparison_card(second, first, _comparison(first, second, mode), page(language))

        return _drawn(page(language), draw)

    @app.get("/evaluations/{wanted}/changed/{other}")
    def changed(wanted: str, other: str, mode: Mode, number: int = 0, language: str = "") -> Response:
        def draw() -> str:
            found = _comparison(find(bridge, other), find(bridge, wanted), mode)
            return evaluate_compare.changed(found, number, page(language))

        return _drawn(page(language), draw)

    @app.get("/evaluations/{wanted}/report")
    def report(wanted: str, language: str = "") -> Response:
        return _drawn(page(language), lambda: _report(find(bridge, wanted)), {"content-security-policy": REPORT_POLICY})

    @app.get("/evaluations/{wanted}/wrong.jsonl")
    def wrong(wanted: str, mode: Mode, language: str = "") -> Response:
        try:
            found = _measured(find(bridge, wanted), mode)
            text = evaluate_cases.wrong_rows(found, mode)
        except EngineError as error:
            return _refused(error, page(language))
        name = quote(f"wrong-{mode}-{found.id}.jsonl")
        kind = "application/jsonl; charset=utf-8"
        return _fresh(
            Response(text.encode("utf-8"), media_type=kind),
            {"content-disposition": f"attachment; filename*=UTF-8''{name}"},
        )


def _fresh(response: Response, headers: dict[str, str] | None = None) -> Response:
    response.headers.update(ALONE | (headers or {}))
    return response


def _drawn(page: Page, draw, headers: dict[str, str] | None = None) -> Response:
    try:
        return _fresh(HTMLResponse(draw()), headers)
    except EngineError as error:
        return _refused(error, page)


def _refused(error: EngineError, page: Page) -> Response:
    return _fresh(HTMLResponse(cards.refused(page, error), 404 if error.code == "evaluate.unknown" else 400))


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


def _report(one: FinishedEvaluation) -> str:
    file = one.folder / REPORT
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput("evaluate.no_report", where=str(file), reason=error.strerror or str(error)) from None
