"""Exports over HTTP, as pieces of HTML: the list, one of them, and whether Ollama answers.

An export is looked up by its id among those that the engine lists: no part of an address ever joins a path.
"""

from functools import partial

from anyio import CapacityLimiter, move_on_after, to_thread
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from dashboard import cards, export_cards, export_results, pieces
from dashboard.bridge import Bridge, Page
from dashboard.export_wishes import find
from dashboard.pieces import drawn, fresh
from so8t_engine import EngineError

OLLAMA_SECONDS = 6.0
"""How long a page waits for Ollama's version; longer is no answer."""

ASKING = 4
"""Threads that may wait for Ollama at once."""


def add_export_routes(app: FastAPI, bridge: Bridge) -> None:
    """The routes below /exports. They only read."""
    asking = CapacityLimiter(ASKING)
    page = partial(pieces.page_of, bridge=bridge)

    @app.get("/exports")
    def listed(language: str = "") -> Response:
        return fresh(JSONResponse(_listed(bridge, page(language))))

    @app.get("/exports/ollama")
    async def ollama(language: str = "") -> Response:
        found = {
            "html": export_cards.ollama_silent(page(language)),
            "thinking": page(language).t("export.thinking.unknown"),
        }
        with move_on_after(OLLAMA_SECONDS):
            found = await to_thread.run_sync(
                _ollama, bridge, page(language), found, limiter=asking, abandon_on_cancel=True
            )
        return fresh(JSONResponse(found))

    @app.get("/exports/{wanted}")
    def one(wanted: str, language: str = "") -> Response:
        return drawn(page(language), lambda: _shown(bridge, wanted, page(language)))


def _listed(bridge: Bridge, page: Page) -> dict:
    """The models to choose from with the sizes of their files, and every export. keys: newest first."""
    found = bridge.engine.exports()
    models, sizes = "", {}
    try:
        voices = bridge.engine.voices(bridge.settings())
        models = export_cards.options(voices, page)
        sizes = {voice.key: export_cards.sizes(bridge.engine.export_sizes(voice), page) for voice in voices}
    except EngineError:
        pass  # the note under the button says what is wrong with the settings
    return {
        "models": models, "sizes": sizes, "keys": [one.id for one in found], "list": export_cards.listed(found, page),
        "empty": export_results.empty(page),
    }  # fmt: skip


def _shown(bridge: Bridge, wanted: str, page: Page) -> str:
    one = find(bridge, wanted)
    try:
        return export_results.shown(one, page)
    except (KeyError, TypeError, AttributeError, IndexError):  # a file that somebody has edited
        return cards.trouble(page, page.t("export.result.unread"), where=str(one.folder))


def _ollama(bridge: Bridge, page: Page, otherwise: dict) -> dict:
    """How Ollama stands. Its own words of an error are left out: that it does not answer is what counts here."""
    try:
        standing = bridge.engine.ollama(bridge.settings())
    except EngineError:
        return otherwise
    words = page.t(f"export.thinking.{standing.thinking}")
    if not standing.new_enough:
        return {"html": export_cards.ollama_too_old(standing.version, standing.oldest, page), "thinking": words}
    return {"html": export_cards.ollama_ready(standing.version, page), "thinking": words}
