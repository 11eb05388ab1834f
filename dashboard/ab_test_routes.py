"""A/B tests over HTTP, as pieces of HTML: the list, one of them, its cases, the report, the cases as a file.

A test is looked up by its key among those that the engine lists: no part of an address ever joins a path.
"""

from functools import partial
from typing import Literal

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from dashboard import ab_test_cards, ab_test_cases, ab_test_results, pieces
from dashboard.ab_test_cases import Choice
from dashboard.ab_test_wishes import find
from dashboard.bridge import Bridge, Page
from dashboard.evaluate_routes import Label, Mode
from dashboard.evaluate_wishes import key
from dashboard.pieces import drawn, fresh
from so8t_engine import BadInput, EngineError, FinishedAbTest

REPORT = "ab_test_report.html"

Change = Literal["differ", "fixed", "broken", "both_wrong"]
Side = Literal["", "base", "retrained"]


def add_ab_test_routes(app: FastAPI, bridge: Bridge) -> None:
    """The routes below /ab_tests. They only read."""
    page = partial(pieces.page_of, bridge=bridge)

    @app.get("/ab_tests")
    def listed(language: str = "") -> Response:
        return fresh(JSONResponse(_listed(bridge, page(language))))

    @app.get("/ab_tests/{wanted}")
    def one(wanted: str, language: str = "") -> Response:
        return drawn(page(language), lambda: ab_test_results.shown(find(bridge, wanted), page(language)))

    @app.get("/ab_tests/{wanted}/cases")
    def cases(
        wanted: str, mode: Mode, change: Change = "differ", side: Side = "", expected: Label = "", given: Label = "",
        number: int = 0, language: str = "",
    ) -> Response:  # fmt: skip
        def draw() -> str:
            found = _measured(find(bridge, wanted), mode)
            return ab_test_cases.cases(found, Choice(mode, change, side, expected, given), number, page(language))

        return drawn(page(language), draw)

    @app.get("/ab_tests/{wanted}/cases.jsonl")
    def rows(
        wanted: str, mode: Mode, change: Change = "differ", side: Side = "", expected: Label = "", given: Label = "",
        language: str = "",
    ) -> Response:  # fmt: skip
        def draw() -> tuple[str, str]:
            found = _measured(find(bridge, wanted), mode)
            text = ab_test_cases.rows(found, Choice(mode, change, side, expected, given))
            return f"{change}-{mode}-{found.id}.jsonl", text

        return pieces.rows_file(page(language), draw)

    @app.get("/ab_tests/{wanted}/report")
    def report(wanted: str, language: str = "") -> Response:
        return drawn(
            page(language),
            lambda: pieces.report(find(bridge, wanted).folder / REPORT, "ab_test.no_report"),
            pieces.REPORT,
        )


def _listed(bridge: Bridge, page: Page) -> dict:
    """The models to choose from on each side, and every test. keys: newest first."""
    found = bridge.engine.ab_tests()
    snapshot = bridge.engine.snapshot()
    running = key(snapshot.ab_test.folder) if snapshot.active and snapshot.ab_test else ""
    begun = [place for place in bridge.engine.interrupted_ab_tests() if key(place.folder) != running]
    models, no_runs = {"base": "", "retrained": ""}, ""
    try:
        models = ab_test_cards.models(bridge.engine.voices(bridge.settings()), page)
        no_runs = "" if models["retrained"] else ab_test_cards.no_runs(page)
    except EngineError:
        pass  # the note under the button says what is wrong with the settings
    return {
        "models": models, "no_runs": no_runs, "keys": [key(one.folder) for one in found],
        "list": ab_test_cards.listed(found, page), "interrupted": ab_test_cards.interrupted(begun, page),
        "empty": ab_test_results.empty(page),
    }  # fmt: skip


def _measured(one: FinishedAbTest, mode: str) -> FinishedAbTest:
    if mode not in one.results["modes"]:
        raise BadInput("evaluate.not_measured", where=str(one.folder), mode=mode)
    return one
