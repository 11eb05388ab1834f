"""Overnight chains over HTTP: the list, one of them, what there is to tell of the one that runs, and the sounds.

A chain is looked up by its id among those that the engine lists: no part of an address ever joins a path.
"""

import time
from dataclasses import asdict
from functools import partial

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from dashboard import cards, overnight_cards, overnight_results, pieces, texts
from dashboard.bridge import Bridge, Page
from dashboard.overnight_chain import of_stored
from dashboard.overnight_presence import FRESH_SECONDS, Presence, news
from dashboard.overnight_progress import COMMAND
from dashboard.overnight_wishes import find
from dashboard.pieces import drawn, fresh

SOUNDS = texts.FOLDER.parent / "sounds"

EDITED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What a file that somebody has edited leads to."""


def add_overnight_routes(app: FastAPI, bridge: Bridge) -> None:
    """The routes below /overnight; only one of them does more than read: it hears that a page is open."""
    page = partial(pieces.page_of, bridge=bridge)
    bridge.engine.heard = presence = Presence()
    app.mount("/static/sounds", StaticFiles(directory=SOUNDS))

    @app.get("/overnight")
    def listed(language: str = "") -> Response:
        return fresh(JSONResponse(_listed(bridge, page(language))))

    @app.post("/overnight/news")
    def told(language: str = "", able: bool = False) -> Response:
        return fresh(JSONResponse(_told(bridge, presence, page(language), able)))

    @app.get("/overnight/{wanted}")
    def one(wanted: str, language: str = "") -> Response:
        return drawn(page(language), lambda: _shown(bridge, wanted, page(language)))


def _listed(bridge: Bridge, page: Page) -> dict:
    """The runs to choose from, the chain that can go on, and every chain but the one that runs. keys: newest first."""
    chains = list(_chains(bridge))
    resting = not bridge.engine.snapshot().active
    going_on = next((one for one in chains if not one.finished), None) if resting else None
    return {
        "runs": overnight_cards.run_options(overnight_cards.finished_runs(page), page), "keys": [one.id for one in chains],
        "unfinished": overnight_cards.unfinished(going_on, page), "list": overnight_cards.listed(chains, page),
        "empty": overnight_results.empty(page),
    }  # fmt: skip


def _chains(bridge: Bridge):
    """Those on the disk that can be read, but for the one that runs, which is drawn from the engine's picture."""
    snapshot = bridge.engine.snapshot()
    present = snapshot.pipeline.pipeline if snapshot.active and snapshot.pipeline else ""
    for stored in bridge.engine.pipelines():
        if stored.id != present:
            try:
                yield of_stored(stored)
            except EDITED:
                continue


def _shown(bridge: Bridge, wanted: str, page: Page) -> str:
    stored = find(bridge, wanted)
    try:
        return overnight_results.shown(of_stored(stored), page)
    except EDITED:
        return cards.trouble(page, page.t("overnight.ended.unread"), where=str(stored.place.results))


def _told(bridge: Bridge, presence: Presence, page: Page, able: bool) -> dict:
    """able: whether the browser lets the page play. A page that could not play, but should, leaves it to the machine."""
    snapshot = bridge.engine.snapshot()
    sound = overnight_cards.values(page)["sound"]
    if able or not sound:
        presence.told()
    active = snapshot.active and snapshot.command == COMMAND
    found = news(snapshot, page)
    if found is None or time.time() - found.at > FRESH_SECONDS:
        return {"active": active, "sound": sound, "news": None}
    return {"active": active, "sound": sound, "news": asdict(found)}
