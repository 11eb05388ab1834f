"""Pieces of the page over HTTP: HTML and files that the page asks for, which by themselves may do nothing."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import HTMLResponse

from dashboard import cards, texts
from dashboard.bridge import Bridge, Page
from so8t_engine import BadInput, EngineError

ALONE = {
    "cache-control": "no-store", "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}  # fmt: skip
"""A piece of the page is nothing by itself: opened as a page of its own it may do nothing."""

REPORT = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
}
"""A report is one file without scripts; whatever it holds may neither run nor ask anybody for anything."""


def page_of(language: str, bridge: Bridge) -> Page:
    """The page in a language that an address names, or in the first one."""
    return Page(language if language in texts.LANGUAGES else texts.LANGUAGES[0], bridge)


def fresh(response: Response, headers: dict[str, str] | None = None) -> Response:
    """The response as one that is neither kept nor able to do anything."""
    response.headers.update(ALONE | (headers or {}))
    return response


def drawn(page: Page, draw: Callable[[], str], headers: dict[str, str] | None = None) -> Response:
    """What `draw` gives as HTML; the card of the error where it raises one."""
    try:
        return fresh(HTMLResponse(draw()), headers)
    except EngineError as error:
        return _refused(error, page)


def rows_file(page: Page, draw: Callable[[], tuple[str, str]]) -> Response:
    """A file of JSON lines to keep: `draw` gives its name and its text."""
    try:
        name, text = draw()
    except EngineError as error:
        return _refused(error, page)
    kept = Response(text.encode("utf-8"), media_type="application/jsonl; charset=utf-8")
    return fresh(kept, {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"})


def report(file: Path, code: str) -> str:
    """A report's text. Raises BadInput `code` when it can't be read."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(code, where=str(file), reason=error.strerror or str(error)) from None


def _refused(error: EngineError, page: Page) -> Response:
    return fresh(HTMLResponse(cards.refused(page, error), 404 if error.code.endswith(".unknown") else 400))
