"""The web application: one Gradio page a language, everything served from this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dashboard import charts, texts
from dashboard.ab_test_routes import add_ab_test_routes
from dashboard.bridge import Bridge, Page, TabParts
from dashboard.chat_routes import add_chat_routes
from dashboard.evaluate_routes import add_evaluate_routes
from dashboard.export_routes import add_export_routes
from dashboard.header import header
from dashboard.late import LatePages
from dashboard.overnight_routes import add_overnight_routes
from dashboard.served import Served
from dashboard.tabs import ab_test, chat, config, evaluate, export, overnight, system, train
from dashboard.theme import StudioTheme
from dashboard.think_route import add_think_route
from so8t_engine import Engine, Snapshot

if TYPE_CHECKING:
    from dashboard.draft import Draft

TABS = {
    "config": config.build, "train": train.build, "evaluate": evaluate.build, "ab_test": ab_test.build,
    "chat": chat.build, "export": export.build, "overnight": overnight.build, "system": system.build,
}  # fmt: skip
"""In the order of the work."""

FIRST_TAB = "train"

POLL_SECONDS = 1.0
"""Constant: a Gradio timer whose interval changes loses ticks."""

ASSETS = texts.FOLDER.parent

Draw = Callable[[Snapshot], Sequence[object]]


def create_app(engine: Engine, draft: Draft) -> FastAPI:
    """The application over one engine and one draft; it answers on this machine's own names only."""
    bridge = Bridge(engine, draft)
    bridge.show_newest()
    pages = LatePages(texts.LANGUAGES, lambda language: _page_app(Page(language, bridge)))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await pages.stop()

    app = _plain(lifespan=lifespan)
    app.add_middleware(Served)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    _add_routes(app, bridge)
    add_chat_routes(app, bridge)
    add_evaluate_routes(app, bridge)
    add_ab_test_routes(app, bridge)
    add_export_routes(app, bridge)
    add_overnight_routes(app, bridge)
    add_think_route(app, engine)
    app.mount("", pages)
    return app


def _plain(**options) -> FastAPI:
    return FastAPI(docs_url=None, redoc_url=None, openapi_url=None, **options)


def _page_app(page: Page) -> FastAPI:
    """Gradio's application for one language. `build` of each tab runs here."""
    return gr.mount_gradio_app(
        _plain(), _blocks(page), f"/{page.language}", theme=StudioTheme(), footer_links=[],
        run_history=False, show_error=False, ssr_mode=False, pwa=False, mcp_server=False,
    )  # fmt: skip


def _add_routes(app: FastAPI, bridge: Bridge) -> None:
    app.mount("/static/dashboard", StaticFiles(directory=ASSETS / "dashboard"))
    app.mount("/static/fonts", StaticFiles(directory=ASSETS / "fonts"))

    @app.get("/")
    def choose_language(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/{language_of(request)}/{query}", 307)

    @app.get("/static/plotly.js")
    def plotly() -> FileResponse:
        return FileResponse(_plotly_file(), headers={"cache-control": "max-age=86400"})

    @app.get("/curves.csv")
    def curves() -> Response:
        snapshot = bridge.engine.snapshot()
        name = f'attachment; filename="{snapshot.run or "curves"}.csv"'
        return Response(charts.csv(snapshot), media_type="text/csv", headers={"content-disposition": name})

    @app.get("/alive")
    def alive() -> Response:
        return Response("ok", media_type="text/plain", headers={"cache-control": "no-store"})


def language_of(request: Request) -> str:
    """The language chosen last, or the one the browser asks for first, or Japanese."""
    chosen = request.cookies.get("language")
    if chosen in texts.LANGUAGES:
        return chosen
    for wish in request.headers.get("accept-language", "").split(","):
        language = wish.split(";")[0].strip().lower().split("-")[0]
        if language in texts.LANGUAGES:
            return language
    return texts.LANGUAGES[0]


def _blocks(page: Page) -> gr.Blocks:
    """The page: header, tabs, and the one timer that keeps them fresh."""
    parts: list[TabParts] = []
    with gr.Blocks(title="SO8T Studio", analytics_enabled=False, fill_width=True) as blocks:
        seen = gr.State(None)
        top = gr.HTML(
            header(Snapshot(), page), apply_default_css=False, elem_id="so-header", js_on_load=train.PRESSED,
        )  # fmt: skip
        gr.HTML(_shortcuts(page), apply_default_css=False, elem_id="so-shortcuts")
        with gr.Tabs(selected=FIRST_TAB, elem_id="so-tabs"):
            for name, build in TABS.items():
                with gr.Tab(page.t(f"tab.{name}"), id=name, elem_id=f"tab-{name}"):
                    parts.append(build(page) or TabParts())

        def draw(snapshot: Snapshot) -> list[object]:
            return [header(snapshot, page), *(value for part in parts for value in part.draw(snapshot))]

        def stop() -> None:
            page.bridge.engine.cancel()

        outputs = [seen, top, *(output for part in parts for output in part.outputs)]

        def update(seen: tuple | None) -> list[object]:
            return changes(page.bridge, draw, len(outputs), seen)

        unseen = gr.HTML(visible=False)  # Gradio redraws a progress tracker a tick on every output but for this
        quiet = {"show_progress": "hidden", "show_progress_on": unseen, "api_visibility": "private"}
        top.click(stop, trigger_mode="multiple", **quiet)
        blocks.load(update, inputs=[seen], outputs=outputs, **quiet)
        timer = gr.Timer(POLL_SECONDS)
        timer.tick(update, inputs=[seen], outputs=outputs, concurrency_limit=None, **quiet)
    return blocks


def changes(bridge: Bridge, draw: Draw, outputs: int, seen: tuple | None) -> list[object]:
    """The new `seen`, then one value for each other output: gr.skip() for what the page shows already.

    seen: the state of the page as this window last saw it, and the hash of each value; None at first.
    """
    snapshot = bridge.engine.snapshot()
    state = bridge.state(snapshot)
    if seen is not None and seen[0] == state:
        return [gr.skip()] * outputs
    values = draw(snapshot)
    hashes = tuple(hash(value) for value in values)
    known = seen[1] if seen is not None else (None,) * len(values)
    fresh = [gr.skip() if old == new else value for old, new, value in zip(known, hashes, values, strict=True)]
    return [(state, hashes), *fresh]


def _shortcuts(page: Page) -> str:
    """The list that the key ? opens."""
    keys = (
        ("Ctrl + Enter", "keys.start"), ("Ctrl + Enter", "chat.keys.send"), ("Esc", "chat.keys.stop"),
        ("1 2 3 4", "chat.keys.vote"), ("/", "chat.keys.search"), ("?", "keys.help"), ("Esc", "keys.escape"),
    )  # fmt: skip
    rows = "".join(f"<div><dt><kbd>{key}</kbd></dt><dd>{escape(page.t(text))}</dd></div>" for key, text in keys)
    title, close = escape(page.t("keys.title")), escape(page.t("keys.close"))
    return (
        f'<dialog class="so-dialog" aria-label="{title}"><h2>{title}</h2><dl class="so-facts">{rows}</dl>'
        f'<form method="dialog"><button class="so-button">{close}</button></form></dialog>'
    )


def _plotly_file() -> Path:
    """plotly.js as the Python package ships it; the package itself is not imported for it."""
    spec = find_spec("plotly")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
